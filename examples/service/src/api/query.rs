//! Owns the reading of query strings.
//!
//! Invariant: a parameter that is not known is refused, for a filter that is misspelt would let everything pass. Must not know what is
//! filtered.

use axum::http::Uri;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded;

use super::answer::Problem;

/// The parameters of a query, each of them known and given once.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned();
        let pairs: Vec<_> = pairs.collect();
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(Problem::bad(format!("parameter {name:?} is not one of {}", known.join(", "))));
            }
            if pairs[..at].iter().any(|(before, _)| before == name) {
                return Err(Problem::bad(format!("parameter {name:?} is given twice")));
            }
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let read = |text: &str| text.parse().map_err(|_| Problem::bad(format!("{name} must be a number")));
        self.text(name).map(read).transpose()
    }

    /// One of the words that records use.
    pub(super) fn word<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Problem> {
        let read = |text: &str| {
            serde_json::from_value(Value::from(text))
                .map_err(|error| Problem::bad(format!("{name}: {error}")))
        };
        self.text(name).map(read).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::DownloadState;

    #[test]
    fn what_is_misspelt_is_refused() {
        let read = |text: &str| Query::read(&text.parse().expect("a URI"), &["a", "b"]);
        let query = read("/x?a=1&b=running").expect("known");
        assert_eq!(query.number::<u64>("a").expect("a number"), Some(1));
        assert_eq!(query.word("b").expect("a word"), Some(DownloadState::Running));
        assert!(query.word::<DownloadState>("a").is_err() && query.number::<u64>("b").is_err());
        assert!(read("/x?c=1").is_err() && read("/x?a=1&a=2").is_err());
        assert_eq!(read("/x?a=%20+").expect("known").text("a"), Some("  "));
    }
}
