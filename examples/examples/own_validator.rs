//! A check of one's own: the content must be gzip, and not the page of a login that answers with 200.
//!
//! `own_validator URL FILE`. A source whose head or first bytes are wrong is given up at once: the next mirror is
//! asked, or the error says what was found. Left out: a check of the whole archive, which would go on in `update`.

#![allow(clippy::print_stdout, reason = "it is a program")]

use downloader_core::validate::{Check, Evidence, Head, Validator};
use downloader_core::{Engine, Error, ErrorKind, FileWriter, Request, Result};
use downloader_http::Http;

/// The rule: plain data. Every run starts a fresh check.
#[derive(Debug)]
struct Gzip;

const MAGIC: [u8; 2] = [0x1f, 0x8b];

impl Validator for Gzip {
    fn admit(&self, head: &Head<'_>) -> Result<()> {
        match head.media_type {
            Some(kind) if kind.type_() == "text" => {
                Err(Error::new(ErrorKind::Refused, format!("expected gzip, announced {kind}")))
            }
            _ => Ok(()),
        }
    }

    fn start(&self) -> Box<dyn Check> {
        Box::new(Beginning(Vec::with_capacity(MAGIC.len())))
    }
}

/// The first bytes so far.
struct Beginning(Vec<u8>);

impl Check for Beginning {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        let missing = MAGIC.len() - self.0.len();
        self.0.extend_from_slice(&chunk[..missing.min(chunk.len())]);
        if MAGIC.starts_with(&self.0) { Ok(()) } else { Err(wrong(&self.0)) }
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        if self.0 == MAGIC { Ok(Evidence::new("magic", "gzip")) } else { Err(wrong(&self.0)) }
    }
}

fn wrong(found: &[u8]) -> Error {
    Error::new(ErrorKind::Integrity, format!("magic: expected {MAGIC:02x?}, found {found:02x?}"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, file] = &arguments[..] else { return Err(Error::input("expected URL FILE")) };
    let engine = Engine::builder().backend(Http::builder().build()?).build();
    let outcome = engine.download(Request::get(url.as_str())?.check(Gzip), FileWriter::new(file)).await?;
    outcome.evidence.iter().for_each(|found| println!("{}: {}", found.check, found.value));
    Ok(())
}
