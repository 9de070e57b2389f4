//! TLS in front of a plain server: the TLS half of an HTTPS proxy, or of anything else that speaks over TCP.
//!
//! Owns the handshakes and the copying. Its invariant: dropping the [`TlsFront`] ends every connection, and every byte passes in order.
//! It must not know what is spoken inside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::door::Door;
use super::gauge::{Connections, Gauge};

/// A listener on 127.0.0.1 that takes TLS off and passes the rest on; ends when dropped.
pub struct TlsFront {
    door: Door,
    connections: Gauge,
    failed_handshakes: Arc<AtomicUsize>,
}

impl TlsFront {
    /// In front of `upstream`, with a configuration such as [`Identity::server_config`](super::Identity::server_config) makes.
    pub async fn start(upstream: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let (acceptor, connections) = (TlsAcceptor::from(config), Gauge::default());
        let failed_handshakes = Arc::<AtomicUsize>::default();
        let (counting, failed) = (connections.clone(), failed_handshakes.clone());
        let door = Door::open(None, move |client| {
            let (acceptor, counted, failed) = (acceptor.clone(), counting.enter(), failed.clone());
            Some(async move {
                let _counted = counted;
                let Ok(mut client) = acceptor.accept(client).await else {
                    failed.fetch_add(1, Ordering::SeqCst);
                    return;
                };
                let Ok(mut upstream) = TcpStream::connect(upstream).await else { return };
                // How the two end it is theirs.
                let _ = upstream.set_nodelay(true);
                let _ = copy_bidirectional(&mut client, &mut upstream).await;
            })
        });
        Self { door, connections, failed_handshakes }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.door.addr()
    }

    /// `https://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.addr())
    }

    /// Connections: in total, now, and the most at once.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.connections.read()
    }

    /// TLS handshakes that failed.
    #[must_use]
    pub fn failed_handshakes(&self) -> usize {
        self.failed_handshakes.load(Ordering::SeqCst)
    }
}
