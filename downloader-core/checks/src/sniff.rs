//! Owns the media type that the beginning of a content shows, by the names of libmagic.
//!
//! Invariant: any bytes have a type, and the same bytes the same. Must not know: what the type is for.
//!
//! The signatures are those of the crate `file-format`. What it says otherwise than libmagic, or cannot tell by a
//! beginning alone, is here: aliases, text, pages without a doctype, JSON, what a zip file holds.

use file_format::FileFormat;

use crate::archive::is_tar;
use crate::html::is_html;

/// Names of `file-format` that libmagic has others for.
const ALIASES: [(&str, &str); 7] = [
    ("application/mp4", "video/mp4"),
    ("application/vnd.rar", "application/x-rar"),
    ("application/vnd.microsoft.portable-executable", "application/x-dosexec"),
    ("application/xml", "text/xml"),
    ("audio/vnd.wave", "audio/x-wav"),
    ("application/vnd.sqlite3", "application/vnd.sqlite3"),
    ("application/x-sqlite3", "application/vnd.sqlite3"),
];

/// The media type of a content that begins so. Give it 1024 bytes, or all there are.
#[must_use]
pub fn sniff(prefix: &[u8]) -> String {
    let format = FileFormat::from_bytes(prefix);
    let found = match format.media_type() {
        _ if prefix.is_empty() => "application/x-empty",
        _ if is_html(prefix) => "text/html",
        _ if prefix.starts_with(b"PK\x03\x04") => zip(prefix),
        _ if is_tar(prefix) => "application/x-tar",
        "text/plain" | "application/octet-stream" if is_text(prefix) => text(prefix),
        "text/plain" => "application/octet-stream",
        found => ALIASES.iter().find(|(name, _)| *name == found).map_or(found, |(_, alias)| alias),
    };
    found.to_owned()
}

/// Bytes that text has in any of the usual encodings; one that is cut within a character is text too.
fn is_text(prefix: &[u8]) -> bool {
    let is_wide = prefix.starts_with(b"\xff\xfe") || prefix.starts_with(b"\xfe\xff");
    is_wide || prefix.iter().all(|byte| matches!(byte, 0x07..=0x0d | 0x1b | 0x20..=0x7e | 0x80..))
}

fn text(prefix: &[u8]) -> &'static str {
    let mut marks = prefix.iter().filter(|byte| !byte.is_ascii_whitespace());
    match (marks.next(), marks.next()) {
        (Some(b'{'), Some(b'"' | b'}')) | (Some(b'['), Some(b'{' | b'[' | b'"' | b']')) => "application/json",
        _ => "text/plain",
    }
}

/// A zip file by its first entries: many formats are one.
fn zip(prefix: &[u8]) -> &'static str {
    let mut rest = prefix;
    let mut is_office = false;
    for number in 0.. {
        let Some((header, after)) = rest.split_first_chunk::<30>() else { break };
        if !header.starts_with(b"PK\x03\x04") {
            break;
        }
        let field = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let (name_length, extra_length) = (field(26), field(28));
        let size = u32::from_le_bytes([header[18], header[19], header[20], header[21]]) as usize;
        let name = &after[..name_length.min(after.len())];
        let data = after.get(name_length + extra_length..).unwrap_or_default();
        // A jar says so in its first entry, or begins with its manifest.
        let is_jar = after.get(name_length..name_length + 2) == Some(&[0xfe, 0xca]);
        if number == 0 && (is_jar || name.starts_with(b"META-INF/")) {
            return "application/java-archive";
        }
        if number == 0 && name == b"mimetype" {
            return declared(data.get(..size).unwrap_or(data));
        }
        is_office |=
            name == b"[Content_Types].xml" || name.starts_with(b"_rels/") || name.starts_with(b"docProps/");
        match name {
            _ if !is_office => break,
            _ if name.starts_with(b"word/") => return DOCUMENT,
            _ if name.starts_with(b"xl/") => return SHEET,
            _ if name.starts_with(b"ppt/") => return SLIDES,
            _ => {}
        }
        // Sizes that only follow the data lead nowhere.
        let Some(next) = data.get(size..).filter(|_| size > 0) else { break };
        rest = next;
    }
    if is_office { office(prefix) } else { "application/zip" }
}

const DOCUMENT: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const SHEET: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const SLIDES: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";

/// An office document whose telling entry is not reached: any name of one among the bytes there are.
fn office(prefix: &[u8]) -> &'static str {
    let holds = |name: &[u8]| prefix.windows(name.len()).any(|window| window == name);
    if holds(b"word/") {
        DOCUMENT
    } else if holds(b"xl/") {
        SHEET
    } else if holds(b"ppt/") {
        SLIDES
    } else {
        "application/zip"
    }
}

/// What the first entry of OpenDocument and EPUB files declares.
fn declared(content: &[u8]) -> &'static str {
    const KNOWN: [&str; 6] = [
        "application/epub+zip",
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.presentation",
        "application/vnd.oasis.opendocument.graphics",
        "application/vnd.oasis.opendocument.formula",
    ];
    let content = content.trim_ascii();
    KNOWN.iter().find(|name| content.starts_with(name.as_bytes())).map_or("application/zip", |name| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, content: &str) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.bytes().chain(content.bytes()));
        bytes
    }

    // What libmagic 5.44 says of the same.
    #[test]
    fn names_are_those_of_libmagic() {
        let mut tar = vec![0; 512];
        tar[257..265].copy_from_slice(b"ustar\x0000");
        for (content, expected) in [
            (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "image/png"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "image/jpeg"),
            (b"GIF89a\x01\0\x01\0", "image/gif"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
            (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0", "image/bmp"),
            (b"%PDF-1.4\n", "application/pdf"),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "application/gzip"),
            (b"BZh91AY&SY", "application/x-bzip2"),
            (b"\xfd7zXZ\0\0\x04", "application/x-xz"),
            (b"\x28\xb5\x2f\xfd\x04\0", "application/zstd"),
            (b"7z\xbc\xaf\x27\x1c\0\x04", "application/x-7z-compressed"),
            (b"\xed\xab\xee\xdb\x03\0", "application/x-rpm"),
            (b"SQLite format 3\0", "application/vnd.sqlite3"),
            (&tar, "application/x-tar"),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\">", "image/svg+xml"),
            (b"<?xml version=\"1.0\"?>\n<svg>", "image/svg+xml"),
            (b"<?xml version=\"1.0\"?>\n<a>", "text/xml"),
            (b"<html><body>", "text/html"),
            (b"<!doctype html>", "text/html"),
            (b"{\"a\": 1}", "application/json"),
            (b" [ {", "application/json"),
            (b"hello\n", "text/plain"),
            ("caf\u{e9}".as_bytes(), "text/plain"),
            (b"caf\xe9", "text/plain"),
            (b"cut within \xc3", "text/plain"),
            (b"\xff\xfea\0", "text/plain"),
            (b"\0\x01\x02\x03", "application/octet-stream"),
            (b"", "application/x-empty"),
        ] {
            assert_eq!(sniff(content), expected, "{:?}", content.get(..20).unwrap_or(content));
        }
    }

    #[test]
    fn a_zip_file_is_what_its_first_entries_say() {
        let document =
            [entry("[Content_Types].xml", "<Types/>"), entry("word/document.xml", "<w/>")].concat();
        for (content, expected) in [
            (entry("a.txt", "a"), "application/zip"),
            (entry("META-INF/MANIFEST.MF", "a"), "application/java-archive"),
            (entry("mimetype", "application/epub+zip"), "application/epub+zip"),
            (
                entry("mimetype", "application/vnd.oasis.opendocument.text"),
                "application/vnd.oasis.opendocument.text",
            ),
            (document, DOCUMENT),
            (entry("[Content_Types].xml", ""), "application/zip"),
        ] {
            assert_eq!(sniff(&content), expected);
        }
    }
}
