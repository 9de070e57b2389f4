//! A long way to a server: every byte takes a while, and only so many fit on the way at once.
//!
//! Owns the two directions between clients and one upstream. Its invariant: bytes arrive in order, none before its time, and as many a
//! second as the rate says however long the way is: each chunk is stamped with the time it is due when it is read, and nothing sleeps
//! for the sake of a chunk. It must not know any protocol above TCP.
//!
//! All connections share the rate of a direction, as they would share a cable. A client's first bytes are held for one round trip more,
//! which stands for the TCP handshake. What a relay cannot show is TCP's own slow start and loss over such a way: both ends of each
//! half lie on loopback.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::door::Door;
use super::gauge::{Connections, Gauge};

const STEP: usize = 64 * 1024;
/// How long bytes may queue before the cable: enough to keep it busy while this process waits for its turn.
const QUEUE: Duration = Duration::from_millis(20);
/// What one direction of one connection may hold when there is no rate.
const UNRATED: usize = 64 << 20;

/// A relay on 127.0.0.1 that is far away; ends when dropped.
pub struct Link {
    door: Door,
    connections: Gauge,
}

/// How far away, and how wide the way is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Builder {
    delay: Duration,
    rate: Option<u64>,
}

impl Builder {
    /// The time a byte takes, in each direction: half a round trip.
    #[must_use]
    pub fn delay(mut self, one_way: Duration) -> Self {
        self.delay = one_way;
        self
    }

    /// Bytes per second in each direction, for all connections together. 1 Gbit/s is 125 000 000.
    #[must_use]
    pub fn rate(mut self, bytes_per_second: u64) -> Self {
        self.rate = Some(bytes_per_second.max(1));
        self
    }

    /// Listens, in front of `upstream`.
    pub async fn start(self, upstream: SocketAddr) -> Link {
        let connections = Gauge::default();
        let (up, down, counting) = (self.direction(), self.direction(), connections.clone());
        let door = Door::open(None, move |client| {
            let (up, down, counted) = (up.clone(), down.clone(), counting.enter());
            let opened = Instant::now() + self.delay * 2;
            Some(async move {
                let _counted = counted;
                // A connection that breaks is over on both sides; there is nobody to tell.
                let _ = relay(client, upstream, opened, up, down).await;
            })
        });
        Link { door, connections }
    }

    fn direction(self) -> Arc<Direction> {
        let on_the_way = |rate: u64| rate as f64 * (self.delay + QUEUE).as_secs_f64();
        // Twice what can be on the way: the second half waits for the writer.
        let room = self.rate.map_or(UNRATED, |rate| STEP + 2 * on_the_way(rate) as usize);
        Arc::new(Direction { delay: self.delay, rate: self.rate, room, free: Mutex::new(Instant::now()) })
    }
}

impl Link {
    /// How far away, and how wide.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.door.addr()
    }

    /// `scheme://127.0.0.1:port` and `path`.
    #[must_use]
    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.addr())
    }

    /// Connections: in total, now, and the most at once.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.connections.read()
    }
}

/// One direction of the cable.
struct Direction {
    delay: Duration,
    rate: Option<u64>,
    /// Bytes that each connection may have under way.
    room: usize,
    /// When the last byte that entered has passed the entrance.
    free: Mutex<Instant>,
}

/// Bytes under way.
struct Chunk {
    due: Instant,
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Direction {
    /// Puts `n` bytes on the cable: when they have passed its entrance.
    fn enter(&self, n: usize, earliest: Instant) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = self.rate.map_or(0.0, |rate| n as f64 / rate as f64);
        *free = (*free).max(earliest) + Duration::from_secs_f64(takes);
        *free
    }
}

async fn relay(
    client: TcpStream,
    upstream: SocketAddr,
    opened: Instant,
    up: Arc<Direction>,
    down: Arc<Direction>,
) -> io::Result<()> {
    let upstream = TcpStream::connect(upstream).await?;
    upstream.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_upstream, to_upstream) = upstream.into_split();
    tokio::try_join!(
        pass(from_client, to_upstream, opened, &up),
        pass(from_upstream, to_client, opened, &down),
    )?;
    Ok(())
}

/// Passes everything, then the end.
async fn pass(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    opened: Instant,
    direction: &Direction,
) -> io::Result<()> {
    // As many chunks as there is room for: the permits are the limit.
    let (chunks, due) = mpsc::unbounded_channel();
    tokio::try_join!(read(from, chunks, opened, direction), write(due, to))?;
    Ok(())
}

async fn read(
    mut from: OwnedReadHalf,
    chunks: mpsc::UnboundedSender<Chunk>,
    opened: Instant,
    direction: &Direction,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(direction.room));
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(STEP);
        let n = from.read_buf(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        let permits = u32::try_from(n.min(direction.room)).map_err(io::Error::other)?;
        let permit = room.clone().acquire_many_owned(permits).await.map_err(io::Error::other)?;
        let now = Instant::now();
        let passed = direction.enter(n, now.max(opened));
        let chunk = Chunk { due: passed + direction.delay, bytes: buffer.split().freeze(), _room: permit };
        if chunks.send(chunk).is_err() {
            return Ok(());
        }
        if passed > now + QUEUE {
            sleep_until(passed - QUEUE).await;
        }
    }
}

async fn write(mut chunks: mpsc::UnboundedReceiver<Chunk>, mut to: OwnedWriteHalf) -> io::Result<()> {
    while let Some(chunk) = chunks.recv().await {
        sleep_until(chunk.due).await;
        to.write_all(&chunk.bytes).await?;
    }
    to.shutdown().await
}
