//! The `fetch` program as built beside the tests, and how it is run here.
//!
//! Owns where the program is found and what surrounds a run of it. Invariant: a run depends on nothing of the caller's
//! environment but the system's own. Must not know what is asked of it.

#![allow(dead_code, reason = "each test program that takes in this file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use downloader_tests::kit::process::{Finished, Program};

/// Longer than any run may take on a machine that is busy.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Where cargo puts the program: beside the folder of the test programs.
pub(crate) fn path() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().and_then(Path::parent).unwrap();
    let path = folder.join("fetch");
    assert!(
        path.is_file(),
        "{} is missing: build it first with `cargo build -p fetch` (tests/run does)",
        path.display()
    );
    path
}

/// The program, to be run in `folder`.
pub(crate) fn program(folder: &Path) -> Program {
    clean(Program::new(path())).folder(folder)
}

/// The program as the last words of a script for `bash`, which finds them in `"$@"`. `outer` runs bash.
pub(crate) fn scripted<A: AsRef<OsStr>>(
    folder: &Path,
    outer: &[&str],
    script: &str,
    line: impl IntoIterator<Item = A>,
) -> Program {
    let words = [outer, &["bash", "-c", script, "bash"]].concat();
    clean(Program::new(words[0]).args(&words[1..])).folder(folder).arg(path()).args(line)
}

/// Without what would change its answers.
fn clean(program: Program) -> Program {
    let names =
        ["FETCH_LOG", "RUST_LOG", "RUST_BACKTRACE", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];
    let upper = names.map(str::to_uppercase);
    names.iter().copied().chain(upper.iter().map(String::as_str)).fold(program, Program::env_remove)
}

/// Runs it in `folder` to its end.
pub(crate) async fn run<A: AsRef<OsStr>>(folder: &Path, line: impl IntoIterator<Item = A>) -> Finished {
    program(folder).args(line).run(LONG).await.unwrap()
}

/// Runs it with this text on standard input.
pub(crate) async fn run_with_input<A: AsRef<OsStr>>(
    folder: &Path,
    input: &str,
    line: impl IntoIterator<Item = A>,
) -> Finished {
    let place = tempfile::NamedTempFile::new().unwrap();
    fs::write(place.path(), input).unwrap();
    let program = scripted(folder, &[], "exec \"$@\" < \"$STANDARD_INPUT\"", line);
    program.env("STANDARD_INPUT", place.path()).run(LONG).await.unwrap()
}

/// The exit code; 256 and more is 256 and the signal that ended it.
pub(crate) fn code(done: &Finished) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    done.status.code().unwrap_or_else(|| 256 + done.status.signal().unwrap_or_default())
}

/// The names in a folder, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The lines of `--json`, each an object.
pub(crate) fn events(done: &Finished) -> Vec<serde_json::Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    done.stdout.lines().map(parse).collect()
}
