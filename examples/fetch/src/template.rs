//! The format of `--write-out`: text with placeholders, read once and filled in for each file.
//!
//! Invariant: a [`Template`] that exists has only placeholders that are known. Must not know: where the values
//! come from.

use std::fmt::Write;
use std::time::Duration;

use downloader_core::{Evidence, SafeUrl};

const KNOWN: &str = "name path url result error size received held time speed attempts media-type md5 sha-1 sha-224 \
                     sha-256 sha-384 sha-512 blake3 crc32 crc32c crc64nvme";
const DIGESTS: &[&str] =
    &["md5", "sha-1", "sha-224", "sha-256", "sha-384", "sha-512", "blake3", "crc32", "crc32c", "crc64nvme"];

const ESCAPES: &[(&str, char)] = &[("%%", '%'), ("\\n", '\n'), ("\\t", '\t'), ("\\r", '\r'), ("\\\\", '\\')];

/// Text with placeholders.
#[derive(Debug)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name,
    Path,
    Url,
    Result,
    Error,
    Size,
    Received,
    Held,
    Time,
    Speed,
    Attempts,
    MediaType,
    Digest(&'static str),
}

/// What is filled in; what does not apply is empty.
#[derive(Debug, Default)]
pub(crate) struct Values<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
    pub(crate) url: Option<&'a SafeUrl>,
    pub(crate) result: &'a str,
    pub(crate) error: Option<&'a downloader_core::Error>,
    pub(crate) size: Option<u64>,
    pub(crate) received: Option<u64>,
    pub(crate) held: Option<u64>,
    pub(crate) time: Option<Duration>,
    pub(crate) attempts: Option<usize>,
    pub(crate) media_type: Option<&'a str>,
    pub(crate) evidence: &'a [Evidence],
}

impl Template {
    /// Reads a format.
    pub(crate) fn parse(format: &str) -> Result<Self, String> {
        let (mut pieces, mut text) = (Vec::new(), String::new());
        let mut rest = format;
        while let Some(at) = rest.find(['%', '\\']) {
            text.push_str(&rest[..at]);
            let tail = &rest[at..];
            if let Some((form, character)) = ESCAPES.iter().find(|(form, _)| tail.starts_with(form)) {
                text.push(*character);
                rest = &tail[form.len()..];
            } else if let Some((name, behind)) = tail.strip_prefix("%{").and_then(|tail| tail.split_once('}'))
            {
                let piece = Piece::of(name)
                    .ok_or_else(|| format!("%{{{name}}} is not known; expected %{{…}} of: {KNOWN}"))?;
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
                rest = behind;
            } else {
                return Err(format!(
                    "expected %{{NAME}}, %%, \\n, \\t, \\r or \\\\ in place of `{}`",
                    first(tail)
                ));
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self(pieces))
    }

    /// Appends the text with these values to `out`.
    pub(crate) fn fill(&self, values: &Values<'_>, out: &mut String) {
        for piece in &self.0 {
            // Writing to a string cannot fail.
            let _ = match piece {
                Piece::Text(text) => out.write_str(text),
                Piece::Name => out.write_str(values.name),
                Piece::Path => out.write_str(values.path),
                Piece::Url => values.url.map_or(Ok(()), |url| write!(out, "{url}")),
                Piece::Result => out.write_str(values.result),
                Piece::Error => values.error.map_or(Ok(()), |error| write!(out, "{error}")),
                Piece::Size => number(out, values.size),
                Piece::Received => number(out, values.received),
                Piece::Held => number(out, values.held),
                Piece::Time => values.time.map_or(Ok(()), |time| write!(out, "{:.6}", time.as_secs_f64())),
                Piece::Speed => number(out, values.speed()),
                Piece::Attempts => number(out, values.attempts.map(|attempts| attempts as u64)),
                Piece::MediaType => out.write_str(values.media_type.unwrap_or_default()),
                Piece::Digest(name) => {
                    let found = values.evidence.iter().find(|evidence| &*evidence.check == *name);
                    out.write_str(found.map(|evidence| &*evidence.value).unwrap_or_default())
                }
            };
        }
    }
}

impl Values<'_> {
    fn speed(&self) -> Option<u64> {
        let seconds = self.time?.as_secs_f64();
        Some(if seconds > 0.0 { (self.received? as f64 / seconds) as u64 } else { 0 })
    }
}

impl Piece {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "name" => Self::Name,
            "path" => Self::Path,
            "url" => Self::Url,
            "result" => Self::Result,
            "error" => Self::Error,
            "size" => Self::Size,
            "received" => Self::Received,
            "held" => Self::Held,
            "time" => Self::Time,
            "speed" => Self::Speed,
            "attempts" => Self::Attempts,
            "media-type" => Self::MediaType,
            digest => Self::Digest(DIGESTS.iter().find(|known| **known == digest)?),
        })
    }
}

fn number(out: &mut String, value: Option<u64>) -> std::fmt::Result {
    value.map_or(Ok(()), |value| write!(out, "{value}"))
}

/// The first two characters.
fn first(text: &str) -> String {
    text.chars().take(2).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let template = Template::parse("%{name}\\t%{size} %{speed}%% %{sha-256}%{md5}|%{error}\\n").unwrap();
        let url = "http://u:p@h/f?t=1".parse().unwrap();
        let evidence = [Evidence::new("sha-256", "abcd")];
        let values = Values {
            name: "f",
            url: Some(&url),
            size: Some(10),
            received: Some(10),
            time: Some(Duration::from_millis(500)),
            evidence: &evidence,
            ..Values::default()
        };
        let mut out = String::new();
        template.fill(&values, &mut out);
        assert_eq!(out, "f\t10 20% abcd|\n");
        out.clear();
        Template::parse("%{url}").unwrap().fill(&values, &mut out);
        assert_eq!(out, "http://***@h/f?t=***");
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        let message = Template::parse("%{nmae}").unwrap_err();
        assert!(message.contains("%{nmae}") && message.contains("sha-256"), "{message}");
        for bad in ["%", "100%", "%{name", "\\q", "a\\"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_placeholder_is_documented() {
        let (help, readme) = (crate::arguments::LONG_HELP, include_str!("../README.md"));
        for name in KNOWN.split_whitespace() {
            assert!(Piece::of(name).is_some(), "{name}");
            let form = format!("%{{{name}}}");
            assert!(help.contains(&form) && readme.contains(&form), "{form}");
        }
    }

    proptest! {
        #[test]
        fn any_format_is_read_or_refused(format in "([ -~é]|%\\{name\\}|\\\\n){0,20}") {
            if let Ok(template) = Template::parse(&format) {
                template.fill(&Values::default(), &mut String::new());
            }
        }
    }
}
