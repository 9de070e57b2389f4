//! The digest fields of the standards: `Repr-Digest` and `Content-Digest` (RFC 9530), `Digest` (RFC 3230).
//!
//! Invariant: pure, total and bounded; what is malformed, or of an algorithm that is not known, is no claim.
//! Must not know: which messages may be believed.

use downloader_core::validate::Algorithm;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::claims::Claims;
use super::{encoding, structured};

pub(super) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const DIGEST: HeaderName = HeaderName::from_static("digest");

/// Longest line of `Digest` that is read, in bytes.
const LONGEST: usize = 8 * 1024;
/// Most digests that are read of `Digest`.
const MOST_DIGESTS: usize = 32;

/// What a field of RFC 9530 claims.
pub(super) fn dictionary(reply: &HeaderMap, name: &HeaderName) -> Claims {
    let mut claims = Claims::default();
    let lines = reply.get_all(name).iter().map(HeaderValue::as_bytes);
    for (key, value) in structured::byte_sequences(lines).unwrap_or_default() {
        // The registry of RFC 9530 §7.2.
        let algorithm = match key.as_str() {
            "sha-512" => Algorithm::Sha512,
            "sha-256" => Algorithm::Sha256,
            "sha" => Algorithm::Sha1,
            "md5" => Algorithm::Md5,
            "crc32c" => Algorithm::Crc32c,
            _ => continue,
        };
        if let Some(bytes) = encoding::base64(&value, algorithm.length()) {
            claims.add(algorithm, bytes);
        }
    }
    claims
}

/// What `Digest` claims. Beside base64, which the standard asks for, hexadecimal is read: the length tells the two
/// apart (RFC 3230 §4.3.2, RFC 5843 §2).
pub(super) fn digest(reply: &HeaderMap) -> Claims {
    let mut claims = Claims::default();
    let lines = reply.get_all(DIGEST).iter().map(HeaderValue::as_bytes);
    let items = lines.filter(|line| line.len() <= LONGEST).flat_map(|line| line.split(|byte| *byte == b','));
    for item in items.take(MOST_DIGESTS) {
        let Some(split) = item.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (item[..split].trim_ascii(), item[split + 1..].trim_ascii());
        let Some(algorithm) = instance_digest(name) else { continue };
        if let Some(bytes) = either(value, algorithm.length()) {
            claims.add(algorithm, bytes);
        }
    }
    claims
}

/// Names ignore case. `id-` says that the digest is of the content without a coding, which is what is asked for.
fn instance_digest(name: &[u8]) -> Option<Algorithm> {
    let named = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if named("sha-512") || named("id-sha-512") {
        Some(Algorithm::Sha512)
    } else if named("sha-256") || named("id-sha-256") {
        Some(Algorithm::Sha256)
    } else if named("sha") {
        Some(Algorithm::Sha1)
    } else if named("md5") {
        Some(Algorithm::Md5)
    } else if named("crc32c") {
        Some(Algorithm::Crc32c)
    } else {
        None
    }
}

fn either(value: &[u8], length: usize) -> Option<Vec<u8>> {
    encoding::base64(value, length).or_else(|| encoding::hexadecimal(value, length))
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;

    /// Of `hello`, in hexadecimal and base64.
    const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    const SHA256_BASE64: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    const MD5: &str = "5d41402abc4b2a76b9719d911017c592";
    const MD5_BASE64: &str = "XUFAKrxLKna5cZ2REBfFkg==";
    const SHA1_BASE64: &str = "qvTGHdzF6KLavt4PO0gs2a6pQ00=";

    fn reply(name: &'static str, values: &[&str]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn told(claims: &Claims) -> Vec<String> {
        claims.to_string().split_whitespace().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn the_fields_of_rfc_9530_are_read() {
        let field = format!("sha-256=:{SHA256_BASE64}:, unixsum=:AAA=:, md5=:{MD5_BASE64}:");
        let reply = reply("repr-digest", &[&field, "sha-512=:AAAA:"]);
        assert_eq!(
            told(&dictionary(&reply, &REPR_DIGEST)),
            [format!("sha-256={SHA256}"), format!("md5={MD5}")]
        );
        assert_eq!(dictionary(&reply, &CONTENT_DIGEST), Claims::default());
    }

    #[test]
    fn the_old_field_is_read_in_the_forms_servers_give_it() {
        for (value, expected) in [
            (format!("SHA-256={SHA256_BASE64}"), vec![format!("sha-256={SHA256}")]),
            (format!("sha-256={}", SHA256_BASE64.trim_end_matches('=')), vec![format!("sha-256={SHA256}")]),
            (format!("id-sha-256={SHA256}"), vec![format!("sha-256={SHA256}")]),
            (
                format!("MD5={MD5_BASE64},SHA={SHA1_BASE64} , unixsum=30637"),
                vec![format!("md5={MD5}"), "sha-1=aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d".to_owned()],
            ),
            (format!("md5={}", MD5.to_uppercase()), vec![format!("md5={MD5}")]),
            (format!("md5={SHA256_BASE64}"), vec![]),
            (format!("md5={MD5},md5={}", MD5.replace('5', "6")), vec![]),
            (format!("crc32c={}", "mnG7TA=="), vec!["crc32c=9a71bb4c".to_owned()]),
            ("sha-256".to_owned(), vec![]),
            (SHA256.to_owned(), vec![]),
            (String::new(), vec![]),
        ] {
            assert_eq!(told(&digest(&reply("digest", &[&value]))), expected, "{value}");
        }
        let lines = reply("digest", &[&format!("md5={MD5}"), &format!("sha-256={SHA256}")]);
        assert_eq!(told(&digest(&lines)).len(), 2, "one a line, as MirrorBrain sends them");
    }

    proptest! {
        #[test]
        fn no_value_makes_them_panic(value in proptest::collection::vec(32u8.., 0..200), text in "((md5|SHA-256|sha|x)=[0-9a-zA-Z=:]{0,44},? ?){0,4}") {
            for value in [value, text.into_bytes()] {
                let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
                let reply: HeaderMap = [DIGEST, REPR_DIGEST].into_iter().map(|name| (name, value.clone())).collect();
                let _ = (digest(&reply), dictionary(&reply, &REPR_DIGEST));
            }
        }
    }
}
