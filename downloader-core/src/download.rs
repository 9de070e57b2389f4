//! The one primitive: a protocol turns one wire request into one body.
//!
//! Invariant: what a [`Body`] says of itself is true, even when it is not what was asked.
//! Must not know: retries, mirrors, writers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use mime::Mime;

use crate::entity::Entity;
use crate::error::Result;
use crate::file::LocalFile;
use crate::listing::Entries;
use crate::name::FileName;
use crate::net::{Dialed, Proxy};
use crate::options::Options;
use crate::range::ByteRange;
use crate::request::Terms;
use crate::url::SafeUrl;
use crate::validate::Digest;

/// A protocol, or a layer around one.
///
/// # Contract
/// - `open` makes exactly one wire request (redirects aside) and never retries: budgets must not multiply.
/// - [`Fetch::expect`] is a wish (`If-Range`, `If-Match`, size and `MDTM`): when the content is another one
///   by now, return the *new* entity with the range really sent, never an error.
/// - The range of the body starts at or before the start asked for. It may end earlier or later.
/// - A body shorter than its range ends with an error of kind `Truncated`, never silently.
/// - Wrong bytes are an error of kind `Integrity` out of the stream: what it gave before is then thrown away, too.
/// - Errors are classified here, once; they carry the URL and, where there is one, the status.
/// - [`Fetch::listing`] asks for the entries of a directory: the reply has [`Body::entries`], or it is an error: kind
///   `NotFound` where there is no such directory, `Unsupported` where directories cannot be listed. Whoever overlooks it
///   and answers with a content is taken for one that cannot.
///
/// # Cancellation
/// Dropping the future or the body releases all they hold (connection, permit, timer). A connection with
/// unread bytes never goes back to a pool.
#[async_trait]
pub trait Download: fmt::Debug + Send + Sync + 'static {
    /// Sends one request and returns once the head of the reply is in.
    async fn open(&self, fetch: Fetch) -> Result<Body>;
}

/// A protocol that can be plugged into an engine by the schemes it serves.
pub trait Backend: Download {
    /// The URL schemes, in lower case.
    fn schemes(&self) -> &'static [&'static str];
}

/// One wire request.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// What to ask.
    pub url: SafeUrl,
    /// Which bytes. [`ByteRange::ALL`] asks for the whole content, without naming a range.
    pub range: ByteRange,
    /// The content the caller already has bytes of: a wish, see [`Download`].
    pub expect: Option<Entity>,
    /// The content the caller already has: when it is still current the reply is [`Body::not_modified`].
    pub unless: Option<Entity>,
    /// False asks for the head only: the stream of the reply is empty.
    pub body: bool,
    /// Asks for the entries of the directory that the URL names, with or without a slash at its end, instead of a content:
    /// see [`Body::entries`]. The range is then [`ByteRange::ALL`].
    pub listing: bool,
    /// Asks to be told digests of the content ([`Body::digests`]), and to hold the bytes against what is told of them
    /// alone: the caller named none.
    pub digests: bool,
    /// Asks for a connection that has served nothing before: after wrong bytes the old one is suspect.
    pub fresh: bool,
    /// Asks for a connection of its own: several ranges over one connection gain nothing.
    pub alone: bool,
    /// What to do while the origin is not to be asked. Read by [`Limit`](crate::layer::limit::Limit).
    pub insistence: Insistence,
    /// On whose terms: group, priority, speed, patience. Read by the layers.
    pub terms: Arc<Terms>,
    /// What the caller tells the backend, by type. The engine never reads it.
    pub options: Options,
}

impl Fetch {
    /// A request for the whole content of a URL.
    #[must_use]
    pub fn new(url: SafeUrl) -> Self {
        Self {
            url,
            range: ByteRange::ALL,
            expect: None,
            unless: None,
            body: true,
            listing: false,
            digests: false,
            fresh: false,
            alone: false,
            insistence: Insistence::default(),
            terms: Arc::default(),
            options: Options::default(),
        }
    }
}

/// What to do with a request whose origin rests (it asked to be left alone for a while), or whose circuit is open (too
/// many requests in a row got no answer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Insistence {
    /// It fails at once, unasked: there is somebody else to ask.
    Yields,
    /// It waits while the origin rests, and fails at once, unasked, while the circuit is open.
    #[default]
    Waits,
    /// It waits while the origin rests, and goes through an open circuit: nothing else is left to be tried.
    Insists,
}

/// What the far side really sends. Dropping it releases all it holds.
pub struct Body {
    /// The content as the far side describes it now.
    pub entity: Entity,
    /// The bytes the stream will deliver; an end of `None` means until the stream ends.
    pub range: ByteRange,
    /// True when the far side serves ranges of this content.
    pub seekable: bool,
    /// True when [`Fetch::unless`] is still current: the stream is empty and nothing needs to be fetched.
    pub not_modified: bool,
    /// Media type, as told.
    pub media_type: Option<Mime>,
    /// File name, as told.
    pub file_name: Option<FileName>,
    /// Digests of the whole content, as the far side tells them: the strongest is checked when the caller named none.
    pub digests: Vec<Digest>,
    /// How the stream is read as the listing that [`Fetch::listing`] asked for; `None` of a content.
    pub entries: Option<Entries>,
    /// How it came: address, status, protocol.
    pub wire: Wire,
    /// The content as an open file of this machine, where it is one: a writer may take the file itself
    /// ([`Writer::adopt`](crate::Writer::adopt)). Only of a reply to a request for bytes.
    pub file: Option<Arc<LocalFile>>,
    /// Protocol detail by type: response headers, redirects, attributes.
    pub extras: Options,
    /// The bytes. Ends after an error.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

/// How a reply came.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Wire {
    /// The address connected to.
    pub address: Option<SocketAddr>,
    /// The status code.
    pub status: Option<u16>,
    /// The protocol and its version, such as `HTTP/1.1`.
    pub protocol: Option<&'static str>,
    /// The URL that answered, when redirects led elsewhere.
    pub url: Option<SafeUrl>,
    /// The connection, if the backend tells.
    pub connection: Option<Arc<Connection>>,
    /// True when the connection had served an earlier request.
    pub reused: bool,
    /// From the request on an open connection to the head of the reply.
    pub first_byte: Option<Duration>,
    /// How many requests more the far side says that it will serve.
    pub allowance: Option<Allowance>,
}

/// What is left of a quota: the origin says that it serves so many requests more until its quota is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Allowance {
    /// Requests it still serves.
    pub remaining: u64,
    /// Time until it serves more.
    pub reset: Duration,
}

/// A connection to the far side: where it goes, and how long each step of making it took.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Connection {
    /// The address connected to: that of the proxy, if there is one.
    pub address: Option<SocketAddr>,
    /// Our own address.
    pub local: Option<SocketAddr>,
    /// The version of TLS, such as `TLS 1.3`; `None` without TLS.
    pub tls: Option<&'static str>,
    /// True when an earlier TLS session was taken up again.
    pub resumed: bool,
    /// The proxy; prints without secrets.
    pub proxy: Option<Proxy>,
    /// Looking up the name; `None` when there was nothing to look up.
    pub resolve: Option<Duration>,
    /// Making the connection, and the way through a proxy.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub handshake: Option<Duration>,
}

/// What is known of a connection that was just made.
impl From<&Dialed> for Connection {
    fn from(dialed: &Dialed) -> Self {
        Self {
            address: Some(dialed.address),
            local: Some(dialed.local),
            resolve: dialed.resolve,
            connect: Some(dialed.connect),
            ..Self::default()
        }
    }
}

impl Body {
    /// A body of these bytes, from the start of `range` on.
    #[must_use]
    pub fn new(entity: Entity, range: ByteRange, stream: BoxStream<'static, Result<Bytes>>) -> Self {
        Self {
            entity,
            range,
            seekable: false,
            not_modified: false,
            media_type: None,
            file_name: None,
            digests: Vec::new(),
            entries: None,
            wire: Wire::default(),
            file: None,
            extras: Options::default(),
            stream,
        }
    }

    /// The listing of a directory: the bytes of it, and how they are read. Its size and time say nothing of the entries.
    #[must_use]
    pub fn listing(entries: Entries, stream: BoxStream<'static, Result<Bytes>>) -> Self {
        Self { entries: Some(entries), ..Self::new(Entity::default(), ByteRange::ALL, stream) }
    }

    /// The reply to a request whose `unless` is still current.
    #[must_use]
    pub fn not_modified(entity: Entity) -> Self {
        Self { not_modified: true, ..Self::new(entity, ByteRange::new(0, 0), stream::empty().boxed()) }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("entity", &self.entity)
            .field("range", &self.range)
            .field("seekable", &self.seekable)
            .field("not_modified", &self.not_modified)
            .field("entries", &self.entries)
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}
