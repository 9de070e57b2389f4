//! Who is asked next, and when sources are located again.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use async_trait::async_trait;
use futures_util::future::join_all;

use super::*;
use crate::sources::explained;
use crate::url::SafeUrl;

/// Names what it is told to, and counts.
#[derive(Debug)]
struct Namer {
    calls: AtomicU32,
    renews: bool,
    name: fn(u32) -> Vec<Source>,
}

#[async_trait]
impl Locate for Namer {
    async fn locate(&self, _: Option<&Error>) -> Result<Vec<Source>> {
        tokio::task::yield_now().await;
        Ok((self.name)(self.calls.fetch_add(1, SeqCst)))
    }

    fn renews(&self) -> bool {
        self.renews
    }
}

fn naming(renews: bool, name: fn(u32) -> Vec<Source>) -> (Sources, Arc<Namer>) {
    let namer = Arc::new(Namer { calls: AtomicU32::new(0), renews, name });
    (Sources::new(namer.clone(), Arc::default()), namer)
}

fn source(url: &str) -> Source {
    Source::new(url.parse().unwrap())
}

/// A link that expires so many seconds from now, or before.
fn link(number: u32, seconds: i64) -> Source {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let at = now.saturating_add_signed(seconds);
    source(&format!("https://store/f?n={number}&Expires={at}&Signature=x"))
}

fn host(sources: &Sources, tried: &[Id]) -> Option<String> {
    sources.pick(tried).map(|picked| picked.source.url.host().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_rests_comes_last_whatever_its_priority() {
    let (sources, _) = naming(true, |_| {
        vec![source("http://a/f"), source("http://b/f").priority(1), source("http://c/f").priority(2)]
    });
    sources.locate(0, 0).await.unwrap();
    let picked = sources.pick(&[]).unwrap();
    assert_eq!((picked.source.url.host(), picked.others), (Some("a"), true));
    sources.health.rest("http://a:80", Duration::from_secs(60));
    let picked = sources.pick(&[]).unwrap();
    assert_eq!((picked.source.url.host(), picked.others), (Some("b"), true));
    sources.health.rest("http://c:80", Duration::from_secs(20));
    assert!(!sources.pick(&[]).unwrap().others, "nobody but b may be asked now");
    sources.health.rest("http://b:80", Duration::from_secs(40));
    let picked = sources.pick(&[]).unwrap();
    assert_eq!((picked.source.url.host(), picked.others), (Some("c"), false), "the one that rests least");
    assert_eq!(host(&sources, &[2]).as_deref(), Some("b"));
    assert_eq!(sources.outlook(&[]), Outlook::Untried, "a rest is no failure");
}

#[tokio::test(start_paused = true)]
async fn links_are_located_once_for_all_who_wait() {
    let (sources, namer) = naming(true, |n| vec![link(n, 3600)]);
    let all = join_all((0..8).map(|_| sources.locate(0, 0))).await;
    assert!(all.into_iter().all(|located| located.is_ok()));
    assert_eq!(namer.calls.load(SeqCst), 1);
    // The refusals of eight requests over the old link come in one after the other.
    let old = sources.pick(&[]).unwrap();
    let refused = Error::new(ErrorKind::Denied, "403");
    for number in 0..8 {
        sources.reject(old.id, "https://store:443", &refused);
        if let Outlook::Empty { generation } = sources.outlook(&[]) {
            assert_eq!(number, 0, "the others find a new one");
            sources.locate(generation, 0).await.unwrap();
        }
    }
    assert_eq!((namer.calls.load(SeqCst), sources.outlook(&[])), (2, Outlook::Untried));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_has_expired_is_not_asked_if_it_can_be_renewed() {
    let (sources, _) = naming(true, |n| vec![link(n, if n == 0 { 6 } else { 3600 }), link(n, 3600)]);
    sources.locate(0, 0).await.unwrap();
    assert!(host(&sources, &[1]).is_some(), "it works for another second");
    sources.lock().expire(SystemTime::now() + Duration::from_secs(2));
    assert!(host(&sources, &[1]).is_none(), "it works, but not for long");
    assert!(host(&sources, &[]).is_some());
    sources.lock().expire(SystemTime::now() + Duration::from_secs(4000));
    assert_eq!(sources.outlook(&[]), Outlook::Empty { generation: 1 });
    let blame = sources.blame().unwrap();
    assert_eq!(blame.kind(), ErrorKind::Denied);
    assert!(blame.what().starts_with("the link expired "), "{blame}");
    assert!(!blame.to_string().contains("Signature=x"), "{blame}");
    sources.locate(1, 0).await.unwrap();
    assert!(host(&sources, &[]).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_link_that_cannot_be_renewed_or_came_expired_is_asked() {
    for (renews, seconds) in [(false, -100), (false, 3), (true, -100), (true, 3)] {
        let (sources, namer) = if seconds < 0 {
            naming(renews, |n| vec![link(n, -100)])
        } else {
            naming(renews, |n| vec![link(n, 3)])
        };
        sources.locate(0, 0).await.unwrap();
        sources.lock().expire(SystemTime::now() + Duration::from_secs(9));
        assert!(host(&sources, &[]).is_some(), "{renews} {seconds}");
        assert_eq!(namer.calls.load(SeqCst), 1);
    }
}

#[test]
fn a_refusal_of_an_expired_link_says_so() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_060);
    let link: SafeUrl = "https://store/f?Expires=1600000000&Signature=x".parse().unwrap();
    let plain: SafeUrl = "https://store/f".parse().unwrap();
    let told =
        |kind, url: &SafeUrl| explained(Error::new(kind, "HTTP status 403"), url, now).what().to_owned();
    let expected = "HTTP status 403; the link expired 60 s ago, as its own parameters say";
    for kind in [ErrorKind::Denied, ErrorKind::Unauthorized, ErrorKind::NotFound] {
        assert_eq!(told(kind, &link), expected);
    }
    assert_eq!(told(ErrorKind::Busy, &link), "HTTP status 403");
    assert_eq!(told(ErrorKind::Protocol, &link), "HTTP status 403");
    assert_eq!(told(ErrorKind::Denied, &plain), "HTTP status 403");
    let expired = Error::new(ErrorKind::Protocol, "HTTP status 400").with_status(400);
    assert!(explained(expired, &link, now).what().contains("expired"), "some stores say 400");
}

#[tokio::test(start_paused = true)]
async fn locating_ends_when_it_brings_nothing() {
    let (sources, namer) = naming(true, |n| vec![link(n, 3600)]);
    let mut done = 0;
    let again = async |done: u64| {
        let generation = namer.calls.load(SeqCst);
        sources.locate(generation, done).await
    };
    for _ in 0..20 {
        done += 1;
        again(done).await.unwrap();
    }
    for _ in 0..3 {
        again(done).await.unwrap();
    }
    assert!(again(done).await.is_err(), "three times without a byte more");
    again(done + 1).await.unwrap();
    // A content that is given up begins at zero again; one that is wrong has brought nothing.
    for (kind, goes_on) in [(ErrorKind::Integrity, false), (ErrorKind::Changed, true)] {
        for _ in 0..3 {
            again(0).await.unwrap();
        }
        sources.readmit(&Error::new(kind, "as told"));
        assert_eq!(again(5).await.is_ok(), goes_on);
        again(done + 2).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_never_asked_is_blamed_least() {
    let (sources, _) = naming(true, |_| vec![source("http://a/f")]);
    let unasked = Error::unasked(ErrorKind::Connect, "the circuit is open");
    sources.failed("http://a:80", &unasked);
    assert!(sources.blame().unwrap().is_unasked());
    sources.reject(0, "http://a:80", &Error::new(ErrorKind::NotFound, "404"));
    assert_eq!(sources.blame().unwrap().kind(), ErrorKind::NotFound);
    sources.failed("http://a:80", &unasked);
    assert_eq!(sources.blame().unwrap().kind(), ErrorKind::NotFound);
}
