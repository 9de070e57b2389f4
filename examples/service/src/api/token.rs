//! Owns the token that callers show.
//!
//! Invariant: it is never printed, and how long a comparison takes tells nothing of it. Must not know where it came from.

use std::fmt;
use std::hint::black_box;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};

/// A bearer token (RFC 6750). `Debug` does not show it.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// This text as a token.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Is it shown in these fields?
    pub(super) fn admits(&self, fields: &HeaderMap) -> bool {
        let shown = fields.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = shown.and_then(|value| value.split_once(' ')) else { return false };
        scheme.eq_ignore_ascii_case("bearer") && self.is(token.trim())
    }

    /// Digests are compared, all bytes of them: neither the length nor a common beginning shows in the time.
    fn is(&self, text: &str) -> bool {
        let other = Self::new(text);
        let differing =
            self.0.iter().zip(other.0).fold(0, |sum, (own, other)| black_box(sum | (own ^ other)));
        differing == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_admits() {
        let token = Token::new("s3cret");
        let admits = |value: &'static str| {
            let mut fields = HeaderMap::new();
            fields.insert(AUTHORIZATION, axum::http::HeaderValue::from_static(value));
            token.admits(&fields)
        };
        assert!(admits("Bearer s3cret") && admits("bearer s3cret"));
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Bearer ", "s3cret", "Basic s3cret", ""] {
            assert!(!admits(wrong), "{wrong}");
        }
        assert!(!token.admits(&HeaderMap::new()));
        assert!(!format!("{token:?}").contains("s3cret"));
    }
}
