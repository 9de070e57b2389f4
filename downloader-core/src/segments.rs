//! What is missing of a content, brought in by one or several transfers at a time.
//!
//! Blocks are taken in order, lowest first, all of one length. While the lowest transfer keeps us busy the others are left
//! waiting (the network is not the bottleneck, and bytes that come in order need no reading back for the checks); as soon
//! as it does not, all are polled. When no block is left, whoever is done takes the upper half of the largest rest, if
//! that is worth asking for: where a request costs a login, the rest is sooner here than a reply.
//!
//! Why not `FuturesUnordered`? It has no order, and the lowest offset must come first. Invariant: gaps, and what
//! the transfers have before them, together are exactly what is missing.
//! Must not know: writers, checks, why a transfer is slow.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Instant, Sleep};

use crate::context::{Context, Stop};
use crate::error::Error;
use crate::range::RangeSet;
use crate::request::Connections;
use crate::transfer::{Chunk, Reply, Transfer};

/// Most connections the engine opens on its own.
const MOST_AUTOMATIC: usize = 16;
/// Most bytes of a block where asking costs little: how far apart the transfers of one content may be.
const BLOCK: u64 = 32 << 20;
/// Most bytes of a block where asking costs much.
const LARGE_BLOCK: u64 = 128 << 20;
/// Bytes of a block for each second that asking takes: at 1 Gbit/s a block takes four times as long.
const WORTH_ASKING: f64 = 500e6;
/// A rest that takes less than this is not split.
const WORTH_SPLITTING: Duration = Duration::from_secs(5);
/// How long a rate is measured before it is believed.
const WINDOW: Duration = Duration::from_secs(1);
/// The same, in times that asking takes: those who were just asked must have begun.
const WINDOW_OF_REQUESTS: u32 = 4;

/// How long the lowest transfer may keep us waiting before the others are asked: what they receive meanwhile waits
/// in the buffers of the system.
const PATIENCE: Duration = Duration::from_millis(5);
/// After this time it shows whether we mostly wait for it.
const JUDGED: Duration = Duration::from_millis(20);
/// How long they are asked then, until the lowest gets another chance.
const WIDE: Duration = Duration::from_millis(100);

pub(crate) struct Segments {
    cx: Arc<Context>,
    /// In order of their offsets.
    active: Vec<Transfer>,
    gaps: VecDeque<Range<u64>>,
    width: usize,
    /// Bytes of a block.
    block: u64,
    growth: Option<Growth>,
    eagerness: Eagerness,
}

impl Segments {
    /// Starts with what `done` lacks, and returns once the first head is in.
    pub(crate) async fn open(
        cx: &Arc<Context>,
        done: &RangeSet,
        splittable: bool,
    ) -> Result<(Self, Reply), Stop> {
        let range = cx.request.range;
        let start = done.contiguous_from(range.start);
        let mut first = Transfer::new(Arc::clone(cx), start, range.end, false);
        let reply = std::future::poll_fn(|task| first.poll_head(task)).await?;
        let mut this = Self {
            cx: Arc::clone(cx),
            active: Vec::with_capacity(1),
            gaps: VecDeque::new(),
            width: 1,
            block: u64::MAX,
            growth: None,
            eagerness: Eagerness::new(),
        };
        let pinned = cx.pinned();
        let total = pinned.as_ref().and_then(|pinned| pinned.provenance.entity.size);
        if let Some(total) = total {
            let end = range.end.map_or(total, |end| end.min(total));
            let mut gaps: VecDeque<_> = done.gaps(range.start..end).into();
            first.shorten(gaps.pop_front().map_or(start, |gap| gap.end));
            this.gaps = gaps;
        }
        let can_join =
            cx.digest || pinned.as_ref().is_some_and(|pinned| pinned.provenance.entity.is_strong());
        let can_split = splittable && can_join && total.is_some() && !cx.is_suspicious();
        this.active.push(first);
        if can_split && pinned.is_some_and(|pinned| pinned.seekable) {
            match cx.request.connections {
                Connections::Automatic => this.growth = Some(Growth::new()),
                Connections::Exactly(width) => this.widen(usize::from(width.max(1))),
            }
        }
        Ok((this, reply))
    }

    /// The bytes cannot be used, for this reason: it belongs to the record of those who sent them.
    pub(crate) fn interrupt(&mut self, error: &Error) {
        for transfer in &mut self.active {
            transfer.interrupt(error);
        }
    }

    /// The content was taken otherwise than by its bytes: nothing more is asked, and who offered it did well.
    pub(crate) fn spare(mut self) {
        for transfer in &mut self.active {
            transfer.spare();
        }
    }

    /// Lets up to `width` transfers run.
    fn widen(&mut self, width: usize) {
        self.width = width;
        self.block = self.share();
        if let [only] = &mut self.active[..]
            && let Some(end) = only.end()
        {
            // The one that had everything before it keeps a block; the rest is there for all.
            let kept = only.at().saturating_add(self.block);
            if kept < end {
                only.shorten(kept);
                self.gaps.push_front(kept..end);
            }
        }
        while self.active.len() < self.width && self.start_another() {}
    }

    /// The length of blocks with which all transfers are done at about the same time.
    fn share(&self) -> u64 {
        if self.width == 1 {
            return u64::MAX;
        }
        let most = (self.request_time().as_secs_f64() * WORTH_ASKING) as u64;
        let most = most.clamp(BLOCK, LARGE_BLOCK);
        // In as many rounds as it takes, all of them full.
        let rounds = self.rest().div_ceil(most.saturating_mul(self.width as u64)).max(1);
        let share = self.rest().div_ceil(rounds * self.width as u64);
        share.max(self.cx.least_segment.min(most))
    }

    /// How long it takes until a request is answered, as those under way had it.
    fn request_time(&self) -> Duration {
        self.active.iter().map(Transfer::request_time).max().unwrap_or_default()
    }

    fn start_another(&mut self) -> bool {
        let Some(range) = self.next_block().or_else(|| self.steal()) else { return false };
        let alone = self.width > 1;
        let transfer = Transfer::new(Arc::clone(&self.cx), range.start, Some(range.end), alone);
        let place = self.active.partition_point(|active| active.at() < range.start);
        self.active.insert(place, transfer);
        true
    }

    fn next_block(&mut self) -> Option<Range<u64>> {
        let gap = self.gaps.front_mut()?;
        let start = gap.start;
        let length = gap.end - start;
        // A crumb is not worth a request of its own.
        if length <= self.block.saturating_add(self.cx.least_segment / 2) {
            return self.gaps.pop_front();
        }
        gap.start = start + self.block;
        Some(start..start + self.block)
    }

    /// The upper half of the largest rest.
    fn steal(&mut self) -> Option<Range<u64>> {
        let request_time = self.request_time();
        let victim = self.active.iter_mut().max_by_key(|transfer| transfer.rest())?;
        let (at, end) = (victim.at(), victim.end()?);
        if victim.rest() < 2 * self.cx.least_segment
            || victim.time_left().is_some_and(|left| left < 2 * request_time)
        {
            return None;
        }
        let middle = at + (end - at) / 2;
        victim.shorten(middle);
        Some(middle..end)
    }

    /// Bytes still to come.
    fn rest(&self) -> u64 {
        self.active.iter().map(Transfer::rest).sum::<u64>()
            + self.gaps.iter().map(|gap| gap.end - gap.start).sum::<u64>()
    }
}

impl Stream for Segments {
    type Item = Result<Chunk, Stop>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        'again: loop {
            for index in 0..this.active.len() {
                if index == 1 && this.eagerness.poll_waits_for_lowest(task) {
                    return Poll::Pending;
                }
                match Pin::new(&mut this.active[index]).poll_next(task) {
                    Poll::Ready(Some(Ok(chunk))) => {
                        if index == 0 {
                            this.eagerness.lowest_came();
                        }
                        if let Some(growth) = &mut this.growth
                            && growth.took(chunk.bytes.len())
                        {
                            this.grow();
                        }
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                    Poll::Ready(Some(Err(stop))) => return Poll::Ready(Some(Err(stop))),
                    Poll::Ready(None) => {
                        this.active.remove(index);
                        if this.active.len() < this.width {
                            this.start_another();
                        }
                        continue 'again;
                    }
                    Poll::Pending => {}
                }
            }
            return if this.active.is_empty() { Poll::Ready(None) } else { Poll::Pending };
        }
    }
}

impl Segments {
    /// Bytes came for a while: at what rate, and are more transfers worth it?
    fn grow(&mut self) {
        let request_time = self.request_time();
        let Some(growth) = &mut self.growth else { return };
        let Some(rate) = growth.rate(WINDOW.max(WINDOW_OF_REQUESTS * request_time)) else { return };
        let before = growth.before.replace(rate);
        if before.is_some_and(|before| rate <= before * 1.1) {
            // It did not help: those that end are not followed by others.
            self.growth = None;
            self.width = (self.width / 2).max(1);
            self.block = self.share();
        } else if self.width < MOST_AUTOMATIC && self.rest() as f64 > rate * WORTH_SPLITTING.as_secs_f64() {
            self.widen(self.width * 2);
        } else {
            self.growth = None;
        }
    }
}

/// Finds the number of connections by measuring: twice as many while that brings a tenth more.
struct Growth {
    since: Instant,
    bytes: u64,
    before: Option<f64>,
}

impl Growth {
    fn new() -> Self {
        Self { since: Instant::now(), bytes: 0, before: None }
    }

    /// Bytes came; true once they may be enough.
    fn took(&mut self, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        self.since.elapsed() >= WINDOW
    }

    /// The rate, once `window` is full; then another one begins.
    fn rate(&mut self, window: Duration) -> Option<f64> {
        let elapsed = self.since.elapsed();
        if elapsed < window {
            return None;
        }
        let rate = self.bytes as f64 / elapsed.as_secs_f64();
        (self.since, self.bytes) = (Instant::now(), 0);
        Some(rate)
    }
}

/// Does the lowest transfer alone keep us busy?
struct Eagerness {
    since: Instant,
    /// Time spent waiting for it since then.
    waited: Duration,
    waiting: Option<Instant>,
    wide_until: Option<Instant>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Eagerness {
    fn new() -> Self {
        let since = Instant::now();
        Self { since, waited: Duration::ZERO, waiting: None, wide_until: None, patience: None }
    }

    fn lowest_came(&mut self) {
        if let Some(since) = self.waiting.take() {
            self.waited += since.elapsed();
        }
    }

    /// The lowest has nothing: true if we wait for it alone, a little longer.
    fn poll_waits_for_lowest(&mut self, task: &mut Task<'_>) -> bool {
        let now = Instant::now();
        if self.wide_until.is_some_and(|until| now < until) {
            return false;
        }
        if self.wide_until.take().is_some() {
            (self.since, self.waited, self.waiting) = (now, Duration::ZERO, None);
        }
        if self.waiting.is_none() {
            self.waiting = Some(now);
            let until = now + PATIENCE;
            self.patience
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)))
                .as_mut()
                .reset(until);
        }
        let elapsed = now - self.since;
        let mostly_waiting = elapsed >= JUDGED && self.waited * 2 > elapsed;
        let over = self.patience.as_mut().is_none_or(|patience| patience.as_mut().poll(task).is_ready());
        if over || mostly_waiting {
            self.wide_until = Some(now + WIDE);
            return false;
        }
        if elapsed >= JUDGED {
            (self.since, self.waited) = (now, Duration::ZERO);
        }
        true
    }
}
