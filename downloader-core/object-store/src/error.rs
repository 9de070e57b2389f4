//! What a failure of a store means to a download.
//!
//! Invariant: every failure of a store is one of this side, never of a source; no credential is in a message. Must not know:
//! which request failed.

use downloader_core::{Error, ErrorKind};

/// Classifies a failure of the store while doing `what`.
pub(crate) fn classify(what: &str, error: object_store::Error) -> Error {
    use object_store::Error as Store;
    let why = match &error {
        Store::AlreadyExists { .. } | Store::Precondition { .. } | Store::NotModified { .. } => {
            return Error::new(ErrorKind::Local, format!("{what}: exists already")).with_source(error);
        }
        Store::NotFound { .. } => ": no such bucket, or upload",
        Store::PermissionDenied { .. } => ": permission denied",
        Store::Unauthenticated { .. } => ": not authenticated",
        _ => "",
    };
    Error::new(ErrorKind::Local, format!("{what}{why}")).with_source(error)
}
