//! HTTP and HTTPS for the download engine, on hyper and rustls; none of their types is in the interface. With the
//! cargo feature `reqwest`, [`HttpBuilder`] also takes a `reqwest::Client` to travel with.
//!
//! Owns connections and requests on the wire, redirects, credentials, cookies, proxies and TLS. Its one invariant:
//! what a reply says of itself is believed only where it is consistent, so that bytes never stand at an offset they do
//! not belong to. It knows nothing of retries, mirrors or writers.
//!
//! ```
//! use downloader_http::Http;
//! let http = Http::builder().user_agent("importer/1.0").build()?;
//! # Ok::<(), downloader_core::Error>(())
//! ```
//!
//! # Limits
//!
//! | what | limit |
//! | --- | --- |
//! | head of a reply | 64 KiB, over HTTP/1.1 also 100 fields, see [`HttpBuilder::head_limits`] |
//! | interim replies (1xx), HTTP/1.1 | 64 |
//! | redirects | 10, see [`RedirectPolicy::limit`] |
//! | `Location` | [`MAX_URL`](downloader_core::url::MAX_URL) |
//! | digest fields | 8 KiB and 32 digests each |
//! | `Content-Disposition` | 16 KiB |
//! | `Link`, where mirrors are looked for | 256 links, of which [`MOST_LINKED`] mirrors are kept |
//! | look-up of a name, each address, TLS handshake | 10 s each, see [`HttpBuilder`]; head and body have the clocks of the engine |
//! | addresses of a host that are tried | 16 |
//! | reply of a proxy to `CONNECT` | 16 KiB |
//! | bytes in flight, HTTP/2 | 16 MiB a stream, 32 MiB a connection |
//! | requests at once, HTTP/2 | 100 a connection; 8 connections an origin |
//! | idle connections | 128 an origin, 90 s, see [`HttpBuilder::pool_idle_timeout`] |
//! | challenges; tokens | answered 3 times for one URL; 256 tokens of 16 KiB are kept |
//! | decoded content, where decoding is asked for | 16 GiB, 1000 times what came, 2 codings, see [`DecodeLimits`] |
//! | cookies, where a jar is given | 3000, 50 of a domain, see [`CookieJar`] |
//! | TLS | 64 KiB read ahead on a busy connection; sessions of 256 host names to resume |
//!
//! A body without `Content-Length` over HTTP/1.x that ends with the connection cannot be told from one that was
//! cut: only an expected size or a digest finds that.

mod auth;
mod body;
mod builder;
mod client_range;
mod coding;
mod content;
mod content_disposition;
mod content_range;
mod conversation;
mod cookies;
mod error;
mod exchange;
mod forward;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod integrity;
mod method;
mod policies;
mod rate_limit;
mod redirect;
mod request;
mod response;
mod retry_after;
mod status;
mod trace;
mod transport;

pub use self::auth::{Challenge, CredentialQuery, CredentialSource};
pub use self::builder::HttpBuilder;
pub use self::client_range::{RangePlan, if_range_holds};
pub use self::coding::{AcceptEncoding, ContentCoding, DecodeLimits};
pub use self::content::RequestContent;
pub use self::cookies::{CookieJar, MAX_COOKIE_FILE};
pub use self::forward::{ForwardPolicy, forwardable};
pub use self::http::Http;
pub use self::integrity::{LinkedMirrors, MOST_LINKED, WireDigests};
pub use self::redirect::{Hop, RedirectPolicy, Redirects};
pub use self::request::RequestHeaders;
pub use self::response::ResponseHead;
pub use downloader_core::credentials::{Credentials, Netrc, OriginCredentials, RequestCredentials};
pub use downloader_tls::{ClientCertificate, TlsSettings, TlsVersion};
