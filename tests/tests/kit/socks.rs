//! SOCKS5: dante without an account, microsocks with one.
//!
//! Invariant: curl, told to let the proxy resolve names, is the client. Must not know: how the proxies are started.

use downloader_tests::kit::*;

use crate::curl::curl;

#[tokio::test]
async fn dante_connects_for_everyone() {
    let (server, socks) = (Server::start().await, Socks::dante().await.unwrap());
    server.put("/f", Resource::new("behind"));
    let proxy = format!("socks5h://{}", socks.addr());
    for host in ["127.0.0.1", "localhost"] {
        let brought = curl(&["-x", &proxy, &server.url_at(host, "/f")]).await;
        assert_eq!((brought.status, brought.body.as_str()), (200, "behind"), "{brought:?}");
    }
    let refused = curl(&["-x", &proxy, &format!("http://{}/", dead_address().await)]).await;
    assert!(refused.status == 0 && refused.said.contains("(5)"), "{refused:?}");
    assert_eq!(socks.wait_connects(2).await, [server.addr().to_string(), server.addr().to_string()]);
}

#[tokio::test]
async fn microsocks_knows_one_account_and_tells_names() {
    let server = Server::start().await;
    server.put("/f", Resource::new("behind"));
    let url = server.url_at("localhost", "/f");
    let socks = Socks::microsocks(Some(("me", "a secret"))).await.unwrap();
    let proxy = format!("socks5h://{}", socks.addr());
    for (account, code) in [(None, 97), (Some("me:wrong"), 97), (Some("me:a secret"), 0)] {
        let account: Vec<&str> = account.iter().flat_map(|account| ["-U", account]).collect();
        let brought = curl(&[&["-x", &proxy, &url], &*account].concat()).await;
        assert_eq!(brought.code, Some(code), "{account:?}: {brought:?}");
    }
    assert_eq!(socks.wait_connects(1).await, [format!("localhost:{}", server.addr().port())]);

    let open = Socks::microsocks(None).await.unwrap();
    assert_eq!(curl(&["-x", &format!("socks5h://{}", open.addr()), &url]).await.body, "behind");
    assert_eq!(server.requests().len(), 2);
}
