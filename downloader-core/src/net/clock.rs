//! The clock of one step on the way to a far side.
//!
//! Invariant: a step that takes too long is dropped. Must not know: which step it is, but for its name.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Phase, Result};

/// Bounds a step by its clock; `None` has no limit.
///
/// # Errors
/// That of the step, or kind `Timeout` of this phase.
pub async fn within<T>(
    limit: Option<Duration>,
    phase: Phase,
    step: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(limit) = limit else { return step.await };
    tokio::time::timeout(limit, step).await.unwrap_or_else(|_| {
        let what = format!("not done within {:.1} s", limit.as_secs_f64());
        Err(Error::new(ErrorKind::Timeout(phase), what))
    })
}
