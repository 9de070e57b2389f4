//! Owns what a failure of Redis means to callers.
//!
//! Invariant: what may pass by itself is [`ErrorKind::Unavailable`], what cannot is not. Must not know who asked.

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind};

use crate::store::{Error, ErrorKind};

/// The error of a store, for an error of Redis.
pub(super) fn failure(what: &'static str) -> impl FnOnce(RedisError) -> Error {
    move |error| Error::new(kind(&error), what).with(error)
}

fn kind(error: &RedisError) -> ErrorKind {
    match error.kind() {
        Kind::InvalidClientConfig | Kind::EmptySentinelList => ErrorKind::Input,
        Kind::Parse | Kind::UnexpectedReturnType | Kind::Server(ServerErrorKind::ResponseError) => {
            ErrorKind::Broken
        }
        _ if error.code() == Some("BROKEN") || error.code() == Some("WRONGTYPE") => ErrorKind::Broken,
        _ => ErrorKind::Unavailable,
    }
}

/// The error of a step that the script gave up, by the code that its text begins with.
pub(super) fn of_step(said: redis::Value) -> Error {
    let text: String = redis::from_redis_value(said).unwrap_or_default();
    let code = text.split(' ').next().unwrap_or_default().trim_start_matches('-');
    let kind = if MAY_PASS.contains(&code) { ErrorKind::Unavailable } else { ErrorKind::Broken };
    Error::new(kind, "a step in Redis").with(text)
}

/// What a server says that cannot write at present, or is the master no more.
const MAY_PASS: [&str; 6] = ["OOM", "MISCONF", "READONLY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN"];

/// Is the connection of no more use, or at the wrong server?
pub(super) fn ends_connection(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || matches!(error.kind(), Kind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown))
}
