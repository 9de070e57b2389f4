//! The HTTP clients: three profiles with the same settings, each with connections of its own.
//!
//! Invariant: no client follows, retries, decodes, times a body or reads the environment: all of that is decided
//! above, once. Must not know: what is fetched. Proxies, local addresses and the address guard belong here.

use std::mem;
use std::sync::OnceLock;
use std::time::Duration;

use downloader_core::{Error, ErrorKind, Fetch, Result, Wire};
use futures_util::{StreamExt, TryStreamExt};
use http::header::{ACCEPT_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderValue, Version};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Request, retry};

use crate::authorization;
use crate::error::{Stage, classify};
use crate::exchange::{Ask, Reply};
use crate::tls::Tls;

/// An HTTP/2 connection is asked for a sign of life after this time of silence, and given as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What one HTTP/2 stream may have in flight, in bytes: 1 Gbit/s at 32 ms.
const STREAM_WINDOW: u32 = 4 << 20;

/// What one HTTP/2 connection may have in flight, in bytes, and so what it buffers at most for slow consumers.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Largest header block over HTTP/2, in bytes, as RFC 9113 §6.5.2 counts them.
const HTTP2_HEADER_LIST: u32 = 64 << 10;

/// What all profiles share.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) user_agent: HeaderValue,
    pub(crate) pool_idle_timeout: Option<Duration>,
    pub(crate) pool_idle_per_host: usize,
    pub(crate) tls: Tls,
}

/// Which connections a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Pooled, HTTP/2 where the server offers it.
    General,
    /// Pooled HTTP/1.1: one request at a time on a connection. HTTP/2 would put all ranges onto one.
    Alone,
    /// HTTP/1.1 on a new connection, closed afterwards.
    Fresh,
}

impl Profile {
    pub(crate) fn of(fetch: &Fetch) -> Self {
        match (fetch.fresh, fetch.alone) {
            (true, _) => Self::Fresh,
            (false, true) => Self::Alone,
            (false, false) => Self::General,
        }
    }
}

/// The clients, each built when it is first asked for.
#[derive(Debug)]
pub(crate) struct Transport {
    settings: Settings,
    clients: [OnceLock<Result<Client>>; 3],
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, clients: Default::default() }
    }

    /// The client of a profile.
    ///
    /// # Errors
    /// Kind `Local` when it cannot be built; that is remembered.
    pub(crate) fn client(&self, profile: Profile) -> Result<&Client> {
        let client = self.clients[profile as usize].get_or_init(|| {
            self.build(profile)
                .map_err(|error| Error::new(ErrorKind::Local, "building an HTTP client").with_source(error))
        });
        client.as_ref().map_err(Clone::clone)
    }

    /// Sends a request on a connection of its profile.
    ///
    /// # Errors
    /// Classified by [`classify`], without a URL.
    pub(crate) async fn exchange(&self, ask: Ask) -> Result<Reply> {
        let client = self.client(ask.profile)?;
        let mut request = Request::new(ask.method, authorization::stripped(ask.url.expose()));
        *request.headers_mut() = ask.headers;
        let mut response = client.execute(request).await.map_err(|error| classify(error, Stage::Head))?;
        let mut wire = Wire::default();
        wire.address = response.remote_addr();
        wire.status = Some(response.status().as_u16());
        wire.protocol = protocol(response.version());
        Ok(Reply {
            status: response.status(),
            headers: mem::take(response.headers_mut()),
            wire,
            stream: response.bytes_stream().map_err(|error| classify(error, Stage::Body)).boxed(),
        })
    }

    fn build(&self, profile: Profile) -> reqwest::Result<Client> {
        let settings = &self.settings;
        // Merged into every request by the client, where it does not set them itself.
        let always = HeaderMap::from_iter([
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
            (USER_AGENT, settings.user_agent.clone()),
        ]);
        let mut builder = without_own_will(Client::builder())
            .default_headers(always)
            .tcp_nodelay(true)
            .pool_idle_timeout(settings.pool_idle_timeout)
            .pool_max_idle_per_host(if profile == Profile::Fresh { 0 } else { settings.pool_idle_per_host });
        if let Some(timeout) = settings.connect_timeout {
            builder = builder.connect_timeout(timeout);
        }
        // With a configuration of ours the client leaves ALPN to us as well.
        builder = match profile {
            Profile::General => builder
                .tls_backend_preconfigured(settings.tls.config(&["h2", "http/1.1"]))
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .http2_max_header_list_size(HTTP2_HEADER_LIST)
                // One dead connection would hold up every download that shares it.
                .http2_keep_alive_interval(KEEP_ALIVE)
                .http2_keep_alive_timeout(KEEP_ALIVE),
            Profile::Alone | Profile::Fresh => {
                builder.tls_backend_preconfigured(settings.tls.config(&["http/1.1"])).http1_only()
            }
        };
        builder.build()
    }
}

fn protocol(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("HTTP/1.0"),
        Version::HTTP_11 => Some("HTTP/1.1"),
        Version::HTTP_2 => Some("HTTP/2"),
        _ => None,
    }
}

/// Takes from the client everything it would do by itself.
///
/// The decoders are switched off although their features are: any other crate in a build may switch a feature
/// on, and bodies would be decoded and lose their length. Proxies are, because the environment is read otherwise.
fn without_own_will(builder: ClientBuilder) -> ClientBuilder {
    builder
        .redirect(Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_connection_outweighs_one_alone() {
        let mut fetch = Fetch::new("http://h/".parse().unwrap());
        assert_eq!(Profile::of(&fetch), Profile::General);
        fetch.alone = true;
        assert_eq!(Profile::of(&fetch), Profile::Alone);
        fetch.fresh = true;
        assert_eq!(Profile::of(&fetch), Profile::Fresh);
    }
}
