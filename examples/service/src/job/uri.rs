//! Owns the reading of URLs in submissions, with the words in which the original refuses them.
//!
//! Invariant: what passes has a scheme that is allowed and a host. Must not know what the URL is for.

use url::Url;

/// Reads an absolute URL of one of `schemes`; the error is a reason in words, as in `parse "foo": invalid URI for request`.
pub(super) fn absolute(text: &str, schemes: &[impl AsRef<str>]) -> Result<Url, String> {
    let refuse = |why: &str| Err(format!("parse {text:?}: {why}"));
    if text.is_empty() {
        return refuse("empty url");
    }
    if text.len() > LONGEST {
        return Err(format!("a URL of {} bytes, more than {LONGEST}", text.len()));
    }
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return refuse("net/url: invalid control character in URL");
    }
    let Some(scheme) = scheme(text) else {
        let why = if text.starts_with('/') {
            "a URL without a scheme and a host"
        } else {
            "invalid URI for request"
        };
        return refuse(why);
    };
    if !schemes.iter().any(|known| known.as_ref().eq_ignore_ascii_case(scheme)) {
        let known: Vec<_> = schemes.iter().map(AsRef::as_ref).collect();
        return refuse(&format!("unsupported protocol scheme {scheme:?}, expected {}", known.join(", ")));
    }
    let Some(rest) = text[scheme.len() + 1..].strip_prefix("//") else {
        return refuse("no host in request URL");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() || host.starts_with(':') {
        return refuse("no host in request URL");
    }
    if host.starts_with('[') && !host.contains(']') {
        return refuse("missing ']' in host");
    }
    if let Some(wrong) = host.chars().find(|c| " <>\"{}|\\^`".contains(*c)) {
        return refuse(&format!("invalid character {:?} in host name", wrong.to_string()));
    }
    match Url::parse(text) {
        Ok(url) if url.has_host() => Ok(url),
        Ok(_) => refuse("no host in request URL"),
        Err(error) => refuse(&error.to_string()),
    }
}

/// Longer ones no server takes.
const LONGEST: usize = 16 * 1024;

fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    valid.then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_of_the_original() {
        for (text, why) in [
            ("", r#"parse "": empty url"#),
            ("foo", r#"parse "foo": invalid URI for request"#),
            ("http://[::1", r#"parse "http://[::1": missing ']' in host"#),
            ("http://a b/", r#"parse "http://a b/": invalid character " " in host name"#),
        ] {
            assert_eq!(absolute(text, &["http"]).unwrap_err(), why);
        }
    }

    #[test]
    fn skroutz_6_what_could_only_fail_later_is_refused() {
        for text in [
            "/relative",
            "foo:bar",
            "http://",
            "http:///x",
            "http://:80/",
            "ftp://h/x",
            "file:///x",
            "http:x",
            "://",
        ] {
            assert!(absolute(text, &["http", "https"]).is_err(), "{text}");
        }
        for text in ["http://h", "HTTPS://user:pass@h:8080/a?b#c", "http://[::1]:8000/", "http://h?x"] {
            assert!(absolute(text, &["http", "https"]).is_ok(), "{text}");
        }
        assert!(absolute("ftp://h/x", &["ftp"]).is_ok());
    }
}
