//! Listings over HTTP: the index pages that servers make of directories, recognised by what they are, not by who says so.
//!
//! Invariant: a page that is no index, or not all of one, is an error. Must not know: connections, redirects, retries.

mod expressions;
mod fields;
mod html;
mod json;
mod links;
mod strptime;
mod tokens;

use downloader_core::listing::{Entries, Line, ListingParser, escape};
use downloader_core::{Result, SafeUrl};
use url::Position;

pub use self::expressions::IndexExpressions;
use self::expressions::Matcher;
use self::html::Html;
use self::json::Json;

/// Endings of pages, which are asked for as they are.
const PAGES: [&str; 6] = [".html", ".htm", ".shtml", ".php", ".asp", ".json"];

/// The URL to ask for a listing: with a slash at its end, for some servers list a directory without one, too, but write
/// links that hold only with it. A URL with a query, or of a page, is asked for as it is.
pub(crate) fn asked(url: &SafeUrl) -> Result<SafeUrl> {
    let path = url.path().to_ascii_lowercase();
    let is_page = url.expose().query().is_some() || PAGES.iter().any(|ending| path.ends_with(ending));
    if is_page { Ok(url.clone()) } else { escape::directory(url) }
}

/// How the reply to a request for a listing is read, given the URL that was asked and the one that answered.
pub(crate) fn entries(
    asked: &SafeUrl,
    answered: &SafeUrl,
    expressions: Option<&IndexExpressions>,
) -> Result<Entries> {
    // Links are relative to what answered.
    let page = directory(answered, answered)?;
    Ok(Entries::new(directory(asked, answered)?, parser(&page, expressions)))
}

/// The parser of an index page of this directory.
pub(crate) fn parser(directory: &SafeUrl, expressions: Option<&IndexExpressions>) -> IndexParser {
    match expressions {
        Some(expressions) => IndexParser::Expressions(Box::new(Matcher::new(expressions.clone(), directory))),
        None => IndexParser::Unknown(directory.clone()),
    }
}

/// The directory that the entries of a page stand in, given the URL that was asked and the one that answered: the latter
/// up to its last slash, with the credentials of the former. At another origin it is the one asked: what was told for that
/// must not go elsewhere.
fn directory(asked: &SafeUrl, answered: &SafeUrl) -> Result<SafeUrl> {
    let up_to_slash = |path: &str| path[..path.rfind('/').map_or(0, |slash| slash + 1)].to_owned();
    if asked.origin() != answered.origin() {
        return escape::directory(asked);
    }
    let (own, path) = (asked.expose(), answered.path());
    SafeUrl::parse(&format!("{}{}", &own[..Position::BeforePath], up_to_slash(path)))
}

/// Reads an index page of any kind.
#[derive(Debug)]
pub(crate) enum IndexParser {
    /// Nothing but white space came.
    Unknown(SafeUrl),
    Html(Box<Html>),
    Json(Box<Json>),
    Expressions(Box<Matcher>),
}

impl ListingParser for IndexParser {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Line>) -> Result<()> {
        let mut bytes = bytes;
        if let Self::Unknown(directory) = self {
            // A byte order mark is no text.
            let start =
                bytes.iter().position(|byte| !byte.is_ascii_whitespace() && !b"\xef\xbb\xbf".contains(byte));
            let Some(start) = start else { return Ok(()) };
            bytes = &bytes[start..];
            *self = match bytes[0] {
                b'<' => Self::Html(Box::new(Html::new(directory))),
                b'[' => Self::Json(Box::new(Json::new(directory))),
                _ => return Err(html::no_index()),
            };
        }
        match self {
            Self::Unknown(_) => Ok(()),
            Self::Html(html) => html.push(bytes, out),
            Self::Json(json) => json.push(bytes, out),
            Self::Expressions(matcher) => matcher.push(bytes, out),
        }
    }

    fn finish(&mut self, out: &mut Vec<Line>) -> Result<()> {
        match self {
            Self::Unknown(_) => Err(html::no_index()),
            Self::Html(html) => html.finish(out),
            Self::Json(json) => json.finish(out),
            Self::Expressions(matcher) => matcher.finish(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_asked_for_with_a_slash() {
        for (url, expected) in [
            ("http://h/d", "http://h/d/"),
            ("http://h/v1.2", "http://h/v1.2/"),
            ("http://h/d/", "http://h/d/"),
            ("http://h/d/index.HTML", "http://h/d/index.HTML"),
            ("http://h/list?d=x", "http://h/list?d=x"),
        ] {
            assert_eq!(asked(&url.parse().unwrap()).unwrap().expose().as_str(), expected);
        }
    }

    #[test]
    fn entries_stand_below_what_answered_at_the_origin_asked() {
        for (asked, answered, expected) in [
            ("http://u:p@h/d", "http://h/d/", "http://u:p@h/d/"),
            ("http://h/d/", "http://h/d/", "http://h/d/"),
            ("http://h/d/index.html?x", "http://h/d/index.html?x", "http://h/d/"),
            ("http://h/old", "http://h/new/d/", "http://h/new/d/"),
            ("http://h/d", "http://mirror/pub/d/", "http://h/d/"),
            ("http://h/d", "https://h/d/", "http://h/d/"),
        ] {
            let url = |text: &str| text.parse::<SafeUrl>().unwrap();
            assert_eq!(directory(&url(asked), &url(answered)).unwrap(), url(expected), "{asked} {answered}");
        }
    }
}
