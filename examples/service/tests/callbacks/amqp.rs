//! Callbacks over AMQP, against a real RabbitMQ, and against brokers that lie or say nothing.
//!
//! Owns the scenarios. Invariant: what was delivered is in a queue. Must not know frames.

use std::time::Duration;

use downloader_service::callback::amqp::{AmqpCallback, Settings};
use downloader_service::callback::{Callback, Failure};
use downloader_service::job::JobId;
use downloader_tests::kit::{Authority, BlackHole, Rabbitmq, TlsFront, dead_address};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::fixture::{tells_of, told};

fn callback(url: &str, timeout: Duration) -> AmqpCallback {
    let mut settings = Settings::new(url).expect("a URL");
    settings.timeout = timeout;
    AmqpCallback::new(settings).expect("settings")
}

/// For what should be answered, however busy the machine is.
const LONG: Duration = Duration::from_secs(60);
/// For what is never answered.
const SHORT: Duration = Duration::from_millis(1500);

async fn delivery(callback: &AmqpCallback, target: &str, payload: &str) -> Result<(), Failure> {
    callback.deliver(target, &JobId::random(), payload).await
}

async fn refusal(callback: &AmqpCallback, target: &str) -> String {
    let failure = delivery(callback, target, "{}").await.expect_err(target);
    assert!(!failure.is_final, "it may be mended yet: {failure}");
    failure.reason
}

fn payloads(messages: &[Value]) -> Vec<&str> {
    let mut payloads: Vec<_> = messages.iter().filter_map(|message| message["payload"].as_str()).collect();
    payloads.sort_unstable();
    payloads
}

/// One after the other, since a broker takes long to start.
#[tokio::test]
async fn a_broker_takes_confirms_refuses_and_comes_back() {
    let mut rabbitmq = Rabbitmq::start().await.expect("RabbitMQ, which tests/run installs");
    rabbitmq.make_queue("jobs", &json!({})).await.expect("a queue");
    rabbitmq.make_exchange("events", "topic", "jobs.#", "jobs").await.expect("an exchange");

    a_callback_becomes_a_message(&rabbitmq).await;
    let callback = callback(&rabbitmq.url(), LONG);
    what_no_queue_takes_is_not_delivered(&rabbitmq, &callback).await;
    messages_of_any_size_and_number(&rabbitmq, &callback).await;
    a_full_queue_refuses(&rabbitmq, &callback).await;
    over_tls(&rabbitmq).await;
    whoever_may_not_is_told_so(&rabbitmq).await;

    // It hangs, and goes on.
    rabbitmq.freeze().expect("running");
    let hasty = self::callback(&rabbitmq.url(), SHORT);
    assert!(refusal(&hasty, "jobs").await.contains("within"));
    rabbitmq.thaw().expect("running");
    delivery(&callback, "jobs", "thawed").await.expect("delivered");

    // It is killed, and comes back with what it confirmed.
    rabbitmq.kill();
    loop {
        let reason = refusal(&callback, "jobs").await;
        if reason.contains("cannot connect") {
            break;
        }
        let seen = ["hung up", "broke", "ended"].iter().any(|word| reason.contains(word));
        assert!(seen, "the connection that there was: {reason}");
    }
    rabbitmq.start_again().await.expect("up again");
    delivery(&callback, "jobs", "started again").await.expect("delivered");
    let messages = rabbitmq.take("jobs").await.expect("a queue");
    // What was not confirmed may be there all the same.
    let confirmed: Vec<_> = payloads(&messages).into_iter().filter(|payload| *payload != "{}").collect();
    assert_eq!(confirmed, ["started again", "thawed"]);
}

async fn a_callback_becomes_a_message(rabbitmq: &Rabbitmq) {
    let id = told("amqp", callback(&rabbitmq.url(), LONG), "jobs").await;
    let message = rabbitmq.take("jobs").await.expect("a queue").remove(0);
    assert!(tells_of(&id, message["payload"].as_str().expect("text")), "{message}");
    let properties = &message["properties"];
    assert_eq!(properties["message_id"], json!(id));
    assert_eq!(
        (&properties["content_type"], &properties["delivery_mode"]),
        (&json!("application/json"), &json!(2))
    );
}

async fn what_no_queue_takes_is_not_delivered(rabbitmq: &Rabbitmq, callback: &AmqpCallback) {
    assert!(refusal(callback, "no-such-queue").await.contains("NO_ROUTE"));
    assert!(refusal(callback, "events/other").await.contains("NO_ROUTE"));
    assert!(refusal(callback, "no-such-exchange/key").await.contains("NOT_FOUND"));
    assert!(delivery(callback, "", "{}").await.expect_err("no destination").is_final);
    // All at once: those that are refused take none of the others along.
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for number in 0..50 {
        let payload = format!("{number:02}");
        good.push(async move { delivery(callback, "events/jobs.done", &payload).await });
        bad.push(refusal(callback, if number % 2 == 0 { "no-such-exchange/key" } else { "no-such-queue" }));
    }
    let (good, bad) = tokio::join!(futures_util::future::join_all(good), futures_util::future::join_all(bad));
    assert_eq!(good, vec![Ok(()); 50]);
    assert!(bad.iter().all(|reason| reason.contains("NOT_FOUND") || reason.contains("NO_ROUTE")), "{bad:?}");
    let messages = rabbitmq.take("jobs").await.expect("a queue");
    let expected: Vec<_> = (0..50).map(|number| format!("{number:02}")).collect();
    assert_eq!(payloads(&messages), expected);
}

async fn messages_of_any_size_and_number(rabbitmq: &Rabbitmq, callback: &AmqpCallback) {
    // A frame holds 128 KiB.
    let large = "x".repeat(1_000_000);
    let sizes = [1, 131_064, 131_065, 262_128, large.len()];
    let all = sizes.iter().cycle().take(25).map(|size| delivery(callback, "jobs", &large[..*size]));
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(answers, vec![Ok(()); 25]);
    let messages = rabbitmq.take("jobs").await.expect("a queue");
    let mut lengths: Vec<_> = payloads(&messages).iter().map(|payload| payload.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, sizes.iter().flat_map(|size| [*size; 5]).collect::<Vec<_>>());
}

async fn a_full_queue_refuses(rabbitmq: &Rabbitmq, callback: &AmqpCallback) {
    let arguments = json!({ "x-max-length": 1, "x-overflow": "reject-publish" });
    rabbitmq.make_queue("small", &arguments).await.expect("a queue");
    delivery(callback, "small", "first").await.expect("delivered");
    assert!(refusal(callback, "small").await.contains("could not keep"));
    assert_eq!(payloads(&rabbitmq.take("small").await.expect("a queue")), ["first"]);
}

async fn over_tls(rabbitmq: &Rabbitmq) {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost", "127.0.0.1"]);
    let front = TlsFront::start(rabbitmq.address(), identity.server_config(None)).await;
    let url = format!("amqps://guest:guest@localhost:{}", front.addr().port());
    assert!(refusal(&callback(&url, LONG), "jobs").await.contains("certificate"));
    let mut settings = Settings::new(&url).expect("a URL");
    settings.timeout = LONG;
    settings.root_certificates.push(authority.pem().into());
    let callback = AmqpCallback::new(settings).expect("settings");
    delivery(&callback, "jobs", "secret").await.expect("delivered");
    assert_eq!(payloads(&rabbitmq.take("jobs").await.expect("a queue")), ["secret"]);
}

async fn whoever_may_not_is_told_so(rabbitmq: &Rabbitmq) {
    let address = rabbitmq.address();
    let stranger = callback(&format!("amqp://guest:hunter2@{address}"), LONG);
    let reason = refusal(&stranger, "jobs").await;
    assert!(reason.contains("ACCESS_REFUSED") && !reason.contains("hunter2"), "{reason}");
    let elsewhere = callback(&format!("amqp://{address}/nowhere"), LONG);
    assert!(refusal(&elsewhere, "jobs").await.contains("NOT_ALLOWED"));
}

#[tokio::test]
async fn nobody_there_or_nobody_who_answers() {
    let dead = callback(&format!("amqp://{}", dead_address().await), LONG);
    assert!(refusal(&dead, "jobs").await.contains("cannot connect"));
    let hole = BlackHole::start().await;
    let silent = callback(&format!("amqp://{}", hole.addr()), SHORT);
    assert!(refusal(&silent, "jobs").await.contains("within"));
}

/// A broker that says something else than it should, or stops in the middle: every attempt ends, and with it its connection.
#[tokio::test]
async fn what_is_no_broker_is_given_up_with_its_connection() {
    const START: &[u8] = b"\x01\0\0\0\0\0\x1c\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US\xce";
    const TUNE: &[u8] = b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1e\0\0\0\0\0\0\0\0\xce";
    const OPENED: &[u8] = b"\x01\0\0\0\0\0\x05\0\x0a\0\x29\0\xce";
    let all = [START, TUNE, OPENED].concat();
    let scenes: [(&[u8], &str); 7] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak AMQP"),
        (b"AMQP\0\x01\0\0", "does not speak AMQP"),
        (b"\x01\0\0\xff\xff\xff\xff", "does not speak AMQP"),
        (OPENED, "no limits"),
        (START, "within"),
        (&all[..all.len() - 1], "within"),
        (&all, "within"),
    ];
    for (words, expected) in scenes {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("amqp://{}", listener.local_addr().expect("an address"));
        let words = words.to_vec();
        let broker = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a client");
            socket.write_all(&words).await.expect("sent");
            let mut heard = Vec::new();
            // Until the client hangs up.
            let _ = socket.read_to_end(&mut heard).await;
            heard
        });
        let callback = callback(&url, SHORT);
        assert!(refusal(&callback, "jobs").await.contains(expected), "{expected}");
        drop(callback);
        let heard = tokio::time::timeout(LONG, broker).await.expect("it hangs up").expect("no panic");
        assert!(heard.starts_with(b"AMQP\0\0\x09\x01"), "{heard:?}");
    }
}
