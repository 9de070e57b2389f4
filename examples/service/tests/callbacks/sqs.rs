//! Callbacks over SQS, against moto and against a queue that lies.
//!
//! Owns the scenarios. Invariant: what was delivered can be received. Must not know how a request is signed; moto does not check that,
//! the published examples do (`callback/sigv4.rs`).

use downloader_service::callback::sqs::{Credentials, Settings, SqsCallback};
use downloader_service::callback::{Callback, Secret};
use downloader_service::job::JobId;
use downloader_tests::kit::moto::Moto;
use downloader_tests::kit::{Act, Resource, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::{tells_of, told};

fn callback() -> SqsCallback {
    let credentials = Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: Secret::new("s3cret"),
        session_token: Some(Secret::new("t0ken")),
    };
    let settings = Settings { guard: None, ..Settings::new("us-east-1", credentials) };
    SqsCallback::new(settings).expect("fine settings")
}

/// Asks moto, which looks at the scope of the signature only.
async fn ask(endpoint: &str, action: &str, body: &Value) -> Value {
    let address = endpoint.trim_start_matches("http://");
    let body = body.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0\r\n\
         x-amz-target: AmazonSQS.{action}\r\ncontent-length: {}\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential=A/20200101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("moto listens");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("answered");
    let (_, body) = reply.split_once("\r\n\r\n").expect("a head");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {reply}"))
}

async fn queue(moto: &Moto, name: &str) -> String {
    let attributes = if name.ends_with(".fifo") { json!({ "FifoQueue": "true" }) } else { json!({}) };
    let made =
        ask(&moto.endpoint(), "CreateQueue", &json!({ "QueueName": name, "Attributes": attributes })).await;
    let url = made["QueueUrl"].as_str().unwrap_or_else(|| panic!("{made}"));
    let (_, path) = url.trim_start_matches("http://").split_once('/').expect("a path");
    format!("{}/{path}", moto.endpoint())
}

async fn received(moto: &Moto, queue: &str) -> Vec<String> {
    let asked = json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10 });
    let told = ask(&moto.endpoint(), "ReceiveMessage", &asked).await;
    let messages = told["Messages"].as_array().cloned().unwrap_or_default();
    messages.iter().map(|message| message["Body"].as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn a_callback_becomes_a_message() {
    let moto = Moto::start("unused").await.expect("moto, which tests/python installs");
    let queue = queue(&moto, "callbacks").await;
    let id = told("sqs", callback(), &queue).await;
    let messages = received(&moto, &queue).await;
    assert!(messages.len() == 1 && tells_of(&id, &messages[0]), "{messages:?}");
}

#[tokio::test]
async fn a_queue_that_keeps_order_takes_a_message_once() {
    let moto = Moto::start("unused").await.expect("moto, which tests/python installs");
    let queue = queue(&moto, "callbacks.fifo").await;
    let (callback, id) = (callback(), JobId::random());
    for _ in 0..2 {
        callback.deliver(&queue, &id, r#"{"a":1}"#).await.expect("delivered");
    }
    assert_eq!(received(&moto, &queue).await, [r#"{"a":1}"#]);
    let failure = callback.deliver(&format!("{queue}x"), &id, "{}").await.expect_err("no such queue");
    assert!(!failure.is_final, "it may be made yet: {failure}");
}

#[tokio::test]
async fn what_the_queue_has_not_whole_is_not_delivered() {
    let server = Server::start().await;
    for reply in [r#"{"MD5OfMessageBody":"00","MessageId":"1"}"#, "{}", "<html>", ""] {
        server.put("/", Resource::act(Act::new().status(200).body(reply)));
        let failure = callback().deliver(&server.url("/1/q"), &JobId::random(), "{}").await;
        assert!(!failure.expect_err(reply).is_final);
    }
    server.put("/", Resource::act(Act::new().redirect_with(307, "/other")));
    callback().deliver(&server.url("/1/q"), &JobId::random(), "{}").await.expect_err("no redirects");
    assert!(server.requests_for("/other").is_empty());
    let request = server.requests_for("/").pop().expect("a request");
    let signed = request.header("authorization").expect("signed");
    let names = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, ";
    assert!(signed.contains(names), "{signed}");
    for name in ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"] {
        assert!(request.header(name).is_some(), "{name} is signed and has to be sent");
    }
    assert!(!format!("{:?}", callback()).contains("s3cret"));
}
