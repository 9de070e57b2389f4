//! The cases that go through the engine: what breaks below is healed above, with every byte once.
//!
//! Invariant: nothing is committed but the whole right content. Must not know: how the engine heals.

use std::sync::Mutex;

use bytes::Bytes;
use downloader_core::{
    Connections, ErrorKind, Event, Observer, Outcome, Patience, Request, Result, SafeUrl, Streamer,
};
use futures_util::TryStreamExt;
use tokio::time::timeout;

use super::probe::{LONG, SHORT, content, engine};
use super::{Ability, Fault, Fixture, Habits, Verdict, need};
use crate::kit::{Rng, sha256_hex};
use crate::suite::sink::{Call, Sink};

const LENGTH: u64 = 1_200_000;

/// Over one connection, where no case says otherwise: a slow machine is given more, and attempts are counted.
fn request(url: &SafeUrl) -> Request {
    Request::get(url.clone()).expect("it is a URL").connections(Connections::Exactly(1))
}

fn checked(url: &SafeUrl, content: &[u8]) -> Request {
    request(url).sha256(&sha256_hex(content)).expect("it is a digest")
}

/// Downloads, and holds the sink against the content: whole, committed once, every byte written once.
async fn right(fixture: &dyn Fixture, request: Request, content: &[u8]) -> (Outcome, Sink) {
    let sink = Sink::new();
    let engine = engine(fixture).build();
    let done = timeout(LONG, engine.download(request, sink.clone())).await;
    let outcome = done.unwrap_or_else(|_| panic!("{}: no end", fixture.name()));
    let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
    holds(fixture, &sink, content);
    assert_eq!(outcome.size, content.len() as u64, "{}", fixture.name());
    assert_eq!(engine.limits().active(), 0, "{}: a permit is still held", fixture.name());
    (outcome, sink)
}

fn holds(fixture: &dyn Fixture, sink: &Sink, content: &[u8]) {
    assert!(sink.published().as_deref() == Some(content), "{}: wrong content", fixture.name());
    assert_eq!(sink.twice(), 0, "{}: bytes were written twice", fixture.name());
    assert_eq!(sink.count(&Call::Commit), 1, "{}", fixture.name());
}

pub(super) async fn one_download(fixture: &dyn Fixture) -> Verdict {
    for length in [0, 1, 9999, LENGTH] {
        let content = content(30, length);
        let url = fixture.serve(content.clone(), Habits::good()).await;
        let (outcome, _) = right(fixture, checked(&url, &content).size(length), &content).await;
        assert_eq!((outcome.attempts.len(), outcome.held), (1, 0), "{}: {outcome:?}", fixture.name());
        assert_eq!(outcome.received, length, "{}", fixture.name());
        assert_eq!(outcome.url, url, "{}", fixture.name());
    }
    Ok(())
}

pub(super) async fn a_cut_is_resumed(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Cut)?;
    let content = content(31, LENGTH);
    for cut in [100_001, 800_000] {
        let url = fixture.serve(content.clone(), Habits::first([Fault::Cut(cut)])).await;
        let (outcome, sink) = right(fixture, request(&url), &content).await;
        let [first, second] = &outcome.attempts[..] else { panic!("{}: {outcome:?}", fixture.name()) };
        assert_eq!(first.error, Some(ErrorKind::Truncated), "{}: {first}", fixture.name());
        assert_eq!((second.error, second.offset + second.bytes), (None, LENGTH), "{}", fixture.name());
        assert!(second.offset > 0 && second.offset <= first.bytes, "{}: {second}", fixture.name());
        assert_eq!(sink.count(&Call::Discard), 0, "{}: it started over", fixture.name());
        if fixture.lacks(Ability::ExactCut).is_none() {
            assert_eq!(first.bytes, cut, "{}: {first}", fixture.name());
        }
        if fixture.lacks(Ability::Count).is_none() {
            assert_eq!(fixture.over(&url, 2).await, 2, "{}", fixture.name());
        }
    }
    Ok(())
}

pub(super) async fn many_cuts_are_resumed(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Cut)?;
    let content = content(32, LENGTH);
    let mut rng = Rng::new(32);
    let faults: Vec<Fault> = (0..6).map(|_| Fault::Cut(50_000 + rng.below(100_000))).collect();
    let url = fixture.serve(content.clone(), Habits::first(faults.clone())).await;
    let (outcome, _) = right(fixture, checked(&url, &content), &content).await;
    assert_eq!(outcome.attempts.len(), faults.len() + 1, "{}: {outcome:?}", fixture.name());
    // And with several connections at a time.
    let url = fixture.serve(content.clone(), Habits::first(faults)).await;
    let wide = checked(&url, &content).connections(Connections::Exactly(4));
    right(fixture, wide, &content).await;
    Ok(())
}

pub(super) async fn a_kill_at_any_offset_is_resumed(fixture: &dyn Fixture) -> Verdict {
    let content = content(33, LENGTH);
    for kill in [1, 100_000, 700_001, LENGTH] {
        let url = fixture.serve(content.clone(), Habits::good()).await;
        let sink = Sink::new();
        {
            let engine = engine(fixture).build();
            let stuck = sink.clone().stuck_at(kill);
            let mut running = Box::pin(engine.download(checked(&url, &content), stuck));
            // Dropped here, at the place where the sink takes no more.
            tokio::select! {
                done = &mut running => assert!(kill == LENGTH, "{}: {done:?}", fixture.name()),
                () = sink.wait_written(u64::MAX) => {}
            }
            drop(running);
            assert_eq!(engine.limits().active(), 0, "{}: a permit is still held", fixture.name());
        }
        if sink.published().is_some() {
            continue;
        }
        let kept = sink.written().len() as u64;
        assert!(kept < kill, "{}: {kept} bytes, killed at {kill}", fixture.name());
        let engine = engine(fixture).build();
        let done = timeout(LONG, engine.download(checked(&url, &content), sink.clone())).await;
        let outcome = done.expect("it ends").unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
        holds(fixture, &sink, &content);
        assert_eq!(outcome.held, kept, "{}: killed at {kill}", fixture.name());
        assert_eq!(outcome.received, LENGTH - kept, "{}: killed at {kill}", fixture.name());
    }
    Ok(())
}

pub(super) async fn a_stall_is_resumed(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Stall)?;
    let content = content(34, LENGTH);
    let url = fixture.serve(content.clone(), Habits::first([Fault::Stall(400_000)])).await;
    let patience = Patience { head: Some(LONG), idle: Some(SHORT), slow: None };
    let (outcome, sink) = right(fixture, request(&url).patience(patience), &content).await;
    assert_eq!(outcome.attempts.len(), 2, "{}: {outcome:?}", fixture.name());
    assert!(outcome.attempts[1].offset > 0, "{}: {outcome:?}", fixture.name());
    assert_eq!(sink.count(&Call::Discard), 0, "{}: it started over", fixture.name());
    Ok(())
}

pub(super) async fn busy_then_served(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::BusyAtFirst)?;
    let content = content(35, 5000);
    let url = fixture.serve(content.clone(), Habits::first([Fault::Busy, Fault::Busy])).await;
    let (outcome, _) = right(fixture, request(&url), &content).await;
    let errors: Vec<_> = outcome.attempts.iter().map(|attempt| attempt.error).collect();
    assert_eq!(errors, [Some(ErrorKind::Busy), Some(ErrorKind::Busy), None], "{}", fixture.name());
    Ok(())
}

pub(super) async fn missing_is_not_repeated(fixture: &dyn Fixture) -> Verdict {
    let url = fixture.serve(content(36, 5000), Habits::always(Fault::Missing)).await;
    let sink = Sink::new();
    let error =
        engine(fixture).build().download(request(&url), sink.clone()).await.expect_err("it is missing");
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::NotFound, 1), "{}", fixture.name());
    assert!(sink.is_untouched(), "{}: {:?}", fixture.name(), sink.calls());
    if fixture.lacks(Ability::Count).is_none() {
        assert_eq!(fixture.over(&url, 1).await, 1, "{}", fixture.name());
    }
    Ok(())
}

/// Does something when the first attempt is over: before anybody is asked again.
struct AfterFirst(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Observer for AfterFirst {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event, Event::Attempt { .. })
            && let Some(act) = self.0.lock().expect("nobody panics holding it").take()
        {
            act();
        }
    }
}

/// Downloads while the content is replaced behind the first attempt.
async fn replaced(fixture: &dyn Fixture, url: &SafeUrl, new: &Bytes, request: Request) -> (Outcome, Sink) {
    let sink = Sink::new();
    let observer = AfterFirst(Mutex::new(Some(fixture.replacing(url, new.clone()))));
    let engine = engine(fixture).observer(observer).build();
    let outcome = timeout(LONG, engine.download(request, sink.clone())).await.expect("it ends");
    let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
    holds(fixture, &sink, new);
    (outcome, sink)
}

pub(super) async fn another_content_after_a_cut_starts_over(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Cut)?;
    for after in [LENGTH, 900_000] {
        let (old, new) = (content(37, LENGTH), content(38, after));
        let url = fixture.serve(old, Habits::first([Fault::Cut(500_000)])).await;
        let (outcome, sink) = replaced(fixture, &url, &new, request(&url)).await;
        assert_eq!(outcome.entity.size, Some(after), "{}", fixture.name());
        assert_eq!(sink.count(&Call::Discard), 1, "{}: {:?}", fixture.name(), outcome.attempts);
    }
    Ok(())
}

pub(super) async fn wrong_content_then_right(fixture: &dyn Fixture) -> Verdict {
    let right = content(39, 600_000);
    let mut wrong = right.to_vec();
    wrong[300_000] ^= 1;
    let url = fixture.serve(wrong.into(), Habits::good()).await;
    let (outcome, sink) = replaced(fixture, &url, &right, checked(&url, &right)).await;
    assert_eq!(sink.count(&Call::Discard), 1, "{}: {:?}", fixture.name(), outcome.attempts);
    assert_eq!(outcome.attempts[0].error, Some(ErrorKind::Integrity), "{}: {outcome:?}", fixture.name());
    Ok(())
}

async fn read(streamer: Streamer) -> Result<Vec<u8>> {
    streamer
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
}

pub(super) async fn a_stream_heals(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Cut)?;
    let content = content(40, LENGTH);
    let faults = [Fault::Cut(200_000), Fault::Cut(300_000)];
    let url = fixture.serve(content.clone(), Habits::first(faults)).await;
    let engine = engine(fixture).build();
    let streamer = engine.stream(checked(&url, &content)).await;
    let streamer = streamer.unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
    assert_eq!(streamer.content_length(), Some(LENGTH), "{}", fixture.name());
    let bytes = timeout(LONG, read(streamer)).await.expect("it ends");
    let bytes = bytes.unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
    assert!(bytes == content, "{}: wrong content", fixture.name());
    Ok(())
}

pub(super) async fn a_part_of_a_stream_heals(fixture: &dyn Fixture) -> Verdict {
    let content = content(41, LENGTH);
    let faults = match fixture.lacks(Ability::Cut) {
        None => vec![Fault::Cut(100_000)],
        Some(_) => Vec::new(),
    };
    let engine = engine(fixture).build();
    for range in [0..1, 500_000..900_000, LENGTH - 300_000..LENGTH] {
        let url = fixture.serve(content.clone(), Habits::first(faults.clone())).await;
        let streamer = engine.stream(request(&url).range(range.clone().into())).await;
        let streamer = streamer.unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
        let bytes = timeout(LONG, read(streamer)).await.expect("it ends");
        let bytes = bytes.unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
        let expected = &content[range.start as usize..range.end as usize];
        assert!(bytes == expected, "{}: {range:?}", fixture.name());
    }
    Ok(())
}
