//! Rows of FTP and FTPS: pulp A7, A8, biomaj 1.3 and 40, 41, and the traps of the protocol.
//!
//! Owns the cases of single rows. Invariant: what a server was told is read from its own log. Must not know how the backend works.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use downloader_core::credentials::{Credentials, Netrc, OriginCredentials, RequestCredentials};
use downloader_core::net::{Guard, Proxies, Proxy};
use downloader_core::retry::{Constant, Never};
use downloader_core::write::MemoryWriter;
use downloader_core::{Download as _, Engine, ErrorKind, Fetch, FileWriter, Outcome, Request, Result};
use downloader_ftp::{Ftp, FtpBuilder, FtpEncoding, FtpMethod, FtpMode, FtpOptions, FtpTls, TlsSettings};
use downloader_tests::kit::ftpd::{Known, PASSWORD, Security, USER};
use downloader_tests::kit::{Content, Deed, FtpFile, FtpServer, Ftpd, Socks, Squid, sha256_hex};
use futures_util::StreamExt as _;
use tempfile::TempDir;

fn engine(ftp: FtpBuilder) -> Engine {
    Engine::builder().backend(ftp.build().unwrap()).retry(Constant::new(Duration::from_millis(5), 2)).build()
}

async fn fetch(engine: &Engine, url: &str) -> Result<(Vec<u8>, Outcome)> {
    get(engine, Request::get(url).unwrap()).await
}

async fn get(engine: &Engine, request: Request) -> Result<(Vec<u8>, Outcome)> {
    let (writer, memory) = MemoryWriter::new(1 << 27);
    let outcome = engine.download(request, writer).await?;
    Ok((memory.into_bytes().unwrap().to_vec(), outcome))
}

fn verbs(server: &FtpServer) -> Vec<String> {
    server.commands().iter().map(|(_, line)| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// pulp A7: cut at k, resumed with `REST k`; and the bytes are those of the source.
#[tokio::test]
async fn pulp_a7_a_cut_is_resumed_by_rest() {
    let server = FtpServer::start().await;
    let content = Content::new(1, 700_000).bytes();
    let file = FtpFile::new(content.clone());
    server.put("f", file.decide(|request| if request == 0 { Deed::Cut(300_000) } else { Deed::Serve }));
    let (bytes, outcome) = fetch(&engine(Ftp::builder()), &server.url("/f")).await.unwrap();
    assert!(bytes == content && outcome.attempts.len() == 2);
    let commands = server.commands();
    // The time settled long ago: nothing is asked for again.
    assert!(commands.iter().any(|(_, line)| line == "REST 300000"), "{commands:?}");
    // The connection of the cut served nothing more.
    let (first, second) = (commands[0].0, commands.last().unwrap().0);
    assert_ne!(first, second);
}

/// pulp A7: 550 is not found, 530 is the account; a size that is not the one wanted is refused before any byte is taken.
#[tokio::test]
async fn pulp_a7_refusals_have_their_kinds() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("four"));
    let engine = engine(Ftp::builder());
    let missing = fetch(&engine, &server.url("/none")).await.unwrap_err();
    assert_eq!((missing.kind(), missing.status()), (ErrorKind::NotFound, Some(550)));
    let request = Request::get(server.url("/f").as_str()).unwrap().size(5);
    let wrong = get(&engine, request).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Integrity, "{wrong:?}");
    assert_eq!(wrong.attempts()[0].bytes, 0);
    server.answer("PASS", "530 no\r\n");
    let url = server.url("/f").replace("ftp://", "ftp://u:p@");
    let refused = fetch(&engine, &url).await.unwrap_err();
    assert_eq!((refused.kind(), refused.status()), (ErrorKind::Unauthorized, Some(530)));
}

/// dependencies.md trap 10: of `PASV` only the port is believed, and `EPSV` that is refused is not asked for twice.
#[tokio::test]
async fn the_address_of_pasv_is_never_believed() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("content"));
    server.answer("EPSV", "500 what\r\n");
    server.passive_address("10,9,8,7");
    let engine = engine(Ftp::builder());
    for _ in 0..2 {
        assert_eq!(fetch(&engine, &server.url("/f")).await.unwrap().0, b"content");
    }
    let verbs = verbs(&server);
    assert_eq!(verbs.iter().filter(|verb| *verb == "EPSV").count(), 1, "{verbs:?}");
    assert_eq!(verbs.iter().filter(|verb| *verb == "PASV").count(), 2, "{verbs:?}");
    assert_eq!(server.connections().total, 1);
}

/// A server that names a port of a well-known service is not used to reach it.
#[tokio::test]
async fn a_port_of_another_service_is_refused() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("content"));
    server.answer("EPSV", "229 here (|||25|)\r\n");
    let error = fetch(&engine(Ftp::builder()), &server.url("/f")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
}

/// A server that knows none of `FEAT`, `SIZE`, `MDTM` and `REST` still works: from zero, and to the end by its last reply.
#[tokio::test]
async fn a_server_that_tells_nothing_still_works() {
    let server = FtpServer::start().await;
    let content = Content::new(2, 300_000).bytes();
    let file = FtpFile::new(content.clone()).size(None).modified("").no_rest();
    server.put("f", file.decide(|request| if request == 0 { Deed::Cut(100_000) } else { Deed::Serve }));
    server.answer("FEAT", "502 what\r\n");
    let (bytes, outcome) = fetch(&engine(Ftp::builder()), &server.url("/f")).await.unwrap();
    assert!(bytes == content);
    assert_eq!(outcome.attempts[0].error, Some(ErrorKind::Truncated), "a 426 is a cut, whatever the size");
}

/// When all bytes of a known size are in, an odd last reply or none costs the connection and nothing else.
#[tokio::test]
async fn the_last_reply_cannot_take_a_file_back() {
    for deed in [Deed::Odd, Deed::Mute, Deed::Twice] {
        let server = FtpServer::start().await;
        server.put(
            "f",
            FtpFile::new("content").decide(move |request| if request == 0 { deed } else { Deed::Serve }),
        );
        let engine = engine(Ftp::builder());
        let begin = Instant::now();
        let (bytes, outcome) = fetch(&engine, &server.url("/f")).await.unwrap();
        assert_eq!((bytes.as_slice(), outcome.attempts.len()), (&b"content"[..], 1), "{deed:?}");
        assert!(begin.elapsed() < Duration::from_secs(6), "{deed:?}");
        assert_eq!(fetch(&engine, &server.url("/f")).await.unwrap().0, b"content");
        assert_eq!(server.connections().total, 2, "{deed:?}: a connection out of step served again");
    }
    // Where no size was told, the reply decides.
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("content").size(None).decide(|_| Deed::Odd));
    let engine = Engine::builder().backend(Ftp::builder().build().unwrap()).retry(Never).build();
    let error = fetch(&engine, &server.url("/f")).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Truncated, Some(426)), "{error:?}");
}

/// Greetings and replies are bounded, and what is no FTP is told.
#[tokio::test]
async fn greetings_are_bounded() {
    let server = FtpServer::start().await;
    let engine = Engine::builder().backend(Ftp::builder().build().unwrap()).retry(Never).build();
    server.greet(&format!("220-{}", "banner\r\n".repeat(100_000)));
    let endless = fetch(&engine, &server.url("/f")).await.unwrap_err();
    assert_eq!((endless.kind(), endless.what()), (ErrorKind::Protocol, "a reply that does not end"));
    server.greet("SSH-2.0-x\r\n");
    let other = fetch(&engine, &server.url("/f")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Protocol);
    server.greet("421 too many\r\n");
    let busy = fetch(&engine, &server.url("/f")).await.unwrap_err();
    assert_eq!((busy.kind(), busy.is_transient()), (ErrorKind::Busy, true));
    assert!(busy.address().is_some());
}

/// Trap: line breaks in a name never reach the server.
#[tokio::test]
async fn a_name_with_a_line_break_is_refused_before_anything_is_sent() {
    let server = FtpServer::start().await;
    for path in ["/a%0d%0aDELE%20b", "/x%00", "/d%0A/f"] {
        let error = fetch(&engine(Ftp::builder()), &server.url(path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    }
    let url = server.url("/f").replace("ftp://", "ftp://u:p%0aDELE%20b@");
    assert!(fetch(&engine(Ftp::builder()), &url).await.is_err());
    assert_eq!(server.connections().total, 0);
}

/// One control connection for files that follow each other: one login, one `TYPE`.
#[tokio::test]
async fn connections_are_kept_and_taken_again() {
    let server = FtpServer::start().await;
    let engine = engine(Ftp::builder());
    for number in 0..5 {
        let name = format!("d/f{number}");
        server.put(&name, FtpFile::new(name.clone()));
        let (bytes, outcome) = fetch(&engine, &server.url(&format!("/{name}"))).await.unwrap();
        assert_eq!(bytes, name.as_bytes());
        assert_eq!(outcome.attempts[0].wire.reused, number > 0);
        assert_eq!(outcome.attempts[0].wire.protocol, Some("FTP"));
    }
    let verbs = verbs(&server);
    for once in ["USER", "TYPE", "CWD"] {
        assert_eq!(verbs.iter().filter(|verb| *verb == once).count(), 1, "{verbs:?}");
    }
    assert_eq!(server.connections().total, 1);
    // One that ended while it waited is replaced, and nobody notices.
    server.hang_up().await;
    let (_, outcome) = fetch(&engine, &server.url("/d/f0")).await.unwrap();
    assert_eq!(outcome.attempts.len(), 1);
}

async fn real(known: Known, security: Security, root: &Path) -> (Ftpd, FtpBuilder) {
    let server = Ftpd::builder(known).security(security).start(root).await.unwrap();
    let tls = TlsSettings::new().root_certificate(server.ca_pem()).only_root_certificates(true);
    let ftp = Ftp::builder().tls_settings(tls);
    let ftp = if security == Security::Explicit { ftp.ftps(FtpTls::Explicit) } else { ftp };
    (server, ftp)
}

/// dependencies.md trap 9: after an abort the next request is on another connection, and no reply is one out of step.
#[tokio::test]
async fn a_connection_is_never_used_after_an_abort() {
    for (known, security) in [
        (Known::Vsftpd, Security::Off),
        (Known::Vsftpd, Security::Explicit),
        (Known::Proftpd, Security::Explicit),
        (Known::Pureftpd, Security::Off),
    ] {
        let root = TempDir::new().unwrap();
        let large = Content::new(3, 30 << 20).bytes();
        fs::write(root.path().join("large"), &large).unwrap();
        let (server, ftp) = real(known, security, root.path()).await;
        let ftp = ftp.build().unwrap();
        let engine = Engine::builder().backend(ftp.clone()).retry(Never).build();
        for round in 0..4 {
            let mut body = ftp.open(Fetch::new(server.url("/large").parse().unwrap())).await.unwrap();
            let _ = body.stream.next().await.unwrap().unwrap();
            drop(body);
            let name = format!("small{round}");
            fs::write(root.path().join(&name), &name).unwrap();
            let (bytes, outcome) = fetch(&engine, &server.url(&format!("/{name}"))).await.unwrap();
            assert_eq!(bytes, name.as_bytes(), "{known:?} {security:?}");
            assert_eq!(outcome.attempts.len(), 1);
            assert_eq!(outcome.entity.size, Some(name.len() as u64));
        }
        let (bytes, _) = fetch(&engine, &server.url("/large")).await.unwrap();
        assert_eq!(sha256_hex(&bytes), sha256_hex(&large));
    }
}

/// pulp A8 and dependencies.md trap 11: over TLS, many transfers side by side, where the server wants every data connection
/// to resume the session of its own control connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulp_a8_data_connections_resume_their_own_session() {
    for (known, security) in [
        (Known::Vsftpd, Security::Explicit),
        (Known::Vsftpd, Security::Implicit),
        (Known::Proftpd, Security::Explicit),
        (Known::Pureftpd, Security::Explicit),
    ] {
        let root = TempDir::new().unwrap();
        for number in 0..12 {
            fs::write(root.path().join(format!("f{number}")), Content::new(number, 50_000).bytes()).unwrap();
        }
        let (server, ftp) = real(known, security, root.path()).await;
        let engine = engine(ftp);
        for _ in 0..2 {
            let all = (0..12).map(|number| {
                let (engine, url) = (engine.clone(), server.url(&format!("/f{number}")));
                async move { (number, fetch(&engine, &url).await) }
            });
            for (number, outcome) in futures_util::future::join_all(all).await {
                let (bytes, outcome) =
                    outcome.unwrap_or_else(|error| panic!("{known:?} {security:?}: {error:?}"));
                assert!(bytes == Content::new(number, 50_000).bytes());
                assert_eq!(outcome.attempts[0].wire.protocol, Some("FTPS"));
            }
        }
    }
}

/// TLS that is asked for is never left out: a server without it is refused, before a password is sent.
#[tokio::test]
async fn without_tls_nothing_is_sent() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("x"));
    let explicit = Ftp::builder().tls(FtpTls::Explicit);
    let error = fetch(&engine(explicit), &server.url("/f")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert_eq!(verbs(&server), ["AUTH"]);
    server.answer("AUTH", "234 go\r\n230 you are in already\r\n");
    let error = fetch(&engine(Ftp::builder().tls(FtpTls::Explicit)), &server.url("/f")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Tls), "{error:?}");
    assert!(!verbs(&server).contains(&"USER".to_owned()));
    assert!(Ftp::builder().ftps(FtpTls::Off).build().is_err());
}

/// biomaj 1.3: `ftp_method`, on a real server.
#[tokio::test]
async fn the_three_methods_lead_to_the_same_file() {
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    fs::write(root.path().join("a/b/f"), "content").unwrap();
    for (method, expected) in [
        (FtpMethod::Multicwd, vec!["CWD a", "CWD b", "RETR f"]),
        (FtpMethod::Singlecwd, vec!["CWD a/b", "RETR f"]),
        (FtpMethod::Nocwd, vec!["RETR a/b/f"]),
    ] {
        let (server, ftp) = real(Known::Vsftpd, Security::Off, root.path()).await;
        let request =
            Request::get(server.url("/a/b/f").as_str()).unwrap().option(FtpOptions::new().method(method));
        let (bytes, _) = get(&engine(ftp), request).await.unwrap();
        assert_eq!(bytes, b"content");
        let log = server.log();
        let led: Vec<_> =
            log.iter().filter(|line| line.starts_with("CWD") || line.starts_with("RETR")).collect();
        assert_eq!(led, expected.iter().collect::<Vec<_>>(), "{log:?}");
    }
}

/// From one directory to another, above and below: the right file each time, over one connection.
#[tokio::test]
async fn directories_are_left_and_entered_again() {
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    fs::create_dir_all(root.path().join("c")).unwrap();
    for path in ["f", "a/f", "a/b/f", "c/f"] {
        fs::write(root.path().join(path), path).unwrap();
    }
    for known in [Known::Vsftpd, Known::Proftpd, Known::Pureftpd] {
        let (server, ftp) = real(known, Security::Off, root.path()).await;
        let engine = engine(ftp);
        for path in ["a/b/f", "f", "a/f", "c/f", "a/b/f", "a/b/f", "f"] {
            let (bytes, _) = fetch(&engine, &server.url(&format!("/{path}"))).await.unwrap();
            assert_eq!(bytes, path.as_bytes(), "{known:?}");
        }
        let missing = fetch(&engine, &server.url("/nowhere/f")).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{known:?} {missing:?}");
        assert_eq!(fetch(&engine, &server.url("/a/f")).await.unwrap().0, b"a/f");
    }
}

/// Names with blanks, quotes, other scripts, and bytes that are no UTF-8.
#[tokio::test]
async fn every_name_can_be_asked_for() {
    use std::os::unix::ffi::OsStrExt as _;
    let root = TempDir::new().unwrap();
    let names: [(&[u8], &str); 7] = [
        (b"a b", "a%20b"),
        (b" lead", "%20lead"),
        (b"q\"uote'", "q%22uote'"),
        (b"#%?;x", "%23%25?;x"),
        ("naïve-Ωmega-日本".as_bytes(), "naïve-Ωmega-日本"),
        (b"caf\xe9", "caf%E9"),
        (b"-la", "-la"),
    ];
    for (name, _) in names {
        fs::write(root.path().join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    for known in [Known::Vsftpd, Known::Proftpd, Known::Pureftpd] {
        let (server, ftp) = real(known, Security::Off, root.path()).await;
        let engine = engine(ftp);
        for (name, escaped) in names {
            let outcome = fetch(&engine, &server.url(&format!("/{escaped}"))).await;
            let (bytes, _) = outcome.unwrap_or_else(|error| panic!("{known:?} {escaped}: {error:?}"));
            assert_eq!(bytes, name, "{known:?}");
        }
        let latin = Request::get(server.url("/café").as_str()).unwrap();
        let latin = latin.option(FtpOptions::new().encoding(FtpEncoding::Latin1));
        assert_eq!(get(&engine, latin).await.unwrap().0, b"caf\xe9");
    }
}

/// Active mode on request: the server connects to us, and no stranger is taken for it.
#[tokio::test]
async fn active_mode_where_it_is_asked_for() {
    let root = TempDir::new().unwrap();
    let content = Content::new(4, 400_000).bytes();
    fs::write(root.path().join("f"), &content).unwrap();
    for known in [Known::Vsftpd, Known::Proftpd, Known::Pureftpd] {
        let (server, ftp) = real(known, Security::Off, root.path()).await;
        let (bytes, _) = fetch(&engine(ftp.mode(FtpMode::Active)), &server.url("/f")).await.unwrap();
        assert!(bytes == content, "{known:?}");
    }
}

/// HTTP CONNECT and SOCKS5, for control and data.
#[tokio::test]
async fn through_proxies() {
    let root = TempDir::new().unwrap();
    let content = Content::new(5, 200_000).bytes();
    fs::write(root.path().join("f"), &content).unwrap();
    let squid = Squid::builder().start().await.unwrap();
    let dante = Socks::dante().await.unwrap();
    let micro = Socks::microsocks(Some(("u", "p"))).await.unwrap();
    for security in [Security::Off, Security::Explicit] {
        let (server, ftp) = real(Known::Vsftpd, security, root.path()).await;
        for proxy in [
            format!("http://{}", squid.addr()),
            format!("socks5://{}", dante.addr()),
            format!("socks5h://u:p@{}", micro.addr()),
        ] {
            let proxies = Proxies::new([Proxy::parse(&proxy).unwrap()]);
            let outcome = fetch(&engine(ftp.clone().proxies(proxies.clone())), &server.url("/f")).await;
            let (bytes, outcome) = outcome.unwrap_or_else(|error| panic!("{proxy} {security:?}: {error:?}"));
            assert!(bytes == content);
            let connection = outcome.attempts[0].wire.connection.clone().unwrap();
            assert!(connection.proxy.is_some(), "{proxy}");
            let active = engine(ftp.clone().proxies(proxies).mode(FtpMode::Active));
            let error = fetch(&active, &server.url("/f")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        }
    }
    assert!(dante.connects().len() >= 4, "{:?}", dante.connects());
}

/// Accounts: of the request, the URL, a source, a netrc file; and a wrong one is refused.
#[tokio::test]
async fn accounts_come_from_where_they_may() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("f"), "content").unwrap();
    let (server, ftp) = real(Known::Proftpd, Security::Off, root.path()).await;
    let bare = format!("ftp://{}/f", server.addr());
    let right = || Credentials::password(USER, PASSWORD).unwrap();
    let error = fetch(&engine(ftp.clone()), &bare).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    let own =
        Request::get(bare.as_str()).unwrap().option(RequestCredentials::new(bare.as_str(), right()).unwrap());
    assert_eq!(get(&engine(ftp.clone()), own).await.unwrap().0, b"content");
    let source = OriginCredentials::new(bare.as_str(), right()).unwrap();
    assert_eq!(fetch(&engine(ftp.clone().credentials(source)), &bare).await.unwrap().0, b"content");
    let netrc = Netrc::parse(&format!("machine 127.0.0.1 login {USER} password {PASSWORD}")).unwrap();
    assert_eq!(fetch(&engine(ftp.clone().credentials(netrc)), &bare).await.unwrap().0, b"content");
    let elsewhere = OriginCredentials::new("ftp://127.0.0.1:9", right()).unwrap();
    assert!(fetch(&engine(ftp.clone().credentials(elsewhere)), &bare).await.is_err());
    let wrong = server.url("/f").replace(PASSWORD, "wrong-s3cret");
    let error = fetch(&engine(ftp), &wrong).await.unwrap_err();
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
}

/// The guard is asked for the URL and for what is connected to.
#[tokio::test]
async fn the_guard_is_asked() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("x"));
    let error = fetch(&engine(Ftp::builder().guard(Guard::public())), &server.url("/f")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert_eq!(server.connections().total, 0);
    let port = server.addr().port();
    let guard = Guard::public().allow_network("127.0.0.0/8").unwrap().ports([port]);
    assert_eq!(fetch(&engine(Ftp::builder().guard(guard)), &server.url("/f")).await.unwrap().0, b"x");
}

/// biomaj 25, 40, 41: size and date of a file from `SIZE` and `MDTM`; a missing one is an error.
#[tokio::test]
async fn biomaj_40_size_and_date_of_one_file() {
    let root = TempDir::new().unwrap();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_549_152_000);
    fs::write(root.path().join("f.txt"), "content").unwrap();
    fs::File::options().write(true).open(root.path().join("f.txt")).unwrap().set_modified(modified).unwrap();
    for known in [Known::Vsftpd, Known::Proftpd, Known::Pureftpd] {
        let (server, ftp) = real(known, Security::Off, root.path()).await;
        let ftp = ftp.build().unwrap();
        let head = |path: &str| Fetch { body: false, ..Fetch::new(server.url(path).parse().unwrap()) };
        let body = ftp.open(head("/f.txt")).await.unwrap();
        assert_eq!((body.entity.size, body.entity.modified), (Some(7), Some(modified)), "{known:?}");
        assert_eq!(ftp.open(head("/none")).await.unwrap_err().kind(), ErrorKind::NotFound, "{known:?}");
        // And the file on disk is of that day.
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("f.txt");
        let engine = Engine::builder().backend(ftp).build();
        let request = Request::get(server.url("/f.txt").as_str()).unwrap();
        engine.download(request, FileWriter::new(&target).modified_from_source(true)).await.unwrap();
        assert_eq!(fs::metadata(&target).unwrap().modified().unwrap(), modified);
    }
}

/// A control connection that is silent for long: a `NOOP` now and then, and the transfer is none the worse for it.
#[tokio::test]
async fn signs_of_life_during_a_transfer() {
    let root = TempDir::new().unwrap();
    let content = Content::new(6, 3 << 20).bytes();
    fs::write(root.path().join("f"), &content).unwrap();
    let (server, ftp) = {
        let server =
            Ftpd::builder(Known::Vsftpd).config("anon_max_rate=2000000").start(root.path()).await.unwrap();
        (server, Ftp::builder().noop(Duration::from_millis(200)))
    };
    let engine = engine(ftp);
    assert!(fetch(&engine, &server.url("/f")).await.unwrap().0 == content);
    let (_, outcome) = fetch(&engine, &server.url("/f")).await.unwrap();
    assert!(outcome.attempts[0].wire.reused, "the connection was in step");
    let log = server.log();
    assert!(log.iter().filter(|line| *line == "NOOP").count() >= 2, "{log:?}");
}

/// Listings by the engine: `MLSD` where a server has it, else `LIST` with hidden files, and what was listed can be fetched.
#[tokio::test]
async fn directories_are_listed_and_their_files_fetched() {
    use std::os::unix::ffi::OsStrExt as _;
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("pub/sub dir")).unwrap();
    let names: [&[u8]; 5] = [b"a b", b".hidden", b"caf\xe9", b"-x", "日本".as_bytes()];
    for name in names {
        fs::write(root.path().join("pub").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    std::os::unix::fs::symlink("a b", root.path().join("pub/link")).unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    for (known, security) in [
        (Known::Vsftpd, Security::Off),
        (Known::Vsftpd, Security::Explicit),
        (Known::Proftpd, Security::Off),
        (Known::Pureftpd, Security::Off),
    ] {
        let (server, ftp) = real(known, security, root.path()).await;
        let engine = engine(ftp);
        for path in ["/pub", "/pub/"] {
            let entries = list(&engine, &server.url(path)).await;
            let found: Vec<_> = entries.iter().map(|(entry, _)| entry.raw_name().to_vec()).collect();
            for name in names {
                assert!(found.iter().any(|found| found == name), "{known:?}: {found:?}");
            }
            assert!(
                found.contains(&b"sub dir".to_vec()) && found.contains(&b"link".to_vec()),
                "{known:?}: {found:?}"
            );
            assert_eq!(found.len(), 7, "{known:?}: {found:?}");
            for (entry, url) in entries {
                if entry.kind == downloader_core::EntryKind::File && entry.raw_name() != b"link" {
                    assert_eq!(entry.size, Some(entry.raw_name().len() as u64), "{known:?}");
                    let (bytes, _) = fetch(&engine, &url).await.unwrap();
                    assert_eq!(bytes, entry.raw_name(), "{known:?}");
                }
            }
        }
        assert!(list(&engine, &server.url("/empty")).await.is_empty());
        let error = engine.list(downloader_core::Request::get(server.url("/none").as_str()).unwrap()).await;
        assert_eq!(error.err().unwrap().kind(), ErrorKind::NotFound, "{known:?}");
    }
}

async fn list(engine: &Engine, url: &str) -> Vec<(downloader_core::Entry, String)> {
    let listing =
        engine.list(Request::get(url).unwrap()).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    let directory = listing.directory().clone();
    let entries = listing.entries().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    let url = |entry: &downloader_core::Entry| entry.url(&directory).unwrap().expose().to_string();
    entries.into_iter().map(|entry| (entry.clone(), url(&entry))).collect()
}
