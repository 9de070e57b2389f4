//! The backend itself: one fetch, one request on the wire, and the redirects it meets.
//!
//! Invariant: nothing is asked twice. The two exceptions are a redirect, which is another question, and a `GET`
//! after a server that knows no `HEAD`. Must not know: retries, mirrors, writers.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::{Backend, Body, Download, Error, Fetch, Options, Result, Validator};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, StatusCode, header};

use crate::builder::HttpBuilder;
use crate::exchange::{Ask, Reply};
use crate::integrity::{self, Heard, WireDigests};
use crate::redirect::{Redirects, Route, Rules};
use crate::response::{ContentCoding, ResponseHead, interpret, media_type};
use crate::status::{Class, class};
use crate::transport::{Profile, Transport};
use crate::{authorization, body, content_disposition, request};

/// HTTP and HTTPS, over HTTP/1.1 and HTTP/2.
///
/// One backend holds the connections of all downloads that share it; they live on the runtime that opened them.
/// See [the crate](crate) for its limits.
pub struct Http {
    transport: Transport,
    redirects: Rules,
    coding: ContentCoding,
    wire_digests: WireDigests,
}

impl Http {
    /// The settings, to be changed where the defaults do not fit.
    pub fn builder() -> HttpBuilder {
        HttpBuilder::new()
    }

    pub(crate) fn new(
        transport: Transport,
        redirects: Rules,
        coding: ContentCoding,
        wire_digests: WireDigests,
    ) -> Result<Self> {
        // Built now, so that a machine that cannot is found out before the first download.
        transport.client(Profile::General)?;
        Ok(Self { transport, redirects, coding, wire_digests })
    }

    /// Asks along the redirects until someone answers; they may tell of what they lead to.
    async fn ask(&self, fetch: &Fetch, route: &mut Route, heard: &mut Heard) -> Result<Reply> {
        let mut method = if fetch.body { Method::GET } else { Method::HEAD };
        loop {
            let reply = self.exchange(fetch, route, &method).await?;
            let status = reply.status;
            let knows_no_head =
                matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
            if method == Method::HEAD && knows_no_head {
                method = Method::GET;
            } else if class(status) == Class::Redirect {
                heard
                    .redirected(route.url(), status, &reply.headers)
                    .and_then(|()| route.follow(&self.redirects, &reply.headers))
                    .map_err(|error| error.with_status(status.as_u16()).with_address(reply.wire.address))?;
            } else {
                return Ok(reply);
            }
        }
    }

    /// One request on the wire, and the head of its reply.
    async fn exchange(&self, fetch: &Fetch, route: &Route, method: &Method) -> Result<Reply> {
        let url = route.url();
        let ask = Ask {
            method: method.clone(),
            url: url.clone(),
            headers: self.fields(fetch, route, method)?,
            content: Bytes::new(),
            profile: Profile::of(fetch),
        };
        let outcome = self.transport.exchange(ask).await;
        match &outcome {
            Ok(reply) => {
                let (status, protocol) = (reply.status.as_u16(), reply.wire.protocol);
                tracing::debug!(%method, %url, range = ?fetch.range, status, protocol, "reply");
            }
            Err(error) => tracing::debug!(%method, %url, range = ?fetch.range, %error, "no reply"),
        }
        outcome
    }

    /// The fields of a request. Credentials in a URL go to its own origin; those of the first URL stay in force
    /// while redirects stay at home, and yield to an `Authorization` of the caller.
    fn fields(&self, fetch: &Fetch, route: &Route, method: &Method) -> Result<HeaderMap> {
        let mut headers = request::headers(fetch, method, route.is_at_home())?;
        if !headers.contains_key(header::AUTHORIZATION) {
            let own = authorization::basic(route.url().expose());
            let first = || route.is_at_home().then(|| authorization::basic(route.start().expose())).flatten();
            if let Some(credentials) = own.or_else(first) {
                headers.insert(header::AUTHORIZATION, credentials);
            }
        }
        if let Some((name, wish)) = integrity::wanted(fetch, self.wire_digests) {
            headers.entry(name).or_insert(wish);
        }
        Ok(headers)
    }

    fn answer(&self, fetch: &Fetch, route: Route, heard: Heard, reply: Reply) -> Result<Body> {
        let Reply { status, headers, wire, stream: bytes } = reply;
        let place = |error: Error| {
            error.with_url(route.url()).with_status(status.as_u16()).with_address(wire.address)
        };
        let told = interpret(fetch, self.coding, status, &headers).map_err(place)?;
        let heard = heard.answered(route.url(), status, &headers).map_err(place)?;
        let mut answer = Body::new(told.entity, told.range, stream::empty().boxed());
        answer.seekable = told.seekable;
        answer.not_modified = told.not_modified;
        answer.media_type = media_type(&headers);
        answer.file_name = content_disposition::file_name(&headers);
        answer.wire = wire;
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
            answer.wire.url = Some(last.clone());
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
        let mut route = Route::new(fetch.url.clone());
        let mut heard = Heard::new(&fetch, self.wire_digests);
        match self.ask(&fetch, &mut route, &mut heard).await {
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
