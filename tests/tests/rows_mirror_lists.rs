//! Mirror lists and metalinks from the wire to the file, on scripted servers: row H7 of the conformance list.
//!
//! Owns the lists it serves. Invariant: what a list must not name is never asked for. Must not know: how lists are
//! parsed inside.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use downloader_core::mirrors::{Allowed, Format, Metalink, MirrorList, apt};
use downloader_core::retry::Constant;
use downloader_core::write::MemoryWriter;
use downloader_core::{Engine, ErrorKind, FileBackend, Request, Result};
use downloader_http::Http;
use downloader_tests::kit::{Act, Resource, Server, sha256_hex};

const OLD: &[u8] = b"<repomd>old</repomd>";
const NEW: &[u8] = b"<repomd>new one</repomd>";

fn engine() -> Engine {
    let http = Http::builder().build().unwrap();
    let files = FileBackend::builder().allow("/").build().unwrap();
    let patient = Constant::new(Duration::from_millis(5), 2);
    Engine::builder().backend(http).backend(files).retry(patient).build()
}

async fn get(engine: &Engine, request: Request) -> Result<Vec<u8>> {
    let (writer, memory) = MemoryWriter::new(1 << 20);
    engine.download(request, writer).await?;
    Ok(memory.into_bytes().unwrap().to_vec())
}

async fn text_list(lines: &[String]) -> Server {
    let server = Server::start().await;
    server.put("/list", Resource::new(lines.join("\n")));
    server
}

fn fedora(urls: &[(u32, String)]) -> String {
    let version = |content: &[u8]| {
        let (size, hex) = (content.len(), sha256_hex(content));
        format!("<size>{size}</size><verification><hash type=\"sha256\">{hex}</hash></verification>")
    };
    let urls: String = urls
        .iter()
        .map(|(preference, url)| format!("<url type=\"http\" preference=\"{preference}\">{url}</url>"))
        .collect();
    format!(
        "<metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\" xmlns:mm0=\"http://fedorahosted.org/mirrormanager\">\
         <files><file name=\"repomd.xml\">{}<mm0:alternates><mm0:alternate>{}</mm0:alternate></mm0:alternates>\
         <resources>{urls}<url type=\"rsync\" preference=\"100\">rsync://127.0.0.1/x</url>\
         <url type=\"file\" preference=\"100\">file:///etc/hostname</url></resources></file></files></metalink>",
        version(NEW),
        version(OLD)
    )
}

// pulp H7: metalink v3 with alternates: order holds, size and digest are enforced.
#[tokio::test]
async fn a_stale_mirror_serves_an_alternate_and_a_lying_one_nothing() {
    let (engine, stale, lying, good) =
        (engine(), Server::start().await, Server::start().await, Server::start().await);
    stale.put("/repomd.xml", Resource::new(OLD));
    lying.put("/repomd.xml", Resource::new(NEW.to_ascii_uppercase()));
    good.put("/repomd.xml", Resource::new(NEW));
    let urls = |order: &[&Server]| -> Vec<_> {
        order
            .iter()
            .zip([100, 90, 80])
            .map(|(server, rank)| (rank, server.url("/repomd.xml")))
            .rev()
            .collect()
    };
    let metalink = |order: &[&Server]| {
        let document = fedora(&urls(order));
        let list = "http://127.0.0.1/metalink".parse().unwrap();
        Metalink::parse(document.as_bytes(), &Allowed::from(&list)).unwrap()
    };
    let read = metalink(&[&lying, &good, &stale]);
    let file = read.file("repomd.xml").unwrap();
    assert_eq!(file.mirrors.len(), 3);
    for scheme in ["rsync", "file"] {
        assert!(read.warnings.iter().any(|warning| warning.contains(scheme)), "{:?}", read.warnings);
    }
    assert_eq!(get(&engine, file.request().unwrap()).await.unwrap(), NEW);
    assert!(!lying.requests().is_empty() && stale.requests().is_empty(), "the order of preference holds");
    let read = metalink(&[&stale, &good]);
    assert_eq!(get(&engine, read.files[0].request().unwrap()).await.unwrap(), OLD, "an alternate is good");
    let mut current_only = read.files[0].clone();
    current_only.alternates.clear();
    assert_eq!(get(&engine, current_only.request().unwrap()).await.unwrap(), NEW, "unless it is not wanted");
    let read = metalink(&[&lying]);
    let error = get(&engine, read.files[0].request().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
}

// pulp H7: metalink v4 with priority; a mirror of another size is refused by its head.
#[tokio::test]
async fn version_4_by_priority_with_size_and_digest() {
    let (engine, first, second) = (engine(), Server::start().await, Server::start().await);
    first.put("/f", Resource::new("another content, and longer"));
    second.put("/f", Resource::new("hello"));
    let document = format!(
        "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"f\"><size>5</size><hash type=\"sha-256\">{}</hash>\
         <url priority=\"2\">{}</url><url priority=\"1\">{}</url></file></metalink>",
        sha256_hex(b"hello"),
        second.url("/f"),
        first.url("/f")
    );
    let metalink = Metalink::parse(document.as_bytes(), &Allowed::only(["http"])).unwrap();
    let (writer, memory) = MemoryWriter::new(100);
    let outcome = engine.download(metalink.file("f").unwrap().request().unwrap(), writer).await.unwrap();
    assert_eq!(memory.into_bytes().unwrap(), "hello");
    let asked: Vec<_> = outcome.attempts.iter().map(|attempt| attempt.url.expose().port().unwrap()).collect();
    assert_eq!(asked, [first.addr().port(), second.addr().port()]);
    assert_eq!(outcome.attempts[0].bytes, 0, "refused before its body");
}

// pulp H7: text list with comments; remote list naming `file:`.
#[tokio::test]
async fn a_text_list_names_mirrors_and_no_local_file() {
    let (engine, first, second) = (engine(), Server::start().await, Server::start().await);
    second.put("/pub/a.rpm", Resource::new("an rpm"));
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("a.rpm"), "a secret").unwrap();
    let list = text_list(&[
        "# mirrors of the release".to_owned(),
        format!("file://{}/", secret.path().display()),
        String::new(),
        format!("Server = {}", first.url("/pub/")),
        second.url("/pub"),
    ])
    .await;
    let mirrors = MirrorList::new(&engine, list.url("/list"), Format::Text).unwrap();
    assert_eq!(get(&engine, mirrors.request("a.rpm").unwrap()).await.unwrap(), b"an rpm");
    assert_eq!(first.requests_for("/pub/a.rpm").len(), 1);
    let read = mirrors.mirrors().await.unwrap();
    assert_eq!(read.warnings.len(), 1, "{:?}", read.warnings);
    assert!(read.warnings[0].starts_with("line 2: file://"), "{:?}", read.warnings);
    // One copy serves all files; a file that nobody has fails with the mirrors' own reason.
    let error = get(&engine, mirrors.request("none.rpm").unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::NotFound, 2), "{error:?}");
    assert_eq!(list.requests().len(), 1);
    for path in ["../a.rpm", "/a.rpm", "", "b/../../a.rpm"] {
        assert_eq!(mirrors.request(path).unwrap_err().kind(), ErrorKind::Input, "{path}");
    }
}

// pulp H7: apt list with filters; order.
#[tokio::test]
async fn an_apt_list_is_filtered_and_ordered() {
    let (engine, index, deb, last) =
        (engine(), Server::start().await, Server::start().await, Server::start().await);
    for server in [&index, &deb, &last] {
        server.put("/debian/pool/a.deb", Resource::new("a deb"));
    }
    let list = text_list(&[
        "# apt".to_owned(),
        last.url("/debian/"),
        format!("{}\tpriority:1 type:index", index.url("/debian/")),
        format!("{}\tpriority:2\ttype:deb arch:amd64", deb.url("/debian/")),
    ])
    .await;
    let facts = apt::Facts { kind: Some("deb".into()), ..apt::Facts::default() };
    let mirrors = MirrorList::new(&engine, list.url("/list"), Format::Apt(facts)).unwrap();
    assert_eq!(get(&engine, mirrors.request("pool/a.deb").unwrap()).await.unwrap(), b"a deb");
    assert_eq!([&index, &deb, &last].map(|server| server.requests().len()), [0, 1, 0]);
    deb.go_down().await;
    assert_eq!(get(&engine, mirrors.request("pool/a.deb").unwrap()).await.unwrap(), b"a deb");
    assert_eq!([&index, &last].map(|server| server.requests().len()), [0, 1]);
}

#[tokio::test]
async fn the_folders_of_a_metalink_serve_other_files_too() {
    let (engine, mirror, list) = (engine(), Server::start().await, Server::start().await);
    mirror.put("/f42/Packages/a.rpm", Resource::new("an rpm"));
    list.put("/metalink", Resource::new(fedora(&[(50, mirror.url("/f42/repodata/repomd.xml"))])));
    let format = Format::Metalink { suffix: "repodata/repomd.xml".into() };
    let mirrors = MirrorList::new(&engine, list.url("/metalink"), format).unwrap();
    assert_eq!(get(&engine, mirrors.request("Packages/a.rpm").unwrap()).await.unwrap(), b"an rpm");
}

#[tokio::test]
async fn a_list_is_repeated_asked_for_once_and_its_last_good_copy_stays() {
    let (engine, mirror, list) = (engine(), Server::start().await, Server::start().await);
    for name in ["a", "b", "c", "d"] {
        mirror.put(&format!("/{name}"), Resource::new(name));
    }
    let resource = Resource::new(mirror.url("/")).etag("\"1\"").first(Act::new().status(503));
    list.put("/list", resource.clone());
    let mirrors = MirrorList::new(&engine, list.url("/list"), Format::Text).unwrap();
    let (a, b) = tokio::join!(
        get(&engine, mirrors.request("a").unwrap()),
        get(&engine, mirrors.request("b").unwrap())
    );
    assert_eq!((a.unwrap(), b.unwrap()), (b"a".to_vec(), b"b".to_vec()));
    assert_eq!(list.requests().len(), 2, "503, then once for both");
    // Too old at once: it is asked for by its tag, and still the same.
    let eager = mirrors.clone().fresh_for(Duration::ZERO);
    assert_eq!(get(&engine, eager.request("c").unwrap()).await.unwrap(), b"c");
    let last = list.requests().pop().unwrap();
    assert_eq!((last.header("if-none-match"), last.status), (Some("\"1\""), Some(304)));
    // Gone, broken, or a page of a login: the copy is used on.
    for act in [Act::new().status(404), Act::new().body("<html>log in</html>")] {
        list.put("/list", Resource::act(act));
        assert_eq!(get(&engine, eager.request("d").unwrap()).await.unwrap(), b"d");
    }
}

#[tokio::test]
async fn a_list_without_a_usable_mirror_is_an_error_that_says_so() {
    let engine = engine();
    let list = text_list(&["file:///etc/".to_owned(), "rsync://127.0.0.1/x".to_owned()]).await;
    let mirrors = MirrorList::new(&engine, list.url("/list"), Format::Text).unwrap();
    let error = get(&engine, mirrors.request("passwd").unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("names no mirror") && error.to_string().contains("/list"), "{error}");
    list.put("/list", Resource::new("<metalink>"));
    let format = Format::Metalink { suffix: "f".into() };
    let mirrors = MirrorList::new(&engine, list.url("/list"), format).unwrap();
    let error = get(&engine, mirrors.request("f").unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    list.put("/list", Resource::generated(1, 5 << 20));
    let error = get(&engine, mirrors.request("f").unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "a list has a limit: {error}");
}

// pulp 4.6, 18: no downgrade by a remote list.
#[tokio::test]
async fn a_protected_list_names_protected_mirrors_only() {
    let (mirror, list) = (Server::start().await, Server::start_tls().await);
    mirror.put("/f", Resource::new("hello"));
    list.put("/list", Resource::new(mirror.url("/")));
    let http = Http::builder().root_certificate(list.ca_pem().unwrap()).build().unwrap();
    let engine = Engine::builder().backend(http).build();
    let mirrors = MirrorList::new(&engine, list.url("/list"), Format::Text).unwrap();
    assert!(get(&engine, mirrors.request("f").unwrap()).await.is_err());
    assert_eq!(mirror.requests().len(), 0);
    let mirrors = mirrors.allow("http");
    assert_eq!(get(&engine, mirrors.request("f").unwrap()).await.unwrap(), b"hello");
}
