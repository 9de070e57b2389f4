//! A real S3, as far as moto is one: buckets and uploads of an origin that is not ours, on loopback, in memory.
//!
//! Owns the process. Its invariant: moto is gone when the [`Moto`] is dropped. It must not know what is stored.
//!
//! It is a Python program; `tests/python` puts it and its pinned dependencies below the build folder, once.

use std::net::SocketAddr;
use std::process::Command;
use std::{fmt, io};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::daemon::Daemon;
use super::httpbin::python;

/// A running moto; killed when dropped.
pub struct Moto {
    _daemon: Daemon,
    addr: SocketAddr,
}

/// What it answered.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Answered {
    /// The status code.
    pub status: u16,
    /// The fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Moto {
    /// Listens, with this bucket; fails with a clear text when `tests/python` was not run.
    pub async fn start(bucket: &str) -> io::Result<Self> {
        let folder = TempDir::with_prefix("moto-")?;
        let mut command = Command::new(python()?);
        // The port is the kernel's choice and told in the log.
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]);
        command.env("PYTHONNOUSERSITE", "1").env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
        command.env("PYTHONUNBUFFERED", "1").current_dir(folder.path());
        let mut daemon = Daemon::start("moto", folder, command)?;
        let addr = daemon.wait_until("listen", async |daemon| address(&daemon.output())).await?;
        let moto = Self { _daemon: daemon, addr };
        let made = moto.ask("PUT", &format!("/{bucket}")).await?;
        if made.status == 200 {
            Ok(moto)
        } else {
            Err(io::Error::other(format!("moto made no bucket: {made:?}")))
        }
    }

    /// Where it listens, as S3 clients want it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// One request of our own. moto hides objects from whoever names nobody, but looks at no signature.
    pub async fn ask(&self, method: &str, target: &str) -> io::Result<Answered> {
        let mut socket = TcpStream::connect(self.addr).await?;
        let somebody = "AWS4-HMAC-SHA256 Credential=me/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: {somebody}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.addr
        );
        socket.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        parse(&answer).ok_or_else(|| io::Error::other(String::from_utf8_lossy(&answer).into_owned()))
    }

    /// The keys of a bucket.
    pub async fn keys(&self, bucket: &str) -> io::Result<Vec<String>> {
        let list = self.ask("GET", &format!("/{bucket}?list-type=2")).await?;
        Ok(between(&String::from_utf8_lossy(&list.body), "<Key>", "</Key>"))
    }

    /// The uploads of a bucket that are not completed.
    pub async fn uploads(&self, bucket: &str) -> io::Result<Vec<String>> {
        let list = self.ask("GET", &format!("/{bucket}?uploads")).await?;
        Ok(between(&String::from_utf8_lossy(&list.body), "<UploadId>", "</UploadId>"))
    }
}

impl fmt::Debug for Moto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moto").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Answered {
    /// The value of a field, by its name in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

fn parse(answer: &[u8]) -> Option<Answered> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let field =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Some(Answered { status, fields: lines.filter_map(field).collect(), body: answer[end + 4..].to_vec() })
}

fn between(text: &str, open: &str, close: &str) -> Vec<String> {
    let parts = text.split(open).skip(1).filter_map(|part| part.split_once(close));
    parts.map(|(part, _)| part.to_owned()).collect()
}

fn address(output: &str) -> Option<SocketAddr> {
    // Only a line that is complete: the port may be cut.
    let (_, rest) = output.split_once("Running on http://")?;
    rest.split_once('\n')?.0.trim().parse().ok()
}
