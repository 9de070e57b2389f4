//! One request on a session: what the server tells of a file, and the data connection that brings it.
//!
//! Invariant: what is said of the bytes is what was agreed with the server: an offset it refused is zero. Must not know:
//! pools, what becomes of the bytes.

use std::sync::Arc;
use std::time::Duration;

use downloader_core::{ByteRange, Entity, Error, ErrorKind, Fetch, Result, Splice};
use downloader_tls::Sessions;
use tokio::time::timeout;

use super::command::Command;
use super::connect::{Connector, Way};
use super::control::Duplex;
use super::error::{Stage, refused};
use super::facts;
use super::options::{FtpMethod, FtpMode};
use super::passive;
use super::reply::Reply;
use super::servers::Servers;
use super::session::Session;
use super::target::Target;

/// Time for a refusal that explains why the port for data is closed.
const REFUSED_MEANWHILE: Duration = Duration::from_secs(2);

/// What a request needs beside its session.
pub(crate) struct Asked<'a> {
    pub(crate) fetch: &'a Fetch,
    pub(crate) target: &'a Target,
    pub(crate) method: FtpMethod,
    pub(crate) mode: FtpMode,
    pub(crate) connector: &'a Connector,
    pub(crate) servers: &'a Servers,
    pub(crate) origin: &'a Arc<str>,
}

/// What came of it.
pub(crate) struct Answer {
    pub(crate) entity: Entity,
    pub(crate) seekable: bool,
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    NotModified,
    /// No bytes: only the head was asked for, or there are none from this offset on.
    Nothing(u64),
    /// The bytes from this offset on.
    Data(u64, Box<dyn Duplex>),
}

/// How a listing is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `MLSD` (RFC 3659 §7).
    Facts,
    /// `LIST`, for people.
    Lines,
    /// `LIST -a`.
    Hidden,
}

/// What a server told of a file.
struct Told {
    entity: Entity,
    size: Reply,
    modified: Reply,
}

/// A data connection that is agreed on.
enum Channel {
    Passive(Box<dyn Duplex>),
    Active(tokio::net::TcpListener),
}

impl Asked<'_> {
    /// Asks for a file.
    pub(crate) async fn file(&self, session: &mut Session) -> Result<Answer> {
        let (directories, path) = self.target.by(self.method);
        session.enter(&directories).await?;
        let whole = self.fetch.range.start == 0 && !self.fetch.range.is_empty();
        let at_once =
            self.fetch.body && self.fetch.unless.is_none() && whole && self.mode == FtpMode::Passive;
        if at_once && session.pipelines() && !self.servers.of(self.origin).no_epsv {
            return self.at_once(session, &path).await;
        }
        let told = self.facts(session, &path).await?;
        self.after_facts(session, &path, told).await
    }

    /// Everything in one piece: one round trip to the first byte.
    ///
    /// `EPSV` comes first. Firewalls read its reply, and look for it at the start of a segment only.
    async fn at_once(&self, session: &mut Session, path: &[u8]) -> Result<Answer> {
        let [size, modified] = facts_of(path)?;
        session.send(&[Command::new("EPSV"), size, modified, Command::with("RETR", path)?]).await?;
        let extended = session.reply().await?;
        let port = passive::extended(&extended).filter(|_| extended.code == 229);
        let data = match port {
            None => None,
            Some(port) => match self.connector.data(&session.way, port).await {
                Ok(data) => Some(data),
                Err(error) => return Err(self.unreached(session, error).await),
            },
        };
        let told = told(session).await?;
        let reply = session.reply().await?;
        let Some(data) = data else {
            // Without a data connection it can only have been refused; then it is asked for again by PASV.
            self.servers.learn(self.origin, |known| known.no_epsv = true);
            if reply.class() < 4 || reply.code == 421 {
                return Err(refused(Stage::File, "EPSV", &extended));
            }
            return self.after_facts(session, path, told).await;
        };
        if reply.class() != 1 {
            return Err(refused(Stage::File, "RETR", &reply));
        }
        let data = self.secure(session.tls.as_ref(), data).await?;
        let seekable = session.features.rest;
        Ok(Answer { entity: told.entity, seekable, status: reply.code, outcome: Outcome::Data(0, data) })
    }

    /// Why nobody listens at the port for data: most often the file is refused already, and the server has closed it.
    async fn unreached(&self, session: &mut Session, error: Error) -> Error {
        let last = async {
            told(session).await?;
            session.reply().await
        };
        match timeout(REFUSED_MEANWHILE, last).await {
            Ok(Ok(reply)) if reply.class() >= 4 && reply.code != 425 => refused(Stage::File, "RETR", &reply),
            _ => self.elsewhere(error),
        }
    }

    async fn facts(&self, session: &mut Session, path: &[u8]) -> Result<Told> {
        let [size, modified] = facts_of(path)?;
        let [size, modified] = <[Reply; 2]>::try_from(session.exchange(&[size, modified]).await?)
            .map_err(|_| Error::new(ErrorKind::Protocol, "not a reply for each command"))?;
        Ok(Told::of(size, modified))
    }

    /// One after the other, knowing what the server tells.
    async fn after_facts(&self, session: &mut Session, path: &[u8], told: Told) -> Result<Answer> {
        let (entity, range) = (told.entity.clone(), self.fetch.range);
        let seekable = session.features.rest;
        let status = told.size.code;
        let answer = |outcome| Ok(Answer { entity: entity.clone(), seekable, status, outcome });
        if self.fetch.unless.as_ref().is_some_and(|held| held.splice(&entity, true) == Splice::Proven) {
            return answer(Outcome::NotModified);
        }
        if !self.fetch.body {
            told.require_existence()?;
            return answer(Outcome::Nothing(0));
        }
        if let Some(size) = entity.size.filter(|size| range.start >= *size && range.start > 0) {
            return answer(Outcome::Nothing(size));
        }
        if range.is_empty() && entity.size.is_some() {
            return answer(Outcome::Nothing(range.start));
        }
        let channel = self.channel(session).await?;
        let mut start = 0;
        if range.start > 0 {
            session.send(&[Command::with("REST", range.start.to_string())?]).await?;
            let reply = session.reply().await?;
            if reply.code == 421 {
                return Err(refused(Stage::File, "REST", &reply));
            }
            if reply.class() == 3 {
                start = range.start;
            }
        }
        let transfer = self.transfer(session, channel, Command::with("RETR", path)?).await;
        if start > 0 && transfer.is_err() {
            // Some servers hold an offset that no transfer used, and begin the next file there.
            session.retire();
        }
        let (status, data) = transfer?;
        // An offset that was taken shows more than what the server says of itself; one that was refused, too.
        let seekable = if range.start > 0 { start > 0 } else { seekable };
        Ok(Answer { entity, seekable, status, outcome: Outcome::Data(start, data) })
    }

    /// Asks for a listing: the bytes of it, and in which form they are.
    pub(crate) async fn listing(&self, session: &mut Session) -> Result<(u16, Box<dyn Duplex>, Form)> {
        let directory = self.target.clone().into_directory();
        let (directories, path) = directory.by(self.method);
        session.enter(&directories).await?;
        let command = |verb: &'static str, flags: &str| {
            let argument = [flags.as_bytes(), &path].join(&b" "[..]);
            let argument = argument.trim_ascii_start();
            if argument.is_empty() { Ok(Command::new(verb)) } else { Command::with(verb, argument) }
        };
        if session.features.mlst {
            let channel = self.channel(session).await?;
            match self.transfer(session, channel, command("MLSD", "")?).await {
                Ok((status, data)) => return Ok((status, data, Form::Facts)),
                // Some tell of `MLST` and mean that alone.
                Err(error) if matches!(error.status(), Some(500 | 502)) => {}
                Err(error) => return Err(error),
            }
        }
        if !self.servers.of(self.origin).no_hidden {
            let channel = self.channel(session).await?;
            match self.transfer(session, channel, command("LIST", "-a")?).await {
                Ok((status, data)) => return Ok((status, data, Form::Hidden)),
                // Flags are the habit of Unix: another server looks for a file of that name.
                Err(error) if matches!(error.status(), Some(500..=504 | 550 | 450)) => {
                    self.servers.learn(self.origin, |known| known.no_hidden = true);
                }
                Err(error) => return Err(error),
            }
        }
        let channel = self.channel(session).await?;
        let (status, data) = self.transfer(session, channel, command("LIST", "")?).await?;
        Ok((status, data, Form::Lines))
    }

    /// Agrees on a data connection.
    async fn channel(&self, session: &mut Session) -> Result<Channel> {
        if self.mode == FtpMode::Active {
            return self.active(session).await;
        }
        let plain_first = self.servers.of(self.origin).no_epsv;
        let mut refusal = None;
        for plain in [plain_first, !plain_first] {
            let verb = if plain { "PASV" } else { "EPSV" };
            session.send(&[Command::new(verb)]).await?;
            let reply = session.reply().await?;
            let port = match reply.code {
                227 if plain => passive::plain(&reply),
                229 if !plain => passive::extended(&reply),
                _ => None,
            };
            if let Some(port) = port {
                self.servers.learn(self.origin, |known| known.no_epsv = plain);
                return Ok(Channel::Passive(self.connect(&session.way, port).await?));
            }
            let error = refused(Stage::Other, verb, &reply);
            if reply.code == 421 {
                return Err(error);
            }
            refusal = Some(error);
        }
        Err(refusal.unwrap_or_else(|| Error::new(ErrorKind::Protocol, "no port for data")))
    }

    async fn connect(&self, way: &Way, port: u16) -> Result<Box<dyn Duplex>> {
        self.connector.data(way, port).await.map_err(|error| self.elsewhere(error))
    }

    /// After a port that could not be reached the next attempt takes the other way: some firewalls know one of the two only.
    fn elsewhere(&self, error: Error) -> Error {
        if error.is_transient() {
            self.servers.learn(self.origin, |known| known.no_epsv = !known.no_epsv);
        }
        error
    }

    async fn active(&self, session: &mut Session) -> Result<Channel> {
        let (listener, address) = self.connector.listen(&session.way).await?;
        if let Some(argument) = passive::port_argument(address) {
            session.demand(Stage::Other, Command::with("PORT", argument)?).await?;
        } else {
            session.demand(Stage::Other, Command::with("EPRT", passive::extended_argument(address))?).await?;
        }
        Ok(Channel::Active(listener))
    }

    /// Sends the command that brings data, and waits until the server begins.
    async fn transfer(
        &self,
        session: &mut Session,
        channel: Channel,
        command: Command,
    ) -> Result<(u16, Box<dyn Duplex>)> {
        let verb = command.verb();
        session.send(&[command]).await?;
        let reply = session.reply().await?;
        if reply.class() != 1 {
            return Err(refused(Stage::File, verb, &reply));
        }
        let data = match channel {
            Channel::Passive(data) => data,
            Channel::Active(listener) => self.connector.accept(&session.way, listener).await?,
        };
        Ok((reply.code, self.secure(session.tls.as_ref(), data).await?))
    }

    async fn secure(&self, tls: Option<&Sessions>, data: Box<dyn Duplex>) -> Result<Box<dyn Duplex>> {
        match tls {
            None => Ok(data),
            Some(tls) => Ok(Box::new(self.connector.secure(tls, data).await?)),
        }
    }
}

impl Told {
    fn of(size: Reply, modified: Reply) -> Self {
        let entity = facts::entity(facts::size(&size), facts::modified(&modified));
        Self { entity, size, modified }
    }

    /// Of a file that is not asked for, the commands about it are all there is.
    fn require_existence(&self) -> Result<()> {
        if self.entity.size.is_some() || self.entity.modified.is_some() {
            return Ok(());
        }
        for (verb, reply) in [("SIZE", &self.size), ("MDTM", &self.modified)] {
            if reply.code != 500 && reply.code != 502 && reply.class() >= 4 {
                return Err(refused(Stage::File, verb, reply));
            }
        }
        Err(Error::unsupported("the server tells nothing of a file but its bytes"))
    }
}

fn facts_of(path: &[u8]) -> Result<[Command; 2]> {
    Ok([Command::with("SIZE", path)?, Command::with("MDTM", path)?])
}

async fn told(session: &mut Session) -> Result<Told> {
    Ok(Told::of(session.reply().await?, session.reply().await?))
}

/// The range of bytes that the server sends from `start` on, and where they end that are wanted, if it sends more. Who
/// ignores an offset is heard to the end: what follows may be wanted as well.
pub(crate) fn served(start: u64, wanted: ByteRange, size: Option<u64>) -> (ByteRange, Option<u64>) {
    let within = wanted.end.filter(|end| start == wanted.start && size.is_none_or(|size| *end < size));
    let stop = within.map(|end| end.max(start));
    (ByteRange { start, end: stop.or(size) }, stop)
}
