//! Who serves the content: how sources are named, by a list or by a plug-in that can name them anew.
//!
//! Invariant: a source is known by its name, if whoever names it vouches for one, else by its URL. Must not know: what
//! became of asking it.

mod expiry;
mod known;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::expiry::expires;
pub(crate) use self::expiry::explained;
pub(crate) use self::known::{Id, Outlook, Picked, Sources};
use crate::entity::SourceId;
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::options::Options;
use crate::url::SafeUrl;

/// Sources used of what a [`Locate`] names; further ones are left out.
pub const MOST_SOURCES: usize = 256;

/// One place that serves the content.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Source {
    /// Where it is.
    pub url: SafeUrl,
    /// Lower is asked first; sources of equal priority are ordered by health, then as listed. Default 0.
    pub priority: u32,
    /// What the backend is told for this source only, over the options of the request.
    pub options: Options,
    /// What it is called, if not by its URL: see [`Source::named`].
    pub name: Option<Arc<str>>,
}

impl Source {
    /// A source of priority 0.
    #[must_use]
    pub fn new(url: SafeUrl) -> Self {
        Self { url, priority: 0, options: Options::default(), name: None }
    }

    /// Vouches that it is the same source as every other one of this name, whatever its URL: a link that was signed anew.
    ///
    /// Entity tags and times of one source are comparable, so what came over the old link is continued over the new one
    /// as if it were the same, in this run and in a later one that finds what an earlier one left. Without a name another
    /// URL is another source, and only a digest lets their bytes be joined. The name belongs to one content at one server:
    /// `bucket/key`, or the link without what is signed. It is kept with a partial as a fingerprint.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// By what it is known.
    #[must_use]
    pub fn id(&self) -> SourceId {
        self.name
            .as_ref()
            .map_or_else(|| SourceId::Url(self.url.clone()), |name| SourceId::Name(name.clone()))
    }

    /// Sets the priority: lower is asked first.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Tells the backend something, by type, for this source only.
    #[must_use]
    pub fn option<T: std::any::Any + Send + Sync>(mut self, value: T) -> Self {
        self.options.insert(value);
        self
    }
}

/// Names the sources of a request: a list of URLs, a mirror list, a metalink, a link that expires.
///
/// # Cancellation
/// The future is dropped when the download is.
#[async_trait]
pub trait Locate: fmt::Debug + Send + Sync + 'static {
    /// Called at the start, and again, with the reason, when no source is left: once for all who wait. The reason is why
    /// the last sources were given up: for a link that was refused with 403, or not asked because it has expired, an error
    /// of kind `Denied`.
    ///
    /// At most 256 sources are used. When it was asked again three times, and the download has not got a byte further
    /// than before, the download gives up.
    ///
    /// # Errors
    /// The download fails, with this error unless an earlier one says more.
    async fn locate(&self, last: Option<&Error>) -> Result<Vec<Source>>;

    /// True when asking again may bring a link that works longer. Then a link whose own parameters say that it has
    /// expired, or will within five seconds, is not asked any more (see [`expires`]); unless it came so, for then the
    /// clocks differ. Default: true.
    fn renews(&self) -> bool {
        true
    }

    /// Adds what names the sources, for [`SingleFlight`](crate::SingleFlight): two locators of one identity name the same
    /// sources. Default: false, nothing is added, and only the very same locator is equal to this one.
    fn identify(&self, identity: &mut Identity) -> bool {
        let _ = identity;
        false
    }
}

/// The constant list of sources.
#[derive(Debug)]
pub struct Fixed(Vec<Source>);

impl Fixed {
    /// These sources, in this order.
    #[must_use]
    pub fn new(sources: Vec<Source>) -> Self {
        Self(sources)
    }
}

#[async_trait]
impl Locate for Fixed {
    async fn locate(&self, last: Option<&Error>) -> Result<Vec<Source>> {
        match last {
            // Asking again would not name others.
            Some(error) => Err(error.clone()),
            None => Ok(self.0.clone()),
        }
    }

    fn renews(&self) -> bool {
        false
    }

    fn identify(&self, identity: &mut Identity) -> bool {
        identity.add("sources", (self.0.len() as u64).to_le_bytes());
        for Source { url, priority, options, name } in &self.0 {
            identity.add("url", url.expose().as_str());
            identity.add("priority", priority.to_le_bytes());
            identity.add("name", format!("{name:?}"));
            identity.add_options(options);
        }
        true
    }
}
