//! Owns the keys that say where files lie: `processor.storage_dir`, `processor.filestorage`, `s3`.
//!
//! Invariant: the directory of the original's deprecated form (`storage_dir` alone) holds files that come in and finished ones. Must not know
//! how files are written.

use std::path::{Path, PathBuf};

use super::tree::{Fault, Tree};
use crate::job::Bucket;
use crate::storage::{Place, S3Options, Settings};

/// Where files lie without any key: below the data folder.
#[must_use]
pub fn files_directory(data: &Path) -> PathBuf {
    data.join("files")
}

pub(super) fn read(tree: &mut Tree, data: &Path) -> Result<Settings, Fault> {
    let work = tree.path("processor.storage_dir")?;
    let key = |name: &str| format!("processor.filestorage.{name}");
    let kind = tree.some_text(&key("type"))?;
    let (root, bucket) = (tree.path(&key("rootdir"))?, tree.some_text(&key("bucket"))?);
    let region = tree.some_text(&key("region"))?;
    let missing = |name: &str, what: &str| Fault::new(key(name), what);
    let (place, work) = match kind.as_deref() {
        None => (Place::Directory(work.unwrap_or_else(|| files_directory(data))), None),
        Some("filesystem") => {
            let root = root.ok_or_else(|| missing("rootdir", "expected the directory of finished files"))?;
            (Place::Directory(root), work)
        }
        Some("s3") => {
            let name = bucket.ok_or_else(|| missing("bucket", "expected the name of a bucket"))?;
            let region = region.ok_or_else(|| missing("region", "expected the region of the bucket"))?;
            (Place::Bucket(Bucket { name, region }), work)
        }
        Some(_) => return Err(missing("type", "expected filesystem or s3")),
    };
    let mut settings = Settings::new(place);
    settings.work = work;
    settings.durable = tree.flag("processor.durable")?.unwrap_or(settings.durable);
    settings.keep_partials =
        tree.seconds("processor.keep_partials_seconds", 0)?.unwrap_or(settings.keep_partials);
    settings.site = tree.some_text("processor.site")?;
    let mut options = S3Options::from_environment();
    options.0.extend(tree.map("s3")?.unwrap_or_default());
    settings.s3 = options;
    Ok(settings)
}
