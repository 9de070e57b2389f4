//! The other transport: libssh2, a library that blocks. One thread, one connection and one session for each request.
//!
//! Invariant: whatever blocks does so on a thread of its own, which ends soon after its body was dropped, because the
//! socket is shut down under it. Must not know: sessions shared by requests, which libssh2 cannot bear.

mod read;
mod session;

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use downloader_core::listing::{Entries, EntryDecoder};
use downloader_core::net::Route;
use downloader_core::{Body, ByteRange, Entity, Error, ErrorKind, Fetch, Result, Splice};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::read::{directory, file};
use self::session::Session;
use crate::host_key::HostCheck;
use crate::open::{entity_of, within};
use crate::protocol::Attributes;
use crate::transport::{Settings, Target, Way, blocking, wire};

/// Pieces that are read ahead.
const PIECES: usize = 4;

/// What a thread tells first.
enum Head {
    File(Attributes),
    Directory,
}

/// What a thread works for.
struct Work {
    fetch: Fetch,
    path: Vec<u8>,
    head: Option<oneshot::Sender<Result<Head>>>,
    pieces: mpsc::Sender<Result<Bytes>>,
}

impl Work {
    /// False when nobody listens any more.
    fn tell(&mut self, head: Result<Head>) -> bool {
        self.head.take().is_none_or(|sender| sender.send(head).is_ok())
    }

    /// False when nobody listens any more. Blocks while nobody takes what is there.
    fn send(&self, piece: Result<Bytes>) -> bool {
        self.pieces.blocking_send(piece).is_ok()
    }
}

/// Shuts a connection down under whoever is blocked by it.
struct Hold(TcpStream);

impl Drop for Hold {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Opens a file, or lists a directory, over a connection of its own.
pub(crate) async fn open(
    settings: &Arc<Settings>,
    target: &Target,
    fetch: &Fetch,
    path: Vec<u8>,
    route: &Route,
) -> Result<Body> {
    let way = Way::new(settings, &fetch.url, route);
    let mut socket = way.open(target, true).await?;
    let (hosts, new, host, port) =
        (settings.known_hosts.clone(), settings.new_hosts, target.host.clone(), target.port);
    let check = blocking(move || HostCheck::load(&hosts, new, &host, port)).await?;
    let local = |error| Error::local("handing a connection to a thread", error);
    let stream = socket.stream.into_std().map_err(local)?;
    stream.set_nonblocking(false).map_err(local)?;
    let hold = Hold(stream.try_clone().map_err(local)?);
    let (sender, head) = oneshot::channel();
    let (pieces, receiver) = mpsc::channel(PIECES);
    let work = Work { fetch: fetch.clone(), path, head: Some(sender), pieces };
    let (own, target) = (Arc::clone(settings), target.clone());
    let begin = Instant::now();
    let run = move || run(&own, &target, stream, &check, work);
    thread::Builder::new()
        .name("sftp".into())
        .spawn(run)
        .map_err(|error| Error::local("starting a thread", error))?;
    let head =
        head.await.map_err(|_| Error::new(ErrorKind::Local, "a helper thread ended before its work"))??;
    socket.connection.handshake = Some(begin.elapsed());

    let mut body = match head {
        Head::Directory => {
            Body::listing(Entries::new(fetch.url.clone(), EntryDecoder::new()), pieces_of(receiver, hold))
        }
        Head::File(told) => {
            let entity = entity_of(&told);
            let range = range_of(fetch, &entity);
            if is_current(fetch, &entity) {
                Body::not_modified(entity)
            } else if range.is_empty() {
                Body::new(entity, range, stream::empty().boxed())
            } else {
                Body::new(entity, range, pieces_of(receiver, hold))
            }
        }
    };
    body.seekable = body.entries.is_none();
    body.wire = wire(Arc::new(socket.connection), false, begin);
    Ok(body)
}

/// What is sent of a content that is told so.
fn range_of(fetch: &Fetch, entity: &Entity) -> ByteRange {
    within(&fetch.range, entity.size, fetch.body)
}

fn is_current(fetch: &Fetch, entity: &Entity) -> bool {
    fetch.unless.as_ref().is_some_and(|held| held.splice(entity, true) == Splice::Proven)
}

fn pieces_of(
    receiver: mpsc::Receiver<Result<Bytes>>,
    hold: Hold,
) -> stream::BoxStream<'static, Result<Bytes>> {
    let next = |(mut receiver, hold): (mpsc::Receiver<Result<Bytes>>, Hold)| async move {
        receiver.recv().await.map(|piece| (piece, (receiver, hold)))
    };
    stream::unfold((receiver, hold), next).boxed()
}

/// The thread.
fn run(settings: &Settings, target: &Target, stream: TcpStream, check: &HostCheck, mut work: Work) {
    let session = match Session::start(settings, target, stream, check) {
        Ok(session) => session,
        Err(error) => {
            work.tell(Err(error));
            return;
        }
    };
    let worked = if work.fetch.listing { directory(&session, &mut work) } else { file(&session, &mut work) };
    if let Err(error) = worked {
        let error = error.with_url(&work.fetch.url);
        if work.head.is_some() {
            work.tell(Err(error));
        } else {
            work.send(Err(error));
        }
    }
}
