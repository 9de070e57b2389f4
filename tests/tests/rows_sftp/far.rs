//! A server that is far away: is enough asked for ahead, and does nothing wait that need not.
//!
//! Invariant: time is counted in round trips, which are so long that nothing else matters. Must not know the size of any window.

use std::time::Duration;

use bytes::Bytes;
use downloader_sftp::KnownHosts;
use downloader_tests::kit::{Link, Sshd};
use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use super::{Place, open, read, sftp};

const ROUND_TRIP: Duration = Duration::from_millis(400);

fn round_trips(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() / ROUND_TRIP.as_secs_f64()
}

/// What is asked for ahead grows with the way: with the 2 MiB of OpenSSH's own client 64 MiB would take 32 round trips, with the 4 MiB
/// that are asked for at first 16.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_much_is_asked_for_as_the_way_holds() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let link = Link::builder().delay(ROUND_TRIP / 2).start(sshd.addr()).await;
    let known = KnownHosts::new().text(sshd.known_at(link.addr()));
    let sftp = sftp(&sshd).known_hosts(known).build().unwrap();
    let (_, content) = place.put("f", 64 << 20);
    let (_, small) = place.put("small", 10_000);
    let url = |name: &str| sshd.url_at(link.addr(), place.path().join(name));
    read(&sftp, &url("small")).await.unwrap();

    // The first bytes come after two: one for the handle, one for what is in it.
    let begin = Instant::now();
    let mut body = open(&sftp, &url("f")).await.unwrap();
    let first = body.stream.next().await.unwrap().unwrap();
    let took = round_trips(begin);
    assert!((2.0..3.0).contains(&took), "{took} round trips to the first bytes");
    let rest: Vec<Bytes> = body.stream.try_collect().await.unwrap();
    assert!([vec![first], rest].concat().concat() == content);
    let took = round_trips(begin);
    println!("64 MiB in {took:.1} round trips");
    assert!(took < 14.0, "{took} round trips");

    // And many small files take no longer than one.
    let begin = Instant::now();
    let small_url = url("small");
    let reads = (0..50).map(|_| read(&sftp, &small_url));
    assert!(join_all(reads).await.into_iter().all(|done| done.unwrap() == small));
    let took = round_trips(begin);
    assert!((2.0..3.5).contains(&took), "{took} round trips for 50 small files");
    assert_eq!(sshd.logins(), 1, "{}", sshd.log());
}
