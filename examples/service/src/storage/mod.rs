//! Where finished files lie.
//!
//! Owns the places: a directory of this machine, a bucket of the service, buckets of callers. Its one invariant: a file is visible under
//! its name only when it is whole and every check agreed. It must not know leases, queues or callbacks.
//!
//! # Fencing
//! The last step of every writer here is one request to the file system or the bucket, and the processor asks for its lease right before
//! (`processor/guarded.rs`): whoever lost it publishes nothing. Between that question and the rename lies no waiting. A machine that is
//! frozen exactly there, for longer than what is left of the lease, can still put its file in the place of a later worker's: one that
//! passed the same checks of the same job, whole. So the name never has a part, nor bytes that nobody checked.

mod filesystem;
#[cfg(feature = "s3")]
mod s3;
mod settings;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use downloader_core::write::Writer;
use downloader_core::{Error, Result};

use crate::job::{Bucket, JobId};

pub use filesystem::Filesystem;
pub(crate) use filesystem::{directory, site_of};
#[cfg(feature = "s3")]
pub use s3::{Bucketed, Buckets};
pub use settings::{Place, S3Options, Settings};

/// A place for files of the service's own.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// The name of the place, the same for whoever can reach the same files: [`Location::site`](crate::job::Location::site).
    fn site(&self) -> &str;

    /// A writer of the file of a job. Nothing is visible before its `commit`, and then all of it. It takes up what an earlier attempt
    /// left, where the storage can keep that.
    ///
    /// # Errors
    /// Kind `Input` for a folder that cannot be a path.
    fn writer(&self, file: &FileName) -> Result<Box<dyn Writer>>;

    /// Deletes a file; one that is not there is fine.
    ///
    /// # Errors
    /// Kind `Local`: it may still be there.
    async fn remove(&self, path: &str) -> Result<()>;

    /// Throws away whatever attempts of a job left: the job failed for good.
    ///
    /// # Errors
    /// Kind `Local`: something may be left, which [`sweep`](Self::sweep) takes later.
    async fn forget(&self, file: &FileName) -> Result<()>;

    /// Throws away parts that nobody took up for long. Called at the start and every hour.
    ///
    /// # Errors
    /// Kind `Local`: to be tried again later.
    async fn sweep(&self) -> Result<()> {
        Ok(())
    }

    /// The folder whose disk fills while files come in; `None` when they go elsewhere.
    fn disk(&self) -> Option<PathBuf> {
        None
    }

    /// Says that files can be stored, as far as can be told without storing one.
    ///
    /// # Errors
    /// Kind `Local`, with the place.
    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Where in a storage the file of a job lies: `{folder}/{first 3 of id}/{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    folder: String,
    id: JobId,
}

/// How many characters of its name are the folder of a file.
const SHARD: usize = 3;

impl FileName {
    /// Of a job, in the folder that it asked for; empty is none.
    pub fn new(folder: impl Into<String>, id: JobId) -> Self {
        Self { folder: folder.into(), id }
    }

    /// The job.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The one of this path; `None` for what cannot be the path of a job's file.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let (folders, id) = path.rsplit_once('/')?;
        let folder = folders.rsplit_once('/').map_or("", |(folder, _)| folder);
        let name = Self::new(folder, id.parse().ok()?);
        (name.path() == path && segments(path).is_ok()).then_some(name)
    }

    /// The path within the storage.
    #[must_use]
    pub fn path(&self) -> String {
        let (id, slash) = (self.id.as_str(), if self.folder.is_empty() { "" } else { "/" });
        format!("{}{slash}{}/{id}", self.folder, &id[..SHARD])
    }
}

/// All places that a processor writes to.
#[derive(Clone, Debug)]
pub struct Storages {
    /// The service's own.
    pub own: Arc<dyn Storage>,
    /// Those of callers.
    #[cfg(feature = "s3")]
    pub buckets: Buckets,
}

impl Storages {
    /// Opens what the settings name.
    ///
    /// # Errors
    /// Kind `Local` when a directory cannot be made or written to, kind `Input` for options that make no store, `Unsupported` for a bucket
    /// in a program that was built without the feature `s3`.
    pub fn open(settings: &Settings) -> Result<Self> {
        let own: Arc<dyn Storage> = match &settings.place {
            Place::Directory(root) => Arc::new(Filesystem::open(root, settings)?),
            #[cfg(feature = "s3")]
            Place::Bucket(bucket) => Arc::new(Bucketed::open(bucket, settings)?),
            #[cfg(not(feature = "s3"))]
            Place::Bucket(_) => return Err(without_s3()),
        };
        Ok(Self {
            own,
            #[cfg(feature = "s3")]
            buckets: Buckets::new(settings.s3.clone()),
        })
    }

    /// A writer into a bucket of the caller. String and number members of `extra` become metadata of the object.
    ///
    /// # Errors
    /// Kind `Input` when `extra` is neither empty nor an object, a member that becomes metadata has a name that no field of HTTP has, or the
    /// bucket cannot be one.
    pub fn writer_for(&self, bucket: &Bucket, file: &FileName, extra: &str) -> Result<Box<dyn Writer>> {
        #[cfg(feature = "s3")]
        return self.buckets.writer(bucket, file, extra);
        #[cfg(not(feature = "s3"))]
        {
            let _ = (bucket, file, extra);
            Err(without_s3())
        }
    }
}

#[cfg(not(feature = "s3"))]
fn without_s3() -> Error {
    Error::unsupported("buckets: this program was built without the feature s3")
}

/// A path within a storage, as segments; what would lead elsewhere is refused.
fn segments(path: &str) -> Result<Vec<&str>> {
    let segments: Vec<_> = path.split('/').collect();
    let odd = |segment: &&str| segment.is_empty() || matches!(*segment, "." | "..") || segment.contains('\0');
    if segments.iter().any(odd) {
        return Err(Error::input("path of a file: expected segments that are neither empty, `.` nor `..`"));
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skroutz_26_the_path_is_the_folder_three_letters_and_the_name() {
        let id: JobId = "32a9M0C-QxziDA".parse().expect("14 letters");
        assert_eq!(FileName::new("", id.clone()).path(), "32a/32a9M0C-QxziDA");
        assert_eq!(FileName::new("a/b", id.clone()).path(), "a/b/32a/32a9M0C-QxziDA");
        for name in [FileName::new("", id.clone()), FileName::new("a/..b", id)] {
            assert_eq!(FileName::of_path(&name.path()), Some(name));
        }
        let others = ["32a9M0C-QxziDA", "32b/32a9M0C-QxziDA", "../32a/32a9M0C-QxziDA", "/32a/32a9M0C-QxziDA"];
        for other in others.into_iter().chain(["", "32a/x", ".work/32a9M0C-QxziDA", "a//32a/32a9M0C-QxziDA"])
        {
            assert_eq!(FileName::of_path(other), None, "{other}");
        }
    }

    #[test]
    fn no_path_leads_out() {
        for bad in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\0b"] {
            assert!(segments(bad).is_err(), "{bad}");
        }
        assert_eq!(segments("a/..b/...").expect("names"), ["a", "..b", "..."]);
    }
}
