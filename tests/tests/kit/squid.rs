//! squid: forwarding, tunnels, accounts, and names that only it knows.
//!
//! Invariant: what curl did is found in squid's log and at the server behind. Must not know: how squid is configured.

use downloader_tests::kit::*;

use crate::curl::curl;

#[tokio::test]
async fn squid_forwards_on_one_connection_and_tunnels() {
    let server = Server::start().await;
    server.put("/f", Resource::new("behind"));
    let squid = Squid::builder().host("files.example").start().await.unwrap();
    let proxy = squid.url();
    let url = server.url_at("files.example", "/f");

    let twice = curl(&["-x", &proxy, &url, &url]).await;
    assert_eq!((twice.status, twice.body.as_str()), (200, "behind\n200behind"), "{twice:?}");
    let tunnel = curl(&["-p", "-x", &proxy, &url]).await;
    assert_eq!((tunnel.status, tunnel.body.as_str()), (200, "behind"), "{tunnel:?}");

    let log = squid.wait_log(3).await;
    let seen: Vec<_> =
        log.iter().map(|line| (line.method.as_str(), line.target.as_str(), line.status)).collect();
    let host = format!("files.example:{}", server.addr().port());
    assert_eq!(seen, [("GET", &*url, 200), ("GET", &*url, 200), ("CONNECT", &*host, 200)]);
    assert_eq!((log[0].connection, &*log[0].user), (log[1].connection, ""));
    assert_ne!(log[0].connection, log[2].connection);
    assert!(log[0].bytes > 6);
    assert!(server.requests()[0].header("via").is_some() && server.requests()[2].header("via").is_none());
}

#[tokio::test]
async fn squid_lets_one_account_in() {
    let server = Server::start().await;
    server.put("/f", Resource::new("behind"));
    // What is told to a helper in another form than to squid.
    let (user, password) = ("a user", "p@ss: w%rd\"{é}");
    let squid = Squid::builder().account(user, password).start().await.unwrap();
    let (proxy, url) = (squid.url(), server.url("/f"));
    for (account, status) in [
        (None, 407),
        (Some(format!("{user}:wrong")), 407),
        (Some(format!("other:{password}")), 407),
        (Some(format!("{user}:{password}")), 200),
    ] {
        let account: Vec<&str> = account.iter().flat_map(|account| ["-U", account]).collect();
        let plain = curl(&[&["-x", &proxy, &url], &*account].concat()).await;
        assert_eq!(plain.status, status, "{account:?}: {plain:?}");
        // curl tells no status of a tunnel that was refused.
        let tunnel = curl(&[&["-p", "-x", &proxy, &url], &*account].concat()).await;
        assert_eq!(tunnel.status, if status == 200 { 200 } else { 0 }, "{account:?}: {tunnel:?}");
    }
    let log = squid.wait_log(8).await;
    assert_eq!(
        log.iter().map(|line| line.status).collect::<Vec<_>>(),
        [407, 407, 407, 407, 407, 407, 200, 200]
    );
    assert!(!log[6].user.is_empty() && server.requests().len() == 2, "{log:?}");
}

#[tokio::test]
async fn squid_tells_what_it_cannot_reach() {
    let squid = Squid::start().await.unwrap();
    let dead = format!("http://{}/", dead_address().await);
    assert_eq!(curl(&["-x", &squid.url(), &dead]).await.status, 503);
    // It asks nobody for names; looking in vain is an error of its own.
    let unknown = curl(&["-x", &squid.url(), "http://nowhere.example/"]).await;
    assert!((500..=503).contains(&unknown.status), "{unknown:?}");
    let error = Squid::builder().config("nonsense on").start().await.err().unwrap().to_string();
    assert!(error.contains("nonsense"), "{error}");
}
