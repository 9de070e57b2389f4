//! Row pulp G6 for FTP: every way to be let in and to be refused, with the log at its most talkative.
//!
//! Invariant: servers here repeat what they were told. Must not know: what a client prints.

use downloader_core::credentials::{Credentials, Netrc, OriginCredentials, RequestCredentials};
use downloader_core::write::MemoryWriter;
use downloader_core::{Engine, Request};
use downloader_ftp::Ftp;
use downloader_tests::kit::{FtpFile, FtpServer};

use super::engine::{Captured, log};
use super::{MIB, USER, assert_clean};

const NETRC: &str = "machine 127.0.0.1 login N3trc-Us3r password N3trc-P4ss";
const ECHO: &str = "no Us3r-N4me P4ss@W0rd Cr3d-Us3r Cr3d-P4ss N3trc-Us3r N3trc-P4ss\r\n";

#[tokio::test]
async fn pulp_g6_accounts_of_ftp() {
    let (captured, log, server) = (Captured::default(), log(), FtpServer::start().await);
    server.put("f", FtpFile::new("content"));
    let password = || Credentials::password("Cr3d-Us3r", "Cr3d-P4ss").unwrap();
    let mut ended = (0, 0);
    for refused in [None, Some("USER"), Some("PASS")] {
        if let Some(verb) = refused {
            server.answer(verb, &format!("530-{ECHO}530 {ECHO}"));
        }
        for builder in [
            Ftp::builder(),
            Ftp::builder().credentials(Netrc::parse(NETRC).unwrap()),
            Ftp::builder().credentials(OriginCredentials::new(server.url("/").as_str(), password()).unwrap()),
        ] {
            captured.debug(&builder);
            let engine =
                Engine::builder().backend(builder.build().unwrap()).observer(captured.clone()).build();
            for request in [
                Request::get(server.url("/f").as_str()).unwrap(),
                Request::get(server.url("/f").replace("ftp://", &format!("ftp://{USER}")).as_str()).unwrap(),
                Request::get(server.url("/f").as_str())
                    .unwrap()
                    .option(RequestCredentials::new(server.url("/").as_str(), password()).unwrap()),
            ] {
                captured.debug(&request);
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
            captured.debug(&engine);
        }
    }
    assert_eq!(ended, (9, 18));
    assert_clean("something of the engine", &captured.text());
    assert_clean("the log", &log.text());
    assert!(log.text().contains("PASS"), "the log shows commands by their names: {}", log.text());
    let sent = server.commands();
    for secret in ["Cr3d-P4ss", "P4ss@W0rd", "N3trc-P4ss"] {
        assert!(sent.iter().any(|(_, line)| *line == format!("PASS {secret}")), "{secret} was never sent");
    }
}
