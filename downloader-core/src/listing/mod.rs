//! Directories of the far side: what is in them, one by one, and whole trees of them.
//!
//! A listing is [`Download::open`](crate::Download::open) again: [`Fetch::listing`](crate::Fetch::listing) asks for the
//! entries of the directory that a URL names, and the reply is a body whose bytes a parser of the backend reads
//! ([`Entries`]). So limits, speed, clocks, guard, proxies, credentials and the record of attempts hold for it as they do
//! for any content. Above that a listing *is* a content, in the engine's own form ([`EntryEncoder`]): cut half-way it is
//! asked for again, what was given out is compared and not given out twice, and a directory that changed meanwhile is an
//! error.
//!
//! Invariant: a listing ends without an error only when all of it came. Must not know: any protocol.

pub mod calendar;
mod encoding;
mod entry;
pub mod escape;
mod expression;
mod line;
mod listed;
mod pattern;
mod reader;
mod walk;

pub use self::encoding::{EntryDecoder, EntryEncoder};
pub use self::entry::{Entry, EntryKind, LONGEST_NAME, Modified, NoName, Precision};
pub use self::expression::Expression;
pub use self::line::{Entries, LONGEST_LINE, Line, ListingParser, Unreadable};
pub(crate) use self::listed::Listed;
pub use self::listed::ListingLimits;
pub use self::pattern::{Pattern, Selection};
pub use self::reader::Listing;
pub use self::walk::{Found, Step, Walk, WalkOptions};

#[cfg(test)]
mod tests;
