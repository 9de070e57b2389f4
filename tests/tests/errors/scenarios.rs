//! The ways to provoke each kind of error, through real servers, files and writers where there is a way.
//!
//! Invariant: what an error says depends on the scenario alone, ports, times and folders aside, which [`World::masked`] replaces.
//! Must not know what an error is expected to say.

#[path = "ftp.rs"]
mod ftp;
#[path = "mask.rs"]
mod mask;
#[path = "proxies.rs"]
mod proxies;
#[path = "sftp.rs"]
mod sftp;
#[path = "tls.rs"]
mod tls;

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use downloader_core::retry::Never;
use downloader_core::validate::{Digest, Size};
use downloader_core::write::{Clobber, Discard, MemoryWriter, Sequential};
use downloader_core::{
    Connections, Engine, EngineBuilder, Error, Event, FileBackend, FileWriter, Fixed, Job, LowestSpeed,
    Observer, Patience, Request, SafeUrl, Writer,
};
use downloader_http::{Http, HttpBuilder, RequestHeaders};
use downloader_tests::kit::{Act, BlackHole, FtpServer, Resource, ScriptedSftp, Server, dead_address};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::program;

const MIB: u64 = 1 << 20;
const SOON: Duration = Duration::from_millis(400);

/// One error and how it came about.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) error: Error,
    /// What to ask `fetch` for the same, if it can be asked.
    pub(crate) line: Option<Vec<String>>,
}

/// The far sides, and a folder.
pub(crate) struct World {
    server: Server,
    hole: BlackHole,
    nobody: String,
    place: TempDir,
    /// Servers that are asked again, by `fetch`.
    kept: RefCell<Vec<Server>>,
    kept_sftp: RefCell<Vec<ScriptedSftp>>,
    kept_ftp: RefCell<Vec<FtpServer>>,
}

/// Fails the download it listens to.
struct Clumsy;

impl Observer for Clumsy {
    fn observe(&self, event: &Event<'_>) {
        assert!(!matches!(event, Event::Head { .. }), "it fell over a head");
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("root")).unwrap();
        std::fs::write(place.path().join("old"), "old").unwrap();
        let nobody = format!("http://{}/f", dead_address().await);
        Self {
            server: Server::start().await,
            hole: BlackHole::start().await,
            nobody,
            place,
            kept: RefCell::default(),
            kept_sftp: RefCell::default(),
            kept_ftp: RefCell::default(),
        }
    }

    fn engine(&self) -> EngineBuilder {
        self.engine_over(Http::builder())
    }

    fn engine_over(&self, http: HttpBuilder) -> EngineBuilder {
        let http = http.connect_timeout(SOON).handshake_timeout(SOON).resolve_timeout(SOON).build().unwrap();
        let files = FileBackend::builder().allow(self.place.path().join("root")).build().unwrap();
        // One clock at a time: each scenario sets its own.
        let patience = Patience { head: None, idle: None, slow: None };
        Engine::builder().backend(http).backend(files).retry(Never).patience(patience)
    }

    fn folder(&self) -> &Path {
        self.place.path()
    }

    /// Puts 2000 bytes, answered so, under the path.
    fn put(&self, path: &str, act: Act) -> String {
        self.server.put(path, Resource::generated(1, 2000).etag("\"a\"").always(act));
        self.server.url(path)
    }

    /// What `fetch` ends with. `|` sends what it prints to a reader that goes away.
    pub(crate) async fn exit_code(&self, line: &[String]) -> i32 {
        let pipe = line.iter().any(|word| word == "|");
        let mut line: Vec<&str> = line.iter().map(String::as_str).filter(|word| *word != "|").collect();
        line.extend(["--retries=0", "-q", "--no-continue"]);
        for (option, value) in [("-o", "-o=fetched"), ("--file-root", "--file-root=root")] {
            if !line.iter().any(|word| word.starts_with(option)) {
                line.push(value);
            }
        }
        let script = if pipe { "set -o pipefail; \"$@\" | head -c 1 > /dev/null" } else { "exec \"$@\"" };
        let done = program::scripted(self.folder(), &[], script, line).run(program::LONG).await.unwrap();
        program::code(&done)
    }

    /// Without what differs from run to run.
    pub(crate) fn masked(&self, text: &str) -> String {
        mask::masked(&text.replace(&*self.folder().to_string_lossy(), "FOLDER"))
    }

    /// A download into memory, of which only its error is wanted.
    async fn fails(
        &self,
        name: &'static str,
        url: &str,
        terms: impl FnOnce(Request) -> Request,
        words: &[&str],
    ) -> Scenario {
        let request = terms(Request::get(url).unwrap());
        let error = self.engine().build().download(request, MemoryWriter::new(64 * MIB).0).await.unwrap_err();
        Scenario { name, error, line: line(url, words) }
    }

    /// The same, over a backend with settings of its own.
    async fn fails_over(&self, name: &'static str, http: HttpBuilder, url: &str, words: &[&str]) -> Scenario {
        let engine = self.engine_over(http).build();
        let error = engine.download(Request::get(url).unwrap(), Discard::default()).await.unwrap_err();
        Scenario { name, error, line: line(url, words) }
    }

    /// All scenarios.
    pub(crate) async fn all(&self) -> Vec<Scenario> {
        let mut all = self.of_sources().await;
        all.extend(self.this_side().await);
        all.extend(Self::input());
        all
    }

    /// Those in which a source was asked and did not deliver.
    pub(crate) async fn of_sources(&self) -> Vec<Scenario> {
        let mut all = self.answers().await;
        all.extend(self.broken().await);
        all.extend(self.clocks().await);
        all.extend(tls::all(self).await);
        all.extend(proxies::all(self).await);
        all.extend(sftp::all(self).await);
        all.extend(ftp::all(self).await);
        all
    }

    /// What a source answers.
    async fn answers(&self) -> Vec<Scenario> {
        let mut all = Vec::new();
        let same = |request: Request| request;
        for (name, status) in [
            ("the source does not have it", 404),
            ("the source had it", 410),
            ("the source refuses this caller", 403),
            ("the source wants credentials", 401),
            ("the source cannot serve now", 503),
            ("the source answers nonsense", 299),
        ] {
            let url = self.put(&format!("/{status}"), Act::new().status(status));
            all.push(self.fails(name, &url, same, &[]).await);
        }
        let url = self.put("/later", Act::new().status(429).header("Retry-After", "7"));
        all.push(self.fails("the source asks for time", &url, same, &[]).await);
        let url = format!("file://{}/root/none", self.folder().display());
        all.push(self.fails("no such file", &url, same, &[]).await);
        let url = self.put("/loop", Act::new().redirect("/loop"));
        all.push(self.fails("a redirect in a circle", &url, same, &[]).await);
        let url = self.put("/elsewhere", Act::new().redirect("gopher://h/f"));
        all.push(self.fails("a redirect out of HTTP", &url, same, &[]).await);
        let url = self.put("/nowhere", Act::new().status(302));
        all.push(self.fails("a redirect to nowhere", &url, same, &[]).await);
        let url = format!("file://{}/old", self.folder().display());
        all.push(self.fails("a file outside", &url, same, &[]).await);
        let url = self.put("/ok", Act::new());
        let most = |request: Request| request.check(Size::at_most(1000));
        all.push(Scenario { line: None, ..self.fails("more than is accepted", &url, most, &[]).await });
        let exactly = |request: Request| request.size(1000);
        all.push(self.fails("another size", &url, exactly, &["--size=1000"]).await);
        let hex = "0".repeat(64);
        let wrong = |request: Request| request.sha256(&hex).unwrap();
        all.push(self.fails("another digest", &url, wrong, &[&format!("--checksum=sha-256={hex}")]).await);
        let longer = self.put("/longer", Act::new().chunked());
        all.push(self.fails("more bytes than there should be", &longer, exactly, &["--size=1000"]).await);
        all
    }

    /// What happens to a connection, or to what comes through it.
    async fn broken(&self) -> Vec<Scenario> {
        let mut all = Vec::new();
        let same = |request: Request| request;
        for (name, path, act) in [
            ("cut within the body", "/cut", Act::new().cut_at(700)),
            ("cut before the head", "/headless", Act::new().cut_head_at(0)),
            ("cut within the head", "/head", Act::new().cut_head_at(20)),
            ("no HTTP", "/none", Act::new().raw("220 smtp.example ready\r\n")),
            ("a part without a range", "/part", Act::new().status(206).body("x")),
            (
                "malformed chunks",
                "/chunk",
                Act::new().raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            ),
        ] {
            let url = self.put(path, act);
            all.push(self.fails(name, &url, same, &[]).await);
        }
        all.push(self.fails("nobody listens", &self.nobody, same, &[]).await);
        // Longer than a name may be: no server is asked for it.
        let host = format!("http://{}.invalid/f", "x".repeat(64));
        all.push(self.fails("no such host", &host, same, &[]).await);
        // The second connection is served another content than the first, of which no byte comes.
        let two = |request: Request| request.connections(Connections::Exactly(2));
        let put = || {
            let other = Resource::generated(2, 4 * MIB).etag("\"b\"");
            let resource = Resource::generated(1, 4 * MIB).etag("\"a\"").change_after(1, other);
            self.server.put("/changing", resource.first(Act::new().stall_at(0)));
        };
        put();
        let changed =
            self.fails("another content meanwhile", &self.server.url("/changing"), two, &["-s2"]).await;
        put();
        all.push(changed);
        all
    }

    /// What comes too late.
    async fn clocks(&self) -> Vec<Scenario> {
        let none = Patience { head: None, idle: None, slow: None };
        let patient = |patience: Patience| move |request: Request| request.patience(patience);
        let silent = self.put("/silent", Act::new().never_answer());
        let stalled = self.put("/stalled", Act::new().stall_at(1000));
        let slow = LowestSpeed { bytes_per_second: 100_000, window: SOON };
        let unreachable = format!("http://{}/f", self.hole.addr());
        let terms = ["--connect-timeout=0.4", "--head-timeout=0.4", "--timeout=0.4", "--deadline=0.4"];
        let speed = ["--lowest-speed=100000", "--lowest-speed-time=0.4"];
        vec![
            self.fails("no connection in time", &unreachable, |request| request, &terms[..1]).await,
            self.fails(
                "no head in time",
                &silent,
                patient(Patience { head: Some(SOON), ..none }),
                &terms[1..2],
            )
            .await,
            self.fails(
                "a body falls silent",
                &stalled,
                patient(Patience { idle: Some(SOON), ..none }),
                &terms[2..3],
            )
            .await,
            self.fails(
                "a body is too slow",
                &stalled,
                patient(Patience { slow: Some(slow), ..none }),
                &speed,
            )
            .await,
            self.fails("all of it takes too long", &stalled, |request| request.deadline(SOON), &terms[3..])
                .await,
        ]
    }

    /// Faults of this side.
    async fn this_side(&self) -> Vec<Scenario> {
        let mut all = Vec::new();
        let url = self.put("/ok", Act::new());
        let engine = self.engine().build();
        let get = || Request::get(url.as_str()).unwrap();
        let words = |line: &[&str]| Some(line.iter().map(|word| (*word).to_owned()).collect());
        let old = self.folder().join("old");
        for (name, writer, line) in [
            (
                "a folder that is missing",
                FileWriter::new(self.folder().join("nowhere/f")),
                words(&[&url, "-o", "nowhere/f"]),
            ),
            ("a file that must not be replaced", FileWriter::new(&old).clobber(Clobber::Fail), None),
            ("a file that is to be left alone", FileWriter::new(&old).clobber(Clobber::Skip), None),
            (
                "a folder in place of the file",
                FileWriter::new(self.folder().join("root")),
                words(&[&url, "-o", "root"]),
            ),
        ] {
            let error = engine.download(get(), writer).await.unwrap_err();
            all.push(Scenario { name, error, line });
        }
        let mut push = |name, error, line| all.push(Scenario { name, error, line });
        let clumsy = self.engine().observer(Clumsy).build();
        push("a plug-in that panics", clumsy.download(get(), Discard::default()).await.unwrap_err(), None);
        let bounded = engine.download(get(), MemoryWriter::new(1000).0).await.unwrap_err();
        push("more than memory is given", bounded, None);
        let (near, far) = tokio::io::duplex(16);
        drop(far);
        let gone = engine.download(get(), Sequential::new(near)).await.unwrap_err();
        self.server.put("/much", Resource::generated(1, 8 * MIB));
        push("the reader went away", gone, words(&[&self.server.url("/much"), "-o", "-", "|"]));
        let handle =
            engine.start(Job::new(Request::get(self.server.url("/silent")).unwrap(), Discard::default()));
        handle.stop();
        push("stopped", handle.await.unwrap_err(), None);
        let gopher = Request::get("gopher://h/f").unwrap();
        let error = engine.download(gopher, Discard::default()).await.unwrap_err();
        push("a scheme that nobody serves", error, words(&["gopher://h/f"]));
        let empty = Request::located(Arc::new(Fixed::new(Vec::new())));
        push("no source", engine.download(empty, Discard::default()).await.unwrap_err(), None);
        let error = Sequential::new(tokio::io::sink()).read(0..1).await.unwrap_err();
        push("reading what was passed on", error, None);
        let error = FileBackend::builder().allow("/nowhere/at/all").build().unwrap_err();
        push("a folder to allow that is missing", error, words(&[&url, "--file-root=/nowhere/at/all"]));
        all
    }

    /// What a caller gets wrong.
    fn input() -> Vec<Scenario> {
        let one = |name, error, line: &[&str]| {
            let line = line.iter().map(|word| (*word).to_owned()).collect();
            Scenario { name, error, line: Some(line) }
        };
        let good = "http://127.0.0.1:9/f";
        let url = |text| SafeUrl::parse(text).unwrap_err();
        let digest = |text| Digest::parse(text).unwrap_err();
        let header = |text| RequestHeaders::parse([text]).unwrap_err();
        vec![
            one("not a URL", url("s3cret"), &["s3cret"]),
            one("a URL without a host", url("http://u:s3cret@/"), &["http://u:s3cret@/"]),
            one(
                "a URL that is too long",
                url(&format!("http://h/{}", "x".repeat(70_000))),
                &[&format!("http://h/{}", "x".repeat(70_000))],
            ),
            one("a digest of the wrong length", digest("sha-256=12"), &[good, "--checksum=sha-256=12"]),
            one("a digest of no algorithm", digest("crc16=00"), &[good, "--checksum=crc16=00"]),
            one("a header without a colon", header("s3cret"), &[good, "--header=s3cret"]),
            one(
                "a header that is not the caller's",
                header("Range: bytes=0-"),
                &[good, "--header=Range: bytes=0-"],
            ),
        ]
    }
}

fn line(url: &str, words: &[&str]) -> Option<Vec<String>> {
    Some([url].iter().chain(words).map(|word| (*word).to_owned()).collect())
}

/// A server that reads a little and says this, whatever it read; it ends with the runtime.
async fn says(words: impl Into<Vec<u8>>) -> SocketAddr {
    let (listener, words) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(), words.into());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let mut hello = [0; 4096];
            // A peer that is gone needs no answer.
            let _ = peer.read(&mut hello).await;
            let _ = peer.write_all(&words).await;
        }
    });
    address
}
