//! Metalinks: the sources of a file together with its size and digests, as one XML document.
//!
//! Owns what a metalink says, and its translation into a [`Request`]. Invariant: a content is accepted only if it is
//! one of the versions that the document describes. Must not know: XML, which the `xml` module walks through.

#[cfg(test)]
mod tests;
mod xml;

use std::sync::Arc;

use super::{Allowed, Mirror};
use crate::error::{Error, ErrorKind, Result};
use crate::name::FileName;
use crate::request::Request;
use crate::sources::{Fixed, Source};
use crate::validate::{Algorithm, Check, Digest, Evidence, Head, Validator};

/// What a metalink says: of version 3 (metalinker.org, as Fedora serves it) or 4 (RFC 5854).
///
/// The document is not signed, or its signature is not looked at: it is as good as the place it came from.
/// Digests of pieces, torrents and descriptions are not read.
///
/// ```
/// use downloader_core::mirrors::{Allowed, Metalink};
/// let document = br#"<metalink xmlns="urn:ietf:params:xml:ns:metalink">
///   <file name="f.iso">
///     <size>5</size>
///     <hash type="sha-256">2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824</hash>
///     <url location="de" priority="2">https://b.example/f.iso</url>
///     <url location="se" priority="1">https://a.example/f.iso</url>
///   </file>
/// </metalink>"#;
/// let metalink = Metalink::parse(document, &Allowed::only(["https"]))?;
/// let file = metalink.file("f.iso").expect("the document describes it");
/// assert_eq!(file.mirrors[0].url.host(), Some("a.example"));
/// let request = file.request()?; // size, digest and both sources
/// # let _ = request;
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metalink {
    /// The files, in the order of the document.
    pub files: Vec<MetalinkFile>,
    /// What was ignored, and why.
    pub warnings: Vec<String>,
}

/// One file of a metalink.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MetalinkFile {
    /// Its name as it stands in the document: to find it by. For the disk take [`MetalinkFile::file_name`].
    pub name: Box<str>,
    /// The current content.
    pub current: Version,
    /// Earlier contents that mirrors may still have (Fedora's extension). Clear it to accept the current one only.
    pub alternates: Vec<Version>,
    /// Where it is served, best first.
    pub mirrors: Vec<Mirror>,
}

/// What a metalink says of one content of a file.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Version {
    /// Size in bytes.
    pub size: Option<u64>,
    /// Digests, each by its algorithm.
    pub digests: Vec<(Algorithm, Digest)>,
    /// Seconds since 1970 at which it was made (Fedora's extension).
    pub timestamp: Option<u64>,
}

impl Metalink {
    /// Reads a metalink.
    ///
    /// Tolerant of what does not matter: unknown elements, digests of unknown or missing type, preferences out of
    /// range and URLs that are not allowed are ignored, with a warning.
    ///
    /// Priorities of the mirrors: in version 4 the document's less one, from 1, which is best and becomes 0, to
    /// 999999, which is what RFC 5854 gives a URL without one; in version 3 100 less the preference, so that
    /// 100, which is best, becomes 0, and a URL without one comes last.
    ///
    /// # Errors
    /// Kind `Input`, with the offset of the byte, for a document that is not well-formed, not UTF-8, nested too
    /// deep, or no metalink; also for one longer than [`MAX_LIST`](super::MAX_LIST).
    pub fn parse(document: &[u8], allowed: &Allowed) -> Result<Self> {
        xml::parse(document, allowed)
    }

    /// The file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&MetalinkFile> {
        self.files.iter().find(|file| *file.name == *name)
    }
}

impl MetalinkFile {
    /// A name for the disk, whatever the document says; `None` when nothing usable is left of it.
    #[must_use]
    pub fn file_name(&self) -> Option<FileName> {
        FileName::sanitize(&self.name)
    }

    /// The mirrors as sources, best first.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        self.mirrors.iter().map(Source::from).collect()
    }

    /// The content must be one of the versions, told apart by the strongest digest of each; `None` when the current
    /// one has none. Alternates without a digest are left out.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        let current = self.current.strongest()?.clone();
        let alternates = self.alternates.iter().filter_map(|version| version.strongest().cloned());
        // It fails only without any, or for digests that accept everything, which no document can name.
        Digest::any_of(std::iter::once(current).chain(alternates)).ok()
    }

    /// A request for it, with all that the document says: sources, size and digest, alternates included.
    ///
    /// # Errors
    /// Kind `Input` when no URL is left that is allowed.
    pub fn request(&self) -> Result<Request> {
        if self.mirrors.is_empty() {
            return Err(Error::input("metalink: the file has no URL that is allowed"));
        }
        let request = Request::located(Arc::new(Fixed::new(self.sources())));
        let digest = self.digest();
        let verifiable = |version: &&Version| digest.is_some() && version.strongest().is_some();
        let versions = std::iter::once(&self.current).chain(self.alternates.iter().filter(verifiable));
        // A version of unknown size can have any.
        let sizes: Option<Vec<u64>> = versions.map(|version| version.size).collect();
        let request = match sizes.as_deref() {
            None => request,
            Some([size]) => request.size(*size),
            Some(sizes) => request.check(OneOf(sizes.into())),
        };
        Ok(match digest {
            Some(digest) => request.check(digest),
            None => request,
        })
    }
}

impl Version {
    /// The digest that is hardest to forge.
    fn strongest(&self) -> Option<&Digest> {
        Digest::strongest(self.digests.iter().map(|(_, digest)| digest))
    }
}

/// The content must have one of these sizes. Which one goes with which digest the digest decides.
#[derive(Debug)]
struct OneOf(Arc<[u64]>);

impl OneOf {
    fn disagree(&self, found: &str) -> Error {
        let expected: Vec<_> = self.0.iter().map(u64::to_string).collect();
        let what = format!("size: expected {} bytes, {found}", expected.join(" or "));
        Error::new(ErrorKind::Integrity, what)
    }
}

impl Validator for OneOf {
    fn admit(&self, head: &Head<'_>) -> Result<()> {
        match head.entity.size {
            Some(size) if !self.0.contains(&size) => Err(self.disagree(&format!("announced {size}"))),
            _ => Ok(()),
        }
    }

    fn start(&self) -> Box<dyn Check> {
        Box::new(Within { sizes: Self(Arc::clone(&self.0)), seen: 0 })
    }
}

struct Within {
    sizes: OneOf,
    seen: u64,
}

impl Check for Within {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        self.seen += chunk.len() as u64;
        if self.sizes.0.iter().all(|size| self.seen > *size) {
            return Err(self.sizes.disagree(&format!("got at least {}", self.seen)));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        if !self.sizes.0.contains(&self.seen) {
            return Err(self.sizes.disagree(&format!("got {}", self.seen)));
        }
        Ok(Evidence::new("size", self.seen.to_string()))
    }
}
