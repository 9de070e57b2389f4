//! The lines of `MLSD` (RFC 3659 §7): facts with `;` behind each, a blank, the name.
//!
//! Invariant: facts that are not known are skipped. Must not know: other forms.

use downloader_core::listing::{EntryKind, Modified, Precision};

use super::{Read, digits, entry};
use crate::time;

pub(super) fn read(line: &[u8]) -> Option<Read> {
    let blank = line.iter().position(|byte| *byte == b' ')?;
    let (facts, name) = (&line[..blank], &line[blank + 1..]);
    if !facts.is_empty() && !facts.contains(&b'=') {
        return None;
    }
    let (mut kind, mut size, mut modified, mut mode, mut target) = (EntryKind::File, None, None, None, None);
    let (mut owner, mut group) = (None, None);
    for fact in facts.split(|byte| *byte == b';').filter(|fact| !fact.is_empty()) {
        let equals = fact.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (fact[..equals].to_ascii_lowercase(), &fact[equals + 1..]);
        let text = || str::from_utf8(value).ok().map(str::to_owned);
        match &key[..] {
            b"type" => {
                let lower = value.to_ascii_lowercase();
                kind = match &lower[..] {
                    b"file" => EntryKind::File,
                    b"dir" => EntryKind::Directory,
                    b"cdir" | b"pdir" => return Some(Read::Nothing),
                    other if other.starts_with(b"os.unix=slink") || other.starts_with(b"os.unix=symlink") => {
                        let colon = value.iter().position(|byte| *byte == b':');
                        target = colon.map(|at| value[at + 1..].to_vec()).filter(|target| !target.is_empty());
                        EntryKind::Link
                    }
                    _ => EntryKind::Other,
                };
            }
            b"size" => size = digits(value),
            b"modify" => {
                modified = time::time_val(value).map(|(time, exact)| {
                    Modified::exactly(time, if exact { Precision::Exact } else { Precision::Second })
                });
            }
            b"unix.mode" => mode = text().and_then(|text| u32::from_str_radix(&text, 8).ok()),
            b"unix.ownername" => owner = text(),
            b"unix.groupname" => group = text(),
            b"unix.owner" | b"unix.uid" => owner = owner.or_else(text),
            b"unix.group" | b"unix.gid" => group = group.or_else(text),
            _ => {}
        }
    }
    entry(name, kind, |entry| {
        entry
            .with_size(size.filter(|_| kind == EntryKind::File))
            .with_modified(modified)
            .with_mode(mode)
            .with_owner(owner.as_deref(), group.as_deref())
            .with_target(target)
    })
}
