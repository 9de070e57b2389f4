//! The file name in `Content-Disposition` (RFC 6266, with extended values of RFC 8187), read from bytes.
//!
//! Invariant: pure and total; whatever a server sends, what comes out is a [`FileName`]. Must not know: where a file
//! of that name goes.
//!
//! Tolerant where the meaning is plain: quotes that do not end, blanks around `=`, a value of several words without
//! quotes, no disposition type. Not guessed at: percent escapes in a plain `filename`, which stand for themselves
//! (RFC 6266 §4.1 knows them in `filename*` only), and encoded words of RFC 2047, which were never for HTTP.

use downloader_core::FileName;
use http::HeaderMap;
use http::header::CONTENT_DISPOSITION;

/// Longest value that is read, in bytes.
const LONGEST: usize = 16 * 1024;

/// The name that a reply gives its content: of several fields the first that has one.
pub(crate) fn file_name(reply: &HeaderMap) -> Option<FileName> {
    let mut values = reply.get_all(CONTENT_DISPOSITION).iter();
    values.find_map(|value| suggestions(value.as_bytes()).iter().find_map(|name| FileName::sanitize(name)))
}

/// The names a value suggests, the one that is meant first: `filename*`, if it can be read, before `filename`; of
/// equal parameters the first.
fn suggestions(value: &[u8]) -> Vec<String> {
    if value.len() > LONGEST {
        return Vec::new();
    }
    let (mut plain, mut extended) = (None, None);
    let mut rest = value;
    while !rest.is_empty() {
        let (name, raw) = parameter(&mut rest);
        if name.eq_ignore_ascii_case(b"filename*") && extended.is_none() {
            extended = raw.as_deref().and_then(decoded);
        } else if name.eq_ignore_ascii_case(b"filename") && plain.is_none() {
            plain = raw.as_deref().map(text);
        }
    }
    extended.into_iter().chain(plain).collect()
}

/// Takes a parameter off the front of `rest`: its name, and its value without quotes; the type of disposition is
/// one without a value.
fn parameter<'a>(rest: &mut &'a [u8]) -> (&'a [u8], Option<Vec<u8>>) {
    let end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
    let (name, behind) = rest.split_at(end);
    let name = name.trim_ascii();
    if behind.first() != Some(&b'=') {
        *rest = behind.get(1..).unwrap_or_default();
        return (name, None);
    }
    let value = behind[1..].trim_ascii_start();
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
        *rest = value.get(end + 1..).unwrap_or_default();
        return (name, Some(value[..end].trim_ascii_end().to_vec()));
    };
    let (unquoted, behind) = unquoted(quoted);
    // Whatever stands between the quotes and the next parameter belongs to neither.
    let end = behind.iter().position(|byte| *byte == b';').unwrap_or(behind.len());
    *rest = behind.get(end + 1..).unwrap_or_default();
    (name, Some(unquoted))
}

/// The text up to the closing quote, or to the end, and what follows it.
fn unquoted(quoted: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::with_capacity(quoted.len());
    let mut at = 0;
    while let Some(byte) = quoted.get(at) {
        match byte {
            b'"' => return (text, &quoted[at + 1..]),
            b'\\' => {
                at += 1;
                text.extend(quoted.get(at));
            }
            byte => text.push(*byte),
        }
        at += 1;
    }
    (text, &[])
}

/// `CHARSET'LANGUAGE'PERCENT-ENCODED` (RFC 8187 §3.2), where the character set is UTF-8 or ISO-8859-1; `None` when it
/// is another one, or when the bytes are not of it.
fn decoded(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_encoding::percent_decode(encoded).collect();
    if charset.eq_ignore_ascii_case(b"UTF-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case(b"ISO-8859-1") {
        Some(latin(&bytes))
    } else {
        None
    }
}

/// Raw bytes beyond ASCII: UTF-8 if they can be, else ISO-8859-1, in which everything is text.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| latin(bytes), ToOwned::to_owned)
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn named(value: &[u8]) -> Option<String> {
        let reply = [(CONTENT_DISPOSITION, HeaderValue::from_bytes(value).ok()?)].into_iter().collect();
        file_name(&reply).map(|name| name.to_string())
    }

    #[track_caller]
    fn expect(cases: &[(&str, &str)]) {
        for (value, expected) in cases {
            let expected = Some(*expected).filter(|name| !name.is_empty());
            assert_eq!(named(value.as_bytes()).as_deref(), expected, "{value}");
        }
    }

    /// The forms of RFC 6266 §5 and of its grammar.
    #[test]
    fn names_are_read_as_the_grammar_says() {
        expect(&[
            ("Attachment; filename=example.html", "example.html"),
            ("INLINE; FILENAME= \"an example.html\"", "an example.html"),
            ("attachment; filename*= UTF-8''%e2%82%ac%20rates", "€ rates"),
            ("attachment; filename=\"EURO rates\"; filename*=utf-8''%e2%82%ac%20rates", "€ rates"),
            ("attachment; filename*=UTF-8'en'%e2%82%ac; filename=\"EURO\"", "€"),
            ("attachment; filename*=iso-8859-1'en'%A3%20rates", "£ rates"),
            ("attachment; filename=\"a \\\"b\\\" c\"", "a _b_ c"),
            ("attachment; filename=\"f\\oo.html\"", "foo.html"),
            ("attachment; filename=\"a;b=c.txt\"; x=\"y;filename=z\"", "a;b=c.txt"),
            ("attachment;x=\"filename=evil\";filename=good", "good"),
            ("attachment; filename =\t\"a\" ; y", "a"),
            ("attachment", ""),
            ("", ""),
        ]);
    }

    #[test]
    fn what_servers_get_wrong_is_taken_where_it_is_plain() {
        expect(&[
            ("attachment; filename=two words.txt", "two words.txt"),
            ("attachment; filename=\"never ends.txt", "never ends.txt"),
            ("attachment; filename=\"ends\".txt; x=y", "ends"),
            ("attachment; filename=\"ends in \\", "ends in"),
            ("filename=a.txt", "a.txt"),
            ("=;;attachment;;filename=a.txt;", "a.txt"),
            ("attachment; filename=a; filename=b", "a"),
            ("attachment; filename*=UTF-8''a; filename*=UTF-8''b", "a"),
            ("attachment; filename*=\"UTF-8''%61b\"", "ab"),
            // What cannot be read of the one gives way to the other.
            ("attachment; filename*=UTF-8''%ff%fe; filename=plain", "plain"),
            ("attachment; filename*=KOI8-R''%f0; filename=plain", "plain"),
            ("attachment; filename*=plain.txt; filename=plain", "plain"),
            ("attachment; filename*=UTF-8''; filename=plain", "plain"),
            ("attachment; filename*=UTF-8''%2e%2e; filename=plain", "plain"),
            ("attachment; filename=\"\"", ""),
        ]);
    }

    #[test]
    fn nothing_is_guessed() {
        expect(&[
            ("attachment; filename=\"a%20b%2fc.txt\"", "a%20b%2fc.txt"),
            ("attachment; filename=\"=?UTF-8?B?w7w=?=\"", "=_UTF-8_B_w7w=_="),
            ("attachment; filename*0=a; filename*1=b", ""),
            ("attachment; filename*=UTF-8''a%2", "a%2"),
        ]);
    }

    #[test]
    fn bytes_beyond_ascii_are_utf_8_or_latin() {
        assert_eq!(named("attachment; filename=\"naïve €.txt\"".as_bytes()).as_deref(), Some("naïve €.txt"));
        assert_eq!(named(b"attachment; filename=\"na\xefve.txt\"").as_deref(), Some("naïve.txt"));
        assert_eq!(named(b"attachment; filename=\xfc").as_deref(), Some("ü"));
        assert_eq!(
            named(b"attachment; filename=\"a\x80\x9fb\"").as_deref(),
            Some("ab"),
            "controls of ISO-8859-1"
        );
    }

    /// curl/curl#1888 and aria2/aria2#1118 were names that led elsewhere.
    #[test]
    fn a_name_never_leads_out_of_its_folder() {
        expect(&[
            ("attachment; filename=\"../../etc/passwd\"", "passwd"),
            ("attachment; filename=\"/etc/passwd\"", "passwd"),
            ("attachment; filename*=UTF-8''..%2f..%2fetc%2fpasswd", "passwd"),
            ("attachment; filename*=UTF-8''a%00b%0d%0a", "ab"),
            ("attachment; filename=\"\\\\\\\\host\\\\share\\\\x.exe\"", "x.exe"),
            ("attachment; filename=\"..\"", ""),
            ("attachment; filename=\"a/\"", ""),
            ("attachment; filename=.bashrc", "_bashrc"),
            ("attachment; filename*=UTF-8''con.%E2%80%AEtxt", "_con.txt"),
        ]);
    }

    #[test]
    fn the_first_field_with_a_name_counts_and_a_value_is_bounded() {
        let values = ["inline", "attachment; filename=a", "attachment; filename=b"];
        let reply =
            values.iter().map(|value| (CONTENT_DISPOSITION, HeaderValue::from_static(value))).collect();
        assert_eq!(file_name(&reply).unwrap().as_str(), "a");
        assert_eq!(named(format!("attachment; filename={}", "n".repeat(LONGEST)).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_lead_elsewhere(
            value in proptest::collection::vec(32u8.., 0..120),
            tail in "(; ?|filename\\*?|=|\"|\\\\|UTF-8''|'|%[0-9a-f]{0,2}|[a-c./]){0,20}",
        ) {
            for value in [value, format!("attachment; {tail}").into_bytes(), format!("attachment; filename={tail}").into_bytes()] {
                if let Some(name) = named(&value) {
                    prop_assert!(!name.is_empty() && !name.contains(['/', '\\', '\0']) && !name.starts_with('.'));
                }
            }
        }

        #[test]
        fn every_name_survives_both_ways_of_writing_it(name in "[a-zA-Zäß€;=\"' %_-]{1,20}[a-z]") {
            let expected = FileName::sanitize(&name).unwrap().to_string();
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(named(format!("attachment; filename=\"{quoted}\"; x=y").as_bytes()), Some(expected.clone()));
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let both = format!("attachment; filename=other; filename*=UTF-8''{encoded}");
            prop_assert_eq!(named(both.as_bytes()), Some(expected));
        }
    }
}
