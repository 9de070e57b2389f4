//! From the path of a URL to directories and a name (RFC 1738 §3.2.2).
//!
//! Invariant: what is here can be sent: no part has a line break or NUL in it. Must not know: servers.

use downloader_core::{Error, Result, SafeUrl};
use percent_encoding::percent_decode_str;

use super::command::require_one_line;
use super::options::{FtpEncoding, FtpMethod};

/// Most directories of a path.
const MOST_DIRECTORIES: usize = 128;
/// Longest directory or name, in bytes.
const LONGEST_PART: usize = 4096;

/// What a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// To be entered one after the other; the first one may be `/`.
    pub(crate) directories: Vec<Vec<u8>>,
    /// Empty for a directory.
    pub(crate) name: Vec<u8>,
    /// `;type=d`.
    pub(crate) is_listing: bool,
}

impl Target {
    /// Reads the path of a URL.
    ///
    /// # Errors
    /// Kind `Unsupported` for a part that cannot be sent, or is too long, and for `;type=a`: text mode changes bytes.
    pub(crate) fn of(url: &SafeUrl, encoding: FtpEncoding) -> Result<Self> {
        let path = url.path().strip_prefix('/').unwrap_or(url.path());
        // FTP has no queries: the question mark is one of the name.
        let path = match url.expose().query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let (path, code) = split_type(&path);
        if code == Some('a') {
            return Err(Error::unsupported(";type=a in the URL: text mode would change the bytes"));
        }
        let mut parts = Vec::new();
        for (index, part) in path.split('/').enumerate() {
            let bytes = decoded(part, encoding);
            require_one_line(&bytes)?;
            if bytes.len() > LONGEST_PART {
                return Err(Error::unsupported(format!("a name of more than {LONGEST_PART} bytes")));
            }
            parts.push(if index == 0 && bytes.is_empty() && path.contains('/') {
                b"/".to_vec()
            } else {
                bytes
            });
        }
        let name = parts.pop().unwrap_or_default();
        // Within a path a run of slashes is one.
        parts.retain(|part| !part.is_empty());
        if parts.len() > MOST_DIRECTORIES {
            return Err(Error::unsupported(format!("a path of more than {MOST_DIRECTORIES} directories")));
        }
        Ok(Self { directories: parts, name, is_listing: code == Some('d') })
    }

    /// The same as a directory: the name is the last one to be entered.
    pub(crate) fn into_directory(mut self) -> Self {
        if !self.name.is_empty() {
            self.directories.push(std::mem::take(&mut self.name));
        }
        self
    }

    /// The directories to enter by one `CWD` each, and the path to ask for then.
    pub(crate) fn by(&self, method: FtpMethod) -> (Vec<Vec<u8>>, Vec<u8>) {
        match method {
            FtpMethod::Multicwd => (self.directories.clone(), self.name.clone()),
            FtpMethod::Singlecwd if self.directories.is_empty() => (Vec::new(), self.name.clone()),
            FtpMethod::Singlecwd => (vec![joined(&self.directories, b"")], self.name.clone()),
            FtpMethod::Nocwd => (Vec::new(), joined(&self.directories, &self.name)),
        }
    }
}

fn joined(directories: &[Vec<u8>], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::new();
    for part in directories.iter().map(Vec::as_slice).chain((!name.is_empty()).then_some(name)) {
        if !path.is_empty() && !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(part);
    }
    path
}

/// `;type=` with its code at the end, in any case.
fn split_type(path: &str) -> (&str, Option<char>) {
    let Some(at) = path.len().checked_sub(7).filter(|at| path.is_char_boundary(*at)) else {
        return (path, None);
    };
    let (before, end) = path.split_at(at);
    let end = end.to_ascii_lowercase();
    match end.strip_prefix(";type=").and_then(|code| code.chars().next()) {
        Some(code @ ('a' | 'i' | 'd')) => (before, Some(code)),
        _ => (path, None),
    }
}

fn decoded(part: &str, encoding: FtpEncoding) -> Vec<u8> {
    let bytes: Vec<u8> = percent_decode_str(part).collect();
    if encoding != FtpEncoding::Latin1 {
        return bytes;
    }
    let latin: Option<Vec<u8>> =
        str::from_utf8(&bytes).ok().and_then(|text| text.chars().map(|c| u8::try_from(c).ok()).collect());
    latin.unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(url: &str) -> Target {
        Target::of(&url.parse().unwrap(), FtpEncoding::Utf8).unwrap()
    }

    fn parts(url: &str) -> (Vec<String>, String) {
        let target = read(url);
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        (target.directories.iter().map(text).collect(), text(&target.name))
    }

    #[test]
    fn paths_as_rfc_1738_has_them() {
        let is = |directories: &[&str], name: &str| {
            (directories.iter().map(ToString::to_string).collect(), name.to_owned())
        };
        assert_eq!(parts("ftp://h/f"), is(&[], "f"));
        assert_eq!(parts("ftp://h"), is(&[], ""));
        assert_eq!(parts("ftps://h/"), is(&[], ""));
        assert_eq!(parts("ftp://h/a/b/f"), is(&["a", "b"], "f"));
        assert_eq!(parts("ftp://h/a/b/"), is(&["a", "b"], ""));
        assert_eq!(parts("ftp://h/%2Fetc/motd"), is(&["/etc"], "motd"));
        assert_eq!(parts("ftp://h/%2Fmotd"), is(&[], "/motd"));
        assert_eq!(parts("ftp://h//etc/motd"), is(&["/", "etc"], "motd"));
        assert_eq!(parts("ftp://h/a//b"), is(&["a"], "b"));
        assert_eq!(parts("ftp://h/a%20b/c%22d;type=i"), is(&["a b"], "c\"d"));
        assert_eq!(parts("ftp://h/f?x=1"), is(&[], "f?x=1"));
        assert_eq!(parts("ftp://h/f;TYPE=I"), is(&[], "f"));
        assert_eq!(parts("ftp://h/f;type=x"), is(&[], "f;type=x"));
        assert!(read("ftp://h/d;type=d").is_listing);
        let error = Target::of(&"ftp://h/f;type=a".parse().unwrap(), FtpEncoding::Utf8).unwrap_err();
        assert_eq!(error.kind(), downloader_core::ErrorKind::Unsupported);
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let long = format!("ftp://h/{}", "x".repeat(5000));
        let deep = format!("ftp://h/{}f", "d/".repeat(200));
        for url in ["ftp://h/a%0d%0aDELE%20b", "ftp://h/a%00", "ftp://h/x%0A/b", &long, &deep] {
            let error = Target::of(&url.parse().unwrap(), FtpEncoding::Utf8).unwrap_err();
            assert_eq!(error.kind(), downloader_core::ErrorKind::Unsupported, "{error}");
        }
    }

    #[test]
    fn names_in_other_encodings() {
        let with = |url: &str, encoding| Target::of(&url.parse().unwrap(), encoding).unwrap().name;
        assert_eq!(with("ftp://h/caf%E9", FtpEncoding::Utf8), b"caf\xe9");
        assert_eq!(with("ftp://h/café", FtpEncoding::Utf8), "café".as_bytes());
        assert_eq!(with("ftp://h/café", FtpEncoding::Latin1), b"caf\xe9");
        assert_eq!(with("ftp://h/caf%E9", FtpEncoding::Latin1), b"caf\xe9");
        assert_eq!(with("ftp://h/€", FtpEncoding::Latin1), "€".as_bytes());
    }

    /// biomaj 1.3: `ftp_method`.
    #[test]
    fn the_three_methods() {
        let text = |(directories, path): (Vec<Vec<u8>>, Vec<u8>)| {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            (directories.into_iter().map(text).collect::<Vec<_>>().join("|"), text(path))
        };
        let by = |url: &str, method| text(read(url).by(method));
        let is = |directories: &str, path: &str| (directories.to_owned(), path.to_owned());
        for (url, multi, single, none) in [
            ("ftp://h/a/b/f", is("a|b", "f"), is("a/b", "f"), is("", "a/b/f")),
            ("ftp://h/f", is("", "f"), is("", "f"), is("", "f")),
            ("ftp://h//a/f", is("/|a", "f"), is("/a", "f"), is("", "/a/f")),
            ("ftp://h/%2Fa/f", is("/a", "f"), is("/a", "f"), is("", "/a/f")),
        ] {
            assert_eq!(by(url, FtpMethod::Multicwd), multi);
            assert_eq!(by(url, FtpMethod::Singlecwd), single);
            assert_eq!(by(url, FtpMethod::Nocwd), none);
        }
        let directory = text(read("ftp://h/a/b").into_directory().by(FtpMethod::Multicwd));
        assert_eq!(directory, is("a|b", ""));
        assert_eq!(text(read("ftp://h/a/").into_directory().by(FtpMethod::Nocwd)), is("", "a"));
    }

    proptest! {
        #[test]
        fn every_name_can_be_asked_for(name in "[^/\r\n\0]{1,20}") {
            let escaped: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let target = read(&format!("ftp://h/{escaped}"));
            if name != "." && name != ".." {
                prop_assert_eq!(target.name, name.into_bytes());
            }
        }
    }
}
