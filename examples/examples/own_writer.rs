//! A writer of one's own: ASCII letters become upper case on their way to standard output.
//!
//! `own_writer URL [SHA-256]`. The digest is of the bytes that came, not of what the writer makes of them.
//!
//! A writer shows nothing before `commit`. `discard` lets the engine start over when the content turns out wrong.
//! Left out: `held`, `read` and `Access::Random`, which add resuming and several connections at a time.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::io::Write as _;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::{Engine, Error, Request, Result, Writer};
use downloader_http::Http;

const MOST: usize = 16 << 20;

#[derive(Debug, Default)]
struct Upper(Vec<u8>);

#[async_trait]
impl Writer for Upper {
    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        // A sequential writer gets every byte once, in order.
        assert_eq!(offset, self.0.len() as u64, "the engine keeps the order");
        if self.0.len() + chunk.len() > MOST {
            return Err(Error::local("keep the text", std::io::ErrorKind::StorageFull.into()));
        }
        self.0.extend_from_slice(&chunk.to_ascii_uppercase());
        Ok(())
    }

    async fn discard(&mut self) -> Result<()> {
        self.0.clear();
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        std::io::stdout().write_all(&self.0).map_err(|error| Error::local("write to standard output", error))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or_else(|| Error::input("expected URL [SHA-256]"))?;
    let mut request = Request::get(url)?;
    if let Some(sha256) = arguments.next() {
        request = request.sha256(&sha256)?;
    }
    let engine = Engine::builder().backend(Http::builder().build()?).build();
    let outcome = engine.download(request, Upper::default()).await?;
    println!("\n{} bytes", outcome.size);
    Ok(())
}
