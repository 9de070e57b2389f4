//! Every kind of error, provoked: what it prints, what it suggests, and what `fetch` ends with. A golden text holds it all.
//!
//! `UPDATE_GOLDEN=1 cargo test -p downloader-tests --test errors` writes the text anew; read the difference before you keep it.
//!
//! Owns `tests/golden/errors.txt`. Invariant: every kind and every phase that the source of `ErrorKind` names is in it. Must not know
//! why an error has its kind.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "errors/golden.rs"]
mod golden;
#[path = "fetch/program.rs"]
mod program;
#[path = "errors/scenarios.rs"]
mod scenarios;

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt::Write as _;

use downloader_core::retry::Never;
use downloader_core::write::Discard;
use downloader_core::{Decision, Engine, Error, ErrorKind, Request};
use downloader_http::Http;
use downloader_tests::kit::{Act, Resource, Server};
use futures_util::{StreamExt as _, stream};

use scenarios::Scenario;

/// The kinds, one phase each, that the source of `ErrorKind` names.
fn kinds_in_source() -> BTreeSet<String> {
    let source = include_str!("../../downloader-core/src/error.rs");
    let variants = |name: &str| -> Vec<String> {
        let body =
            source.split(&format!("pub enum {name} {{\n")).nth(1).unwrap().split("\n}").next().unwrap();
        let names = body.lines().filter_map(|line| line.trim().strip_suffix(','));
        names.map(str::to_owned).collect()
    };
    let phases = variants("Phase");
    let kinds = variants("ErrorKind").into_iter().flat_map(|kind| match kind.strip_suffix("(Phase)") {
        None => vec![kind],
        Some(kind) => phases.iter().map(|phase| format!("{kind}({phase})")).collect(),
    });
    kinds.collect()
}

/// No message says again what a cause of it says.
fn assert_no_repetition(name: &str, error: &Error) {
    let mut outer: &dyn StdError = error;
    while let Some(cause) = outer.source() {
        let (own, inner) = (outer.to_string(), cause.to_string());
        assert!(inner.is_empty() || !own.contains(&inner), "{name}: {own:?} repeats its source {inner:?}");
        outer = cause;
    }
}

fn told(scenario: &Scenario, exit: Option<i32>) -> String {
    let Scenario { name, error, .. } = scenario;
    assert_no_repetition(name, error);
    let mut text = String::new();
    let yes = |is: bool| if is { "yes" } else { "no" };
    writeln!(text, "== {name}").unwrap();
    writeln!(text, "kind       {:?}", error.kind()).unwrap();
    writeln!(text, "transient  {}", yes(error.is_transient())).unwrap();
    writeln!(text, "answer     {}", error.suggested_http_status()).unwrap();
    for (label, value) in [
        ("status     ", error.status().map(|status| status.to_string())),
        ("wants      ", error.retry_after().map(|delay| format!("{delay:?}"))),
        ("fetch ends ", exit.map(|code| code.to_string())),
    ] {
        if let Some(value) = value {
            writeln!(text, "{label}{value}").unwrap();
        }
    }
    writeln!(text, "display    {error}").unwrap();
    writeln!(text, "debug      {}", format!("{error:?}").replace('\n', "\n           ")).unwrap();
    text
}

#[tokio::test]
async fn every_kind_of_error_prints_as_it_always_did() {
    let world = scenarios::World::new().await;
    let scenarios = world.all().await;
    let provoked: BTreeSet<String> =
        scenarios.iter().map(|scenario| format!("{:?}", scenario.error.kind())).collect();
    let missing: Vec<_> = kinds_in_source().difference(&provoked).cloned().collect();
    assert!(missing.is_empty(), "no scenario provokes {missing:?}");

    let mut text = String::new();
    for scenario in &scenarios {
        let exit = match &scenario.line {
            None => None,
            Some(line) => Some(world.exit_code(line).await),
        };
        text.push_str(&world.masked(&told(scenario, exit)));
        text.push('\n');
    }
    golden::compare("errors.txt", "errors", &text);
}

/// Who was asked is told, every try is on record, and the record ends with the end.
#[tokio::test]
async fn a_final_error_says_where_and_what_was_tried() {
    let world = scenarios::World::new().await;
    let mut wanting = Vec::new();
    for Scenario { name, error, .. } in world.of_sources().await {
        let ends = error.attempts().last().map(|attempt| attempt.decision);
        if error.url().is_none() || !matches!(ends, Some(Decision::GiveUp | Decision::Reject)) {
            wanting.push(format!("{name}: URL {:?}, last decision {ends:?}: {error}", error.url()));
        }
    }
    assert!(wanting.is_empty(), "{}", wanting.join("\n"));
}

/// What a download makes of a status.
async fn outcome_of(engine: &Engine, url: String) -> String {
    match engine.download(Request::get(url).unwrap(), Discard::default()).await {
        Ok(outcome) => format!("done, {} bytes", outcome.size),
        Err(error) => {
            let transient = if error.is_transient() { "transient" } else { "final" };
            format!("{:?}, {transient}, answer {}", error.kind(), error.suggested_http_status())
        }
    }
}

#[tokio::test]
async fn every_status_has_its_kind() {
    let server = Server::start().await;
    server.put(
        "*",
        Resource::new("").decide(|request| {
            let path = request.path();
            let status: u16 = path.trim_start_matches('/').parse().unwrap();
            // A 1xx is not the end of an answer, and none comes.
            let rest = if status < 200 { "\r\n" } else { "Content-Length: 2\r\nConnection: close\r\n\r\nok" };
            Act::new().raw(format!("HTTP/1.1 {status} Reason\r\n{rest}"))
        }),
    );
    let engine = Engine::builder().backend(Http::builder().build().unwrap()).retry(Never).build();
    let statuses = stream::iter(100..600_u16);
    let asked = statuses.map(|status| {
        let (engine, url) = (&engine, server.url(&format!("/{status}")));
        async move { (status, outcome_of(engine, url).await) }
    });
    let rows: Vec<(u16, String)> = asked.buffered(4).collect().await;
    assert_eq!(rows.len(), 500);
    let mut text = String::new();
    for run in rows.chunk_by(|one, two| one.1 == two.1) {
        let (first, last) = (run[0].0, run[run.len() - 1].0);
        writeln!(text, "{first}-{last}: {}", run[0].1).unwrap();
    }
    golden::compare("errors.txt", "statuses", &text);
}

#[test]
fn what_only_a_caller_can_make() {
    // Builders keep what the innermost said, and an error fits where `io::Error` is expected.
    let inner = "https://in.example/f".parse().unwrap();
    let outer = "https://out.example/f".parse().unwrap();
    let error = Error::new(ErrorKind::Truncated, "short").with_url(&inner).with_offset(7);
    let error = error.with_url(&outer).with_offset(9).with_status(206);
    assert_eq!(error.to_string(), "truncated: short: https://in.example/f at byte 7");
    assert_eq!(
        (error.status(), error.offset(), error.attempts().len(), error.elapsed()),
        (Some(206), Some(7), 0, None)
    );
    let io = std::io::Error::from(error.clone());
    assert_eq!((io.kind(), io.to_string()), (std::io::ErrorKind::UnexpectedEof, error.to_string()));
}
