//! A place for objects, opened by URL.
//!
//! Invariant: credentials are taken from the options given, and never printed. Must not know: how an object is uploaded.

use std::fmt;
use std::sync::Arc;

use downloader_core::{Error, ErrorKind, Result};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

/// A bucket, or a folder in one. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Store {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The same, but its uploads are completed only where nothing is.
    pub(crate) creating: Arc<dyn ObjectStore>,
    /// `s3://bucket/prefix`, for messages.
    name: Arc<str>,
    prefix: Path,
}

impl Store {
    /// Opens the store of a URL such as `s3://bucket/prefix`; objects go below the prefix.
    ///
    /// The options are those of `object_store`, by its names: for S3 `region`, `endpoint`, `access_key_id`,
    /// `secret_access_key`, `session_token`, `allow_http`, `virtual_hosted_style_request` and others. Without an access key
    /// credentials are asked of the machine's metadata service; environment variables are not read. A request that fails is
    /// repeated as `object_store` does it: up to ten times within three minutes.
    ///
    /// # Errors
    /// Kind `Input` when the URL or an option is malformed or unknown, kind `Unsupported` for another scheme.
    pub fn open<K: AsRef<str>, V: Into<String>>(
        url: &str,
        options: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(Error::input("object store: expected a URL such as s3://bucket/prefix"));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', '?', '#']) {
            return Err(Error::input(
                "object store: expected a bucket and nothing else, as in s3://bucket/prefix",
            ));
        }
        let stores = match scheme {
            #[cfg(feature = "s3")]
            "s3" => crate::s3::open(bucket, options)?,
            _ => {
                drop(options);
                return Err(Error::unsupported(format!(
                    "object store: no store of scheme {scheme} is built in"
                )));
            }
        };
        let (store, creating) = stores;
        Ok(Self { store, creating, name: format!("{scheme}://{bucket}").into(), prefix: parse(prefix)? })
    }

    /// A store in the memory of this process, for tests and trials. An upload in parts replaces here what is there, whatever
    /// [`ObjectWriter::create`](crate::ObjectWriter::create) says.
    #[must_use]
    pub fn memory() -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        Self { creating: Arc::clone(&store), store, name: "memory:".into(), prefix: Path::default() }
    }

    /// Where an object of this name is, and how to call it in messages.
    pub(crate) fn locate(&self, key: &str) -> Result<(Path, String)> {
        let path = parse(key)?;
        if path.as_ref().is_empty() {
            return Err(Error::input("object key: expected a name, got an empty one"));
        }
        let path: Path = self.prefix.parts().chain(path.parts()).collect();
        let name = format!("{}/{path}", self.name);
        Ok((path, name))
    }

    /// The content of an object, `None` if there is none: for trials with [`Store::memory`]. Reads all of it into memory.
    ///
    /// # Errors
    /// Kind `Local` when the store fails, kind `Input` for a malformed key.
    pub async fn read(&self, key: &str) -> Result<Option<bytes::Bytes>> {
        use object_store::ObjectStoreExt as _;
        let (path, name) = self.locate(key)?;
        let got = match self.store.get(&path).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(crate::error::classify(&format!("cannot read {name}"), error)),
        }
    }
}

fn parse(key: &str) -> Result<Path> {
    Path::parse(key.trim_matches('/')).map_err(|error| {
        Error::new(ErrorKind::Input, "object key: expected segments that are neither empty, `.` nor `..`")
            .with_source(error)
    })
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("at", &self.name)
            .field("prefix", &self.prefix.as_ref())
            .finish_non_exhaustive()
    }
}
