//! What was learnt of servers, for the next connection to them.
//!
//! Invariant: bounded, and never more than what a server itself showed. Must not know: connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::facts::Features;

/// Servers remembered.
const MOST_SERVERS: usize = 1024;

/// What is known of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) features: Option<Arc<Features>>,
    /// `EPSV` led nowhere; `PASV` does.
    pub(crate) no_epsv: bool,
    /// `LIST -a` does not show what `LIST` shows.
    pub(crate) no_hidden: bool,
}

/// All of them, by origin.
#[derive(Debug, Default)]
pub(crate) struct Servers(Mutex<HashMap<Arc<str>, Known>>);

impl Servers {
    pub(crate) fn of(&self, origin: &str) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned().unwrap_or_default()
    }

    pub(crate) fn learn(&self, origin: &Arc<str>, change: impl FnOnce(&mut Known)) {
        // Plain data: usable whatever the panicking holder was at.
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.len() >= MOST_SERVERS
            && !servers.contains_key(origin)
            && let Some(any) = servers.keys().next().cloned()
        {
            servers.remove(&any);
        }
        change(servers.entry(Arc::clone(origin)).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_is_kept_of_so_many() {
        let servers = Servers::default();
        for number in 0..MOST_SERVERS + 10 {
            servers.learn(&format!("ftp://h{number}").into(), |known| known.no_epsv = true);
        }
        assert_eq!(servers.0.lock().unwrap().len(), MOST_SERVERS);
        assert!(servers.of("ftp://h1033").no_epsv && !servers.of("ftp://other").no_epsv);
    }
}
