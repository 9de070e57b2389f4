//! Row pulp G6 for credentials of every kind, and for the tokens and proofs that are made of them.
//!
//! Invariant: each way to be let in, and each way to be refused, is walked with the log on. Must not know: what a scheme sends.

use downloader_core::write::MemoryWriter;
use downloader_core::{Engine, Request};
use downloader_http::{Credentials, Http, HttpBuilder, Netrc, OriginCredentials, RequestCredentials};
use downloader_tests::kit::{Act, Request as Seen, Resource, Server};

use super::engine::{Captured, log};
use super::{MIB, assert_clean};

const NETRC: &str = "machine 127.0.0.1 login N3trc-Us3r password N3trc-P4ss";

/// A server whose every path wants something else; whatever is sent, it asks once more before it lets one in.
async fn server() -> Server {
    let server = Server::start().await;
    let put = |path: &str, challenge: String, lets: fn(&str) -> bool| {
        let resource = Resource::new("content").etag("\"a\"").decide(move |request: &Seen| {
            let sent = request.header("authorization").unwrap_or_default();
            if lets(sent) {
                return Act::new();
            }
            // Servers repeat what they were sent, in fields and in pages.
            let page = format!("no: {sent}");
            Act::new().status(401).header("WWW-Authenticate", &challenge).header("X-Sent", sent).body(page)
        });
        server.put(path, resource);
    };
    let realm = format!("Bearer realm=\"{}?k=Re4lm-Qu3ry\",service=Serv1ce", server.url("/token"));
    put("/basic", "Basic realm=r".to_owned(), |sent| sent.starts_with("Basic "));
    put("/digest", "Digest realm=r, nonce=n, qop=auth".to_owned(), |sent| sent.starts_with("Digest "));
    put("/bearer", "Bearer".to_owned(), |sent| sent == "Bearer St4tic-T0ken");
    put("/token-of", realm.clone(), |sent| sent == "Bearer R3gistry-T0ken");
    put("/never-basic", "Basic realm=r".to_owned(), |_| false);
    put("/never-digest", "Digest realm=r, nonce=n, qop=auth".to_owned(), |_| false);
    put("/never-token", realm, |_| false);
    put("/unknown", "Negotiate R3gistry-T0ken".to_owned(), |_| false);
    let broken = format!("Bearer realm=\"{}?k=Re4lm-Qu3ry\"", server.url("/broken"));
    put("/broken-token", broken, |_| false);
    put("/bad-realm", "Bearer realm=\"http://Re4lm-Qu3ry:R3gistry-T0ken@[/\"".to_owned(), |_| false);
    server.put("/token", Resource::act(Act::new().body(r#"{"token":"R3gistry-T0ken"}"#)));
    server.put("/broken", Resource::act(Act::new().body(r#"{"token":"R3gistry-T0ken R3gistry-T0ken"}"#)));
    server
}

const PATHS: [&str; 10] = [
    "/basic",
    "/digest",
    "/bearer",
    "/token-of",
    "/never-basic",
    "/never-digest",
    "/never-token",
    "/unknown",
    "/broken-token",
    "/bad-realm",
];

/// pulp G6: no password, token or proof in an error, a log line, an event, an attempt or a debug print.
#[tokio::test]
async fn pulp_g6_credentials_tokens_and_proofs() {
    let (captured, log, server) = (Captured::default(), log(), server().await);
    let password = || Credentials::password("Cr3d-Us3r", "Cr3d-P4ss").unwrap();
    let bearer = || Credentials::bearer("St4tic-T0ken").unwrap();
    let home = server.url("/");
    let builders: [HttpBuilder; 4] = [
        Http::builder(),
        Http::builder().credentials(Netrc::parse(NETRC).unwrap()),
        Http::builder().credentials(OriginCredentials::new(&*home, password()).unwrap()),
        Http::builder().credentials(OriginCredentials::new(&*home, bearer()).unwrap()),
    ];
    let mut ended = (0, 0);
    for builder in builders {
        captured.debug(&builder);
        let engine = Engine::builder().backend(builder.build().unwrap()).observer(captured.clone()).build();
        captured.debug(&engine);
        for path in PATHS {
            let plain = Request::get(server.url(path)).unwrap();
            let with = |credentials| RequestCredentials::new(&*home, credentials).unwrap();
            for request in [
                plain.clone(),
                plain.clone().option(with(password())),
                plain.clone().option(with(password()).ahead(false)),
                plain.clone().option(with(bearer())),
                Request::get(super::planted(&server, path)).unwrap(),
            ] {
                captured.debug(&(&request, request.option_of::<RequestCredentials>()));
                match engine.download(request, MemoryWriter::new(MIB).0).await {
                    Ok(outcome) => {
                        captured.debug(&(&outcome, &outcome.extras, &outcome.wire));
                        ended.0 += 1;
                    }
                    Err(error) => {
                        captured.error(&error);
                        ended.1 += 1;
                    }
                }
            }
        }
        captured.debug(&engine);
    }
    assert!(ended.0 >= 40 && ended.1 >= 100, "some were let in, some not: {ended:?}");
    for credentials in [password(), bearer()] {
        captured.debug(&(&credentials, OriginCredentials::new(&*home, credentials.clone())));
    }
    for text in ["N3trc-P4ss", "machine h login N3trc-Us3r N3trc-P4ss", "machine h password \"N3trc-P4ss"] {
        captured.error(&Netrc::parse(text).unwrap_err());
    }
    captured.error(&Credentials::password("Cr3d-Us3r:Cr3d-P4ss", "").unwrap_err());
    captured.error(&Credentials::bearer("St4tic-T0ken St4tic-T0ken").unwrap_err());
    assert_clean("something of the engine", &captured.text());
    assert_clean("the log", &log.text());
    // Nothing could be told of what never was there.
    let sent = |request: &Seen| request.header("authorization").unwrap_or_default().to_owned();
    let sent: String = server.requests().iter().map(sent).collect();
    for secret in [
        "Q3IzZC1Vc",
        "TjN0cmMtV",
        "VXMzci1ONG",
        "St4tic-T0ken",
        "R3gistry-T0ken",
        "Digest username=\"Cr3d-Us3r\"",
    ] {
        assert!(sent.contains(secret), "{secret}");
    }
}
