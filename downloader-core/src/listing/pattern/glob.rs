//! Globs as steps: braces become alternatives, each component an expression for a whole name.
//!
//! Invariant: what is not closed is refused with its place; the number of alternatives is bounded. Must not know: paths.

use super::Step;
use crate::error::{Error, Result};
use crate::listing::expression::Expression;

/// Most alternatives that the braces of a glob stand for.
const MOST_ALTERNATIVES: usize = 256;
/// Most braces within braces.
const MOST_NESTED: usize = 16;

/// A character of a glob, and where it stands; escaped ones mean themselves.
#[derive(Clone, Copy)]
struct Char {
    c: char,
    at: usize,
    escaped: bool,
}

impl Char {
    fn is(&self, c: char) -> bool {
        self.c == c && !self.escaped
    }
}

/// The alternatives of a glob.
pub(super) fn parse(text: &str) -> Result<Vec<Vec<Step>>> {
    let mut alternatives = Vec::new();
    expand(&unescaped(text)?, Vec::new(), 0, &mut alternatives)?;
    alternatives.iter().map(|glob| steps(glob)).collect()
}

fn refused(at: usize, why: &str) -> Error {
    Error::input(format!("pattern: {why}, at character {at}"))
}

fn unescaped(text: &str) -> Result<Vec<Char>> {
    let mut chars = Vec::new();
    let mut rest = text.chars().enumerate();
    while let Some((at, c)) = rest.next() {
        chars.push(match c {
            '\\' => {
                let (_, c) = rest.next().ok_or_else(|| refused(at, "nothing follows the backslash"))?;
                Char { c, at, escaped: true }
            }
            c => Char { c, at, escaped: false },
        });
    }
    Ok(chars)
}

/// Writes out the first pair of braces of `rest`, behind `before`, and then the next ones.
fn expand(rest: &[Char], before: Vec<Char>, depth: usize, out: &mut Vec<Vec<Char>>) -> Result<()> {
    let mut before = before;
    let mut at = 0;
    while at < rest.len() {
        if rest[at].is('[') {
            let end = end_of_class(rest, at)?;
            before.extend(&rest[at..=end]);
            at = end + 1;
        } else if rest[at].is('{') {
            let (choices, end) = choices(rest, at)?;
            if depth > MOST_NESTED * 4 {
                return Err(refused(rest[at].at, "too many braces"));
            }
            for choice in choices {
                // What is chosen may have braces itself.
                let chosen = [choice, &rest[end + 1..]].concat();
                expand(&chosen, before.clone(), depth + 1, out)?;
            }
            return Ok(());
        } else {
            before.push(rest[at]);
            at += 1;
        }
    }
    if out.len() >= MOST_ALTERNATIVES {
        return Err(refused(0, "more than 256 alternatives"));
    }
    out.push(before);
    Ok(())
}

/// What stands between the commas of the braces that open at `start`, and where they close.
fn choices(chars: &[Char], start: usize) -> Result<(Vec<&[Char]>, usize)> {
    let (mut choices, mut from, mut depth, mut at) = (Vec::new(), start + 1, 0, start + 1);
    while at < chars.len() {
        match chars[at] {
            c if c.is('[') => at = end_of_class(chars, at)?,
            c if c.is('{') => {
                depth += 1;
                if depth > MOST_NESTED {
                    return Err(refused(c.at, "too many braces"));
                }
            }
            c if c.is('}') && depth > 0 => depth -= 1,
            c if c.is(',') && depth == 0 => {
                choices.push(&chars[from..at]);
                from = at + 1;
            }
            c if c.is('}') => {
                choices.push(&chars[from..at]);
                return Ok((choices, at));
            }
            _ => {}
        }
        at += 1;
    }
    Err(refused(chars[start].at, "the brace is not closed"))
}

/// Where the class that opens at `start` closes: a bracket right behind the opening one is a member.
fn end_of_class(chars: &[Char], start: usize) -> Result<usize> {
    let mut at = start + 1;
    if chars.get(at).is_some_and(|c| c.is('!') || c.is('^')) {
        at += 1;
    }
    let closing = chars.iter().enumerate().skip(at + 1).find(|(_, c)| c.is(']'));
    let end =
        closing.map(|(end, _)| end).ok_or_else(|| refused(chars[start].at, "the bracket is not closed"))?;
    match chars[start..end].iter().find(|c| c.c == '/') {
        Some(slash) => Err(refused(slash.at, "a slash within brackets")),
        None => Ok(end),
    }
}

fn steps(glob: &[Char]) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    // Nothing matches nothing: whoever asks refuses it.
    if glob.iter().all(|c| c.c == '/') {
        return Ok(steps);
    }
    let is_anchored = glob.iter().any(|c| c.c == '/');
    if !is_anchored {
        steps.push(Step::Any);
    }
    for component in glob.split(|c| c.c == '/').filter(|component| !component.is_empty()) {
        match component {
            [a, b] if a.is('*') && b.is('*') => {
                if !matches!(steps.last(), Some(Step::Any)) {
                    steps.push(Step::Any);
                }
            }
            _ => steps.push(Step::Name(name(component)?)),
        }
    }
    // All below it, not the directory itself.
    if matches!(steps.last(), Some(Step::Any)) {
        steps.push(Step::Name(Expression::parse("")?));
    }
    Ok(steps)
}

/// A component, as an expression for the whole of a name.
fn name(component: &[Char]) -> Result<Expression> {
    let mut text = String::from("(?s)");
    let mut at = 0;
    while let Some(c) = component.get(at) {
        match c {
            c if c.is('*') => text.push_str(".*"),
            c if c.is('?') => text.push('.'),
            c if c.is('[') => {
                let end = end_of_class(component, at)?;
                text.push_str(&class(&component[at + 1..end])?);
                at = end;
            }
            c => text.push_str(&escaped(c.c)),
        }
        at += 1;
    }
    text.push_str(r"\Z");
    let at = component.first().map_or(0, |first| first.at);
    Expression::parse(&text)
        .map_err(|error| refused(at, "a component that cannot be used").with_source(error))
}

fn class(members: &[Char]) -> Result<String> {
    let mut text = String::from("[");
    let mut members = members;
    if let [first, rest @ ..] = members
        && (first.is('!') || first.is('^'))
    {
        text.push('^');
        members = rest;
    }
    while let [first, rest @ ..] = members {
        text.push_str(&escaped(first.c));
        members = rest;
        if let [dash, last, rest @ ..] = rest
            && dash.is('-')
        {
            if last.c < first.c {
                return Err(refused(first.at, "a range that is none"));
            }
            text.push('-');
            text.push_str(&escaped(last.c));
            members = rest;
        }
    }
    text.push(']');
    Ok(text)
}

/// A character that means itself in Python's syntax, within a class and without.
fn escaped(c: char) -> String {
    if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() }
}
