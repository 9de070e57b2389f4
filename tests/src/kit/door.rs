//! A listener on loopback that can be shut and opened again, and the tasks of its connections.
//!
//! Owns the accept loop. Its invariant: no task outlives the [`Door`], and a shut one refuses connections.
//! It must not know what is spoken inside.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

type Order = (Command, oneshot::Sender<()>);

pub(super) struct Door {
    addr: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Command {
    HangUp,
    Shut,
    Reopen,
}

impl Door {
    /// Listens, and runs what `serve` makes of each connection; `None` closes it.
    pub(super) fn open<S, F>(send_buffer: Option<u32>, serve: S) -> Self
    where
        S: FnMut(TcpStream) -> Option<F> + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::open_at((Ipv4Addr::LOCALHOST, 0).into(), send_buffer, serve)
    }

    /// The same on an address that must be free.
    pub(super) fn open_at<S, F>(address: SocketAddr, send_buffer: Option<u32>, serve: S) -> Self
    where
        S: FnMut(TcpStream) -> Option<F> + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = listen(address, send_buffer);
        let addr = listener.local_addr().expect("a bound socket has an address");
        let (orders, receiver) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(listener, addr, send_buffer, serve, receiver));
        Self { addr, orders, task }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes every open connection.
    pub(super) async fn hang_up(&self) {
        self.order(Command::HangUp).await;
    }

    /// Closes everything, the listener too.
    pub(super) async fn shut(&self) {
        self.order(Command::Shut).await;
    }

    /// Listens again on the same port.
    pub(super) async fn reopen(&self) {
        self.order(Command::Reopen).await;
    }

    async fn order(&self, command: Command) {
        let (done, wait) = oneshot::channel();
        self.orders.send((command, done)).expect("the accept task lives as long as the door");
        wait.await.expect("the accept task answers every order");
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run<S, F>(
    listener: TcpListener,
    addr: SocketAddr,
    send_buffer: Option<u32>,
    mut serve: S,
    mut orders: mpsc::UnboundedReceiver<Order>,
) where
    S: FnMut(TcpStream) -> Option<F> + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut listener = Some(listener);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some((command, done)) = order else { return };
                match command {
                    Command::HangUp => tasks.shutdown().await,
                    Command::Shut => {
                        listener = None;
                        tasks.shutdown().await;
                    }
                    Command::Reopen => {
                        listener = Some(listener.take().unwrap_or_else(|| listen(addr, send_buffer)));
                    }
                }
                // Whoever ordered it may have stopped waiting.
                let _ = done.send(());
            }
            Some(_) = tasks.join_next() => {}
            stream = next(listener.as_ref()) => {
                if let Some(serving) = serve(stream) {
                    tasks.spawn(serving);
                }
            }
        }
    }
}

fn listen(addr: SocketAddr, send_buffer: Option<u32>) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_reuseaddr(true).expect("SO_REUSEADDR can be set");
    if let Some(bytes) = send_buffer {
        socket.set_send_buffer_size(bytes).expect("SO_SNDBUF can be set");
    }
    socket.bind(addr).expect("the port is free, or was ours");
    socket.listen(1024).expect("a bound socket listens")
}

async fn next(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A socket that cannot be tuned is a dead one: its task will see.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            // Out of descriptors, or a peer that left while it waited.
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}
