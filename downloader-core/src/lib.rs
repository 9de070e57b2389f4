//! A download engine: cut, stall, lie, redirect, rename or swap anything below it, at any byte, and the
//! caller gets the right bytes once, or a reason.
//!
//! Everything beyond "give me these bytes of that URL" is the same act repeated with other arguments: a retry
//! asks again later, a resume at an offset an earlier run left, a mirror at another URL, a segment at a higher
//! offset. So there is one primitive ([`Download::open`]), one state that survives failures (the transfer) and
//! one bookkeeping of what is done ([`RangeSet`]).
//!
//! A protocol is a [`Backend`]. The core has none but `file:` ([`FileBackend`]); for those over TCP it has the way to the
//! far side, [`net`]: resolving, the address [`Guard`], connecting, proxies.

mod batch;
pub mod blocking;
pub mod checksums;
mod context;
pub mod credentials;
pub mod download;
mod engine;
pub mod entity;
pub mod error;
pub mod event;
pub mod file;
mod frontier;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
mod identity;
pub mod job;
pub mod layer;
pub mod listing;
pub mod meter;
pub mod mirrors;
pub mod name;
pub mod net;
pub mod options;
pub mod range;
mod record;
mod reporter;
pub mod request;
pub mod retry;
mod segments;
mod shards;
mod single_flight;
pub mod sources;
mod streamer;
mod trail;
mod transfer;
pub mod tree;
pub mod url;
pub mod validate;
pub mod write;

pub use self::batch::{Batch, Done};
pub use self::download::{Allowance, Backend, Body, Connection, Download, Fetch, Insistence, Wire};
pub use self::engine::{Engine, EngineBuilder, Handle};
pub use self::entity::{Entity, Provenance, SourceId, Splice, Tag};
pub use self::error::{Error, ErrorKind, Phase, Result};
pub use self::event::{Attempt, Decision, Event, Observer, Totals};
pub use self::file::{FileBackend, LocalFile};
pub use self::identity::Identity;
pub use self::job::{Job, Outcome};
pub use self::layer::throttle::Rate;
pub use self::listing::{Entry, EntryKind, Line, Listing};
pub use self::meter::Meter;
pub use self::name::FileName;
pub use self::net::Guard;
pub use self::options::Options;
pub use self::range::{ByteRange, RangeSet};
pub use self::request::{Connections, LowestSpeed, Patience, Request, Terms};
pub use self::retry::{Failure, RetryPolicy};
pub use self::shards::{Run, Shards};
pub use self::single_flight::{Leaving, Seat, SingleFlight};
pub use self::sources::{Fixed, Locate, Source};
pub use self::streamer::{Integrity, Streamer};
pub use self::url::SafeUrl;
pub use self::validate::{Check, Evidence, Head, Validator};
pub use self::write::{Access, FileWriter, Held, Writer};
