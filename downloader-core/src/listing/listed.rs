//! A listing as a content: a layer that asks for entries where the engine asks for bytes.
//!
//! Invariant: its body is what the parser of the backend made of the bytes, in the engine's own form, within the limits;
//! it ends well only after the parser said that it was all. Must not know: retries, who reads the lines.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::{BoxStream, StreamExt};

use super::encoding::EntryEncoder;
use super::escape;
use super::line::{Line, ListingParser};
use crate::download::{Body, Download, Fetch};
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::range::ByteRange;
use crate::url::SafeUrl;

/// How much of one listing is read. Beyond a limit it ends with an error of kind `Refused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct ListingLimits {
    /// Most lines: entries, and what could not be read. Default 1 000 000.
    pub lines: u64,
    /// Most bytes of the listing as the far side sends it. Default 1 GiB.
    pub bytes: u64,
}

impl Default for ListingLimits {
    fn default() -> Self {
        Self { lines: 1_000_000, bytes: 1 << 30 }
    }
}

/// The directory that a listing is of, for those above: among the extras of its body.
#[derive(Clone, Debug)]
pub(super) struct Directory(pub(super) SafeUrl);

/// Asks `inner` for listings.
pub(crate) struct Listed {
    inner: Arc<dyn Download>,
    limits: ListingLimits,
}

impl Listed {
    pub(crate) fn new(inner: Arc<dyn Download>, limits: ListingLimits) -> Self {
        Self { inner, limits }
    }
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listed({:?})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Download for Listed {
    /// A listing has no ranges: it comes from its start, whatever was asked for.
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let url = fetch.url.clone();
        let fetch = Fetch {
            listing: true,
            range: ByteRange::ALL,
            expect: None,
            digests: false,
            alone: false,
            ..fetch
        };
        let mut body = self.inner.open(fetch).await?;
        let Some(entries) = body.entries.take() else {
            let what = format!("directories of {} URLs cannot be listed", url.scheme());
            return Err(Error::unsupported(what).with_url(&url));
        };
        let directory = escape::directory(&entries.directory).map_err(|error| error.with_url(&url))?;
        body.extras.insert(Directory(directory));
        // Nothing that is told of the text is told of the lines.
        let lines = Lines {
            inner: Some((body.stream, entries.parser)),
            read: Vec::new(),
            encoder: EntryEncoder::new(),
            bytes: 0,
            limits: self.limits,
            url,
        };
        let told = Body::new(Entity::default(), ByteRange::ALL, lines.boxed());
        Ok(Body { wire: body.wire, extras: body.extras, media_type: body.media_type, ..told })
    }
}

/// The lines of a listing under way. What they are read from is dropped at the end, or with the first failure.
struct Lines {
    inner: Option<(BoxStream<'static, Result<Bytes>>, Box<dyn ListingParser>)>,
    read: Vec<Line>,
    encoder: EntryEncoder,
    bytes: u64,
    limits: ListingLimits,
    url: SafeUrl,
}

impl Lines {
    /// What came, as far as it could be read; nothing is the end.
    fn came(&mut self, bytes: Option<Bytes>) -> Result<()> {
        let Some((_, parser)) = &mut self.inner else { return Ok(()) };
        match &bytes {
            Some(bytes) => {
                self.bytes += bytes.len() as u64;
                if self.bytes > self.limits.bytes {
                    let what = format!("a listing of more than {} bytes", self.limits.bytes);
                    return Err(Error::new(ErrorKind::Refused, what));
                }
                parser.push(bytes, &mut self.read)?;
            }
            None => parser.finish(&mut self.read)?,
        }
        for line in self.read.drain(..) {
            if self.encoder.count() >= self.limits.lines {
                let what = format!("a directory of more than {} entries", self.limits.lines);
                return Err(Error::new(ErrorKind::Refused, what));
            }
            self.encoder.line(&line);
        }
        if bytes.is_none() {
            self.encoder.end();
            self.inner = None;
        }
        Ok(())
    }
}

impl Stream for Lines {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while let Some((stream, _)) = &mut this.inner {
            let came = match ready!(stream.as_mut().poll_next(task)) {
                Some(Ok(bytes)) => this.came(Some(bytes)),
                Some(Err(error)) => Err(error),
                None => this.came(None),
            };
            if let Err(error) = came {
                this.inner = None;
                return Poll::Ready(Some(Err(error.with_url(&this.url).with_offset(this.bytes))));
            }
            if !this.encoder.is_empty() {
                return Poll::Ready(Some(Ok(this.encoder.take())));
            }
        }
        Poll::Ready(None)
    }
}
