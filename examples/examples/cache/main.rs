//! A pull-through cache: an axum server that serves the files below an upstream URL, and stores them while it does.
//!
//! `cache UPSTREAM FOLDER [BYTES [SECONDS [PATIENCE]]]`: at most BYTES are kept (1 GiB), and asked about after SECONDS (60); UPSTREAM may
//! take PATIENCE (30 s) for a reply. Many clients of a file that is not there are one transfer, which goes on when they leave. Left out: `Vary`, `Cache-Control`, authorization.

#![allow(clippy::print_stdout, reason = "it is a program")]

mod answer;
mod entry;
mod keep;
mod serve;
mod store;

use std::sync::Arc;
use std::time::Duration;

use axum::{Router, routing};
use downloader_core::retry::Exponential;
use downloader_core::{Engine, Error, Leaving, Patience, Result, SafeUrl, SingleFlight};
use downloader_http::Http;

use crate::serve::App;
use crate::store::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(upstream), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err(Error::input("expected UPSTREAM FOLDER [BYTES [SECONDS [PATIENCE]]]"));
    };
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse().map_err(|_| Error::input(format!("expected a number, got {text}"))),
        None => Ok(default),
    };
    let (most, seconds, patience) = (number(1 << 30)?, number(60)?, Duration::from_secs(number(30)?));
    let local = |error| Error::local("start", error);
    let engine = Engine::builder()
        .backend(Http::builder().build()?)
        .patience(Patience { head: Some(patience), ..Patience::default() })
        .retry(Exponential::default().elapsed(patience))
        .build();
    let app = App {
        upstream: SafeUrl::parse(&upstream)?,
        flights: SingleFlight::new(engine.clone()).leaving(Leaving::Finish),
        engine,
        store: Arc::new(Store::open(folder.into(), most, Duration::from_secs(seconds)).map_err(local)?),
    };
    let router = Router::new().route("/{*path}", routing::get(serve::serve)).with_state(Arc::new(app));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(local)?;
    println!("http://{}/", listener.local_addr().map_err(local)?);
    axum::serve(listener, router).await.map_err(local)
}
