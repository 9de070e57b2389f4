//! A mirror: a folder of this machine that becomes what a folder of a server is. What is the same is kept, what the server has no
//! more is removed, and what an earlier copy holds is linked instead of fetched.
//!
//! `mirror_tree URL FOLDER [EARLIER]`
//!
//! Left out: other protocols than HTTP, patterns of names, and how long files take (`Steps` and `Ledger` leave that to you).

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::process::ExitCode;

use downloader_core::tree::{Change, MaxDelete, Mirror, Notice};
use downloader_core::write::Link;
use downloader_core::{Engine, Error, FileBackend, Request, Result};
use downloader_http::Http;

/// What is worth a line: all but what is here already.
fn tell(notice: &Notice) {
    match &notice.change {
        Change::Kept => {}
        // The error prints without secrets; names from servers are escaped, for they may be made for your terminal.
        Change::Failed(error) => println!("failed: {:?}: {error}", notice.place),
        change => println!("{change}: {:?}", notice.place),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, folder, earlier) = match &arguments[..] {
        [url, folder] => (url, folder, None),
        [url, folder, earlier] => (url, folder, Some(earlier)),
        _ => return Err(Error::input("expected URL FOLDER [EARLIER]")),
    };
    let mut files = FileBackend::builder();
    let mut mirror = Mirror::new(Request::get(url.as_str())?, folder).delete(MaxDelete::Percent(20));
    if let Some(earlier) = earlier {
        files = files.allow(earlier);
        mirror = mirror.reuse(earlier).link(Link::Hard);
    }
    let engine =
        Engine::builder().backend(Http::builder().build()?).backend(files.build()?).limit(32).build();
    let summary = mirror.run(&engine, tell).await?;
    println!("{summary}");
    if let Some(error) = &summary.spared {
        println!("nothing was removed: {error}");
    }
    Ok(if summary.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
