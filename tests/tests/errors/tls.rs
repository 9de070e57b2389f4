//! The ways in which TLS fails, each with a server of its own.
//!
//! Invariant: what a server shows is made by authorities of this file. Must not know how a certificate is checked.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use downloader_http::{Http, HttpBuilder, TlsSettings};
use downloader_tests::kit::{Authority, Identity, Resource, Server};
use tokio::net::TcpListener;

use super::{Scenario, World, says};

const HERE: &[&str] = &["localhost", "127.0.0.1"];

/// The authority that clients trust, and its file.
struct Trusted {
    authority: Authority,
    file: String,
}

pub(super) async fn all(world: &World) -> Vec<Scenario> {
    let path = world.folder().join("ca.pem");
    let trusted = Trusted { authority: Authority::new(), file: path.to_str().unwrap().to_owned() };
    fs::write(&path, trusted.authority.pem()).unwrap();
    let (authority, clients) = (&trusted.authority, Authority::new());
    let known = Server::builder().tls(&authority.issue(HERE), authority).start().await;
    let wants = Server::builder().mutual_tls(&authority.issue(HERE), authority, &clients).start().await;
    for server in [&known, &wants] {
        server.put("/f", Resource::new("content"));
    }
    let client = Authority::new().issue_client("stranger");
    fs::write(world.folder().join("client.pem"), format!("{}{}", client.cert_pem, client.key_pem)).unwrap();
    let shown = downloader_http::ClientCertificate::from_pem_pair(&client.cert_pem, &client.key_pem).unwrap();
    let pin = format!("sha256//{}", client.spki_pin());

    let mut all = Vec::new();
    for (name, identity) in [
        ("a certificate that expired", authority.issue_expired(HERE)),
        ("a certificate that is not yet valid", authority.issue_not_yet_valid(HERE)),
        ("a certificate of another host", authority.issue(&["other.example"])),
        ("a self-signed certificate", Identity::self_signed(HERE)),
        ("a certificate for clients", authority.issue_client("127.0.0.1")),
    ] {
        let server = Server::builder().tls(&identity, authority).start().await;
        all.push(trusted.fails(world, name, |http| http, &server, &[]).await);
        world.kept.borrow_mut().push(server);
    }
    all.push(world.fails_over("an unknown authority", Http::builder(), &known.url("/f"), &[]).await);
    let no_certificate = "a client certificate is wanted";
    all.push(trusted.fails(world, no_certificate, |http| http, &wants, &[]).await);
    let other = |http: HttpBuilder| http.tls(TlsSettings::new().client_certificate(shown));
    let words = ["--client-certificate=client.pem"];
    all.push(trusted.fails(world, "a client certificate that is not accepted", other, &wants, &words).await);
    let pinned = |http: HttpBuilder| http.tls(TlsSettings::new().pinned_key(&pin));
    let words = [format!("--pin={pin}")];
    all.push(trusted.fails(world, "another key than the pinned one", pinned, &known, &[&words[0]]).await);
    let plain = says("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let url = format!("https://{plain}/f");
    all.push(world.fails_over("no TLS on the far side", Http::builder(), &url, &[]).await);
    // Alert, TLS 1.2, two bytes: fatal, internal error (RFC 8446 section 6).
    let ill = format!("https://{}/f", says([21, 3, 3, 0, 2, 2, 80]).await);
    all.push(world.fails_over("a server that is ill", Http::builder(), &ill, &[]).await);
    world.kept.borrow_mut().extend([known, wants]);
    let mute = format!("https://{}/f", says_nothing().await);
    all.push(
        world
            .fails_over("a server silent about TLS", Http::builder(), &mute, &["--connect-timeout=0.4"])
            .await,
    );
    all
}

/// A server that takes connections and keeps silent; it ends with the runtime.
async fn says_nothing() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut peers = Vec::new();
        while let Ok((peer, _)) = listener.accept().await {
            peers.push(peer);
        }
    });
    address
}

impl Trusted {
    /// A download from a server whose authority is trusted.
    async fn fails(
        &self,
        world: &World,
        name: &'static str,
        set: impl FnOnce(HttpBuilder) -> HttpBuilder,
        server: &Server,
        words: &[&str],
    ) -> Scenario {
        let http = set(Http::builder()).root_certificate(self.authority.pem());
        let words = [&["--ca-certificate", &self.file], words].concat();
        world.fails_over(name, http, &server.url("/f"), &words).await
    }
}
