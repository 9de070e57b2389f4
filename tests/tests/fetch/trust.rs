//! Whom to trust over TLS, and which certificate is shown.
//!
//! Invariant: every server is one whose certificate the system does not know. Must not know how a certificate is checked.

use std::fs;

use downloader_tests::kit::{Authority, Finished, Identity, Resource, Server};

use super::World;
use super::program::{code, events};

const HERE: &[&str] = &["localhost", "127.0.0.1"];

async fn serving(identity: &Identity, authority: &Authority) -> Server {
    let server = Server::builder().tls(identity, authority).start().await;
    server.put("/f", Resource::new("content"));
    server
}

impl World {
    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.folder().join(name), text).unwrap();
    }

    /// Runs it; the reason must be of TLS.
    async fn distrusts(&self, line: &[&str]) -> Finished {
        let done = self.run(&[line, &["--retries=0", "-o", "none"]].concat()).await;
        assert_eq!(code(&done), 6, "{line:?}: {done:?}");
        assert!(done.stderr.contains("TLS: "), "{line:?}: {done:?}");
        done
    }
}

#[tokio::test]
async fn only_the_given_authorities_versions_and_keys() {
    let (world, authority) = (World::new().await, Authority::new());
    let identity = authority.issue(HERE);
    let server = serving(&identity, &authority).await;
    let url = server.url("/f");
    world.write("ca.pem", authority.pem());
    let trusting = [&*url, "--ca-certificate=ca.pem", "--only-ca"];
    let done = world.fetch(&[&trusting[..], &["--tls-min", "1.3", "--json"]].concat()).await;
    let attempt = &events(&done)[1];
    assert_eq!(attempt["tls"], "TLS 1.3", "{attempt}");
    assert!(attempt["handshake"].is_f64(), "{attempt}");

    let (own, other) = (identity.spki_pin(), Authority::new().issue(HERE));
    let pin = |key: &str| format!("--pin=sha256//{key}");
    world.fetch(&[&trusting[..], &[&pin(own)]].concat()).await;
    world
        .fetch(&[&trusting[..], &["--pin", &format!("sha256//{};sha256//{own}", other.spki_pin())]].concat())
        .await;
    let done = world.distrusts(&[&trusting[..], &[&pin(other.spki_pin())]].concat()).await;
    assert!(done.stderr.contains("the pinned key is not in the chain"), "{done:?}");
}

#[tokio::test]
async fn a_certificate_is_shown_to_servers_that_ask() {
    let (world, authority, clients) = (World::new().await, Authority::new(), Authority::new());
    let server = Server::builder().mutual_tls(&authority.issue(HERE), &authority, &clients).start().await;
    server.put("/f", Resource::new("content"));
    let client = clients.issue_client("me");
    world.write("ca.pem", authority.pem());
    world.write("client.pem", &client.cert_pem);
    world.write("client.key", &client.key_pem);
    world.write("both.pem", format!("{}{}", client.cert_pem, client.key_pem));
    let (url, ca) = (server.url("/f"), "--ca-certificate=ca.pem");
    world.fetch(&[&url, ca, "--client-certificate", "both.pem", "-o", "a"]).await;
    world
        .fetch(&[&url, ca, "--client-certificate=client.pem", "--client-key", "client.key", "-o", "b"])
        .await;
    let done = world.distrusts(&[&url, ca]).await;
    assert!(done.stderr.contains("wants a client certificate"), "{done:?}");
    assert!(done.stderr.contains("--client-certificate"), "{done:?}");
}

/// Each switch takes off one check and leaves the other.
#[tokio::test]
async fn what_is_switched_off_is_told() {
    let (world, authority) = (World::new().await, Authority::new());
    let elsewhere = serving(&authority.issue(&["other.example"]), &authority).await;
    let stranger = serving(&Authority::new().issue(HERE), &authority).await;
    let (elsewhere, stranger) = (elsewhere.url("/f"), stranger.url("/f"));
    world.write("ca.pem", authority.pem());
    let ca = "--ca-certificate=ca.pem";
    let done = world.fetch(&[&elsewhere, ca, "--insecure-name", "-o", "a", "-q"]).await;
    assert_eq!(done.stderr, "fetch: --insecure-name: the names in certificates are not checked\n");
    let done = world.fetch(&[&stranger, "--insecure-chain", "-o", "b", "-q"]).await;
    assert_eq!(done.stderr, "fetch: --insecure-chain: whoever issued a certificate is believed\n");
    world.distrusts(&[&elsewhere, ca, "--insecure-chain"]).await;
    world.distrusts(&[&stranger, ca, "--insecure-name"]).await;
}
