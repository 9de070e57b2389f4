//! A directory that waits to be listed, and how it was reached.
//!
//! Invariant: no way leads through a link to a directory that it comes from, as far as targets tell, nor through more than
//! [`MOST_LINKS`]. Must not know: how directories are listed.

use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::listing::entry::{Entry, EntryKind};
use crate::listing::escape;
use crate::url::SafeUrl;

/// Most links on one way.
const MOST_LINKS: usize = 8;

/// A directory to be listed.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// `None` is that of the request.
    pub(super) url: Option<SafeUrl>,
    pub(super) path: Box<str>,
    pub(super) depth: usize,
    /// It is behind a link, which may lead to a file.
    is_link: bool,
    links: usize,
    /// Where this directory, and those above it, really are; only while links are followed.
    real: Option<Arc<Real>>,
}

/// A path, decoded, and that of the directory it was entered from.
#[derive(Debug)]
struct Real {
    path: Vec<Vec<u8>>,
    above: Option<Arc<Self>>,
}

impl Pending {
    pub(super) fn first() -> Self {
        Self { url: None, path: "".into(), depth: 0, is_link: false, links: 0, real: None }
    }

    /// The path of an entry of this directory.
    pub(super) fn path_of(&self, name: &str) -> Box<str> {
        if self.path.is_empty() { name.into() } else { format!("{}/{name}", self.path).into() }
    }

    /// An entry of this directory as one to be listed; nothing where that would go round in circles.
    pub(super) fn enter(&self, path: &str, entry: &Entry, url: &SafeUrl, by_identity: bool) -> Option<Self> {
        let is_link = entry.kind == EntryKind::Link;
        let links = self.links + usize::from(is_link);
        let real = if by_identity { Some(self.real(entry, url)?) } else { None };
        if links > MOST_LINKS {
            return None;
        }
        let url = Some(url.clone());
        Some(Self { url, path: path.into(), depth: self.depth + 1, is_link, links, real })
    }

    /// True when this is how it shows that the link leads to no directory.
    pub(super) fn is_leaf(&self, error: &Error) -> bool {
        let kinds = [ErrorKind::NotFound, ErrorKind::Unsupported, ErrorKind::Protocol, ErrorKind::Refused];
        self.is_link && kinds.contains(&error.kind())
    }

    fn real(&self, entry: &Entry, url: &SafeUrl) -> Option<Arc<Real>> {
        let own = segments(url);
        let here = match &self.real {
            Some(real) => Arc::clone(real),
            None => Arc::new(Real { path: own[..own.len().saturating_sub(1)].to_vec(), above: None }),
        };
        let mut path = here.path.clone();
        match &entry.target {
            Some(target) if entry.kind == EntryKind::Link => {
                if target.starts_with(b"/") {
                    path.clear();
                }
                for name in target.split(|byte| *byte == b'/') {
                    match name {
                        b"" | b"." => {}
                        b".." => drop(path.pop()),
                        name => path.push(name.to_vec()),
                    }
                }
            }
            _ => path.push(entry.raw_name().to_vec()),
        }
        let mut above = Some(&here);
        while let Some(real) = above {
            // That directory, or one above it.
            if real.path.starts_with(&path) {
                return None;
            }
            above = real.above.as_ref();
        }
        Some(Arc::new(Real { path, above: Some(here) }))
    }
}

fn segments(url: &SafeUrl) -> Vec<Vec<u8>> {
    let segments = url.path().split('/').filter(|segment| !segment.is_empty());
    segments.map(|segment| escape::decoded(segment).into_owned()).collect()
}
