//! The cases in which the far side fails: the kind of the error, what came before it, and whether it may pass.
//!
//! Invariant: bytes that came before a fault are right, and the fault is told. Must not know: what follows a failure.

use downloader_core::{ErrorKind, Fetch, Patience, Phase, Request};

use super::probe::{LONG, SHORT, content, engine, failure, get, part, whole};
use super::{Ability, Fault, Fixture, Habits, Verdict, need};
use crate::suite::sink::Sink;

pub(super) async fn a_cut_is_truncated(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Cut)?;
    let content = content(20, 300_000);
    for (cut, from) in [(100_000, 0), (150_000, 0), (50_000, 200_000)] {
        let url = fixture.serve(content.clone(), Habits::always(Fault::Cut(cut))).await;
        cut_short(fixture, part(&url, from..300_000), &content, cut).await;
    }
    Ok(())
}

pub(super) async fn a_cut_before_the_first_byte(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::ExactCut)?;
    let content = content(21, 300_000);
    for cut in [0, 1] {
        let url = fixture.serve(content.clone(), Habits::always(Fault::Cut(cut))).await;
        cut_short(fixture, whole(&url), &content, cut).await;
    }
    Ok(())
}

pub(super) async fn an_end_before_its_time_is_an_error(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Short)?;
    let content = content(22, 300_000);
    for from in [0, 1000] {
        let url = fixture.serve(content.clone(), Habits::always(Fault::Short(2000))).await;
        cut_short(fixture, part(&url, from..300_000), &content, 2000).await;
    }
    Ok(())
}

/// The bytes up to the cut, then the error.
async fn cut_short(fixture: &dyn Fixture, fetch: Fetch, content: &[u8], cut: u64) {
    let asked = format!("{}: {fetch:?}", fixture.name());
    let from = fetch.range.start;
    let reply = get(fixture, fetch).await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
    reply.tells_the_truth_of(content, from, &asked);
    let error = reply.error.unwrap_or_else(|| panic!("{asked}: {} bytes, and no error", reply.bytes.len()));
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Truncated, true), "{asked}: {error:?}");
    let came = reply.bytes.len() as u64;
    if fixture.lacks(Ability::ExactCut).is_none() {
        assert_eq!(came, cut, "{asked}: bytes before the cut");
    } else {
        assert!(came > 0 && came <= cut, "{asked}: {came} bytes before a cut at {cut}");
    }
}

/// The kind of the error of a request that fails at once, and that it was one request.
async fn refusal(fixture: &dyn Fixture, fault: Fault, kind: ErrorKind) {
    let url = fixture.serve(content(23, 5000), Habits::always(fault)).await;
    for (times, fetch) in [whole(&url), part(&url, 100..200)].into_iter().enumerate() {
        let error = failure(fixture, fetch).await;
        assert_eq!(error.kind(), kind, "{}: {error:?}", fixture.name());
        assert_eq!(error.is_transient(), kind.is_transient(), "{}: {error:?}", fixture.name());
        if fault != Fault::Unreachable && fixture.lacks(Ability::Count).is_none() {
            assert_eq!(fixture.over(&url, times + 1).await, times + 1, "{}: {fault:?}", fixture.name());
        }
    }
    let mut head = whole(&url);
    head.body = false;
    let error = failure(fixture, head).await;
    assert_eq!(error.kind(), kind, "{}: head only: {error:?}", fixture.name());
}

pub(super) async fn missing(fixture: &dyn Fixture) -> Verdict {
    refusal(fixture, Fault::Missing, ErrorKind::NotFound).await;
    Ok(())
}

pub(super) async fn denied(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Denied)?;
    refusal(fixture, Fault::Denied, ErrorKind::Denied).await;
    Ok(())
}

pub(super) async fn busy(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Busy)?;
    refusal(fixture, Fault::Busy, ErrorKind::Busy).await;
    Ok(())
}

pub(super) async fn nobody_listens(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Unreachable)?;
    refusal(fixture, Fault::Unreachable, ErrorKind::Connect).await;
    Ok(())
}

pub(super) async fn silence_instead_of_a_head(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Silent)?;
    let url = fixture.serve(content(24, 5000), Habits::always(Fault::Silent)).await;
    let patience = Patience { head: Some(SHORT), idle: Some(LONG), slow: None };
    times_out(fixture, &url, patience, Phase::Head).await;
    Ok(())
}

pub(super) async fn silence_within_the_body(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Stall)?;
    let url = fixture.serve(content(25, 300_000), Habits::always(Fault::Stall(100_000))).await;
    let patience = Patience { head: Some(LONG), idle: Some(SHORT), slow: None };
    times_out(fixture, &url, patience, Phase::Idle).await;
    Ok(())
}

async fn times_out(fixture: &dyn Fixture, url: &downloader_core::SafeUrl, patience: Patience, phase: Phase) {
    let engine = engine(fixture).retry(downloader_core::retry::Never).build();
    let request = Request::get(url.clone()).expect("it is a URL").patience(patience);
    let sink = Sink::new();
    let error = engine.download(request, sink.clone()).await.expect_err("it is silent");
    let name = fixture.name();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Timeout(phase), true), "{name}: {error:?}");
    assert_eq!((error.url(), error.attempts().len()), (Some(url), 1), "{name}: {error:?}");
    assert_eq!(error.offset(), Some(sink.written().len() as u64), "{name}: {error:?}");
    if phase == Phase::Idle {
        assert!(!sink.written().is_empty(), "{name}: nothing of what came was delivered");
    }
    assert_eq!(engine.limits().active(), 0, "{name}: a permit is still held");
    // The far side is let go.
    fixture.over(url, 1).await;
}

/// Unknown schemes never reach the wire.
pub(super) async fn another_scheme_is_refused(fixture: &dyn Fixture) -> Verdict {
    let engine = engine(fixture).build();
    let request = Request::get("gopher://127.0.0.1:9/f").expect("it is a URL");
    let error = engine.download(request, Sink::new()).await.expect_err("nobody serves gopher");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}: {error:?}", fixture.name());
    let named = fixture.schemes().iter().all(|scheme| error.what().contains(scheme));
    assert!(named, "{}: what is accepted is not said: {error:?}", fixture.name());
    Ok(())
}
