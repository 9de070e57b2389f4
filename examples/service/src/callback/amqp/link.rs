//! Owns a connection to a broker: how it begins, and the task that reads, writes and watches it.
//!
//! Invariant: dropping either side ends it: the task holds the socket, ends when nobody can send to it any more, and gives up a broker that
//! says nothing, takes nothing or does not answer. Must not know what a message is for.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use downloader_tls::Tls;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Broker;
use super::frame::{Heard, parse};
use super::say::{GREETING, Say as _};
use super::session::{Limits, Publish, Session};
use crate::callback::Failure;

/// What we propose: a sign of life so often.
const HEARTBEAT: u16 = 30;
/// And no frame longer than this.
const LARGEST_FRAME: u32 = 128 * 1024;
/// Messages that wait to be taken on.
const QUEUED: usize = 64;
/// For the last words of a connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// Connects and logs in; messages go to what is returned, and the connection ends when all of those are dropped. Dropping the future gives up.
/// There is no time limit in here but `patience`, for what the broker is asked later.
///
/// # Errors
/// Why not, in words.
pub(super) async fn connect(
    broker: &Broker,
    tls: &Tls,
    patience: Duration,
) -> Result<mpsc::Sender<Publish>, String> {
    let cannot = |error: io::Error| format!("cannot connect to the broker: {error}");
    let tcp = TcpStream::connect((broker.address(), broker.port)).await.map_err(cannot)?;
    tcp.set_nodelay(true).map_err(cannot)?;
    let io: Box<dyn Io> = match broker.is_secure {
        true => Box::new(tls.handshake(&broker.host, &[], tcp).await.map_err(|error| error.to_string())?),
        false => Box::new(tcp),
    };
    let (reader, mut writer) = split(io);
    let mut reader = Reader { io: reader, came: BytesMut::new() };
    let (limits, heartbeat) = log_in(&mut reader, &mut writer, broker, patience).await?;
    let (sender, messages) = mpsc::channel(QUEUED);
    let line = Line { reader, writer, session: Session::new(limits), messages, heartbeat };
    tokio::spawn(line.run());
    Ok(sender)
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What the broker allows, and how often there has to be a sign of life.
async fn log_in(
    reader: &mut Reader,
    writer: &mut WriteHalf<Box<dyn Io>>,
    broker: &Broker,
    patience: Duration,
) -> Result<(Limits, Duration), String> {
    let broken = |error: io::Error| format!("the connection broke while logging in: {error}");
    let mut say = GREETING.to_vec();
    let mut tuned = None;
    loop {
        writer.write_all(&say).await.map_err(broken)?;
        writer.flush().await.map_err(broken)?;
        say.clear();
        match reader.next().await?.1 {
            Heard::Start { mechanisms } if !mechanisms.split(' ').any(|name| name == "PLAIN") => {
                return Err("the broker does not take user and password".to_owned());
            }
            Heard::Start { .. } => say.start_ok(&broker.user, &broker.password),
            Heard::Tune { most_channels, largest_frame, heartbeat } => {
                let most_channels = lower(most_channels, u16::MAX);
                let largest_frame = lower(largest_frame, LARGEST_FRAME);
                let heartbeat = lower(heartbeat, HEARTBEAT);
                say.tune_ok(most_channels, largest_frame, heartbeat);
                say.open(&broker.virtual_host);
                let largest_frame = usize::try_from(largest_frame).unwrap_or(usize::MAX);
                let limits = Limits { most_channels, largest_frame, patience };
                tuned = Some((limits, Duration::from_secs(heartbeat.into())));
            }
            Heard::Opened => return tuned.ok_or_else(|| "the broker names no limits".to_owned()),
            Heard::Close(reason) => return Err(format!("the broker refuses us: {reason}")),
            _ => return Err("the broker does not log in as AMQP 0-9-1 has it".to_owned()),
        }
    }
}

/// Zero is no limit.
fn lower<N: Ord + Default>(theirs: N, ours: N) -> N {
    if theirs == N::default() { ours } else { theirs.min(ours) }
}

struct Reader {
    io: ReadHalf<Box<dyn Io>>,
    came: BytesMut,
}

impl Reader {
    /// The next frame. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Result<(u16, Heard), String> {
        const LIMIT: usize = LARGEST_FRAME as usize;
        loop {
            if let Some((length, channel, heard)) =
                parse(&self.came, LIMIT).map_err(|error| error.to_string())?
            {
                self.came.advance(length);
                return Ok((channel, heard));
            }
            self.came.reserve(4096);
            match self.io.read_buf(&mut self.came).await {
                Ok(0) => return Err("the broker hung up".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(format!("the connection broke: {error}")),
            }
        }
    }
}

/// A connection that is logged in.
struct Line {
    reader: Reader,
    writer: WriteHalf<Box<dyn Io>>,
    session: Session,
    messages: mpsc::Receiver<Publish>,
    heartbeat: Duration,
}

impl Line {
    async fn run(mut self) {
        let reason = self.work().await;
        self.session.end(&reason);
        self.messages.close();
        while let Ok(publish) = self.messages.try_recv() {
            // Who gave up waiting has said so already.
            let _ = publish.answer.send(Err(Failure::new(reason.clone())));
        }
        let _ = timeout(FAREWELL, async {
            self.writer.write_all(&self.session.unsent).await?;
            self.writer.shutdown().await
        })
        .await;
    }

    /// Until there is a reason to end.
    async fn work(&mut self) -> String {
        let mut looks = interval(Duration::from_secs(1));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard_at, mut said_at) = (Instant::now(), Instant::now());
        // Since when nothing was taken of what there is to say.
        let mut stuck_since = None;
        let mut flushed = true;
        loop {
            let Self { reader, writer, session, messages, heartbeat } = self;
            let has_unsent = !session.unsent.is_empty();
            tokio::select! {
                heard = reader.next() => {
                    heard_at = Instant::now();
                    let taken = heard.and_then(|(channel, heard)| session.take(channel, heard, heard_at));
                    if let Err(reason) = taken {
                        return reason;
                    }
                }
                pushed = push(writer, &session.unsent), if has_unsent || !flushed => match pushed {
                    Ok(0) => flushed = true,
                    Ok(count) => {
                        session.unsent.drain(..count);
                        (said_at, stuck_since, flushed) = (Instant::now(), None, false);
                    }
                    Err(error) => return format!("the connection broke: {error}"),
                },
                message = messages.recv(), if session.takes_more() => match message {
                    Some(message) => session.publish(message, Instant::now()),
                    None => {
                        session.unsent.close();
                        return "the connection is not needed any more".to_owned();
                    }
                },
                now = looks.tick() => {
                    if let Err(reason) = session.look(now) {
                        return reason;
                    }
                    if now.duration_since(heard_at) > 2 * *heartbeat {
                        return "the broker gives no sign of life".to_owned();
                    }
                    if session.unsent.is_empty() {
                        stuck_since = None;
                        if now.duration_since(said_at) >= *heartbeat / 2 {
                            session.unsent.heartbeat();
                        }
                    } else if now.duration_since(*stuck_since.get_or_insert(now)) > session.patience() {
                        return "the broker takes nothing".to_owned();
                    }
                }
            }
        }
    }
}

/// How much was written; with nothing to write, flushes.
async fn push(writer: &mut WriteHalf<Box<dyn Io>>, unsent: &[u8]) -> io::Result<usize> {
    if unsent.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    match writer.write(unsent).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}
