//! What happened, told while it happens (events) and afterwards (the attempt record).
//!
//! Invariant: events come in protocol order and cannot change the flow; a panic of an observer fails only
//! the download it was told about. Must not know: who listens.

use std::fmt;
use std::time::Duration;

use crate::download::{Body, Wire};
use crate::entity::Entity;
use crate::error::{Error, ErrorKind};
use crate::url::SafeUrl;
use crate::validate::Evidence;

/// One try at one source: who was asked, what came, and what was decided.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The URL asked; prints without secrets.
    pub url: SafeUrl,
    /// How the reply came, as far as it did: address, status, protocol, connection, times.
    pub wire: Wire,
    /// Offset of the first byte asked for.
    pub offset: u64,
    /// Bytes of the content taken from this attempt.
    pub bytes: u64,
    /// Time from the request to the end of the attempt.
    pub duration: Duration,
    /// Why it ended; `None` when it did what was asked.
    pub error: Option<ErrorKind>,
    /// The reason in words, causes included; empty when it did what was asked.
    pub reason: Box<str>,
    /// What was decided next.
    pub decision: Decision,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// Nothing: it did what was asked.
    Done,
    /// The next source is asked at once.
    NextSource,
    /// All sources failed in turn; they are asked again after this time.
    Wait(Duration),
    /// This source is asked no more for this content.
    Reject,
    /// What was taken is thrown away and the download begins anew.
    StartOver,
    /// The download fails.
    GiveUp,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::NextSource => f.write_str("next source"),
            Self::Wait(delay) => write!(f, "wait {:.1} s", delay.as_secs_f64()),
            Self::Reject => f.write_str("source rejected"),
            Self::StartOver => f.write_str("start over"),
            Self::GiveUp => f.write_str("give up"),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url)?;
        if let Some(address) = self.wire.address {
            write!(f, " [{address}]")?;
        }
        if let Some(status) = self.wire.status {
            write!(f, " {status}")?;
        }
        write!(f, ", {} bytes from byte {}, {:.1} s", self.bytes, self.offset, self.duration.as_secs_f64())?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        write!(f, " → {}", self.decision)
    }
}

/// Something that happened to one download, numbered by `job`, or to an origin, which concerns all that ask it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The download was taken up.
    Started {
        /// Number of the download.
        job: u64,
        /// Its group ([`Request::group`](crate::Request::group)).
        group: Option<&'a str>,
    },
    /// A source is asked.
    Request {
        /// Number of the download.
        job: u64,
        /// The URL asked.
        url: &'a SafeUrl,
        /// Offset of the first byte asked for.
        offset: u64,
    },
    /// The head of a reply is in and accepted.
    Head {
        /// Number of the download.
        job: u64,
        /// The reply; its stream has not been touched.
        body: &'a Body,
    },
    /// An attempt ended.
    Attempt {
        /// Number of the download.
        job: u64,
        /// Its record.
        attempt: &'a Attempt,
    },
    /// The content cannot be finished, or is wrong: what was taken of it was thrown away, and it is fetched anew.
    StartOver {
        /// Number of the download.
        job: u64,
        /// Why.
        error: &'a Error,
        /// After this time.
        wait: Duration,
    },
    /// A check that only warns did not agree.
    Warning {
        /// Number of the download.
        job: u64,
        /// What it said.
        error: &'a Error,
    },
    /// An origin asked to be left alone: nobody asks it meanwhile, whoever wants to waits.
    Resting {
        /// Scheme, host and port.
        origin: &'a str,
        /// For how long.
        time: Duration,
    },
    /// The circuit of an origin opened: it is not asked but by one probe at a time, from time to time.
    CircuitOpened {
        /// Scheme, host and port.
        origin: &'a str,
        /// Requests in a row that got no answer.
        failures: u32,
        /// Time to the first probe.
        time: Duration,
    },
    /// The origin answered: its circuit is closed again.
    CircuitClosed {
        /// Scheme, host and port.
        origin: &'a str,
    },
    /// Every byte is in and every check agreed.
    Verified {
        /// Number of the download.
        job: u64,
        /// What the bytes are of.
        entity: &'a Entity,
        /// What the checks found.
        evidence: &'a [Evidence],
    },
    /// The download ended well: committed, given out, or not modified.
    Done {
        /// Number of the download.
        job: u64,
        /// What it came to.
        totals: Totals,
    },
    /// The download ended without its bytes.
    Failed {
        /// Number of the download.
        job: u64,
        /// Why.
        error: &'a Error,
        /// What it came to.
        totals: Totals,
    },
    /// The caller dropped it before its end.
    Stopped {
        /// Number of the download.
        job: u64,
        /// What it came to.
        totals: Totals,
    },
}

/// What a download came to, however it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Bytes of bodies received, also those that came in vain.
    pub received: u64,
    /// Bytes of the content that are in place, or were given out; those of an earlier run included.
    pub in_place: u64,
    /// Time since it was taken up.
    pub elapsed: Duration,
}

/// Listens. Called on the thread that drives the download: be quick; a panic fails that download only.
///
/// After [`Event::Started`] comes exactly one of [`Event::Done`], [`Event::Failed`] and [`Event::Stopped`], also if the
/// download is dropped, so that what is under way can be counted. Attempts that a drop ends are told by
/// [`Error::attempts`] alone.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, event: &Event<'_>);
}

/// The causes of an error in one line, outermost first.
pub(crate) fn reason(error: &Error) -> Box<str> {
    let mut text = format!("{}: {}", error.kind().as_str(), error.what());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.into()
}
