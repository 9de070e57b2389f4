//! One connection: requests in, answers out, at the pace and up to the cut the act orders.
//!
//! Owns the socket. Its invariant: while an answer is sent, delayed or stalled, the peer's going away is noticed at once. It must not know
//! what a range or a tag means.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::act::{Act, Framing, Place};
use super::answer::{self, Answer};
use super::incoming::{HEAD_LIMIT, read_request};
use super::record::{End, Entry, Request};
use crate::kit::pace::Pace;

const STEP: u64 = 64 * 1024;

/// A TCP stream, plain or under TLS.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What to do with the connection after an answer.
enum After {
    Keep,
    Close,
    Cut { reset: bool },
    Tunnel(SocketAddr),
}

/// Serves requests until either side has enough. A peer that closes its half counts as gone.
pub(super) async fn serve(socket: Socket, number: u64, shared: Arc<Shared>) {
    let (mut reader, mut writer) = tokio::io::split(socket);
    let mut unread = BytesMut::new();
    let mut pace = Pace::default();
    let mut nth = 0;
    loop {
        let request = match read_request(&mut reader, &mut unread, number, nth).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(_) => {
                // The peer may be gone already; it broke the rules, so nobody waits for this.
                let _ = writer
                    .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await;
                return;
            }
        };
        nth += 1;
        let entry = shared.journal.open(request.clone());
        let mut wire = Wire { out: &mut writer, entry: &entry, shared: &shared, pace: &mut pace };
        let after = tokio::select! {
            biased;
            after = wire.respond(&request) => after.ok(),
            () = peer_gone(&mut reader, &mut unread) => None,
        };
        match after {
            None => return entry.end(End::HungUp),
            Some(After::Keep) => entry.end(End::Complete),
            Some(After::Close) => {
                entry.end(End::Complete);
                // A peer that left meanwhile needs no goodbye.
                let _ = writer.shutdown().await;
                return;
            }
            Some(After::Cut { reset }) => {
                entry.end(End::Cut);
                return cut(reader.unsplit(writer), reset).await;
            }
            Some(After::Tunnel(addr)) => {
                // A tunnel ends as it likes: what happens inside is not ours to judge.
                let _ = tunnel(reader.unsplit(writer), unread, addr).await;
                return entry.end(End::Complete);
            }
        }
    }
}

/// Ends the connection without a TLS farewell; by RST if asked.
async fn cut(socket: Socket, reset: bool) {
    let tcp = match &socket {
        Socket::Plain(tcp) => tcp,
        Socket::Tls(tls) => tls.get_ref().0,
    };
    if reset {
        // A RST throws away what the kernel has not delivered: let it.
        sleep(Duration::from_millis(20)).await;
        // If the socket is dead already, so is the peer's end.
        let _ = tcp.set_zero_linger();
    }
}

async fn tunnel(mut client: Socket, unread: BytesMut, addr: SocketAddr) -> io::Result<()> {
    let mut upstream = TcpStream::connect(addr).await?;
    upstream.set_nodelay(true)?;
    client.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n").await?;
    client.flush().await?;
    upstream.write_all(&unread).await?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

/// Reads on, for later, until the peer closes or breaks.
async fn peer_gone(reader: &mut ReadHalf<Socket>, unread: &mut BytesMut) {
    loop {
        if unread.len() > HEAD_LIMIT {
            return std::future::pending().await;
        }
        if !matches!(reader.read_buf(unread).await, Ok(1..)) {
            return;
        }
    }
}

struct Wire<'a> {
    out: &'a mut WriteHalf<Socket>,
    entry: &'a Entry,
    shared: &'a Shared,
    pace: &'a mut Pace,
}

impl Wire<'_> {
    async fn respond(&mut self, request: &Request) -> io::Result<After> {
        let (what, act) = self.shared.choose(request);
        if act.never {
            return std::future::pending().await;
        }
        if let Some(delay) = act.delay {
            sleep(delay).await;
        }
        if let Some(addr) = act.tunnel {
            self.entry.status(200);
            return Ok(After::Tunnel(addr));
        }
        if let Some(raw) = &act.raw {
            self.head(raw, &act).await?;
            if let Some(again) = &act.endless {
                loop {
                    self.out.write_all(again).await?;
                    self.out.flush().await?;
                }
            }
            return Ok(After::Cut { reset: false });
        }
        let answer = answer::plan(request, &what, &act);
        self.entry.status(answer.status);
        for (status, fields) in &act.informational {
            let mut head = answer::status_line(*status);
            head.extend_from_slice(format!("{fields}\r\n").as_bytes());
            self.out.write_all(&head).await?;
        }
        if let Some(after) = self.head(&answer.head, &act).await? {
            return Ok(after);
        }
        if answer.has_body
            && let Some(after) = self.body(&answer, &act).await?
        {
            return Ok(after);
        }
        self.out.flush().await?;
        Ok(if answer.close { After::Close } else { After::Keep })
    }

    async fn head(&mut self, head: &[u8], act: &Act) -> io::Result<Option<After>> {
        let cut = act.cut.and_then(|cut| match cut.place {
            Place::Head(n) if n < head.len() as u64 => Some((n as usize, cut.reset)),
            _ => None,
        });
        let head = cut.map_or(head, |(n, _)| &head[..n]);
        match act.trickle {
            None => self.out.write_all(head).await?,
            Some(gap) => {
                for byte in head {
                    self.out.write_all(&[*byte]).await?;
                    self.out.flush().await?;
                    sleep(gap).await;
                }
            }
        }
        self.out.flush().await?;
        Ok(cut.map(|(_, reset)| After::Cut { reset }))
    }

    async fn body(&mut self, answer: &Answer, act: &Act) -> io::Result<Option<After>> {
        let len = answer.span.end - answer.span.start;
        let _counted = (len > 0).then(|| self.shared.bodies.enter());
        let cut_at = act.cut.and_then(|cut| match cut.place {
            Place::Body(n) if n < len => Some((n, cut.reset)),
            _ => None,
        });
        let mut sent = 0;
        loop {
            for (_, pause) in act.pauses.iter().filter(|(at, _)| *at == sent) {
                self.out.flush().await?;
                sleep(*pause).await;
            }
            if act.stall_at == Some(sent) {
                self.out.flush().await?;
                return std::future::pending().await;
            }
            if let Some((n, reset)) = cut_at
                && n == sent
            {
                self.out.flush().await?;
                return Ok(Some(After::Cut { reset }));
            }
            if sent == len {
                break;
            }
            let stops =
                act.pauses.iter().map(|(at, _)| *at).chain(act.stall_at).chain(cut_at.map(|(n, _)| n));
            let stop = stops.filter(|at| *at > sent).min().unwrap_or(len).min(len);
            let rate = slower(act.rate, self.shared.rate());
            let n = (stop - sent).min(rate.map_or(STEP, |rate| (rate / 50).clamp(1, STEP / 4)));
            self.pace.wait(rate, n).await;
            let from = answer.span.start + sent;
            let chunk = corrupt(answer.content.slice(from..from + n), from, &answer.corrupt);
            self.chunk(chunk, &answer.framing).await?;
            sent += n;
        }
        match &answer.framing {
            Framing::Chunked { finished: true, trailers } => {
                let trailers: String =
                    trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                self.out.write_all(format!("0\r\n{trailers}\r\n").as_bytes()).await?;
            }
            Framing::Chunked { finished: false, .. } => {
                self.out.flush().await?;
                return Ok(Some(After::Cut { reset: false }));
            }
            Framing::Length | Framing::UntilClose => {}
        }
        Ok(None)
    }

    async fn chunk(&mut self, mut chunk: Bytes, framing: &Framing) -> io::Result<()> {
        let chunked = matches!(framing, Framing::Chunked { .. });
        if chunked {
            self.out.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
        }
        while chunk.has_remaining() {
            let n = self.out.write_buf(&mut chunk).await?;
            self.entry.sent(n as u64);
        }
        if chunked {
            self.out.write_all(b"\r\n").await?;
        }
        Ok(())
    }
}

fn slower(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

fn corrupt(chunk: Bytes, from: u64, places: &[u64]) -> Bytes {
    let span = from..from + chunk.len() as u64;
    if !places.iter().any(|at| span.contains(at)) {
        return chunk;
    }
    let mut bytes = BytesMut::from(chunk);
    for at in places.iter().filter(|at| span.contains(at)) {
        bytes[(at - from) as usize] ^= 0xff;
    }
    bytes.freeze()
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
