//! Dictionaries of byte sequences, as structured fields write them (RFC 9651 §3.2 and §3.3.5).
//!
//! Invariant: total and bounded; a field that is malformed as far as it was read says nothing at all (§4.2).
//! Must not know: what the keys mean.

/// Longest field that is read, in bytes, its lines together.
const LONGEST: usize = 8 * 1024;
/// Most members of one dictionary.
const MOST_MEMBERS: usize = 32;

/// The members of a dictionary that are byte sequences, still in base64; of equal keys the last counts. Members of
/// other types, and parameters, are passed over. `None` for a field that is malformed, or longer than 8 KiB.
pub(super) fn byte_sequences<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Vec<(String, Vec<u8>)>> {
    let field: Vec<u8> = lines.take(MOST_MEMBERS).collect::<Vec<_>>().join(&b", "[..]);
    if field.len() > LONGEST {
        return None;
    }
    let mut rest = trimmed(&field, b" ");
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    for _ in 0..MOST_MEMBERS {
        if rest.is_empty() {
            return Some(members);
        }
        let key = key(&mut rest)?;
        let value = if take(&mut rest, b'=') { byte_sequence(&mut rest)? } else { None };
        members.retain(|(known, _)| *known != key);
        members.extend(value.map(|value| (key, value)));
        pass_over(&mut rest)?;
        rest = trimmed(rest, b" \t");
        if rest.is_empty() {
            return Some(members);
        }
        if !take(&mut rest, b',') {
            return None;
        }
        rest = trimmed(rest, b" \t");
        if rest.is_empty() {
            // A comma that nothing follows.
            return None;
        }
    }
    None
}

fn key(rest: &mut &[u8]) -> Option<String> {
    let first = |byte: u8| byte.is_ascii_lowercase() || byte == b'*';
    let further = |byte: u8| first(byte) || byte.is_ascii_digit() || b"_-.".contains(&byte);
    let length = rest.iter().position(|byte| !further(*byte)).unwrap_or(rest.len());
    let (key, behind) = rest.split_at(length);
    *rest = behind;
    if !key.first().is_some_and(|byte| first(*byte)) {
        return None;
    }
    String::from_utf8(key.to_vec()).ok()
}

/// `:…:`; `None` within for a value of another type.
fn byte_sequence(rest: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    if !take(rest, b':') {
        return Some(None);
    }
    let length = rest.iter().position(|byte| *byte == b':')?;
    let (sequence, behind) = rest.split_at(length);
    *rest = &behind[1..];
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    sequence.iter().all(base64).then(|| Some(sequence.to_vec()))
}

/// Goes to the comma behind the member: commas stand within quotes only.
fn pass_over(rest: &mut &[u8]) -> Option<()> {
    let mut quoted = false;
    let mut bytes = rest.iter().enumerate();
    let end = loop {
        match bytes.next() {
            None if quoted => return None,
            None => break rest.len(),
            Some((at, b',')) if !quoted => break at,
            Some((_, b'"')) => quoted = !quoted,
            Some((_, b'\\')) if quoted => _ = bytes.next(),
            Some((_, byte)) if !(0x20..0x7f).contains(byte) && *byte != b'\t' => return None,
            Some(_) => {}
        }
    };
    *rest = &rest[end..];
    Some(())
}

fn take(rest: &mut &[u8], byte: u8) -> bool {
    let found = rest.first() == Some(&byte);
    if found {
        *rest = &rest[1..];
    }
    found
}

fn trimmed<'a>(text: &'a [u8], blanks: &[u8]) -> &'a [u8] {
    let start = text.iter().position(|byte| !blanks.contains(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blanks.contains(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &[&str]) -> Option<Vec<(String, String)>> {
        let members = byte_sequences(lines.iter().map(|line| line.as_bytes()))?;
        Some(members.into_iter().map(|(key, value)| (key, String::from_utf8(value).unwrap())).collect())
    }

    fn some(members: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(members.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn byte_sequences_are_read_and_everything_else_is_passed_over() {
        assert_eq!(read(&["sha-256=:AQID:"]), some(&[("sha-256", "AQID")]));
        assert_eq!(
            read(&["sha-256=:AQID:,  sha-512=:BA==:", "md5=::"]),
            some(&[("sha-256", "AQID"), ("sha-512", "BA=="), ("md5", "")])
        );
        assert_eq!(
            read(&[r#"a=1;x="y,\"z", b=("q,r" 2);p, c, d=?0, e=:AQ:;f=:Ag==:, g=%"c3,""#]),
            some(&[("e", "AQ")])
        );
        assert_eq!(read(&["a=:AQ:, a=:Ag:"]), some(&[("a", "Ag")]), "the last of equal keys");
        assert_eq!(read(&["a=:AQ:, a=1"]), some(&[]), "whatever its type");
        assert_eq!(read(&[""]), some(&[]));
        assert_eq!(read(&[]), some(&[]));
        assert_eq!(read(&["  a=:AQ:\t,\tb  "]), some(&[("a", "AQ")]));
    }

    #[test]
    fn a_malformed_field_says_nothing() {
        for field in [
            "sha-256=:AQID",
            "SHA-256=:AQID:",
            "a=:AQ:,",
            ",a=:AQ:",
            "a=:A Q:",
            "a=:A_Q:",
            "1a=:AQ:",
            "a=\"",
            "a=:AQ:, =",
            "a=\u{fc}",
        ] {
            assert_eq!(read(&[field]), None, "{field:?}");
        }
        assert_eq!(read(&[&format!("a=:{}:", "A".repeat(LONGEST))]), None);
        let many: Vec<String> = (0..=MOST_MEMBERS).map(|index| format!("a{index}=:AQ:")).collect();
        assert_eq!(read(&[&many.join(",")]), None);
        assert_eq!(read(&[&many[1..].join(",")]).map(|members| members.len()), Some(MOST_MEMBERS));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(lines in proptest::collection::vec(any::<Vec<u8>>(), 0..4), text in "[a-c=:, \"\\\\;()A-C]{0,60}") {
            let _ = byte_sequences(lines.iter().map(Vec::as_slice));
            if let Some(members) = byte_sequences([text.as_bytes()].into_iter()) {
                for (key, value) in members {
                    let written = format!("{key}=:{}:", String::from_utf8(value).unwrap());
                    prop_assert!(text.contains(&written), "{written:?} is not in {text:?}");
                }
            }
        }

        #[test]
        fn what_is_written_is_read_back(members in proptest::collection::btree_map("[a-z*][a-z0-9_.*-]{0,10}", "[A-Za-z0-9+/]{0,20}={0,2}", 0..MOST_MEMBERS)) {
            let lines: Vec<String> = members.iter().map(|(key, value)| format!("{key}=:{value}:")).collect();
            let read = byte_sequences([lines.join(" , ").as_bytes()].into_iter()).unwrap();
            let expected: Vec<_> = members.into_iter().map(|(key, value)| (key, value.into_bytes())).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
