//! A writer of one's own around another: when the content is complete and right, it becomes an entry of the store. It does so
//! whether or not a client is still there. Left out: taking up what an earlier run left.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::HeaderMap;
use bytes::Bytes;
use downloader_core::write::{Description, View};
use downloader_core::{Access, Error, FileWriter, Provenance, Result, Writer};
use tokio::time::Instant;

use crate::entry::{Entry, fields_of};
use crate::store::Store;

pub(crate) struct Keep {
    store: Arc<Store>,
    path: String,
    content: PathBuf,
    file: FileWriter,
    fields: HeaderMap,
}

impl Keep {
    pub(crate) fn new(store: &Arc<Store>, path: &str) -> Self {
        let content = store.place();
        let (store, file) = (Arc::clone(store), FileWriter::new(&content));
        Self { store, path: path.to_owned(), content, file, fields: HeaderMap::new() }
    }
}

#[async_trait]
impl Writer for Keep {
    fn access(&self) -> Access {
        self.file.access()
    }

    fn describe(&mut self, description: &Description) {
        self.fields = fields_of(description);
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        let room = self.store.make_room(provenance.entity.size.unwrap_or(0));
        room.map_err(|error| Error::local("make room", error))?;
        self.file.begin(provenance).await
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        self.file.write(offset, chunk).await
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        self.file.read(range).await
    }

    async fn discard(&mut self) -> Result<()> {
        self.file.discard().await
    }

    async fn commit(&mut self) -> Result<()> {
        self.file.commit().await?;
        let (content, fields) = (self.content.clone(), std::mem::take(&mut self.fields));
        let kept = fs::metadata(&content).and_then(|metadata| {
            let entry = Entry { content, size: metadata.len(), fields, asked: Some(Instant::now()), used: 0 };
            self.store.put(&self.path, entry)
        });
        kept.map_err(|error| Error::local("keep what came", error))
    }

    fn view(&mut self) -> Option<Arc<dyn View>> {
        self.file.view()
    }
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keep").field("path", &self.path).finish_non_exhaustive()
    }
}
