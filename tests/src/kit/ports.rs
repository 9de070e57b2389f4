//! Addresses where nobody answers: one that refuses, one that swallows.
//!
//! Owns the two ways a connect can fail. Its invariant: a [`BlackHole`] accepts nothing for as long as it lives.
//! It must not know any protocol above TCP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// An address that refused connections a moment ago: the port was free and is closed again.
pub async fn dead_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// An address where connecting never ends: its queue of waiting connections is full and nobody takes from it.
pub struct BlackHole {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    /// Listens with the shortest queue and fills it.
    pub async fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("loopback has a free port");
        let listener = socket.listen(1).expect("a bound socket listens");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let mut waiting = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(100), TcpStream::connect(addr)).await {
            waiting.push(stream);
            assert!(waiting.len() < 64, "the queue of {addr} does not fill");
        }
        Self { listener, _waiting: waiting }
    }

    /// Where connecting hangs.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }
}

/// Ports that were free a moment ago, all different, for a program that is to listen on them.
pub(crate) fn free_addresses<const N: usize>() -> io::Result<[SocketAddr; N]> {
    let listeners: Vec<_> =
        (0..N).map(|_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr()?;
    }
    Ok(addresses)
}
