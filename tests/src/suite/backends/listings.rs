//! The cases of directories: every entry with its name, whatever is in it; a cut listing is an error, and is healed; what is no
//! directory is one.
//!
//! Invariant: an entry is asked for by the URL that it is given, and must be what was put there. Must not know: what a listing
//! looks like on the wire.

use std::collections::BTreeMap;

use bytes::Bytes;
use downloader_core::listing::{EntryKind, Line};
use downloader_core::{ErrorKind, Listing, Request, Result, SafeUrl};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::probe::{LONG, content, engine, truth, whole};
use super::{Ability, Fault, Fixture, Habits, Verdict, need};

/// Names that servers, and clients, have got wrong.
const NAMES: [&str; 9] = [
    "plain.txt",
    "with blank  twice",
    "#hash",
    "what?x=1&y",
    "100%41",
    "a+b;c=d",
    "quote\"'`<>",
    "ünï-コード",
    "back\\slash:colon",
];
/// Bytes of a listing after which it is cut: more than its head, less than the whole.
const CUT: u64 = 20_000;

async fn list(fixture: &dyn Fixture, url: &SafeUrl) -> Result<Listing> {
    let request = Request::get(url.clone()).expect("it is a URL");
    timeout(LONG, engine(fixture).build().list(request))
        .await
        .unwrap_or_else(|_| panic!("{}: no head", fixture.name()))
}

/// The names given out, in order, and how the listing ended.
async fn names(fixture: &dyn Fixture, url: &SafeUrl) -> (Vec<String>, Result<()>) {
    let mut listing = match list(fixture, url).await {
        Ok(listing) => listing,
        Err(error) => return (Vec::new(), Err(error)),
    };
    let mut names = Vec::new();
    while let Some(line) =
        timeout(LONG, listing.next()).await.unwrap_or_else(|_| panic!("{}: no end", fixture.name()))
    {
        match line {
            Ok(Line::Entry(entry)) => names.push(entry.name().into_owned()),
            Ok(other) => panic!("{}: {other:?}", fixture.name()),
            Err(error) => return (names, Err(error)),
        }
    }
    (names, Ok(()))
}

/// biomaj 36: each name is asked for as it is listed, and is the content that was put there.
pub(super) async fn every_entry_is_listed_and_can_be_asked_for(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::List)?;
    let contents: BTreeMap<_, _> =
        NAMES.into_iter().zip(1..).map(|(name, number)| (name, content(number, number * 1000))).collect();
    let mut planted: Vec<_> = contents.iter().map(|(name, content)| (*name, Some(content.clone()))).collect();
    planted.extend([("below", None), ("below too", None)]);
    let url = fixture.serve_directory(&planted, Habits::good()).await;
    let listing = list(fixture, &url).await.unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
    let directory = listing.directory().clone();
    let entries = listing.entries().await.unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
    assert_eq!(entries.len(), planted.len(), "{}: {entries:?}", fixture.name());
    for entry in entries {
        let (name, url) = (entry.name(), entry.url(&directory).expect("it is short"));
        let Some(content) = contents.get(&*name) else {
            assert!(["below", "below too"].contains(&&*name), "{}: {entry:?}", fixture.name());
            assert_eq!(entry.kind, EntryKind::Directory, "{}: {entry:?}", fixture.name());
            let below = names(fixture, &url).await;
            assert!(below.0.is_empty() && below.1.is_ok(), "{}: {entry:?}: {below:?}", fixture.name());
            continue;
        };
        assert_eq!(entry.kind, EntryKind::File, "{}: {entry:?}", fixture.name());
        let size = entry.size.filter(|_| !entry.size_is_rounded);
        assert!(size.is_none_or(|size| size == content.len() as u64), "{}: {entry:?}", fixture.name());
        if fixture.withholds(&name) {
            continue;
        }
        let reply = truth(fixture, whole(&url), content).await;
        assert_eq!(reply.bytes.len(), content.len(), "{}: {entry:?}", fixture.name());
    }
    Ok(())
}

fn many() -> Vec<(String, Option<Bytes>)> {
    (0..1500).map(|number| (format!("a-name-that-is-not-short-{number:05}"), Some(Bytes::new()))).collect()
}

async fn serve_many(fixture: &dyn Fixture, habits: Habits) -> (SafeUrl, Vec<String>) {
    let planted = many();
    let names = planted.iter().map(|(name, _)| name.clone()).collect();
    let planted: Vec<_> = planted.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    (fixture.serve_directory(&planted, habits).await, names)
}

pub(super) async fn a_cut_listing_is_an_error(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::List)?;
    need(fixture, Ability::Cut)?;
    let (url, all) = serve_many(fixture, Habits::always(Fault::Cut(CUT))).await;
    let (came, ended) = names(fixture, &url).await;
    let error =
        ended.err().unwrap_or_else(|| panic!("{}: {} names, and no error", fixture.name(), came.len()));
    assert!(error.is_transient(), "{}: {error:?}", fixture.name());
    assert!(came.len() < all.len() && came.iter().all(|name| all.contains(name)), "{}", fixture.name());
    // Nothing twice, however often it was asked for.
    assert_eq!(
        came.iter().collect::<std::collections::BTreeSet<_>>().len(),
        came.len(),
        "{}",
        fixture.name()
    );
    Ok(())
}

pub(super) async fn a_cut_listing_is_healed(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::List)?;
    need(fixture, Ability::Cut)?;
    let (url, all) = serve_many(fixture, Habits::first([Fault::Cut(CUT), Fault::Cut(2 * CUT)])).await;
    let (mut came, ended) = names(fixture, &url).await;
    assert!(ended.is_ok(), "{}: {ended:?}", fixture.name());
    came.sort();
    assert_eq!(came, all, "{}", fixture.name());
    Ok(())
}

pub(super) async fn what_is_no_directory_is_an_error(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::List)?;
    let url = fixture.serve_directory(&[], Habits::always(Fault::Missing)).await;
    let error = names(fixture, &url).await.1.expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{}: {error:?}", fixture.name());
    let url = fixture.serve(content(30, 3000), Habits::good()).await;
    let (came, ended) = names(fixture, &url).await;
    let error = ended.err().unwrap_or_else(|| panic!("{}: a file lists {came:?}", fixture.name()));
    let kinds = [ErrorKind::NotFound, ErrorKind::Unsupported, ErrorKind::Protocol];
    assert!(came.is_empty() && kinds.contains(&error.kind()), "{}: {error:?}", fixture.name());
    Ok(())
}

/// Dropped after the head, and within the listing: all it holds is freed.
pub(super) async fn a_listing_that_is_dropped_frees_all_it_holds(fixture: &dyn Fixture) -> Verdict {
    need(fixture, Ability::List)?;
    let (url, _) = serve_many(fixture, Habits::good()).await;
    for wanted in [0, 1, 700] {
        let mut listing =
            list(fixture, &url).await.unwrap_or_else(|error| panic!("{}: {error:?}", fixture.name()));
        for _ in 0..wanted {
            assert!(matches!(listing.next().await, Some(Ok(_))), "{}", fixture.name());
        }
        drop(listing);
        assert_eq!(fixture.held(), 0, "{}: dropped after {wanted} names", fixture.name());
    }
    let (came, ended) = names(fixture, &url).await;
    assert!(ended.is_ok() && came.len() == many().len(), "{}: {ended:?}", fixture.name());
    Ok(())
}
