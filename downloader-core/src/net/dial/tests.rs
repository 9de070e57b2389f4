//! Dialing on loopback: addresses that refuse, that are silent, and that answer; and who is asked about them.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::*;
use crate::net::resolve::Pinned;

const HOST: &str = "h.test";

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A loopback network for one test alone, so that no port of it is taken by another's listener or connection.
struct Place([u8; 2]);

impl Place {
    fn new() -> Self {
        static PLACES: AtomicU8 = AtomicU8::new(1);
        // 127.0 is where connections come from.
        let of_this_process = u8::try_from(std::process::id() % 250).unwrap() + 1;
        Self([of_this_process, PLACES.fetch_add(1, Ordering::Relaxed)])
    }

    fn ip(&self, last: u8) -> IpAddr {
        IpAddr::from([127, self.0[0], self.0[1], last])
    }

    fn at(&self, last: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(last), port)
    }

    /// Dials `h.test`, which has these addresses.
    fn dialer(&self, lasts: impl IntoIterator<Item = u8>) -> Dialer {
        let pinned = Pinned::new().pin(HOST, lasts.into_iter().map(|last| self.ip(last)));
        Dialer::new().resolver(Arc::new(pinned))
    }

    /// Accepts connections on this port.
    async fn answering(&self, last: u8, port: u16) -> (TcpListener, u16) {
        let listener = TcpListener::bind(self.at(last, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// Refuses connections on this port while it is held: bound, but not listening.
    fn refusing(&self, last: u8, port: u16) -> (TcpSocket, u16) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(self.at(last, port)).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    }

    /// Does not answer on this port while it is held: its queue of connections is full.
    async fn silent(&self, last: u8, port: u16) -> (Vec<TcpStream>, TcpListener, u16) {
        let listener = self.refusing(last, port).0.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(millis(100), TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
            assert!(queued.len() < 16, "the queue has no end");
        }
        self.until_connecting(address.port(), 0).await;
        (queued, listener, address.port())
    }

    /// Sockets that are about to connect to this port of this network.
    fn connecting(&self, port: u16) -> usize {
        // Fields: number, local address, far address, state; 02 is SYN_SENT. Addresses are in the machine's order.
        let far = |last| u32::from_ne_bytes([127, self.0[0], self.0[1], last]);
        let known: Vec<_> = (1..=9).map(|last| format!("{:08X}:{port:04X}", far(last))).collect();
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let is_one = |line: &&str| {
            let fields: Vec<_> = line.split_whitespace().collect();
            fields[3] == "02" && known.iter().any(|known| known == fields[2])
        };
        table.lines().filter(is_one).count()
    }

    /// Fails the test if it never comes to that number.
    async fn until_connecting(&self, port: u16, count: usize) {
        let watch = async {
            while self.connecting(port) != count {
                sleep(millis(5)).await;
            }
        };
        let ended = timeout(Duration::from_secs(5), watch).await;
        assert!(ended.is_ok(), "{} sockets are connecting, not {count}", self.connecting(port));
    }
}

/// Notes what it was asked, and refuses what it is told to: an address, or any from the n-th question on.
#[derive(Debug, Default)]
struct Guard {
    asked: Mutex<Vec<SocketAddr>>,
    refuses: Vec<IpAddr>,
    answers: Option<usize>,
}

impl Admit for Guard {
    fn admit(&self, host: &str, address: SocketAddr) -> Result<()> {
        assert_eq!(host, HOST);
        let mut asked = self.asked.lock().unwrap();
        asked.push(address);
        if self.refuses.contains(&address.ip()) || self.answers.is_some_and(|answers| asked.len() > answers) {
            return Err(Error::new(ErrorKind::Refused, format!("no way to {address}")));
        }
        Ok(())
    }
}

/// A resolver that must not be asked, or never answers.
#[derive(Debug)]
struct Silence;

#[async_trait]
impl Resolve for Silence {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn an_address_that_refuses_costs_no_time() {
    let place = Place::new();
    let (listener, port) = place.answering(2, 0).await;
    let _refusing = [1, 3, 4, 5].map(|last| place.refusing(last, port));
    let dialed = place.dialer([1, 3, 4, 5, 2]).dial(HOST, port).await.unwrap();
    assert_eq!(dialed.address, place.at(2, port));
    assert!(dialed.connect < STAGGER * 3, "{dialed:?}");
    assert!(dialed.resolve.is_some());
    let (_, from) = listener.accept().await.unwrap();
    assert_eq!(dialed.local, from);
}

#[tokio::test]
async fn a_silent_address_is_overtaken_and_given_up() {
    let place = Place::new();
    let (_queued, _listener, port) = place.silent(1, 0).await;
    let _answering = place.answering(2, port).await;
    let dialed = place.dialer([1, 2]).dial(HOST, port).await.unwrap();
    assert_eq!(dialed.address.ip(), place.ip(2));
    assert!(dialed.connect >= STAGGER && dialed.connect < STAGGER * 20, "{dialed:?}");
    place.until_connecting(port, 0).await;
}

#[tokio::test]
async fn dropping_a_dial_closes_all_its_sockets() {
    let place = Place::new();
    let (_queued, _listener, port) = place.silent(1, 0).await;
    let _second = place.silent(2, port).await;
    let dialer = place.dialer([1, 2]);
    let dialing = tokio::spawn(async move { dialer.dial(HOST, port).await });
    place.until_connecting(port, 2).await;
    dialing.abort();
    assert!(dialing.await.unwrap_err().is_cancelled());
    place.until_connecting(port, 0).await;
}

#[tokio::test]
async fn when_all_refuse_the_error_says_whom_and_how_many() {
    let place = Place::new();
    let (_refusing, port) = place.refusing(1, 0);
    let _other = place.refusing(2, port);
    let error = place.dialer([1, 2]).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(error.to_string(), format!("connection: connecting to h.test:{port}, 2 addresses tried"));
    assert_eq!(error.address(), Some(place.at(2, port)));
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("refused"), "{error:?}");
    let error = place.dialer([1]).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.to_string(), format!("connection: connecting to h.test:{port}"));
}

#[tokio::test]
async fn each_address_has_its_time() {
    let place = Place::new();
    let (_queued, _listener, port) = place.silent(1, 0).await;
    let dialer = place.dialer([1]).connect_timeout(Some(millis(50)));
    let error = dialer.dial(HOST, port).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Connect));
    assert_eq!(
        error.to_string(),
        format!("timeout: connect: connecting to h.test:{port} took longer than 0.05 s")
    );
    assert_eq!(error.address(), Some(place.at(1, port)));
    place.until_connecting(port, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_has_its_time() {
    let start = Instant::now();
    let error = Dialer::new().resolver(Arc::new(Silence)).dial(HOST, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Resolve));
    assert_eq!(error.to_string(), "timeout: resolve: looking up h.test took longer than 10 s");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn a_name_without_an_address_is_told() {
    let place = Place::new();
    #[derive(Debug)]
    struct Nothing;
    #[async_trait]
    impl Resolve for Nothing {
        async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>> {
            Ok(Vec::new())
        }
    }
    let error = Dialer::new().resolver(Arc::new(Nothing)).dial(HOST, 1).await.unwrap_err();
    assert_eq!(error.to_string(), "DNS: the name h.test has no address");
    assert_eq!(place.dialer([]).dial(HOST, 1).await.unwrap_err().kind(), ErrorKind::Dns);
}

#[tokio::test]
async fn an_address_is_not_looked_up() {
    let place = Place::new();
    let dialer = Dialer::new().resolver(Arc::new(Silence));
    let (_listener, port) = place.answering(1, 0).await;
    let dialed = dialer.dial(&place.ip(1).to_string(), port).await.unwrap();
    assert_eq!((dialed.address, dialed.resolve), (place.at(1, port), None));
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for host in ["[::1]", "::1"] {
        assert_eq!(dialer.dial(host, address.port()).await.unwrap().address, address);
    }
}

#[tokio::test]
async fn every_address_is_asked_about_right_before_and_the_peer_again() {
    let place = Place::new();
    let (_listener, port) = place.answering(2, 0).await;
    let _refusing = place.refusing(1, port);
    let guard = Arc::new(Guard::default());
    place.dialer([1, 2, 3]).admit(Some(guard.clone())).dial(HOST, port).await.unwrap();
    let asked: Vec<_> =
        guard.asked.lock().unwrap().iter().map(|address| (address.ip(), address.port())).collect();
    // The third was never connected to.
    assert_eq!(asked, [(place.ip(1), port), (place.ip(2), port), (place.ip(2), port)]);
}

#[tokio::test]
async fn a_forbidden_address_is_passed_over_and_never_connected_to() {
    let place = Place::new();
    let (forbidden, port) = place.answering(1, 0).await;
    let _allowed = place.answering(2, port).await;
    let guard = Arc::new(Guard { refuses: vec![place.ip(1)], ..Guard::default() });
    let dialer = place.dialer([1, 2]).admit(Some(guard));
    let dialed = dialer.dial(HOST, port).await.unwrap();
    assert_eq!(dialed.address.ip(), place.ip(2));
    assert!(timeout(millis(50), forbidden.accept()).await.is_err());
    assert_eq!(dialer.resolve(HOST, 7).await.unwrap(), [place.at(2, 7)]);
}

#[tokio::test]
async fn when_all_are_forbidden_the_error_is_the_refusal() {
    let place = Place::new();
    let guard = Arc::new(Guard { refuses: vec![place.ip(1), place.ip(2)], ..Guard::default() });
    let dialer = place.dialer([1, 2]).admit(Some(guard));
    let refusals = [dialer.dial(HOST, 9).await.unwrap_err(), dialer.resolve(HOST, 9).await.unwrap_err()];
    for error in refusals {
        assert_eq!(error.to_string(), format!("refused by policy: no way to {}", place.at(2, 9)));
        assert_eq!(error.address(), Some(place.at(2, 9)));
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn one_forbidden_and_one_dead_is_a_failure_to_connect() {
    let place = Place::new();
    let (_refusing, port) = place.refusing(2, 0);
    let guard = Arc::new(Guard { refuses: vec![place.ip(1)], ..Guard::default() });
    let error = place.dialer([1, 2]).admit(Some(guard)).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.to_string(), format!("connection: connecting to h.test:{port}, 1 refused by policy"));
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_connection_to_a_forbidden_peer_is_closed() {
    let place = Place::new();
    let (listener, port) = place.answering(1, 0).await;
    let guard = Arc::new(Guard { answers: Some(1), ..Guard::default() });
    let error = place.dialer([1]).admit(Some(guard)).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let (stream, _) = listener.accept().await.unwrap();
    stream.readable().await.unwrap();
    assert_eq!(stream.try_read(&mut [0]).unwrap(), 0, "it should be closed");
}

#[tokio::test]
async fn a_connection_to_itself_is_none() {
    let place = Place::new();
    let (socket, port) = place.refusing(1, 0);
    let itself = socket.connect(place.at(1, port)).await.unwrap();
    let failure = place.dialer([1]).inspect(HOST, place.at(1, port), itself).unwrap_err();
    let error = Failure::verdict(HOST, port, vec![failure]);
    assert_eq!((error.kind(), error.address()), (ErrorKind::Connect, Some(place.at(1, port))));
}

#[tokio::test]
async fn a_local_address_is_connected_from() {
    let place = Place::new();
    let (listener, port) = place.answering(1, 0).await;
    let from = |address: IpAddr| place.dialer([1]).local_address(Some(address));
    let dialed = from(place.ip(9)).dial(HOST, port).await.unwrap();
    assert_eq!(dialed.local.ip(), place.ip(9));
    assert_eq!(listener.accept().await.unwrap().1, dialed.local);
    let error = from(Ipv4Addr::new(198, 51, 100, 1).into()).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.to_string(), "local: binding to the local address 198.51.100.1");
    let error = from("::1".parse().unwrap()).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.to_string(), "unsupported: h.test has no address of the family of the local address");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_interface_is_connected_through() {
    let place = Place::new();
    let (_listener, port) = place.answering(1, 0).await;
    let dialed = place.dialer([1]).interface(Some("lo")).dial(HOST, port).await.unwrap();
    assert_eq!(SockRef::from(&dialed.stream).device().unwrap(), Some(b"lo".to_vec()));
    let error = place.dialer([1]).interface(Some("nosuch0")).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.to_string(), "local: binding to the interface nosuch0");
}

#[tokio::test]
async fn a_socket_has_its_options() {
    let place = Place::new();
    let (_listener, port) = place.answering(1, 0).await;
    let dialed = place.dialer([1]).dial(HOST, port).await.unwrap();
    let socket = SockRef::from(&dialed.stream);
    assert!(dialed.stream.nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(15));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    let dialed = place.dialer([1]).keep_alive(Some(Duration::ZERO)).dial(HOST, port).await.unwrap();
    assert_eq!(SockRef::from(&dialed.stream).tcp_keepalive_time().unwrap(), Duration::from_secs(1));
    let dialed = place.dialer([1]).keep_alive(None).nodelay(false).dial(HOST, port).await.unwrap();
    assert!(!dialed.stream.nodelay().unwrap() && !SockRef::from(&dialed.stream).keepalive().unwrap());
}

#[test]
fn the_most_telling_failure_is_reported() {
    let at = |last| SocketAddr::from(([192, 0, 2, last], 80));
    let refused = || Failure::Refused(Error::new(ErrorKind::Refused, "policy"));
    let io = |last, errno: Errno| Failure::of(at(last), errno.into());
    let late = |last| Failure::TimedOut(at(last), Some(Duration::from_secs(10)));
    let connect = (ErrorKind::Connect, Some(at(1)));
    for (failures, expected) in [
        (vec![io(1, Errno::CONNREFUSED), late(2), io(3, Errno::NETUNREACH), refused()], connect),
        (vec![io(2, Errno::CONNREFUSED), io(1, Errno::CONNRESET)], connect),
        (vec![refused(), io(1, Errno::AFNOSUPPORT)], connect),
        (vec![late(1), io(2, Errno::ADDRNOTAVAIL)], (ErrorKind::Timeout(Phase::Connect), Some(at(1)))),
        (
            vec![io(1, Errno::TIMEDOUT), io(2, Errno::HOSTUNREACH)],
            (ErrorKind::Timeout(Phase::Connect), Some(at(1))),
        ),
        (vec![io(1, Errno::MFILE), io(2, Errno::CONNREFUSED)], (ErrorKind::Local, Some(at(1)))),
        (vec![refused()], (ErrorKind::Refused, None)),
    ] {
        let shown = format!("{failures:?}");
        let error = Failure::verdict("h", 80, failures);
        assert_eq!((error.kind(), error.address()), expected, "{shown}");
    }
    let error = Failure::verdict("::1", 80, vec![refused(), io(1, Errno::TIMEDOUT), late(2), late(3)]);
    assert_eq!(
        error.what(),
        "connecting to [::1]:80 took longer than 10 s, 3 addresses tried, 1 refused by policy"
    );
    let error = Failure::verdict("h", 80, vec![io(1, Errno::TIMEDOUT)]);
    assert_eq!(error.what(), "connecting to h:80 took longer than the system allows");
}
