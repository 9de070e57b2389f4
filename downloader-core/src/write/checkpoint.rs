//! Owns the text that a kept partial file carries: whose bytes it holds, and which.
//!
//! Invariant: what was changed, cut or torn on the way reads as nothing. Pure: text in, text out.
//! Must not know: files, or when a checkpoint is written. The format is described in `docs/formats`.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use crate::entity::{Entity, Provenance, SourceId, Tag};
use crate::range::RangeSet;

/// Longest checkpoint that is read, in bytes. [`format()`] stays below a third of it.
pub(super) const MAX: usize = 1024 * 1024;
/// Most ranges that are kept; the smallest of more are fetched again.
const MOST_RANGES: usize = 4096;

const HEADER: &str = "downloader checkpoint 1";
const NOTHING: &str = "-";
/// `check `, 64 hexadecimal digits, line end.
const CHECK_LINE: usize = 6 + 64 + 1;

/// What a checkpoint says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Whose bytes.
    pub(super) provenance: Provenance,
    /// Which bytes.
    pub(super) done: RangeSet,
    /// The boot in which the bytes were written, if they were not forced to the disk: they may be gone after
    /// another one.
    pub(super) boot: Option<Box<str>>,
}

/// The text of a checkpoint.
pub(super) fn format(provenance: &Provenance, done: &RangeSet, boot: Option<&str>) -> String {
    let Provenance { entity, source } = provenance;
    let mut text = String::with_capacity(512);
    let size = entity.size.map(|size| size.to_string());
    let source = source.fingerprint();
    for (key, value) in [
        (HEADER, None),
        ("size ", Some(size.as_deref())),
        ("tag ", Some(entity.tag.as_ref().map(Tag::as_str))),
        ("modified ", Some(entity.modified.and_then(time_to_text).as_deref())),
        ("settled ", Some(Some(if entity.settled { "yes" } else { "no" }))),
        ("source ", Some(Some(&*source).filter(|text| is_word(text)))),
        ("boot ", Some(boot.filter(|text| is_word(text)))),
    ] {
        text.push_str(key);
        text.push_str(value.map_or("", |value| value.unwrap_or(NOTHING)));
        text.push('\n');
    }
    for Range { start, end } in largest(done) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "done {start}-{end}");
    }
    let check = check_line(&text);
    text.push_str(&check);
    text
}

/// Reads a checkpoint; `None` unless every byte is as it was written.
pub(super) fn parse(bytes: &[u8]) -> Option<Checkpoint> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX)?;
    let (text, check) = text.split_at_checked(text.len().checked_sub(CHECK_LINE)?)?;
    if check != check_line(text) {
        return None;
    }
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != HEADER {
        return None;
    }
    let mut field = |key: &str| {
        let value = lines.next()?.strip_prefix(key)?.strip_prefix(' ')?;
        Some((value != NOTHING).then_some(value))
    };
    let size = optional(field("size")?, |text| text.parse().ok())?;
    let tag = optional(field("tag")?, |text| text.parse().ok())?;
    let modified = optional(field("modified")?, time_from_text)?;
    let settled = match field("settled")?? {
        "yes" => true,
        "no" => false,
        _ => return None,
    };
    let source = field("source")?.unwrap_or(NOTHING);
    let boot = field("boot")?.map(Into::into);
    let mut done = RangeSet::new();
    for line in lines {
        let (start, end) = line.strip_prefix("done ")?.split_once('-')?;
        done.insert(start.parse().ok()?..end.parse().ok()?);
    }
    let entity = Entity { size, tag, modified, settled };
    Some(Checkpoint {
        provenance: Provenance { entity, source: SourceId::Fingerprint(source.into()) },
        done,
        boot,
    })
}

fn check_line(text: &str) -> String {
    format!("check {}\n", blake3::hash(text.as_bytes()).to_hex())
}

/// `None` when there is a value and it cannot be read.
fn optional<T>(value: Option<&str>, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    value.map_or(Some(None), |text| read(text).map(Some))
}

/// Can this stand as a value of its own line?
fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// All ranges, or the largest, in order.
fn largest(done: &RangeSet) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = done.iter().cloned().collect();
    if ranges.len() > MOST_RANGES {
        ranges.sort_unstable_by_key(|range| std::cmp::Reverse(range.end - range.start));
        ranges.truncate(MOST_RANGES);
        ranges.sort_unstable_by_key(|range| range.start);
    }
    ranges
}

/// Seconds since 1970, rounded down, and nanoseconds.
fn time_to_text(time: SystemTime) -> Option<String> {
    let (seconds, nanoseconds) = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => (i64::try_from(since.as_secs()).ok()?, since.subsec_nanos()),
        Err(error) => {
            let before = error.duration();
            let whole = -i64::try_from(before.as_secs()).ok()?;
            match before.subsec_nanos() {
                0 => (whole, 0),
                part => (whole - 1, 1_000_000_000 - part),
            }
        }
    };
    Some(format!("{seconds}.{nanoseconds:09}"))
}

fn time_from_text(text: &str) -> Option<SystemTime> {
    let (seconds, nanoseconds) = text.split_once('.')?;
    let seconds: i64 = seconds.parse().ok()?;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    time?.checked_add(Duration::from_nanos(nanoseconds.parse().ok().filter(|part| *part < 1_000_000_000)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_time() -> impl Strategy<Value = SystemTime> {
        (any::<bool>(), 0u64..1 << 40, 0u32..1_000_000_000).prop_map(|(before, seconds, part)| {
            let distance = Duration::new(seconds, part);
            if before { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
        })
    }

    prop_compose! {
        fn any_checkpoint()(
            size in any::<Option<u64>>(),
            tag in proptest::option::of("(W/)?\"[!#-~]{0,40}\""),
            modified in proptest::option::of(any_time()),
            settled in any::<bool>(),
            source in "[0-9a-f]{32}",
            boot in proptest::option::of("[0-9a-f]{8}-[0-9a-f]{4}"),
            done in proptest::collection::vec((any::<u32>(), 1u32..100_000), 0..20),
        ) -> Checkpoint {
            let tag = tag.map(|tag| tag.parse().unwrap());
            let done = done.into_iter().map(|(start, len)| u64::from(start)..u64::from(start) + u64::from(len));
            let entity = Entity { size, tag, modified, settled };
            Checkpoint {
                provenance: Provenance { entity, source: SourceId::Fingerprint(source.into()) },
                done: done.collect(),
                boot: boot.map(Into::into),
            }
        }
    }

    fn text_of(checkpoint: &Checkpoint) -> String {
        format(&checkpoint.provenance, &checkpoint.done, checkpoint.boot.as_deref())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(checkpoint in any_checkpoint()) {
            prop_assert_eq!(parse(text_of(&checkpoint).as_bytes()), Some(checkpoint));
        }

        #[test]
        fn a_changed_byte_is_noticed(checkpoint in any_checkpoint(), at: prop::sample::Index, flip in 1u8..) {
            let mut bytes = text_of(&checkpoint).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(parse(&bytes), None);
        }

        #[test]
        fn a_torn_end_is_noticed(checkpoint in any_checkpoint(), at: prop::sample::Index, zeros in any::<bool>()) {
            let mut bytes = text_of(&checkpoint).into_bytes();
            let at = at.index(bytes.len());
            if zeros { bytes[at..].fill(0) } else { bytes.truncate(at) }
            prop_assert_eq!(parse(&bytes), None);
        }

        #[test]
        fn noise_is_nothing(bytes: Vec<u8>, body in "(size|tag|modified|done|check|[ 0-9.\"\n-]){0,12}") {
            prop_assert_eq!(parse(&bytes), None);
            // A right checksum does not make sense of nonsense.
            let body = format!("{HEADER}\n{body}\n");
            prop_assert_eq!(parse(format!("{body}{}", check_line(&body)).as_bytes()), None);
        }
    }

    fn example(done: RangeSet) -> Checkpoint {
        let entity = Entity {
            size: Some(1234),
            tag: Some("\"a-b\"".parse().unwrap()),
            modified: Some(SystemTime::UNIX_EPOCH - Duration::from_millis(1500)),
            settled: true,
        };
        let source = SourceId::Fingerprint("00ff".into());
        Checkpoint { provenance: Provenance { entity, source }, done, boot: None }
    }

    #[test]
    fn the_format_stays_as_it_is() {
        let text = text_of(&example([0..100, 200..300].into_iter().collect()));
        let (body, check) = text.split_at(text.len() - CHECK_LINE);
        assert_eq!(
            body,
            "downloader checkpoint 1\nsize 1234\ntag \"a-b\"\nmodified -2.500000000\nsettled yes\nsource 00ff\nboot -\n\
             done 0-100\ndone 200-300\n"
        );
        assert!(check.starts_with("check ") && check.ends_with('\n'));
    }

    #[test]
    fn too_many_ranges_are_coarsened_and_fit() {
        let ranges = (0..10_000u64).map(|index| {
            let start = u64::MAX / 2 + index * 1000;
            start..start + 1 + index % 100
        });
        let checkpoint = example(ranges.collect());
        let text = text_of(&checkpoint);
        assert!(text.len() < MAX / 3, "{}", text.len());
        let read = parse(text.as_bytes()).unwrap();
        assert_eq!(read.done.iter().count(), MOST_RANGES);
        assert!(read.done.iter().all(|range| checkpoint.done.contains(range)));
        let smallest = read.done.iter().map(|range| range.end - range.start).min();
        assert!(smallest >= Some(59), "{smallest:?}");
    }

    #[test]
    fn a_source_that_cannot_be_written_is_none_that_could_be_asked() {
        let mut checkpoint = example(RangeSet::new());
        checkpoint.provenance.source = SourceId::Fingerprint("two\nlines".into());
        let read = parse(text_of(&checkpoint).as_bytes()).unwrap();
        assert_eq!(read.provenance.source, SourceId::Fingerprint("-".into()));
    }

    #[test]
    fn a_url_is_never_written() {
        let mut checkpoint = example(RangeSet::new());
        checkpoint.provenance.source =
            SourceId::Url("https://me:s3cr3t@h.example/f?sig=k3y".parse().unwrap());
        let text = text_of(&checkpoint);
        assert!(!["s3cr3t", "k3y", "h.example"].iter().any(|secret| text.contains(secret)), "{text}");
        assert_eq!(parse(text.as_bytes()).unwrap().provenance, checkpoint.provenance);
    }
}
