//! HTML in pieces of any size, as tags and text: no more of its grammar than index pages need.
//!
//! Invariant: the same bytes in other pieces give the same tags and, put together, the same text; at most a tag is held.
//! Must not know: what any tag means, but those whose text is none.

/// Longest tag that is read; what is longer is passed over.
const LONGEST_TAG: usize = 16 * 1024;

/// A piece of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A tag that opens: what stands between its brackets.
    Open(&'a [u8]),
    /// A tag that closes: its name.
    Close(&'a [u8]),
    /// Text, or a part of it; character references are not decoded.
    Text(&'a [u8]),
    /// The beginning of a tag that is too long.
    TooLong(&'a [u8]),
}

/// A page that is read.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    state: State,
    /// What was read of a tag.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// Behind a `<`.
    Opened,
    Tag,
    /// Behind the `=` of an attribute.
    Value,
    Quoted(u8),
    /// A tag of which nothing more is kept.
    Passed,
    Comment,
    /// Within `<script>` or `<style>`, until a tag of that name closes.
    Raw(&'static [u8]),
}

impl Tokens {
    /// Reads on.
    pub(crate) fn push<E>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Token<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                State::Text => {
                    let end = bytes.iter().position(|byte| *byte == b'<').unwrap_or(bytes.len());
                    if end > 0 {
                        each(Token::Text(&bytes[..end]))?;
                    }
                    bytes = &bytes[end..];
                    if let [b'<', rest @ ..] = bytes {
                        self.state = State::Opened;
                        bytes = rest;
                    }
                    continue;
                }
                State::Opened => {
                    if byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?') {
                        self.state = State::Tag;
                        self.held.clear();
                    } else {
                        self.state = State::Text;
                        each(Token::Text(b"<"))?;
                    }
                    // The byte itself is read in the new state.
                    continue;
                }
                State::Tag | State::Value if byte == b'>' => self.end_of_tag(&mut each)?,
                State::Value if matches!(byte, b'"' | b'\'') => self.hold(byte, State::Quoted(byte)),
                State::Value if byte.is_ascii_whitespace() => self.hold(byte, State::Value),
                State::Tag if byte == b'=' => self.hold(byte, State::Value),
                State::Tag | State::Value => self.hold(byte, State::Tag),
                State::Quoted(quote) if byte == quote => self.hold(byte, State::Tag),
                State::Quoted(quote) => self.hold(byte, State::Quoted(quote)),
                State::Passed if byte == b'>' => {
                    self.state = State::Text;
                    each(Token::TooLong(&self.held))?;
                }
                State::Passed => {}
                State::Comment => {
                    self.held.push(byte);
                    if self.held.ends_with(b"-->") {
                        self.state = State::Text;
                    } else if self.held.len() > 64 {
                        // Only its end matters.
                        self.held.drain(..62);
                    }
                }
                State::Raw(name) => {
                    self.held.push(byte);
                    if byte == b'>' && closes(&self.held, name) {
                        self.state = State::Text;
                        each(Token::Close(name))?;
                    } else if self.held.len() > 64 {
                        self.held.drain(..32);
                    }
                }
            }
            bytes = rest;
        }
        Ok(())
    }

    /// True when nothing is half read.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::Text
    }

    fn hold(&mut self, byte: u8, next: State) {
        self.held.push(byte);
        self.state = match self.held.len() {
            LONGEST_TAG.. => State::Passed,
            3 if self.held == b"!--" => State::Comment,
            _ => next,
        };
        if self.state == State::Comment {
            self.held.clear();
        }
    }

    fn end_of_tag<E>(&mut self, each: &mut impl FnMut(Token<'_>) -> Result<(), E>) -> Result<(), E> {
        self.state = State::Text;
        match &self.held[..] {
            [b'/', closed @ ..] => each(Token::Close(name(closed))),
            [b'!' | b'?', ..] => Ok(()),
            opened => {
                each(Token::Open(opened))?;
                let own = name(opened);
                if let Some(raw) =
                    [&b"script"[..], b"style"].into_iter().find(|raw| raw.eq_ignore_ascii_case(own))
                {
                    self.state = State::Raw(raw);
                    self.held.clear();
                }
                Ok(())
            }
        }
    }
}

/// True when the text ends with the tag that closes this element.
fn closes(text: &[u8], element: &[u8]) -> bool {
    let Some(start) = text.iter().rposition(|byte| *byte == b'<') else { return false };
    text[start..].strip_prefix(b"</").is_some_and(|tag| {
        tag.get(..element.len()).is_some_and(|own| own.eq_ignore_ascii_case(element))
            && tag[element.len()..].iter().all(|byte| byte.is_ascii_whitespace() || *byte == b'>')
    })
}

/// The name that a tag begins with.
pub(crate) fn name(tag: &[u8]) -> &[u8] {
    let end = tag.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'/' || *byte == b'>');
    &tag[..end.unwrap_or(tag.len())]
}

/// The value of an attribute of a tag, character references decoded.
pub(crate) fn attribute(tag: &[u8], wanted: &str) -> Option<String> {
    let mut rest = &tag[name(tag).len()..];
    loop {
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b'/')?;
        rest = &rest[start..];
        let end = rest.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'/'));
        let (own, behind) = rest.split_at(end.unwrap_or(rest.len()).max(1));
        let behind = behind.trim_ascii_start();
        let (value, behind) = match behind.strip_prefix(b"=").map(<[u8]>::trim_ascii_start) {
            None => (&b""[..], behind),
            Some([quote @ (b'"' | b'\''), value @ ..]) => {
                let end = value.iter().position(|byte| byte == quote).unwrap_or(value.len());
                (&value[..end], value.get(end + 1..).unwrap_or_default())
            }
            Some(value) => {
                value.split_at(value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len()))
            }
        };
        if own.eq_ignore_ascii_case(wanted.as_bytes()) {
            return Some(unescaped(&decoded(value)));
        }
        rest = behind;
    }
}

/// Text in the encoding of the page: UTF-8, or where it is not, ISO 8859-1.
pub(crate) fn decoded(text: &[u8]) -> String {
    str::from_utf8(text).map_or_else(|_| text.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}

/// Character references as the characters they stand for; those that index pages use, and any number.
pub(crate) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // The longest reference read is shorter than this.
        let end = rest.as_bytes().iter().take(12).position(|byte| *byte == b';');
        match end.and_then(|end| Some((character(&rest[1..end])?, end))) {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn character(reference: &str) -> Option<char> {
    Some(match reference {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "mdash" => '—',
        "ndash" => '–',
        _ => {
            let number = reference.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(page: &[u8], piece: usize) -> Vec<String> {
        let (mut tokens, mut all) = (Tokens::default(), Vec::<String>::new());
        for piece in page.chunks(piece) {
            let each = |token: Token<'_>| {
                match token {
                    Token::Text(text) => {
                        let text = String::from_utf8_lossy(text);
                        match all.last_mut().filter(|last| last.starts_with('"')) {
                            Some(last) => last.push_str(&text),
                            None => all.push(format!("\"{text}")),
                        }
                    }
                    Token::Open(tag) => all.push(format!("+{}", String::from_utf8_lossy(tag))),
                    Token::Close(name) => all.push(format!("-{}", String::from_utf8_lossy(name))),
                    Token::TooLong(tag) => all.push(format!("!{}", tag.len())),
                }
                Ok::<_, ()>(())
            };
            tokens.push(piece, each).unwrap();
        }
        assert!(tokens.is_between(), "{:?}", tokens.state);
        all
    }

    #[test]
    fn tags_and_text_in_pieces_of_any_size() {
        let page = b"<!DOCTYPE html><!-- <a href=x> --><A HREF='a>b' x=\"1\">1 < 2 <b>bold</b ></a><script>if (a<b) '</p>'\
                     </script ><style></style>end<br/>";
        let expected = [
            "+A HREF='a>b' x=\"1\"",
            "\"1 < 2 ",
            "+b",
            "\"bold",
            "-b",
            "-a",
            "+script",
            "-script",
            "+style",
            "-style",
            "\"end",
            "+br/",
        ];
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(tokens(page, piece), expected, "{piece}");
        }
        let long = format!("a<a href=\"{}\">b", "x".repeat(2 * LONGEST_TAG));
        assert_eq!(tokens(long.as_bytes(), 100)[..2], ["\"a".to_owned(), format!("!{LONGEST_TAG}")]);
    }

    #[test]
    fn attributes_and_references() {
        let tag = br#"a class=x href = "a&amp;b&#39;&#x41;&lt;&bogus;&" title='"' checked data-size=5/"#;
        let value = |name| attribute(tag, name);
        assert_eq!(value("HREF").as_deref(), Some("a&b'A<&bogus;&"));
        assert_eq!((value("class").as_deref(), value("title").as_deref()), (Some("x"), Some("\"")));
        assert_eq!((value("checked").as_deref(), value("hre"), value("a")), (Some(""), None, None));
        assert_eq!(attribute(b"a href=caf\xe9", "href").as_deref(), Some("café"));
        assert_eq!(attribute("a href='café'".as_bytes(), "href").as_deref(), Some("café"));
        assert_eq!(attribute(b"a = =", "x"), None);
    }
}
