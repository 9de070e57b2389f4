//! A scripted HTTP/1.1 server on bare TCP, plain or TLS, that lies, cuts and stalls on order, and remembers everything.
//!
//! Owns the listener, the table of resources and the record. Its invariant: dropping the [`Server`] ends every task and socket of it.
//! It must not know who asks.

mod act;
mod answer;
mod connection;
mod incoming;
mod record;
mod resource;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;

pub use act::{Act, RangeLie};
pub use record::{End, Request};
pub use resource::{Resource, http_date};

use super::certs::{Authority, Identity};
use super::door::Door;
use super::gauge::{Connections, Gauge};
use connection::Socket;
use record::Journal;
use resource::Representation;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server on 127.0.0.1; ends when dropped.
pub struct Server {
    shared: Arc<Shared>,
    door: Door,
    ca_pem: Option<String>,
}

/// How a [`Server`] is to be started.
#[derive(Default)]
pub struct Builder {
    tls: Option<TlsAcceptor>,
    ca_pem: Option<String>,
    send_buffer: Option<u32>,
}

struct Shared {
    resources: Mutex<HashMap<String, Resource>>,
    journal: Journal,
    bodies: Gauge,
    connections: Gauge,
    failed_handshakes: AtomicUsize,
    most_connections: AtomicUsize,
    most_requests: AtomicUsize,
    rate: AtomicU64,
}

impl Builder {
    /// TLS with this certificate; `authority` is who signed it.
    #[must_use]
    pub fn tls(mut self, identity: &Identity, authority: &Authority) -> Self {
        self.tls = Some(identity.server_config(None).into());
        self.ca_pem = Some(authority.pem().to_owned());
        self
    }

    /// TLS as in [`Builder::tls`], for clients with a certificate signed by `clients` only.
    #[must_use]
    pub fn mutual_tls(mut self, identity: &Identity, authority: &Authority, clients: &Authority) -> Self {
        self.tls = Some(identity.server_config(Some(clients)).into());
        self.ca_pem = Some(authority.pem().to_owned());
        self
    }

    /// The kernel's send buffer: small, and back-pressure shows early (the kernel doubles it).
    #[must_use]
    pub fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Listens and serves.
    pub async fn start(self) -> Server {
        let shared = Arc::new(Shared {
            resources: Mutex::default(),
            journal: Journal::default(),
            bodies: Gauge::default(),
            connections: Gauge::default(),
            failed_handshakes: AtomicUsize::new(0),
            most_connections: AtomicUsize::new(usize::MAX),
            most_requests: AtomicUsize::new(usize::MAX),
            rate: AtomicU64::new(u64::MAX),
        });
        let (tls, serving) = (self.tls, shared.clone());
        let door = Door::open(self.send_buffer, move |stream| {
            let (shared, tls) = (serving.clone(), tls.clone());
            let number = shared.connections.read().total as u64;
            let counted = shared.connections.enter();
            let full = shared.connections.read().open > shared.most_connections.load(Ordering::SeqCst);
            (!full).then_some(async move {
                let _counted = counted;
                serve(stream, tls, number, shared).await;
            })
        });
        Server { shared, door, ca_pem: self.ca_pem }
    }
}

impl Server {
    /// A plain server.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A TLS server for `localhost` and `127.0.0.1`, signed by an authority of its own: see [`Server::ca_pem`].
    pub async fn start_tls() -> Self {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost", "127.0.0.1"]);
        Self::builder().tls(&identity, &authority).start().await
    }

    /// A server with other certificates or buffers.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.door.addr()
    }

    /// The URL of `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.url_at("127.0.0.1", path)
    }

    /// The same with another name for this machine, such as `localhost`: another origin.
    #[must_use]
    pub fn url_at(&self, host: &str, path: &str) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{host}:{}{path}", self.addr().port())
    }

    /// The certificate of the authority to trust; `None` for a plain server.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Puts a resource under a path, in place of what was there, script and all.
    ///
    /// A request finds the resource under its whole target, else under its path without query (and without `http://host`, as sent to
    /// proxies), else under `"*"`, else gets 404.
    pub fn put(&self, path: &str, resource: Resource) {
        self.shared.resources().insert(path.to_owned(), resource);
    }

    /// Takes a resource away: 404.
    pub fn remove(&self, path: &str) {
        self.shared.resources().remove(path);
    }

    // What it does as a whole.

    /// Body bytes per second and connection, for every resource; `None` for no cap. Takes effect at once.
    pub fn rate_per_connection(&self, rate: Option<u64>) {
        self.shared.rate.store(rate.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Connections above this many are closed as soon as they are accepted.
    pub fn limit_connections(&self, most: Option<usize>) {
        self.shared.most_connections.store(most.unwrap_or(usize::MAX), Ordering::SeqCst);
    }

    /// Requests above this many at once are answered 503, and take no act from the queue.
    pub fn busy_above(&self, most: Option<usize>) {
        self.shared.most_requests.store(most.unwrap_or(usize::MAX), Ordering::SeqCst);
    }

    /// Closes every open connection, whatever it does.
    pub async fn hang_up(&self) {
        self.door.hang_up().await;
    }

    /// Closes everything, the listener too: connecting is refused.
    pub async fn go_down(&self) {
        self.door.shut().await;
    }

    /// Listens again, on the same port.
    pub async fn go_up(&self) {
        self.door.reopen().await;
    }

    // What it saw.

    /// Every request so far, in the order their heads were complete.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.journal.read()
    }

    /// The requests whose target is `target`.
    #[must_use]
    pub fn requests_for(&self, target: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.target == target.as_bytes()).collect()
    }

    /// Connections: in total, now, and the most at once.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.shared.connections.read()
    }

    /// The most bodies that were being sent at the same time.
    #[must_use]
    pub fn max_concurrent_bodies(&self) -> usize {
        self.shared.bodies.read().most
    }

    /// Bodies being sent now.
    #[must_use]
    pub fn bodies(&self) -> usize {
        self.shared.bodies.read().open
    }

    /// Body bytes the kernel took, over all requests.
    #[must_use]
    pub fn body_sent(&self) -> u64 {
        self.shared.journal.body_sent()
    }

    /// TLS handshakes that failed.
    #[must_use]
    pub fn failed_handshakes(&self) -> usize {
        self.shared.failed_handshakes.load(Ordering::SeqCst)
    }

    /// Waits until no request is being answered.
    pub async fn wait_idle(&self) {
        self.wait_until("no request is being answered", |server| server.shared.journal.running().open == 0)
            .await;
    }

    /// Waits until no connection is open.
    pub async fn wait_closed(&self) {
        self.wait_until("no connection is open", |server| server.connections().open == 0).await;
    }

    /// Waits until there were `n` requests.
    pub async fn wait_requests(&self, n: usize) {
        self.wait_until(&format!("there were {n} requests"), |server| server.shared.journal.len() >= n).await;
    }

    /// Waits until `done` holds; panics with `what` and the record after 20 s.
    pub async fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            let waited = start.elapsed();
            assert!(
                waited < PATIENCE,
                "not so after {waited:?}: {what}; {:?}; {:#?}",
                self.connections(),
                self.requests()
            );
            sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Shared {
    fn choose(&self, request: &Request) -> (Representation, Act) {
        let nothing = || Resource::act(Act::new()).next().0;
        if self.journal.running().open > self.most_requests.load(Ordering::SeqCst) {
            return (nothing(), Act::new().status(503));
        }
        let found = find(&mut self.resources(), &request.target).map(Resource::next);
        match found {
            Some((what, act)) => (what, act.choose(request)),
            None => (nothing(), Act::new().status(404).body("nothing here\n")),
        }
    }

    fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::SeqCst)).filter(|rate| *rate != u64::MAX)
    }

    fn resources(&self) -> MutexGuard<'_, HashMap<String, Resource>> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a>(resources: &'a mut HashMap<String, Resource>, target: &[u8]) -> Option<&'a mut Resource> {
    let target = String::from_utf8_lossy(target);
    let path = target.split('?').next().unwrap_or_default();
    let local = path.split_once("://").and_then(|(_, rest)| rest.find('/').map(|slash| &rest[slash..]));
    let key =
        [&*target, path, local.unwrap_or(path), "*"].into_iter().find(|key| resources.contains_key(*key))?;
    resources.get_mut(key)
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, number: u64, shared: Arc<Shared>) {
    match tls {
        None => connection::serve(Socket::Plain(stream), number, shared).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => connection::serve(Socket::Tls(Box::new(stream)), number, shared).await,
            Err(_) => {
                shared.failed_handshakes.fetch_add(1, Ordering::SeqCst);
            }
        },
    }
}
