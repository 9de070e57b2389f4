//! Python's syntax of regular expressions, written in that of the `regex` crate.
//!
//! Invariant: every construct is either the same in both, rewritten to the same, or refused; nothing passes unread.
//! Must not know: what is matched.

use std::iter::Peekable;
use std::str::Chars;

/// Why an expression is refused, and the character at which.
type Refused = (usize, &'static str);

/// The most a repeat may count to.
const MOST_REPEATS: u32 = 1000;

pub(super) fn translate(text: &str) -> Result<String, Refused> {
    let mut this = Translation {
        rest: text.chars().peekable(),
        at: 0,
        out: String::with_capacity(text.len() + 8),
        groups: Vec::new(),
        last: Last::Nothing,
    };
    while let Some(c) = this.rest.peek().copied() {
        this.step(c)?;
    }
    match this.groups.last() {
        Some(at) => Err((*at, "the group is not closed")),
        None => Ok(this.out),
    }
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    /// Place of the next character.
    at: usize,
    out: String,
    /// Where the open groups begin.
    groups: Vec<usize>,
    last: Last,
}

/// What stands before, as far as a repeat wants to know.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Nothing,
    Item,
    Repeat,
    /// A repeat that is lazy already.
    Lazy,
}

/// A member of a class.
enum Member {
    One(char),
    /// `\d` and its like.
    Many(char),
}

impl Translation<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.at += 1;
        Some(c)
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let taken = self.rest.next_if_eq(&wanted).is_some();
        self.at += usize::from(taken);
        taken
    }

    fn step(&mut self, c: char) -> Result<(), Refused> {
        let at = self.at;
        match c {
            '\\' => self.escape()?,
            '[' => self.class()?,
            '(' => return self.group(),
            ')' => {
                self.next();
                self.groups.pop().ok_or((at, "the group is not opened"))?;
                self.out.push(')');
                self.last = Last::Item;
            }
            '*' | '+' | '?' => {
                self.next();
                return self.repeat(at, c, &c.to_string());
            }
            '{' => return self.counted(),
            '|' => {
                self.next();
                self.out.push('|');
                self.last = Last::Nothing;
            }
            '.' | '^' | '$' => {
                self.next();
                self.out.push(c);
                self.last = Last::Item;
            }
            _ => {
                self.next();
                self.literal(c);
            }
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
        self.last = Last::Item;
    }

    fn repeat(&mut self, at: usize, c: char, written: &str) -> Result<(), Refused> {
        self.last = match (self.last, c) {
            (Last::Nothing, _) => return Err((at, "nothing to repeat")),
            (Last::Item, _) => Last::Repeat,
            (Last::Repeat, '?') => Last::Lazy,
            (Last::Repeat, '+') => return Err((at, "possessive repeats are not available")),
            _ => return Err((at, "multiple repeat")),
        };
        self.out.push_str(written);
        Ok(())
    }

    /// `{n}`, `{n,}`, `{,n}`, `{n,m}`; anything else is a brace.
    fn counted(&mut self) -> Result<(), Refused> {
        let at = self.at;
        let mut ahead = self.rest.clone();
        ahead.next();
        let inner: String = ahead.by_ref().take_while(|c| *c != '}').collect();
        let closed = self.rest.clone().skip(1).any(|c| c == '}');
        let (least, most) =
            inner.split_once(',').map_or((&*inner, None), |(least, most)| (least, Some(most)));
        let is_count = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        let well_formed = closed && !inner.is_empty() && is_count(least) && most.is_none_or(is_count);
        if !well_formed {
            self.next();
            self.literal('{');
            return Ok(());
        }
        let number = |text: &str| {
            text.parse()
                .ok()
                .filter(|number: &u32| *number <= MOST_REPEATS)
                .ok_or((at, "a repeat of more than 1000"))
        };
        let least = if least.is_empty() { 0 } else { number(least)? };
        let written = match most {
            None => format!("{{{least}}}"),
            Some("") => format!("{{{least},}}"),
            Some(most) => {
                let most = number(most)?;
                if most < least {
                    return Err((at, "a repeat whose least number is greater than its most"));
                }
                format!("{{{least},{most}}}")
            }
        };
        for _ in 0..inner.chars().count() + 2 {
            self.next();
        }
        self.repeat(at, '{', &written)
    }

    fn group(&mut self) -> Result<(), Refused> {
        let at = self.at;
        self.next();
        if !self.take_if('?') {
            self.open(at, "(");
            return Ok(());
        }
        match self.next() {
            Some(':') => self.open(at, "(?:"),
            Some('#') => while self.next().ok_or((at, "the comment is not closed"))? != ')' {},
            Some('=' | '!') => return Err((at, "look-around is not available")),
            Some('<') => {
                let why = match self.rest.peek() {
                    Some('=' | '!') => "look-around is not available",
                    _ => "an unknown kind of group",
                };
                return Err((at, why));
            }
            Some('>') => return Err((at, "atomic groups are not available")),
            Some('(') => return Err((at, "conditional groups are not available")),
            Some('P') => match self.next() {
                Some('<') => {
                    let name = self.until('>').ok_or((at, "the name of the group is not closed"))?;
                    let mut letters = name.chars();
                    let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
                    if !first || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
                        return Err((at, "a group whose name is none"));
                    }
                    self.open(at, &format!("(?P<{name}>"));
                }
                Some('=') => return Err((at, "back-references are not available")),
                _ => return Err((at, "an unknown kind of group")),
            },
            Some(c) if c.is_ascii_alphabetic() || c == '-' => return self.flags(at, c),
            _ => return Err((at, "an unknown kind of group")),
        }
        Ok(())
    }

    /// `(?i)` at the start, or `(?i:`.
    fn flags(&mut self, at: usize, first: char) -> Result<(), Refused> {
        let (mut flags, mut next) = (String::new(), Some(first));
        while let Some(c) = next.filter(|c| !matches!(c, ')' | ':')) {
            match c {
                'i' | 'm' | 's' | '-' => flags.push(c),
                // Text is Unicode here anyway.
                'u' => {}
                _ => return Err((at, "flags other than i, m, s and u are not available")),
            }
            next = self.next();
        }
        match next {
            Some(':') => self.open(at, &format!("(?{flags}:")),
            Some(_) if at > 0 => return Err((at, "flags not at the start of the expression")),
            Some(_) if flags.is_empty() => {}
            Some(_) => self.out.push_str(&format!("(?{flags})")),
            None => return Err((at, "the group is not closed")),
        }
        Ok(())
    }

    fn open(&mut self, at: usize, written: &str) {
        self.groups.push(at);
        self.out.push_str(written);
        self.last = Last::Nothing;
    }

    fn until(&mut self, end: char) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                c if c == end => return Some(text),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Refused> {
        let at = self.at;
        match self.rest.clone().nth(1) {
            Some('A') => self.out.push_str(r"\A"),
            Some('Z') => self.out.push_str(r"\z"),
            Some('b') => self.out.push_str(r"(?:\b)"),
            Some('B') => self.out.push_str(r"(?:\B)"),
            Some('1'..='9') => return Err((at, "back-references are not available")),
            _ => {
                match self.member()? {
                    Member::One(c) => self.literal(c),
                    Member::Many(c) => self.out.extend(['\\', c]),
                }
                self.last = Last::Item;
                return Ok(());
            }
        }
        self.next();
        self.next();
        self.last = Last::Item;
        Ok(())
    }

    /// A character, or an escape of one or many.
    fn member(&mut self) -> Result<Member, Refused> {
        let at = self.at;
        let unknown = (at, "an unknown escape");
        let c = self.next().ok_or(unknown)?;
        if c != '\\' {
            return Ok(Member::One(c));
        }
        Ok(Member::One(match self.next().ok_or(unknown)? {
            c @ ('d' | 'D' | 's' | 'S' | 'w' | 'W') => return Ok(Member::Many(c)),
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'f' => '\x0c',
            'v' => '\x0b',
            'a' => '\x07',
            'x' => self.hexadecimal(at, 2)?,
            'u' => self.hexadecimal(at, 4)?,
            'U' => self.hexadecimal(at, 8)?,
            '0'..='9' => return Err((at, "octal escapes are not available")),
            c if c.is_ascii_alphabetic() => return Err(unknown),
            c => c,
        }))
    }

    fn hexadecimal(&mut self, at: usize, digits: usize) -> Result<char, Refused> {
        let mut value = 0;
        for _ in 0..digits {
            let digit =
                self.next().and_then(|c| c.to_digit(16)).ok_or((at, "an escape with too few digits"))?;
            value = value << 4 | digit;
        }
        char::from_u32(value).ok_or((at, "an escape that is no character"))
    }

    fn class(&mut self) -> Result<(), Refused> {
        let at = self.at;
        let unclosed = (at, "the class is not closed");
        self.next();
        self.out.push('[');
        if self.take_if('^') {
            self.out.push('^');
        }
        let mut first = true;
        while first || self.rest.peek() != Some(&']') {
            first = false;
            self.rest.peek().ok_or(unclosed)?;
            let start = self.at;
            let from = self.class_member()?;
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && !matches!(ahead.next(), Some(']') | None);
            if !is_range {
                self.put(&from);
                continue;
            }
            self.next();
            match (from, self.class_member()?) {
                (Member::One(from), Member::One(to)) if from <= to => {
                    self.put(&Member::One(from));
                    self.out.push('-');
                    self.put(&Member::One(to));
                }
                _ => return Err((start, "a range that is none")),
            }
        }
        self.next();
        self.out.push(']');
        self.last = Last::Item;
        Ok(())
    }

    fn class_member(&mut self) -> Result<Member, Refused> {
        let mut ahead = self.rest.clone();
        // Within a class it is a backspace.
        if ahead.next() == Some('\\') && ahead.next() == Some('b') {
            self.next();
            self.next();
            return Ok(Member::One('\x08'));
        }
        self.member()
    }

    fn put(&mut self, member: &Member) {
        match member {
            // All of these mean something within a class.
            Member::Many(c) | Member::One(c @ ('[' | ']' | '\\' | '^' | '-' | '&' | '~')) => {
                self.out.extend(['\\', *c]);
            }
            Member::One(c) => self.out.push(*c),
        }
    }
}
