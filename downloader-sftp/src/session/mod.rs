//! One SFTP session: many requests under way over one channel, each answered to whoever asked.
//!
//! Invariant: a packet is sent whole or not at all; a reply reaches its request alone, or is thrown away if nobody waits
//! for it any more; when the session ends, each request that waits hears of it once. Must not know: SSH, URLs, files.
//!
//! Two tasks: one reads, always, so that a consumer that stops never stops others; one writes. What is held for slow
//! consumers is bounded by what they ask for ahead.

mod call;
mod dispatch;
pub(crate) mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) use self::call::Call;
use self::dispatch::Dispatch;
use crate::protocol::{Frames, MAX_READ, Malformed, Reply, Request, SAFE_READ, Version, reply, request};

/// Requests that are sent together, in bytes: one packet of SSH.
const BATCH: usize = 32 * 1024;

/// How long a server is given to hear that a session is over.
const FAREWELL: Duration = Duration::from_secs(1);

/// What comes from the server.
pub(crate) trait Incoming: Send + 'static {
    /// The next bytes, however they are cut; `None` at the end. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// What goes to the server.
pub(crate) trait Outgoing: Send + 'static {
    /// Sends all of it, in order; false when it cannot.
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = bool> + Send;

    /// Says that nothing more will come.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection or the channel is gone.
    Broken,
    /// No answer for this long.
    Silent(Duration),
    /// The server said what it must not say.
    Malformed(&'static str),
    /// It speaks an older protocol.
    Version(u32),
}

impl From<Malformed> for End {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

/// A session; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    dispatch: Arc<Dispatch>,
    /// Most bytes asked for at once.
    longest_read: u32,
    /// Nanoseconds of the shortest round trip seen.
    round_trip: AtomicU64,
    reading: JoinHandle<()>,
    /// Gone, it ends the writing task.
    _stop: oneshot::Sender<()>,
}

impl Session {
    /// Greets the server. `patience` is how long it may be silent while something is asked.
    pub(crate) async fn start<I: Incoming, O: Outgoing>(
        mut incoming: I,
        mut outgoing: O,
        patience: Option<Duration>,
    ) -> Result<Self, End> {
        let begin = Instant::now();
        if !outgoing.send(Bytes::copy_from_slice(&request::init())).await {
            return Err(End::Broken);
        }
        let mut frames = Frames::default();
        let version = loop {
            if let Some(frame) = frames.next()? {
                break Version::read(frame)?;
            }
            frames.push(incoming.next().await.ok_or(End::Broken)?);
        };
        if version.number < 3 {
            return Err(End::Version(version.number));
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let dispatch = Arc::new(Dispatch::new(sender));
        let reading = tokio::spawn(read(incoming, frames, Arc::clone(&dispatch), patience));
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(write(receiver, outgoing, stopped));
        let mut session = Self {
            dispatch,
            longest_read: SAFE_READ,
            round_trip: AtomicU64::new(begin.elapsed().as_nanos() as u64),
            reading,
            _stop: stop,
        };
        if version.limits {
            session.longest_read = session.limits().await?;
        }
        Ok(session)
    }

    async fn limits(&self) -> Result<u32, End> {
        let mut call = Call::of(&self.dispatch);
        let begin = Instant::now();
        call.send(&[Request::Limits])?;
        let reply = call.next().await?.1;
        self.saw_round_trip(begin.elapsed());
        let Reply::Extended(body) = reply else { return Ok(SAFE_READ) };
        Ok(match reply::longest_read(&body)? {
            0 => SAFE_READ,
            longest => longest.clamp(1024, MAX_READ.into()) as u32,
        })
    }

    /// Something to be asked; whoever drops it wants no more answers.
    pub(crate) fn call(&self) -> Call {
        Call::of(&self.dispatch)
    }

    /// Most bytes that one read asks for.
    pub(crate) fn longest_read(&self) -> u32 {
        self.longest_read
    }

    /// The shortest time that an answer has taken.
    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_nanos(self.round_trip.load(Relaxed))
    }

    pub(crate) fn saw_round_trip(&self, time: Duration) {
        self.round_trip.fetch_min(time.as_nanos() as u64, Relaxed);
    }

    /// False when it has ended, or somebody gave up waiting and nothing was heard since.
    pub(crate) fn is_sound(&self) -> bool {
        self.dispatch.is_sound()
    }

    /// True when it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.dispatch.is_over()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reading.abort();
        self.dispatch.end(End::Broken);
    }
}

async fn read<I: Incoming>(
    mut incoming: I,
    mut frames: Frames,
    dispatch: Arc<Dispatch>,
    patience: Option<Duration>,
) {
    // Looks at the clock now and then instead of setting it for every piece.
    let mut tick =
        patience.map(|patience| tokio::time::interval((patience / 4).max(Duration::from_millis(10))));
    loop {
        let ticked = async {
            match &mut tick {
                Some(tick) => drop(tick.tick().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            piece = incoming.next() => {
                let Some(piece) = piece else { return dispatch.end(End::Broken) };
                frames.push(piece);
                if let Err(malformed) = deliver(&mut frames, &dispatch) {
                    return dispatch.end(malformed.into());
                }
            }
            () = ticked => {
                if let Some(patience) = patience.filter(|patience| dispatch.silence() >= *patience) {
                    return dispatch.end(End::Silent(patience));
                }
            }
        }
    }
}

fn deliver(frames: &mut Frames, dispatch: &Dispatch) -> Result<(), Malformed> {
    dispatch.heard();
    while let Some(frame) = frames.next()? {
        let (id, reply) = Reply::read(frame)?;
        dispatch.answer(id, reply)?;
    }
    Ok(())
}

/// Until the session is dropped. What was asked for then is of no use any more, even half a packet of it.
async fn write<O: Outgoing>(
    mut requests: mpsc::UnboundedReceiver<Vec<u8>>,
    mut outgoing: O,
    stopped: oneshot::Receiver<()>,
) {
    tokio::select! {
        () = pass_on(&mut requests, &mut outgoing) => {}
        _ = stopped => {}
    }
    // Of a connection that is gone or stuck nobody needs to be told.
    let _ = tokio::time::timeout(FAREWELL, outgoing.close()).await;
}

async fn pass_on<O: Outgoing>(requests: &mut mpsc::UnboundedReceiver<Vec<u8>>, outgoing: &mut O) {
    while let Some(mut batch) = requests.recv().await {
        while batch.len() < BATCH
            && let Ok(more) = requests.try_recv()
        {
            batch.extend_from_slice(&more);
        }
        // What cannot be sent is not answered either: the reading task ends the session.
        if !outgoing.send(batch.into()).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
