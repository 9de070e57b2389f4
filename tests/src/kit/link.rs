//! A long way to a server: every byte takes a while, and only so many fit on the way at once.
//!
//! Owns the two directions between clients and one upstream. Its invariant: bytes arrive in order, none before its time, and as many a
//! second as the rate says however long the way is: each chunk is stamped with the time it is due when it is read, and nothing sleeps
//! for the sake of a chunk. It must not know any protocol above TCP.
//!
//! All connections share the rate of a direction, as they would share a cable; the links of one [`Cable`] share it too. A client's first
//! bytes are held for one round trip more, and the server's until they could be an answer to its end, which stands for the TCP
//! handshake. Both ends of each half lie on loopback, so TCP's own window and slow start do not show: a [`window`](Builder::window)
//! stands for them. Loss a relay cannot show.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::door::Door;
use super::gauge::{Connections, Gauge};

const STEP: usize = 64 * 1024;
/// What is read at least, if there is that much: a segment of Ethernet.
const SEGMENT: usize = 1460;
/// The window of a new connection (RFC 6928).
const FIRST_WINDOW: usize = 10 * SEGMENT;
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
    window: Option<usize>,
}

/// A pair of directions that any number of links share.
#[derive(Clone, Debug)]
pub struct Cable {
    up: Arc<Direction>,
    down: Arc<Direction>,
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

    /// Bytes of one connection that are under way, in each direction, until the acknowledgement of the first of them is back: a
    /// connection then gets `most` in a round trip, however wide the cable is. It begins with ten segments and grows by what is
    /// acknowledged, as in slow start. Without one only the rate counts.
    #[must_use]
    pub fn window(mut self, most: usize) -> Self {
        self.window = Some(most.max(FIRST_WINDOW));
        self
    }

    /// Listens on a free port, in front of `upstream`.
    pub async fn start(self, upstream: SocketAddr) -> Link {
        self.cable().link((Ipv4Addr::LOCALHOST, 0).into(), upstream)
    }

    /// A cable without ends.
    #[must_use]
    pub fn cable(self) -> Cable {
        Cable { up: self.direction(), down: self.direction() }
    }

    fn direction(self) -> Arc<Direction> {
        let on_the_way = |rate: u64| rate as f64 * (self.delay + QUEUE).as_secs_f64();
        // Twice what can be on the way: the second half waits for the writer.
        let room = self.rate.map_or(UNRATED, |rate| STEP + 2 * on_the_way(rate) as usize);
        let Self { delay, rate, window } = self;
        Arc::new(Direction { delay, rate, room, window, free: Mutex::new(Instant::now()) })
    }
}

impl Cable {
    /// Listens on `address` of the loopback network, in front of `upstream`. Needs a runtime.
    #[must_use]
    pub fn link(&self, address: SocketAddr, upstream: SocketAddr) -> Link {
        let (cable, connections) = (self.clone(), Gauge::default());
        let counting = connections.clone();
        let door = Door::open_at(address, None, move |client| {
            let (cable, counted) = (cable.clone(), counting.enter());
            let dialled = Instant::now();
            Some(async move {
                let _counted = counted;
                // A connection that breaks is over on both sides; there is nobody to tell.
                let _ = relay(client, upstream, dialled, &cable).await;
            })
        });
        Link { door, connections }
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
#[derive(Debug)]
struct Direction {
    delay: Duration,
    rate: Option<u64>,
    /// Bytes that each connection may have in this process, where no window says less.
    room: usize,
    window: Option<usize>,
    /// When the last byte that entered has passed the entrance.
    free: Mutex<Instant>,
}

/// Bytes under way.
struct Chunk {
    due: Instant,
    bytes: Bytes,
    room: OwnedSemaphorePermit,
}

impl Direction {
    /// Puts `n` bytes on the cable: when they have passed its entrance.
    fn enter(&self, n: usize, earliest: Instant) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = self.rate.map_or(0.0, |rate| n as f64 / rate as f64);
        *free = (*free).max(earliest) + Duration::from_secs_f64(takes);
        *free
    }

    /// What a connection may have under way at first.
    fn first_room(&self) -> usize {
        self.window.map_or(self.room, |_| FIRST_WINDOW)
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr, dialled: Instant, cable: &Cable) -> io::Result<()> {
    let upstream = TcpStream::connect(upstream).await?;
    upstream.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_upstream, to_upstream) = upstream.into_split();
    let (up, down) = (&cable.up, &cable.down);
    // The client's end of the connection is there after a round trip, the server's when the acknowledgement arrives.
    let (opened, accepted) = (dialled + up.delay + down.delay, dialled + up.delay * 2 + down.delay);
    tokio::try_join!(
        pass(from_client, to_upstream, opened, up, down.delay),
        pass(from_upstream, to_client, accepted, down, up.delay),
    )?;
    Ok(())
}

/// Passes everything, then the end. What was written is acknowledged `back` later.
async fn pass(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    opened: Instant,
    direction: &Direction,
    back: Duration,
) -> io::Result<()> {
    // As many chunks as there is room for: the permits are the limit.
    let (chunks, due) = mpsc::unbounded_channel();
    let (written, acknowledged) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(direction.first_room()));
    tokio::try_join!(
        read(from, chunks, opened, direction, &room),
        write(due, to, written),
        acknowledge(acknowledged, direction, back, &room),
    )?;
    Ok(())
}

async fn read(
    mut from: OwnedReadHalf,
    chunks: mpsc::UnboundedSender<Chunk>,
    opened: Instant,
    direction: &Direction,
    room: &Arc<Semaphore>,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        let mut held = room.clone().acquire_many_owned(SEGMENT as u32).await.map_err(io::Error::other)?;
        let more = room.available_permits().min(STEP - SEGMENT);
        if let Ok(more) = room.clone().try_acquire_many_owned(more as u32) {
            held.merge(more);
        }
        buffer.reserve(STEP);
        let n = from.read_buf(&mut (&mut buffer).limit(held.num_permits())).await?;
        if n == 0 {
            return Ok(());
        }
        let Some(room) = held.split(n) else {
            return Err(io::Error::other("more was read than there is room"));
        };
        drop(held);
        let now = Instant::now();
        let passed = direction.enter(n, now.max(opened));
        let chunk = Chunk { due: passed + direction.delay, bytes: buffer.split().freeze(), room };
        if chunks.send(chunk).is_err() {
            return Ok(());
        }
        if passed > now + QUEUE {
            sleep_until(passed - QUEUE).await;
        }
    }
}

async fn write(
    mut chunks: mpsc::UnboundedReceiver<Chunk>,
    mut to: OwnedWriteHalf,
    written: mpsc::UnboundedSender<(Instant, OwnedSemaphorePermit)>,
) -> io::Result<()> {
    while let Some(chunk) = chunks.recv().await {
        sleep_until(chunk.due).await;
        to.write_all(&chunk.bytes).await?;
        // Received until the reader is gone; then nobody needs room.
        let _ = written.send((Instant::now(), chunk.room));
    }
    to.shutdown().await
}

/// Gives room back: at once, or with a window when the other end could know, and then more of it.
async fn acknowledge(
    mut written: mpsc::UnboundedReceiver<(Instant, OwnedSemaphorePermit)>,
    direction: &Direction,
    back: Duration,
    room: &Semaphore,
) -> io::Result<()> {
    let mut size = direction.first_room();
    while let Some((at, acknowledged)) = written.recv().await {
        let Some(most) = direction.window else { continue };
        sleep_until(at + back).await;
        let growth = acknowledged.num_permits().min(most - size);
        size += growth;
        room.add_permits(growth);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_the_entrance_as_fast_as_ordered_and_no_faster() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let direction =
            |rate| Direction { delay: second, rate, room: 0, window: None, free: Mutex::new(start) };
        let wide = direction(Some(1000));
        assert_eq!(wide.enter(500, start), start + second / 2);
        assert_eq!(wide.enter(500, start), start + second, "behind those before");
        assert_eq!(wide.enter(1000, start + 3 * second), start + 4 * second, "nothing is saved up");
        assert_eq!(direction(None).enter(1_000_000, start + second), start + second);
    }
}
