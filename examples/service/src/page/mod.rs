//! The page of the service: one HTML file, with its script and its style within.
//!
//! Owns the answer to `/`. Its invariant: nothing but this very script and style may run or be loaded, whatever a job's URL or an error's
//! text says (Content-Security-Policy by hashes). It must not know any job: the script asks the API like everybody else.

use std::sync::LazyLock;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

const PAGE: &str = include_str!("page.html");

/// `GET /`.
pub(crate) async fn page() -> Response {
    static POLICY: LazyLock<String> = LazyLock::new(|| policy(PAGE));
    let head = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (head, PAGE).into_response()
}

/// Allows the one script and the one style of a page, and requests to where it came from.
fn policy(page: &str) -> String {
    let hash = |tag: &str| {
        let text = between(page, &format!("<{tag}>"), &format!("</{tag}>"));
        BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()))
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_of_what_is_in_the_page() {
        let policy = policy("<style>a</style><script>b</script>");
        let a = "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=";
        let b = "PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0=";
        assert!(policy.contains(&format!("style-src 'sha256-{a}'")), "{policy}");
        assert!(policy.contains(&format!("script-src 'sha256-{b}'")), "{policy}");
    }

    #[test]
    fn the_page_has_one_script_one_style_and_nothing_from_outside() {
        for tag in ["<script>", "</script>", "<style>", "</style>"] {
            assert_eq!(PAGE.matches(tag).count(), 1, "{tag}");
        }
        let page = PAGE.replace("http://www.w3.org/2000/svg", "");
        for outside in
            ["http://", "https://", "src=", "<link", "@import", "url(", "innerHTML", "style=\"", " onclick="]
        {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
