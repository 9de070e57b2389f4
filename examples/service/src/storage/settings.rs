//! Owns what an operator decides about the storage.
//!
//! Invariant: plain data; `Debug` shows no credential. Must not know which file it came from.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::job::Bucket;

/// What an operator decides about the storage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Where finished files lie.
    pub place: Place,
    /// Where files lie while they come in; `None` is `.work` within the directory. One on another file system than the directory is not
    /// used, since nothing can be renamed from there.
    pub work: Option<PathBuf>,
    /// Is a file forced to the disk, and its name, before its job counts as done? Default yes: a power cut then loses nothing.
    pub durable: bool,
    /// How long what an attempt left is kept for the next one; 2 days.
    pub keep_partials: Duration,
    /// The name of the place; `None` makes one of the machine and the directory. Processors that share a directory over the network are
    /// given the same.
    pub site: Option<String>,
    /// How S3 is reached.
    pub s3: S3Options,
}

/// Where finished files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Place {
    /// In a directory.
    Directory(PathBuf),
    /// In a bucket.
    Bucket(Bucket),
}

impl Settings {
    /// The defaults, in this place.
    #[must_use]
    pub fn new(place: Place) -> Self {
        let two_days = Duration::from_secs(2 * 86_400);
        Self {
            place,
            work: None,
            durable: true,
            keep_partials: two_days,
            site: None,
            s3: S3Options::default(),
        }
    }
}

/// How S3 is reached: options by their names in `object_store`, such as `access_key_id`, `endpoint` or `allow_http`.
#[derive(Clone, Default)]
pub struct S3Options(pub Vec<(String, String)>);

impl S3Options {
    /// Those of the environment, as the tools of AWS name them: every variable `AWS_…` that says something of a store, such as
    /// `AWS_ACCESS_KEY_ID`, `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL` or `AWS_WEB_IDENTITY_TOKEN_FILE`. Files below `~/.aws` are not read.
    /// Without any key the metadata service of the machine is asked.
    #[cfg(feature = "s3")]
    #[must_use]
    pub fn from_environment() -> Self {
        use object_store::aws::AmazonS3ConfigKey;
        let known = |name: &str| {
            name.starts_with("AWS_") && name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().is_ok()
        };
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self(
            variables
                .filter(|(name, _)| known(name))
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
        )
    }

    /// None of them: this program was built without the feature `s3`.
    #[cfg(not(feature = "s3"))]
    #[must_use]
    pub fn from_environment() -> Self {
        Self::default()
    }
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
