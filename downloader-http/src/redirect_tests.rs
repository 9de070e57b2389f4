//! Tests of redirects.
//!
//! Owns the ways a `Location` may lead. Invariant: nothing is sent. Must not know: backends.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 3;
const FOUND: StatusCode = StatusCode::FOUND;

fn policy() -> RedirectPolicy {
    RedirectPolicy::new().limit(LIMIT)
}

fn reply(location: &[u8]) -> HeaderMap {
    HeaderMap::from_iter([(LOCATION, HeaderValue::from_bytes(location).unwrap())])
}

fn walk(start: &str, locations: &[&str]) -> Result<Route> {
    walk_with(&policy(), start, locations)
}

fn walk_with(policy: &RedirectPolicy, start: &str, locations: &[&str]) -> Result<Route> {
    let mut route = Route::new(start.parse().unwrap());
    for location in locations {
        route.follow(policy, FOUND, &reply(location.as_bytes()))?;
    }
    Ok(route)
}

fn end(start: &str, locations: &[&str]) -> String {
    walk(start, locations).unwrap().url().expose().to_string()
}

#[test]
fn references_resolve_and_escapes_stay() {
    assert_eq!(end("http://h/a/b?c", &["d"]), "http://h/a/d");
    assert_eq!(end("http://h/a/b?c", &["?e=%7E+%2f"]), "http://h/a/b?e=%7E+%2f");
    assert_eq!(end("http://h/a/b", &["/p%2Fq/%7e;x=1"]), "http://h/p%2Fq/%7e;x=1");
    assert_eq!(end("http://h/a", &["//g:81/z"]), "http://g:81/z");
    assert_eq!(end("http://h/a", &["/ü"]), "http://h/%C3%BC");
    assert_eq!(end("http://u:p@h/a", &["/b"]), "http://u:p@h/b");
}

#[test]
fn fragments_are_inherited_and_make_no_new_request() {
    assert_eq!(end("http://h/a#f", &["/b"]), "http://h/b#f");
    assert_eq!(end("http://h/a#f", &["/b#g", "/c"]), "http://h/c#g");
    assert_eq!(walk("http://h/a", &["/a#g"]).unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn forbidden_ways_are_refused_each_by_its_name() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("http://h/a", &["/a"], "redirect loop"),
        ("http://h/a", &["/b", "/a"], "redirect loop"),
        ("http://h/a", &["/b", "/c", "/d", "/e"], "more than 3 redirects"),
        ("https://h/a", &["http://h/a"], "downgrade"),
        ("http://h/a", &["https://h/a", "http://h/b"], "downgrade"),
        ("http://h/a", &["file:///etc/passwd"], "scheme"),
        ("http://h/a", &["ftp://h/a"], "scheme"),
        ("http://h/a", &["data:,x"], "scheme"),
    ];
    for (start, locations, expected) in cases {
        let error = walk(start, locations).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.what().starts_with(expected), "{error}");
    }
}

#[test]
fn a_policy_narrows_or_widens_the_way() {
    let allowed = |policy: RedirectPolicy, start: &str, locations: &[&str]| {
        let result = walk_with(&policy, start, locations);
        result.map_or_else(
            |error| error.what().split(": redirect").next().unwrap().to_owned(),
            |_| "yes".to_owned(),
        )
    };
    let new = RedirectPolicy::new;
    assert_eq!(new(), RedirectPolicy::from(10));
    let ten: Vec<_> = (0..10).map(|n| format!("/{n}")).collect();
    let ten: Vec<_> = ten.iter().map(String::as_str).collect();
    assert_eq!(allowed(new(), "http://h/a", &ten), "yes");
    assert_eq!(allowed(9.into(), "http://h/a", &ten), "more than 9 redirects");
    assert_eq!(allowed(RedirectPolicy::none(), "http://h/a", &["/b"]), "redirects are not followed");
    assert_eq!(allowed(RedirectPolicy::none(), "https://h/a", &["http://h/b"]), "redirects are not followed");
    assert_eq!(allowed(new().https_only(true), "http://h/a", &["/b"]), "only https is followed");
    assert_eq!(allowed(new().https_only(true), "http://h/a", &["https://g/b", "/c"]), "yes");
    let contradiction = new().https_only(true).allow_downgrade(true);
    assert_eq!(allowed(contradiction, "https://h/a", &["http://h/a"]), "only https is followed");
    assert_eq!(allowed(new().same_origin(true), "http://h/a", &["http://H:80/b", "/c"]), "yes");
    for elsewhere in ["http://g/b", "http://h:81/b", "https://h/b"] {
        assert_eq!(allowed(new().same_origin(true), "http://h/a", &[elsewhere]), "another origin");
    }
    let lenient = walk_with(&new().allow_downgrade(true), "https://h/a", &["http://h/a"]).unwrap();
    assert!(!lenient.is_at_home());
}

#[test]
fn every_hop_keeps_the_status_that_led_to_it() {
    let mut route = Route::new("http://h/a".parse().unwrap());
    route.follow(&policy(), StatusCode::MOVED_PERMANENTLY, &reply(b"/b")).unwrap();
    route.follow(&policy(), FOUND, &reply(b"/c")).unwrap();
    let hops = route.into_hops().into_iter().map(|hop| (hop.status.as_u16(), hop.url.to_string()));
    let expected = [(301, "http://h/b".to_owned()), (302, "http://h/c".to_owned())];
    assert_eq!(hops.collect::<Vec<_>>(), expected);
}

#[test]
fn a_refusal_names_the_target_without_its_secrets() {
    let error = walk("https://h/a", &["http://u:secret@h/a?token=secret"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "refused by policy: downgrade from https to http: redirect to http://***@h/a?token=***"
    );
}

#[test]
fn a_location_must_be_there_and_be_one() {
    let mut route = Route::new("http://h/a".parse().unwrap());
    let mut several = reply(b"/b");
    several.append(LOCATION, HeaderValue::from_static("/c"));
    let broken = [HeaderMap::new(), reply(b""), reply(b"/\xff\xfe"), reply(b"http://[bad/"), several];
    for reply in broken {
        assert_eq!(
            route.follow(&policy(), FOUND, &reply).unwrap_err().kind(),
            ErrorKind::Protocol,
            "{reply:?}"
        );
    }
    assert!(route.into_hops().is_empty());
}

#[test]
fn who_leaves_home_has_left_it_for_good() {
    assert!(walk("http://h/a", &["/b", "http://h:80/c"]).unwrap().is_at_home());
    assert!(!walk("http://h/a", &["http://g/b", "http://h/c"]).unwrap().is_at_home());
    assert!(!walk("http://h/a", &["http://h:81/b"]).unwrap().is_at_home());
    assert!(!walk("http://h/a", &["https://h/b"]).unwrap().is_at_home());
}

fn any_policy() -> impl Strategy<Value = RedirectPolicy> {
    (0..=LIMIT, any::<[bool; 3]>()).prop_map(|(limit, [same_origin, https_only, allow_downgrade])| {
        let policy = RedirectPolicy::new().limit(limit).same_origin(same_origin);
        policy.https_only(https_only).allow_downgrade(allow_downgrade)
    })
}

proptest! {
    #[test]
    fn every_route_keeps_its_policy(
        policy in any_policy(),
        start in "https?://a/a",
        locations in proptest::collection::vec("(https?://[a-c](:8[01])?)?/[a-c]?(#[a-z])?", 0..8),
    ) {
        let mut route = Route::new(start.parse().unwrap());
        for location in &locations {
            let before = route.url().clone();
            if route.follow(&policy, FOUND, &reply(location.as_bytes())).is_err() {
                prop_assert_eq!(route.url(), &before);
            }
        }
        let at_home = route.is_at_home();
        let start = route.start().clone();
        let hops: Vec<_> = route.into_hops().into_iter().map(|hop| hop.url).collect();
        prop_assert!(hops.len() <= policy.limit);
        prop_assert_eq!(at_home, hops.iter().all(|hop| hop.origin() == start.origin()));
        prop_assert!(at_home || !policy.same_origin);
        let mut before = start.scheme();
        for (index, hop) in hops.iter().enumerate() {
            prop_assert!(hop.scheme() == "https" || !policy.https_only);
            prop_assert!(hop.scheme() == "https" || before == "http" || policy.allow_downgrade);
            prop_assert!(!is_same_request(hop, &start));
            prop_assert!(hops[..index].iter().all(|earlier| !is_same_request(earlier, hop)));
            before = hop.scheme();
        }
    }
}

#[test]
fn another_question_may_go_where_the_last_one_went() {
    let mut route = walk("http://h/a", &["/b"]).unwrap();
    let follow = |route: &mut Route, to: &[u8]| route.follow(&policy(), FOUND, &reply(to));
    route.forget_visits();
    follow(&mut route, b"/b").unwrap();
    assert_eq!(follow(&mut route, b"/b").unwrap_err().kind(), ErrorKind::Refused);
    follow(&mut route, b"/a").unwrap();
    route.forget_visits();
    let error = follow(&mut route, b"/a").unwrap_err();
    assert!(error.what().starts_with("more than 3 redirects"), "{error}");
}
