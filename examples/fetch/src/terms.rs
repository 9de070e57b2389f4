//! The terms of a run: what is the same for all of its downloads, and what one of them adds to it.
//!
//! Invariant: a file that an option names is read before anything is downloaded. Must not know: what is downloaded, or in which
//! order.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use downloader_core::write::{Clobber, Sync};
use downloader_core::{Connections, Engine, Error, FileName, FileWriter, Fixed, Request, SafeUrl, Source};
use downloader_http::RequestHeaders;

use crate::arguments::{Arguments, Fsync};
use crate::checks;
use crate::identity::Given;
use crate::lists::Entry;
use crate::message::Prepared;
use crate::plan::Problem;
use crate::report::Shared;
use crate::targets::Target;

/// What is the same for all downloads of a run.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) dir: PathBuf,
    pub(crate) header_lines: Vec<String>,
    pub(crate) headers: RequestHeaders,
    message: Prepared,
    pub(crate) checks: checks::Prepared,
    credentials: Given,
    connections: Connections,
    deadline: Option<Duration>,
    strict: bool,
    /// Are `file:` URLs allowed?
    files: bool,
    pub(crate) resume: bool,
    /// `dir` held no partial file when the run began.
    no_partials: bool,
    pub(crate) clobber: Clobber,
    /// Files are named by their servers.
    remote_name: bool,
    sync: Sync,
    remote_time: bool,
    preallocate: bool,
    create_dirs: bool,
}

impl Terms {
    /// Reads what options name.
    pub(crate) fn of(arguments: &Arguments, report: &Shared) -> Result<Self, Problem> {
        let header_lines = arguments.header.clone();
        let headers = RequestHeaders::parse(header_lines.iter().map(String::as_str));
        let dir = arguments.dir.clone().unwrap_or_default();
        arguments.trust.warn(report);
        Ok(Self {
            no_partials: arguments.input.is_some() && !holds_partials(&dir),
            dir,
            headers: headers.map_err(Problem::of("--header"))?,
            header_lines,
            message: arguments.message.prepare(report)?,
            checks: arguments.checks.prepare()?,
            credentials: arguments.identity.prepare()?,
            connections: arguments.segments.map_or(Connections::Automatic, Connections::Exactly),
            deadline: arguments.deadline.0,
            strict: arguments.strict,
            files: arguments.file_root.is_some(),
            resume: !arguments.no_continue,
            clobber: match (arguments.no_clobber, arguments.remote_header_name && !arguments.clobber) {
                (true, _) => Clobber::Skip,
                (false, true) => Clobber::Fail,
                (false, false) => Clobber::Replace,
            },
            remote_name: arguments.remote_header_name,
            sync: match arguments.fsync {
                Fsync::None => Sync::None,
                Fsync::File => Sync::File,
                Fsync::Directory => Sync::FileAndDirectory,
            },
            remote_time: arguments.remote_time,
            preallocate: arguments.preallocate,
            create_dirs: arguments.create_dirs,
        })
    }

    /// Fetches the lists of digests. What cannot be had fails the downloads it speaks of.
    pub(crate) async fn fetch_lists(&mut self, engine: &Engine) {
        let headers = (!self.header_lines.is_empty()).then(|| self.headers.clone());
        self.checks.fetch_lists(engine, headers.as_ref()).await;
    }

    /// Is every URL of a scheme that is served?
    pub(crate) fn allow(&self, entry: &Entry) -> Result<(), String> {
        for url in &entry.urls {
            match url.scheme() {
                "http" | "https" | "ftp" | "ftps" | "sftp" => {}
                "file" if self.files => {}
                "file" => return Err("file:// URLs need --file-root DIR".to_owned()),
                other => {
                    return Err(format!(
                        "scheme `{other}` is not served; expected http, https, ftp, ftps, sftp or file"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Where a download goes.
    pub(crate) fn target(&self, entry: &Entry) -> Target {
        let dir = entry.dir.as_deref().map_or_else(|| self.dir.clone(), PathBuf::from);
        let named = || entry.urls.first().and_then(FileName::of_url);
        match &entry.out {
            Some(out) => Target::File(dir.join(&**out)),
            None => {
                let path = dir.join(named().as_ref().map_or("index", FileName::as_str));
                if self.remote_name { Target::Named(path) } else { Target::File(path) }
            }
        }
    }

    /// The request of a download.
    pub(crate) fn request(&self, entry: Entry) -> Result<Request, Error> {
        let first = entry.urls.first().cloned();
        let sources = entry.urls.into_iter().map(Source::new).collect();
        let request = self.set(Request::located(Arc::new(Fixed::new(sources))), first.as_ref())?;
        let connections = entry.split.map_or(self.connections, Connections::Exactly);
        let mut request = request.connections(connections);
        for digest in entry.checksums {
            request = request.check(digest);
        }
        if let Some(size) = entry.size {
            request = request.size(size);
        }
        if !entry.headers.is_empty() {
            let own = entry.headers.iter().map(|header| &**header);
            let headers = self.header_lines.iter().map(String::as_str).chain(own);
            request = request.option(RequestHeaders::parse(headers)?);
        }
        Ok(request)
    }

    /// Sets what is the same for all requests.
    pub(crate) fn set(&self, request: Request, first: Option<&SafeUrl>) -> Result<Request, Error> {
        let request = request.connections(self.connections);
        let mut request = self.credentials.set(self.message.set(request), first)?;
        if let Some(deadline) = self.deadline {
            request = request.deadline(deadline);
        }
        if self.strict {
            request = request.strict();
        }
        if !self.header_lines.is_empty() {
            request = request.option(self.headers.clone());
        }
        Ok(request)
    }

    /// The writer of a file of a mirror, whose name and time are those of the far side.
    pub(crate) fn mirrored(&self, writer: FileWriter) -> FileWriter {
        writer.keep_partial(self.resume).sync(self.sync).preallocate(self.preallocate)
    }

    /// The writer of a file, as the options say.
    pub(crate) fn writer(&self, writer: FileWriter, path: &Path) -> FileWriter {
        let known_absent = self.no_partials && path.parent() == Some(&self.dir);
        writer
            .keep_partial(self.resume)
            .look_for_partial(!known_absent)
            .clobber(self.clobber)
            .sync(self.sync)
            .modified_from_source(self.remote_time)
            .preallocate(self.preallocate)
            .create_directories(self.create_dirs)
    }
}

/// Does this directory hold what an earlier run may have left?
fn holds_partials(dir: &Path) -> bool {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(entries) = fs::read_dir(dir) else { return true };
    entries.flatten().any(|entry| entry.file_name().as_encoded_bytes().ends_with(b".part"))
}
