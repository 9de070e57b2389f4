//! SFTP for the download engine, on russh; none of its types is in the interface.
//!
//! Owns connections of SSH, sessions of SFTP and requests over them, host keys, logins and jump hosts. Its one
//! invariant: no byte is taken from a host whose key was not found right, and none stands at an offset it does not belong
//! to. It knows nothing of retries, mirrors or writers.
//!
//! ```
//! use downloader_sftp::{KnownHosts, Sftp};
//! let sftp = Sftp::builder().known_hosts(KnownHosts::user()?).user("importer").build()?;
//! # Ok::<(), downloader_core::Error>(())
//! ```
//!
//! # Limits
//!
//! | what | limit |
//! | --- | --- |
//! | look-up of a name, each address | 10 s each; key exchange 15 s, login 30 s, see [`SftpBuilder`]; head and content have the clocks of the engine |
//! | silence of a server that was asked | 60 s, see [`SftpBuilder::reply_timeout`] |
//! | packets | SSH 256 KiB, SFTP 257 KiB; identification of a server 255 bytes and 20 lines before it |
//! | one read | 255 KiB, or what the server says (`limits@openssh.com`); 32 KiB if it says nothing |
//! | asked for ahead | 4 MiB a file, on long paths up to 8 MiB; 32 MiB a session |
//! | buffered for one channel of SSH | what was asked for, and 64 packets |
//! | files at once | 64 a session, 4 sessions a connection |
//! | idle sessions | 60 s, see [`SftpBuilder::pool_idle_timeout`] |
//! | keys of an agent that are tried | 16; rounds of questions 4 |
//! | jump hosts | 8 |
//! | known_hosts file | 16 MiB, lines of 64 KiB |
//! | key file | 256 KiB |
//!
//! Keys are exchanged anew after 1 GiB or an hour. Nothing is compressed. A server that opens a pipe waits for it: the
//! session is given up when nothing comes for 60 s.

mod body;
mod builder;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod host_key;
mod identity;
mod known_hosts;
#[cfg(feature = "ssh2")]
mod libssh;
mod listing;
mod open;
mod path;
mod protocol;
mod session;
mod sftp;
mod transport;

#[cfg(feature = "ssh2")]
pub use self::builder::Library;
pub use self::builder::SftpBuilder;
pub use self::host_key::NewHosts;
pub use self::identity::{Agent, Identity};
pub use self::known_hosts::{KnownHosts, MAX_KNOWN_HOSTS};
pub use self::sftp::Sftp;
