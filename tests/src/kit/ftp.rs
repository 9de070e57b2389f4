//! A scripted FTP server: what no real one does on order.
//!
//! Owns the control connections, their data connections, and a record of both. Its invariant: it does what its script says for as long as
//! the [`FtpServer`] lives, and nothing afterwards. It must not know a client.
//!
//! A request begins with `SIZE`, which every client of ours sends first, and is over when all it asked for was answered.

mod file;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

pub use self::file::{Deed, FtpFile};
use super::door::Door;
use super::gauge::{Connections, Gauge};

#[derive(Default)]
struct State {
    files: HashMap<String, FtpFile>,
    /// By name without a slash at either end: what `MLSD` sends, or `LIST`, if only that is answered.
    directories: HashMap<String, FtpFile>,
    /// By verb: what is said instead; empty, and nothing ever is.
    answers: HashMap<&'static str, String>,
    greeting: Option<String>,
    /// The address that `PASV` tells, with commas.
    passive: Option<String>,
    /// Requests for each path: begun, over.
    requests: HashMap<String, (usize, usize)>,
    commands: Vec<(usize, String)>,
    connections: usize,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server.
pub struct FtpServer {
    shared: Shared,
    door: Door,
    gauge: Gauge,
}

impl FtpServer {
    /// Listens on loopback; knows every account and no file.
    pub async fn start() -> Self {
        let (shared, gauge) = (Shared::default(), Gauge::default());
        let (of_door, counted) = (shared.clone(), gauge.clone());
        let door = Door::open(None, move |stream| {
            let (shared, entered) = (of_door.clone(), counted.enter());
            Some(async move {
                let _entered = entered;
                let mut connection = Control::new(shared, stream);
                let _ = connection.run().await;
                connection.over();
            })
        });
        Self { shared, door, gauge }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.door.addr()
    }

    /// `ftp://127.0.0.1:port` and `path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("ftp://{}{path}", self.addr())
    }

    /// Puts a file at `/name`; of another one there, nothing is left.
    pub fn put(&self, name: &str, file: FtpFile) {
        self.shared.lock().files.insert(name.trim_start_matches('/').to_owned(), file);
    }

    /// Puts a directory at `/name/`, made by [`FtpFile::directory`]; the files in it are put there one by one. `LIST` sends the same bytes,
    /// with and without its flag `-a`.
    pub fn put_directory(&self, name: &str, listing: FtpFile) {
        self.shared.lock().directories.insert(name.trim_matches('/').to_owned(), listing);
    }

    /// What puts a file there later.
    #[must_use]
    pub fn putting(&self, name: &str, file: FtpFile) -> Box<dyn FnOnce() + Send> {
        let (shared, name) = (self.shared.clone(), name.trim_start_matches('/').to_owned());
        Box::new(move || {
            shared.lock().files.insert(name, file);
        })
    }

    /// Says this, to the byte, whenever it gets this command; an empty text is silence for ever.
    pub fn answer(&self, verb: &'static str, text: &str) {
        self.shared.lock().answers.insert(verb, text.to_owned());
    }

    /// Says what it should to this command again.
    pub fn retract(&self, verb: &'static str) {
        self.shared.lock().answers.remove(verb);
    }

    /// `PASV` tells this address, with commas, and the right port.
    pub fn passive_address(&self, address: &str) {
        self.shared.lock().passive = Some(address.to_owned());
    }

    /// Says this, to the byte, to whoever connects.
    pub fn greet(&self, text: &str) {
        self.shared.lock().greeting = Some(text.to_owned());
    }

    /// The commands it got, each with the number of its connection.
    #[must_use]
    pub fn commands(&self) -> Vec<(usize, String)> {
        self.shared.lock().commands.clone()
    }

    /// Control connections.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.gauge.read()
    }

    /// Requests for `/name`: begun, and over.
    #[must_use]
    pub fn requests(&self, name: &str) -> (usize, usize) {
        self.shared.lock().requests.get(name.trim_start_matches('/')).copied().unwrap_or_default()
    }

    /// Waits until `done`; panics after 10 s.
    pub async fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "not {what}: {:#?}", self.commands());
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Closes every connection.
    pub async fn hang_up(&self) {
        self.door.hang_up().await;
    }
}

/// One control connection.
struct Control {
    shared: Shared,
    number: usize,
    io: BufReader<TcpStream>,
    listener: Option<TcpListener>,
    target: Option<SocketAddr>,
    rest: u64,
    folder: String,
    /// The request under way: its file, and what happens to it.
    current: Option<(String, Deed)>,
    /// It counts as over already: only its head was asked for, as far as is known.
    counted: bool,
}

enum End {
    Bye,
}

impl Control {
    fn new(shared: Shared, stream: TcpStream) -> Self {
        let number = {
            let mut state = shared.lock();
            state.connections += 1;
            state.connections
        };
        let (listener, target, current) = (None, None, None);
        Self {
            shared,
            number,
            io: BufReader::new(stream),
            listener,
            target,
            rest: 0,
            folder: String::new(),
            current,
            counted: false,
        }
    }

    async fn run(&mut self) -> std::io::Result<End> {
        let greeting = self.shared.lock().greeting.clone();
        self.say(greeting.as_deref().unwrap_or("220 kit\r\n")).await?;
        loop {
            let mut line = Vec::new();
            if self.io.read_until(b'\n', &mut line).await? == 0 {
                return Ok(End::Bye);
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            let scripted = {
                let mut state = self.shared.lock();
                state.commands.push((self.number, line.clone()));
                state.answers.get(verb).cloned()
            };
            match scripted {
                Some(text) if text.is_empty() => self.hang().await?,
                Some(text) => self.say(&text).await?,
                None => self.obey(verb, argument).await?,
            }
        }
    }

    async fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.io.get_mut().write_all(text.as_bytes()).await
    }

    /// Says nothing more, until the client has enough of it.
    async fn hang(&mut self) -> std::io::Result<()> {
        tokio::io::copy(&mut self.io, &mut tokio::io::sink()).await.map(drop)
    }

    async fn obey(&mut self, verb: &str, argument: &str) -> std::io::Result<()> {
        match verb {
            "USER" => self.say("331 who\r\n").await,
            "PASS" => self.say("230-Welcome\r\n226 is no end of this\r\n230 in\r\n").await,
            "FEAT" => {
                self.say("211-Features\r\n EPSV\r\n MDTM\r\n MLST type*;size*;modify*;\r\n REST STREAM\r\n SIZE\r\n UTF8\r\n211 End\r\n")
                    .await
            }
            "TYPE" | "OPTS" | "NOOP" => self.say("200 ok\r\n").await,
            "PWD" => self.say("257 \"/\" is here\r\n").await,
            "CWD" => {
                let folder = if argument.starts_with('/') { "" } else { self.folder.as_str() };
                self.folder =
                    format!("{folder}{}/", argument.trim_matches('/')).trim_start_matches('/').to_owned();
                self.say("250 entered\r\n").await
            }
            "EPSV" | "PASV" => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let port = listener.local_addr()?.port();
                self.listener = Some(listener);
                let reply = match verb {
                    "EPSV" => format!("229 Extended (|||{port}|)\r\n"),
                    _ => {
                        let told = self.shared.lock().passive.clone();
                        let address = told.as_deref().unwrap_or("127,0,0,1");
                        format!("227 Passive ({address},{},{})\r\n", port / 256, port % 256)
                    }
                };
                self.say(&reply).await
            }
            "PORT" => {
                let numbers: Vec<u16> =
                    argument.split(',').filter_map(|number| number.parse().ok()).collect();
                if let [.., high, low] = numbers[..] {
                    self.target = Some((Ipv4Addr::LOCALHOST, high * 256 + low).into());
                }
                self.say("200 ok\r\n").await
            }
            "SIZE" => self.size(argument).await,
            "MDTM" => self.modified(argument).await,
            "REST" => {
                if self.file().is_some_and(|(file, _)| file.no_rest) {
                    return self.say("502 no\r\n").await;
                }
                self.rest = argument.parse().unwrap_or(0);
                self.say("350 go on\r\n").await
            }
            "RETR" => match self.file() {
                Some((file, deed)) => self.send(&file, deed).await,
                None => self.missing().await,
            },
            "MLSD" => self.list(argument).await,
            "LIST" => self.list(argument.strip_prefix("-a").unwrap_or(argument).trim_start()).await,
            _ => self.say("502 unknown\r\n").await,
        }
    }

    fn file(&self) -> Option<(FtpFile, Deed)> {
        let (name, deed) = self.current.as_ref()?;
        Some((self.shared.lock().files.get(name)?.clone(), *deed))
    }

    async fn size(&mut self, argument: &str) -> std::io::Result<()> {
        self.over();
        let name = format!("{}{}", self.folder, argument.trim_start_matches('/'));
        let deed = {
            let mut state = self.shared.lock();
            let count = state.requests.entry(name.clone()).or_default();
            count.0 += 1;
            let number = count.0 - 1;
            state.files.get(&name).map(|file| (file.decide)(number))
        };
        self.current = Some((name, deed.unwrap_or(Deed::Refuse("550 No such file\r\n"))));
        self.counted = false;
        match self.file() {
            Some((_, Deed::Silent)) => self.hang().await,
            Some((_, Deed::Refuse(reply))) => self.say(reply).await,
            Some((file, _)) => match file.size.unwrap_or(Some(file.content.len() as u64)) {
                Some(size) => self.say(&format!("213 {size}\r\n")).await,
                None => self.say("502 no\r\n").await,
            },
            None => self.say("550 No such file\r\n").await,
        }
    }

    async fn modified(&mut self, _: &str) -> std::io::Result<()> {
        let reply = match self.file() {
            Some((_, Deed::Refuse(reply))) => reply.to_owned(),
            Some((file, _)) if !file.modified.is_empty() => format!("213 {}\r\n", file.modified),
            Some(_) => "502 no\r\n".to_owned(),
            None => "550 No such file\r\n".to_owned(),
        };
        self.say(&reply).await?;
        // Nothing may follow; a client that asks for the bytes has sent that already, or sends it at once.
        if !self.io.buffer().starts_with(b"RETR")
            && timeout(Duration::from_millis(30), self.io.fill_buf()).await.is_err()
        {
            self.count();
        }
        Ok(())
    }

    /// The request under way is over.
    fn over(&mut self) {
        self.count();
        self.current = None;
    }

    fn count(&mut self) {
        if let Some((name, _)) = &self.current
            && !std::mem::replace(&mut self.counted, true)
        {
            self.shared.lock().requests.entry(name.clone()).or_default().1 += 1;
        }
    }

    async fn missing(&mut self) -> std::io::Result<()> {
        self.over();
        self.say("550 No such file or directory\r\n").await
    }

    async fn list(&mut self, argument: &str) -> std::io::Result<()> {
        self.over();
        let name = format!("{}{argument}", self.folder).trim_matches('/').to_owned();
        let found = {
            let mut state = self.shared.lock();
            let count = state.requests.entry(format!("{name}/")).or_default();
            count.0 += 1;
            let number = count.0 - 1;
            state.directories.get(&name).map(|listing| (listing.clone(), (listing.decide)(number)))
        };
        self.current = Some((format!("{name}/"), Deed::Serve));
        self.counted = false;
        match found {
            Some((listing, deed)) => self.send(&listing, deed).await,
            None => self.missing().await,
        }
    }

    async fn send(&mut self, file: &FtpFile, deed: Deed) -> std::io::Result<()> {
        if let Deed::Refuse(reply) = deed {
            self.over();
            return self.say(reply).await;
        }
        let data = match (self.listener.take(), self.target.take()) {
            (Some(listener), _) => Some(listener.accept().await?.0),
            (None, Some(target)) => Some(TcpStream::connect(target).await?),
            (None, None) => None,
        };
        let Some(mut data) = data else {
            // It may be asked for again, over another way.
            self.count();
            return self.say("425 no data connection\r\n").await;
        };
        let content = file.content.slice(usize::try_from(self.rest).unwrap_or(0).min(file.content.len())..);
        self.rest = 0;
        self.say("150 here it comes\r\n").await?;
        let stop = match deed {
            Deed::Cut(at) | Deed::Short(at) | Deed::Stall(at) => usize::try_from(at).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let sent = data.write_all(&content[..stop.min(content.len())]).await;
        if matches!(deed, Deed::Stall(_)) && stop < content.len() {
            let mut byte = [0];
            // Until the client has enough of it.
            let _ = tokio::io::AsyncReadExt::read(&mut data, &mut byte).await;
            self.over();
            return Ok(());
        }
        drop(data);
        self.over();
        match deed {
            _ if sent.is_err() => self.say("426 gone\r\n").await,
            Deed::Cut(at) if at < content.len() as u64 => self.say("426 cut\r\n").await,
            Deed::Odd => self.say("426 all the same\r\n").await,
            Deed::Mute => self.hang().await,
            Deed::Gone => Err(std::io::ErrorKind::ConnectionAborted.into()),
            Deed::Twice => self.say("226 done\r\n226 done\r\n").await,
            _ => self.say("226 done\r\n").await,
        }
    }
}
