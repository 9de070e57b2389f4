//! Where a data connection leads: `PASV`, `EPSV`, `PORT`, `EPRT` (RFC 959, 2428).
//!
//! Invariant: of what a server says only the port is read; the address is that of the control connection. Must not know:
//! connections.

use std::net::SocketAddr;

use super::reply::Reply;

/// The port in a reply to `EPSV`: `… (|||6446|)`; the separator is any character but a digit.
pub(crate) fn extended(reply: &Reply) -> Option<u16> {
    let open = reply.text.iter().position(|byte| *byte == b'(')?;
    let inner = &reply.text[open + 1..];
    let bar = *inner.first().filter(|byte| byte.is_ascii_graphic() && !byte.is_ascii_digit())?;
    let mut fields = inner.split(|byte| *byte == bar).skip(1);
    let (_protocol, _address, port) = (fields.next()?, fields.next()?, fields.next()?);
    fields.next()?;
    number(port)
}

/// The port in a reply to `PASV`: six numbers, `h1,h2,h3,h4,p1,p2`, with or without parentheses.
pub(crate) fn plain(reply: &Reply) -> Option<u16> {
    let text = &reply.text;
    for start in 0..text.len() {
        let begins = start == 0 || !(text[start - 1].is_ascii_digit() || text[start - 1] == b',');
        if text[start].is_ascii_digit()
            && begins
            && let Some(port) = six(&text[start..])
        {
            return Some(port);
        }
    }
    None
}

fn six(text: &[u8]) -> Option<u16> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b',').unwrap_or(text.len());
    let mut fields = text[..end].split(|byte| *byte == b',');
    let mut numbers = [0; 6];
    for place in &mut numbers {
        *place = number(fields.next()?).filter(|number| *number <= 255)?;
    }
    let port = numbers[4] << 8 | numbers[5];
    (fields.next().is_none() && port > 0).then_some(port)
}

fn number(digits: &[u8]) -> Option<u16> {
    let valid = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number = valid.then(|| str::from_utf8(digits).ok()?.parse::<u16>().ok()).flatten()?;
    Some(number)
}

/// The argument of `PORT`; `None` for an address of IPv6, which it cannot name.
pub(crate) fn port_argument(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    Some(format!("{a},{b},{c},{d},{high},{low}"))
}

/// The argument of `EPRT`.
pub(crate) fn extended_argument(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { 1 } else { 2 };
    format!("|{family}|{}|{}|", address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        Reply { code: 227, text: text.as_bytes().to_vec() }
    }

    #[test]
    fn ports_as_servers_write_them() {
        assert_eq!(extended(&reply("Entering Extended Passive Mode (|||6446|)")), Some(6446));
        assert_eq!(extended(&reply("ok (!!!65535!)")), Some(65535));
        assert_eq!(extended(&reply("ok (|1|192.0.2.1|21000|)")), Some(21000));
        for bad in ["", "(|||6446", "(|||x|)", "(|||65536|)", "(6446)", "(1111)", "(||6446|)", "(||||)"] {
            assert_eq!(extended(&reply(bad)), None, "{bad}");
        }
        assert_eq!(plain(&reply("Entering Passive Mode (192,168,1,2,19,136).")), Some(5000));
        assert_eq!(plain(&reply("Entering Passive Mode 1,2,3,4,0,21")), Some(21));
        assert_eq!(plain(&reply("=127,0,0,1,255,255")), Some(65535));
        for bad in
            ["", "1,2,3,4,5", "256,0,0,1,1,1", "1,2,3,4,0,0", "1,2,3,4,5,6,7", "1,2,3,4,5,256", "1,,3,4,5,6"]
        {
            assert_eq!(plain(&reply(bad)), None, "{bad}");
        }
    }

    #[test]
    fn where_a_server_is_told_to_connect() {
        let four: SocketAddr = "192.0.2.1:5001".parse().unwrap();
        let six: SocketAddr = "[2001:db8::1]:21".parse().unwrap();
        assert_eq!(port_argument(four).as_deref(), Some("192,0,2,1,19,137"));
        assert_eq!(port_argument(six), None);
        assert_eq!(extended_argument(four), "|1|192.0.2.1|5001|");
        assert_eq!(extended_argument(six), "|2|2001:db8::1|21|");
    }
}
