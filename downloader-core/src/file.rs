//! Owns the backend for `file:` URLs: local files as a source like any other, and directories.
//!
//! Invariant: reads regular files and directories below the allowed directories only, and changes nothing.
//! Must not know: writers, retries, other protocols.

mod directory;
mod local;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::{self, StreamExt};
use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use self::directory::Directory;
pub use self::local::LocalFile;
pub(crate) use self::local::time;
use crate::download::{Backend, Body, Download, Fetch};
use crate::entity::Splice;
use crate::error::{Error, ErrorKind, Result};
use crate::listing::{Entries, EntryDecoder};
use crate::range::ByteRange;
use crate::url::SafeUrl;

/// Bytes read at a time.
const PIECE: u64 = 256 * 1024;
/// Pieces read before other tasks get a turn: the page cache never makes a reader wait.
const PIECES_PER_TURN: u32 = 16;

/// Serves `file:` URLs from below the directories that were allowed; without any it refuses everything.
///
/// The path is resolved first: a symbolic link may lead from one allowed directory to another, never out of
/// them. The host of the URL must be empty or `localhost`.
///
/// The entity has the file's size and modification time, and a tag made of its inode, size, and times of
/// modification and change. The tag is strong once the file has not been changed for two seconds.
///
/// A directory is listed in the order of its file system, without following links; owners are numbers.
///
/// A reply offers the open file itself ([`Body::file`]): a writer of files that was asked to links or clones it
/// instead of copying its bytes ([`FileWriter::link`](crate::FileWriter::link)).
///
/// # Errors
/// `Refused` outside the allowed directories, `NotFound`, `Denied`, `Unsupported` for anything but a regular
/// file; while reading `Truncated` when the file shrank, `Changed` when it was written to meanwhile.
///
/// ```no_run
/// use downloader_core::FileBackend;
/// let backend = FileBackend::builder().allow("/srv/mirror").build()?;
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileBackend {
    allowed: Arc<[Allowed]>,
}

/// Makes a [`FileBackend`].
#[derive(Clone, Debug, Default)]
pub struct FileBackendBuilder {
    directories: Vec<PathBuf>,
}

/// An allowed directory, as it was named and as it really is.
#[derive(Debug)]
struct Allowed {
    named: PathBuf,
    real: PathBuf,
}

impl FileBackend {
    /// A backend that so far refuses every path.
    #[must_use]
    pub fn builder() -> FileBackendBuilder {
        FileBackendBuilder::default()
    }

    fn find(&self, url: &SafeUrl) -> Result<File> {
        if !matches!(url.host(), None | Some("" | "localhost")) {
            return Err(Error::unsupported("a file URL names no host, or localhost"));
        }
        let named =
            url.expose().to_file_path().map_err(|()| Error::unsupported("not a path of this machine"))?;
        // Before anything is looked up: whether a path elsewhere exists is nobody's business.
        if !self.allowed.iter().any(|dir| named.starts_with(&dir.named) || named.starts_with(&dir.real)) {
            return Err(outside());
        }
        let real = named.canonicalize().map_err(classify)?;
        if !self.allowed.iter().any(|dir| real.starts_with(&dir.real)) {
            return Err(outside());
        }
        open(&real)
    }
}

impl FileBackendBuilder {
    /// Allows the files below this directory.
    #[must_use]
    pub fn allow(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directories.push(directory.into());
        self
    }

    /// Makes the backend.
    ///
    /// # Errors
    /// Kind `Input` when an allowed directory cannot be found.
    pub fn build(self) -> Result<FileBackend> {
        let mut allowed = Vec::with_capacity(self.directories.len());
        for named in self.directories {
            let real = named.canonicalize().map_err(|error| {
                Error::input(format!("allow: no directory {}", named.display())).with_source(error)
            })?;
            allowed.push(Allowed { named, real });
        }
        Ok(FileBackend { allowed: allowed.into() })
    }
}

impl Backend for FileBackend {
    fn schemes(&self) -> &'static [&'static str] {
        &["file"]
    }
}

#[async_trait]
impl Download for FileBackend {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        reply(self, &fetch).map_err(|error| error.with_url(&fetch.url))
    }
}

fn reply(backend: &FileBackend, fetch: &Fetch) -> Result<Body> {
    let file = backend.find(&fetch.url)?;
    if fetch.listing {
        let entries = Entries::new(fetch.url.clone(), EntryDecoder::new());
        let mut body = Body::listing(entries, Directory::new(file, fetch.url.clone())?.boxed());
        body.wire.protocol = Some("file");
        return Ok(body);
    }
    let file = Arc::new(LocalFile::new(file)?);
    let (entity, size) = (file.entity(), file.size());
    if fetch.unless.as_ref().is_some_and(|held| held.splice(&entity, true) == Splice::Proven) {
        return Ok(Body::not_modified(entity));
    }
    let start = fetch.range.start.min(size);
    let end = if fetch.body { fetch.range.end.unwrap_or(size).clamp(start, size) } else { start };
    let stream = if start < end {
        Pieces { file: Arc::clone(&file), at: start, end, url: fetch.url.clone(), turn: 0 }.boxed()
    } else {
        stream::empty().boxed()
    };
    let mut body = Body::new(entity, ByteRange::new(start, end), stream);
    body.seekable = true;
    body.wire.protocol = Some("file");
    body.file = fetch.body.then_some(file);
    Ok(body)
}

/// Opens a path in which nothing is left to resolve.
fn open(real: &Path) -> Result<File> {
    // NONBLOCK: opening a pipe must not wait for a writer; for regular files it changes nothing.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    // A directory that becomes a link after it was resolved is not followed either.
    let opened = match openat2(CWD, real, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Linux before 5.6, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::open(real, flags, Mode::empty()),
        opened => opened,
    };
    match opened {
        Ok(file) => Ok(File::from(file)),
        Err(Errno::LOOP) => Err(outside()),
        Err(error) => Err(classify(error.into())),
    }
}

/// The bytes of an open file, read as they are asked for. `std::fs` in the task: see `docs/architecture.md`.
struct Pieces {
    file: Arc<LocalFile>,
    at: u64,
    end: u64,
    url: SafeUrl,
    turn: u32,
}

impl Pieces {
    /// The next bytes, or nothing at the end.
    fn next(&mut self) -> Result<Option<Bytes>> {
        if self.at >= self.end {
            return Ok(None);
        }
        // At most PIECE, which is a usize.
        let mut piece = Vec::with_capacity(PIECE.min(self.end - self.at) as usize);
        loop {
            match rustix::io::pread(self.file.file(), spare_capacity(&mut piece), self.at) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(classify(error.into())),
                Ok(0) => {
                    return Err(Error::new(
                        ErrorKind::Truncated,
                        "the file became shorter while it was read",
                    ));
                }
                Ok(_) => break,
            }
        }
        self.at += piece.len() as u64;
        // The last piece is not given away before it is clear that all were of one content.
        if self.at == self.end && !self.file.is_unchanged()? {
            return Err(Error::new(ErrorKind::Changed, "the file was written to while it was read"));
        }
        Ok(Some(Bytes::from(piece)))
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.turn += 1;
        if this.turn > PIECES_PER_TURN {
            this.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let at = this.at;
        let piece = this.next().map_err(|error| error.with_url(&this.url).with_offset(at));
        if piece.is_err() {
            this.end = this.at;
        }
        Poll::Ready(piece.transpose())
    }
}

fn outside() -> Error {
    Error::new(ErrorKind::Refused, "the path is not below an allowed directory")
}

/// The one place where a fault of the file system gets its kind.
fn classify(error: io::Error) -> Error {
    use io::ErrorKind as Io;
    let (kind, what) = match error.kind() {
        Io::NotFound | Io::NotADirectory | Io::InvalidInput | Io::InvalidFilename => {
            (ErrorKind::NotFound, "no such file")
        }
        Io::PermissionDenied => (ErrorKind::Denied, "the file may not be read"),
        Io::OutOfMemory => (ErrorKind::Local, "cannot open a file"),
        _ if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) => {
            (ErrorKind::Local, "cannot open a file")
        }
        // The disk or the server behind a network file system: another source may help, or another try.
        _ => (ErrorKind::Connect, "cannot read the file"),
    };
    Error::new(kind, what).with_source(error)
}

#[cfg(test)]
mod tests;
