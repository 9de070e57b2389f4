//! Dispatch by URL scheme: the innermost layer, which holds the backends.
//!
//! Invariant: a scheme nobody serves is refused before any I/O, with the schemes that are served named.
//! Must not know: what any scheme means.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::download::{Backend, Body, Download, Fetch};
use crate::error::{Error, Result};
use crate::url::SafeUrl;

/// The backends, by the schemes they serve.
///
/// Stateless once built: dropping the future of `open` drops the backend's own.
/// `Debug` prints what is served: `Schemes[file, http, https]`.
pub struct Schemes {
    table: BTreeMap<&'static str, Arc<dyn Backend>>,
}

impl Schemes {
    /// A table of these backends. Where two serve one scheme the later gets it, so a default can be replaced.
    #[must_use]
    pub fn new(backends: impl IntoIterator<Item = Arc<dyn Backend>>) -> Self {
        let mut table = BTreeMap::new();
        for backend in backends {
            for scheme in backend.schemes() {
                table.insert(*scheme, Arc::clone(&backend));
            }
        }
        Self { table }
    }

    /// True when a backend serves this scheme. Schemes are in lower case, without the colon.
    #[must_use]
    pub fn supports(&self, scheme: &str) -> bool {
        self.table.contains_key(scheme)
    }

    /// Refuses a URL that nobody serves, without any I/O.
    ///
    /// # Errors
    /// Kind `Unsupported`, naming the scheme and the accepted ones.
    pub fn check(&self, url: &SafeUrl) -> Result<()> {
        self.backend(url).map(|_| ())
    }

    fn backend(&self, url: &SafeUrl) -> Result<&Arc<dyn Backend>> {
        self.table.get(url.scheme()).ok_or_else(|| {
            let accepted = self.table.keys().copied().collect::<Vec<_>>().join(", ");
            let accepted = if accepted.is_empty() { "none" } else { &accepted };
            Error::unsupported(format!("URL scheme {}; accepted: {accepted}", url.scheme())).with_url(url)
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Download for Schemes {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        self.backend(&fetch.url)?.open(fetch).await
    }
}

impl fmt::Debug for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schemes[")?;
        for (index, scheme) in self.table.keys().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(scheme)?;
        }
        f.write_str("]")
    }
}

/// A backend that plays a script, for the unit tests of the layers.
#[cfg(test)]
pub(super) mod fake {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use tokio::time::sleep;

    use super::*;
    use crate::entity::Entity;
    use crate::error::ErrorKind;
    use crate::range::ByteRange;

    /// What the body does next; behind the last step it ends.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::layer) enum Step {
        /// This many bytes at once.
        Bytes(usize),
        /// Silence.
        Pause(Duration),
        /// An error of this kind.
        Fail(ErrorKind),
    }

    /// Answers every request alike, and counts.
    #[derive(Debug, Default)]
    pub(in crate::layer) struct Fake {
        /// Served by [`Backend::schemes`].
        pub(in crate::layer) schemes: &'static [&'static str],
        /// Time before the head is in.
        pub(in crate::layer) head: Duration,
        /// The body.
        pub(in crate::layer) steps: Vec<Step>,
        /// The answer instead of a body.
        pub(in crate::layer) refuse: Option<ErrorKind>,
        /// Requests so far.
        pub(in crate::layer) opened: AtomicUsize,
        /// Requests and bodies not yet dropped.
        pub(in crate::layer) alive: Arc<AtomicUsize>,
    }

    impl Fake {
        pub(in crate::layer) fn playing(steps: impl Into<Vec<Step>>) -> Arc<Self> {
            Arc::new(Self { steps: steps.into(), ..Self::default() })
        }

        pub(in crate::layer) fn alive(&self) -> usize {
            self.alive.load(Ordering::SeqCst)
        }
    }

    #[async_trait]
    impl Download for Fake {
        async fn open(&self, fetch: Fetch) -> Result<Body> {
            self.opened.fetch_add(1, Ordering::SeqCst);
            let alive = Alive::new(&self.alive);
            sleep(self.head).await;
            if let Some(kind) = self.refuse {
                return Err(Error::new(kind, "as told").with_url(&fetch.url));
            }
            let script = (alive, self.steps.clone().into_iter());
            let stream = stream::unfold(script, |(alive, mut steps)| async move {
                loop {
                    let item = match steps.next()? {
                        Step::Bytes(count) => Ok(Bytes::from(vec![7; count])),
                        Step::Fail(kind) => Err(Error::new(kind, "as told")),
                        Step::Pause(time) => {
                            sleep(time).await;
                            continue;
                        }
                    };
                    return Some((item, (alive, steps)));
                }
            });
            Ok(Body::new(Entity::default(), ByteRange::ALL, stream.boxed()))
        }
    }

    impl Backend for Fake {
        fn schemes(&self) -> &'static [&'static str] {
            self.schemes
        }
    }

    struct Alive(Arc<AtomicUsize>);

    impl Alive {
        fn new(count: &Arc<AtomicUsize>) -> Self {
            count.fetch_add(1, Ordering::SeqCst);
            Self(Arc::clone(count))
        }
    }

    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub(in crate::layer) fn fetch(url: &str) -> Fetch {
        Fetch::new(url.parse().unwrap())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::fake::{Fake, fetch};
    use super::*;
    use crate::error::ErrorKind;

    fn serving(schemes: &'static [&'static str]) -> Arc<Fake> {
        Arc::new(Fake { schemes, ..Fake::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_goes_to_the_backend_of_its_scheme() {
        let (web, file) = (serving(&["http", "https"]), serving(&["file"]));
        let schemes = Schemes::new([web.clone() as Arc<dyn Backend>, file.clone()]);
        for url in ["https://h/a", "HTTP://h/a", "file:///a"] {
            schemes.open(fetch(url)).await.unwrap();
        }
        assert_eq!(web.opened.load(Ordering::SeqCst), 2);
        assert_eq!(file.opened.load(Ordering::SeqCst), 1);
        assert_eq!(format!("{schemes:?}"), "Schemes[file, http, https]");
    }

    #[tokio::test]
    async fn an_unknown_scheme_is_refused_and_the_accepted_ones_are_named() {
        let web = serving(&["http", "https"]);
        let schemes = Schemes::new([web.clone() as Arc<dyn Backend>]);
        let error = schemes.open(fetch("gopher://u:pw@h/a?key=secret")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(
            error.to_string(),
            "unsupported: URL scheme gopher; accepted: http, https: gopher://***@h/a?key=***"
        );
        assert_eq!(web.opened.load(Ordering::SeqCst), 0);
        assert!(schemes.check(&"gopher://h/".parse().unwrap()).is_err());
        assert!(schemes.check(&"http://h/".parse().unwrap()).is_ok());
        assert!(schemes.supports("https") && !schemes.supports("HTTPS"));
        let empty = Schemes::new([]).check(&"http://h/".parse().unwrap()).unwrap_err();
        assert_eq!(empty.what(), "URL scheme http; accepted: none");
    }

    #[tokio::test(start_paused = true)]
    async fn the_later_backend_replaces_the_earlier() {
        let (first, second) = (serving(&["http"]), serving(&["http"]));
        let schemes = Schemes::new([first.clone() as Arc<dyn Backend>, second.clone()]);
        schemes.open(fetch("http://h/")).await.unwrap();
        assert_eq!(first.opened.load(Ordering::SeqCst), 0);
        assert_eq!(second.opened.load(Ordering::SeqCst), 1);
    }
}
