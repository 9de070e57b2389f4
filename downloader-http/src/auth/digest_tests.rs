//! Digest by the examples of its standards, and what an answer repeats of a challenge.
//!
//! Invariant: expected values are those of RFC 7616 §3.9, its erratum 4897, and RFC 2617 §3.5, or were computed by
//! another implementation. Must not know: who asks.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

use super::*;

const MUFASA: (&[u8], &[u8]) = (b"Mufasa", b"Circle of Life");
/// RFC 7616 §3.9.1.
const REALM: &str = r#"realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

fn challenges(fields: &[&str]) -> Vec<Challenge> {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
    }
    Challenge::parse(&headers, &WWW_AUTHENTICATE)
}

fn offer(field: &str) -> Option<Offer> {
    Offer::strongest(&challenges(&[field])).map(|(_, offer)| offer)
}

fn answer(field: &str, cnonce: &str, user: (&[u8], &[u8]), url: &str) -> String {
    let turn = Turn { offer: Arc::new(offer(field).unwrap()), cnonce: cnonce.into(), count: 1 };
    let value = turn.authorization(user, &Method::GET, &url.parse().unwrap()).unwrap();
    assert!(value.is_sensitive());
    String::from_utf8(value.as_bytes().to_vec()).unwrap()
}

fn response(field: &str, cnonce: &str, user: (&[u8], &[u8]), url: &str) -> String {
    let text = answer(field, cnonce, user, url);
    let (_, rest) = text.split_once("response=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

/// RFC 7616 §3.9.1.
#[test]
fn md5_and_sha_256() {
    let url = "http://www.example.org/dir/index.html";
    let md5 = answer(&format!("Digest algorithm=MD5, {REALM}"), CNONCE, MUFASA, url);
    assert_eq!(
        md5,
        concat!(
            r#"Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=MD5, "#,
            r#"nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, "#,
            r#"cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, "#,
            r#"response="8ca523f5e9506fed4657c9700eebdbec", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
        )
    );
    let sha = response(&format!("Digest {REALM}, algorithm=sha-256"), CNONCE, MUFASA, url);
    assert_eq!(sha, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    let unsaid = answer(&format!("Digest {REALM}"), CNONCE, MUFASA, url);
    assert!(unsaid.contains("8ca523f5e9506fed4657c9700eebdbec") && !unsaid.contains("algorithm"));
}

/// RFC 7616 §3.9.2, with the values of erratum 4897: SHA-512-256, and a user that is not told.
#[test]
fn sha_512_256_and_a_hidden_user() {
    let field = concat!(
        r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, "#,
        r#"nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", "#,
        r#"opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8"#
    );
    let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
    let user = ("J\u{e4}s\u{f8}n Doe".as_bytes(), &b"Secret, or not?"[..]);
    let url = "http://api.example.org/doe.json";
    let expected = r#"response="3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5""#;
    let hidden = answer(&format!("{field}, userhash=true"), cnonce, user, url);
    let username = r#"username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b""#;
    for part in [username, expected, "userhash=true"] {
        assert!(hidden.contains(part), "{hidden}");
    }
    let told = answer(field, cnonce, user, url);
    for part in ["username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, ", expected] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("userhash"));
    // A server that does not say how it reads them gets the bytes.
    let raw = answer(&field.replace("charset", "x"), cnonce, user, url);
    assert!(raw.contains("username=\"J\u{e4}s\u{f8}n Doe\""), "{raw}");
}

/// RFC 2617 §3.5; and without `qop`, RFC 2069, whose example has another password (erratum 749).
#[test]
fn older_forms() {
    let field = r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
    let url = "http://www.nowhere.org/dir/index.html";
    let newer = response(&format!("{field}, qop=auth"), "0a4f113b", (b"Mufasa", b"Circle Of Life"), url);
    assert_eq!(newer, "6629fae49393a05397450978507c4ef1");
    for field in [field.to_owned(), format!("{field}, qop=\"\"")] {
        let older = answer(&field, "0a4f113b", (b"Mufasa", b"CircleOfLife"), url);
        assert!(older.contains("1949323746fe6a43ef61f9606e7febea"), "{older}");
        assert!(!older.contains("nc=") && !older.contains("cnonce") && !older.contains("qop"), "{older}");
    }
}

/// The second use of a nonce, computed by another implementation.
#[test]
fn sessions_hash_the_password_once() {
    let expected = [
        ("MD5-sess", "6914b51e16f9459d9abc967ad41c4599"),
        ("SHA-256-sess", "6bb0010aa4bdf46422a798c509ea32e256f27bd37de5cc3bdf8ed51e1d77d650"),
    ];
    for (algorithm, response) in expected {
        let offer = offer(&format!("Digest algorithm={algorithm}, {REALM}")).unwrap();
        let turn = Turn { offer: Arc::new(offer), cnonce: CNONCE.into(), count: 2 };
        let url = "http://www.example.org/dir/index.html".parse().unwrap();
        let value = turn.authorization(MUFASA, &Method::GET, &url).unwrap();
        let text = value.to_str().unwrap();
        assert!(text.contains(response) && text.contains("nc=00000002"), "{text}");
        assert!(text.contains(&format!("algorithm={algorithm}, ")), "{text}");
    }
}

#[test]
fn the_target_is_that_of_the_request_line() {
    for (url, uri) in [
        ("http://h", "/"),
        ("http://u:p@h:81/a%2Fb/~c;d?e=%7e&f#g", "/a%2Fb/~c;d?e=%7e&f"),
        ("http://h/?a\\b", r"/?a\\b"),
        ("http://h/?", "/?"),
    ] {
        let text = answer("Digest nonce=n", "", MUFASA, url);
        assert!(text.contains(&format!("uri=\"{uri}\", ")), "{text}");
    }
    let methods = [Method::GET, Method::HEAD].map(|method| {
        let turn = Turn { offer: Arc::new(offer("Digest nonce=n").unwrap()), cnonce: "".into(), count: 1 };
        turn.authorization(MUFASA, &method, &"http://h/".parse().unwrap()).unwrap()
    });
    assert_ne!(methods[0], methods[1]);
}

#[test]
fn quotes_in_values_are_repeated_as_quotes() {
    let text =
        answer(r#"Digest nonce="a\"b\\c", realm="d\"e", opaque="""#, "", (b"f\"\\g", b""), "http://h/");
    for part in [r#"username="f\"\\g""#, r#"nonce="a\"b\\c""#, r#"realm="d\"e""#, r#"opaque="""#] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_strongest_that_is_known_is_chosen() {
    let choose = |fields: &[&str]| {
        Offer::strongest(&challenges(fields)).map(|(_, offer)| offer.name.unwrap_or("unsaid"))
    };
    assert_eq!(
        choose(&["Digest nonce=a", "Digest nonce=b, algorithm=SHA-256", "Digest nonce=c, algorithm=MD5"]),
        Some("SHA-256")
    );
    let both =
        ["Basic realm=x", "Digest nonce=a,algorithm=SHA-512-256-sess, Digest nonce=b,algorithm=SHA-256"];
    assert_eq!(choose(&both), Some("SHA-512-256-sess"));
    assert_eq!(choose(&["Digest nonce=a", "Digest nonce=b, algorithm=MD5-sess"]), Some("unsaid"));
    assert_eq!(choose(&["Digest nonce=a, algorithm=SHA-999", "Digest nonce=b, algorithm=MD5"]), Some("MD5"));
    for unusable in [
        "Basic realm=x",
        "Digest realm=x",
        "Digest nonce=a, algorithm=SHA-1",
        r#"Digest nonce=a, qop="auth-int""#,
        r#"Digest nonce=a, qop="conf,auth-int""#,
    ] {
        assert_eq!(choose(&[unusable]), None, "{unusable}");
    }
    assert!(offer(r#"Digest nonce=a, qop="auth-int,AUTH""#).unwrap().counted);
    assert!(offer("Digest nonce=a, stale=TRUE").unwrap().stale && !offer("Digest nonce=a").unwrap().stale);
}

#[test]
fn a_nonce_is_counted() {
    let take = |session: &mut Session| {
        let turn = session.next().unwrap();
        (String::from_utf8(turn.offer.nonce.to_vec()).unwrap(), turn.count, turn.cnonce)
    };
    let mut session = Session::new(offer("Digest nonce=a, qop=auth").unwrap()).unwrap();
    let (nonce, count, first) = take(&mut session);
    assert_eq!((&*nonce, count, first.len()), ("a", 1, 32));
    assert_eq!(take(&mut session), ("a".to_owned(), 2, Arc::clone(&first)));
    session.renew(offer("Digest nonce=a, qop=auth, stale=true").unwrap()).unwrap();
    assert_eq!(take(&mut session), ("a".to_owned(), 3, Arc::clone(&first)), "the same nonce: count on");
    session.renew(offer("Digest nonce=b, qop=auth").unwrap()).unwrap();
    let (nonce, count, second) = take(&mut session);
    assert_eq!((&*nonce, count), ("b", 1));
    assert_ne!(first, second, "a nonce of ours is never used with two of theirs");
    session.count = u32::MAX;
    let (_, count, third) = take(&mut session);
    assert_eq!(count, 1);
    assert_ne!(second, third);
}

#[test]
fn the_server_may_name_the_next_nonce() {
    let mut session = Session::new(offer("Digest nonce=a, qop=auth, opaque=o").unwrap()).unwrap();
    let turn = session.next().unwrap();
    session.informed(&turn, br#"qop=auth, nextnonce="b""#).unwrap();
    let next = session.next().unwrap();
    assert_eq!((&*next.offer.nonce, next.count), (&b"b"[..], 1));
    assert_eq!(next.offer.opaque.as_deref(), Some(&b"o"[..]));
    // A late reply to the old one changes nothing.
    session.informed(&turn, b"nextnonce=c").unwrap();
    session.informed(&next, b"rspauth=x, nextnonce=").unwrap();
    assert_eq!((&*session.next().unwrap().offer.nonce, session.count), (&b"b"[..], 2));
}
