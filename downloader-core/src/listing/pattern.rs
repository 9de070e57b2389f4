//! Which paths of a tree are wanted: by the regular expressions of BioMAJ's `remote.files`, and by globs.
//!
//! A pattern is a list of steps, one for each component of a path; a path is matched by going through both side by side,
//! so that it is also known which directories need not be listed.
//!
//! Invariant: matching takes time in proportion to steps and components; a directory is left out only if nothing below it
//! can match. Must not know: who lists.

mod glob;
mod selection;

use std::fmt;
use std::str::FromStr;

pub use self::selection::Selection;
use super::expression::Expression;
use crate::error::{Error, Result};

/// Most steps of a pattern.
const MOST_STEPS: usize = 256;

/// A pattern for paths below a directory, such as `deep/x.txt`: without a slash in front, components apart by `/`.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    kind: Kind,
    /// Any of them.
    alternatives: Vec<Vec<Step>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Files only.
    RemoteFiles,
    /// Whatever has that path, and all below it.
    Glob {
        /// A slash at its end.
        directories_only: bool,
    },
}

/// What one component of a path must be.
#[derive(Clone, Debug)]
enum Step {
    /// Any number of components, also none.
    Any,
    /// One, from its start on.
    Name(Expression),
}

impl Pattern {
    /// A pattern of BioMAJ's `remote.files`: regular expressions in Python's syntax, one for each component, apart by
    /// `/`; each must match a name from its start on, not to its end. It matches files (and links), never directories.
    ///
    /// - `^.*\.gz$`: the files of the directory itself of that name; `a` matches `a.txt`, too.
    /// - `^deep/.*`, `^/deep/.*`, `/deep/.*`, `deep/.*`: the files of each directory below it whose name begins with `deep`.
    /// - `**/*`: every file at every depth; `deep/**/*`: every file at every depth below `deep`.
    ///
    /// # Errors
    /// Kind `Input`, with the place; see [`Expression`].
    pub fn remote_files(text: &str) -> Result<Self> {
        let mut steps = Vec::new();
        let mut offset = 0;
        let mut components = text.split('/').enumerate().peekable();
        while let Some((index, component)) = components.next() {
            let is_last = components.peek().is_none();
            let start = offset;
            offset += component.chars().count() + 1;
            match component {
                // `^/`, a slash in front, and slashes twice.
                "^" if index == 0 && !is_last => {}
                "" if !is_last => {}
                "**" if components.next_if(|(_, next)| *next == "*").is_some() => {
                    if components.peek().is_some() {
                        let why = "**/* stands only at the end of a pattern";
                        return Err(Error::input(format!("pattern: {why}, at character {start}")));
                    }
                    steps.extend([Step::Any, Step::Name(Expression::parse("")?)]);
                }
                _ => steps.push(Step::Name(Expression::parse_at(component, start)?)),
            }
        }
        Self::of(text, Kind::RemoteFiles, vec![steps])
    }

    /// A glob: `*` is any part of a name, `?` one character, `[a-z]` and `[!a-z]` one of these or none of them, `{a,b}` one
    /// or the other, `**` any number of directories; `\` takes the meaning off what follows.
    ///
    /// Without a slash in it, but at its end, it matches at every depth; with one it starts at the directory itself, as if
    /// there were a slash in front. A slash at its end lets it match directories only. Case counts. A directory that
    /// matches stands for all below it.
    ///
    /// # Errors
    /// Kind `Input`, with the place, for a bracket or brace that is not closed, and for more than 256 alternatives.
    pub fn glob(text: &str) -> Result<Self> {
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        let alternatives = glob::parse(trimmed)?;
        Self::of(text, Kind::Glob { directories_only: trimmed.len() < text.len() }, alternatives)
    }

    fn of(text: &str, kind: Kind, alternatives: Vec<Vec<Step>>) -> Result<Self> {
        if alternatives.iter().any(|steps| steps.is_empty() || steps.len() > MOST_STEPS) {
            return Err(Error::input("pattern: expected between 1 and 256 components"));
        }
        Ok(Self { text: text.into(), kind, alternatives })
    }

    /// True when it matches this path itself, which is that of a directory or not.
    #[must_use]
    pub fn matches(&self, path: &str, is_directory: bool) -> bool {
        let may_be = match self.kind {
            Kind::RemoteFiles => !is_directory,
            Kind::Glob { directories_only } => is_directory || !directories_only,
        };
        may_be && self.alternatives.iter().any(|steps| reached(steps, path).last() == Some(&true))
    }

    /// True when it may match something below this directory.
    #[must_use]
    pub fn may_match_below(&self, directory: &str) -> bool {
        // Some step is left to be taken.
        let open = |steps: &Vec<Step>| reached(steps, directory)[..steps.len()].contains(&true);
        self.alternatives.iter().any(open)
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True when a directory that it matches stands for all below it.
    fn takes_trees(&self) -> bool {
        matches!(self.kind, Kind::Glob { .. })
    }
}

/// How many steps may be taken by this path: at each index whether so many can.
fn reached(steps: &[Step], path: &str) -> Vec<bool> {
    let mut reached = vec![false; steps.len() + 1];
    reached[0] = true;
    skip(steps, &mut reached);
    for component in path.split('/').filter(|component| !component.is_empty()) {
        let mut next = vec![false; steps.len() + 1];
        for (at, step) in steps.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match step {
                Step::Any => next[at] = true,
                Step::Name(expression) => next[at + 1] |= expression.matches_start(component),
            }
        }
        skip(steps, &mut next);
        reached = next;
    }
    reached
}

/// [`Step::Any`] may be no component at all.
fn skip(steps: &[Step], reached: &mut [bool]) {
    for (at, step) in steps.iter().enumerate() {
        if reached[at] && matches!(step, Step::Any) {
            reached[at + 1] = true;
        }
    }
}

/// Prints the pattern as it was given.
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.takes_trees() { "glob" } else { "remote_files" };
        f.debug_tuple(name).field(&self.text).finish()
    }
}

/// Reads a glob, or after `regex:` a pattern of `remote.files`: what command lines take.
impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.strip_prefix("regex:").map_or_else(|| Self::glob(text), Self::remote_files)
    }
}

#[cfg(test)]
mod tests;
