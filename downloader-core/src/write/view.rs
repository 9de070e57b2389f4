//! A second way to what a writer took: for those who read while it goes on, and after its commit.
//!
//! Invariant: a view never changes what it reads. Must not know: who reads, or whether the bytes are right.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use super::draft::read_at;
use crate::error::{Error, Result};

/// Reads what a writer took, beside the writer and after its `commit`: see [`Writer::view`](super::Writer::view).
///
/// After a `discard` it reads what the writer took since; who reads has to know that there was one.
#[async_trait]
pub trait View: fmt::Debug + Send + Sync {
    /// Returns bytes that were written, at least one and at most `range`.
    ///
    /// # Errors
    /// Kind `Local`.
    async fn read(&self, range: Range<u64>) -> Result<Bytes>;
}

/// A view of a file: by the open file, which outlives its temporary name.
#[derive(Debug)]
pub(super) struct FileView {
    file: File,
    path: PathBuf,
}

impl FileView {
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self { file, path }
    }
}

#[async_trait]
impl View for FileView {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        read_at(&self.file, &range).map_err(|error| {
            Error::local(format!("cannot read {}", self.path.display()), error).with_offset(range.start)
        })
    }
}
