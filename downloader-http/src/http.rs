//! The backend itself: one fetch, one request on the wire, and the redirects it meets.
//!
//! Invariant: nothing is asked twice. The two exceptions are a redirect, which is another question, and a `GET`
//! after a server that knows no `HEAD`. Must not know: retries, mirrors, writers.

use std::fmt;
use std::mem;

use async_trait::async_trait;
use downloader_core::{Backend, Body, Download, Error, Fetch, Options, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Method, StatusCode, Version, header};
use reqwest::{Client, Request, Response};

use crate::builder::HttpBuilder;
use crate::error::{Stage, classify};
use crate::redirect::{Redirects, Route, Rules};
use crate::response::{ContentCoding, ResponseHead, interpret, media_type};
use crate::status::{Class, class};
use crate::transport::{Profile, Transport};
use crate::{authorization, body, request};

/// HTTP and HTTPS, over HTTP/1.1 and HTTP/2.
///
/// One backend holds the connections of all downloads that share it; they live on the runtime that opened them.
/// See [the crate](crate) for its limits.
pub struct Http {
    transport: Transport,
    redirects: Rules,
    coding: ContentCoding,
}

impl Http {
    /// The settings, to be changed where the defaults do not fit.
    pub fn builder() -> HttpBuilder {
        HttpBuilder::new()
    }

    pub(crate) fn new(transport: Transport, redirects: Rules, coding: ContentCoding) -> Result<Self> {
        // Built now, so that a machine that cannot is found out before the first download.
        transport.client(Profile::General)?;
        Ok(Self { transport, redirects, coding })
    }

    /// Asks along the redirects until someone answers.
    async fn ask(&self, fetch: &Fetch, route: &mut Route) -> Result<Response> {
        let client = self.transport.client(Profile::of(fetch))?;
        let mut method = if fetch.body { Method::GET } else { Method::HEAD };
        loop {
            let response = exchange(client, fetch, route, &method).await?;
            let status = response.status();
            let knows_no_head =
                matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
            if method == Method::HEAD && knows_no_head {
                method = Method::GET;
            } else if class(status) == Class::Redirect {
                route.follow(&self.redirects, response.headers()).map_err(|error| {
                    error.with_status(status.as_u16()).with_address(response.remote_addr())
                })?;
            } else {
                return Ok(response);
            }
        }
    }

    fn answer(&self, fetch: &Fetch, route: Route, mut response: Response) -> Result<Body> {
        let status = response.status();
        let headers = mem::take(response.headers_mut());
        let address = response.remote_addr();
        let told = interpret(fetch, self.coding, status, &headers).map_err(|error| {
            error.with_url(route.url()).with_status(status.as_u16()).with_address(address)
        })?;
        let mut answer = Body::new(told.entity, told.range, stream::empty().boxed());
        answer.seekable = told.seekable;
        answer.not_modified = told.not_modified;
        answer.media_type = media_type(&headers);
        answer.wire.address = address;
        answer.wire.status = Some(status.as_u16());
        answer.wire.protocol = protocol(response.version());
        // An empty range also says that what follows, such as an error page, is not content.
        if !told.range.is_empty() {
            let bytes = response.bytes_stream().map_err(|error| classify(error, Stage::Body));
            answer.stream = body::counted(bytes, told.range, route.url().clone());
        }
        answer.extras = extras(status, headers);
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
        match self.ask(&fetch, &mut route).await {
            Ok(response) => self.answer(&fetch, route, response),
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

/// One request on the wire, and the head of its reply.
async fn exchange(client: &Client, fetch: &Fetch, route: &Route, method: &Method) -> Result<Response> {
    let url = route.url();
    let mut request = Request::new(method.clone(), authorization::stripped(url.expose()));
    *request.headers_mut() = fields(fetch, route, method)?;
    let outcome = client.execute(request).await.map_err(|error| classify(error, Stage::Head));
    match &outcome {
        Ok(response) => {
            let (status, version) = (response.status().as_u16(), response.version());
            tracing::debug!(%method, %url, range = ?fetch.range, status, ?version, "reply");
        }
        Err(error) => tracing::debug!(%method, %url, range = ?fetch.range, %error, "no reply"),
    }
    outcome
}

/// The fields of a request. Credentials in a URL go to its own origin; those of the first URL stay in force
/// while redirects stay at home, and yield to an `Authorization` of the caller.
fn fields(fetch: &Fetch, route: &Route, method: &Method) -> Result<HeaderMap> {
    let mut headers = request::headers(fetch, method, route.is_at_home())?;
    if !headers.contains_key(header::AUTHORIZATION) {
        let own = authorization::basic(route.url().expose());
        let first = || route.is_at_home().then(|| authorization::basic(route.start().expose())).flatten();
        if let Some(credentials) = own.or_else(first) {
            headers.insert(header::AUTHORIZATION, credentials);
        }
    }
    Ok(headers)
}

fn extras(status: StatusCode, headers: HeaderMap) -> Options {
    let mut extras = Options::default();
    extras.insert(ResponseHead { status, headers });
    extras
}

fn protocol(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("HTTP/1.0"),
        Version::HTTP_11 => Some("HTTP/1.1"),
        Version::HTTP_2 => Some("HTTP/2"),
        _ => None,
    }
}
