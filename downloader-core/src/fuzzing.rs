//! The bodies of the fuzz targets of this crate (`tests/fuzz`), which are property tests too.
//!
//! Owns what must hold whatever bytes come. Invariant: a body fails by panicking and never otherwise. Must not know: who
//! makes the bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tokio::io;

use crate::checksums::{ChecksumLine, Checksums};
use crate::credentials::Netrc;
use crate::listing::{EntryDecoder, EntryEncoder, ListingParser, Pattern};
use crate::net::tunnel::MAX_HEAD;
use crate::net::{Guard, NoProxy, ProxyCredentials, Socks, Tunnel};
use crate::retry::{Stop, Wait};
use crate::sources::expires;
use crate::url::SafeUrl;

/// What no output may show.
const SECRET: &str = "ng7kWq2x";

/// Parameters of a link: a time, if any, that a clock can hold, the earliest of all; the URL never shown.
pub fn expiry(data: &[u8]) {
    let Ok(query) = str::from_utf8(data) else { return };
    let parse = |query: &str| SafeUrl::parse(&format!("https://u:{SECRET}@h.example/f?x={SECRET}&{query}"));
    let Ok(url) = parse(query) else { return };
    let shown = format!("{url} {url:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    let Some(until) = expires(&url) else { return };
    assert!(until > SystemTime::UNIX_EPOCH, "{query:?}");
    // One more that says so can make it earlier only.
    if !query.contains('#')
        && let Ok(more) = parse(&format!("e=1500000000&{query}"))
    {
        assert!(expires(&more).is_some_and(|more| more <= until), "{query:?}");
    }
}

/// A host in any notation: to the guard it is what it is to whoever connects.
pub fn host(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (near, far) = (address([127, 0, 0, 1]), address([8, 8, 8, 8]));
    // A host that is named is met again under the same notation; a pattern of several names is not a host.
    if !text.starts_with("*.") {
        if let Ok(guard) = Guard::nothing().allow_host(text) {
            assert!(guard.check_address(text, near).is_ok(), "{text:?}");
        }
        if let Ok(guard) = Guard::any().deny_host(text) {
            assert!(guard.check_address(text, far).is_err(), "{text:?}");
        }
    }
    let Ok(url) = SafeUrl::parse(&format!("http://{text}/")) else { return };
    let public = Guard::public();
    let checked = public.check_url(&url);
    // What is connected to is what the URL's parser made of it.
    let connected: Option<IpAddr> = match url.expose().host() {
        Some(url::Host::Ipv4(ip)) => Some(ip.into()),
        Some(url::Host::Ipv6(ip)) => Some(ip.into()),
        _ => None,
    };
    if let Some(ip) = connected {
        let own = url.host().unwrap_or_default();
        let at = SocketAddr::new(ip, 80);
        assert_eq!(checked.is_ok(), public.check_address(own, at).is_ok(), "{text:?} is {ip}");
        assert!(
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast()) || checked.is_err(),
            "{text:?}"
        );
    }
}

/// A list of digests: what is named is found again, and named the same by a line written anew.
pub fn checksums(data: &[u8]) {
    for list in ["SHA256SUMS", "a.b3", "a"] {
        let Ok(read) = Checksums::parse(data, list) else { continue };
        assert!(!read.lines().is_empty());
        for line in read.lines() {
            assert_eq!(line.hex.len(), 2 * line.algorithm.length());
            let Some(name) = &line.name else { continue };
            let found = read.of(name);
            assert!(found.is_err() || found.is_ok_and(|digests| !digests.is_empty()), "{name:?}");
            let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
            let again = ChecksumLine::parse(&format!("\\{}  {escaped}", line.hex), Some(line.algorithm));
            let again = again.map(|line| (line.name, line.algorithm, line.hex));
            assert_eq!(again, Some((Some(name.clone()), line.algorithm, line.hex.clone())), "{name:?}");
        }
    }
}

/// A `.netrc`: whatever it holds, neither an error nor `Debug` repeats a word of it; and what is written is found.
pub fn netrc(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let with =
        format!("machine h.example login u password {SECRET}\n{text}\nmachine {SECRET} password {SECRET}");
    for text in [&*text, &with] {
        match Netrc::parse(text) {
            Ok(netrc) => {
                let shown = format!("{netrc:?}");
                assert!(shown.starts_with("Netrc(") && !shown.contains(SECRET), "{shown}");
            }
            Err(error) => {
                let shown = format!("{error} {error:?}");
                assert!(error.what().starts_with("netrc: ") && !shown.contains(SECRET), "{shown}");
            }
        }
    }
}

/// A list of hosts without a proxy: said twice it means the same, and its errors do not repeat it.
pub fn no_proxy(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (once, twice) = (NoProxy::parse(text), NoProxy::parse(&format!("{text},{text}")));
    let Ok(once) = once else {
        assert!(twice.is_err(), "{text:?}");
        return;
    };
    // Twice as long it may be too long.
    let Ok(twice) = twice else { return };
    for host in ["example.org", "a.example.org", "127.0.0.1", "::1", "[::1]", "10.1.2.3", "localhost", text] {
        for port in [None, Some(80), Some(8080)] {
            assert_eq!(once.contains(host, port), twice.contains(host, port), "{host:?} in {text:?}");
            assert!(!once.contains(host, None) || once.contains(host, port), "{host:?} in {text:?}");
        }
    }
    assert!(!once.is_empty() || !once.contains("example.org", Some(80)));
    let error = NoProxy::parse(&format!("{text} {SECRET}:{SECRET}"));
    assert!(error.is_err_and(|error| !format!("{error} {error:?}").contains(SECRET)));
}

/// What a proxy answers to `CONNECT`: of what follows the head not one byte is read.
pub fn tunnel_reply(data: &[u8]) {
    let mut rest = data;
    let opened = {
        let mut stream = io::join(&mut rest, io::sink());
        Tunnel::to("h.example", 443).authorization(Some(SECRET)).open(&mut stream).now_or_never()
    };
    let outcome = opened.expect("bytes that are there are not waited for");
    let head = &data[..data.len() - rest.len()];
    assert!(head.len() <= MAX_HEAD + 1, "{} bytes", head.len());
    match outcome {
        Ok(()) => {
            assert!(head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n"));
            assert!(head.starts_with(b"HTTP/1."));
        }
        Err(error) => assert!(!format!("{error} {error:?}").contains(SECRET)),
    }
}

/// What a SOCKS5 proxy answers: of what follows its replies not one byte is read.
pub fn socks_reply(data: &[u8]) {
    let proxy: crate::net::Proxy = match format!("socks5h://u:{SECRET}@p.example").parse() {
        Ok(proxy) => proxy,
        Err(error) => panic!("{error}"),
    };
    let credentials: Option<&ProxyCredentials> = proxy.credentials();
    for credentials in [None, credentials] {
        let mut rest = data;
        let opened = {
            let mut stream = io::join(&mut rest, io::sink());
            Socks::to("h.example", 443).credentials(credentials).open(&mut stream).now_or_never()
        };
        let outcome = opened.expect("bytes that are there are not waited for");
        let read = data.len() - rest.len();
        // Method, login, and the reply with the longest name and a port.
        assert!(read <= 2 + 2 + 4 + 1 + 255 + 2, "{read} bytes");
        match outcome {
            Ok(()) => assert_eq!(data.first(), Some(&5)),
            Err(error) => assert!(!format!("{error} {error:?}").contains(SECRET)),
        }
    }
}

/// Lines in the engine's own form: what is read is written the same way again, and one byte at a time is read the same.
pub fn entry_records(data: &[u8]) {
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    let mut decoder = EntryDecoder::new();
    let read = decoder.push(data, &mut whole);
    let end = read.and_then(|()| decoder.finish(&mut whole));
    let mut decoder = EntryDecoder::new();
    let read = data.iter().try_for_each(|byte| decoder.push(&[*byte], &mut parts));
    assert_eq!(end.is_ok(), read.and_then(|()| decoder.finish(&mut parts)).is_ok());
    assert_eq!(whole, parts);
    let mut encoder = EntryEncoder::new();
    whole.iter().for_each(|line| encoder.line(line));
    encoder.end();
    let (mut again, mut decoder) = (Vec::new(), EntryDecoder::new());
    let read = decoder.push(&encoder.take(), &mut again).and_then(|()| decoder.finish(&mut again));
    assert!(read.is_ok() && again == whole, "{whole:?} {again:?}");
}

/// A pattern and, on the second line, a path: whatever matches is found, for no directory above it is left out; and an
/// error names a place within the pattern.
pub fn path_pattern(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (pattern, path) = text.split_once('\n').unwrap_or((text, "a/b.gz"));
    // A slash at its end has nothing below it.
    let path = path.trim_end_matches('/');
    for parsed in [Pattern::glob(pattern), Pattern::remote_files(pattern)] {
        match parsed {
            Ok(parsed) => {
                if parsed.matches(path, false) {
                    for (at, _) in path.match_indices('/') {
                        assert!(parsed.may_match_below(&path[..at]), "{pattern:?} {path:?}");
                    }
                }
            }
            Err(error) => {
                let at =
                    error.what().rsplit_once("at character ").and_then(|(_, at)| at.parse::<usize>().ok());
                assert!(at.is_none_or(|at| at <= pattern.chars().count()), "{pattern:?}: {error}");
            }
        }
    }
}

/// A condition or a wait: what is read prints as what reads back and answers within its bounds; a fault has its place.
pub fn retry_expression(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match (text.parse::<Stop>(), text.parse::<Wait>()) {
        (Ok(_), Ok(_)) => panic!("{text:?} is both"),
        (Ok(stop), Err(_)) => {
            let printed = stop.to_string();
            assert_eq!(printed.parse().as_ref(), Ok(&stop), "{text:?}");
            for attempt in [1, 2, 1000, u32::MAX] {
                // Once met, it stays so.
                let met = stop.is_met(attempt, Duration::from_secs(60), Duration::ZERO);
                assert!(!met || stop.is_met(u32::MAX, Duration::MAX, Duration::MAX), "{text:?}");
            }
        }
        (Err(_), Ok(wait)) => {
            let printed = wait.to_string();
            assert_eq!(printed.parse().as_ref(), Ok(&wait), "{text:?}");
            for attempt in [0, 1, 2, 1000, u32::MAX] {
                let (bounds, drawn) = (wait.bounds(attempt), wait.sample(attempt));
                assert!(bounds.contains(&drawn), "{text:?}: {drawn:?} is not within {bounds:?}");
            }
        }
        (Err(stop), Err(wait)) => {
            for error in [stop, wait] {
                assert!(text.is_char_boundary(error.position()), "{text:?}: {error}");
                assert!(error.to_string().len() < 400, "{error}");
            }
        }
    }
}

fn address(ip: [u8; 4]) -> SocketAddr {
    SocketAddr::from((ip, 80))
}

#[cfg(test)]
#[path = "../../tests/fuzz/mutations.rs"]
mod mutations;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::mutations::inputs;

    proptest! {
        #[test]
        fn checksums(data in inputs("checksums")) {
            super::checksums(&data);
        }

        #[test]
        fn expiry(data in inputs("expiry")) {
            super::expiry(&data);
        }

        #[test]
        fn host(data in inputs("host")) {
            super::host(&data);
        }

        #[test]
        fn netrc(data in inputs("netrc")) {
            super::netrc(&data);
        }

        #[test]
        fn no_proxy(data in inputs("no_proxy")) {
            super::no_proxy(&data);
        }

        #[test]
        fn entry_records(data in inputs("entry_records")) {
            super::entry_records(&data);
        }

        #[test]
        fn path_pattern(data in inputs("path_pattern")) {
            super::path_pattern(&data);
        }

        #[test]
        fn retry_expression(data in inputs("retry_expression")) {
            super::retry_expression(&data);
        }

        #[test]
        fn tunnel_reply(data in inputs("tunnel_reply")) {
            super::tunnel_reply(&data);
        }

        #[test]
        fn socks_reply(data in inputs("socks_reply")) {
            super::socks_reply(&data);
        }
    }
}
