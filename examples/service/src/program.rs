//! The roles of one process, put together from a configuration.
//!
//! Owns which roles run here and what they share: the store, and nothing else. Its one invariant: everything is opened before the first role
//! begins, and a stop reaches every role. It must not know the command line or signals.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Files};
use crate::callback::Callbacks;
use crate::callback::http::HttpCallback;
use crate::config::{Config, StoreChoice};
use crate::notifier::Notifier;
use crate::processor::Processor;
use crate::storage::Storages;
use crate::store::{Clock, MemoryStore, RedisStore, SqliteStore, Store};

/// Which roles run in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Roles {
    /// Takes jobs in.
    pub api: bool,
    /// Downloads.
    pub processor: bool,
    /// Tells callers how their downloads ended.
    pub notifier: bool,
}

impl Roles {
    /// Every role.
    pub const ALL: Self = Self { api: true, processor: true, notifier: true };
    /// No role.
    pub const NONE: Self = Self { api: false, processor: false, notifier: false };
}

/// Why the roles cannot begin: what was opened, and why not, causes included. No secret is in it.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {what}: {why}")]
pub struct Unopened {
    what: String,
    why: String,
}

fn unopened<E: std::error::Error>(what: impl fmt::Display) -> impl FnOnce(E) -> Unopened {
    move |error| {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        let why = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        Unopened { what: what.to_string(), why }
    }
}

/// Roles that are ready.
#[derive(Debug)]
pub struct Running {
    api: Option<(Api, TcpListener, SocketAddr)>,
    processor: Option<Processor>,
    notifier: Option<Notifier>,
}

impl Running {
    /// Opens the store, the storage and the port.
    ///
    /// # Errors
    /// The first that cannot be opened.
    pub async fn open(mut config: Config, roles: Roles) -> Result<Self, Unopened> {
        let store = open(&config).await?;
        let callbacks = callbacks(&config)?;
        config.api.rules.callbacks = callbacks.kinds().map(str::to_owned).collect();
        let notifier = match roles.notifier {
            false => None,
            true => {
                let settings = config.notifier.settings;
                if !matches!(config.store, StoreChoice::Redis(_)) {
                    // Nobody else can have this name, since nobody else can have the store.
                    store.recover(&settings.instance).await.map_err(unopened("the store"))?;
                }
                Some(Notifier::new(settings, Arc::clone(&store), callbacks))
            }
        };
        let processor = match roles.processor {
            false => None,
            true => {
                let storages = Storages::open(&config.storage).map_err(unopened("the storage"))?;
                let processor = Processor::new(Arc::clone(&store), storages, config.processor);
                Some(processor.map_err(unopened("the engine"))?)
            }
        };
        let api = match roles.api {
            false => None,
            true => {
                let host = if config.host.is_empty() { "::" } else { &config.host };
                let listener =
                    listen(host, config.port).await.map_err(unopened(format!("port {}", config.port)))?;
                let address = listener.local_addr().map_err(unopened("the port"))?;
                if config.serve_files {
                    config.api.files = Files::open(&config.storage).map_err(unopened("the files"))?;
                }
                Some((Api::new(config.api, store), listener, address))
            }
        };
        Ok(Self { api, processor, notifier })
    }

    /// Where the API of this process is.
    #[must_use]
    pub fn page(&self) -> Option<String> {
        let (.., address) = self.api.as_ref()?;
        let host =
            if address.ip().is_unspecified() { "localhost".to_owned() } else { address.ip().to_string() };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Some(format!("http://{host}:{}/", address.port()))
    }

    /// Runs all roles until `stop` is cancelled, and each has drained.
    pub async fn run(self, stop: CancellationToken) {
        let api = async {
            if let Some((api, listener, _)) = self.api
                && let Err(error) = api.serve(listener, stop.clone()).await
            {
                tracing::error!(%error, "the API ended");
                stop.cancel();
            }
        };
        let processor = async {
            if let Some(processor) = self.processor {
                processor.run(stop.clone()).await;
            }
        };
        let notifier = async {
            if let Some(notifier) = self.notifier {
                notifier.run(stop.clone()).await;
            }
        };
        tokio::join!(api, processor, notifier);
    }
}

async fn open(config: &Config) -> Result<Arc<dyn Store>, Unopened> {
    let (policy, clock) = (config.policy.clone(), Clock::system());
    Ok(match &config.store {
        StoreChoice::Memory => Arc::new(MemoryStore::new(policy, clock)),
        StoreChoice::Sqlite(path) => {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder).map_err(unopened(folder.display()))?;
            }
            Arc::new(SqliteStore::open(path, policy, clock).await.map_err(unopened("the store"))?)
        }
        StoreChoice::Redis(url) => {
            Arc::new(RedisStore::connect(url, policy, clock).await.map_err(unopened("the store"))?)
        }
    })
}

/// What carries callbacks. Nothing is connected to yet.
fn callbacks(config: &Config) -> Result<Callbacks, Unopened> {
    let http = HttpCallback::new(config.notifier.http.clone()).map_err(unopened("callbacks over HTTP"))?;
    let callbacks = Callbacks::default().with("http", http);
    #[cfg(feature = "amqp")]
    let callbacks = match &config.notifier.amqp {
        Some(settings) => {
            let amqp = crate::callback::amqp::AmqpCallback::new(settings.clone());
            callbacks.with("amqp", amqp.map_err(unopened("callbacks over AMQP"))?)
        }
        None => callbacks,
    };
    #[cfg(feature = "kafka")]
    let callbacks = match &config.notifier.kafka {
        Some(settings) => {
            callbacks.with("kafka", crate::callback::kafka::KafkaCallback::new(settings.clone()))
        }
        None => callbacks,
    };
    #[cfg(feature = "sqs")]
    let callbacks = match &config.notifier.sqs {
        Some(settings) => {
            let sqs = crate::callback::sqs::SqsCallback::new(settings.clone());
            callbacks.with("sqs", sqs.map_err(unopened("callbacks over SQS"))?)
        }
        None => callbacks,
    };
    Ok(callbacks)
}

/// All addresses of both families where the machine has them, else those of IPv4.
async fn listen(host: &str, port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((host, port)).await {
        Err(_) if host == "::" => TcpListener::bind(("0.0.0.0", port)).await,
        listening => listening,
    }
}
