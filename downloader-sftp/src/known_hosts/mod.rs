//! Known hosts: files that say which key a host has, read and added to as OpenSSH does it.
//!
//! Invariant: nothing is read that was not named, and nothing in a file is ever changed but by adding one line at its
//! end. Must not know: SSH, or when a key is to be added.

pub(crate) mod known;
pub(crate) mod line;

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind as Io, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use downloader_core::{Error, ErrorKind, Result};

use self::known::{Known, Standing};
use self::line::{Line, line_for, name_of};

/// Largest known_hosts file that is read, in bytes.
pub const MAX_KNOWN_HOSTS: u64 = 16 << 20;

/// Which keys hosts have: known_hosts files, and texts in their form.
///
/// Names may be hashed, hold the patterns `*`, `?` and `!`, and name a port as `[host]:port`; `@cert-authority` and
/// `@revoked` are understood. Without a file nothing is known. The files are read again for every new connection; one
/// that is missing counts as empty. A line that cannot be read is skipped, unless it begins with `@revoked`.
///
/// ```
/// use downloader_sftp::KnownHosts;
/// let hosts = KnownHosts::new().file("known_hosts").file("/etc/ssh/ssh_known_hosts");
/// # let _ = hosts;
/// ```
#[derive(Clone, Default)]
pub struct KnownHosts(Arc<Vec<Source>>);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Text(Box<str>),
}

impl KnownHosts {
    /// No host is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The file of this user, `.ssh/known_hosts` in the home folder, which need not exist. Reads the environment
    /// variable `HOME`, and so only when called.
    ///
    /// # Errors
    /// Kind `Input` when there is no home folder.
    pub fn user() -> Result<Self> {
        let home = env::home_dir().filter(|home| !home.as_os_str().is_empty());
        let home = home.ok_or_else(|| Error::input("known hosts: this user has no home folder"))?;
        Ok(Self::new().file(home.join(".ssh/known_hosts")))
    }

    /// The file of all users of this machine, `/etc/ssh/ssh_known_hosts`, after those named before.
    #[must_use]
    pub fn and_system(self) -> Self {
        self.file("/etc/ssh/ssh_known_hosts")
    }

    /// This file too. New hosts are added to the first file, if they are added at all.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        Arc::make_mut(&mut self.0).push(Source::File(path.into()));
        self
    }

    /// This text too, as if it stood in a file.
    #[must_use]
    pub fn text(mut self, lines: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).push(Source::Text(lines.into().into()));
        self
    }

    /// The first file.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.0.iter().find_map(|source| match source {
            Source::File(path) => Some(path.as_path()),
            Source::Text(_) => None,
        })
    }

    /// What is known of a host. Blocks while it reads.
    ///
    /// # Errors
    /// Kind `Local` when a file is there and cannot be read, is larger than 16 MiB, or holds an unreadable `@revoked`.
    pub(crate) fn find(&self, host: &str, port: u16) -> Result<Known> {
        let mut known = Known::default();
        for source in &*self.0 {
            match source {
                Source::Text(text) => scan(text.as_bytes(), host, port, &mut known)
                    .map_err(|number| unreadable("known hosts", number))?,
                Source::File(path) => {
                    let shown = path.display().to_string();
                    let bytes = match File::open(path) {
                        Err(error) if error.kind() == Io::NotFound => continue,
                        opened => opened.and_then(read).map_err(|error| unread(&shown, error))?,
                    };
                    scan(&bytes, host, port, &mut known).map_err(|number| unreadable(&shown, number))?;
                }
            }
        }
        Ok(known)
    }

    /// Adds a line to the first file, which is made if it is missing, unless it is there by now. Blocks while it
    /// writes, and while another process does.
    ///
    /// # Errors
    /// Kind `Local` when it cannot be written; kind `Refused` when meanwhile another key was added for this host.
    pub(crate) fn add(&self, host: &str, port: u16, kind: &str, key: &[u8]) -> Result<()> {
        let path = self.path().ok_or_else(|| Error::input("known hosts: no file to add a host to"))?;
        let shown = path.display().to_string();
        let mut file = create(path).map_err(|error| unwritten(&shown, error))?;
        // Released when the file is closed.
        file.lock().map_err(|error| unwritten(&shown, error))?;
        let bytes = file.try_clone().and_then(read).map_err(|error| unwritten(&shown, error))?;
        let mut known = Known::default();
        scan(&bytes, host, port, &mut known).map_err(|number| unreadable(&shown, number))?;
        match known.standing(key) {
            Standing::Known => return Ok(()),
            Standing::New => {}
            Standing::Changed | Standing::Revoked => {
                let what = format!("{shown} has another key of {host} by now");
                return Err(Error::new(ErrorKind::Refused, what));
            }
        }
        let mut line = line_for(&name_of(host, port), kind, key);
        if bytes.last().is_some_and(|last| *last != b'\n') {
            line.insert(0, '\n');
        }
        file.write_all(line.as_bytes()).map_err(|error| unwritten(&shown, error))
    }
}

impl fmt::Debug for KnownHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|source| match source {
                Source::File(path) => path.display().to_string(),
                Source::Text(text) => format!("{} bytes", text.len()),
            }))
            .finish()
    }
}

/// Keeps the lines that are for a host; the number of a line that is to take back a key and cannot be read.
pub(crate) fn scan(bytes: &[u8], host: &str, port: u16, known: &mut Known) -> Result<(), usize> {
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match Line::parse(line) {
            Some(Ok(line)) => known.add(line, host, port),
            Some(Err(unreadable)) if unreadable.revokes => return Err(index + 1),
            Some(Err(_)) | None => {}
        }
    }
    Ok(())
}

fn read(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_KNOWN_HOSTS + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_KNOWN_HOSTS {
        return Err(io::Error::new(Io::FileTooLarge, "larger than 16 MiB"));
    }
    Ok(bytes)
}

/// For its owner alone, as OpenSSH makes it, and its folder too.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == Io::NotFound => {
            let folder = path.parent().ok_or(error)?;
            let mut builder = fs::DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(folder)?;
            options.open(path)
        }
        opened => opened,
    }
}

fn unreadable(what: &str, number: usize) -> Error {
    Error::new(ErrorKind::Local, format!("{what}: line {number} takes back a key and cannot be read"))
}

fn unread(path: &str, error: io::Error) -> Error {
    Error::local(format!("reading the known hosts of {path}"), error)
}

fn unwritten(path: &str, error: io::Error) -> Error {
    Error::local(format!("adding a host to {path}"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "ssh-ed25519";
    const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATE=";

    fn key(byte: u8) -> Vec<u8> {
        [b"\0\0\0\x0bssh-ed25519\0\0\0\x01".as_slice(), &[byte]].concat()
    }

    /// biomaj 38: one line, in OpenSSH's form.
    #[test]
    fn a_host_is_added_once_and_only_behind_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ssh/known_hosts");
        let hosts = KnownHosts::new().file(&path);
        assert_eq!(hosts.find("h", 22).unwrap().standing(&key(b'1')), Standing::New);
        hosts.add("h", 2222, KIND, &key(b'1')).unwrap();
        hosts.add("h", 2222, KIND, &key(b'1')).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("[h]:2222 {LINE}\n"));
        assert_eq!(hosts.find("h", 2222).unwrap().standing(&key(b'1')), Standing::Known);
        // A line without its end, and a host that got another key meanwhile.
        fs::write(&path, format!("g {LINE}")).unwrap();
        hosts.add("h", 22, KIND, &key(b'1')).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("g {LINE}\nh {LINE}\n"));
        let error = hosts.add("h", 22, KIND, &key(b'2')).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn many_processes_add_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = KnownHosts::new().file(folder.path().join("known_hosts"));
        std::thread::scope(|scope| {
            for at in 0..8 {
                let hosts = &hosts;
                scope.spawn(move || {
                    for port in 1..20 {
                        hosts.add("h", port, KIND, &key(1)).unwrap();
                        hosts.add(&format!("h{at}"), port, KIND, &key(2)).unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(hosts.path().unwrap()).unwrap();
        assert_eq!(text.lines().count(), 19 + 8 * 19);
        assert!(text.lines().all(|line| Line::parse(line.as_bytes()).unwrap().is_ok()));
    }

    #[test]
    fn what_cannot_be_read_is_told_where_it_matters() {
        let text = |text: &str| KnownHosts::new().text(text).find("h", 22);
        assert!(text("nonsense\n\u{fffd}\nh ssh-rsa").is_ok());
        let error = text("#\n@revoked h nonsense").unwrap_err();
        assert_eq!((error.kind(), error.what().contains("line 2")), (ErrorKind::Local, true));
        let folder = tempfile::tempdir().unwrap();
        let error = KnownHosts::new().file(folder.path()).find("h", 22).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Local);
        assert!(KnownHosts::new().file(folder.path().join("none")).find("h", 22).is_ok());
    }
}
