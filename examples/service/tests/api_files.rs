//! `GET /files/…` over sockets: whole files and parts of them, with the fields that HTTP asks for, and nothing but files of jobs.
//!
//! Owns a folder of files. Invariant: files lie there as a processor puts them. Must not know how the service is built.

#[path = "api/client.rs"]
mod client;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use downloader_service::api::{Files, Settings, Token};
use downloader_service::config::Config;
use downloader_service::job::{Ending, JobId, Location, Queue};
use downloader_service::storage::{self, FileName, Place};
use downloader_service::store::{Claim, Settlement};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use client::{Answer, Service, memory};

const TEXT: &str = "0123456789";
const SITE: &str = "here";

fn put(root: &Path, folder: &str, content: &[u8]) -> String {
    let path = FileName::new(folder, JobId::random()).path();
    let file = root.join(&path);
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(file, content).expect("written");
    path
}

/// A service with a token, whose files are in this folder.
async fn serving(root: &Path) -> Service {
    let mut place = storage::Settings::new(Place::Directory(root.to_owned()));
    place.site = Some(SITE.to_owned());
    let files = Files::open(&place).expect("a folder");
    let settings = Settings { files, token: Some(Token::new("s3cret")), ..Settings::default() };
    Service::with(settings, memory()).await
}

/// Asks once the file has not been changed for so long that its tag is strong.
async fn settled(service: &Service, path: &str) -> Answer {
    let start = Instant::now();
    loop {
        let answer = service.get(path).await;
        if answer.field("etag").is_some_and(|tag| tag.starts_with('"')) {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", answer.fields);
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_file_is_served_whole_and_in_parts() {
    let folder = TempDir::new().expect("a folder");
    let path = format!("/files/{}", put(folder.path(), "some folder", TEXT.as_bytes()).replace(' ', "%20"));
    let service = serving(folder.path()).await;
    let whole = settled(&service, &path).await;
    assert_eq!((whole.status, whole.body.as_str()), (200, TEXT), "whoever knows the name needs no token");
    let fields = [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "10"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
    ];
    for (name, value) in fields {
        assert_eq!(whole.field(name), Some(value), "{name}");
    }
    assert!(whole.field("content-security-policy").is_some_and(|policy| policy.ends_with("sandbox")));
    let (tag, modified) =
        (whole.field("etag").expect("a tag"), whole.field("last-modified").expect("a date"));
    let ask = async |method: &str, fields: &[(&str, &str)]| {
        let answer = service.ask(method, &path, fields, "").await;
        let part = answer.field("content-range").unwrap_or_default().to_owned();
        (answer.status, answer.body, part)
    };
    let answered = |status, body: &str, part: &str| (status, body.to_owned(), part.to_owned());
    let part = answered(206, "234", "bytes 2-4/10");
    assert_eq!(ask("GET", &[("range", "bytes=2-4")]).await, part);
    assert_eq!(ask("GET", &[("range", "bytes=-3")]).await, answered(206, "789", "bytes 7-9/10"));
    assert_eq!(ask("GET", &[("range", "bytes=8-99")]).await, answered(206, "89", "bytes 8-9/10"));
    assert_eq!(ask("GET", &[("range", "bytes=10-")]).await, answered(416, "", "bytes */10"));
    for ignored in ["bytes=0-1,3-4", "bytes=x", "lines=1-2"] {
        assert_eq!(ask("GET", &[("range", ignored)]).await, answered(200, TEXT, ""), "{ignored}");
    }
    let if_range = async |value: &str| ask("GET", &[("range", "bytes=2-4"), ("if-range", value)]).await;
    assert_eq!((if_range(tag).await, if_range(modified).await), (part.clone(), part));
    for other in ["\"other\"", &format!("W/{tag}"), "Sun, 06 Nov 1994 08:49:37 GMT"] {
        assert_eq!(if_range(other).await, answered(200, TEXT, ""), "{other}");
    }
    for (name, current) in [("if-none-match", tag), ("if-none-match", "*"), ("if-modified-since", modified)] {
        assert_eq!(ask("GET", &[(name, current)]).await, answered(304, "", ""), "{name}: {current}");
    }
    assert_eq!(ask("GET", &[("if-none-match", "\"other\"")]).await.0, 200);
    let head = service.ask("HEAD", &path, &[("range", "bytes=2-4")], "").await;
    assert_eq!((head.status, head.body.as_str(), head.field("content-length")), (200, "", Some("10")));
    assert_eq!(service.ask("POST", &path, &[], "").await.status, 405);
}

#[tokio::test]
async fn the_media_type_is_what_the_content_shows() {
    let folder = TempDir::new().expect("a folder");
    let service = serving(folder.path()).await;
    let contents: [(&[u8], &str); 4] = [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"<!doctype html><script>alert(1)</script>", "text/html; charset=utf-8"),
        (br#"{"a":1}"#, "application/json"),
        (b"", "application/octet-stream"),
    ];
    for (content, expected) in contents {
        let path = put(folder.path(), "", content);
        let answer = service.get(&format!("/files/{path}")).await;
        assert_eq!((answer.status, answer.field("content-type")), (200, Some(expected)));
    }
}

#[tokio::test]
async fn nothing_but_files_of_jobs_is_served() {
    let ground = TempDir::new().expect("a folder");
    let root = ground.path().join("files");
    let id = JobId::random().to_string();
    let shard = &id[..3];
    let secret = put(ground.path(), "", b"hunter2");
    fs::create_dir_all(root.join(".work")).expect("made");
    fs::write(root.join(".work").join(&id), "hunter2").expect("written");
    fs::write(root.join("readme"), "hunter2").expect("written");
    fs::create_dir_all(root.join(shard)).expect("made");
    symlink(ground.path().join(&secret), root.join(shard).join(&id)).expect("a link");
    let service = serving(&root).await;
    let escapes = [
        format!("/files/../{secret}"),
        format!("/files/%2e%2e/{secret}"),
        format!("/files/%2e%2e%2f{}", secret.replace('/', "%2f")),
        format!("/files/x/../../{secret}"),
        format!("/files//{}", ground.path().join(&secret).display()),
        format!("/files/%2f{}", ground.path().join(&secret).display()),
        format!("/files/.work/{id}"),
        format!("/files/{shard}/{id}"),
        format!("/files/{shard}/{id}%00"),
        format!("/files/{shard}/.{id}.part"),
        format!("/files/{shard}"),
        "/files/readme".to_owned(),
        "/files/".to_owned(),
        format!("/files/{}", FileName::new("", JobId::random()).path()),
    ];
    for path in escapes {
        let answer = service.ask("GET", &path, &[("authorization", "Bearer s3cret")], "").await;
        assert!(answer.status == 404 || answer.status == 400, "{path}: {} {}", answer.status, answer.body);
        assert!(!answer.body.contains("hunter2"), "{path}");
    }
}

#[tokio::test]
async fn a_job_names_its_file_where_files_are_served() {
    let folder = TempDir::new().expect("a folder");
    let path = put(folder.path(), "a b", TEXT.as_bytes());
    for (site, served) in [(SITE, true), ("elsewhere", false)] {
        let service = serving(folder.path()).await;
        let token = [("authorization", "Bearer s3cret")];
        let job = json!({ "url": "http://origin/file", "aggr_id": "g", "aggr_limit": 1, "callback_url": "http://r/" });
        let id = service.ask("POST", "/jobs", &token, job.to_string()).await.id();
        let work =
            service.store.claim(&Claim::new(Queue::Downloads, "w", 1)).await.expect("claimed").work.remove(0);
        let location = Some(Location { site: site.to_owned(), path: path.clone() });
        let ending = Ending { success: true, location, ..Ending::default() };
        let settlement = Settlement::Downloaded(Box::new(ending));
        assert_eq!(service.store.settle(vec![(work.lease, settlement)]).await.expect("settled"), [true]);
        let job = service.ask("GET", &format!("/jobs/{id}"), &token, "").await.json();
        let listed = service.ask("GET", "/jobs", &token, "").await.json();
        assert_eq!(job["file"], listed["jobs"][0]["file"]);
        if served {
            assert_eq!(service.get(job["file"].as_str().expect("a path")).await.body, TEXT);
        } else {
            assert!(job["file"].is_null(), "{job}");
        }
    }
}

#[tokio::test]
async fn files_are_served_only_where_an_operator_says_so() {
    let service = Service::start().await;
    assert_eq!(service.get("/files/abc/abcdefghijklmn").await.status, 404);
    let read = |text: &str| Config::parse(text, true, []).map(|config| config.serve_files);
    assert_eq!(read(""), Ok(false));
    assert_eq!(read("[api]\nserve_files = true"), Ok(true));
    let bucket =
        "[api]\nserve_files = true\n[processor.filestorage]\ntype = \"s3\"\nbucket = \"b\"\nregion = \"r\"";
    assert_eq!(read(bucket).expect_err("no directory").key, "api.serve_files");
}
