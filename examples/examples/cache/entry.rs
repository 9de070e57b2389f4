//! One stored file: where it is, what it is called, and the fields it came with; as text, beside the file. Left out: a format
//! that a later version could extend.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use downloader_core::write::Description;
use downloader_core::{ByteRange, Error, Options, Result};
use downloader_http::{ResponseHead, forwardable};
use futures_util::stream;
use tokio::time::Instant;

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) content: PathBuf,
    pub(crate) size: u64,
    pub(crate) fields: HeaderMap,
    /// When the upstream was last asked; `None` in an earlier run.
    pub(crate) asked: Option<Instant>,
    /// Counts up; the lowest goes first.
    pub(crate) used: u64,
}

impl Entry {
    /// As a text: the path, the name of the file, then the fields.
    pub(crate) fn save(&self, path: &str, to: &Path) -> io::Result<()> {
        let name = self.content.file_name().unwrap_or_default().to_string_lossy();
        let mut text = format!("{path}\n{name}\n");
        for (name, value) in &self.fields {
            text += &value.to_str().map(|value| format!("{name}: {value}\n")).unwrap_or_default();
        }
        let new = to.with_extension("new");
        fs::write(&new, text).and_then(|()| fs::rename(&new, to))
    }

    pub(crate) fn load(from: &Path) -> Option<(String, Self)> {
        let text = fs::read_to_string(from).ok()?;
        let mut lines = text.lines();
        let (path, content) = (lines.next()?.to_owned(), from.with_file_name(lines.next()?));
        let size = fs::metadata(&content).ok()?.len();
        let field = |line: &str| -> Option<(HeaderName, HeaderValue)> {
            let (name, value) = line.split_once(": ")?;
            Some((name.parse().ok()?, value.parse().ok()?))
        };
        Some((path, Self { content, size, fields: lines.filter_map(field).collect(), asked: None, used: 0 }))
    }

    /// The bytes, in pieces. A file that is replaced or thrown out meanwhile is read to its end.
    pub(crate) fn read(&self, range: ByteRange) -> Result<Body> {
        let file = File::open(&self.content).map_err(|error| Error::local("open what is stored", error))?;
        let (file, end) = (Arc::new(file), range.end.unwrap_or(self.size).min(self.size));
        let next = move |at: u64| {
            let file = Arc::clone(&file);
            async move {
                let mut piece = vec![0; (end - at).min(64 << 10) as usize];
                file.read_exact_at(&mut piece, at)?;
                let next = at + piece.len() as u64;
                io::Result::Ok(Some((piece, next)).filter(|_| at < end))
            }
        };
        Ok(Body::from_stream(stream::try_unfold(range.start.min(end), next)))
    }
}

/// The fields to pass on, but for those of one answer.
pub(crate) fn fields_of(description: &Description) -> HeaderMap {
    fields(&description.extras, description.media_type.as_ref().map(AsRef::as_ref))
}

pub(crate) fn fields(extras: &Options, media_type: Option<&str>) -> HeaderMap {
    let mut fields = extras.get::<ResponseHead>().map(|head| forwardable(&head.headers)).unwrap_or_default();
    for own in [CONTENT_LENGTH, CONTENT_RANGE] {
        fields.remove(own);
    }
    if let Some(Ok(value)) =
        media_type.filter(|_| !fields.contains_key(CONTENT_TYPE)).map(HeaderValue::from_str)
    {
        fields.insert(CONTENT_TYPE, value);
    }
    fields
}
