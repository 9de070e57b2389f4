//! What challenges look like on the wire, and what becomes of that.
//!
//! Invariant: every challenge that can be written down is read back as it was. Must not know: what a scheme means.

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use proptest::prelude::*;

use super::*;

fn parse(fields: &[impl AsRef<[u8]>]) -> Vec<Challenge> {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(field.as_ref()).unwrap());
    }
    Challenge::parse(&headers, &WWW_AUTHENTICATE)
}

/// `Scheme token name=value name=value`, one text a challenge.
fn shown(fields: &[&str]) -> Vec<String> {
    let show = |challenge: &Challenge| {
        let mut text = challenge.scheme.to_string();
        text.extend(challenge.token().map(|token| format!(" <{token}>")));
        text.extend(
            challenge
                .parameters
                .iter()
                .map(|(name, value)| format!(" {name}={}", String::from_utf8_lossy(value))),
        );
        text
    };
    parse(fields).iter().map(show).collect()
}

#[test]
fn one_or_several_in_one_field_or_several() {
    let cases: &[(&[&str], &[&str])] = &[
        (&[r#"Basic realm="simple""#], &["Basic realm=simple"]),
        (&[r#"Basic realm="a", charset="UTF-8""#], &["Basic realm=a charset=UTF-8"]),
        (
            &[r#"Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple""#],
            &[r#"Newauth realm=apps type=1 title=Login to "apps""#, "Basic realm=simple"],
        ),
        (&["Negotiate", "NTLM"], &["Negotiate", "NTLM"]),
        (&["Negotiate, NTLM, Basic realm=x"], &["Negotiate", "NTLM", "Basic realm=x"]),
        (&["Negotiate YII=, Basic realm=x"], &["Negotiate <YII=>", "Basic realm=x"]),
        (&["Negotiate a/b+c.d==  ,Basic"], &["Negotiate <a/b+c.d==>", "Basic"]),
        // A list may be split at any comma.
        (&[r#"Digest realm="a""#, "nonce=b", "Basic realm=c"], &["Digest realm=a nonce=b", "Basic realm=c"]),
    ];
    for (fields, expected) in cases {
        assert_eq!(shown(fields), *expected, "{fields:?}");
    }
}

#[test]
fn what_servers_write_all_the_same() {
    let cases: &[(&str, &[&str])] = &[
        (" ,, Basic ,realm = \"a\" ,,, Digest\trealm=\"b\",", &["Basic realm=a", "Digest realm=b"]),
        (
            r#"Bearer realm=https://h/token?a=b,service="r=1",scope=repository:x/y:pull"#,
            &["Bearer realm=https://h/token?a=b service=r=1 scope=repository:x/y:pull"],
        ),
        (r#"Basic realm="a" Digest realm="b""#, &["Basic realm=a", "Digest realm=b"]),
        (r#"Basic realm="a"junk, x=1"#, &["Basic realm=a x=1"]),
        (r#"Basic realm="never closed, x=1"#, &["Basic realm=never closed, x=1"]),
        (r#"Basic realm="\"#, &["Basic realm="]),
        ("Basic realm=a, realm=b, REALM=c", &["Basic realm=a"]),
        ("Basic x=1, =2, \"q, r\", y=3", &["Basic x=1"]),
        ("realm=a, Basic realm=b", &["Basic realm=b"]),
        ("Bäsic realm=a, Basic realm=b", &["Basic realm=b"]),
        ("Digest realm=a, B\"asic realm=b, y=2", &["Digest realm=a"]),
        ("", &[]),
        (", \t,", &[]),
    ];
    for (field, expected) in cases {
        assert_eq!(shown(&[field]), *expected, "{field}");
    }
    let latin = parse(&[&b"Basic realm=\"caf\xe9\""[..]]);
    assert_eq!(latin[0].bytes("Realm"), Some(&b"caf\xe9"[..]));
    assert_eq!(latin[0].parameter("realm").as_deref(), Some("caf\u{fffd}"));
    assert!(latin[0].is("BASIC") && !latin[0].is("Digest"));
}

#[test]
fn there_are_limits() {
    let schemes = vec!["S"; 100].join(",");
    assert_eq!(parse(&[schemes]).len(), MOST_CHALLENGES);
    // A parameter behind the last scheme that is kept belongs to one that is not.
    let behind = format!("{},T, x=1", vec!["S"; MOST_CHALLENGES].join(","));
    assert!(parse(&[behind]).iter().all(|challenge| challenge.parameters.is_empty()));
    let parameters: Vec<_> = (0..100).map(|n| format!("p{n}=v")).collect();
    assert_eq!(parse(&[format!("S {}", parameters.join(","))])[0].parameters.len(), MOST_PARAMETERS);
    let long = parse(&[format!("S p=\"{}\"", "x".repeat(1 << 20)), "T".to_owned()]);
    assert_eq!((long.len(), long[0].bytes("p").unwrap().len()), (1, MOST_BYTES - "S p=\"".len()));
}

#[test]
fn debug_prints_no_values() {
    assert_eq!(format!("{:?}", parse(&["Digest nonce=s3cret"])), r#"[Challenge Digest ["nonce"]]"#);
}

#[test]
fn a_field_of_parameters_alone() {
    let field = br#"qop=auth, nextnonce="a\"b", nc=00000001"#;
    assert_eq!(parameter_of(field, "nextnonce").as_deref(), Some(&b"a\"b"[..]));
    assert_eq!(parameter_of(b"nextnonce", "nextnonce"), None);
    assert_eq!(parameter_of(b"\"", "nextnonce"), None);
}

/// Any challenge that can be written down.
fn challenge() -> impl Strategy<Value = Challenge> {
    let token = || "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,8}";
    let value = proptest::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7eu8, 0x80..=0xffu8], 0..12);
    let parameters = proptest::collection::btree_map("[a-z][a-z0-9*]{0,5}", value, 0..5);
    let token68 = "[A-Za-z0-9._~+/-]{1,8}={0,2}";
    (token(), prop_oneof![token68.prop_map(Ok), parameters.prop_map(Err)]).prop_map(|(scheme, rest)| {
        let (token, parameters) = match rest {
            Ok(token) => (Some(token.into()), Vec::new()),
            Err(all) => (None, all.into_iter().map(|(name, value)| (name.into(), value.into())).collect()),
        };
        Challenge { scheme: scheme.into(), token, parameters }
    })
}

/// Writes it down; the bits of `style` decide on spaces, quotes and escapes.
fn write(challenge: &Challenge, mut style: u64) -> Vec<u8> {
    let mut choose = || {
        style = style.rotate_right(1);
        style & 1 == 1
    };
    let mut text = challenge.scheme.as_bytes().to_vec();
    if let Some(token) = &challenge.token {
        text.extend([b" ", token.as_bytes()].concat());
    }
    for (index, (name, value)) in challenge.parameters.iter().enumerate() {
        text.extend(match (index, choose()) {
            (0, false) => &b" "[..],
            (0, true) => b" ,\t",
            (_, false) => b",",
            (_, true) => b" , ,",
        });
        text.extend(name.as_bytes());
        text.extend(if choose() { &b"="[..] } else { b" = " });
        if !value.is_empty() && value.iter().copied().all(is_token) && choose() {
            text.extend(&**value);
            continue;
        }
        text.push(b'"');
        for byte in value {
            if matches!(byte, b'"' | b'\\') || choose() {
                text.push(b'\\');
            }
            text.push(*byte);
        }
        text.push(b'"');
    }
    text
}

proptest! {
    #[test]
    fn what_is_written_is_read(challenges in proptest::collection::vec(challenge(), 0..6), style: u64, split: u64) {
        let mut fields: Vec<Vec<u8>> = vec![Vec::new()];
        for (index, challenge) in challenges.iter().enumerate() {
            if split >> index & 1 == 1 {
                fields.push(Vec::new());
            } else if index > 0 {
                fields.last_mut().unwrap().extend(if split >> index & 2 == 2 { &b","[..] } else { b", ,\t" });
            }
            fields.last_mut().unwrap().extend(write(challenge, style.rotate_left(index as u32 * 7)));
        }
        prop_assert_eq!(parse(&fields), challenges);
    }

    #[test]
    fn any_bytes_are_read(fields in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7eu8, 0x80..=0xffu8, Just(b'"'), Just(b','), Just(b'=')], 0..64), 0..4)) {
        let challenges = parse(&fields);
        prop_assert!(challenges.iter().all(|challenge| !challenge.scheme.is_empty()));
        for field in &fields {
            parameter_of(field, "x");
        }
    }
}
