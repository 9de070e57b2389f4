//! A check of one's own: a detached signature, so that whoever holds the key vouches for the content, and not the server.
//!
//! `signed URL FILE KEY` expects at `URL.sig` 64 bytes: the Ed25519 signature of the content's SHA-512, and KEY in
//! hexadecimal. The file gets its name only if it was signed. Left out: formats around the 64 bytes, such as minisign's.

#![allow(clippy::print_stdout, reason = "it is a program")]

use aws_lc_rs::digest::{Context, SHA512};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use downloader_core::validate::{Check, Evidence, Validator};
use downloader_core::write::MemoryWriter;
use downloader_core::{Engine, Error, ErrorKind, FileWriter, Request, Result};
use downloader_http::Http;

/// The rule: the key, and what it is said to have signed. Shared by all runs.
#[derive(Clone, Debug)]
struct Signed {
    key: [u8; 32],
    signature: Vec<u8>,
}

impl Validator for Signed {
    fn start(&self) -> Box<dyn Check> {
        Box::new(Hashing(self.clone(), Context::new(&SHA512)))
    }

    /// It proves the whole content, so bytes of several mirrors may be joined on trial.
    fn is_digest(&self) -> bool {
        true
    }
}

struct Hashing(Signed, Context);

impl Check for Hashing {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        self.1.update(chunk);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        let Self(Signed { key, signature }, hash) = *self;
        let verified = UnparsedPublicKey::new(&ED25519, key).verify(hash.finish().as_ref(), &signature);
        match verified {
            Ok(()) => Ok(Evidence::new("signature", "ed25519")),
            Err(_) => {
                Err(Error::new(ErrorKind::Integrity, "signature: not by this key, or of another content"))
            }
        }
    }
}

fn key(text: &str) -> Option<[u8; 32]> {
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..text.len()).step_by(2).map(digits).collect::<Option<_>>()?;
    bytes.try_into().ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, file, text] = &arguments[..] else { return Err(Error::input("expected URL FILE KEY")) };
    let key = key(text).ok_or_else(|| Error::input("KEY: expected 64 hexadecimal digits"))?;
    let engine = Engine::builder().backend(Http::builder().build()?).build();
    // A server that sends more than a signature is not believed to the end.
    let (writer, memory) = MemoryWriter::new(64);
    engine.download(Request::get(format!("{url}.sig").as_str())?, writer).await?;
    let signature = memory.into_bytes().unwrap_or_default().to_vec();
    let request = Request::get(url.as_str())?.check(Signed { key, signature });
    let outcome = engine.download(request, FileWriter::new(file)).await?;
    outcome.evidence.iter().for_each(|found| println!("{}: {}", found.check, found.value));
    Ok(())
}
