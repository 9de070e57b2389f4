//! What a failure of TLS means, in plain words.
//!
//! Invariant: kinds and words come from the types of errors, never from their texts; what a server wrote is cut and
//! cleaned before it is quoted. Must not know: retries, hosts.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use std::{fmt, io, iter};

use downloader_core::{Error, ErrorKind};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription as Alert, CertificateError, InvalidMessage, OtherError, PeerIncompatible};

/// Names of a certificate that are quoted at most.
const NAMES: usize = 5;

/// Bytes of each that are.
const NAME: usize = 80;

/// Why a certificate is refused where rustls has no word for it.
#[derive(Debug)]
pub(super) enum Refusal {
    SelfSigned,
    /// It bears the name of an authority, such as one with a new key, and not its signature.
    NotSigned,
    /// It leads to a given root certificate, which is not in time.
    RootOutOfTime(rustls::Error),
    /// There is nobody who could vouch for anyone.
    NoRoots,
    PinnedKeyMissing,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfSigned => {
                f.write_str("the certificate is self-signed, and not one of the given root certificates")
            }
            Self::NotSigned => {
                f.write_str("a certificate of the chain names a known issuer, which did not sign it")
            }
            Self::RootOutOfTime(error) => {
                write!(f, "the given root certificate does not count: {}", words(error))
            }
            Self::NoRoots => {
                f.write_str("issuer unknown: this machine has no root certificates, and none was given")
            }
            Self::PinnedKeyMissing => f.write_str("the pinned key is not in the chain"),
        }
    }
}

impl StdError for Refusal {}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// The error of a handshake that failed; `showed` if we had a client certificate to show.
pub(super) fn failed_handshake(error: io::Error, showed: bool) -> Error {
    const CUT: &str = "the connection broke within the TLS handshake";
    let Some(cause) = cause(&error) else {
        return Error::new(ErrorKind::Connect, CUT).with_source(error);
    };
    let (kind, what): (_, Cow<'static, str>) = match cause {
        rustls::Error::AlertReceived(Alert::InternalError) => {
            (ErrorKind::Busy, "the server reports a fault of its own within the TLS handshake".into())
        }
        // TCP does not notice everything, and a second try meets other wires.
        rustls::Error::DecryptError
        | rustls::Error::AlertReceived(Alert::BadRecordMac | Alert::DecryptionFailed) => {
            (ErrorKind::Connect, "a record of the TLS handshake was damaged on its way".into())
        }
        // Before TLS 1.3 this is all that a server says about certificates of clients (RFC 5246 §7.4.6).
        rustls::Error::AlertReceived(Alert::HandshakeFailure) if showed => {
            (ErrorKind::Tls, "the server refuses the handshake, or our client certificate".into())
        }
        _ => (ErrorKind::Tls, words(cause)),
    };
    let told = Error::new(kind, what);
    // A refusal of ours is told in full; rustls would add its name in the source code.
    if is_ours(cause) { told } else { told.with_source(error) }
}

fn is_ours(error: &rustls::Error) -> bool {
    use rustls::Error::InvalidCertificate;
    matches!(error, InvalidCertificate(CertificateError::Other(OtherError(other))) if other.is::<Refusal>())
}

/// A refusal that comes behind the handshake: with TLS 1.3 a server that wants a client certificate, or refuses
/// ours, says so only then. `None` for any other failure; there, records may have been damaged on their way.
pub fn refusal(error: &(dyn StdError + 'static)) -> Option<Error> {
    let cause = cause(error)?;
    match cause {
        rustls::Error::AlertReceived(alert) if is_refusal(*alert) => {
            Some(Error::new(ErrorKind::Tls, words(cause)).with_source(cause.clone()))
        }
        _ => None,
    }
}

/// The error of rustls among an error and its causes.
pub(super) fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    iter::successors(Some(error), |error| below(*error)).find_map(<dyn StdError>::downcast_ref)
}

fn below<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    // `io::Error::source` skips the error it wraps.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn words(error: &rustls::Error) -> Cow<'static, str> {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(error) => about_certificate(error),
        E::AlertReceived(alert) => about_alert(*alert),
        E::NoCertificatesPresented => "the server showed no certificate".into(),
        E::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => NO_VERSION.into(),
        E::PeerIncompatible(_) => "the server and we have no cipher or key exchange in common".into(),
        E::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        ) => "the server sends more within the handshake than is taken".into(),
        // The bytes are no record, or no message, of TLS.
        E::InvalidMessage(_) | E::PeerSentOversizedRecord => "the far side does not speak TLS".into(),
        E::InappropriateMessage { .. } | E::InappropriateHandshakeMessage { .. } | E::PeerMisbehaved(_) => {
            "the server breaks the rules of TLS".into()
        }
        E::Other(other) => other.to_string().into(),
        _ => "TLS failed on this side".into(),
    }
}

const NO_VERSION: &str = "the server offers no TLS version we accept";

fn about_certificate(error: &CertificateError) -> Cow<'static, str> {
    use CertificateError as C;
    match error {
        C::BadEncoding => "the certificate is malformed".into(),
        C::Expired => "a certificate of the chain expired".into(),
        C::ExpiredContext { time, not_after } => {
            format!("a certificate of the chain expired on {} (now {})", date(*not_after), date(*time)).into()
        }
        C::NotValidYet => "a certificate of the chain is not yet valid".into(),
        C::NotValidYetContext { time, not_before } => format!(
            "a certificate of the chain is not yet valid: only from {} on (now {})",
            date(*not_before),
            date(*time)
        )
        .into(),
        C::Revoked => "the certificate was revoked".into(),
        C::UnknownIssuer => {
            "issuer unknown: neither the system nor the given root certificates vouch for the certificate"
                .into()
        }
        C::BadSignature => "the server does not have the key of its certificate".into(),
        C::NotValidForName => "the certificate is not for this host".into(),
        C::NotValidForNameContext { presented, .. } => not_for_this_host(presented).into(),
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            "the certificate is not meant for a server".into()
        }
        C::UnhandledCriticalExtension => "the certificate demands something that is not known here".into(),
        C::UnsupportedSignatureAlgorithmContext { .. }
        | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "a certificate of the chain is signed in a way we do not accept".into()
        }
        C::Other(other) => about_other(other.0.as_ref()),
        _ => "the certificate is refused".into(),
    }
}

fn about_other(error: &(dyn StdError + Send + Sync + 'static)) -> Cow<'static, str> {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return refusal.to_string().into();
    }
    match error.downcast_ref() {
        Some(webpki::Error::CaUsedAsEndEntity) => "the certificate is an authority's, not a server's".into(),
        Some(webpki::Error::NameConstraintViolation) => "the authority may not vouch for these names".into(),
        Some(webpki::Error::UnsupportedCertVersion) => {
            "the certificate is not of X.509 version 3, the only one accepted".into()
        }
        Some(error) => format!("the certificate is refused ({error})").into(),
        None => "the certificate is refused".into(),
    }
}

/// What a server tells before it closes.
fn about_alert(alert: Alert) -> Cow<'static, str> {
    match alert {
        Alert::ProtocolVersion => NO_VERSION.into(),
        Alert::HandshakeFailure => {
            "the server refuses the handshake: it wants a client certificate, or other ciphers".into()
        }
        Alert::InsufficientSecurity => "the server wants stronger ciphers than we have".into(),
        Alert::CertificateRequired | Alert::NoCertificate => "the server wants a client certificate".into(),
        Alert::UnrecognisedName => "the server does not know this host name".into(),
        Alert::NoApplicationProtocol => "the server speaks none of the protocols asked for (ALPN)".into(),
        alert if is_refusal(alert) => match reason(alert) {
            Some(reason) => format!("the server refused our client certificate: {reason}").into(),
            None => "the server refused our client certificate".into(),
        },
        alert => match alert.as_str() {
            Some(name) => format!("the server ended TLS ({name})").into(),
            None => format!("the server ended TLS (alert {})", u8::from(alert)).into(),
        },
    }
}

/// Is the alert about who we are?
fn is_refusal(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::HandshakeFailure
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
    )
}

fn reason(alert: Alert) -> Option<&'static str> {
    match alert {
        Alert::BadCertificate => Some("malformed"),
        Alert::UnsupportedCertificate => Some("of an unsupported kind"),
        Alert::CertificateRevoked => Some("revoked"),
        Alert::CertificateExpired => Some("out of time"),
        Alert::UnknownCA => Some("issuer unknown"),
        Alert::AccessDenied => Some("access denied"),
        _ => None,
    }
}

fn not_for_this_host(names: &[String]) -> String {
    if names.is_empty() {
        return "the certificate is not for this host (it names none)".to_owned();
    }
    let mut list: Vec<_> = names.iter().take(NAMES).map(|name| quoted(name)).collect();
    if names.len() > NAMES {
        list.push(format!("and {} more", names.len() - NAMES));
    }
    format!("the certificate is not for this host (it names: {})", list.join(", "))
}

/// A name as webpki describes it, `DnsName("example.org")` or `IpAddress(127.0.0.1)`, without the wrapping, and
/// without anything that could disturb a log.
fn quoted(name: &str) -> String {
    let bare = ["DnsName(\"", "IpAddress("].iter().find_map(|start| name.strip_prefix(start)).unwrap_or(name);
    let bare = bare.strip_suffix(')').map_or(bare, |bare| bare.strip_suffix('"').unwrap_or(bare));
    bare.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).take(NAME).collect()
}

fn date(time: UnixTime) -> String {
    /// The first second that `httpdate` cannot write: 10000-01-01.
    const TOO_LATE: u64 = 253_402_300_800;
    let seconds = time.as_secs();
    if seconds >= TOO_LATE {
        return "a day beyond the year 9999".to_owned();
    }
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}
