//! The backend itself: one fetch, one conversation, one body.
//!
//! Invariant: nothing is asked twice. The exceptions are a redirect, which is another question, a `GET` after a
//! server that knows no `HEAD`, and the answer to a challenge (401): at most three for one URL, each the same request
//! with another `Authorization`. Must not know: retries, mirrors, writers, how a challenge is answered.

use std::fmt;

use async_trait::async_trait;
use downloader_core::net::{GroupProxies, Guard, Proxies};
use downloader_core::{Backend, Body, Download, Error, Fetch, Options, Result, SafeUrl, Validator};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode};

use crate::auth::Auth;
use crate::builder::HttpBuilder;
use crate::conversation::Conversation;
use crate::exchange::Reply;
use crate::integrity::{Heard, WireDigests};
use crate::redirect::{RedirectPolicy, Redirects, Route};
use crate::response::{ContentCoding, ResponseHead, interpret, media_type};
use crate::transport::Transport;
use crate::{body, response};

/// HTTP and HTTPS, over HTTP/1.1 and HTTP/2.
///
/// One backend holds the connections of all downloads that share it; they live on the runtime that opened them.
/// See [the crate](crate) for its limits.
pub struct Http {
    pub(crate) transport: Transport,
    pub(crate) auth: Auth,
    pub(crate) policies: Policies,
}

/// What a backend decides by, above its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    pub(crate) redirects: RedirectPolicy,
    pub(crate) guard: Option<Guard>,
    pub(crate) coding: ContentCoding,
    pub(crate) wire_digests: WireDigests,
    pub(crate) proxies: Option<Proxies>,
    pub(crate) group_proxies: GroupProxies,
}

impl Policies {
    /// Asks the guard, if there is one.
    pub(crate) fn check(&self, url: &SafeUrl) -> Result<()> {
        self.guard.as_ref().map_or(Ok(()), |guard| guard.check_url(url))
    }

    /// Through which proxies: those of the request, of its group, or of the backend.
    pub(crate) fn proxies_of(&self, fetch: &Fetch) -> Option<Proxies> {
        let own = fetch.options.get::<Proxies>().cloned();
        own.or_else(|| self.group_proxies.of(fetch.terms.group.as_deref()?)).or_else(|| self.proxies.clone())
    }
}

impl Http {
    /// The settings, to be changed where the defaults do not fit.
    pub fn builder() -> HttpBuilder {
        HttpBuilder::new()
    }

    pub(crate) fn new(transport: Transport, auth: Auth, policies: Policies) -> Self {
        Self { transport, auth, policies }
    }

    fn answer(&self, fetch: &Fetch, route: Route, heard: Heard, reply: Reply) -> Result<Body> {
        let Reply { status, headers, wire, stream: bytes } = reply;
        let place = |error: Error| {
            error.with_url(route.url()).with_status(status.as_u16()).with_address(wire.address)
        };
        let told = interpret(fetch, self.policies.coding, status, &headers).map_err(place)?;
        let heard = heard.answered(route.url(), status, &headers).map_err(place)?;
        let mut answer = Body::new(told.entity, told.range, stream::empty().boxed());
        answer.seekable = told.seekable;
        answer.not_modified = told.not_modified;
        answer.media_type = media_type(&headers);
        answer.wire = wire;
        answer.wire.allowance = response::allowance(&headers);
        // An empty range also says that what follows, such as an error page, is not content.
        if !told.range.is_empty() {
            let check = heard.part.as_ref().map(Validator::start);
            answer.stream = body::counted(bytes, told.range, check, route.url().clone());
        }
        answer.extras = extras(status, headers);
        answer.digests.clone_from(&heard.digests);
        heard.leave_links(&mut answer.extras);
        let hops = route.into_hops();
        if let Some(last) = hops.last() {
            answer.wire.url = Some(last.url.clone());
            answer.extras.insert(Redirects(hops));
        }
        Ok(answer)
    }
}

#[async_trait]
impl Download for Http {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        if !self.schemes().contains(&fetch.url.scheme()) {
            let what = format!("URL scheme {:?}; accepted: http, https", fetch.url.scheme());
            return Err(Error::unsupported(what).with_url(&fetch.url));
        }
        let mut conversation = Conversation::new(self, &fetch);
        let outcome = conversation.hold().await;
        let Conversation { route, heard, .. } = conversation;
        match outcome {
            Ok(reply) => self.answer(&fetch, route, heard, reply),
            Err(error) => Err(error.with_url(route.url())),
        }
    }
}

impl Backend for Http {
    fn schemes(&self) -> &'static [&'static str] {
        &["http", "https"]
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

fn extras(status: StatusCode, headers: HeaderMap) -> Options {
    let mut extras = Options::default();
    extras.insert(ResponseHead { status, headers });
    extras
}
