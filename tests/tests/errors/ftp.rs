//! The ways in which an FTP server does not deliver.
//!
//! Invariant: a server of this file says one thing only. Must not know how a client asks.

use downloader_core::retry::Never;
use downloader_core::write::Discard;
use downloader_core::{Engine, Request};
use downloader_ftp::{Ftp, FtpTls};
use downloader_tests::kit::{Deed, FtpFile, FtpServer};

use super::{Scenario, World, line};

pub(super) async fn all(world: &World) -> Vec<Scenario> {
    let mut all = Vec::new();
    let deeds: [(&str, Deed); 5] = [
        ("FTP: no such file", Deed::Refuse("550 No such file\r\n")),
        ("FTP: a file that is not to be read", Deed::Refuse("550 Permission denied\r\n")),
        ("FTP: a file that is in use", Deed::Refuse("450 File busy\r\n")),
        ("FTP: data that is cut", Deed::Cut(3)),
        ("FTP: data that ends too soon", Deed::Short(3)),
    ];
    for (name, deed) in deeds {
        let server = FtpServer::start().await;
        server.put("f", FtpFile::new("content").decide(move |_| deed));
        all.push(fails(world, name, server, "/f", Ftp::builder().build().unwrap(), &[]).await);
    }
    for (name, verb, text) in [
        ("FTP: an account that is refused", "PASS", "530 Login incorrect.\r\n"),
        ("FTP: no data connection", "EPSV", "229 Extended (|||25|)\r\n"),
    ] {
        let server = FtpServer::start().await;
        server.put("f", FtpFile::new("content"));
        server.answer(verb, text);
        all.push(fails(world, name, server, "/f", Ftp::builder().build().unwrap(), &[]).await);
    }
    for (name, greeting) in
        [("FTP: a server that is full", "421 Too many users\r\n"), ("FTP: something else", "SSH-2.0-x\r\n")]
    {
        let server = FtpServer::start().await;
        server.greet(greeting);
        all.push(fails(world, name, server, "/f", Ftp::builder().build().unwrap(), &[]).await);
    }
    let explicit = Ftp::builder().tls(FtpTls::Explicit).build().unwrap();
    let server = FtpServer::start().await;
    all.push(fails(world, "FTP: no TLS", server, "/f", explicit, &["--ftp-tls=explicit"]).await);
    let plain = || Ftp::builder().build().unwrap();
    for (name, path) in [("FTP: a line break in a name", "/a%0Ab"), ("FTP: a directory", "/d/")] {
        all.push(fails(world, name, FtpServer::start().await, path, plain(), &[]).await);
    }
    all
}

async fn fails(
    world: &World,
    name: &'static str,
    server: FtpServer,
    path: &str,
    ftp: Ftp,
    words: &[&str],
) -> Scenario {
    let url = server.url(path);
    let engine = Engine::builder().backend(ftp).retry(Never).build();
    let error = engine.download(Request::get(url.as_str()).unwrap(), Discard::default()).await.unwrap_err();
    world.kept_ftp.borrow_mut().push(server);
    Scenario { name, error, line: line(&url, words) }
}
