//! The testkit's own tests: every behaviour once, seen by a client of bare TCP that believes nothing.
//!
//! Owns nothing but the list of files, one for each part of the kit. Invariant: the clients share no code with the kit. Must not know
//! the engine.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "kit/client.rs"]
mod client;
#[path = "kit/curl.rs"]
mod curl;
#[path = "kit/cuts.rs"]
mod cuts;
#[path = "kit/httpbin.rs"]
mod httpbin;
#[path = "kit/leaks.rs"]
mod leaks;
#[path = "kit/lies.rs"]
mod lies;
#[path = "kit/limits.rs"]
mod limits;
#[path = "kit/link.rs"]
mod link;
#[path = "kit/nginx.rs"]
mod nginx;
#[path = "kit/proxy.rs"]
mod proxy;
#[path = "kit/server.rs"]
mod server;
#[path = "kit/socks.rs"]
mod socks;
#[path = "kit/squid.rs"]
mod squid;
#[path = "kit/tls.rs"]
mod tls;
