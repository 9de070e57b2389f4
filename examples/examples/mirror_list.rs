//! A mirror list as the source of files: fetched, filtered, kept, and asked again when all its mirrors fail.
//!
//! `mirror_list LIST PATH SHA-256 FILE`: the file at PATH below the mirrors that the plain list at LIST names.
//!
//! Left out: the other formats (`Format::Metalink`, `Format::Apt`), and a `Locate` of one's own, such as for links
//! that expire, which `docs/guide.md` shows.

#![allow(clippy::print_stdout, reason = "it is a program")]

use downloader_core::mirrors::{Format, MirrorList};
use downloader_core::{Engine, Error, FileWriter, Result};
use downloader_http::Http;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [list, path, sha256, file] = &arguments[..] else {
        return Err(Error::input("expected LIST PATH SHA-256 FILE"));
    };
    let engine = Engine::builder().backend(Http::builder().build()?).build();
    // A list that came over https may not lead to http, unless it is allowed: here a digest protects the content.
    let list = MirrorList::new(&engine, list.as_str(), Format::Text)?.allow("http");
    for warning in &list.mirrors().await?.warnings {
        println!("ignored: {warning}");
    }
    let request = list.request(path)?.sha256(sha256)?;
    let outcome = engine.download(request, FileWriter::new(file)).await?;
    for attempt in &outcome.attempts {
        println!("tried: {attempt}");
    }
    println!("{} bytes from {}", outcome.size, outcome.url);
    Ok(())
}
