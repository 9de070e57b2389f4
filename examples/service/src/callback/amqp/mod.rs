//! Callbacks over AMQP 0-9-1, as RabbitMQ speaks it: the payload becomes a message that its queue keeps.
//!
//! Owns what a destination means, and the one connection. Its one invariant: delivered is a message that a queue took and the broker
//! confirmed. It must not know attempts.
//!
//! A destination is `exchange/routing-key`, or the name of a queue alone, which is its routing key in the exchange without a name. Nothing is
//! declared here: queues, exchanges and who may write to them are the broker's matter.
//!
//! The protocol is spoken by the few lines in here and not by a client library: those at hand keep threads or tasks, and their sockets, for
//! as long as a broker says nothing, and one that is low on memory or disk does just that (`docs/decisions/0034`).

mod frame;
mod link;
mod say;
mod session;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use downloader_core::{Error, Result};
use downloader_tls::{Tls, TlsSettings};
use tokio::sync::{Mutex, mpsc, oneshot};
use url::Url;

use self::session::Publish;
use super::{Callback, Failure};
use crate::job::JobId;

/// How messages are sent to a broker.
#[derive(Clone, Debug)]
pub struct Settings {
    broker: Broker,
    /// The most that one attempt may take, connecting included; 30 s.
    pub timeout: Duration,
    /// Certificates in PEM that are trusted beside those of the system; by default none.
    pub root_certificates: Vec<Vec<u8>>,
}

impl Settings {
    /// The defaults, for the broker of this URL: `amqp://user:password@host:port/virtual-host`, or `amqps://` for TLS. User and password are
    /// `guest` unless they are given, the port 5672 or 5671, the virtual host `/`; within it `/` is written `%2F`.
    ///
    /// # Errors
    /// Kind `Input` when it is no such URL. The URL is not in the message.
    pub fn new(url: &str) -> Result<Self> {
        let expected = "expected amqp:// or amqps://user:password@host:port/virtual-host";
        let broker = Broker::parse(url).ok_or_else(|| Error::input(expected))?;
        Ok(Self { broker, timeout: Duration::from_secs(30), root_certificates: Vec::new() })
    }
}

/// Where a broker is and who we are there. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
struct Broker {
    is_secure: bool,
    /// As in URLs.
    host: String,
    port: u16,
    user: String,
    password: String,
    virtual_host: String,
}

impl Broker {
    fn parse(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let (is_secure, port) = match url.scheme() {
            "amqp" => (false, 5672),
            "amqps" => (true, 5671),
            _ => return None,
        };
        if url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        let decoded =
            |text: &str| Some(percent_encoding::percent_decode_str(text).decode_utf8().ok()?.into_owned());
        let path = url.path().strip_prefix('/').unwrap_or_default();
        let virtual_host = match path {
            "" => "/".to_owned(),
            path if path.contains('/') => return None,
            path => decoded(path)?,
        };
        let user = if url.username().is_empty() { "guest".to_owned() } else { decoded(url.username())? };
        let password = url.password().map_or_else(|| Some("guest".to_owned()), decoded)?;
        let fit = [&user, &password, &virtual_host]
            .iter()
            .all(|text| text.len() <= say::SHORT && !text.contains('\0'));
        let host = url.host_str().filter(|host| !host.is_empty())?.to_owned();
        fit.then_some(Self {
            is_secure,
            host,
            port: url.port().unwrap_or(port),
            user,
            password,
            virtual_host,
        })
    }

    /// Without the brackets that addresses have in URLs.
    fn address(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "amqps" } else { "amqp" };
        write!(f, "{scheme}://{}:***@{}:{}/{}", self.user, self.host, self.port, self.virtual_host)
    }
}

/// Sends callbacks to a broker. Nothing is connected to before the first one; then one connection is kept.
#[derive(Debug)]
pub struct AmqpCallback {
    settings: Settings,
    tls: Tls,
    link: Mutex<Option<mpsc::Sender<Publish>>>,
}

impl AmqpCallback {
    /// One with these settings.
    ///
    /// # Errors
    /// Kind `Input` for a certificate that cannot be used.
    pub fn new(settings: Settings) -> Result<Self> {
        let certificates = settings.root_certificates.iter().cloned();
        let tls = Tls::new(&certificates.fold(TlsSettings::new(), TlsSettings::root_certificate))?;
        Ok(Self { settings, tls, link: Mutex::default() })
    }

    /// The connection; a new one if there is none, or the last one ended.
    async fn link(&self) -> Result<mpsc::Sender<Publish>, String> {
        let mut link = self.link.lock().await;
        if let Some(open) = link.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let open = link::connect(&self.settings.broker, &self.tls, self.settings.timeout).await?;
        *link = Some(open.clone());
        Ok(open)
    }

    async fn publish(&self, (exchange, key): (&str, &str), id: &JobId, payload: &str) -> Result<(), Failure> {
        let (answer, answered) = oneshot::channel();
        let publish = Publish {
            exchange: exchange.to_owned(),
            key: key.to_owned(),
            id: id.as_str().to_owned(),
            payload: payload.to_owned(),
            answer,
        };
        let link = self.link().await.map_err(Failure::new)?;
        let ended = || Failure::new("the connection ended");
        link.send(publish).await.map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}

#[async_trait]
impl Callback for AmqpCallback {
    async fn deliver(&self, target: &str, id: &JobId, payload: &str) -> Result<(), Failure> {
        let Some(route) = route(target) else {
            let reason = "a destination is a queue, or exchange/routing-key, each of at most 255 bytes";
            return Err(Failure { is_final: true, ..Failure::new(reason) });
        };
        let limit = self.settings.timeout;
        match tokio::time::timeout(limit, self.publish(route, id, payload)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(format!("the broker did not confirm the message within {limit:?}"))),
        }
    }
}

/// Exchange and routing key.
fn route(target: &str) -> Option<(&str, &str)> {
    let (exchange, key) = target.split_once('/').unwrap_or(("", target));
    let fits = exchange.len() <= say::SHORT && key.len() <= say::SHORT;
    (fits && !(exchange.is_empty() && key.is_empty())).then_some((exchange, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_brokers() {
        let broker = |url: &str| Broker::parse(url).unwrap_or_else(|| panic!("{url}"));
        let plain = broker("amqp://mq.example");
        assert_eq!((plain.port, plain.user.as_str(), plain.virtual_host.as_str()), (5672, "guest", "/"));
        let full = broker("amqps://me%40x:p%2Fw@[::1]:99/a%2Fb");
        assert_eq!((full.is_secure, full.address(), full.port), (true, "::1", 99));
        assert_eq!(
            (full.user.as_str(), full.password.as_str(), full.virtual_host.as_str()),
            ("me@x", "p/w", "a/b")
        );
        assert_eq!(broker("amqp://h/%2F"), broker("amqp://h/"));
        assert!(!format!("{full:?}").contains("p/w"));
        for bad in [
            "",
            "h",
            "http://h",
            "amqp:h",
            "amqp:///v",
            "amqp://h/a/b",
            "amqp://h?heartbeat=1",
            "amqp://%00@h",
        ] {
            assert_eq!(Broker::parse(bad), None, "{bad}");
        }
        let error = Settings::new("amqp:/me:hunter2@h").expect_err("no host");
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn a_destination_is_a_queue_or_an_exchange_with_a_key() {
        assert_eq!(route("jobs"), Some(("", "jobs")));
        assert_eq!(route("events/jobs.done"), Some(("events", "jobs.done")));
        assert_eq!(route("fanout/"), Some(("fanout", "")));
        assert_eq!(route("/a/b"), Some(("", "a/b")), "a queue with a slash in its name");
        for bad in ["", "/", &"x".repeat(256), &format!("{}/k", "x".repeat(256))] {
            assert_eq!(route(bad), None, "{bad}");
        }
    }
}
