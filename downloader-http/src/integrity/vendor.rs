//! Checksums that artifact repositories and object stores tell in fields of their own.
//!
//! Invariant: pure, total and bounded; a checksum that is, or may be, of something else than the content as it is
//! stored is no claim. Must not know: which messages may be believed.

use downloader_core::validate::Algorithm;
use http::{HeaderMap, HeaderValue};

use super::claims::Claims;
use super::encoding;

/// `X-Checksum-*` of Artifactory, Nexus and Maven repositories: hexadecimal.
const CHECKSUMS: [(&str, Algorithm); 4] = [
    ("x-checksum-sha512", Algorithm::Sha512),
    ("x-checksum-sha256", Algorithm::Sha256),
    ("x-checksum-sha1", Algorithm::Sha1),
    ("x-checksum-md5", Algorithm::Md5),
];

/// `x-amz-checksum-*` of S3: base64.
const AMAZON: [(&str, Algorithm); 5] = [
    ("x-amz-checksum-sha256", Algorithm::Sha256),
    ("x-amz-checksum-sha1", Algorithm::Sha1),
    ("x-amz-checksum-crc64nvme", Algorithm::Crc64Nvme),
    ("x-amz-checksum-crc32c", Algorithm::Crc32c),
    ("x-amz-checksum-crc32", Algorithm::Crc32),
];

/// Most items that are read of `x-goog-hash`.
const MOST_ITEMS: usize = 16;

/// What a reply claims in the fields of vendors; `whole` says that it has the whole content.
pub(super) fn claims(reply: &HeaderMap, whole: bool) -> Claims {
    let mut claims = Claims::default();
    for (name, algorithm) in CHECKSUMS {
        for value in reply.get_all(name) {
            let bytes = encoding::hexadecimal(value.as_bytes().trim_ascii(), algorithm.length());
            bytes.into_iter().for_each(|bytes| claims.add(algorithm, bytes));
        }
    }
    // Of a part S3 may tell the checksum of that part; and of a content that came in parts one of their checksums.
    if whole && !is(reply, "x-amz-checksum-type", "COMPOSITE") {
        for (name, algorithm) in AMAZON {
            for value in reply.get_all(name) {
                // A composite one ends with `-` and the number of parts, which is no base64.
                let bytes = encoding::base64(value.as_bytes().trim_ascii(), algorithm.length());
                bytes.into_iter().for_each(|bytes| claims.add(algorithm, bytes));
            }
        }
    }
    google(reply, &mut claims);
    claims
}

/// `x-goog-hash` of Cloud Storage: of the object as it is stored, which may be compressed where what is sent is not.
fn google(reply: &HeaderMap, claims: &mut Claims) {
    let stored = "x-goog-stored-content-encoding";
    if reply.contains_key(stored) && !is(reply, stored, "identity") {
        return;
    }
    let lines = reply.get_all("x-goog-hash").iter().map(HeaderValue::as_bytes);
    for item in lines.flat_map(|line| line.split(|byte| *byte == b',')).take(MOST_ITEMS) {
        let item = item.trim_ascii();
        let (value, algorithm) = if let Some(value) = item.strip_prefix(b"crc32c=") {
            (value, Algorithm::Crc32c)
        } else if let Some(value) = item.strip_prefix(b"md5=") {
            (value, Algorithm::Md5)
        } else {
            continue;
        };
        if let Some(bytes) = encoding::base64(value, algorithm.length()) {
            claims.add(algorithm, bytes);
        }
    }
}

/// Does the field say this, wherever it stands?
fn is(reply: &HeaderMap, name: &str, expected: &str) -> bool {
    let mut values = reply.get_all(name).iter();
    values.any(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(expected.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    /// Of `hello`.
    const MD5: &str = "5d41402abc4b2a76b9719d911017c592";
    const MD5_BASE64: &str = "XUFAKrxLKna5cZ2REBfFkg==";
    const CRC32C: &str = "9a71bb4c";
    const CRC32C_BASE64: &str = "mnG7TA==";

    fn told(whole: bool, fields: &[(&'static str, &str)]) -> String {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        claims(&fields.collect(), whole).to_string()
    }

    #[test]
    fn repositories_tell_hexadecimal() {
        let fields =
            [("x-checksum-md5", MD5), ("x-checksum-sha1", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d")];
        for whole in [true, false] {
            assert_eq!(told(whole, &fields), format!("sha-1={} md5={MD5}", fields[1].1));
        }
        assert_eq!(told(true, &[("x-checksum-md5", &MD5.to_uppercase())]), format!("md5={MD5}"));
        assert_eq!(told(true, &[("x-checksum-sha256", MD5)]), "");
        assert_eq!(told(true, &[("x-checksum-md5", MD5_BASE64)]), "");
    }

    #[test]
    fn google_tells_what_is_stored() {
        let both = format!("crc32c={CRC32C_BASE64},md5={MD5_BASE64}");
        let expected = format!("crc32c={CRC32C} md5={MD5}");
        assert_eq!(told(true, &[("x-goog-hash", &both)]), expected);
        let lines = [
            ("x-goog-hash", &*format!("crc32c={CRC32C_BASE64}")),
            ("x-goog-hash", &*format!(" md5={MD5_BASE64}")),
        ];
        assert_eq!(told(false, &lines), expected);
        for (stored, expected) in [("identity", &*expected), ("gzip", "")] {
            let fields = [("x-goog-hash", &*both), ("x-goog-stored-content-encoding", stored)];
            assert_eq!(told(true, &fields), expected, "{stored}");
        }
    }

    #[test]
    fn amazon_tells_of_the_whole_unless_it_is_composite() {
        let field = ("x-amz-checksum-crc32c", CRC32C_BASE64);
        let expected = format!("crc32c={CRC32C}");
        assert_eq!(told(true, &[field]), expected);
        assert_eq!(told(true, &[field, ("x-amz-checksum-type", "FULL_OBJECT")]), expected);
        assert_eq!(told(true, &[field, ("x-amz-checksum-type", "composite")]), "");
        assert_eq!(told(true, &[("x-amz-checksum-crc32c", "mnG7TA==-3")]), "");
        assert_eq!(told(false, &[field]), "", "of a part it may be the checksum of that part");
        assert_eq!(told(true, &[("x-amz-checksum-crc64nvme", "rosUhgp5mIg=")]), "crc64nvme=ae8b14860a799888");
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in proptest::collection::vec(32u8.., 0..200), whole: bool) {
            let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            let names = CHECKSUMS.iter().chain(&AMAZON).map(|(name, _)| *name);
            let all = names.chain(["x-goog-hash", "x-goog-stored-content-encoding", "x-amz-checksum-type"]);
            let reply = all.map(|name| (HeaderName::from_static(name), value.clone())).collect();
            let _ = claims(&reply, whole);
        }
    }
}
