//! Owns what a failure of SQLite means to callers.
//!
//! Invariant: what may pass by itself is [`ErrorKind::Unavailable`], what cannot is [`ErrorKind::Broken`]. Must not know who asked.

use rusqlite::ErrorCode;

use crate::store::{Error, ErrorKind};

/// The error of a store, for an error of SQLite.
pub(super) fn failure(what: impl Into<String>) -> impl FnOnce(rusqlite::Error) -> Error {
    move |error| Error::new(kind(&error), what).with(error)
}

fn kind(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure,
        ) => ErrorKind::Unavailable,
        _ => ErrorKind::Broken,
    }
}

/// Does somebody else have the file open?
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
