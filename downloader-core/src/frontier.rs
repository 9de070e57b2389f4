//! The frontier: up to where the checks have seen the content.
//!
//! Bytes that arrive at the frontier are checked while hot; those that came early are read back from the writer
//! as soon as the frontier reaches them, never all together at the end. Small contents are checked in place;
//! of large ones every check moves to a thread of its own, fed with reference-counted bytes.
//!
//! Why not hash at the end? It reads everything twice. Why not a task per chunk? Hand-overs cost more than the
//! hash of a small file. Invariant: every check sees every byte once, in order.
//! Must not know: sources, protocols, what a check looks for.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::{Error, ErrorKind, Result};
use crate::validate::{Check, Evidence, Validator};
use crate::write::Writer;

/// Contents up to this size are checked by the task that receives them.
const INLINE: u64 = 1 << 20;
/// Bytes that may wait for a thread that checks: memory of a download grows by this for each check.
const QUEUE: usize = 2 << 20;
/// Bytes handed to a thread at a time, and room it gives back at a time: every hand-over may wake the other side.
const HAND_OVER: usize = 512 << 10;
/// Most bytes read back at a time.
const READ_BACK: u64 = 512 << 10;
/// How far the checks may stay behind what is in place before receiving waits for them.
const LAG: u64 = 64 << 20;

/// The checks of one run of a download.
pub(crate) struct Frontier {
    lanes: Vec<Lane>,
    at: u64,
    threads: Arc<Semaphore>,
}

enum Lane {
    Inline(Box<dyn Check>),
    Thread(Thread),
}

impl Frontier {
    /// Fresh checks; `threads` bounds how many may leave the task at a time, over all downloads.
    pub(crate) fn new(validators: &[Arc<dyn Validator>], threads: Arc<Semaphore>) -> Self {
        let lanes = validators.iter().map(|validator| Lane::Inline(validator.start())).collect();
        Self { lanes, at: 0, threads }
    }

    /// One more check, before the first byte.
    pub(crate) fn add(&mut self, validator: &dyn Validator) {
        self.lanes.push(Lane::Inline(validator.start()));
    }

    /// Offset of the next byte to check.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes came: those at the frontier are checked now, early ones later.
    pub(crate) async fn offer(&mut self, offset: u64, chunk: &Bytes) -> Result<()> {
        if self.lanes.is_empty() || offset != self.at || chunk.is_empty() {
            return Ok(());
        }
        self.at += chunk.len() as u64;
        for lane in &mut self.lanes {
            if self.at > INLINE
                && let Lane::Inline(_) = lane
                && let Ok(place) = Arc::clone(&self.threads).try_acquire_owned()
            {
                lane.depart(place);
            }
            match lane {
                Lane::Inline(check) => check.update(chunk)?,
                Lane::Thread(thread) => thread.feed(chunk.clone()).await?,
            }
        }
        Ok(())
    }

    /// Reads back some of `ready`, the bytes in place from the frontier on, if the checks have nothing else to do or
    /// are far behind.
    pub(crate) async fn keep_up(&mut self, writer: &mut dyn Writer, ready: Range<u64>) -> Result<()> {
        let behind = ready.end.saturating_sub(ready.start);
        if behind > 0 && (behind > LAG || self.lanes.iter().all(Lane::has_room)) {
            self.catch_up(writer, ready).await?;
        }
        Ok(())
    }

    /// Reads back the first part of `ready`, the bytes in place from the frontier on; says whether there was any.
    pub(crate) async fn catch_up(&mut self, writer: &mut dyn Writer, ready: Range<u64>) -> Result<bool> {
        if self.lanes.is_empty() || ready.start != self.at || ready.is_empty() {
            return Ok(false);
        }
        let chunk = writer.read(ready.start..ready.end.min(ready.start + READ_BACK)).await?;
        if chunk.is_empty() || chunk.len() as u64 > ready.end - ready.start {
            return Err(Error::new(ErrorKind::Local, "the writer does not return what it took"));
        }
        self.offer(ready.start, &chunk).await?;
        Ok(true)
    }

    /// Every byte was seen: what did the checks find?
    pub(crate) async fn finish(self) -> Result<Vec<Evidence>> {
        let mut evidence = Vec::with_capacity(self.lanes.len());
        for lane in self.lanes {
            evidence.push(match lane {
                Lane::Inline(check) => check.finish()?,
                Lane::Thread(thread) => thread.finish().await?,
            });
        }
        Ok(evidence)
    }
}

impl Lane {
    fn has_room(&self) -> bool {
        match self {
            Self::Inline(_) => true,
            Self::Thread(thread) => thread.room.available_permits() >= QUEUE / 2,
        }
    }

    fn depart(&mut self, place: OwnedSemaphorePermit) {
        // The stand-in is never used: the lane is replaced in this very call, or put back.
        let Self::Inline(check) = std::mem::replace(self, Self::Inline(Box::new(Nothing))) else { return };
        *self = match Thread::start(check, place) {
            Ok(thread) => Self::Thread(thread),
            Err(check) => Self::Inline(check),
        };
    }
}

struct Nothing;

impl Check for Nothing {
    fn update(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        Err(Error::new(ErrorKind::Local, "a check was lost"))
    }
}

/// A check on a thread of its own. Dropping it ends the thread after the chunk it is at.
struct Thread {
    chunks: mpsc::Sender<Load>,
    room: Arc<Semaphore>,
    /// What is handed over next.
    load: Load,
    verdict: oneshot::Receiver<Result<Evidence>>,
    /// Cleared when every byte was sent.
    abandoned: Arc<AtomicBool>,
}

/// Chunks, and the room in the queue that they take.
#[derive(Default)]
struct Load {
    chunks: Vec<Bytes>,
    room: Option<OwnedSemaphorePermit>,
}

impl Load {
    fn len(&self) -> usize {
        self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, chunk: Bytes, room: OwnedSemaphorePermit) {
        self.chunks.push(chunk);
        match &mut self.room {
            Some(held) => held.merge(room),
            None => self.room = Some(room),
        }
    }
}

impl Thread {
    fn start(check: Box<dyn Check>, place: OwnedSemaphorePermit) -> Result<Self, Box<dyn Check>> {
        let (chunks, queue) = mpsc::channel::<Load>();
        let (answer, verdict) = oneshot::channel();
        let abandoned = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&abandoned);
        let room = Arc::new(Semaphore::new(QUEUE));
        let door = Arc::clone(&room);
        // The check is handed over by a cell, so that it comes back when no thread can be had.
        let cell = Arc::new(std::sync::Mutex::new(Some(check)));
        let handed = Arc::clone(&cell);
        let started = std::thread::Builder::new().name("check".into()).spawn(move || {
            let Some(mut check) = handed.lock().ok().and_then(|mut cell| cell.take()) else { return };
            let _place = place;
            while let Ok(load) = queue.recv() {
                for chunk in load.chunks {
                    if let Err(error) = check.update(&chunk) {
                        // Told at once: what follows may have no end.
                        let _ = answer.send(Err(error));
                        return door.close();
                    }
                    if flag.load(Relaxed) && answer.is_closed() {
                        // Nobody waits for the verdict any more.
                        return;
                    }
                }
                drop(load.room);
            }
            if !flag.load(Relaxed) {
                // Whoever asked may be gone by now.
                let _ = answer.send(check.finish());
            }
        });
        if started.is_err() {
            return Err(cell
                .lock()
                .ok()
                .and_then(|mut cell| cell.take())
                .unwrap_or_else(|| Box::new(Nothing)));
        }
        Ok(Self { chunks, room, load: Load::default(), verdict, abandoned })
    }

    async fn feed(&mut self, chunk: Bytes) -> Result<()> {
        // A chunk larger than the queue takes all of it. What is not handed over yet holds less than half.
        let length = chunk.len().min(QUEUE - HAND_OVER) as u32;
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(length).await else {
            return Err(self.failure().await);
        };
        self.load.add(chunk, room);
        if self.load.len() < HAND_OVER {
            return Ok(());
        }
        match self.chunks.send(std::mem::take(&mut self.load)) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Why the thread has ended already.
    async fn failure(&mut self) -> Error {
        match (&mut self.verdict).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) | Err(_) => lost(),
        }
    }

    async fn finish(self) -> Result<Evidence> {
        if !self.load.chunks.is_empty() {
            // A thread that has ended already left its verdict.
            let _ = self.chunks.send(self.load);
        }
        self.abandoned.store(false, Relaxed);
        drop(self.chunks);
        self.verdict.await.map_err(|_| lost())?
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Local, "the thread of a check ended before its time (did the check panic?)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::Digest;
    use crate::write::MemoryWriter;

    fn content(length: usize) -> Bytes {
        (0..length).map(|n| (n * 31 % 251) as u8).collect::<Vec<u8>>().into()
    }

    fn digest_of(content: &[u8]) -> String {
        use sha2::Digest as _;
        sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    async fn run(
        threads: usize,
        content: &Bytes,
        order: impl Iterator<Item = usize>,
    ) -> Result<Vec<Evidence>> {
        const PIECE: usize = 100_000;
        let validators: Vec<Arc<dyn Validator>> = vec![Arc::new(Digest::sha256(&digest_of(content))?)];
        let mut frontier = Frontier::new(&validators, Arc::new(Semaphore::new(threads)));
        let (mut writer, _memory) = MemoryWriter::new(content.len() as u64);
        let mut done = crate::range::RangeSet::new();
        for index in order {
            let (start, end) = (index * PIECE, content.len().min((index + 1) * PIECE));
            let chunk = content.slice(start..end);
            frontier.offer(start as u64, &chunk).await?;
            writer.write(start as u64, chunk).await?;
            done.insert(start as u64..end as u64);
        }
        while frontier.catch_up(&mut writer, frontier.at()..done.contiguous_from(frontier.at())).await? {}
        assert_eq!(frontier.at(), content.len() as u64);
        frontier.finish().await
    }

    #[tokio::test]
    async fn every_order_gives_the_same_verdict_in_place_and_on_threads() {
        for length in [0, 99_999, 3_300_001] {
            let content = content(length);
            let pieces = length.div_ceil(100_000);
            for threads in [0, 1] {
                let ordered = run(threads, &content, 0..pieces).await.unwrap();
                let reversed = run(threads, &content, (0..pieces).rev()).await.unwrap();
                assert_eq!(ordered[0].value, reversed[0].value);
                assert_eq!(*ordered[0].value, digest_of(&content));
            }
        }
    }

    /// A content that never ends is refused while it comes, by a check on a thread too.
    #[tokio::test]
    async fn a_check_that_fails_on_a_thread_ends_an_endless_content() {
        let limit = 4 << 20;
        let validators: Vec<Arc<dyn Validator>> = vec![Arc::new(crate::validate::Size::at_most(limit))];
        let mut frontier = Frontier::new(&validators, Arc::new(Semaphore::new(1)));
        let piece = content(100_000);
        let error = loop {
            assert!(frontier.at() < limit + 2 * QUEUE as u64, "{} bytes were taken", frontier.at());
            if let Err(error) = frontier.offer(frontier.at(), &piece).await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::Refused);
    }

    #[tokio::test]
    async fn a_dropped_frontier_leaves_no_thread() {
        let threads = Arc::new(Semaphore::new(1));
        let validators: Vec<Arc<dyn Validator>> = vec![Arc::new(Digest::sha256(&digest_of(b"")).unwrap())];
        let mut frontier = Frontier::new(&validators, Arc::clone(&threads));
        frontier.offer(0, &content(2_000_000)).await.unwrap();
        assert_eq!(threads.available_permits(), 0);
        drop(frontier);
        // The permit comes back when the thread has ended.
        let _back = threads.acquire().await.unwrap();
    }
}
