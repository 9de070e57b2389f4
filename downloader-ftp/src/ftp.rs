//! The backend: one request becomes one body.
//!
//! Invariant: one request on the wire for each `open`; only a connection that waited in the pool and brought no reply is
//! replaced by a new one. Must not know: retries, mirrors, writers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use downloader_core::credentials::LoginSource;
use downloader_core::listing::Entries;
use downloader_core::net::{GroupProxies, Guard, Proxies, Route};
use downloader_core::{Backend, Body, ByteRange, Download, Error, ErrorKind, Fetch, Result, Wire};
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::builder::FtpBuilder;
use super::connect::Connector;
use super::control::Duplex;
use super::listing;
use super::login;
use super::options::{FtpMethod, FtpMode, FtpOptions, FtpTls};
use super::pool::{Key, Pool};
use super::request::{Answer, Asked, Form, Outcome, served};
use super::servers::Servers;
use super::session::Session;
use super::target::Target;
use super::transfer::Transfer;

/// What a backend sets for all its requests.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) ftp: FtpTls,
    pub(crate) ftps: FtpTls,
    pub(crate) defaults: FtpOptions,
    pub(crate) reply_timeout: Option<Duration>,
    pub(crate) sources: Vec<Arc<dyn LoginSource>>,
    pub(crate) proxies: Option<Proxies>,
    pub(crate) group_proxies: GroupProxies,
    pub(crate) guard: Option<Guard>,
}

/// Serves `ftp:` and `ftps:` URLs. Cheap to clone: clones share connections.
#[derive(Clone)]
pub struct Ftp(Arc<Inner>);

struct Inner {
    connector: Connector,
    settings: Settings,
    pool: Pool,
    servers: Servers,
}

impl Ftp {
    /// Settings for a backend.
    pub fn builder() -> FtpBuilder {
        FtpBuilder::new()
    }

    pub(crate) fn new(
        connector: Connector,
        settings: Settings,
        idle_timeout: Option<Duration>,
        idle_per_host: usize,
    ) -> Self {
        let pool = Pool::new(idle_timeout, idle_per_host);
        Self(Arc::new(Inner { connector, settings, pool, servers: Servers::default() }))
    }
}

impl fmt::Debug for Ftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ftp").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Backend for Ftp {
    fn schemes(&self) -> &'static [&'static str] {
        &["ftp", "ftps"]
    }
}

#[async_trait]
impl Download for Ftp {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        self.0.open(&fetch).await.map_err(|error| error.with_url(&fetch.url))
    }
}

/// A request, with all that was chosen for it.
struct Request<'a> {
    fetch: &'a Fetch,
    target: Target,
    chosen: FtpOptions,
    key: Key,
}

impl Inner {
    async fn open(&self, fetch: &Fetch) -> Result<Body> {
        if let Some(guard) = &self.settings.guard {
            guard.check_url(&fetch.url)?;
        }
        let own = fetch.options.get::<FtpOptions>().copied().unwrap_or_default();
        let mut chosen = own.or(self.settings.defaults);
        let encoding = chosen.encoding.unwrap_or_default();
        let target = Target::of(&fetch.url, encoding)?;
        if !fetch.listing && (target.name.is_empty() || target.is_listing) {
            return Err(Error::unsupported("the URL names a directory"));
        }
        let tls = self.tls(fetch, own)?;
        chosen.tls = Some(tls);
        let credentials = login::of(fetch, &self.settings.sources).await?;
        let port = match fetch.url.expose().port() {
            None if tls != FtpTls::Implicit => 21,
            None => 990,
            Some(port) => port,
        };
        let key = Key { origin: fetch.url.origin().into(), port, tls, credentials, proxy: None, encoding };
        let mut request = Request { fetch, target, chosen, key };
        let mut failure = None;
        for route in self.routes(fetch) {
            request.key.proxy = match &route {
                Route::Via(proxy) => Some(proxy.clone()),
                _ => None,
            };
            match self.by(&request, &route).await {
                // The next proxy may do better.
                Err(error) if matches!(error.kind(), ErrorKind::Proxy | ErrorKind::ProxyUnauthorized) => {
                    failure = Some(error);
                }
                outcome => return outcome,
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Proxy, "no proxy is left")))
    }

    fn tls(&self, fetch: &Fetch, own: FtpOptions) -> Result<FtpTls> {
        match (fetch.url.scheme(), own.tls) {
            ("ftps", Some(FtpTls::Off)) => Err(Error::unsupported("an ftps URL without TLS")),
            (_, Some(tls)) => Ok(tls),
            ("ftps", None) => Ok(self.settings.ftps),
            (_, None) => Ok(self.settings.ftp),
        }
    }

    fn routes(&self, fetch: &Fetch) -> Vec<Route> {
        let own = fetch.options.get::<Proxies>().cloned();
        let of_group = || self.settings.group_proxies.of(fetch.terms.group.as_deref()?);
        let proxies = own.or_else(of_group).or_else(|| self.settings.proxies.clone());
        proxies.map_or_else(|| vec![Route::Direct], |proxies| proxies.choose(&fetch.url))
    }

    async fn by(&self, request: &Request<'_>, route: &Route) -> Result<Body> {
        loop {
            let (mut session, reused) = self.session(request, route).await?;
            session.answered = false;
            let address = session.connection.address;
            let sent = Instant::now();
            let asked = Asked {
                fetch: request.fetch,
                target: &request.target,
                method: request.chosen.method.unwrap_or(FtpMethod::Multicwd),
                mode: request.chosen.mode.unwrap_or(FtpMode::Passive),
                connector: &self.connector,
                servers: &self.servers,
                origin: &request.key.origin,
            };
            let wire = |session: &Session, status| {
                let mut wire = Wire::default();
                wire.address = address;
                wire.status = Some(status);
                wire.protocol = Some(if session.tls.is_some() { "FTPS" } else { "FTP" });
                wire.connection = Some(Arc::clone(&session.connection));
                wire.reused = reused;
                wire.first_byte = Some(sent.elapsed());
                wire
            };
            let outcome = if request.fetch.listing {
                match asked.listing(&mut session).await {
                    Ok((status, data, form)) => {
                        let wire = wire(&session, status);
                        match self.listed(request, session, data, form).await {
                            Ok(Some(body)) => return Ok(Body { wire, ..body }),
                            // Asked once more, without the flag.
                            Ok(None) => continue,
                            Err(error) => return Err(error),
                        }
                    }
                    Err(error) => Err(error),
                }
            } else {
                asked.file(&mut session).await
            };
            match outcome {
                Ok(answer) => {
                    let wire = wire(&session, answer.status);
                    return Ok(Body { wire, ..self.body(request, session, answer) });
                }
                // Of connections that waited, many may have ended by now.
                Err(error) if reused && !session.answered && is_over(&error) => {}
                Err(error) => {
                    // What a server does not have costs no connection.
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Denied) {
                        self.keep(request, session);
                    }
                    return Err(if error.address().is_some() { error } else { error.with_address(address) });
                }
            }
        }
    }

    async fn session(&self, request: &Request<'_>, route: &Route) -> Result<(Box<Session>, bool)> {
        let method = request.chosen.method.unwrap_or(FtpMethod::Multicwd);
        let (directories, _) = request.target.by(method);
        if !request.fetch.fresh {
            while let Some(session) = self.pool.take(&request.key) {
                if session.can_enter(&directories) {
                    return Ok((session, true));
                }
            }
        }
        let known = self.servers.of(&request.key.origin).features;
        let is_known = known.is_some();
        let reply_timeout = self.settings.reply_timeout;
        let opening =
            Session::open(&self.connector, &request.fetch.url, &request.key, route, known, reply_timeout);
        // Two handshakes, one within the other: too large to be part of every request.
        let session = Box::pin(opening).await?;
        if !is_known {
            let features = Arc::clone(&session.features);
            self.servers.learn(&request.key.origin, |known| known.features = Some(features));
        }
        Ok((Box::new(session), false))
    }

    fn keep(&self, request: &Request<'_>, session: Box<Session>) {
        if !request.fetch.fresh {
            self.pool.downgrade().keep(&request.key, session);
        }
    }

    fn body(&self, request: &Request<'_>, session: Box<Session>, answer: Answer) -> Body {
        let Answer { entity, seekable, outcome, .. } = answer;
        let size = entity.size;
        let mut body = match outcome {
            Outcome::NotModified => {
                self.keep(request, session);
                return Body::not_modified(entity);
            }
            Outcome::Nothing(at) => {
                self.keep(request, session);
                Body::new(entity, ByteRange::new(at, at), stream::empty().boxed())
            }
            Outcome::Data(start, data) => {
                let (range, stop) = served(start, request.fetch.range, size);
                let transfer = self.transfer(request, session, data);
                let transfer = Transfer { at: start, size, stop, ..transfer };
                Body::new(entity, range, transfer.stream())
            }
        };
        body.seekable = seekable;
        body
    }

    fn transfer(&self, request: &Request<'_>, session: Box<Session>, data: Box<dyn Duplex>) -> Transfer {
        let home = (!request.fetch.fresh).then(|| (self.pool.downgrade(), request.key.clone()));
        let (url, noop) = (request.fetch.url.clone(), request.chosen.noop.flatten());
        Transfer { session, data, home, url, at: 0, size: None, stop: None, noop }
    }

    /// The body of a listing; `None` when the flag was taken for a name, and nothing of that name was found.
    async fn listed(
        &self,
        request: &Request<'_>,
        session: Box<Session>,
        data: Box<dyn Duplex>,
        form: Form,
    ) -> Result<Option<Body>> {
        let mut transfer = self.transfer(request, session, data);
        let mut first = BytesMut::new();
        if form == Form::Hidden && !transfer.has_bytes(&mut first).await? {
            // Even an empty directory shows itself and its parent.
            self.servers.learn(&request.key.origin, |known| known.no_hidden = true);
            return Ok(None);
        }
        let parser = listing::parser(form == Form::Facts, request.key.encoding);
        let first = stream::iter((!first.is_empty()).then(|| Ok::<Bytes, Error>(first.freeze())));
        let directory = request.fetch.url.clone();
        let stream = first.chain(transfer.stream()).boxed();
        Ok(Some(Body::listing(Entries { directory, parser }, stream)))
    }
}

impl FtpOptions {
    fn or(self, other: Self) -> Self {
        Self {
            method: self.method.or(other.method),
            mode: self.mode.or(other.mode),
            tls: self.tls.or(other.tls),
            encoding: self.encoding.or(other.encoding),
            noop: self.noop.or(other.noop),
        }
    }
}

/// Is the connection over, rather than the request refused?
fn is_over(error: &Error) -> bool {
    error.kind() == ErrorKind::Connect || error.status() == Some(421)
}
