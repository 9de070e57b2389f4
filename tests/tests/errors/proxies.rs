//! The ways in which a proxy or a look-up fails before any source is reached.
//!
//! Invariant: no host named here exists; a proxy of this file says what it was told to and no more. Must not know
//! how a tunnel is asked for.

use std::net::IpAddr;

use async_trait::async_trait;
use downloader_core::Result;
use downloader_core::net::{Proxies, Resolve};
use downloader_http::Http;

use super::{Scenario, World, says};

const FAR: &str = "https://far.example/f";

pub(super) async fn all(world: &World) -> Vec<Scenario> {
    let basic = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"p\"\r\n\
                 Content-Length: 0\r\n\r\n";
    let dead = world.nobody.trim_end_matches("/f").to_owned();
    let wants = format!("http://{}", says(basic).await);
    let known = wants.replace("http://", "http://me:s3cret@");
    let unavailable = says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let forbidden = says("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let socks = format!("socks5h://{}", says([5, 0xff]).await);
    let mut all = Vec::new();
    for (name, proxy, url) in [
        ("a proxy that wants credentials", &wants, FAR),
        ("a proxy that refuses the credentials", &known, FAR),
        ("a proxy that wants credentials for a plain request", &wants, "http://far.example/f"),
        ("a SOCKS proxy that wants credentials", &socks, FAR),
        ("a proxy that does not get there", &format!("http://{unavailable}"), FAR),
        ("a proxy that forbids it", &format!("http://{forbidden}"), FAR),
        ("a proxy that is down", &dead, FAR),
        ("a proxy that is silent", &format!("http://{}", world.hole.addr()), FAR),
    ] {
        let http = Http::builder().proxies(Proxies::new([proxy.parse().unwrap()]));
        all.push(world.fails_over(name, http, url, &["--proxy", proxy, "--connect-timeout=0.4"]).await);
    }
    let silent = Http::builder().resolver(Nobody);
    let no_address = world.fails_over("no address in time", silent, "http://far.example/f", &[]).await;
    all.push(Scenario { line: None, ..no_address });
    all
}

/// Never answers.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Resolve for Nobody {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}
