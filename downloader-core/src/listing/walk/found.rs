//! What is done with an entry of a tree: where it is saved, and how its size is learnt exactly.
//!
//! Invariant: a place to save stays below the directory it is meant for, whatever the names are. Must not know: the walk.

use std::path::PathBuf;

use super::Found;
use crate::engine::Engine;
use crate::error::Result;
use crate::listing::{Modified, Precision};
use crate::name::FileName;
use crate::request::Request;

impl Found {
    /// The name alone.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Where to save it, below a directory of one's own: with the directories it was found in, or the name alone. Names are
    /// made harmless ([`FileName`]); `None` if nothing usable is left of one.
    #[must_use]
    pub fn saved_as(&self, keep_directories: bool) -> Option<PathBuf> {
        let path = if keep_directories { &self.path } else { self.name() };
        path.split('/').map(|name| FileName::sanitize(name).map(|name| name.as_str().to_owned())).collect()
    }
}

impl Engine {
    /// Asks for the head of an entry, where its listing told its size rounded or not at all: size and time are then as the
    /// head says. One request more; an entry whose size is known is left as it is.
    ///
    /// # Errors
    /// As for [`Engine::head`].
    pub async fn measure(&self, request: &Request, found: &mut Found) -> Result<()> {
        if found.entry.size.is_some() && !found.entry.size_is_rounded {
            return Ok(());
        }
        let entity = self.head(request.at(found.url.clone())).await?.entity;
        if entity.size.is_some() {
            (found.entry.size, found.entry.size_is_rounded) = (entity.size, false);
        }
        if let Some(time) = entity.modified {
            found.entry.modified = Some(Modified::exactly(time, Precision::Second));
        }
        Ok(())
    }
}
