//! The servers that all contestants talk to, on loopback, and the long way to them.
//!
//! Owns them, and the words of the table that say where they are. Invariant: they are gone when the [`Servers`] are, and only those run that
//! somebody is to ask. Must not know who asks.

#[path = "server/nginx.rs"]
mod nginx;
#[path = "server/openssh.rs"]
mod openssh;
#[path = "server/ports.rs"]
mod ports;
#[path = "server/process.rs"]
mod process;
#[path = "server/vsftpd.rs"]
mod vsftpd;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nginx::Nginx;
use openssh::Openssh;
pub(crate) use process::pause;
use vsftpd::Vsftpd;

use crate::far::{Cable, Far};
use crate::measure;
use crate::travel::Log;
use crate::workloads::{WINDOW, Way};

/// Placeholders of the table, and what stands for them.
pub(crate) type Words = Vec<(&'static str, String)>;
/// Where the far FTP server is: its ports are the same as here, so that its replies about data connections are true.
const FAR_AWAY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub(crate) struct Servers {
    nginx: Nginx,
    ftp: Option<Ftp>,
    sftp: Option<Openssh>,
    far: Far,
}

/// Two that write to one log: the far one must name another address, and ports that the link knows.
struct Ftp {
    near: Vsftpd,
    far: Vsftpd,
    log: PathBuf,
}

impl Servers {
    /// Serves `dir/served`: over HTTP always, in other ways if they are among `ways`.
    pub(crate) fn start(dir: &Path, ways: &[Way]) -> Result<Self, String> {
        let nginx = Nginx::start(dir)?;
        let ftp = ways.contains(&Way::Ftp).then(|| Ftp::start(dir)).transpose()?;
        let sftp = ways.contains(&Way::Sftp).then(|| Openssh::start(dir)).transpose()?;
        let mut cables = vec![Cable::to(nginx.tls(Way::Http2)), Cable::to(nginx.tls(Way::Http1))];
        cables.extend(sftp.as_ref().map(|sftp| Cable::to(sftp.address()).window(WINDOW)));
        cables.extend(ftp.as_ref().map(|ftp| {
            let routes = ftp.far.addresses().map(|near| ((FAR_AWAY, near.port()).into(), near));
            Cable::of(routes).window(WINDOW)
        }));
        let far = Far::start(&cables)?;
        if let Some(sftp) = &sftp {
            sftp.introduce(dir, far.addresses()[2])?;
        }
        Ok(Self { nginx, ftp, sftp, far })
    }

    /// Where they are; those that do not run have no words.
    pub(crate) fn words(&self, dir: &Path) -> Words {
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let tls = |address| format!("https://{address}");
        let served = path(dir.join("served"));
        let far = self.far.addresses();
        let mut words = vec![
            ("base", self.nginx.base()),
            ("h2", tls(self.nginx.tls(Way::Http2))),
            ("h1", tls(self.nginx.tls(Way::Http1))),
            ("far_h2", tls(far[0])),
            ("far_h1", tls(far[1])),
            ("ca", path(self.nginx.ca())),
        ];
        if let Some(ftp) = &self.ftp {
            let far_port = ftp.far.port();
            words.extend([
                ("ftp", format!("ftp://127.0.0.1:{}", ftp.near.port())),
                ("ftp_port", ftp.near.port().to_string()),
                ("far_ftp", format!("ftp://{FAR_AWAY}:{far_port}")),
                ("far_ftp_host", FAR_AWAY.to_string()),
                ("far_ftp_port", far_port.to_string()),
            ]);
        }
        if let Some(sftp) = &self.sftp {
            let url = |address| format!("sftp://{}@{address}{served}", sftp.user());
            words.extend([
                ("sftp", url(sftp.address())),
                ("sftp_port", sftp.address().port().to_string()),
                ("far_sftp", url(far[2])),
                ("far_sftp_port", far[2].port().to_string()),
                ("user", sftp.user().to_owned()),
                ("key", path(sftp.key())),
                ("known_hosts", path(openssh::known_hosts(dir))),
                ("ssh_config", path(sftp.client_configuration())),
            ]);
        }
        words.push(("served", served));
        words
    }

    /// What is written of requests that come this way.
    pub(crate) fn log(&self, way: Way) -> Log {
        let path = match way {
            Way::Http1 | Way::Http2 => Some(self.nginx.log(way)),
            Way::Ftp => self.ftp.as_ref().map(|ftp| ftp.log.clone()),
            Way::Sftp => self.sftp.as_ref().map(Openssh::log),
        };
        Log::at(path.unwrap_or_default())
    }

    /// Seconds of processor time that they and the link used so far.
    pub(crate) fn cpu_time(&self) -> f64 {
        let ftp = self.ftp.iter().flat_map(|ftp| [ftp.near.id(), ftp.far.id()]);
        let ids = ftp.chain(self.sftp.as_ref().map(Openssh::id)).chain([self.nginx.id(), self.far.id()]);
        ids.map(measure::cpu_time_of_family).sum()
    }
}

impl Ftp {
    fn start(dir: &Path) -> Result<Self, String> {
        let state = dir.join("vsftpd");
        fs::create_dir_all(&state).map_err(|error| format!("cannot make vsftpd's directory: {error}"))?;
        let (log, served) = (state.join("vsftpd.log"), dir.join("served"));
        let near = Vsftpd::start(&state, "near", &served, &log, None)?;
        let far = Vsftpd::start(&state, "far", &served, &log, Some(FAR_AWAY))?;
        Ok(Self { near, far, log })
    }
}
