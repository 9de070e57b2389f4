//! Lists of downloads: aria2 input files, and the checksum lists that `sha256sum` writes and checks.
//!
//! Invariant: every line that is not understood is told by its number and the accepted form, never repeated (it
//! may hold a secret), and never changes what another line means. Must not know: where lines come from, or what
//! is done with an entry.

use std::fmt;
use std::path::{Component, Path};

use downloader_core::SafeUrl;
use downloader_core::validate::{Algorithm, Digest};
use downloader_http::RequestHeaders;

const EITHER: &str = "expected URL (mirrors separated by TAB), or `HEX  NAME` as sha256sum writes it";
const ADDRESSES: &str = "expected URL (mirrors separated by TAB), or an indented option";
const CHECKSUMS: &str = "expected `HEX  NAME` or `HEX *NAME`, HEX of 32, 40, 56, 64, 96 or 128 digits";
const OPTIONS: &str = "expected out=NAME, dir=DIR, checksum=TYPE=HEX, header=NAME: VALUE or split=N";

/// One download that a list asks for.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Number of its first line.
    pub(crate) line: u32,
    /// Where it is served; the first is preferred.
    pub(crate) urls: Vec<SafeUrl>,
    /// Name of the file, relative and without `..`.
    pub(crate) out: Option<Box<str>>,
    /// Its folder, instead of the run's.
    pub(crate) dir: Option<Box<str>>,
    /// What its content must hash to.
    pub(crate) checksums: Vec<Digest>,
    /// How many bytes its content must have; lists do not tell it.
    pub(crate) size: Option<u64>,
    /// Headers of its own, known to be well-formed.
    pub(crate) headers: Vec<Box<str>>,
    /// Connections to use.
    pub(crate) split: Option<u16>,
}

/// A line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Its number, from 1.
    pub(crate) line: u32,
    /// What is wrong, and what is accepted.
    pub(crate) what: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Makes entries of lines. Each line yields at most one: the one that it completes.
#[derive(Debug)]
pub(crate) struct Parser {
    base: Option<SafeUrl>,
    form: Form,
    line: u32,
    /// An aria2 entry, or what was wrong with it, until the next one begins.
    pending: Option<Result<Entry, BadLine>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unknown,
    Addresses,
    Checksums,
    /// Nothing of it can be used, and that was said.
    Hopeless,
}

impl Parser {
    /// A parser of one list, whose form its first good line decides. `base` is the folder of the names in a
    /// checksum list.
    pub(crate) fn new(base: Option<SafeUrl>) -> Self {
        Self { base, form: Form::Unknown, line: 0, pending: None }
    }

    /// The next line, without its end; `None` is one that is too long to be read.
    pub(crate) fn line(&mut self, line: Option<&[u8]>) -> Option<Result<Entry, BadLine>> {
        self.line = self.line.saturating_add(1);
        let Some(line) = line else { return self.begin(Err("the line is too long".to_owned())) };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line =
            if self.line == 1 { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
        let blank = line.trim_ascii();
        if blank.is_empty() || blank.starts_with(b"#") || self.form == Form::Hopeless {
            return None;
        }
        let Ok(text) = std::str::from_utf8(line) else {
            return self.begin(Err("not UTF-8".to_owned()));
        };
        if text.starts_with([' ', '\t']) && self.form != Form::Checksums {
            return self.option(text.trim());
        }
        let checksum = checksum_line(text);
        match (self.form, checksum) {
            (Form::Unknown | Form::Checksums, Some((algorithm, hex, name))) => {
                self.form = Form::Checksums;
                self.checksum(algorithm, hex, &name)
            }
            (Form::Checksums, None) => self.begin(Err(CHECKSUMS.to_owned())),
            (_, _) => {
                let entry = self.addresses(text);
                if entry.is_ok() {
                    self.form = Form::Addresses;
                }
                self.begin(entry)
            }
        }
    }

    /// There are no more lines.
    pub(crate) fn end(&mut self) -> Option<Result<Entry, BadLine>> {
        self.pending.take()
    }

    /// Puts an entry where options find it, and hands out the one before. What cannot have options is handed
    /// out the same way, which keeps the order.
    fn begin(&mut self, entry: Result<Entry, String>) -> Option<Result<Entry, BadLine>> {
        let line = self.line;
        self.pending.replace(entry.map_err(|what| BadLine { line, what }))
    }

    fn addresses(&self, text: &str) -> Result<Entry, String> {
        let form = if self.form == Form::Unknown { EITHER } else { ADDRESSES };
        let urls = text.split('\t').map(str::trim).filter(|url| !url.is_empty());
        let urls: Result<Vec<_>, _> = urls.map(SafeUrl::parse).collect();
        let urls = urls.map_err(|error| format!("{}; {form}", error.what()))?;
        Ok(Entry { line: self.line, urls, ..Entry::default() })
    }

    fn option(&mut self, text: &str) -> Option<Result<Entry, BadLine>> {
        let line = self.line;
        let problem = match &mut self.pending {
            None => format!("an option stands before the first URL; {EITHER}"),
            // One complaint about a download is enough.
            Some(Err(_)) => return None,
            Some(Ok(entry)) => match entry.set(text) {
                Ok(()) => return None,
                Err(what) => what,
            },
        };
        let bad = BadLine { line, what: problem };
        if self.pending.is_none() {
            return Some(Err(bad));
        }
        self.pending = Some(Err(bad));
        None
    }

    fn checksum(&mut self, algorithm: Algorithm, hex: &str, name: &str) -> Option<Result<Entry, BadLine>> {
        let Some(base) = &self.base else {
            self.form = Form::Hopeless;
            let what =
                "a checksum list needs --base URL, the folder of its names; the list is not read further";
            return self.begin(Err(what.to_owned()));
        };
        let entry = relative(name).and_then(|name| {
            let digest = Digest::new(algorithm, hex).map_err(|error| error.what().to_owned())?;
            let url = below(base, name)?;
            let (urls, checksums) = (vec![url], vec![digest]);
            Ok(Entry { line: self.line, urls, checksums, out: Some(name.into()), ..Entry::default() })
        });
        self.begin(entry)
    }
}

impl Entry {
    fn set(&mut self, text: &str) -> Result<(), String> {
        let Some((option, value)) = text.split_once('=') else {
            return Err(format!("not an option; {OPTIONS}"));
        };
        let (option, value) = (option.trim_end(), value.trim_start());
        match option {
            "out" => self.out = Some(relative(value).map_err(|what| format!("out: {what}"))?.into()),
            "dir" if !value.is_empty() => self.dir = Some(value.into()),
            "dir" => return Err("dir: expected a folder".to_owned()),
            "checksum" => {
                let digest = Digest::parse(value);
                self.checksums.push(digest.map_err(|error| format!("checksum: {}", error.what()))?);
            }
            "header" => {
                RequestHeaders::parse([value]).map_err(|error| format!("header: {}", error.what()))?;
                self.headers.push(value.into());
            }
            "split" => match value.parse() {
                Ok(0) | Err(_) => return Err("split: expected a number from 1 to 65535".to_owned()),
                Ok(split) => self.split = Some(split),
            },
            // What does not look like an option may be anything, such as an indented URL.
            _ if option.len() > 32 || !option.bytes().all(|b| b == b'-' || b.is_ascii_alphabetic()) => {
                return Err(format!("not an option; {OPTIONS}"));
            }
            _ => return Err(format!("option `{option}` is not known; {OPTIONS}")),
        }
        Ok(())
    }
}

/// Algorithm, digest and name of `HEX  NAME` or `HEX *NAME`.
fn checksum_line(line: &str) -> Option<(Algorithm, &str, String)> {
    // A line that starts with a backslash has backslashes and line ends in its name escaped.
    let (escaped, line) = line.strip_prefix('\\').map_or((false, line), |line| (true, line));
    let digits = line.bytes().take_while(u8::is_ascii_hexdigit).count();
    let algorithm = Algorithm::of_digits(digits)?;
    let (hex, rest) = line.split_at(digits);
    let name = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?;
    let name = if escaped { unescaped(name)? } else { name.to_owned() };
    (!name.is_empty()).then_some((algorithm, hex, name))
}

fn unescaped(name: &str) -> Option<String> {
    let mut plain = String::with_capacity(name.len());
    let mut characters = name.chars();
    while let Some(c) = characters.next() {
        plain.push(match c {
            '\\' => match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            c => c,
        });
    }
    Some(plain)
}

/// A name that stays within its folder: lists come from strangers.
fn relative(name: &str) -> Result<&str, String> {
    let mut components = Path::new(name).components();
    let inside = components.all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
    let file = Path::new(name).file_name().is_some() && !name.ends_with('/');
    if inside && file && !name.contains('\0') {
        Ok(name)
    } else {
        Err("expected a name below the folder, neither absolute nor with `..`".to_owned())
    }
}

/// The URL of `name` in the folder `base`; what is not a letter of URLs is escaped.
fn below(base: &SafeUrl, name: &str) -> Result<SafeUrl, String> {
    let mut url = base.expose().clone();
    url.set_query(None);
    url.set_fragment(None);
    let Ok(mut segments) = url.path_segments_mut() else {
        return Err("--base: expected the URL of a folder".to_owned());
    };
    segments.pop_if_empty().extend(name.split('/').filter(|segment| !matches!(*segment, "" | ".")));
    drop(segments);
    Ok(SafeUrl::from(url))
}

/// A stranger's text, fit for a message: short, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let harmless = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    harmless.take(256).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn read(text: &str, base: Option<&str>) -> Vec<Result<Entry, BadLine>> {
        let mut parser = Parser::new(base.map(|base| base.parse().unwrap()));
        let lines = text.split('\n').map(str::as_bytes);
        let mut found: Vec<_> = lines.filter_map(|line| parser.line(Some(line))).collect();
        found.extend(parser.end());
        found
    }

    fn problem(text: &str) -> String {
        read(text, Some("http://h/")).into_iter().find_map(Result::err).unwrap().to_string()
    }

    #[test]
    fn an_aria2_input_file() {
        let text = "\u{feff}# comment\r\n\r\nhttp://a/x\thttp://b/y\t\r\n  out=d/z.bin\r\n\tdir = /data\r\n\
             \n # indented comment\n  checksum=sha-256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n  \
             split=4\n  header=X-A: 1\nhttp://c/w";
        let entries: Vec<_> = read(text, None).into_iter().map(Result::unwrap).collect();
        assert_eq!(entries.len(), 2);
        let first = &entries[0];
        assert_eq!(
            first.urls.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["http://a/x", "http://b/y"]
        );
        assert_eq!((first.out.as_deref(), first.dir.as_deref()), (Some("d/z.bin"), Some("/data")));
        assert_eq!((first.checksums.len(), first.split, first.line), (1, Some(4), 3));
        assert_eq!((entries[1].urls.len(), entries[1].out.as_deref(), entries[1].line), (1, None, 11));
    }

    #[test]
    fn a_checksum_list() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let text = format!("{SHA256}  a b.iso\n{md5} *./sub/c%d\n\\{SHA256}  e\\\\f\n");
        let entries: Vec<_> = read(&text, Some("http://h/dir?x=1")).into_iter().map(Result::unwrap).collect();
        let urls: Vec<_> = entries.iter().map(|entry| entry.urls[0].expose().as_str()).collect();
        assert_eq!(urls, ["http://h/dir/a%20b.iso", "http://h/dir/sub/c%25d", "http://h/dir/e%5Cf"]);
        assert_eq!(entries[2].out.as_deref(), Some("e\\f"));
        assert!(entries.iter().all(|entry| entry.checksums.len() == 1));
    }

    #[test]
    fn every_length_names_its_algorithm() {
        use Algorithm::{Md5, Sha1, Sha224, Sha256, Sha384, Sha512};
        for (length, algorithm) in
            [(32, Md5), (40, Sha1), (56, Sha224), (64, Sha256), (96, Sha384), (128, Sha512)]
        {
            let line = format!("{}  f", "aB".repeat(length / 2));
            assert_eq!(checksum_line(&line).map(|(algorithm, ..)| algorithm), Some(algorithm));
            assert!(read(&line, Some("http://h/"))[0].is_ok(), "{algorithm}");
        }
        assert_eq!(checksum_line(&format!("{}  f", "a".repeat(65))), None);
        assert_eq!(checksum_line(&format!("{SHA256} f")), None);
    }

    #[test]
    fn a_bad_line_is_told_by_number_option_and_accepted_form() {
        for (text, words) in [
            ("\nhttp://a/\n  ouT=x", ["line 3", "`ouT`", "out=NAME"]),
            ("http://a/\n  split=0", ["line 2", "split", "1 to 65535"]),
            ("http://a/\n  checksum=sha-256=12", ["line 2", "checksum", "sha-256"]),
            ("http://a/\n  header=nonsense", ["line 2", "header", ""]),
            ("http://a/\n  out=../x", ["line 2", "out", ".."]),
            ("http://a/\n  out=/etc/x", ["line 2", "out", "absolute"]),
            ("http://a/\n  nonsense", ["line 2", "not an option", "split=N"]),
            ("nonsense", ["line 1", "not a URL", "HEX  NAME"]),
            ("  out=x", ["line 1", "before the first URL", ""]),
            ("http://a/\nnonsense", ["line 2", "not a URL", "indented option"]),
        ] {
            let problem = problem(text);
            assert!(words.iter().all(|word| problem.contains(word)), "{text:?}: {problem}");
        }
        let bad = problem(&format!("{SHA256}  ok\nhttp://a/x"));
        assert!(bad.contains("line 2") && bad.contains("HEX *NAME"), "{bad}");
        assert!(problem(&format!("{SHA256}  ../../etc/cron.d/x")).contains("neither absolute"));
    }

    #[test]
    fn a_bad_line_does_not_change_the_others_or_leak() {
        let indented = problem("http://a/1\n  http://u:s3cret@h/?s3cret=s3cret");
        assert!(indented.contains("not an option") && !indented.contains("s3cret"), "{indented}");
        let found = read("http://a/1\n  nope=1\n  split=2\nhttp://u:s3cret@[/\nhttp://a/2\n  out=z", None);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].as_ref().unwrap_err().line, 2);
        assert!(!found[1].as_ref().unwrap_err().to_string().contains("s3cret"));
        assert_eq!(found[2].as_ref().unwrap().out.as_deref(), Some("z"));
    }

    #[test]
    fn a_checksum_list_without_a_base_is_refused_once() {
        let found = read(&format!("{SHA256}  a\n{SHA256}  b\n"), None);
        assert_eq!(found.len(), 1);
        assert!(found[0].as_ref().unwrap_err().what.contains("--base"));
    }

    #[test]
    fn what_cannot_be_read_is_one_bad_line() {
        let mut parser = Parser::new(None);
        assert!(parser.line(None).is_none());
        assert!(parser.line(Some(b"\xff\xfe")).unwrap().unwrap_err().what.contains("too long"));
        assert!(parser.line(Some(b"http://h/f")).unwrap().unwrap_err().what.contains("UTF-8"));
        assert!(parser.end().unwrap().is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
            let mut parser = Parser::new(Some("http://h/".parse().unwrap()));
            let mut last = 0;
            let found = lines.iter().filter_map(|line| parser.line(Some(line))).collect::<Vec<_>>();
            for entry in found.into_iter().chain(parser.end()) {
                let line = match entry { Ok(entry) => entry.line, Err(bad) => bad.line };
                prop_assert!(line >= last && line as usize <= lines.len());
                last = line;
            }
        }

        #[test]
        fn text_that_looks_like_a_list_is_read_or_refused(
            lines in prop::collection::vec("(http://[a-z]{1,4}/[a-z]{0,4}(\thttp://b/)?|  [a-z]{3,8}=[ -~]{0,12}|[0-9a-f]{32} [ *][ -~]{1,9}|#.*)?", 0..12),
        ) {
            for entry in read(&lines.join("\n"), Some("http://h/d/")) {
                if let Ok(Entry { out: Some(name), urls, .. }) = entry {
                    prop_assert!(!Path::new(&*name).components().any(|c| c == Component::ParentDir));
                    prop_assert!(!urls.is_empty());
                }
            }
        }

        #[test]
        fn names_of_a_checksum_list_stay_below_the_base(name in "[ -~]{1,30}") {
            for entry in read(&format!("{SHA256}  {name}"), Some("http://h/a/b/")).into_iter().flatten() {
                let path = entry.urls[0].path();
                prop_assert!(path.starts_with("/a/b/") && !path.contains("/../"), "{}", path);
            }
        }
    }
}
