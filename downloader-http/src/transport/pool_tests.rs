//! What the pool gives out, keeps and lets go.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::transport::line::Line;

fn key(origin: &str) -> Key {
    Key { origin: origin.into(), proxy: None }
}

/// A connection whose far side is in the test's hands.
async fn http1() -> (Line, DuplexStream) {
    let (near, far) = duplex(4096);
    let (sender, driver) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(near)).await.unwrap();
    tokio::spawn(driver);
    (Line::http1(sender, downloader_core::Connection::default()), far)
}

async fn http2() -> (Line, DuplexStream) {
    let (near, far) = duplex(4096);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, driver) =
        hyper::client::conn::http2::handshake(executor, hyper_util::rt::TokioIo::new(near)).await.unwrap();
    tokio::spawn(driver);
    (Line::http2(sender, downloader_core::Connection::default()), far)
}

fn found(pool: &Pool, key: &Key, alone: bool) -> bool {
    matches!(pool.take(key, alone), Found::Line(_))
}

#[tokio::test]
async fn a_connection_serves_its_own_origin_one_request_at_a_time() {
    let pool = Pool::new(None, 2);
    let (line, _far) = http1().await;
    pool.keep(&key("https://a:443"), line);
    assert!(!found(&pool, &key("https://b:443"), true));
    let proxied = Key { proxy: Some("http://p:3128".parse().unwrap()), ..key("https://a:443") };
    assert!(!found(&pool, &proxied, true));
    assert!(found(&pool, &key("https://a:443"), true));
    assert!(!found(&pool, &key("https://a:443"), true), "it is in use");
}

#[tokio::test]
async fn no_more_are_kept_than_allowed() {
    let pool = Pool::new(None, 1);
    let (first, _far) = http1().await;
    let (second, mut far) = http1().await;
    pool.keep(&key("o"), first);
    pool.keep(&key("o"), second);
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "the second was closed");
    assert!(found(&pool, &key("o"), true) && !found(&pool, &key("o"), true));
}

#[tokio::test]
async fn one_that_the_far_side_closed_is_not_given_out() {
    let pool = Pool::new(None, 1);
    let (line, mut far) = http1().await;
    pool.keep(&key("o"), line);
    far.shutdown().await.unwrap();
    drop(far);
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!found(&pool, &key("o"), true));
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_too_long_is_closed_even_if_nobody_asks() {
    let pool = Pool::new(Some(Duration::from_secs(90)), 8);
    let (line, mut far) = http1().await;
    pool.keep(&key("o"), line);
    tokio::time::sleep(Duration::from_secs(80)).await;
    assert_eq!(pool.0.lock().places.len(), 1);
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(pool.0.lock().places.len(), 0);
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_bears_many_is_shared_up_to_its_streams() {
    let pool = Pool::new(Some(Duration::from_secs(90)), 8);
    let (line, _far) = http2().await;
    pool.keep(&key("o"), line);
    let mut lines = Vec::new();
    while let Found::Line(line) = pool.take(&key("o"), false) {
        lines.push(line);
        assert!(lines.len() <= 100);
    }
    assert_eq!(lines.len(), 100);
    assert!(!found(&pool, &key("o"), true), "whoever wants one alone gets none of it");
    // In use it does not grow old.
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(!lines[0].is_closed());
    lines.clear();
    assert!(found(&pool, &key("o"), false));
}

#[tokio::test(start_paused = true)]
async fn one_finds_out_and_all_who_waited_share_the_failure() {
    use downloader_core::ErrorKind;
    let gate = Arc::new(Gate::default());
    let tries = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let passing: Vec<_> = (0..20)
        .map(|_| {
            let (gate, tries) = (Arc::clone(&gate), Arc::clone(&tries));
            tokio::spawn(async move {
                let connect = async {
                    tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    Err::<(), _>(Error::new(ErrorKind::Connect, "refused"))
                };
                gate.pass(|| None, connect).await
            })
        })
        .collect();
    let start = Instant::now();
    for passed in passing {
        assert_eq!(passed.await.unwrap().unwrap_err().kind(), ErrorKind::Connect);
    }
    assert_eq!((tries.load(std::sync::atomic::Ordering::Relaxed), start.elapsed().as_secs()), (1, 10));
    // Who comes later tries again.
    gate.pass(|| None, async { Ok(()) }).await.unwrap();
}

#[tokio::test]
async fn whoever_leaves_the_gate_lets_the_next_one_try() {
    let gate = Arc::new(Gate::default());
    let leader = Arc::clone(&gate);
    let leader = tokio::spawn(async move { leader.pass::<()>(|| None, std::future::pending()).await });
    tokio::task::yield_now().await;
    let follower = Arc::clone(&gate);
    let follower = tokio::spawn(async move { follower.pass(|| None, async { Ok(7) }).await });
    tokio::task::yield_now().await;
    leader.abort();
    assert_eq!(follower.await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn dropping_the_pool_closes_its_connections_and_ends_its_task() {
    let pool = Pool::new(Some(Duration::from_secs(90)), 8);
    let (line, mut far) = http1().await;
    pool.keep(&key("o"), line);
    let weak = pool.downgrade();
    drop(pool);
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
    let (line, mut far) = http1().await;
    weak.keep(&key("o"), line);
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "there is no pool to keep it");
}
