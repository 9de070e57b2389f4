//! The path on the server that a URL names.
//!
//! Invariant: the bytes between the escapes reach the server as they are, whatever their encoding. Must not know: what
//! lies there.

use downloader_core::{Error, Result, SafeUrl};
use percent_encoding::percent_decode_str;

/// The path of an `sftp:` URL: from the root; behind `/~/` from the folder that the server logs into, which is where a
/// path without a slash in front leads.
///
/// # Errors
/// Kind `Unsupported` for an escaped NUL, which no path can hold. Not `Input`, which would end a download that has
/// other sources.
pub(crate) fn of_url(url: &SafeUrl) -> Result<Vec<u8>> {
    let path: Vec<u8> = percent_decode_str(url.path()).collect();
    if path.contains(&0) {
        return Err(Error::unsupported("the path holds a NUL"));
    }
    // Of `/~` as it was written: an escaped one is a name like any other.
    let home = match url.path() {
        "/~" | "/~/" => Some(b".".to_vec()),
        text if text.starts_with("/~/") => Some(path[3..].to_vec()),
        _ => None,
    };
    Ok(match home {
        Some(path) if path.is_empty() => b".".to_vec(),
        // A second slash would lead to the root after all.
        Some(path) if path[0] == b'/' => [b"./", &path[..]].concat(),
        Some(path) => path,
        None if path.is_empty() => b"/".to_vec(),
        None => path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_the_root_or_from_home_byte_by_byte() {
        let path =
            |url: &str| of_url(&url.parse().unwrap()).map(|path| String::from_utf8_lossy(&path).into_owned());
        for (url, expected) in [
            ("sftp://h/srv/a%20b", "/srv/a b"),
            ("sftp://h/~/a/b", "a/b"),
            ("sftp://h/~", "."),
            ("sftp://h/~/", "."),
            ("sftp://h/~//etc", ".//etc"),
            ("sftp://h/%7E/a", "/~/a"),
            ("sftp://h/~user/a", "/~user/a"),
            ("sftp://h", "/"),
            ("sftp://h//a", "//a"),
            ("sftp://h/%E4%2Fb?x=1", "/\u{fffd}/b"),
            ("sftp://h/a%25b", "/a%b"),
        ] {
            assert_eq!(path(url).unwrap(), expected, "{url}");
        }
        assert!(of_url(&"sftp://h/a%00b".parse().unwrap()).is_err());
        assert_eq!(of_url(&"sftp://h/%ff".parse().unwrap()).unwrap(), b"/\xff");
    }
}
