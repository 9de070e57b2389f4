//! Trees: a directory of the far side brought to this machine, and kept as it is there.
//!
//! A [`Mirror`] walks the far side's tree ([`Engine::walk`](crate::Engine::walk)), compares each entry with what is here, and
//! turns what is new or changed into jobs for the engine ([`Steps`]); the [`Ledger`] counts what became of them, and at the
//! end removes what the far side has no more, if that is wanted and its listing was complete.
//!
//! Invariant: nothing is written, linked or removed outside the directory that was named, whatever names and links say and
//! whoever swaps what lies in it meanwhile; nothing is removed on the strength of a listing that may lack something. Must not
//! know: any protocol, how a file is downloaded or written.

mod asking;
mod ledger;
mod mirror;
mod path;
mod plan;
mod planner;
mod rules;
mod seen;
mod steps;
mod sweep;

pub use self::ledger::{Ledger, Summary};
pub use self::mirror::Mirror;
pub use self::path::{BadName, TreePath};
pub use self::rules::{Compare, Links, MaxDelete};
pub use self::steps::{Change, Notice, Planned, Step, Steps};

#[cfg(test)]
mod tests;
