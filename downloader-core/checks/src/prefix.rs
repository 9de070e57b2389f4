//! Owns the beginning of a content, collected while it passes.
//!
//! Invariant: holds at most its capacity, and says once that it is full, however the bytes were split. Must not know:
//! what is looked for in it.

pub(crate) struct Prefix {
    bytes: Vec<u8>,
    capacity: usize,
}

impl Prefix {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { bytes: Vec::new(), capacity }
    }

    /// Takes what there is room for; true if that made it full.
    pub(crate) fn take(&mut self, chunk: &[u8]) -> bool {
        let room = self.capacity - self.bytes.len();
        self.bytes.extend_from_slice(&chunk[..room.min(chunk.len())]);
        room > 0 && chunk.len() >= room
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() == self.capacity
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn forget(&mut self) {
        self.bytes = Vec::new();
        self.capacity = 0;
    }
}
