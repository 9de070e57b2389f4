//! What is kept of the head of a reply beside the content it describes.
//!
//! Invariant: it is what the far side said. Must not know: what becomes of it.

use std::sync::Arc;

use mime::Mime;

use crate::download::Wire;
use crate::entity::Entity;
use crate::file::LocalFile;
use crate::name::FileName;
use crate::options::Options;
use crate::url::SafeUrl;
use crate::validate::Digest;
use crate::write::Description;

/// What the head of the first reply says beyond the entity.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) url: SafeUrl,
    pub(crate) not_modified: Option<Entity>,
    pub(crate) media_type: Option<Mime>,
    pub(crate) file_name: Option<FileName>,
    pub(crate) digests: Vec<Digest>,
    pub(crate) wire: Wire,
    pub(crate) file: Option<Arc<LocalFile>>,
    pub(crate) extras: Options,
}

impl Reply {
    /// What a writer is told of it.
    pub(crate) fn description(&self) -> Description {
        let (media_type, wire) = (self.media_type.clone(), self.wire.clone());
        Description { media_type, wire, extras: self.extras.clone() }
    }

    /// What it would call the content.
    pub(crate) fn name(&self) -> Option<FileName> {
        let of_url = |url: Option<&SafeUrl>| url.and_then(FileName::of_url);
        self.file_name.clone().or_else(|| of_url(self.wire.url.as_ref())).or_else(|| of_url(Some(&self.url)))
    }
}
