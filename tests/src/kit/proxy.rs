//! A TCP relay that hurts what passes: cut, stall, delay, slow, corrupt, refuse; in front of any server, whatever it speaks.
//!
//! Owns the connections between client and upstream. Its invariant: dropping the [`Proxy`] ends them all, and without a [`Fault`] every
//! byte passes unchanged and in order. It must not know any protocol above TCP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::door::Door;
use super::gauge::{Connections, Gauge};
use super::pace::Pace;

const STEP: usize = 32 * 1024;

/// What happens to one connection. Offsets count the bytes that went downstream, to the client, on that connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    cut_at: Option<(u64, bool)>,
    stall_at: Option<u64>,
    latency: Duration,
    rate: Option<u64>,
    corrupt_at: Vec<u64>,
    refuse: bool,
}

/// A relay on 127.0.0.1 in front of one address; ends when dropped.
pub struct Proxy {
    door: Door,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    always: watch::Sender<Fault>,
    queue: Mutex<VecDeque<Fault>>,
    connections: Gauge,
    refused: AtomicUsize,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

/// How a connection is over.
enum Over {
    Complete,
    Reset,
}

impl Fault {
    /// No fault.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Closes after `n` bytes; 0 is before the first byte of an answer.
    #[must_use]
    pub fn cut_at(mut self, n: u64) -> Self {
        self.cut_at = Some((n, false));
        self
    }

    /// Sends a RST after `n` bytes.
    #[must_use]
    pub fn reset_at(mut self, n: u64) -> Self {
        self.cut_at = Some((n, true));
        self
    }

    /// Nothing more after `n` bytes, until the client leaves or [`Proxy::set`] lifts it.
    #[must_use]
    pub fn stall_at(mut self, n: u64) -> Self {
        self.stall_at = Some(n);
        self
    }

    /// Every byte takes this long, in each direction.
    #[must_use]
    pub fn latency(mut self, one_way: Duration) -> Self {
        self.latency = one_way;
        self
    }

    /// Bytes per second downstream.
    #[must_use]
    pub fn rate(mut self, bytes_per_second: u64) -> Self {
        self.rate = Some(bytes_per_second);
        self
    }

    /// Flips the byte at this offset. May be given several times.
    #[must_use]
    pub fn corrupt_at(mut self, n: u64) -> Self {
        self.corrupt_at.push(n);
        self
    }

    /// Accepts and resets at once. For a connect that is refused see [`Proxy::go_down`].
    #[must_use]
    pub fn refuse(mut self) -> Self {
        self.refuse = true;
        self
    }
}

impl Proxy {
    /// A faultless relay to `upstream`.
    pub async fn start(upstream: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            upstream,
            always: watch::channel(Fault::new()).0,
            queue: Mutex::default(),
            connections: Gauge::default(),
            refused: AtomicUsize::new(0),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
        });
        let serving = shared.clone();
        let door = Door::open(None, move |client| {
            let shared = serving.clone();
            let fault = shared.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let fault = fault.map_or_else(|| shared.always.subscribe(), |fault| watch::channel(fault).1);
            let counted = shared.connections.enter();
            Some(async move {
                let _counted = counted;
                serve(client, fault, &shared).await;
            })
        });
        Self { door, shared }
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

    /// The fault of the next connection that has none yet: a queue, one per connection. It stays with that connection.
    pub fn next(&self, fault: Fault) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    /// The fault of all connections that took none from the queue: those open now, and those to come.
    pub fn set(&self, fault: Fault) {
        self.shared.always.send_replace(fault);
    }

    /// Closes every open connection.
    pub async fn hang_up(&self) {
        self.door.hang_up().await;
    }

    /// Closes everything, the listener too: connecting is refused.
    pub async fn go_down(&self) {
        self.door.shut().await;
    }

    /// Listens again, on the same port.
    pub async fn go_up(&self) {
        self.door.reopen().await;
    }

    /// Connections of clients: in total, now, and the most at once.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.shared.connections.read()
    }

    /// Connections reset at once.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// Bytes passed to clients.
    #[must_use]
    pub fn bytes_down(&self) -> u64 {
        self.shared.bytes_down.load(Ordering::SeqCst)
    }

    /// Bytes passed upstream.
    #[must_use]
    pub fn bytes_up(&self) -> u64 {
        self.shared.bytes_up.load(Ordering::SeqCst)
    }
}

async fn serve(mut client: TcpStream, fault: watch::Receiver<Fault>, shared: &Shared) {
    if fault.borrow().refuse {
        shared.refused.fetch_add(1, Ordering::SeqCst);
        // If the socket is dead already, so is the peer's end.
        let _ = client.set_zero_linger();
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(shared.upstream).await else { return };
    // A socket that cannot be tuned is a dead one: reading will tell.
    let _ = upstream.set_nodelay(true);
    let over = {
        let (from_client, to_client) = client.split();
        let (from_upstream, to_upstream) = upstream.split();
        // Each direction is a reader that stamps what it read with the time it is due, and a writer that waits for it.
        let (up, due_up) = mpsc::channel(64);
        let (down, due_down) = mpsc::channel(64);
        let downward =
            Down { out: to_client, fault: fault.clone(), passed: 0, pace: Pace::default(), shared };
        tokio::select! {
            over = downward.run(due_down) => over,
            () = pass_up(due_up, to_upstream, shared) => Over::Complete,
            () = read(from_client, up, fault.clone()) => Over::Complete,
            () = async { read(from_upstream, down, fault).await; std::future::pending().await } => Over::Complete,
        }
    };
    if matches!(over, Over::Reset) {
        // A RST throws away what the kernel has not delivered: let it.
        sleep(Duration::from_millis(20)).await;
        // If the socket is dead already, so is the peer's end.
        let _ = client.set_zero_linger();
    }
}

/// Reads until the end, however it comes. When a client's end is reached the connection is over: nobody here closes half.
async fn read(mut from: ReadHalf<'_>, to: mpsc::Sender<(Instant, Bytes)>, fault: watch::Receiver<Fault>) {
    loop {
        let mut chunk = BytesMut::with_capacity(STEP);
        if !matches!(from.read_buf(&mut chunk).await, Ok(1..)) {
            return;
        }
        let due = Instant::now() + fault.borrow().latency;
        if to.send((due, chunk.freeze())).await.is_err() {
            return;
        }
    }
}

async fn pass_up(mut chunks: mpsc::Receiver<(Instant, Bytes)>, mut out: WriteHalf<'_>, shared: &Shared) {
    while let Some((due, chunk)) = chunks.recv().await {
        sleep_until(due).await;
        if out.write_all(&chunk).await.is_err() {
            break;
        }
        shared.bytes_up.fetch_add(chunk.len() as u64, Ordering::SeqCst);
    }
    // What upstream still has to say decides the end, not this direction.
    std::future::pending::<()>().await;
}

struct Down<'a> {
    out: WriteHalf<'a>,
    fault: watch::Receiver<Fault>,
    passed: u64,
    pace: Pace,
    shared: &'a Shared,
}

impl Down<'_> {
    async fn run(mut self, mut chunks: mpsc::Receiver<(Instant, Bytes)>) -> Over {
        while let Some((due, mut chunk)) = chunks.recv().await {
            sleep_until(due).await;
            while !chunk.is_empty() {
                if let Some(over) = self.some_of(&mut chunk).await {
                    return over;
                }
            }
        }
        Over::Complete
    }

    /// Passes the bytes up to the next thing that happens.
    async fn some_of(&mut self, chunk: &mut Bytes) -> Option<Over> {
        let fault = self.fault.borrow_and_update().clone();
        if let Some(over) = self.cut(&fault) {
            return Some(over);
        }
        if fault.stall_at.is_some_and(|at| at <= self.passed) {
            if self.fault.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            return None;
        }
        let stops = fault.cut_at.map(|(at, _)| at).into_iter().chain(fault.stall_at);
        let room = stops.map(|at| at - self.passed).min().unwrap_or(u64::MAX);
        let step = fault.rate.map_or(STEP as u64, |rate| (rate / 50).clamp(1, STEP as u64));
        let n = room.min(step).min(chunk.len() as u64);
        self.pace.wait(fault.rate, n).await;
        let mut piece = BytesMut::from(chunk.split_to(n as usize));
        for at in fault.corrupt_at.iter().filter_map(|at| at.checked_sub(self.passed)).filter(|at| *at < n) {
            piece[at as usize] ^= 0xff;
        }
        if self.out.write_all(&piece).await.is_err() {
            return Some(Over::Complete);
        }
        self.passed += n;
        self.shared.bytes_down.fetch_add(n, Ordering::SeqCst);
        self.cut(&fault)
    }

    fn cut(&self, fault: &Fault) -> Option<Over> {
        let (at, reset) = fault.cut_at?;
        (at <= self.passed).then_some(if reset { Over::Reset } else { Over::Complete })
    }
}
