//! A multipart upload: parts under way, their number bounded; aborted unless it is completed.
//!
//! Invariant: an upload that is not completed is aborted, by whoever ends it or else by its drop; nothing of it is visible
//! before. Must not know: how parts are cut.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attributes, MultipartUpload, ObjectStore, PutMultipartOptions, PutPayload, Result};
use tokio::task::JoinSet;

/// How long a failed download waits for the store to forget it.
const FORGETTING: Duration = Duration::from_secs(10);

pub(crate) struct Upload(Option<Open>);

struct Open {
    upload: Box<dyn MultipartUpload>,
    parts: JoinSet<Result<()>>,
}

impl Upload {
    pub(crate) async fn start(
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        attributes: Attributes,
    ) -> Result<Self> {
        let (store, path) = (Arc::clone(store), path.clone());
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let start = async move {
            let upload = store.put_multipart_opts(&path, options).await?;
            Ok(Self(Some(Open { upload, parts: JoinSet::new() })))
        };
        // A task: if nobody waits any more when the store has begun it, the task drops it, which aborts it.
        tokio::spawn(start).await.map_err(|source| object_store::Error::JoinError { source })?
    }

    /// Sends a part, once fewer than `parallel` are under way.
    pub(crate) async fn put(&mut self, part: Vec<Bytes>, parallel: usize) -> Result<()> {
        let Some(open) = &mut self.0 else { return Ok(()) };
        while open.parts.len() >= parallel {
            open.joined().await?;
        }
        let part: PutPayload = part.into_iter().collect();
        open.parts.spawn(open.upload.put_part(part));
        Ok(())
    }

    /// Waits for all parts, and makes the object visible.
    pub(crate) async fn complete(&mut self) -> Result<()> {
        let Some(open) = &mut self.0 else { return Ok(()) };
        while !open.parts.is_empty() {
            open.joined().await?;
        }
        open.upload.complete().await?;
        self.0 = None;
        Ok(())
    }

    /// Forgets what was sent. A store that does not answer in time is asked on in the background.
    pub(crate) async fn abort(mut self) {
        if let Some(open) = self.0.take() {
            let forget = tokio::spawn(open.abort());
            // What it says does not matter: it was for the store's sake.
            let _ = tokio::time::timeout(FORGETTING, forget).await;
        }
    }
}

impl Open {
    async fn joined(&mut self) -> Result<()> {
        match self.parts.join_next().await {
            // A part that panicked was not sent.
            Some(joined) => joined.map_err(|source| object_store::Error::JoinError { source })?,
            None => Ok(()),
        }
    }

    async fn abort(mut self) {
        // First the parts: one that lands after the abort would stay.
        self.parts.shutdown().await;
        let _ = self.upload.abort().await;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Without a runtime nothing can be sent: only a lifecycle rule of the bucket then removes the parts.
        if let (Some(open), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(open.abort());
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let under_way = self.0.as_ref().map_or(0, |open| open.parts.len());
        f.debug_struct("Upload").field("parts_under_way", &under_way).finish()
    }
}
