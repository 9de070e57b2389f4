//! What concerns one call, as wrappers of [`Download`](crate::Download).
//!
//! Invariant: outside in they are `Limit` (waiting for a permit is nobody's fault), `Throttle` (our own
//! slowness is not idleness), `Idle` (only the far side's silence counts), `Schemes`. Each forwards what it
//! does not change. Must not know: anything that outlives a call, such as retries.

pub mod idle;
pub mod limit;
pub mod schemes;
pub mod throttle;
