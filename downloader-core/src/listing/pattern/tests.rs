//! Patterns of both kinds, and selections of them, against one tree.

use proptest::prelude::*;

use super::*;

fn glob(text: &str) -> Pattern {
    Pattern::glob(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn regex(text: &str) -> Pattern {
    Pattern::remote_files(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

const TREE: [&str; 8] =
    ["a.txt", "a.gz", "b.gz", "deep/x.txt", "deep/sub/y.gz", "deeper/z", "other/a.gz", "other/q/w"];

fn matched(pattern: &Pattern) -> Vec<&'static str> {
    let matched: Vec<_> = TREE.into_iter().filter(|path| pattern.matches(path, false)).collect();
    // Whatever matches is found: no directory above it is left out.
    for path in &matched {
        for (at, _) in path.match_indices('/') {
            assert!(pattern.may_match_below(&path[..at]), "{pattern:?} leaves out {}", &path[..at]);
        }
        assert!(pattern.may_match_below(""));
    }
    matched
}

/// biomaj 16, 17, 18, 19, 20.
#[test]
fn biomaj_16_to_20_patterns_of_remote_files() {
    for (pattern, expected) in [
        (r"^.*\.gz$", &["a.gz", "b.gz"][..]),
        ("a", &["a.txt", "a.gz"]),
        ("^deep/.*", &["deep/x.txt", "deeper/z"]),
        ("^/deep/.*", &["deep/x.txt", "deeper/z"]),
        ("/deep/.*", &["deep/x.txt", "deeper/z"]),
        ("deep/.*", &["deep/x.txt", "deeper/z"]),
        ("deep$//.*", &["deep/x.txt"]),
        ("**/*", &TREE),
        ("^/**/*", &TREE),
        ("deep/**/*", &["deep/x.txt", "deep/sub/y.gz", "deeper/z"]),
        ("deep/sub/.*", &["deep/sub/y.gz"]),
        ("deep/", &["deep/x.txt", "deeper/z"]),
        ("x.txt", &[]),
    ] {
        assert_eq!(matched(&regex(pattern)), expected, "{pattern}");
    }
    assert!(!regex("deep").matches("deep", true), "directories are no files");
    assert!(!regex("deep/.*").may_match_below("other") && !regex("deep/.*").may_match_below("deep/sub"));
    assert!(regex("deep/**/*").may_match_below("deep/sub/q"));
}

#[test]
fn globs() {
    for (pattern, expected) in [
        ("*.gz", &["a.gz", "b.gz", "deep/sub/y.gz", "other/a.gz"][..]),
        ("/*.gz", &["a.gz", "b.gz"]),
        ("deep/*", &["deep/x.txt"]),
        ("deep/**", &["deep/x.txt", "deep/sub/y.gz"]),
        ("**/*.gz", &["a.gz", "b.gz", "deep/sub/y.gz", "other/a.gz"]),
        ("deep/**/y.gz", &["deep/sub/y.gz"]),
        ("deep/**/x.txt", &["deep/x.txt"]),
        ("{deep,other}/*.{gz,txt}", &["deep/x.txt", "other/a.gz"]),
        ("{deep/sub,other/q}/*", &["deep/sub/y.gz", "other/q/w"]),
        ("[ab].gz", &["a.gz", "b.gz", "other/a.gz"]),
        ("[!a].*", &["b.gz", "deep/x.txt", "deep/sub/y.gz"]),
        ("?.{g?,t[x-y]t}", &["a.txt", "a.gz", "b.gz", "deep/x.txt", "deep/sub/y.gz", "other/a.gz"]),
        ("**", &TREE),
        ("a", &[]),
        ("a.{g{z,y},q}", &["a.gz", "other/a.gz"]),
    ] {
        assert_eq!(matched(&glob(pattern)), expected, "{pattern}");
    }
    for (pattern, name) in [
        (r"\*", "*"),
        ("[]]", "]"),
        ("[!]]", "["),
        ("[a-]", "-"),
        (r"a\{b,c}", "a{b,c}"),
        ("{,a}b", "b"),
        ("*", "line\nfeed"),
        ("é?", "éü"),
        ("a+(b)|c^$.#&~", "a+(b)|c^$.#&~"),
        ("[&&~~]", "~"),
    ] {
        assert!(glob(pattern).matches(name, false), "{pattern}");
    }
    assert!(glob("tmp/").matches("x/tmp", true) && !glob("tmp/").matches("x/tmp", false));
    assert!(!glob("a*").matches("ba", false) && !glob("*a").matches("ab", false));
}

#[test]
fn what_is_not_closed_is_refused_with_its_place() {
    for (pattern, message) in [
        ("a[b", "pattern: the bracket is not closed, at character 1"),
        ("a{b", "pattern: the brace is not closed, at character 1"),
        ("ab\\", "pattern: nothing follows the backslash, at character 2"),
        ("[a/b]", "pattern: a slash within brackets, at character 2"),
        ("[z-a]", "pattern: a range that is none, at character 1"),
        (
            "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}",
            "pattern: more than 256 alternatives, at character 0",
        ),
        ("", "pattern: expected between 1 and 256 components"),
        ("/", "pattern: expected between 1 and 256 components"),
    ] {
        assert_eq!(
            Pattern::glob(pattern).map_err(|error| error.what().to_owned()).unwrap_err(),
            message,
            "{pattern}"
        );
    }
    assert!(Pattern::glob(&"{".repeat(5000)).is_err());
    let error = Pattern::remote_files("é/(?=x)").unwrap_err();
    assert_eq!(error.what(), "regular expression: look-around is not available, at character 2");
    assert!(Pattern::remote_files("**/*/x").unwrap_err().what().contains("at character 0"));
    assert!(Pattern::remote_files("a/**/x").is_err(), "** is no expression");
    assert_eq!(format!("{:?}", "regex:a/b".parse::<Pattern>().unwrap()), r#"remote_files("a/b")"#);
}

/// biomaj 23: what two patterns match is one path; and what is excluded is not entered.
#[test]
fn selections() {
    let all = Selection::all().include(regex("a")).include(regex(r".*\.gz"));
    assert_eq!(TREE.into_iter().filter(|path| all.admits(path, false)).count(), 3);
    let some = Selection::all().include(glob("deep")).exclude(glob("sub/"));
    assert!(some.admits("deep", true) && some.admits("deep/x.txt", false) && some.descends("deep"));
    assert!(!some.descends("deep/sub") && !some.admits("deep/sub", true) && !some.admits("a.txt", false));
    // At every depth, so every directory may have one.
    assert!(some.descends("other") && !Selection::all().include(glob("/deep")).descends("other"));
    assert!(Selection::all().descends("x") && Selection::all().admits("x", true));
    assert!(!Selection::all().is_selective());
}

proptest! {
    #[test]
    fn a_name_matches_itself_escaped_and_every_star(name in "[^/\\\\\0]{1,20}") {
        prop_assume!(name != "." && name != "..");
        let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
        prop_assert!(glob(&escaped).matches(&name, false));
        prop_assert!(glob("*").matches(&name, false) && glob("*?").matches(&name, false));
        let (below, path) = (glob(&format!("/d/**/{escaped}")), format!("d/e/{name}"));
        prop_assert!(below.matches(&path, false));
    }

    /// A directory is left out only if nothing below it matches.
    #[test]
    fn nothing_that_matches_is_left_out(
        pattern in "[ab*?/]{1,8}|(\\*\\*/)?[ab]/\\*\\*|\\{a,b/\\*\\}",
        path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
    ) {
        for pattern in [Pattern::glob(&pattern), Pattern::remote_files(&pattern.replace('*', ".*"))].into_iter().flatten() {
            if pattern.matches(&path, false) {
                for (at, _) in path.match_indices('/') {
                    prop_assert!(pattern.may_match_below(&path[..at]), "{:?} {}", pattern, &path[..at]);
                }
            }
        }
    }
}
