//! A client of the caller's instead of connections of our own (cargo feature `reqwest`).
//!
//! For programs that have a configured [`reqwest::Client`] and want downloads to share its connections. What the
//! backend sets for its own connections does not apply then: the client has its own clocks, proxies and trust.
//! Invariant: failures are told in the same kinds. Must not know: redirects, which the client must not follow.

use std::error::Error as StdError;
use std::io;
use std::mem;

use downloader_core::{Error, ErrorKind, Phase, Result, Wire};
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::{Client, Request};

use super::outgoing_headers;
use crate::error::{Stage, causes, is_local, of_cause};
use crate::exchange::{Ask, Reply};

/// Sends a request with the client that was given.
pub(super) async fn exchange(client: &Client, ask: Ask, user_agent: &http::HeaderValue) -> Result<Reply> {
    let url = ask.url.without_credentials().expose().clone();
    let mut request = Request::new(ask.method.clone(), url.clone());
    *request.headers_mut() = outgoing_headers(&ask, user_agent);
    if !ask.content.is_empty() {
        *request.body_mut() = Some(ask.content.into());
    }
    let mut response = client.execute(request).await.map_err(|error| classify(error, Stage::Head))?;
    if response.url().as_str() != url.as_str() {
        let what =
            "the client given to the backend follows redirects by itself; build it with Policy::none()";
        return Err(Error::new(ErrorKind::Refused, what));
    }
    let mut wire = Wire::default();
    wire.address = response.remote_addr();
    wire.status = Some(response.status().as_u16());
    wire.protocol = super::protocol(response.version());
    Ok(Reply {
        status: response.status(),
        headers: mem::take(response.headers_mut()),
        wire,
        stream: response.bytes_stream().map_err(|error| classify(error, Stage::Body)).boxed(),
    })
}

fn classify(error: reqwest::Error, stage: Stage) -> Error {
    // `Display` and `Debug` of the original would print the URL with its secrets.
    let error = error.without_url();
    let (kind, what) = kind_of(&error, stage);
    Error::new(kind, what).with_source(error)
}

fn kind_of(error: &reqwest::Error, stage: Stage) -> (ErrorKind, &'static str) {
    if error.is_builder() {
        return (ErrorKind::Unsupported, "a URL that HTTP cannot carry");
    }
    if causes(error).filter_map(<dyn StdError>::downcast_ref::<io::Error>).any(is_local) {
        return (ErrorKind::Local, "out of file descriptors or memory");
    }
    if error.is_dns() {
        return (ErrorKind::Dns, "looking up the host");
    }
    match (error.is_connect(), error.is_timeout(), stage) {
        (true, true, _) => (ErrorKind::Timeout(Phase::Connect), "connecting"),
        (true, false, _) if causes(error).any(<dyn StdError>::is::<rustls::Error>) => {
            (ErrorKind::Tls, "TLS handshake")
        }
        (true, false, _) => (ErrorKind::Connect, "connecting"),
        (false, true, Stage::Head) => (ErrorKind::Timeout(Phase::Head), "no reply"),
        (false, true, Stage::Body) => (ErrorKind::Timeout(Phase::Idle), "silence within the body"),
        (false, false, stage) => of_cause(error, stage),
    }
}
