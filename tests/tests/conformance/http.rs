//! HTTP/1.1 and HTTPS against the scripted server.
//!
//! Invariant: every fault is told to the server, none is made here. Must not know: the cases.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::listing::escape;
use downloader_core::{Download, SafeUrl};
use downloader_http::Http;
use downloader_tests::kit::{Act, Request, Resource, Server, dead_address, http::http_date};
use downloader_tests::suite::backends::{Ability, Fault, Fixture, Habits};

pub(crate) struct Scripted {
    name: &'static str,
    server: Arc<Server>,
    http: Arc<Http>,
    served: AtomicUsize,
}

impl Scripted {
    pub(crate) async fn plain() -> Self {
        Self::of("HTTP/1.1", Server::start().await)
    }

    pub(crate) async fn tls() -> Self {
        Self::of("HTTPS", Server::start_tls().await)
    }

    fn of(name: &'static str, server: Server) -> Self {
        let mut builder = Http::builder();
        if let Some(pem) = server.ca_pem() {
            builder = builder.root_certificate(pem);
        }
        let http = Arc::new(builder.build().unwrap());
        Self { name, server: Arc::new(server), http, served: AtomicUsize::new(0) }
    }
}

/// An index page as nginx writes it.
fn index(path: &str, entries: &[(&str, Option<Bytes>)]) -> Bytes {
    let mut page =
        format!("<html><head><title>Index of {path}</title></head><body><pre><a href=\"../\">../</a>\n");
    for (name, content) in entries {
        let slash = if content.is_some() { "" } else { "/" };
        let size = content.as_ref().map_or_else(|| "-".to_owned(), |content| content.len().to_string());
        let reference = escape::encoded(name.as_bytes());
        page += &format!("<a href=\"{reference}{slash}\">x</a>  02-Jan-2024 15:04  {size}\n");
    }
    (page + "</pre></body></html>\n").into()
}

/// A content of the given version, with a strong tag and a date long ago.
fn resource(content: &Bytes, version: u64) -> Resource {
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + version);
    Resource::new(content.clone()).etag(format!("\"{version}\"")).last_modified(modified)
}

fn act(fault: Option<Fault>, content: &Bytes, habits: &Habits, request: &Request) -> Act {
    let mut act = Act::new().header("Date", http_date(SystemTime::now()));
    if habits.no_ranges {
        act = act.no_ranges();
    }
    if habits.no_size {
        act = act.chunked();
    }
    match fault {
        None => act,
        Some(Fault::Cut(at)) => act.cut_at(at),
        Some(Fault::Short(at)) => short(at, content, request),
        Some(Fault::Stall(at)) => act.stall_at(at),
        Some(Fault::Silent) => act.never_answer(),
        Some(Fault::Missing) => act.status(404),
        Some(Fault::Denied) => act.status(403),
        Some(Fault::Busy) => act.status(503),
        Some(Fault::Unreachable) => unreachable!("its URL leads nowhere"),
    }
}

/// A range is announced whole and its chunks end early; a whole content has a length it does not keep.
fn short(at: u64, content: &Bytes, request: &Request) -> Act {
    let size = content.len();
    let start = request.range().and_then(|range| range.strip_prefix("bytes="));
    let start: usize =
        start.and_then(|range| range.split('-').next()).map_or(0, |start| start.parse().unwrap());
    let act = Act::new().body(content.slice(start..start + at as usize));
    if start == 0 {
        return act.content_length(size as u64);
    }
    act.status(206).header("Content-Range", format!("bytes {start}-{}/{size}", size - 1)).chunked()
}

#[async_trait]
impl Fixture for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn download(&self) -> Arc<dyn Download> {
        self.http.clone()
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["http", "https"]
    }

    fn lacks(&self, _: Ability) -> Option<&'static str> {
        None
    }

    async fn serve(&self, content: Bytes, habits: Habits) -> SafeUrl {
        let path = format!("/{}", self.served.fetch_add(1, SeqCst));
        if habits.always == Some(Fault::Unreachable) {
            let scheme = if self.server.ca_pem().is_some() { "https" } else { "http" };
            return format!("{scheme}://{}{path}", dead_address().await).parse().unwrap();
        }
        let asked = AtomicUsize::new(0);
        let resource = resource(&content, 1).decide(move |request| {
            let fault = habits.first.get(asked.fetch_add(1, SeqCst)).copied().or(habits.always);
            act(fault, &content, &habits, request)
        });
        self.server.put(&path, resource);
        self.server.url(&path).parse().unwrap()
    }

    async fn serve_directory(&self, entries: &[(&str, Option<Bytes>)], habits: Habits) -> SafeUrl {
        let path = format!("/{}/", self.served.fetch_add(1, SeqCst));
        for (name, below) in entries {
            let below = below.clone().unwrap_or_else(|| index("/below/", &[]));
            let slash = if below.starts_with(b"<html>") { "/" } else { "" };
            let path = format!("{path}{}{slash}", escape::encoded(name.as_bytes()));
            self.server.put(&path, resource(&below, 1));
        }
        let (asked, page) = (AtomicUsize::new(0), index(&path, entries));
        let resource = resource(&page, 1).decide(move |request| {
            let fault = habits.first.get(asked.fetch_add(1, SeqCst)).copied().or(habits.always);
            act(fault, &page, &habits, request)
        });
        self.server.put(&path, resource);
        self.server.url(&path).parse().unwrap()
    }

    fn replacing(&self, url: &SafeUrl, content: Bytes) -> Box<dyn FnOnce() + Send> {
        let (server, path) = (Arc::clone(&self.server), url.path().to_owned());
        Box::new(move || server.put(&path, resource(&content, 2)))
    }

    async fn over(&self, url: &SafeUrl, requests: usize) -> usize {
        let over = |server: &Server| {
            let all = server.requests_for(url.path());
            all.iter().filter(|request| request.end.is_some()).count() >= requests
        };
        self.server.wait_until(&format!("{requests} requests for {url} are over"), over).await;
        self.server.requests_for(url.path()).len()
    }
}
