//! How many connections one content gets: as many as told, or, told nothing, as many as measuring shows to help.
//!
//! On paused time, against a far side whose bodies flow at a set speed. Invariant: every byte of the content is
//! written once. Must not know: how segments are kept.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::{
    Access, Backend, Body, ByteRange, Connections, Download, Engine, Entity, Fetch, RangeSet, Request,
    Result, Writer,
};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

const MEBIBYTE: u64 = 1 << 20;
const PIECE: u64 = 64 << 10;

/// Serves zeros at a set speed: of one connection, and of all together.
#[derive(Clone, Debug)]
struct Link {
    size: u64,
    each: u64,
    all: u64,
    /// Until a request is answered.
    head: Duration,
    /// Connections that are this many times slower, by their number.
    slower: BTreeMap<usize, u64>,
    state: Arc<LinkState>,
}

#[derive(Debug, Default)]
struct LinkState {
    opened: AtomicUsize,
    open: Arc<AtomicUsize>,
    most: AtomicUsize,
    next: Mutex<Option<Instant>>,
}

impl Link {
    fn new(size: u64, each: u64, all: u64) -> Self {
        Self { size, each, all, head: Duration::ZERO, slower: BTreeMap::new(), state: Arc::default() }
    }

    /// Requests so far.
    fn opened(&self) -> usize {
        self.state.opened.load(SeqCst)
    }

    fn most_open(&self) -> usize {
        self.state.most.load(SeqCst)
    }
}

impl Backend for Link {
    fn schemes(&self) -> &'static [&'static str] {
        &["link"]
    }
}

#[async_trait]
impl Download for Link {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let number = self.state.opened.fetch_add(1, SeqCst);
        let open = self.state.open.fetch_add(1, SeqCst) + 1;
        self.state.most.fetch_max(open, SeqCst);
        let leave = Leave(Arc::clone(&self.state.open));
        let end = fetch.range.end.unwrap_or(self.size);
        tokio::time::sleep(self.head).await;
        let each = self.each / self.slower.get(&number).copied().unwrap_or(1);
        let (link, start) = (self.clone(), Instant::now());
        let pieces = stream::unfold((fetch.range.start, start, leave), move |(at, due, leave)| {
            let link = link.clone();
            async move {
                let length = PIECE.min(end - at);
                if length == 0 {
                    return None;
                }
                // Its own speed, then its turn in that of all.
                let due = due + Duration::from_secs_f64(length as f64 / each as f64);
                tokio::time::sleep_until(due).await;
                let turn = {
                    let mut next = link.state.next.lock().expect("no test panics while holding it");
                    let turn = next.unwrap_or(start).max(Instant::now())
                        + Duration::from_secs_f64(length as f64 / link.all as f64);
                    *next = Some(turn);
                    turn
                };
                tokio::time::sleep_until(turn).await;
                let bytes = Bytes::from(vec![0; length as usize]);
                Some((Ok(bytes), (at + length, due, leave)))
            }
        });
        let entity = Entity { size: Some(self.size), tag: Some("\"z\"".parse()?), ..Entity::default() };
        let range = ByteRange::new(fetch.range.start, end);
        Ok(Body { seekable: true, ..Body::new(entity, range, pieces.boxed()) })
    }
}

struct Leave(Arc<AtomicUsize>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Takes bytes in any order, and only remembers which.
#[derive(Clone, Debug, Default)]
struct Tally(Arc<Mutex<RangeSet>>);

#[async_trait]
impl Writer for Tally {
    fn access(&self) -> Access {
        Access::Random
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        let span: Range<u64> = offset..offset + chunk.len() as u64;
        let mut taken = self.0.lock().expect("no test panics while holding it");
        let before = taken.total();
        taken.insert(span.clone());
        assert_eq!(taken.total(), before + span.end - span.start, "a byte written twice");
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Seconds it took.
async fn fetch(link: &Link, connections: Connections) -> f64 {
    let engine = Engine::builder().backend(link.clone()).limit_per_host(32).build();
    let request = Request::get("link://far/f").expect("a URL").connections(connections);
    let (started, tally) = (Instant::now(), Tally::default());
    engine.download(request, tally.clone()).await.expect("nothing fails here");
    let taken = tally.0.lock().expect("no test panics while holding it").clone();
    assert_eq!(taken.prefix(), link.size);
    started.elapsed().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn told_nothing_a_small_content_and_a_fast_one_get_one_connection() {
    let small = Link::new(3 * MEBIBYTE, MEBIBYTE, 100 * MEBIBYTE);
    fetch(&small, Connections::Automatic).await;
    assert_eq!(small.most_open(), 1, "less than five seconds are left when the rate is known");
}

#[tokio::test(start_paused = true)]
async fn told_nothing_connections_are_added_while_each_brings_more() {
    let link = Link::new(1024 * MEBIBYTE, 10 * MEBIBYTE, 10_000 * MEBIBYTE);
    let seconds = fetch(&link, Connections::Automatic).await;
    assert_eq!(link.most_open(), 16);
    // 102 s on one connection, 6.4 s on sixteen from the start.
    assert!(seconds < 15.0, "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn told_nothing_a_full_link_is_left_alone() {
    let link = Link::new(400 * MEBIBYTE, 10 * MEBIBYTE, 10 * MEBIBYTE);
    let seconds = fetch(&link, Connections::Automatic).await;
    assert!(link.most_open() <= 4, "{} connections where one fills the link", link.most_open());
    assert!(seconds < 46.0, "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn told_a_number_that_many_are_used_at_once() {
    let link = Link::new(256 * MEBIBYTE, 8 * MEBIBYTE, 10_000 * MEBIBYTE);
    let seconds = fetch(&link, Connections::Exactly(8)).await;
    assert_eq!(link.most_open(), 8);
    assert!(seconds < 1.1 * 4.0, "{seconds} s, four would be perfect");
}

#[tokio::test(start_paused = true)]
async fn who_is_done_takes_half_of_what_the_slowest_has_left() {
    let mut link = Link::new(64 * MEBIBYTE, 8 * MEBIBYTE, 10_000 * MEBIBYTE);
    link.slower.insert(1, 8);
    let seconds = fetch(&link, Connections::Exactly(2)).await;
    // In fixed halves the slow one would need 32 s; 9 MiB/s together is 7.1 s.
    assert!(seconds < 9.5, "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn where_asking_takes_long_each_connection_is_asked_once() {
    // 256 MiB at 46 MB/s and half a second to log in, as over FTP at 50 ms.
    let mut link = Link::new(256 * MEBIBYTE, 46_000_000, 125_000_000);
    link.head = Duration::from_millis(500);
    let seconds = fetch(&link, Connections::Exactly(4)).await;
    assert_eq!(link.opened(), 4);
    assert!(seconds < 0.55 * (0.5 + 256.0 * 1_048_576.0 / 46e6), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn where_asking_costs_nothing_blocks_stay_near_to_each_other() {
    let link = Link::new(1024 * MEBIBYTE, 10_000_000, 1_000_000_000);
    fetch(&link, Connections::Exactly(4)).await;
    // 32 blocks of 32 MiB, and a few halves at the end.
    assert!((32..=40).contains(&link.opened()), "{} requests", link.opened());
}

#[tokio::test(start_paused = true)]
async fn told_nothing_a_doubling_that_did_not_help_is_taken_back() {
    let link = Link::new(4096 * MEBIBYTE, 1_000_000_000, 100_000_000);
    fetch(&link, Connections::Automatic).await;
    // The first, the one that did not help with the blocks of its time, and the rest as a whole.
    assert!(link.most_open() <= 2 && link.opened() <= 4, "{} of {}", link.most_open(), link.opened());
}
