//! Reads a text by its grammar, and makes values of it at once.
//!
//! Invariant: every value knows where it started and what it is, and none is used where another kind is wanted; nothing is
//! written out that would pass a limit. Must not know: which functions there are.

use super::functions::{Argument, constant, is_function, value};
use super::token::{Token, Tokens};
use super::{DEEPEST, ExpressionError, LONGEST_TEXT, MOST_TERMS};
use crate::retry::{Stop, Wait};

/// A value, and the byte at which its text starts.
#[derive(Clone, Debug)]
pub(super) struct Term<'a> {
    pub(super) at: usize,
    pub(super) value: Value<'a>,
}

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Stop(Stop),
    Wait(Wait),
    Number(&'a str),
    List(Vec<Term<'a>>),
}

impl<'a> Term<'a> {
    pub(super) fn stop(self) -> Result<Stop, ExpressionError> {
        if let Value::Stop(stop) = self.value { Ok(stop) } else { Err(self.other_than("a stop condition")) }
    }

    pub(super) fn wait(self) -> Result<Wait, ExpressionError> {
        if let Value::Wait(wait) = self.value { Ok(wait) } else { Err(self.other_than("a wait")) }
    }

    pub(super) fn list(self) -> Result<Vec<Self>, ExpressionError> {
        if let Value::List(list) = self.value { Ok(list) } else { Err(self.other_than("a list")) }
    }

    pub(super) fn number(self) -> Result<&'a str, ExpressionError> {
        if let Value::Number(number) = self.value { Ok(number) } else { Err(self.other_than("a number")) }
    }

    fn other_than(&self, expected: &str) -> ExpressionError {
        let found = match self.value {
            Value::Stop(_) => "a stop condition",
            Value::Wait(_) => "a wait",
            Value::Number(number) => return ExpressionError::new(self.at, expected, Token::Number(number)),
            Value::List(_) => "a list",
        };
        ExpressionError::new(self.at, expected, found)
    }
}

pub(super) struct Reader<'a> {
    tokens: Tokens<'a>,
    at: usize,
    token: Token<'a>,
    depth: usize,
    terms: usize,
}

impl<'a> Reader<'a> {
    /// The only term of a text.
    pub(super) fn whole(text: &'a str) -> Result<Term<'a>, ExpressionError> {
        if text.len() > LONGEST_TEXT {
            let expected = format!("no more than {LONGEST_TEXT} bytes");
            // The last character that is within.
            let position = text.floor_char_boundary(LONGEST_TEXT);
            return Err(ExpressionError::new(position, expected, format_args!("{} bytes", text.len())));
        }
        let mut tokens = Tokens::new(text);
        let (at, token) = tokens.take();
        let mut reader = Self { tokens, at, token, depth: 0, terms: 0 };
        let term = reader.any()?;
        if reader.token == Token::End { Ok(term) } else { Err(reader.expected("an operator or the end")) }
    }

    fn any(&mut self) -> Result<Term<'a>, ExpressionError> {
        if self.depth > DEEPEST {
            let expected = format!("no more than {DEEPEST} levels of brackets");
            return Err(self.expected(&expected));
        }
        self.depth += 1;
        let mut left = self.all()?;
        while self.takes('|') {
            let (at, right) = (left.at, self.all()?);
            left = Term { at, value: Value::Stop(left.stop()? | right.stop()?) };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn all(&mut self) -> Result<Term<'a>, ExpressionError> {
        let mut left = self.sum()?;
        while self.takes('&') {
            let (at, right) = (left.at, self.sum()?);
            left = Term { at, value: Value::Stop(left.stop()? & right.stop()?) };
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Term<'a>, ExpressionError> {
        let mut left = self.term()?;
        while self.takes('+') {
            let (at, right) = (left.at, self.term()?);
            let value = match left.value {
                Value::List(mut list) => {
                    list.extend(right.list()?);
                    Value::List(list)
                }
                _ => Value::Wait(left.wait()? + right.wait()?),
            };
            left = Term { at, value };
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Term<'a>, ExpressionError> {
        self.count(1)?;
        let at = self.at;
        let value = match self.token {
            Token::Number(number) => {
                self.advance();
                Value::Number(number)
            }
            Token::Name(name) => {
                if let Some(value) = constant(name) {
                    self.advance();
                    if self.token == Token::Sign('(') {
                        let expected = format!("no brackets after the constant `{name}`");
                        return Err(self.expected(&expected));
                    }
                    value
                } else if is_function(name) {
                    self.advance();
                    self.expect('(')?;
                    let arguments = self.arguments()?;
                    let end = self.at;
                    self.expect(')')?;
                    value(name, arguments, end)?
                } else if name == "stop_when_event_set" {
                    let expected = "a condition that a text can hold (an event is the program's own)";
                    return Err(self.expected(expected));
                } else {
                    return Err(self.expected("the name of a stop condition or a wait"));
                }
            }
            Token::Sign('(') => {
                self.advance();
                let inner = self.any()?;
                self.expect(')')?;
                inner.value
            }
            Token::Sign('[') => {
                self.advance();
                let list = self.items()?;
                self.expect(']')?;
                Value::List(list)
            }
            _ => return Err(self.expected("a stop condition, a wait, a number or a list")),
        };
        Ok(Term { at, value })
    }

    /// What stands in the brackets of a function.
    fn arguments(&mut self) -> Result<Vec<Argument<'a>>, ExpressionError> {
        let mut arguments = Vec::new();
        while self.token != Token::Sign(')') {
            let at = self.at;
            if self.takes('*') {
                let term = self.any()?;
                let list = Term { at: term.at, value: Value::List(term.list()?) };
                arguments.push(Argument { at, keyword: None, unpacked: true, term: list });
            } else {
                let keyword = self.keyword();
                let term = self.any()?;
                arguments.push(Argument { at, keyword, unpacked: false, term });
            }
            if !self.takes(',') {
                break;
            }
        }
        Ok(arguments)
    }

    /// `NAME =`, if that is what comes.
    fn keyword(&mut self) -> Option<&'a str> {
        let Token::Name(name) = self.token else { return None };
        let mut ahead = self.tokens;
        if ahead.take().1 != Token::Sign('=') {
            return None;
        }
        self.advance();
        self.advance();
        Some(name)
    }

    /// What stands in the brackets of a list.
    fn items(&mut self) -> Result<Vec<Term<'a>>, ExpressionError> {
        let mut items = Vec::new();
        while self.token != Token::Sign(']') {
            let before = self.terms;
            let item = self.any()?;
            if items.is_empty() && self.token == Token::Name("for") {
                let size = self.terms - before;
                self.terms = before;
                return self.repeated(item, size);
            }
            items.push(item);
            if !self.takes(',') {
                break;
            }
        }
        Ok(items)
    }

    /// `for NAME in range(INTEGER)`: the item so many times, if that is not too much.
    fn repeated(&mut self, item: Term<'a>, size: usize) -> Result<Vec<Term<'a>>, ExpressionError> {
        self.advance();
        let Token::Name(_) = self.token else { return Err(self.expected("a name")) };
        self.advance();
        self.word("in")?;
        self.word("range")?;
        self.expect('(')?;
        let Token::Number(number) = self.token else { return Err(self.expected("a whole number")) };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.expected("a whole number"));
        }
        let times = number.parse().unwrap_or(usize::MAX);
        self.count(size.saturating_mul(times))?;
        self.advance();
        self.expect(')')?;
        Ok(vec![item; times])
    }

    /// So many terms more.
    fn count(&mut self, terms: usize) -> Result<(), ExpressionError> {
        self.terms = self.terms.saturating_add(terms);
        if self.terms > MOST_TERMS {
            let expected = format!("no more than {MOST_TERMS} conditions, waits and numbers");
            return Err(self.expected(&expected));
        }
        Ok(())
    }

    fn advance(&mut self) {
        (self.at, self.token) = self.tokens.take();
    }

    /// Takes the sign if it is the next word.
    fn takes(&mut self, sign: char) -> bool {
        let is_next = self.token == Token::Sign(sign);
        if is_next {
            self.advance();
        }
        is_next
    }

    fn expect(&mut self, sign: char) -> Result<(), ExpressionError> {
        if self.takes(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    fn word(&mut self, word: &str) -> Result<(), ExpressionError> {
        if self.token != Token::Name(word) {
            return Err(self.expected(&format!("`{word}`")));
        }
        self.advance();
        Ok(())
    }

    fn expected(&self, what: &str) -> ExpressionError {
        ExpressionError::new(self.at, what, self.token)
    }
}
