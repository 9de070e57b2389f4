//! The one error of the engine: what kind, what was done, where, how often, how long, and the cause.
//!
//! Invariant: an error prints no secret and never repeats its source. Each backend classifies once, at the
//! bottom; nothing above looks into the cause. Must not know: any protocol library.

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Attempt;
use crate::url::SafeUrl;

/// Result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the words decisions are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The source does not have the content (404, 410, FTP 550, `ENOENT` of a `file:` source).
    NotFound,
    /// The source refuses this caller (403, `EACCES`).
    Denied,
    /// Credentials are missing or wrong (401, FTP 530).
    Unauthorized,
    /// The source cannot serve now and may later (408, 425, 429, 5xx, FTP 421).
    Busy,
    /// The caller's own rules forbid it: redirect, scheme, size, media type, downgrade, address.
    Refused,
    /// The bytes are complete and wrong: a digest or another check failed.
    Integrity,
    /// The body ended before its time.
    Truncated,
    /// The content is another one than that of the bytes already taken.
    Changed,
    /// Nothing, or too little, came within the time allowed.
    Timeout(Phase),
    /// The secure connection could not be made or broke.
    Tls,
    /// The host name could not be resolved.
    Dns,
    /// No connection could be made, or it broke before a reply.
    Connect,
    /// The proxy failed: no connection to it, or it could make none to the far side.
    Proxy,
    /// The proxy wants credentials, or refuses those it got (407, SOCKS5 method or password refused).
    ProxyUnauthorized,
    /// The far side answered something that its protocol does not allow.
    Protocol,
    /// A fault of this machine: disk, permissions, memory. Never blamed on a source.
    Local,
    /// The caller stopped it.
    Cancelled,
    /// The backend or writer cannot do what was asked.
    Unsupported,
    /// The caller's input is malformed: URL, digest, size, option.
    Input,
}

/// The phase in which time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up the host name.
    Resolve,
    /// Making the connection: TCP, and the way through a proxy.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Waiting for the head of the reply.
    Head,
    /// No byte of the body for the time allowed.
    Idle,
    /// Fewer bytes than the lowest speed over its window.
    Slow,
    /// The whole download: attempts, waits and mirrors together.
    Total,
}

impl ErrorKind {
    /// May the same source yet deliver?
    #[must_use]
    pub fn is_transient(self) -> bool {
        match self {
            Self::Timeout(phase) => phase != Phase::Total,
            Self::Busy | Self::Truncated | Self::Dns | Self::Connect | Self::Proxy => true,
            _ => false,
        }
    }

    /// True when no other source can help: the fault is on this side.
    #[must_use]
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::Local | Self::Cancelled | Self::Input | Self::Timeout(Phase::Total))
    }

    /// The words for it, as they open every message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Denied => "denied",
            Self::Unauthorized => "not authorized",
            Self::Busy => "busy",
            Self::Refused => "refused by policy",
            Self::Integrity => "integrity",
            Self::Truncated => "truncated",
            Self::Changed => "content changed",
            Self::Timeout(Phase::Resolve) => "timeout: resolve",
            Self::Timeout(Phase::Connect) => "timeout: connect",
            Self::Timeout(Phase::Tls) => "timeout: TLS handshake",
            Self::Timeout(Phase::Head) => "timeout: head",
            Self::Timeout(Phase::Idle) => "timeout: idle",
            Self::Timeout(Phase::Slow) => "timeout: too slow",
            Self::Timeout(Phase::Total) => "timeout: total",
            Self::Tls => "TLS",
            Self::Dns => "DNS",
            Self::Connect => "connection",
            Self::Proxy => "proxy",
            Self::ProxyUnauthorized => "not authorized at the proxy",
            Self::Protocol => "protocol",
            Self::Local => "local",
            Self::Cancelled => "cancelled",
            Self::Unsupported => "unsupported",
            Self::Input => "bad input",
        }
    }
}

/// An error: kind + what + where (URL without secrets, byte offset) + how often and how long + source.
///
/// Cheap to clone. `Display` is one line and never repeats [`StdError::source`].
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    what: Box<str>,
    url: Option<SafeUrl>,
    offset: Option<u64>,
    status: Option<u16>,
    address: Option<SocketAddr>,
    retry_after: Option<Duration>,
    unasked: Option<Duration>,
    tries: u32,
    elapsed: Option<Duration>,
    attempts: Arc<[Attempt]>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of a kind; `what` says what was being done or what is wrong, without secrets.
    pub fn new(kind: ErrorKind, what: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            what: what.into(),
            url: None,
            offset: None,
            status: None,
            address: None,
            retry_after: None,
            unasked: None,
            tries: 0,
            elapsed: None,
            attempts: Arc::new([]),
            source: None,
        }))
    }

    /// A fault of the caller's input; the message names the field and the accepted form.
    pub fn input(what: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::Input, what)
    }

    /// The backend or writer cannot do `what`.
    pub fn unsupported(what: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::Unsupported, what)
    }

    /// A fault of this machine while doing `what`.
    pub fn local(what: impl Into<Box<str>>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Local, what).with_source(source)
    }

    /// The far side was not asked: by what is known of it, it would not have answered. See [`Error::is_unasked`].
    pub fn unasked(kind: ErrorKind, what: impl Into<Box<str>>) -> Self {
        Self::new(kind, what).change(|inner| inner.unasked = Some(Duration::ZERO))
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source: Box<dyn StdError + Send + Sync> = source.into();
        self.change(|inner| inner.source = Some(Arc::from(source)))
    }

    /// Sets the URL, unless one is set: the innermost knows best.
    #[must_use]
    pub fn with_url(self, url: &SafeUrl) -> Self {
        if self.0.url.is_some() {
            return self;
        }
        self.change(|inner| inner.url = Some(url.clone()))
    }

    /// Sets the byte offset reached, unless one is set.
    #[must_use]
    pub fn with_offset(self, offset: u64) -> Self {
        if self.0.offset.is_some() {
            return self;
        }
        self.change(|inner| inner.offset = Some(offset))
    }

    /// Sets the status code of the reply (HTTP, FTP).
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        self.change(|inner| inner.status = Some(status))
    }

    /// Sets the address that was connected to.
    #[must_use]
    pub fn with_address(self, address: Option<SocketAddr>) -> Self {
        self.change(|inner| inner.address = address)
    }

    /// Sets how long the far side asks to be left alone.
    #[must_use]
    pub fn with_retry_after(self, delay: Option<Duration>) -> Self {
        self.change(|inner| inner.retry_after = delay)
    }

    /// Sets the record of everything that was tried, and the time it took.
    #[must_use]
    pub fn with_attempts(self, attempts: Vec<Attempt>, elapsed: Duration) -> Self {
        self.change(|inner| {
            inner.tries = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
            inner.attempts = attempts.into();
            inner.elapsed = Some(elapsed);
        })
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done, or what is wrong.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// May the same source yet deliver?
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.kind.is_transient()
    }

    /// True when nothing went over the wire: the origin rests, or its circuit is open. Such an error costs a
    /// source nothing, and no download fails by it alone.
    #[must_use]
    pub fn is_unasked(&self) -> bool {
        self.0.unasked.is_some()
    }

    /// How long asking in vain would have taken, by the last time somebody did.
    pub(crate) fn spared(&self) -> Duration {
        self.0.unasked.unwrap_or_default()
    }

    /// Sets how long asking in vain would have taken.
    pub(crate) fn with_spared(self, time: Duration) -> Self {
        self.change(|inner| inner.unasked = Some(time))
    }

    /// How long the far side asks to be left alone; of an error that is [unasked](Self::is_unasked), how long it is.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The URL that was asked; prints without secrets.
    #[must_use]
    pub fn url(&self) -> Option<&SafeUrl> {
        self.0.url.as_ref()
    }

    /// The byte offset reached.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The status code of the reply (HTTP, FTP).
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The address that was connected to.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// Everything that was tried, in order, when the error ends a download.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// Time the download took, when the error ends one.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.elapsed
    }

    /// The HTTP status a server should answer its own client with when this is why it has no content.
    ///
    /// 404 only if the content is known not to exist; 502, 503 and 504 for faults of the sources.
    #[must_use]
    pub fn suggested_http_status(&self) -> u16 {
        match self.0.kind {
            ErrorKind::NotFound => 404,
            ErrorKind::Input => 400,
            ErrorKind::Denied | ErrorKind::Refused => 403,
            ErrorKind::Busy => 503,
            ErrorKind::Timeout(_) => 504,
            ErrorKind::Local => 500,
            ErrorKind::Cancelled => 499,
            ErrorKind::Unsupported => 501,
            _ => 502,
        }
    }

    /// Says more of what is wrong.
    pub(crate) fn noting(self, note: &str) -> Self {
        self.change(|inner| inner.what = format!("{}; {note}", inner.what).into())
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "{}: {}", inner.kind.as_str(), inner.what)?;
        if let Some(url) = &inner.url {
            write!(f, ": {url}")?;
        }
        if let Some(offset) = inner.offset {
            write!(f, " at byte {offset}")?;
        }
        match (inner.tries, inner.elapsed) {
            (0, _) | (_, None) => Ok(()),
            (1, Some(elapsed)) => write!(f, " (1 attempt, {:.1} s)", elapsed.as_secs_f64()),
            (tries, Some(elapsed)) => write!(f, " ({tries} attempts, {:.1} s)", elapsed.as_secs_f64()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        for attempt in self.attempts() {
            write!(f, "\n  {attempt}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// So that what takes a text for a URL takes a [`SafeUrl`] too.
impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            ErrorKind::NotFound => Io::NotFound,
            ErrorKind::Denied | ErrorKind::Unauthorized | ErrorKind::Refused => Io::PermissionDenied,
            ErrorKind::Timeout(_) => Io::TimedOut,
            ErrorKind::Truncated => Io::UnexpectedEof,
            ErrorKind::Integrity | ErrorKind::Changed | ErrorKind::Protocol => Io::InvalidData,
            ErrorKind::Input => Io::InvalidInput,
            ErrorKind::Unsupported => Io::Unsupported,
            ErrorKind::Connect | ErrorKind::Proxy | ErrorKind::Tls | ErrorKind::Dns => Io::ConnectionAborted,
            _ => Io::Other,
        };
        Self::new(kind, error)
    }
}
