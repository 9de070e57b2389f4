//! The words for every failure, as they are printed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use downloader_core::{Error, ErrorKind};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{
    AlertDescription as Alert, CertificateError, InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved,
};

use crate::words::{Refusal, failed_handshake, refusal};

fn failed(error: rustls::Error) -> Error {
    failed_handshake(io::Error::new(io::ErrorKind::InvalidData, error), false)
}

fn certificate(error: CertificateError) -> String {
    let error = failed(rustls::Error::InvalidCertificate(error));
    assert_eq!(error.kind(), ErrorKind::Tls);
    error.what().to_owned()
}

fn not_for(names: &[&str]) -> String {
    let expected = ServerName::try_from("a.example").unwrap();
    let presented = names.iter().map(ToString::to_string).collect();
    certificate(CertificateError::NotValidForNameContext { expected, presented })
}

#[test]
fn every_failure_has_plain_words() {
    let second = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let expired = |not_after| CertificateError::ExpiredContext { time: second(1_500_000_000), not_after };
    let early = CertificateError::NotValidYetContext { time: second(0), not_before: second(u64::MAX) };
    let cases = [
        (
            certificate(expired(second(1_000_000_000))),
            "a certificate of the chain expired on Sun, 09 Sep 2001 01:46:40 GMT (now Fri, 14 Jul 2017 02:40:00 GMT)",
        ),
        (
            certificate(early),
            "a certificate of the chain is not yet valid: only from a day beyond the year 9999 on (now Thu, 01 Jan 1970 00:00:00 GMT)",
        ),
        (certificate(CertificateError::Revoked), "the certificate was revoked"),
        (certificate(CertificateError::BadEncoding), "the certificate is malformed"),
        (
            certificate(CertificateError::Other(OtherError(Arc::new(webpki::Error::UnsupportedCertVersion)))),
            "the certificate is not of X.509 version 3, the only one accepted",
        ),
        (
            certificate(CertificateError::Other(OtherError(Arc::new(
                webpki::Error::MaximumPathDepthExceeded,
            )))),
            "the certificate is refused (MaximumPathDepthExceeded)",
        ),
        (
            certificate(CertificateError::Other(OtherError(Arc::new(Refusal::NoRoots)))),
            "issuer unknown: this machine has no root certificates, and none was given",
        ),
        (certificate(CertificateError::ApplicationVerificationFailure), "the certificate is refused"),
    ];
    for (words, expected) in cases {
        assert_eq!(words, expected);
    }
}

#[test]
fn names_are_quoted_with_care() {
    assert_eq!(not_for(&[]), "the certificate is not for this host (it names none)");
    assert_eq!(
        not_for(&["DnsName(\"*.b.example\")", "IpAddress(::1)", "DirectoryName"]),
        "the certificate is not for this host (it names: *.b.example, ::1, DirectoryName)"
    );
    assert_eq!(
        not_for(&["DnsName(\"a\n\u{1b}[31m\u{e4}\")"]),
        "the certificate is not for this host (it names: a??[31m?)"
    );
    let long = not_for(&["x".repeat(10_000).as_str(); 1000]);
    assert!(long.len() < 500 && long.ends_with(", and 995 more)"), "{long}");
}

#[test]
fn what_servers_say_is_told() {
    use rustls::Error::AlertReceived;
    let tls = ErrorKind::Tls;
    let cases = [
        (Alert::ProtocolVersion, tls, "the server offers no TLS version we accept"),
        (Alert::CertificateRequired, tls, "the server wants a client certificate"),
        (Alert::UnknownCA, tls, "the server refused our client certificate: issuer unknown"),
        (Alert::CertificateExpired, tls, "the server refused our client certificate: out of time"),
        (Alert::CertificateUnknown, tls, "the server refused our client certificate"),
        (Alert::UnrecognisedName, tls, "the server does not know this host name"),
        (Alert::InsufficientSecurity, tls, "the server wants stronger ciphers than we have"),
        (Alert::UserCanceled, tls, "the server ended TLS (UserCanceled)"),
        (Alert::Unknown(200), tls, "the server ended TLS (alert 200)"),
        (
            Alert::HandshakeFailure,
            tls,
            "the server refuses the handshake: it wants a client certificate, or other ciphers",
        ),
        (
            Alert::InternalError,
            ErrorKind::Busy,
            "the server reports a fault of its own within the TLS handshake",
        ),
        (Alert::BadRecordMac, ErrorKind::Connect, "a record of the TLS handshake was damaged on its way"),
    ];
    for (alert, kind, words) in cases {
        let error = failed(AlertReceived(alert));
        assert_eq!((error.kind(), error.what()), (kind, words));
    }
    let failure = io::Error::other(AlertReceived(Alert::HandshakeFailure));
    let error = failed_handshake(failure, true);
    assert_eq!(error.what(), "the server refuses the handshake, or our client certificate");
}

#[test]
fn what_breaks_the_rules_is_told() {
    let cases = [
        (
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
            "the far side does not speak TLS",
        ),
        (PeerMisbehaved::TooMuchEarlyDataReceived.into(), "the server breaks the rules of TLS"),
        (
            PeerIncompatible::NoKxGroupsInCommon.into(),
            "the server and we have no cipher or key exchange in common",
        ),
        (
            PeerIncompatible::ServerDoesNotSupportTls12Or13.into(),
            "the server offers no TLS version we accept",
        ),
        (rustls::Error::NoCertificatesPresented, "the server showed no certificate"),
        (rustls::Error::FailedToGetRandomBytes, "TLS failed on this side"),
    ];
    for (error, words) in cases {
        let error = failed(error);
        assert_eq!((error.kind(), error.what()), (ErrorKind::Tls, words));
    }
    assert_eq!(failed(rustls::Error::DecryptError).kind(), ErrorKind::Connect);
}

/// skroutz 46: nothing is read from texts.
#[test]
fn causes_are_found_by_type_at_any_depth() {
    let alert = rustls::Error::AlertReceived(Alert::CertificateRequired);
    let deep = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, alert.clone()));
    let deep = Error::new(ErrorKind::Connect, "the connection broke").with_source(deep);
    assert_eq!(refusal(&deep).unwrap().what(), "the server wants a client certificate");
    assert_eq!(refusal(&alert).unwrap().kind(), ErrorKind::Tls);
    assert!(refusal(&io::Error::other("tls: AlertReceived(CertificateRequired)")).is_none());
    assert!(refusal(&io::Error::other(rustls::Error::DecryptError)).is_none());
    assert!(refusal(&rustls::Error::AlertReceived(Alert::InternalError)).is_none());
    let error = failed_handshake(io::Error::other("x509: certificate signed by unknown authority"), false);
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Connect, true));
}
