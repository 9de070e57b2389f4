//! Listings through an engine: cut, changed, too long, none at all.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;

use super::*;
use crate::download::{Backend, Body, Download, Fetch};
use crate::error::{Error, ErrorKind, Result};
use crate::retry::Constant;
use crate::{ByteRange, Engine, Entity, Request};

/// A name a line; the last line is a dot. `?` in front is what cannot be read.
#[derive(Default)]
struct Names {
    held: Vec<u8>,
    ended: bool,
}

impl ListingParser for Names {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Line>) -> Result<()> {
        for byte in bytes {
            match byte {
                b'\n' if self.held == b"." => self.ended = true,
                b'\n' if self.held.starts_with(b"?") => out.push(Line::unreadable(&self.held)),
                b'\n' => out.extend(Entry::new(&*self.held, EntryKind::File).ok().map(Line::from)),
                other => {
                    self.held.push(*other);
                    continue;
                }
            }
            self.held.clear();
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<Line>) -> Result<()> {
        let whole = self.ended && self.held.is_empty();
        if whole { Ok(()) } else { Err(Error::new(ErrorKind::Truncated, "no dot at the end")) }
    }
}

/// Each request gets the next text, in pieces of three bytes; one that ends with `!` breaks there.
#[derive(Debug, Default)]
struct Texts {
    texts: Mutex<VecDeque<&'static str>>,
    asked: AtomicUsize,
    knows_no_listing: bool,
}

impl Backend for Texts {
    fn schemes(&self) -> &'static [&'static str] {
        &["text"]
    }
}

#[async_trait]
impl Download for Texts {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        self.asked.fetch_add(1, SeqCst);
        assert!(fetch.listing && fetch.range.is_all() && fetch.expect.is_none());
        let Some(text) = self.texts.lock().unwrap().pop_front() else {
            return Err(Error::new(ErrorKind::NotFound, "no such directory"));
        };
        let breaks = text.strip_suffix('!');
        let pieces = breaks.unwrap_or(text).as_bytes().chunks(3).map(|piece| Ok(Bytes::from_static(piece)));
        let end = breaks.map(|_| Err(Error::new(ErrorKind::Connect, "as told")));
        let pieces = stream::iter(pieces.chain(end).collect::<Vec<_>>()).boxed();
        if self.knows_no_listing {
            return Ok(Body::new(Entity::default(), ByteRange::ALL, pieces));
        }
        Ok(Body::listing(Entries::new(fetch.url.clone(), Names::default()), pieces))
    }
}

fn engine(texts: &[&'static str]) -> Engine {
    let texts = Texts { texts: Mutex::new(texts.iter().copied().collect()), ..Texts::default() };
    Engine::builder().backend(texts).retry(Constant::new(Duration::ZERO, 3)).build()
}

async fn list(engine: &Engine, limits: ListingLimits) -> (String, Option<Error>) {
    let mut listing = match engine.list_with(Request::get("text://h/d?x#y").unwrap(), limits).await {
        Ok(listing) => listing,
        Err(error) => return (String::new(), Some(error)),
    };
    assert_eq!(listing.directory().expose().as_str(), "text://h/d/");
    let (mut names, mut ended) = (String::new(), None);
    while let Some(line) = listing.next().await {
        assert!(ended.is_none(), "something follows the error");
        match line {
            Ok(Line::Entry(entry)) => names.push_str(&entry.name()),
            Ok(Line::Unreadable(text)) => names.push_str(text.as_str()),
            Err(error) => ended = Some(error),
        }
        names.push(' ');
    }
    (names.trim_end().to_owned(), ended)
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_breaks_is_asked_for_again_and_told_once() {
    for texts in [
        &["one\ntwo\n?x\nthree\n.\n"][..],
        &["one\ntw!", "one\ntwo\n?x\nthree\n.\n"],
        // Without its end it is cut, too.
        &["one\ntwo\n", "one\ntwo\n?x\nthree\n.\n"],
        &["one\ntwo\n?x\nthree\n.", "one\n!", "one\ntwo\n?x\nthree\n.\n"],
    ] {
        let (names, error) = list(&engine(texts), ListingLimits::default()).await;
        assert!(error.is_none(), "{texts:?}: {error:?}");
        assert_eq!(names, "one two ?x three", "{texts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_changed_meanwhile_is_an_error() {
    for other in ["one\nTWO\nthree\n.\n", "zero\none\ntwo\n.\n", "one\n.\n", ".\n"] {
        let (names, error) = list(&engine(&["one\ntwo\nth!", other]), ListingLimits::default()).await;
        assert_eq!(names, "one two", "{other:?}");
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Changed), "{other:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_listing_is_never_taken_for_a_whole_one() {
    let (names, error) = list(&engine(&["one\ntw!"; 9]), ListingLimits::default()).await;
    let error = error.unwrap();
    assert_eq!((&*names, error.kind(), error.attempts().len()), ("one", ErrorKind::Connect, 4), "{error:?}");
    let (names, error) = list(&engine(&["one\n"; 9]), ListingLimits::default()).await;
    assert_eq!((&*names, error.unwrap().kind()), ("one", ErrorKind::Truncated));
    let (names, error) = list(&engine(&[]), ListingLimits::default()).await;
    assert_eq!((&*names, error.unwrap().kind()), ("", ErrorKind::NotFound));
}

#[tokio::test(start_paused = true)]
async fn limits_hold_and_a_listing_within_them_is_whole() {
    let text = "one\ntwo\n?x\nthree\n.\n";
    let limits = |lines, bytes| ListingLimits { lines, bytes };
    assert!(list(&engine(&[text]), limits(4, 19)).await.1.is_none());
    for (limits, what) in [
        (limits(3, 19), "a directory of more than 3 entries"),
        (limits(4, 18), "a listing of more than 18 bytes"),
    ] {
        let error = list(&engine(&[text, text]), limits).await.1.unwrap();
        assert_eq!((error.kind(), error.what()), (ErrorKind::Refused, what));
        assert_eq!(error.attempts().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_of_contents_is_refused_and_who_cannot_list_says_so() {
    let engine = engine(&["one\n.\n"]);
    let get = || Request::get("text://h/d").unwrap();
    for request in
        [get().size(5), get().range(ByteRange::new(0, 5)), get().head_only(), get().unless(Entity::sized(1))]
    {
        assert_eq!(engine.list(request).await.unwrap_err().kind(), ErrorKind::Input);
    }
    let texts = Texts { texts: Mutex::new(["one\n.\n"].into()), knows_no_listing: true, ..Texts::default() };
    let error = Engine::builder().backend(texts).build().list(get()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.what()),
        (ErrorKind::Unsupported, "directories of text URLs cannot be listed")
    );
}

fn entries() -> impl Strategy<Value = Line> {
    let name = proptest::collection::vec(any::<u8>(), 1..20);
    let text = proptest::option::of("[^\0]{0,10}");
    let time = (any::<i32>(), 0_u32..1_000_000_000, 0..4_usize, any::<bool>());
    let known = (
        proptest::option::of(any::<u64>()),
        proptest::option::of(0_u32..0o10000),
        proptest::option::of(time),
    );
    let entry = (name, 0..4_usize, text.clone(), text.clone(), text, known, any::<bool>());
    prop_oneof![
        1 => ".{0,300}".prop_map(|line| Line::unreadable(line.as_bytes())),
        9 => entry.prop_filter_map("a name", |(name, kind, text, owner, target, (size, mode, time), rounded)| {
            let kinds = [EntryKind::File, EntryKind::Directory, EntryKind::Link, EntryKind::Other];
            let precisions = [Precision::Exact, Precision::Second, Precision::Minute, Precision::Day];
            let mut entry = Entry::new(name, kinds[kind]).ok()?;
            if let Some(text) = &text {
                entry = entry.with_text(text).with_reference(text);
            }
            entry.size_is_rounded = rounded;
            let modified = time.map(|(seconds, nanos, precision, zoned)| {
                let apart = Duration::new(seconds.unsigned_abs().into(), nanos);
                let epoch = SystemTime::UNIX_EPOCH;
                let time = if seconds < 0 { epoch - apart } else { epoch + apart };
                Modified { time, precision: precisions[precision], zoned }
            });
            let owner = owner.as_deref();
            let entry = entry.with_size(size).with_mode(mode).with_modified(modified).with_owner(owner, owner);
            Some(Line::from(entry.with_target(target.map(String::into_bytes))))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever lines there are, they are read back as they were, from pieces of any size; a cut is found at every byte.
    #[test]
    fn what_is_encoded_is_read_back(lines in proptest::collection::vec(entries(), 0..12), piece in 1_usize..50, cut: prop::sample::Index) {
        let mut encoder = EntryEncoder::new();
        lines.iter().for_each(|line| encoder.line(line));
        encoder.end();
        let bytes = encoder.take();
        let (mut decoder, mut read) = (EntryDecoder::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            decoder.push(piece, &mut read).unwrap();
        }
        decoder.finish(&mut read).unwrap();
        // Shown once is shown: what is read back of it is the same text.
        prop_assert_eq!(&read, &lines);

        let (mut decoder, mut read) = (EntryDecoder::new(), Vec::new());
        decoder.push(&bytes[..cut.index(bytes.len())], &mut read).unwrap();
        prop_assert!(decoder.finish(&mut read).is_err() && lines.starts_with(&read));
    }
}
