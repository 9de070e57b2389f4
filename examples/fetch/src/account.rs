//! The account of a failure in plain words: who was asked, what happened at which byte, what was decided, and one
//! sentence of advice.
//!
//! Invariant: only what prints without secrets is used. Must not know: where the text goes.

use std::error::Error as _;
use std::fmt::Write;

use downloader_core::{Attempt, Decision, Error, ErrorKind, Phase};

/// What a failure leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing under any name.
    Nothing,
    /// What came, under a name of its own, for the next run.
    Partial,
    /// What went to standard output, which cannot be taken back.
    Printed,
}

/// Tells why `name` is not there.
pub(crate) fn account(name: &str, error: &Error, left: Left) -> String {
    let mut text = format!("fetch: {name}: {error}\n");
    let attempts = error.attempts();
    for (index, attempt) in attempts.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {}. {}", index + 1, told(attempt, index + 1 == attempts.len()));
    }
    let last = attempts.last().map(|attempt| &*attempt.reason).unwrap_or_default();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !last.contains(&words) {
            let _ = writeln!(text, "  Cause: {words}");
        }
        cause = error.source();
    }
    let _ = writeln!(text, "  {}", advice(error.kind(), name, left));
    text
}

/// One attempt as a sentence.
fn told(attempt: &Attempt, last: bool) -> String {
    let mut text = attempt.url.to_string();
    if let Some(address) = attempt.wire.address {
        let _ = write!(text, " at {address}");
    }
    let seconds = attempt.duration.as_secs_f64();
    match attempt.wire.status {
        Some(status) => _ = write!(text, " answered {status}"),
        None if attempt.bytes == 0 => text.push_str(" gave nothing"),
        None => text.push_str(" answered"),
    }
    let end = attempt.offset.saturating_add(attempt.bytes);
    if attempt.bytes > 0 {
        let _ = write!(text, " and sent bytes {} to {}", attempt.offset, end - 1);
    }
    let _ = write!(text, " in {seconds:.1} s");
    if !attempt.reason.is_empty() {
        let _ = write!(text, "; at byte {end}: {}", attempt.reason);
    }
    let _ = match attempt.decision {
        Decision::Done => Ok(()),
        Decision::NextSource => write!(text, "; the next source was asked"),
        Decision::Wait(delay) => write!(text, "; asked again after {:.1} s", delay.as_secs_f64()),
        Decision::Reject => write!(text, "; this source was asked no more"),
        Decision::StartOver if last => write!(text, "; what was there was thrown away"),
        Decision::StartOver => write!(text, "; what was there was thrown away, to begin anew"),
        Decision::GiveUp => write!(text, "; that was the end of it"),
        other => write!(text, "; {other}"),
    };
    text.push('.');
    text
}

/// What to do about it.
fn advice(kind: ErrorKind, name: &str, left: Left) -> String {
    let unwritten = match left {
        Left::Printed => "do not use what went to standard output".to_owned(),
        Left::Nothing | Left::Partial => format!("nothing was written to {name}"),
    };
    let again = match left {
        Left::Partial => "the same command goes on where this one ended",
        Left::Nothing | Left::Printed => "try again",
    };
    match kind {
        ErrorKind::NotFound => "No source has it: check the address.".to_owned(),
        ErrorKind::Denied => "The source refuses this caller: ask its owner for access.".to_owned(),
        ErrorKind::Unauthorized => {
            "The source wants credentials, or others: give them with --header.".to_owned()
        }
        ErrorKind::Busy => format!("The source cannot serve now: later, {again}, or allow more --retries."),
        ErrorKind::Refused => format!("Your own terms forbid it; {unwritten}."),
        ErrorKind::Integrity => {
            format!(
                "The bytes that came are not the ones the checksum, the size or the source itself names; {unwritten}."
            )
        }
        ErrorKind::Changed => format!("The content changed while it was fetched; {unwritten}."),
        ErrorKind::Truncated => format!("The connection does not hold: {again}."),
        ErrorKind::Connect => format!("No connection could be made or kept; once the source is up, {again}."),
        ErrorKind::Proxy => format!("The proxy does not get through; once it does, {again}."),
        ErrorKind::ProxyUnauthorized => "The proxy wants credentials, or others.".to_owned(),
        ErrorKind::Timeout(Phase::Total) => {
            format!("The time of --deadline is over: {again}, with more of it.")
        }
        ErrorKind::Timeout(_) => format!("The source is silent or too slow: {again}, or allow it more time."),
        ErrorKind::Tls => {
            "No secure connection: check the name and the clock, or name the authority with --ca-certificate."
                .to_owned()
        }
        ErrorKind::Dns => "The host has no address: check its name and your network.".to_owned(),
        ErrorKind::Protocol => "The source does not keep to its protocol: ask another one.".to_owned(),
        ErrorKind::Local => {
            format!(
                "This machine could not store {name}: check the folder, its permissions and the free space."
            )
        }
        ErrorKind::Cancelled => format!("It was stopped before its end: {again}."),
        ErrorKind::Unsupported | ErrorKind::Input => "See `fetch --help` for what is accepted.".to_owned(),
        _ => format!("It did not work out; {unwritten}."),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "sha-256: expected 00, found 11")
            .with_url(&"https://me:s3cret@h/f?sig=s3cret".parse().unwrap())
            .with_offset(7)
            .with_attempts(Vec::new(), Duration::from_millis(1500))
    }

    #[test]
    fn it_says_what_where_and_what_to_do_without_secrets() {
        let text = account("f", &error(ErrorKind::Integrity), Left::Partial);
        assert_eq!(
            text,
            "fetch: f: integrity: sha-256: expected 00, found 11: https://***@h/f?sig=*** at byte 7\n  \
             The bytes that came are not the ones the checksum, the size or the source itself names; nothing was written to f.\n"
        );
    }

    #[test]
    fn causes_are_told_and_the_advice_fits_what_is_left() {
        let broken = Error::local("cannot write", std::io::Error::other("no space left"));
        let text = account("f", &broken, Left::Partial);
        assert!(text.contains("  Cause: no space left\n") && text.contains("could not store f"), "{text}");
        let printed = account("-", &error(ErrorKind::Changed), Left::Printed);
        assert!(printed.ends_with("do not use what went to standard output.\n"), "{printed}");
        let cut = |left| account("f", &error(ErrorKind::Truncated), left);
        assert!(cut(Left::Partial).contains("goes on where this one ended"));
        assert!(!cut(Left::Nothing).contains("goes on"));
    }
}
