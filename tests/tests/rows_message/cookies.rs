//! Cookies along redirects and between downloads (RFC 6265): row galleries 18.
//!
//! Owns these rows. Invariant: no cookie of one site is ever seen by another. Must not know: the engine's insides.

use downloader_core::{ErrorKind, Request};
use downloader_http::{CookieJar, RequestHeaders};
use downloader_tests::kit::{Act, Resource, Server};
use downloader_tests::suite::rows::{engine, fields, get};
use downloader_tests::suite::sink::Sink;

use super::{over, right};

/// A folder behind a door: whoever has no ticket is sent to get one, and back.
async fn behind_a_door() -> Server {
    let server = Server::start().await;
    server.put(
        "/in/f",
        Resource::new("content").decide(|asked| match asked.header("cookie") {
            Some(cookies) if cookies.contains("ticket=7") => Act::new(),
            _ => Act::new().redirect("/door?to=/in/f"),
        }),
    );
    let door = Act::new().redirect("/in/f").header("Set-Cookie", "ticket=7; Path=/in; HttpOnly");
    server.put("/door", Resource::act(door.header("Set-Cookie", "other=8")));
    server
}

#[tokio::test]
async fn what_a_redirect_sets_is_sent_to_the_next_hop_and_later() {
    let server = behind_a_door().await;
    let jar = CookieJar::new();
    let engine = over(|http| http.cookies(jar.clone()));
    right(&engine, get(server.url("/in/f")), b"content").await;
    // Back at the URL that was asked first: no loop, since the question is another one.
    assert_eq!(fields(&server, "/in/f", "cookie"), ["-", "ticket=7; other=8"]);
    right(&engine, get(server.url("/in/f")), b"content").await;
    assert_eq!(server.requests().len(), 4, "the ticket is kept");
    assert_eq!(jar.len(), 2);
    // Who has no jar takes no cookies.
    let error = over(|http| http).download(get(server.url("/in/f")), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.what().starts_with("redirect loop"), "{error}");
}

#[tokio::test]
async fn cookies_stay_with_their_site_and_errors_set_them_too() {
    let server = Server::start().await;
    let set = |act: Act, value: &str| act.header("Set-Cookie", format!("who={value}; Path=/"));
    let local = server.url_at("localhost", "/f");
    server.put("/away", Resource::act(set(Act::new().redirect(&local), "s3cret")));
    server.put("/f", Resource::new("content").always(set(Act::new(), "local")));
    server.put("/gone", Resource::act(set(Act::new().status(404), "gone")));
    let engine = over(|http| http.cookies(CookieJar::new()));
    right(&engine, get(server.url("/away")), b"content").await;
    assert_eq!(fields(&server, "/f", "cookie"), ["-"], "another name is another site");
    right(&engine, get(server.url("/f")), b"content").await;
    right(&engine, get(&local), b"content").await;
    assert_eq!(fields(&server, "/f", "cookie")[1..], ["who=s3cret", "who=local"]);
    engine.download(get(server.url("/gone")), Sink::new()).await.unwrap_err();
    right(&engine, get(server.url("/f")), b"content").await;
    assert_eq!(fields(&server, "/f", "cookie")[3..], ["who=gone"]);
}

/// The caller's own cookies go in place of those of the jar, where they go: not abroad.
#[tokio::test]
async fn the_callers_own_cookies_go_first() {
    let server = Server::start().await;
    server.put("/away", Resource::act(Act::new().redirect(server.url_at("localhost", "/f"))));
    server.put("/f", Resource::new("content"));
    let jar = CookieJar::new();
    jar.read_netscape(b"127.0.0.1\tFALSE\t/\tFALSE\t0\tjar\t1\nlocalhost\tFALSE\t/\tFALSE\t0\tjar\t2\n")
        .unwrap();
    let own = RequestHeaders::parse(["Cookie: own=s3cret"]).unwrap();
    let engine = over(|http| http.cookies(jar));
    right(&engine, get(server.url("/away")).option(own), b"content").await;
    assert_eq!(fields(&server, "/away", "cookie"), ["own=s3cret"]);
    assert_eq!(fields(&server, "/f", "cookie"), ["jar=2"]);
}

/// galleries 18: a session from a file, for one download, with a transport that has none; and back to a file.
#[tokio::test]
async fn galleries_18_a_session_from_a_file() {
    let server = Server::start().await;
    let renewed = Act::new().header("Set-Cookie", "session=new; Path=/; Max-Age=3600");
    server.put("/f", Resource::new("content").always(renewed));
    let jar = CookieJar::new();
    let file = "# Netscape HTTP Cookie File\n#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\told\nbroken\n";
    assert_eq!(jar.read_netscape(file.as_bytes()).unwrap(), ["line 3: expected seven fields between tabs"]);
    let engine = engine().build();
    let request = |jar: &CookieJar| -> Request { get(server.url("/f")).option(jar.clone()) };
    right(&engine, request(&jar), b"content").await;
    right(&engine, request(&jar), b"content").await;
    right(&engine, get(server.url("/f")), b"content").await;
    assert_eq!(fields(&server, "/f", "cookie"), ["session=old", "session=new", "-"]);
    assert!(jar.to_netscape().contains("\tsession\tnew\n"));
    assert!(!format!("{jar:?} {:?}", request(&jar)).contains("new"));
}
