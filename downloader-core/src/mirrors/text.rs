//! Plain mirror lists: one URL a line, as distributions serve and ship them.
//!
//! Invariant: the order of the list is kept, and a line that is not understood changes no other. Must not know:
//! who fetched the list.

use super::{Allowed, Gathered, Mirror, Mirrors, lines};
use crate::error::Result;

/// Reads a plain list.
///
/// Each line has one URL, the folder that paths are relative to; `KEY = URL` is accepted, as in `pacman` and `yum`
/// configurations. Lines that start with `#` are comments. All mirrors have priority 0: the engine asks them as
/// listed, those that do badly later. Variables such as `$arch` are not replaced.
///
/// ```
/// use downloader_core::mirrors::{Allowed, text};
/// let list = b"# Sweden\nhttps://a.example/fedora/\nServer = https://b.example/fedora/\nfile:///etc/\n";
/// let read = text::parse(list, &Allowed::only(["https"]))?;
/// assert_eq!(read.mirrors.len(), 2);
/// assert_eq!(read.warnings, ["line 4: file:///etc/: scheme file is not allowed here; ignored"]);
/// # Ok::<(), downloader_core::Error>(())
/// ```
///
/// # Errors
/// Kind `Input` for a list longer than [`MAX_LIST`](super::MAX_LIST).
pub fn parse(list: &[u8], allowed: &Allowed) -> Result<Mirrors> {
    let mut gathered = Gathered::new(allowed);
    let mut mirrors = Vec::new();
    for (number, line) in lines(list)? {
        match line {
            Ok(line) => {
                mirrors.extend(gathered.url(value(line), format_args!("line {number}")).map(Mirror::new));
            }
            Err(warning) => gathered.warn(warning),
        }
    }
    Ok(Mirrors { mirrors, warnings: gathered.warnings })
}

/// What stands behind `KEY =`, or the whole line: the `=` of a URL's query has no plain word before it.
fn value(line: &str) -> &str {
    let is_key = |key: &str| {
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    match line.split_once('=') {
        Some((key, value)) if is_key(key.trim_end()) => value.trim_start(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn urls(list: &[u8]) -> Vec<String> {
        let read = parse(list, &Allowed::only(["http", "https"])).unwrap();
        read.mirrors.iter().map(|mirror| mirror.url.expose().to_string()).collect()
    }

    #[test]
    fn comments_keys_and_odd_ends() {
        let list =
            b"\xef\xbb\xbf# comment\r\n\r\nhttp://a/x/\r\n  Server=http://b/y?a=b \n#Server = http://c/\n\
            base-url =\thttps://d/\nmirrors = rsync://e/\nnonsense\n= http://f/\n\xff\xfe\nhttp://g/";
        assert_eq!(urls(list), ["http://a/x/", "http://b/y?a=b", "https://d/", "http://g/"]);
        let read = parse(list, &Allowed::only(["http", "https"])).unwrap();
        let lines: Vec<_> = read.warnings.iter().map(|warning| warning.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["line 7", "line 8", "line 9", "line 10"]);
        assert!(read.mirrors.iter().all(|mirror| mirror.priority == 0));
    }

    #[test]
    fn a_page_that_is_no_list_names_nothing() {
        assert_eq!(urls(b"<html><body>\n<a href=http://a/>log in</a>\n</html>"), [""; 0]);
        assert_eq!(urls(b""), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(list: Vec<u8>, text in "([a-z#= ]|http://|file:|\n){0,30}") {
            for list in [&list[..], text.as_bytes()] {
                for mirror in parse(list, &Allowed::only(["http"])).unwrap().mirrors {
                    prop_assert_eq!(mirror.url.scheme(), "http");
                }
            }
        }
    }
}
