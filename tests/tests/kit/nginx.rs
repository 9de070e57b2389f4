//! nginx: plain, over TLS, asking and limiting, and when it cannot start.
//!
//! Invariant: what the client did is found in the access log. Must not know: how nginx is configured.

use std::path::Path;

use downloader_tests::kit::*;
use tokio::io::AsyncWriteExt as _;

use crate::client::*;
use crate::curl::{curl, file};

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

#[tokio::test]
async fn nginx_speaks_the_versions_it_is_told() {
    let (root, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(root.path().join("f"), "text").unwrap();
    for (versions, http1_only, flags, logged) in [
        ("TLSv1.2", false, &["--tlsv1.2"][..], Some(("HTTP/2.0", "TLSv1.2"))),
        ("TLSv1.2", true, &["--tlsv1.2"], Some(("HTTP/1.1", "TLSv1.2"))),
        ("TLSv1.2", false, &["--tlsv1.3"], None),
        ("TLSv1.3", false, &["--tlsv1.2"], Some(("HTTP/2.0", "TLSv1.3"))),
        ("TLSv1.3", false, &["--tls-max", "1.2"], None),
        ("TLSv1.2 TLSv1.3", true, &["--tls-max", "1.2"], Some(("HTTP/1.1", "TLSv1.2"))),
        ("TLSv1.2 TLSv1.3", false, &["--http1.1"], Some(("HTTP/1.1", "TLSv1.3"))),
    ] {
        let builder = Nginx::builder().tls_versions(versions);
        let builder = if http1_only { builder.http1_only() } else { builder };
        let nginx = builder.start(root.path()).await.unwrap();
        let ca = file(place.path(), "ca.pem", nginx.ca_pem());
        let brought = curl(&[flags, &["--cacert", &ca, &nginx.https_url("/f")]].concat()).await;
        let Some((protocol, tls)) = logged else {
            assert!(brought.status == 0 && nginx.log().is_empty(), "{versions} {flags:?}: {brought:?}");
            continue;
        };
        let line = &nginx.wait_log(1).await[0];
        assert_eq!((line.protocol.as_str(), line.tls.as_str()), (protocol, tls), "{versions} {flags:?}");
        assert!(line.cipher.contains("AES") && !line.resumed, "{line:?}");
    }
}

#[tokio::test]
async fn nginx_asks_who_it_is() {
    let (root, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(root.path().join("private")).unwrap();
    std::fs::write(root.path().join("private/f"), "text").unwrap();
    let (authority, clients) = (Authority::new(), Authority::new());
    let nginx = Nginx::builder()
        .certificate(&authority.issue(&["localhost"]), &authority)
        .client_certificates(&clients)
        .basic_auth("/private/", "me", "a secret")
        .start(root.path())
        .await
        .unwrap();
    let known = clients.issue_client("client one");
    let ca = file(place.path(), "ca.pem", nginx.ca_pem());
    let cert = file(place.path(), "cert.pem", &known.cert_pem);
    let key = file(place.path(), "key.pem", &known.key_pem);
    let url = format!("https://localhost:{}/private/f", nginx.https_addr().port());
    let with = ["--cert", &*cert, "--key", &*key];
    for (flags, status) in [
        (&[][..], 400),
        (&with, 401),
        (&[&with[..], &["-u", "me:wrong"]].concat(), 401),
        (&[&with[..], &["-u", "me:a secret"]].concat(), 200),
    ] {
        let brought = curl(&[flags, &["--cacert", &ca, &url]].concat()).await;
        assert_eq!(brought.status, status, "{flags:?}: {brought:?}");
    }
    let log = nginx.wait_log(4).await;
    assert_eq!(log.iter().map(|line| &*line.client).collect::<Vec<_>>()[..2], ["", "CN=client one"]);
    assert_eq!(log.iter().map(|line| &*line.user).collect::<Vec<_>>()[2..], ["me", "me"]);
}

#[tokio::test]
async fn nginx_limits_compresses_and_keeps_connections() {
    let root = tempfile::tempdir().unwrap();
    for name in ["f", "slow/f", "busy/f"] {
        std::fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(root.path().join(name), "text ".repeat(100)).unwrap();
    }
    let nginx = Nginx::builder()
        .once_a_second("/slow/", 429)
        .once_a_second("/busy/", 503)
        .gzip()
        .start(root.path())
        .await
        .unwrap();
    let mut client = Client::to(nginx.http_addr()).await;
    for (path, statuses) in [("/slow/f", [200, 429]), ("/busy/f", [200, 503])] {
        assert_eq!([client.get(path).await.status, client.get(path).await.status], statuses);
    }
    let packed = client.ask("GET", "/f", &["Accept-Encoding: gzip"]).await;
    assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")));
    // nginx closes after a thousand unless told otherwise.
    for _ in 0..1500 {
        assert_eq!(client.get("/f").await.body.len(), 500);
    }
}

/// RFC 9113 sections 3.4, 4.1 and 6.5: the server's first frame is SETTINGS.
#[tokio::test]
async fn nginx_says_how_many_streams_it_takes() {
    let root = tempfile::tempdir().unwrap();
    let nginx = Nginx::builder().concurrent_streams(7).start(root.path()).await.unwrap();
    let mut client =
        tls_speaking(&["h2"], nginx.https_addr(), nginx.ca_pem(), "localhost", None).await.unwrap();
    client.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    while client.unread.len() < 9 || client.unread.len() < 9 + usize::from(client.unread[2]) {
        client.more().await.unwrap();
    }
    let settings = &client.unread[9..9 + usize::from(client.unread[2])];
    assert!(client.unread[3] == 4 && settings.chunks(6).any(|one| one == [0, 3, 0, 0, 0, 7]), "{settings:?}");
}
