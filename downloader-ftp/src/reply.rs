//! Replies of a server (RFC 959 §4.2), as their bytes come.
//!
//! Invariant: a reply ends where the server ended it and nowhere else, or replies and commands would part; what is held of
//! one is bounded. Must not know: what a reply means.

use std::fmt;

/// Longest reply, in bytes.
pub(crate) const LONGEST_REPLY: usize = 64 << 10;
/// Most lines of a reply.
pub(crate) const MOST_LINES: usize = 512;
/// Characters of a reply that are quoted in an error.
const QUOTED: usize = 160;

/// A reply: its code, and all its text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// The lines without their ends, `\n` between; the first one without the code.
    pub(crate) text: Vec<u8>,
}

/// Why bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    NoCode,
    TooLong,
}

impl Malformed {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoCode => "a reply that does not begin with a code",
            Self::TooLong => "a reply that does not end",
        }
    }
}

impl Reply {
    /// The reply that stands at the start of `bytes`, and how many of them it is; `None` while there is none.
    ///
    /// A reply of several lines ends with a line that begins with its own code and a blank. Lines between may begin with
    /// anything, other codes included.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let mut at = 0;
        let mut lines = 0;
        let mut reply: Option<Self> = None;
        while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
            let line = bytes[at..at + length].strip_suffix(b"\r").unwrap_or(&bytes[at..at + length]);
            at += length + 1;
            lines += 1;
            if at > LONGEST_REPLY || lines > MOST_LINES {
                return Err(Malformed::TooLong);
            }
            match &mut reply {
                None => {
                    let (code, goes_on) = opening(line).ok_or(Malformed::NoCode)?;
                    let first = Self { code, text: line.get(4..).unwrap_or_default().to_vec() };
                    if !goes_on {
                        return Ok(Some((first, at)));
                    }
                    reply = Some(first);
                }
                Some(reply) => {
                    let last = matches!(opening(line), Some((code, false)) if code == reply.code);
                    let text = if last { line.get(4..).unwrap_or_default() } else { line };
                    reply.text.push(b'\n');
                    reply.text.extend_from_slice(text);
                    if last {
                        let reply = Self { code: reply.code, text: std::mem::take(&mut reply.text) };
                        return Ok(Some((reply, at)));
                    }
                }
            }
        }
        // A first line that cannot become one any more is not waited for.
        if reply.is_none() && bytes.len() >= 4 && opening(&bytes[..4]).is_none() {
            return Err(Malformed::NoCode);
        }
        if bytes.len() > LONGEST_REPLY { Err(Malformed::TooLong) } else { Ok(None) }
    }

    /// 1 to 5: what comes of the command so far.
    pub(crate) fn class(&self) -> u16 {
        self.code / 100
    }

    pub(crate) fn is_positive(&self) -> bool {
        self.class() == 2
    }

    /// The lines of its text.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|byte| *byte == b'\n')
    }

    /// True if its text, in any case, holds one of these.
    pub(crate) fn says(&self, words: &[&str]) -> bool {
        let text = String::from_utf8_lossy(&self.text).to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    }

    /// The last line of its text that is not empty, for an error: short, on one line, harmless to a terminal.
    pub(crate) fn quoted(&self) -> String {
        let line = self.lines().filter(|line| !line.trim_ascii().is_empty()).last().unwrap_or_default();
        let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
        text.chars().map(|c| if c.is_control() { '?' } else { c }).take(QUOTED).collect()
    }
}

/// The code of a line, and whether `-` says that more lines follow.
fn opening(line: &[u8]) -> Option<(u16, bool)> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(digits[0], b'1'..=b'6') {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.first() {
        None | Some(b' ' | b'\t') => Some((code, false)),
        Some(b'-') => Some((code, true)),
        Some(_) => None,
    }
}

/// Of its text nothing is printed: a server may repeat what it was told.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(u16, String, usize)> {
        let (reply, used) = Reply::read(text.as_bytes()).unwrap()?;
        Some((reply.code, String::from_utf8(reply.text).unwrap(), used))
    }

    #[test]
    fn replies_end_where_they_end() {
        let is = |code, text: &str, used| Some((code, text.to_owned(), used));
        assert_eq!(read("220 ready\r\n331 x"), is(220, "ready", 11));
        assert_eq!(read("220\n"), is(220, "", 4));
        assert_eq!(read("220-a\r\n b\r\n220 c\r\n"), is(220, "a\n b\nc", 18));
        // A message of the day may hold anything.
        assert_eq!(
            read("230-Hi\r\n226 files\r\n230-more\r\n230 ok\r\nX"),
            is(230, "Hi\n226 files\n230-more\nok", 37)
        );
        for unfinished in ["", "2", "220", "220 rea", "220-a\r\n", "220-a\r\n220 b"] {
            assert_eq!(read(unfinished), None, "{unfinished:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused_soon() {
        for bad in ["SSH-2.0", "HTTP/1.1 200\r\n", "22x a\n", "2200", "\r\n", "020 a\n", "720 a\n"] {
            assert_eq!(Reply::read(bad.as_bytes()), Err(Malformed::NoCode), "{bad:?}");
        }
        let endless = format!("220-{}", "a".repeat(LONGEST_REPLY));
        assert_eq!(Reply::read(endless.as_bytes()), Err(Malformed::TooLong));
        let lines = format!("220-a\n{}", "b\n".repeat(MOST_LINES));
        assert_eq!(Reply::read(lines.as_bytes()), Err(Malformed::TooLong));
    }

    #[test]
    fn what_is_quoted_is_short_and_harmless() {
        let (reply, _) = Reply::read(b"550-a\r\n550 \x1b[2J\xff no\r\n").unwrap().unwrap();
        assert_eq!(reply.quoted(), "?[2J\u{fffd} no");
        let long = format!("550 {}\r\n", "a".repeat(999));
        assert_eq!(Reply::read(long.as_bytes()).unwrap().unwrap().0.quoted().len(), QUOTED);
    }
}
