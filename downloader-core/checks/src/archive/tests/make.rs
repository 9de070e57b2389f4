//! Makes archives for the tests.
//!
//! Invariant: they are as their formats want them, unless a form says otherwise. Must not know: how they are tested.

use std::io::Write;

use zlib_rs::crc32::crc32;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use crate::archive::Compression;

pub(super) fn compress(compression: Compression, content: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Gzip => gzip(content),
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
    }
}

fn deflate(content: &[u8], window_bits: i32) -> Vec<u8> {
    let mut output = vec![0; content.len() + content.len() / 8 + 1000];
    let config = DeflateConfig { window_bits, ..DeflateConfig::new(6) };
    let mut deflate = Deflate::new_with_config(config);
    deflate.compress(content, &mut output, DeflateFlush::Finish).unwrap();
    output.truncate(deflate.total_out() as usize);
    output
}

/// Bytes of the header and trailer are written out: what they say is tested.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    bytes.extend(deflate(content, -15));
    bytes.extend(crc32(0, content).to_le_bytes());
    bytes.extend((content.len() as u32).to_le_bytes());
    bytes
}

pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        bytes.extend(header(name, content.len() as u64, b'0'));
        bytes.extend(block(content));
    }
    bytes.extend([0; 1024]);
    bytes
}

/// Padded to whole blocks.
pub(super) fn block(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(content.len().next_multiple_of(512), 0);
    bytes
}

pub(super) fn header(name: &str, size: u64, kind: u8) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    bytes[156] = kind;
    bytes[257..265].copy_from_slice(b"ustar\x0000");
    checksum(&mut bytes);
    bytes
}

pub(super) fn checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Deflated,
    Stored,
    /// Sizes behind the data.
    Descriptor,
    DescriptorWithoutSignature,
    /// All sizes in 64 bits.
    Wide,
    WideDescriptor,
    Zstd,
    Bzip2,
    Encrypted,
    Unknown,
}

pub(super) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip_of(files, Form::Deflated)
}

pub(super) fn zip_of(files: &[(&str, &[u8])], form: Form) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        directory.extend(entry(&mut bytes, name, content, form));
    }
    let (start, length, count) = (bytes.len(), directory.len(), files.len() as u16);
    bytes.extend(directory);
    if form == Form::Wide {
        let at = bytes.len() as u64;
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for value in [u64::from(count), count.into(), length as u64, start as u64] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend(at.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
    }
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    let wide = form == Form::Wide;
    for _ in 0..2 {
        bytes.extend(if wide { 0xffff } else { count }.to_le_bytes());
    }
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend(if wide { u32::MAX } else { start as u32 }.to_le_bytes());
    bytes.extend(7u16.to_le_bytes());
    bytes.extend(b"comment");
    bytes
}

/// Writes an entry, gives its part of the directory.
fn entry(bytes: &mut Vec<u8>, name: &str, content: &[u8], form: Form) -> Vec<u8> {
    let offset = bytes.len() as u32;
    let (method, data): (u16, Vec<u8>) = match form {
        Form::Stored => (0, content.to_vec()),
        Form::Zstd => (93, compress(Compression::Zstd, content)),
        Form::Bzip2 => (12, compress(Compression::Bzip2, content)),
        Form::Unknown => (14, content.to_vec()),
        _ => (8, deflate(content, -15)),
    };
    let is_behind =
        matches!(form, Form::Descriptor | Form::DescriptorWithoutSignature | Form::WideDescriptor);
    let flags: u16 = if is_behind { 8 } else { u16::from(form == Form::Encrypted) };
    let (checksum, compressed, size) = (crc32(0, content), data.len() as u64, content.len() as u64);
    let wide = form == Form::Wide;
    let short = |value: u64| if wide { u32::MAX } else { value as u32 }.to_le_bytes();
    let extra: Vec<u8> = if wide {
        [&[1, 0, 16, 0], &size.to_le_bytes()[..], &compressed.to_le_bytes()].concat()
    } else {
        Vec::new()
    };
    let common = |local: bool| {
        let mut fields = Vec::new();
        fields.extend(20u16.to_le_bytes());
        fields.extend(flags.to_le_bytes());
        fields.extend(method.to_le_bytes());
        fields.extend([0; 4]);
        let (checksum, compressed, size) =
            if local && is_behind { (0, 0, 0) } else { (checksum, compressed, size) };
        fields.extend(checksum.to_le_bytes());
        fields.extend(short(compressed));
        fields.extend(short(size));
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend((extra.len() as u16).to_le_bytes());
        fields
    };
    bytes.extend(b"PK\x03\x04");
    bytes.extend(common(true));
    bytes.extend(name.bytes().chain(extra.iter().copied()));
    bytes.extend(&data);
    if is_behind {
        if form != Form::DescriptorWithoutSignature {
            bytes.extend(b"PK\x07\x08");
        }
        bytes.extend(checksum.to_le_bytes());
        for value in [compressed, size] {
            let length = if form == Form::WideDescriptor { 8 } else { 4 };
            bytes.extend(&value.to_le_bytes()[..length]);
        }
    }
    let mut named = b"PK\x01\x02\x14\0".to_vec();
    named.extend(common(false));
    named.extend([0; 10]);
    named.extend(offset.to_le_bytes());
    named.extend(name.bytes().chain(extra.iter().copied()));
    named
}
