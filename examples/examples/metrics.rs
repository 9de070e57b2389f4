//! Prometheus metrics out of an observer: `metrics URL…` downloads and prints what a scrape would find.
//!
//! A label has few values: a host, a kind of error; never a URL, of which there are millions, with secrets in them.
//! Left out: a server, a cap on hosts where strangers choose them, a label for groups (`Event::Started` tells them).

#![allow(clippy::print_stdout, reason = "it is a program")]

use downloader_core::{Engine, Error, ErrorKind, Event, Job, Observer, Request, Result, Totals, write};
use downloader_http::Http;
use futures_util::{StreamExt, stream};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::{encoding::text::encode, registry::Registry};

struct Metrics {
    downloads: Family<[(&'static str, &'static str); 1], Counter>,
    attempts: Family<[(&'static str, String); 3], Counter>,
    bytes: Counter,
    in_flight: Gauge,
    seconds: Histogram,
    first_byte: Histogram,
}

impl Metrics {
    fn new(registry: &mut Registry) -> Self {
        let histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 20));
        let (seconds, first_byte) = (histogram(), histogram());
        let (downloads, attempts, bytes) = (Family::default(), Family::default(), Counter::default());
        let metrics = Self { downloads, attempts, bytes, in_flight: Gauge::default(), seconds, first_byte };
        registry.register("downloads", "Downloads that ended", metrics.downloads.clone());
        registry.register("attempts", "Attempts that ended", metrics.attempts.clone());
        registry.register("received_bytes", "Bytes of the downloads that ended", metrics.bytes.clone());
        registry.register("in_flight", "Downloads that run", metrics.in_flight.clone());
        registry.register("duration_seconds", "Time of a download", metrics.seconds.clone());
        registry.register("first_byte_seconds", "Time to the head of a reply", metrics.first_byte.clone());
        metrics
    }

    fn ended(&self, outcome: &'static str, totals: &Totals) {
        self.in_flight.dec();
        self.downloads.get_or_create(&[("outcome", outcome)]).inc();
        self.bytes.inc_by(totals.received);
        self.seconds.observe(totals.elapsed.as_secs_f64());
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Started { .. } => drop(self.in_flight.inc()),
            Event::Attempt { attempt, .. } => {
                let host = attempt.url.host().unwrap_or_default().to_owned();
                let error = attempt.error.map_or("none", ErrorKind::as_str).to_owned();
                let labels =
                    [("host", host), ("error", error), ("decision", attempt.decision.as_str().into())];
                self.attempts.get_or_create(&labels).inc();
                if let Some(time) = attempt.wire.first_byte {
                    self.first_byte.observe(time.as_secs_f64());
                }
            }
            Event::Done { totals, .. } => self.ended("done", totals),
            Event::Failed { error, totals, .. } => self.ended(error.kind().as_str(), totals),
            Event::Stopped { totals, .. } => self.ended("stopped", totals),
            _ => {}
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut registry = Registry::with_prefix("downloader");
    let http = Http::builder().build()?;
    let engine = Engine::builder().backend(http).observer(Metrics::new(&mut registry)).build();
    let jobs =
        std::env::args().skip(1).map(|url| Ok(Job::new(Request::get(url)?, write::Discard::default())));
    engine.batch(stream::iter(jobs.collect::<Result<Vec<_>>>()?)).for_each(async |_| ()).await;
    let mut text = String::new();
    let encoded = encode(&mut text, &registry).map(|()| print!("{text}"));
    encoded.map_err(|error| Error::unsupported("metrics as text").with_source(error))
}
