//! The cases in which the far side does what it is asked, or says that it does not.
//!
//! Invariant: each case makes its own content. Must not know: faults.

use downloader_core::{ByteRange, Entity};
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::probe::{SHORT, content, part, truth, whole};
use super::{Ability, Fault, Fixture, Habits, Verdict, need};
use crate::kit::Rng;

pub(super) async fn the_whole_content(fixture: &dyn Fixture) -> Verdict {
    for length in [2, 100, 70_001, 1_500_007] {
        let content = content(length, length);
        let url = fixture.serve(content.clone(), Habits::good()).await;
        let reply = truth(fixture, whole(&url), &content).await;
        assert_eq!((reply.bytes.len() as u64, reply.not_modified), (length, false), "{}", fixture.name());
        assert_eq!(reply.entity.size, Some(length), "{}: the size was not told", fixture.name());
    }
    Ok(())
}

pub(super) async fn ranges(fixture: &dyn Fixture) -> Verdict {
    const LENGTH: u64 = 100_000;
    let content = content(1, LENGTH);
    let url = fixture.serve(content.clone(), Habits::good()).await;
    let mut wanted: Vec<ByteRange> = vec![
        (0..1).into(),
        (0..LENGTH).into(),
        (1..2).into(),
        (10_000..20_000).into(),
        (LENGTH - 1..LENGTH).into(),
        (LENGTH - 500..LENGTH + 500).into(),
        ByteRange::starting_at(1),
        ByteRange::starting_at(60_000),
        ByteRange::starting_at(LENGTH - 1),
    ];
    let mut rng = Rng::new(7);
    for _ in 0..12 {
        let start = rng.below(LENGTH);
        wanted.push((start..start + 1 + rng.below(LENGTH - start)).into());
    }
    for range in wanted {
        let reply = truth(fixture, part(&url, range), &content).await;
        let end = range.end.unwrap_or(LENGTH).min(LENGTH);
        let came = reply.range.start..reply.range.start + reply.bytes.len() as u64;
        assert!(came.start == range.start && came.end >= end, "{}: {came:?} for {range}", fixture.name());
    }
    Ok(())
}

pub(super) async fn a_range_behind_the_end_has_no_bytes(fixture: &dyn Fixture) -> Verdict {
    let content = content(2, 1000);
    let url = fixture.serve(content.clone(), Habits::good()).await;
    for range in [ByteRange::starting_at(1000), (1000..1001).into(), (5000..6000).into()] {
        let reply = truth(fixture, part(&url, range), &content).await;
        assert_eq!((reply.entity.size, reply.bytes.len()), (Some(1000), 0), "{}: {range}", fixture.name());
    }
    Ok(())
}

pub(super) async fn empty_and_one_byte(fixture: &dyn Fixture) -> Verdict {
    for length in [0, 1] {
        let content = content(3, length);
        let url = fixture.serve(content.clone(), Habits::good()).await;
        let reply = truth(fixture, whole(&url), &content).await;
        assert_eq!(
            (reply.entity.size, reply.bytes.len() as u64),
            (Some(length), length),
            "{}",
            fixture.name()
        );
    }
    Ok(())
}

pub(super) async fn the_head_only(fixture: &dyn Fixture) -> Verdict {
    let content = content(4, 300_000);
    let url = fixture.serve(content.clone(), Habits::good()).await;
    let mut fetch = whole(&url);
    fetch.body = false;
    let head = truth(fixture, fetch, &content).await;
    assert!(head.bytes.is_empty(), "{}: {} bytes of a body", fixture.name(), head.bytes.len());
    let full = truth(fixture, whole(&url), &content).await;
    assert_eq!(head.entity, full.entity, "{}: the head tells another content", fixture.name());
    Ok(())
}

pub(super) async fn two_opens_tell_the_same(fixture: &dyn Fixture) -> Verdict {
    let content = content(5, 5000);
    let url = fixture.serve(content.clone(), Habits::good()).await;
    let first = truth(fixture, whole(&url), &content).await;
    let second = truth(fixture, part(&url, 100..200), &content).await;
    assert_eq!(first.entity.size, second.entity.size, "{}", fixture.name());
    assert_eq!(first.entity.tag, second.entity.tag, "{}", fixture.name());
    assert_eq!(first.entity.modified, second.entity.modified, "{}", fixture.name());
    assert!(second.seekable, "{}: a served range shows that ranges are served", fixture.name());
    Ok(())
}

pub(super) async fn ignored_ranges_are_told(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::NoRanges)?;
    let content = content(6, 50_000);
    let url = fixture.serve(content.clone(), Habits::good().without_ranges()).await;
    let reply = truth(fixture, part(&url, 20_000..30_000), &content).await;
    assert_eq!(reply.range.start, 0, "{}: a range came after all", fixture.name());
    assert_eq!(reply.bytes.len(), 50_000, "{}", fixture.name());
    assert!(!reply.seekable, "{}: an ignored range is no sign that ranges are served", fixture.name());
    Ok(())
}

pub(super) async fn an_untold_size_is_not_guessed(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::NoSize)?;
    for length in [0, 1, 200_000] {
        let content = content(7, length);
        let url = fixture.serve(content.clone(), Habits::good().without_size()).await;
        let reply = truth(fixture, whole(&url), &content).await;
        // That there is nothing can always be told.
        let told = (reply.entity.size, reply.range.end);
        assert!(told == (None, None) || length == 0, "{}: {told:?}", fixture.name());
        assert_eq!(reply.bytes.len() as u64, length, "{}", fixture.name());
    }
    Ok(())
}

pub(super) async fn another_content_than_expected_is_no_error(fixture: &dyn Fixture) -> Verdict {
    for (before, after) in [(40_000, 40_000), (40_000, 30_000), (30_000, 40_000)] {
        let (old, new) = (content(8, before), content(9, after));
        let url = fixture.serve(old.clone(), Habits::good()).await;
        let known = truth(fixture, whole(&url), &old).await.entity;
        fixture.replacing(&url, new.clone())();
        let mut fetch = part(&url, ByteRange::starting_at(10_000));
        fetch.expect = Some(known.clone());
        // The new content, its own size and tag, and bytes at the offsets they are said to have.
        let reply = truth(fixture, fetch, &new).await;
        assert_eq!(reply.entity.size, Some(after), "{}", fixture.name());
        let differ = (known.tag, known.modified) != (reply.entity.tag, reply.entity.modified);
        assert!(differ, "{}: nothing of the head says that it is another content", fixture.name());
    }
    Ok(())
}

pub(super) async fn the_expected_content_serves_its_range(fixture: &dyn Fixture) -> Verdict {
    let content = content(10, 40_000);
    let url = fixture.serve(content.clone(), Habits::good()).await;
    let known = truth(fixture, whole(&url), &content).await.entity;
    let mut fetch = part(&url, ByteRange::starting_at(39_000));
    fetch.expect = Some(known);
    let reply = truth(fixture, fetch, &content).await;
    assert_eq!((reply.range.start, reply.bytes.len()), (39_000, 1000), "{}", fixture.name());
    Ok(())
}

pub(super) async fn unless_it_is_still_the_same(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Unless)?;
    let (old, new) = (content(11, 20_000), content(12, 20_000));
    let url = fixture.serve(old.clone(), Habits::good()).await;
    fixture.settle().await;
    let known = truth(fixture, whole(&url), &old).await.entity;
    let unless = |entity: &Entity| {
        let mut fetch = whole(&url);
        fetch.unless = Some(entity.clone());
        fetch
    };
    let same = truth(fixture, unless(&known), &old).await;
    assert!(same.not_modified && same.bytes.is_empty(), "{}: it is the same", fixture.name());
    assert_eq!((same.entity.size, same.entity.tag), (known.size, known.tag.clone()), "{}", fixture.name());
    fixture.replacing(&url, new.clone())();
    let other = truth(fixture, unless(&known), &new).await;
    assert!(!other.not_modified && other.bytes.len() == 20_000, "{}: it is another", fixture.name());
    Ok(())
}

pub(super) async fn one_open_is_one_request(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::Count)?;
    let content = content(13, 30_000);
    let url = fixture.serve(content.clone(), Habits::good()).await;
    truth(fixture, whole(&url), &content).await;
    assert_eq!(fixture.over(&url, 1).await, 1, "{}: whole", fixture.name());
    truth(fixture, part(&url, 5..10), &content).await;
    assert_eq!(fixture.over(&url, 2).await, 2, "{}: part", fixture.name());
    let mut head = whole(&url);
    head.body = false;
    truth(fixture, head, &content).await;
    assert_eq!(fixture.over(&url, 3).await, 3, "{}: head", fixture.name());
    Ok(())
}

pub(super) async fn many_at_once(fixture: &dyn Fixture) -> Verdict {
    const LENGTH: u64 = 400_000;
    let content = content(14, LENGTH);
    let url = fixture.serve(content.clone(), Habits::good()).await;
    let parts = (0..8).map(|part_of| part_of * LENGTH / 8..(part_of + 1) * LENGTH / 8);
    let replies = join_all(parts.map(|range| truth(fixture, part(&url, range), &content))).await;
    assert_eq!(
        replies.iter().map(|reply| reply.bytes.len() as u64).sum::<u64>(),
        LENGTH,
        "{}",
        fixture.name()
    );
    Ok(())
}

/// Before the head, before the first byte, within the body, at its end: whatever is dropped frees all it holds.
pub(super) async fn dropped_at_any_point(fixture: &dyn Fixture) -> Verdict {
    // More than all buffers on the way hold, so that the far side is still sending.
    let content = content(15, 24 << 20);
    if fixture.lacks(Ability::Silent).is_none() {
        let url = fixture.serve(content.clone(), Habits::always(Fault::Silent)).await;
        let open = fixture.download();
        assert!(timeout(SHORT, open.open(whole(&url))).await.is_err(), "{}: a head came", fixture.name());
        fixture.over(&url, 1).await;
        assert_eq!(fixture.held(), 0, "{}: dropped before the head", fixture.name());
    }
    let url = fixture.serve(content.clone(), Habits::good()).await;
    for (times, wanted) in [0, 1, 200_000, 8 << 20].into_iter().enumerate() {
        let body = fixture.download().open(whole(&url)).await;
        let mut body = body.unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
        let mut came = 0;
        while came < wanted {
            let item = body.stream.next().await;
            let Some(Ok(piece)) = item else { panic!("{}: {item:?} after {came} bytes", fixture.name()) };
            came += piece.len();
        }
        drop(body);
        assert_eq!(fixture.held(), 0, "{}: dropped after {wanted} bytes", fixture.name());
        fixture.over(&url, times + 1).await;
    }
    // And all is as before.
    truth(fixture, part(&url, 1000..200_000), &content).await;
    Ok(())
}
