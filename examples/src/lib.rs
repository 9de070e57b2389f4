//! Short programs, in `examples/`: one for each way to use or extend the engine. `tests/tests/examples.rs` runs them.
//!
//! Owns, beside them, the compilation of the guide: every snippet of `docs/guide.md` is a doc test of this crate.
//! Invariant: what the documents show compiles. Must not know: how the engine works inside.

/// The guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
mod guide {}
