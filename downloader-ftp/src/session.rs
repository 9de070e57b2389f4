//! A session: a control connection that is logged in, and what is known on it.
//!
//! Invariant: nothing is sent in the clear where TLS was asked for; the number of replies still to come is always known.
//! Must not know: pools, ranges.

use std::sync::Arc;
use std::time::Duration;

use downloader_core::net::Route;
use downloader_core::{Connection, Error, ErrorKind, Result, SafeUrl};
use downloader_tls::Sessions;
use tokio::time::Instant;

use super::command::Command;
use super::connect::{Connector, Way};
use super::control::{Control, Duplex, out_of_step};
use super::error::{Stage, refused};
use super::facts::{self, Features};
use super::login;
use super::options::{FtpEncoding, FtpTls};
use super::pool::Key;
use super::reply::Reply;

/// A control connection that is logged in.
pub(crate) struct Session {
    control: Control,
    pub(crate) way: Way,
    pub(crate) connection: Arc<Connection>,
    pub(crate) features: Arc<Features>,
    /// What its data connections resume; `None` in the clear.
    pub(crate) tls: Option<Sessions>,
    /// Replies that are still to come.
    pending: usize,
    /// True once a reply came to what is asked now.
    pub(crate) answered: bool,
    /// True if it may not serve another request.
    retired: bool,
    /// Where the login led, absolute.
    entry: Option<Vec<u8>>,
    /// The directories entered since; `None` when that is not known.
    entered: Option<Vec<Vec<u8>>>,
}

impl Session {
    /// Connects, makes it secure, logs in.
    pub(crate) async fn open(
        connector: &Connector,
        url: &SafeUrl,
        key: &Key,
        route: &Route,
        known: Option<Arc<Features>>,
        reply_timeout: Option<Duration>,
    ) -> Result<Self> {
        let (io, way, mut connection) = connector.control(url, key.port, route).await?;
        let address = connection.address;
        let opened = async {
            let host = url.host().unwrap_or_default();
            let tls = (key.tls != FtpTls::Off).then(|| connector.sessions(host)).transpose()?;
            let (mut io, mut greeted) = (io, false);
            if key.tls == FtpTls::Explicit {
                let mut control = Control::new(io, reply_timeout);
                greet(&mut control).await?;
                ask(&mut control, Stage::Secure, Command::with("AUTH", "TLS")?).await?;
                io = control.into_io()?;
                greeted = true;
            }
            if let Some(tls) = &tls {
                let start = Instant::now();
                let stream = connector.secure(tls, io).await?;
                connection.handshake = Some(start.elapsed());
                connection.tls = Some(stream.version());
                connection.resumed = stream.is_resumed();
                io = Box::new(stream) as Box<dyn Duplex>;
            }
            let mut control = Control::new(io, reply_timeout);
            if !greeted {
                greet(&mut control).await?;
            }
            log_in(&mut control, key).await?;
            let features = match known {
                Some(features) => features,
                None => {
                    control.send(&[Command::new("FEAT")]).await?;
                    Arc::new(Features::read(&control.reply().await?))
                }
            };
            let mut session = Self {
                control,
                way,
                connection: Arc::new(connection),
                features,
                tls,
                pending: 0,
                answered: false,
                retired: false,
                entry: None,
                entered: Some(Vec::new()),
            };
            session.prepare(key.encoding).await?;
            Ok(session)
        };
        opened.await.map_err(
            |error: Error| if error.address().is_some() { error } else { error.with_address(address) },
        )
    }

    /// Once a connection: data is to be secret and as it is, names in UTF-8, and where are we?
    async fn prepare(&mut self, encoding: FtpEncoding) -> Result<()> {
        let mut commands = Vec::with_capacity(5);
        if self.tls.is_some() {
            commands.push(Command::with("PBSZ", "0")?);
            commands.push(Command::with("PROT", "P")?);
        }
        if self.features.utf8 && encoding == FtpEncoding::Utf8 {
            commands.push(Command::with("OPTS", "UTF8 ON")?);
        }
        commands.push(Command::with("TYPE", "I")?);
        commands.push(Command::new("PWD"));
        let replies = self.exchange(&commands).await?;
        for (command, reply) in commands.iter().zip(&replies) {
            match command.verb() {
                // Data in the clear, although TLS was asked for? Never.
                "PROT" if !reply.is_positive() => return Err(refused(Stage::Secure, "PROT", reply)),
                "TYPE" if !reply.is_positive() => return Err(refused(Stage::Other, "TYPE", reply)),
                "PWD" => {
                    self.entry =
                        facts::directory(reply).filter(|path| reply.is_positive() && path[0] == b'/');
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// May commands be sent before the last one was answered? Servers that know `FEAT` are younger than those that lose
    /// what they have not read yet.
    pub(crate) fn pipelines(&self) -> bool {
        self.features.known
    }

    /// Sends commands; their replies are to be read, one for each.
    pub(crate) async fn send(&mut self, commands: &[Command]) -> Result<()> {
        self.pending += commands.len();
        self.control.send(commands).await
    }

    /// The next reply.
    pub(crate) async fn reply(&mut self) -> Result<Reply> {
        if self.pending == 0 {
            return Err(out_of_step());
        }
        let reply = self.control.reply().await?;
        self.took(&reply);
        Ok(reply)
    }

    /// The last reply of a transfer, with a time of its own; `None` if it does not come.
    pub(crate) async fn last_reply(&mut self, time: Duration) -> Option<Result<Reply>> {
        let reply = self.control.reply_soon(time).await?;
        if let Ok(reply) = &reply {
            self.took(reply);
        }
        Some(reply)
    }

    fn took(&mut self, reply: &Reply) {
        self.answered |= reply.code != 421;
        // One that announces another answers nothing yet.
        if reply.class() != 1 {
            self.pending = self.pending.saturating_sub(1);
        }
    }

    /// Commands and their replies: in one piece where the server can be trusted with that, else one after the other.
    pub(crate) async fn exchange(&mut self, commands: &[Command]) -> Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(commands.len());
        if self.pipelines() {
            self.send(commands).await?;
            for _ in commands {
                replies.push(self.reply().await?);
            }
        } else {
            for command in commands {
                self.send(std::slice::from_ref(command)).await?;
                replies.push(self.reply().await?);
            }
        }
        Ok(replies)
    }

    /// One command that must succeed.
    pub(crate) async fn demand(&mut self, stage: Stage, command: Command) -> Result<Reply> {
        let verb = command.verb();
        self.send(&[command]).await?;
        let reply = self.reply().await?;
        if reply.is_positive() { Ok(reply) } else { Err(refused(stage, verb, &reply)) }
    }

    /// After this it serves no other request.
    pub(crate) fn retire(&mut self) {
        self.retired = true;
    }

    /// True when all that was sent is answered, and nothing else was said: it may serve another request.
    pub(crate) fn is_quiet(&mut self) -> bool {
        !self.retired && self.pending == 0 && self.control.is_quiet()
    }

    /// Can these directories be entered from where this session is?
    pub(crate) fn can_enter(&self, directories: &[Vec<u8>]) -> bool {
        self.entry.is_some() || self.steps(directories).is_some()
    }

    /// Enters the directories, counted from where the login led.
    ///
    /// # Errors
    /// As the server says, most often that there is no such directory.
    pub(crate) async fn enter(&mut self, directories: &[Vec<u8>]) -> Result<()> {
        let mut commands = Vec::new();
        let steps = match (self.steps(directories), &self.entry) {
            (Some(steps), _) => steps,
            (None, Some(entry)) => {
                commands.push(Command::with("CWD", entry)?);
                directories
            }
            (None, None) => {
                return Err(Error::new(ErrorKind::Protocol, "the server does not tell its directory"));
            }
        };
        for step in steps {
            commands.push(Command::with("CWD", step)?);
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.entered = None;
        let replies = self.exchange(&commands).await?;
        if let Some(refusal) = replies.iter().find(|reply| !reply.is_positive()) {
            return Err(refused(Stage::File, "CWD", refusal));
        }
        self.entered = Some(directories.to_vec());
        Ok(())
    }

    /// What is left to enter, if the way leads on from here.
    fn steps<'a>(&self, directories: &'a [Vec<u8>]) -> Option<&'a [Vec<u8>]> {
        let absolute = directories.first().is_some_and(|first| first.starts_with(b"/"));
        match &self.entered {
            Some(entered) if directories.starts_with(entered) => Some(&directories[entered.len()..]),
            _ if absolute => Some(directories),
            _ => None,
        }
    }
}

async fn greet(control: &mut Control) -> Result<()> {
    loop {
        let reply = control.reply().await?;
        match reply.class() {
            2 => return Ok(()),
            // 120: ready in so many minutes. The clocks say how long that is borne.
            1 => {}
            _ => return Err(refused(Stage::Greeting, "greeting", &reply)),
        }
    }
}

async fn ask(control: &mut Control, stage: Stage, command: Command) -> Result<Reply> {
    let verb = command.verb();
    control.send(&[command]).await?;
    let reply = control.reply().await?;
    if reply.is_positive() { Ok(reply) } else { Err(refused(stage, verb, &reply)) }
}

async fn log_in(control: &mut Control, key: &Key) -> Result<()> {
    let (user, password) = login::words(key.credentials.as_ref())?;
    control.send(&[Command::with("USER", user)?]).await?;
    let reply = control.reply().await?;
    match reply.code {
        230 | 232 => return Ok(()),
        331 => {}
        _ => return Err(refused(Stage::Login, "USER", &reply)),
    }
    ask(control, Stage::Login, Command::with("PASS", password)?).await.map(drop)
}
