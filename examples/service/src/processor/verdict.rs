//! What a failed attempt means: its text, its code, and whether to try again. Pure.
//!
//! Owns the words of the original (`Error while {phase}, {cause}, retriable: …, internal: …`). Its invariant: every outcome of the engine
//! has a verdict, decided by kind, status and step, never by looking for a word in a URL (`skroutz 46`). It must not know how often a job
//! was tried.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use downloader_core::{Error, ErrorKind, Phase, SafeUrl};

use super::guarded::Step;

/// What a failed attempt means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What is told of it.
    pub(super) error: String,
    /// The last status of HTTP, 0 if there was none.
    pub(super) response_code: u16,
    /// May another attempt help?
    pub(super) retriable: bool,
    /// How long the far side asks to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// What is counted, beside the status: `tls`, `mime`, `body`, `image-size`.
    pub(super) counted: Option<&'static str>,
    /// Is it a fault of this machine?
    pub(super) internal: bool,
}

/// Where it happened and what, in words; with what follows from it.
struct Finding {
    phase: &'static str,
    cause: String,
    retriable: bool,
    internal: bool,
    counted: Option<&'static str>,
}

impl Finding {
    fn new(phase: &'static str, cause: impl Into<String>, retriable: bool) -> Self {
        Self { phase, cause: cause.into(), retriable, internal: false, counted: None }
    }

    fn counted(self, name: &'static str) -> Self {
        Self { counted: Some(name), ..self }
    }

    fn internal(self) -> Self {
        Self { internal: true, ..self }
    }
}

const CREATING: &str = "creating request";
const PERFORMING: &str = "performing request";
const PROCESSING: &str = "processing response";
const DOWNLOADING: &str = "downloading file";

/// The verdict on an attempt that ended with this error. `step` is what the writer was at if it was the writer that failed; `asked` is
/// the job's own URL, for what has none.
pub(super) fn of(error: &Error, step: Option<Step>, asked: &SafeUrl) -> Verdict {
    let url = error.url().unwrap_or(asked);
    let status = status(error, url);
    let finding = find(error, step, url, status);
    // The original gives no code for what ended between two replies.
    let response_code = match finding.phase {
        CREATING | PERFORMING => 0,
        _ => status.unwrap_or(0),
    };
    Verdict {
        error: written(&finding),
        response_code,
        retriable: finding.retriable,
        retry_after: error.retry_after(),
        counted: finding.counted,
        internal: finding.internal,
    }
}

/// The verdict on a job from which no request can be made.
pub(super) fn of_request(error: &Error) -> Verdict {
    refused(CREATING, error.what())
}

/// The verdict on a job whose `extra` makes no metadata, or whose bucket cannot be one.
pub(super) fn of_bucket(error: &Error) -> Verdict {
    // The original's own spelling.
    let phase = if error.what().starts_with("extra:") { "Could not unmarhal Extra" } else { IN_BUCKET };
    refused(phase, error.what())
}

fn refused(phase: &'static str, cause: &str) -> Verdict {
    Verdict {
        error: written(&Finding::new(phase, cause, false)),
        response_code: 0,
        retriable: false,
        retry_after: None,
        counted: None,
        internal: false,
    }
}

fn written(finding: &Finding) -> String {
    let Finding { phase, cause, retriable, internal, .. } = finding;
    format!("Error while {phase}, {cause}, retriable: {retriable}, internal: {internal}")
}

/// The last status of HTTP. Of a reply that was accepted the attempt tells, of others the error.
fn status(error: &Error, url: &SafeUrl) -> Option<u16> {
    let last = || error.attempts().last().and_then(|attempt| attempt.wire.status);
    error.status().or_else(last).filter(|_| matches!(url.scheme(), "http" | "https"))
}

fn find(error: &Error, step: Option<Step>, url: &SafeUrl, status: Option<u16>) -> Finding {
    use ErrorKind as Kind;
    let performing =
        |cause: &str, retriable| Finding::new(PERFORMING, format!("Get \"{url}\": {cause}"), retriable);
    match error.kind() {
        Kind::Local => local(error, step, url),
        Kind::Tls => {
            // A certificate that is refused has its own name there.
            let whose = if error.what().contains("certificate") { "x509" } else { "tls" };
            let cause = format!("TLS Error occured: Get \"{url}\": {whose}: {}", error.what());
            Finding::new(PERFORMING, cause, false).counted("tls")
        }
        Kind::Timeout(phase) => timeout(phase, url, status),
        Kind::Dns => {
            performing(&format!("dial tcp: lookup {}: no such host", url.host().unwrap_or_default()), true)
        }
        Kind::Connect => performing(&connection(error), true),
        Kind::Proxy => performing(&format!("proxyconnect tcp: {}", connection(error)), true),
        Kind::ProxyUnauthorized => performing(&format!("proxyconnect tcp: {}", error.what()), false),
        Kind::Refused => refusal(error.what(), performing),
        Kind::Truncated => Finding::new(DOWNLOADING, "unexpected EOF", true).counted("body"),
        // The framing of the body, which came behind a good head.
        Kind::Protocol if error.what() == "malformed chunk" => {
            Finding::new(DOWNLOADING, "unexpected EOF", true).counted("body")
        }
        Kind::Integrity | Kind::Changed => Finding::new("verifying file", error.what(), true).counted("body"),
        Kind::Input | Kind::Unsupported if status.is_none() => performing(error.what(), false),
        _ => match status {
            Some(status) => of_status(error, status),
            // No head that could be read, or a protocol without such numbers.
            None if error.kind() == Kind::Protocol => {
                performing(&format!("malformed response: {}", error.what()), true)
            }
            None => performing(error.what(), error.is_transient()),
        },
    }
}

/// A reply that is not taken.
fn of_status(error: &Error, status: u16) -> Finding {
    let shown =
        error.what().strip_prefix("HTTP status ").map(|text| text.trim_end_matches(" <unknown status code>"));
    let cause = match shown {
        Some(shown) => format!("Received status code {shown}"),
        None => format!("Received status code {status}: {}", error.what()),
    };
    let busy = matches!(status, 408 | 425 | 429 | 500..=599) || error.kind() == ErrorKind::Busy;
    Finding::new(PROCESSING, cause, busy)
}

const IN_BUCKET: &str = "storing file to job specified AWS S3 bucket";

/// A fault of this machine, by what was done.
fn local(error: &Error, step: Option<Step>, url: &SafeUrl) -> Finding {
    let words = words(error);
    match step {
        Some(Step::Begin) => Finding::new("creating tmp file", words, true).internal(),
        Some(Step::Write) => Finding::new(DOWNLOADING, words, true).counted("body"),
        Some(Step::Commit { of_caller: true }) => Finding::new(IN_BUCKET, words, true),
        Some(Step::Commit { of_caller: false }) => {
            Finding::new("storing file to default storage backend", words, true)
        }
        None => Finding::new(PERFORMING, format!("Get \"{url}\": {words}"), true).internal(),
    }
}

fn timeout(phase: Phase, url: &SafeUrl, status: Option<u16>) -> Finding {
    let before = |cause: &str| Finding::new(PERFORMING, format!("Get \"{url}\": {cause}"), true);
    match phase {
        Phase::Total if status.is_some() => {
            Finding::new(DOWNLOADING, "context deadline exceeded", true).counted("body")
        }
        Phase::Total => before("context deadline exceeded"),
        Phase::Resolve => {
            before(&format!("dial tcp: lookup {}: i/o timeout", url.host().unwrap_or_default()))
        }
        Phase::Tls => before("net/http: TLS handshake timeout"),
        Phase::Head => before("timeout awaiting response headers"),
        Phase::Idle => Finding::new(DOWNLOADING, "read: i/o timeout", true).counted("body"),
        Phase::Slow => Finding::new(DOWNLOADING, "slower than the lowest speed", true).counted("body"),
        _ => before("dial tcp: i/o timeout"),
    }
}

/// What our own rules forbid: another attempt meets the same rules.
fn refusal(what: &str, performing: impl Fn(&str, bool) -> Finding) -> Finding {
    if let Some((expected, found)) =
        what.strip_prefix("media type: expected ").and_then(|rest| rest.rsplit_once(", found "))
    {
        let cause = match expected.strip_prefix("not ") {
            Some(pattern) => format!("Expected mime-type not to be {pattern} found - ({found})"),
            None => format!("Expected mime-type to be {expected}, found ({found})"),
        };
        return Finding::new("validating mime type", cause, false).counted("mime");
    }
    if let Some(why) = what.strip_prefix("image size: ") {
        return Finding::new("extracting image-size", why, false).counted("image-size");
    }
    if what.starts_with("redirect loop") || (what.starts_with("more than ") && what.contains(" redirects")) {
        return performing(&format!("stopped after 10 redirects ({what})"), false);
    }
    if what.starts_with("size") {
        return Finding::new("verifying file", what, false).counted("body");
    }
    performing(what, false)
}

/// What became of a connection, in the words of the original where there are some.
fn connection(error: &Error) -> String {
    let mut causes = std::iter::successors(StdError::source(error), |&cause| cause.source());
    let reason = causes.find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match reason {
        Some(io::ErrorKind::ConnectionRefused) => "dial tcp: connect: connection refused".to_owned(),
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".to_owned(),
        Some(io::ErrorKind::UnexpectedEof) => "EOF".to_owned(),
        _ => words(error),
    }
}

/// An error and its causes in one line.
fn words(error: &Error) -> String {
    let causes = std::iter::successors(StdError::source(error), |&cause| cause.source());
    causes.fold(error.what().to_owned(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> SafeUrl {
        "http://user:secret@h/tls".parse().expect("a URL")
    }

    fn verdict(error: Error) -> Verdict {
        of(&error.with_url(&url()), None, &url())
    }

    fn http(kind: ErrorKind, status: u16, what: &str) -> Error {
        Error::new(kind, what).with_status(status)
    }

    #[test]
    fn skroutz_28_29_30_statuses() {
        for (kind, code, text, retriable) in [
            (ErrorKind::NotFound, 404, "404 Not Found", false),
            (ErrorKind::Protocol, 400, "400 Bad Request", false),
            (ErrorKind::Unauthorized, 401, "401 Unauthorized", false),
            (ErrorKind::Denied, 403, "403 Forbidden", false),
            (ErrorKind::NotFound, 410, "410 Gone", false),
            (ErrorKind::Denied, 451, "451 Unavailable For Legal Reasons", false),
            (ErrorKind::Busy, 408, "408 Request Timeout", true),
            (ErrorKind::Busy, 425, "425 Too Early", true),
            (ErrorKind::Busy, 429, "429 Too Many Requests", true),
            (ErrorKind::Busy, 500, "500 Internal Server Error", true),
            (ErrorKind::Protocol, 501, "501 Not Implemented", true),
            (ErrorKind::Busy, 599, "599", true),
        ] {
            let verdict = verdict(http(kind, code, &format!("HTTP status {text}")));
            let told = format!(
                "Error while processing response, Received status code {text}, retriable: {retriable}, internal: false"
            );
            assert_eq!((verdict.error, verdict.response_code, verdict.retriable), (told, code, retriable));
        }
        let unnamed = verdict(http(ErrorKind::Busy, 599, "HTTP status 599 <unknown status code>"));
        assert!(unnamed.error.contains("status code 599, "), "{}", unnamed.error);
    }

    #[test]
    fn a_wish_to_be_left_alone_is_passed_on() {
        let busy =
            http(ErrorKind::Busy, 429, "HTTP status 429").with_retry_after(Some(Duration::from_secs(7)));
        assert_eq!(verdict(busy).retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn skroutz_35_what_is_no_whole_content_is_final() {
        for (code, what) in [
            (206, "a part of the content, although no range was asked for"),
            (304, "not modified, although that was not asked"),
        ] {
            let verdict = verdict(http(ErrorKind::Protocol, code, what));
            assert_eq!((verdict.response_code, verdict.retriable), (code, false), "{}", verdict.error);
        }
    }

    #[test]
    fn skroutz_37_38_redirects() {
        for what in ["redirect loop: redirect to http://h/", "more than 9 redirects: redirect to http://h/"] {
            let verdict = verdict(http(ErrorKind::Refused, 302, what));
            assert!(verdict.error.contains("stopped after 10 redirects"), "{}", verdict.error);
            assert_eq!((verdict.response_code, verdict.retriable), (0, false));
        }
        let verdict =
            verdict(http(ErrorKind::Refused, 302, "scheme is neither http nor https: redirect to file:///x"));
        assert!(!verdict.retriable && verdict.error.contains("performing request"));
    }

    #[test]
    fn skroutz_40_47_bodies() {
        for error in [
            http(ErrorKind::Truncated, 200, "connection broke within the body"),
            http(ErrorKind::Protocol, 200, "malformed chunk"),
        ] {
            let verdict = verdict(error);
            assert_eq!(
                verdict.error,
                "Error while downloading file, unexpected EOF, retriable: true, internal: false"
            );
            assert_eq!(verdict.response_code, 200);
        }
        let deadline = || Error::new(ErrorKind::Timeout(Phase::Total), "not done within 1.0 s");
        let before = verdict(deadline());
        assert!(
            before.error.contains(r#"performing request, Get "http://"#)
                && before.error.contains("deadline exceeded"),
            "{}",
            before.error
        );
        let within = verdict(deadline().with_status(200));
        assert!(within.error.contains("downloading file, context deadline exceeded"), "{}", within.error);
        assert_eq!((before.response_code, within.response_code), (0, 200));
    }

    #[test]
    fn skroutz_44_45_46_connections() {
        let cause = |kind: io::ErrorKind| {
            Error::new(ErrorKind::Connect, "cannot connect").with_source(io::Error::from(kind))
        };
        let refused = verdict(cause(io::ErrorKind::ConnectionRefused));
        assert!(
            refused.error.contains("connection refused") && !refused.error.contains("TLS Error"),
            "{}",
            refused.error
        );
        assert!(refused.retriable && refused.response_code == 0 && !refused.error.contains("secret"));
        let unknown = verdict(Error::new(ErrorKind::Dns, "the name h has no address"));
        assert!(unknown.error.contains("lookup h: no such host") && unknown.retriable);
        let tls = verdict(Error::new(ErrorKind::Tls, "the certificate is self-signed"));
        assert!(tls.error.contains("TLS Error occured: Get") && tls.error.contains("x509") && !tls.retriable);
        assert_eq!(tls.counted, Some("tls"));
    }

    #[test]
    fn skroutz_49_51_52_media_types() {
        for (what, told) in [
            (
                "expected (image/jpeg), found image/png",
                "Expected mime-type to be (image/jpeg), found (image/png)",
            ),
            (
                "expected not (image/png), found image/png",
                "Expected mime-type not to be (image/png) found - (image/png)",
            ),
            ("expected (), found image/png", "Expected mime-type to be (), found (image/png)"),
        ] {
            let verdict = verdict(http(ErrorKind::Refused, 200, &format!("media type: {what}")));
            let text = format!("Error while validating mime type, {told}, retriable: false, internal: false");
            assert_eq!((verdict.error, verdict.response_code), (text, 200));
        }
    }

    #[test]
    fn skroutz_77_faults_of_this_machine_by_what_was_done() {
        let disk = || Error::local("cannot create /w/x", io::ErrorKind::NotFound.into());
        for (step, phase, internal) in [
            (Some(Step::Begin), "creating tmp file", true),
            (Some(Step::Write), "downloading file", false),
            (Some(Step::Commit { of_caller: false }), "storing file to default storage backend", false),
            (Some(Step::Commit { of_caller: true }), "storing file to job specified AWS S3 bucket", false),
            (None, "performing request", true),
        ] {
            let verdict = of(&disk(), step, &url());
            assert!(verdict.error.starts_with(&format!("Error while {phase}, ")), "{}", verdict.error);
            assert!(verdict.retriable && verdict.internal == internal);
        }
    }

    #[test]
    fn numbers_of_other_protocols_are_no_status() {
        let url: SafeUrl = "ftp://h/f".parse().expect("a URL");
        let error = Error::new(ErrorKind::NotFound, "no such file").with_status(550).with_url(&url);
        let verdict = of(&error, None, &url);
        assert_eq!((verdict.response_code, verdict.retriable), (0, false));
    }
}
