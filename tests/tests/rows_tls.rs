//! TLS: rows pulp G4, biomaj 37, skroutz 45 and 46.
//!
//! Owns these rows. Invariant: a failed check costs one connection, and brings no byte. Must not know: the engine's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use downloader_core::{Engine, Error, ErrorKind};
use downloader_http::{ClientCertificate, Http, TlsSettings, TlsVersion};
use downloader_tests::kit::{Authority, Fault, Identity, Proxy, Resource, Server, dead_address};
use downloader_tests::suite::rows::{engine, get, kinds};
use downloader_tests::suite::sink::Sink;

fn over(tls: &TlsSettings) -> Engine {
    engine().backend(Http::builder().tls(tls.clone()).build().unwrap()).build()
}

fn trusting(authority: &Authority) -> TlsSettings {
    TlsSettings::new().root_certificate(authority.pem()).only_root_certificates(true)
}

async fn serving(identity: &Identity, authority: &Authority) -> Server {
    let server = Server::builder().tls(identity, authority).start().await;
    server.put("/f", Resource::new("content"));
    server
}

async fn succeeds(tls: &TlsSettings, server: &Server) {
    let sink = Sink::new();
    over(tls).download(get(server.url_at("localhost", "/f")), sink.clone()).await.unwrap();
    assert_eq!(sink.published().unwrap(), b"content");
}

/// Of kind `Tls`, for which one try is enough; no request was made.
async fn fails(tls: &TlsSettings, server: &Server) -> Error {
    let (connections, requests) = (server.connections().total, server.requests().len());
    let error = over(tls).download(get(server.url_at("localhost", "/f")), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert_eq!(kinds(error.attempts()), [Some(ErrorKind::Tls)]);
    assert_eq!(server.connections().total, connections + 1);
    assert_eq!(server.requests().len(), requests);
    error
}

#[tokio::test]
async fn pulp_g4_own_authority_wrong_host_expired_certificate() {
    let authority = Authority::new();
    let server = serving(&authority.issue(&["localhost"]), &authority).await;
    succeeds(&trusting(&authority), &server).await;
    succeeds(&TlsSettings::new().root_certificate(authority.pem()), &server).await;
    succeeds(&trusting(&authority).minimum_version(TlsVersion::Tls13), &server).await;
    fails(&TlsSettings::new(), &server).await;
    fails(&trusting(&authority).pinned_key(format!("sha256//{}=", "A".repeat(43))), &server).await;
    let wrong = serving(&authority.issue(&["other.example"]), &authority).await;
    fails(&trusting(&authority), &wrong).await;
    succeeds(&trusting(&authority).danger_skip_host_name_check(true), &wrong).await;
    let expired = serving(&authority.issue_expired(&["localhost"]), &authority).await;
    fails(&trusting(&authority), &expired).await;
    succeeds(&trusting(&authority).danger_skip_chain_check(true), &expired).await;
}

#[tokio::test]
async fn pulp_g4_a_client_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let identity = authority.issue(&["localhost"]);
    let server = Server::builder().mutual_tls(&identity, &authority, &clients).start().await;
    server.put("/f", Resource::new("content"));
    let read = |identity: &Identity| {
        ClientCertificate::from_pem_pair(&identity.cert_pem, &identity.key_pem).unwrap()
    };
    let tls = trusting(&authority);
    succeeds(&tls.clone().client_certificate(read(&clients.issue_client("known"))), &server).await;
    fails(&tls, &server).await;
    fails(&tls.client_certificate(read(&authority.issue_client("stranger"))), &server).await;
}

#[tokio::test]
async fn biomaj_37_a_self_signed_certificate_with_a_wrong_name() {
    let identity = Identity::self_signed(&["other.example"]);
    let server = serving(&identity, &Authority::new()).await;
    let default = TlsSettings::new();
    let own = default.clone().root_certificate(identity.cert_pem.clone());
    let unchecked = default.clone().danger_skip_chain_check(true);
    fails(&default, &server).await;
    fails(&own, &server).await;
    succeeds(&own.danger_skip_host_name_check(true), &server).await;
    succeeds(&unchecked.clone().danger_skip_host_name_check(true), &server).await;
    fails(&unchecked, &server).await;
}

#[tokio::test]
async fn skroutz_45_a_self_signed_certificate_gets_one_try() {
    let server = serving(&Identity::self_signed(&["localhost"]), &Authority::new()).await;
    let error = fails(&TlsSettings::new(), &server).await;
    assert!(error.to_string().starts_with("TLS: "), "{error}");
}

/// Whatever letters the URL has; and a handshake that the network cut is repeated like any other connection.
#[tokio::test]
async fn skroutz_46_a_refused_connection_is_no_failure_of_tls() {
    let refused = format!("https://{}/atlsb/x509", dead_address().await);
    let error = over(&TlsSettings::new()).download(get(refused), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.attempts().len() > 1);

    let authority = Authority::new();
    let server = serving(&authority.issue(&["127.0.0.1"]), &authority).await;
    let proxy = Proxy::start(server.addr()).await;
    proxy.next(Fault::new().cut_at(0));
    proxy.next(Fault::new().cut_at(100));
    proxy.next(Fault::new().reset_at(300));
    let sink = Sink::new();
    let url = proxy.url("https", "/f");
    let outcome = over(&trusting(&authority)).download(get(url), sink.clone()).await.unwrap();
    let cut = Some(ErrorKind::Connect);
    assert_eq!(kinds(&outcome.attempts), [cut, cut, cut, None]);
    assert_eq!(sink.published().unwrap(), b"content");
}
