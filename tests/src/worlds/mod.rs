//! Random worlds: sources that cut, refuse, lie and change, a download through them, and the verdict.
//!
//! Everything follows from one seed, on paused time, so any failure replays. Invariant: a world decides before
//! the run what may and what must come out of it. Must not know: how the engine works inside.

mod store;
mod world;

pub use self::store::{Shape, Store};
pub use self::world::{Source, World};
