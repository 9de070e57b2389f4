//! Credentials, and to which origin they belong: what every protocol with accounts needs.
//!
//! Invariant: credentials that exist can be sent as they are, and print nothing of themselves; those bound to an
//! origin are given out for no other. Must not know: how a protocol sends them, challenges.

mod netrc;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use percent_encoding::percent_decode_str;

pub use self::netrc::Netrc;
use crate::error::{Error, ErrorKind, Result};
use crate::url::SafeUrl;

/// Longest user name, password or token, in bytes: what a field or a line of a protocol can be trusted to carry.
const LONGEST: usize = 16 << 10;

/// What proves to a server who is asking: a user and a password, or a token.
///
/// Neither `Debug` nor `Display` tells any of it.
///
/// ```
/// use downloader_core::credentials::Credentials;
/// let credentials = Credentials::password("importer", "s3cret")?;
/// assert_eq!(format!("{credentials} {credentials:?}"), "user and password Credentials(***)");
/// assert!(Credentials::password("im:porter", "s3cret").is_err());
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials(Kind);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Password(Arc<[u8]>, Arc<[u8]>),
    Bearer(Arc<str>),
}

/// The words of [`Credentials`]: for sending, never for printing.
#[derive(Clone, Copy)]
#[allow(clippy::exhaustive_enums)]
pub enum Secret<'a> {
    /// A user and a password; what came from a URL need not be UTF-8.
    Password(&'a [u8], &'a [u8]),
    /// A token.
    Bearer(&'a str),
}

impl Credentials {
    /// A user and a password, either of which may be empty. Sent as UTF-8.
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
    pub fn of_url(url: &SafeUrl) -> Result<Option<Self>> {
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

    /// What is to be sent.
    #[must_use]
    pub fn expose(&self) -> Secret<'_> {
        match &self.0 {
            Kind::Password(user, password) => Secret::Password(user, password),
            Kind::Bearer(token) => Secret::Bearer(token),
        }
    }
}

/// Can this be a token? 1 to 16384 visible ASCII characters (RFC 6750 §2.1 allows fewer).
pub fn is_token(text: &str) -> bool {
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

/// Credentials for one origin, as a source for all requests of a backend.
///
/// Over HTTP a bearer token is sent with every request to that origin; user and password only after a challenge, so that
/// a server that offers `Digest` never sees the password itself. See [`OriginCredentials::ahead`].
#[derive(Clone, Debug)]
pub struct OriginCredentials(Bound);

impl OriginCredentials {
    /// For the origin of this URL, such as `https://example.org`; the rest of it says nothing.
    ///
    /// # Errors
    /// Kind `Input` when it is not a URL with a host.
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

    /// The credentials for a URL, if it is of their origin and the server has `asked`, or need not.
    #[must_use]
    pub fn of(&self, url: &SafeUrl, asked: bool) -> Option<&Credentials> {
        (self.0.is_for(url) && (self.0.ahead || asked)).then_some(&self.0.credentials)
    }
}

/// Credentials for one download: put them into its options. They outweigh user information of the URL and the
/// sources of the backend, and over HTTP yield to an `Authorization` among the request's headers.
///
/// They are sent with the first request already, and to their origin only: neither another mirror nor the target of
/// a redirect to another origin gets them, nor their own origin when a redirect leads back.
///
/// ```
/// use downloader_core::Request;
/// use downloader_core::credentials::{Credentials, RequestCredentials};
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
    /// Kind `Input` when it is not a URL with a host.
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
    #[must_use]
    pub fn of(&self, url: &SafeUrl) -> Option<(&Credentials, bool)> {
        self.0.is_for(url).then_some((&self.0.credentials, self.0.ahead))
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
        if url.host().is_none_or(str::is_empty) {
            return Err(Error::new(ErrorKind::Input, "credentials: expected a URL with a host"));
        }
        Ok(Self { origin: url.origin().into(), credentials, ahead })
    }

    fn is_for(&self, url: &SafeUrl) -> bool {
        *self.origin == *url.origin()
    }
}

/// Gives the account for a server that always asks for one, as FTP and SFTP do: a vault, a key ring, a file.
///
/// It is asked for each connection that is made for a URL which brings no credentials of its own. What it gives goes to
/// the origin of that URL. [`Netrc`] and [`OriginCredentials`] are sources, and so is a list of them: the first that has
/// any counts.
///
/// # Cancellation
/// The future is dropped when the download is.
#[async_trait]
pub trait LoginSource: fmt::Debug + Send + Sync + 'static {
    /// The account; `None` if it has none.
    ///
    /// # Errors
    /// The request fails with this error.
    async fn login(&self, url: &SafeUrl) -> Result<Option<Credentials>>;
}

#[async_trait]
impl<T: LoginSource + ?Sized> LoginSource for Arc<T> {
    async fn login(&self, url: &SafeUrl) -> Result<Option<Credentials>> {
        (**self).login(url).await
    }
}

#[async_trait]
impl LoginSource for Vec<Arc<dyn LoginSource>> {
    async fn login(&self, url: &SafeUrl) -> Result<Option<Credentials>> {
        for source in self {
            if let Some(credentials) = source.login(url).await? {
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl LoginSource for OriginCredentials {
    async fn login(&self, url: &SafeUrl) -> Result<Option<Credentials>> {
        Ok(self.of(url, true).cloned())
    }
}

#[async_trait]
impl LoginSource for Netrc {
    async fn login(&self, url: &SafeUrl) -> Result<Option<Credentials>> {
        Ok(self.of(url).cloned())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn url(text: &str) -> SafeUrl {
        text.parse().unwrap()
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
            assert_eq!(source.clone().ahead(true).of(&url, false).is_some(), expected, "{text}");
            assert_eq!(source.of(&url, true).is_some(), expected, "{text}");
            assert!(source.of(&url, false).is_none());
            let own = RequestCredentials(source.0.clone());
            assert_eq!(own.of(&url).is_some(), expected, "{text}");
        }
        let error = OriginCredentials::new("data:x", Credentials::bearer("t").unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
    }

    #[test]
    fn a_list_of_sources_is_asked_in_order() {
        let account = |user: &str| Credentials::password(user, "p").unwrap();
        let origin = OriginCredentials::new("ftp://h", account("one")).unwrap();
        let netrc = Netrc::parse("machine h login two password p").unwrap();
        let chain: Vec<Arc<dyn LoginSource>> = vec![Arc::new(origin), Arc::new(Arc::new(netrc))];
        let ask = |text: &str| chain.login(&url(text)).now_or_never().unwrap().unwrap();
        assert!(ask("ftp://h/f") == Some(account("one")));
        assert!(ask("ftp://h:2121/f") == Some(account("two")));
        assert!(ask("ftp://g/f").is_none());
    }
}
