//! Mirrors that a server names beside its content: Metalink/HTTP (RFC 6249).
//!
//! One question for the head, before the download; what it brings is an ordinary request for several sources and
//! a digest. Why not in the download itself, on its first reply? Sources and digest would then change under
//! transfers that run, and whether bytes may be joined with them; asked for beforehand, the mirrors of a `Link` field are
//! like those of a metalink, and nothing in the engine knows of them. The price is one round trip, for those who ask.
//!
//! Invariant: without a digest nobody but the origin is asked (§6). Must not know: how a download is done.

use std::sync::Arc;

use downloader_core::mirrors::{Allowed, MAX_LIST, Metalink, Mirror};
use downloader_core::validate::Digest;
use downloader_core::write::MemoryWriter;
use downloader_core::{Engine, Error, ErrorKind, Fixed, Request, Result, SafeUrl, Source};
use http::HeaderMap;

use super::link::{self, Link};

/// Most mirrors that are taken from `Link` fields; of more the best.
pub const MOST_LINKED: usize = 32;
/// Schemes a linked mirror may have, if they are allowed at all.
const SCHEMES: [&str; 4] = ["https", "http", "ftps", "ftp"];
/// The priority of a mirror that gives none (§3.2.1), which is also the last that one may give.
const LAST: u32 = 999_999;

/// Who else has a content, and what its bytes must be, as its origin says: `Link: <…>; rel=duplicate` and the digest
/// fields (RFC 6249), those of redirects included, as download redirectors send them.
///
/// ```no_run
/// # async fn f(engine: downloader_core::Engine) -> downloader_core::Result<()> {
/// use downloader_core::mirrors::Allowed;
/// use downloader_core::{FileWriter, SafeUrl, Source};
/// use downloader_http::LinkedMirrors;
/// let url = SafeUrl::parse("https://download.example.org/f.iso")?;
/// let linked = LinkedMirrors::ask(&engine, Source::new(url.clone()), &Allowed::from(&url)).await?;
/// let outcome = engine.download(linked.request(), FileWriter::new("f.iso")).await?;
/// # Ok(())
/// # }
/// ```
///
/// The digest is as good as the origin, and binds the mirrors: they are never trusted more than it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkedMirrors {
    /// The source that was asked, with its options: no mirror gets those.
    pub origin: Source,
    /// What the content must be; replaces it by your own if you have one. Without any the mirrors are left alone.
    pub digest: Option<Digest>,
    /// The others, best first; [`MOST_LINKED`] at most.
    pub mirrors: Vec<Mirror>,
    /// Where a metalink (RFC 5854) says more: see [`LinkedMirrors::metalink`].
    pub described_by: Option<SafeUrl>,
    /// What was left out, and why.
    pub warnings: Vec<String>,
}

impl LinkedMirrors {
    /// Asks the origin for the head of its content, once, repeats of the engine aside. URLs that are not `allowed`
    /// are left out: [`Allowed::from`] the origin's own allows none that is less protected, and none but `https`,
    /// `http`, `ftps` and `ftp` is ever taken.
    ///
    /// Needs [`WireDigests::standard`](crate::WireDigests::standard).
    ///
    /// # Errors
    /// Those of [`Engine::head`].
    pub async fn ask(engine: &Engine, origin: Source, allowed: &Allowed) -> Result<Self> {
        let request = Request::located(Arc::new(Fixed::new(vec![origin.clone()]))).option(Seek);
        let outcome = engine.head(request).await?;
        let links = outcome.extras.get::<Links>().cloned().unwrap_or_default();
        Ok(links.of(origin, allowed))
    }

    /// A request for the content: from its origin and, if there is a digest, from the mirrors behind it.
    #[must_use]
    pub fn request(&self) -> Request {
        let mut sources = vec![self.origin.clone()];
        if self.digest.is_some() {
            sources.extend(self.mirrors.iter().map(Source::from));
        }
        let request = Request::located(Arc::new(Fixed::new(sources)));
        match &self.digest {
            Some(digest) => request.check(digest.clone()),
            None => request,
        }
    }

    /// Fetches and reads the metalink that describes the content; `None` when the origin names none.
    ///
    /// # Errors
    /// Why it could not be fetched; kind `Local` for one of more than 4 MiB, `Protocol` when it cannot be read.
    pub async fn metalink(&self, engine: &Engine, allowed: &Allowed) -> Result<Option<Metalink>> {
        let Some(url) = &self.described_by else { return Ok(None) };
        let (writer, memory) = MemoryWriter::new(MAX_LIST as u64);
        engine.download(Request::get(url.clone())?, writer).await?;
        let read = Metalink::parse(&memory.into_bytes().unwrap_or_default(), allowed);
        let read = read.map_err(|error| {
            Error::new(ErrorKind::Protocol, "metalink: it cannot be read").with_source(error).with_url(url)
        });
        read.map(Some)
    }
}

/// Asks the backend for [`Links`], as an option of a request.
pub(super) struct Seek;

/// The links of all replies on the way to a content, and the digests told: found in the extras of a body.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    links: Vec<(SafeUrl, Link)>,
    digests: Vec<Digest>,
}

impl Links {
    /// Takes up what a reply at this URL says.
    pub(super) fn gather(&mut self, at: &SafeUrl, reply: &HeaderMap) {
        self.links.extend(link::links(reply).into_iter().map(|link| (at.clone(), link)));
    }

    pub(super) fn with(self, digests: Vec<Digest>) -> Self {
        Self { digests, ..self }
    }

    fn of(self, origin: Source, allowed: &Allowed) -> LinkedMirrors {
        let mut linked = LinkedMirrors {
            digest: Digest::strongest(&self.digests).cloned(),
            mirrors: Vec::new(),
            described_by: None,
            warnings: Vec::new(),
            origin,
        };
        for (base, link) in self.links {
            if link.is("duplicate") {
                linked.duplicate(&base, &link, allowed);
            } else if link.is("describedby")
                && link.parameter("type").is_some_and(is_metalink)
                && linked.described_by.is_none()
            {
                linked.described_by = linked.resolve(&base, &link, allowed);
            }
        }
        linked.mirrors.sort_by_key(|mirror| mirror.priority);
        if linked.mirrors.len() > MOST_LINKED {
            let left_out = linked.mirrors.len() - MOST_LINKED;
            linked.warnings.push(format!("{left_out} more mirrors than {MOST_LINKED}; ignored"));
            linked.mirrors.truncate(MOST_LINKED);
        }
        linked
    }
}

impl LinkedMirrors {
    fn duplicate(&mut self, base: &SafeUrl, link: &Link, allowed: &Allowed) {
        let Some(url) = self.resolve(base, link, allowed) else { return };
        if url == self.origin.url || self.mirrors.iter().any(|known| known.url == url) {
            return;
        }
        let mut mirror = Mirror::new(url);
        // From 1, the best: all stand behind the origin, whose priority is 0.
        let stated = link.parameter("pri").and_then(|text| text.parse().ok());
        mirror.priority = stated.filter(|priority| (1..=LAST).contains(priority)).unwrap_or(LAST);
        if link.parameter("pref").is_none() {
            // Those that share the origin's entity tags go first (§3.2.3).
            mirror.priority += LAST;
        }
        let country = link.parameter("geo").filter(|code| code.len() == 2 && code.is_ascii());
        mirror.location = country.map(|code| code.to_ascii_lowercase().into());
        self.mirrors.push(mirror);
    }

    /// The URL that is meant, if it may be used. What is not a URL is never repeated.
    fn resolve(&mut self, base: &SafeUrl, link: &Link, allowed: &Allowed) -> Option<SafeUrl> {
        match base.join(&link.target) {
            Ok(url) if SCHEMES.contains(&url.scheme()) && allowed.permits(url.scheme()) => Some(url),
            Ok(url) => {
                self.warnings.push(format!("link: {url}: its scheme is not allowed here; ignored"));
                None
            }
            Err(error) => {
                self.warnings.push(format!("link: {}; ignored", error.what()));
                None
            }
        }
    }
}

fn is_metalink(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/metalink4+xml")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::LINK;

    use super::*;

    fn linked(lines: &[&str], allowed: &[&str]) -> LinkedMirrors {
        let mut links = Links::default();
        let base = "https://o/d/f".parse().unwrap();
        links.gather(&base, &lines.iter().map(|line| (LINK, HeaderValue::from_str(line).unwrap())).collect());
        links.of(Source::new(base), &Allowed::only(allowed.iter().copied()))
    }

    fn urls(linked: &LinkedMirrors) -> Vec<&str> {
        linked.mirrors.iter().map(|mirror| mirror.url.expose().as_str()).collect()
    }

    #[test]
    fn mirrors_are_ordered_and_stand_behind_the_origin() {
        let found = linked(
            &[
                "<https://c/f>; rel=duplicate; pri=2; geo=GB, <https://a/f>; rel=duplicate",
                "</g>; rel=\"duplicate\"; pri=1, <https://p/f>; rel=duplicate; pri=9; pref; depth=1",
                "<https://c/f>; rel=duplicate, <https://o/d/f>; rel=duplicate; pri=1, <https://n/f>; rel=next",
                "<https://x/f>; rel=duplicate; pri=0",
            ],
            &["https"],
        );
        assert_eq!(urls(&found), ["https://p/f", "https://o/g", "https://c/f", "https://a/f", "https://x/f"]);
        assert!(found.mirrors.iter().all(|mirror| mirror.priority > found.origin.priority));
        assert_eq!(found.mirrors[2].location.as_deref(), Some("gb"));
        assert!(found.warnings.is_empty());
    }

    #[test]
    fn only_what_is_allowed_is_taken_and_no_more_than_the_limit() {
        let strange = "<http://h/f>; rel=duplicate, <file:///etc/f>; rel=duplicate, <ftp://u:secret@h/f>; rel=duplicate, \
                       <https://[/f?secret>; rel=duplicate";
        let found = linked(&[strange], &["https", "file"]);
        assert_eq!((urls(&found), found.warnings.len()), (vec![], 4));
        assert!(!found.warnings.concat().contains("secret"), "{:?}", found.warnings);
        assert_eq!(urls(&linked(&[strange], &["http", "ftp"])).len(), 2);
        let many: Vec<String> =
            (0..100).map(|at| format!("<https://h/{at}>; rel=duplicate; pri={}", 200 - at)).collect();
        let found = linked(&[&many.join(",")], &["https"]);
        assert_eq!((found.mirrors.len(), urls(&found)[0]), (MOST_LINKED, "https://h/99"));
        assert_eq!(found.warnings, ["68 more mirrors than 32; ignored"]);
    }

    #[test]
    fn a_metalink_is_named_by_its_type() {
        let lines = "</f.torrent>; rel=describedby; type=\"application/x-bittorrent\", </f.meta4>; rel=describedby; \
                     type=\"application/metalink4+xml\", </g.meta4>; rel=describedby; type=\"Application/Metalink4+xml; x=y\"";
        let found = linked(&[lines], &["https"]);
        assert_eq!(
            found.described_by.map(|url| url.expose().to_string()).as_deref(),
            Some("https://o/f.meta4")
        );
        assert_eq!(linked(&[lines], &["http"]).described_by, None);
    }

    /// Without a digest the links must be ignored (RFC 6249 §6).
    #[test]
    fn without_a_digest_only_the_origin_is_asked() {
        let mut found = linked(&["<https://a/f>; rel=duplicate"], &["https"]);
        assert!(found.digest.is_none() && !format!("{:?}", found.request()).contains("https://a/f"));
        found.digest = "md5=5d41402abc4b2a76b9719d911017c592".parse().ok();
        assert!(format!("{:?}", found.request()).contains("https://a/f"));
    }
}
