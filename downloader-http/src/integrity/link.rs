//! Links in the head of a reply: the `Link` field (RFC 8288 §3).
//!
//! Invariant: pure, total and bounded; what is read of a malformed field is what stands before the fault.
//! Must not know: what a relation means.

use downloader_core::url::MAX_URL;
use http::HeaderMap;
use http::header::LINK;

/// Most links that are read of one reply.
const MOST_LINKS: usize = 256;
/// Most parameters of one link.
const MOST_PARAMETERS: usize = 32;

/// One link, as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// A URL reference.
    pub(super) target: String,
    /// Names in lower case, values without quotes; empty without a value.
    parameters: Vec<(String, String)>,
}

impl Link {
    /// The value of a parameter: of several the first counts (§3.3 says so of `rel`, §3.4.1 of the others).
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Is the target this, of the very resource that was asked for? Names of relations ignore case.
    pub(super) fn is(&self, relation: &str) -> bool {
        let relations = self.parameter("rel").unwrap_or_default();
        // With an anchor it is a link of another resource.
        self.parameter("anchor").is_none()
            && relations.split_ascii_whitespace().any(|known| known.eq_ignore_ascii_case(relation))
    }
}

/// The links of a reply, in order.
pub(super) fn links(reply: &HeaderMap) -> Vec<Link> {
    let mut links = Vec::new();
    for value in reply.get_all(LINK) {
        // A line that is not UTF-8 has no URL that could be meant.
        let mut rest = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
        while links.len() < MOST_LINKS {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            match link(&mut rest) {
                Some(link) if link.target.len() <= MAX_URL => links.push(link),
                Some(_) => {}
                None => break,
            }
        }
    }
    links
}

/// The link that `rest` begins with.
fn link(rest: &mut &str) -> Option<Link> {
    let (target, behind) = rest.strip_prefix('<')?.split_once('>')?;
    let mut link = Link { target: target.trim().to_owned(), parameters: Vec::new() };
    *rest = behind.trim_start_matches(BLANKS);
    while let Some(behind) = rest.strip_prefix(';') {
        *rest = behind.trim_start_matches(BLANKS);
        let parameter = parameter(rest)?;
        if !parameter.0.is_empty() && link.parameters.len() < MOST_PARAMETERS {
            link.parameters.push(parameter);
        }
        *rest = rest.trim_start_matches(BLANKS);
    }
    (rest.is_empty() || rest.starts_with(',')).then_some(link)
}

const BLANKS: [char; 2] = [' ', '\t'];

/// A name and, if there is one, its value; `None` for quotes that do not end.
fn parameter(rest: &mut &str) -> Option<(String, String)> {
    let end = rest.find(['=', ';', ',']).unwrap_or(rest.len());
    let (name, behind) = rest.split_at(end);
    let name = name.trim_matches(BLANKS).to_ascii_lowercase();
    let Some(value) = behind.strip_prefix('=') else {
        *rest = behind;
        return Some((name, String::new()));
    };
    let value = value.trim_start_matches(BLANKS);
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([';', ',']).unwrap_or(value.len());
        let (value, behind) = value.split_at(end);
        *rest = behind;
        return Some((name, value.trim_matches(BLANKS).to_owned()));
    };
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                *rest = &quoted[at + 1..];
                return Some((name, text));
            }
            '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &[&str]) -> Vec<Link> {
        links(&lines.iter().map(|line| (LINK, HeaderValue::from_str(line).unwrap())).collect())
    }

    fn targets(line: &str) -> Vec<String> {
        read(&[line]).into_iter().map(|link| link.target).collect()
    }

    #[test]
    fn links_are_read_as_the_grammar_says() {
        let found = read(&[
            r#"<http://a/f>; rel=duplicate; pri=1; pref; geo="gb", </g?x=1,2;3>;REL = "Describedby duplicate" ; title="a \"b\", <c>""#,
            "<http://c/f>",
        ]);
        assert_eq!(found.len(), 3);
        assert!(found[0].is("duplicate") && found[0].is("Duplicate") && !found[0].is("describedby"));
        assert_eq!(found[0].parameter("pri"), Some("1"));
        assert_eq!((found[0].parameter("pref"), found[0].parameter("geo")), (Some(""), Some("gb")));
        assert_eq!(found[1].target, "/g?x=1,2;3");
        assert!(found[1].is("describedby") && found[1].is("duplicate"));
        assert_eq!(found[1].parameter("title"), Some("a \"b\", <c>"));
        assert!(!found[2].is("duplicate"));
    }

    #[test]
    fn the_first_of_equal_parameters_counts_and_an_anchor_means_another_resource() {
        let found =
            read(&["<a>; rel=duplicate; rel=next; pri=1; pri=2, <b>; rel=duplicate; anchor=\"/other\""]);
        assert!(found[0].is("duplicate") && !found[0].is("next") && !found[1].is("duplicate"));
        assert_eq!(found[0].parameter("pri"), Some("1"));
    }

    #[test]
    fn a_fault_ends_its_line_and_leaves_what_stands_before() {
        assert_eq!(targets("<a>; rel=x, b, <c>"), ["a"]);
        assert_eq!(targets("<a>; rel=x, <c"), ["a"]);
        assert_eq!(targets("<a>; rel=\"x, <c>"), [""; 0]);
        assert_eq!(targets("<a> x, <c>"), [""; 0]);
        assert_eq!(targets(", ,<a>,,<b>;;x;,"), ["a", "b"]);
        assert_eq!(targets(""), [""; 0]);
        assert_eq!(read(&["b", "<a>"]).len(), 1);
        assert_eq!(targets(&"<a>,".repeat(1000)).len(), MOST_LINKS);
        assert_eq!(targets(&format!("<{}>, <b>", "a".repeat(MAX_URL + 1))), ["b"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in proptest::collection::vec(32u8.., 0..200), text in "[<>;,=\"\\\\ a-c]{0,80}") {
            for value in [value, text.into_bytes()] {
                let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
                for link in links(&[(LINK, value)].into_iter().collect()) {
                    prop_assert!(!link.target.contains('>'));
                }
            }
        }

        #[test]
        fn what_is_written_is_read_back(target in "[a-z:/?=;,]{1,20}", name in "[a-z]{1,8}", value in "[ -~]{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let found = read(&[&format!("<{target}>; {name}=\"{quoted}\", <next>")]);
            prop_assert_eq!(found.len(), 2);
            prop_assert_eq!(&found[0].target, &target);
            prop_assert_eq!(found[0].parameter(&name), Some(value.as_str()));
        }
    }
}
