//! One line of a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): for which hosts it is, and which key it names.
//!
//! Invariant: a line matches a host only as OpenSSH would say so. Must not know: files, or what follows from a match.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// Longest line that is read, in bytes: a key of RSA with 16384 bits takes 3 KiB.
pub(crate) const LONGEST_LINE: usize = 64 * 1024;

/// What a key on a line is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// It is the host's own key.
    None,
    /// It signs certificates of hosts.
    CertAuthority,
    /// It must not be accepted, for the host or as an authority.
    Revoked,
}

/// A line that names a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) marker: Marker,
    hosts: Hosts,
    /// Type of the key, such as `ssh-ed25519`.
    pub(crate) kind: Box<str>,
    /// The key as it goes over the wire.
    pub(crate) key: Box<[u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Patterns(Box<[Pattern]>),
    Hashed { salt: Box<[u8]>, hash: Box<[u8]> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: Box<str>,
    negated: bool,
}

/// A line that cannot be read, and whether it may have taken back a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) revokes: bool,
}

impl Line {
    /// `None` for an empty line and a comment.
    pub(crate) fn parse(line: &[u8]) -> Option<Result<Self, Unreadable>> {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            return None;
        }
        let revokes = line.starts_with(b"@revoked");
        Some(Self::read(line).ok_or(Unreadable { revokes }))
    }

    fn read(line: &[u8]) -> Option<Self> {
        if line.len() > LONGEST_LINE {
            return None;
        }
        let mut words = str::from_utf8(line).ok()?.split_ascii_whitespace();
        let mut hosts = words.next()?;
        let marker = match hosts {
            "@cert-authority" => Marker::CertAuthority,
            "@revoked" => Marker::Revoked,
            _ if hosts.starts_with('@') => return None,
            _ => Marker::None,
        };
        if marker != Marker::None {
            hosts = words.next()?;
        }
        let (kind, key) = (words.next()?, STANDARD.decode(words.next()?).ok()?);
        // The key says itself of which type it is.
        let (length, named) = key.split_first_chunk::<4>()?;
        if named.get(..u32::from_be_bytes(*length) as usize)? != kind.as_bytes() {
            return None;
        }
        Some(Self { marker, hosts: Hosts::parse(hosts)?, kind: kind.into(), key: key.into() })
    }

    /// Is it for this host? `name` is what [`name_of`] makes.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match &self.hosts {
            Hosts::Patterns(patterns) => {
                let matching = || patterns.iter().filter(|pattern| is_match(&pattern.text, name));
                matching().next().is_some() && !matching().any(|pattern| pattern.negated)
            }
            Hosts::Hashed { salt, hash } => hashed(salt, name).is_some_and(|own| own == **hash),
        }
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("|1|") {
            let (salt, hash) = rest.split_once('|')?;
            let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
            return (hash.len() == 20).then(|| Self::Hashed { salt: salt.into(), hash: hash.into() });
        }
        // Another method of hashing, some day.
        if text.starts_with('|') {
            return None;
        }
        let patterns = text.split(',').filter(|pattern| !pattern.is_empty()).map(|pattern| {
            let plain = pattern.strip_prefix('!');
            Pattern { text: plain.unwrap_or(pattern).to_ascii_lowercase().into(), negated: plain.is_some() }
        });
        Some(Self::Patterns(patterns.collect()))
    }
}

/// A host as these files name it: `host`, or `[host]:port` where the port is not 22.
pub(crate) fn name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// The line that makes a key known, with its end.
pub(crate) fn line_for(name: &str, kind: &str, key: &[u8]) -> String {
    format!("{name} {kind} {}\n", STANDARD.encode(key))
}

fn hashed(salt: &[u8], name: &str) -> Option<[u8; 20]> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

/// `*` stands for any characters, `?` for one. Takes time in proportion to both lengths multiplied, at most.
pub(crate) fn is_match(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut in_name) = (0, 0);
    // Behind the last star, and how much of the name it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, in_name));
            }
            Some(&byte) if byte == b'?' || byte == name[in_name] => (at, in_name) = (at + 1, in_name + 1),
            _ => {
                let Some((behind, taken)) = star else { return false };
                (at, in_name) = (behind, taken + 1);
                star = Some((behind, taken + 1));
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1aWxkIHlvdXIgb3duIGtleXMgb2YgMzIgYnl0ZXM=";

    fn line(hosts: &str) -> Line {
        Line::parse(format!("{hosts} {KEY} a comment").as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn patterns_match_as_openssh_says() {
        for (hosts, name, port, expected) in [
            ("h.example", "H.Example", 22, true),
            ("h.example", "h.example", 2222, false),
            ("[h.example]:2222", "h.example", 2222, true),
            ("a,H.example", "h.example", 22, true),
            ("*.example", "h.example", 22, true),
            ("*.example", "example", 22, false),
            ("*.example,!h.example", "h.example", 22, false),
            ("!h.example,*.example", "g.example", 22, true),
            ("!h.example", "g.example", 22, false),
            ("h?", "h1", 22, true),
            ("h?", "h", 22, false),
            ("*", "::1", 22, true),
            ("[*.example]:*", "h.example", 77, true),
            (",,", "h", 22, false),
        ] {
            assert_eq!(line(hosts).matches(&name_of(name, port)), expected, "{hosts} {name} {port}");
        }
    }

    /// Made by `ssh-keygen -H`.
    #[test]
    fn hashed_names() {
        let salt = b"twenty bytes of salt";
        for (name, port) in [("h.example", 22), ("h.example", 2022)] {
            let name = name_of(name, port);
            let hash = STANDARD.encode(hashed(salt, &name).unwrap());
            let hosts = format!("|1|{}|{hash}", STANDARD.encode(salt));
            assert!(line(&hosts).matches(&name) && !line(&hosts).matches("h.example.org"));
        }
    }

    #[test]
    fn markers_and_what_is_no_line() {
        assert_eq!(line("@cert-authority *").marker, Marker::CertAuthority);
        assert_eq!(line("@revoked h").marker, Marker::Revoked);
        for nothing in ["", "  \t", "# h ssh-ed25519 AAAA"] {
            assert_eq!(Line::parse(nothing.as_bytes()), None);
        }
        for (bad, revokes) in [
            ("h".to_owned(), false),
            ("h ssh-ed25519".to_owned(), false),
            ("h ssh-ed25519 %%%".to_owned(), false),
            (format!("h {}", KEY.replacen("ssh-ed25519", "ssh-rsa", 1)), false),
            (format!("|2|x|y {KEY}"), false),
            (format!("|1|x {KEY}"), false),
            (format!("@other h {KEY}"), false),
            ("@revoked * ssh-ed25519 AAAA".to_owned(), true),
        ] {
            assert_eq!(Line::parse(bad.as_bytes()), Some(Err(Unreadable { revokes })), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_added_is_found_again(host in "[a-z0-9.:-]{1,20}", port: u16, key in proptest::collection::vec(any::<u8>(), 0..64)) {
            let kind = "ssh-ed25519";
            let key = [&(kind.len() as u32).to_be_bytes()[..], kind.as_bytes(), &key].concat();
            let name = name_of(&host, port);
            let read = Line::parse(line_for(&name, kind, &key).as_bytes()).unwrap().unwrap();
            prop_assert!(read.matches(&name) && *read.key == *key && *read.kind == *kind);
        }

        #[test]
        fn a_pattern_of_stars_and_the_name_itself_matches(name in "[a-c.]{0,12}", at in 0..12_usize) {
            let at = at.min(name.len());
            prop_assert!(is_match(&name, &name));
            let cut = format!("{}*{}", &name[..at], &name[at..]);
            let around = format!("*{name}**");
            prop_assert!(is_match(&cut, &name) && is_match(&around, &name));
        }
    }
}
