//! What the scripted server has to give, and what goes wrong with it.
//!
//! Invariant: what a request gets depends on its number alone. Must not know: connections.

use std::sync::Arc;

use bytes::Bytes;

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deed {
    /// Nothing.
    #[default]
    Serve,
    /// The data ends after so many bytes, and a 426 says why.
    Cut(u64),
    /// The data ends after so many bytes, and a 226 says that it was all.
    Short(u64),
    /// All data comes, and then a 426.
    Odd,
    /// All data comes, and no reply ever.
    Mute,
    /// All data comes, and then the control connection ends.
    Gone,
    /// All data comes, and the reply twice.
    Twice,
    /// Nothing comes after so many bytes, for ever.
    Stall(u64),
    /// `SIZE` is never answered.
    Silent,
    /// This reply to everything about the file.
    Refuse(&'static str),
}

/// A file, and how it is served.
#[derive(Clone)]
pub struct FtpFile {
    pub(super) content: Bytes,
    pub(super) modified: String,
    /// The size told, if not that of the content; `None` inside tells none.
    pub(super) size: Option<Option<u64>>,
    pub(super) no_rest: bool,
    pub(super) decide: Arc<dyn Fn(usize) -> Deed + Send + Sync>,
}

impl FtpFile {
    /// What `MLSD` says of a directory: files, each with its size, and directories.
    pub fn directory<'a>(entries: impl IntoIterator<Item = (&'a str, Option<usize>)>) -> Self {
        let facts = |size: Option<usize>| match size {
            Some(size) => format!("type=file;size={size};modify=20231114221320;"),
            None => "type=dir;modify=20231114221320;".to_owned(),
        };
        let lines = entries.into_iter().map(|(name, size)| format!("{} {name}\r\n", facts(size)));
        Self::new(lines.collect::<String>())
    }

    /// Served as it is, changed in 2023.
    #[must_use]
    pub fn new(content: impl Into<Bytes>) -> Self {
        Self {
            content: content.into(),
            modified: "20231114221320".to_owned(),
            size: None,
            no_rest: false,
            decide: Arc::new(|_| Deed::Serve),
        }
    }

    /// What `MDTM` says; empty, and it is not known.
    #[must_use]
    pub fn modified(mut self, time: &str) -> Self {
        time.clone_into(&mut self.modified);
        self
    }

    /// What `SIZE` says; `None`, and it is not known.
    #[must_use]
    pub fn size(mut self, size: Option<u64>) -> Self {
        self.size = Some(size);
        self
    }

    /// `REST` is refused.
    #[must_use]
    pub fn no_rest(mut self) -> Self {
        self.no_rest = true;
        self
    }

    /// What happens to each request, counted from zero.
    #[must_use]
    pub fn decide(mut self, decide: impl Fn(usize) -> Deed + Send + Sync + 'static) -> Self {
        self.decide = Arc::new(decide);
        self
    }
}
