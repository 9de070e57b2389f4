//! Owns the writer to several places at once, and what becomes of one of them that fails.
//!
//! Invariant: a place that failed gets nothing more, and is told of in the outcome or is why the download failed; at least
//! one place has everything. Must not know: what the places are.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;

use super::{Access, Description, Held, View, Writer};
use crate::entity::Provenance;
use crate::error::{Error, Result};
use crate::name::FileName;

/// Writes one content to several places.
///
/// ```
/// use downloader_core::FileWriter;
/// use downloader_core::write::{Fanout, OnFailure};
/// let writer = Fanout::new(OnFailure::Drop)
///     .to("near", FileWriter::new("near/f.iso"))
///     .to("far", FileWriter::new("far/f.iso"));
/// ```
///
/// All places take each chunk at the same time, and the slowest sets the pace. Bytes come in any order if every place takes
/// them so. What an earlier run left is not taken up, but thrown away. It is read back from the first place that can, and
/// readers of a [`Tee`](super::Tee) around it read the first that is left and has a [`view`](Writer::view).
///
/// `commit` goes from the first place to the last. It cannot be taken back: where one fails under [`OnFailure::Fail`], those
/// before it have the content already. So name first whatever is most likely to fail.
///
/// # Errors
/// That of the place, under [`OnFailure::Fail`], or of the last one that was left. Its message ends with the name of the
/// place.
pub struct Fanout {
    policy: OnFailure,
    sinks: Vec<Sink>,
    lost: Vec<Error>,
}

/// What follows when one of several places fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum OnFailure {
    /// The download fails, and no place keeps what it has.
    #[default]
    Fail,
    /// The others go on without it, as long as there is one. The failure is told in
    /// [`Outcome::warnings`](crate::Outcome::warnings), and as an event.
    Drop,
}

struct Sink {
    name: Box<str>,
    writer: Box<dyn Writer>,
    /// Told to those who read beside.
    lost: Arc<AtomicBool>,
}

impl Fanout {
    /// A writer to no place yet.
    #[must_use]
    pub fn new(policy: OnFailure) -> Self {
        Self { policy, sinks: Vec::new(), lost: Vec::new() }
    }

    /// Adds a place; its name stands in errors.
    #[must_use]
    pub fn to(mut self, name: impl Into<Box<str>>, writer: impl Writer + 'static) -> Self {
        self.sinks.push(Sink { name: name.into(), writer: Box::new(writer), lost: Arc::default() });
        self
    }

    /// Takes what each place says, in the order of the places: those that failed leave, or it fails as a whole.
    async fn settle(&mut self, results: Vec<Result<()>>) -> Result<()> {
        let mut results = results.into_iter();
        let (mut kept, mut failed) = (Vec::with_capacity(self.sinks.len()), Vec::new());
        for mut sink in self.sinks.drain(..) {
            match results.next() {
                Some(Err(error)) => {
                    let error = named(&sink.name, error);
                    sink.lost.store(true, Relaxed);
                    // Here: a place that is dropped later might wait for the others.
                    sink.writer.abandon(&error).await;
                    failed.push(error);
                }
                _ => kept.push(sink),
            }
        }
        self.sinks = kept;
        match self.policy {
            OnFailure::Drop if !self.sinks.is_empty() => {
                self.lost.append(&mut failed);
                Ok(())
            }
            _ => failed.pop().map_or(Ok(()), Err),
        }
    }

    fn any(&self) -> Result<()> {
        if self.sinks.is_empty() { Err(Error::input("fanout: expected at least one place")) } else { Ok(()) }
    }
}

fn named(name: &str, error: Error) -> Error {
    error.noting(&format!("the place was {name}"))
}

#[async_trait]
impl Writer for Fanout {
    fn access(&self) -> Access {
        let random = self.sinks.iter().all(|sink| sink.writer.access() == Access::Random);
        if random { Access::Random } else { Access::Sequential }
    }

    async fn held(&mut self) -> Result<Held> {
        self.any()?;
        let looked = self.sinks.iter_mut().map(|sink| async {
            let held = sink.writer.held().await?;
            if held.ranges.is_empty() { Ok(()) } else { sink.writer.discard().await }
        });
        let looked = join_all(looked).await;
        self.settle(looked).await?;
        Ok(Held::default())
    }

    fn suggest(&mut self, name: &FileName) {
        for sink in &mut self.sinks {
            sink.writer.suggest(name);
        }
    }

    fn describe(&mut self, description: &Description) {
        for sink in &mut self.sinks {
            sink.writer.describe(description);
        }
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        self.any()?;
        let begun = join_all(self.sinks.iter_mut().map(|sink| sink.writer.begin(provenance))).await;
        self.settle(begun).await
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        let written = self.sinks.iter_mut().map(|sink| sink.writer.write(offset, chunk.clone()));
        let written = join_all(written).await;
        self.settle(written).await
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let mut refused = Error::unsupported("no place reads back");
        for sink in &mut self.sinks {
            match sink.writer.read(range.clone()).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => refused = named(&sink.name, error),
            }
        }
        Err(refused)
    }

    async fn discard(&mut self) -> Result<()> {
        let discarded = join_all(self.sinks.iter_mut().map(|sink| sink.writer.discard())).await;
        if self.policy == OnFailure::Fail {
            // As it is: a place that cannot forget is no fault of it.
            return discarded.into_iter().collect();
        }
        self.settle(discarded).await
    }

    async fn commit(&mut self) -> Result<()> {
        let mut committed = Vec::with_capacity(self.sinks.len());
        for sink in &mut self.sinks {
            let result = sink.writer.commit().await;
            let stop = result.is_err() && self.policy == OnFailure::Fail;
            committed.push(result);
            if stop {
                break;
            }
        }
        self.settle(committed).await
    }

    async fn abandon(&mut self, error: &Error) {
        join_all(self.sinks.iter_mut().map(|sink| sink.writer.abandon(error))).await;
    }

    fn view(&mut self) -> Option<Arc<dyn View>> {
        let views =
            self.sinks.iter_mut().filter_map(|sink| Some((Arc::clone(&sink.lost), sink.writer.view()?)));
        let views: Vec<_> = views.collect();
        if views.is_empty() { None } else { Some(Arc::new(Views(views))) }
    }

    fn take_warnings(&mut self) -> Vec<Error> {
        let mut warnings = std::mem::take(&mut self.lost);
        for sink in &mut self.sinks {
            warnings.append(&mut sink.writer.take_warnings());
        }
        warnings
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.sinks.iter().map(|sink| &*sink.name).collect();
        f.debug_struct("Fanout").field("sinks", &names).field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The views of the places that have one, each with whether its place is lost.
#[derive(Debug)]
struct Views(Vec<(Arc<AtomicBool>, Arc<dyn View>)>);

#[async_trait]
impl View for Views {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let mut refused = Error::unsupported("no place that is left can be read beside");
        // A place is lost before anybody is told of bytes that it does not have.
        for (_, view) in self.0.iter().filter(|(lost, _)| !lost.load(Relaxed)) {
            match view.read(range.clone()).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}
