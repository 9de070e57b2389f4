//! The processor against a scripted origin: every row of the conformance table that is about downloads.
//!
//! Owns the scenarios, each named by its row. Invariant: a download is the real one, through the engine and over sockets of loopback; what
//! became of it is read from the store. Must not know how the processor is made.

mod contents;
mod lifecycle;
mod outcomes;
mod service;
