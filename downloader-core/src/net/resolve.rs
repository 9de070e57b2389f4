//! From a host name to its addresses: the plug-in point, the system's resolver, and pinned names.
//!
//! Invariant: of one resolver a bounded number of look-ups run at once, and of each name it remembers only one,
//! whatever the callers do. Must not know: what is connected to, or whether it may be.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::fault;
use crate::error::{Error, ErrorKind, Result};

/// Names a [`SystemResolver`] remembers; beyond them the one unused for longest is forgotten.
pub const MOST_NAMES: usize = 1024;

/// Longest name that is looked up, in bytes: what DNS can carry (RFC 1035 §2.3.4), written out with a dot at the end.
pub const LONGEST_NAME: usize = 254;

/// How long a failure is told to others who ask for the same name.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// Turns host names into addresses. Plug in your own for DNS over HTTPS, service discovery, or tests.
///
/// It is asked for names only: addresses written as such ([`IpAddr`]) never reach it. What it answers is
/// subject to [`Admit`](super::dial::Admit) like any other address.
#[async_trait]
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// The addresses of a host, the preferred one first.
    ///
    /// The caller sets the time limit, by dropping the future.
    ///
    /// # Errors
    /// Kind `Dns` when the name has no address or could not be looked up.
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>>;
}

/// The resolver of the operating system (`getaddrinfo`): hosts file, DNS and whatever else it is set up for.
///
/// - A call of `getaddrinfo` cannot be stopped, so each runs on a thread of the runtime's blocking pool, at
///   most 16 at once ([`at_once`](Self::at_once)); further names wait for their turn. A runtime that is dropped
///   waits for those that run.
/// - Whoever asks for a name that is being looked up waits for that answer. A look-up that nobody waits for
///   any more runs to its end, and its answer counts.
/// - An answer is used for 10 s ([`keep_for`](Self::keep_for)): thousands of files of one host cost a look-up
///   every ten seconds, and a host that moves is found soon, although the system does not tell how long an
///   answer holds. A failure is told for 1 s.
/// - At most [`MOST_NAMES`] names are remembered.
///
/// Errors are of kind `Dns`; of kind `Local` when this machine ran out of file descriptors or memory. Names
/// are compared without regard to ASCII case.
pub struct SystemResolver {
    look_up: LookUp,
    turns: Arc<Semaphore>,
    keep: Duration,
    names: Mutex<HashMap<Box<str>, Name>>,
}

type LookUp = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// One name: what is known of it, to whoever's turn it is, and when it was last asked for.
struct Name {
    state: Arc<tokio::sync::Mutex<State>>,
    used: Instant,
}

enum State {
    Unknown,
    /// Somewhere on a thread. Stays here when the one who started it goes away.
    Running(JoinHandle<Answer>),
    Known(Answer),
}

struct Answer {
    addresses: Result<Vec<IpAddr>>,
    at: Instant,
}

impl SystemResolver {
    /// The system's resolver, with the defaults above.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Arc::new(|host| {
            // The port is not looked up.
            Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
        }))
    }

    /// How long an answer is used for further connections. Default 10 s; zero looks every name up anew.
    #[must_use]
    pub fn keep_for(self, time: Duration) -> Self {
        Self { keep: time, ..self }
    }

    /// How many names are looked up at once. Default 16; at least 1.
    #[must_use]
    pub fn at_once(self, names: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(names.clamp(1, Semaphore::MAX_PERMITS))), ..self }
    }

    fn with(look_up: LookUp) -> Self {
        Self {
            look_up,
            turns: Arc::new(Semaphore::new(16)),
            keep: Duration::from_secs(10),
            names: Mutex::default(),
        }
    }

    fn name(&self, host: &str) -> Arc<tokio::sync::Mutex<State>> {
        let now = Instant::now();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get_mut(host) {
            name.used = now;
            return Arc::clone(&name.state);
        }
        if names.len() >= MOST_NAMES
            && let Some(oldest) = names.iter().min_by_key(|(_, name)| name.used).map(|(host, _)| host.clone())
        {
            names.remove(&oldest);
        }
        let state = Arc::new(tokio::sync::Mutex::new(State::Unknown));
        names.insert(host.into(), Name { state: Arc::clone(&state), used: now });
        state
    }

    /// Is the answer good for someone who asked then?
    fn is_good(&self, answer: &Answer, asked: Instant) -> bool {
        let keep = if answer.addresses.is_ok() { self.keep } else { self.keep.min(FAILURE_KEPT) };
        asked <= answer.at || answer.at.elapsed() < keep
    }

    /// Starts a look-up as soon as there is a thread for it. Its turn ends with the thread's work, not with
    /// the caller's patience.
    async fn start(&self, host: &str) -> JoinHandle<Answer> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let (look_up, host): (_, Box<str>) = (Arc::clone(&self.look_up), host.into());
        spawn_blocking(move || {
            let _turn = turn;
            let addresses = match look_up(&host) {
                Ok(found) if found.is_empty() => {
                    Err(Error::new(ErrorKind::Dns, format!("the name {host} has no address")))
                }
                found => found.map_err(|error| failed(&host, error)),
            };
            Answer { addresses, at: Instant::now() }
        })
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>> {
        if host.is_empty() || host.len() > LONGEST_NAME {
            let what = format!("a host name of {} bytes; expected 1 to {LONGEST_NAME}", host.len());
            return Err(Error::new(ErrorKind::Dns, what));
        }
        let (host, asked) = (host.to_ascii_lowercase(), Instant::now());
        let name = self.name(&host);
        // One at a time: the first waits for the answer, the others for the first.
        let mut state = name.lock().await;
        let mut is_ours = false;
        loop {
            match &mut *state {
                State::Known(answer) if self.is_good(answer, asked) => return answer.addresses.clone(),
                State::Unknown | State::Known(_) => {
                    *state = State::Running(self.start(&host).await);
                    is_ours = true;
                }
                State::Running(thread) => match thread.await {
                    Ok(answer) => *state = State::Known(answer),
                    Err(error) => {
                        *state = State::Unknown;
                        // Somebody else's broke off with the runtime it was started on: ask on ours.
                        if is_ours || error.is_panic() {
                            return Err(failed(&host, io::Error::other(error)));
                        }
                    }
                },
            }
        }
    }
}

fn failed(host: &str, error: io::Error) -> Error {
    let kind = if fault::is_local(&error) { ErrorKind::Local } else { ErrorKind::Dns };
    Error::new(kind, format!("the name {host} could not be looked up")).with_source(error)
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemResolver(keep {:?})", self.keep)
    }
}

/// Names with addresses of your own: for tests, and to reach a host where DNS does not point yet.
///
/// A pinned name is never looked up; ASCII case does not matter. Any other name goes to the resolver named
/// with [`or`](Self::or), or has no address.
///
/// ```
/// use downloader_core::net::resolve::{Pinned, SystemResolver};
/// let resolver = Pinned::new().pin("new.example.org", ["192.0.2.7".parse()?]).or(SystemResolver::new());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Default)]
pub struct Pinned {
    names: HashMap<Box<str>, Box<[IpAddr]>>,
    others: Option<Box<dyn Resolve>>,
}

impl Pinned {
    /// No name has an address.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The addresses of this name, the preferred one first; replaces earlier ones. With none,
    /// the name has no address.
    #[must_use]
    pub fn pin(mut self, host: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.names.insert(host.to_ascii_lowercase().into(), addresses.into_iter().collect());
        self
    }

    /// Who is asked for all other names.
    #[must_use]
    pub fn or(self, resolver: impl Resolve) -> Self {
        Self { others: Some(Box::new(resolver)), ..self }
    }
}

#[async_trait]
impl Resolve for Pinned {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>> {
        match (self.names.get(&*host.to_ascii_lowercase()), &self.others) {
            (Some(addresses), _) if !addresses.is_empty() => Ok(addresses.to_vec()),
            (None, Some(others)) => others.resolve(host).await,
            _ => Err(Error::new(ErrorKind::Dns, format!("no address is pinned to the name {host}"))),
        }
    }
}

#[cfg(test)]
mod tests;
