//! TLS: what the scripted server shows of itself, and whom it refuses.
//!
//! Invariant: the client trusts one authority and checks names. Must not know: what is served inside.

use downloader_tests::kit::*;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::client::*;

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
