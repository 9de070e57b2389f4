//! The backend: a URL becomes a server, a session and a path, and one request a body.
//!
//! Invariant: one request opens one file once; nothing is repeated here. Must not know: retries, mirrors, writers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use downloader_core::credentials::{LoginSource, RequestCredentials};
use downloader_core::net::{GroupProxies, Proxies, Route};
use downloader_core::{Backend, Body, Download, Error, ErrorKind, Fetch, Result};

#[cfg(feature = "ssh2")]
use crate::builder::Library;
use crate::builder::SftpBuilder;
use crate::listing::list;
use crate::open::open;
use crate::path;
use crate::transport::{Need, Pool, Settings, Target};

/// SFTP (version 3) over SSH.
///
/// URLs are `sftp://user@host/path`, with the path from the root, or `sftp://user@host/~/path` with one from the folder
/// that the server logs into. The content is identified by its size and time of modification, in whole seconds; the time
/// proves identity once it is a minute old.
///
/// Requests to one server share a connection: up to 64 files at a time over one session, up to four sessions over one
/// connection. A request that wants a connection for itself gets one ([`Fetch::alone`]).
///
/// Directories are listed in the order of the server, one answer ahead; owners are numbers, times whole seconds.
///
/// # Errors
/// Those of [`Download`]: `NotFound`, `Denied`, `Busy` (the server failed), `Unsupported` for a directory and anything
/// else that is no file; `Unauthorized` when the server lets us in by nothing we have; `Refused` for a host key that is
/// not known, changed or revoked; `Changed` and `Truncated` for a file that was written to, or became shorter, while it was
/// read.
///
/// # Cancellation
/// Dropping the future or the body closes the handle on the server; the session goes on for others, answers nobody waits
/// for are thrown away.
///
/// ```
/// use downloader_sftp::{Identity, KnownHosts, NewHosts, Sftp};
/// let sftp = Sftp::builder()
///     .known_hosts(KnownHosts::user()?.and_system())
///     .new_hosts(NewHosts::Reject)
///     .user("importer")
///     .build()?;
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Sftp(Arc<Inner>);

struct Inner {
    settings: Arc<Settings>,
    #[cfg(feature = "ssh2")]
    library: Library,
    pool: Pool,
    logins: Vec<Arc<dyn LoginSource>>,
    proxies: Option<Proxies>,
    group_proxies: GroupProxies,
}

impl Sftp {
    /// Settings to make one of.
    pub fn builder() -> SftpBuilder {
        SftpBuilder::new()
    }

    pub(crate) fn new(
        settings: Settings,
        #[cfg(feature = "ssh2")] library: Library,
        logins: Vec<Arc<dyn LoginSource>>,
        proxies: Option<Proxies>,
        group_proxies: GroupProxies,
    ) -> Self {
        let settings = Arc::new(settings);
        let pool = Pool::new(Arc::clone(&settings));
        Self(Arc::new(Inner {
            settings,
            #[cfg(feature = "ssh2")]
            library,
            pool,
            logins,
            proxies,
            group_proxies,
        }))
    }

    async fn reply(&self, fetch: &Fetch) -> Result<Body> {
        let settings = &self.0.settings;
        if let Some(guard) = &settings.guard {
            guard.check_url(&fetch.url)?;
        }
        let path = path::of_url(&fetch.url)?;
        let target = self.target(fetch).await?;
        let need = Need { alone: fetch.alone, fresh: fetch.fresh };
        let mut failure = None;
        for route in self.routes(fetch) {
            #[cfg(feature = "ssh2")]
            if self.0.library == Library::Libssh2 {
                match crate::libssh::open(settings, &target, fetch, path.clone(), &route).await {
                    Err(error) if error.kind() == ErrorKind::Proxy => failure = Some(error),
                    opened => return opened,
                }
                continue;
            }
            match self.0.pool.lease(&target, &fetch.url, &route, need).await {
                Ok(lease) => {
                    let address = lease.connection().address;
                    let opened = if fetch.listing {
                        list(lease, fetch, &path).await
                    } else {
                        open(lease, fetch, &path).await
                    };
                    return opened.map_err(|error| match error.address() {
                        None => error.with_address(address),
                        Some(_) => error,
                    });
                }
                // The next proxy may do better.
                Err(error) if matches!(error.kind(), ErrorKind::Proxy) => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Proxy, "no way leads to the server")))
    }

    /// The server, and who we are to it: what the request brings, then what its URL says, then what a source has.
    async fn target(&self, fetch: &Fetch) -> Result<Target> {
        let url = &fetch.url;
        let own = fetch.options.get::<RequestCredentials>().and_then(|own| own.of(url));
        let own = own.map(|(credentials, _)| credentials);
        let is_enough = own.is_some() || url.expose().password().is_some();
        let found = if is_enough { None } else { self.0.logins.login(url).await? };
        Target::of_url(url, own, found.as_ref(), self.0.settings.user.as_deref())
    }

    /// Those of the request, of its group, or of the backend.
    fn routes(&self, fetch: &Fetch) -> Vec<Route> {
        let inner = &self.0;
        let own = fetch.options.get::<Proxies>().cloned();
        let of_group = || inner.group_proxies.of(fetch.terms.group.as_deref()?);
        let proxies = own.or_else(of_group).or_else(|| inner.proxies.clone());
        proxies.map_or_else(|| vec![Route::Direct], |proxies| proxies.choose(&fetch.url))
    }
}

impl Backend for Sftp {
    fn schemes(&self) -> &'static [&'static str] {
        &["sftp"]
    }
}

#[async_trait]
impl Download for Sftp {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        // The way to a session is long and seldom gone: it is boxed to keep the rest small.
        Box::pin(self.reply(&fetch)).await.map_err(|error| error.with_url(&fetch.url))
    }
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        f.debug_struct("Sftp")
            .field("settings", &inner.settings)
            .field("pool", &inner.pool)
            .finish_non_exhaustive()
    }
}
