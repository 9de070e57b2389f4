//! Versions, protocols, resumption, and far sides that speak something else.

use std::io;

use proptest::prelude::*;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::pipes::Broken;
use super::*;
use crate::{TlsVersion, parse_host};

proptest! {
    #[test]
    fn any_text_is_tried_as_a_host_without_a_panic(host in ".*") {
        let _ = parse_host(&host);
    }
}

#[tokio::test]
async fn versions_from_the_lowest_allowed_on() {
    let root = Authority::new();
    let identity = root.issue(&["a.example"]);
    let (any, newest) = (only(&root), only(&root).minimum_version(TlsVersion::Tls13));
    for (settings, version, expected) in
        [(&any, &TLS12, "TLS 1.2"), (&any, &TLS13, "TLS 1.3"), (&newest, &TLS13, "TLS 1.3")]
    {
        let tls = Tls::new(settings).unwrap();
        let (near, _) = meet(&tls, "a.example", &identity.serve_only(version)).await.unwrap();
        assert_eq!((near.version(), near.protocol(), near.is_resumed()), (expected, None, false));
    }
    let words = failure(&newest, "a.example", &identity.serve_only(&TLS12)).await;
    assert_eq!(words, "the server offers no TLS version we accept");
    let (near, _) = meet(&Tls::new(&any).unwrap(), "a.example", &identity.serve()).await.unwrap();
    assert_eq!(near.version(), "TLS 1.3");
}

#[tokio::test]
async fn the_server_chooses_a_protocol() {
    async fn choose(offered: &[&str], spoken: &[&str]) -> Result<Option<String>> {
        let root = Authority::new();
        let mut server = root.issue(&["a.example"]).server(DEFAULT_VERSIONS, None);
        server.alpn_protocols = spoken.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (near, far) = duplex(64 << 10);
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let tls = Tls::new(&only(&root)).unwrap();
        let (near, _) = tokio::join!(tls.handshake("a.example", offered, near), acceptor.accept(far));
        near.map(|near| near.protocol().map(|name| String::from_utf8_lossy(name).into_owned()))
    }
    assert_eq!(choose(&["h2", "http/1.1"], &["h2"]).await.unwrap().as_deref(), Some("h2"));
    assert_eq!(choose(&["http/1.1"], &["h2", "http/1.1"]).await.unwrap().as_deref(), Some("http/1.1"));
    assert_eq!(choose(&["http/1.1"], &[]).await.unwrap(), None);
    assert_eq!(choose(&[], &["h2"]).await.unwrap(), None);
    let error = choose(&["http/1.1"], &["h2"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert_eq!(error.what(), "the server speaks none of the protocols asked for (ALPN)");
}

#[tokio::test]
async fn sessions_are_resumed_across_protocols_and_only_with_the_same_host() {
    async fn resumed(tls: &Tls, host: &str, protocols: &[&str], server: &Arc<ServerConfig>) -> bool {
        let (near, far) = duplex(64 << 10);
        let acceptor = TlsAcceptor::from(Arc::clone(server));
        let (near, far) = tokio::join!(tls.handshake(host, protocols, near), acceptor.accept(far));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        // Tickets of TLS 1.3 come behind the handshake, before the first bytes.
        far.write_all(b"hello").await.unwrap();
        far.shutdown().await.unwrap();
        near.read_to_end(&mut Vec::new()).await.unwrap();
        near.is_resumed()
    }
    let (root, clients) = (Authority::new(), Authority::new());
    let shown = clients.sign(&of_client("known")).pem_with_key();
    let shown = crate::ClientCertificate::from_pem(shown).unwrap();
    for version in [&TLS12, &TLS13] {
        let mut server = root.issue(&["a.example", "b.example"]).server(&[version], Some(&clients));
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let server = Arc::new(server);
        let settings = only(&root).client_certificate(shown.clone());
        let tls = Tls::new(&settings.client_certificate_for("b.example", shown.clone())).unwrap();
        for host in ["a.example", "b.example"] {
            assert!(!resumed(&tls, host, &["h2"], &server).await);
            assert!(resumed(&tls, host, &["h2"], &server).await);
            assert!(resumed(&tls, host, &["http/1.1"], &server).await);
            assert!(resumed(&tls, host, &[], &server).await);
        }
    }
}

#[tokio::test]
async fn a_server_may_ask_for_another_key_exchange() {
    let root = Authority::new();
    let identity = root.issue(&["a.example"]);
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::SECP384R1];
    let key = PrivateKeyDer::Pkcs8(identity.key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), key)
        .unwrap();
    let tls = Tls::new(&only(&root)).unwrap();
    let (near, _) = meet(&tls, "a.example", &Arc::new(server)).await.unwrap();
    assert_eq!(near.version(), "TLS 1.3");
}

#[tokio::test]
async fn a_server_that_is_refused_is_told_why() {
    let server = Authority::new().issue(&["a.example"]).serve();
    let (near, far) = duplex(64 << 10);
    let acceptor = TlsAcceptor::from(server);
    let tls = Tls::new(&only(&Authority::new())).unwrap();
    let (near, far) = tokio::join!(tls.handshake("a.example", &[], near), acceptor.accept(far));
    assert!(near.is_err());
    let error = far.unwrap_err();
    let alert = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    assert_eq!(alert, Some(&rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA)));
}

#[tokio::test]
async fn a_far_side_that_speaks_something_else() {
    let replies: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 ready\r\n",
        // A record of TLS, with a message that is none.
        &[22, 3, 3, 0, 4, 2, 0, 0, 0],
    ];
    for reply in replies {
        let (near, mut far) = duplex(64 << 10);
        far.write_all(reply).await.unwrap();
        let error = Tls::new(&TlsSettings::new())
            .unwrap()
            .handshake("a.example", &["h2"], near)
            .await
            .map(|_| ())
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.what()),
            (ErrorKind::Tls, "the far side does not speak TLS"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up() {
    let (near, mut far) = duplex(1 << 20);
    // A message of 64 KiB less one byte, in records of one byte each.
    let message = [2, 0, 0xff, 0xff].into_iter().chain(std::iter::repeat_n(0, 60_000));
    let records: Vec<u8> = message.flat_map(|byte| [22, 3, 3, 0, 1, byte]).collect();
    far.write_all(&records).await.unwrap();
    let tls = Tls::new(&TlsSettings::new()).unwrap();
    let error = tls.handshake("a.example", &[], near).await.map(|_| ()).unwrap_err();
    assert_eq!(error.what(), "the server sends more within the handshake than is taken");
    assert_eq!(error.kind(), ErrorKind::Tls);
}

/// skroutz 46: the kind comes from what happened, not from the letters `tls` in a text; what the network cut is
/// worth another try.
#[tokio::test]
async fn skroutz_46_a_handshake_cut_by_the_network_is_a_broken_connection() {
    let tls = Tls::new(&TlsSettings::new()).unwrap();
    for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut] {
        let error = tls.handshake("tls.example", &[], Broken(kind)).await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert_eq!(error.what(), "the connection broke within the TLS handshake");
        assert!(error.is_transient());
    }
    let (near, far) = duplex(64 << 10);
    drop(far);
    let error = tls.handshake("tls.example", &[], near).await.map(|_| ()).unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Connect, true));
}

/// What FTP needs: a data connection resumes the session of its own control connection, and no other.
#[tokio::test]
async fn a_group_resumes_its_own_sessions_only() {
    async fn resumed(sessions: &crate::Sessions, server: &Arc<ServerConfig>) -> bool {
        let (near, far) = duplex(64 << 10);
        let acceptor = TlsAcceptor::from(Arc::clone(server));
        let (near, far) = tokio::join!(sessions.handshake(near), acceptor.accept(far));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        far.write_all(b"hello").await.unwrap();
        far.shutdown().await.unwrap();
        near.read_to_end(&mut Vec::new()).await.unwrap();
        near.is_resumed()
    }
    let root = Authority::new();
    let tls = Tls::new(&only(&root)).unwrap();
    for version in [&TLS12, &TLS13] {
        let server = root.issue(&["a.example"]).serve_only(version);
        let (one, other) = (tls.sessions("a.example").unwrap(), tls.sessions("a.example").unwrap());
        assert!(!resumed(&one, &server).await);
        assert!(!resumed(&other, &server).await);
        for _ in 0..12 {
            assert!(resumed(&one, &server).await);
        }
        assert!(resumed(&other, &server).await);
    }
    assert_eq!(tls.sessions("a b").unwrap_err().kind(), ErrorKind::Tls);
}
