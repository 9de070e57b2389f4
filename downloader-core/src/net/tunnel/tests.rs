//! `CONNECT` against replies from memory, cut anywhere, and against a server that sends byte by byte.

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::io::{duplex, join};

use super::*;

const OK: &[u8] = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";

/// The result, what was sent, and what of the reply was left unread.
fn run<'a>(tunnel: Tunnel<'_>, reply: &'a [u8]) -> (Result<()>, String, &'a [u8]) {
    let mut stream = join(reply, Vec::new());
    let result = tunnel.open(&mut stream).now_or_never().expect("memory never waits");
    let (rest, sent) = stream.into_inner();
    (result, String::from_utf8(sent).unwrap(), rest)
}

#[track_caller]
fn error(reply: &[u8]) -> Error {
    run(Tunnel::to("h", 1), reply).0.unwrap_err()
}

#[test]
fn the_request_is_what_the_standard_says() {
    let (result, sent, _) = run(Tunnel::to("h.example", 443), OK);
    result.unwrap();
    assert_eq!(sent, "CONNECT h.example:443 HTTP/1.1\r\nHost: h.example:443\r\n\r\n");
    let full = Tunnel::to("[2001:db8::1]", 21).authorization(Some("Basic eDp5")).user_agent(Some("a b/1"));
    assert_eq!(
        run(full, OK).1,
        "CONNECT [2001:db8::1]:21 HTTP/1.1\r\nHost: [2001:db8::1]:21\r\nProxy-Authorization: Basic eDp5\r\n\
         User-Agent: a b/1\r\n\r\n"
    );
    assert_eq!(format!("{full:?}"), "Tunnel([2001:db8::1]:21)");
}

#[test]
fn nothing_is_sent_that_could_be_read_as_something_else() {
    for host in ["", "a b", "a\r\nX: y", "u@h", "h/x", "h?x", "b\u{fc}cher"] {
        let (result, sent, _) = run(Tunnel::to(host, 1), OK);
        assert_eq!((result.unwrap_err().kind(), sent.as_str()), (ErrorKind::Unsupported, ""), "{host}");
    }
    for value in ["a\r\nX: y", "\0", "\u{fc}"] {
        let to = Tunnel::to("h", 1);
        for tunnel in [to.authorization(Some(value)), to.user_agent(Some(value))] {
            let (result, sent, _) = run(tunnel, OK);
            let error = result.unwrap_err();
            assert_eq!((error.kind(), sent.as_str()), (ErrorKind::Input, ""));
            assert!(!error.to_string().contains(value), "{error}");
        }
    }
}

#[test]
fn what_follows_the_head_is_left_to_the_far_side() {
    for head in [
        OK,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 299 \n\n",
        b"HTTP/1.1 200 OK\nContent-Length: 9\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        for rest in [&b""[..], b"220 ready\r\n", b"\r\n\r\n", b"HTTP/1.1 403 no\r\n\r\n"] {
            let reply = [head, rest].concat();
            let (result, _, left) = run(Tunnel::to("h", 1), &reply);
            assert!(result.is_ok() && left == rest, "{}", String::from_utf8_lossy(&reply));
        }
    }
}

/// pulp G5, as far as the way through a proxy goes.
#[test]
fn a_proxy_that_wants_credentials_says_which() {
    let reply = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n\
        proxy-authenticate:\tBasic realm=\"<x>\"\r\nProxy-Authenticate: <script>\r\n\r\n";
    let refused = error(reply);
    assert_eq!(refused.kind(), ErrorKind::ProxyUnauthorized);
    assert_eq!(refused.what(), "the proxy wants credentials: status 407; it takes NTLM, Basic");
    assert_eq!(refused.status(), Some(407));
    assert!(!refused.is_transient());
    let known = Tunnel::to("h", 1).authorization(Some("Basic czNjcmV0"));
    let bare = run(known, b"HTTP/1.1 407 x\r\n\r\n").0.unwrap_err();
    assert_eq!(bare.what(), "the proxy refuses the credentials: status 407");
}

#[test]
fn a_proxy_that_refuses_is_a_failure_of_the_proxy() {
    for status in [300, 403, 404, 405, 429, 500, 502, 503, 504, 999] {
        let refused = error(format!("HTTP/1.1 {status} no\r\n\r\n").as_bytes());
        assert_eq!((refused.kind(), refused.status()), (ErrorKind::Proxy, Some(status)));
        assert_eq!(refused.what(), format!("the proxy refuses the connection: status {status}"));
    }
}

#[test]
fn garbage_is_known_at_once() {
    for (reply, read) in [
        (&b"SSH-2.0-x\r\n"[..], 1),
        (b"HTTP/2 200\r\n\r\n", 6),
        (b"\x05\x00", 1),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", 1),
    ] {
        let (result, _, rest) = run(Tunnel::to("h", 1), reply);
        assert_eq!(result.unwrap_err().to_string(), "proxy: the proxy's reply is not HTTP/1");
        assert_eq!(reply.len() - rest.len(), read);
    }
    for line in [
        "HTTP/1.1  200",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 099",
        "HTTP/1.1 +20",
        "HTTP/1.x 200",
        "HTTP/1.1 101",
    ] {
        let malformed = error(format!("{line}\r\n\r\n").as_bytes());
        assert_eq!(malformed.to_string(), "proxy: the proxy's reply is not HTTP/1", "{line}");
    }
}

#[test]
fn a_head_has_a_longest() {
    let mut reply = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    reply.resize(MAX_HEAD - 4, b'a');
    reply.extend(b"\r\n\r\n");
    assert!(run(Tunnel::to("h", 1), &reply).0.is_ok());
    reply.insert(30, b'a');
    let (result, _, rest) = run(Tunnel::to("h", 1), &reply);
    assert_eq!(result.unwrap_err().what(), "the head of the proxy's reply is longer than 16384 bytes");
    assert_eq!(rest.len(), 1);
    let interim = b"HTTP/1.1 100 \n\n".repeat(MAX_HEAD);
    assert_eq!(error(&interim).kind(), ErrorKind::Proxy);
}

#[test]
fn a_reply_cut_anywhere_is_a_failure_of_the_proxy() {
    for end in 0..OK.len() {
        let cut = error(&OK[..end]);
        assert_eq!(cut.to_string(), "proxy: the proxy broke the connection before it stood", "at {end}");
    }
}

#[tokio::test]
async fn a_proxy_may_take_and_send_byte_by_byte() {
    let (mut client, mut server) = duplex(1);
    let proxy = tokio::spawn(async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(server.read_u8().await.unwrap());
        }
        server.write_all(OK).await.unwrap();
        server.write_all(b"220 ready\r\n").await.unwrap();
        String::from_utf8(request).unwrap()
    });
    Tunnel::to("h", 21).open(&mut client).await.unwrap();
    let mut banner = [0; 11];
    client.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"220 ready\r\n");
    assert_eq!(proxy.await.unwrap(), "CONNECT h:21 HTTP/1.1\r\nHost: h:21\r\n\r\n");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_read_on(
        junk: Vec<u8>,
        text in "HTTP/1\\.[01] [0-9 ]{0,4}[a-z:\r\n ]{0,40}",
        rest: Vec<u8>,
    ) {
        for reply in [&junk[..], text.as_bytes()] {
            let (alone, _, left) = run(Tunnel::to("h", 1), reply);
            if alone.is_ok() {
                let longer = [reply, &rest].concat();
                let (result, _, more_left) = run(Tunnel::to("h", 1), &longer);
                prop_assert!(result.is_ok());
                prop_assert_eq!(more_left.len(), left.len() + rest.len());
            }
        }
    }
}
