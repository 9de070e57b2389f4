//! Tokens of container registries: a `Bearer` challenge names a server, a service and scopes; that server gives a
//! token for them (the token authentication of the CNCF Distribution registry).
//!
//! Invariant: a password goes to a token server only over a connection at least as safe as the one its challenge
//! came by, and of the reply at most a fixed number of bytes is read. Must not know: when a token is asked for, or
//! who shares it.
//!
//! Which server that is, a stranger says. It is asked with `GET` and told nothing but what the stranger knows and the
//! credentials that are his; the address guard of the backend holds for it. Redirects are not followed from there.

use std::time::{Duration, SystemTime};

use downloader_core::credentials::{Credentials, Secret, is_token};
use downloader_core::{Error, ErrorKind, Result, SafeUrl};
use futures_util::StreamExt;
use http::header::{AUTHORIZATION, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use super::Asks;
use super::basic::{self, sensitive};
use super::challenge::Challenge;
use super::timestamp;
use crate::exchange::{Ask, Reply};
use crate::retry_after;
use crate::status::{Class, class};

/// Bytes read of a token server's reply.
const LONGEST_REPLY: usize = 256 << 10;
/// How long a token lives that does not say so.
const LIFETIME: Duration = Duration::from_secs(60);
/// No token is used for longer, whatever it says of itself.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// What is asked of a token server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Grant {
    realm: SafeUrl,
    service: Option<Box<str>>,
    scopes: Box<[Box<str>]>,
}

/// A token and how long it may be used from now on.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) value: HeaderValue,
    pub(super) lifetime: Duration,
}

impl Grant {
    /// What a `Bearer` challenge of the server behind `url` asks to be fetched.
    ///
    /// # Errors
    /// Why nothing can be fetched, in words.
    pub(super) fn of(challenge: &Challenge, url: &SafeUrl) -> Result<Self, &'static str> {
        let text = |name: &str| match challenge.bytes(name).map(std::str::from_utf8).transpose() {
            Ok(text) => Ok(text),
            Err(_) => Err("one of its parameters is not text"),
        };
        let realm = text("realm")?.and_then(|realm| SafeUrl::parse(realm).ok());
        let Some(realm) = realm.filter(|realm| matches!(realm.scheme(), "http" | "https")) else {
            return Err("its realm is not the URL of a token server");
        };
        if url.scheme() == "https" && realm.scheme() != "https" {
            return Err("it names a token server without TLS, although it has TLS itself");
        }
        let scopes = text("scope")?.unwrap_or_default().split_ascii_whitespace().map(Into::into).collect();
        // Whoever writes user information into a realm is not the one whose it is.
        Ok(Self { realm: realm.without_credentials(), service: text("service")?.map(Into::into), scopes })
    }

    /// Asks the token server.
    ///
    /// # Errors
    /// By the status of its reply, as for any other; kind `Protocol` for a reply without a token. The URL is that of
    /// the token server.
    pub(super) async fn fetch(&self, credentials: Option<&Credentials>, asks: &dyn Asks) -> Result<Granted> {
        let url = self.url(credentials);
        self.exchange(&url, credentials, asks).await.map_err(|error| error.with_url(&url))
    }

    async fn exchange(
        &self,
        url: &SafeUrl,
        credentials: Option<&Credentials>,
        asks: &dyn Asks,
    ) -> Result<Granted> {
        let mut headers = HeaderMap::new();
        if let Some(credentials) = credentials {
            headers.insert(AUTHORIZATION, basic::authorization(credentials)?);
        }
        let reply = asks.ask(Ask { headers, ..Ask::get(url.clone()) }).await?;
        let address = reply.wire.address;
        let status = reply.status;
        tracing::debug!(%url, status = status.as_u16(), "token server");
        let granted = if status == StatusCode::OK { read(reply).await } else { Err(refusal(&reply)) };
        granted.map_err(|error| error.with_status(status.as_u16()).with_address(address))
    }

    fn url(&self, credentials: Option<&Credentials>) -> SafeUrl {
        let mut url = self.realm.expose().clone();
        url.set_fragment(None);
        let account = credentials.and_then(|credentials| match credentials.expose() {
            Secret::Password(user, _) => Some(String::from_utf8_lossy(user)),
            Secret::Bearer(_) => None,
        });
        if self.service.is_some() || account.is_some() || !self.scopes.is_empty() {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(self.service.iter().map(|service| ("service", &**service)));
            query.extend_pairs(self.scopes.iter().map(|scope| ("scope", &**scope)));
            query.extend_pairs(account.iter().map(|account| ("account", &**account)));
        }
        url.into()
    }
}

async fn read(reply: Reply) -> Result<Granted> {
    let now = date(&reply);
    let mut stream = reply.stream;
    let mut body = Vec::new();
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk?);
        if body.len() > LONGEST_REPLY {
            return Err(protocol(format!("more than {LONGEST_REPLY} bytes")));
        }
    }
    let (token, lifetime) = parse(&body, now).map_err(protocol)?;
    Ok(Granted { value: sensitive(format!("Bearer {token}"))?, lifetime })
}

fn refusal(reply: &Reply) -> Error {
    let kind = match class(reply.status) {
        Class::Failure(kind) => kind,
        _ => ErrorKind::Protocol,
    };
    let wish = reply.headers.get(RETRY_AFTER);
    let now = date(reply).unwrap_or_else(SystemTime::now);
    let delay = wish.and_then(|value| retry_after::parse(value.as_bytes(), now));
    Error::new(kind, format!("token server: HTTP status {}", reply.status)).with_retry_after(delay)
}

/// The time of a reply by the server's own clock.
fn date(reply: &Reply) -> Option<SystemTime> {
    httpdate::parse_http_date(reply.headers.get(DATE)?.to_str().ok()?).ok()
}

fn protocol(what: impl AsRef<str>) -> Error {
    Error::new(ErrorKind::Protocol, format!("token server: {}", what.as_ref()))
}

/// The token in a reply, and how long it lives from `now` on, the time of that reply by the server's own clock.
///
/// # Errors
/// In words that repeat nothing of the reply.
fn parse(body: &[u8], now: Option<SystemTime>) -> Result<(String, Duration), &'static str> {
    let reply: Value = serde_json::from_slice(body).map_err(|_| "the reply is not JSON")?;
    let text = |name: &str| reply.get(name).and_then(Value::as_str);
    let mut tokens = ["token", "access_token"].into_iter().filter_map(text).filter(|token| !token.is_empty());
    let token = tokens.next().ok_or("a reply without `token` or `access_token`")?;
    if !is_token(token) {
        return Err("a token that no header field can carry");
    }
    let lifetime = reply.get("expires_in").and_then(seconds).unwrap_or(LIFETIME).min(LONGEST_LIFETIME);
    // Without the server's own clock the age is not known: to judge it by ours would end tokens that live.
    let issued = text("issued_at").and_then(timestamp::parse);
    let age = issued.zip(now).and_then(|(issued, now)| now.duration_since(issued).ok()).unwrap_or_default();
    Ok((token.to_owned(), lifetime.saturating_sub(age)))
}

/// A positive number of seconds, also as text.
fn seconds(value: &Value) -> Option<Duration> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(number).ok().filter(|lifetime| !lifetime.is_zero())
}

#[cfg(test)]
#[path = "bearer_tests.rs"]
mod tests;
