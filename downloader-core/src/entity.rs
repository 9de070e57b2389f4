//! What is known of the content behind a URL, and whether bytes of two replies may stand behind each other.
//!
//! Invariant: [`Entity::splice`] says `Proven` only on strong evidence.
//! Must not know: headers, requests, writers. The rule is that of RFC 9110 §8.8 and §13.1.5.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::url::SafeUrl;

/// Identity of a content, as far as the far side tells: size, entity tag, modification time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// Size of the whole content in bytes.
    pub size: Option<u64>,
    /// Entity tag (RFC 9110 §8.8.3).
    pub tag: Option<Tag>,
    /// Time of the last modification.
    pub modified: Option<SystemTime>,
    /// True when `modified` lay far enough in the past to prove identity (RFC 9110 §8.8.2.2).
    pub settled: bool,
}

impl Entity {
    /// An entity of which only the size is known.
    #[must_use]
    pub fn sized(size: u64) -> Self {
        Self { size: Some(size), ..Self::default() }
    }

    /// True when a later reply can be proven to be of the same content.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        self.strong_tag().is_some() || (self.settled && self.size.is_some() && self.modified.is_some())
    }

    /// The entity tag, unless it is weak: a weak tag says nothing about bytes.
    #[must_use]
    pub fn strong_tag(&self) -> Option<&Tag> {
        self.tag.as_ref().filter(|tag| !tag.is_weak())
    }

    /// May bytes of `other` stand behind bytes of this entity?
    ///
    /// Sizes that differ contradict. Another source is plausible at best: tags and times are its own.
    /// On the same source strong tags decide; without them size and time together; else it is plausible.
    #[must_use]
    pub fn splice(&self, other: &Self, same_source: bool) -> Splice {
        if matches!((self.size, other.size), (Some(own), Some(theirs)) if own != theirs) {
            return Splice::Contradicted;
        }
        if !same_source {
            return Splice::Plausible;
        }
        if let (Some(own), Some(theirs)) = (self.strong_tag(), other.strong_tag()) {
            return if own == theirs { Splice::Proven } else { Splice::Contradicted };
        }
        match (self.modified, other.modified) {
            (Some(own), Some(theirs)) if own != theirs => Splice::Contradicted,
            (Some(_), Some(_)) if self.settled && self.size.is_some() && self.size == other.size => {
                Splice::Proven
            }
            _ => Splice::Plausible,
        }
    }
}

/// May bytes of one entity stand behind bytes of another?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Splice {
    /// The far side vouches that it is the same content.
    Proven,
    /// Nothing speaks against it; a digest or a comparison must decide.
    Plausible,
    /// It is another content.
    Contradicted,
}

/// An entity tag: an opaque quoted text, weak or strong (RFC 9110 §8.8.3).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag {
    text: Box<str>,
}

impl Tag {
    /// True for `W/"…"`: equal weak tags do not promise equal bytes.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.text.starts_with("W/")
    }

    /// The tag as it stands in a header, quotes included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Tag {
    type Err = Error;

    /// Reads `"opaque"` or `W/"opaque"`, up to 1 KiB of visible ASCII.
    fn from_str(text: &str) -> Result<Self> {
        let opaque = text.strip_prefix("W/").unwrap_or(text);
        let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match inner {
            Some(inner)
                if opaque.len() >= 2
                    && inner.len() <= 1024
                    && inner.bytes().all(|b| b == 0x21 || (0x23..=0x7e).contains(&b)) =>
            {
                Ok(Self { text: text.into() })
            }
            _ => Err(Error::input("entity tag: expected \"…\" or W/\"…\" of visible ASCII".to_owned())),
        }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whose bytes these are: the entity and the source that was asked for it.
///
/// Kept with partial bytes, or a resume would compare entity tags of different servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The content.
    pub entity: Entity,
    /// Who was asked.
    pub source: SourceId,
}

impl Provenance {
    /// May bytes of `other` stand behind bytes of this provenance?
    #[must_use]
    pub fn splice(&self, other: &Self) -> Splice {
        self.entity.splice(&other.entity, self.source == other.source)
    }
}

/// Names a source: by its URL or the name it was given while these are at hand, by a fingerprint where it is stored.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_enums)]
pub enum SourceId {
    /// The URL that was asked.
    Url(SafeUrl),
    /// What it is called by who knows it, whatever its URL: [`Source::named`](crate::Source::named).
    Name(Arc<str>),
    /// What an earlier run kept of it, see [`SourceId::fingerprint`].
    Fingerprint(Box<str>),
}

impl SourceId {
    /// A short digest of the URL without credentials, or of the name: equal for equal ones, useless to a thief. No name
    /// has that of a URL.
    #[must_use]
    pub fn fingerprint(&self) -> Box<str> {
        match self {
            Self::Fingerprint(text) => text.clone(),
            Self::Url(url) => {
                let url = url.without_credentials();
                blake3::hash(url.expose().as_str().as_bytes()).to_hex()[..32].into()
            }
            // No URL begins with a blank.
            Self::Name(name) => blake3::hash(format!(" {name}").as_bytes()).to_hex()[..32].into(),
        }
    }
}

impl PartialEq for SourceId {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Url(own), Self::Url(theirs)) => own == theirs,
            (Self::Name(own), Self::Name(theirs)) => own == theirs,
            (Self::Url(_), Self::Name(_)) | (Self::Name(_), Self::Url(_)) => false,
            _ => self.fingerprint() == other.fingerprint(),
        }
    }
}

impl Eq for SourceId {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entity(size: Option<u64>, tag: Option<&str>, modified: Option<u64>) -> Entity {
        Entity {
            size,
            tag: tag.map(|tag| tag.parse().unwrap()),
            modified: modified.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            settled: true,
        }
    }

    #[test]
    fn splice_follows_the_rule_in_every_case() {
        use Splice::{Contradicted, Plausible, Proven};
        let cases = [
            (entity(Some(1), None, None), entity(Some(2), None, None), true, Contradicted),
            (entity(Some(1), None, None), entity(Some(2), None, None), false, Contradicted),
            (entity(Some(1), Some("\"a\""), None), entity(Some(1), Some("\"a\""), None), true, Proven),
            (entity(None, Some("\"a\""), None), entity(Some(1), Some("\"a\""), None), true, Proven),
            (
                entity(Some(1), Some("\"a\""), Some(1)),
                entity(Some(1), Some("\"b\""), Some(1)),
                true,
                Contradicted,
            ),
            (entity(Some(1), Some("\"a\""), None), entity(Some(1), Some("\"b\""), None), false, Plausible),
            (entity(Some(1), Some("W/\"a\""), None), entity(Some(1), Some("W/\"a\""), None), true, Plausible),
            (entity(Some(1), Some("W/\"a\""), None), entity(Some(1), Some("W/\"b\""), None), true, Plausible),
            (entity(Some(1), None, Some(5)), entity(Some(1), None, Some(5)), true, Proven),
            (entity(Some(1), None, Some(5)), entity(Some(1), None, Some(6)), true, Contradicted),
            (entity(None, None, Some(5)), entity(None, None, Some(5)), true, Plausible),
            (entity(None, None, None), entity(None, None, None), true, Plausible),
        ];
        for (own, other, same, expected) in cases {
            assert_eq!(own.splice(&other, same), expected, "{own:?} {other:?} same={same}");
        }
    }

    #[test]
    fn a_time_that_has_not_settled_proves_nothing() {
        let fresh = Entity { settled: false, ..entity(Some(1), None, Some(5)) };
        assert_eq!(fresh.splice(&fresh, true), Splice::Plausible);
        assert!(!fresh.is_strong());
    }

    #[test]
    fn tags_are_read_as_the_grammar_says() {
        for good in ["\"\"", "\"a-b\"", "W/\"x\""] {
            assert_eq!(good.parse::<Tag>().unwrap().as_str(), good);
        }
        for bad in ["", "a", "\"", "\"a", "w/\"a\"", "\"a\"b\"", "\"a b\"", "W/"] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_ignores_credentials_and_shows_nothing() {
        let id = |text: &str| SourceId::Url(text.parse().unwrap());
        let (plain, with, other) =
            (id("https://h/f?sig=1"), id("https://u:p@h/f?sig=1"), id("https://h/f?sig=2"));
        assert_eq!(plain.fingerprint(), with.fingerprint());
        assert_eq!(plain, SourceId::Fingerprint(with.fingerprint()));
        assert_ne!(plain, other);
        assert_eq!(plain.fingerprint().len(), 32);
    }

    #[test]
    fn a_name_stands_for_every_url_and_for_none() {
        let name = |text: &str| SourceId::Name(text.into());
        assert_eq!(name("bucket/key"), name("bucket/key"));
        assert_ne!(name("bucket/key"), name("bucket/other"));
        assert_eq!(name("bucket/key"), SourceId::Fingerprint(name("bucket/key").fingerprint()));
        let url = SourceId::Url("https://h/f".parse().unwrap());
        assert_ne!(name("https://h/f"), url);
        assert_ne!(name("https://h/f"), SourceId::Fingerprint(url.fingerprint()));
        assert_eq!(name("").fingerprint().len(), 32);
    }
}
