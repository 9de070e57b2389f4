//! Owns what a mirror tells and asks for: the stream of its steps.
//!
//! Invariant: pulled one by one; what is under way is a few questions, whatever the size of the tree. Must not know: how it
//! is decided what a step is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_util::future;
use futures_util::stream::{BoxStream, StreamExt};

use super::asking::Asking;
use super::ledger::Ledger;
use super::mirror::Mirror;
use super::path::TreePath;
use super::planner::Planner;
use crate::engine::Engine;
use crate::error::Error;
use crate::job::Job;
use crate::url::SafeUrl;
use crate::write::directory::Directory;

/// Heads asked for at a time.
const QUESTIONS: usize = 16;

/// What is to be done next, or was done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// This is to be downloaded.
    Fetch(Box<Job<Planned>>),
    /// This became of a name; it is counted.
    Told(Notice),
}

/// A file that is to be fetched: the tag of its job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Planned {
    /// Where it goes, below the directory of the mirror.
    pub place: TreePath,
    /// Where it comes from.
    pub url: SafeUrl,
    /// Its size in bytes, if the listing tells it.
    pub size: Option<u64>,
    /// [`Change::New`] or [`Change::Changed`], once it is there.
    pub change: Change,
    /// The same file in the earlier copy.
    pub(super) earlier: Option<SafeUrl>,
}

impl Planned {
    pub(super) fn is_reuse(&self, url: &SafeUrl) -> bool {
        self.earlier.as_ref() == Some(url)
    }
}

/// What became of a name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Notice {
    /// The name, below the directory of the mirror.
    pub place: TreePath,
    /// Where it comes from, if it does.
    pub url: Option<SafeUrl>,
    /// What became of it.
    pub change: Change,
}

/// What became, or is to become, of a name.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_enums)]
pub enum Change {
    /// It was not here before.
    New,
    /// It was here, and is another one now.
    Changed,
    /// It was here, and is the same.
    Kept,
    /// The far side has it no more.
    Removed,
    /// It could not be mirrored, listed or removed.
    Failed(Error),
}

impl Change {
    /// The word for it, as programs print it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Kept => "kept",
            Self::Removed => "removed",
            Self::Failed(_) => "failed",
        }
    }

    /// True for [`Change::Failed`].
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "failed: {error}"),
            other => f.write_str(other.as_str()),
        }
    }
}

/// The steps of a mirror, in the order of the far side, as far as answers come in order. Dropping it ends what it asks.
pub struct Steps {
    steps: BoxStream<'static, Step>,
    ledger: Ledger,
}

impl Steps {
    pub(super) fn new(
        mirror: Arc<Mirror>,
        engine: &Engine,
        (root, earlier): (Option<Arc<Directory>>, Option<Arc<Directory>>),
        ledger: Ledger,
    ) -> Self {
        let request = mirror.request.clone();
        let mut options = mirror.options.clone();
        options.depth = mirror.depth.unwrap_or(options.depth);
        options.follow_links = false;
        let walk = engine.walk(request, options);
        let asking = Arc::new(Asking::new(Arc::clone(&mirror), engine.clone(), earlier));
        let mut planner = Planner::new(mirror, root, ledger.clone());
        let steps = walk
            .filter_map(move |step| future::ready(planner.plan(step)))
            .map(move |plan| Arc::clone(&asking).settle(plan))
            .buffered(QUESTIONS);
        Self { steps: steps.boxed(), ledger }
    }
}

impl Stream for Steps {
    type Item = Step;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let step = ready!(self.steps.as_mut().poll_next(context));
        match &step {
            Some(Step::Told(notice)) => self.ledger.note(notice),
            Some(Step::Fetch(_)) => {}
            // Only who took all of them may have something removed.
            None => self.ledger.walked(),
        }
        Poll::Ready(step)
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steps").finish_non_exhaustive()
    }
}
