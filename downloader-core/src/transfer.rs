//! One run of bytes from one offset on, whatever happens to those who serve it: the state that survives
//! failures. Retry, resume, mirror and segment are all this: opened again at an offset.
//!
//! ```text
//!  Idle ──open──► Opening ──ok──► accept: same content? skip to `at` ──► Reading ──► chunk, at += n
//!    ▲               │ error               │ no                            │ error, or ended early
//!    └── recover ◄───┴─────────────────────┴───────────────────────────────┘
//!          reject, or next source, or a full round failed → Waiting → Idle; none left → Locating
//! ```
//!
//! Invariant: bytes leave only by return value, in order, and `at` moves in the same poll; every future waited
//! on is stored in `self`, so dropping at any await loses nothing; a broken body is dropped before its
//! replacement is opened. Must not know: writers, checks' results, other transfers.

mod judge;
mod recover;
mod reply;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::time::Sleep;

pub(crate) use self::reply::Reply;
use crate::context::{Context, Stop};
use crate::download::{Body, Fetch, Insistence};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Decision, Event};
use crate::health::Running;
use crate::range::ByteRange;
use crate::record::Underway;
use crate::sources::{Id, Picked};
use crate::trail::{Differs, OVERLAP, Skip, Trail};

/// Bytes of the content, and where they belong.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

pub(crate) struct Transfer {
    cx: Arc<Context>,
    at: u64,
    end: Option<u64>,
    state: State,
    /// Sources that failed since the last new byte or wait.
    tried: Vec<Id>,
    /// Those of them that were not even asked: their circuit is open.
    unasked: Vec<Id>,
    /// How long asking those would have taken.
    spared: Duration,
    /// Nothing else is left to be tried: those are asked all the same.
    insists: bool,
    /// Rounds in which every source failed, since the last new byte.
    rounds: u32,
    /// The same since the download was taken up, with those of whoever had these bytes before.
    attempts: u32,
    /// The last transient error of this transfer.
    last: Option<Error>,
    trail: Option<Box<Trail>>,
    /// Most bytes asked for again; less where a far side serves shorter ranges than asked for.
    overlap: u64,
    /// Its requests ask for connections of their own.
    alone: bool,
    request_time: Duration,
    reply: Option<Reply>,
}

enum State {
    Idle,
    Locating(BoxFuture<'static, Result<()>>),
    Opening { opening: BoxFuture<'static, Result<Body>>, asked: Asked },
    Reading { stream: BoxStream<'static, Result<Bytes>>, end: Option<u64>, skip: Option<Skip>, asked: Asked },
    Waiting(Pin<Box<Sleep>>),
    Done,
}

/// Who was asked, and what for.
struct Asked {
    from: u64,
    underway: Underway,
    /// There was somebody else to ask.
    yields: bool,
    _running: Running,
}

/// What is wrong with a reply, and who must go.
enum Fault {
    Recover(Error),
    Aside(Error),
    StartOver(Error),
}

impl Transfer {
    /// Bytes from `start` to `end`; an end of `None` is wherever the content ends.
    pub(crate) fn new(cx: Arc<Context>, start: u64, end: Option<u64>, alone: bool) -> Self {
        Self {
            attempts: cx.attempts(),
            cx,
            at: start,
            end,
            state: State::Idle,
            tried: Vec::new(),
            unasked: Vec::new(),
            spared: Duration::ZERO,
            insists: false,
            rounds: 0,
            last: None,
            trail: None,
            overlap: OVERLAP,
            alone,
            request_time: Duration::ZERO,
            reply: None,
        }
    }

    /// Offset of the next byte.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn end(&self) -> Option<u64> {
        self.end
    }

    /// Bytes still to come, as far as its end is known.
    pub(crate) fn rest(&self) -> u64 {
        self.end.map_or(0, |end| end.saturating_sub(self.at))
    }

    /// How long its last request took to be answered; no time before the first answer.
    pub(crate) fn request_time(&self) -> Duration {
        self.request_time
    }

    /// How long its rest will take at the pace of the body at hand; nothing if there is none.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let State::Reading { asked, .. } = &self.state else { return None };
        let reading = asked.underway.duration().saturating_sub(self.request_time);
        let bytes = asked.underway.bytes;
        (bytes > 0).then(|| reading.mul_f64(self.rest() as f64 / bytes as f64))
    }

    /// Ends earlier: another transfer takes the rest.
    pub(crate) fn shorten(&mut self, end: u64) {
        self.end = Some(end);
    }

    /// Its bytes cannot be used, for this reason.
    pub(crate) fn interrupt(&mut self, error: &Error) {
        if let Some(asked) = self.reading() {
            let decision =
                if error.kind() == ErrorKind::Integrity { Decision::StartOver } else { Decision::GiveUp };
            self.cx.attempted(&asked.underway, Some(error), decision);
        }
        self.state = State::Done;
    }

    /// Until the head of a reply is accepted; it is taken out by the caller.
    pub(crate) fn poll_head(&mut self, task: &mut Task<'_>) -> Poll<Result<Reply, Stop>> {
        loop {
            if let Some(reply) = self.reply.take() {
                return Poll::Ready(Ok(reply));
            }
            ready!(self.poll_step(task))?;
        }
    }

    /// One step towards a state in which bytes may flow, or none will.
    fn poll_step(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Stop>> {
        match &mut self.state {
            State::Idle => self.ask()?,
            State::Locating(locating) => {
                let located = ready!(locating.as_mut().poll(task));
                self.begin_round();
                self.state = State::Idle;
                if let Err(error) = located {
                    self.state = State::Done;
                    return Poll::Ready(Err(Stop::GiveUp(self.cx.sources.blame().unwrap_or(error))));
                }
            }
            State::Waiting(sleep) => {
                ready!(sleep.as_mut().poll(task));
                self.begin_round();
                self.state = State::Idle;
            }
            State::Opening { opening, .. } => {
                let opened = ready!(opening.as_mut().poll(task));
                if let State::Opening { asked, .. } = std::mem::replace(&mut self.state, State::Idle) {
                    match opened {
                        Ok(body) => self.accept(body, asked)?,
                        Err(error) => self.recover(&asked, Fault::Recover(error))?,
                    }
                }
            }
            State::Reading { .. } | State::Done => {}
        }
        Poll::Ready(Ok(()))
    }

    /// Asks the next source.
    fn ask(&mut self) -> Result<(), Stop> {
        let Some(Picked { id, source, running, others }) = self.cx.sources.pick(&self.tried) else {
            // At the start, or when another transfer rejected what this one had left.
            self.state = self.next(None)?.0;
            return Ok(());
        };
        let request = &self.cx.request;
        let pinned = self.cx.pinned();
        let is_strong = pinned.as_ref().is_none_or(|pinned| pinned.provenance.entity.is_strong());
        let overlap =
            self.trail.as_ref().filter(|_| !is_strong).map_or(0, |trail| trail.overlap()).min(self.overlap);
        let from = self.at - overlap;
        // The end of the content is asked for without naming it.
        let size = pinned.as_ref().and_then(|pinned| pinned.provenance.entity.size);
        self.cx.observe(&Event::Request { job: self.cx.job, url: &source.url, offset: from });
        let known_as = source.id();
        let fetch = Fetch {
            url: source.url.clone(),
            range: ByteRange { start: from, end: self.end.filter(|end| Some(*end) != size) },
            unless: request.unless.clone().filter(|_| pinned.is_none()),
            expect: pinned.filter(|pinned| pinned.is_of(&known_as)).map(|pinned| pinned.provenance.entity),
            body: request.body,
            listing: false,
            digests: !self.cx.digest,
            // The connection of a reply that never came is as dead for the next one.
            fresh: self.cx.is_suspicious() || self.last.as_ref().is_some_and(timed_out),
            alone: self.alone,
            insistence: match (others, self.insists) {
                (true, _) => Insistence::Yields,
                (false, true) => Insistence::Insists,
                (false, false) => Insistence::Waits,
            },
            terms: Arc::clone(&request.terms),
            options: request.options.overlaid(&source.options),
        };
        let download = Arc::clone(&self.cx.download);
        let underway = Underway::new(id, known_as, source.url, from);
        let asked = Asked { from, underway, yields: others, _running: running };
        self.state = State::Opening { opening: Box::pin(async move { download.open(fetch).await }), asked };
        Ok(())
    }

    /// A reply came: its bytes are taken if they continue those taken before.
    fn accept(&mut self, body: Body, mut asked: Asked) -> Result<(), Stop> {
        asked.underway.wire = body.wire.clone();
        self.request_time = asked.underway.duration();
        let skip = match self.judge(&body, &asked) {
            Ok(skip) => skip,
            Err(fault) => {
                drop(body);
                return self.recover(&asked, fault);
            }
        };
        self.cx.observe(&Event::Head { job: self.cx.job, body: &body });
        let Body {
            entity,
            range,
            not_modified,
            media_type,
            file_name,
            digests,
            wire,
            file,
            extras,
            stream,
            ..
        } = body;
        // A part of it is not the file.
        let file = file.filter(|_| asked.from == 0 && range.start == 0 && skip.is_none());
        let not_modified = not_modified.then_some(entity);
        let url = asked.underway.url.clone();
        if not_modified.is_some() || !self.cx.request.body {
            self.cx.attempted(&asked.underway, None, Decision::Done);
            self.state = State::Done;
        } else {
            self.state = State::Reading { stream, end: range.end, skip, asked };
        }
        self.reply = Some(Reply { url, not_modified, media_type, file_name, digests, wire, file, extras });
        Ok(())
    }

    /// The content was taken otherwise than by its bytes.
    pub(crate) fn spare(&mut self) {
        if let Some(asked) = self.reading() {
            self.finish(&asked);
        }
    }

    fn finish(&mut self, asked: &Asked) {
        let underway = &asked.underway;
        self.cx.sources.succeeded(underway.url.origin(), underway.bytes, underway.duration());
        self.cx.attempted(underway, None, Decision::Done);
        self.state = State::Done;
    }

    /// Takes what is wanted of a piece of a body.
    fn take(&mut self, mut bytes: Bytes) -> Option<Chunk> {
        if let Some(end) = self.end {
            bytes.truncate(usize::try_from(end - self.at).unwrap_or(usize::MAX));
        }
        if bytes.is_empty() {
            return None;
        }
        if let Some(trail) = &mut self.trail {
            trail.took(&bytes);
        }
        if self.rounds > 0 || !self.tried.is_empty() {
            self.rounds = 0;
            self.begin_round();
            self.last = None;
        }
        let offset = self.at;
        self.at += bytes.len() as u64;
        Some(Chunk { offset, bytes })
    }

    fn reading(&mut self) -> Option<Asked> {
        match std::mem::replace(&mut self.state, State::Idle) {
            // The stream is dropped here.
            State::Reading { asked, .. } => Some(asked),
            other => {
                self.state = other;
                None
            }
        }
    }
}

impl Drop for Transfer {
    /// What was under way belongs to the record, too: of a download that ran out of time it may be all there is.
    fn drop(&mut self) {
        if let State::Opening { asked, .. } | State::Reading { asked, .. } = &self.state {
            let stopped = Error::new(ErrorKind::Cancelled, "stopped while it was under way");
            self.cx.record.push(&asked.underway, asked.underway.end(Some(&stopped), Decision::GiveUp));
        }
    }
}

impl Stream for Transfer {
    type Item = Result<Chunk, Stop>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let complete = this.end.is_some_and(|end| this.at >= end);
            let State::Reading { stream, end: announced, skip, asked } = &mut this.state else {
                if matches!(this.state, State::Done) || complete {
                    this.state = State::Done;
                    return Poll::Ready(None);
                }
                ready!(this.poll_step(task))?;
                continue;
            };
            let announced = *announced;
            // A body read to its own end is polled until it says so: only then is its connection free.
            if complete && announced != Some(this.at) {
                if let Some(asked) = this.reading() {
                    this.finish(&asked);
                }
                continue;
            }
            let polled = ready!(stream.as_mut().poll_next(task));
            let mut differs = Ok(());
            let piece = match polled {
                Some(Ok(mut bytes)) if !complete => {
                    this.cx.received(bytes.len());
                    if let Some(skipped) = skip {
                        differs = skipped.consume(&mut bytes);
                        if skipped.is_over() {
                            *skip = None;
                        }
                    }
                    asked.underway.bytes += bytes.len() as u64;
                    bytes
                }
                ended_or_failed => {
                    let skipping = skip.is_some();
                    let Some(asked) = this.reading() else { continue };
                    match ended_or_failed {
                        // What this body gave out before is wrong as well.
                        Some(Err(error)) if error.kind() == ErrorKind::Integrity => {
                            let error = error.with_url(&asked.underway.url).with_offset(this.at);
                            this.recover(&asked, Fault::StartOver(error))?;
                        }
                        _ if complete => this.finish(&asked),
                        Some(Err(error)) => this.recover(&asked, Fault::Recover(error))?,
                        _ => this.ended(&asked, announced, skipping)?,
                    }
                    continue;
                }
            };
            if differs == Err(Differs) {
                let Some(asked) = this.reading() else { continue };
                let error = Error::new(ErrorKind::Changed, Differs.to_string());
                this.recover(
                    &asked,
                    Fault::StartOver(error.with_url(&asked.underway.url).with_offset(this.at)),
                )?;
                continue;
            }
            if let Some(chunk) = this.take(piece) {
                return Poll::Ready(Some(Ok(chunk)));
            }
        }
    }
}

fn timed_out(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Timeout(_))
}
