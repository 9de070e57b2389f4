//! What the tests stand on: servers that misbehave on demand, suites that every backend and writer passes,
//! and random worlds.
//!
//! Invariant: everything stays on the loopback interface and stops when it is dropped.
//! Must not know: how the engine works inside.

pub mod kit;
pub mod suite;
pub mod worlds;
