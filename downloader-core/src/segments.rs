//! What is missing of a content, brought in by one or several transfers at a time.
//!
//! Blocks are taken in order, lowest first. While the lowest transfer keeps us busy the others are left waiting
//! (the network is not the bottleneck, and bytes that come in order need no reading back for the checks); as soon
//! as it does not, all are polled. When no block is left, whoever is done takes the upper half of the largest rest:
//! splitting and stealing are one line.
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
/// Most bytes of a block: how far apart the transfers of one content may be.
const BLOCK: u64 = 32 << 20;
/// A rest that takes less than this is not split.
const WORTH_SPLITTING: Duration = Duration::from_secs(5);
/// How long a rate is measured before it is believed.
const WINDOW: Duration = Duration::from_secs(1);

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
        if let [only] = &self.active[..]
            && let Some(end) = only.end()
            && width > 1
        {
            // The one that had everything before it keeps a block; the rest is there for all.
            let kept = only.at() + self.block(end - only.at());
            if kept < end {
                self.active[0].shorten(kept);
                self.gaps.push_front(kept..end);
            }
        }
        while self.active.len() < self.width && self.start_another() {}
    }

    /// How much one transfer takes of `rest` bytes.
    fn block(&self, rest: u64) -> u64 {
        let share = rest.div_ceil(self.width as u64);
        share.clamp(self.cx.least_segment.min(BLOCK), BLOCK)
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
        let rest = self.gaps.iter().map(|gap| gap.end - gap.start).sum();
        let block = if self.width > 1 { self.block(rest) } else { u64::MAX };
        let gap = self.gaps.front_mut()?;
        let start = gap.start;
        let length = gap.end - start;
        // A crumb is not worth a request of its own.
        if length <= block.saturating_add(self.cx.least_segment / 2) {
            return self.gaps.pop_front();
        }
        gap.start = start + block;
        Some(start..start + block)
    }

    /// The upper half of the largest rest.
    fn steal(&mut self) -> Option<Range<u64>> {
        let rest = |transfer: &Transfer| transfer.end().map_or(0, |end| end.saturating_sub(transfer.at()));
        let victim = self.active.iter_mut().max_by_key(|transfer| rest(transfer))?;
        let (at, end) = (victim.at(), victim.end()?);
        if rest(victim) < 2 * self.cx.least_segment {
            return None;
        }
        let middle = at + (end - at) / 2;
        victim.shorten(middle);
        Some(middle..end)
    }

    /// Bytes still to come.
    fn rest(&self) -> u64 {
        let active = self.active.iter().map(|transfer| transfer.end().map_or(0, |end| end - transfer.at()));
        active.sum::<u64>() + self.gaps.iter().map(|gap| gap.end - gap.start).sum::<u64>()
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
                        let wider = this.growth.as_mut().and_then(|growth| growth.took(chunk.bytes.len()));
                        if let Some(rate) = wider {
                            this.grow(rate);
                        }
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                    Poll::Ready(Some(Err(stop))) => return Poll::Ready(Some(Err(stop))),
                    Poll::Ready(None) => {
                        this.active.remove(index);
                        this.start_another();
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
    fn grow(&mut self, rate: f64) {
        let Some(growth) = &mut self.growth else { return };
        let helped = growth.before.is_none_or(|before| rate > before * 1.1);
        let worth = self.width < MOST_AUTOMATIC;
        growth.before = Some(rate);
        if !helped || !worth {
            self.growth = None;
            return;
        }
        if self.rest() as f64 > rate * WORTH_SPLITTING.as_secs_f64() {
            self.widen(self.width * 2);
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

    /// Bytes came; the rate, once a window is full.
    fn took(&mut self, bytes: usize) -> Option<f64> {
        self.bytes += bytes as u64;
        let elapsed = self.since.elapsed();
        if elapsed < WINDOW {
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
