//! Proxies as texts.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

type Pair = (Vec<u8>, Vec<u8>);

#[track_caller]
fn parsed(text: &str) -> (ProxyProtocol, String, u16, Option<Pair>) {
    let proxy: Proxy = text.parse().unwrap();
    let pair = proxy.credentials().map(|pair| (pair.user().to_vec(), pair.password().to_vec()));
    (proxy.protocol(), proxy.host().to_owned(), proxy.port(), pair)
}

fn pair(user: &[u8], password: &[u8]) -> Option<Pair> {
    Some((user.to_vec(), password.to_vec()))
}

#[test]
fn the_forms_that_are_in_use() {
    use ProxyProtocol::{Http, Https, Socks5, Socks5h};
    for (text, expected) in [
        ("http://proxy.example:3128", (Http, "proxy.example", 3128, None)),
        (" proxy.example:3128/ ", (Http, "proxy.example", 3128, None)),
        ("proxy.example", (Http, "proxy.example", 80, None)),
        ("HTTPS://Proxy.Example/", (Https, "proxy.example", 443, None)),
        ("socks5://PROXY.example", (Socks5, "proxy.example", 1080, None)),
        ("socks5://h:80", (Socks5, "h", 80, None)),
        ("socks5h://[2001:DB8::1]", (Socks5h, "2001:db8::1", 1080, None)),
        ("socks5h://0x7f.1", (Socks5h, "127.0.0.1", 1080, None)),
        ("http://[::1]:8", (Http, "::1", 8, None)),
        ("http://me:p%40s%3as@h", (Http, "h", 80, pair(b"me", b"p@s:s"))),
        ("me:secret@h:1", (Http, "h", 1, pair(b"me", b"secret"))),
        ("socks5://me@h", (Socks5, "h", 1080, pair(b"me", b""))),
        ("socks5://%ff:%00@h", (Socks5, "h", 1080, pair(b"\xff", b"\0"))),
        ("http://:token@h", (Http, "h", 80, pair(b"", b"token"))),
        ("https://b\u{fc}cher.example", (Https, "xn--bcher-kva.example", 443, None)),
    ] {
        let (protocol, host, port, credentials) = expected;
        assert_eq!(parsed(text), (protocol, host.to_owned(), port, credentials), "{text}");
    }
}

#[test]
fn others_are_refused_without_repeating_them() {
    let long = format!("http://s3cret{}", "a".repeat(MAX_PROXY));
    for text in [
        "",
        "http://",
        "http://u:s3cret@",
        "ftp://u:s3cret@h",
        "socks4://u:s3cret@h",
        "socks5:h",
        "http://u:s3cret@h/path",
        "http://h/?s3cret",
        "http://h#s3cret",
        "http://h:0",
        "http://h:65536",
        "http://u:s3cret@[h",
        "http://u%3as3cret:x@h",
        "http://u:s3cret%0d%0aHost:x@h",
        "socks5://:s3cret@h",
        "socks5://u:s3cret@a b",
        &format!("socks5://u:{}@h", "s3cret".repeat(50)),
        &long,
    ] {
        let error = Proxy::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{text}");
        assert!(error.what().starts_with("proxy") && error.what().contains("expected"), "{text}: {error}");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
}

#[test]
fn nothing_prints_a_user_or_a_password() {
    let proxy = Proxy::parse("http://user:s3cret@h:3128").unwrap();
    let route = crate::net::Route::Via(proxy.clone());
    let credentials = proxy.credentials().unwrap();
    for text in [format!("{proxy}"), format!("{proxy:?}"), format!("{credentials:?}"), format!("{route:?}")] {
        assert!(!text.contains("s3cret") && !text.contains("user"), "{text}");
    }
    assert_eq!(proxy.to_string(), "http://***@h:3128");
    assert_eq!(Proxy::parse("socks5://[::1]").unwrap().to_string(), "socks5://[::1]:1080");
}

#[test]
fn credentials_can_be_set_and_tell_proxies_apart() {
    let plain = Proxy::parse("http://h").unwrap();
    let one = plain.with_credentials("Aladdin", "open sesame").unwrap();
    let other = one.with_credentials("Aladdin", "shut").unwrap();
    assert_eq!(one.credentials().unwrap().basic(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(HashSet::from([plain.clone(), one.clone(), other, one.clone()]).len(), 3);
    assert!(plain.with_credentials("a:b", "").is_err() && plain.with_credentials("a", "\r\n").is_err());
    let socks = Proxy::parse("socks5://h").unwrap();
    let full = vec![b'x'; MAX_SOCKS_FIELD];
    assert!(socks.with_credentials(full.clone(), full.clone()).is_ok());
    for (user, password) in [(vec![b'x'; 256], full.clone()), (full, vec![b'x'; 256]), (vec![], vec![])] {
        assert_eq!(socks.with_credentials(user, password).unwrap_err().kind(), ErrorKind::Input);
    }
}

#[test]
fn a_proxy_takes_the_blame_for_itself_only() {
    let proxy = Proxy::parse("http://u:s3cret@h:3128").unwrap();
    let at = "127.0.0.1:3128".parse().unwrap();
    let error = proxy.blamed(Error::new(ErrorKind::Connect, "connecting to h:3128").with_address(Some(at)));
    assert_eq!(
        format!("{error:?}"),
        "proxy: no connection to the proxy http://***@h:3128\n  caused by: connection: connecting to h:3128"
    );
    assert_eq!(error.address(), Some(at));
    for kind in
        [ErrorKind::Dns, ErrorKind::Tls, ErrorKind::Timeout(Phase::Resolve), ErrorKind::Timeout(Phase::Tls)]
    {
        assert_eq!(proxy.blamed(Error::new(kind, "x")).kind(), ErrorKind::Proxy);
    }
    for kind in
        [ErrorKind::Local, ErrorKind::Refused, ErrorKind::ProxyUnauthorized, ErrorKind::Timeout(Phase::Total)]
    {
        assert_eq!(proxy.blamed(Error::new(kind, "x")).kind(), kind);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "((http|socks5h?)://)?[a-c0-9:@/%. \\[\\]]{0,30}|\\PC{0,30}") {
        if let Ok(proxy) = Proxy::parse(&text) {
            let again = Proxy::parse(&proxy.to_string().replace("***@", "")).unwrap();
            prop_assert_eq!((again.host(), again.port()), (proxy.host(), proxy.port()));
        }
    }

    #[test]
    fn any_credentials_survive_their_url(
        user in proptest::collection::vec(any::<u8>(), 1..255),
        password in proptest::collection::vec(any::<u8>(), 0..255),
    ) {
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let proxy = Proxy::parse(&format!("socks5://{}:{}@h", escaped(&user), escaped(&password))).unwrap();
        let credentials = proxy.credentials().unwrap();
        prop_assert_eq!((credentials.user(), credentials.password()), (&user[..], &password[..]));
    }
}
