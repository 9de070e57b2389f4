//! Kills within a transfer over SFTP, from OpenSSH.
//!
//! Invariant: what the server was asked for is read from its own log. Must not know how a session works.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use downloader_tests::kit::{Fault, Proxy, Rng, Sshd};
use tokio::time::{Instant, sleep};

use super::program::{LONG, events, names};
use super::world::{Place, Version};
use super::{MIB, Point, RATE, SIZE, run_until};

/// A file that nobody writes to, on a server behind a relay.
struct Far {
    sshd: Sshd,
    relay: Proxy,
    root: tempfile::TempDir,
    version: Version,
}

impl Far {
    async fn new(seed: u64) -> Self {
        let (sshd, root) = (Sshd::start().await.unwrap(), tempfile::tempdir().unwrap());
        let relay = Proxy::start(sshd.addr()).await;
        relay.set(Fault::new().rate(RATE));
        fs::write(root.path().join("hosts"), sshd.known_at(relay.addr())).unwrap();
        let far = Self { sshd, relay, root, version: Version::new(seed, SIZE, "OpenSSH has none") };
        far.write(&far.version, 1_700_000_000);
        far
    }

    /// In one step, changed at this time.
    fn write(&self, version: &Version, second: u64) {
        let (draft, path) = (self.root.path().join("draft"), self.root.path().join("f"));
        fs::write(&draft, version.bytes()).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        File::options().write(true).open(&draft).unwrap().set_modified(time).unwrap();
        fs::rename(draft, path).unwrap();
    }

    fn program(&self, place: &Place, segments: u16) -> downloader_tests::kit::Program {
        let url = self.sshd.url_at(self.relay.addr(), self.root.path().join("f"));
        let hosts = self.root.path().join("hosts").display().to_string();
        let key = self.sshd.key_file().display().to_string();
        let segments = format!("--segments={segments}");
        place.fetch(&url).args(["--known-hosts", &hosts, "--identity", &key, &segments])
    }

    /// Bytes that the server read from the file, each time it was opened and closed.
    fn read(&self) -> Vec<u64> {
        let of = |line: &str| line.split_once("bytes read ")?.1.split(' ').next()?.parse().ok();
        self.sshd.sftp_log().lines().filter(|line| line.contains("/f\" bytes read")).filter_map(of).collect()
    }

    /// The same, once all that was opened is closed.
    async fn all_read(&self) -> Vec<u64> {
        let path = self.root.path().join("f").display().to_string();
        let start = Instant::now();
        loop {
            let (opened, closed) = self.sshd.opened(&path);
            if opened == closed {
                return self.read();
            }
            assert!(start.elapsed() < LONG, "{}", self.sshd.sftp_log());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Any point, but mostly one behind the first checkpoint: a login takes long.
fn point(rng: &mut Rng) -> Point {
    match rng.below(4) {
        0 => Point::draw(rng),
        _ => Point::Sent(SIZE / 2 + rng.below(SIZE / 2)),
    }
}

/// Size and time, once it is old, prove what is there: it is not fetched again, on one connection or several.
async fn killed_and_run_again(segments: u16, kills: u32, seed: u64) {
    let (mut rng, mut killed, mut resumed) = (Rng::new(seed), 0, 0);
    let far = Far::new(seed).await;
    while killed < kills {
        let place = Place::new();
        let program = far.program(&place, segments);
        loop {
            let durable = place.durable();
            let before = far.all_read().await.len();
            let ended = run_until(&program, point(&mut rng), || far.relay.bytes_down()).await;
            if let Some(done) = ended {
                let held = durable.map_or(0, |durable| durable.total());
                let events = events(&done);
                let done = events.iter().find(|event| event["event"] == "done").unwrap();
                assert_eq!(done["held"].as_u64(), Some(held), "{done}");
                let read: u64 = far.all_read().await[before..].iter().sum();
                // What several bring at once is cut where the next begins: what was asked for ahead comes for nothing.
                let surplus = u64::from(segments - 1) * 9 * MIB;
                assert!((SIZE - held..=SIZE - held + surplus).contains(&read), "{read} read, {held} held");
                resumed += u32::from(held > 0);
                break;
            }
            killed += 1;
            if place.is_done(&far.version) {
                break;
            }
        }
        place.assert_whole(&[&far.version]);
        assert_eq!(names(place.path()), ["f"], "litter");
    }
    println!("SFTP, {segments} at a time: {killed} kills, {resumed} taken up");
    assert!(resumed > 0, "no run took up what was there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sftp() {
    killed_and_run_again(1, 15, 61).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sftp_in_segments() {
    killed_and_run_again(4, 15, 62).await;
}

/// The file is another one when the next run begins: what comes out is that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sftp_a_file_that_changes_between_runs() {
    let mut rng = Rng::new(63);
    let far = Far::new(63).await;
    for round in 1..=4 {
        let (place, program) = loop {
            let place = Place::new();
            let program = far.program(&place, 1);
            let late = Point::Sent(SIZE * 3 / 4 + rng.below(SIZE / 5));
            // Who was quicker than the kill is done, and leaves nothing to take up.
            let ended = run_until(&program, late, || far.relay.bytes_down()).await;
            if ended.is_none() && place.durable().is_some_and(|durable| durable.total() > 0) {
                break (place, program);
            }
        };
        let now = Version::new(100 + round, SIZE, "");
        far.write(&now, 1_700_000_000 + round);
        assert!(run_until(&program, Point::After(LONG), || 0).await.is_some());
        place.assert_whole(&[&now]);
        assert_eq!(names(place.path()), ["f"], "litter");
    }
}
