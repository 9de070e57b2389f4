//! SOCKS5 against replies from memory, cut anywhere, and against a server that sends byte by byte.

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::io::{duplex, join};

use super::*;
use crate::net::proxy::Proxy;

const NO_LOGIN: &[u8] = &[5, 0];
const LOGIN: &[u8] = &[5, 2, 1, 0];
const DONE: &[u8] = &[5, 0, 0, 1, 192, 0, 2, 1, 0, 80];

fn proxy(user: &[u8], password: &[u8]) -> Proxy {
    Proxy::parse("socks5://h").unwrap().with_credentials(user, password).unwrap()
}

/// The result, what was sent, and what of the reply was left unread.
fn run<'a>(socks: Socks<'_>, reply: &'a [u8]) -> (Result<()>, Vec<u8>, &'a [u8]) {
    let mut stream = join(reply, Vec::new());
    let result = socks.open(&mut stream).now_or_never().expect("memory never waits");
    let (rest, sent) = stream.into_inner();
    (result, sent, rest)
}

#[track_caller]
fn error(socks: Socks<'_>, reply: &[&[u8]]) -> Error {
    run(socks, &reply.concat()).0.unwrap_err()
}

#[test]
fn hosts_of_every_kind_as_the_standard_writes_them() {
    let v6 = [&[5, 1, 0, 4, 0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1, 1, 187]].concat();
    let longest = "a".repeat(255);
    let named = [&[5, 1, 0, 3, 255][..], longest.as_bytes(), &[0, 80]].concat();
    for (host, port, request) in [
        ("192.0.2.7", 80, vec![5, 1, 0, 1, 192, 0, 2, 7, 0, 80]),
        ("[2001:db8::1]", 443, v6.clone()),
        ("2001:db8::1", 443, v6),
        ("h.ex", 65535, [&[5, 1, 0, 3, 4][..], b"h.ex", &[255, 255]].concat()),
        (&longest, 80, named),
    ] {
        let reply = [NO_LOGIN, DONE].concat();
        let (result, sent, rest) = run(Socks::to(host, port), &reply);
        assert!(result.is_ok() && rest.is_empty(), "{host}");
        assert_eq!(sent, [&[5, 1, 0][..], &request].concat(), "{host}");
    }
    for host in ["", &"a".repeat(256)] {
        let (result, sent, _) = run(Socks::to(host, 1), NO_LOGIN);
        assert_eq!((result.unwrap_err().kind(), sent.len()), (ErrorKind::Unsupported, 0));
    }
    assert_eq!(format!("{:?}", Socks::to("::1", 1)), "Socks([::1]:1)");
}

#[test]
fn credentials_are_sent_if_the_proxy_asks() {
    let proxy = proxy(b"me", b"p\xff");
    let socks = Socks::to("h", 1).credentials(proxy.credentials());
    let (result, sent, _) = run(socks, &[LOGIN, DONE].concat());
    result.unwrap();
    assert_eq!(sent, b"\x05\x02\0\x02\x01\x02me\x02p\xff\x05\x01\0\x03\x01h\0\x01");
    let (result, sent, _) = run(socks, &[NO_LOGIN, DONE].concat());
    result.unwrap();
    assert_eq!(sent, b"\x05\x02\0\x02\x05\x01\0\x03\x01h\0\x01");
    // Some servers put the version of SOCKS there.
    assert!(run(socks, &[&[5, 2, 5, 0], DONE].concat()).0.is_ok());
    // Credentials that were made for HTTP may not fit.
    let long = Proxy::parse("http://h").unwrap().with_credentials("", "x").unwrap();
    let (result, sent, _) = run(Socks::to("h", 1).credentials(long.credentials()), LOGIN);
    assert_eq!((result.unwrap_err().kind(), sent.len()), (ErrorKind::Input, 0));
}

#[test]
fn what_the_proxy_wants_of_us_is_told() {
    let (anonymous, proxy) = (Socks::to("h", 1), proxy(b"me", b"s3cret"));
    let known = anonymous.credentials(proxy.credentials());
    for (socks, reply, what) in [
        (anonymous, &[5, 0xff][..], "the proxy wants credentials"),
        (known, &[5, 0xff], "the proxy takes neither a password nor none"),
        (known, &[5, 2, 1, 1], "the proxy refuses the credentials"),
    ] {
        let refused = error(socks, &[reply]);
        assert_eq!((refused.kind(), refused.what()), (ErrorKind::ProxyUnauthorized, what));
        assert!(!refused.is_transient());
    }
}

#[test]
fn reply_codes_in_words() {
    let reached = "the proxy could not reach the host: ";
    for (code, what) in [
        (1, format!("{reached}general failure")),
        (2, "the rules of the proxy forbid the connection".to_owned()),
        (3, format!("{reached}network unreachable")),
        (4, format!("{reached}host unreachable")),
        (5, format!("{reached}connection refused")),
        (6, format!("{reached}TTL expired")),
        (7, "the proxy makes no outgoing connections".to_owned()),
        (8, "the proxy does not take this type of address".to_owned()),
        (9, format!("{reached}unknown reply code 9")),
        (255, format!("{reached}unknown reply code 255")),
    ] {
        // Some servers close right behind the code.
        let refused = error(Socks::to("h", 1), &[NO_LOGIN, &[5, code]]);
        assert_eq!((refused.kind(), refused.what()), (ErrorKind::Proxy, &*what));
    }
}

#[test]
fn malformed_replies_are_the_proxys_fault() {
    let proxy = proxy(b"me", b"x");
    let known = Socks::to("h", 1).credentials(proxy.credentials());
    for (socks, reply, what) in [
        (known, &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "it does not speak SOCKS5"),
        (known, &[4, 0], "it does not speak SOCKS5"),
        (known, &[5, 1], "a method that was not offered"),
        (Socks::to("h", 1), &[5, 2], "a method that was not offered"),
        (known, &[5, 0, 4, 90], "it does not speak SOCKS5"),
        (known, &[5, 0, 5, 0, 0, 2], "an address of unknown type"),
    ] {
        let malformed = error(socks, &[reply]);
        assert_eq!(malformed.to_string(), format!("proxy: the proxy's reply is malformed: {what}"));
    }
}

/// Every form of a good reply.
fn replies() -> Vec<Vec<u8>> {
    let named = |length: u8| [&[5, 0, 0, 3, length][..], &vec![b'a'; length.into()], &[1, 2]].concat();
    let bound = [DONE.to_vec(), [&[5, 0, 0, 4][..], &[7; 18]].concat(), named(0), named(1), named(255)];
    let both = bound.iter().flat_map(|bound| [[NO_LOGIN, bound].concat(), [LOGIN, bound].concat()]);
    both.collect()
}

#[test]
fn what_follows_the_reply_is_left_to_the_far_side() {
    let proxy = proxy(b"me", b"x");
    for mut reply in replies() {
        reply.extend(b"220 ready\r\n");
        let (result, _, rest) = run(Socks::to("h", 1).credentials(proxy.credentials()), &reply);
        assert!(result.is_ok() && rest == b"220 ready\r\n", "{reply:?}");
    }
}

#[test]
fn a_reply_cut_anywhere_is_a_failure_of_the_proxy() {
    let proxy = proxy(b"me", b"x");
    for reply in replies() {
        for end in 0..reply.len() {
            let cut = error(Socks::to("h", 1).credentials(proxy.credentials()), &[&reply[..end]]);
            assert_eq!(
                cut.to_string(),
                "proxy: the proxy broke the connection before it stood",
                "{end}: {reply:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_proxy_may_take_and_send_byte_by_byte() {
    let (mut client, mut server) = duplex(1);
    let served = tokio::spawn(async move {
        let mut seen = Vec::new();
        for (asked, answer) in [(4, &[5, 2][..]), (7, &[1, 0]), (8, DONE), (0, b"220 ready\r\n")] {
            let mut bytes = vec![0; asked];
            server.read_exact(&mut bytes).await.unwrap();
            seen.extend(bytes);
            server.write_all(answer).await.unwrap();
        }
        seen
    });
    let proxy = proxy(b"me", b"pw");
    Socks::to("h", 21).credentials(proxy.credentials()).open(&mut client).await.unwrap();
    let mut banner = [0; 11];
    client.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"220 ready\r\n");
    assert_eq!(served.await.unwrap(), b"\x05\x02\0\x02\x01\x02me\x02pw\x05\x01\0\x03\x01h\0\x15");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_read_on(start in 0usize..3, junk: Vec<u8>, rest: Vec<u8>) {
        let proxy = proxy(b"me", b"x");
        let socks = Socks::to("h", 1).credentials(proxy.credentials());
        let reply = [[&[][..], NO_LOGIN, LOGIN][start], &junk].concat();
        let (alone, _, left) = run(socks, &reply);
        if alone.is_ok() {
            let longer = [&reply[..], &rest].concat();
            let (result, _, more_left) = run(socks, &longer);
            prop_assert!(result.is_ok());
            prop_assert_eq!(more_left.len(), left.len() + rest.len());
        }
    }

    #[test]
    fn any_request_reads_back_as_what_was_asked(
        user in proptest::collection::vec(any::<u8>(), 1..=255),
        password in proptest::collection::vec(any::<u8>(), 0..=255),
        host in "[a-z]{1,255}|([0-9]{1,2}\\.){3}[0-9]{1,2}|[a-f0-9]{1,4}::[a-f0-9]{1,4}",
        port: u16,
    ) {
        let proxy = proxy(&user, &password);
        let socks = Socks::to(&host, port).credentials(proxy.credentials());
        let (result, sent, _) = run(socks, &[LOGIN, DONE].concat());
        prop_assert!(result.is_ok());
        let sent = sent.strip_prefix(&[5, 2, 0, 2, 1]).unwrap();
        let (told, sent) = (&sent[1..=usize::from(sent[0])], &sent[1 + usize::from(sent[0])..]);
        prop_assert_eq!(told, &user);
        let (told, sent) = (&sent[1..=usize::from(sent[0])], &sent[1 + usize::from(sent[0])..]);
        prop_assert_eq!(told, &password);
        let (head, sent) = sent.split_at(4);
        let (address, told) = match head {
            [5, 1, 0, 1] => (IpAddr::from(<[u8; 4]>::try_from(&sent[..4]).unwrap()).to_string(), &sent[4..]),
            [5, 1, 0, 4] => (IpAddr::from(<[u8; 16]>::try_from(&sent[..16]).unwrap()).to_string(), &sent[16..]),
            [5, 1, 0, 3] => {
                let (name, told) = sent[1..].split_at(sent[0].into());
                (String::from_utf8(name.to_vec()).unwrap(), told)
            }
            _ => panic!("{head:?}"),
        };
        let host = host.parse::<IpAddr>().map_or(host, |address| address.to_string());
        prop_assert_eq!((address, told), (host, &port.to_be_bytes()[..]));
    }
}
