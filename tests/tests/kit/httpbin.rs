//! httpbin: that it is there, and speaks as its documentation says.
//!
//! Invariant: a missing httpbin fails. Must not know: Python.

use downloader_tests::kit::*;

use crate::client::*;
use crate::curl::curl;

#[tokio::test]
async fn httpbin_answers_on_connections_that_last() {
    let httpbin = Httpbin::start().await.unwrap();
    let mut client = Client::to(httpbin.addr()).await;
    let reply = client.get("/get?a=1").await;
    assert_eq!((reply.status, reply.seen), (200, Seen::Whole));
    assert!(String::from_utf8(reply.body).unwrap().contains("\"a\": \"1\""));
    let part = client.ask("GET", "/range/1000", &["Range: bytes=10-19"]).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &b"klmnopqrst"[..]));
    let bytes = client.get("/stream-bytes/70000?seed=1").await;
    assert_eq!((bytes.header("transfer-encoding"), bytes.body.len()), (Some("chunked"), 70_000));

    for (user, status) in [("me:secret", 200), ("me:wrong", 401)] {
        let url = httpbin.url("/digest-auth/auth/me/secret/SHA-256");
        let brought = curl(&["--digest", "-u", user, "-c", "/dev/null", &url]).await;
        assert_eq!(brought.status, status, "{brought:?}");
    }
    let log = httpbin.log();
    assert_eq!(&log[..2], ["GET /get?a=1 HTTP/1.1 200", "GET /range/1000 HTTP/1.1 206"]);
}
