//! The `fetch` program with all that it can be made to say: its log, its events, its progress, its accounts of failures.
//!
//! Invariant: both outputs are searched together with every file that is left. Must not know which of them says what.

use std::fs;

use downloader_tests::kit::{Finished, Server};
use tempfile::TempDir;

use super::program::{LONG, code, program, run_with_input, scripted};
use super::{HEADERS, PATHS, assert_clean, assert_clean_files, planted, server};

const PATIENCE: [&str; 8] = [
    "--retries=1",
    "--retry-wait=0",
    "--head-timeout=0.4",
    "--timeout=0.4",
    "--connect-timeout=0.4",
    "-H",
    HEADERS[0],
    "-H",
];
const FORMAT: &str =
    "%{name} %{path} %{url} %{result} %{error} %{size} %{received} %{held} %{attempts} %{media-type}\\n";

fn all(server: &Server) -> Vec<String> {
    PATHS.iter().map(|path| planted(server, path)).collect()
}

/// The line with the headers and some patience.
fn line(words: &[&str], urls: &[String]) -> Vec<String> {
    let words = words.iter().chain(&PATIENCE).chain(&[HEADERS[1]]).map(|word| (*word).to_owned());
    words.chain(urls.iter().cloned()).collect()
}

/// Nothing of what a run said or left tells a secret.
fn assert_discreet(what: &str, done: &Finished, place: &TempDir) {
    assert_clean(&format!("{what}: standard output"), &done.stdout);
    assert_clean(&format!("{what}: standard error"), &done.stderr);
    assert_clean_files(&format!("{what}: a file"), place.path());
}

#[tokio::test]
async fn its_log_events_formats_and_accounts() {
    let server = server().await;
    let urls = all(&server);
    for words in
        [&["--json"][..], &["-w", FORMAT], &["-q"], &["--segments=3"], &["--no-continue", "--strict"]]
    {
        let place = tempfile::tempdir().unwrap();
        let done =
            program(place.path()).args(line(words, &urls)).env("FETCH_LOG", "trace").run(LONG).await.unwrap();
        assert_eq!(code(&done), 1, "{done:?}");
        assert!(done.stderr.contains("downloader_http: reply"), "the log is there: {}", done.stderr);
        assert!(done.stderr.contains("  1. http://***@"), "an account is there: {}", done.stderr);
        assert_discreet(&format!("{words:?}"), &done, &place);
    }
}

#[tokio::test]
async fn its_log_when_asked_for_more_than_is_its_own() {
    let server = server().await;
    let urls = [planted(&server, "/ok"), planted(&server, "/redirect"), planted(&server, "/nowhere")];
    let deep = "trace,hyper=trace,hyper_util=trace,hyper_util::client=trace,hyper::proto=trace,reqwest=trace,\
                reqwest::connect=trace,h2=trace,rustls=trace,rustls::client=trace";
    let place = tempfile::tempdir().unwrap();
    let done = program(place.path()).args(line(&[], &urls)).env("FETCH_LOG", deep).run(LONG).await.unwrap();
    assert_discreet("the deepest log", &done, &place);
}

#[tokio::test]
async fn its_progress_on_a_terminal() {
    let (server, place) = (server().await, tempfile::tempdir().unwrap());
    server.rate_per_connection(Some(4 << 20));
    // `script` gives it a terminal, which takes both outputs.
    let script =
        "printf -v line '%q ' \"$@\"; exec script --quiet --return --command \"$line\" /dev/null < /dev/null";
    let done = scripted(place.path(), &[], script, line(&[], &all(&server)))
        .env("TERM", "xterm")
        .run(LONG)
        .await
        .unwrap();
    assert_eq!(code(&done), 1, "{done:?}");
    assert!(
        done.stdout.contains("running") && done.stdout.contains('\u{1b}'),
        "bars were drawn: {}",
        done.stdout
    );
    assert_discreet("progress", &done, &place);
}

#[tokio::test]
async fn lists_and_what_is_wrong_in_them() {
    let server = server().await;
    let place = tempfile::tempdir().unwrap();
    let list = format!(
        "{}\n  header=X-Own: L1st-H34der\n{}\n  header=L1st-H34der\n  out=a\nhttp://Us3r-N4me:P4ss@[\n{}\n  http://Us3r-N4me:P4ss@h/?Qu3ry-T0ken=1\n{}\n",
        planted(&server, "/ok"),
        planted(&server, "/none"),
        planted(&server, "/cut"),
        planted(&server, "/ok"),
    );
    for words in [&["-i", "-", "--json"][..], &["-i", "-", "-w", FORMAT], &["-i", "-"]] {
        let done = run_with_input(place.path(), &list, line(words, &[])).await;
        assert!(matches!(code(&done), 1 | 2), "{done:?}");
        assert!(done.stderr.contains("line 4") && done.stderr.contains("line 6"), "{done:?}");
        assert_discreet(&format!("{words:?}"), &done, &place);
    }
    let base = format!("{}?list=B4se-T0ken", server.url("/").replace("://", "://Us3r-N4me:B4se-T0ken@"));
    let list = format!("{:064x}  ok\n{:064x}  none\n{:064x}  ../B\n", 0, 0, 0);
    for words in [&["-i", "-", "--json"][..], &["-i", "-"]] {
        let words = [words, &["--base", &base]].concat();
        let done = run_with_input(place.path(), &list, line(&words, &[])).await;
        assert_eq!(code(&done), 1, "{done:?}");
        assert_discreet("a checksum list", &done, &place);
    }
}

#[tokio::test]
async fn a_command_line_that_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let url = "http://Us3r-N4me:P4ss%40W0rd@h/?Qu3ry-T0ken";
    for line in [
        &["http://Us3r-N4me:P4ss@["][..],
        &["Us3r-N4me:P4ss"],
        &["gopher://Us3r-N4me@h/?Qu3ry-T0ken"],
        &["file://Us3r-N4me@h/Qu3ry?Qu3ry-T0ken"],
        &[url, url],
        &[url, "-H", "B34rer-T0ken"],
        &[url, "-H", "Authorization B34rer-T0ken"],
        &[url, "-H", "Authorization: B34rer\n-B34rer-T0ken"],
        &[url, "--header=Range: B34rer-T0ken"],
        // The value of one option is forgotten, and the next word taken for it.
        &["--timeout", url],
        &["--jobs", url, "--json"],
        &["--retries", "Authorization: Bearer B34rer-T0ken", url],
        &["--quiet=http://Us3r-N4me:P4ss@h/", url],
        &["--nonsense=http://Us3r-N4me:P4ss@h/", url],
        &["--nonsense", url],
        &["-i", "-", "--base", "Us3r-N4me:P4ss"],
        &["-i", "-", "--base", "mailto:Us3r-N4me"],
        &[url, "--checksum", url],
        &[url, "--fsync", url],
        &[url, "--size", url],
        &[url, "--limit-rate", url],
        &[url, "--deadline", url],
        &[url, "-o", "x", url],
    ] {
        let done = super::program::run(place.path(), line).await;
        assert_eq!(code(&done), 2, "{line:?}: {done:?}");
        assert_discreet(&format!("{line:?}"), &done, &place);
    }
    // What is not read is not told either.
    fs::write(place.path().join("not.pem"), "P4ss").unwrap();
    let done = super::program::run(place.path(), [url, "--ca-certificate", "not.pem"]).await;
    assert_clean("a certificate", &done.stderr);
}
