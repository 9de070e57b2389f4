//! The conformance suites: one per extension point, run for every implementation, a stranger's too.
//!
//! Invariant: what an implementation cannot do is declared by it and printed, never skipped silently.
//! Must not know: how the implementations work inside.

pub mod backends;
mod report;
pub mod rows;
pub mod sink;
pub mod writers;

pub use self::report::Report;
