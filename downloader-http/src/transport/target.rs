//! The forms in which a request names its target (RFC 9112 §3.2, RFC 9113 §8.3.1).
//!
//! Invariant: neither user information nor a fragment is in any of them. Must not know: connections.

use downloader_core::{Error, ErrorKind, Result, SafeUrl};
use http::header::HOST;
use http::{HeaderValue, Uri};
use url::Position;

use super::line::Outgoing;

/// A target, in the forms that connections want.
pub(super) struct Target {
    /// `/path?query`.
    origin: Uri,
    /// `http://host/path?query`.
    absolute: Uri,
    host: HeaderValue,
}

/// Who reads the request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The far side, over HTTP/1.1.
    Origin,
    /// A proxy that forwards the request, over HTTP/1.1.
    Absolute,
    /// The far side, over HTTP/2, whose `:authority` says the host.
    Authority,
}

impl Target {
    /// The target of a URL.
    ///
    /// # Errors
    /// Kind `Unsupported`: not `Input`, which ends a download, since another mirror may know better.
    pub(super) fn of(url: &SafeUrl) -> Result<Self> {
        let url = url.expose();
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let path = &url[Position::BeforePath..Position::AfterQuery];
        Ok(Self {
            origin: path.parse().map_err(unfit)?,
            absolute: format!("{}://{host}{path}", url.scheme()).parse().map_err(unfit)?,
            host: HeaderValue::from_str(host).map_err(unfit)?,
        })
    }

    /// Addresses a request.
    pub(super) fn address(&self, request: &mut Outgoing, form: Form) {
        let uri = if form == Form::Origin { &self.origin } else { &self.absolute };
        *request.uri_mut() = uri.clone();
        if form == Form::Authority {
            request.headers_mut().remove(HOST);
        } else {
            request.headers_mut().insert(HOST, self.host.clone());
        }
    }
}

fn unfit(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unsupported, "a URL that HTTP cannot carry").with_source(error)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;

    use super::*;

    fn addressed(url: &str, form: Form) -> (String, Option<String>) {
        let mut request = Request::new(Full::new(Bytes::new()));
        Target::of(&url.parse().unwrap()).unwrap().address(&mut request, form);
        let host = request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned());
        (request.uri().to_string(), host)
    }

    #[test]
    fn every_form_is_as_its_reader_wants_it() {
        let url = "http://u:p@h.example:81/a%2Fb?c=d#e";
        let host = Some("h.example:81".to_owned());
        assert_eq!(addressed(url, Form::Origin), ("/a%2Fb?c=d".to_owned(), host.clone()));
        assert_eq!(addressed(url, Form::Absolute), ("http://h.example:81/a%2Fb?c=d".to_owned(), host));
        assert_eq!(addressed(url, Form::Authority), ("http://h.example:81/a%2Fb?c=d".to_owned(), None));
        assert_eq!(addressed("https://[::1]:443", Form::Origin), ("/".to_owned(), Some("[::1]".to_owned())));
    }

    #[test]
    fn what_http_cannot_carry_is_said() {
        let long = format!("http://h/{}", "a".repeat(70_000));
        let url = url::Url::parse(&long).unwrap();
        let error = Target::of(&url.into()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
