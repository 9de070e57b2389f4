//! Dialing on loopback: addresses that refuse, that are silent, and that answer; and who is asked about them.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::*;
use crate::net::resolve::Pinned;

const HOST: &str = "h.test";

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// Dials `h.test`, which has these addresses on loopback.
fn dialer(lasts: impl IntoIterator<Item = u8>) -> Dialer {
    Dialer::new().resolver(Arc::new(Pinned::new().pin(HOST, lasts.into_iter().map(ip))))
}

/// Accepts connections on 127.0.0.`last`.
async fn answering(last: u8) -> (TcpListener, u16) {
    let listener = TcpListener::bind((ip(last), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Refuses connections on this port of 127.0.0.`last` while it is held: bound, but not listening.
fn refusing(last: u8, port: u16) -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(ip(last), port)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// Does not answer on this port of 127.0.0.`last` while it is held: its queue of connections is full.
async fn silent(last: u8, port: u16) -> (Vec<TcpStream>, TcpListener, u16) {
    let listener = refusing(last, port).0.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(millis(100), TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
        assert!(queued.len() < 16, "the queue has no end");
    }
    until_connecting(address.port(), 0).await;
    (queued, listener, address.port())
}

/// Sockets of this machine that are about to connect to this port.
fn connecting(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let is_one = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[2].ends_with(&format!(":{port:04X}")) && fields[3] == "02"
    };
    table.lines().filter(is_one).count()
}

/// Fails the test if it never comes to that number.
async fn until_connecting(port: u16, count: usize) {
    timeout(Duration::from_secs(5), async {
        while connecting(port) != count {
            sleep(millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{} sockets are connecting, not {count}", connecting(port)));
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
            return Err(Error::new(ErrorKind::Refused, format!("no way to {}", address.ip())));
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
    let (listener, port) = answering(2).await;
    let _refusing = refusing(1, port);
    let dialed = dialer([1, 2]).dial(HOST, port).await.unwrap();
    assert_eq!(dialed.address, SocketAddr::new(ip(2), port));
    assert!(dialed.connect < STAGGER, "{dialed:?}");
    assert!(dialed.resolve.is_some());
    let (_, from) = listener.accept().await.unwrap();
    assert_eq!(dialed.local, from);
}

#[tokio::test]
async fn a_silent_address_is_overtaken_and_given_up() {
    let (_queued, _listener, port) = silent(1, 0).await;
    let _answering = TcpListener::bind((ip(2), port)).await.unwrap();
    let dialed = dialer([1, 2]).dial(HOST, port).await.unwrap();
    assert_eq!(dialed.address.ip(), ip(2));
    assert!(dialed.connect >= STAGGER && dialed.connect < STAGGER * 4, "{dialed:?}");
    until_connecting(port, 0).await;
}

#[tokio::test]
async fn dropping_a_dial_closes_all_its_sockets() {
    let (_queued, _listener, port) = silent(1, 0).await;
    let _second = silent(2, port).await;
    let dialing = tokio::spawn(async move { dialer([1, 2]).dial(HOST, port).await });
    until_connecting(port, 2).await;
    dialing.abort();
    assert!(dialing.await.unwrap_err().is_cancelled());
    until_connecting(port, 0).await;
}

#[tokio::test]
async fn when_all_refuse_the_error_says_whom_and_how_many() {
    let (_refusing, port) = refusing(1, 0);
    let _other = refusing(2, port);
    let error = dialer([1, 2]).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(error.to_string(), format!("connection: connecting to h.test:{port}, 2 addresses tried"));
    assert_eq!(error.address(), Some(SocketAddr::new(ip(2), port)));
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("refused"), "{error:?}");
    let error = dialer([1]).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.to_string(), format!("connection: connecting to h.test:{port}"));
}

#[tokio::test]
async fn each_address_has_its_time() {
    let (_queued, _listener, port) = silent(1, 0).await;
    let dialer = dialer([1]).connect_timeout(Some(millis(50)));
    let error = dialer.dial(HOST, port).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Connect));
    assert_eq!(
        error.to_string(),
        format!("timeout: connect: connecting to h.test:{port} took longer than 0.05 s")
    );
    assert_eq!(error.address(), Some(SocketAddr::new(ip(1), port)));
    until_connecting(port, 0).await;
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
    assert_eq!(dialer([]).dial(HOST, 1).await.unwrap_err().kind(), ErrorKind::Dns);
}

#[tokio::test]
async fn an_address_is_not_looked_up() {
    let dialer = Dialer::new().resolver(Arc::new(Silence));
    let (_listener, port) = answering(1).await;
    let dialed = dialer.dial("127.0.0.1", port).await.unwrap();
    assert_eq!((dialed.address, dialed.resolve), (SocketAddr::new(ip(1), port), None));
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for host in ["[::1]", "::1"] {
        assert_eq!(dialer.dial(host, address.port()).await.unwrap().address, address);
    }
}

#[tokio::test]
async fn every_address_is_asked_about_right_before_and_the_peer_again() {
    let (_listener, port) = answering(2).await;
    let _refusing = refusing(1, port);
    let guard = Arc::new(Guard::default());
    dialer([1, 2, 3]).admit(Some(guard.clone())).dial(HOST, port).await.unwrap();
    let asked: Vec<_> =
        guard.asked.lock().unwrap().iter().map(|address| (address.ip(), address.port())).collect();
    // The third was never connected to.
    assert_eq!(asked, [(ip(1), port), (ip(2), port), (ip(2), port)]);
}

#[tokio::test]
async fn a_forbidden_address_is_passed_over_and_never_connected_to() {
    let (forbidden, port) = answering(1).await;
    let _allowed = TcpListener::bind((ip(2), port)).await.unwrap();
    let guard = Arc::new(Guard { refuses: vec![ip(1)], ..Guard::default() });
    let dialer = dialer([1, 2]).admit(Some(guard));
    let dialed = dialer.dial(HOST, port).await.unwrap();
    assert_eq!(dialed.address.ip(), ip(2));
    assert!(dialed.connect < STAGGER, "{dialed:?}");
    assert!(timeout(millis(50), forbidden.accept()).await.is_err());
    assert_eq!(dialer.resolve(HOST, 7).await.unwrap(), [SocketAddr::new(ip(2), 7)]);
}

#[tokio::test]
async fn when_all_are_forbidden_the_error_is_the_refusal() {
    let guard = Arc::new(Guard { refuses: vec![ip(1), ip(2)], ..Guard::default() });
    let dialer = dialer([1, 2]).admit(Some(guard));
    let refusals = [dialer.dial(HOST, 9).await.unwrap_err(), dialer.resolve(HOST, 9).await.unwrap_err()];
    for error in refusals {
        assert_eq!(error.to_string(), "refused by policy: no way to 127.0.0.2");
        assert_eq!(error.address(), Some(SocketAddr::new(ip(2), 9)));
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn one_forbidden_and_one_dead_is_a_failure_to_connect() {
    let (_refusing, port) = refusing(2, 0);
    let guard = Arc::new(Guard { refuses: vec![ip(1)], ..Guard::default() });
    let error = dialer([1, 2]).admit(Some(guard)).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.to_string(), format!("connection: connecting to h.test:{port}, 1 refused by policy"));
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_connection_to_a_forbidden_peer_is_closed() {
    let (listener, port) = answering(1).await;
    let guard = Arc::new(Guard { answers: Some(1), ..Guard::default() });
    let error = dialer([1]).admit(Some(guard)).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let (stream, _) = listener.accept().await.unwrap();
    stream.readable().await.unwrap();
    assert_eq!(stream.try_read(&mut [0]).unwrap(), 0, "it should be closed");
}

#[tokio::test]
async fn a_local_address_is_connected_from() {
    let (listener, port) = answering(1).await;
    let from = |address: IpAddr| dialer([1]).local_address(Some(address));
    let dialed = from(ip(9)).dial(HOST, port).await.unwrap();
    assert_eq!(dialed.local.ip(), ip(9));
    assert_eq!(listener.accept().await.unwrap().1, dialed.local);
    let error = from(Ipv4Addr::new(198, 51, 100, 1).into()).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.to_string(), "local: binding to the local address 198.51.100.1");
    let error = from("::1".parse().unwrap()).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.to_string(), "unsupported: h.test has no address of the family of the local address");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_interface_is_connected_through() {
    let (_listener, port) = answering(1).await;
    let dialed = dialer([1]).interface(Some("lo")).dial(HOST, port).await.unwrap();
    assert_eq!(SockRef::from(&dialed.stream).device().unwrap(), Some(b"lo".to_vec()));
    let error = dialer([1]).interface(Some("nosuch0")).dial(HOST, port).await.unwrap_err();
    assert_eq!(error.to_string(), "local: binding to the interface nosuch0");
}

#[tokio::test]
async fn a_socket_has_its_options() {
    let (_listener, port) = answering(1).await;
    let dialed = dialer([1]).dial(HOST, port).await.unwrap();
    let socket = SockRef::from(&dialed.stream);
    assert!(dialed.stream.nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(15));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    let dialed = dialer([1]).keep_alive(Some(Duration::ZERO)).dial(HOST, port).await.unwrap();
    assert_eq!(SockRef::from(&dialed.stream).tcp_keepalive_time().unwrap(), Duration::from_secs(1));
    let dialed = dialer([1]).keep_alive(None).nodelay(false).dial(HOST, port).await.unwrap();
    assert!(!dialed.stream.nodelay().unwrap() && !SockRef::from(&dialed.stream).keepalive().unwrap());
}

#[test]
fn the_most_telling_failure_is_reported() {
    let at = |last| SocketAddr::new(ip(last), 80);
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
