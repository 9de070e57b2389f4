//! Cookies in a file, in the format of Netscape: one a line, seven fields between tabs.
//!
//! Invariant: total; a line is a cookie or a warning that names it by number, and nothing of what stands in it. Must
//! not know: where the file is.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use downloader_core::{Error, Result};
use url::Host;

use super::cookie::{Cookie, LONGEST, LONGEST_PATH, is_address};
use super::store::IsPublicSuffix;

/// Longest file of cookies that is read, in bytes: 4 MiB.
pub const MAX_COOKIE_FILE: usize = 4 << 20;
/// Warnings about one file; the last one says that there are more.
const MOST_WARNINGS: usize = 100;

/// The cookies of a file that have not expired, and what was left out of it.
///
/// # Errors
/// Kind `Input` for a file that is too long.
pub(super) fn read(
    file: &[u8],
    is_public_suffix: IsPublicSuffix,
    now: SystemTime,
) -> Result<(Vec<Cookie>, Vec<String>)> {
    if file.len() > MAX_COOKIE_FILE {
        let what = format!("cookie file of {} bytes: at most {MAX_COOKIE_FILE} are read", file.len());
        return Err(Error::input(what));
    }
    let (mut cookies, mut warnings) = (Vec::new(), Vec::new());
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    for (line, number) in file.split(|byte| *byte == b'\n').zip(1_usize..) {
        match read_line(line, is_public_suffix) {
            Ok(Some(cookie)) if !cookie.is_expired(now) => cookies.push(cookie),
            Ok(_) => {}
            Err(_) if warnings.len() == MOST_WARNINGS => {}
            Err(_) if warnings.len() == MOST_WARNINGS - 1 => {
                warnings.push("further lines were left out as well".to_owned());
            }
            Err(what) => warnings.push(format!("line {number}: {what}")),
        }
    }
    Ok((cookies, warnings))
}

/// One line; `None` for those that hold no cookie.
fn read_line(
    line: &[u8],
    is_public_suffix: IsPublicSuffix,
) -> std::result::Result<Option<Cookie>, &'static str> {
    let line = str::from_utf8(line).map_err(|_| "expected text in UTF-8")?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    let (line, http_only) = match line.strip_prefix("#HttpOnly_") {
        Some(rest) => (rest, true),
        None if line.starts_with('#') || line.trim().is_empty() => return Ok(None),
        None => (line, false),
    };
    let fields: Vec<&str> = line.splitn(8, '\t').collect();
    let (domain, subdomains, path, secure, expires, name, value) = match fields[..] {
        [domain, subdomains, path, secure, expires, name, value] => {
            (domain, subdomains, path, secure, expires, name, value)
        }
        // Editors take away the tab before an empty value.
        [domain, subdomains, path, secure, expires, name] => {
            (domain, subdomains, path, secure, expires, name, "")
        }
        _ => return Err("expected seven fields between tabs"),
    };
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let domain = Host::parse(domain).map_err(|_| "expected a host name in the first field")?.to_string();
    let host_only = !flag(subdomains).ok_or("expected TRUE or FALSE in the second field")?;
    if !host_only && is_public_suffix(&domain) && !is_address(&domain) {
        return Err("a cookie for all hosts below a public suffix");
    }
    if !path.starts_with('/') || path.len() > LONGEST_PATH {
        return Err("expected a path in the third field, of up to 1024 bytes");
    }
    let secure = flag(secure).ok_or("expected TRUE or FALSE in the fourth field")?;
    let expires = time(expires).ok_or("expected seconds since 1970 in the fifth field")?;
    if name.is_empty() || name.contains(['=', ';']) || value.contains(';') {
        return Err("expected a name in the sixth field, and no semicolon in it or in the value");
    }
    if name.len() + value.len() > LONGEST {
        return Err("expected a name and a value of up to 4096 bytes");
    }
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err("expected no control characters");
    }
    let cookie = Cookie {
        name: name.into(),
        value: value.into(),
        host_only: host_only || is_address(&domain),
        domain: domain.into(),
        path: path.into(),
        secure,
        http_only,
        expires,
    };
    if !cookie.keeps_its_promise() {
        return Err("its name promises more than the other fields keep");
    }
    Ok(Some(cookie))
}

fn flag(text: &str) -> Option<bool> {
    let is = |value: &str| text.eq_ignore_ascii_case(value);
    if is("TRUE") { Some(true) } else { is("FALSE").then_some(false) }
}

/// `Some(None)` is the end of the session. Fractions, which some programs write, are cut off.
#[expect(clippy::option_option, reason = "no time is not the same as a time that cannot be read")]
fn time(text: &str) -> Option<Option<SystemTime>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if digits.is_empty() || !digits.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    match whole {
        "0" => Some(None),
        _ if whole.starts_with('-') => Some(Some(SystemTime::UNIX_EPOCH)),
        // Later than the calendar of HTTP is never.
        _ => {
            let seconds = whole.parse().ok().filter(|seconds| *seconds < 253_402_300_800_u64);
            Some(seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
        }
    }
}

/// The file of these cookies.
pub(super) fn write<'a>(cookies: impl IntoIterator<Item = &'a Cookie>) -> String {
    let mut file = String::from("# Netscape HTTP Cookie File\n");
    let flag = |is: bool| if is { "TRUE" } else { "FALSE" };
    for cookie in cookies {
        let Cookie { name, value, domain, path, .. } = cookie;
        let prefix = if cookie.http_only { "#HttpOnly_" } else { "" };
        let dot = if cookie.host_only { "" } else { "." };
        let expires = cookie.expires.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let expires = expires.map_or(0, |expires| expires.as_secs());
        let (subdomains, secure) = (flag(!cookie.host_only), flag(cookie.secure));
        // Writing to a string does not fail.
        let _ = writeln!(
            file,
            "{prefix}{dot}{domain}\t{subdomains}\t{path}\t{secure}\t{expires}\t{name}\t{value}"
        );
    }
    file
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cookies::is_public_suffix;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn read(file: impl AsRef<[u8]>) -> (Vec<Cookie>, Vec<String>) {
        super::read(file.as_ref(), is_public_suffix, NOW).unwrap()
    }

    /// galleries 18: the files that browsers' extensions write.
    #[test]
    fn files_as_they_are_written() {
        let file = "\u{feff}# Netscape HTTP Cookie File\r\n# https://curl.se/docs/http-cookies.html\r\n\r\n\
                    .example.org\tTRUE\t/a\tFALSE\t2000000000\tn\tv=w\r\n\
                    #HttpOnly_example.org\tfalse\t/\ttrue\t0\t__Host-s\t\"q\"\n\
                    h.example.org\tFALSE\t/\tFALSE\t1700000000.5\tempty\n\
                    10.0.0.1\tTRUE\t/\tFALSE\t0\ta\tb\n\
                    old.example.org\tFALSE\t/\tFALSE\t-1\tgone\tv";
        let (cookies, warnings) = read(file);
        assert_eq!(warnings, [""; 0]);
        let seen: Vec<_> = cookies.iter().map(|c| (&*c.domain, c.host_only, &*c.name, &*c.value)).collect();
        assert_eq!(
            seen,
            [
                ("example.org", false, "n", "v=w"),
                ("example.org", true, "__Host-s", "\"q\""),
                ("h.example.org", true, "empty", ""),
                ("10.0.0.1", true, "a", "b"),
            ]
        );
        assert!(cookies[1].http_only && cookies[1].secure && cookies[1].expires.is_none());
        assert_eq!(cookies[2].expires, Some(NOW + Duration::from_secs(1_700_000_000)));
    }

    #[test]
    fn what_is_malformed_is_told_by_its_line_and_without_its_words() {
        let lines: &[&[u8]] = &[
            b"s3cret",
            b"h\tFALSE\t/\tFALSE\t0",
            b"h\tFALSE\t/\tFALSE\t0\tn\ts3cret\tmore",
            b"h s3cret\tFALSE\t/\tFALSE\t0\tn\tv",
            b"h\ts3cret\t/\tFALSE\t0\tn\tv",
            b"h\tFALSE\ts3cret\tFALSE\t0\tn\tv",
            b"h\tFALSE\t/\ts3cret\t0\tn\tv",
            b"h\tFALSE\t/\tFALSE\ts3cret\tn\tv",
            b"h\tFALSE\t/\tFALSE\t0\t\ts3cret",
            b"h\tFALSE\t/\tFALSE\t0\tn\ts3cret;",
            b"h\tFALSE\t/\tFALSE\t0\tn\ts3cret\x01",
            b"h\tFALSE\t/\tFALSE\t0\tn\ts3cret\xff",
            b".co.uk\tTRUE\t/\tFALSE\t0\tn\ts3cret",
            b"h\tFALSE\t/\tFALSE\t0\t__Secure-n\ts3cret",
            b"h.org\tTRUE\t/\tTRUE\t0\t__Host-n\ts3cret",
        ];
        let (cookies, warnings) = read(lines.join(&b'\n'));
        assert_eq!((cookies, warnings.len()), (vec![], lines.len()));
        for (warning, number) in warnings.iter().zip(1..) {
            assert!(warning.starts_with(&format!("line {number}: ")), "{warning}");
            assert!(!warning.contains("s3cret"), "{warning}");
        }
    }

    #[test]
    fn files_and_warnings_are_bounded() {
        let file = [&b"x\n".repeat(5000)[..], b"h\tFALSE\t/\tFALSE\t0\tn\tv\n"].concat();
        let (cookies, warnings) = read(file);
        assert_eq!((cookies.len(), warnings.len()), (1, MOST_WARNINGS));
        assert_eq!(
            warnings[MOST_WARNINGS - 2..],
            ["line 99: expected seven fields between tabs", "further lines were left out as well"]
        );
        let long = vec![b'#'; MAX_COOKIE_FILE + 1];
        assert!(super::read(&long, is_public_suffix, NOW).is_err());
    }

    fn cookies() -> impl Strategy<Value = Vec<Cookie>> {
        let texts =
            ("[!-:<>-~]{1,20}", "[ -:<-~]{0,20}", "[a-z]{1,5}(\\.[a-z]{2,5}){1,2}\\.org", "/[!-:<-~]{0,9}");
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        let one =
            (texts, flags, proptest::option::of(1..4_000_000_000_u64)).prop_map(|(texts, flags, expires)| {
                Cookie {
                    name: texts.0.into(),
                    value: texts.1.into(),
                    domain: texts.2.into(),
                    path: texts.3.into(),
                    host_only: flags.0,
                    secure: flags.1,
                    http_only: flags.2,
                    expires: expires.map(|seconds| NOW + Duration::from_secs(seconds)),
                }
            });
        proptest::collection::vec(one, 0..8)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(cookies in cookies()) {
            let (again, warnings) = read(write(&cookies));
            prop_assert_eq!(warnings, Vec::<String>::new());
            prop_assert_eq!(again, cookies);
        }

        #[test]
        fn no_bytes_panic(file in proptest::collection::vec(prop_oneof![Just(b'\t'), Just(b'\n'), any::<u8>()], 0..300)) {
            read(file);
        }

        #[test]
        fn no_line_panics(fields in proptest::collection::vec("TRUE|FALSE|/|0|-?[0-9]{0,25}|[a-z.]{0,5}|\\PC{0,5}", 5..9)) {
            read(fields.join("\t"));
        }
    }
}
