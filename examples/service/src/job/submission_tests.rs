//! The tables of `spec/skroutz.md`, 1.2 and 9: what a submission may say, and the words in which it is refused.

use serde_json::{Value, json};

use std::num::NonZeroU32;

use super::*;

fn valid() -> Value {
    json!({
        "url": "http://origin/file", "aggr_id": "g", "aggr_limit": 4,
        "callback_type": "http", "callback_dst": "http://receiver/",
    })
}

/// The valid submission with other members; `null` stays `null`, and "-" takes a member away.
fn with(changes: Value) -> Vec<u8> {
    let mut body = valid();
    let (Value::Object(members), Value::Object(changes)) = (&mut body, changes) else { unreachable!() };
    for (name, value) in changes {
        if value == "-" {
            members.remove(&name);
        } else {
            members.insert(name, value);
        }
    }
    body.to_string().into_bytes()
}

fn rules() -> Rules {
    let mut rules = Rules::default();
    rules.callbacks.insert("kafka".to_owned());
    rules
}

fn accepted(changes: Value) -> Submission {
    let shown = changes.to_string();
    Submission::parse(&with(changes), &rules()).unwrap_or_else(|refusal| panic!("{shown}: {refusal}"))
}

#[track_caller]
fn refused(changes: Value, part: Part, field: &str, reason: &str) {
    let shown = changes.to_string();
    let refusal = Submission::parse(&with(changes), &rules()).expect_err(&shown);
    assert_eq!((refusal.part, refusal.field), (part, Some(field)), "{shown}: {refusal}");
    assert!(refusal.reason.contains(reason), "{shown}: {refusal}");
}

#[test]
fn skroutz_4_what_is_no_object() {
    for (body, reason) in [
        ("", "unexpected end of JSON input"),
        ("meh", ""),
        ("[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ("null", "URL must be a string"),
        ("{}", "URL must be a string"),
        ("{} x", ""),
    ] {
        let refusal = Submission::parse(body.as_bytes(), &rules()).expect_err(body);
        let sentence = refusal.sentence(body);
        assert!(
            sentence.starts_with(&format!("Error unmarshalling body '{body}' to Job: {reason}")),
            "{sentence}"
        );
    }
}

#[test]
fn skroutz_5_6_urls() {
    for url in [json!("-"), json!(1), json!(null)] {
        refused(json!({ "url": url }), Part::Job, "url", "URL must be a string");
    }
    for url in ["", "foo", "/relative", "foo:bar", "http://", "ftp://h/x", "file:///x"] {
        refused(json!({ "url": url }), Part::Job, "url", "Could not parse URL: parse ");
    }
}

#[test]
fn skroutz_7_groups() {
    for group in [json!("-"), json!(true)] {
        refused(json!({ "aggr_id": group }), Part::Job, "aggr_id", "aggr_id must be a string");
    }
    refused(json!({ "aggr_id": "" }), Part::Job, "aggr_id", "aggr_id cannot be empty");
}

#[test]
fn skroutz_8_9_limits_of_groups() {
    for limit in [json!("-"), json!("4"), json!(null)] {
        refused(
            json!({ "aggr_limit": limit }),
            Part::Aggregation,
            "aggr_limit",
            "Aggregation limit must be a number",
        );
    }
    for limit in [json!(0), json!(-2), json!(0.9), json!(1e30)] {
        refused(json!({ "aggr_limit": limit }), Part::Aggregation, "aggr_limit", "must be greater than 0");
    }
    assert_eq!(accepted(json!({ "aggr_limit": 2.7 })).settings.limit.get(), 2);
    refused(json!({ "aggr_limit": 0, "url": 1 }), Part::Job, "url", "URL must be a string");
}

#[test]
fn skroutz_10_proxies() {
    assert_eq!(accepted(json!({ "aggr_proxy": "" })).settings.proxy, None);
    let proxy = accepted(json!({ "aggr_proxy": "socks5://p:1080" })).settings.proxy;
    assert_eq!(proxy.as_deref(), Some("socks5://p:1080"));
    for proxy in [json!(null), json!(4)] {
        refused(
            json!({ "aggr_proxy": proxy }),
            Part::Aggregation,
            "aggr_proxy",
            "Aggregation proxy must be a string",
        );
    }
    let why = r#"Aggregation proxy must be a valid URI: parse "example": invalid URI for request"#;
    refused(json!({ "aggr_proxy": "example" }), Part::Aggregation, "aggr_proxy", why);
}

#[test]
fn skroutz_11_callbacks_that_lack_something() {
    let none = json!({ "callback_type": "-", "callback_dst": "-" });
    refused(none, Part::Job, "callback_type", "callback_type must be a string");
    refused(json!({ "callback_dst": "-" }), Part::Job, "callback_dst", "callback_dst must be a string");
    refused(json!({ "callback_type": "-" }), Part::Job, "callback_type", "callback_type must be a string");
    let both = r#"You need to provide both callback_type ("") and callback_dst ("")"#;
    refused(json!({ "callback_type": "", "callback_dst": "" }), Part::Job, "callback_type", both);
}

#[test]
fn skroutz_12_13_14_the_url_of_a_callback_goes_first() {
    for url in ["", "fijfij", "/x"] {
        refused(json!({ "callback_url": url }), Part::Job, "callback_url", "Could not parse callback URL");
    }
    let target = |changes| accepted(changes).spec.callback.expect("somebody is told").target;
    assert_eq!(target(json!({ "callback_url": null })), "http://receiver/");
    assert_eq!(target(json!({ "callback_url": "http://other/", "callback_type": 4 })), "http://other/");
    let error = accepted(json!({ "callback_url": "http://other/", "callback_error_dst": "http://e/" }));
    assert_eq!(error.spec.callback_error, None, "not read");
}

#[test]
fn skroutz_15_a_kind_of_callback_that_nobody_delivers() {
    refused(
        json!({ "callback_type": "foo" }),
        Part::Job,
        "callback_type",
        r#"callback_type "foo" is not one of"#,
    );
    let kafka = accepted(json!({ "callback_type": "kafka", "callback_dst": "httpfoo" }));
    assert_eq!(kafka.spec.callback.expect("somebody is told").target, "httpfoo", "a topic");
    refused(json!({ "callback_dst": "receiver" }), Part::Job, "callback_dst", "Could not parse callback URL");
}

#[test]
fn skroutz_16_17_buckets() {
    let region = json!({ "s3_region": "r" });
    refused(region, Part::Job, "s3_bucket", "s3_region provided without an s3_bucket");
    let bucket = json!({ "s3_bucket": "b", "s3_region": 5 });
    refused(bucket, Part::Job, "s3_region", "s3_bucket provided without an s3_region");
    let silent = json!({ "s3_bucket": "b", "s3_region": "r", "callback_type": "-", "callback_dst": "-" });
    assert_eq!(accepted(silent).spec.callback, None);
}

#[test]
fn callbacks_of_failures_have_a_destination_of_their_own() {
    let error = accepted(json!({ "callback_error_dst": "http://errors/" })).spec.callback_error;
    assert_eq!(error, Some(Destination { kind: "http".to_owned(), target: "http://errors/".to_owned() }));
    let kafka =
        accepted(json!({ "callback_error_type": "kafka", "callback_error_dst": "t" })).spec.callback_error;
    assert_eq!(kafka.expect("somebody is told").kind, "kafka");
    let alone = json!({ "callback_type": "-", "callback_dst": "-", "callback_error_type": "http", "callback_error_dst": "http://e/" });
    refused(alone, Part::Job, "callback_type", "callback_type must be a string");
}

#[test]
fn skroutz_18_patterns_of_media_types() {
    for pattern in [json!(null), json!(1)] {
        refused(json!({ "mime_type": pattern }), Part::Job, "mime_type", "MimeType pattern must be a string");
    }
    for pattern in ["[]a]", "\\", "image/["] {
        refused(json!({ "mime_type": pattern }), Part::Job, "mime_type", "Invalid MimeType Pattern, ");
    }
    for pattern in ["", "image/*", "!x/y", " image/png , !image/gif ", "image/png,"] {
        assert_eq!(accepted(json!({ "mime_type": pattern })).spec.mime_type, pattern);
    }
}

#[test]
fn skroutz_19_20_numbers_and_flags() {
    for (value, go) in [(json!("1"), "string"), (json!(null), "<nil>"), (json!([]), "[]interface {}")] {
        let reason = format!("Max retries must be a number, was: {go}");
        refused(json!({ "max_retries": value }), Part::Job, "max_retries", &reason);
    }
    refused(json!({ "max_retries": -1 }), Part::Job, "max_retries", "Max retries must not be negative");
    let retries = |value| accepted(json!({ "max_retries": value })).spec.max_retries;
    assert_eq!(
        [retries(json!(-0.5)), retries(json!(1.9)), retries(json!(1e30))],
        [Some(0), Some(1), Some(u32::MAX)]
    );
    for value in [json!("true"), json!(1), json!(null)] {
        let field = "extract_image_size";
        refused(json!({ field: value }), Part::Job, field, "ExtractImageSize must be a boolean");
    }
    for value in [json!(null), json!("4")] {
        refused(
            json!({ "download_timeout": value }),
            Part::Job,
            "download_timeout",
            "Download timeout must be a number",
        );
    }
    for value in [json!(0), json!(-2), json!(0.5)] {
        refused(
            json!({ "download_timeout": value }),
            Part::Job,
            "download_timeout",
            "must be greater than 0",
        );
    }
}

#[test]
fn skroutz_21_22_58_header_fields() {
    for value in [json!(null), json!(1), json!([])] {
        refused(json!({ "request_headers": value }), Part::Job, "request_headers", "must be a dictionary");
    }
    for (value, shown) in [(json!(null), "<nil>"), (json!(["x"]), "[x]"), (json!(1.5), "1.5")] {
        let reason = format!("must be either strings or ints.Given value is {shown}");
        refused(json!({ "request_headers": { "a": value } }), Part::Job, "request_headers", &reason);
    }
    let headers = accepted(json!({ "request_headers": { "a": 1, "B": "c" } })).spec.request_headers;
    assert_eq!(
        headers.into_iter().collect::<Vec<_>>(),
        [("B", "c"), ("a", "1")].map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
    for (name, value) in [("a b", "x"), ("", "x"), ("a", "x\r\nb: c")] {
        refused(
            json!({ "request_headers": { name: value } }),
            Part::Job,
            "request_headers",
            "invalid header field",
        );
    }
    for name in ["Range", "if-range", "IF-MATCH", "If-None-Match", "If-Modified-Since", "if-unmodified-since"]
    {
        let reason = format!("request header {name} would bring a part of the file, or none");
        refused(json!({ "request_headers": { name: "x" } }), Part::Job, "request_headers", &reason);
    }
    accepted(json!({ "request_headers": { "If": "x", "Range-Unit": "y", "Accept-Ranges": "z" } }));
}

#[test]
fn skroutz_23_24_25_what_is_not_used() {
    refused(json!({ "extra": 5 }), Part::Job, "extra", "extra must be a string");
    refused(json!({ "extra": {} }), Part::Job, "extra", "extra must be a string");
    let plain = accepted(json!({}));
    assert_eq!(accepted(json!({ "unknown": 1, "expiresAt": "99999999999", "user_agent": "x" })), plain);
}

#[test]
fn folders_within_the_storage() {
    for (given, kept) in [
        ("foo", "foo"),
        ("/foo/", "foo"),
        ("foo///bar", "foo/bar"),
        ("...", "..."),
        ("foo..bar", "foo..bar"),
        ("", ""),
        ("/", ""),
    ] {
        assert_eq!(accepted(json!({ "subpath": given })).spec.subpath, kept);
    }
    for given in ["..", "a/../b", "./a", "a/."] {
        refused(
            json!({ "subpath": given }),
            Part::Job,
            "subpath",
            &format!("Invalid path specified: {given}"),
        );
    }
    assert_eq!(accepted(json!({ "subpath": 5 })).spec.subpath, "");
}

#[test]
fn what_ours_adds() {
    let sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let spec = accepted(json!({
        "digests": { "sha-256": sha256 }, "size": 4, "mirrors": ["http://mirror/file"], "priority": -100,
        "idempotency_key": "k", "host_limit": 2, "bytes_per_second": 1_000_000,
    }))
    .spec;
    assert_eq!(
        (spec.digests, spec.size, spec.mirrors.len()),
        (vec![format!("sha-256={sha256}")], Some(4), 1)
    );
    assert_eq!((spec.priority, spec.idempotency_key.as_deref()), (-100, Some("k")));
    assert_eq!((spec.host_limit.map(NonZeroU32::get), spec.bytes_per_second), (Some(2), Some(1_000_000)));
    assert_eq!(accepted(json!({ "size": 0 })).spec.size, Some(0), "an empty file");
    for (field, value) in [
        ("digests", json!([])),
        ("digests", json!({ "sha-256": "00" })),
        ("digests", json!({ "rot13": "00" })),
        ("size", json!(-1)),
        ("mirrors", json!("http://mirror/")),
        ("mirrors", json!(["file:///x"])),
        ("priority", json!(101)),
        ("priority", json!("1")),
        ("idempotency_key", json!("")),
        ("idempotency_key", json!(4)),
        ("host_limit", json!(0)),
        ("host_limit", json!(1e12)),
        ("bytes_per_second", json!(0)),
    ] {
        refused(json!({ field: value }), Part::Job, field, "");
    }
}

#[test]
fn the_last_of_a_repeated_member_counts() {
    let mut body = String::from_utf8(with(json!({}))).expect("JSON is text");
    body.insert_str(1, r#""url":"foo","#);
    assert!(Submission::parse(body.as_bytes(), &rules()).is_ok());
}
