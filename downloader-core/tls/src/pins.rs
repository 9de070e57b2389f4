//! Pinned keys: which public keys a server must show, whoever vouches for it.
//!
//! Invariant: a key counts only if the server proved to have it, or if its certificate did vouch for the server's;
//! what else a server sends along anyone could copy. Must not know: authorities of the system.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downloader_core::{Error, Result};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use sha2::{Digest as _, Sha256};

use super::named_host;
use super::settings::PinText;

/// SHA-256 of a `SubjectPublicKeyInfo`.
type Pin = [u8; 32];

/// The pins, by host and for all the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Pins {
    all: Vec<Pin>,
    hosts: HashMap<ServerName<'static>, Vec<Pin>>,
}

/// The certificates that a server sent, and how they are checked.
pub(super) struct Presented<'a> {
    pub(super) own: &'a ParsedCertificate<'a>,
    /// Empty where nobody checked that they lead anywhere.
    pub(super) others: &'a [CertificateDer<'a>],
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) now: UnixTime,
}

impl Pins {
    /// # Errors
    /// Kind `Input` for a text that is no pin, or names no host.
    pub(super) fn new(texts: &[PinText]) -> Result<Self> {
        let mut pins = Self::default();
        for PinText { host, keys } in texts {
            let place = match host {
                None => &mut pins.all,
                Some(host) => pins.hosts.entry(named_host(host, "pinned key")?).or_default(),
            };
            for key in keys.split(';') {
                place.push(parse(key)?);
            }
        }
        Ok(pins)
    }

    /// Only those of single hosts.
    pub(super) fn of_hosts(&self) -> Self {
        Self { all: Vec::new(), hosts: self.hosts.clone() }
    }

    /// True if no key is pinned for the host, or a pinned one is among those shown.
    pub(super) fn admit(&self, host: &ServerName<'_>, presented: &Presented<'_>) -> bool {
        let pins = self.hosts.get(&host.to_owned()).unwrap_or(&self.all);
        pins.is_empty()
            || pins.contains(&pin_of(presented.own))
            || presented.others.iter().any(|other| is_pinned(pins, other) && presented.leads_to(other))
    }
}

impl Presented<'_> {
    /// True if this certificate vouched for the server's, perhaps through others.
    fn leads_to(&self, other: &CertificateDer<'_>) -> bool {
        let mut only = RootCertStore::empty();
        let Self { own, others, algorithms, now } = self;
        only.add(other.clone().into_owned()).is_ok()
            && verify_server_cert_signed_by_trust_anchor(own, &only, others, *now, algorithms.all).is_ok()
    }
}

fn is_pinned(pins: &[Pin], certificate: &CertificateDer<'_>) -> bool {
    ParsedCertificate::try_from(certificate).is_ok_and(|certificate| pins.contains(&pin_of(&certificate)))
}

fn pin_of(certificate: &ParsedCertificate<'_>) -> Pin {
    Sha256::digest(certificate.subject_public_key_info()).into()
}

fn parse(text: &str) -> Result<Pin> {
    let decode = |base64: &str| STANDARD.decode(base64).ok()?.try_into().ok();
    let pin = text.trim().strip_prefix("sha256//").and_then(decode);
    pin.ok_or_else(|| Error::input("pinned key: expected `sha256//` and 44 characters of base64"))
}

#[cfg(test)]
mod tests {
    use downloader_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn text(host: Option<&str>, keys: &str) -> PinText {
        PinText { host: host.map(str::to_owned), keys: keys.to_owned() }
    }

    #[test]
    fn pins_are_read_as_curl_writes_them() {
        // The base64 of 32 zero bytes, and of 32 times 0xff.
        let (zero, ones) = ("A".repeat(43) + "=", "/".repeat(42) + "8=");
        let pins = Pins::new(&[
            text(None, &format!("sha256//{zero}; sha256//{ones}")),
            text(Some("Example.ORG."), &format!("sha256//{ones}")),
            text(Some("[::1]"), &format!("sha256//{zero}")),
        ])
        .unwrap();
        assert_eq!(pins.all, [[0; 32], [255; 32]]);
        assert_eq!(pins.hosts[&ServerName::try_from("example.org").unwrap()], [[255; 32]]);
        assert_eq!(pins.hosts[&ServerName::try_from("::1").unwrap()], [[0; 32]]);
        assert_eq!(pins.of_hosts().all, [[0; 32]; 0]);
        assert_eq!(pins.of_hosts().hosts.len(), 2);
    }

    #[test]
    fn what_is_no_pin_is_refused_by_name() {
        let zero = "A".repeat(43) + "=";
        let long = "A".repeat(44);
        let malformed = [
            "".to_owned(),
            zero.clone(),
            "sha256//".to_owned(),
            format!("sha1//{zero}"),
            format!("sha256/{zero}"),
            format!("sha256//{long}"),
            format!("sha256//{zero};"),
            format!("sha256//{}", &zero[..43]),
        ];
        for keys in malformed {
            let error = Pins::new(&[text(None, &keys)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input, "{keys}");
            assert_eq!(error.what(), "pinned key: expected `sha256//` and 44 characters of base64");
        }
        let error = Pins::new(&[text(Some("a b"), &format!("sha256//{zero}"))]).unwrap_err();
        assert_eq!(error.what(), "host of a pinned key: expected a host name or an address");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(keys in ".*") {
            let _ = parse(&keys);
        }

        #[test]
        fn every_digest_is_read_back(digest: [u8; 32]) {
            prop_assert_eq!(parse(&format!("sha256//{}", STANDARD.encode(digest))).unwrap(), digest);
        }
    }
}
