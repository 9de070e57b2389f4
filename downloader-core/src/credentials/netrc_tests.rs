//! The forms of a `.netrc` file, and the files that are not read.
//!
//! Invariant: every secret here begins with `s3cret`, and none is in an error. Must not know: HTTP.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

fn find(text: &str, host: &str) -> Option<Credentials> {
    Netrc::parse(text).unwrap().find(host).cloned()
}

fn password(user: &str, password: &str) -> Option<Credentials> {
    Some(Credentials::password(user, password).unwrap())
}

#[test]
fn entries_in_all_their_forms() {
    let text = "\u{feff}# a comment\n\
        machine one.example login me password s3cret1   # another\n\
        machine two.example\n\taccount x\n\tpassword \"s3cret \\\"2\\\\\"\r\n\tlogin \"two words\"\n\
        machine macros login m password p\n\
        macdef init\n\
        machine one.example login evil password evil\n\
        quit\n\
        \n\
        machine three.example login a#b password #s3cret3\n\
        MACHINE four.example USER only\n\
        machine nothing.example account x\n\
        machine [::1] login v6 password \"\"\n\
        default login anonymous password me@here\n\
        machine one.example login late password late\n";
    let cases = [
        ("one.example", password("me", "s3cret1")),
        ("ONE.example", password("me", "s3cret1")),
        ("two.example", password("two words", "s3cret \"2\\")),
        ("macros", password("m", "p")),
        ("three.example", password("a#b", "#s3cret3")),
        ("four.example", password("only", "")),
        ("[::1]", password("v6", "")),
        ("nothing.example", password("anonymous", "me@here")),
        ("x.one.example", password("anonymous", "me@here")),
    ];
    for (host, expected) in cases {
        assert!(find(text, host) == expected, "{host}");
    }
    assert!(find("machine h login u", "other").is_none());
    for nothing in
        ["", "\n\n", "# only a comment", "machine h", "macdef m\nlogin x\n", "machine h macdef m\nx"]
    {
        assert!(find(nothing, "h").is_none(), "{nothing}");
    }
}

#[test]
fn what_is_malformed_is_named_by_its_line() {
    let cases = [
        ("login s3cret", "netrc: line 1: expected `machine` or `default`"),
        ("machine h\nlogin a pasword s3cret", "netrc: line 2: expected machine, default, login"),
        ("machine h login a\n\n password", "netrc: line 3: a keyword without its value"),
        ("machine h password \"s3cret", "netrc: line 1: a keyword without its value"),
        ("machine h password \"s3cret\\", "netrc: line 1: a keyword without its value"),
        ("machine h\npassword two s3cret", "netrc: line 2: expected machine"),
        ("\nmachine h login s3:cret", "netrc: line 2: user name: expected no colon"),
        ("machine h password \"s3cret\\n\"", "netrc: line 1: password: expected at most"),
    ];
    for (text, what) in cases {
        let error = Netrc::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(error.what().starts_with(what), "{error}");
        assert!(!format!("{error:?}").contains("cret"), "{error:?}");
    }
    let long = "#".repeat(MOST_BYTES as usize + 1);
    assert!(Netrc::parse(&long).is_err() && Netrc::parse(&long[1..]).is_ok());
}

#[test]
fn files_that_others_can_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("netrc");
    let refused = |path: &Path, what: &str| {
        let error = Netrc::read(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        let named = format!("netrc file {}: ", path.display());
        assert!(error.what().starts_with(&named) && error.what().contains(what), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    };
    refused(&path, "cannot be read");
    refused(folder.path(), "");
    fs::write(&path, "machine h login u password s3cret").unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        refused(&path, "expected 0600");
    }
    for mode in [0o600, 0o400, 0o700] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(Netrc::read(&path).unwrap().find("h").is_some());
    }
    fs::write(&path, b"machine h login u password \xff").unwrap();
    refused(&path, "cannot be read");
    fs::write(&path, "s3cret").unwrap();
    refused(&path, "line 1: ");
}

#[test]
fn it_is_for_a_host_whatever_the_port_and_prints_nothing() {
    let netrc = Netrc::parse("machine h login u password s3cret default login s3cret").unwrap();
    assert_eq!(format!("{netrc:?}"), "Netrc(2 entries)");
    for url in ["http://h:81/", "ftp://H/"] {
        assert!(netrc.of(&url.parse().unwrap()).cloned() == password("u", "s3cret"));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in proptest::collection::btree_map("[a-z]{1,4}", ("[ -9;-~é]{0,8}", "[ -~ü]{0,8}"), 0..6)) {
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let text: String = entries.iter().map(|(machine, (user, secret))| {
            format!("machine {machine}\n login {} password {}\n", quote(user), quote(secret))
        }).collect();
        let netrc = Netrc::parse(&text).unwrap();
        for (machine, (user, secret)) in &entries {
            prop_assert!(netrc.find(machine).cloned() == password(user, secret));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(machine|default|macdef|login|password|\"|\\\\|#|\n| |\r|é|[a-z]{1,3}){0,24}") {
        let _ = Netrc::parse(&text);
    }
}
