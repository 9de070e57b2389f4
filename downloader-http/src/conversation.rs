//! One fetch, from its first request to the reply that answers it: redirects, challenges, a server without `HEAD`.
//!
//! Invariant: every request on the wire passes the guard first, and has a reason that is none of: failure, impatience,
//! hope. What was told on the way (cookies, hops) stays with the conversation. Must not know: what the reply means, how
//! a request travels.

use bytes::Bytes;
use downloader_core::{Fetch, Result};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tracing::Instrument as _;

use crate::auth::{Asked, Asks, Dialogue};
use crate::content::RequestContent;
use crate::exchange::{Ask, Reply};
use crate::http::Http;
use crate::integrity::{self, Heard};
use crate::redirect::{RedirectPolicy, Route};
use crate::status::{Class, class};
use crate::transport::Profile;
use crate::{method, request, trace};

/// A conversation under way.
pub(crate) struct Conversation<'a> {
    http: &'a Http,
    fetch: &'a Fetch,
    redirects: RedirectPolicy,
    route: Route,
    /// What was told of the content on the way.
    heard: Heard,
    method: Method,
    /// What a `POST` carries.
    content: Option<&'a RequestContent>,
    dialogue: Dialogue,
    /// The answer to a challenge, for the next request.
    answer: Option<HeaderValue>,
    /// The last request had an `Authorization` of the caller's.
    by_caller: bool,
    /// Requests so far, those to token servers aside.
    sent: u32,
}

/// The reply that answers, and how it was come by.
pub(crate) struct Answered {
    pub(crate) reply: Reply,
    pub(crate) route: Route,
    pub(crate) heard: Heard,
}

/// What follows a reply.
enum Next {
    Answered(Reply),
    AskAgain,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(http: &'a Http, fetch: &'a Fetch) -> Self {
        Self {
            http,
            fetch,
            redirects: *fetch.options.get().unwrap_or(&http.policies.redirects),
            content: fetch.options.get(),
            route: Route::new(fetch.url.clone()),
            heard: Heard::new(fetch, http.policies.wire_digests),
            method: method::first(fetch),
            dialogue: Dialogue::default(),
            answer: None,
            by_caller: false,
            sent: 0,
        }
    }

    /// Asks until someone answers.
    ///
    /// # Errors
    /// With the URL of the request that failed.
    pub(crate) async fn hold(mut self) -> Result<Answered> {
        match self.ask().await {
            Ok(reply) => Ok(Answered { reply, route: self.route, heard: self.heard }),
            Err(error) => Err(error.with_url(self.route.url())),
        }
    }

    async fn ask(&mut self) -> Result<Reply> {
        loop {
            let reply = self.request().await?;
            if let Next::Answered(reply) = self.next(reply).await? {
                return Ok(reply);
            }
        }
    }

    /// One request on the wire, and the head of its reply.
    async fn request(&mut self) -> Result<Reply> {
        let mut headers = self.headers()?;
        if let Some(jar) = self.http.policies.cookies(self.fetch) {
            jar.give(self.route.url().expose(), &mut headers);
        }
        if let Some((name, wish)) = integrity::wanted(self.fetch, self.http.policies.wire_digests) {
            headers.entry(name).or_insert(wish);
        }
        self.by_caller = headers.contains_key(header::AUTHORIZATION);
        let asks = self.asks();
        let authorization = match self.answer.take() {
            Some(answer) => Some(answer),
            None => {
                let asked = asked(self.fetch, &self.method, &self.route, self.by_caller);
                if self.http.auth.is_silent(&asked) {
                    None
                } else {
                    // Boxed, as what is rare: it would make every request's future several times as large.
                    Box::pin(self.http.auth.ahead(&asked, &mut self.dialogue, &asks)).await?
                }
            }
        };
        headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
        let content = self.content.filter(|_| self.method == Method::POST);
        let ask = Ask {
            method: self.method.clone(),
            content: content.map_or_else(Bytes::new, RequestContent::content),
            headers,
            profile: Profile::of(self.fetch),
            ..Ask::get(self.route.url().clone())
        };
        let resent = self.sent;
        self.sent += 1;
        Guarded { resent, ..asks }.send(ask).await
    }

    async fn next(&mut self, reply: Reply) -> Result<Next> {
        let (status, address) = (reply.status, reply.wire.address);
        let place = |error: downloader_core::Error| error.with_status(status.as_u16()).with_address(address);
        let jar = self.http.policies.cookies(self.fetch);
        let set = jar.is_some_and(|jar| jar.take(self.route.url().expose(), &reply.headers));
        let asks = self.asks();
        let asked = asked(self.fetch, &self.method, &self.route, self.by_caller);
        if status == StatusCode::UNAUTHORIZED {
            let challenge = reply.let_go().await;
            let answer = Box::pin(self.http.auth.answer(&asked, &mut self.dialogue, &challenge, &asks)).await;
            // What a token server says has its own place already.
            self.answer =
                Some(answer.map_err(|error| if error.url().is_some() { error } else { place(error) })?);
            return Ok(Next::AskAgain);
        }
        self.http.auth.accepted(&asked, &self.dialogue, &reply.headers)?;
        let knows_no_head = matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
        if self.method == Method::HEAD && knows_no_head {
            self.method = Method::GET;
        } else if class(status) == Class::Redirect {
            self.redirected(&reply, set).map_err(place)?;
        } else {
            return Ok(Next::Answered(reply));
        }
        reply.let_go().await;
        Ok(Next::AskAgain)
    }

    /// Goes where a redirect leads; `set` says whether it came with a cookie.
    fn redirected(&mut self, reply: &Reply, set: bool) -> Result<()> {
        self.heard.redirected(self.route.url(), reply.status, &reply.headers)?;
        let next = method::after_redirect(&self.method, reply.status);
        // With another method or other cookies it is another question, even to the same URL.
        if set || next != self.method {
            self.route.forget_visits();
        }
        self.method = next;
        self.route.follow(&self.redirects, reply.status, &reply.headers)?;
        self.http.policies.check(self.route.url())?;
        method::may_go(&self.method, self.content, self.route.is_at_home())?;
        self.dialogue = Dialogue::default();
        Ok(())
    }

    fn headers(&self) -> Result<HeaderMap> {
        let coding = self.http.policies.coding(self.fetch);
        request::headers(self.fetch, coding, &self.method, self.route.is_at_home())
    }

    fn asks(&self) -> Guarded<'a> {
        Guarded { http: self.http, fetch: self.fetch, resent: 0 }
    }
}

fn asked<'a>(fetch: &'a Fetch, method: &'a Method, route: &'a Route, by_caller: bool) -> Asked<'a> {
    Asked {
        method,
        url: route.url(),
        home: route.is_at_home().then(|| route.start()),
        credentials: fetch.options.get().filter(|_| route.is_at_home()),
        by_caller,
    }
}

/// Sends requests for a fetch. Token servers are asked like any other: under the guard, through its proxies.
struct Guarded<'a> {
    http: &'a Http,
    fetch: &'a Fetch,
    /// Requests of the conversation before this one.
    resent: u32,
}

impl Guarded<'_> {
    async fn send(&self, mut ask: Ask) -> Result<Reply> {
        self.http.policies.check(&ask.url)?;
        ask.proxies = self.http.policies.proxies_of(self.fetch);
        let span = trace::span(&ask, self.resent);
        let outcome = self.http.transport.exchange(ask).instrument(span.clone()).await;
        trace::record(&span, &outcome);
        outcome
    }
}

impl Asks for Guarded<'_> {
    fn ask(&self, ask: Ask) -> BoxFuture<'_, Result<Reply>> {
        self.send(ask).boxed()
    }
}
