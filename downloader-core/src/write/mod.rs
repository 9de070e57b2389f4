//! Where the bytes go: the writer trait, and the writers that come with the engine.
//!
//! Invariant: bytes become visible only by `commit`, which comes once, last, after every check agreed.
//! Must not know: URLs' schemes, sources, retries.

mod checkpoint;
pub(crate) mod directory;
mod discard;
mod draft;
mod fanout;
mod file;
mod journal;
mod linked;
mod memory;
mod partial;
mod sequential;
mod tee;
mod view;
mod waiting;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mime::Mime;

pub use self::discard::Discard;
pub use self::fanout::{Fanout, OnFailure};
pub use self::file::{Clobber, FileWriter, Link, Place, Sync};
pub use self::memory::{Memory, MemoryWriter};
pub(crate) use self::partial::partial_name;
pub use self::sequential::Sequential;
pub use self::tee::{Tap, Tee, TeeHead, TeeReader};
pub use self::view::View;
use crate::download::Wire;
use crate::entity::Provenance;
use crate::error::{Error, Result};
use crate::file::LocalFile;
use crate::name::FileName;
use crate::options::Options;
use crate::range::RangeSet;

/// Where the bytes of one download go. `write` and `commit` suffice; the rest widens what the engine may do.
///
/// # Contract
/// - Order: `held` (once), then `suggest`, `describe`, `begin`, `write`… (or `adopt`), `commit`. `begin` comes before any byte, also
///   when there are none, and again after `discard`. Nothing follows `commit`, but the reads of a [`Tee`].
/// - A writer is dropped without `commit` when the download fails (after `abandon`) or is cancelled: nothing may become
///   visible then, and no litter may stay (unless the caller asked to keep a partial).
/// - Errors are of kind `Local`: they end the download and are never blamed on a source.
///
/// # Cancellation
/// Every future may be dropped at any await; the writer is then told `abandon` at most, and dropped.
#[async_trait]
pub trait Writer: fmt::Debug + Send {
    /// In which order the writer takes bytes. Default: sequential.
    fn access(&self) -> Access {
        Access::Sequential
    }

    /// What an earlier run left here. Of a sequential writer: a prefix. Default: nothing.
    async fn held(&mut self) -> Result<Held> {
        Ok(Held::default())
    }

    /// What the reply would call its content: by the name that it tells, else by the last part of the URL that
    /// answered, else of the one that was asked. Comes before `begin`, each time, unless none of them has a name.
    /// Default: never mind.
    fn suggest(&mut self, name: &FileName) {
        let _ = name;
    }

    /// What the reply says of its content beside what identifies it. Comes before `begin`, each time. Default: never mind.
    fn describe(&mut self, description: &Description) {
        let _ = description;
    }

    /// Says whose bytes follow.
    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        let _ = provenance;
        Ok(())
    }

    /// Takes the content as a whole: it is this file of this machine. After `begin`, instead of any `write`; `true` says
    /// that the writer has every byte of it by that, and that [`read`](Self::read) works if anything is to be checked.
    /// Asked only where nothing of the content is held. Default: `false`, and the bytes follow.
    async fn adopt(&mut self, file: &Arc<LocalFile>) -> Result<bool> {
        let _ = file;
        Ok(false)
    }

    /// Takes bytes. Sequential writers get them in order and without gaps.
    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()>;

    /// Returns bytes written or held before, at least one and at most `range`. Default: unsupported.
    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let _ = range;
        Err(Error::unsupported("this writer cannot read back"))
    }

    /// What was written or held is proven bad: forget it. Default: unsupported.
    async fn discard(&mut self) -> Result<()> {
        Err(Error::unsupported("this writer cannot forget what it took"))
    }

    /// Every byte is in and valid: make it visible.
    async fn commit(&mut self) -> Result<()>;

    /// The download failed, and this is what its caller is told; a drop follows. The place to undo what a drop cannot wait
    /// for. A download that is cancelled, or panics, says nothing: it drops. Default: nothing.
    async fn abandon(&mut self, error: &Error) {
        let _ = error;
    }

    /// A second way to the bytes, once begun: read beside the writer, and after its `commit`. Whatever `write` takes from
    /// then on can be read there when it returns. Default: none; a [`Tee`] then takes turns with the writer, and needs a
    /// `read` that works after `commit` too.
    fn view(&mut self) -> Option<Arc<dyn View>> {
        None
    }

    /// What went wrong and did not fail the download, each told once; asked after `commit`, and put into
    /// [`Outcome::warnings`](crate::Outcome::warnings). Default: nothing.
    fn take_warnings(&mut self) -> Vec<Error> {
        Vec::new()
    }
}

/// What a reply says of its content beside what identifies it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Description {
    /// Media type, as told.
    pub media_type: Option<Mime>,
    /// How the reply came: address, status, protocol, URL after redirects.
    pub wire: Wire,
    /// Protocol detail by type, such as response headers. Of a download that was resumed, those of the part.
    pub extras: Options,
}

/// The order in which a writer takes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Access {
    /// In order, without gaps.
    Sequential,
    /// In any order; `read` and `discard` work.
    Random,
}

/// What an earlier run left in a writer.
#[derive(Clone, Debug, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct Held {
    /// Whose bytes they are; without it they are used only if a digest decides.
    pub provenance: Option<Provenance>,
    /// Which bytes.
    pub ranges: RangeSet,
}

#[async_trait]
impl<W: Writer + ?Sized> Writer for Box<W> {
    fn access(&self) -> Access {
        (**self).access()
    }

    async fn held(&mut self) -> Result<Held> {
        (**self).held().await
    }

    fn suggest(&mut self, name: &FileName) {
        (**self).suggest(name);
    }

    fn describe(&mut self, description: &Description) {
        (**self).describe(description);
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        (**self).begin(provenance).await
    }

    async fn adopt(&mut self, file: &Arc<LocalFile>) -> Result<bool> {
        (**self).adopt(file).await
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        (**self).write(offset, chunk).await
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        (**self).read(range).await
    }

    async fn discard(&mut self) -> Result<()> {
        (**self).discard().await
    }

    async fn commit(&mut self) -> Result<()> {
        (**self).commit().await
    }

    async fn abandon(&mut self, error: &Error) {
        (**self).abandon(error).await;
    }

    fn view(&mut self) -> Option<Arc<dyn View>> {
        (**self).view()
    }

    fn take_warnings(&mut self) -> Vec<Error> {
        (**self).take_warnings()
    }
}
