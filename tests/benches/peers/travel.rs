//! How requests travelled: what the server logged of a run's protocol, TLS version, cipher suite and connections.
//!
//! Owns the reading of the server's log. Invariant: a run whose log has a request too few, or one over something else, did not go the
//! way it had to. Must not know who asked for what.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use crate::workloads::Protocol;

/// nginx's `log_format` for [`Log`].
pub(crate) const FORMAT: &str = "$connection $server_protocol $ssl_protocol $ssl_cipher";
/// nginx writes what it gathered every 100 ms: what is not there after this is not to come.
const FLUSHED: Duration = Duration::from_millis(150);
const LOOKS: u32 = 14;

/// The log of one port of the server.
pub(crate) struct Log {
    path: PathBuf,
    /// Where the run begins.
    from: u64,
}

impl Log {
    /// The log from now on.
    pub(crate) fn at(path: PathBuf) -> Self {
        let from = fs::metadata(&path).map_or(0, |file| file.len());
        Self { path, from }
    }

    /// How the requests since then travelled, in words, if there are at least `files`, all over TLS 1.3 and `protocol`.
    pub(crate) fn travelled(&self, protocol: Protocol, files: u64) -> Result<String, String> {
        let wanted = match protocol {
            Protocol::Http2 => "HTTP/2.0",
            Protocol::Http1 => "HTTP/1.1",
        };
        let text = self.complete(files)?;
        let (mut connections, mut suites) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            let [connection, spoken, tls, suite] = line.split(' ').collect::<Vec<_>>()[..] else {
                return Err(format!("the server logged {line:?}"));
            };
            if (spoken, tls) != (wanted, "TLSv1.3") {
                return Err(format!(
                    "a request went over {spoken} and {tls} instead of {wanted} and TLSv1.3"
                ));
            }
            connections.insert(connection);
            suites.insert(suite);
        }
        let (count, suites) = (connections.len(), suites.into_iter().collect::<Vec<_>>().join(" and "));
        let connections = if count == 1 { "connection" } else { "connections" };
        Ok(format!("{wanted}, TLSv1.3, {suites}, {count} {connections}"))
    }

    /// The lines since then, once there are enough and no more come.
    fn complete(&self, files: u64) -> Result<String, String> {
        let mut last = None;
        for _ in 0..LOOKS {
            let text = self.lines().map_err(|error| format!("the server's log cannot be read: {error}"))?;
            if text.lines().count() as u64 >= files && last.as_ref() == Some(&text) {
                return Ok(text);
            }
            last = Some(text);
            crate::server::pause(FLUSHED);
        }
        let requests = last.map_or(0, |text| text.lines().count());
        Err(format!("the server logged {requests} requests for {files} files"))
    }

    fn lines(&self) -> io::Result<String> {
        let (mut file, mut text) = (File::open(&self.path)?, String::new());
        file.seek(SeekFrom::Start(self.from))?;
        file.read_to_string(&mut text)?;
        Ok(text)
    }
}
