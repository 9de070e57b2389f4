//! Walks through the XML of a metalink, of version 3 or 4, and gathers what is known of it.
//!
//! Invariant: what an element means is decided by all those it stands in, so a digest of a piece is never taken for
//! that of a file; depth, URLs and warnings are bounded. Must not know: what a mirror is asked for.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::Prefix;
use quick_xml::reader::Reader;

use super::{Metalink, MetalinkFile, Version};
use crate::error::{Error, Result};
use crate::mirrors::{Allowed, Gathered, LAST, Mirror, check_length, shown};
use crate::validate::{Algorithm, Digest};

/// Deepest nesting that is read.
const DEEPEST: usize = 32;
const VERSION_3: &str = "http://www.metalinker.org/";
const VERSION_4: &str = "urn:ietf:params:xml:ns:metalink";
/// Types of URLs in version 3 that name the file itself; others, such as `bittorrent`, name something else.
const DIRECT: [&str; 6] = ["http", "https", "ftp", "ftps", "sftp", "file"];

/// An element whose content is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Metalink,
    /// Only groups others: `files`, `verification`, `resources`, `alternates`.
    Files,
    Verification,
    Resources,
    Alternates,
    File,
    Alternate,
    Size,
    Timestamp,
    Hash,
    Url,
}

/// What to do with a child.
enum Child {
    Read(Element),
    /// Known, and of no use here.
    Skip,
    Unknown,
}

struct Walk<'a> {
    gathered: Gathered<'a>,
    is_version_4: bool,
    /// Of the root: elements of another one are foreign.
    prefix: Box<str>,
    open: Vec<Element>,
    /// Elements open within one that is skipped, itself included.
    skipped: usize,
    files: Vec<MetalinkFile>,
    /// Attributes and text of the innermost element.
    algorithm: Option<Algorithm>,
    link: Option<(u32, Option<Box<str>>)>,
    text: String,
}

pub(super) fn parse(document: &[u8], allowed: &Allowed) -> Result<Metalink> {
    check_length(document)?;
    let text = std::str::from_utf8(document)
        .map_err(|error| bad("not UTF-8", error.valid_up_to() as u64).with_source(error))?;
    let mut walk = Walk {
        gathered: Gathered::new(allowed),
        is_version_4: false,
        prefix: Box::default(),
        open: Vec::new(),
        skipped: 0,
        files: Vec::new(),
        algorithm: None,
        link: None,
        text: String::new(),
    };
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut ended = false;
    while !ended {
        let at = reader.buffer_position();
        match reader.read_event() {
            Ok(Event::Start(start)) => walk.start(&start, at)?,
            Ok(Event::End(_)) => {
                walk.end();
                // Whatever stands behind the root is not read.
                ended = walk.open.is_empty();
            }
            Ok(Event::Text(text)) => walk.text(&text),
            Ok(Event::CData(text)) => walk.text(&text),
            Ok(Event::GeneralRef(reference)) => {
                let character = reference.resolve_char_ref().map_err(|error| malformed(&error, at))?;
                match (character, resolve_xml_entity(&reference)) {
                    (Some(character), _) => walk.text(character.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => walk.text(text),
                    (None, None) => {
                        return Err(bad(&format!("entity `{}` is not defined", shown(&reference)), at));
                    }
                }
            }
            Ok(Event::Eof) => return Err(bad("the document ends within, or holds no metalink", at)),
            Ok(_) => {}
            Err(error) => return Err(malformed(&error, reader.error_position())),
        }
    }
    let mut files = walk.files;
    for file in &mut files {
        file.mirrors.sort_by_key(|mirror| mirror.priority);
    }
    Ok(Metalink { files, warnings: walk.gathered.warnings })
}

impl Walk<'_> {
    fn start(&mut self, start: &BytesStart<'_>, at: u64) -> Result<()> {
        if self.open.len() + self.skipped >= DEEPEST {
            return Err(bad(&format!("nested deeper than {DEEPEST} elements"), at));
        }
        if self.skipped > 0 {
            self.skipped += 1;
            return Ok(());
        }
        let Some(parent) = self.open.last() else { return self.root(start, at) };
        let (local, prefix) = start.name().decompose();
        let local = local.into_inner();
        let own = prefix.map(Prefix::into_inner).unwrap_or_default() == &*self.prefix;
        match child(*parent, local, own, self.is_version_4) {
            Child::Read(element) => {
                self.open.push(element);
                self.text.clear();
                self.begin(element, start, at)?;
            }
            Child::Skip => self.skipped = 1,
            Child::Unknown => {
                self.skipped = 1;
                let warning = format!("byte {at}: element `{}` is not known; ignored", shown(local));
                self.gathered.warn(warning);
            }
        }
        Ok(())
    }

    /// The root says which version it is, by its namespace.
    fn root(&mut self, start: &BytesStart<'_>, at: u64) -> Result<()> {
        let (local, prefix) = start.name().decompose();
        let prefix = prefix.map(Prefix::into_inner).unwrap_or_default();
        let declared = if prefix.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{prefix}") };
        let namespace = attribute(start, &declared, at)?;
        self.is_version_4 = match (local.into_inner(), namespace.as_deref()) {
            ("metalink", Some(VERSION_3)) => false,
            ("metalink", Some(VERSION_4)) => true,
            _ => {
                let what = format!("expected `metalink` of the namespace {VERSION_3} or {VERSION_4}");
                return Err(bad(&what, at));
            }
        };
        self.prefix = prefix.into();
        self.open.push(Element::Metalink);
        Ok(())
    }

    fn begin(&mut self, element: Element, start: &BytesStart<'_>, at: u64) -> Result<()> {
        match element {
            Element::File => {
                let name = attribute(start, "name", at)?.unwrap_or_default().into();
                let (current, alternates, mirrors) = (Version::default(), Vec::new(), Vec::new());
                self.files.push(MetalinkFile { name, current, alternates, mirrors });
            }
            Element::Alternate => {
                if let Some(file) = self.files.last_mut() {
                    file.alternates.push(Version::default());
                }
            }
            Element::Hash => {
                self.algorithm = match attribute(start, "type", at)? {
                    None => {
                        self.gathered.warn(format!("byte {at}: digest without a type; ignored"));
                        None
                    }
                    Some(name) => name
                        .parse()
                        .inspect_err(|_| {
                            let warning =
                                format!("byte {at}: digest type `{}` is not known; ignored", shown(&name));
                            self.gathered.warn(warning);
                        })
                        .ok(),
                };
            }
            Element::Url => self.link = self.link(start, at)?,
            _ => {}
        }
        Ok(())
    }

    /// Priority and location of a URL; `None` if it is not one of the file.
    fn link(&mut self, start: &BytesStart<'_>, at: u64) -> Result<Option<(u32, Option<Box<str>>)>> {
        if !self.is_version_4
            && let Some(kind) = attribute(start, "type", at)?
            && !DIRECT.contains(&kind.as_ref())
        {
            self.gathered.warn(format!("byte {at}: URL of type `{}`; ignored", shown(&kind)));
            return Ok(None);
        }
        let (name, range) =
            if self.is_version_4 { ("priority", 1..=999_999) } else { ("preference", 0..=100) };
        let mut rank = None;
        if let Some(text) = attribute(start, name, at)? {
            rank = text.trim().parse::<u32>().ok().filter(|rank| range.contains(rank));
            if rank.is_none() {
                let (low, high) = range.into_inner();
                self.gathered.warn(format!("byte {at}: {name}: expected {low} to {high}; ignored"));
            }
        }
        let priority = match rank {
            Some(priority) if self.is_version_4 => priority - 1,
            Some(preference) => 100 - preference,
            None if self.is_version_4 => 999_998,
            None => LAST,
        };
        let location = attribute(start, "location", at)?.map(|text| shown(&text).into());
        Ok(Some((priority, location)))
    }

    fn text(&mut self, text: &str) {
        if self.skipped == 0 {
            self.text.push_str(text);
        }
    }

    fn end(&mut self) {
        if self.skipped > 0 {
            self.skipped -= 1;
            return;
        }
        let Some(element) = self.open.pop() else { return };
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        match element {
            Element::Size => {
                let size = self.number("size", text);
                self.describe(|version| &mut version.size, size);
            }
            Element::Timestamp => {
                let timestamp = self.number("timestamp", text);
                self.describe(|version| &mut version.timestamp, timestamp);
            }
            Element::Hash => {
                let Some(algorithm) = self.algorithm.take() else { return };
                match (Digest::new(algorithm, text), self.version()) {
                    (Ok(digest), Some(version)) => version.digests.push((algorithm, digest)),
                    (Err(error), _) => self.gathered.warn(format!("{}; ignored", error.what())),
                    (Ok(_), None) => {}
                }
            }
            Element::Url => {
                let Some((priority, location)) = self.link.take() else { return };
                let url = self.gathered.url(text, "url");
                if let (Some(url), Some(file)) = (url, self.files.last_mut()) {
                    file.mirrors.push(Mirror { url, priority, location });
                }
            }
            _ => {}
        }
    }

    fn number(&mut self, name: &str, text: &str) -> Option<u64> {
        let number = text.parse().ok();
        if number.is_none() {
            self.gathered.warn(format!("{name}: expected a number, got `{}`; ignored", shown(text)));
        }
        number
    }

    /// Sets what the innermost version does not say yet.
    fn describe(&mut self, field: impl FnOnce(&mut Version) -> &mut Option<u64>, value: Option<u64>) {
        if let Some(field) = self.version().map(field) {
            *field = field.or(value);
        }
    }

    /// The version that the open elements speak of.
    fn version(&mut self) -> Option<&mut Version> {
        let file = self.files.last_mut()?;
        if self.open.contains(&Element::Alternate) {
            file.alternates.last_mut()
        } else {
            Some(&mut file.current)
        }
    }
}

/// What an element of this name means there; `own` says that it is not of a foreign namespace.
fn child(parent: Element, name: &str, own: bool, is_version_4: bool) -> Child {
    use Element as E;
    // Fedora's extension is of a namespace of its own, whatever its prefix.
    let extension = match (parent, name) {
        (E::File, "alternates") => Some(E::Alternates),
        (E::Alternates, "alternate") => Some(E::Alternate),
        (E::File | E::Alternate, "timestamp") => Some(E::Timestamp),
        _ => None,
    };
    match (parent, name) {
        _ if !own => extension.map_or(Child::Unknown, Child::Read),
        (E::Metalink, "files") if !is_version_4 => Child::Read(E::Files),
        (E::Metalink, "file") if is_version_4 => Child::Read(E::File),
        (E::Files, "file") => Child::Read(E::File),
        (E::File | E::Alternate, "size") => Child::Read(E::Size),
        (E::File | E::Alternate, "verification") if !is_version_4 => Child::Read(E::Verification),
        (E::File, "resources") if !is_version_4 => Child::Read(E::Resources),
        (E::File, "hash" | "url") if is_version_4 => {
            Child::Read(if name == "url" { E::Url } else { E::Hash })
        }
        (E::Verification, "hash") => Child::Read(E::Hash),
        (E::Resources, "url") => Child::Read(E::Url),
        (
            E::Metalink | E::Files | E::File,
            "identity" | "version" | "copyright" | "description" | "logo" | "publisher" | "license"
            | "language" | "os" | "tags" | "generator" | "origin" | "published" | "updated" | "signature"
            | "pieces" | "metaurl" | "releasedate" | "relations" | "multimedia" | "mimetype" | "changelog"
            | "screenshot" | "upgrade",
        )
        | (E::Verification, "pieces" | "signature") => Child::Skip,
        _ => Child::Unknown,
    }
}

fn attribute<'a>(start: &'a BytesStart<'_>, name: &str, at: u64) -> Result<Option<Cow<'a, str>>> {
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| malformed(&error, at))?;
        if attribute.key.into_inner() == name {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            return value.map(Some).map_err(|error| malformed(&error, at));
        }
    }
    Ok(None)
}

fn malformed(error: &dyn std::error::Error, at: u64) -> Error {
    // In words only: the reader's own type stays in here.
    let text: String = error.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
    bad(&format!("not well-formed: {text}"), at)
}

fn bad(what: &str, at: u64) -> Error {
    Error::input(format!("metalink: {what}")).with_offset(at)
}
