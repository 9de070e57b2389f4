//! What a download tells of itself: spans and events of `tracing`, events of its observer, the record of attempts.
//!
//! Field 1.7 (tracing and metrics, history of every attempt) and 16 (the attempt record as an API; curl/curl#6743, #2126).
//! Invariant: every value is compared with what the far side knows of it. Must not know how a value is found.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "rows_observability/attempts.rs"]
mod attempts;
#[path = "rows_observability/capture.rs"]
mod capture;
#[path = "rows_observability/ends.rs"]
mod ends;
mod rows;
#[path = "rows_observability/secrets.rs"]
mod secrets;
#[path = "rows_observability/spans.rs"]
mod spans;
