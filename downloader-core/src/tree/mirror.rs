//! Owns what can be asked of a mirror, and how it is begun.
//!
//! Invariant: nothing is asked or written before its steps are polled. Must not know: how a step is planned.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::ledger::{Ledger, Summary};
use super::rules::{Compare, Links, MaxDelete};
use super::steps::{Notice, Step, Steps};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::listing::WalkOptions;
use crate::request::Request;
use crate::write::directory::Directory;
use crate::write::{FileWriter, Link};

/// Jobs that run at a time in [`Mirror::run`].
const WINDOW: usize = 64;

/// Brings a directory of this machine to what a directory of the far side holds.
///
/// ```no_run
/// # async fn example(engine: &downloader_core::Engine) -> downloader_core::Result<()> {
/// use downloader_core::Request;
/// use downloader_core::tree::{MaxDelete, Mirror};
/// let request = Request::get("https://example.org/pub/")?;
/// let mirror = Mirror::new(request, "pub").delete(MaxDelete::default());
/// let summary = mirror.run(engine, |notice| println!("{}: {}", notice.place, notice.change)).await?;
/// println!("{summary}");
/// # Ok(()) }
/// ```
///
/// Files that are here already, and the same ([`Compare`]), are kept. Each file that comes is a download like any other: it
/// gets its name when it is complete and checked, with the time that its source tells, else that of the listing. What a killed
/// run left is gone on with ([`FileWriter::keep_partial`]).
///
/// # Names
/// What the far side calls an entry is what it is called here. Refused, and counted as failed, are names that lead elsewhere,
/// hold control characters, are not UTF-8, are longer than the file system takes, are named twice in one directory, or are
/// those of files under way. Links that lie here already are replaced where a file comes, and never followed.
///
/// # Removal
/// Off by default; see [`Mirror::delete`].
#[derive(Clone)]
pub struct Mirror {
    pub(super) request: Request,
    pub(super) directory: PathBuf,
    pub(super) options: WalkOptions,
    pub(super) depth: Option<usize>,
    pub(super) compare: Compare,
    pub(super) links: Links,
    pub(super) delete: Option<MaxDelete>,
    pub(super) dry_run: bool,
    pub(super) reuse: Option<PathBuf>,
    pub(super) link: Link,
    pub(super) writers: Option<Arc<Writers>>,
}

/// What is set on the writer of each file.
pub(super) type Writers = dyn Fn(FileWriter) -> FileWriter + Send + Sync;

impl Mirror {
    /// A mirror of the directory that a request names in a directory of this machine, which is made if there is none. All below
    /// it is asked for on the same terms ([`Request::at`]).
    #[must_use]
    pub fn new(request: Request, directory: impl Into<PathBuf>) -> Self {
        Self {
            request,
            directory: directory.into(),
            options: WalkOptions::default(),
            depth: None,
            compare: Compare::default(),
            links: Links::default(),
            delete: None,
            dry_run: false,
            reuse: None,
            link: Link::default(),
            writers: None,
        }
    }

    /// What of the far side is wanted, and how much of it is borne. What is not selected is neither fetched nor removed.
    /// Default: everything, within the limits of a [`WalkOptions`].
    #[must_use]
    pub fn walk(mut self, options: WalkOptions) -> Self {
        self.options = options;
        self
    }

    /// Levels of directories below the first one that are mirrored; 0 is that directory alone. What lies deeper is left alone
    /// on both sides. Default: all, of which more than [`WalkOptions::depth`] are an error.
    #[must_use]
    pub fn depth(mut self, levels: usize) -> Self {
        self.depth = Some(levels);
        self
    }

    /// When a file that is here is fetched again. Default: when size or time differ.
    #[must_use]
    pub fn compare(mut self, compare: Compare) -> Self {
        self.compare = compare;
        self
    }

    /// What becomes of symbolic links of the far side. Default: they are left out.
    #[must_use]
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Removes what the far side has no more, when all else is done: never on the strength of a listing of which a directory or
    /// a line failed, nothing above the directory of the mirror, nothing that was not selected or lies too deep, no file under
    /// way, and nothing at all if it were more than this. Default: removes nothing.
    #[must_use]
    pub fn delete(mut self, most: MaxDelete) -> Self {
        self.delete = Some(most);
        self
    }

    /// Only tells what would be done. Heads are asked for, where listings tell too little. Default: no.
    #[must_use]
    pub fn dry_run(mut self, dry: bool) -> Self {
        self.dry_run = dry;
        self
    }

    /// A directory with an earlier copy of the tree: files that are the same there, by what [`compare`](Self::compare) says,
    /// are taken from there. The engine must have a [`FileBackend`](crate::FileBackend) that allows it; a file that cannot be
    /// taken is fetched.
    #[must_use]
    pub fn reuse(mut self, directory: impl Into<PathBuf>) -> Self {
        self.reuse = Some(directory.into());
        self
    }

    /// How files of this machine are taken, those of [`reuse`](Self::reuse) and of `file:` URLs. Default: copied.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// Sets what is asked of the writer of each file, such as [`FileWriter::sync`].
    #[must_use]
    pub fn writers(mut self, writers: impl Fn(FileWriter) -> FileWriter + Send + Sync + 'static) -> Self {
        self.writers = Some(Arc::new(writers));
        self
    }

    /// Begins: a stream of what is to be done, and the book that is kept of it. Whoever has them runs the jobs (as a batch, in
    /// shards), tells the ledger how each ended ([`Ledger::ended`]), and closes it at last ([`Ledger::close`]).
    ///
    /// # Errors
    /// Kind `Local` when the directory cannot be made or opened, `Input` when that of [`reuse`](Self::reuse) cannot.
    pub fn start(self, engine: &Engine) -> Result<(Steps, Ledger)> {
        let root = match Directory::open(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.dry_run => None,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some(Directory::create(&self.directory).map_err(|error| self.unusable(error))?)
            }
            root => Some(root.map_err(|error| self.unusable(error))?),
        };
        let earlier = match &self.reuse {
            Some(path) => Some(Directory::open(path).map_err(|error| {
                Error::input(format!("reuse: no directory {}", path.display())).with_source(error)
            })?),
            None => None,
        };
        let ledger = Ledger::new(&self, root.clone());
        let steps = Steps::new(Arc::new(self), engine, (root, earlier), ledger.clone());
        Ok((steps, ledger))
    }

    /// Does all of it, on the current runtime: at most 64 files at a time, as far as the limits of the engine let them.
    /// `tell` hears of every name, that of files that are kept included.
    ///
    /// # Errors
    /// As for [`start`](Self::start). What fails later is in the summary, and told.
    ///
    /// # Cancellation
    /// Dropping the future stops what runs; the next run goes on.
    pub async fn run(self, engine: &Engine, mut tell: impl FnMut(&Notice)) -> Result<Summary> {
        let (mut steps, ledger) = self.start(engine)?;
        let (mut running, mut all) = (FuturesUnordered::new(), false);
        loop {
            tokio::select! {
                Some(done) = running.next(), if !running.is_empty() => match done {
                    Ok(done) => tell(&ledger.ended(&done)),
                    // Only the end of the runtime stops a task that nobody stopped.
                    Err(error) => return Err(error),
                },
                step = steps.next(), if !all && running.len() < WINDOW => match step {
                    Some(Step::Fetch(job)) => running.push(engine.start(*job)),
                    Some(Step::Told(notice)) => tell(&notice),
                    None => all = true,
                },
                else => break,
            }
        }
        Ok(ledger.close(tell))
    }

    fn unusable(&self, error: std::io::Error) -> Error {
        Error::local(format!("cannot use the directory {}", self.directory.display()), error)
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("directory", &self.directory)
            .field("compare", &self.compare)
            .field("delete", &self.delete)
            .finish_non_exhaustive()
    }
}
