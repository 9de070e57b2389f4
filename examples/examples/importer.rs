//! An importer: many artifacts, each with its digest and tied to its tag; a failure is reported, the rest goes on.
//!
//! `importer FOLDER URL SHA-256 [URL SHA-256]…`
//!
//! Left out: sizes, mirrors, and the partials of a run that was killed (`FileWriter::keep_partial`).

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::path::Path;
use std::process::ExitCode;

use downloader_core::{Engine, Error, FileName, FileWriter, Job, Request, Result, SafeUrl};
use downloader_http::Http;
use futures_util::{StreamExt, stream};

/// What the importer knows of a file before it has it.
struct Artifact {
    name: FileName,
    request: Request,
}

impl Artifact {
    fn new(url: &str, sha256: &str) -> Result<Self> {
        let name = FileName::of_url(&SafeUrl::parse(url)?);
        let name = name.ok_or_else(|| Error::input("URL: expected one that names a file"))?;
        Ok(Self { name, request: Request::get(url)?.sha256(sha256)? })
    }

    /// The tag comes back with the result; here it is the name, elsewhere perhaps a row of a database.
    fn job(self, folder: &Path) -> Job<FileName> {
        let writer = FileWriter::new(folder.join(&self.name)).create_directories(true);
        Job::new(self.request, writer).tag(self.name)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, pairs) =
        arguments.split_first().ok_or_else(|| Error::input("expected FOLDER URL SHA-256 …"))?;
    let artifacts = pairs.chunks_exact(2).map(|pair| Artifact::new(&pair[0], &pair[1]));
    let artifacts: Vec<_> = artifacts.collect::<Result<_>>()?;

    let engine = Engine::builder().backend(Http::builder().build()?).limit(32).limit_per_host(4).build();
    // Any stream of jobs will do, however long: a window of them is in memory.
    let folder = Path::new(folder).to_owned();
    let jobs = stream::iter(artifacts).map(move |artifact| artifact.job(&folder));
    let (mut batch, mut failed) = (engine.batch(jobs), 0);
    while let Some(done) = batch.next().await {
        match done.result {
            Ok(outcome) => println!("{}: {} bytes from {}", done.tag, outcome.size, outcome.url),
            Err(error) => {
                failed += 1;
                println!("{}: failed: {error:?}", done.tag); // `Debug` tells every attempt, without secrets
            }
        }
    }
    println!("{failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
