//! A listing as its reader sees it: line by line, healed, never twice, never a part for the whole.
//!
//! Invariant: it ends without an error only when the listing is complete. Must not know: protocols, how it is healed.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

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
/// offsets of its errors, are of the engine's own form of it, not of that text.
///
/// # Cancellation
/// Dropping it ends the request.
pub struct Listing {
    streamer: Streamer,
    directory: SafeUrl,
    decoder: EntryDecoder,
    read: Vec<Line>,
    lines: VecDeque<Line>,
    ended: bool,
}

impl Listing {
    pub(crate) fn new(streamer: Streamer) -> Self {
        let directory = streamer.extras().get::<Directory>();
        let directory = directory.map_or_else(|| streamer.url().clone(), |Directory(url)| url.clone());
        Self {
            streamer,
            directory,
            decoder: EntryDecoder::new(),
            read: Vec::new(),
            lines: VecDeque::new(),
            ended: false,
        }
    }

    /// The URL of the directory, after redirects, with a slash at its end.
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

    fn decode(&mut self, bytes: Option<&[u8]>) -> Result<()> {
        match bytes {
            Some(bytes) => self.decoder.push(bytes, &mut self.read),
            None => self.decoder.finish(&mut self.read),
        }
        .map_err(|error: Error| error.with_url(&self.directory))?;
        self.lines.extend(self.read.drain(..));
        Ok(())
    }
}

impl Stream for Listing {
    type Item = Result<Line>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(line) = this.lines.pop_front() {
                return Poll::Ready(Some(Ok(line)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let step = match ready!(this.streamer.poll_next_unpin(task)) {
                Some(Ok(bytes)) => this.decode(Some(&bytes)),
                Some(Err(error)) => Err(error),
                None => {
                    this.ended = true;
                    this.decode(None)
                }
            };
            if let Err(error) = step {
                this.ended = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("directory", &self.directory).finish_non_exhaustive()
    }
}
