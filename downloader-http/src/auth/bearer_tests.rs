//! What is asked of token servers, and what they may reply.
//!
//! Invariant: no reply makes anything but a token or an error that repeats nothing of it. Must not know: the cache.

use downloader_core::Wire;
use futures_util::stream;
use http::header::WWW_AUTHENTICATE;
use proptest::prelude::*;

use super::super::script::{Script, reply};
use super::*;

fn grant(challenge: &str, url: &str) -> Result<Grant, &'static str> {
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::try_from(challenge).unwrap())]);
    Grant::of(&Challenge::parse(&headers, &WWW_AUTHENTICATE)[0], &url.parse().unwrap())
}

fn user() -> Credentials {
    Credentials::password("me", "s3cret").unwrap()
}

#[test]
fn what_is_asked_is_what_the_challenge_names() {
    let cases = [
        (
            r#"Bearer realm="https://a.h/token",service="r.h",scope="repository:x/y:pull""#,
            "https://a.h/token?service=r.h&scope=repository%3Ax%2Fy%3Apull",
        ),
        (r#"Bearer realm="https://a.h/token?k=v#f",scope="a  b""#, "https://a.h/token?k=v&scope=a&scope=b"),
        ("Bearer realm=https://u:p@a.h/token", "https://a.h/token"),
        (r#"Bearer realm="http://a.h/",service="ü &""#, "http://a.h/?service=%C3%BC+%26"),
    ];
    for (challenge, expected) in cases {
        let grant = grant(challenge, "http://h/").unwrap();
        assert_eq!(grant.url(None).expose().as_str(), expected, "{challenge}");
        let separator = if expected.contains('?') { '&' } else { '?' };
        assert_eq!(grant.url(Some(&user())).expose().as_str(), format!("{expected}{separator}account=me"));
    }
}

#[test]
fn who_is_not_asked() {
    let realm = "its realm is not the URL of a token server";
    let cases = [
        ("Bearer", "http://h/", realm),
        (r#"Bearer realm="example""#, "http://h/", realm),
        ("Bearer realm=/token", "http://h/", realm),
        ("Bearer realm=file:///etc/passwd", "http://h/", realm),
        ("Bearer realm=ftp://h/", "http://h/", realm),
        (
            "Bearer realm=http://a.h/",
            "https://h/",
            "it names a token server without TLS, although it has TLS itself",
        ),
    ];
    for (challenge, url, why) in cases {
        assert_eq!(grant(challenge, url).unwrap_err(), why, "{challenge}");
    }
    let headers = HeaderMap::from_iter([(
        WWW_AUTHENTICATE,
        HeaderValue::from_bytes(b"Bearer realm=http://h/, scope=\"\xff\"").unwrap(),
    )]);
    let challenges = Challenge::parse(&headers, &WWW_AUTHENTICATE);
    assert!(Grant::of(&challenges[0], &"http://h/".parse().unwrap()).is_err());
    assert!(grant("Bearer realm=https://a.h/", "https://h/").is_ok());
}

#[test]
fn replies_are_read_leniently() {
    let minute = Duration::from_secs(60);
    let at = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    let cases: &[(&str, &str, u64)] = &[
        (r#"{"token":"a.b-c"}"#, "a.b-c", 60),
        (r#"{"access_token":"t","expires_in":300,"issued_at":"1994-11-06T08:49:37Z"}"#, "t", 300),
        (r#"{"token":"t","access_token":"u","refresh_token":"v","expires_in":3600.5}"#, "t", 3600),
        (r#"{"token":"","access_token":"u","expires_in":" 90 "}"#, "u", 90),
        (r#"{"token":null,"access_token":"u","expires_in":null}"#, "u", 60),
        (r#"{"token":"t","expires_in":0}"#, "t", 60),
        (r#"{"token":"t","expires_in":-5}"#, "t", 60),
        (r#"{"token":"t","expires_in":[1]}"#, "t", 60),
        (r#"{"token":"t","expires_in":1e300}"#, "t", 60),
        (r#"{"token":"t","expires_in":99999999}"#, "t", 24 * 60 * 60),
        (r#"{"token":"t","expires_in":300,"issued_at":"1994-11-06T08:48:37Z"}"#, "t", 240),
        (r#"{"token":"t","expires_in":300,"issued_at":"1994-11-06T09:48:37+01:00"}"#, "t", 240),
        (r#"{"token":"t","expires_in":300,"issued_at":"1994-11-06T00:00:00Z"}"#, "t", 0),
        (r#"{"token":"t","expires_in":300,"issued_at":"2094-11-06T00:00:00Z"}"#, "t", 300),
        (r#"{"token":"t","expires_in":300,"issued_at":"yesterday"}"#, "t", 300),
    ];
    for (body, token, seconds) in cases {
        let (found, lifetime) = parse(body.as_bytes(), Some(at)).unwrap();
        assert_eq!((&*found, lifetime.as_secs()), (*token, *seconds), "{body}");
    }
    // Our own clock says nothing of the server's.
    let old = br#"{"token":"t","issued_at":"1994-11-06T08:48:37Z"}"#;
    assert_eq!(parse(old, None).unwrap().1, minute);
    for broken in
        ["", "s3cret", "[]", "{}", "null", r#"{"token":7}"#, r#"{"token":"s3 cret"}"#, r#"{"token":"a\n"}"#]
    {
        let why = parse(broken.as_bytes(), None).unwrap_err();
        assert!(!why.contains("cret"), "{why}");
    }
}

#[tokio::test]
async fn credentials_go_with_the_request() {
    let script = Script::of([
        reply(200, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")], &[r#"{"token":"#, r#""t1"}"#]),
        reply(200, &[], &[r#"{"token":"t2"}"#]),
        reply(200, &[], &[r#"{"token":"t3"}"#]),
    ]);
    let grant = grant("Bearer realm=https://a.h/t,service=s", "https://h/").unwrap();
    let granted = grant.fetch(None, &script).await.unwrap();
    assert!(granted.value == "Bearer t1" && granted.value.is_sensitive());
    grant.fetch(Some(&user()), &script).await.unwrap();
    grant.fetch(Some(&Credentials::bearer("b").unwrap()), &script).await.unwrap();
    let seen = script.seen();
    let of = |url: &str, authorization: &str| (url.to_owned(), authorization.to_owned());
    assert_eq!(
        seen,
        [
            of("https://a.h/t?service=s", "-"),
            of("https://a.h/t?service=s&account=me", "Basic bWU6czNjcmV0"),
            of("https://a.h/t?service=s", "Bearer b"),
        ]
    );
}

#[tokio::test]
async fn failures_name_the_token_server_and_keep_its_words() {
    let kibibyte = " ".repeat(1024);
    let large = vec![&*kibibyte; 300];
    let cases = [
        (reply(401, &[], &[]), ErrorKind::Unauthorized, "HTTP status 401 Unauthorized"),
        (reply(403, &[], &["s3cret"]), ErrorKind::Denied, "HTTP status 403 Forbidden"),
        (reply(429, &[("retry-after", "7")], &[]), ErrorKind::Busy, "HTTP status 429 Too Many Requests"),
        (reply(307, &[("location", "http://s3cret/")], &[]), ErrorKind::Protocol, "HTTP status 307"),
        (reply(204, &[], &[]), ErrorKind::Protocol, "HTTP status 204 No Content"),
        (reply(200, &[], &["s3cret"]), ErrorKind::Protocol, "the reply is not JSON"),
        (reply(200, &[], &large), ErrorKind::Protocol, "more than 262144 bytes"),
    ];
    let grant = grant("Bearer realm=http://a.h/t?k=s3cret", "http://h/").unwrap();
    for (reply, kind, what) in cases {
        let status = reply.status.as_u16();
        let error = grant.fetch(None, &Script::of([reply])).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (kind, Some(status)));
        assert!(error.what().starts_with(&format!("token server: {what}")), "{error}");
        assert_eq!(error.url().unwrap().to_string(), "http://a.h/t?k=***");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        assert_eq!(error.retry_after(), (status == 429).then(|| Duration::from_secs(7)));
    }
    let cut = stream::iter([Err(Error::new(ErrorKind::Truncated, "cut"))]).boxed();
    let cut = Reply { status: StatusCode::OK, headers: HeaderMap::new(), wire: Wire::default(), stream: cut };
    assert_eq!(grant.fetch(None, &Script::of([cut])).await.unwrap_err().kind(), ErrorKind::Truncated);
}

proptest! {
    #[test]
    fn any_reply_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..64), inner in "[ -~é]{0,16}") {
        let _ = parse(&body, None);
        let _ = parse(format!(r#"{{"token":"t","expires_in":{inner},"issued_at":"{inner}"}}"#).as_bytes(), Some(SystemTime::UNIX_EPOCH));
    }
}
