//! The bytes of a secure stream, however they come, and where it ends.

use std::io;
use std::task::{Context, Waker};

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::pipes::{Cut, Deaf, Drip};
use super::*;
use crate::refusal;

/// Sends what comes back, twice over, and says goodbye.
async fn echo(server: Arc<ServerConfig>, far: DuplexStream, length: usize) -> io::Result<()> {
    let mut far = TlsAcceptor::from(server).accept(far).await?;
    let mut bytes = vec![0; length];
    far.read_exact(&mut bytes).await?;
    for _ in 0..2 {
        far.write_all(&bytes).await?;
        far.flush().await?;
    }
    far.shutdown().await
}

fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

#[tokio::test]
async fn bytes_pass_one_by_one() {
    let root = Authority::new();
    let identity = root.issue(&["a.example"]);
    let tls = Tls::new(&only(&root)).unwrap();
    for version in [&TLS12, &TLS13] {
        let sent = pattern(20_000);
        let (near, far) = duplex(64 << 10);
        let talk = async {
            let mut near = tls.handshake("a.example", &["h2"], Drip(near)).await.unwrap();
            near.write_all(&sent).await.unwrap();
            near.flush().await.unwrap();
            let mut got = Vec::new();
            near.read_to_end(&mut got).await.unwrap();
            got
        };
        let (got, served) = tokio::join!(talk, echo(identity.serve_only(version), far, sent.len()));
        served.unwrap();
        assert!(got == [sent.clone(), sent].concat());
    }
}

/// What was cut is never taken for an end, wherever it was cut.
#[tokio::test]
async fn a_cut_at_any_record_is_told_from_an_end() {
    let root = Authority::new();
    let identity = root.issue(&["a.example"]);
    let tls = Tls::new(&only(&root)).unwrap();
    for version in [&TLS12, &TLS13] {
        for bytes in [0, 1, 5, 6] {
            let (mut broken_handshakes, mut cut_streams) = (0, 0);
            for records in 0.. {
                assert!(records < 50, "it never ended");
                let sent = pattern(20_000);
                let (near, far) = duplex(64 << 10);
                let talk = async {
                    let near = Cut::new(near, records, bytes);
                    let mut near = tls.handshake("a.example", &[], near).await?;
                    let mut got = Vec::new();
                    // The server hears nothing of the cut.
                    near.write_all(&sent).await.unwrap();
                    near.flush().await.unwrap();
                    let end = near.read_to_end(&mut got).await.map_err(|error| error.kind());
                    Result::<_>::Ok((got, end))
                };
                let serve = tokio::spawn(echo(identity.serve_only(version), far, sent.len()));
                let outcome = talk.await;
                serve.abort();
                let expected = [sent.clone(), sent].concat();
                match outcome {
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
                        broken_handshakes += 1;
                    }
                    Ok((got, Err(kind))) => {
                        assert_eq!(kind, io::ErrorKind::UnexpectedEof);
                        assert!(expected.starts_with(&got));
                        cut_streams += 1;
                    }
                    Ok((got, Ok(_))) => {
                        assert!(got == expected);
                        break;
                    }
                }
            }
            // At least hello, certificate, proof and end of a handshake; then four records and a goodbye.
            assert!(broken_handshakes >= 2 && cut_streams >= 5, "{broken_handshakes} {cut_streams}");
        }
    }
}

#[tokio::test]
async fn a_goodbye_is_an_end_and_can_be_said() {
    let root = Authority::new();
    let server = root.issue(&["a.example"]).serve();
    let tls = Tls::new(&only(&root)).unwrap();
    let (mut near, mut far) = meet(&tls, "a.example", &server).await.unwrap();
    far.write_all(b"hello").await.unwrap();
    far.shutdown().await.unwrap();
    let mut got = Vec::new();
    near.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"hello");
    assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);

    let (mut near, mut far) = meet(&tls, "a.example", &server).await.unwrap();
    near.write_all(b"goodbye").await.unwrap();
    near.shutdown().await.unwrap();
    far.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"hellogoodbye");
    assert_eq!(near.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    // The other direction is still open.
    far.write_all(b"and you").await.unwrap();
    far.shutdown().await.unwrap();
    got.clear();
    near.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"and you");
    near.shutdown().await.unwrap();
}

#[tokio::test]
async fn one_read_takes_all_that_is_there() {
    let root = Authority::new();
    let identity = root.issue(&["a.example"]);
    for version in [&TLS12, &TLS13] {
        let (near, far) = duplex(1 << 20);
        let acceptor = TlsAcceptor::from(identity.serve_only(version));
        let tls = Tls::new(&only(&root)).unwrap();
        let (near, far) = tokio::join!(tls.handshake("a.example", &[], near), acceptor.accept(far));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        let sent = pattern(300_000);
        far.write_all(&sent).await.unwrap();
        far.flush().await.unwrap();
        let mut got = vec![0; 400_000];
        let count = near.read(&mut got).await.unwrap();
        assert!(got[..count] == sent, "{count}");
    }
}

/// Sends and reads to the end at the same time.
async fn exchange(stream: impl AsyncRead + AsyncWrite, sent: &[u8]) -> Vec<u8> {
    let (mut reads, mut writes) = tokio::io::split(stream);
    let send = async {
        writes.write_all(sent).await.unwrap();
        writes.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let (_, end) = tokio::join!(send, reads.read_to_end(&mut got));
    end.unwrap();
    got
}

#[tokio::test]
async fn bytes_pass_both_ways_at_once_through_narrow_pipes() {
    let root = Authority::new();
    let identity = root.issue(&["a.example"]);
    let tls = Tls::new(&only(&root)).unwrap();
    let (up, down) = (pattern(150_000), pattern(200_000));
    for version in [&TLS12, &TLS13] {
        let (near, far) = duplex(100);
        let acceptor = TlsAcceptor::from(identity.serve_only(version));
        let near = async { exchange(tls.handshake("a.example", &[], near).await.unwrap(), &up).await };
        let far = async { exchange(acceptor.accept(far).await.unwrap(), &down).await };
        let (came_down, went_up) = tokio::join!(near, far);
        assert!(went_up == up && came_down == down);
    }
}

#[tokio::test]
async fn reads_of_every_size_get_the_same_bytes() {
    let root = Authority::new();
    let tls = Tls::new(&only(&root)).unwrap();
    let sent = pattern(200_000);
    for size in [1, 7, 1000, 16_383, 16_384, 16_385, 40_000, 100_000] {
        let (near, far) = duplex(1 << 20);
        let acceptor = TlsAcceptor::from(root.issue(&["a.example"]).serve());
        let (near, far) = tokio::join!(tls.handshake("a.example", &[], near), acceptor.accept(far));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        far.write_all(&sent).await.unwrap();
        far.shutdown().await.unwrap();
        let (mut got, mut piece) = (Vec::new(), vec![0; size]);
        loop {
            let count = near.read(&mut piece).await.unwrap();
            got.extend_from_slice(&piece[..count]);
            if count == 0 {
                break;
            }
        }
        assert!(got == sent, "{size}");
    }
}

#[tokio::test]
async fn who_waits_holds_no_memory() {
    let root = Authority::new();
    let tls = Tls::new(&only(&root)).unwrap();
    let server = root.issue(&["a.example"]).serve();
    let (mut near, mut far) = meet(&tls, "a.example", &server).await.unwrap();
    for length in [100_000, 10, 60_000] {
        near.write_all(&pattern(length / 4)).await.unwrap();
        near.flush().await.unwrap();
        far.write_all(&pattern(length / 2)).await.unwrap();
        far.flush().await.unwrap();
        far.read_exact(&mut vec![0; length / 4]).await.unwrap();
        near.read_exact(&mut vec![0; length / 2]).await.unwrap();
        let mut byte = [0];
        {
            let mut waiting = Box::pin(near.read(&mut byte));
            let mut context = Context::from_waker(Waker::noop());
            assert!(waiting.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(near.memory(), 0);
    }
}

/// RFC 8446 §4.6.3.
#[tokio::test]
async fn new_keys_are_taken_up_on_the_way() {
    let root = Authority::new();
    let tls = Tls::new(&only(&root)).unwrap();
    let server = root.issue(&["a.example"]).serve_only(&TLS13);
    let (mut near, mut far) = meet(&tls, "a.example", &server).await.unwrap();
    for _ in 0..3 {
        far.get_mut().1.refresh_traffic_keys().unwrap();
        far.write_all(b"down").await.unwrap();
        far.flush().await.unwrap();
        let mut got = [0; 4];
        near.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"down");
        near.write_all(b"up").await.unwrap();
        near.flush().await.unwrap();
        let mut got = [0; 2];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"up");
    }
}

/// As through a proxy that is itself reached over TLS.
#[tokio::test]
async fn one_stream_within_another() {
    let root = Authority::new();
    let tls = Tls::new(&only(&root)).unwrap();
    let outer = root.issue(&["proxy.example"]).serve();
    let (near, far) = meet(&tls, "proxy.example", &outer).await.unwrap();
    let acceptor = TlsAcceptor::from(root.issue(&["a.example"]).serve());
    let (near, far) = tokio::join!(tls.handshake("a.example", &[], near), acceptor.accept(far));
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    let sent = pattern(100_000);
    let send = async {
        far.write_all(&sent).await.unwrap();
        far.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let (_, end) = tokio::join!(send, near.read_to_end(&mut got));
    end.unwrap();
    assert!(got == sent);
}

/// With TLS 1.3 the refusal may lie unread while the request meets a broken pipe.
#[tokio::test]
async fn a_refusal_outweighs_the_broken_pipe_it_leaves() {
    let (root, clients) = (Authority::new(), Authority::new());
    let server = root.issue(&["a.example"]).serve_known(&TLS13, &clients);
    let (near, far) = duplex(64 << 10);
    let acceptor = TlsAcceptor::from(server);
    let accept = async { acceptor.accept(far).await.map(|_| ()) };
    let tls = Tls::new(&only(&root)).unwrap();
    let (near, served) =
        tokio::join!(tls.handshake("a.example", &[], Deaf { io: near, is_deaf: false }), accept);
    assert!(served.is_err());
    let mut near = near.unwrap();
    near.io_mut().is_deaf = true;
    let error = near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err();
    assert_eq!(refusal(&error).unwrap().what(), "the server wants a client certificate");
    // And once more, for who asks again.
    let error = near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err();
    assert_eq!(refusal(&error).unwrap().what(), "the server wants a client certificate");
    let error = near.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(refusal(&error).unwrap().what(), "the server wants a client certificate");
}

#[tokio::test]
async fn a_broken_pipe_without_a_reason_stays_one() {
    let root = Authority::new();
    let server = root.issue(&["a.example"]).serve();
    let (near, far) = duplex(64 << 10);
    let acceptor = TlsAcceptor::from(server);
    let tls = Tls::new(&only(&root)).unwrap();
    let (near, far) = tokio::join!(
        tls.handshake("a.example", &[], Deaf { io: near, is_deaf: false }),
        acceptor.accept(far)
    );
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    far.write_all(b"early").await.unwrap();
    far.flush().await.unwrap();
    near.io_mut().is_deaf = true;
    let error = near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert!(refusal(&error).is_none());
    // What came meanwhile is not lost.
    let mut got = [0; 5];
    near.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"early");
}
