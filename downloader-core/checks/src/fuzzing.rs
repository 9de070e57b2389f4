//! The bodies of the fuzz targets of this crate (`tests/fuzz`), which are property tests too.
//!
//! Owns what must hold whatever bytes come. Invariant: a body fails by panicking and never otherwise. Must not know: who
//! makes the bytes.

use downloader_core::{Evidence, Result, Validator};

use crate::{ArchiveKind, ArchiveTest, ImageSize, Limits, MediaType, NotHtml};

/// One verdict, however the bytes are split; `None` where it fails.
fn verdict(validator: &dyn Validator, data: &[u8], pieces: usize) -> Option<String> {
    let run = || -> Result<Evidence> {
        let mut check = validator.start();
        for chunk in data.chunks(pieces.max(1)) {
            check.update(chunk)?;
        }
        check.finish()
    };
    run().ok().map(|evidence| {
        format!("{}={} {:?}", evidence.check, evidence.value, evidence.warning.map(|error| error.kind()))
    })
}

fn same(validator: &dyn Validator, data: &[u8]) -> Option<String> {
    let whole = verdict(validator, data, data.len());
    for pieces in [1, 3, 61] {
        assert_eq!(verdict(validator, data, pieces), whole, "in pieces of {pieces}");
    }
    whole
}

/// Any bytes as an archive of any kind: one verdict in all pieces, within limits.
pub fn archive(data: &[u8]) {
    let limits = Limits::default().bytes(1 << 20).entries(1000);
    same(&ArchiveTest::by_content().limits(limits.clone()).accept_untestable(), data);
    let kinds = ["tar", "gz", "bz2", "xz", "zst", "tar.gz", "zip"].map(str::parse::<ArchiveKind>);
    for kind in kinds.into_iter().flatten() {
        same(&ArchiveTest::new(kind).limits(limits.clone()).accept_untestable(), data);
    }
}

/// Any bytes as an image, a page and a thing of some type.
pub fn content(data: &[u8]) {
    same(&ImageSize::new(), data);
    same(&NotHtml, data);
    let found = same(&MediaType::record(), data).unwrap_or_default();
    assert!(found.starts_with("media-type="), "{found}");
}

/// Any text as patterns of media types: nothing hangs, and what is accepted is the same twice.
pub fn patterns(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(rule) = MediaType::parse(text) else { return };
    let twice = MediaType::parse(&format!("{text},{text}"));
    for found in ["image/png", "text/plain", "application/x-empty", text] {
        if let Ok(twice) = &twice
            && !text.is_empty()
        {
            assert_eq!(rule.judge(found).is_ok(), twice.judge(found).is_ok(), "{text:?} {found:?}");
        }
    }
}

#[cfg(test)]
#[path = "../../../tests/fuzz/mutations.rs"]
mod mutations;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::mutations::inputs;

    proptest! {
        #[test]
        fn archive(data in inputs("archive")) {
            super::archive(&data);
        }

        #[test]
        fn content(data in inputs("content")) {
            super::content(&data);
        }

        #[test]
        fn patterns(data in inputs("patterns")) {
            super::patterns(&data);
        }
    }
}
