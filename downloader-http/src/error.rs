//! The one place where failures of the client library get their kind.
//!
//! Invariant: the kind says what to do about it, the source keeps the whole chain, and no URL is in either.
//! Must not know: retries. Statuses have their classes in [`crate::status`].

use std::error::Error as StdError;
use std::io;
use std::iter;

use downloader_core::{Error, ErrorKind, Phase};
use downloader_tls as tls;

/// How far a request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Up to the head of the reply.
    Head,
    /// Within the body.
    Body,
}

/// Makes an error of the engine of one of a connection that stands.
pub(crate) fn classify(error: hyper::Error, stage: Stage) -> Error {
    if stage == Stage::Head
        && let Some(refused) = tls::refusal(&error)
    {
        return refused;
    }
    let (kind, what) = kind_of(&error, stage);
    Error::new(kind, what).with_source(error)
}

pub(crate) type Verdict = (ErrorKind, &'static str);

const NO_REPLY: &str = "connection broke before the reply";
const CUT: &str = "connection broke within the body";

fn kind_of(error: &hyper::Error, stage: Stage) -> Verdict {
    if causes(error).filter_map(|cause| cause.downcast_ref()).any(is_local) {
        return (ErrorKind::Local, "out of file descriptors or memory");
    }
    if error.is_user() {
        // Not `Input`, which ends a download: another mirror, or the server that redirects, may know better.
        return (ErrorKind::Unsupported, "a request that HTTP cannot carry");
    }
    match stage {
        Stage::Head if is_timeout(error) => (ErrorKind::Timeout(Phase::Head), NO_REPLY),
        Stage::Body if is_timeout(error) => (ErrorKind::Timeout(Phase::Idle), CUT),
        stage => of_cause(error, stage),
    }
}

/// What the causes say of a connection that stood.
pub(crate) fn of_cause(error: &(dyn StdError + 'static), stage: Stage) -> Verdict {
    match stage {
        Stage::Head => causes(error).find_map(before_the_reply).unwrap_or((ErrorKind::Connect, NO_REPLY)),
        Stage::Body => causes(error).find_map(within_the_body).unwrap_or((ErrorKind::Truncated, CUT)),
    }
}

/// True when the far side gave no sign of life: an unanswered HTTP/2 ping, or TCP's own clock.
fn is_timeout(error: &hyper::Error) -> bool {
    let tcp = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
    error.is_timeout() || causes(error).filter_map(|cause| cause.downcast_ref()).any(tcp)
}

/// What a cause says of a connection that stood; `None` leaves it to the next, and in the end to "it broke".
fn before_the_reply(cause: &(dyn StdError + 'static)) -> Option<Verdict> {
    const MALFORMED: Verdict = (ErrorKind::Protocol, "malformed or overlong head of the reply");
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_parse().then_some(MALFORMED);
    }
    if let Some(error) = cause.downcast_ref::<h2::Error>() {
        if error.is_library() {
            return Some(MALFORMED);
        }
        return match error.reason()? {
            h2::Reason::ENHANCE_YOUR_CALM => Some((ErrorKind::Busy, "the server asks for calm")),
            h2::Reason::HTTP_1_1_REQUIRED => Some((ErrorKind::Protocol, "the server wants HTTP/1.1 here")),
            _ => None,
        };
    }
    None
}

/// In the body, a broken frame or record is a cut like any other: what came before was whole.
fn within_the_body(cause: &(dyn StdError + 'static)) -> Option<Verdict> {
    if cause.is::<h2::Error>() || cause.is::<rustls::Error>() {
        return Some((ErrorKind::Truncated, CUT));
    }
    let error = cause.downcast_ref::<io::Error>()?;
    // An `InvalidData` with a cause of its own is a damaged TLS record: let the cause speak.
    let is_chunk = match error.kind() {
        io::ErrorKind::InvalidInput => true,
        io::ErrorKind::InvalidData => error.get_ref().is_none_or(|inner| !inner.is::<rustls::Error>()),
        _ => false,
    };
    is_chunk.then_some((ErrorKind::Protocol, "malformed chunk"))
}

/// True for faults of this machine: no file descriptors (`EMFILE`, `ENFILE`), no memory.
pub(crate) fn is_local(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory || cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// The error and its causes.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |error| cause(*error))
}

/// `io::Error::source` skips the error it wraps, and `h2::Error` has no source at all.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return Some(inner);
    }
    if let Some(inner) = error.downcast_ref::<h2::Error>().and_then(h2::Error::get_io) {
        return Some(inner);
    }
    error.source()
}
