//! A service with everything around it: an origin, a receiver, and if it is wanted a Redis with the roles as processes of their own.
//!
//! Owns what a scenario needs. Invariant: whoever waits for a callback gets it, or the test fails with the logs. Must not know a scenario.

use std::time::Duration;

use downloader_tests::kit::Redis;
use downloader_tests::kit::http::{Act, Request, Resource, Server};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::program::{self, Keys, PATIENCE, Role, Service};

/// Where jobs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file; all roles are one process.
    Sqlite,
    /// In a Redis; API, two processors and notifier are processes of their own.
    Redis,
}

pub(crate) struct World {
    pub(crate) service: Service,
    pub(crate) origin: Server,
    pub(crate) receiver: Server,
    pub(crate) address: String,
    pub(crate) roles: Vec<Role>,
    _redis: Option<Redis>,
}

impl World {
    pub(crate) async fn start(place: Place, keys: Keys) -> Self {
        let (service, origin, receiver) = (Service::new(), Server::start().await, Server::start().await);
        receiver.put("*", Resource::act(Act::new().status(200)));
        let redis = match place {
            Place::Sqlite => None,
            Place::Redis => Some(Redis::start().await.expect("redis-server starts")),
        };
        let roles = match &redis {
            None => vec![service.start("", &keys)],
            Some(redis) => {
                let keys = keys.redis(&redis.url());
                ["api", "processor", "processor", "notifier"].map(|role| service.start(role, &keys)).into()
            }
        };
        let address = roles[0].address().await;
        Self { service, origin, receiver, address, roles, _redis: redis }
    }

    /// A job of this URL, of which the receiver is told.
    pub(crate) fn job(&self, url: &str) -> Value {
        let mut job = program::job(url);
        job["callback_url"] = json!(self.receiver.url("/callback"));
        job["aggr_limit"] = json!(10);
        job
    }

    /// Submits a job of this URL, with these members over those of [`job`](Self::job).
    pub(crate) async fn submit(&self, url: &str, members: Value) -> String {
        let mut job = self.job(url);
        for (name, value) in members.as_object().expect("members") {
            job[name] = value.clone();
        }
        program::submit(&self.address, &job).await
    }

    /// The callbacks of a job so far: where they came, and what they said.
    pub(crate) fn callbacks(&self, id: &str) -> Vec<(Request, Value)> {
        let read = |request: Request| {
            let told: Value = serde_json::from_slice(&request.body).expect("JSON");
            (told["job_id"] == id).then_some((request, told))
        };
        self.receiver.requests().into_iter().filter_map(read).collect()
    }

    /// What the first callback of a job says.
    pub(crate) async fn told(&self, id: &str) -> Value {
        let start = Instant::now();
        loop {
            if let Some((_, told)) = self.callbacks(id).into_iter().next() {
                return told;
            }
            if start.elapsed() > PATIENCE {
                let logs: Vec<_> = self.roles.iter().map(|role| role.0.stderr()).collect();
                let job = program::ask(&self.address, "GET", &format!("/jobs/{id}"), "").await;
                panic!("nobody is told of {job}: {logs:#?}");
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the callback of a job is in this state.
    pub(crate) async fn called_back(&self, id: &str, state: &str) -> Value {
        program::until(&self.address, id, state, |job| job["callback"] == state).await
    }

    /// Stops all roles cleanly.
    pub(crate) async fn stop(self) {
        for role in self.roles {
            role.stop().await;
        }
    }
}
