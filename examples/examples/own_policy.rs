//! A retry policy of one's own: a file that a mirror does not have yet is waited for, in a fixed row of waits.
//!
//! `own_policy URL [MILLISECONDS]…`: one wait a round; when they are used up, the download gives up.
//!
//! A policy only answers: it never sleeps and keeps no state. Left out: jitter, which many clients of one server
//! need (`retry::Exponential` has it), and a budget of time (`Failure::elapsed`, `Request::deadline`).

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::time::Duration;

use downloader_core::write::MemoryWriter;
use downloader_core::{Engine, Error, ErrorKind, Failure, Request, Result, RetryPolicy};
use downloader_http::Http;

#[derive(Debug)]
struct UntilThere(Vec<Duration>);

impl RetryPolicy for UntilThere {
    fn is_transient(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::NotFound || error.is_transient()
    }

    fn delay(&self, failure: &Failure<'_>) -> Option<Duration> {
        // Rounds count from 1, and anew after every new byte.
        let wait = *self.0.get(failure.rounds.checked_sub(1)? as usize)?;
        Some(wait.max(failure.error.retry_after().unwrap_or_default()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or_else(|| Error::input("expected URL [MILLISECONDS]…"))?;
    let waits = arguments.map(|text| text.parse().map(Duration::from_millis));
    let waits =
        waits.collect::<Result<_, _>>().map_err(|_| Error::input("MILLISECONDS: expected numbers"))?;
    let engine = Engine::builder().backend(Http::builder().build()?).retry(UntilThere(waits)).build();
    let (writer, _) = MemoryWriter::new(16 << 20);
    let outcome = engine.download(Request::get(url)?, writer).await?;
    for attempt in &outcome.attempts {
        println!("{attempt}");
    }
    println!("{} bytes after {} attempts", outcome.size, outcome.attempts.len());
    Ok(())
}
