//! A mirror list as a plug-in: fetched when a download needs it, kept, and joined with the path of the file.
//!
//! Invariant: one fetch at a time, whoever asks; a copy that was good stays until a better one is here. Must not
//! know: how a mirror is chosen or asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Allowed, MAX_LIST, Metalink, Mirror, Mirrors, apt, text};
use crate::engine::Engine;
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::request::Request;
use crate::sources::{Fixed, Locate, Source};
use crate::url::SafeUrl;
use crate::write::MemoryWriter;

/// A list is not asked for again within this time, even when all its mirrors failed.
const RECENT: Duration = Duration::from_secs(10);

/// What a list looks like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Format {
    /// Plain: see [`text::parse`].
    Text,
    /// A metalink of one file that every mirror has. The mirrors' folders are its URLs without `suffix`, which ends
    /// with the name of the file: `repodata/repomd.xml` for Fedora.
    Metalink {
        /// Path of that file below the folders.
        suffix: Box<str>,
    },
    /// Of apt: see [`apt::parse`]. The facts are those of all files asked for through this list.
    Apt(apt::Facts),
}

/// A mirror list somewhere: the sources of any number of files. A cheap handle; clones share the copy.
///
/// It is fetched like any download, repeats and limits included, at the first file that needs it, and again when it
/// is older than [`fresh_for`](Self::fresh_for) or when all mirrors of a file failed. When it cannot be fetched
/// again the last good copy is used on.
///
/// A list names only URLs that are no worse protected than itself ([`Allowed::from`]); [`allow`](Self::allow)
/// permits more. What is left out of a list is told through `tracing` and by [`mirrors`](Self::mirrors).
///
/// ```no_run
/// # async fn f(engine: downloader_core::Engine) -> downloader_core::Result<()> {
/// use downloader_core::FileWriter;
/// use downloader_core::mirrors::{Format, MirrorList};
/// let list = MirrorList::new(&engine, "https://mirrors.example.org/list", Format::Text)?;
/// let request = list.request("Packages/a.rpm")?.sha256("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")?;
/// engine.download(request, FileWriter::new("a.rpm")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MirrorList {
    engine: Engine,
    url: SafeUrl,
    request: Request,
    format: Format,
    allowed: Allowed,
    fresh_for: Duration,
    kept: Arc<tokio::sync::Mutex<Option<Kept>>>,
}

/// The last good copy.
#[derive(Debug)]
struct Kept {
    mirrors: Arc<Mirrors>,
    entity: Entity,
    /// When it was last asked for, with success or without.
    asked: Instant,
}

/// One file on the mirrors of a list: what [`MirrorList::file`] makes.
#[derive(Debug)]
pub struct MirrorFile {
    list: MirrorList,
    path: Box<str>,
    /// The mirrors that were named last.
    named: Mutex<Option<Arc<Mirrors>>>,
}

impl MirrorList {
    /// The list at this URL, fetched through this engine when it is needed.
    ///
    /// # Errors
    /// Kind `Input` when the URL is malformed.
    pub fn new<U>(engine: &Engine, url: U, format: Format) -> Result<Self>
    where
        U: TryInto<SafeUrl>,
        Error: From<U::Error>,
    {
        let url: SafeUrl = url.try_into()?;
        Ok(Self {
            engine: engine.clone(),
            request: Request::located(Arc::new(Fixed::new(vec![Source::new(url.clone())]))),
            allowed: Allowed::from(&url),
            url,
            format,
            fresh_for: Duration::from_secs(3600),
            kept: Arc::default(),
        })
    }

    /// Permits URLs of one more scheme, such as `http` in a list that comes over `https`.
    #[must_use]
    pub fn allow(self, scheme: &str) -> Self {
        // A copy that was read by other rules is of no use.
        Self { allowed: self.allowed.and(scheme), kept: Arc::default(), ..self }
    }

    /// How old a copy may be for a file that is asked for anew. Default 1 h.
    #[must_use]
    pub fn fresh_for(self, time: Duration) -> Self {
        Self { fresh_for: time, ..self }
    }

    /// Changes the request for the list itself: headers, a digest, patience.
    #[must_use]
    pub fn adapt(self, change: impl FnOnce(Request) -> Request) -> Self {
        Self { request: change(self.request), ..self }
    }

    /// The file at this path below the mirrors' folders: an URL reference, escapes as they stand.
    ///
    /// # Errors
    /// Kind `Input` for a path that is empty, absolute or leads out of the folder.
    pub fn file(&self, path: &str) -> Result<MirrorFile> {
        let inside = SafeUrl::parse("http://mirror/folder/").is_ok_and(|base| below(&base, path).is_some());
        if !inside {
            return Err(Error::input(
                "mirror list: expected the path of a file below the mirrors' folder, neither absolute nor with `..`",
            ));
        }
        Ok(MirrorFile { list: self.clone(), path: path.into(), named: Mutex::default() })
    }

    /// A request for the file at this path.
    ///
    /// # Errors
    /// As for [`MirrorList::file`].
    pub fn request(&self, path: &str) -> Result<Request> {
        Ok(Request::located(Arc::new(self.file(path)?)))
    }

    /// What the list says, fetched if there is no fresh copy.
    ///
    /// # Errors
    /// Why it could not be fetched and there is no copy of it; kind `Protocol` when it cannot be read, `NotFound`
    /// when it names no mirror that may be asked.
    pub async fn mirrors(&self) -> Result<Arc<Mirrors>> {
        self.no_older_than(self.fresh_for).await
    }

    async fn no_older_than(&self, age: Duration) -> Result<Arc<Mirrors>> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.asked.elapsed() < age) {
            return Ok(Arc::clone(&kept.mirrors));
        }
        let fetched = self.fetch(kept.as_ref()).await;
        match (fetched, kept.as_mut()) {
            (Ok(Some(new)), _) => {
                let mirrors = Arc::clone(&new.mirrors);
                *kept = Some(new);
                Ok(mirrors)
            }
            (fetched, Some(kept)) => {
                if let Err(error) = fetched {
                    tracing::warn!(list = %self.url, %error, "mirror list: the last good copy is used on");
                }
                kept.asked = Instant::now();
                Ok(Arc::clone(&kept.mirrors))
            }
            (Err(error), None) => Err(error),
            (Ok(None), None) => Err(self.error(ErrorKind::Protocol, "not modified, but never fetched")),
        }
    }

    /// Fetches the list; `None` when it is still the one that is kept.
    async fn fetch(&self, kept: Option<&Kept>) -> Result<Option<Kept>> {
        let request = match kept {
            Some(kept) => self.request.clone().unless(kept.entity.clone()),
            None => self.request.clone(),
        };
        let (writer, memory) = MemoryWriter::new(MAX_LIST as u64);
        let outcome = self.engine.download(request, writer).await?;
        if outcome.not_modified {
            return Ok(None);
        }
        let list = memory.into_bytes().unwrap_or_default();
        let read = self
            .read(&list)
            .map_err(|error| self.error(ErrorKind::Protocol, "it cannot be read").with_source(error))?;
        for warning in &read.warnings {
            tracing::warn!(list = %self.url, "mirror list: {warning}");
        }
        if read.mirrors.is_empty() {
            return Err(self.error(ErrorKind::NotFound, "it names no mirror that may be asked"));
        }
        Ok(Some(Kept { mirrors: Arc::new(read), entity: outcome.entity, asked: Instant::now() }))
    }

    fn read(&self, list: &[u8]) -> Result<Mirrors> {
        match &self.format {
            Format::Text => text::parse(list, &self.allowed),
            Format::Apt(facts) => apt::parse(list, facts, &self.allowed),
            Format::Metalink { suffix } => folders(Metalink::parse(list, &self.allowed)?, suffix),
        }
    }

    fn error(&self, kind: ErrorKind, what: &str) -> Error {
        Error::new(kind, format!("mirror list: {what}")).with_url(&self.url)
    }
}

#[async_trait]
impl Locate for MirrorFile {
    async fn locate(&self, last: Option<&Error>) -> Result<Vec<Source>> {
        let mirrors = match last {
            None => self.list.mirrors().await?,
            Some(error) => {
                let mirrors = self.list.no_older_than(RECENT).await?;
                let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
                // The same mirrors would fail for the same reasons.
                if named.as_ref().is_some_and(|named| same(&named.mirrors, &mirrors.mirrors)) {
                    return Err(error.clone());
                }
                mirrors
            }
        };
        *self.named.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&mirrors));
        let here = mirrors.mirrors.iter().filter_map(|mirror| {
            let url = below(&mirror.url, &self.path)?;
            Some(Source::new(url).priority(mirror.priority))
        });
        Ok(here.collect())
    }
}

fn same(one: &[Mirror], other: &[Mirror]) -> bool {
    one.iter().map(|mirror| &mirror.url).eq(other.iter().map(|mirror| &mirror.url))
}

/// The URL of a path below a folder; `None` when it would not lie there.
fn below(folder: &SafeUrl, path: &str) -> Option<SafeUrl> {
    let mut folder = folder.expose().clone();
    folder.set_query(None);
    folder.set_fragment(None);
    if !folder.path().ends_with('/') {
        folder.set_path(&format!("{}/", folder.path()));
    }
    // The dot keeps a colon in the path from looking like the end of a scheme.
    let url = folder.join(&format!("./{path}")).ok()?;
    let rest = url.path().strip_prefix(folder.path())?;
    (!rest.is_empty() && !rest.starts_with('/')).then(|| SafeUrl::from(url))
}

/// The folders of a metalink's mirrors: the URLs of the file that `suffix` ends with, without `suffix`.
fn folders(metalink: Metalink, suffix: &str) -> Result<Mirrors> {
    let name = suffix.rsplit('/').next().unwrap_or(suffix);
    let Metalink { mut files, mut warnings } = metalink;
    let Some(at) = files.iter().position(|file| *file.name == *name) else {
        return Err(Error::input(format!("metalink: it does not describe `{name}`")));
    };
    let mut mirrors = files.swap_remove(at).mirrors;
    mirrors.retain_mut(|mirror| {
        let mut folder = mirror.url.expose().clone();
        let Some(path) = folder.path().strip_suffix(suffix).filter(|path| path.ends_with('/')) else {
            warnings.push(format!("{}: does not end with {suffix}; ignored", mirror.url));
            return false;
        };
        let path = path.to_owned();
        folder.set_path(&path);
        mirror.url = SafeUrl::from(folder);
        true
    });
    Ok(Mirrors { mirrors, warnings })
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::download::{Backend, Body, Download, Fetch};
    use crate::range::ByteRange;

    /// Serves a list that changes between the first and the second request, and mirrors of which one is dead.
    #[derive(Debug, Default)]
    struct Changing(std::sync::atomic::AtomicUsize);

    impl Backend for Changing {
        fn schemes(&self) -> &'static [&'static str] {
            &["http"]
        }
    }

    #[async_trait]
    impl Download for Changing {
        async fn open(&self, fetch: Fetch) -> Result<Body> {
            let content = match (fetch.url.host(), fetch.url.path()) {
                (Some("list"), _) => match self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                    0 => "http://dead/",
                    _ => "http://alive/",
                },
                (Some("alive"), "/f") => "hello",
                _ => {
                    tokio::time::sleep(RECENT).await;
                    return Err(Error::new(ErrorKind::NotFound, "dead").with_url(&fetch.url));
                }
            };
            let stream = stream::iter([Ok(content.into())]).boxed();
            let size = content.len() as u64;
            Ok(Body::new(Entity::sized(size), ByteRange::new(0, size), stream))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_asked_again_when_all_its_mirrors_failed() {
        let engine = Engine::builder().backend(Changing::default()).build();
        let list = MirrorList::new(&engine, "http://list/", Format::Text).unwrap();
        let get = async |path: &str| {
            let (writer, memory) = MemoryWriter::new(100);
            engine.download(list.request(path).unwrap(), writer).await.map(|_| memory.into_bytes().unwrap())
        };
        assert_eq!(get("f").await.unwrap(), "hello");
        // The list is the same by now: what the mirrors said is what there is to say.
        let error = get("g").await.unwrap_err();
        assert_eq!((error.kind(), error.what()), (ErrorKind::NotFound, "dead"));
    }

    fn joined(folder: &str, path: &str) -> Option<String> {
        below(&folder.parse().unwrap(), path).map(|url| url.expose().to_string())
    }

    #[test]
    fn a_path_stays_below_the_folder() {
        for (folder, path, expected) in [
            ("http://h/a/", "b/c.rpm", Some("http://h/a/b/c.rpm")),
            ("http://h/a", "b.rpm", Some("http://h/a/b.rpm")),
            ("http://u:p@h:81/a/?x=1#f", "b.rpm", Some("http://u:p@h:81/a/b.rpm")),
            ("http://h", "1:2.rpm", Some("http://h/1:2.rpm")),
            ("http://h/a/", "b%20c+d~e", Some("http://h/a/b%20c+d~e")),
            ("http://h/a/", "b/../c", Some("http://h/a/c")),
            ("http://h/a/", "../c", None),
            ("http://h/a/", "%2e%2E/c", None),
            ("http://h/a/", "b\\..\\..\\c", None),
            ("http://h/a/", "/etc/passwd", None),
            ("http://h/a/", "//evil/x", None),
            ("http://h/a/", "", None),
            ("http://h/a/", ".", None),
        ] {
            assert_eq!(joined(folder, path).as_deref(), expected, "{folder} {path}");
        }
    }

    #[test]
    fn the_folders_of_a_metalink_are_its_urls_without_the_suffix() {
        let document = br#"<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="repomd.xml">
            <url priority="2">http://a/f/repodata/repomd.xml</url><url>http://b/repomd.xml</url>
            <url priority="1">http://c/repodata/repomd.xml</url></file></metalink>"#;
        let metalink = || Metalink::parse(document, &Allowed::only(["http"])).unwrap();
        let read = folders(metalink(), "repodata/repomd.xml").unwrap();
        let urls: Vec<_> = read.mirrors.iter().map(|mirror| mirror.url.expose().as_str()).collect();
        assert_eq!(urls, ["http://c/", "http://a/f/"]);
        assert_eq!(read.warnings.len(), 1, "{:?}", read.warnings);
        assert!(folders(metalink(), "repodata/other.xml").is_err());
    }
}
