//! Owns the connection that all calls share.
//!
//! Invariant: a call is sent at most once, and answered or failed within 15 s; after a failure of the connection the next call makes
//! another. Must not know what is called.

use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, FromRedisValue, ScriptInvocation};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::address::Server;
use super::failure::{ends_connection, failure};
use crate::store::{Error, ErrorKind, Result};

/// A server that does not even accept is away.
const CONNECT: Duration = Duration::from_secs(2);
/// A server that writes to a slow disk may take its time.
const ANSWER: Duration = Duration::from_secs(5);
/// After a failed attempt nobody tries again for this long: many callers do not wait for one timeout each.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Link {
    server: Mutex<Server>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Which connection it is, so that a late failure of the last one does not end the next.
    generation: u64,
    refused: Option<(Instant, String)>,
}

impl Link {
    pub(super) fn new(server: Server) -> Self {
        Self { server: Mutex::new(server), state: Mutex::default() }
    }

    /// Runs a script; loads it first if the server does not know it.
    pub(super) async fn call<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T> {
        let (mut connection, generation) = self.connection().await?;
        let answer = timeout(2 * ANSWER, script.invoke_async(&mut connection)).await;
        let Ok(answer) = answer else {
            self.forget(generation).await;
            return Err(Error::new(ErrorKind::Unavailable, "Redis does not answer"));
        };
        if let Err(error) = &answer
            && ends_connection(error)
        {
            self.forget(generation).await;
        }
        answer.map_err(failure("a step in Redis"))
    }

    /// The texts of these keys.
    pub(super) async fn texts(&self, keys: &[String]) -> Result<Vec<Option<String>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (mut connection, generation) = self.connection().await?;
        let answer = redis::cmd("MGET").arg(keys).query_async(&mut connection).await;
        if answer.as_ref().is_err_and(ends_connection) {
            self.forget(generation).await;
        }
        answer.map_err(failure("reading from Redis"))
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64)> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok((connection.clone(), state.generation));
        }
        if let Some((when, why)) = &state.refused
            && when.elapsed() < PAUSE
        {
            return Err(Error::new(ErrorKind::Unavailable, why.clone()));
        }
        match self.connect().await {
            Ok(connection) => {
                state.connection = Some(connection.clone());
                state.generation += 1;
                state.refused = None;
                Ok((connection, state.generation))
            }
            Err(error) => {
                state.refused = Some((Instant::now(), error.to_string()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection> {
        let configuration = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let connecting = async {
            let client = self.client().await?;
            let connection = client.get_multiplexed_async_connection_with_config(&configuration).await;
            connection.map_err(failure("connecting to Redis"))
        };
        timeout(2 * CONNECT, connecting).await.map_err(|_| too_slow())?
    }

    async fn client(&self) -> Result<Client> {
        match &mut *self.server.lock().await {
            Server::Single(client) => Ok(Client::clone(client)),
            Server::Sentinel(sentinel) => {
                sentinel.async_get_client().await.map_err(failure("asking the sentinels of Redis"))
            }
        }
    }

    /// A connection of its own, that hears of these channels.
    pub(super) async fn subscribe(&self, channels: &[String]) -> Result<PubSub> {
        let subscribing = async {
            let mut connection =
                self.client().await?.get_async_pubsub().await.map_err(failure("connecting to Redis"))?;
            connection.subscribe(channels).await.map_err(failure("subscribing in Redis"))?;
            Ok(connection)
        };
        timeout(2 * CONNECT, subscribing).await.map_err(|_| too_slow())?
    }

    /// The next call makes another connection, whatever became of the present one.
    pub(super) async fn reset(&self) {
        self.state.lock().await.connection = None;
    }

    async fn forget(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            state.connection = None;
        }
    }
}

fn too_slow() -> Error {
    Error::new(ErrorKind::Unavailable, "Redis does not accept connections in time")
}
