//! What the server saw: every request, every connection, every byte it wrote.
//!
//! Owns the counters. Its invariant: what is counted up when something begins is counted down when it ends, however it ends, because a
//! guard does it. It must not know how answers are made.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::kit::gauge::{Connections, Counted, Gauge};

/// One request as it came, and what became of it up to now.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method as sent.
    pub method: String,
    /// The target, byte for byte.
    pub target: Vec<u8>,
    /// The headers in order, names as sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The request's own content, by `Content-Length` or in chunks.
    pub body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub connection: u64,
    /// Which request of that connection it was, from 0.
    pub nth: u64,
    /// When its head was complete.
    pub at: Instant,
    /// The status sent, once it was.
    pub status: Option<u16>,
    /// Body bytes the kernel took from the server: of a cut or hung-up answer the peer may have read fewer.
    pub body_sent: u64,
    /// How it ended, once it did.
    pub end: Option<End>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything that was to be sent was sent.
    Complete,
    /// The script cut it.
    Cut,
    /// The peer went away before the end.
    HungUp,
    /// The server was dropped, or closed all connections.
    Stopped,
}

impl Request {
    /// The value of the first header of this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The `Range` header.
    #[must_use]
    pub fn range(&self) -> Option<&str> {
        self.header("range")
    }

    /// The target as text, with odd bytes replaced.
    #[must_use]
    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.target).into_owned()
    }

    /// Whether the peer went away before the end.
    #[must_use]
    pub fn hung_up(&self) -> bool {
        self.end == Some(End::HungUp)
    }
}

type Entries = Vec<(Request, Arc<AtomicU64>)>;

/// All requests so far.
#[derive(Clone, Default)]
pub(super) struct Journal {
    entries: Arc<Mutex<Entries>>,
    running: Gauge,
}

/// One request being answered; ends as [`End::Stopped`] unless told otherwise.
pub(super) struct Entry {
    journal: Journal,
    index: usize,
    sent: Arc<AtomicU64>,
    end: End,
    _running: Counted,
}

impl Journal {
    pub(super) fn open(&self, request: Request) -> Entry {
        let running = self.running.enter();
        let sent = Arc::<AtomicU64>::default();
        let mut entries = self.lock();
        entries.push((request, sent.clone()));
        Entry { journal: self.clone(), index: entries.len() - 1, sent, end: End::Stopped, _running: running }
    }

    pub(super) fn read(&self) -> Vec<Request> {
        let entries = self.lock();
        entries
            .iter()
            .map(|(request, sent)| Request { body_sent: sent.load(Ordering::SeqCst), ..request.clone() })
            .collect()
    }

    pub(super) fn body_sent(&self) -> u64 {
        self.lock().iter().map(|(_, sent)| sent.load(Ordering::SeqCst)).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn running(&self) -> Connections {
        self.running.read()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    pub(super) fn status(&self, status: u16) {
        self.journal.lock()[self.index].0.status = Some(status);
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(super) fn end(mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.journal.lock()[self.index].0.end = Some(self.end);
    }
}
