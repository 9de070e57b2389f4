//! The exit code: classes of failure, and the one class that a whole run ends with.
//!
//! Invariant: the numbers are a promise to scripts, told in `--help` and the README. Must not know: what was
//! downloaded.

use downloader_core::ErrorKind;

/// What a failure, or a run, ends with; the discriminant is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Class {
    /// All is there.
    Success = 0,
    /// Failures of several classes, or of none of the others.
    Other = 1,
    /// The command line, a list, or a URL is not understood.
    Input = 2,
    /// The sources do not have the content.
    NotFound = 3,
    /// The sources refuse this caller.
    Denied = 4,
    /// The bytes are not the ones asked for.
    Integrity = 5,
    /// The network, or what speaks through it.
    Network = 6,
    /// Nothing, or too little, came in time.
    Timeout = 7,
    /// This machine, such as its disk.
    Local = 8,
    /// The sources cannot serve now.
    Busy = 9,
    /// The caller's own rules forbid it.
    Refused = 10,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Class {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The class of a run in which failures of both classes happened.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Interrupted, _) | (_, Self::Interrupted) => Self::Interrupted,
            (Self::Success, other) => other,
            (own, Self::Success) => own,
            (own, other) if own == other => own,
            _ => Self::Other,
        }
    }
}

impl From<ErrorKind> for Class {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Denied | ErrorKind::Unauthorized | ErrorKind::ProxyUnauthorized => Self::Denied,
            ErrorKind::Integrity | ErrorKind::Changed => Self::Integrity,
            ErrorKind::Truncated
            | ErrorKind::Tls
            | ErrorKind::Dns
            | ErrorKind::Connect
            | ErrorKind::Proxy
            | ErrorKind::Protocol => Self::Network,
            ErrorKind::Timeout(_) => Self::Timeout,
            ErrorKind::Local => Self::Local,
            ErrorKind::Busy => Self::Busy,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Input | ErrorKind::Unsupported => Self::Input,
            ErrorKind::Cancelled => Self::Interrupted,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::EXIT_CODES;

    const ALL: [Class; 12] = [
        Class::Success,
        Class::Other,
        Class::Input,
        Class::NotFound,
        Class::Denied,
        Class::Integrity,
        Class::Network,
        Class::Timeout,
        Class::Local,
        Class::Busy,
        Class::Refused,
        Class::Interrupted,
    ];

    #[test]
    fn every_code_is_documented() {
        let readme = include_str!("../README.md");
        for class in ALL {
            let code = class.code();
            assert!(EXIT_CODES.contains(&format!("{code} ")), "{class:?}");
            assert!(readme.contains(&format!("| {code} |")), "{class:?}");
        }
    }

    #[test]
    fn several_failures_of_one_class_are_that_class() {
        assert_eq!(Class::Success.and(Class::Busy).and(Class::Success).and(Class::Busy), Class::Busy);
        assert_eq!(Class::Busy.and(Class::NotFound), Class::Other);
        assert_eq!(Class::Other.and(Class::NotFound), Class::Other);
        assert_eq!(Class::Busy.and(Class::Interrupted).and(Class::NotFound), Class::Interrupted);
    }

    #[test]
    fn both_kinds_of_wrong_bytes_are_integrity_and_truncation_is_the_network() {
        assert_eq!(Class::from(ErrorKind::Changed), Class::Integrity);
        assert_eq!(Class::from(ErrorKind::Truncated), Class::Network);
        assert_eq!(Class::from(ErrorKind::Unauthorized), Class::Denied);
    }
}
