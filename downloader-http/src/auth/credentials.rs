//! Who gives credentials, and when they are asked for.
//!
//! Invariant: what a source is told of a server is what the server said. Must not know: how a scheme makes a header field
//! of them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use downloader_core::credentials::{Credentials, Netrc, OriginCredentials};
use downloader_core::{Result, SafeUrl};

use super::challenge::Challenge;

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

/// A bearer token is sent with every request to its origin; user and password only after a challenge, so that a server
/// that offers `Digest` never sees the password itself, unless [`OriginCredentials::ahead`] says otherwise.
#[async_trait]
impl CredentialSource for OriginCredentials {
    async fn credentials(&self, query: &CredentialQuery<'_>) -> Result<Option<Credentials>> {
        Ok(self.of(query.url, !query.is_ahead()).cloned())
    }
}

/// After a challenge only.
#[async_trait]
impl CredentialSource for Netrc {
    async fn credentials(&self, query: &CredentialQuery<'_>) -> Result<Option<Credentials>> {
        Ok(if query.is_ahead() { None } else { self.of(query.url).cloned() })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn ask(source: &dyn CredentialSource, query: &CredentialQuery<'_>) -> Option<Credentials> {
        source.credentials(query).now_or_never().unwrap().unwrap()
    }

    #[test]
    fn tokens_go_ahead_and_passwords_wait() {
        let url: SafeUrl = "http://h/".parse().unwrap();
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
        let netrc = Netrc::parse("machine h login u password p").unwrap();
        assert!(ask(&netrc, &ahead).is_none() && ask(&netrc, &challenged).is_some());
        // A chain asks one after the other.
        let chain: Vec<Arc<dyn CredentialSource>> = vec![Arc::new(password), Arc::new(Arc::new(token))];
        assert!(ask(&chain, &ahead) == Some(Credentials::bearer("t").unwrap()));
        assert!(ask(&chain, &challenged) == Some(Credentials::password("u", "p").unwrap()));
    }
}
