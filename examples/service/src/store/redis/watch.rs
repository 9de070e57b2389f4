//! Owns the listening to what other processes tell: that there is work, and that work is to be given up.
//!
//! Invariant: after every gap in the listening everybody is woken, since a message may have been lost in it. Must not know a job.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::PubSub;
use tokio::time::{sleep, timeout};

use super::link::Link;
use crate::job::Queue;
use crate::store::Result;
use crate::store::wakes::Waker;

/// When nothing was heard for this long, the connection is tried.
const QUIET: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(5);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// What is told on which channel.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    /// The letter of a queue in which there is work.
    wakes: String,
    /// The id of a job that is to be given up.
    cancelled: String,
}

impl Channels {
    pub(super) fn new(prefix: &str) -> Self {
        Self { wakes: format!("{prefix}wakes"), cancelled: format!("{prefix}cancelled") }
    }

    pub(super) async fn open(&self, link: &Link) -> Result<PubSub> {
        link.subscribe(&[self.wakes.clone(), self.cancelled.clone()]).await
    }
}

/// Tells the waker for ever.
pub(super) async fn listen(link: Arc<Link>, channels: Channels, waker: Arc<Waker>, mut connection: PubSub) {
    loop {
        hear(connection, &channels, &waker).await;
        // What shared the server with it has ended, too, or is at a server that is the master no more.
        link.reset().await;
        connection = loop {
            sleep(PAUSE).await;
            match channels.open(&link).await {
                Ok(connection) => break connection,
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "Redis is away"),
            }
        };
        for queue in Queue::ALL {
            waker.wake(queue);
        }
    }
}

/// Until the connection ends.
async fn hear(connection: PubSub, channels: &Channels, waker: &Waker) {
    let (mut sink, mut messages) = connection.split();
    loop {
        let Ok(message) = timeout(QUIET, messages.next()).await else {
            match timeout(ANSWER, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => continue,
                _ => return,
            }
        };
        let Some(message) = message else { return };
        let Ok(text) = message.get_payload::<String>() else { continue };
        if message.get_channel_name() == channels.wakes {
            if let Some(queue) = Queue::from_code(&text) {
                waker.wake(queue);
            }
        } else if let Ok(id) = text.parse() {
            waker.cancelled(id);
        }
    }
}
