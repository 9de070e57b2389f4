//! A scripted SFTP server on loopback: it lies, ends early and answers out of turn on order; and it takes passwords, which
//! sshd does only for the machine's accounts.
//!
//! Owns the connections, the files it makes up and the account of what was asked. Its invariant: without a [`Lie`] it is an honest server of
//! version 3, and nothing of it outlives the [`ScriptedSftp`]. It must not know who asks.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use russh::keys::{PrivateKey, PublicKeyBase64 as _, decode_secret_key};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Response, Session};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A key for tests, made by ssh-keygen: no secret of anybody.
const HOST_KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACCD4XWsE52FrwIWmFPaOEEzGvPpA+UF7rcetlHZs9GUiAAAAIiS2RL0ktkS
9AAAAAtzc2gtZWQyNTUxOQAAACCD4XWsE52FrwIWmFPaOEEzGvPpA+UF7rcetlHZs9GUiA
AAAEBmvsqIIu2YbPmlNzOdKeFjLLlxGxUHuYr8MrMg3SJCvoPhdawTnYWvAhaYU9o4QTMa
8+kD5QXutx62Udmz0ZSIAAAAA2tpdAEC
-----END OPENSSH PRIVATE KEY-----
";

/// How one file is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Lie {
    /// As it is.
    #[default]
    None,
    /// At most so many bytes for one read.
    ShortReads(usize),
    /// Reads are answered in pairs, the second one first.
    Backwards,
    /// Reads are answered with the number of no request.
    WrongNumber,
    /// Reads are answered with one byte more than was asked for.
    TooMuch,
    /// Reads are answered with a packet of a type that does not exist.
    Garbage,
    /// Reads are answered with the head of a packet of 2 GiB.
    Huge,
    /// Reads are answered with no bytes and no end.
    Empty,
    /// The file ends here, whatever its size says.
    EndsAt(u64),
    /// The size is one more from the second time on that it is told.
    Grows,
    /// The time is another one from the second time on that it is told.
    Touched,
    /// The size is not told.
    NoSize,
    /// The size is told as 0.
    SizeZero,
    /// Attributes of open files are not told at all.
    NoAttributes,
    /// Opening it fails with this code.
    Fails(u32),
    /// Reading from this offset on fails with this code.
    FailsAt(u64, u32),
    /// Opening it is never answered.
    Silent,
    /// Reading from this offset on is never answered.
    SilentAt(u64),
}

/// Whom the server lets in, and how it asks.
#[derive(Clone, Debug)]
struct Account {
    user: String,
    password: String,
    /// By a question (keyboard-interactive) instead of the password method.
    asks: bool,
}

/// A running server.
pub struct ScriptedSftp {
    addr: SocketAddr,
    world: Arc<Mutex<World>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct World {
    files: HashMap<Vec<u8>, File>,
    account: Option<Account>,
    passwords: Vec<String>,
    opened: Vec<String>,
    closed: usize,
    connections: usize,
    /// Tells how much it serves at once.
    limits: bool,
}

#[derive(Clone)]
struct File {
    content: Bytes,
    lie: Lie,
    /// How often its attributes were told.
    told: usize,
}

impl ScriptedSftp {
    /// Lets everybody in.
    pub async fn start() -> Self {
        Self::with(World::default()).await
    }

    /// Lets this account in: by its password, or by a question.
    pub async fn with_account(user: &str, password: &str, asks: bool) -> Self {
        let account = Account { user: user.to_owned(), password: password.to_owned(), asks };
        Self::with(World { account: Some(account), ..World::default() }).await
    }

    async fn with(world: World) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let world = Arc::new(Mutex::new(World { limits: true, ..world }));
        let mut methods = MethodSet::empty();
        match world
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .account
            .as_ref()
            .map(|account| account.asks)
        {
            Some(true) => methods.push(MethodKind::KeyboardInteractive),
            Some(false) => methods.push(MethodKind::Password),
            None => methods.push(MethodKind::None),
        }
        let config = Arc::new(Config {
            keys: vec![host_key()],
            methods,
            auth_rejection_time: std::time::Duration::from_millis(1),
            ..Config::default()
        });
        let task = tokio::spawn(accept(listener, config, Arc::clone(&world)));
        Self { addr, world, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of a path, for this user (and password, after a colon).
    #[must_use]
    pub fn url(&self, user: &str, path: &str) -> String {
        format!("sftp://{user}@{}{path}", self.addr)
    }

    /// The line of known_hosts for it.
    #[must_use]
    pub fn known(&self) -> String {
        let key = STANDARD.encode(host_key().public_key_bytes());
        format!("[{}]:{} ssh-ed25519 {key}\n", self.addr.ip(), self.addr.port())
    }

    /// Puts a file under a path, changed long ago.
    pub fn put(&self, path: &str, content: impl Into<Bytes>, lie: Lie) {
        let file = File { content: content.into(), lie, told: 0 };
        self.world().files.insert(path.as_bytes().to_vec(), file);
    }

    /// Passwords that were tried, in order.
    #[must_use]
    pub fn passwords(&self) -> Vec<String> {
        self.world().passwords.clone()
    }

    /// Files that were opened, and how many were closed again.
    #[must_use]
    pub fn opened(&self) -> (usize, usize) {
        let world = self.world();
        (world.opened.len(), world.closed)
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.world().connections
    }

    fn world(&self) -> MutexGuard<'_, World> {
        locked(&self.world)
    }
}

impl Drop for ScriptedSftp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn host_key() -> PrivateKey {
    decode_secret_key(HOST_KEY, None).expect("the key of the kit can be read")
}

async fn accept(listener: TcpListener, config: Arc<Config>, world: Arc<Mutex<World>>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // A socket that cannot be tuned is a dead one: its task will see.
        let _ = stream.set_nodelay(true);
        locked(&world).connections += 1;
        let client = Client { world: Arc::clone(&world), channels: HashMap::new() };
        let config = Arc::clone(&config);
        connections.spawn(async move {
            // A client that leaves is no failure of the server.
            if let Ok(running) = russh::server::run_stream(config, stream, client).await {
                let _ = running.await;
            }
        });
    }
}

struct Client {
    world: Arc<Mutex<World>>,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Client {
    fn judge(&self, user: &str, password: &str) -> Auth {
        let mut world = locked(&self.world);
        world.passwords.push(password.to_owned());
        let known = world.account.as_ref().is_some_and(|own| own.user == user && own.password == password);
        if known { Auth::Accept } else { Auth::reject() }
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        Ok(if locked(&self.world).account.is_none() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(self.judge(user, password))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        match response.and_then(|mut response| response.next()) {
            Some(answer) => Ok(self.judge(user, &String::from_utf8_lossy(&answer))),
            None => Ok(Auth::Partial {
                name: "kit".into(),
                instructions: "".into(),
                prompts: vec![("Password: ".into(), false)].into(),
            }),
        }
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(channel) = self.channels.remove(&id).filter(|_| name == "sftp") else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        tokio::spawn(serve(channel, Arc::clone(&self.world)));
        Ok(())
    }
}

/// One session: ends with its channel.
async fn serve(channel: Channel<Msg>, world: Arc<Mutex<World>>) {
    let mut stream = channel.into_stream();
    let mut server = Server { world, handles: HashMap::new(), held: None };
    while let Ok(length) = stream.read_u32().await {
        let mut packet = vec![0; length as usize];
        if stream.read_exact(&mut packet).await.is_err() {
            return;
        }
        let reply = server.reply(&packet);
        if stream.write_all(&reply).await.is_err() {
            return;
        }
    }
}

struct Server {
    world: Arc<Mutex<World>>,
    handles: HashMap<Vec<u8>, Vec<u8>>,
    /// An answer that waits for the next one to go first.
    held: Option<Vec<u8>>,
}

impl Server {
    fn reply(&mut self, packet: &[u8]) -> Vec<u8> {
        let (code, rest) = (packet[0], &packet[1..]);
        if code == 1 {
            let limits = if locked(&self.world).limits {
                &b"\0\0\0\x12limits@openssh.com\0\0\0\x011"[..]
            } else {
                b""
            };
            return packed(2, &[&[0, 0, 0, 3], limits].concat());
        }
        let id = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]);
        let (first, after) = string(&rest[4..]);
        match code {
            3 => self.open(id, first),
            4 => {
                locked(&self.world).closed += usize::from(self.handles.remove(first).is_some());
                [self.held.take().unwrap_or_default(), status(id, 0)].concat()
            }
            5 => {
                let offset = u64::from_be_bytes(after[..8].try_into().unwrap_or_default());
                let length = u32::from_be_bytes(after[8..12].try_into().unwrap_or_default());
                self.read(id, first, offset, length as usize)
            }
            8 => self.attributes(id, first),
            200 => packed(
                201,
                &[&id.to_be_bytes()[..], &[0; 5], &[4, 0, 0], &[0; 5], &[2, 0, 0], &[0; 16]].concat(),
            ),
            _ => status(id, 8),
        }
    }

    fn open(&mut self, id: u32, path: &[u8]) -> Vec<u8> {
        let mut world = locked(&self.world);
        world.opened.push(String::from_utf8_lossy(path).into_owned());
        let Some(file) = world.files.get_mut(path) else { return status(id, 2) };
        file.told = 0;
        match file.lie {
            Lie::Fails(code) => return status(id, code),
            Lie::Silent => return Vec::new(),
            _ => {}
        }
        let handle = format!("handle {id}").into_bytes();
        self.handles.insert(handle.clone(), path.to_vec());
        packed(102, &[&id.to_be_bytes()[..], &sized(&handle)].concat())
    }

    fn attributes(&mut self, id: u32, handle: &[u8]) -> Vec<u8> {
        let mut world = locked(&self.world);
        let Some(file) = self.handles.get(handle).and_then(|path| world.files.get_mut(path)) else {
            return status(id, 4);
        };
        file.told += 1;
        let again = file.told > 1;
        let (mut size, mut time) = (file.content.len() as u64, 1_700_000_000_u32);
        match file.lie {
            Lie::NoAttributes => return status(id, 8),
            Lie::NoSize => {
                return packed(
                    105,
                    &[&id.to_be_bytes()[..], &8_u32.to_be_bytes(), &[0; 4], &time.to_be_bytes()].concat(),
                );
            }
            Lie::SizeZero => size = 0,
            Lie::Grows => size += u64::from(again),
            Lie::Touched => time += u32::from(again),
            _ => {}
        }
        let mode = 0o100_644_u32;
        let body = [
            &id.to_be_bytes()[..],
            &13_u32.to_be_bytes(),
            &size.to_be_bytes(),
            &mode.to_be_bytes(),
            &[0; 4],
            &time.to_be_bytes(),
        ];
        packed(105, &body.concat())
    }

    fn read(&mut self, id: u32, handle: &[u8], offset: u64, length: usize) -> Vec<u8> {
        let found = {
            let world = locked(&self.world);
            self.handles.get(handle).and_then(|path| world.files.get(path)).cloned()
        };
        let Some(file) = found else { return status(id, 4) };
        let mut end = file.content.len() as u64;
        let mut most = length;
        match file.lie {
            Lie::ShortReads(least) => most = most.min(least),
            Lie::EndsAt(at) => end = at,
            Lie::WrongNumber => return data(id.wrapping_add(1000), b"x"),
            Lie::TooMuch => return data(id, &vec![7; length + 1]),
            Lie::Garbage => return packed(77, &id.to_be_bytes()),
            Lie::Huge => return [&[0x7f, 0xff, 0xff, 0xff, 103][..], &id.to_be_bytes()].concat(),
            Lie::Empty => return data(id, b""),
            Lie::FailsAt(at, code) if offset >= at => return status(id, code),
            Lie::SilentAt(at) if offset >= at => return Vec::new(),
            _ => {}
        }
        if offset >= end {
            return status(id, 1);
        }
        let until = end.min(offset + most as u64);
        let reply = data(id, &file.content[offset as usize..until as usize]);
        if file.lie != Lie::Backwards {
            return reply;
        }
        match self.held.take() {
            Some(earlier) => [reply, earlier].concat(),
            // The last one waits for the handle to be closed, or for the file to be looked at again.
            None if until == file.content.len() as u64 => reply,
            None => {
                self.held = Some(reply);
                Vec::new()
            }
        }
    }
}

fn string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap_or_default()) as usize;
    bytes[4..].split_at(length)
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn packed(code: u8, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 1).to_be_bytes()[..], &[code], body].concat()
}

fn status(id: u32, code: u32) -> Vec<u8> {
    packed(101, &[&id.to_be_bytes()[..], &code.to_be_bytes(), &sized(b"as told"), &sized(b"en")].concat())
}

fn data(id: u32, bytes: &[u8]) -> Vec<u8> {
    packed(103, &[&id.to_be_bytes()[..], &sized(bytes)].concat())
}
