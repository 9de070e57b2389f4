//! FTP and FTPS for the download engine (RFC 959, 1123, 2228, 2389, 2428, 3659, 4217).
//!
//! Owns control connections and their pool, data connections, logins and the dialects of listings. Its one invariant: a
//! control connection serves another request only after a clean end of the last one, so that no reply is taken for that of
//! another command. It knows nothing of retries, mirrors or writers.
//!
//! ```
//! use downloader_ftp::{Ftp, FtpTls};
//! let ftp = Ftp::builder().tls(FtpTls::Explicit).build()?;
//! # Ok::<(), downloader_core::Error>(())
//! ```
//!
//! `ftp:` URLs are asked in the clear, unless [`FtpBuilder::tls`] says otherwise, `ftps:` URLs over TLS from the first byte
//! on, data connections included. A path is taken as RFC 1738 §3.2.2 has it: relative to where the login leads, `%2F` at its
//! start for the root, `;type=i` at its end if need be; a `?` is part of the name.
//!
//! What a server tells of a content is its size (`SIZE`) and time (`MDTM`); where it tells neither, the end of a content is
//! what the last reply says, so that a cut is an error there, too.
//!
//! # Limits
//!
//! | what | limit |
//! | --- | --- |
//! | reply, greeting | 64 KiB, 512 lines |
//! | directories of a path; a name | 128; 4 KiB |
//! | look-up of a name, each address, TLS handshake | 10 s each, see [`FtpBuilder`] |
//! | each reply | 60 s, see [`FtpBuilder::reply_timeout`]; head and body have the clocks of the engine as well |
//! | last reply of a transfer | 10 s |
//! | idle control connections | 64 a server and account, 60 s, see [`FtpBuilder::pool_idle_timeout`] |
//! | servers remembered | 1024 |
//! | line of a listing | 16 KiB |

mod builder;
mod command;
mod connect;
mod control;
mod error;
mod facts;
mod ftp;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod listing;
mod login;
mod options;
mod passive;
mod pool;
mod reply;
mod request;
mod servers;
mod session;
mod target;
mod time;
mod transfer;

pub use self::builder::FtpBuilder;
pub use self::ftp::Ftp;
pub use self::options::{FtpEncoding, FtpMethod, FtpMode, FtpOptions, FtpTls};
pub use downloader_tls::{ClientCertificate, TlsSettings, TlsVersion};
