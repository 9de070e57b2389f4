//! Commands as they go over the control connection.
//!
//! Invariant: one command is one line; what would end it early cannot be made. Nothing of a command but its verb is ever
//! printed. Must not know: replies.

use std::fmt;

use downloader_core::{Error, Result};

/// The byte that begins a Telnet command (RFC 854), which the control connection is: it is doubled.
const IAC: u8 = 0xff;

/// One line for the server.
#[derive(Clone)]
pub(crate) struct Command {
    verb: &'static str,
    line: Vec<u8>,
}

impl Command {
    /// Without an argument, or with one that this crate makes.
    pub(crate) fn new(verb: &'static str) -> Self {
        Self { verb, line: [verb.as_bytes(), b"\r\n"].concat() }
    }

    /// With an argument.
    ///
    /// # Errors
    /// Kind `Unsupported` for CR, LF and NUL in it, which no server could take for a part of it.
    pub(crate) fn with(verb: &'static str, argument: impl AsRef<[u8]>) -> Result<Self> {
        let argument = argument.as_ref();
        require_one_line(argument)?;
        let mut line = Vec::with_capacity(verb.len() + argument.len() + 3);
        line.extend_from_slice(verb.as_bytes());
        line.push(b' ');
        for byte in argument {
            line.push(*byte);
            if *byte == IAC {
                line.push(IAC);
            }
        }
        line.extend_from_slice(b"\r\n");
        Ok(Self { verb, line })
    }

    pub(crate) fn verb(&self) -> &'static str {
        self.verb
    }

    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }
}

/// Refuses what would end a command early. Not kind `Input`, which ends a download: another mirror may have a better name.
///
/// # Errors
/// See above.
pub(crate) fn require_one_line(argument: &[u8]) -> Result<()> {
    if argument.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(Error::unsupported("a line break or NUL in a name: FTP cannot ask for it"));
    }
    Ok(())
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_and_what_cannot_be_one() {
        assert_eq!(Command::new("EPSV").line(), b"EPSV\r\n");
        assert_eq!(Command::with("RETR", b"a b\xff").unwrap().line(), b"RETR a b\xff\xff\r\n");
        for bad in [&b"a\r\nDELE b"[..], b"a\n", b"\r", b"a\0b"] {
            let error = Command::with("RETR", bad).unwrap_err();
            assert_eq!(error.kind(), downloader_core::ErrorKind::Unsupported);
            assert!(!error.to_string().contains("DELE"));
        }
        assert_eq!(format!("{:?}", Command::with("PASS", b"s3cret").unwrap()), "PASS");
    }

    proptest! {
        #[test]
        fn a_command_is_one_line(argument in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(command) = Command::with("RETR", &argument) {
                let line = command.line();
                prop_assert!(line.ends_with(b"\r\n"));
                let inner = &line[..line.len() - 2];
                prop_assert!(!inner.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            } else {
                prop_assert!(argument.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            }
        }
    }
}
