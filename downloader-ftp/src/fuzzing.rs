//! The bodies of the fuzz targets of this crate (`tests/fuzz`), which are property tests too.
//!
//! Owns what must hold whatever bytes a server sends. Invariant: a body fails by panicking and never otherwise. Must not
//! know: who makes the bytes.

use super::facts::{self, Features};
use super::listing;
use super::options::FtpEncoding;
use super::passive;
use super::reply::{LONGEST_REPLY, Reply};
use super::time;

/// What a server says: the same replies however the bytes come, each within its bounds, and none that is harmful in an
/// error.
pub fn ftp_reply(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((reply, used))) = Reply::read(rest) {
        assert!(used > 0 && used <= LONGEST_REPLY && (100..700).contains(&reply.code));
        // Cut anywhere before its end, it is no reply yet; what follows it changes nothing.
        assert!(rest[..used].ends_with(b"\n"));
        for cut in [used - 1, used / 2] {
            assert!(!matches!(Reply::read(&rest[..cut]), Ok(Some(_))), "{reply:?}");
        }
        let mut more = rest[..used].to_vec();
        more.extend_from_slice(b"226 done\r\n");
        assert!(matches!(Reply::read(&more), Ok(Some((same, length))) if same == reply && length == used));
        let shown = reply.quoted();
        assert!(shown.chars().count() <= 160 && !shown.contains(char::is_control));
        let _ =
            (Features::read(&reply), facts::size(&reply), facts::modified(&reply), facts::directory(&reply));
        rest = &rest[used..];
    }
}

/// Where a server says that it listens: a port, if anything.
pub fn ftp_passive(data: &[u8]) {
    let reply = Reply { code: 227, text: data.to_vec() };
    let _ = passive::extended(&reply);
    if let Some(port) = passive::plain(&reply) {
        let again = format!("({},{},{})", "1,2,3,4", port >> 8, port & 255);
        assert_eq!(passive::plain(&Reply { code: 227, text: again.into_bytes() }), Some(port));
    }
}

/// A time: one of the calendar, or none.
pub fn ftp_time(data: &[u8]) {
    if let Some((time, _)) = time::time_val(data) {
        assert!(time >= time::at(-2_208_988_800).unwrap_or(time), "before 1900");
    }
}

/// A listing: no line is lost or made up, whatever it looks like, and the same bytes in two pieces give the same.
pub fn ftp_listing(data: &[u8]) {
    for mlsd in [false, true] {
        let read = |pieces: [&[u8]; 2]| {
            let (mut parser, mut out) = (listing::parser(mlsd, FtpEncoding::Utf8), Vec::new());
            let read = pieces.iter().try_for_each(|piece| parser.push(piece, &mut out));
            assert!(read.and_then(|()| parser.finish(&mut out)).is_ok());
            out
        };
        let (first, second) = data.split_at(data.len() / 2);
        let whole = read([data, b""]);
        assert_eq!(whole, read([first, second]));
        assert!(whole.len() <= data.iter().filter(|byte| **byte == b'\n').count() + 2);
    }
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
        fn ftp_reply(data in inputs("ftp_reply")) {
            super::ftp_reply(&data);
        }

        #[test]
        fn ftp_passive(data in inputs("ftp_passive")) {
            super::ftp_passive(&data);
        }

        #[test]
        fn ftp_listing(data in inputs("ftp_listing")) {
            super::ftp_listing(&data);
        }

        #[test]
        fn ftp_time(data in inputs("ftp_time")) {
            super::ftp_time(&data);
        }
    }
}
