//! With which method a URL is asked, and what a redirect makes of it (RFC 9110 §15.4).
//!
//! Invariant: content never leaves its origin unless the caller allows it. Must not know: URLs, fields, clients.

use downloader_core::{Error, ErrorKind, Fetch, Result};
use http::{Method, StatusCode};

use crate::content::RequestContent;

/// The method of the first request.
pub(crate) fn first(fetch: &Fetch) -> Method {
    match fetch.options.get::<RequestContent>() {
        _ if !fetch.body => Method::HEAD,
        Some(_) => Method::POST,
        None => Method::GET,
    }
}

/// The method behind a redirect with this status.
pub(crate) fn after_redirect(method: &Method, status: StatusCode) -> Method {
    match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER
            if *method == Method::POST =>
        {
            Method::GET
        }
        _ => method.clone(),
    }
}

/// May a request of this method go where a redirect led? `at_home` says that it never left the first origin.
///
/// # Errors
/// Kind `Refused` when content would go to another origin.
pub(crate) fn may_go(method: &Method, content: Option<&RequestContent>, at_home: bool) -> Result<()> {
    match content {
        Some(content) if *method == Method::POST && !at_home && !content.may_cross_origins() => {
            Err(Error::new(ErrorKind::Refused, "redirect of content to another origin"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(body: bool, content: bool) -> Fetch {
        let mut fetch = Fetch { body, ..Fetch::new("http://h/f".parse().unwrap()) };
        if content {
            fetch.options.insert(RequestContent::form([("a", "b")]));
        }
        fetch
    }

    #[test]
    fn content_makes_a_post() {
        assert_eq!(first(&fetch(true, false)), Method::GET);
        assert_eq!(first(&fetch(true, true)), Method::POST);
        assert_eq!(first(&fetch(false, false)), Method::HEAD);
        assert_eq!(first(&fetch(false, true)), Method::HEAD);
    }

    #[test]
    fn every_redirect_of_every_method() {
        for status in [301, 302, 303, 307, 308] {
            let after = |method| after_redirect(&method, StatusCode::from_u16(status).unwrap());
            assert_eq!(after(Method::GET), Method::GET);
            assert_eq!(after(Method::HEAD), Method::HEAD);
            assert_eq!(after(Method::POST), if status > 303 { Method::POST } else { Method::GET });
        }
    }

    #[test]
    fn content_stays_at_home_unless_allowed() {
        let content = RequestContent::form([("a", "b")]);
        let anywhere = content.clone().across_origins(true);
        let may = |method, content, at_home| may_go(&method, content, at_home).map_err(|error| error.kind());
        assert_eq!(may(Method::POST, Some(&content), false), Err(ErrorKind::Refused));
        assert_eq!(may(Method::POST, Some(&content), true), Ok(()));
        assert_eq!(may(Method::POST, Some(&anywhere), false), Ok(()));
        assert_eq!(may(Method::GET, Some(&content), false), Ok(()));
        assert_eq!(may(Method::GET, None, false), Ok(()));
    }
}
