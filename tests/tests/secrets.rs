//! What must never be printed is planted everywhere it may come from, and looked for everywhere it may turn up.
//!
//! Owns the list of secrets. Invariant: whatever is captured is searched for every secret, in every form it can take. Must not know how
//! a secret is kept out. The engine's part is in `secrets/engine.rs`, that of credentials in `secrets/auth.rs`, that of the program in
//! `secrets/command.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "secrets/auth.rs"]
mod auth;
#[path = "secrets/command.rs"]
mod command;
#[path = "secrets/engine.rs"]
mod engine;
#[path = "secrets/ftp.rs"]
mod ftp;
#[path = "fetch/program.rs"]
mod program;

use std::fs;
use std::path::Path;

use downloader_tests::kit::{Act, Request, Resource, Server, leaks};

const MIB: u64 = 1 << 20;

/// Where each is planted, and every form in which it may be told: as it is, escaped, decoded, encoded.
const SECRETS: &[(&str, &str)] = &[
    ("user name", "Us3r-N4me"),
    ("password, as decoded", "P4ss@W0rd"),
    ("password, as escaped", "P4ss%40W0rd"),
    ("password, a part of it", "P4ss"),
    ("both, as sent", "VXMzci1ONG1lOlA0c3NAVzByZA"),
    ("query of a URL", "Qu3ry-T0ken"),
    ("query without a name", "B4re-Qu3ry"),
    ("fragment", "Fr4gm3nt"),
    ("Authorization", "B34rer-T0ken"),
    ("X-Api-Key", "Ap1-K3y"),
    ("user of a redirect", "R3direct-Us3r"),
    ("signature of a redirect", "S1gn4ture"),
    ("Set-Cookie", "C00kie"),
    ("URL of a checksum list", "B4se-T0ken"),
    ("header of a list", "L1st-H34der"),
    ("user of credentials", "Cr3d-Us3r"),
    ("password of credentials", "Cr3d-P4ss"),
    ("credentials, as sent", "Q3IzZC1VczNyOkNyM2QtUDRzcw"),
    ("token of the caller's", "St4tic-T0ken"),
    ("user of a netrc", "N3trc-Us3r"),
    ("password of a netrc", "N3trc-P4ss"),
    ("entry of a netrc, as sent", "TjN0cmMtVXMzcjpOM3RyYy1QNHNz"),
    ("token of a registry", "R3gistry-T0ken"),
    ("query of a realm", "Re4lm-Qu3ry"),
    ("service of a registry", "Serv1ce"),
    ("proof of a password", "Digest username"),
];

/// The user information of the URLs here.
const USER: &str = "Us3r-N4me:P4ss%40W0rd@";
/// The query and fragment of the URLs here.
const QUERY: &str = "?token=Qu3ry-T0ken&B4re-Qu3ry#Fr4gm3nt";
/// The headers of the requests here.
const HEADERS: [&str; 2] = ["Authorization: Bearer B34rer-T0ken", "X-Api-Key: Ap1-K3y"];

/// Fails if a secret is in what was captured.
#[track_caller]
fn assert_clean(place: &str, captured: &str) {
    for (what, secret) in SECRETS {
        if let Some(at) = captured.find(secret) {
            let from = captured[..at].rfind('\n').map_or(0, |line| line + 1);
            let to = captured[at..].find('\n').map_or(captured.len(), |line| at + line);
            panic!("{place} tells the {what} `{secret}`: {}", &captured[from..to]);
        }
    }
}

/// Fails if a secret is in a file below the folder, or in the name of one; says how many files there are.
fn assert_clean_files(place: &str, folder: &Path) -> usize {
    let files = leaks::files_below(folder);
    for file in &files {
        assert_clean(place, &file.strip_prefix(folder).unwrap().to_string_lossy());
        assert_clean(place, &String::from_utf8_lossy(&fs::read(file).unwrap()));
    }
    files.len()
}

/// The URL of a path of the server, with secrets wherever a URL takes them.
fn planted(server: &Server, path: &str) -> String {
    format!("{}{QUERY}", server.url(path).replace("://", &format!("://{USER}")))
}

/// A server whose every resource has its own way to tell secrets, or to fail over them.
async fn server() -> Server {
    let server = Server::start().await;
    let cookie = |act: Act| act.header("Set-Cookie", "session=C00kie; Secure");
    let put = |path: &str, act: Act| {
        server.put(path, Resource::generated(1, 2 * MIB).etag("\"a\"").always(cookie(act)));
    };
    let away = |rest: &str| format!("http://R3direct-Us3r:x@localhost:{}{rest}", server.addr().port());
    put("/ok", Act::new());
    put("/none", Act::new().status(404));
    put("/denied", Act::new().status(401).header("WWW-Authenticate", "Bearer realm=\"C00kie\""));
    put("/busy", Act::new().status(503));
    put("/reset", Act::new().reset_head_at(0));
    put("/silent", Act::new().never_answer());
    put("/nonsense", Act::new().raw("Set-Cookie: C00kie\r\n\r\n"));
    put("/redirect", Act::new().redirect(away("/ok?X-Amz-Signature=S1gn4ture")));
    put("/broken", Act::new().redirect(away("/cut?X-Amz-Signature=S1gn4ture")));
    put("/gone", Act::new().redirect(away("/none?X-Amz-Signature=S1gn4ture")));
    put("/gopher", Act::new().redirect("gopher://R3direct-Us3r@h/?S1gn4ture"));
    put("/bad", Act::new().redirect("http://R3direct-Us3r:S1gn4ture@[/"));
    put("/port", Act::new().redirect("http://R3direct-Us3r:S1gn4ture@h:99999/"));
    put("/loop", Act::new().redirect("?S1gn4ture"));
    put("/nowhere", Act::new().redirect("http://R3direct-Us3r@nowhere.invalid:1/?S1gn4ture"));
    put("/range", Act::new().header("Content-Range", "C00kie").status(206));
    put("/coded", Act::new().claim_gzip());
    for (path, ends) in [("/cut", Act::cut_at as fn(Act, u64) -> Act), ("/stalled", Act::stall_at)] {
        // The rest of what was begun never comes.
        let act = move |rest: &Request| {
            cookie(ends(Act::new(), if rest.range().is_some() { 0 } else { MIB + MIB / 2 }))
        };
        server.put(path, Resource::generated(1, 2 * MIB).etag("\"a\"").decide(act));
    }
    server
}

/// What is asked of it, and what it comes to.
const PATHS: [&str; 19] = [
    "/ok",
    "/none",
    "/denied",
    "/busy",
    "/cut",
    "/reset",
    "/silent",
    "/stalled",
    "/nonsense",
    "/redirect",
    "/broken",
    "/gone",
    "/gopher",
    "/bad",
    "/port",
    "/loop",
    "/nowhere",
    "/range",
    "/coded",
];

#[tokio::test]
async fn the_secrets_reach_the_server() {
    // Nothing could be told of what never was there.
    let server = server().await;
    let place = tempfile::tempdir().unwrap();
    let line = [&*planted(&server, "/redirect"), "-H", HEADERS[1]];
    assert_eq!(program::code(&program::run(place.path(), line).await), 0);
    let told = |request: &Request| format!("{} {:?}", request.path(), request.headers);
    let seen: String = server.requests().iter().map(told).collect();
    let header = |request: &Request, name: &str| request.header(name).unwrap_or_default().to_owned();
    let headers = ["authorization", "x-api-key"].map(|name| header(&server.requests()[0], name));
    let seen = format!("{seen} {headers:?}");
    for secret in ["VXMzci1ONG1lOlA0c3NAVzByZA", "Qu3ry-T0ken", "B4re-Qu3ry", "Ap1-K3y", "S1gn4ture"] {
        assert!(seen.contains(secret), "{secret}: {seen}");
    }
    // And the search finds what is there.
    let found = std::panic::catch_unwind(|| assert_clean("here", "a line\nwith S1gn4ture in it"));
    assert!(found.is_err());
}
