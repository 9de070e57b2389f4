//! A listing as its reader sees it: line by line, healed, never twice, never a part for the whole.
//!
//! Invariant: it ends without an error only when the listing is complete. Must not know: protocols, how it is healed.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;

use super::encoding::EntryDecoder;
use super::entry::Entry;
use super::line::{Line, ListingParser};
use super::listed::Directory;
use crate::download::Wire;
use crate::error::{Error, Result};
use crate::meter::Meter;
use crate::options::Options;
use crate::streamer::Streamer;
use crate::url::SafeUrl;

/// The lines of a directory, in the order of the far side. The error that ends an incomplete one is the last item.
///
/// What is held of it is a piece of the far side's text, however many entries there are. Counts of its [`Meter`], and
/// offsets of some of its errors, are of the engine's own form of it, not of that text.
///
/// # Cancellation
/// Dropping it ends the request.
pub struct Listing {
    streamer: Streamer,
    directory: SafeUrl,
    /// What came and was not read yet.
    chunks: VecDeque<Bytes>,
    held: usize,
    /// The far side has nothing more to tell: why, if it was not the end.
    ended: Option<Result<()>>,
    decoder: EntryDecoder,
    read: Vec<Line>,
    lines: VecDeque<Line>,
    done: bool,
}

impl Listing {
    pub(crate) fn new(streamer: Streamer) -> Self {
        let directory = streamer.extras().get::<Directory>();
        let directory = directory.map_or_else(|| streamer.url().clone(), |Directory(url)| url.clone());
        Self {
            streamer,
            directory,
            chunks: VecDeque::new(),
            held: 0,
            ended: None,
            decoder: EntryDecoder::new(),
            read: Vec::new(),
            lines: VecDeque::new(),
            done: false,
        }
    }

    /// The URL of the directory, after redirects within its origin, with a slash at its end.
    #[must_use]
    pub fn directory(&self) -> &SafeUrl {
        &self.directory
    }

    /// The URL to ask for an entry.
    ///
    /// # Errors
    /// Kind `Input` when it would be too long.
    pub fn url_of(&self, entry: &Entry) -> Result<SafeUrl> {
        entry.url(&self.directory)
    }

    /// All entries, once the listing is complete; lines that could not be read are left out. Not for large directories.
    ///
    /// # Errors
    /// What ended the listing before its time.
    pub async fn entries(mut self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while let Some(line) = self.next().await {
            entries.extend(line?.into_entry());
        }
        Ok(entries)
    }

    /// How the listing came: address, status, protocol.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        self.streamer.wire()
    }

    /// Protocol detail by type.
    #[must_use]
    pub fn extras(&self) -> &Options {
        self.streamer.extras()
    }

    /// The byte counts.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        self.streamer.meter()
    }

    /// Takes one piece more from the far side, to be read later; ready with false when there is none.
    pub(super) fn poll_fill(&mut self, task: &mut Task<'_>) -> Poll<bool> {
        if self.ended.is_some() {
            return Poll::Ready(false);
        }
        match ready!(self.streamer.poll_next_unpin(task)) {
            Some(Ok(bytes)) => {
                self.held += bytes.len();
                self.chunks.push_back(bytes);
            }
            Some(Err(error)) => self.ended = Some(Err(error)),
            None => self.ended = Some(Ok(())),
        }
        Poll::Ready(self.ended.is_none())
    }

    /// Bytes that came and were not read yet.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// True when all that can come is here.
    pub(super) fn is_here(&self) -> bool {
        self.ended.is_some()
    }

    /// The next of the lines that are here; nothing when more must come first, or at the end.
    pub(super) fn next_here(&mut self) -> Option<Result<Line>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(Ok(line));
            }
            if self.done {
                return None;
            }
            let step = if let Some(bytes) = self.chunks.pop_front() {
                self.held -= bytes.len();
                self.decoder.push(&bytes, &mut self.read)
            } else {
                let ended = self.ended.take()?;
                self.done = true;
                self.ended = Some(Ok(()));
                ended.and_then(|()| self.decoder.finish(&mut self.read))
            };
            if let Err(error) = step {
                self.done = true;
                return Some(Err(Error::with_url(error, &self.directory)));
            }
            self.lines.extend(self.read.drain(..));
        }
    }
}

impl Stream for Listing {
    type Item = Result<Line>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let next = self.next_here();
            if next.is_some() || self.done {
                return Poll::Ready(next);
            }
            ready!(self.poll_fill(task));
        }
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("directory", &self.directory).finish_non_exhaustive()
    }
}
