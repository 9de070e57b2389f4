//! Owns the check against a page that came in place of a file: of a login, a lost license, an error with status 200.
//!
//! Invariant: decided by the first [`WINDOW`] bytes. Must not know: what was expected instead.

use downloader_core::validate::{Check, Evidence, Validator};
use downloader_core::{Error, ErrorKind, Result};

use crate::prefix::Prefix;

/// How much of a content decides.
const WINDOW: usize = 1024;

/// The content must not be an HTML page, as its own first 1024 bytes show; what the source announces does not count.
///
/// # Errors
/// The check fails with kind `Integrity`: the source is asked once more, then the next one.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct NotHtml;

impl Validator for NotHtml {
    fn start(&self) -> Box<dyn Check> {
        Box::new(Looking(Prefix::new(WINDOW)))
    }
}

struct Looking(Prefix);

impl Looking {
    fn decide(&mut self) -> Result<()> {
        let found = is_html(self.0.bytes());
        self.0.forget();
        if found {
            Err(Error::new(ErrorKind::Integrity, "html: a page came in place of the content"))
        } else {
            Ok(())
        }
    }
}

impl Check for Looking {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        if self.0.take(chunk) { self.decide() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<Evidence> {
        self.decide()?;
        Ok(Evidence::new("not-html", "yes"))
    }
}

/// What a page begins with, after blanks, comments and an XML declaration (the marks of WHATWG's MIME sniffing, §7.1).
const TAGS: [&str; 16] = [
    "!doctype html",
    "html",
    "head",
    "script",
    "iframe",
    "h1",
    "div",
    "font",
    "table",
    "a",
    "style",
    "title",
    "b",
    "body",
    "br",
    "p",
];

/// Does it begin like an HTML page, with a doctype or without?
pub(crate) fn is_html(prefix: &[u8]) -> bool {
    let mut rest = prefix.strip_prefix(b"\xef\xbb\xbf").unwrap_or(prefix);
    let mut is_xml = false;
    loop {
        rest = rest.trim_ascii_start();
        let Some(tag) = rest.strip_prefix(b"<") else { return false };
        let end: &[u8] = if tag.starts_with(b"!--") {
            b"-->"
        } else if tag.starts_with(b"?xml") {
            b"?>"
        } else {
            // XML may have elements of any name.
            let known = if is_xml { &TAGS[..2] } else { &TAGS[..] };
            return known.iter().any(|name| begins(tag, name.as_bytes()));
        };
        let Some(at) = rest.windows(end.len()).position(|window| window == end) else { return false };
        is_xml |= end == b"?>";
        rest = &rest[at + end.len()..];
    }
}

fn begins(tag: &[u8], name: &[u8]) -> bool {
    let is_name = tag.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    is_name
        && tag.get(name.len()).is_none_or(|next| matches!(next, b'>' | b' ' | b'\t' | b'\r' | b'\n' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_recognised_however_they_begin() {
        for page in [
            "<!DOCTYPE html><html>",
            "\n  <html lang=en>",
            "<HEAD><title>x",
            "\u{feff}<!-- c --> <body>",
            "<?xml version=\"1.0\"?><!DOCTYPE html PUBLIC \"-//W3C\">",
            "<title>Sign in</title>",
            "<h1>404</h1>",
        ] {
            assert!(is_html(page.as_bytes()), "{page}");
        }
        for other in [
            "",
            "<",
            "<htmlx>",
            "<?xml version=\"1.0\"?><a>",
            "<!-- only",
            "plain <html>",
            "\x1f\u{8b}",
            "<abc>",
        ] {
            assert!(!is_html(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_page_is_found_in_any_pieces_and_anything_else_is_evidence() {
        let page = format!("<html>{}", "x".repeat(5000));
        for size in [1, 7, 5000] {
            let mut check = NotHtml.start();
            let error = page.as_bytes().chunks(size).find_map(|chunk| check.update(chunk).err()).unwrap();
            assert_eq!(error.kind(), ErrorKind::Integrity);
        }
        let mut check = NotHtml.start();
        check.update(b"<html>").unwrap();
        assert_eq!(check.finish().unwrap_err().what(), "html: a page came in place of the content");
        assert_eq!(&*NotHtml.start().finish().unwrap().check, "not-html");
    }
}
