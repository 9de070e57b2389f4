//! The program itself, as an operator runs it: roles as processes, asked over HTTP, ended by signals.
//!
//! Owns the suites. Invariant: whatever is asked is asked over HTTP, by a signal, or of the folder of files. Must not know what is inside.

mod chaos;
mod jobs;
mod life;
mod limits;
mod program;
mod roles;
mod world;
