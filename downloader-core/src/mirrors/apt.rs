//! Mirror lists of apt's `mirror+` transports: a URI a line, with metadata that says what it is good for.
//!
//! Invariant: a mirror that says it does not carry a file is not named for it. Must not know: what the facts
//! mean; only whether they are equal. The format is that of apt-transport-mirror(1).

use super::{Allowed, Gathered, LAST, Mirror, Mirrors, lines, shown};
use crate::error::Result;

/// What is known of the file that is wanted. A fact that is not known excludes no mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Facts {
    /// Architecture, such as `amd64`.
    pub arch: Option<Box<str>>,
    /// Codename of the release, such as `trixie`.
    pub codename: Option<Box<str>>,
    /// Component, such as `main`.
    pub component: Option<Box<str>>,
    /// Language of a translation, such as `de`.
    pub lang: Option<Box<str>>,
    /// Suite, such as `stable`.
    pub suite: Option<Box<str>>,
    /// Type: `index`, `deb` or `deb-src`.
    pub kind: Option<Box<str>>,
}

impl Facts {
    /// The fact that metadata of this key speaks of; `None` when there is no such key.
    fn of(&self, key: &str) -> Option<Option<&str>> {
        let fact = match key {
            "arch" => &self.arch,
            "codename" => &self.codename,
            "component" => &self.component,
            "lang" => &self.lang,
            "suite" => &self.suite,
            "type" => &self.kind,
            _ => return None,
        };
        Some(fact.as_deref())
    }
}

/// Reads an apt mirror list and keeps the mirrors that carry the file of these facts, best first.
///
/// Each line has a URI, and behind a tab `KEY:VALUE` items, separated by blanks: `priority` (lowest first; none is
/// last) and `arch`, `codename`, `component`, `lang`, `suite`, `type`, each of which may occur several times and
/// then means any of the values. Mirrors of equal priority are ordered by the engine, by their health, where apt
/// draws lots. Lists do not nest and are not decompressed.
///
/// ```
/// use downloader_core::mirrors::{Allowed, apt};
/// let list = b"http://a.example/debian/\tpriority:2 type:deb\nhttp://b.example/debian/\tpriority:1 type:index\n";
/// let facts = apt::Facts { kind: Some("deb".into()), ..Default::default() };
/// let read = apt::parse(list, &facts, &Allowed::only(["http"]))?;
/// assert_eq!(read.mirrors.len(), 1);
/// assert_eq!(read.mirrors[0].url.host(), Some("a.example"));
/// # Ok::<(), downloader_core::Error>(())
/// ```
///
/// # Errors
/// Kind `Input` for a list longer than [`MAX_LIST`](super::MAX_LIST).
pub fn parse(list: &[u8], facts: &Facts, allowed: &Allowed) -> Result<Mirrors> {
    let mut gathered = Gathered::new(allowed);
    let mut mirrors = Vec::new();
    for (number, line) in lines(list)? {
        let line = match line {
            Ok(line) => line,
            Err(warning) => {
                gathered.warn(warning);
                continue;
            }
        };
        let (uri, metadata) = line.split_once('\t').unwrap_or((line, ""));
        let (priority, carries) = read(metadata, facts, number, &mut gathered);
        if carries && let Some(url) = gathered.url(uri.trim_end(), format_args!("line {number}")) {
            mirrors.push(Mirror { priority, ..Mirror::new(url) });
        }
    }
    mirrors.sort_by_key(|mirror| mirror.priority);
    Ok(Mirrors { mirrors, warnings: gathered.warnings })
}

/// The priority that metadata gives, and whether it admits the file.
fn read(metadata: &str, facts: &Facts, number: usize, gathered: &mut Gathered<'_>) -> (u32, bool) {
    let mut priority = LAST;
    // Keys that exclude the file so far; one value that agrees is enough.
    let (mut excluding, mut admitting) = (Vec::new(), Vec::new());
    for item in metadata.split_ascii_whitespace() {
        let (key, value) = item.split_once(':').unwrap_or((item, ""));
        match (key, facts.of(key)) {
            ("priority", _) => match value.parse() {
                Ok(value) => priority = value,
                Err(_) => gathered.warn(format!(
                    "line {number}: priority: expected a number, got `{}`; ignored",
                    shown(value)
                )),
            },
            (_, None) => {
                gathered.warn(format!("line {number}: metadata `{}` is not known; ignored", shown(key)));
            }
            (_, Some(None)) => {}
            (key, Some(Some(fact))) if fact == value => admitting.push(key),
            (key, Some(Some(_))) => excluding.push(key),
        }
    }
    (priority, excluding.iter().all(|key| admitting.contains(key)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &[u8] = b"# mirrors\n\
        http://last/debian/\n\
        http://two/debian/\tpriority:2\tarch:amd64 arch:i386 type:deb\n\
        http://one/debian/\tpriority:1 arch:arm64\n\
        http://also-two/debian/ \tpriority:2 type:index type:deb\n\
        file:/srv/debian/\tpriority:0\n\
        http://odd/debian/\tpriority:-1 colour:red component:main\n";

    fn hosts(facts: &Facts) -> Vec<String> {
        let read = parse(LIST, facts, &Allowed::only(["http"])).unwrap();
        read.mirrors.iter().map(|mirror| mirror.url.host().unwrap().to_owned()).collect()
    }

    #[test]
    fn lowest_priority_is_first_and_none_is_last() {
        assert_eq!(hosts(&Facts::default()), ["one", "two", "also-two", "last", "odd"]);
        let read = parse(LIST, &Facts::default(), &Allowed::only(["http"])).unwrap();
        assert_eq!(read.mirrors.iter().map(|mirror| mirror.priority).max(), Some(LAST));
        assert_eq!(read.warnings.len(), 3, "{:?}", read.warnings);
        assert!(read.warnings[0].starts_with("line 6: file:"), "{:?}", read.warnings);
    }

    #[test]
    fn a_mirror_is_named_for_what_it_carries() {
        let arch = |arch: &str| Facts { arch: Some(arch.into()), ..Facts::default() };
        let kind = |kind: &str| Facts { kind: Some(kind.into()), ..Facts::default() };
        assert_eq!(hosts(&arch("i386")), ["two", "also-two", "last", "odd"]);
        assert_eq!(hosts(&arch("arm64")), ["one", "also-two", "last", "odd"]);
        assert_eq!(hosts(&arch("riscv64")), ["also-two", "last", "odd"]);
        assert_eq!(hosts(&kind("index")), ["one", "also-two", "last", "odd"]);
        let both = Facts { arch: Some("amd64".into()), component: Some("contrib".into()), ..kind("deb") };
        assert_eq!(hosts(&both), ["two", "also-two", "last"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(list: Vec<u8>, text in "([a-z: 0-9]|http://|\t|priority:|arch:|\n){0,40}") {
            let facts = Facts { arch: Some("a".into()), ..Facts::default() };
            for list in [&list[..], text.as_bytes()] {
                let mirrors = parse(list, &facts, &Allowed::only(["http"])).unwrap().mirrors;
                prop_assert!(mirrors.is_sorted_by_key(|mirror| mirror.priority));
            }
        }
    }
}
