//! Tests of the plan: what is refused, what is named how, how a list goes on.

use std::fs;

use super::*;
use crate::report::Report;

fn report() -> Shared {
    Shared::new(Report::silent())
}

fn plan(line: &[&str]) -> Result<Plan, Problem> {
    let arguments = Arguments::read(["fetch"].iter().chain(line)).unwrap();
    Plan::new(&arguments, report())
}

fn problem(line: &[&str]) -> String {
    plan(line).unwrap_err().to_string()
}

fn paths(mut plan: Plan) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut paths = Vec::new();
        while let Some(job) = plan.next().await {
            // The engine gives the tag back; here the name in the debug form is enough.
            paths.push(format!("{job:?}"));
        }
        paths
    })
}

#[test]
fn what_is_wrong_is_told_by_option_and_form_and_without_secrets() {
    for (line, words) in [
        (&["http://u:s3cret@["][..], ["URL", "https://host/path"]),
        (&["gopher://h/f"], ["URL", "expected http"]),
        (&["file:///etc/passwd"], ["URL", "--file-root"]),
        (&["http://h/f", "-H", "s3cret"], ["--header", ""]),
        (&["http://h/f", "--checksum", "sha-256=12"], ["--checksum", "64"]),
        (&["http://h/f", "--checksum", "crc=12"], ["--checksum", ""]),
        (&["http://h/f", "http://h/g", "-o", "x"], ["--output", "one URL"]),
        (&["http://h/f", "http://h/g", "--size", "1"], ["--size", "--mirrors"]),
        (&["http://h/f", "-i", "nowhere.txt"], ["--input", "nowhere.txt"]),
        (&["-i", "-", "--base", "mailto:x"], ["--base", "folder"]),
    ] {
        let problem = problem(line);
        assert!(words.iter().all(|word| problem.contains(word)), "{line:?}: {problem}");
        assert!(!problem.contains("s3cret"), "{problem}");
    }
}

#[test]
fn two_downloads_of_one_target_are_refused_and_both_named() {
    let problem = problem(&["http://a/f", "http://b/x", "http://b/f?x=1", "-d", "d"]);
    assert!(problem.contains("URL 1") && problem.contains("URL 3") && problem.contains("d/f"), "{problem}");
    assert!(plan(&["http://a/f", "http://b/f", "--mirrors"]).is_ok());
}

#[test]
fn names_come_from_the_option_the_url_or_are_index() {
    let jobs = paths(plan(&["http://a/d/x%20y?q=1", "http://a/", "-d", "out"]).unwrap());
    assert_eq!(jobs.len(), 2);
    assert!(jobs[0].contains("\"out/x y\"") && jobs[1].contains("\"out/index\""), "{jobs:?}");
    let jobs = paths(plan(&["http://a/f", "-o", "g", "-d", "out"]).unwrap());
    assert!(jobs[0].contains("\"out/g\""), "{jobs:?}");
}

#[test]
fn a_list_goes_on_behind_what_is_wrong_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.txt");
    fs::write(&list, "http://h/a\nhttp://h/b\n  nope=1\nhttp://i/a\nhttp://h/c\n  dir=d\ngopher://h/e\n")
        .unwrap();
    let report = report();
    let arguments = Arguments::read(["fetch", "http://h/z", "-i", list.to_str().unwrap()]).unwrap();
    let jobs = paths(Plan::new(&arguments, report.clone()).unwrap());
    let found: Vec<_> = ["\"z\"", "\"a\"", "\"d/c\""].into_iter().zip(&jobs).collect();
    assert_eq!(jobs.len(), 3);
    assert!(found.iter().all(|(path, job)| job.contains(path)), "{jobs:?}");
    assert_eq!(report.get().finish(), crate::exit::Class::Input);
}

#[test]
fn files_that_exist_are_skipped_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "").unwrap();
    let place = dir.path().to_str().unwrap();
    assert_eq!(paths(plan(&["http://h/a", "http://h/b", "-d", place, "--no-clobber"]).unwrap()).len(), 1);
    assert_eq!(paths(plan(&["http://h/a", "http://h/b", "-d", place]).unwrap()).len(), 2);
}
