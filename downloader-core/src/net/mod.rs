//! The way to a far side, for every protocol over TCP: which addresses are allowed, how names become addresses, how
//! a connection is made, and how it goes through a proxy.
//!
//! Invariant: an address is connected to only after the guard of the backend agreed to this very address.
//! Must not know: what is said over the connection; URLs' schemes beyond a policy's choice; TLS.

mod guard;
mod host;
mod special;

pub use self::guard::Guard;
