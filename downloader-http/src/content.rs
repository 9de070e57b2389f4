//! What a request sends: a form, or bytes of a media type. It makes the request a `POST`.
//!
//! Invariant: content, and the fields that describe it, go together or not at all. Must not know: clients, replies,
//! where the request goes.

use std::fmt;

use bytes::Bytes;
use downloader_core::{Error, Result};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use mime::Mime;
use url::form_urlencoded::Serializer;

/// Content to be sent; put it into the options of a request, which makes it a `POST`.
///
/// **Only for requests that may be repeated**: each attempt of the engine sends it anew, to each mirror in turn if
/// there are several. [`Never`](downloader_core::retry::Never) as the policy leaves it at one for each source.
///
/// What comes back is made to order, so nothing proves that two replies are the same: no range is asked for, nothing
/// is split, and [`unless`](downloader_core::Request::unless) is not sent. After a cut the request is sent again, and
/// what was taken already is compared with what comes, or checked by the digest if there is one.
///
/// Redirects (RFC 9110 §15.4): 301, 302 and 303 lead to a `GET` without content. 307 and 308 ask for the `POST` again:
/// within the origin it is sent; to another one it is refused (kind `Refused`), since the content may hold secrets,
/// unless [`across_origins`](Self::across_origins) allows it.
///
/// A request for the head only stays a `HEAD`, without content, and tells what a `GET` would.
///
/// `Debug` prints no content. Clones share it; it is held in memory as long as the request lives.
///
/// ```
/// use downloader_core::Request;
/// use downloader_http::RequestContent;
/// let form = RequestContent::form([("key1", "v 1"), ("key2", "é&=")]);
/// let request = Request::get("https://example.org/export")?.option(form);
/// let query = RequestContent::bytes("application/json", r#"{"format": "fasta"}"#)?;
/// assert_eq!(format!("{query:?}"), r#"RequestContent { media_type: "application/json", bytes: 19 }"#);
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RequestContent {
    media_type: HeaderValue,
    bytes: Bytes,
    across_origins: bool,
}

/// Fields that speak of the content of their own message.
const CONTENT_FIELDS: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION];

impl RequestContent {
    /// Names and values as HTML forms send them: `application/x-www-form-urlencoded`, in UTF-8, in this order.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let text = Serializer::new(String::new()).extend_pairs(pairs).finish();
        let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        Self { media_type, bytes: text.into(), across_origins: false }
    }

    /// Bytes of a media type, such as `application/json`; a `Content-Type` among the caller's own
    /// [`RequestHeaders`](crate::RequestHeaders) is sent in its place.
    ///
    /// # Errors
    /// Kind `Input` when the media type is malformed.
    pub fn bytes(media_type: &str, content: impl Into<Bytes>) -> Result<Self> {
        let malformed =
            || Error::input("media type of the content: expected the form `type/subtype; name=value`");
        media_type.parse::<Mime>().map_err(|_| malformed())?;
        let media_type = HeaderValue::from_str(media_type).map_err(|_| malformed())?;
        Ok(Self { media_type, bytes: content.into(), across_origins: false })
    }

    /// May a redirect (307, 308) take the content to another origin? Default no.
    #[must_use]
    pub fn across_origins(mut self, allow: bool) -> Self {
        self.across_origins = allow;
        self
    }

    pub(crate) fn may_cross_origins(&self) -> bool {
        self.across_origins
    }

    pub(crate) fn content(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Sets the fields that describe the content, or takes away what the caller said of it when none is sent.
    pub(crate) fn describe(&self, method: &Method, headers: &mut HeaderMap) {
        if *method != Method::POST {
            for name in CONTENT_FIELDS {
                headers.remove(name);
            }
            return;
        }
        headers.entry(header::CONTENT_TYPE).or_insert_with(|| self.media_type.clone());
        if self.bytes.is_empty() {
            // The connection adds lengths, but for that of nothing (RFC 9110 §8.6).
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }
}

impl fmt::Debug for RequestContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContent")
            .field("media_type", &self.media_type)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use downloader_core::ErrorKind;

    use super::*;

    /// biomaj 45.
    #[test]
    fn a_form_is_encoded_as_forms_are() {
        let form = RequestContent::form([("key1", "v 1"), ("key2", "é&="), ("", "")]);
        assert_eq!(form.content(), "key1=v+1&key2=%C3%A9%26%3D&=");
        let none: [(&str, &str); 0] = [];
        assert_eq!(RequestContent::form(none).content(), "");
    }

    #[test]
    fn content_and_its_fields_go_together() {
        let content = RequestContent::bytes("text/plain; charset=utf-8", "s3cret").unwrap();
        let described = |method: Method, fields: &[(HeaderName, &'static str)]| {
            let own = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            let mut headers = HeaderMap::from_iter(own);
            content.describe(&method, &mut headers);
            headers
        };
        let own =
            [(header::CONTENT_TYPE, "a/b"), (header::CONTENT_ENCODING, "gzip"), (header::ACCEPT, "c/d")];
        assert_eq!(described(Method::POST, &[]).len(), 1);
        assert_eq!(described(Method::POST, &[])[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let posted = described(Method::POST, &own);
        assert_eq!((&posted[header::CONTENT_TYPE], posted.len()), (&HeaderValue::from_static("a/b"), 3));
        let asked = described(Method::GET, &own);
        assert_eq!(asked.keys().collect::<Vec<_>>(), [header::ACCEPT]);
        assert!(!format!("{content:?}").contains("s3cret"));
    }

    #[test]
    fn a_malformed_media_type_is_refused_unprinted() {
        for text in ["", "s3cret", "s3cret; a=b", "a/b\r\nX: s3cret"] {
            let error = RequestContent::bytes(text, "").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input, "{text:?}");
            assert!(!error.to_string().contains("s3cret"));
        }
    }
}
