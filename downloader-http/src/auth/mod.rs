//! Authorization of requests: what is sent before the server asks, and what answers its challenge.
//!
//! Owns the challenges met and the tokens fetched. Invariant: credentials go to the origin they belong to, and for a
//! registry to the token server which that origin names, nowhere else; what was refused is not sent again. Must not
//! know: redirects, the content, how a request travels.
//!
//! Whose credentials: an `Authorization` of the caller's own, which is never touched; else those of the request
//! ([`RequestCredentials`]); else the user information of the URL; else the first source of the backend that has
//! any. Those of request and URL are sent at once, those of sources when the source says so or the server asks.
//! What was learnt of a protection space is used for the next request into it, with that request's own credentials.
//!
//! Which scheme, of those a server offers: for user and password `Digest` with its strongest algorithm, else the
//! token of a `Bearer` challenge that names a token server, else `Basic`; for a bearer token `Bearer`; without
//! credentials a token server's token for anybody.

mod basic;
mod bearer;
mod challenge;
mod credentials;
mod digest;
#[cfg(test)]
mod script;
mod spaces;
mod timestamp;
mod tokens;

use std::fmt;
use std::slice;
use std::sync::Arc;

use downloader_core::credentials::{Credentials, RequestCredentials, Secret};
use downloader_core::{Error, ErrorKind, Result, SafeUrl};
use futures_util::future::BoxFuture;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub use self::challenge::Challenge;
pub use self::credentials::{CredentialQuery, CredentialSource};

use self::bearer::Grant;
use self::digest::{Offer, Turn};
use self::spaces::{Demand, Spaces, Way};
use self::tokens::{Key, Token, Tokens};
use crate::exchange::{Ask, Reply};

/// Challenges answered for one URL of a request. The first, one more for a stale nonce or an expired token, and one
/// for a server that then wants another scheme or scope.
const MOST_ANSWERS: u32 = 3;
/// Schemes named in an error.
const MOST_NAMED: usize = 8;
const AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("authentication-info");

/// How token servers are asked: one request, one reply.
pub(crate) trait Asks: Send + Sync {
    /// Sends this request.
    fn ask(&self, ask: Ask) -> BoxFuture<'_, Result<Reply>>;
}

/// What all requests of a backend share.
pub(crate) struct Auth {
    sources: Vec<Arc<dyn CredentialSource>>,
    spaces: Spaces,
    tokens: Tokens,
}

/// A request that is about to be made, or was answered with a challenge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a SafeUrl,
    /// The URL that was asked first, while redirects have not left its origin.
    pub(crate) home: Option<&'a SafeUrl>,
    /// The credentials of the request, while redirects have not left the origin of its URL.
    pub(crate) credentials: Option<&'a RequestCredentials>,
    /// The caller has written an `Authorization`, which is sent.
    pub(crate) by_caller: bool,
}

/// What was sent to one URL so far. A redirect begins another one.
#[derive(Debug, Default)]
pub(crate) struct Dialogue {
    sent: Option<Sent>,
    answers: u32,
    was_stale: bool,
}

/// The last authorization sent.
#[derive(Debug)]
enum Sent {
    /// Needs no challenge: `Basic`, or a bearer token as it was given.
    Plain(Credentials),
    /// With a nonce that came in this dialogue, or an older one.
    Digest { credentials: Credentials, turn: Turn, fresh: bool },
    /// A token that was fetched for this request, or an older one.
    Token { key: Arc<Key>, value: HeaderValue, fresh: bool },
}

impl Auth {
    pub(crate) fn new(sources: Vec<Arc<dyn CredentialSource>>) -> Self {
        Self { sources, spaces: Spaces::default(), tokens: Tokens::default() }
    }

    /// True when nothing can be said before the server asks: most requests, which then need not wait for anything.
    pub(crate) fn is_silent(&self, asked: &Asked<'_>) -> bool {
        let nothing_known = || self.sources.is_empty() && self.spaces.is_empty();
        asked.by_caller || (nothing_known() && matches!(asked.own_credentials(), Ok(None)))
    }

    /// The `Authorization` to send before the server asks for one.
    ///
    /// # Errors
    /// Those of sources and token servers; kind `Unsupported` for user information of a URL that cannot be sent.
    pub(crate) async fn ahead(
        &self,
        asked: &Asked<'_>,
        dialogue: &mut Dialogue,
        asks: &dyn Asks,
    ) -> Result<Option<HeaderValue>> {
        dialogue.sent = None;
        if asked.by_caller {
            return Ok(None);
        }
        let (own, known) = (asked.own_credentials()?, self.spaces.find(asked.url)?);
        let (way, challenges) = match &known {
            Some(known) => (Some(known.way.clone()), slice::from_ref(&*known.challenge)),
            None => (None, &[][..]),
        };
        let credentials = match own {
            // Of a server that wants them, as far as is known, there is nothing to wait for.
            Some((credentials, ahead)) => (ahead || way.is_some()).then_some(credentials),
            None => self.ask_sources(&CredentialQuery::challenged(asked.url, challenges)).await?,
        };
        self.authorize(asked, dialogue, way, credentials, asks).await
    }

    /// The `Authorization` that answers the challenge of a reply with status 401: the request is to be repeated with
    /// it, all else unchanged.
    ///
    /// # Errors
    /// Kind `Unauthorized`, naming the schemes offered, when there is nothing to answer, or what there is was
    /// refused; and those of [`Auth::ahead`].
    pub(crate) async fn answer(
        &self,
        asked: &Asked<'_>,
        dialogue: &mut Dialogue,
        reply: &HeaderMap,
        asks: &dyn Asks,
    ) -> Result<HeaderValue> {
        let challenges = Challenge::parse(reply, &WWW_AUTHENTICATE);
        let refused = |why: &str| unauthorized(&challenges, why);
        let sent = dialogue.sent.take();
        if let Some(Sent::Token { key, value, .. }) = &sent {
            self.tokens.forget(key, value);
        }
        dialogue.answers += 1;
        if asked.by_caller || dialogue.answers > MOST_ANSWERS {
            return Err(refused(REFUSED));
        }
        if challenges.is_empty() {
            return Err(refused(""));
        }
        let credentials = match asked.own_credentials()? {
            Some((credentials, _)) => Some(credentials),
            None => {
                let challenged = CredentialQuery::challenged(asked.url, &challenges);
                self.ask_sources(&CredentialQuery { refused: sent.is_some(), ..challenged }).await?
            }
        };
        let (challenge, demand) = choose(&challenges, credentials.as_ref(), asked.url).map_err(refused)?;
        if dialogue.repeats(sent.as_ref(), demand.as_ref(), credentials.as_ref()) {
            return Err(refused(REFUSED));
        }
        let way = demand.map(|demand| self.spaces.learn(asked.url, challenge, demand)).transpose()?;
        let value = self.authorize(asked, dialogue, way, credentials, asks).await?;
        if let Some(Sent::Digest { fresh, .. }) = &mut dialogue.sent {
            *fresh = true;
        }
        value.ok_or_else(|| refused(NOTHING))
    }

    /// Reads of a reply what it says for later requests.
    ///
    /// # Errors
    /// Kind `Local` when the system has no random numbers.
    pub(crate) fn accepted(&self, asked: &Asked<'_>, dialogue: &Dialogue, reply: &HeaderMap) -> Result<()> {
        match (&dialogue.sent, reply.get(AUTHENTICATION_INFO)) {
            (Some(Sent::Digest { turn, .. }), Some(information)) => {
                self.spaces.informed(asked.url, turn, information.as_bytes())
            }
            _ => Ok(()),
        }
    }

    async fn ask_sources(&self, query: &CredentialQuery<'_>) -> Result<Option<Credentials>> {
        // Without sources there is nothing to ask: that is most backends, and this is every request.
        if self.sources.is_empty() { Ok(None) } else { self.sources.credentials(query).await }
    }

    /// What is sent, the way the server wants it if that is known.
    async fn authorize(
        &self,
        asked: &Asked<'_>,
        dialogue: &mut Dialogue,
        way: Option<Way>,
        credentials: Option<Credentials>,
        asks: &dyn Asks,
    ) -> Result<Option<HeaderValue>> {
        match (way, credentials) {
            (Some(Way::Bearer(grant)), credentials) if !is_token(credentials.as_ref()) => {
                self.token(asked, dialogue, grant, credentials, asks).await.map(Some)
            }
            (Some(Way::Digest(turn)), Some(credentials)) => {
                dialogue.digest(asked, credentials, turn).map(Some)
            }
            (_, credentials) => credentials.map(|credentials| dialogue.plain(credentials)).transpose(),
        }
    }

    async fn token(
        &self,
        asked: &Asked<'_>,
        dialogue: &mut Dialogue,
        grant: Grant,
        credentials: Option<Credentials>,
        asks: &dyn Asks,
    ) -> Result<HeaderValue> {
        let key = Arc::new(Key { origin: asked.url.origin().into(), grant, credentials });
        let token = self.tokens.token(&key, key.grant.fetch(key.credentials.as_ref(), asks)).await;
        if token.as_ref().is_err_and(|error| !error.is_transient()) {
            // The next request asks without: the server may want something else by then.
            self.spaces.forget(asked.url, &key.grant);
        }
        let Token { value, fresh } = token?;
        dialogue.sent = Some(Sent::Token { key, value: value.clone(), fresh });
        Ok(value)
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("sources", &self.sources.len()).finish_non_exhaustive()
    }
}

impl Asked<'_> {
    /// The credentials that the request itself brings, and whether they are sent before the server asks.
    fn own_credentials(&self) -> Result<Option<(Credentials, bool)>> {
        if let Some((own, ahead)) = self.credentials.and_then(|credentials| credentials.of(self.url)) {
            return Ok(Some((own.clone(), ahead)));
        }
        let mut found = Credentials::of_url(self.url)?;
        if let (None, Some(home)) = (&found, self.home) {
            found = Credentials::of_url(home)?;
        }
        Ok(found.map(|credentials| (credentials, true)))
    }
}

impl Dialogue {
    fn plain(&mut self, credentials: Credentials) -> Result<HeaderValue> {
        let value = basic::authorization(&credentials)?;
        self.sent = Some(Sent::Plain(credentials));
        Ok(value)
    }

    fn digest(&mut self, asked: &Asked<'_>, credentials: Credentials, turn: Turn) -> Result<HeaderValue> {
        let Secret::Password(user, password) = credentials.expose() else {
            return self.plain(credentials);
        };
        let value = turn.authorization((user, password), asked.method, asked.url)?;
        self.sent = Some(Sent::Digest { credentials, turn, fresh: false });
        Ok(value)
    }

    /// Would the answer be what was refused just now?
    fn repeats(
        &mut self,
        sent: Option<&Sent>,
        demand: Option<&Demand>,
        credentials: Option<&Credentials>,
    ) -> bool {
        match (sent, demand) {
            (Some(Sent::Plain(refused)), None | Some(Demand::Basic)) => Some(refused) == credentials,
            (Some(Sent::Digest { credentials: refused, fresh: true, .. }), Some(Demand::Digest(offer))) => {
                let may_repeat = offer.stale && !self.was_stale;
                self.was_stale |= offer.stale;
                Some(refused) == credentials && !may_repeat
            }
            (Some(Sent::Token { key, fresh: true, .. }), Some(Demand::Bearer(grant))) => {
                key.grant == *grant && key.credentials.as_ref() == credentials
            }
            _ => false,
        }
    }
}

fn is_token(credentials: Option<&Credentials>) -> bool {
    credentials.is_some_and(|credentials| matches!(credentials.expose(), Secret::Bearer(_)))
}

const REFUSED: &str = "what was sent was refused";
const NOTHING: &str = "no credentials for it";
const UNKNOWN: &str = "none of which can be answered";

/// The challenge to answer, and what it demands; `None` for a bearer token, which is sent as it is.
///
/// # Errors
/// Why there is none, in words.
fn choose<'a>(
    challenges: &'a [Challenge],
    credentials: Option<&Credentials>,
    url: &SafeUrl,
) -> Result<(&'a Challenge, Option<Demand>), &'static str> {
    let of = |scheme: &'static str| challenges.iter().filter(move |challenge| challenge.is(scheme));
    if is_token(credentials) {
        return of("Bearer").next().map(|challenge| (challenge, None)).ok_or(UNKNOWN);
    }
    let digest = Offer::strongest(challenges);
    let basic = of("Basic").next();
    if credentials.is_some()
        && let Some((challenge, offer)) = digest
    {
        return Ok((challenge, Some(Demand::Digest(offer))));
    }
    let mut why = if credentials.is_none() && (basic.is_some() || of("Digest").next().is_some()) {
        NOTHING
    } else if of("Digest").next().is_some() {
        "of Digest only qop auth with MD5, SHA-256 or SHA-512-256 can be answered"
    } else {
        UNKNOWN
    };
    for challenge in of("Bearer") {
        match Grant::of(challenge, url) {
            Ok(grant) => return Ok((challenge, Some(Demand::Bearer(grant)))),
            Err(reason) => why = reason,
        }
    }
    match basic {
        Some(challenge) if credentials.is_some() => Ok((challenge, Some(Demand::Basic))),
        _ => Err(why),
    }
}

/// Status 401 where nothing can be done about it. The names of schemes are the server's words: of those that are
/// long, a part.
fn unauthorized(challenges: &[Challenge], why: &str) -> Error {
    let mut what = format!("HTTP status {}", StatusCode::UNAUTHORIZED);
    if !challenges.is_empty() {
        let names: Vec<String> =
            challenges.iter().take(MOST_NAMED).map(|one| one.scheme().chars().take(32).collect()).collect();
        what = format!("{what}; offered: {}; {why}", names.join(", "));
    }
    Error::new(ErrorKind::Unauthorized, what).with_status(StatusCode::UNAUTHORIZED.as_u16())
}

#[cfg(test)]
mod tests;
