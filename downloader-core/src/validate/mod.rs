//! What must be true of the bytes: the validator trait, and the validators that come with the engine.
//!
//! Invariant: a check sees every byte of the content once, in order, whatever order they came in.
//! Must not know: writers, sources, protocols.

mod advisory;
mod algorithm;
mod digest;
mod size;
mod told;

use std::fmt;

use mime::Mime;

pub use self::advisory::Advisory;
pub use self::algorithm::Algorithm;
pub use self::digest::Digest;
pub use self::size::Size;
pub(crate) use self::told::Told;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::url::SafeUrl;

/// What must be true of the bytes: plain, shareable data. Each run starts a fresh [`Check`].
pub trait Validator: fmt::Debug + Send + Sync + 'static {
    /// Refuses a reply before a byte of its body is read.
    ///
    /// # Errors
    /// Kind `Refused` or `Integrity`: the source is then asked no more for this content.
    fn admit(&self, head: &Head<'_>) -> Result<()> {
        let _ = head;
        Ok(())
    }

    /// Starts a check of one run.
    fn start(&self) -> Box<dyn Check>;

    /// Does passing prove the whole content, so that bytes of several sources may be joined on trial?
    fn is_digest(&self) -> bool {
        false
    }

    /// Adds what the check asks for, for [`SingleFlight`](crate::SingleFlight): two validators of one identity accept the
    /// same contents, with the same evidence. Default: false, nothing is added, and only the very same validator is equal
    /// to this one.
    fn identify(&self, identity: &mut Identity) -> bool {
        let _ = identity;
        false
    }
}

/// One run of a validator. Fed every byte once, in order. May be moved to a thread of its own.
pub trait Check: Send {
    /// The next bytes.
    ///
    /// # Errors
    /// Kind `Integrity` when it is already clear that the content is wrong.
    fn update(&mut self, chunk: &[u8]) -> Result<()>;

    /// Every byte was seen.
    ///
    /// # Errors
    /// Kind `Integrity`, naming the check, what was expected and what was found.
    fn finish(self: Box<Self>) -> Result<Evidence>;
}

/// The head of a reply, for [`Validator::admit`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Head<'a> {
    /// The URL asked.
    pub url: &'a SafeUrl,
    /// The content as announced.
    pub entity: &'a Entity,
    /// The media type as announced.
    pub media_type: Option<&'a Mime>,
}

/// What a check found, kept in the outcome.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evidence {
    /// Name of the check, such as `sha-256` or `size`.
    pub check: Box<str>,
    /// What was found, such as a digest in hexadecimal.
    pub value: Box<str>,
    /// True when the source itself told what to expect, and not the caller: it then proves no more than that the
    /// bytes are those the source means.
    pub told: bool,
    /// Why an advisory check did not agree.
    pub warning: Option<Error>,
}

impl Evidence {
    /// What a check of this name found.
    #[must_use]
    pub fn new(check: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        Self { check: check.into(), value: value.into(), told: false, warning: None }
    }
}
