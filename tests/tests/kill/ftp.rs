//! The same over FTP and FTPS, from vsftpd: what a checkpoint says is there is not asked for again.
//!
//! Invariant: the server's own log says where a run began. Must not know how FTP is spoken.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use downloader_tests::kit::ftpd::{Known, Security};
use downloader_tests::kit::{Ftpd, Rng};

use super::program::names;
use super::world::{Place, Version};
use super::{Point, SIZE, run_until};

/// Bytes per second: a run takes half a second.
const RATE: &str = "anon_max_rate=40000000";
const KILLS: u32 = 12;

async fn killed_and_resumed(security: Security, seed: u64) {
    let (mut rng, mut kills, mut resumed) = (Rng::new(seed), 0, 0);
    let version = Version::new(seed, SIZE, "FTP has none");
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("f"), version.bytes()).unwrap();
    // Long ago: size and time prove that it is the same.
    let settled = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    File::options().write(true).open(root.path().join("f")).unwrap().set_modified(settled).unwrap();
    let server =
        Ftpd::builder(Known::Vsftpd).security(security).config(RATE).start(root.path()).await.unwrap();
    let trust = tempfile::NamedTempFile::new().unwrap();
    fs::write(trust.path(), server.ca_pem()).unwrap();
    while kills < KILLS {
        let place = Place::new();
        let mut program = place.fetch(&server.url("/f"));
        if security == Security::Explicit {
            program =
                program.args(["--ftp-tls", "explicit", "--only-ca", "--ca-certificate"]).arg(trust.path());
        }
        loop {
            let (durable, first) = (place.durable(), server.log().len());
            let held = |least: u64| {
                fs::metadata(place.path().join(".f.part")).map_or(0, |file| file.len()).max(least)
            };
            let least = held(0);
            let ended = run_until(&program, Point::draw(&mut rng), || held(least)).await.is_some();
            let log = server.log().split_off(first);
            let offsets: Vec<&String> = log.iter().filter(|line| line.starts_with("REST ")).collect();
            let asked = log.iter().any(|line| line.starts_with("RETR "));
            match durable.map(|durable| durable.prefix()).filter(|_| asked) {
                Some(prefix) => {
                    assert_eq!(offsets, [&format!("REST {prefix}")], "{log:?}");
                    resumed += 1;
                }
                None => assert_eq!(offsets, [""; 0], "{log:?}"),
            }
            kills += u32::from(!ended);
            if ended || place.is_done(&version) {
                break;
            }
        }
        place.assert_whole(&[&version]);
        assert_eq!(names(place.path()), ["f"], "litter");
    }
    println!("vsftpd, {security:?}: {kills} kills, {resumed} runs resumed");
    assert!(resumed > 0, "no run took up what was there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_vsftpd() {
    killed_and_resumed(Security::Off, 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_vsftpd_over_tls() {
    killed_and_resumed(Security::Explicit, 10).await;
}
