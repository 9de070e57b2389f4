//! Owns the files that are served: `GET /files/{path}`, where the processors of this machine put them.
//!
//! Invariant: only what a job published is read, under the path that its job has, and whoever knows that path may read it, as with any web
//! server over the directory. Must not know jobs, or how a file came.

use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use downloader_core::file::LocalFile;
use downloader_core::{ByteRange, Download as _, Entity, ErrorKind, Fetch, FileBackend, SafeUrl};
use downloader_http::RangePlan;
use url::Url;

use super::answer::Problem;
use super::shared::Shared;
use crate::job::Location;
use crate::storage;

/// What a media type is told by.
const PREFIX: usize = 1024;
/// A page that somebody's server sent runs nothing here, and reads nothing of ours.
const HARMLESS: &str =
    "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; sandbox";

/// The files of a directory.
#[derive(Clone, Debug)]
pub struct Files {
    backend: FileBackend,
    root: PathBuf,
    site: String,
}

impl Files {
    /// Those of the service's storage; `None` if that is no directory. The directory is made if it is missing.
    ///
    /// # Errors
    /// Kind `Local` when it cannot be made, `Input` when it cannot be opened.
    pub fn open(settings: &storage::Settings) -> downloader_core::Result<Option<Self>> {
        let storage::Place::Directory(root) = &settings.place else { return Ok(None) };
        let root = storage::directory(root)?;
        let backend = FileBackend::builder().allow(&root).build()?;
        Ok(Some(Self { backend, site: storage::site_of(&root, settings), root }))
    }

    /// The path under which the file of a job is served, if it is one of these.
    pub(super) fn path_of(&self, location: &Location) -> Option<String> {
        if location.site != self.site {
            return None;
        }
        let mut url = Url::parse("http://host/files").ok()?;
        url.path_segments_mut().ok()?.extend(location.path.split('/'));
        Some(url.path().to_owned())
    }

    fn url(&self, path: &str) -> Option<SafeUrl> {
        let name = storage::FileName::of_path(path)?;
        let url = Url::from_file_path(self.root.join(LocalPath::new(&name.path()))).ok()?;
        SafeUrl::parse(url.as_str()).ok()
    }

    async fn answer(&self, method: &Method, path: &str, asked: &HeaderMap) -> Result<Response, Problem> {
        let url = self.url(path).ok_or_else(nothing)?;
        let mut fetch = Fetch::new(url);
        let opened = self.backend.open(fetch.clone()).await.map_err(|error| problem(&error))?;
        let (entity, Some(file)) = (opened.entity, opened.file) else { return Err(nothing()) };
        let mut fields = described(&entity, &file)?;
        if is_current(asked, &entity) {
            return Ok((StatusCode::NOT_MODIFIED, fields).into_response());
        }
        // Only GET has ranges.
        let plan = if method == Method::GET { RangePlan::of(asked, &entity) } else { RangePlan::Whole };
        fields.extend(plan.content_range(entity.size).map(|value| (CONTENT_RANGE, value)));
        let Some(range) = plan.range() else { return Ok((plan.status(), fields).into_response()) };
        let length = if range == ByteRange::ALL { entity.size } else { range.len() };
        fields.extend(length.map(|length| (CONTENT_LENGTH, HeaderValue::from(length))));
        if method == Method::HEAD {
            return Ok((plan.status(), fields).into_response());
        }
        fetch.range = range;
        let part = self.backend.open(fetch).await.map_err(|error| problem(&error))?;
        if part.entity != entity
            && part.entity.tag.as_ref().is_none_or(|tag| Some(tag) != entity.tag.as_ref())
        {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the file is another one now"));
        }
        Ok((plan.status(), fields, Body::from_stream(part.stream)).into_response())
    }
}

/// `GET /files/{path}`.
pub(super) async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    Path(path): Path<String>,
    asked: HeaderMap,
) -> Response {
    let Some(files) = &shared.settings.files else {
        return Problem::new(StatusCode::NOT_FOUND, "files are not served here").into_response();
    };
    files.answer(&method, &path, &asked).await.unwrap_or_else(Problem::into_response)
}

/// The fields that describe a file, whichever part of it is sent.
fn described(entity: &Entity, file: &LocalFile) -> Result<HeaderMap, Problem> {
    let mut fields = HeaderMap::new();
    let mut add = |name: HeaderName, value: &str| {
        // All of them are ASCII: a value that is not is left out.
        fields.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
    };
    add(CONTENT_TYPE, &media_type(file)?);
    add(X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(CONTENT_SECURITY_POLICY, HARMLESS);
    add(ACCEPT_RANGES, "bytes");
    if let Some(tag) = &entity.tag {
        add(ETAG, tag.as_str());
    }
    if let Some(modified) = entity.modified {
        add(LAST_MODIFIED, &httpdate::fmt_http_date(modified));
    }
    Ok(fields)
}

/// What the content shows, since nothing else says it.
fn media_type(file: &LocalFile) -> Result<String, Problem> {
    use std::os::unix::fs::FileExt as _;
    let mut prefix = [0; PREFIX];
    let read = file.file().read_at(&mut prefix, 0);
    let read = read.map_err(|error| problem(&downloader_core::Error::local("cannot read a file", error)))?;
    Ok(match downloader_checks::sniff(&prefix[..read]).as_str() {
        "application/x-empty" => "application/octet-stream".to_owned(),
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        found => found.to_owned(),
    })
}

/// Is the copy that the client has the current content (RFC 9110, section 13)? Tags are compared weakly, and go before dates.
fn is_current(asked: &HeaderMap, entity: &Entity) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    if asked.contains_key(IF_NONE_MATCH) {
        let own = entity.tag.as_ref().map(|tag| opaque(tag.as_str()));
        let lists = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        return lists
            .flat_map(|list| list.split(','))
            .any(|tag| tag.trim() == "*" || Some(opaque(tag)) == own);
    }
    let since =
        asked.get(IF_MODIFIED_SINCE).and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
    // A date has whole seconds.
    let seconds =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
    matches!((entity.modified, since), (Some(modified), Some(since)) if seconds(modified) <= seconds(since))
}

fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such file")
}

fn problem(error: &downloader_core::Error) -> Problem {
    match error.kind() {
        // Whether something else is there is nobody's business.
        ErrorKind::NotFound | ErrorKind::Refused | ErrorKind::Unsupported => nothing(),
        _ => {
            tracing::error!(%error, "a file cannot be served");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read")
        }
    }
}
