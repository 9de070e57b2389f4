//! Tests of the jar as a whole: what is sent where.
//!
//! Invariant: every rule that keeps a cookie from a stranger has a row. Must not know: how cookies are kept.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn take(jar: &CookieJar, from: &str, fields: &[&str]) -> bool {
    let mut reply = HeaderMap::new();
    for field in fields {
        reply.append(SET_COOKIE, HeaderValue::from_str(field).unwrap());
    }
    jar.take(&url(from), &reply)
}

fn sent(jar: &CookieJar, to: &str) -> String {
    let mut request = HeaderMap::new();
    jar.give(&url(to), &mut request);
    request.get(COOKIE).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

/// What a URL sets, and what then is sent to another one.
fn carried(from: &str, field: &str, to: &str) -> bool {
    let jar = CookieJar::new();
    take(&jar, from, &[field]);
    !sent(&jar, to).is_empty()
}

#[test]
fn a_cookie_goes_where_it_is_meant_to_go() {
    for (from, field, to) in [
        ("http://h.org/", "a=b", "http://h.org/"),
        ("http://h.org/", "a=b", "http://h.org:8080/"),
        ("http://h.org/", "a=b", "https://H.ORG/x?y"),
        ("http://x.h.org/", "a=b; Domain=h.org", "http://h.org/"),
        ("http://x.h.org/", "a=b; Domain=.H.org", "http://y.z.h.org/"),
        ("http://h.org/d/e", "a=b", "http://h.org/d/f"),
        ("http://h.org/d/e", "a=b; Path=/", "http://h.org/"),
        ("https://h.org/", "a=b; Secure", "https://h.org/"),
        ("http://10.0.0.1/", "a=b", "http://10.0.0.1/"),
        ("http://10.0.0.1/", "a=b; Domain=10.0.0.1", "http://10.0.0.1/"),
        ("http://[::1]/", "a=b", "http://[::1]/"),
        ("http://localhost/", "a=b", "http://localhost/"),
        ("http://localhost/", "a=b; Domain=localhost", "http://localhost/"),
        ("http://github.io/", "a=b; Domain=github.io", "http://github.io/"),
        ("http://x.bücher.org/", "a=b; Domain=xn--bcher-kva.org", "http://bücher.org/"),
        ("https://h.org/", "__Host-a=b; Secure; Path=/", "https://h.org/x"),
        ("https://h.org/", "__Secure-a=b; Secure", "https://h.org/"),
        ("http://h.org/", "a=b; Max-Age=60", "http://h.org/"),
    ] {
        assert!(carried(from, field, to), "{from} sets {field}: {to} does not get it");
    }
}

#[test]
fn a_cookie_goes_nowhere_else() {
    for (from, field, to) in [
        ("http://h.org/", "a=b", "http://x.h.org/"),
        ("http://h.org/", "a=b", "http://g.org/"),
        ("http://x.h.org/", "a=b", "http://h.org/"),
        ("http://x.h.org/", "a=b; Domain=h.org", "http://badh.org/"),
        ("http://h.org/d/e", "a=b", "http://h.org/de"),
        ("http://h.org/", "a=b; Path=/d", "http://h.org/"),
        ("https://h.org/", "a=b; Secure", "http://h.org/"),
        ("http://10.0.0.1/", "a=b", "http://1.10.0.0.1.org/"),
        // Not theirs to set.
        ("http://h.org/", "a=b; Domain=x.h.org", "http://x.h.org/"),
        ("http://h.org/", "a=b; Domain=g.org", "http://g.org/"),
        ("http://x.h.co.uk/", "a=b; Domain=co.uk", "http://g.co.uk/"),
        ("http://x.h.co.uk/", "a=b; Domain=co.uk", "http://x.h.co.uk/"),
        ("http://x.github.io/", "a=b; Domain=github.io", "http://y.github.io/"),
        ("http://github.io/", "a=b; Domain=github.io", "http://y.github.io/"),
        ("http://h.org/", "a=b; Domain=org", "http://g.org/"),
        ("http://x.unheard-of/", "a=b; Domain=unheard-of", "http://y.unheard-of/"),
        ("http://10.0.0.1/", "a=b; Domain=0.0.1", "http://10.0.0.1/"),
        ("http://h.org/", "a=b; Domain=a b", "http://h.org/"),
        ("http://h.org/", "a=b; Secure", "https://h.org/"),
        // Names that promise more than is kept.
        ("https://h.org/", "__Host-a=b; Secure; Path=/; Domain=h.org", "https://h.org/"),
        ("https://h.org/d/", "__host-a=b; Secure", "https://h.org/d/"),
        ("https://h.org/", "__Host-a=b; Path=/", "https://h.org/"),
        ("https://h.org/", "__Secure-a=b", "https://h.org/"),
        ("http://h.org/", "__Secure-a=b; Secure", "https://h.org/"),
        ("http://h.org/", "a=b; Max-Age=0", "http://h.org/"),
        ("http://h.org/", "a=b; Expires=Thu, 01-Jan-1970 00:00:01 GMT", "http://h.org/"),
    ] {
        assert!(!carried(from, field, to), "{from} sets {field}: {to} gets it");
    }
}

#[test]
fn longer_paths_and_older_cookies_come_first() {
    let jar = CookieJar::new();
    take(&jar, "http://x.h.org/d/", &["a=1; Path=/", "b=2; Path=/d", "c=3; Path=/; Domain=h.org"]);
    assert!(take(&jar, "http://x.h.org/d/", &["a=4; Path=/"]));
    assert_eq!(sent(&jar, "http://x.h.org/d/f"), "b=2; a=4; c=3", "a replaced cookie keeps its place");
    assert!(!take(&jar, "http://x.h.org/d/", &["a=4; Path=/"]), "the same once more is no change");
    assert!(take(&jar, "http://x.h.org/d/", &["a=; Path=/; Max-Age=-1"]));
    assert_eq!((sent(&jar, "http://x.h.org/"), jar.len()), ("c=3".to_owned(), 2));
}

#[test]
fn what_came_protected_is_not_replaced_by_what_did_not() {
    let jar = CookieJar::new();
    take(&jar, "https://x.h.org/d/", &["a=1; Secure; Path=/d"]);
    for (from, field) in [
        ("http://x.h.org/d/", "a=2; Path=/d"),
        ("http://x.h.org/d/", "a=2; Path=/d/e"),
        ("http://y.x.h.org/d/", "a=2; Path=/d; Domain=x.h.org"),
        ("http://x.h.org/d/", "a=2; Path=/d; Domain=h.org"),
    ] {
        assert!(!take(&jar, from, &[field]), "{from} {field}");
    }
    assert_eq!(sent(&jar, "https://x.h.org/d/e"), "a=1");
    assert!(take(&jar, "http://x.h.org/", &["a=2; Path=/"]), "not in the way of the other");
    assert!(take(&jar, "https://x.h.org/d/", &["a=3; Path=/d"]), "its own origin may");
}

#[test]
fn the_jar_is_bounded_in_every_direction() {
    let jar = CookieJar::new();
    for n in 0..60 {
        take(&jar, "https://h.org/", &[&format!("n{n}=v{}", if n < 10 { "; Secure" } else { "" })]);
        // Used again and again, it stays.
        assert!(sent(&jar, "https://h.org/").contains("n0=v"), "{n}");
    }
    assert_eq!(jar.len(), 50);
    let text = sent(&jar, "https://h.org/");
    assert!(text.contains("n9=v") && text.contains("n59=v") && !text.contains("n10=v"), "{text}");

    for n in 0..4000 {
        take(&jar, &format!("http://h{n}.org/"), &["a=b"]);
    }
    assert_eq!(jar.len(), 3000);
    assert_eq!((&*sent(&jar, "http://h999.org/"), &*sent(&jar, "http://h3999.org/")), ("", "a=b"));

    let deep = format!("https://h.org/{}/", "p".repeat(1024));
    assert!(!take(&jar, &deep, &["a=b"]) && take(&jar, &deep, &["a=b; Path=/"]));

    let long = "v".repeat(3000);
    let jar = CookieJar::new();
    take(&jar, "http://h.org/", &[&format!("a={long}"), &format!("b={long}"), &format!("c={long}"), "d=e"]);
    assert_eq!(sent(&jar, "http://h.org/"), format!("a={long}; b={long}; d=e"));
    jar.clear();
    assert!(jar.is_empty());
}

#[test]
fn an_expired_cookie_is_not_sent_and_makes_room() {
    let mut store = Store::new(is_public_suffix);
    let then = SystemTime::UNIX_EPOCH;
    let set = set_cookie::parse("a=b; Max-Age=60", then).unwrap();
    assert!(store.set(&url("http://h.org/"), &set, then));
    let at = |seconds| then + Duration::from_secs(seconds);
    assert_eq!(store.field(&url("http://h.org/"), at(59)).as_deref(), Some("a=b"));
    assert_eq!(store.field(&url("http://h.org/"), at(60)), None);
    assert_eq!(store.len(), 0);
}

#[test]
fn files_make_jars_and_jars_make_files() {
    let jar = CookieJar::new();
    take(&jar, "https://x.h.org/", &["a=b; Domain=h.org; Secure; HttpOnly; Max-Age=1000", "c=d; Path=/e"]);
    let file = jar.to_netscape();
    let again = CookieJar::new();
    assert_eq!(again.read_netscape(file.as_bytes()).unwrap(), [""; 0]);
    assert_eq!(again.to_netscape(), file);
    assert_eq!(sent(&again, "https://x.h.org/e"), "c=d; a=b");
    let mut request = HeaderMap::new();
    again.give(&url("https://h.org/"), &mut request);
    assert_eq!(format!("{again:?} {request:?}"), r#"CookieJar { cookies: 2 } {"cookie": Sensitive}"#);
}

proptest! {
    #[test]
    fn no_cookie_reaches_a_stranger(
        from in "https?://([a-c]\\.){0,2}(h\\.org|g\\.co\\.uk|10\\.0\\.0\\.1)/",
        domain in "(Domain=\\.?([a-c]\\.){0,2}(h\\.org|org|g\\.co\\.uk|co\\.uk|uk|0\\.0\\.1))?",
        to in "https?://([a-c]\\.){0,2}(h\\.org|k\\.org|g\\.co\\.uk|k\\.co\\.uk|10\\.0\\.0\\.1)/",
    ) {
        let (Ok(from), Ok(to)) = (from.parse::<Url>(), to.parse::<Url>()) else { return Ok(()) };
        if carried(from.as_str(), &format!("a=b; {domain}"), to.as_str()) {
            let site = |url: &Url| {
                let host = url.host_str().unwrap_or_default().to_owned();
                if cookie::is_address(&host) { host } else { psl::domain_str(&host).unwrap_or(&host).to_owned() }
            };
            prop_assert_eq!(site(&from), site(&to));
        }
    }

    #[test]
    fn no_reply_breaks_the_jar(fields in proptest::collection::vec("\\PC{0,60}|[a=; DomainPathx.h-]{0,60}", 0..5)) {
        let jar = CookieJar::new();
        let mut reply = HeaderMap::new();
        for field in &fields {
            if let Ok(value) = HeaderValue::from_str(field) {
                reply.append(SET_COOKIE, value);
            }
        }
        jar.take(&url("https://x.h.org/d/"), &reply);
        prop_assert!(jar.len() <= fields.len());
        prop_assert_eq!(sent(&jar, "https://h.com/"), "");
    }
}
