//! Which links of a page lead to entries of the directory that it is of.
//!
//! Invariant: an entry stands one level below the directory, at its origin, without a query: no parent, no other host, no
//! link that sorts the page, no script. Must not know: what the page looks like.

use downloader_core::SafeUrl;
use downloader_core::listing::{Entry, EntryKind, NoName, escape};
use url::Url;

/// The directory, as links are compared with it.
#[derive(Debug)]
pub(crate) struct Links {
    directory: Url,
    segments: Vec<Vec<u8>>,
}

/// Where a link leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// To an entry; only its name, kind and reference are known.
    Entry(Entry),
    /// To something directly below the directory that no entry can be called.
    Unusable,
    /// To the directory above.
    Parent,
    /// Further down than one level.
    Deeper,
    /// To anything else.
    Elsewhere,
}

impl Links {
    /// Links of the page of this directory, whose URL ends with a slash.
    pub(crate) fn new(directory: &SafeUrl) -> Self {
        let directory = directory.expose().clone();
        Self { segments: segments(&directory), directory }
    }

    /// The last segment of the directory's path, decoded; its whole path, decoded.
    pub(crate) fn path(&self) -> String {
        let path: Vec<_> = self.segments.iter().map(|segment| String::from_utf8_lossy(segment)).collect();
        path.join("/")
    }

    /// Where this reference leads, as it stands on the page.
    pub(crate) fn resolve(&self, reference: &str) -> Link {
        let reference = reference.trim();
        if reference.is_empty() || reference.starts_with(['#', '?']) {
            return Link::Elsewhere;
        }
        let Ok(url) = self.directory.join(reference) else { return Link::Elsewhere };
        let same_origin = url.scheme() == self.directory.scheme()
            && url.host_str() == self.directory.host_str()
            && url.port_or_known_default() == self.directory.port_or_known_default();
        if !same_origin || url.query().is_some() {
            return Link::Elsewhere;
        }
        let own = segments(&url);
        if own.len() + 1 == self.segments.len() && self.segments.starts_with(&own) {
            return Link::Parent;
        }
        if own.len() <= self.segments.len() || !own.starts_with(&self.segments) {
            return Link::Elsewhere;
        }
        if own.len() > self.segments.len() + 1 {
            return Link::Deeper;
        }
        let path = url.path();
        let (path, kind) =
            path.strip_suffix('/').map_or((path, EntryKind::File), |path| (path, EntryKind::Directory));
        let segment = path.rsplit('/').next().unwrap_or_default();
        match Entry::new(escape::decoded(segment), kind) {
            Ok(entry) => Link::Entry(entry.with_reference(segment)),
            Err(NoName::Itself) => Link::Elsewhere,
            Err(NoName::Unusable) => Link::Unusable,
        }
    }
}

/// The segments of a path, decoded.
fn segments(url: &Url) -> Vec<Vec<u8>> {
    let segments = url.path().split('/').filter(|segment| !segment.is_empty());
    segments.map(|segment| escape::decoded(segment).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_below_counts() {
        let links = Links::new(&"http://h/a%20b/d/".parse().unwrap());
        let entry = |reference: &str| match links.resolve(reference) {
            Link::Entry(entry) => {
                Some((entry.name().into_owned(), entry.kind, entry.reference().into_owned()))
            }
            _ => None,
        };
        for (reference, name, kind, asked) in [
            ("x.txt", "x.txt", EntryKind::File, "x.txt"),
            ("./x.txt", "x.txt", EntryKind::File, "x.txt"),
            ("sub/", "sub", EntryKind::Directory, "sub"),
            ("/a%20b/d/x", "x", EntryKind::File, "x"),
            ("/a b/%64/x#y", "x", EntryKind::File, "x"),
            ("http://h:80/a%20b/d/x", "x", EntryKind::File, "x"),
            ("//h/a%20b/d/x", "x", EntryKind::File, "x"),
            ("a b.txt", "a b.txt", EntryKind::File, "a%20b.txt"),
            ("a+b%2bc", "a+b+c", EntryKind::File, "a+b%2bc"),
            ("%23%3f%25", "#?%", EntryKind::File, "%23%3f%25"),
            ("é'\"", "é'\"", EntryKind::File, "%C3%A9'%22"),
            ("100%", "100%", EntryKind::File, "100%"),
        ] {
            assert_eq!(entry(reference), Some((name.into(), kind, asked.into())), "{reference}");
        }
        for reference in ["../", "..", "/a%20b/", "/a%20b", "http://h/a%20b/"] {
            assert_eq!(links.resolve(reference), Link::Parent, "{reference}");
        }
        for reference in [
            "",
            "#top",
            "?C=N;O=D",
            "?",
            "/a%20b/d/?C=M",
            "x?download",
            "/",
            "/other/x",
            "../e/",
            "http://other/a%20b/d/x",
            "https://h/a%20b/d/x",
            "http://h:81/a%20b/d/x",
            "javascript:alert(1)",
            "mailto:me@h",
            "data:,x",
            ".",
            "./",
            "%2e%2e/",
            "%2e",
            "x:y",
        ] {
            let link = links.resolve(reference);
            assert!(matches!(link, Link::Elsewhere | Link::Parent), "{reference}: {link:?}");
        }
        assert_eq!(links.resolve("a%2Fb"), Link::Unusable);
        assert_eq!(links.resolve("a%00"), Link::Unusable);
        assert_eq!(links.resolve("a/b"), Link::Deeper);
    }
}
