//! Index pages in JSON: an array with an object for each entry, as nginx and Caddy write it.
//!
//! Invariant: at most one object is held; without the bracket at its end the array is cut; an array of anything else than
//! entries is no index. Must not know: which server it was, connections.

use std::fmt;

use downloader_core::listing::{Entry, EntryKind, Line, ListingParser, Modified, NoName, Precision};
use downloader_core::{Error, ErrorKind, Result, SafeUrl};
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

use super::fields;
use super::html::no_index;
use super::links::{Link, Links};

/// Longest object that is read.
const LONGEST_OBJECT: usize = 64 * 1024;

/// An index in JSON that is read.
#[derive(Debug)]
pub(crate) struct Json {
    links: Links,
    state: State,
    /// The object at hand, as far as it came.
    object: Vec<u8>,
    /// Brackets and braces within it that are open.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Objects that were entries.
    entries: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    /// Behind the bracket, before the first object.
    Empty,
    Object,
    /// Behind an object.
    Behind,
    /// Behind a comma.
    Next,
    End,
}

impl ListingParser for Json {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Line>) -> Result<()> {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::Object, byte) => self.within(byte, out)?,
                (state, byte) if byte.is_ascii_whitespace() => state,
                (State::Start, b'[') => State::Empty,
                (State::Empty | State::Next, b'{') => {
                    self.object.clear();
                    self.object.push(byte);
                    self.depth = 1;
                    State::Object
                }
                (State::Empty | State::Behind, b']') => State::End,
                (State::Behind, b',') => State::Next,
                _ => return Err(no_index()),
            };
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<Line>) -> Result<()> {
        match self.state {
            State::End => Ok(()),
            _ => Err(Error::new(ErrorKind::Truncated, "the index ended before its closing bracket")),
        }
    }
}

impl Json {
    pub(crate) fn new(directory: &SafeUrl) -> Self {
        Self {
            links: Links::new(directory),
            state: State::Start,
            object: Vec::new(),
            depth: 0,
            in_string: false,
            is_escaped: false,
            entries: 0,
        }
    }

    /// A byte within an object.
    fn within(&mut self, byte: u8, out: &mut Vec<Line>) -> Result<State> {
        if self.object.len() <= LONGEST_OBJECT {
            self.object.push(byte);
        }
        if self.in_string {
            self.in_string = self.is_escaped || byte != b'"';
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            return Ok(State::Object);
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        if self.depth > 0 {
            return Ok(State::Object);
        }
        match read(&self.object, &self.links) {
            Ok(Some(entry)) => out.push(entry.into()),
            Ok(None) => {}
            // Of another array, not of an index.
            Err(()) if self.entries == 0 => return Err(no_index()),
            Err(()) => out.push(Line::unreadable(&self.object)),
        }
        self.entries += 1;
        Ok(State::Behind)
    }
}

/// What nginx and Caddy say of an entry.
#[derive(serde::Deserialize)]
struct Told {
    name: Name,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    is_dir: bool,
    #[serde(default)]
    is_symlink: bool,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    mtime: Option<String>,
    #[serde(default)]
    mod_time: Option<String>,
    #[serde(default)]
    mode: Option<u64>,
    #[serde(default)]
    url: Option<String>,
}

/// A name that need not be UTF-8: nginx writes the bytes of the file system.
struct Name(Vec<u8>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_bytes<E: serde::de::Error>(self, name: &[u8]) -> Result<Name, E> {
                Ok(Name(name.to_vec()))
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
                self.visit_bytes(name.as_bytes())
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Name, E> {
                Err(E::custom("no name"))
            }
        }
        deserializer.deserialize_bytes(Bytes).map_err(|error| D::Error::custom(error.to_string()))
    }
}

/// The entry; nothing for the directory itself.
fn read(object: &[u8], links: &Links) -> Result<Option<Entry>, ()> {
    if object.len() > LONGEST_OBJECT {
        return Err(());
    }
    let told: Told = serde_json::from_slice(object).map_err(|_| ())?;
    let kind = match told.kind.as_deref() {
        Some("directory") => EntryKind::Directory,
        Some("file") => EntryKind::File,
        Some(_) => EntryKind::Other,
        // A link to a file is served like one.
        None if told.is_dir && told.is_symlink => EntryKind::Link,
        None if told.is_dir => EntryKind::Directory,
        None => EntryKind::File,
    };
    let mut name = told.name.0;
    if kind != EntryKind::File && name.ends_with(b"/") {
        name.pop();
    }
    // Caddy has replaced in the name what is not UTF-8; its link has the bytes.
    let link = told.url.as_deref().map(|url| links.resolve(url));
    let link = if let Some(Link::Entry(link)) = link { Some(link) } else { None };
    if let Some(link) = &link {
        name = link.raw_name().to_vec();
    }
    let entry = match Entry::new(name, kind) {
        Ok(entry) => match link {
            Some(link) => entry.with_reference(&link.reference()),
            None => entry,
        },
        Err(NoName::Itself) => return Ok(None),
        Err(NoName::Unusable) => return Err(()),
    };
    let modified = told.mtime.or(told.mod_time).and_then(|text| {
        let (modified, rest) = fields::time(&text)?;
        rest.trim()
            .is_empty()
            .then_some(Modified { precision: modified.precision.min(Precision::Second), ..modified })
    });
    Ok(Some(
        entry
            .with_size(told.size.filter(|_| kind == EntryKind::File))
            .with_modified(modified)
            .with_mode(told.mode.and_then(|mode| u32::try_from(mode & 0o777).ok())),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(page: &[u8], piece: usize) -> Result<Vec<Line>> {
        let (mut json, mut lines) = (Json::new(&"http://h/d/".parse().unwrap()), Vec::new());
        for piece in page.chunks(piece) {
            json.push(piece, &mut lines)?;
        }
        json.finish(&mut lines)?;
        Ok(lines)
    }

    fn shown(lines: &[Line]) -> Vec<String> {
        let shown = |line: &Line| match line {
            Line::Entry(entry) => {
                let time = entry.modified.and_then(|modified| {
                    let since = modified.time.duration_since(std::time::UNIX_EPOCH).ok()?;
                    Some(format!("{} {}", since.as_secs(), modified.precision.as_str()))
                });
                format!("{:?} {} {:?} {time:?} {:?}", entry.kind, entry.name(), entry.size, entry.mode)
            }
            Line::Unreadable(line) => format!("? {line}"),
            _ => unreachable!(),
        };
        lines.iter().map(shown).collect()
    }

    /// As nginx 1.22 wrote it, with a name that is not UTF-8.
    const NGINX: &[u8] = b"[\n{ \"name\":\"deep\", \"type\":\"directory\", \"mtime\":\"Tue, 02 Jan 2024 15:04:05 GMT\" },\n\
        { \"name\":\"a \\\"b\\\" {#}.txt\", \"type\":\"file\", \"mtime\":\"Tue, 02 Jan 2024 15:04:05 GMT\", \"size\":5 },\n\
        { \"name\":\"caf\xe9\", \"type\":\"file\", \"mtime\":\"Tue, 02 Jan 2024 15:04:05 GMT\", \"size\":0 }\n]";

    /// As Caddy 2 writes it when it is asked for JSON.
    const CADDY: &str = r#"[{"name":"deep/","size":4096,"url":"./deep/","mod_time":"2024-01-02T15:04:05Z","mode":2147484141,"is_dir":true,"is_symlink":false},
        {"name":"caf\ufffd.txt","size":5,"url":"./caf%e9.txt","mod_time":"2024-01-02T15:04:05.5Z","mode":420,"is_dir":false,"is_symlink":false},
        {"name":"loop/","size":1,"url":"./loop/","mod_time":"2024-01-02T15:04:05Z","mode":134218239,"is_dir":true,"is_symlink":true}]
"#;

    #[test]
    fn nginx_and_caddy() {
        for piece in [1, 5, 10_000] {
            let lines = parse(NGINX, piece).unwrap();
            assert_eq!(
                shown(&lines),
                [
                    "Directory deep None Some(\"1704207845 second\") None",
                    "File a \"b\" {#}.txt Some(5) Some(\"1704207845 second\") None",
                    "File caf\u{fffd} Some(0) Some(\"1704207845 second\") None",
                ]
            );
            let Line::Entry(last) = &lines[2] else { unreachable!() };
            assert_eq!((last.raw_name(), &*last.reference()), (&b"caf\xe9"[..], "caf%E9"));
            assert_eq!(
                shown(&parse(CADDY.as_bytes(), piece).unwrap()),
                [
                    "Directory deep None Some(\"1704207845 second\") Some(493)",
                    "File caf\u{fffd}.txt Some(5) Some(\"1704207845 exact\") Some(420)",
                    "Link loop None Some(\"1704207845 second\") Some(511)",
                ]
            );
            let Line::Entry(link) = &parse(CADDY.as_bytes(), piece).unwrap()[1] else { unreachable!() };
            assert_eq!((link.raw_name(), &*link.reference()), (&b"caf\xe9.txt"[..], "caf%e9.txt"));
        }
        assert_eq!(parse(b" [ ] \n", 1).unwrap(), []);
    }

    #[test]
    fn an_unreadable_object_is_reported_and_other_json_is_no_index() {
        let lines =
            parse(br#"[{"name":"a"},{"name":"b/c"},{"name":7},{"x":1},{"name":".."},{"name":"d"}]"#, 3)
                .unwrap();
        assert_eq!(shown(&lines)[1..4], [r#"? {"name":"b/c"}"#, r#"? {"name":7}"#, r#"? {"x":1}"#]);
        assert_eq!(lines.len(), 5);
        let long = format!(r#"[{{"name":"a"}},{{"name":"{}"}}]"#, "x".repeat(100_000));
        assert!(matches!(parse(long.as_bytes(), 999).unwrap()[..], [Line::Entry(_), Line::Unreadable(_)]));
        for (page, kind) in [
            (&b"{\"error\":1}"[..], ErrorKind::Protocol),
            (b"[1]", ErrorKind::Protocol),
            (b"[{\"id\":1}]", ErrorKind::Protocol),
            (b"[] x", ErrorKind::Protocol),
            (b"[{\"name\":\"a\"},]", ErrorKind::Protocol),
            (b"[{\"name\":\"a\"},", ErrorKind::Truncated),
            (b"[{\"name\":\"a]}", ErrorKind::Truncated),
            (b"[", ErrorKind::Truncated),
            (b"", ErrorKind::Truncated),
        ] {
            assert_eq!(parse(page, 2).unwrap_err().kind(), kind, "{}", String::from_utf8_lossy(page));
        }
        for cut in 0..NGINX.len() {
            assert!(parse(&NGINX[..cut], 7).is_err(), "{cut}");
        }
    }
}
