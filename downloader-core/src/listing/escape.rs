//! Names in URLs: escaped once, and read back.
//!
//! Invariant: what is encoded decodes to the same bytes, and is one segment of a path to everybody. Must not know:
//! what the names are of.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use url::{Position, Url};

use crate::error::{Error, Result};
use crate::url::{MAX_URL, SafeUrl};

/// All but what a segment may hold as it is (RFC 3986 §3.3). `;` opens parameters in FTP, `+` is a blank to some
/// servers.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b':')
    .remove(b'=')
    .remove(b'@');

/// A name as one segment of the path of a URL.
#[must_use]
pub fn encoded(name: &[u8]) -> String {
    percent_encode(name, ESCAPED).to_string()
}

/// The bytes that a segment of a path stands for. What is no escape stays as it is.
#[must_use]
pub fn decoded(segment: &str) -> Cow<'_, [u8]> {
    percent_decode_str(segment).into()
}

/// The URL of a directory: with a slash at its end, without query and fragment.
///
/// # Errors
/// Kind `Input` when the URL would be too long.
pub fn directory(url: &SafeUrl) -> Result<SafeUrl> {
    let exposed = url.expose();
    if exposed.path().ends_with('/') && exposed.query().is_none() && exposed.fragment().is_none() {
        return Ok(url.clone());
    }
    let path = &exposed[..Position::AfterPath];
    parsed(if path.ends_with('/') { path.to_owned() } else { format!("{path}/") })
}

/// The URL of a path, in escapes, below a directory, whose query and fragment are left out.
pub(super) fn below(directory: &SafeUrl, path: &str) -> Result<SafeUrl> {
    let directory = &directory.expose()[..Position::AfterPath];
    let slash = if directory.ends_with('/') { "" } else { "/" };
    parsed(format!("{directory}{slash}{path}"))
}

fn parsed(text: String) -> Result<SafeUrl> {
    if text.len() > MAX_URL {
        return Err(Error::input(format!("a URL of {} bytes; at most {MAX_URL} are accepted", text.len())));
    }
    let url = Url::parse(&text).map_err(|error| Error::input(format!("not a URL: {error}")))?;
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_escaped_once_and_read_back() {
        for (name, escaped) in [
            ("a b#c?d%e", "a%20b%23c%3Fd%25e"),
            ("100%25", "100%2525"),
            ("é\"'<>`{}|^\\", "%C3%A9%22'%3C%3E%60%7B%7D%7C%5E%5C"),
            ("x;type=a", "x%3Btype=a"),
            ("libc++_1:2.0~rc1.deb", "libc%2B%2B_1:2.0~rc1.deb"),
            ("%2e%2e", "%252e%252e"),
            ("\u{7f}\n", "%7F%0A"),
        ] {
            assert_eq!(encoded(name.as_bytes()), escaped);
            assert_eq!(&*decoded(escaped), name.as_bytes());
        }
        assert_eq!(&*decoded("a%zz%4"), b"a%zz%4");
    }

    #[test]
    fn a_directory_ends_with_a_slash_and_its_entries_stand_below_it() {
        let url = |text: &str| SafeUrl::parse(text).unwrap();
        for (given, expected) in [
            ("http://h/d", "http://h/d/"),
            ("http://h/d/?C=N;O=D#x", "http://h/d/"),
            ("http://h", "http://h/"),
            ("sftp://me@h:22/~/d", "sftp://me@h:22/~/d/"),
            ("file:///a%20b", "file:///a%20b/"),
        ] {
            let directory = directory(&url(given)).unwrap();
            assert_eq!(directory.expose().as_str(), expected);
            assert_eq!(below(&directory, "n%3F").unwrap().expose().as_str(), format!("{expected}n%3F"));
        }
        assert_eq!(below(&url("ftp://h/d"), "a/").unwrap().expose().as_str(), "ftp://h/d/a/");
        assert!(below(&url("ftp://h/d"), &"a".repeat(MAX_URL)).is_err());
    }

    proptest! {
        #[test]
        fn every_name_survives_a_url(name in proptest::collection::vec(1u8.., 1..40)) {
            prop_assume!(!name.contains(&b'/') && name != b"." && name != b"..");
            for base in ["http://h/d/", "sftp://h/d/", "file:///d/", "ftp://h/d/"] {
                let url = below(&SafeUrl::parse(base).unwrap(), &encoded(&name)).unwrap();
                let segments: Vec<_> = url.path().split('/').collect();
                prop_assert_eq!(segments.len(), 3);
                prop_assert_eq!(&*decoded(segments[2]), &name[..]);
                prop_assert!(url.expose().query().is_none() && url.expose().fragment().is_none());
            }
        }
    }
}
