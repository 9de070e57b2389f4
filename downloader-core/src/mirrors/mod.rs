//! Who else serves a content: the lists that name mirrors, and a plug-in that fetches such a list.
//!
//! The parsers ([`metalink`], [`text`], [`apt`]) are pure: bytes in, mirrors out. [`MirrorList`] is the
//! [`Locate`](crate::Locate) that fetches a list, keeps it, and joins the path of a file to its mirrors.
//!
//! Invariant: a list is a stranger's: it is bounded, it never names more than its reader allows (no `file:` out of
//! a list from the network, nothing unprotected out of a protected one), and what is left out is told. Must not
//! know: how a download is done.

pub mod apt;
mod list;
pub mod metalink;
pub mod text;

use std::fmt;

pub use self::list::{Format, MirrorFile, MirrorList};
pub use self::metalink::{Metalink, MetalinkFile};
use crate::error::{Error, Result};
use crate::sources::Source;
use crate::url::SafeUrl;

/// Longest list that is read, in bytes: 4 MiB.
pub const MAX_LIST: usize = 4 * 1024 * 1024;
/// Most URLs taken from one list; further ones are left out.
pub const MOST_URLS: usize = 4096;
/// Most warnings kept of one list; the last one says that there are more.
pub const MOST_WARNINGS: usize = 100;
/// Priority of a mirror for which the list gives none: last.
pub const LAST: u32 = u32::MAX;

/// One mirror that a list names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mirror {
    /// The file itself in a metalink; the folder that paths are relative to in the other lists.
    pub url: SafeUrl,
    /// Lower is asked first, 0 is the best; [`LAST`] when the list gives none.
    pub priority: u32,
    /// Where it stands, as the list says: an ISO 3166 country code.
    pub location: Option<Box<str>>,
}

impl Mirror {
    /// One of priority 0, somewhere.
    #[must_use]
    pub fn new(url: SafeUrl) -> Self {
        Self { url, priority: 0, location: None }
    }
}

impl From<&Mirror> for Source {
    fn from(mirror: &Mirror) -> Self {
        Self::new(mirror.url.clone()).priority(mirror.priority)
    }
}

/// The mirrors of a list without digests, best first, and what was left out of it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Mirrors {
    /// Those that may be asked, best first.
    pub mirrors: Vec<Mirror>,
    /// What was ignored, and why.
    pub warnings: Vec<String>,
}

/// Which schemes the URLs of a list may have.
///
/// ```
/// use downloader_core::mirrors::Allowed;
/// let list = "https://mirrors.example.org/list?arch=x86_64".parse()?;
/// assert_eq!(format!("{:?}", Allowed::from(&list)), "Allowed[https, ftps, sftp]");
/// assert_eq!(format!("{:?}", Allowed::from(&list).and("http")), "Allowed[https, ftps, sftp, http]");
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Allowed(Vec<Box<str>>);

impl Allowed {
    /// These schemes only, in lower case.
    #[must_use]
    pub fn only<'a>(schemes: impl IntoIterator<Item = &'a str>) -> Self {
        Self(schemes.into_iter().map(Into::into).collect())
    }

    /// One more scheme: `http` when digests protect what comes, or when nothing has to.
    #[must_use]
    pub fn and(mut self, scheme: &str) -> Self {
        if !self.permits(scheme) {
            self.0.push(scheme.into());
        }
        self
    }

    /// May a URL of this scheme stand in the list?
    #[must_use]
    pub fn permits(&self, scheme: &str) -> bool {
        self.0.iter().any(|allowed| **allowed == *scheme)
    }
}

impl From<&SafeUrl> for Allowed {
    /// What a list that lies there may name without asking anybody: nothing local from the network, and from a
    /// protected place nothing that anyone on the way could change.
    fn from(list: &SafeUrl) -> Self {
        Self::only(
            match list.scheme() {
                "file" => &["https", "http", "ftps", "ftp", "sftp", "file"][..],
                "https" | "sftp" | "ftps" => &["https", "ftps", "sftp"],
                _ => &["https", "http", "ftps", "ftp", "sftp"],
            }
            .iter()
            .copied(),
        )
    }
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Allowed[{}]", self.0.join(", "))
    }
}

/// What a parser gathers: URLs up to the limit, and warnings up to theirs.
#[derive(Debug)]
struct Gathered<'a> {
    allowed: &'a Allowed,
    urls: usize,
    warnings: Vec<String>,
}

impl<'a> Gathered<'a> {
    fn new(allowed: &'a Allowed) -> Self {
        Self { allowed, urls: 0, warnings: Vec::new() }
    }

    /// The URL, if it may be used; `place` says where it stands. What is not a URL is never repeated.
    fn url(&mut self, text: &str, place: impl fmt::Display) -> Option<SafeUrl> {
        if text.contains(char::is_whitespace) {
            self.warn(format!("{place}: not a URL: it has blanks within"));
            return None;
        }
        let url = match SafeUrl::parse(text) {
            Ok(url) => url,
            Err(error) => {
                self.warn(format!("{place}: {}", error.what()));
                return None;
            }
        };
        if !self.allowed.permits(url.scheme()) {
            self.warn(format!("{place}: {url}: scheme {} is not allowed here; ignored", shown(url.scheme())));
            return None;
        }
        self.urls += 1;
        if self.urls == MOST_URLS + 1 {
            self.warn(format!("{place}: more than {MOST_URLS} URLs; the rest is ignored"));
        }
        (self.urls <= MOST_URLS).then_some(url)
    }

    fn warn(&mut self, warning: String) {
        match self.warnings.len() {
            0..MOST_WARNINGS => self.warnings.push(warning),
            MOST_WARNINGS => self.warnings.push("further warnings are left out".to_owned()),
            _ => {}
        }
    }
}

/// The lines of a list, with their numbers, without comments and blank ones.
fn lines(list: &[u8]) -> Result<impl Iterator<Item = (usize, Result<&str, String>)>> {
    check_length(list)?;
    let list = list.strip_prefix("\u{feff}".as_bytes()).unwrap_or(list);
    let numbered = list.split(|byte| *byte == b'\n').enumerate();
    Ok(numbered.filter_map(|(index, line)| {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return None;
        }
        let number = index + 1;
        Some((number, std::str::from_utf8(line).map_err(|_| format!("line {number}: not UTF-8"))))
    }))
}

fn check_length(list: &[u8]) -> Result<()> {
    if list.len() > MAX_LIST {
        let what = format!("mirror list: at most {MAX_LIST} bytes are accepted, got {}", list.len());
        return Err(Error::input(what));
    }
    Ok(())
}

/// A stranger's text, fit for a message: short, and without control characters.
fn shown(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_name_what_is_no_worse_than_where_it_came_from() {
        for (list, permitted, refused) in [
            ("https://h/l", &["https", "sftp", "ftps"][..], &["http", "ftp", "file", "rsync"][..]),
            ("http://h/l", &["http", "https", "ftp"], &["file", "rsync", "data"]),
            ("ftp://h/l", &["http", "https", "ftp"], &["file"]),
            ("file:///etc/l", &["file", "http", "https"], &["rsync"]),
        ] {
            let allowed = Allowed::from(&list.parse().unwrap());
            assert!(permitted.iter().all(|scheme| allowed.permits(scheme)), "{list}");
            assert!(!refused.iter().any(|scheme| allowed.permits(scheme)), "{list}");
        }
    }

    #[test]
    fn urls_and_warnings_are_bounded() {
        let allowed = Allowed::only(["http"]);
        let mut gathered = Gathered::new(&allowed);
        let taken = (0..MOST_URLS + 10).filter_map(|at| gathered.url(&format!("http://h/{at}"), "here"));
        assert_eq!(taken.count(), MOST_URLS);
        assert_eq!(gathered.warnings.len(), 1);
        for _ in 0..2 * MOST_WARNINGS {
            assert_eq!(gathered.url("rsync://u:s3cret@h/f", "there"), None);
        }
        assert_eq!(gathered.warnings.len(), MOST_WARNINGS + 1);
        assert_eq!(gathered.url("s3cret", "there"), None);
        assert!(!gathered.warnings.join("\n").contains("s3cret"));
    }

    #[test]
    fn too_long_a_list_is_refused() {
        let list = vec![b'\n'; MAX_LIST + 1];
        assert!(lines(&list).is_err());
        assert_eq!(lines(&list[..MAX_LIST]).unwrap().count(), 0);
    }
}
