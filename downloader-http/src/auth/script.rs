//! A token server of a few lines, for tests without a network.
//!
//! Invariant: replies come in their order, and every request is on record. Must not know: what a test expects.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use downloader_core::{Result, Wire};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Asks;
use crate::exchange::{Ask, Reply};

/// Answers each request with the next reply, after a while.
#[derive(Default)]
pub(super) struct Script {
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Ask>>,
    takes: Duration,
}

impl Script {
    pub(super) fn of(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { replies: Mutex::new(replies.into_iter().collect()), ..Self::default() }
    }

    pub(super) fn takes(mut self, time: Duration) -> Self {
        self.takes = time;
        self
    }

    /// Every request: its URL, secrets included, and its `Authorization` or a dash.
    pub(super) fn seen(&self) -> Vec<(String, String)> {
        let show = |ask: &Ask| {
            let authorization = ask.headers.get("authorization").map_or("-", |value| value.to_str().unwrap());
            (ask.url.expose().to_string(), authorization.to_owned())
        };
        self.seen.lock().unwrap().iter().map(show).collect()
    }
}

impl Asks for Script {
    fn ask(&self, ask: Ask) -> BoxFuture<'_, Result<Reply>> {
        async move {
            self.seen.lock().unwrap().push(ask);
            tokio::time::sleep(self.takes).await;
            Ok(self.replies.lock().unwrap().pop_front().expect("a reply for every request"))
        }
        .boxed()
    }
}

/// A reply with these fields, and a body in pieces.
pub(super) fn reply(status: u16, fields: &[(&'static str, &str)], body: &[&str]) -> Reply {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let pieces: Vec<_> = body.iter().map(|piece| Ok(Bytes::copy_from_slice(piece.as_bytes()))).collect();
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        wire: Wire::default(),
        stream: stream::iter(pieces).boxed(),
    }
}
