//! vsftpd: anonymous, with sendfile, a process for each session.
//!
//! Owns its configuration, ports and process. Invariant: it writes nothing but its log. Must not know who asks.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::{ports, process::Process};

/// Ports for data connections where somebody else has to know them beforehand: many more than connections at once, because it draws them.
const PASSIVE: u16 = 64;

pub(super) struct Vsftpd {
    process: Process,
    port: u16,
    passive: Option<u16>,
}

impl Vsftpd {
    /// Serves `served`; `known_as` is the address of a relay that passes connections to the same ports on.
    pub(super) fn start(
        state: &Path,
        name: &str,
        served: &Path,
        log: &Path,
        known_as: Option<Ipv4Addr>,
    ) -> Result<Self, String> {
        let (port, passive) = if let Some(relay) = known_as {
            let first = ports::free_in_a_row(1 + PASSIVE, &[Ipv4Addr::LOCALHOST, relay])?;
            (first, Some(first + 1))
        } else {
            let [port] = ports::free()?;
            (port, None)
        };
        let mut configuration = configuration(port, served, log);
        if let (Some(address), Some(first)) = (known_as, passive) {
            let last = first + PASSIVE - 1;
            configuration +=
                &format!("pasv_address={address}\npasv_min_port={first}\npasv_max_port={last}\n");
        }
        let file = state.join(format!("{name}.conf"));
        fs::write(&file, configuration).map_err(|error| format!("{name}.conf: {error}"))?;
        let (output, address) = (state.join(format!("{name}.output")), (Ipv4Addr::LOCALHOST, port).into());
        let process = Process::start("vsftpd", &output, address, |command| {
            command.arg(&file);
        })?;
        Ok(Self { process, port, passive })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens and may listen, as far as that is known beforehand.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let passive = self.passive.map(|first| first..first + PASSIVE);
        std::iter::once(self.port)
            .chain(passive.into_iter().flatten())
            .map(|port| (Ipv4Addr::LOCALHOST, port).into())
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}

/// `run_as_launching_user` spares the change of user and root, which a user namespace forbids; the namespaces of its own that
/// vsftpd makes for each session are for servers that strangers reach.
fn configuration(port: u16, served: &Path, log: &Path) -> String {
    let (served, log) = (served.display(), log.display());
    format!(
        "listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
run_as_launching_user=YES
isolate=NO
isolate_network=NO
seccomp_sandbox=NO
anonymous_enable=YES
no_anon_password=YES
anon_root={served}
local_enable=NO
write_enable=NO
use_sendfile=YES
max_clients=0
max_per_ip=0
xferlog_enable=YES
xferlog_std_format=NO
vsftpd_log_file={log}
"
    )
}
