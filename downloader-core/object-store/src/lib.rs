//! Writes downloads into object stores: [`ObjectWriter`] into a [`Store`].
//!
//! Nothing is visible under the key before every check agreed: a small content is put in one request at its commit, a large
//! one is a multipart upload, which becomes visible as a whole when it is completed. What fails, is dropped or starts over is
//! aborted.
//!
//! ```no_run
//! # async fn example(engine: downloader_core::Engine) -> downloader_core::Result<()> {
//! use downloader_core::Request;
//! use downloader_object_store::{ObjectWriter, Store};
//!
//! let store = Store::open("s3://archive/incoming", [("region", "eu-central-1"), ("access_key_id", "…"), ("secret_access_key", "…")])?;
//! let writer = ObjectWriter::new(&store, "f.iso")?.metadata("origin", "example.org").create(true);
//! engine.download(Request::get("https://example.org/f.iso")?, writer).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The crate wraps `object_store`, whose types stay inside.

mod error;
#[cfg(feature = "s3")]
mod s3;
mod store;
mod upload;
mod writer;

pub use self::store::Store;
pub use self::writer::{LEAST_PART, ObjectWriter, PART};
