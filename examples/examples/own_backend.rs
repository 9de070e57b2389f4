//! A protocol of one's own: `data:` URLs (RFC 2397), which hold their content themselves.
//!
//! `own_backend URL`, such as `data:text/plain,hello%20world`; prints the content. Checks, limits, retry and writers
//! come with the engine: a backend only answers one request, truthfully. Left out: base64, a query, connections.

#![allow(clippy::print_stdout, reason = "it is a program")]

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::write::MemoryWriter;
use downloader_core::{Backend, Body, ByteRange, Download, Engine, Entity, Error, Fetch, Request, Result};
use futures_util::{StreamExt, stream};

#[derive(Debug)]
struct Data;

impl Backend for Data {
    fn schemes(&self) -> &'static [&'static str] {
        &["data"]
    }
}

#[async_trait]
impl Download for Data {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let halves = fetch.url.path().split_once(',');
        let (kind, text) = halves.ok_or_else(|| Error::input("data URL: expected a comma"))?;
        let content = decoded(text);
        let size = content.len() as u64;
        // The range that is sent, not the one that was asked for.
        let start = fetch.range.start.min(size);
        let end = fetch.range.end.unwrap_or(size).clamp(start, size);
        let part = fetch.body.then(|| Ok(content.slice(start as usize..end as usize)));
        let mut body = Body::new(Entity::sized(size), ByteRange::new(start, end), stream::iter(part).boxed());
        body.seekable = true;
        body.media_type = kind.parse().ok();
        Ok(body)
    }
}

fn decoded(text: &str) -> Bytes {
    let (head, escapes) = text.split_once('%').map_or((text, None), |(head, rest)| (head, Some(rest)));
    let mut content = head.as_bytes().to_vec();
    for piece in escapes.into_iter().flat_map(|rest| rest.split('%')) {
        let (digits, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        content.extend(u8::from_str_radix(digits, 16));
        content.extend_from_slice(rest.as_bytes());
    }
    content.into()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).ok_or_else(|| Error::input("expected URL"))?;
    let (writer, memory) = MemoryWriter::new(1 << 20);
    let outcome = Engine::builder().backend(Data).build().download(Request::get(url)?, writer).await?;
    let content = memory.bytes().unwrap_or_default();
    println!("{:?}, {} bytes: {}", outcome.media_type, outcome.size, String::from_utf8_lossy(&content));
    Ok(())
}
