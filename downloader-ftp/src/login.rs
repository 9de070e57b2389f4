//! Who we are to a server: the account of the request, of the URL, of a source, or nobody in particular.
//!
//! Invariant: an account goes to the origin it belongs to. Must not know: connections.

use std::sync::Arc;

use downloader_core::credentials::{Credentials, LoginSource, RequestCredentials, Secret};
use downloader_core::{Error, Fetch, Result};

use super::command::require_one_line;

/// What public servers expect of those without an account (RFC 1635).
const ANONYMOUS: (&[u8], &[u8]) = (b"anonymous", b"anonymous@");

/// The account for a request; `None` for anybody.
///
/// # Errors
/// Kind `Unsupported` for a token, and for user information that cannot be sent; those of the source.
pub(crate) async fn of(fetch: &Fetch, sources: &[Arc<dyn LoginSource>]) -> Result<Option<Credentials>> {
    let own = fetch.options.get::<RequestCredentials>().and_then(|own| own.of(&fetch.url));
    let mut found = own.map(|(credentials, _)| credentials.clone());
    if found.is_none() {
        found = Credentials::of_url(&fetch.url)?;
    }
    for source in sources {
        if found.is_some() {
            break;
        }
        found = source.login(&fetch.url).await?;
    }
    if let Some(credentials) = &found {
        let (user, password) = words(Some(credentials))?;
        require_one_line(user)?;
        require_one_line(password)?;
    }
    Ok(found)
}

/// User and password as they are sent.
///
/// # Errors
/// Kind `Unsupported` for a token.
pub(crate) fn words(credentials: Option<&Credentials>) -> Result<(&[u8], &[u8])> {
    match credentials.map(Credentials::expose) {
        None => Ok(ANONYMOUS),
        Some(Secret::Password(user, password)) => Ok((user, password)),
        Some(Secret::Bearer(_)) => Err(Error::unsupported("a token: FTP knows users and passwords")),
    }
}
