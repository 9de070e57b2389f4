//! What a server tells of itself (`FEAT`, `PWD`) and of a file (`SIZE`, `MDTM`).
//!
//! Invariant: a number or time that is not plainly one is not told. Must not know: connections.

use std::time::{Duration, SystemTime};

use downloader_core::Entity;

use super::reply::Reply;
use super::time;

/// A file that was not changed for this long is taken for the same if size and time are. A server's clock may be wrong, and
/// some tell their own zone's time where they should tell UTC.
const SETTLED: Duration = Duration::from_secs(26 * 3600);

/// What a server can do, by its own word (RFC 2389).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// It knows `FEAT` at all.
    pub(crate) known: bool,
    pub(crate) mlst: bool,
    pub(crate) utf8: bool,
    pub(crate) rest: bool,
}

impl Features {
    pub(crate) fn read(reply: &Reply) -> Self {
        let mut features = Self { known: reply.is_positive(), ..Self::default() };
        if !features.known {
            return features;
        }
        for line in reply.lines() {
            let line = line.trim_ascii().to_ascii_uppercase();
            let name = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            match name {
                b"MLST" | b"MLSD" => features.mlst = true,
                b"UTF8" => features.utf8 = true,
                b"REST" => features.rest = line.ends_with(b"STREAM"),
                _ => {}
            }
        }
        features
    }
}

/// The size in a reply to `SIZE`.
pub(crate) fn size(reply: &Reply) -> Option<u64> {
    let text = reply.text.trim_ascii();
    let is_number = (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    (reply.code == 213 && is_number).then(|| str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// The time in a reply to `MDTM`.
pub(crate) fn modified(reply: &Reply) -> Option<SystemTime> {
    (reply.code == 213).then(|| time::time_val(reply.text.trim_ascii())).flatten().map(|(time, _)| time)
}

/// What a server tells of a content.
pub(crate) fn entity(size: Option<u64>, modified: Option<SystemTime>) -> Entity {
    let settled =
        modified.is_some_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age >= SETTLED));
    Entity { size, modified, settled, ..Entity::default() }
}

/// The directory in a reply to `PWD`: in quotes, with quotes in it doubled.
pub(crate) fn directory(reply: &Reply) -> Option<Vec<u8>> {
    let open = reply.text.iter().position(|byte| *byte == b'"')?;
    let mut rest = reply.text[open + 1..].iter().copied().peekable();
    let mut path = Vec::new();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' if rest.peek() == Some(&b'"') => {
                rest.next();
                path.push(b'"');
            }
            b'"' => return (!path.is_empty()).then_some(path),
            b'\n' => return None,
            byte => path.push(byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use downloader_core::Splice;

    use super::*;

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, text: text.as_bytes().to_vec() }
    }

    #[test]
    fn features_of_real_servers() {
        let vsftpd = "Features:\n EPRT\n EPSV\n MDTM\n PASV\n REST STREAM\n SIZE\n TVFS\n UTF8\nEnd";
        let features = Features::read(&reply(211, vsftpd));
        assert_eq!(features, Features { known: true, mlst: false, utf8: true, rest: true });
        let proftpd = "Features:\n AUTH TLS\n MLST modify*;perm*;size*;type*;\n utf8\n rest stream\nEnd";
        let features = Features::read(&reply(211, proftpd));
        assert_eq!(features, Features { known: true, mlst: true, utf8: true, rest: true });
        assert_eq!(Features::read(&reply(502, "MLST")), Features::default());
    }

    #[test]
    fn sizes_times_and_directories() {
        assert_eq!(size(&reply(213, "1234")), Some(1234));
        assert_eq!(size(&reply(213, " 0 ")), Some(0));
        for (code, bad) in
            [(550, "12"), (213, ""), (213, "-1"), (213, "12 bytes"), (213, "99999999999999999999")]
        {
            assert_eq!(size(&reply(code, bad)), None, "{bad}");
        }
        assert!(modified(&reply(213, "20231114221320")).is_some());
        assert!(
            modified(&reply(213, "yesterday")).is_none() && modified(&reply(550, "20231114221320")).is_none()
        );
        assert_eq!(directory(&reply(257, "\"/srv/a\" is it")).as_deref(), Some(&b"/srv/a"[..]));
        assert_eq!(directory(&reply(257, "\"/a\"\"b\"")).as_deref(), Some(&b"/a\"b"[..]));
        for bad in ["", "/a", "\"", "\"\"", "\"/a\nb\""] {
            assert_eq!(directory(&reply(257, bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_time_long_ago_proves_identity_and_a_late_one_does_not() {
        let long_ago = time::at(1_700_000_000);
        assert!(entity(Some(1), long_ago).is_strong());
        assert_eq!(entity(Some(1), long_ago).splice(&entity(Some(1), long_ago), true), Splice::Proven);
        let now = Some(SystemTime::now());
        assert!(!entity(Some(1), now).is_strong() && !entity(None, long_ago).is_strong());
    }
}
