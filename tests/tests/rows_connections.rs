//! Connections: the address guard at the moment of connecting (row skroutz 79), each step's clock, the way out of this machine, and
//! how long a connection is kept.
//!
//! Owns these rows. Invariant: whom nobody may reach counts the connections it got, and there are none. Must not know: the
//! backend's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "connections/clocks.rs"]
mod clocks;
#[path = "connections/guarded.rs"]
mod guarded;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use downloader_core::Engine;
use downloader_http::{Http, HttpBuilder};
use downloader_tests::suite::rows::engine;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A second address of loopback.
const SECOND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
const FIRST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn over(set: impl FnOnce(HttpBuilder) -> HttpBuilder) -> Engine {
    engine().backend(set(Http::builder()).build().unwrap()).build()
}

/// A relay at an address of choice, which the kit's servers have not; it remembers who came. Ends when dropped.
struct Relay {
    addr: SocketAddr,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    _serving: JoinSet<()>,
}

impl Relay {
    async fn start(at: SocketAddr, upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let (addr, peers) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let (mut serving, seen) = (JoinSet::new(), peers.clone());
        serving.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut client, peer)) = listener.accept().await {
                seen.lock().unwrap().push(peer);
                open.spawn(async move {
                    let mut upstream = TcpStream::connect(upstream).await.unwrap();
                    // How the two end it is theirs.
                    let _ = copy_bidirectional(&mut client, &mut upstream).await;
                });
            }
        });
        Self { addr, peers, _serving: serving }
    }

    fn peers(&self) -> Vec<SocketAddr> {
        self.peers.lock().unwrap().clone()
    }
}
