//! Owns the secrets that callbacks are signed or sent with.
//!
//! Invariant: never printed. Must not know what it opens.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Bytes that nobody else knows. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// A secret as it is written in configurations: `whsec_` and base64, as the Standard Webhooks write it; any other text stands for its
    /// own bytes.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let coded = text.strip_prefix("whsec_").and_then(|coded| BASE64_STANDARD.decode(coded).ok());
        Self(coded.unwrap_or_else(|| text.as_bytes().to_vec()).into())
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_text_or_coded_and_never_shown() {
        assert_eq!(Secret::new("whsec_AQID").expose(), [1, 2, 3]);
        assert_eq!(Secret::new("s3cret").expose(), b"s3cret");
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "Secret(***)");
    }
}
