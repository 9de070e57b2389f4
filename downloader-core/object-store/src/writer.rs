//! Owns the writer of one object: when it is a single request and when an upload in parts, and how parts are cut.
//!
//! Invariant: the object is visible only by `commit`, whole; what is held in memory is bounded by the size of a part. Must
//! not know: what store it is, or where the bytes come from.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::write::{Description, Writer};
use downloader_core::{Error, Provenance, Result};
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};

use crate::error::classify;
use crate::store::Store;
use crate::upload::Upload;

/// The smallest part that S3 takes, but for the last: 5 MiB.
pub const LEAST_PART: u64 = 5 << 20;
/// The size of a part, unless another one is asked for: 8 MiB.
pub const PART: u64 = 8 << 20;
/// Most parts of an upload to S3.
const MOST_PARTS: u64 = 10_000;
/// Of a content of unknown size parts grow by their size every so many, so that 10 000 hold 440 GB.
const GROWTH: u64 = 1000;
const PARALLEL: usize = 2;

/// Writes an object, in order. Nothing is visible before `commit`, and then all of it.
///
/// A content that is smaller than a part is put in one request at `commit`; a larger one is a multipart upload, of at most
/// 10 000 parts: of equal size if the size of the content is known, and large enough for it. Its media type is that of the
/// reply, unless [`content_type`](Self::content_type) is called.
///
/// # When it fails
/// The upload is aborted: at once when the download fails or starts over, in a task of the runtime when the writer is
/// dropped. A killed process cannot; a bucket should have a lifecycle rule that ends uploads which nobody completed. A
/// `commit` that is cancelled may have happened.
///
/// # Memory
/// A part that fills, and those under way: at most three parts, 24 MiB, unless [`part_size`](Self::part_size),
/// [`parallel`](Self::parallel) or the size of the content asks for more. A chunk is counted by its bytes; it keeps the
/// buffer it came in.
///
/// # Errors
/// Kind `Local`: the store fails, also after its own repeats, or, under [`create`](Self::create), `… exists already`.
#[derive(Debug)]
pub struct ObjectWriter {
    store: Store,
    path: Path,
    /// For messages.
    name: String,
    create: bool,
    attributes: Attributes,
    /// By the caller.
    typed: bool,
    part_size: u64,
    parallel: usize,
    /// Of this content.
    part: u64,
    sized: bool,
    sent: u64,
    due: u64,
    chunks: VecDeque<Bytes>,
    buffered: u64,
    upload: Option<Upload>,
}

impl ObjectWriter {
    /// A writer of the object of this key, which may have several segments.
    ///
    /// # Errors
    /// Kind `Input` when a segment of the key is empty, `.` or `..`.
    pub fn new(store: &Store, key: &str) -> Result<Self> {
        let (path, name) = store.locate(key)?;
        Ok(Self {
            store: store.clone(),
            path,
            name,
            create: false,
            attributes: Attributes::new(),
            typed: false,
            part_size: PART,
            parallel: PARALLEL,
            part: PART,
            sized: false,
            sent: 0,
            due: 0,
            chunks: VecDeque::new(),
            buffered: 0,
            upload: None,
        })
    }

    /// Fails if there is an object of this key: found out before any byte, and again in the moment of `commit`, by the store
    /// (`If-None-Match: *`). Default: it is replaced.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// The media type of the object, instead of that of the reply.
    #[must_use]
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.attributes.insert(Attribute::ContentType, media_type.into().into());
        self.typed = true;
        self
    }

    /// Metadata of the object: over S3 `x-amz-meta-NAME`.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(Attribute::Metadata(name.into().into()), value.into().into());
        self
    }

    /// The size of a part in bytes, at least [`LEAST_PART`]. Default: [`PART`].
    #[must_use]
    pub fn part_size(mut self, bytes: u64) -> Self {
        self.part_size = bytes.max(LEAST_PART);
        self
    }

    /// Most parts under way at a time; 0 counts as 1. Default 2.
    #[must_use]
    pub fn parallel(mut self, parts: usize) -> Self {
        self.parallel = parts.max(1);
        self
    }

    fn failed(&self, what: &str, error: object_store::Error) -> Error {
        classify(&format!("cannot {what} {}", self.name), error)
    }

    /// The size of the next part.
    fn next_part(&self) -> u64 {
        if self.sized { self.part } else { self.part * (1 + self.sent / GROWTH) }
    }

    /// Takes the first bytes off the buffer.
    fn cut(&mut self, mut bytes: u64) -> Vec<Bytes> {
        let mut part = Vec::new();
        while bytes > 0
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            let length = chunk.len() as u64;
            if length > bytes {
                // Less than the length of a chunk, which is a usize.
                self.chunks.push_front(chunk.split_off(bytes as usize));
            }
            let taken = length.min(bytes);
            (bytes, self.buffered) = (bytes - taken, self.buffered - taken);
            part.push(chunk);
        }
        part
    }

    async fn send(&mut self, bytes: u64) -> Result<()> {
        let part = self.cut(bytes);
        if self.upload.is_none() {
            let store = if self.create { &self.store.creating } else { &self.store.store };
            let upload = Upload::start(store, &self.path, self.attributes.clone()).await;
            self.upload = Some(upload.map_err(|error| self.failed("start to upload", error))?);
        }
        let parallel = self.parallel;
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let put = upload.put(part, parallel).await;
        self.sent += 1;
        put.map_err(|error| self.failed("upload a part of", error))
    }

    /// Forgets what it has.
    async fn reset(&mut self) {
        self.chunks.clear();
        (self.sent, self.due, self.buffered) = (0, 0, 0);
        if let Some(upload) = self.upload.take() {
            upload.abort().await;
        }
    }
}

#[async_trait]
impl Writer for ObjectWriter {
    fn describe(&mut self, description: &Description) {
        if self.typed {
            return;
        }
        // Each reply anew: after a start over it may be another source.
        match &description.media_type {
            Some(told) => self.attributes.insert(Attribute::ContentType, told.to_string().into()),
            None => self.attributes.remove(&Attribute::ContentType),
        };
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        if self.create {
            match self.store.store.head(&self.path).await {
                Ok(_) => {
                    return Err(Error::new(
                        downloader_core::ErrorKind::Local,
                        format!("{} exists already", self.name),
                    ));
                }
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("look for", error)),
            }
        }
        let size = provenance.entity.size;
        self.sized = size.is_some();
        self.part = self.part_size.max(size.unwrap_or(0).div_ceil(MOST_PARTS));
        Ok(())
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        if offset != self.due {
            let what =
                format!("an object is written in order: byte {offset} came where byte {} is due", self.due);
            return Err(Error::unsupported(what));
        }
        let length = chunk.len() as u64;
        (self.due, self.buffered) = (self.due + length, self.buffered + length);
        if length > 0 {
            self.chunks.push_back(chunk);
        }
        while self.buffered >= self.next_part() {
            self.send(self.next_part()).await?;
        }
        Ok(())
    }

    async fn discard(&mut self) -> Result<()> {
        self.reset().await;
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        if self.upload.is_none() {
            let payload: PutPayload = self.cut(u64::MAX).into_iter().collect();
            let mode = if self.create { PutMode::Create } else { PutMode::Overwrite };
            let options = PutOptions { mode, attributes: self.attributes.clone(), ..PutOptions::default() };
            let put = self.store.store.put_opts(&self.path, payload, options).await;
            return put.map(drop).map_err(|error| self.failed("put", error));
        }
        if self.buffered > 0 {
            self.send(self.buffered).await?;
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        upload
            .complete()
            .await
            .map_err(|error| classify(&format!("cannot complete {}", self.name), error))?;
        self.upload = None;
        Ok(())
    }

    async fn abandon(&mut self, _: &Error) {
        self.reset().await;
    }
}

#[cfg(test)]
mod tests {
    use downloader_core::{Entity, SourceId};

    use super::*;

    async fn written(store: &Store, key: &str, size: Option<u64>, content: &[u8]) -> ObjectWriter {
        let mut writer = ObjectWriter::new(store, key).unwrap().part_size(0).parallel(0);
        let entity = Entity { size, ..Entity::default() };
        writer.begin(&Provenance { entity, source: SourceId::Name("a".into()) }).await.unwrap();
        let mut at = 0;
        for chunk in content.chunks(700_001) {
            writer.write(at, Bytes::copy_from_slice(chunk)).await.unwrap();
            at += chunk.len() as u64;
            assert!(writer.buffered < LEAST_PART);
        }
        writer
    }

    #[tokio::test]
    async fn small_and_large_contents_appear_with_the_commit() {
        let store = Store::memory();
        let content: Vec<u8> = (0..12_000_007u32).map(|n| (n % 251) as u8).collect();
        for length in [0, 5, LEAST_PART as usize, content.len()] {
            let key = format!("folder/{length}");
            let mut writer = written(&store, &key, None, &content[..length]).await;
            assert_eq!(writer.upload.is_some(), length as u64 >= LEAST_PART);
            assert_eq!(store.read(&key).await.unwrap(), None);
            writer.commit().await.unwrap();
            assert!(store.read(&key).await.unwrap().unwrap() == content[..length]);
        }
    }

    #[tokio::test]
    async fn parts_are_large_enough_for_ten_thousand() {
        let store = Store::memory();
        let known = written(&store, "a", Some(1 << 40), b"").await;
        assert!(known.next_part() * MOST_PARTS >= 1 << 40);
        let mut unknown = written(&store, "a", None, b"").await;
        unknown.sent = MOST_PARTS - 1;
        assert_eq!(unknown.next_part(), 10 * LEAST_PART);
    }

    #[test]
    fn keys_and_options_are_parsed_at_the_edge() {
        let store = Store::memory();
        for bad in ["", "/", "a//b", "../a", "a/./b"] {
            assert!(ObjectWriter::new(&store, bad).is_err(), "{bad}");
        }
        assert_eq!(ObjectWriter::new(&store, "/a/b c").unwrap().name, "memory:/a/b c");
        for bad in ["bucket", "s3://", "s3:///a", "s3://key:secret@bucket", "nfs://bucket"] {
            let error = Store::open(bad, [("", "")]).unwrap_err();
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
