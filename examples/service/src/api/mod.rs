//! The role that takes jobs in and shows what became of them, over HTTP.
//!
//! Owns the endpoints and the door they are behind. Its one invariant: it keeps nothing of a job outside the [`Store`], so that any number
//! of it may run, and an answer that says "taken in" is true whatever is killed next. It must not know how a file is fetched or a callback
//! sent.
//!
//! | endpoints | where |
//! | --- | --- |
//! | those of the original, byte for byte where it is not wrong | `compatible` |
//! | taking in, one by one or in batches | `intake` |
//! | jobs, dead letters | `jobs` |
//! | groups | `groups` |
//! | stored files, where they are served | `files` |
//! | health, metrics, running instances | `operations` |
//!
//! New endpoints answer errors as problem details (RFC 9457), the others as a line of text. `openapi.json` describes them all.

mod answer;
mod compatible;
mod door;
mod files;
mod groups;
mod intake;
mod jobs;
mod metrics;
mod operations;
mod query;
mod routes;
mod shared;
mod token;
mod view;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::job::Rules;
use crate::store::Store;

pub use files::Files;
pub use token::Token;

/// The document that describes every endpoint, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");

/// How the API is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What submissions may ask for.
    pub rules: Rules,
    /// While this file exists, `GET /hb` answers 503; by default there is none.
    pub heartbeat_path: Option<PathBuf>,
    /// Who may ask: whoever shows this token, or by default everybody. Without a token stay open: `/`, `/hb`, `/health`, `/openapi.json`, and
    /// stored files, whose names nobody guesses.
    pub token: Option<Token>,
    /// The files that are served below `/files/`; by default none.
    pub files: Option<Files>,
    /// The longest body of one submission, in bytes; 1 MiB.
    pub body_limit: usize,
    /// The longest body of a batch, in bytes; 16 MiB.
    pub batch_limit: usize,
    /// How long the head of a request may take, and how long a connection may be idle; 30 s.
    pub head_timeout: Duration,
    /// How long the body of a request may take; 30 s.
    pub body_timeout: Duration,
    /// Connections at the same time; 1024. Further ones wait in the queue of the kernel.
    pub most_connections: usize,
    /// How long requests that are under way may take when it is to stop; 10 s. Then they are cut.
    pub drain: Duration,
    /// After how long a caller is to try again who was turned away with 503; 30 s.
    pub retry_after: Duration,
    /// The name under which it tells of itself.
    pub instance: String,
    /// How often it tells of itself; 5 s. What it told is forgotten after twice that.
    pub stats_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            heartbeat_path: None,
            token: None,
            files: None,
            body_limit: 1 << 20,
            batch_limit: 16 << 20,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            most_connections: 1024,
            drain: Duration::from_secs(10),
            retry_after: Duration::from_secs(30),
            instance: "api".to_owned(),
            stats_interval: Duration::from_secs(5),
        }
    }
}

/// The API, ready to be served.
#[derive(Debug)]
pub struct Api {
    shared: Arc<shared::Shared>,
    router: Router,
}

impl Api {
    /// The API over a store.
    pub fn new(settings: Settings, store: Arc<dyn Store>) -> Self {
        let shared = Arc::new(shared::Shared::new(settings, store));
        Self { router: routes::router(&shared), shared }
    }

    /// Adds to `GET /metrics` what `write` appends, in the text format of Prometheus: figures of another role in this process. It must not
    /// wait.
    #[must_use]
    pub fn with_figures(self, write: impl Fn(&mut String) + Send + Sync + 'static) -> Self {
        self.shared.figures.add(Box::new(write));
        self
    }

    /// Serves until `stop` fires; then takes no more connections, and returns when the requests under way are answered, or after
    /// [`Settings::drain`]. Dropping the future cuts everything off.
    ///
    /// # Errors
    /// None at present: a connection that cannot be taken is logged, and the next one waited for.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let Self { shared, router } = self;
        let ended = stop.child_token();
        let telling = operations::tell(&shared, ended.clone());
        let serving = async {
            let result = door::serve(listener, router, &shared.settings, stop).await;
            ended.cancel();
            result
        };
        tokio::join!(serving, telling).0
    }
}
