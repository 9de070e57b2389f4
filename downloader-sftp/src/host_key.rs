//! Whether the key that a host shows is the right one.
//!
//! Invariant: a changed or revoked key is refused, whatever the policy; what is accepted is either known, vouched for
//! by a known authority, or new and let in by a policy that says so. Must not know: SSH.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use downloader_core::{Error, ErrorKind, Result};
use sha2::{Digest as _, Sha256};

use crate::known_hosts::KnownHosts;
use crate::known_hosts::known::{Known, Standing};
use crate::known_hosts::line::{is_match, name_of};

/// What to do with a host of which no key is known. A changed key is refused in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum NewHosts {
    /// Refuse it.
    #[default]
    Reject,
    /// Accept it, and forget it.
    Accept,
    /// Accept it, and add its key to the first known_hosts file.
    Add,
}

impl FromStr for NewHosts {
    type Err = Error;

    /// Reads `reject`, `accept` or `add`, in any case.
    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "reject" => Ok(Self::Reject),
            "accept" => Ok(Self::Accept),
            "add" => Ok(Self::Add),
            _ => Err(Error::input("new hosts: expected reject, accept or add")),
        }
    }
}

/// A certificate of a host, as far as it is to be judged; its signature is good.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    /// The key that signed it.
    pub(crate) authority: &'a [u8],
    /// The host's own key.
    pub(crate) key: &'a [u8],
    pub(crate) is_for_hosts: bool,
    pub(crate) principals: &'a [String],
    /// Seconds since 1970: from the first, up to but excluding the second.
    pub(crate) valid: (u64, u64),
    pub(crate) has_critical_options: bool,
}

/// What is known of one host, and what is done with what is not.
#[derive(Clone, Debug)]
pub(crate) struct HostCheck {
    known: Known,
    hosts: KnownHosts,
    new: NewHosts,
    host: String,
    port: u16,
}

impl HostCheck {
    /// Blocks while it reads the files.
    pub(crate) fn load(hosts: &KnownHosts, new: NewHosts, host: &str, port: u16) -> Result<Self> {
        let known = hosts.find(host, port)?;
        Ok(Self { known, hosts: hosts.clone(), new, host: host.to_owned(), port })
    }

    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// Blocks if the host is to be added.
    ///
    /// # Errors
    /// Kind `Refused` for a key that is revoked, changed, or new and not let in; kind `Local` when it cannot be added.
    pub(crate) fn key(&self, kind: &str, key: &[u8]) -> Result<()> {
        let standing = self.known.standing(key);
        let shown = format!("{kind} {}", fingerprint(key));
        let host = name_of(&self.host, self.port);
        let refuse = |what: String| Err(Error::new(ErrorKind::Refused, what));
        match (standing, self.new) {
            (Standing::Known, _) | (Standing::New, NewHosts::Accept) => Ok(()),
            (Standing::New, NewHosts::Add) => self.hosts.add(&self.host, self.port, kind, key),
            (Standing::New, NewHosts::Reject) => {
                refuse(format!("the host key of {host} is not known: {shown}"))
            }
            (Standing::Changed, _) => refuse(format!(
                "the host key of {host} is another one than is known: {shown}; somebody may be in between"
            )),
            (Standing::Revoked, _) => refuse(format!("the host key of {host} is revoked: {shown}")),
        }
    }

    /// A certificate of an authority that is not known counts as the key in it.
    ///
    /// # Errors
    /// As [`HostCheck::key`], and kind `Refused` for a certificate of a known authority that is not good for this host.
    pub(crate) fn certificate(&self, kind: &str, certificate: &Certificate<'_>) -> Result<()> {
        let host = name_of(&self.host, self.port);
        let refuse =
            |why: &str| Err(Error::new(ErrorKind::Refused, format!("the host certificate of {host} {why}")));
        if [certificate.key, certificate.authority]
            .iter()
            .any(|key| self.known.standing(key) == Standing::Revoked)
        {
            return refuse("has a revoked key");
        }
        if !self.known.is_authority(certificate.authority) {
            return self.key(kind, certificate.key);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (from, until) = certificate.valid;
        let own = self.host.to_ascii_lowercase();
        let names_host = |principal: &String| is_match(&principal.to_ascii_lowercase(), &own);
        if !certificate.is_for_hosts {
            refuse("is one of a user")
        } else if certificate.has_critical_options {
            refuse("has conditions that are not understood")
        } else if !(from..until).contains(&now) {
            refuse("is not valid now")
        } else if !certificate.principals.iter().any(names_host) {
            refuse("does not name it")
        } else {
            Ok(())
        }
    }
}

/// As OpenSSH shows it.
pub(crate) fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATE=";

    fn key(byte: u8) -> Vec<u8> {
        [b"\0\0\0\x0bssh-ed25519\0\0\0\x01".as_slice(), &[byte]].concat()
    }

    fn check(text: &str, new: NewHosts) -> HostCheck {
        HostCheck::load(&KnownHosts::new().text(text), new, "h", 2222).unwrap()
    }

    /// biomaj 38, 39.
    #[test]
    fn a_changed_or_revoked_key_is_refused_whatever_the_policy() {
        for new in [NewHosts::Reject, NewHosts::Accept, NewHosts::Add] {
            let known = format!("[h]:2222 {ONE}\n@revoked * ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATM=");
            let check = check(&known, new);
            assert!(check.key("ssh-ed25519", &key(b'1')).is_ok());
            for (byte, word) in [(b'2', "another one"), (b'3', "revoked")] {
                let error = check.key("ssh-ed25519", &key(byte)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Refused);
                assert!(error.what().contains(word) && error.what().contains("SHA256:"), "{error}");
            }
        }
        assert!(check("", NewHosts::Reject).key("ssh-ed25519", &key(1)).is_err());
        assert!(check("", NewHosts::Accept).key("ssh-ed25519", &key(1)).is_ok());
        assert_eq!("ADD".parse::<NewHosts>().unwrap(), NewHosts::Add);
        assert!("yes".parse::<NewHosts>().is_err());
    }

    #[test]
    fn certificates() {
        let principals = ["x".to_owned(), "H".to_owned()];
        let good = || Certificate {
            authority: &[],
            key: &[],
            is_for_hosts: true,
            principals: &principals,
            valid: (0, u64::MAX),
            has_critical_options: false,
        };
        let (authority, own) = (key(b'1'), key(b'2'));
        let judge = |known: &str, change: &dyn Fn(&mut Certificate<'_>)| {
            let mut certificate = Certificate { authority: &authority, key: &own, ..good() };
            change(&mut certificate);
            check(known, NewHosts::Reject)
                .certificate("ssh-ed25519", &certificate)
                .map_err(|error| error.what().to_owned())
        };
        let known = format!("@cert-authority [h]:2222 {ONE}");
        let no_change = |_: &mut Certificate<'_>| {};
        assert_eq!(judge(&known, &no_change), Ok(()));
        // The authority is another's, or none: the key in it decides.
        for other in [format!("@cert-authority [g]:2222 {ONE}"), String::new(), format!("[h]:2222 {ONE}")] {
            assert!(judge(&other, &no_change).unwrap_err().contains("host key"), "{other}");
        }
        assert_eq!(judge("[h]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATI=", &no_change), Ok(()));
        assert!(judge(&known, &|c| c.is_for_hosts = false).is_err());
        assert!(judge(&known, &|c| c.has_critical_options = true).is_err());
        assert!(judge(&known, &|c| c.valid = (0, 1)).is_err());
        assert!(judge(&known, &|c| c.valid = (u64::MAX - 1, u64::MAX)).is_err());
        assert!(judge(&known, &|c| c.principals = &[]).is_err());
        let revoked = format!("{known}\n@revoked h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATI=");
        assert!(judge(&revoked, &no_change).unwrap_err().contains("revoked"));
        let revoked = format!("{known}\n@revoked * {ONE}");
        assert!(judge(&revoked, &no_change).unwrap_err().contains("revoked"));
    }
}
