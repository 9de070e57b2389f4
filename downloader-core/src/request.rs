//! What the caller wants: whose bytes, what must be true of them, and on which terms.
//!
//! Invariant: a `Request` that exists is well-formed; malformed input was refused with the field named.
//! Must not know: how any of it is done. Plain data, cheap to clone.

use std::sync::Arc;
use std::time::Duration;

use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::layer::throttle::Rate;
use crate::options::Options;
use crate::range::ByteRange;
use crate::retry::RetryPolicy;
use crate::sources::{Fixed, Locate, Source};
use crate::url::SafeUrl;
use crate::validate::{Digest, Size, Validator};

/// A download to be done: sources, checks and terms. See [`Engine`](crate::Engine) for what does it.
///
/// ```
/// use downloader_core::Request;
/// let request = Request::get("https://example.org/f.iso")?
///     .size(1234)
///     .sha256("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")?
///     .group("nightly");
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) locate: Arc<dyn Locate>,
    pub(crate) validators: Vec<Arc<dyn Validator>>,
    pub(crate) size: Option<u64>,
    pub(crate) retry: Option<Arc<dyn RetryPolicy>>,
    pub(crate) connections: Connections,
    pub(crate) range: ByteRange,
    pub(crate) unless: Option<Entity>,
    pub(crate) body: bool,
    pub(crate) strict: bool,
    pub(crate) deadline: Option<Duration>,
    pub(crate) terms: Arc<Terms>,
    pub(crate) options: Options,
}

/// How many connections one download may use at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Connections {
    /// One, until there is evidence that more help; then up to 16, while they do.
    #[default]
    Automatic,
    /// This many at once, as far as the content can be split; 0 counts as 1.
    Exactly(u16),
}

/// On whose account and how patiently: what the layers read of a request.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Terms {
    /// The group whose limits apply.
    pub group: Option<Arc<str>>,
    /// Who goes first when permits are short: higher before lower. Default 0.
    pub priority: i32,
    /// The download's own speed limit; keep a clone to change it while it runs.
    pub rate: Option<Rate>,
    /// The download's own patience; `None` uses the engine's.
    pub patience: Option<Patience>,
    /// How long an origin is left alone at most that asks this download for it; `None` is 5 min. The engine sets it as
    /// the retry policy says ([`RetryPolicy::longest_rest`]).
    pub longest_rest: Option<Duration>,
}

/// How long the far side may be silent or slow. `None` switches a clock off.
///
/// No clock runs while the consumer takes no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Patience {
    /// From the request to the head of the reply, connecting included. Default 60 s.
    pub head: Option<Duration>,
    /// Without a single byte of the body. Default 60 s.
    pub idle: Option<Duration>,
    /// Least bytes within a window. Default: none.
    pub slow: Option<LowestSpeed>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Some(Duration::from_secs(60)), idle: Some(Duration::from_secs(60)), slow: None }
    }
}

/// The lowest speed that is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct LowestSpeed {
    /// Bytes per second, on average over the window.
    pub bytes_per_second: u64,
    /// The window: time spent waiting for the far side.
    pub window: Duration,
}

impl Request {
    /// A download from one URL.
    ///
    /// # Errors
    /// Kind `Input` when the URL is malformed.
    pub fn get<U>(url: U) -> Result<Self>
    where
        U: TryInto<SafeUrl>,
        Error: From<U::Error>,
    {
        let url: SafeUrl = url.try_into()?;
        Ok(Self::located(Arc::new(Fixed::new(vec![Source::new(url)]))))
    }

    /// A download from any of several URLs that serve the same content, the first preferred.
    ///
    /// # Errors
    /// Kind `Input` when a URL is malformed or there is none.
    pub fn mirrors<U>(urls: impl IntoIterator<Item = U>) -> Result<Self>
    where
        U: TryInto<SafeUrl>,
        Error: From<U::Error>,
    {
        let mut sources = Vec::new();
        for url in urls {
            sources.push(Source::new(url.try_into()?));
        }
        if sources.is_empty() {
            return Err(Error::input("mirrors: expected at least one URL"));
        }
        Ok(Self::located(Arc::new(Fixed::new(sources))))
    }

    /// A download whose sources are named by a plug-in: a mirror list, a metalink, a link that expires.
    #[must_use]
    pub fn located(locate: Arc<dyn Locate>) -> Self {
        Self {
            locate,
            validators: Vec::new(),
            size: None,
            retry: None,
            connections: Connections::default(),
            range: ByteRange::ALL,
            unless: None,
            body: true,
            strict: false,
            deadline: None,
            terms: Arc::default(),
            options: Options::default(),
        }
    }

    /// A request for another URL on the same terms: with the options, the retry policy, the patience, limits and deadline of
    /// this one, without its checks, size, range and condition, which are of its content.
    #[must_use]
    pub fn at(&self, url: SafeUrl) -> Self {
        Self {
            retry: self.retry.clone(),
            connections: self.connections,
            strict: self.strict,
            deadline: self.deadline,
            terms: Arc::clone(&self.terms),
            options: self.options.clone(),
            ..Self::located(Arc::new(Fixed::new(vec![Source::new(url)])))
        }
    }

    /// The content must have this many bytes; another announced size is refused before the body is read.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self.check(Size::exactly(bytes))
    }

    /// The content may have at most this many bytes. More is refused with kind `Refused`, which is not repeated: when
    /// it is announced, before the body is read, and the next source is asked; else when the byte too many comes,
    /// which ends the download. Up to 3 MiB beyond the limit may reach a writer, which publishes none of them.
    #[must_use]
    pub fn max_size(self, bytes: u64) -> Self {
        self.check(Size::at_most(bytes))
    }

    /// The content must have this SHA-256, in hexadecimal.
    ///
    /// # Errors
    /// Kind `Input` when it is not 64 hexadecimal digits.
    pub fn sha256(self, hex: &str) -> Result<Self> {
        Ok(self.check(Digest::sha256(hex)?))
    }

    /// The content must pass this check; several are all asked.
    #[must_use]
    pub fn check(self, validator: impl Validator) -> Self {
        self.check_shared(Arc::new(validator))
    }

    /// The content must pass this check, which other requests share.
    #[must_use]
    pub fn check_shared(mut self, validator: Arc<dyn Validator>) -> Self {
        self.validators.push(validator);
        self
    }

    /// Decides on repeats instead of the engine's policy.
    #[must_use]
    pub fn retry(mut self, policy: impl RetryPolicy) -> Self {
        self.retry = Some(Arc::new(policy));
        self
    }

    /// How many connections may be used at a time.
    #[must_use]
    pub fn connections(mut self, connections: Connections) -> Self {
        self.connections = connections;
        self
    }

    /// Only these bytes of the content; for streams, a download refuses it. Checks of the whole content then do not
    /// apply.
    #[must_use]
    pub fn range(mut self, range: ByteRange) -> Self {
        self.range = range;
        self
    }

    /// Fetches only if the content is no longer this one; else the outcome is *not modified*.
    #[must_use]
    pub fn unless(mut self, entity: Entity) -> Self {
        self.unless = Some(entity);
        self
    }

    /// Asks for the head only: no body is transferred, nothing is checked against one.
    #[must_use]
    pub fn head_only(mut self) -> Self {
        self.body = false;
        self
    }

    /// Joins bytes of two replies only on proof (strong entity tag, or size and settled time of one source).
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// The time for everything together: attempts, waits, mirrors, and the consumer. Default: none.
    #[must_use]
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = Some(time);
        self
    }

    /// The group whose limits apply.
    #[must_use]
    pub fn group(mut self, name: impl Into<Arc<str>>) -> Self {
        self.terms_mut().group = Some(name.into());
        self
    }

    /// Who goes first when permits are short: higher before lower. Default 0.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.terms_mut().priority = priority;
        self
    }

    /// This download's own speed limit; keep a clone of it to change it while it runs.
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.terms_mut().rate = Some(rate);
        self
    }

    /// This download's own patience instead of the engine's.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.terms_mut().patience = Some(patience);
        self
    }

    /// Tells the backend something, by type (such as request headers for HTTP).
    #[must_use]
    pub fn option<T: std::any::Any + Send + Sync>(mut self, value: T) -> Self {
        self.options.insert(value);
        self
    }

    /// The same, and vouches that the value is equal to every other one of this type and name, so that requests that are
    /// equal otherwise may share a transfer ([`SingleFlight`](crate::SingleFlight)). Without a name only the very same
    /// value, of a clone of this request, is taken for equal. The name may be secret: it is not printed.
    #[must_use]
    pub fn option_known_as<T: std::any::Any + Send + Sync>(
        mut self,
        name: impl Into<Arc<str>>,
        value: T,
    ) -> Self {
        self.options.insert_known_as(name, value);
        self
    }

    /// What was told to the backend under this type.
    #[must_use]
    pub fn option_of<T: std::any::Any + Send + Sync>(&self) -> Option<&T> {
        self.options.get()
    }

    fn terms_mut(&mut self) -> &mut Terms {
        Arc::make_mut(&mut self.terms)
    }
}
