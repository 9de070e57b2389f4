//! Health as sources and requests see it.

use super::*;

const A: &str = "http://a:80";
const B: &str = "http://b:80";
const LONGEST: Duration = Duration::from_secs(300);

fn send(health: &Health, origin: &str) -> Sent {
    health.admit(origin, Insistence::Waits).unwrap()
}

fn silent(health: &Health, origin: &str, kind: ErrorKind) -> News {
    let sent = send(health, origin);
    health.unanswered(origin, sent, &Error::new(kind, "as told"), LONGEST)
}

fn answered(health: &Health, origin: &str) -> News {
    let sent = send(health, origin);
    health.answered(origin, sent, None, LONGEST)
}

fn prefers_b(health: &Health) -> bool {
    health.rank(B).clearly_before(&health.rank(A))
}

#[tokio::test(start_paused = true)]
async fn pulp_h1_an_origin_that_refuses_is_asked_last_until_its_rest_is_over() {
    let health = Arc::new(Health::default());
    silent(&health, A, ErrorKind::Connect);
    assert!(!prefers_b(&health), "one failure is no verdict");
    silent(&health, A, ErrorKind::Connect);
    assert!(prefers_b(&health) && !health.rank(A).is_shut());
    tokio::time::advance(Duration::from_secs(15)).await;
    assert!(!prefers_b(&health), "half open: one probe");
    let probe = health.running(A);
    assert!(prefers_b(&health), "but only one");
    drop(probe);
    answered(&health, A);
    let _others = (health.running(A), health.running(A));
    assert!(!prefers_b(&health), "closed again");
}

#[tokio::test(start_paused = true)]
async fn pulp_h1_with_more_failures_the_circuit_opens_and_an_answer_of_any_kind_closes_it() {
    let health = Health::default();
    for _ in 1..FAILURES_TO_OPEN {
        assert_eq!(silent(&health, A, ErrorKind::Timeout(Phase::Head)), News::default());
    }
    let second = Duration::from_secs(1);
    let opened = News { rests: None, circuit: Some(Circuit::Opened { failures: 8, time: second }) };
    assert_eq!(silent(&health, A, ErrorKind::Busy), opened);
    assert!(health.rank(A).is_shut());
    assert_eq!(health.rests(A), Some(second));
    tokio::time::advance(second).await;
    let probe = send(&health, A);
    assert!(probe.probe && health.rank(A).is_shut());
    let closed = News { rests: None, circuit: Some(Circuit::Closed) };
    assert_eq!(health.unanswered(A, probe, &Error::new(ErrorKind::NotFound, "404"), LONGEST), closed);
    assert_eq!(health.rank(A), health.rank("http://never.asked:80"));
    health.set_threshold(None);
    for _ in 0..1000 {
        silent(&health, A, ErrorKind::Connect);
    }
    assert!(!health.rank(A).is_shut(), "switched off");
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_asks_for_it_rests_but_not_longer_than_is_borne() {
    let health = Health::default();
    let busy =
        |seconds| Error::new(ErrorKind::Busy, "429").with_retry_after(Some(Duration::from_secs(seconds)));
    let sent = send(&health, A);
    let news = health.unanswered(A, sent, &busy(86_400), LONGEST);
    assert_eq!(news, News { rests: Some(LONGEST), circuit: None });
    assert!(health.rank(A).is_shut() && !health.rank(B).is_shut());
    assert!(health.rests(A).unwrap() <= LONGEST + Duration::from_secs(5));
    let sent = send(&health, B);
    assert_eq!(
        health.unanswered(B, sent, &busy(9), Duration::ZERO),
        News::default(),
        "a policy that ignores it"
    );
    assert_eq!(health.rests(B), None);
    tokio::time::advance(Duration::from_secs(306)).await;
    assert!(!health.rank(A).is_shut());
}

#[tokio::test(start_paused = true)]
async fn pulp_h3_an_origin_with_wrong_contents_is_quarantined_after_the_third_within_an_hour() {
    let health = Health::default();
    for _ in 0..2 {
        health.failed(A, ErrorKind::Integrity);
    }
    assert!(!prefers_b(&health));
    health.failed(A, ErrorKind::Integrity);
    assert!(prefers_b(&health));
    tokio::time::advance(QUARANTINE).await;
    assert!(!prefers_b(&health));
    health.failed(A, ErrorKind::Integrity);
    assert!(prefers_b(&health), "it is remembered");
    tokio::time::advance(WRONG_LASTS).await;
    for _ in 0..2 {
        health.failed(A, ErrorKind::Integrity);
    }
    assert!(!prefers_b(&health), "but not for ever");
}

#[tokio::test(start_paused = true)]
async fn an_origin_whose_bodies_fall_silent_is_asked_last_for_a_while() {
    let health = Health::default();
    for expected in [false, true] {
        answered(&health, A);
        health.failed(A, ErrorKind::Timeout(Phase::Idle));
        assert_eq!(prefers_b(&health), expected);
    }
    health.succeeded(A, 1, Duration::from_secs(1));
    assert!(!prefers_b(&health));
}

#[tokio::test(start_paused = true)]
async fn pulp_h5_the_faster_one_goes_first_and_a_full_one_steps_back_and_recovers() {
    let health = Arc::new(Health::default());
    health.succeeded(A, 1 << 20, Duration::from_secs(10));
    assert!(prefers_b(&health), "the unknown is tried");
    health.succeeded(B, 1 << 20, Duration::from_secs(1));
    assert!(prefers_b(&health));
    let running: Vec<Running> = (0..3).map(|_| health.running(B)).collect();
    health.failed(B, ErrorKind::Busy);
    assert!(health.rank(A).clearly_before(&health.rank(B)), "it bears two and has three");
    drop(running);
    assert!(prefers_b(&health));
    let _two = (health.running(B), health.running(B));
    assert!(health.rank(A).clearly_before(&health.rank(B)));
    for _ in 0..SUCCESSES_TO_DARE {
        health.succeeded(B, 1, Duration::from_secs(1));
    }
    assert!(prefers_b(&health), "one more is dared");
}

#[tokio::test(start_paused = true)]
async fn memory_of_origins_is_bounded_and_what_rests_is_remembered_longest() {
    let health = Health::default();
    health.rest(A, Duration::from_secs(60));
    for n in 0..MOST_ORIGINS + 10 {
        health.succeeded(&format!("http://{n}:80"), 1, Duration::from_secs(1));
    }
    assert_eq!(health.lock().len(), MOST_ORIGINS);
    assert!(health.rests(A).is_some());
}
