//! PEM texts (RFC 7468), of certificates and keys.
//!
//! Invariant: an error says what is wrong and never quotes the text, which may hold a key, even where none is
//! expected. Must not know: what the sections are for.

use rustls::pki_types::pem::{Error, PemObject as _, SectionKind};

/// The sections of a text that have to do with TLS, in order.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn sections(pem: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, &'static str> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem)
        .map(|section| section.map_err(|error| fault(&error)))
        .collect()
}

/// True if a key in the text needs a password: PKCS #8 says so in its label, the older forms in a field (RFC 1421).
pub(super) fn is_encrypted(pem: &[u8]) -> bool {
    pem.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY")
            || line.starts_with(b"Proc-Type:") && line.trim_ascii_end().ends_with(b"ENCRYPTED")
    })
}

/// The variants hold lines of the text.
fn fault(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "malformed PEM: a section without an END line",
        Error::IllegalSectionStart { .. } => "malformed PEM: a BEGIN line without an end",
        Error::Base64Decode(_) => "malformed PEM: not base64",
        Error::SectionTooLarge => "malformed PEM: a section of more than 256 MiB",
        _ => "malformed PEM",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn sections_come_in_order_and_others_are_skipped() {
        let text = format!(
            "about this file\n{CERTIFICATE}-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\r\n\
             -----BEGIN EC PRIVATE KEY-----\r\nAQID\r\n-----END EC PRIVATE KEY-----"
        );
        let expected =
            [(SectionKind::Certificate, vec![0, 0, 0]), (SectionKind::EcPrivateKey, vec![1, 2, 3])];
        assert_eq!(sections(text.as_bytes()).unwrap(), expected);
        assert_eq!(sections(b"").unwrap(), []);
    }

    #[test]
    fn faults_are_named() {
        let cases = [
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "malformed PEM: a section without an END line"),
            ("-----BEGIN CERTIFICATE\nAAAA\n", "malformed PEM: a BEGIN line without an end"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----", "malformed PEM: not base64"),
            // A text that lost its line breaks.
            (&CERTIFICATE.replace('\n', ""), "malformed PEM: a section without an END line"),
        ];
        for (text, expected) in cases {
            assert_eq!(sections(text.as_bytes()).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn both_forms_of_encrypted_keys_are_seen() {
        let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\r\nAAAA\r\n-----END ENCRYPTED PRIVATE KEY-----\r\n";
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
                   -----END RSA PRIVATE KEY-----\n";
        assert!(is_encrypted(new.as_bytes()) && is_encrypted(old.as_bytes()));
        assert!(is_encrypted(format!("{CERTIFICATE}{old}").as_bytes()));
        assert!(!is_encrypted(CERTIFICATE.as_bytes()));
        assert!(!is_encrypted(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (sections(&text), is_encrypted(&text));
        }
    }
}
