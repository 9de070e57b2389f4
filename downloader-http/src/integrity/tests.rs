//! Tests of what is believed, as a table of messages.
//!
//! Invariant: every reason not to believe a claim has a row. Must not know: how a field is read.

use super::*;

/// Of `hello`.
const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const REPR: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
const DIGEST: &str = "SHA-256=LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
const MD5: &str = "5d41402abc4b2a76b9719d911017c592";
/// Of no bytes.
const NOTHING: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
const OTHER: &str = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";

fn reply(fields: &[(&'static str, &str)]) -> HeaderMap {
    let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    fields.collect()
}

/// What is told of the whole, and whether anything is told of the part.
fn told(believed: WireDigests, body: bool, status: u16, fields: &[(&'static str, &str)]) -> (String, bool) {
    let told = of_reply(believed, body, StatusCode::from_u16(status).unwrap(), &reply(fields));
    (told.whole.to_string(), told.part.is_some())
}

fn standard(status: u16, fields: &[(&'static str, &str)]) -> (String, bool) {
    told(WireDigests::STANDARD, true, status, fields)
}

fn hello() -> String {
    format!("sha-256={SHA256}")
}

#[test]
fn whole_contents_and_parts_tell_of_the_whole() {
    for field in [("repr-digest", REPR), ("digest", DIGEST)] {
        for status in [200, 206] {
            assert_eq!(standard(status, &[field]), (hello(), false), "{field:?} {status}");
        }
    }
}

#[test]
fn the_content_of_a_message_is_the_whole_or_a_part() {
    let field = ("content-digest", REPR);
    assert_eq!(standard(200, &[field]), (hello(), false));
    assert_eq!(standard(206, &[field]), (String::new(), true));
    assert_eq!(
        standard(206, &[field, ("repr-digest", OTHER)]),
        (format!("sha-256={}", "0".repeat(64)), true)
    );
    assert_eq!(told(WireDigests::STANDARD, false, 200, &[field]), (String::new(), false));
}

#[test]
fn in_doubt_nothing_was_told() {
    let none = (String::new(), false);
    for status in [203, 204, 302, 304, 404, 416] {
        assert_eq!(standard(status, &[("repr-digest", REPR)]), none, "{status}");
    }
    for coding in ["gzip", "identity, br", "GZIP"] {
        let fields = [("repr-digest", REPR), ("content-digest", REPR), ("content-encoding", coding)];
        assert_eq!(standard(200, &fields), none, "{coding}");
        assert_eq!(standard(206, &fields), none, "{coding}");
    }
    assert_eq!(standard(200, &[("repr-digest", REPR), ("content-encoding", "identity")]), (hello(), false));
    // Whoever contradicts itself.
    assert_eq!(standard(200, &[("repr-digest", OTHER), ("digest", DIGEST)]), none);
    assert_eq!(standard(200, &[("repr-digest", OTHER), ("content-digest", REPR)]), none);
    // A `HEAD` that tells of its own content, which is none.
    assert_eq!(told(WireDigests::STANDARD, false, 200, &[("repr-digest", NOTHING)]), none);
    assert_eq!(standard(200, &[("repr-digest", NOTHING)]).0.len(), 8 + 64, "a content may be empty");
}

#[test]
fn settings_say_what_is_believed() {
    let fields = [("repr-digest", REPR), ("x-checksum-md5", MD5)];
    let whole = |believed| told(believed, true, 200, &fields).0;
    assert_eq!(whole(WireDigests::NONE), "");
    assert_eq!(whole(WireDigests::default()), hello());
    assert_eq!(whole(WireDigests::ALL), format!("{} md5={MD5}", hello()));
    assert_eq!(whole(WireDigests { standard: false, vendor: true }), format!("md5={MD5}"));
    assert!(wish(WireDigests::default()).is_some() && wish(WireDigests::NONE).is_none());
    assert!(wish(WireDigests { standard: false, vendor: true }).is_none());
}

#[test]
fn a_redirect_tells_of_what_it_leads_to() {
    let told = |believed, status: u16, fields: &[(&'static str, &str)]| {
        of_redirect(believed, StatusCode::from_u16(status).unwrap(), &reply(fields)).to_string()
    };
    for status in [301, 302, 307, 308] {
        assert_eq!(told(WireDigests::STANDARD, status, &[("digest", DIGEST)]), hello());
        assert_eq!(told(WireDigests::STANDARD, status, &[("repr-digest", REPR)]), hello());
    }
    assert_eq!(told(WireDigests::NONE, 302, &[("digest", DIGEST)]), "");
    assert_eq!(told(WireDigests::STANDARD, 303, &[("digest", DIGEST)]), "", "another resource");
    assert_eq!(told(WireDigests::STANDARD, 302, &[("content-digest", REPR)]), "", "of the page");
    assert_eq!(told(WireDigests::STANDARD, 302, &[("repr-digest", REPR), ("content-digest", REPR)]), "");
    assert_eq!(told(WireDigests::STANDARD, 302, &[("repr-digest", NOTHING)]), "", "of no page");
    assert_eq!(told(WireDigests::ALL, 302, &[("x-checksum-md5", MD5)]), "", "no standard says so");
}
