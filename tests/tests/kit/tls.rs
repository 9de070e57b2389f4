//! TLS: what the servers show of themselves, whom they refuse, and TLS in front of something plain.
//!
//! Invariant: the client trusts one authority and checks names. Must not know: what is served inside.

use downloader_tests::kit::*;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::client::*;
use crate::curl::{curl, file};

#[tokio::test]
async fn tls_serves_cuts_and_refuses() {
    let server = Server::start_tls().await;
    let content = Content::new(2, 100_000);
    server.put(
        "/f",
        Resource::of(content.clone())
            .first(Act::new())
            .then(Act::new().cut_at(70_000))
            .then(Act::new().reset_at(10)),
    );
    assert!(server.url("/f").starts_with("https://127.0.0.1:"));
    let ca = server.ca_pem().unwrap();
    for (seen, len) in [(Seen::Whole, 100_000), (Seen::Closed, 70_000), (Seen::Reset, 10)] {
        let reply = tls(server.addr(), ca, "127.0.0.1", None).await.unwrap().get("/f").await;
        assert_eq!((reply.seen, reply.body.len()), (seen, len));
        assert_eq!(reply.body, content.slice(0..len as u64));
    }
    assert!(tls(server.addr(), Authority::new().pem(), "localhost", None).await.is_err());
    assert!(tls(server.addr(), ca, "other.example", None).await.is_err());
    server.wait_until("both handshakes failed", |server| server.failed_handshakes() == 2).await;

    let authority = Authority::new();
    let expired = Server::builder().tls(&authority.issue_expired(&["localhost"]), &authority).start().await;
    let error = tls(expired.addr(), authority.pem(), "localhost", None).await.err().unwrap();
    assert!(error.to_string().contains("expired"), "{error}");

    let clients = Authority::new();
    let mutual =
        Server::builder().mutual_tls(&authority.issue(&["localhost"]), &authority, &clients).start().await;
    mutual.put("/f", Resource::new("secret"));
    let known = clients.issue_client("me");
    let reply = tls(mutual.addr(), authority.pem(), "localhost", Some(&known)).await.unwrap().get("/f").await;
    assert_eq!(reply.body, b"secret");
    // Under TLS 1.3 the client learns of the refusal when it reads.
    let mut stranger = tls(mutual.addr(), authority.pem(), "localhost", None).await.unwrap();
    assert!(timeout(SHORT, stranger.stream.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn certificates_good_and_bad() {
    let root = Authority::new();
    let deep = root.intermediate().intermediate();
    let own = Identity::self_signed(&["localhost"]);
    for (identity, trusted, fault) in [
        (root.issue(&["localhost"]), root.pem(), ""),
        (deep.issue(&["localhost"]), root.pem(), ""),
        (root.issue_expired(&["localhost"]), root.pem(), "expired"),
        (root.issue_not_yet_valid(&["localhost"]), root.pem(), "not valid yet"),
        (root.issue(&["other.example"]), root.pem(), "not valid for name"),
        (root.issue_client("localhost"), root.pem(), "extended key usage"),
        // It is an authority's too.
        (Identity::self_signed(&["localhost"]), root.pem(), "CaUsedAsEndEntity"),
        (Authority::new().issue(&["localhost"]), root.pem(), "UnknownIssuer"),
        (Authority::new().intermediate().issue(&["localhost"]), root.pem(), "UnknownIssuer"),
    ] {
        let server = Server::builder().tls(&identity, &root).start().await;
        let seen = tls(server.addr(), trusted, "localhost", None).await.err();
        let seen = seen.map_or(String::new(), |error| error.to_string());
        assert!(seen.contains(fault) && seen.is_empty() == fault.is_empty(), "{fault}: {seen}");
    }
    assert_eq!(deep.issue(&["localhost"]).cert_pem.matches("BEGIN CERTIFICATE").count(), 3);
    assert_ne!(own.spki_pin(), Identity::self_signed(&["localhost"]).spki_pin());
}

#[tokio::test]
async fn pins_are_those_of_curl() {
    let (authority, place) = (Authority::new(), tempfile::tempdir().unwrap());
    let identity = authority.issue(&["localhost"]);
    let server = Server::builder().tls(&identity, &authority).start().await;
    server.put("/f", Resource::new("text"));
    let (ca, url) = (file(place.path(), "ca.pem", authority.pem()), server.url_at("localhost", "/f"));
    for (pin, code) in [(identity.spki_pin(), 0), (authority.issue(&["localhost"]).spki_pin(), 90)] {
        let brought = curl(&["--cacert", &ca, "--pinnedpubkey", &format!("sha256//{pin}"), &url]).await;
        assert_eq!(brought.code, Some(code), "{brought:?}");
    }
}

#[tokio::test]
async fn a_front_makes_an_https_proxy_of_squid() {
    let (authority, place) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = Server::start().await;
    server.put("/f", Resource::new("behind"));
    let squid = Squid::start().await.unwrap();
    let identity = authority.issue(&["127.0.0.1"]);
    let front = TlsFront::start(squid.addr(), identity.server_config(None)).await;
    let ca = file(place.path(), "ca.pem", authority.pem());
    for how in [&["--proxy-cacert", &*ca][..], &["-p", "--proxy-cacert", &ca]] {
        let brought = curl(&[&["-x", &front.url(), &server.url("/f")], how].concat()).await;
        assert_eq!((brought.status, brought.body.as_str()), (200, "behind"), "{brought:?}");
    }
    let stranger = curl(&["-x", &front.url(), &server.url("/f")]).await;
    assert_eq!((stranger.status, stranger.code), (0, Some(60)), "{stranger:?}");
    assert_eq!((front.connections().total, front.failed_handshakes()), (3, 1));
    assert_eq!(
        squid.wait_log(2).await.iter().map(|line| &*line.method).collect::<Vec<_>>(),
        ["GET", "CONNECT"]
    );
}
