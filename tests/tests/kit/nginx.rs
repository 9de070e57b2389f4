//! nginx: plain, over TLS, and when it cannot start.
//!
//! Invariant: what the client did is found in the access log. Must not know: how nginx is configured.

use std::path::Path;

use downloader_tests::kit::*;

use crate::client::*;

#[tokio::test]
async fn nginx_serves_plain_and_tls() {
    let root = tempfile::tempdir().unwrap();
    let content = Content::new(4, 50_000);
    std::fs::write(root.path().join("f.bin"), content.bytes()).unwrap();
    let nginx = Nginx::builder()
        .limit_rate(10 << 20)
        .config("location /gone { return 410; }")
        .start(root.path())
        .await
        .unwrap();
    let pid = nginx.pid();

    let mut client = Client::to(nginx.http_addr()).await;
    let whole = client.get("/f.bin").await;
    assert_eq!((whole.status, sha256_hex(&whole.body)), (200, content.sha256()));
    let part = client
        .ask("GET", "/f.bin", &["Range: bytes=5-", &format!("If-Range: {}", whole.header("etag").unwrap())])
        .await;
    assert_eq!((part.status, part.body), (206, content.slice(5..50_000).to_vec()));
    assert_eq!(client.get("/gone").await.status, 410);
    let mut secure = tls(nginx.https_addr(), nginx.ca_pem(), "127.0.0.1", None).await.unwrap();
    assert_eq!(secure.get("/f.bin").await.body.len(), 50_000);

    let log = nginx.wait_log(4).await;
    assert_eq!(log.iter().map(|line| line.status).collect::<Vec<_>>(), [200, 206, 410, 200]);
    assert_eq!((log[0].range.as_str(), log[1].range.as_str(), log[1].bytes), ("", "bytes=5-", 49_995));
    assert_eq!(
        (log[0].protocol.as_str(), log[0].method.as_str(), log[0].target.as_str()),
        ("HTTP/1.1", "GET", "/f.bin")
    );
    assert_eq!(log[0].connection, log[2].connection);
    assert!(
        nginx.http_url("/a").starts_with("http://127.0.0.1:")
            && nginx.https_url("/a").starts_with("https://127.0.0.1:")
    );
    drop(nginx);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn nginx_says_why_it_does_not_start() {
    let root = tempfile::tempdir().unwrap();
    let error = Nginx::builder().config("nonsense on;").start(root.path()).await.err().unwrap();
    assert!(error.to_string().contains("unknown directive \"nonsense\""), "{error}");
}
