//! The one place where failures of SSH and SFTP get their kind.
//!
//! Invariant: the kind says what to do about it, and no secret is in it. Must not know: retries.

use downloader_core::net::fault;
use downloader_core::{Error, ErrorKind, Phase};

use crate::protocol::{Reply, Status};
use crate::session::End;

/// How far a request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Up to what the server tells of the file.
    Head,
    /// Within the content.
    Body,
}

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Of SSH.
    Ssh(russh::Error),
    /// Of the session.
    End(End),
    /// The server says no.
    Status(Status),
    /// Another reply than this one was due.
    Unexpected(&'static str),
}

impl From<russh::Error> for Fault {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl From<End> for Fault {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<Reply> for Fault {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Status(status) => Self::Status(status),
            other => Self::Unexpected(other.word()),
        }
    }
}

/// Makes an error of the engine.
pub(crate) fn classify(fault: impl Into<Fault>, stage: Stage) -> Error {
    match fault.into() {
        Fault::End(end) => of_end(end, stage),
        Fault::Status(status) => of_status(&status, stage),
        Fault::Unexpected(what) => {
            Error::new(ErrorKind::Protocol, format!("the server sent {what} out of turn"))
        }
        Fault::Ssh(error) => {
            let (kind, what) = of_ssh(&error, stage);
            Error::new(kind, what).with_source(error)
        }
    }
}

fn broken(stage: Stage) -> Error {
    match stage {
        Stage::Head => Error::new(ErrorKind::Connect, "connection broke before the reply"),
        Stage::Body => Error::new(ErrorKind::Truncated, "connection broke within the content"),
    }
}

fn of_end(end: End, stage: Stage) -> Error {
    match end {
        End::Broken => broken(stage),
        End::Silent(time) => {
            let phase = if stage == Stage::Head { Phase::Head } else { Phase::Idle };
            let what = format!("no answer from the server for {} s", time.as_secs_f64());
            Error::new(ErrorKind::Timeout(phase), what)
        }
        End::Malformed(what) => Error::new(ErrorKind::Protocol, format!("malformed SFTP: {what}")),
        End::Version(version) => Error::new(
            ErrorKind::Unsupported,
            format!("the server speaks version {version} of SFTP; wanted is 3"),
        ),
    }
}

/// Codes of the draft (§7), and of later ones that version 3 servers send all the same.
fn of_status(status: &Status, stage: Stage) -> Error {
    let (kind, what) = match status.code {
        0 => (ErrorKind::Protocol, "success where data was due"),
        1 => (ErrorKind::Truncated, "the end of the file before its time"),
        2 | 10 => (ErrorKind::NotFound, "no such file"),
        3 => (ErrorKind::Denied, "the file may not be read"),
        // Whatever else the server's system says: too many open files, a disk that fails.
        4 | 9 | 13 => (ErrorKind::Busy, "the server failed"),
        5 => (ErrorKind::Protocol, "the server takes the request for a bad one"),
        6 | 7 => return told(broken(stage), status),
        8 => (ErrorKind::Unsupported, "the server cannot do that"),
        18 => (ErrorKind::NotFound, "a part of the path is no directory"),
        20 => (ErrorKind::NotFound, "the server takes the name for no file name"),
        21 => (ErrorKind::NotFound, "a loop of links"),
        _ => (ErrorKind::Protocol, "the server refuses with a code that version 3 does not have"),
    };
    told(Error::new(kind, what), status)
}

/// With the words of the server, where it has any.
fn told(error: Error, status: &Status) -> Error {
    let Status { code, message } = status;
    error.with_source(format!("status {code}: {message}"))
}

fn of_ssh(error: &russh::Error, stage: Stage) -> (ErrorKind, &'static str) {
    use russh::Error as Ssh;
    if let Ssh::IO(io) = error
        && fault::is_local(io)
    {
        return (ErrorKind::Local, "out of file descriptors or memory");
    }
    // What came before was whole: a damaged packet within the content is a cut like any other.
    if stage == Stage::Body {
        return (ErrorKind::Truncated, "connection broke within the content");
    }
    match error {
        Ssh::NoCommonAlgo { .. } | Ssh::UnknownAlgo => {
            (ErrorKind::Unsupported, "the server and we have no algorithm in common")
        }
        Ssh::Version | Ssh::KexInit | Ssh::Kex | Ssh::Inconsistent | Ssh::PacketSize(_) => {
            (ErrorKind::Protocol, "the server does not speak SSH as it should")
        }
        Ssh::WrongServerSig | Ssh::Signature(_) | Ssh::StrictKeyExchangeViolation { .. } => {
            (ErrorKind::Protocol, "the server does not prove its key")
        }
        Ssh::KeepaliveTimeout | Ssh::InactivityTimeout | Ssh::ConnectionTimeout | Ssh::Elapsed(_) => {
            (ErrorKind::Timeout(Phase::Head), "no sign of life from the server")
        }
        Ssh::ChannelOpenFailure(_) => (ErrorKind::Busy, "the server opens no further channel"),
        _ => (ErrorKind::Connect, "connection broke before the reply"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    #[test]
    fn codes_of_servers() {
        let kind = |code, stage| {
            let error = classify(Reply::Status(Status { code, message: "w0rds".into() }), stage);
            assert!(!error.to_string().contains("w0rds") && format!("{error:?}").contains("w0rds"));
            error.kind()
        };
        for (code, expected) in [
            (2, ErrorKind::NotFound),
            (3, ErrorKind::Denied),
            (4, ErrorKind::Busy),
            (5, ErrorKind::Protocol),
            (7, ErrorKind::Connect),
            (8, ErrorKind::Unsupported),
            (10, ErrorKind::NotFound),
            (77, ErrorKind::Protocol),
        ] {
            assert_eq!(kind(code, Stage::Head), expected, "{code}");
        }
        assert_eq!(kind(7, Stage::Body), ErrorKind::Truncated);
    }

    #[test]
    fn ends_of_sessions() {
        let kind = |end, stage| classify(Fault::End(end), stage).kind();
        assert_eq!(kind(End::Broken, Stage::Head), ErrorKind::Connect);
        assert_eq!(kind(End::Broken, Stage::Body), ErrorKind::Truncated);
        let silent = End::Silent(Duration::from_secs(30));
        assert_eq!(kind(silent, Stage::Head), ErrorKind::Timeout(Phase::Head));
        assert_eq!(kind(silent, Stage::Body), ErrorKind::Timeout(Phase::Idle));
        assert_eq!(kind(End::Malformed("x"), Stage::Body), ErrorKind::Protocol);
    }

    #[test]
    fn failures_of_ssh() {
        let kind = |error, stage| classify(Fault::Ssh(error), stage).kind();
        assert_eq!(kind(russh::Error::DecryptionError, Stage::Body), ErrorKind::Truncated);
        assert_eq!(kind(russh::Error::Disconnect, Stage::Head), ErrorKind::Connect);
        assert_eq!(kind(russh::Error::WrongServerSig, Stage::Head), ErrorKind::Protocol);
        let full = russh::Error::IO(io::Error::from_raw_os_error(24));
        assert_eq!(kind(full, Stage::Body), ErrorKind::Local);
    }
}
