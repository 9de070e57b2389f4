//! What is known ahead of a request, by where challenges were met.
//!
//! Invariant: each test asks for paths it has not learnt. Must not know: credentials.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

fn challenge(text: &str) -> Challenge {
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::try_from(text).unwrap())]);
    Challenge::parse(&headers, &WWW_AUTHENTICATE).remove(0)
}

fn learn(spaces: &Spaces, url: &str, text: &str) {
    let (challenge, url) = (challenge(text), url.parse().unwrap());
    let demand = match challenge.scheme() {
        "Basic" => Demand::Basic,
        "Digest" => Demand::Digest(Offer::strongest(slice(&challenge)).unwrap().1),
        _ => Demand::Bearer(Grant::of(&challenge, &url).unwrap()),
    };
    spaces.learn(&url, &challenge, demand).unwrap();
}

fn slice(challenge: &Challenge) -> &[Challenge] {
    std::slice::from_ref(challenge)
}

/// Scheme and realm of the space a URL lies in; for `Bearer` the realm is its token server.
fn find(spaces: &Spaces, url: &str) -> Option<String> {
    let known = spaces.find(&url.parse().unwrap()).unwrap()?;
    Some(format!("{} {}", known.challenge.scheme(), known.challenge.parameter("realm").unwrap_or_default()))
}

#[test]
fn basic_covers_its_folder_and_grows_with_its_realm() {
    let spaces = Spaces::default();
    assert_eq!(find(&spaces, "http://h/"), None);
    learn(&spaces, "http://h/pool/main/a/x.deb", "Basic realm=r");
    let covers = |url: &str| find(&spaces, url).is_some();
    for (url, expected) in [
        ("http://h/pool/main/a/y", true),
        ("http://h/pool/main/a/b/c/y?q", true),
        ("http://h/pool/main/a", false),
        ("http://h/pool/main/b/y", false),
        ("http://h/", false),
        ("https://h/pool/main/a/y", false),
        ("http://h:81/pool/main/a/y", false),
        ("http://g/pool/main/a/y", false),
    ] {
        assert_eq!(covers(url), expected, "{url}");
    }
    learn(&spaces, "http://h/pool/main/b/x.deb", "Basic realm=r");
    assert!(covers("http://h/pool/main/c/z") && !covers("http://h/pool/other/z"));
    // Another realm is another space, and the smaller one decides.
    learn(&spaces, "http://h/pool/main/c/x.deb", "Basic realm=s");
    assert_eq!(find(&spaces, "http://h/pool/main/c/z").unwrap(), "Basic s");
    assert_eq!(find(&spaces, "http://h/pool/main/d/z").unwrap(), "Basic r");
    learn(&spaces, "http://h/z", "Basic realm=r");
    assert_eq!(find(&spaces, "http://h/").unwrap(), "Basic r");
}

#[test]
fn digest_covers_its_origin_unless_it_says_where_it_holds() {
    let spaces = Spaces::default();
    learn(&spaces, "http://h/a/b/c", "Digest realm=r, nonce=n, qop=auth");
    assert_eq!(find(&spaces, "http://h/x").unwrap(), "Digest r");
    assert_eq!(find(&spaces, "http://h:81/a/b/c"), None);
    learn(&spaces, "http://g/a/b/c", "Digest realm=r, nonce=n, domain=\"/a/b\"");
    assert_eq!((find(&spaces, "http://g/a/b/d").is_some(), find(&spaces, "http://g/x")), (true, None));
}

#[test]
fn a_grant_holds_for_a_folder_or_a_repository() {
    let spaces = Spaces::default();
    let scope = |name: &str| format!("Bearer realm=http://{name}/, scope=repository:{name}:pull");
    learn(&spaces, "http://h/v2/lib/one/manifests/latest", &scope("one"));
    learn(&spaces, "http://h/v2/lib/two/blobs/sha256:00", &scope("two"));
    learn(&spaces, "http://h/files/f", &scope("three"));
    for (path, expected) in [
        ("/v2/lib/one/blobs/sha256:00", Some("Bearer http://one/")),
        ("/v2/lib/one/blobs/uploads/x", Some("Bearer http://one/")),
        ("/v2/lib/two/tags/list", Some("Bearer http://two/")),
        ("/v2/lib/one/more/blobs/sha256:00", None),
        ("/v2/lib/blobs/sha256:00", None),
        ("/v2/lib/one/other", Some("Bearer http://one/")),
        ("/v2/lib/other", None),
        ("/files/g", Some("Bearer http://three/")),
        ("/files/deeper/g", None),
        ("/files", None),
    ] {
        assert_eq!(find(&spaces, &format!("http://h{path}")).as_deref(), expected, "{path}");
    }
    // The last challenge of a place counts.
    learn(&spaces, "http://h/files/g", &scope("four"));
    assert_eq!(find(&spaces, "http://h/files/f").as_deref(), Some("Bearer http://four/"));
    let url = "http://h/files/f".parse().unwrap();
    let Some(Known { way: Way::Bearer(grant), .. }) = spaces.find(&url).unwrap() else { panic!() };
    spaces.forget(&url, &grant);
    assert_eq!(find(&spaces, "http://h/files/f"), None);
    assert!(find(&spaces, "http://h/v2/lib/one/tags/list").is_some());
}

#[test]
fn there_are_limits() {
    let spaces = Spaces::default();
    let count = |spaces: &Spaces| {
        let all = spaces.lock();
        let sum: usize = all.origins.values().map(Vec::len).sum();
        assert_eq!(all.count, sum, "the count is right");
        sum
    };
    for n in 0..2 * MOST_OF_AN_ORIGIN {
        learn(&spaces, &format!("http://h/{n}/f"), &format!("Basic realm={n}"));
        assert!(find(&spaces, "http://h/0/x").is_some(), "what is used stays");
    }
    assert_eq!(count(&spaces), MOST_OF_AN_ORIGIN);
    assert_eq!(find(&spaces, "http://h/1/x"), None);
    for n in 0..2 * MOST_SPACES {
        learn(&spaces, &format!("http://h{n}/f"), "Basic realm=r");
        find(&spaces, "http://h/0/x");
    }
    assert_eq!(count(&spaces), MOST_SPACES);
    assert!(find(&spaces, "http://h/0/x").is_some() && find(&spaces, "http://h7/x").is_none());
    assert!(spaces.lock().origins.len() <= MOST_SPACES);
}

proptest! {
    #[test]
    fn a_space_covers_where_it_was_learnt_and_no_other_origin(paths in proptest::collection::vec("(/[ab]{0,2}){1,4}", 1..6), other in "(/[ab]{0,2}){1,4}") {
        let spaces = Spaces::default();
        for path in &paths {
            learn(&spaces, &format!("http://h{path}"), "Basic realm=r");
            let url = format!("http://h{path}");
            prop_assert!(find(&spaces, &url).is_some());
        }
        for path in &paths {
            let url = format!("http://h{path}");
            prop_assert!(find(&spaces, &url).is_some());
        }
        let abroad = format!("http://g{other}");
        prop_assert!(find(&spaces, &abroad).is_none());
        let all: Vec<&str> = paths.iter().map(|path| folder(path)).collect();
        let expected = all.iter().skip(1).fold(all[0], |one, other| common(one, other));
        prop_assert_eq!(find(&spaces, &format!("http://h{other}")).is_some(), other.starts_with(expected));
    }
}
