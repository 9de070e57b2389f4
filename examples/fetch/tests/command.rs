//! The command as its users run it, with `file:` URLs, which need no server.
//!
//! Invariant: only exit code, standard output, standard error and files are looked at. Must not know: how any of it
//! is made.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const HELLO: &str = "sha-256=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// A folder with sources in `from` and nothing in `to`.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for folder in ["from", "to"] {
        std::fs::create_dir(place.path().join(folder)).unwrap();
    }
    for (name, content) in [("a", "hello"), ("b", "world!"), ("empty", "")] {
        std::fs::write(place.path().join("from").join(name), content).unwrap();
    }
    place
}

/// Runs the command in the folder, with `@` in place of the URL of the sources.
fn run(place: &Path, input: &str, line: &[&str]) -> Output {
    let url = format!("file://{}/from", place.display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetch"));
    command.current_dir(place).env_remove("FETCH_LOG").args(["--file-root", "from"]);
    command.args(line.iter().map(|argument| argument.replace('@', &url)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input.replace('@', &url).as_bytes());
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn one_file_is_one_line() {
    let place = place();
    let done = run(place.path(), "", &["@/a", "-d", "to", "--checksum", HELLO, "--size", "5"]);
    assert_eq!((code(&done), err(&done)), (0, ""));
    assert!(
        out(&done).starts_with("a: 5 B in ") && out(&done).contains("sha-256 verified"),
        "{}",
        out(&done)
    );
    assert_eq!(out(&done).lines().count(), 1);
    assert_eq!(std::fs::read(place.path().join("to/a")).unwrap(), b"hello");
}

#[test]
fn standard_output_gets_the_bytes_and_nothing_else() {
    let place = place();
    let done = run(place.path(), "", &["@/a", "-o", "-"]);
    assert_eq!((code(&done), out(&done)), (0, "hello"));
    let done = run(place.path(), "", &["@/empty", "-o", "-", "-q"]);
    assert_eq!((code(&done), out(&done), err(&done)), (0, "", ""));
}

#[test]
fn wrong_bytes_get_no_name_and_leave_nothing() {
    let place = place();
    let failed = run(place.path(), "", &["@/b", "-d", "to", "--checksum", HELLO, "--retries", "0"]);
    assert_eq!((code(&failed), out(&failed)), (5, ""));
    assert!(err(&failed).contains("nothing was written to to/b"), "{}", err(&failed));
    assert!(err(&failed).contains("\n  1. file://"), "{}", err(&failed));
    assert_eq!(names(&place.path().join("to")), [""; 0]);
}

#[test]
fn exit_codes_tell_the_class() {
    let place = place();
    for (line, expected) in [
        (&["@/none", "-d", "to"][..], 3),
        (&["@/a", "@/none", "-d", "to"], 3),
        (&["@/a", "-d", "to", "--size", "6", "--retries", "0"], 5),
        (&["@/a", "-d", "to/none"], 8),
        (&["file:///etc/hostname", "-d", "to"], 10),
        (&["@/none", "file:///etc/hostname", "-d", "to"], 1),
        (&["gopher://h/f"], 2),
        (&["@/a", "--header", "s3cret"], 2),
        (&["@/a", "-w", "%{nonsense}"], 2),
        (&["@/a", "@/b/../a"], 2),
        (&[], 2),
        (&["--help"], 0),
    ] {
        let done = run(place.path(), "", line);
        assert_eq!(code(&done), expected, "{line:?}: {}", err(&done));
        assert!(!err(&done).contains("s3cret"), "{}", err(&done));
    }
}

#[test]
fn a_list_from_standard_input_goes_on_behind_a_bad_line() {
    let place = place();
    let list = "# two files\n@/a\n  out=x\n  checksum=sha-256=00\n@/none\t@/b\n  out=sub/y\n@/empty\n";
    let done = run(place.path(), list, &["-i", "-", "-d", "to", "--create-dirs"]);
    assert_eq!(code(&done), 2);
    assert!(err(&done).contains("standard input: line 4: checksum: "), "{}", err(&done));
    assert!(out(&done).starts_with("2 done, 1 failed: 6 B in "), "{}", out(&done));
    assert_eq!(names(&place.path().join("to")), ["empty", "sub"]);
    assert_eq!(std::fs::read(place.path().join("to/sub/y")).unwrap(), b"world!");
}

#[test]
fn a_checksum_list_is_fetched_and_checked() {
    let place = place();
    let hex = HELLO.trim_start_matches("sha-256=");
    let list = format!("{hex}  a\n{hex} *b\n");
    let done = run(place.path(), &list, &["-i", "-", "--base", "@/", "-d", "to", "--retries", "0"]);
    assert_eq!(code(&done), 5);
    assert_eq!(names(&place.path().join("to")), ["a"]);
    let again =
        run(place.path(), &list[..hex.len() + 4], &["-i", "-", "--base", "@", "-d", "to", "--no-clobber"]);
    assert_eq!((code(&again), out(&again)), (0, "a: is there already, skipped\n"));
}

#[test]
fn events_are_json_and_formats_are_filled_in() {
    let place = place();
    let done = run(place.path(), "", &["@/a", "@/none", "-d", "to", "--json", "--checksum", HELLO]);
    assert_eq!(code(&done), 2, "a checksum speaks of one file");
    let done = run(place.path(), "", &["@/a", "@/none", "-d", "to", "--json"]);
    let events: Vec<serde_json::Value> =
        out(&done).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    assert_eq!(
        (of("started").len(), of("attempt").len(), of("done").len(), of("failed").len()),
        (2, 2, 1, 1)
    );
    assert_eq!((&of("done")[0]["size"], &of("done")[0]["path"]), (&5.into(), &"to/a".into()));
    assert_eq!((&of("failed")[0]["kind"], &of("failed")[0]["exit"]), (&"not found".into(), &3.into()));
    assert_eq!(
        events.last().map(|event| (&event["event"], &event["exit"])),
        Some((&"summary".into(), &3.into()))
    );

    let format = "%{name} %{result} %{size} %{held} %{sha-256}|\\n";
    let done = run(
        place.path(),
        "",
        &["@/none", "@/a", "--mirrors", "-o", "to/z", "--checksum", HELLO, "-w", format],
    );
    let hex = HELLO.trim_start_matches("sha-256=");
    assert_eq!((code(&done), out(&done)), (0, format!("z done 5 0 {hex}|\n").as_str()));
}

#[test]
fn ctrl_c_keeps_what_came_and_the_same_command_goes_on() {
    let place = place();
    let content = vec![7; 4 << 20];
    std::fs::write(place.path().join("from/big"), &content).unwrap();
    let url = format!("file://{}/from/big", place.path().display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetch"));
    command.current_dir(place.path()).args([&url, "-d", "to", "--file-root", "from", "--json"]);
    let mut child =
        command.arg("--limit-rate=100K").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("started"), "{first}");
    assert!(
        Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap().success()
    );
    let ended = child.wait_with_output().unwrap();
    assert_eq!((code(&ended), err(&ended).lines().count()), (130, 1), "{}", err(&ended));
    assert!(err(&ended).contains("interrupted") && out(&ended).contains("\"exit\":130"), "{}", err(&ended));
    assert!(!place.path().join("to/big").exists());

    let done = run(place.path(), "", &["@/big", "-d", "to", "-q"]);
    assert_eq!((code(&done), err(&done)), (0, ""));
    assert!(std::fs::read(place.path().join("to/big")).unwrap() == content);
    assert_eq!(names(&place.path().join("to")), ["big"]);
}
