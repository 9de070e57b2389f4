//! What is known of one host, and what follows for the key that it shows.
//!
//! Invariant: a key is accepted as known only if a file says so; with any key known for a host, every other one is a
//! changed key. Must not know: files, SSH.

use super::line::{Line, Marker, name_of};

/// What the files say of one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    keys: Vec<Line>,
    /// For the host, whatever the port: looked at only if the port has no key of its own.
    portless: Vec<Line>,
    authorities: Vec<Line>,
    revoked: Vec<Line>,
}

/// What is to be thought of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Known,
    /// Nothing is known of the host.
    New,
    /// Another key is known.
    Changed,
    Revoked,
}

impl Known {
    /// Keeps a line if it is for this host.
    pub(crate) fn add(&mut self, line: Line, host: &str, port: u16) {
        if line.matches(&name_of(host, port)) {
            match line.marker {
                Marker::None => self.keys.push(line),
                Marker::CertAuthority => self.authorities.push(line),
                Marker::Revoked => self.revoked.push(line),
            }
        } else if port != 22 && line.matches(&name_of(host, 22)) {
            match line.marker {
                Marker::None => self.portless.push(line),
                Marker::CertAuthority => {}
                // What is taken back for a host is taken back on all its ports.
                Marker::Revoked => self.revoked.push(line),
            }
        }
    }

    pub(crate) fn standing(&self, key: &[u8]) -> Standing {
        let has = |lines: &[Line]| lines.iter().any(|line| *line.key == *key);
        if has(&self.revoked) {
            Standing::Revoked
        } else if has(&self.keys) || (self.keys.is_empty() && has(&self.portless)) {
            Standing::Known
        } else if self.keys.is_empty() {
            Standing::New
        } else {
            Standing::Changed
        }
    }

    /// True when certificates that this key signed are to be believed.
    pub(crate) fn is_authority(&self, key: &[u8]) -> bool {
        self.authorities.iter().any(|line| *line.key == *key) && self.standing(key) != Standing::Revoked
    }

    pub(crate) fn has_authorities(&self) -> bool {
        !self.authorities.is_empty()
    }

    /// Types of the keys that are known, in the order of the files.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &str> {
        let lines = if self.keys.is_empty() { &self.portless } else { &self.keys };
        lines.iter().map(|line| &*line.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATE=";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATI=";

    fn known(text: &str, port: u16) -> Known {
        let mut known = Known::default();
        for line in text.lines() {
            known.add(Line::parse(line.as_bytes()).unwrap().unwrap(), "h", port);
        }
        known
    }

    fn key(text: &str) -> Box<[u8]> {
        Line::parse(format!("h {text}").as_bytes()).unwrap().unwrap().key
    }

    #[test]
    fn a_key_is_known_new_changed_or_revoked() {
        for (text, port, one) in [
            (String::new(), 22, Standing::New),
            (format!("g {ONE}"), 22, Standing::New),
            (format!("h {ONE}"), 22, Standing::Known),
            (format!("h {TWO}\nh {ONE}"), 22, Standing::Known),
            (format!("h {TWO}"), 22, Standing::Changed),
            // A key of the host without a port helps, and never harms.
            (format!("h {ONE}"), 2222, Standing::Known),
            (format!("h {TWO}"), 2222, Standing::New),
            (format!("h {ONE}\n[h]:2222 {TWO}"), 2222, Standing::Changed),
            (format!("[h]:2222 {ONE}"), 22, Standing::New),
            (format!("h {ONE}\n@revoked * {ONE}"), 22, Standing::Revoked),
            (format!("[h]:2222 {ONE}\n@revoked h {ONE}"), 2222, Standing::Revoked),
            // An authority's key is not the host's.
            (format!("@cert-authority h {ONE}"), 22, Standing::New),
        ] {
            assert_eq!(known(&text, port).standing(&key(ONE)), one, "{text} {port}");
        }
    }

    #[test]
    fn authorities_of_a_host_unless_revoked() {
        let both = known(&format!("@cert-authority h {ONE}\n@revoked * {TWO}\n@cert-authority * {TWO}"), 22);
        assert!(both.is_authority(&key(ONE)) && !both.is_authority(&key(TWO)));
        assert!(!known(&format!("h {ONE}"), 22).is_authority(&key(ONE)));
        assert_eq!(known(&format!("h {ONE}"), 2222).kinds().collect::<Vec<_>>(), ["ssh-ed25519"]);
    }
}
