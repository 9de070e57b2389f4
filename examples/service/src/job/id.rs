//! Owns the name of a job.
//!
//! Invariant: 14 characters of `A-Za-z0-9_-`, with 64 bits of the system's generator, so that nobody guesses where a file lies. Must not
//! know whether a job of that name exists.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

const BYTES: usize = 10;
const LENGTH: usize = 14;

/// The name of a job: 10 bytes as 14 characters of the URL-safe alphabet of base64 (RFC 4648, section 5). It may begin with `-`.
///
/// Two bytes, behind the characters that files are spread by, are the time in seconds, which begins again after 18 hours: what is taken in at
/// the same time lies side by side where names are in the order of the fifth character and on. The others are random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(Box<str>);

/// This text is no name of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 14 characters of A-Z, a-z, 0-9, _ and -")]
pub struct InvalidId;

impl JobId {
    /// A name that nobody had before, but for one chance in 2^64.
    ///
    /// # Panics
    /// When the system has no random numbers, with which no name could be kept secret.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).expect("Linux and every other supported system has random numbers");
        // A clock before 1970 only makes names that lie elsewhere.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let [.., high, low] = since.as_secs().to_be_bytes();
        [bytes[3], bytes[4]] = [high, low];
        Self::from_bytes(bytes)
    }

    /// The name of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// The 14 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let valid =
            text.len() == LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if valid { Ok(Self(text.into())) } else { Err(InvalidId) }
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn skroutz_1_a_name_has_fourteen_characters_of_the_url_safe_alphabet() {
        let names: BTreeSet<_> = (0..1000).map(|_| JobId::random()).collect();
        assert_eq!(names.len(), 1000);
        let times: BTreeSet<_> = names.iter().map(|name| &name.as_str()[4..6]).collect();
        let shards: BTreeSet<_> = names.iter().map(|name| &name.as_str()[..3]).collect();
        assert!(times.len() <= 2 && shards.len() > 900, "{} {}", times.len(), shards.len());
        for name in names {
            assert_eq!(name.as_str().parse(), Ok(name.clone()));
        }
        for wrong in
            ["", "32a9M0C-QxziD", "32a9M0C-QxziDAA", "32a9M0C+QxziDA", "32a9M0C/QxziDA", "32a9M0C-QxziDé"]
        {
            assert_eq!(wrong.parse::<JobId>(), Err(InvalidId), "{wrong}");
        }
    }
}
