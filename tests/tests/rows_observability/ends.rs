//! The events of an observer: what began ends once, however it ends, and says what it came to.
//!
//! Invariant: no event follows the end. Must not know how a download is done.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::retry::Never;
use downloader_core::{
    Engine, Entity, Event, Integrity, Job, Observer, Request, Result, Streamer, Totals, Writer,
};
use downloader_tests::kit::{Act, Resource, Server};
use futures_util::{StreamExt as _, stream};

use super::rows::{MIB, engine, memory, read, read_some, soon};

/// What happened, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Line>>>);

/// The name of an event; what the download came to, if it is an end.
type Line = (&'static str, Option<Totals>);

impl Seen {
    fn names(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().iter().map(|(name, _)| *name).collect()
    }

    /// The ends so far, which must be as many as the beginnings.
    fn ends(&self) -> Vec<(&'static str, Totals)> {
        let seen = self.0.lock().unwrap();
        let ends: Vec<_> = seen.iter().filter_map(|(name, totals)| Some((*name, (*totals)?))).collect();
        assert_eq!(seen.iter().filter(|(name, _)| *name == "started").count(), ends.len(), "{seen:?}");
        ends
    }

    /// The one end, once it is there.
    async fn end(&self) -> (&'static str, Totals) {
        let there = async {
            while self.0.lock().unwrap().iter().all(|(_, totals)| totals.is_none()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon("the end", there).await;
        let ends = self.ends();
        let [end] = ends[..] else { panic!("{ends:?}") };
        end
    }
}

impl Observer for Seen {
    fn observe(&self, event: &Event<'_>) {
        let told = match event {
            Event::Started { group, .. } => {
                assert_eq!(*group, Some("g"));
                ("started", None)
            }
            Event::Request { .. } => ("request", None),
            Event::Attempt { .. } => ("attempt", None),
            Event::StartOver { .. } => ("start over", None),
            Event::Done { totals, .. } => ("done", Some(*totals)),
            Event::Failed { totals, .. } => ("failed", Some(*totals)),
            Event::Stopped { totals, .. } => ("stopped", Some(*totals)),
            _ => return,
        };
        self.0.lock().unwrap().push(told);
    }
}

/// A writer that panics.
#[derive(Debug)]
struct Panics;

#[async_trait]
impl Writer for Panics {
    async fn write(&mut self, _: u64, _: Bytes) -> Result<()> {
        panic!("it fell over a byte")
    }

    async fn commit(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A server with 1 MiB at `/f`, with an engine and what it told.
async fn world() -> (Server, Engine, Seen) {
    let (server, seen) = (Server::start().await, Seen::default());
    server.put("/f", Resource::generated(1, MIB).etag("\"a\""));
    server.put("/stalled", Resource::generated(1, MIB).etag("\"a\"").always(Act::new().stall_at(1000)));
    let engine = engine().retry(Never).observer(seen.clone()).build();
    (server, engine, seen)
}

fn get(server: &Server, path: &str) -> Request {
    Request::get(server.url(path)).unwrap().group("g")
}

#[tokio::test]
async fn a_file_ends_done_or_failed() {
    let (server, engine, seen) = world().await;
    engine.download(get(&server, "/f"), memory().0).await.unwrap();
    engine.download(get(&server, "/none"), memory().0).await.unwrap_err();
    engine.head(get(&server, "/f")).await.unwrap();
    let [(done, all), (failed, nothing), (head, no_body)] = seen.ends()[..] else {
        panic!("{:?}", seen.ends())
    };
    assert_eq!([done, failed, head], ["done", "failed", "done"]);
    assert_eq!((all.received, all.in_place), (MIB, MIB));
    assert_eq!((nothing.received, nothing.in_place, no_body.in_place), (0, 0, 0));
    assert!(all.elapsed > Duration::ZERO);
}

#[tokio::test]
async fn whoever_stops_is_told_so() {
    let (server, engine, seen) = world().await;
    let handle = engine.start(Job::new(get(&server, "/stalled"), memory().0));
    soon("bytes", async {
        while handle.meter().received() < 1000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    handle.stop();
    let (name, totals) = seen.end().await;
    assert_eq!((name, totals.received, totals.in_place), ("stopped", 1000, 1000));
    // One that was never taken up does not end either.
    drop(engine.download(get(&server, "/f"), memory().0));
    assert_eq!(seen.ends().len(), 1);
}

#[tokio::test]
async fn a_batch_that_is_dropped_stops_what_runs() {
    let (server, engine, seen) = world().await;
    let jobs: Vec<_> = (0..4).map(|_| Job::new(get(&server, "/stalled"), memory().0)).collect();
    let mut batch = engine.batch(stream::iter(jobs));
    let polled = tokio::time::timeout(Duration::from_millis(200), batch.next()).await;
    assert!(polled.is_err());
    drop(batch);
    soon("the ends", async {
        while seen.names().iter().filter(|name| **name == "stopped").count() < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(seen.ends().len(), 4);
}

/// Reads a stream until it has so many bytes, and drops it.
async fn read_and_leave(mut streamer: Streamer, count: usize) {
    assert!(read_some(&mut streamer, count).await.len() >= count);
}

#[tokio::test]
async fn a_stream_is_done_with_its_last_byte_and_stopped_before() {
    let whole = usize::try_from(MIB).unwrap();
    for (integrity, count, expected) in [
        (Integrity::HoldBack, whole, "done"),
        (Integrity::HoldBack, 1000, "stopped"),
        // The verdict comes behind the last byte: whoever leaves before does not hear it.
        (Integrity::Trailing, whole, "stopped"),
        (Integrity::VerifyFirst(Box::new(memory().0)), 1000, "done"),
    ] {
        let (server, engine, seen) = world().await;
        read_and_leave(engine.stream_with(get(&server, "/f"), integrity).await.unwrap(), count).await;
        assert_eq!(seen.end().await.0, expected, "{count}");
    }
    let (server, engine, seen) = world().await;
    let (bytes, error) =
        read(engine.stream_with(get(&server, "/f"), Integrity::Trailing).await.unwrap()).await;
    assert_eq!((bytes.len(), error.is_none(), seen.end().await.0), (whole, true, "done"));
    let (_, error) =
        read(engine.stream(get(&server, "/f").sha256(&"0".repeat(64)).unwrap()).await.unwrap()).await;
    assert!(error.is_some());
    assert_eq!(seen.ends().last().unwrap().0, "failed");
}

#[tokio::test]
async fn a_stream_without_bytes_is_done_with_its_head() {
    let (server, engine, seen) = world().await;
    drop(engine.stream(get(&server, "/f").head_only()).await.unwrap());
    let known = Entity { tag: Some("\"a\"".parse().unwrap()), ..Entity::default() };
    let streamer = engine.stream(get(&server, "/f").unless(known)).await.unwrap();
    assert!(streamer.is_not_modified());
    drop(streamer);
    assert_eq!(seen.ends().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["done", "done"]);
}

#[tokio::test]
async fn a_plug_in_that_panics_ends_its_download_as_failed() {
    let (server, engine, seen) = world().await;
    engine.download(get(&server, "/f"), Panics).await.unwrap_err();
    assert_eq!(seen.end().await.0, "failed");
}

#[tokio::test]
async fn a_start_over_is_told_between_the_attempts() {
    let (server, engine, seen) = world().await;
    let resource = Resource::generated(1, MIB).etag("\"a\"").first(Act::new().cut_at(1000));
    server.put("/changing", resource.change_after(1, Resource::generated(2, MIB).etag("\"b\"")));
    let request = get(&server, "/changing").retry(downloader_core::retry::Constant::new(Duration::ZERO, 2));
    engine.download(request, memory().0).await.unwrap();
    let expected =
        ["started", "request", "attempt", "request", "attempt", "start over", "request", "attempt", "done"];
    assert_eq!(seen.names(), expected);
    let (_, totals) = seen.end().await;
    assert_eq!((totals.received, totals.in_place), (MIB + 1000, MIB));
}
