//! One download of a run, as it is spoken of.
//!
//! Invariant: what is shown of it is harmless to a terminal. Must not know: how it is done, or told.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use downloader_core::tree::Planned;
use downloader_core::write::Place;
use downloader_core::{Error, ErrorKind, SafeUrl};

use crate::account::Left;
use crate::lists::shown;
use crate::template::Values;

/// One download of the run, as it is spoken of.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its number in the run, from 1.
    pub(crate) number: u32,
    /// Its name, fit to be shown.
    pub(crate) name: Box<str>,
    /// Its file, until its server names another one; `None` is standard output.
    pub(crate) path: Option<PathBuf>,
    /// Where it is, if its server names it.
    pub(crate) place: Option<Place>,
    /// The first of its URLs.
    pub(crate) url: SafeUrl,
    /// What a failure leaves behind.
    pub(crate) left: Left,
    /// What it is of a mirror, if the run is one.
    pub(crate) planned: Option<Planned>,
}

impl Item {
    /// The file as it was named by its server, once that is known.
    fn named(&self) -> Option<&Path> {
        let place = self.place.as_ref()?;
        place.path().or_else(|| place.taken())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> Option<Cow<'_, str>> {
        self.named().or(self.path.as_deref()).map(|path| path.to_string_lossy())
    }

    /// What it is called.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        let name = self.named().and_then(Path::file_name);
        name.map_or(Cow::Borrowed(&*self.name), |name| shown(&name.to_string_lossy()).into())
    }

    /// Did it end because a file of its name is there, and was to be left alone?
    pub(crate) fn is_skipped(&self, error: &Error) -> bool {
        let in_the_way = self.place.as_ref().is_some_and(|place| place.taken().is_some());
        in_the_way && error.kind() == ErrorKind::Refused
    }

    /// What a template can be filled with.
    pub(crate) fn values<'a>(&'a self, name: &'a str, path: Option<&'a str>) -> Values<'a> {
        Values { name, path: path.unwrap_or("-"), url: Some(&self.url), ..Values::default() }
    }
}
