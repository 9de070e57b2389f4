//! How connections are made, shared, kept and given up, seen from the far side.
//!
//! Owns scripted peers of a few lines each. Invariant: nothing leaves the loopback interface. Must not know how requests
//! are made.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, wherever the panic is")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use downloader_core::{Body, Download, Error, ErrorKind, Fetch, SafeUrl};
use downloader_http::Http;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a peer saw.
#[derive(Clone, Default)]
struct Seen {
    connections: Arc<AtomicU32>,
    requests: Arc<AtomicU32>,
}

impl Seen {
    fn counts(&self) -> (u32, u32) {
        (self.connections.load(Relaxed), self.requests.load(Relaxed))
    }
}

/// A certificate for 127.0.0.1 that is its own root, and a server that shows it.
fn tls(protocols: &[&str]) -> (String, TlsAcceptor) {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (pair.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// A TLS server; `serve` has each connection with its number, from 1.
async fn server<F>(
    protocols: &[&str],
    serve: impl Fn(TlsStream<TcpStream>, u32, Seen) -> F + Send + 'static,
) -> (Http, SafeUrl, Seen)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (pem, acceptor) = tls(protocols);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let seen = Seen::default();
    let counts = seen.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = counts.connections.fetch_add(1, Relaxed) + 1;
            // A handshake takes its time: whoever does not wait for it makes a connection of its own.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(serve(stream, number, counts.clone()));
            }
        }
    });
    let http = Http::builder().root_certificate(pem).build().unwrap();
    (http, format!("https://{address}/f").parse().unwrap(), seen)
}

/// Answers over HTTP/2; after `last` requests on a connection it goes away in good order.
async fn http2(stream: TlsStream<TcpStream>, last: u32, seen: Seen) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut served = 0;
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        seen.requests.fetch_add(1, Relaxed);
        let reply = http::Response::builder().header("content-length", 5).body(()).unwrap();
        if let Ok(mut body) = respond.send_response(reply, false) {
            let _ = body.send_data("hello".into(), true);
        }
        served += 1;
        if served == last {
            connection.graceful_shutdown();
        }
    }
}

async fn http1(mut stream: TlsStream<TcpStream>, last: u32, seen: Seen) {
    for _ in 0..last {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        seen.requests.fetch_add(1, Relaxed);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
    }
    let _ = stream.shutdown().await;
}

async fn whole(http: &Http, url: &SafeUrl) -> Result<(Vec<u8>, Body), Error> {
    let mut body = http.open(Fetch::new(url.clone())).await?;
    let stream = std::mem::replace(&mut body.stream, Box::pin(futures_util::stream::empty()));
    let chunks: Vec<_> = stream.try_collect().await?;
    Ok((chunks.concat(), body))
}

#[tokio::test]
async fn many_that_meet_a_new_http_2_origin_share_one_connection() {
    let (http, url, seen) =
        server(&["h2", "http/1.1"], |stream, _, seen| http2(stream, u32::MAX, seen)).await;
    for outcome in join_all((0..40).map(|_| whole(&http, &url))).await {
        let (content, body) = outcome.unwrap();
        assert_eq!((&*content, body.wire.protocol), (b"hello".as_slice(), Some("HTTP/2")));
    }
    assert_eq!(seen.counts(), (1, 40));
}

#[tokio::test]
async fn one_that_speaks_only_http_1_is_connected_to_side_by_side() {
    let (http, url, seen) = server(&["http/1.1"], |stream, _, seen| http1(stream, u32::MAX, seen)).await;
    for outcome in join_all((0..8).map(|_| whole(&http, &url))).await {
        assert_eq!(outcome.unwrap().1.wire.protocol, Some("HTTP/1.1"));
    }
    let (connections, requests) = seen.counts();
    assert!((2..=8).contains(&connections) && requests == 8, "{connections} {requests}");
    for _ in 0..8 {
        assert!(whole(&http, &url).await.unwrap().1.wire.reused);
    }
    assert_eq!(seen.counts(), (connections, 16));
}

/// RFC 9113 §6.8: what the last stream told does not cover was not processed, and is asked again.
#[tokio::test]
async fn a_connection_that_goes_away_in_good_order_costs_nothing() {
    let (http, url, seen) = server(&["h2"], |stream, _, seen| http2(stream, 10, seen)).await;
    for round in 0..20 {
        for outcome in join_all((0..8).map(|_| whole(&http, &url))).await {
            assert_eq!(outcome.unwrap_or_else(|error| panic!("round {round}: {error:?}")).0, b"hello");
        }
    }
    let (connections, requests) = seen.counts();
    assert_eq!(requests, 160, "none was asked twice");
    assert!(connections <= 20, "{connections}");
}

/// RFC 9113 §8.7.
#[tokio::test]
async fn a_refused_stream_is_asked_again_and_no_more_than_thrice() {
    let refusing = |mercy: u32| {
        move |stream: TlsStream<TcpStream>, _: u32, seen: Seen| async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                if seen.requests.fetch_add(1, Relaxed) < mercy {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    let reply = http::Response::builder().body(()).unwrap();
                    respond.send_response(reply, false).unwrap().send_data("hello".into(), true).unwrap();
                }
            }
        }
    };
    let (http, url, seen) = server(&["h2"], refusing(2)).await;
    assert_eq!(whole(&http, &url).await.unwrap().0, b"hello");
    assert_eq!(seen.counts(), (1, 3));
    let (http, url, seen) = server(&["h2"], refusing(u32::MAX)).await;
    assert_eq!(whole(&http, &url).await.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(seen.counts(), (1, 3));
}

#[tokio::test]
async fn a_connection_closed_while_it_waited_is_replaced_unseen() {
    let (http, url, seen) = server(&["http/1.1"], |stream, _, seen| http1(stream, 1, seen)).await;
    for number in 1..=5 {
        assert_eq!(whole(&http, &url).await.unwrap().0, b"hello");
        assert_eq!(seen.counts(), (number, number));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_connection_with_unread_bytes_serves_nobody_else() {
    let (http, url, seen) = server(&["http/1.1"], |stream, _, seen| http1(stream, u32::MAX, seen)).await;
    drop(http.open(Fetch::new(url.clone())).await.unwrap());
    assert_eq!(whole(&http, &url).await.unwrap().0, b"hello");
    assert_eq!(seen.counts(), (2, 2));
}

#[tokio::test]
async fn a_dead_host_is_tried_once_for_all_who_wait() {
    let (_, acceptor) = tls(&["h2"]);
    drop(acceptor);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: SafeUrl = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let accepted = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
            count.fetch_add(1, Relaxed);
        }
    });
    let http = Http::builder().handshake_timeout(Duration::from_millis(100)).build().unwrap();
    for outcome in join_all((0..10).map(|_| whole(&http, &url))).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(downloader_core::Phase::Tls), "{error:?}");
    }
    assert_eq!(accepted.load(Relaxed), 1);
}

#[tokio::test]
async fn a_reply_tells_how_it_came() {
    let (http, url, _) = server(&["h2"], |stream, _, seen| http2(stream, u32::MAX, seen)).await;
    let (_, first) = whole(&http, &url).await.unwrap();
    let (_, second) = whole(&http, &url).await.unwrap();
    assert_eq!((first.wire.reused, second.wire.reused), (false, true));
    let connection = first.wire.connection.as_ref().unwrap();
    assert!(Arc::ptr_eq(connection, second.wire.connection.as_ref().unwrap()));
    assert_eq!((connection.tls, connection.resolve, &connection.proxy), (Some("TLS 1.3"), None, &None));
    assert_eq!(connection.address, first.wire.address);
    assert!(connection.local.is_some_and(|local| local.ip().is_loopback()));
    assert!(connection.handshake.unwrap() >= Duration::from_millis(20));
    assert!(connection.connect.is_some() && first.wire.first_byte.is_some());
}
