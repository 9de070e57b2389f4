//! The same engine for callers without async: every door, on a runtime of its own.
//!
//! Invariant: same results and errors as the async doors; work goes on only inside a call.
//! Must not know: how anything is done.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};
use tokio::runtime::{Builder, Runtime};

use crate::batch::{self, Done};
use crate::error::{Error, Result};
use crate::job::{Job, Outcome};
use crate::listing::{self, Line, Step, WalkOptions};
use crate::request::Request;
use crate::streamer;
use crate::write::Writer;

/// A blocking handle of an [`Engine`](crate::Engine). Must not be used inside an async task.
#[derive(Clone, Debug)]
pub struct Engine {
    engine: crate::Engine,
    runtime: Arc<Runtime>,
}

impl Engine {
    /// Puts a runtime of one thread, the caller's, under an engine.
    ///
    /// # Errors
    /// Kind `Local` when the system gives no runtime.
    pub fn new(engine: crate::Engine) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::local("cannot start a runtime", error))?;
        Ok(Self { engine, runtime: Arc::new(runtime) })
    }

    /// See [`Engine::download`](crate::Engine::download).
    ///
    /// # Errors
    /// As there.
    pub fn download(&self, request: Request, writer: impl Writer + 'static) -> Result<Outcome> {
        self.runtime.block_on(self.engine.download(request, writer))
    }

    /// See [`Engine::head`](crate::Engine::head).
    ///
    /// # Errors
    /// As there.
    pub fn head(&self, request: Request) -> Result<Outcome> {
        self.runtime.block_on(self.engine.head(request))
    }

    /// See [`Engine::batch`](crate::Engine::batch): an iterator of finished jobs, in order of completion.
    pub fn batch<T: Send + 'static, I>(&self, jobs: I) -> Batch<T>
    where
        I: IntoIterator<Item = Job<T>>,
        I::IntoIter: Send + 'static,
    {
        let batch = self.engine.batch(stream::iter(jobs));
        Batch { batch, runtime: Arc::clone(&self.runtime) }
    }

    /// See [`Engine::list`](crate::Engine::list): an iterator of lines.
    ///
    /// # Errors
    /// As there.
    pub fn list(&self, request: Request) -> Result<Listing> {
        let listing = self.runtime.block_on(self.engine.list(request))?;
        Ok(Listing { listing, runtime: Arc::clone(&self.runtime) })
    }

    /// See [`Engine::walk`](crate::Engine::walk): an iterator of steps.
    #[must_use]
    pub fn walk(&self, request: Request, options: WalkOptions) -> Walk {
        Walk { walk: self.engine.walk(request, options), runtime: Arc::clone(&self.runtime) }
    }

    /// See [`Engine::stream`](crate::Engine::stream): a reader; its end without an error is proof.
    ///
    /// # Errors
    /// As there.
    pub fn stream(&self, request: Request) -> Result<Streamer> {
        let streamer = self.runtime.block_on(self.engine.stream(request))?;
        Ok(Streamer { streamer, runtime: Arc::clone(&self.runtime), piece: Bytes::new() })
    }
}

/// Finished jobs, in order of completion. Dropping it stops those that run.
#[derive(Debug)]
pub struct Batch<T> {
    batch: batch::Batch<T>,
    runtime: Arc<Runtime>,
}

impl<T: Send + 'static> Iterator for Batch<T> {
    type Item = Done<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.batch.next())
    }
}

/// The lines of a directory. Dropping it ends the request.
#[derive(Debug)]
pub struct Listing {
    listing: listing::Listing,
    runtime: Arc<Runtime>,
}

impl Listing {
    /// The directory, and how its listing came.
    #[must_use]
    pub fn head(&self) -> &listing::Listing {
        &self.listing
    }
}

impl Iterator for Listing {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.listing.next())
    }
}

/// The steps through a tree. Dropping it ends the requests under way.
#[derive(Debug)]
pub struct Walk {
    walk: listing::Walk,
    runtime: Arc<Runtime>,
}

impl Iterator for Walk {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.walk.next())
    }
}

/// A stream as [`io::Read`].
#[derive(Debug)]
pub struct Streamer {
    streamer: streamer::Streamer,
    runtime: Arc<Runtime>,
    piece: Bytes,
}

impl Streamer {
    /// The head: entity, range, media type, headers.
    #[must_use]
    pub fn head(&self) -> &streamer::Streamer {
        &self.streamer
    }
}

impl io::Read for Streamer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !buffer.is_empty() {
            match self.runtime.block_on(self.streamer.next()) {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece[..length]);
        self.piece.advance(length);
        Ok(length)
    }
}
