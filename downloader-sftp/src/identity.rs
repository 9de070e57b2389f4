//! Who we are: private keys, and the agent that holds others.
//!
//! Invariant: a key that exists can be used, and neither it nor its passphrase is ever printed. Must not know:
//! connections.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use downloader_core::{Error, Result};
use russh::keys::{self, PrivateKey, decode_secret_key};

/// Largest file of a private key, in bytes.
const MOST_BYTES: u64 = 256 << 10;

/// A private key to log in with. `Debug` tells its type and nothing else.
///
/// Read are the forms of OpenSSH, PKCS#8, PKCS#1 (RSA) and PuTTY, encrypted or not; Ed25519, ECDSA (P-256, P-384, P-521) and RSA.
#[derive(Clone)]
pub struct Identity(Arc<PrivateKey>);

impl Identity {
    /// Reads a key file of at most 256 KiB. Blocks while it reads; an encrypted one takes some tenths of a second.
    ///
    /// # Errors
    /// Kind `Input`, naming the file: when it cannot be read; on Unix when others than its owner may read it; and as
    /// [`Identity::parse`].
    pub fn file(path: impl AsRef<Path>, passphrase: Option<&str>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |what: &str| Error::input(format!("key file {}: {what}", path.display()));
        let text = read(path).map_err(|error| refuse("cannot be read").with_source(error))?;
        let text = text.ok_or_else(|| refuse("others than its owner may read it; expected mode 600"))?;
        decode(&text, passphrase).map_err(refuse)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// Kind `Input` when it is no private key, is encrypted and no passphrase is given, or the passphrase is wrong.
    pub fn parse(text: &str, passphrase: Option<&str>) -> Result<Self> {
        decode(text, passphrase).map_err(|what| Error::input(format!("private key: {what}")))
    }

    pub(crate) fn key(&self) -> &Arc<PrivateKey> {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.0.algorithm())
    }
}

/// The SSH agent that holds keys. Nothing asks one unless it is told to.
#[derive(Clone, Debug)]
pub struct Agent(PathBuf);

impl Agent {
    /// The agent of this session: the socket that the environment variable `SSH_AUTH_SOCK` names, which is read now.
    ///
    /// # Errors
    /// Kind `Input` when the variable is not set.
    pub fn environment() -> Result<Self> {
        let path = env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
        path.map(Self::socket).ok_or_else(|| Error::input("SSH agent: SSH_AUTH_SOCK is not set"))
    }

    /// The agent behind this socket.
    #[must_use]
    pub fn socket(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// The text; `None` when others may read it.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = File::open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Ok(None);
        }
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(Some(text))
}

fn decode(text: &str, passphrase: Option<&str>) -> Result<Identity, &'static str> {
    const WRONG: &str = "the passphrase is wrong, or the key is damaged";
    const ENCRYPTED: &str = "it is encrypted, and no passphrase is given";
    let is_sealed = text.contains("ENCRYPTED");
    let key = decode_secret_key(text, passphrase).map_err(|error| match (error, passphrase) {
        (keys::Error::KeyIsEncrypted, _) => ENCRYPTED,
        (_, None) if is_sealed => ENCRYPTED,
        (_, Some(_)) if text.contains("PRIVATE KEY") => WRONG,
        _ => "it is no private key",
    })?;
    if key.is_encrypted() {
        return Err(if passphrase.is_some() { WRONG } else { ENCRYPTED });
    }
    Ok(Identity(Arc::new(key)))
}
