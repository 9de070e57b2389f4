//! Credentials, who gives them, and to which origin they belong.
//!
//! Invariant: credentials that exist can be sent as they are, and print nothing of themselves; those bound to an
//! origin are given out for no other. Must not know: how a scheme makes a header field of them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use downloader_core::{Error, ErrorKind, Result, SafeUrl};
use percent_encoding::percent_decode_str;

use super::challenge::Challenge;

/// Longest user name, password or token, in bytes: what a header field can be trusted to carry.
const LONGEST: usize = 16 << 10;

/// What proves to a server who is asking: a user and a password, or a token.
///
/// Neither `Debug` nor `Display` tells any of it.
///
/// ```
/// use downloader_http::Credentials;
/// let credentials = Credentials::password("importer", "s3cret")?;
/// assert_eq!(format!("{credentials} {credentials:?}"), "user and password Credentials(***)");
/// assert!(Credentials::password("im:porter", "s3cret").is_err());
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials(Kind);

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Password(Arc<[u8]>, Arc<[u8]>),
    Bearer(Arc<str>),
}

impl Credentials {
    /// A user and a password, either of which may be empty: for `Basic` and `Digest`, and for the token server of a
    /// registry that asks for a `Bearer` token. Sent as UTF-8.
    ///
    /// # Errors
    /// Kind `Input` for a user with a colon, which cannot be told from the password behind it (RFC 7617 §2), for
    /// control characters, and for more than 16 KiB of either.
    pub fn password(user: impl AsRef<str>, password: impl AsRef<str>) -> Result<Self> {
        Self::of_bytes(user.as_ref().as_bytes(), password.as_ref().as_bytes()).map_err(Error::input)
    }

    /// A token that is sent as it is (RFC 6750), and is never renewed.
    ///
    /// # Errors
    /// Kind `Input` unless it is 1 to 16384 visible ASCII characters.
    pub fn bearer(token: impl AsRef<str>) -> Result<Self> {
        let token = token.as_ref();
        if !is_token(token) {
            return Err(Error::input(format!(
                "bearer token: expected 1 to {LONGEST} visible ASCII characters"
            )));
        }
        Ok(Self(Kind::Bearer(token.into())))
    }

    /// The user information of a URL, escapes resolved; `None` if it has none.
    ///
    /// # Errors
    /// Kind `Unsupported` when it cannot be sent. Not `Input`, which ends a download: the URL may be a redirect's,
    /// or that of one mirror among others.
    pub(super) fn of_url(url: &SafeUrl) -> Result<Option<Self>> {
        let url = url.expose();
        if url.username().is_empty() && url.password().is_none() {
            return Ok(None);
        }
        let user: Vec<u8> = percent_decode_str(url.username()).collect();
        let password: Vec<u8> = percent_decode_str(url.password().unwrap_or_default()).collect();
        let read = Self::of_bytes(&user, &password);
        read.map(Some).map_err(|what| Error::unsupported(format!("user information of the URL: {what}")))
    }

    fn of_bytes(user: &[u8], password: &[u8]) -> Result<Self, String> {
        if user.contains(&b':') {
            return Err("user name: expected no colon".to_owned());
        }
        for (what, bytes) in [("user name", user), ("password", password)] {
            if bytes.len() > LONGEST || bytes.iter().any(u8::is_ascii_control) {
                return Err(format!("{what}: expected at most {LONGEST} bytes without control characters"));
            }
        }
        Ok(Self(Kind::Password(user.into(), password.into())))
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.0
    }
}

/// Can this be a token?
pub(super) fn is_token(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self.0 {
            Kind::Password(..) => "user and password",
            Kind::Bearer(_) => "bearer token",
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// What credentials are wanted for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CredentialQuery<'a> {
    /// The URL that is asked. Credentials belong to its [origin](SafeUrl::origin).
    pub url: &'a SafeUrl,
    /// What the server offers; empty when a request is about to be made and no challenge is known.
    pub challenges: &'a [Challenge],
    /// True when the server has just refused what this request was sent with: give others, if there are any. The
    /// same again end the request.
    pub refused: bool,
}

impl<'a> CredentialQuery<'a> {
    /// Before a request to an origin that has not asked for any.
    #[must_use]
    pub fn ahead(url: &'a SafeUrl) -> Self {
        Self { url, challenges: &[], refused: false }
    }

    /// After these challenges.
    #[must_use]
    pub fn challenged(url: &'a SafeUrl, challenges: &'a [Challenge]) -> Self {
        Self { url, challenges, refused: false }
    }

    /// True before a request whose server has not asked for any.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.challenges.is_empty()
    }
}

/// Gives credentials when they are wanted: a vault, a key ring, a person. Register it with
/// [`HttpBuilder::credentials`](crate::HttpBuilder::credentials).
///
/// It is asked for every request that brings no credentials of its own: before the request, and, when nothing was
/// given then, after the challenge. So it should remember what is costly to find. What it gives goes to the origin
/// of the URL, and for a registry's `Bearer` challenge to the token server which that origin names.
///
/// # Cancellation
/// The future is dropped when the download is, or its time for the head of the reply is over.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// The credentials; `None` if it has none, or if it wants to wait for a challenge.
    ///
    /// # Errors
    /// The request fails with this error.
    async fn credentials(&self, query: &CredentialQuery<'_>) -> Result<Option<Credentials>>;
}

#[async_trait]
impl<T: CredentialSource + ?Sized> CredentialSource for Arc<T> {
    async fn credentials(&self, query: &CredentialQuery<'_>) -> Result<Option<Credentials>> {
        (**self).credentials(query).await
    }
}

/// A chain: the first that has any.
#[async_trait]
impl CredentialSource for Vec<Arc<dyn CredentialSource>> {
    async fn credentials(&self, query: &CredentialQuery<'_>) -> Result<Option<Credentials>> {
        for source in self {
            if let Some(credentials) = source.credentials(query).await? {
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }
}

/// Credentials for one origin, as a source for all requests of a backend.
///
/// A bearer token is sent with every request to that origin; user and password only after a challenge, so that a
/// server that offers `Digest` never sees the password itself. See [`OriginCredentials::ahead`].
#[derive(Clone, Debug)]
pub struct OriginCredentials(Bound);

impl OriginCredentials {
    /// For the origin of this URL, such as `https://example.org`; the rest of it says nothing.
    ///
    /// # Errors
    /// Kind `Input` when it is not a URL with the scheme http or https.
    pub fn new<U>(url: U, credentials: Credentials) -> Result<Self>
    where
        U: TryInto<SafeUrl>,
        Error: From<U::Error>,
    {
        let ahead = matches!(credentials.0, Kind::Bearer(_));
        Ok(Self(Bound::new(&url.try_into()?, credentials, ahead)?))
    }

    /// Send them before the server asks? It spares a request, and shows a password to every server of the origin
    /// that reads `Basic`. Default: bearer tokens yes, passwords no.
    #[must_use]
    pub fn ahead(mut self, ahead: bool) -> Self {
        self.0.ahead = ahead;
        self
    }
}

#[async_trait]
impl CredentialSource for OriginCredentials {
    async fn credentials(&self, query: &CredentialQuery<'_>) -> Result<Option<Credentials>> {
        let bound = &self.0;
        let wanted = bound.is_for(query.url) && (bound.ahead || !query.is_ahead());
        Ok(wanted.then(|| bound.credentials.clone()))
    }
}

/// Credentials for one download: put them into its options. They outweigh user information of the URL and the
/// sources of the backend, and yield to an `Authorization` among the [`RequestHeaders`](crate::RequestHeaders).
///
/// They are sent with the first request already, and to their origin only: neither another mirror nor the target of
/// a redirect to another origin gets them, nor their own origin when a redirect leads back.
///
/// ```
/// use downloader_core::Request;
/// use downloader_http::{Credentials, RequestCredentials};
/// let url = "https://example.org/f.rpm";
/// let own = RequestCredentials::new(url, Credentials::bearer("t0ken")?)?;
/// let request = Request::get(url)?.option(own);
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RequestCredentials(Bound);

impl RequestCredentials {
    /// For the origin of this URL; the rest of it says nothing.
    ///
    /// # Errors
    /// Kind `Input` when it is not a URL with the scheme http or https.
    pub fn new<U>(url: U, credentials: Credentials) -> Result<Self>
    where
        U: TryInto<SafeUrl>,
        Error: From<U::Error>,
    {
        Ok(Self(Bound::new(&url.try_into()?, credentials, true)?))
    }

    /// Send them before the server asks? No keeps a password from a server that offers `Digest`, and costs a
    /// request. Default yes.
    #[must_use]
    pub fn ahead(mut self, ahead: bool) -> Self {
        self.0.ahead = ahead;
        self
    }

    /// The credentials for a URL, and whether they are sent before the server asks.
    pub(super) fn of(&self, url: &SafeUrl) -> Option<(Credentials, bool)> {
        self.0.is_for(url).then(|| (self.0.credentials.clone(), self.0.ahead))
    }
}

#[derive(Clone, Debug)]
struct Bound {
    origin: Box<str>,
    credentials: Credentials,
    ahead: bool,
}

impl Bound {
    fn new(url: &SafeUrl, credentials: Credentials, ahead: bool) -> Result<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::new(
                ErrorKind::Input,
                "credentials: expected the URL of an http or https origin",
            ));
        }
        Ok(Self { origin: url.origin().into(), credentials, ahead })
    }

    fn is_for(&self, url: &SafeUrl) -> bool {
        *self.origin == *url.origin()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn url(text: &str) -> SafeUrl {
        text.parse().unwrap()
    }

    fn ask(source: &dyn CredentialSource, query: &CredentialQuery<'_>) -> Option<Credentials> {
        source.credentials(query).now_or_never().unwrap().unwrap()
    }

    #[test]
    fn what_cannot_be_sent_is_refused_and_not_repeated() {
        let long = "s3cret".repeat(3000);
        let cases = [
            (Credentials::password("s3:cret", ""), "user name: expected no colon"),
            (Credentials::password("s3cret\n", ""), "user name: expected at most"),
            (Credentials::password("", "s3cret\0"), "password: expected at most"),
            (Credentials::password("", &long), "password: expected at most"),
            (Credentials::bearer(""), "bearer token: expected 1 to 16384"),
            (Credentials::bearer("s3cret s3cret"), "bearer token: "),
            (Credentials::bearer("s3crét"), "bearer token: "),
            (Credentials::bearer(&long), "bearer token: "),
        ];
        for (result, what) in cases {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input);
            assert!(error.what().starts_with(what), "{error}");
            assert!(!format!("{error:?}").contains("cret"), "{error}");
        }
        assert!(Credentials::password("", "").is_ok() && Credentials::password("ü", "p:ß").is_ok());
    }

    #[test]
    fn user_information_of_a_url() {
        let read = |text: &str| Credentials::of_url(&url(text));
        let kind = |text: &str| read(text).unwrap().map(|credentials| credentials.0);
        let password = |user: &[u8], password: &[u8]| Some(Kind::Password(user.into(), password.into()));
        assert!(kind("http://h/").is_none());
        assert!(kind("http://Al:open%20sesame@h/") == password(b"Al", b"open sesame"));
        assert!(kind("http://user@h/") == password(b"user", b""));
        assert!(kind("http://:pass@h/") == password(b"", b"pass"));
        assert!(kind("http://%E4:%ff@h/") == password(b"\xe4", b"\xff"));
        for text in ["http://s3%3Acret:p@h/", "http://u:s3cret%0a@h/"] {
            let error = read(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "another mirror may do: {error}");
            assert!(!format!("{error:?}").contains("cret"), "{error}");
        }
    }

    #[test]
    fn nothing_is_printed() {
        let credentials =
            [Credentials::password("s3cret", "s3cret").unwrap(), Credentials::bearer("s3cret").unwrap()];
        for credentials in credentials {
            let origin = OriginCredentials::new("http://s3cret@h/s3cret", credentials.clone()).unwrap();
            let request = RequestCredentials::new("http://h/", credentials.clone()).unwrap();
            let text = format!("{credentials} {credentials:#?} {origin:#?} {request:#?}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn another_scheme_host_or_port_is_another_origin() {
        let source =
            OriginCredentials::new("https://h/x", Credentials::bearer("t").unwrap()).unwrap().ahead(false);
        for (text, expected) in [
            ("https://h/", true),
            ("https://H:443/a?b", true),
            ("http://h/", false),
            ("https://h:444/", false),
            ("https://g/", false),
            ("https://h.g/", false),
        ] {
            let url = url(text);
            let ahead = CredentialQuery::ahead(&url);
            assert_eq!(ask(&source.clone().ahead(true), &ahead).is_some(), expected, "{text}");
            assert!(ask(&source, &ahead).is_none());
            let own = RequestCredentials(source.0.clone());
            assert_eq!(own.of(&url).is_some(), expected, "{text}");
        }
        let error = OriginCredentials::new("ftp://h/", Credentials::bearer("t").unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
    }

    #[test]
    fn tokens_go_ahead_and_passwords_wait() {
        let url = url("http://h/");
        let mut headers = http::HeaderMap::new();
        headers.insert("www-authenticate", "Basic realm=x".parse().unwrap());
        let challenges = Challenge::parse(&headers, &http::header::WWW_AUTHENTICATE);
        let (ahead, challenged) =
            (CredentialQuery::ahead(&url), CredentialQuery::challenged(&url, &challenges));
        let token = OriginCredentials::new("http://h", Credentials::bearer("t").unwrap()).unwrap();
        let password = OriginCredentials::new("http://h", Credentials::password("u", "p").unwrap()).unwrap();
        assert!(ask(&token, &ahead).is_some() && ask(&password, &ahead).is_none());
        assert!(ask(&password, &challenged).is_some());
        assert!(ask(&password.clone().ahead(true), &ahead).is_some());
        // A chain asks one after the other.
        let chain: Vec<Arc<dyn CredentialSource>> = vec![Arc::new(password), Arc::new(Arc::new(token))];
        assert!(ask(&chain, &ahead) == Some(Credentials::bearer("t").unwrap()));
        assert!(ask(&chain, &challenged) == Some(Credentials::password("u", "p").unwrap()));
    }
}
