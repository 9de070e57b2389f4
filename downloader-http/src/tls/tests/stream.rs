//! The bytes of a secure stream, however they come, and where it ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::*;
use crate::tls::refusal;

/// Lets one byte through at a time.
struct Drip<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Drip<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut one))?;
        out.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Drip<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let one = &bytes[..bytes.len().min(1)];
        Pin::new(&mut self.0).poll_write(context, one)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Ends after so many records, and so many bytes of the next.
struct Cut<S> {
    io: S,
    records: usize,
    bytes: usize,
    /// The head of a record, as far as it came, and what then is left of the record.
    head: Vec<u8>,
    rest: usize,
}

impl<S> Cut<S> {
    fn new(io: S, records: usize, bytes: usize) -> Self {
        Self { io, records, bytes, head: Vec::new(), rest: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let limit = match (this.records, this.rest) {
            (0, _) => this.bytes,
            (_, 0) => 5 - this.head.len(),
            (_, rest) => rest,
        };
        let mut space = vec![0; limit.min(out.remaining())];
        let mut part = ReadBuf::new(&mut space);
        if limit > 0 {
            ready!(Pin::new(&mut this.io).poll_read(context, &mut part))?;
        }
        let part = part.filled();
        out.put_slice(part);
        if this.records == 0 {
            this.bytes -= part.len();
        } else if this.rest > 0 {
            this.rest -= part.len();
            this.records -= usize::from(this.rest == 0);
        } else {
            this.head.extend_from_slice(part);
            if let [_, _, _, high, low] = this.head[..] {
                this.rest = usize::from(high) << 8 | usize::from(low);
                this.head.clear();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cut<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

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

/// Reads as before, but takes no byte any more.
struct Deaf<S>(S, bool);

impl<S: AsyncRead + Unpin> AsyncRead for Deaf<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deaf<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.1 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
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
    let (near, served) = tokio::join!(tls.handshake("a.example", &[], Deaf(near, false)), accept);
    assert!(served.is_err());
    let mut near = near.unwrap();
    near.io_mut().1 = true;
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
    let (near, far) = tokio::join!(tls.handshake("a.example", &[], Deaf(near, false)), acceptor.accept(far));
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    far.write_all(b"early").await.unwrap();
    far.flush().await.unwrap();
    near.io_mut().1 = true;
    let error = near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert!(refusal(&error).is_none());
    // What came meanwhile is not lost.
    let mut got = [0; 5];
    near.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"early");
}
