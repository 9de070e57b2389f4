//! A download as a stream: the head first, then the bytes in order, healed and checked, nothing on disk.
//!
//! Invariant: the stream ends without an error only after every check agreed; bytes given out are never given
//! out again. Must not know: who reads it. Dropping it stops the download.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use crate::context::{Context, Stop};
use crate::download::Wire;
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::event::Event;
use crate::frontier::Frontier;
use crate::job;
use crate::meter::Meter;
use crate::options::Options;
use crate::range::{ByteRange, RangeSet};
use crate::segments::Segments;
use crate::transfer::Reply;
use crate::url::SafeUrl;
use crate::write::Writer;

/// What a stream promises of bytes that have not been checked to their end.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Integrity {
    /// The last piece is held back until the checks agree: whoever knows the length never holds a complete
    /// wrong content.
    #[default]
    HoldBack,
    /// Everything is taken into this writer and checked before the first byte is given out; the writer must
    /// read back ([`Access::Random`](crate::Access)), and is dropped without `commit`. All remedies apply.
    VerifyFirst(Box<dyn Writer>),
    /// Every byte at once; wrong content ends in an error behind the last one.
    Trailing,
}

/// Bytes of a download in order. The error that ends a failed one is the last item.
pub struct Streamer {
    entity: Entity,
    range: ByteRange,
    not_modified: bool,
    media_type: Option<mime::Mime>,
    wire: Wire,
    extras: Options,
    url: SafeUrl,
    meter: Arc<Meter>,
    bytes: BoxStream<'static, Result<Bytes>>,
}

impl Streamer {
    pub(crate) async fn open(cx: Context, integrity: Integrity, threads: Arc<Semaphore>) -> Result<Self> {
        let cx = Arc::new(cx);
        // On the heap: callers keep this future in theirs.
        cx.guarded(Box::pin(Self::begin(Arc::clone(&cx), integrity, threads))).await
    }

    async fn begin(cx: Arc<Context>, integrity: Integrity, threads: Arc<Semaphore>) -> Result<Self> {
        let trailing = match integrity {
            Integrity::VerifyFirst(spool) => return Self::verify_first(cx, spool, threads).await,
            Integrity::Trailing => true,
            Integrity::HoldBack => false,
        };
        cx.begun();
        let nothing = RangeSet::new();
        let opening = Segments::open(&cx, &nothing, false);
        let opened = match cx.request.deadline {
            None => opening.await,
            Some(deadline) => tokio::time::timeout(deadline, opening).await.unwrap_or_else(|_| Err(late())),
        };
        let (segments, reply) = opened.map_err(|stop| failed(&cx, stop.into_error()))?;
        let entity = cx.pinned().map(|pinned| pinned.provenance.entity).unwrap_or_default();
        cx.meter.set_size(entity.size);
        let mut checks = Frontier::new(cx.checks(), threads);
        if let Some(told) = cx.told(&reply.digests) {
            checks.add(&told);
        }
        let ended = reply.not_modified.is_some() || !cx.request.body;
        if ended {
            cx.succeeded();
        }
        let flow = Flow {
            checks: Some(checks),
            cx: Arc::clone(&cx),
            segments: Some(segments),
            held: None,
            trailing,
            ended,
        };
        let next = |mut flow: Flow| async move { flow.next().await.map(|item| (item, flow)) };
        Ok(Self::new(&cx, reply, entity, stream::unfold(flow, next).fuse().boxed()))
    }

    async fn verify_first(
        cx: Arc<Context>,
        mut spool: Box<dyn Writer>,
        threads: Arc<Semaphore>,
    ) -> Result<Self> {
        let outcome = job::run(&cx, &mut *spool, &threads, false).await?;
        let start = cx.request.range.start.min(outcome.entity.size.unwrap_or(u64::MAX));
        let end = start + outcome.size;
        let read = move |(mut spool, at): (Box<dyn Writer>, u64)| async move {
            if at >= end {
                return Ok(None);
            }
            let chunk = spool.read(at..end.min(at + (256 << 10))).await?;
            let next = at + chunk.len() as u64;
            Ok(Some((chunk, (spool, next))))
        };
        let bytes = stream::try_unfold((spool, start), read).boxed();
        let reply = Reply {
            url: outcome.url,
            not_modified: outcome.not_modified.then(Entity::default),
            media_type: outcome.media_type,
            file_name: outcome.file_name,
            digests: outcome.digests,
            wire: outcome.wire,
            file: None,
            extras: outcome.extras,
        };
        Ok(Self::new(&cx, reply, outcome.entity, bytes))
    }

    fn new(cx: &Context, reply: Reply, entity: Entity, bytes: BoxStream<'static, Result<Bytes>>) -> Self {
        let range = cx.request.range;
        let end = match (range.end, entity.size) {
            (Some(end), Some(size)) => Some(end.min(size)),
            (end, size) => end.or(size),
        };
        Self {
            range: ByteRange { start: end.map_or(range.start, |end| range.start.min(end)), end },
            not_modified: reply.not_modified.is_some(),
            entity: reply.not_modified.unwrap_or(entity),
            media_type: reply.media_type,
            wire: reply.wire,
            extras: reply.extras,
            url: reply.url,
            meter: Arc::clone(&cx.meter),
            bytes,
        }
    }

    /// The content.
    #[must_use]
    pub fn entity(&self) -> &Entity {
        &self.entity
    }

    /// The bytes of the content that the stream gives out; an end of `None` is not known beforehand.
    #[must_use]
    pub fn range(&self) -> ByteRange {
        self.range
    }

    /// Number of bytes the stream gives out, if known beforehand.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.range.len()
    }

    /// True when the content is still the one named by [`Request::unless`](crate::Request::unless).
    #[must_use]
    pub fn is_not_modified(&self) -> bool {
        self.not_modified
    }

    /// Media type, as told.
    #[must_use]
    pub fn media_type(&self) -> Option<&mime::Mime> {
        self.media_type.as_ref()
    }

    /// How the head came: address, status, protocol, URL after redirects.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Protocol detail by type, such as response headers to be forwarded.
    #[must_use]
    pub fn extras(&self) -> &Options {
        &self.extras
    }

    /// The source that gave the head.
    #[must_use]
    pub fn url(&self) -> &SafeUrl {
        &self.url
    }

    /// The byte counts.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Stream for Streamer {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        self.bytes.poll_next_unpin(task)
    }
}

impl fmt::Debug for Streamer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Streamer");
        debug.field("url", &self.url).field("entity", &self.entity).field("range", &self.range);
        debug.finish_non_exhaustive()
    }
}

/// A stream under way.
struct Flow {
    cx: Arc<Context>,
    /// Given up with the first failure: what follows it needs no connection.
    segments: Option<Segments>,
    checks: Option<Frontier>,
    /// The piece that is given out when the next one, or the verdict, is in.
    held: Option<Bytes>,
    trailing: bool,
    ended: bool,
}

impl Flow {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        if self.ended {
            return None;
        }
        let cx = Arc::clone(&self.cx);
        let next = cx.guarded(self.advance()).await.transpose();
        if let Some(Err(_)) = next {
            self.ended = true;
            self.segments = None;
            // What was held back of a wrong content is never given out.
            self.held = None;
        }
        next
    }

    async fn advance(&mut self) -> Result<Option<Bytes>> {
        let deadline = self.cx.request.deadline.map(|deadline| self.cx.started + deadline);
        let step = self.step();
        let step = match deadline {
            None => step.await,
            Some(deadline) => tokio::time::timeout_at(deadline, step).await.unwrap_or_else(|_| Err(late())),
        };
        let bytes = step.map_err(|stop| failed(&self.cx, stop.into_error()))?;
        if self.ended {
            self.cx.succeeded();
        }
        Ok(bytes)
    }

    async fn step(&mut self) -> Result<Option<Bytes>, Stop> {
        while let Some(segments) = &mut self.segments
            && let Some(chunk) = segments.try_next().await?
        {
            let length = chunk.bytes.len() as u64;
            if let Some(checks) = &mut self.checks
                && let Err(error) = checks.offer(chunk.offset, &chunk.bytes).await
            {
                segments.interrupt(&error);
                return Err(error.into());
            }
            self.cx.done(length);
            if self.trailing {
                return Ok(Some(chunk.bytes));
            }
            if let Some(bytes) = self.held.replace(chunk.bytes) {
                return Ok(Some(bytes));
            }
        }
        if let Some(checks) = self.checks.take() {
            let evidence = checks.finish().await?;
            self.cx.warn(&evidence);
            let entity = self.cx.pinned().map(|pinned| pinned.provenance.entity).unwrap_or_default();
            self.cx.observe(&Event::Verified { job: self.cx.job, entity: &entity, evidence: &evidence });
        }
        self.ended = true;
        Ok(self.held.take())
    }
}

fn failed(cx: &Context, error: Error) -> Error {
    let error = cx.final_error(error.with_offset(cx.meter.done()));
    cx.observe(&Event::Failed { job: cx.job, error: &error, totals: cx.totals() });
    error
}

fn late() -> Stop {
    Stop::GiveUp(Error::new(ErrorKind::Timeout(Phase::Total), "not done within the deadline"))
}
