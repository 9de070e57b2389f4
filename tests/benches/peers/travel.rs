//! How requests travelled: what the server logged of a run's protocol, TLS version, cipher and connections.
//!
//! Owns the reading of the servers' logs. Invariant: a run whose log has a request too few, or one over something else, did not go the
//! way it had to. Must not know who asked for what.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use crate::workloads::Way;

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

    /// How the requests since then travelled, in words, if there are at least `requests`, all in this `way`, over at most `connections`.
    pub(crate) fn travelled(
        &self,
        way: Way,
        requests: u64,
        connections: Option<usize>,
    ) -> Result<String, String> {
        let mut last = None;
        for _ in 0..LOOKS {
            let text = self.lines().map_err(|error| format!("the server's log cannot be read: {error}"))?;
            let told = match way {
                Way::Http1 => nginx(&text, "HTTP/1.1")?,
                Way::Http2 => nginx(&text, "HTTP/2.0")?,
                Way::Ftp => vsftpd(&text),
                Way::Sftp => openssh(&text),
            };
            // Once there are enough, and no more come.
            if told.requests.is_none_or(|count| count >= requests)
                && told.connections > 0
                && last.as_ref() == Some(&told)
            {
                return told.judged(connections);
            }
            last = Some(told);
            crate::server::pause(FLUSHED);
        }
        let Told { requests: told, connections, .. } = last.unwrap_or_default();
        Err(format!(
            "the server logged {} requests on {connections} connections for {requests} files",
            told.unwrap_or_default()
        ))
    }

    fn lines(&self) -> io::Result<String> {
        let (mut file, mut text) = (File::open(&self.path)?, String::new());
        file.seek(SeekFrom::Start(self.from))?;
        file.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// What a log says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// Where it names them.
    requests: Option<u64>,
    connections: usize,
    /// Protocol and ciphers.
    how: String,
}

impl Told {
    fn judged(self, most: Option<usize>) -> Result<String, String> {
        let Self { connections, how, .. } = self;
        if let Some(most) = most.filter(|most| connections > *most) {
            return Err(format!("{connections} connections were opened instead of {most}"));
        }
        let noun = if connections == 1 { "connection" } else { "connections" };
        Ok(format!("{how}, {connections} {noun}"))
    }
}

/// Lines as in [`FORMAT`].
fn nginx(text: &str, wanted: &str) -> Result<Told, String> {
    let (mut connections, mut suites) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let [connection, spoken, tls, suite] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("the server logged {line:?}"));
        };
        if (spoken, tls) != (wanted, "TLSv1.3") {
            return Err(format!("a request went over {spoken} and {tls} instead of {wanted} and TLSv1.3"));
        }
        connections.insert(connection);
        suites.insert(suite);
    }
    Ok(Told {
        requests: Some(text.lines().count() as u64),
        connections: connections.len(),
        how: format!("{wanted}, TLSv1.3, {}", words(suites)),
    })
}

/// A line for each control connection and for each download, that of a segment cut short included. Listings it does not log.
fn vsftpd(text: &str) -> Told {
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    Told {
        requests: Some(count(" DOWNLOAD: Client ") as u64),
        connections: count(" CONNECT: Client "),
        how: "FTP".to_owned(),
    }
}

/// Connections with their ciphers; what is asked on them is not logged.
fn openssh(text: &str) -> Told {
    let ciphers = text.lines().filter_map(|line| line.split_once("kex: server->client cipher: "));
    let ciphers = ciphers.filter_map(|(_, agreed)| agreed.split(' ').next()).collect();
    Told {
        requests: None,
        connections: text.lines().filter(|line| line.starts_with("Accepted publickey for ")).count(),
        how: format!("SFTP, {}", words(ciphers)),
    }
}

fn words(names: BTreeSet<&str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(" and ")
}
