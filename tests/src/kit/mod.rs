//! The testkit: servers that misbehave on order, real servers and proxies, relays that hurt connections or make them long, and means to
//! count what is left behind.
//!
//! Owns everything a test needs around the engine. Its one invariant: all traffic stays on loopback, on ports that were free.
//! It must not know the engine: nothing here depends on `downloader-core` or on a backend.
//!
//! Servers that are programs of their own are processes, killed when their handle is dropped; one that cannot start is an error with what it
//! wrote. The others live as tasks of the runtime that started them and end when their handle is dropped. They need a running clock:
//! under `start_paused = true` their delays pass at once.

pub mod certs;
pub mod content;
mod daemon;
mod door;
pub mod front;
pub mod ftp;
pub mod ftpd;
mod gauge;
pub mod http;
pub mod httpbin;
pub mod index_servers;
pub mod leaks;
pub mod link;
pub mod moto;
pub mod nginx;
mod pace;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod rabbitmq;
pub mod redis;
pub mod sftp;
pub mod socks;
pub mod squid;
pub mod sshd;

pub use certs::{Authority, Identity};
pub use content::{Content, Rng, sha256_hex};
pub use front::TlsFront;
pub use ftp::{Deed, FtpFile, FtpServer};
pub use ftpd::Ftpd;
pub use gauge::Connections;
pub use http::{Act, End, RangeLie, Request, Resource, Server};
pub use httpbin::Httpbin;
pub use index_servers::IndexServer;
pub use leaks::Snapshot;
pub use link::Link;
pub use nginx::Nginx;
pub use ports::{BlackHole, dead_address};
pub use process::{Finished, Program, Running};
pub use proxy::{Fault, Proxy};
pub use rabbitmq::Rabbitmq;
pub use redis::Redis;
pub use sftp::ScriptedSftp;
pub use socks::Socks;
pub use squid::Squid;
pub use sshd::Sshd;
