//! What a server offers in `WWW-Authenticate` or `Proxy-Authenticate` (RFC 9110 §11.3, §11.6.1).
//!
//! Invariant: any bytes are read, within fixed limits; what has not the form of a challenge or a parameter is left
//! out, and a parameter never ends up with a challenge it did not follow. Must not know: what a scheme means.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderName};

/// Bytes read of all fields together; what follows is left out.
const MOST_BYTES: usize = 8 << 10;
/// Challenges of one reply; further ones are left out.
const MOST_CHALLENGES: usize = 16;
/// Parameters of one challenge; further ones are left out.
const MOST_PARAMETERS: usize = 32;

/// One way to authenticate, as a server offers it: a scheme, and a token or parameters.
///
/// `Debug` prints no values.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    scheme: Box<str>,
    token: Option<Box<str>>,
    parameters: Vec<(Box<str>, Box<[u8]>)>,
}

impl Challenge {
    /// The challenges in all fields of this name, in their order: at most 16, of at most 32 parameters each, within
    /// the first 8 KiB. What is malformed is left out.
    ///
    /// ```
    /// use downloader_http::Challenge;
    /// use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
    /// let field = HeaderValue::from_static(r#"Basic realm="a, \"b\"", Bearer realm="https://h/token",scope=x=y"#);
    /// let challenges = Challenge::parse(&HeaderMap::from_iter([(WWW_AUTHENTICATE, field)]), &WWW_AUTHENTICATE);
    /// assert_eq!(challenges.len(), 2);
    /// assert_eq!(challenges[0].parameter("realm").as_deref(), Some(r#"a, "b""#));
    /// assert_eq!(challenges[1].parameter("scope").as_deref(), Some("x=y"));
    /// ```
    #[must_use]
    pub fn parse(headers: &HeaderMap, name: &HeaderName) -> Vec<Self> {
        let mut reader = Reader::default();
        let mut left = MOST_BYTES;
        for value in headers.get_all(name) {
            let value = value.as_bytes();
            let field = &value[..value.len().min(left)];
            left -= field.len();
            reader.field(field);
        }
        reader.challenges
    }

    /// The scheme as it was sent. Its case says nothing: see [`Challenge::is`].
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Is this the scheme, in any case?
    #[must_use]
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// What follows the scheme in place of parameters (`token68`), as `Negotiate` and `NTLM` do it.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The value of a parameter, by its name in any case: the first, if there are several. Bytes that are not UTF-8
    /// are replaced.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(String::from_utf8_lossy)
    }

    /// The value of a parameter as it was sent, unquoted.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        let found = self.parameters.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }

    fn add(&mut self, name: &str, value: Vec<u8>) {
        if self.parameters.len() < MOST_PARAMETERS && self.bytes(name).is_none() {
            self.parameters.push((name.into(), value.into()));
        }
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge {} ", self.scheme)?;
        f.debug_list().entries(self.parameters.iter().map(|(name, _)| name)).finish()
    }
}

/// The parameters of a field that holds nothing else, such as `Authentication-Info` (RFC 9110 §11.6.3): the value of
/// this one.
pub(super) fn parameter_of(field: &[u8], name: &str) -> Option<Vec<u8>> {
    let list = Challenge { scheme: "".into(), token: None, parameters: Vec::new() };
    let mut reader = Reader { challenges: vec![list], open: true };
    reader.field(&field[..field.len().min(MOST_BYTES)]);
    reader.challenges[0].bytes(name).map(<[u8]>::to_vec)
}

#[derive(Default)]
struct Reader {
    challenges: Vec<Challenge>,
    /// True while a parameter belongs to the last challenge.
    open: bool,
}

impl Reader {
    /// Reads one field. A list may be split over several at any of its commas (RFC 9110 §5.3).
    fn field(&mut self, field: &[u8]) {
        let mut rest = field;
        loop {
            rest = skip(rest, |byte| byte == b',' || is_space(byte));
            if rest.is_empty() {
                return;
            }
            rest = self.item(rest);
        }
    }

    /// Reads a scheme, a parameter, or something that is neither; what is left is shorter.
    fn item<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let (name, after) = split(rest, is_token);
        let behind = skip(after, is_space);
        let Some(name) = std::str::from_utf8(name).ok().filter(|name| !name.is_empty()) else {
            return self.junk(rest);
        };
        if let Some(value) = behind.strip_prefix(b"=") {
            let (value, left) = value_of(skip(value, is_space));
            if let Some(challenge) = self.challenges.last_mut().filter(|_| self.open) {
                challenge.add(name, value);
            }
            return left;
        }
        if !matches!(after.first(), None | Some(b',' | b' ' | b'\t')) {
            return self.junk(rest);
        }
        self.open = self.challenges.len() < MOST_CHALLENGES;
        let (token, left) = token68(behind);
        if self.open {
            // A token stands in place of parameters.
            self.open = token.is_none();
            self.challenges.push(Challenge { scheme: name.into(), token, parameters: Vec::new() });
        }
        left
    }

    /// Skips what has no meaning. Whose parameters follow is not known then.
    fn junk<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        self.open = false;
        match rest {
            [b'"', ..] => value_of(rest).1,
            _ => skip(rest.get(1..).unwrap_or_default(), |byte| !is_end(byte) && byte != b'"'),
        }
    }
}

/// The value of a parameter: a quoted string, or all up to the next comma or space, for servers leave out quotes
/// where they are needed.
fn value_of(rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let (value, left) = split(rest, |byte| !is_end(byte));
        return (value.to_vec(), left);
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => value.extend(bytes.next()),
            other => value.push(*other),
        }
    }
    (value, skip(bytes.as_slice(), |byte| !is_end(byte)))
}

/// A `token68`, if it is all there is up to the next comma.
fn token68(rest: &[u8]) -> (Option<Box<str>>, &[u8]) {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    let (letters, after) = split(rest, is_letter);
    let left = skip(skip(after, |byte| byte == b'='), is_space);
    if letters.is_empty() || !matches!(left.first(), None | Some(b',')) {
        return (None, rest);
    }
    let end = letters.len() + after.iter().take_while(|byte| **byte == b'=').count();
    (std::str::from_utf8(&rest[..end]).ok().map(Into::into), left)
}

fn split(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !belongs(*byte)).unwrap_or(bytes.len());
    bytes.split_at(end)
}

fn skip(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> &[u8] {
    split(bytes, belongs).1
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn is_end(byte: u8) -> bool {
    byte == b',' || is_space(byte)
}

/// A character of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[path = "challenge_tests.rs"]
mod tests;
