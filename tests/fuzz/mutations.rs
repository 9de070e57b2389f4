//! Inputs for the bodies of the fuzz targets where no fuzzer is: at random, and the seeds with some bytes changed.
//!
//! Compiled into the unit tests of the libraries. Invariant: the seeds are those of the fuzzer, read from
//! `tests/fuzz/seeds`; a target without any fails. Must not know: what a body asserts.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

/// One change of a text.
#[derive(Clone, Copy, Debug)]
enum Change {
    Put(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    /// Says a part twice.
    Repeat(usize, usize),
    Cut(usize),
}

/// Half of them random bytes, half of them seeds that were changed at up to six places.
pub(crate) fn inputs(target: &str) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        (proptest::sample::select(seeds(target)), vec(changes(), 0..6)).prop_map(|(mut text, changes)| {
            changes.into_iter().for_each(|change| apply(&mut text, change));
            text
        }),
    ]
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    // Of a crate that lies below another as well.
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1);
    let folders = above.map(|folder| folder.join("tests/fuzz/seeds")).find(|folder| folder.is_dir());
    let folder = folders.expect("the seeds are in this repository").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    seeds
}

fn changes() -> impl Strategy<Value = Change> {
    // Bytes that mean something in most fields come more often than others.
    let byte =
        prop_oneof![proptest::sample::select(&b" \t\r\n,;:=\"\\<>/*-+%[]@.0919aZ\x7f\xff"[..]), any::<u8>()];
    let place = 0..4096_usize;
    (0..5, place.clone(), place, byte).prop_map(|(kind, at, length, byte)| match kind {
        0 => Change::Put(at, byte),
        1 => Change::Insert(at, byte),
        2 => Change::Remove(at),
        3 => Change::Repeat(at, length),
        _ => Change::Cut(at),
    })
}

fn apply(text: &mut Vec<u8>, change: Change) {
    if text.is_empty() {
        return;
    }
    let length = text.len();
    match change {
        Change::Put(at, byte) => text[at % length] = byte,
        Change::Insert(at, byte) => text.insert(at % length, byte),
        Change::Remove(at) => drop(text.remove(at % length)),
        Change::Repeat(at, most) => {
            let part = text[at % length..].iter().copied().take(most % 32).collect::<Vec<_>>();
            text.splice(at % length..at % length, part);
        }
        // Rarely the whole rest: short texts are made at random already.
        Change::Cut(at) => text.truncate(length - at % (length / 4 + 1)),
    }
}
