//! Owns the check of the number of bytes.
//!
//! Invariant: one byte too many is refused when it comes, or before, if the size was announced.
//! Must not know: where the bytes come from or go.

use super::{Check, Evidence, Head, Validator};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Identity;

/// The content must have a size. Refuses a reply that announces another one before its body is read.
///
/// # Errors
/// [`Size::exactly`] fails with kind `Integrity`, [`Size::at_most`] with kind `Refused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    bytes: u64,
    exact: bool,
}

impl Size {
    /// Exactly this many bytes; 0 means an empty content.
    #[must_use]
    pub const fn exactly(bytes: u64) -> Self {
        Self { bytes, exact: true }
    }

    /// This many bytes or fewer.
    #[must_use]
    pub const fn at_most(bytes: u64) -> Self {
        Self { bytes, exact: false }
    }

    fn disagree(self, found: &str) -> Error {
        if self.exact {
            Error::new(ErrorKind::Integrity, format!("size: expected {} bytes, {found}", self.bytes))
        } else {
            Error::new(
                ErrorKind::Refused,
                format!("size: at most {} bytes are accepted, {found}", self.bytes),
            )
        }
    }
}

impl Validator for Size {
    fn admit(&self, head: &Head<'_>) -> Result<()> {
        match head.entity.size {
            Some(size) if size > self.bytes || (self.exact && size < self.bytes) => {
                Err(self.disagree(&format!("announced {size}")))
            }
            _ => Ok(()),
        }
    }

    fn start(&self) -> Box<dyn Check> {
        Box::new(Counted { size: *self, seen: 0 })
    }

    fn identify(&self, identity: &mut Identity) -> bool {
        identity.add(if self.exact { "size" } else { "size at most" }, self.bytes.to_le_bytes());
        true
    }
}

struct Counted {
    size: Size,
    seen: u64,
}

impl Check for Counted {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        self.seen += chunk.len() as u64;
        if self.seen > self.size.bytes {
            return Err(self.size.disagree(&format!("got at least {}", self.seen)));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        if self.seen > self.size.bytes || (self.size.exact && self.seen < self.size.bytes) {
            return Err(self.size.disagree(&format!("got {}", self.seen)));
        }
        Ok(Evidence::new("size", self.seen.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Entity;

    fn admit(size: Size, announced: Option<u64>) -> Result<()> {
        let url = "https://h/f".parse().unwrap();
        let entity = Entity { size: announced, ..Entity::default() };
        size.admit(&Head { url: &url, entity: &entity, media_type: None })
    }

    fn run(size: Size, chunks: &[&[u8]]) -> Result<Evidence> {
        let mut check = size.start();
        for chunk in chunks {
            check.update(chunk)?;
        }
        check.finish()
    }

    #[test]
    fn an_announced_size_is_refused_before_the_body() {
        assert!(admit(Size::exactly(7), Some(7)).is_ok());
        assert!(admit(Size::exactly(7), None).is_ok());
        let error = admit(Size::exactly(7), Some(9)).unwrap_err();
        assert_eq!(
            (error.kind(), error.what()),
            (ErrorKind::Integrity, "size: expected 7 bytes, announced 9")
        );
        assert!(admit(Size::exactly(7), Some(6)).is_err());
        assert!(admit(Size::at_most(7), Some(6)).is_ok());
        assert!(admit(Size::at_most(7), Some(7)).is_ok());
        let error = admit(Size::at_most(7), Some(8)).unwrap_err();
        assert_eq!(
            (error.kind(), error.what()),
            (ErrorKind::Refused, "size: at most 7 bytes are accepted, announced 8")
        );
    }

    #[test]
    fn every_byte_counts() {
        assert_eq!(&*run(Size::exactly(5), &[b"ab", b"cde"]).unwrap().value, "5");
        assert_eq!(&*run(Size::at_most(5), &[b"ab"]).unwrap().value, "2");
        let short = run(Size::exactly(5), &[b"ab"]).unwrap_err();
        assert_eq!((short.kind(), short.what()), (ErrorKind::Integrity, "size: expected 5 bytes, got 2"));
        let long = run(Size::exactly(2), &[b"ab", b"c", b"never seen"]).unwrap_err();
        assert_eq!(long.what(), "size: expected 2 bytes, got at least 3");
        assert_eq!(run(Size::at_most(2), &[b"abc"]).unwrap_err().kind(), ErrorKind::Refused);
    }

    #[test]
    fn nothing_is_a_size() {
        assert_eq!(&*run(Size::exactly(0), &[]).unwrap().value, "0");
        assert!(run(Size::exactly(0), &[b"x"]).is_err());
        assert!(run(Size::exactly(1), &[]).is_err());
    }
}
