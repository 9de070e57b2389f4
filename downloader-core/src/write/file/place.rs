//! Owns where the file is that its server named, for who asked for it.
//!
//! Invariant: each is told once, and stays. Must not know: how a name is chosen, or when.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A file that the reply names.
#[derive(Debug)]
pub(super) struct Named {
    /// The path until it does, by which the temporary file is called.
    pub(super) before: PathBuf,
    pub(super) place: Place,
}

/// Where the file of a [`FileWriter::in_directory`](super::FileWriter::in_directory) is; clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Place(Arc<Found>);

/// What there is to tell, each once.
#[derive(Debug, Default)]
struct Found {
    path: OnceLock<PathBuf>,
    taken: OnceLock<PathBuf>,
}

impl Place {
    /// Its path, once it is there.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.get().map(PathBuf::as_path)
    }

    /// The path of the file that was in its way ([`Clobber::Skip`](super::Clobber::Skip), [`Clobber::Fail`](super::Clobber::Fail)).
    #[must_use]
    pub fn taken(&self) -> Option<&Path> {
        self.0.taken.get().map(PathBuf::as_path)
    }

    /// The file is there. A writer commits once.
    pub(super) fn placed(&self, path: &Path) {
        let _ = self.0.path.set(path.to_owned());
    }

    /// A file is in its way; of several the first is told.
    pub(super) fn was_taken(&self, path: &Path) {
        let _ = self.0.taken.set(path.to_owned());
    }
}
