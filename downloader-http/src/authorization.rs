//! User information of URLs, as far as the client library is concerned.
//!
//! Invariant: no URL goes to the client with it; what is sent of it is decided in [`crate::auth`].
//! Must not know: what it is good for.

use url::Url;

/// The URL as it goes to the client library: without user information.
pub(crate) fn stripped(url: &Url) -> Url {
    let mut url = url.clone();
    if !url.username().is_empty() || url.password().is_some() {
        // Both fail only for URLs that cannot have user information; this one has.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_else_is_touched() {
        for url in ["http://h/", "http://u:p@h/", "http://u@h/", "http://:p@h/"] {
            assert_eq!(stripped(&url.parse().unwrap()).as_str(), "http://h/");
        }
        let url: Url = "http://h/a%2Fb?c#d".parse().unwrap();
        assert_eq!(stripped(&url), url);
    }
}
