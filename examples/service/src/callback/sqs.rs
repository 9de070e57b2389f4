//! Callbacks over Amazon SQS: the payload becomes a message of the queue whose URL is the destination.
//!
//! Owns the one request, `SendMessage` of the JSON protocol. Its one invariant: delivered is a message whose digest, as the queue tells it,
//! is that of the payload. It must not know attempts, nor where credentials come from.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use downloader_core::net::Guard;
use downloader_core::{Download as _, Error, ErrorKind, Fetch, SafeUrl};
use downloader_http::{Http, RedirectPolicy, RequestContent, RequestHeaders};
use futures_util::StreamExt as _;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use super::sigv4::{Scope, authorization, timestamp};
use super::{Callback, Failure, Secret};
use crate::job::JobId;

/// Who sends messages. `Debug` does not show the secrets.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The access key's id, `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// The secret access key, `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Secret,
    /// Of temporary credentials, `AWS_SESSION_TOKEN`. They are not renewed.
    pub session_token: Option<Secret>,
}

/// How messages are sent to SQS.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The region of all queues.
    pub region: String,
    /// Who sends.
    pub credentials: Credentials,
    /// The most that one exchange may take; 30 s.
    pub timeout: Duration,
    /// Where queues may be; by default at public addresses. `None` lets them be anywhere.
    pub guard: Option<Guard>,
}

impl Settings {
    /// The defaults, for this region.
    pub fn new(region: impl Into<String>, credentials: Credentials) -> Self {
        let (timeout, guard) = (Duration::from_secs(30), Some(Guard::public()));
        Self { region: region.into(), credentials, timeout, guard }
    }
}

/// The longest reply that is read.
const REPLY: usize = 64 * 1024;
const KIND: &str = "application/x-amz-json-1.0";
const ACTION: &str = "AmazonSQS.SendMessage";

/// Sends callbacks to SQS.
#[derive(Debug)]
pub struct SqsCallback {
    settings: Settings,
    http: Http,
}

impl SqsCallback {
    /// One with these settings.
    ///
    /// # Errors
    /// Kind `Input` for a setting that cannot be used, which the message names.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let mut http = Http::builder().redirects(RedirectPolicy::none());
        if let Some(guard) = &settings.guard {
            http = http.guard(guard.clone());
        }
        Ok(Self { http: http.build()?, settings })
    }

    async fn send(&self, queue: &str, id: &JobId, payload: &str) -> Result<(), Error> {
        let queue = SafeUrl::parse(queue)?;
        let endpoint = queue.join("/")?;
        let body = message(&queue, id, payload);
        let mut fetch = Fetch::new(endpoint.clone());
        fetch.options.insert(RequestContent::bytes(KIND, body.clone())?);
        fetch.options.insert(self.fields(&endpoint, &body)?);
        let mut reply = self.http.open(fetch).await?;
        let mut text = Vec::new();
        while let Some(bytes) = reply.stream.next().await {
            text.extend_from_slice(&bytes?);
            if text.len() > REPLY {
                break;
            }
        }
        let told: Value = serde_json::from_slice(&text).unwrap_or_default();
        if told["MD5OfMessageBody"] == digest(payload).as_str() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Integrity, "the queue does not tell the digest of the message")
            .with_url(&endpoint))
    }

    fn fields(&self, endpoint: &SafeUrl, body: &str) -> Result<RequestHeaders, Error> {
        let Credentials { access_key_id, secret_access_key, session_token } = &self.settings.credentials;
        let host = match (endpoint.host(), endpoint.expose().port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let date = timestamp(SystemTime::now());
        let token = session_token.as_ref().map(|token| String::from_utf8_lossy(token.expose()).into_owned());
        let mut fields = vec![("content-type", KIND), ("host", &host), ("x-amz-date", &date)];
        if let Some(token) = &token {
            fields.push(("x-amz-security-token", token));
        }
        fields.push(("x-amz-target", ACTION));
        let scope = Scope { region: &self.settings.region, service: "sqs", timestamp: &date };
        let proof = authorization(access_key_id, secret_access_key, &scope, &fields, body);
        let sent = fields.into_iter().filter(|(name, _)| !matches!(*name, "host" | "content-type"));
        let lines: Vec<_> = sent
            .chain([("authorization", proof.as_str())])
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        RequestHeaders::parse(lines.iter().map(String::as_str))
    }
}

/// Of a queue that keeps order, a job is its own group, and its name tells repeated messages apart.
fn message(queue: &SafeUrl, id: &JobId, payload: &str) -> String {
    let mut message = json!({ "QueueUrl": queue.expose().as_str(), "MessageBody": payload });
    if queue.path().ends_with(".fifo") {
        message["MessageGroupId"] = id.as_str().into();
        message["MessageDeduplicationId"] = id.as_str().into();
    }
    message.to_string()
}

fn digest(payload: &str) -> String {
    Md5::digest(payload.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait]
impl Callback for SqsCallback {
    async fn deliver(&self, target: &str, id: &JobId, payload: &str) -> Result<(), Failure> {
        let limit = self.settings.timeout;
        match tokio::time::timeout(limit, self.send(target, id, payload)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure {
                retry_after: error.retry_after(),
                is_final: matches!(
                    error.kind(),
                    ErrorKind::Input | ErrorKind::Refused | ErrorKind::Unsupported
                ),
                ..Failure::new(error.to_string())
            }),
            Err(_) => Err(Failure::new(format!("no reply within {limit:?}"))),
        }
    }
}
