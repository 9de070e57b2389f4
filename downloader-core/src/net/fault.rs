//! Which failures of a socket call are this machine's own.
//!
//! Owns that list. Invariant: a fault on it is nobody else's, so no source and no proxy is blamed for it.
//! Must not know: what the socket was for.

use std::io;

use rustix::io::Errno;

/// True when this machine has run out of something: file descriptors (`EMFILE`, `ENFILE`) or memory
/// (`ENOMEM`, `ENOBUFS`). Such a failure is of kind [`Local`](crate::ErrorKind::Local).
#[must_use]
pub fn is_local(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_out_here_is_nobody_elses_fault() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            assert!(is_local(&errno.into()), "{errno}");
        }
        for errno in
            [Errno::CONNREFUSED, Errno::NETUNREACH, Errno::ADDRNOTAVAIL, Errno::TIMEDOUT, Errno::PERM]
        {
            assert!(!is_local(&errno.into()), "{errno}");
        }
        assert!(!is_local(&io::Error::other("no number at all")));
    }
}
