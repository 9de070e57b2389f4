//! x
pub mod job;
pub mod store;
