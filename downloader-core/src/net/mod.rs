//! The way to a far side, for every protocol over TCP: which addresses are allowed, how names become
//! addresses, how a connection is made, and how it goes through a proxy.
//!
//! Invariant: an address is connected to only after the guard of the backend agreed to this very address.
//! Must not know: what is said over the connection; URLs' schemes beyond a policy's choice; TLS.

mod clock;
pub mod dial;
pub mod fault;
mod guard;
mod happy_eyeballs;
mod host;
pub mod no_proxy;
pub mod proxies;
pub mod proxy;
pub mod resolve;
pub mod socks;
mod special;
pub mod tunnel;

pub use self::clock::within;
pub use self::dial::{Admit, Dialed, Dialer};
pub use self::guard::Guard;
pub use self::no_proxy::NoProxy;
pub use self::proxies::{GroupProxies, Proxies, Route};
pub use self::proxy::{Proxy, ProxyCredentials, ProxyProtocol};
pub use self::resolve::{Pinned, Resolve, SystemResolver};
pub use self::socks::Socks;
pub use self::tunnel::Tunnel;
