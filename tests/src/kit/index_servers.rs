//! Servers that make index pages of directories, each of its own kind: lighttpd, Apache and Caddy on loopback.
//!
//! Owns their configurations. Its invariant: a server is gone when its handle is dropped. It must not know what is asked.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use super::daemon::{self, Daemon};

/// A running server that lists directories; killed when dropped.
pub struct IndexServer {
    _daemon: Daemon,
    addr: SocketAddr,
}

/// The modules of Apache that a list of files needs, where Debian puts them.
const APACHE: [&str; 4] = ["mpm_event", "authz_core", "autoindex", "alias"];

impl IndexServer {
    /// lighttpd, with the files below `root`.
    pub async fn lighttpd(root: &Path) -> io::Result<Self> {
        let prepare = |folder: &Path, [addr]: [SocketAddr; 1]| {
            let text = format!(
                "server.document-root = \"{}\"\nserver.bind = \"{}\"\nserver.port = {}\n\
                 server.modules = ( \"mod_dirlisting\" )\ndir-listing.activate = \"enable\"\n",
                root.display(),
                addr.ip(),
                addr.port()
            );
            fs::write(folder.join("lighttpd.conf"), text)?;
            let mut command = daemon::program("lighttpd", "lighttpd")?;
            command.args(["-D", "-f", "lighttpd.conf"]);
            Ok::<Command, io::Error>(command)
        };
        Self::start("lighttpd", prepare).await
    }

    /// Apache, with the files below `root` three times: as a fancy index below `/fancy/`, as a table below `/table/`, and plain
    /// below `/plain/`.
    pub async fn apache(root: &Path) -> io::Result<Self> {
        let root = root.display();
        let prepare = |folder: &Path, [addr]: [SocketAddr; 1]| {
            let modules = APACHE
                .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
            let kinds = [
                ("fancy", "FancyIndexing NameWidth=*"),
                ("table", "FancyIndexing HTMLTable"),
                ("plain", "-FancyIndexing"),
            ];
            let kinds = kinds.map(|(kind, options)| {
                format!("Alias /{kind} {root}\n<Location /{kind}>\nIndexOptions {options}\n</Location>\n")
            });
            let text = format!(
                "ServerRoot {folder}\nPidFile {folder}/pid\nErrorLog {folder}/{errors}\nListen {addr}\n\
                 ServerName localhost\n{modules}DocumentRoot {root}\n\
                 <Directory {root}>\nOptions +Indexes\n</Directory>\n{kinds}",
                folder = folder.display(),
                errors = daemon::ERRORS,
                modules = modules.concat(),
                kinds = kinds.concat(),
            );
            fs::write(folder.join("apache.conf"), text)?;
            let mut command = daemon::program("apache2", "apache2")?;
            command.arg("-DFOREGROUND").arg("-f").arg(folder.join("apache.conf"));
            Ok::<Command, io::Error>(command)
        };
        Self::start("apache2", prepare).await
    }

    /// Caddy, with the files below `root`: JSON for whoever accepts that, else HTML.
    pub async fn caddy(root: &Path) -> io::Result<Self> {
        let prepare = |folder: &Path, [addr]: [SocketAddr; 1]| {
            let text = format!(
                "{{\n\tadmin off\n}}\nhttp://{addr} {{\n\troot * {}\n\tfile_server browse\n}}\n",
                root.display()
            );
            fs::write(folder.join("Caddyfile"), text)?;
            let mut command = daemon::program("caddy", "caddy")?;
            command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
            command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
            Ok::<Command, io::Error>(command)
        };
        Self::start("caddy", prepare).await
    }

    async fn start(
        name: &'static str,
        prepare: impl Fn(&Path, [SocketAddr; 1]) -> io::Result<Command>,
    ) -> io::Result<Self> {
        let (daemon, [addr]) = daemon::start(name, prepare).await?;
        Ok(Self { _daemon: daemon, addr })
    }

    /// `http://127.0.0.1:port` and `path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}
