//! `Basic`: user and password as they are (RFC 7617), and the plain `Bearer` token (RFC 6750), which is sent alike.
//!
//! Invariant: what is made here is marked sensitive, so that neither `Debug` nor HTTP/2 tables keep it.
//! Must not know: who is asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downloader_core::credentials::{Credentials, Secret};
use downloader_core::{Error, Result};
use http::HeaderValue;

/// The `Authorization` that needs no challenge: `Basic` for a password, `Bearer` for a token.
pub(super) fn authorization(credentials: &Credentials) -> Result<HeaderValue> {
    match credentials.expose() {
        Secret::Password(user, password) => {
            sensitive(format!("Basic {}", STANDARD.encode([user, &b":"[..], password].concat())))
        }
        Secret::Bearer(token) => sensitive(format!("Bearer {token}")),
    }
}

/// A value that is not to be printed or kept.
///
/// # Errors
/// Kind `Input` for control characters, which credentials never have and challenges cannot bring.
pub(super) fn sensitive(text: impl Into<Vec<u8>>) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(text.into()))
        .map_err(|_| Error::input("credentials: expected no control characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_become_basic() {
        let cases = [
            ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            // RFC 7617 §2.1.
            ("test", "123\u{a3}", "Basic dGVzdDoxMjPCow=="),
            ("user", "", "Basic dXNlcjo="),
            ("", "pass", "Basic OnBhc3M="),
            ("u", "p:q", "Basic dTpwOnE="),
        ];
        for (user, password, expected) in cases {
            let value = authorization(&Credentials::password(user, password).unwrap()).unwrap();
            assert_eq!(value, expected);
            assert!(value.is_sensitive() && format!("{value:?}") == "Sensitive");
        }
    }

    #[test]
    fn a_token_is_sent_as_it_is() {
        let value = authorization(&Credentials::bearer("a.b-c~+/=").unwrap()).unwrap();
        assert_eq!(value, "Bearer a.b-c~+/=");
        assert!(value.is_sensitive());
        assert!(sensitive("a\nb").is_err());
    }
}
