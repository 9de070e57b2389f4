//! One download from request to outcome: the natural path, and the three remedies around it.
//!
//! Fetch what is missing, check it while it passes, write it, commit it. When the content turns out to be
//! another one, or wrong: throw it away and start over. When no source is left: they are located again below
//! here. Else: give up, with the record of all that was tried.
//!
//! Invariant: `commit` follows only when every byte is in and every check agreed; whatever was taken of a
//! content that is given up is discarded first. Must not know: protocols, permits, threads.

mod outcome;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::sync::Semaphore;

pub use self::outcome::Outcome;
use self::outcome::{not_modified, outcome};
use crate::context::{Context, Pinned, Stop};
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::event::{Decision, Event};
use crate::file::LocalFile;
use crate::frontier::Frontier;
use crate::meter::Meter;
use crate::range::RangeSet;
use crate::request::Request;
use crate::segments::Segments;
use crate::sources::Outlook;
use crate::transfer::Chunk;
use crate::url::SafeUrl;
use crate::write::{Access, Writer};

/// A request, the writer for it, and whatever ties the outcome to the caller's world.
#[derive(Debug)]
pub struct Job<T = ()> {
    pub(crate) request: Request,
    pub(crate) writer: Box<dyn Writer>,
    pub(crate) tag: T,
    pub(crate) meter: Arc<Meter>,
}

impl Job {
    /// A job without a tag.
    pub fn new(request: Request, writer: impl Writer + 'static) -> Self {
        Self { request, writer: Box::new(writer), tag: (), meter: Arc::default() }
    }
}

impl<T> Job<T> {
    /// Ties `tag` to the job: it comes back with the result.
    pub fn tag<U>(self, tag: U) -> Job<U> {
        Job { request: self.request, writer: self.writer, tag, meter: self.meter }
    }

    /// Ties to the job what is made of its tag.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Job<U> {
        Job { request: self.request, writer: self.writer, tag: make(self.tag), meter: self.meter }
    }

    /// What is tied to the job.
    pub fn tagged(&self) -> &T {
        &self.tag
    }

    /// The byte counts of the job; keep it to watch the download.
    #[must_use]
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }
}

/// What is known and done of one download; it lives outside the attempts.
struct Progress {
    done: RangeSet,
    held: u64,
    /// The writer holds, or may hold, bytes of a content.
    begun: bool,
    /// Starts over so far.
    restarts: u32,
    /// How often the content of a source, taken whole from it, was wrong.
    strikes: HashMap<SafeUrl, u32>,
}

/// Runs one download. With `publish` false the last step, `commit`, is left to the caller.
pub(crate) async fn run(
    cx: &Arc<Context>,
    writer: &mut dyn Writer,
    threads: &Arc<Semaphore>,
    publish: bool,
) -> Result<Outcome> {
    cx.begun();
    let work = remedied(cx, &mut *writer, threads, publish);
    let ended = match cx.request.deadline {
        None => work.await,
        // Zero is zero: nothing is even begun.
        Some(Duration::ZERO) => {
            drop(work);
            Err(Error::new(ErrorKind::Timeout(Phase::Total), "the deadline is zero"))
        }
        Some(deadline) => tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| {
            let what = format!("not done within {:.1} s", deadline.as_secs_f64());
            Err(Error::new(ErrorKind::Timeout(Phase::Total), what).with_offset(cx.meter.done()))
        }),
    };
    match ended {
        Ok(mut outcome) => {
            outcome.attempts = cx.record.take();
            outcome.elapsed = cx.started.elapsed();
            outcome.received = cx.meter.received();
            cx.succeeded();
            Ok(outcome)
        }
        Err(error) => {
            let asked_last =
                cx.record.last_url().filter(|_| error.kind() == ErrorKind::Timeout(Phase::Total));
            let error = cx.final_error(asked_last.iter().fold(error, Error::with_url));
            writer.abandon(&error).await;
            cx.observe(&Event::Failed { job: cx.job, error: &error, totals: cx.totals() });
            Err(error)
        }
    }
}

/// Attempts, with the remedies between them.
async fn remedied(
    cx: &Arc<Context>,
    writer: &mut dyn Writer,
    threads: &Arc<Semaphore>,
    publish: bool,
) -> Result<Outcome> {
    let mut progress =
        Progress { done: RangeSet::new(), held: 0, begun: false, restarts: 0, strikes: HashMap::new() };
    progress.take_up_held(cx, writer).await?;
    loop {
        let error = match attempt(cx, writer, &mut progress, threads, publish).await {
            Ok(outcome) => return Ok(outcome),
            Err(Stop::GiveUp(error)) => return Err(error),
            Err(Stop::StartOver(error)) => error,
        };
        let (error, again) = progress.may_start_over(cx, error);
        let Some(delay) = again else {
            // Proven bad: not even a partial of it may stay.
            if error.kind() == ErrorKind::Integrity && progress.begun {
                let _ = writer.discard().await;
            }
            return Err(error);
        };
        progress.forget(cx, writer, &error).await?;
        cx.observe(&Event::StartOver { job: cx.job, error: &error, wait: delay });
        tokio::time::sleep(delay).await;
    }
}

/// The natural path.
async fn attempt(
    cx: &Arc<Context>,
    writer: &mut dyn Writer,
    progress: &mut Progress,
    threads: &Arc<Semaphore>,
    publish: bool,
) -> Result<Outcome, Stop> {
    let mut checks = Frontier::new(cx.checks(), Arc::clone(threads));
    let splittable = writer.access() == Access::Random;
    let (mut chunks, mut reply) = Segments::open(cx, &progress.done, splittable).await?;
    let Some(Pinned { provenance, .. }) = cx.pinned() else { return Ok(not_modified(cx, reply)) };
    if !cx.request.body {
        return Ok(outcome(cx, reply, provenance.entity, 0, 0, Vec::new()));
    }
    // What an earlier run left is read back for it, like for the others.
    if (progress.done.is_empty() || splittable)
        && let Some(told) = cx.told(&reply.digests)
    {
        checks.add(&told);
    }
    progress.begun = true;
    cx.meter.set_size(cx.size_of(&provenance.entity));
    if let Some(name) = reply.name() {
        writer.suggest(&name);
    }
    writer.describe(&reply.description());
    if let Err(error) = writer.begin(&provenance).await {
        chunks.interrupt(&error);
        return Err(error.into());
    }
    let adopted = progress.adopt(cx, writer, reply.file.take()).await?;
    if adopted.is_some() {
        chunks.spare();
    } else {
        while let Some(chunk) = chunks.try_next().await? {
            if let Err(error) = progress.take(cx, &mut checks, writer, chunk).await {
                chunks.interrupt(&error);
                return Err(error.into());
            }
        }
        drop(chunks);
    }
    let size = progress.complete(cx, &provenance.entity)?;
    while checks.catch_up(writer, progress.ready(&checks)).await? {}
    let evidence = checks.finish().await?;
    if let Some(file) = &adopted
        && !file.is_unchanged()?
    {
        let error = Error::new(ErrorKind::Changed, "the file was written to while it was taken");
        return Err(Stop::StartOver(error.with_url(&reply.url)));
    }
    cx.warn(&evidence);
    cx.observe(&Event::Verified { job: cx.job, entity: &provenance.entity, evidence: &evidence });
    if publish {
        writer.commit().await?;
    }
    let warnings = writer.take_warnings();
    for error in &warnings {
        cx.observe(&Event::Warning { job: cx.job, error });
    }
    let entity = Entity { size: provenance.entity.size.or(Some(size)), ..provenance.entity };
    Ok(Outcome {
        adopted: adopted.is_some(),
        warnings,
        ..outcome(cx, reply, entity, size, progress.held, evidence)
    })
}

impl Progress {
    /// What an earlier run left, if it can be joined with what comes.
    async fn take_up_held(&mut self, cx: &Arc<Context>, writer: &mut dyn Writer) -> Result<()> {
        if !cx.request.body || !cx.request.range.is_all() {
            return Ok(());
        }
        let held = writer.held().await?;
        if held.ranges.is_empty() {
            return Ok(());
        }
        self.begun = true;
        let strong = held.provenance.as_ref().is_some_and(|provenance| provenance.entity.is_strong());
        let size = held.provenance.as_ref().and_then(|provenance| provenance.entity.size);
        let other_size = matches!((size, cx.request.size), (Some(was), Some(is)) if was != is);
        let checkable = cx.request.validators.is_empty() || writer.access() == Access::Random;
        if !(strong || (cx.digest && !cx.request.strict)) || other_size || !checkable {
            return self
                .forget(cx, writer, &Error::new(ErrorKind::Changed, "what an earlier run left"))
                .await;
        }
        self.done = held.ranges;
        if let Some(size) = size.filter(|size| self.done.total() == *size)
            && size > 0
        {
            // All of it is there. One byte is asked for again: the source says whether it is still its content.
            self.done = self.done.iter().map(|range| range.start..range.end.min(size - 1)).collect();
        }
        self.held = self.done.total();
        cx.meter.add_done(self.held);
        if let Some(provenance) = held.provenance {
            cx.pin(Some(Pinned { provenance, this_run: false, seekable: true }));
        }
        Ok(())
    }

    /// Lets the writer take the file itself, where the content is one of this machine; the file, if it did.
    async fn adopt(
        &mut self,
        cx: &Context,
        writer: &mut dyn Writer,
        offered: Option<Arc<LocalFile>>,
    ) -> Result<Option<Arc<LocalFile>>> {
        let Some(file) = offered.filter(|_| self.done.is_empty() && cx.request.range.is_all()) else {
            return Ok(None);
        };
        if !writer.adopt(&file).await? {
            return Ok(None);
        }
        if file.size() > 0 {
            self.done.insert(0..file.size());
        }
        cx.done(file.size());
        Ok(Some(file))
    }

    /// One chunk: checked while hot, written, counted; then a little of what came early.
    async fn take(
        &mut self,
        cx: &Context,
        checks: &mut Frontier,
        writer: &mut dyn Writer,
        chunk: Chunk,
    ) -> Result<()> {
        let Chunk { offset, bytes } = chunk;
        let length = bytes.len() as u64;
        checks.offer(offset, &bytes).await?;
        writer.write(offset, bytes).await?;
        cx.done(length);
        self.done.insert(offset..offset + length);
        checks.keep_up(writer, self.ready(checks)).await
    }

    /// What is in place from the frontier of the checks on.
    fn ready(&self, checks: &Frontier) -> std::ops::Range<u64> {
        checks.at()..self.done.contiguous_from(checks.at())
    }

    /// Is every byte in? The size, if so.
    fn complete(&self, cx: &Context, entity: &Entity) -> Result<u64, Stop> {
        let range = cx.request.range;
        let size = entity.size.unwrap_or_else(|| self.done.end());
        let end = range.end.map_or(size, |end| end.min(size));
        if self.done.contains(&(range.start.min(end)..end)) {
            return Ok(end.saturating_sub(range.start));
        }
        let what = format!("{} of {size} bytes came", self.done.total());
        Err(Stop::GiveUp(Error::new(ErrorKind::Truncated, what)))
    }

    /// Whether, and after how long, the download may begin anew; learns whose content was wrong.
    fn may_start_over(&mut self, cx: &Context, error: Error) -> (Error, Option<Duration>) {
        self.restarts += 1;
        match error.kind() {
            ErrorKind::Integrity => {
                let attempts = cx.threw_away();
                self.wrong(cx, error, attempts)
            }
            ErrorKind::Changed => {
                let delay = cx.delay(&error, self.restarts, cx.threw_away());
                (error, if self.restarts == 1 { delay.map(|_| Duration::ZERO) } else { delay })
            }
            // Another content of other sources takes the place of one nobody can finish: that is no repeat.
            _ => (error, Some(Duration::ZERO)),
        }
    }

    /// Every byte came, and they are wrong: whose fault is it?
    fn wrong(&mut self, cx: &Context, error: Error, attempts: u32) -> (Error, Option<Duration>) {
        let suspicious = cx.suspicious.swap(true, Relaxed);
        let sources = cx.record.contributors();
        let [(url, id)] = &sources[..] else { return self.nobody_knows(cx, error, suspicious, attempts) };
        let error = error.with_url(url);
        if self.held > 0 {
            return self.nobody_knows(cx, error, suspicious, attempts);
        }
        let strikes = self.strikes.entry(url.clone()).or_default();
        *strikes += 1;
        // Where there is no other source, a policy may give this one more chances than one.
        let last = cx.policy.is_transient(&error) && cx.sources.outlook(&[*id]) != Outlook::Untried;
        let again = if *strikes == 1 || last { cx.delay(&error, *strikes, attempts) } else { None };
        let decision = if again.is_some() { Decision::StartOver } else { Decision::Reject };
        if again.is_none() {
            cx.sources.reject(*id, url.origin(), &error);
        }
        cx.record.amend(&error, decision);
        (error, Some(again.filter(|_| last).unwrap_or_default()))
    }

    /// Several sources, or an earlier run, had a part in it: the next run takes it whole from one.
    fn nobody_knows(
        &self,
        cx: &Context,
        error: Error,
        suspicious: bool,
        attempts: u32,
    ) -> (Error, Option<Duration>) {
        let again = if suspicious { cx.delay(&error, self.restarts, attempts) } else { Some(Duration::ZERO) };
        let decision = if again.is_some() { Decision::StartOver } else { Decision::GiveUp };
        cx.record.amend(&error, decision);
        (error, again)
    }

    /// Throws away what was taken.
    async fn forget(&mut self, cx: &Context, writer: &mut dyn Writer, error: &Error) -> Result<()> {
        if self.begun
            && let Err(refused) = writer.discard().await
        {
            // A writer that cannot forget is only in the way if it took anything.
            if !self.done.is_empty() || refused.kind() != ErrorKind::Unsupported {
                let unable = refused.kind() == ErrorKind::Unsupported;
                return Err(if unable { error.clone() } else { refused });
            }
        }
        cx.meter.forget_done(self.done.total());
        self.done.clear();
        self.held = 0;
        cx.pin(None);
        cx.sources.readmit(error);
        cx.record.new_run();
        Ok(())
    }
}

impl From<Error> for Stop {
    /// Wrong content may be right elsewhere; a fault of writing or of a custom check is final.
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Integrity => Self::StartOver(error),
            _ => Self::GiveUp(error),
        }
    }
}
