//! The forms in which a request names its target (RFC 9112 §3.2, RFC 9113 §8.3.1).
//!
//! Invariant: neither user information nor a fragment is in any of them. Must not know: connections.

use downloader_core::{Error, ErrorKind, Result, SafeUrl};
use http::header::HOST;
use http::{HeaderValue, Uri};
use url::Position;

use super::line::Outgoing;

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

/// Addresses a request to a URL.
///
/// # Errors
/// Kind `Unsupported`: not `Input`, which ends a download, since another mirror may know better.
pub(super) fn address(request: &mut Outgoing, url: &SafeUrl, form: Form) -> Result<()> {
    let url = url.expose();
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let target = match form {
        Form::Origin => Uri::try_from(path),
        Form::Absolute | Form::Authority => Uri::try_from(format!("{}://{host}{path}", url.scheme())),
    };
    *request.uri_mut() = target.map_err(unfit)?;
    if form != Form::Authority {
        request.headers_mut().insert(HOST, HeaderValue::from_str(host).map_err(unfit)?);
    }
    Ok(())
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
        address(&mut request, &url.parse().unwrap(), form).unwrap();
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
        let mut request = Request::new(Full::new(Bytes::new()));
        let error = address(&mut request, &url.into(), Form::Origin).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
