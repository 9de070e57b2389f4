//! The one URL type of the engine: it can be used in full and printed only without secrets.
//!
//! Invariant: neither `Display` nor `Debug` shows user information, query values or the fragment.
//! Must not know: what a scheme means, or who connects.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

use crate::error::{Error, Result};

/// Longest URL accepted, in bytes. RFC 9110 §4.1 asks for at least 8000.
pub const MAX_URL: usize = 64 * 1024;

/// An absolute URL that does not leak: errors, events and `Debug` hold nothing else.
///
/// Printing masks the user information and every query value (a signed link keeps its secrets in any of
/// them) and leaves out the fragment, which is never sent. Cloning is cheap.
///
/// ```
/// use downloader_core::SafeUrl;
/// let url: SafeUrl = "https://me:secret@example.org/f.iso?X-Amz-Signature=abc".parse()?;
/// assert_eq!(url.to_string(), "https://***@example.org/f.iso?X-Amz-Signature=***");
/// assert_eq!(url.origin(), "https://example.org:443");
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SafeUrl(Arc<Parts>);

struct Parts {
    url: Url,
    origin: Box<str>,
}

impl SafeUrl {
    /// Parses an absolute URL.
    ///
    /// # Errors
    /// Kind `Input` when the text is not an absolute URL or is longer than [`MAX_URL`]; the message never
    /// repeats the text, which may hold secrets.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_URL {
            return Err(too_long(text.len()));
        }
        let url = Url::parse(text).map_err(|error| {
            Error::input(format!("not a URL: {error}; expected an absolute URL such as https://host/path"))
        })?;
        Ok(Self::from(url))
    }

    /// Resolves a reference against this URL, as RFC 3986 §5 says; escapes are left as they are.
    ///
    /// # Errors
    /// Kind `Input` when the result is not a URL.
    pub fn join(&self, reference: &str) -> Result<Self> {
        let url = self.0.url.join(reference);
        url.map(Self::from).map_err(|error| Error::input(format!("not a URL reference: {error}")))
    }

    /// The whole URL, secrets included: for connecting, never for printing.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0.url
    }

    /// The scheme, in lower case, without the colon.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.url.scheme()
    }

    /// The host as it will be connected to, if the scheme has one.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.0.url.host_str()
    }

    /// The port that is connected to: the one named, else that of the scheme. Also of `ftps` (990) and `sftp` (22), which
    /// the URL Standard does not know.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        port_of(&self.0.url)
    }

    /// Scheme, host and port (RFC 6454 §4): what credentials, limits and health are bound to.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.0.origin
    }

    /// The path, escapes as given.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.url.path()
    }

    /// The same URL with these names and values behind its query, as HTML forms send them: a blank is `+`, what is
    /// not ASCII goes as UTF-8. What is there already stays as it is.
    ///
    /// ```
    /// use downloader_core::SafeUrl;
    /// let url: SafeUrl = "https://example.org/search?all".parse()?;
    /// let url = url.with_query([("key1", "v 1"), ("k2", "é&=")])?;
    /// assert_eq!(url.expose().query(), Some("all&key1=v+1&k2=%C3%A9%26%3D"));
    /// # Ok::<(), downloader_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Kind `Input` when the URL would be longer than [`MAX_URL`].
    pub fn with_query<N: AsRef<str>, V: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self> {
        let mut pairs = pairs.into_iter().peekable();
        if pairs.peek().is_none() {
            return Ok(self.clone());
        }
        let mut url = self.0.url.clone();
        url.query_pairs_mut().extend_pairs(pairs);
        match url.as_str().len() {
            ..=MAX_URL => Ok(Self::from(url)),
            long => Err(too_long(long)),
        }
    }

    /// The same URL without user information.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        let mut url = self.0.url.clone();
        // Both fail only for URLs that cannot have credentials, which then hold none.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Self::from(url)
    }
}

impl From<Url> for SafeUrl {
    fn from(url: Url) -> Self {
        let mut origin = String::with_capacity(url.as_str().len().min(80));
        origin.push_str(url.scheme());
        origin.push_str("://");
        origin.push_str(url.host_str().unwrap_or_default());
        if let Some(port) = port_of(&url) {
            // Writing to a string does not fail.
            let _ = write!(origin, ":{port}");
        }
        Self(Arc::new(Parts { url, origin: origin.into() }))
    }
}

impl FromStr for SafeUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for SafeUrl {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<String> for SafeUrl {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl PartialEq for SafeUrl {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.url == other.0.url
    }
}

impl Eq for SafeUrl {}

impl std::hash::Hash for SafeUrl {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.url.hash(state);
    }
}

impl fmt::Display for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0.url;
        write!(f, "{}:", url.scheme())?;
        if url.has_authority() {
            f.write_str("//")?;
            if !url.username().is_empty() || url.password().is_some() {
                f.write_str("***@")?;
            }
            f.write_str(url.host_str().unwrap_or_default())?;
            if let Some(port) = url.port() {
                write!(f, ":{port}")?;
            }
        }
        f.write_str(url.path())?;
        for (index, pair) in url.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            match pair.split_once('=') {
                Some((name, _)) => write!(f, "{name}=***")?,
                // A query without a name is all value.
                None => f.write_str("***")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn port_of(url: &Url) -> Option<u16> {
    url.port_or_known_default().or(match url.scheme() {
        "sftp" | "ssh" | "scp" => Some(22),
        "ftps" => Some(990),
        _ => None,
    })
}

fn too_long(length: usize) -> Error {
    Error::input(format!("URL is {length} bytes long; at most {MAX_URL} are accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// biomaj 44.
    #[test]
    fn a_query_is_added_behind_what_is_there() {
        let with = |url: &str, pairs: &[(&str, &str)]| {
            let url: SafeUrl = url.parse().unwrap();
            url.with_query(pairs.iter().copied()).map(|url| url.expose().to_string())
        };
        let pairs = [("key1", "v 1"), ("k2", "é&="), ("", "+")];
        assert_eq!(with("http://h/p", &pairs).unwrap(), "http://h/p?key1=v+1&k2=%C3%A9%26%3D&=%2B");
        assert_eq!(with("http://h/?a=%7e+b#f", &[("c", "d")]).unwrap(), "http://h/?a=%7e+b&c=d#f");
        assert_eq!(with("http://h/p", &[]).unwrap(), "http://h/p");
        let long = "x".repeat(MAX_URL);
        let error = with("http://h/p", &[("s3cret", &long)]).unwrap_err();
        assert!(!error.to_string().contains("s3cret") && error.kind() == crate::ErrorKind::Input);
    }

    #[test]
    fn an_origin_has_the_port_of_its_scheme() {
        for (text, origin) in [
            ("http://h/f", "http://h:80"),
            ("ftp://h/f", "ftp://h:21"),
            ("ftps://h/f", "ftps://h:990"),
            ("ftps://h:21/f", "ftps://h:21"),
            ("sftp://h/f", "sftp://h:22"),
            ("other://h/f", "other://h"),
        ] {
            let url: SafeUrl = text.parse().unwrap();
            assert_eq!(url.origin(), origin);
        }
    }

    #[test]
    fn printing_hides_user_information_query_values_and_fragment() {
        let url: SafeUrl = "http://u:p4ss@h.example:8080/a%2Fb/c+d?t0k3n&sig=s3cr3t#fr4g".parse().unwrap();
        for text in [format!("{url}"), format!("{url:?}")] {
            assert_eq!(text, "http://***@h.example:8080/a%2Fb/c+d?***&sig=***");
        }
        assert_eq!(
            url.without_credentials().expose().as_str(),
            "http://h.example:8080/a%2Fb/c+d?t0k3n&sig=s3cr3t#fr4g"
        );
    }

    #[test]
    fn an_error_about_a_url_does_not_repeat_it() {
        let error = SafeUrl::parse("http://user:secret@[bad/").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[test]
    fn escapes_survive_a_join() {
        let url: SafeUrl = "http://h/x/y".parse().unwrap();
        assert_eq!(url.join("/p%2fq/~r+s?a=%7E").unwrap().expose().as_str(), "http://h/p%2fq/~r+s?a=%7E");
        assert_eq!(url.join("//other:81/z").unwrap().origin(), "http://other:81");
    }
}
