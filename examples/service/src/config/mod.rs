//! The configuration: one file, and the environment over it.
//!
//! Owns the names of all keys, those of the original as they are. Its one invariant: whatever is wrong names its key and what is accepted, and
//! a key that nobody knows is reported. It must not know what any role does with its settings.
//!
//! The file is JSON, or TOML when its name ends so. A key such as `processor.storage_dir` is `DOWNLOADER_PROCESSOR_STORAGE_DIR` in the
//! environment, where lists are parted by commas and maps are JSON. `deploy/downloader.toml` has every key with its default.

mod api;
mod notifier;
mod processor;
mod queue;
mod storage;
mod tree;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use notifier::Notifier;
pub use storage::files_directory;
pub use tree::Fault;

use crate::{api as api_role, processor as processor_role, storage as storage_place, store};
use tree::Tree;

/// The folder that holds everything where no file says otherwise, below the folder the program was started in.
pub const DATA: &str = "downloader-data";
/// The port of the API and the page.
pub const PORT: u16 = 8000;

/// Everything that can be configured.
#[derive(Debug)]
#[non_exhaustive]
pub struct Config {
    /// The address the API listens on, without its port; all by default.
    pub host: String,
    /// The port the API listens on; [`PORT`] by default.
    pub port: u16,
    /// The API.
    pub api: api_role::Settings,
    /// Are stored files served by the API? Then [`storage`](Self::storage) is a directory.
    pub serve_files: bool,
    /// The processor.
    pub processor: processor_role::Settings,
    /// Where files lie.
    pub storage: storage_place::Settings,
    /// The notifier, and what carries callbacks.
    pub notifier: Notifier,
    /// Where jobs are.
    pub store: StoreChoice,
    /// The bounds that the store keeps.
    pub policy: store::Policy,
    /// Keys that nobody knows.
    pub unknown: Vec<String>,
}

/// Where jobs are.
#[derive(Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum StoreChoice {
    /// In this process, and gone with it.
    Memory,
    /// In a file.
    Sqlite(PathBuf),
    /// In the Redis of this URL.
    Redis(String),
}

impl fmt::Debug for StoreChoice {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("in memory"),
            Self::Sqlite(path) => write!(f, "in {}", path.display()),
            Self::Redis(_) => f.write_str("in Redis"),
        }
    }
}

impl Config {
    /// Reads the file, if there is one, with the environment of this process over it.
    ///
    /// # Errors
    /// The first fault.
    pub fn load(file: Option<&Path>) -> Result<Self, Fault> {
        let tree = file.map_or_else(|| Ok(Tree::default()), Tree::read)?;
        Self::build(tree.under(std::env::vars_os()))
    }

    /// The same of a text, for trials.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(
        text: &str,
        is_toml: bool,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Fault> {
        Self::build(Tree::parse(text, is_toml)?.under(environment))
    }

    fn build(mut tree: Tree) -> Result<Self, Fault> {
        let data = tree.path("data_dir")?.unwrap_or_else(|| DATA.into());
        let host = tree.text("api.host")?.unwrap_or_default();
        let port = tree.number("api.port", 0..=65_535, "a port")?.unwrap_or(PORT);
        let store = queue::store(&mut tree, &data)?;
        let policy = queue::policy(&mut tree)?;
        let embedded = !matches!(store, StoreChoice::Redis(_));
        let notifier = notifier::read(&mut tree, &policy, embedded)?;
        let storage = storage::read(&mut tree, &data)?;
        let processor = processor::read(&mut tree, &policy, embedded)?;
        let api = api::read(&mut tree, embedded)?;
        let serve_files = tree.flag("api.serve_files")?.unwrap_or(false);
        if serve_files && !matches!(storage.place, storage_place::Place::Directory(_)) {
            return Err(Fault::new(
                "api.serve_files",
                "expected false, for files that are not in a directory",
            ));
        }
        let unknown = tree.left();
        Ok(Self { host, port, api, serve_files, processor, storage, notifier, store, policy, unknown })
    }
}

/// A name that no other process of a role has: where none other can open the store, the role's own.
fn instance(role: &str, embedded: bool) -> String {
    if embedded { role.to_owned() } else { processor_role::Settings::default().instance }
}

#[cfg(test)]
mod tests;
