//! Owns the lists of digests that lie beside files: `NAME.sha256`, `SHA256SUMS`, and those of BSD.
//!
//! Invariant: a line either names one digest of one file, or is told by its number. Must not know: what is made of a
//! digest.
//!
//! Accepted forms, mixed as they come:
//!
//! ```text
//! 9f86d081…  NAME             coreutils: two blanks, or a blank and `*` for binary
//! \9f86d081…  NA\\ME\n        the same with an escaped name: `\\`, `\n`, `\r`
//! SHA256 (NAME) = 9f86d081…   BSD; the algorithm by any of its names
//! 9f86d081…                   alone: of the only file there is
//! ```
//!
//! Blank lines, lines that begin with `#`, and the armour of a signature around the list are left out.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::request::Request;
use crate::validate::{Algorithm, Digest};
use crate::write::MemoryWriter;

/// Longest list in bytes.
pub const MAX_CHECKSUMS: u64 = 4 << 20;
/// Most lines that are told of as not understood.
const MOST_WARNINGS: usize = 100;

/// One line of a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChecksumLine {
    /// Name of the file, as it stands there; `None` where the digest stands alone.
    pub name: Option<String>,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The digest, in lower-case hexadecimal.
    pub hex: Box<str>,
}

impl ChecksumLine {
    /// Reads one line without its end; `None` when it is of none of the forms. Hexadecimal digits alone tell the
    /// algorithm by their number (32, 40, 56, 64, 96 or 128), unless `algorithm` is known.
    #[must_use]
    pub fn parse(line: &str, algorithm: Option<Algorithm>) -> Option<Self> {
        bsd(line).or_else(|| coreutils(line, algorithm))
    }
}

/// A list of digests, read whole.
///
/// ```no_run
/// # async fn f(engine: downloader_core::Engine) -> downloader_core::Result<()> {
/// use downloader_core::checksums::Checksums;
/// use downloader_core::{FileWriter, Request};
/// let list = Checksums::fetch(&engine, Request::get("https://example.org/SHA256SUMS")?).await?;
/// let mut request = Request::get("https://mirror.example.net/a.iso")?;
/// for digest in list.of("a.iso")? {
///     request = request.check(digest);
/// }
/// engine.download(request, FileWriter::new("a.iso")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Checksums {
    lines: Vec<ChecksumLine>,
    warnings: Vec<u32>,
}

impl Checksums {
    /// Reads a list; `name` is that of the list, whose ending may tell the algorithm (`a.iso.sha256`, `SHA512SUMS`).
    ///
    /// # Errors
    /// Kind `Integrity` when no line of it names a digest: a page that came in its place, for instance; kind `Refused`
    /// when it is longer than [`MAX_CHECKSUMS`].
    pub fn parse(text: &[u8], name: &str) -> Result<Self> {
        if text.len() as u64 > MAX_CHECKSUMS {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("checksums: more than {MAX_CHECKSUMS} bytes"),
            ));
        }
        let algorithm = told_by(name);
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let (mut list, mut is_signature) = (Self::default(), false);
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = str::from_utf8(line).ok();
            match text.map(str::trim) {
                Some("-----BEGIN PGP SIGNATURE-----") => is_signature = true,
                Some("-----END PGP SIGNATURE-----") => is_signature = false,
                Some("" | "-----BEGIN PGP SIGNED MESSAGE-----") => {}
                Some(text) if is_signature || text.starts_with('#') || text.starts_with("Hash: ") => {}
                _ => match text.and_then(|text| ChecksumLine::parse(text, algorithm)) {
                    Some(line) => list.lines.push(line),
                    None if list.warnings.len() < MOST_WARNINGS => list.warnings.push(number),
                    None => {}
                },
            }
        }
        if list.lines.is_empty() {
            return Err(Error::new(ErrorKind::Integrity, "checksums: no line names a digest"));
        }
        Ok(list)
    }

    /// Fetches a list, with the repeats and limits of any download, and reads it. Whoever serves it vouches for the
    /// files it names: take it from elsewhere than a mirror, over TLS.
    ///
    /// # Errors
    /// Those of the download, and of [`parse`](Self::parse). Dropping the future stops it.
    pub async fn fetch(engine: &Engine, request: Request) -> Result<Self> {
        let (writer, memory) = MemoryWriter::new(MAX_CHECKSUMS);
        let outcome = engine.download(request, writer).await?;
        let name = outcome.url.expose().path().to_owned();
        let list = memory.into_bytes().unwrap_or_default();
        Self::parse(&list, &name).map_err(|error| error.with_url(&outcome.url))
    }

    /// The digest of the file of this name: that of the same name, with or without folders in front of it in the list;
    /// else the one that stands alone, if nothing else is in the list. Several digests of it must all hold.
    ///
    /// # Errors
    /// Kind `NotFound` when the list has none for it, or two of one algorithm that differ.
    pub fn of(&self, name: &str) -> Result<Vec<Digest>> {
        let base = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let named = |line: &&ChecksumLine, whole: bool| {
            line.name.as_deref().is_some_and(|found| {
                let found = found.strip_prefix("./").unwrap_or(found);
                if whole { found == name } else { base(found) == base(name) }
            })
        };
        let mut found: Vec<_> = self.lines.iter().filter(|line| named(line, true)).collect();
        if found.is_empty() {
            found = self.lines.iter().filter(|line| named(line, false)).collect();
        }
        if let ([only], true) = (&self.lines[..], found.is_empty())
            && only.name.is_none()
        {
            found.push(only);
        }
        let none = |what: &str| -> Result<Vec<Digest>> {
            Err(Error::new(ErrorKind::NotFound, format!("checksums: {what}")))
        };
        let mut kept: Vec<&ChecksumLine> = Vec::new();
        for line in found {
            match kept.iter().find(|kept| kept.algorithm == line.algorithm) {
                Some(same) if same.hex != line.hex => {
                    return none("the list has two digests of the file that differ");
                }
                Some(_) => {}
                None => kept.push(line),
            }
        }
        let digests: Result<Vec<_>> =
            kept.iter().map(|line| Digest::new(line.algorithm, &line.hex)).collect();
        if kept.is_empty() { none("the list has no digest of the file") } else { digests }
    }

    /// What is in the list, in its order.
    #[must_use]
    pub fn lines(&self) -> &[ChecksumLine] {
        &self.lines
    }

    /// The numbers of the lines that were not understood, from 1: the first 100 of them.
    #[must_use]
    pub fn warnings(&self) -> &[u32] {
        &self.warnings
    }
}

/// The algorithm that the name of a list says.
fn told_by(name: &str) -> Option<Algorithm> {
    let name = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let stem = name.strip_suffix(".txt").or_else(|| name.strip_suffix(".asc")).unwrap_or(&name);
    let ending = stem.rsplit('.').next().unwrap_or_default();
    let ending = ending.strip_suffix("sums").or_else(|| ending.strip_suffix("sum")).unwrap_or(ending);
    algorithm(ending)
}

/// By any of the names that tools write: `SHA256`, `SHA2-256`, `SHA-256`.
fn algorithm(name: &str) -> Option<Algorithm> {
    let plain: String = name.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase();
    let plain = plain.strip_prefix("sha2").filter(|rest| rest.len() == 3).map_or(plain.clone(), |rest| {
        // SHA224 and SHA256 begin like SHA2-….
        if plain.len() == 7 { format!("sha{rest}") } else { plain.clone() }
    });
    Some(match plain.as_str() {
        "md5" => Algorithm::Md5,
        "sha1" => Algorithm::Sha1,
        "sha224" => Algorithm::Sha224,
        "sha256" => Algorithm::Sha256,
        "sha384" => Algorithm::Sha384,
        "sha512" => Algorithm::Sha512,
        "blake3" | "b3" => Algorithm::Blake3,
        _ => return None,
    })
}

fn bsd(line: &str) -> Option<ChecksumLine> {
    let (line, is_escaped) = unmarked(line);
    let (kind, rest) = line.split_once(" (")?;
    let (name, hex) = rest.rsplit_once(") = ")?;
    line_of(Some(named(name, is_escaped)?), algorithm(kind)?, hex.trim_end())
}

fn coreutils(line: &str, algorithm: Option<Algorithm>) -> Option<ChecksumLine> {
    let (line, is_escaped) = unmarked(line);
    let line = line.trim_start_matches([' ', '\t']);
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    let (hex, rest) = line.split_at(end);
    let by_length = Algorithm::of_digits(hex.len())?;
    // What the list's name says counts where it can be meant: BLAKE3 has as many digits as SHA-256.
    let known = algorithm.filter(|algorithm| algorithm.length() * 2 == hex.len()).unwrap_or(by_length);
    if rest.trim().is_empty() {
        return line_of(None, known, hex);
    }
    // One blank, then one more or the mark of binary; a single blank or tab is written by others.
    let rest = rest.strip_prefix([' ', '\t'])?;
    let name = rest.strip_prefix(['*', ' ']).unwrap_or(rest);
    line_of(Some(named(name, is_escaped)?), known, hex)
}

fn line_of(name: Option<String>, algorithm: Algorithm, hex: &str) -> Option<ChecksumLine> {
    let is_digest = hex.len() == 2 * algorithm.length() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| ChecksumLine { name, algorithm, hex: hex.to_ascii_lowercase().into() })
}

/// A backslash in front of the line says that its name is escaped.
fn unmarked(line: &str) -> (&str, bool) {
    line.strip_prefix('\\').map_or((line, false), |line| (line, true))
}

fn named(name: &str, is_escaped: bool) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    if !is_escaped {
        return Some(name.to_owned());
    }
    let (mut plain, mut rest) = (String::with_capacity(name.len()), name.chars());
    while let Some(next) = rest.next() {
        plain.push(match next {
            '\\' => match rest.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::Validator;

    const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const MD5: &str = "098f6bcd4621d373cade4e832627b4f6";

    /// The digests of a file, checked against a content that has none of them: each names itself.
    fn of(text: &str, list: &str, name: &str) -> Result<Vec<String>> {
        let digests = Checksums::parse(text.as_bytes(), list)?.of(name)?;
        Ok(digests.iter().map(|digest| digest.start().finish().unwrap_err().what().to_owned()).collect())
    }

    fn ends(found: &[String], expected: &[String]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert!(found.iter().zip(expected).all(|(found, hex)| found.ends_with(&**hex)), "{found:?}");
    }

    #[test]
    fn lines_of_every_form() {
        for (line, name) in [
            (format!("{SHA256}  a b.iso"), Some("a b.iso")),
            (format!("{SHA256} *a.iso"), Some("a.iso")),
            (format!("{SHA256}\ta.iso"), Some("a.iso")),
            (format!("{SHA256} a.iso"), Some("a.iso")),
            (format!("{SHA256}  *star"), Some("*star")),
            (format!("\\{SHA256}  a\\\\b\\nc"), Some("a\\b\nc")),
            (format!("SHA256 (a (1).iso) = {SHA256}"), Some("a (1).iso")),
            (format!("SHA2-256 (a) = {SHA256}"), Some("a")),
            (format!("\\SHA256 (a\\nb) = {SHA256}"), Some("a\nb")),
            (SHA256.to_uppercase(), None),
            (format!("  {SHA256}  "), None),
        ] {
            let read = ChecksumLine::parse(&line, None).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(read.name.as_deref(), name, "{line}");
            assert_eq!((read.algorithm, &*read.hex), (Algorithm::Sha256, SHA256));
        }
        for line in [
            "",
            "x",
            &SHA256[1..],
            "12  a",
            &format!("\\{SHA256}  a\\x"),
            &format!("CRC (a) = {SHA256}"),
            &format!("MD5 (a) = {SHA256}"),
        ] {
            assert!(ChecksumLine::parse(line, None).is_none(), "{line}");
        }
    }

    #[test]
    fn a_file_is_found_by_its_name_or_alone() {
        let list = format!(
            "{SHA256}  ./pool/a.iso\n{MD5}  b.iso\n# comment\n\nnonsense\n{}  a.iso\n",
            "0".repeat(32)
        );
        ends(&of(&list, "SUMS", "pool/a.iso").unwrap(), &[SHA256.to_owned()]);
        ends(&of(&list, "SUMS", "a.iso").unwrap(), &["0".repeat(32)]);
        ends(&of(&list, "SUMS", "elsewhere/b.iso").unwrap(), &[MD5.to_owned()]);
        assert_eq!(of(&list, "SUMS", "c.iso").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(Checksums::parse(list.as_bytes(), "SUMS").unwrap().warnings(), [5]);
        ends(&of(SHA256, "a.iso.sha256", "a.iso").unwrap(), &[SHA256.to_owned()]);
        ends(&of(SHA256, "a.iso.b3", "a.iso").unwrap(), &[SHA256.to_owned()]);
        assert!(of(&format!("{SHA256}\n{MD5}\n"), "SUMS", "a").is_err(), "two of them are of two files");
        let both = format!("MD5 (a) = {MD5}\nSHA256 (a) = {SHA256}\nSHA256 (a) = {SHA256}\n");
        assert_eq!(of(&both, "CHECKSUMS", "a").unwrap().len(), 2);
        let differ = format!("{SHA256}  a\n{}  a\n", "1".repeat(64));
        assert_eq!(
            of(&differ, "SUMS", "a").unwrap_err().what(),
            "checksums: the list has two digests of the file that differ"
        );
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "<html><body>Sign in</body></html>", "\u{feff}\n\n"] {
            assert_eq!(of(text, "a.sha256", "a").unwrap_err().kind(), ErrorKind::Integrity);
        }
        let long = vec![b'\n'; MAX_CHECKSUMS as usize + 1];
        assert_eq!(Checksums::parse(&long, "a").unwrap_err().kind(), ErrorKind::Refused);
    }

    #[test]
    fn a_signed_list_is_read_without_its_signature() {
        let text = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{SHA256} *a.iso\n-----BEGIN PGP SIGNATURE-----\n\n{MD5}\n-----END PGP SIGNATURE-----\n"
        );
        ends(&of(&text, "SHA256SUMS.asc", "a.iso").unwrap(), &[SHA256.to_owned()]);
        assert_eq!(Checksums::parse(text.as_bytes(), "SHA256SUMS").unwrap().lines().len(), 1);
    }
}
