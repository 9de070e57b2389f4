//! How a download ended well: what is told of it.
//!
//! Invariant: it says what was done, not what was asked for. Must not know: how it was done.

use std::time::Duration;

use crate::context::Context;
use crate::download::Wire;
use crate::entity::Entity;
use crate::error::Error;
use crate::event::Attempt;
use crate::name::FileName;
use crate::options::Options;
use crate::transfer::Reply;
use crate::url::SafeUrl;
use crate::validate::{Digest, Evidence};
#[cfg(doc)]
use crate::{request::Request, write::Writer};

/// How a download ended well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// Size of the content in bytes; 0 when not modified.
    pub size: u64,
    /// Bytes of bodies received, also those that came in vain.
    pub received: u64,
    /// Bytes an earlier run had left, used in this one.
    pub held: u64,
    /// True when the writer took the source's own file, which is one of this machine ([`Writer::adopt`]): no byte of
    /// it was received, and checks read it from there.
    pub adopted: bool,
    /// True when the content is still the one named by [`Request::unless`]: nothing was written.
    pub not_modified: bool,
    /// What the checks found, in the order in which they were asked.
    pub evidence: Vec<Evidence>,
    /// What went wrong in the writer without failing the download: a sink that was given up.
    pub warnings: Vec<Error>,
    /// The content.
    pub entity: Entity,
    /// The source that served the last bytes, as it was asked.
    pub url: SafeUrl,
    /// Media type, as told.
    pub media_type: Option<mime::Mime>,
    /// File name, as told.
    pub file_name: Option<FileName>,
    /// Digests of the whole content, as the source tells them in the head of its first reply.
    pub digests: Vec<Digest>,
    /// How the first reply came: address, status, protocol, URL after redirects.
    pub wire: Wire,
    /// Protocol detail by type: response headers, redirects.
    pub extras: Options,
    /// Everything that was tried, in order.
    pub attempts: Vec<Attempt>,
    /// Time from start to commit.
    pub elapsed: Duration,
}

pub(super) fn not_modified(cx: &Context, reply: Reply) -> Outcome {
    let entity = reply.not_modified.clone().unwrap_or_default();
    Outcome { not_modified: true, ..outcome(cx, reply, entity, 0, 0, Vec::new()) }
}

pub(super) fn outcome(
    cx: &Context,
    reply: Reply,
    entity: Entity,
    size: u64,
    held: u64,
    evidence: Vec<Evidence>,
) -> Outcome {
    Outcome {
        size,
        received: 0,
        held,
        adopted: false,
        not_modified: false,
        evidence,
        warnings: Vec::new(),
        entity,
        url: cx.record.last_url().unwrap_or(reply.url),
        media_type: reply.media_type,
        file_name: reply.file_name,
        digests: reply.digests,
        wire: reply.wire,
        extras: reply.extras,
        attempts: Vec::new(),
        elapsed: Duration::ZERO,
    }
}
