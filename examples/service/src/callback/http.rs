//! Callbacks over HTTP: the payload is posted, and a status from 200 to 299 says that the receiver has it.
//!
//! Owns the exchange. Its one invariant: a payload that a redirect dropped is never called delivered: 301, 302 and 303 would make a `GET`
//! of the `POST`, and are failures; 307 and 308 are followed. It must not know attempts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use downloader_core::net::{Guard, Proxies};
use downloader_core::{Body, Download as _, Error, ErrorKind, Fetch, SafeUrl};
use downloader_http::{Http, RedirectPolicy, Redirects, RequestContent, RequestHeaders, ResponseHead};
use futures_util::StreamExt as _;

use super::signature::{SIGNATURE_FIELDS, sign};
use super::{Callback, Failure, Secret};
use crate::job::JobId;

/// How callbacks over HTTP are sent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most that one exchange may take, from the look-up of the name to the last byte of the reply; 30 s.
    pub timeout: Duration,
    /// Where callbacks may go, by redirects too; by default to public addresses. `None` lets them go anywhere.
    pub guard: Option<Guard>,
    /// Secrets to sign with, one signature for each; by default none, and nothing is signed. Two while one is replaced by the other. What
    /// is signed does not follow a redirect to another origin, where its signature could not come along.
    pub secrets: Vec<Secret>,
    /// Redirects of 307 and 308 that are followed; 3.
    pub redirects: usize,
    /// How much of a reply is read, so that its connection can be used again; 64 KiB.
    pub reply_limit: usize,
    /// The ways to receivers; by default straight.
    pub proxies: Proxies,
    /// Certificates in PEM that are trusted beside those of the system; by default none.
    pub root_certificates: Vec<Vec<u8>>,
    /// The `User-Agent`; `downloader-service/` and the version.
    pub user_agent: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            guard: Some(Guard::public()),
            secrets: Vec::new(),
            redirects: 3,
            reply_limit: 64 * 1024,
            proxies: Proxies::none(),
            root_certificates: Vec::new(),
            user_agent: concat!("downloader-service/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Sends callbacks over HTTP; connections are kept and shared.
#[derive(Debug)]
pub struct HttpCallback {
    settings: Settings,
    http: Http,
}

impl HttpCallback {
    /// One with these settings.
    ///
    /// # Errors
    /// Kind `Input` for a setting that cannot be used, which the message names.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let mut http = Http::builder().user_agent(settings.user_agent.clone());
        http = http.proxies(settings.proxies.clone());
        if let Some(guard) = &settings.guard {
            http = http.guard(guard.clone());
        }
        for certificate in &settings.root_certificates {
            http = http.root_certificate(certificate.clone());
        }
        Ok(Self { http: http.build()?, settings })
    }

    async fn post(&self, target: &str, id: &JobId, payload: &str) -> Result<(), Failure> {
        let mut fetch = Fetch::new(SafeUrl::parse(target).map_err(|error| failure(&error))?);
        let content = RequestContent::bytes("application/json", payload.to_owned());
        let content = content.map_err(|error| failure(&error))?;
        fetch.options.insert(content.across_origins(self.settings.secrets.is_empty()));
        if !self.settings.secrets.is_empty() {
            fetch.options.insert(self.signed(id, payload)?);
        }
        // One redirect more at a time: what the last reply was is only told of one that is not followed. A receiver that redirects sees
        // the payload again, which it did not take.
        let mut before = None;
        for redirects in 0..=self.settings.redirects {
            fetch.options.insert(RedirectPolicy::new().limit(redirects));
            match self.http.open(fetch.clone()).await {
                Ok(body) => return self.replied(body).await,
                // Statuses of success that say nothing of a content, such as 202, are failures to a download only.
                Err(error) if error.status().is_some_and(is_success) => return Ok(()),
                Err(error) if matches!(error.status(), Some(307 | 308)) => {
                    // No further than the last time: it leads where it may not go.
                    if before == error.url().cloned() {
                        return Err(Failure::new(error.to_string()));
                    }
                    before = error.url().cloned();
                }
                Err(error) => return Err(failure(&error)),
            }
        }
        Err(Failure::new(format!("more than {} redirects", self.settings.redirects)))
    }

    fn signed(&self, id: &JobId, payload: &str) -> Result<RequestHeaders, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let values = sign(&self.settings.secrets, id.as_str(), now.as_secs(), payload);
        let lines = SIGNATURE_FIELDS.iter().zip(values).map(|(name, value)| format!("{name}: {value}"));
        let lines: Vec<_> = lines.collect();
        RequestHeaders::parse(lines.iter().map(String::as_str)).map_err(|error| failure(&error))
    }

    /// Reads the rest of a reply that has a content, as far as it is short.
    async fn replied(&self, mut body: Body) -> Result<(), Failure> {
        let status = body.extras.get::<ResponseHead>().map(|head| head.status.as_u16());
        if !status.is_some_and(is_success) {
            return Err(Failure::new(received(status.unwrap_or_default())));
        }
        let hops = body.extras.get::<Redirects>().map_or(&[][..], |redirects| &redirects.0);
        if let Some(hop) = hops.iter().find(|hop| !matches!(hop.status.as_u16(), 307 | 308)) {
            return Err(Failure::new(received(hop.status.as_u16())));
        }
        let mut read = 0;
        while read <= self.settings.reply_limit
            && let Some(Ok(bytes)) = body.stream.next().await
        {
            read += bytes.len();
        }
        Ok(())
    }
}

#[async_trait]
impl Callback for HttpCallback {
    async fn deliver(&self, target: &str, id: &JobId, payload: &str) -> Result<(), Failure> {
        let limit = self.settings.timeout;
        match tokio::time::timeout(limit, self.post(target, id, payload)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(format!("no reply within {limit:?}"))),
        }
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// In the words of the original.
fn received(status: u16) -> String {
    let reason = axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    format!("Received Status: {status} {}", reason.unwrap_or_default()).trim_end().to_owned()
}

fn failure(error: &Error) -> Failure {
    let reason = error.status().map_or_else(|| error.to_string(), received);
    // Without a status it was refused here: by the guard, or because it is no URL that HTTP knows.
    let refused = matches!(error.kind(), ErrorKind::Refused | ErrorKind::Input | ErrorKind::Unsupported);
    let is_final = refused && error.status().is_none();
    Failure { retry_after: error.retry_after(), is_final, ..Failure::new(reason) }
}
