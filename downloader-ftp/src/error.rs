//! The one place where replies and broken connections get their kind.
//!
//! Invariant: the kind says what to do about it; of what a server says only a short, harmless part is quoted, and nothing
//! where it may repeat a password. Must not know: retries.

use std::io;

use downloader_core::net::fault;
use downloader_core::{Error, ErrorKind};
use suppaftp::Status;

use super::reply::Reply;

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The greeting.
    Greeting,
    /// `AUTH`, `PBSZ`, `PROT`.
    Secure,
    /// `USER`, `PASS`: its text is not quoted.
    Login,
    /// A command about a file or directory.
    File,
    /// Something else.
    Other,
    /// The last reply of a transfer whose bytes are not known to be all.
    Transfer,
}

const GONE: [&str; 3] = ["no such file", "not found", "does not exist"];
const DENIED: [&str; 4] = ["permission denied", "access denied", "access is denied", "not permitted"];
const FULL: [&str; 3] = ["too many", "maximum number", "try again later"];

/// Makes an error of a reply that says no.
pub(crate) fn refused(stage: Stage, verb: &str, reply: &Reply) -> Error {
    let kind = kind_of(stage, reply);
    let what = if stage == Stage::Login {
        format!("{verb}: FTP reply {}", reply.code)
    } else {
        format!("{verb}: FTP reply {} {}", reply.code, reply.quoted())
    };
    Error::new(kind, what.trim_end()).with_status(reply.code)
}

fn kind_of(stage: Stage, reply: &Reply) -> ErrorKind {
    use Status::{
        BadArguments, BadCommand, BadFilename, FileUnavailable, InvalidCredentials, LoginNeedAccount,
        NeedPassword, NotImplemented, NotImplementedParameter, NotLoggedIn, StoringNeedAccount,
    };
    match (stage, Status::from(u32::from(reply.code))) {
        (Stage::Transfer, _) if matches!(reply.class(), 4 | 5) => ErrorKind::Truncated,
        // ProFTPD says so of an account, and of being full.
        (_, NotLoggedIn) if reply.says(&FULL) => ErrorKind::Busy,
        (_, NotLoggedIn | InvalidCredentials | LoginNeedAccount | NeedPassword | StoringNeedAccount) => {
            ErrorKind::Unauthorized
        }
        // RFC 4217, and 522 of servers that want a data connection to resume the session.
        (_, _) if matches!(reply.code, 431 | 521 | 522 | 533 | 534 | 535 | 536) => ErrorKind::Tls,
        (Stage::Secure, _) if reply.class() == 5 => ErrorKind::Tls,
        (Stage::Login, _) if reply.class() == 5 => ErrorKind::Unauthorized,
        (_, FileUnavailable) if reply.says(&DENIED) && !reply.says(&GONE) => ErrorKind::Denied,
        (_, FileUnavailable) => ErrorKind::NotFound,
        (_, BadFilename) => ErrorKind::Denied,
        // 421, 425, 426, 450, 451, 452: not now.
        _ if matches!(reply.class(), 1 | 4) => ErrorKind::Busy,
        (Stage::Greeting, _) if reply.class() == 5 => ErrorKind::Busy,
        (_, BadCommand | BadArguments | NotImplemented | NotImplementedParameter) => ErrorKind::Unsupported,
        _ => ErrorKind::Protocol,
    }
}

/// Makes an error of a control connection that broke.
pub(crate) fn broken(error: io::Error) -> Error {
    if fault::is_local(&error) {
        return Error::local("out of file descriptors or memory", error);
    }
    if let Some(refused) = downloader_tls::refusal(&error) {
        return refused;
    }
    Error::new(ErrorKind::Connect, "the control connection broke").with_source(error)
}

/// Makes an error of a data connection that broke.
pub(crate) fn cut(error: io::Error) -> Error {
    if fault::is_local(&error) {
        return Error::local("out of file descriptors or memory", error);
    }
    Error::new(ErrorKind::Truncated, "the data connection broke").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stage: Stage, code: u16, text: &str) -> ErrorKind {
        let error = refused(stage, "RETR", &Reply { code, text: text.as_bytes().to_vec() });
        assert_eq!(error.status(), Some(code));
        error.kind()
    }

    /// pulp A7: 550 is not found, 530 is about the account.
    #[test]
    fn codes_have_their_kinds() {
        use ErrorKind::{Busy, Denied, NotFound, Protocol, Tls, Truncated, Unauthorized, Unsupported};
        for (stage, code, text, expected) in [
            (Stage::Greeting, 421, "Too many connections", Busy),
            (Stage::Greeting, 530, "go away", Unauthorized),
            (Stage::Greeting, 120, "in 5 minutes", Busy),
            (Stage::Greeting, 550, "x", NotFound),
            (Stage::Login, 530, "Login incorrect.", Unauthorized),
            (Stage::Login, 530, "Sorry, the maximum number of clients (3) are already connected", Busy),
            (Stage::Login, 430, "bad", Unauthorized),
            (Stage::Login, 332, "account", Unauthorized),
            (Stage::Login, 503, "x", Unauthorized),
            (Stage::Secure, 502, "no", Tls),
            (Stage::Secure, 534, "no", Tls),
            (Stage::Secure, 421, "later", Busy),
            (Stage::File, 550, "No such file or directory", NotFound),
            (Stage::File, 550, "Failed to open file.", NotFound),
            (Stage::File, 550, "a: Permission denied", Denied),
            (Stage::File, 550, "Permission denied: no such file", NotFound),
            (Stage::File, 553, "name", Denied),
            (Stage::File, 425, "cannot open", Busy),
            (Stage::File, 426, "aborted", Busy),
            (Stage::File, 450, "busy", Busy),
            (Stage::File, 451, "local error", Busy),
            (Stage::File, 452, "disk", Busy),
            (Stage::File, 522, "session reuse required", Tls),
            (Stage::File, 530, "log in first", Unauthorized),
            (Stage::File, 502, "no", Unsupported),
            (Stage::File, 551, "page type", Protocol),
            (Stage::File, 200, "ok", Protocol),
            (Stage::Transfer, 426, "aborted", Truncated),
            (Stage::Transfer, 451, "read error", Truncated),
            (Stage::Transfer, 551, "read error", Truncated),
        ] {
            assert_eq!(kind(stage, code, text), expected, "{stage:?} {code} {text}");
        }
    }

    #[test]
    fn what_may_repeat_a_password_is_not_quoted() {
        let reply = Reply { code: 530, text: b"no s3cret here".to_vec() };
        assert_eq!(refused(Stage::Login, "PASS", &reply).what(), "PASS: FTP reply 530");
        assert_eq!(refused(Stage::File, "RETR", &reply).what(), "RETR: FTP reply 530 no s3cret here");
    }
}
