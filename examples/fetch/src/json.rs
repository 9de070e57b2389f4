//! The events of `--json`: their names, their fields, and how they are written.
//!
//! Invariant: the field names are a promise to scripts, told in the README; URLs print without secrets. Must not
//! know: when an event happens, or where its line goes.

use std::fmt::Display;
use std::time::Duration;

use downloader_core::{Attempt, Decision, Error, Evidence, SafeUrl};
use serde::ser::Serializer;

/// One line.
#[derive(Debug, serde::Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line<'a> {
    /// A download was taken up.
    Started {
        item: u32,
        name: &'a str,
        #[serde(serialize_with = "display")]
        url: &'a SafeUrl,
    },
    /// A source was tried.
    Attempt {
        item: u32,
        name: &'a str,
        #[serde(serialize_with = "display")]
        url: &'a SafeUrl,
        address: Option<String>,
        status: Option<u16>,
        offset: u64,
        bytes: u64,
        seconds: f64,
        error: Option<&'static str>,
        reason: &'a str,
        decision: &'static str,
        wait: Option<f64>,
        protocol: Option<&'static str>,
        tls: Option<&'static str>,
        reused: bool,
        resolve: Option<f64>,
        connect: Option<f64>,
        handshake: Option<f64>,
        first_byte: Option<f64>,
    },
    /// A file is there.
    Done {
        item: u32,
        name: &'a str,
        path: Option<&'a str>,
        #[serde(serialize_with = "display")]
        url: &'a SafeUrl,
        size: u64,
        received: u64,
        held: u64,
        seconds: f64,
        attempts: usize,
        media_type: Option<&'a str>,
        #[serde(serialize_with = "findings")]
        evidence: &'a [Evidence],
        #[serde(serialize_with = "by_source")]
        told: &'a [Evidence],
    },
    /// A file was there before, and was to be left alone.
    Skipped { item: u32, name: &'a str, path: Option<&'a str> },
    /// A file is not there.
    Failed {
        item: u32,
        name: &'a str,
        url: Option<String>,
        kind: &'static str,
        message: &'a str,
        offset: Option<u64>,
        status: Option<u16>,
        seconds: Option<f64>,
        attempts: usize,
        exit: u8,
    },
    /// This became of a name of a mirror.
    Mirrored { name: &'a str, url: Option<String>, change: &'static str, message: Option<&'a str> },
    /// The mirror is over.
    Mirror {
        new: u64,
        changed: u64,
        kept: u64,
        removed: u64,
        failed: u64,
        reused: u64,
        bytes: u64,
        received: u64,
        complete: bool,
        spared: Option<String>,
    },
    /// The run is over.
    Summary { done: u64, failed: u64, skipped: u64, bytes: u64, received: u64, seconds: f64, exit: u8 },
}

impl<'a> Line<'a> {
    /// The line of an attempt.
    pub(crate) fn attempt(item: u32, name: &'a str, attempt: &'a Attempt) -> Self {
        let (decision, wait) = decided(attempt.decision);
        let connection = attempt.wire.connection.as_deref();
        // The steps of a connection were taken for the attempt that made it.
        let made = connection.filter(|_| !attempt.wire.reused);
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        Self::Attempt {
            item,
            name,
            url: &attempt.url,
            address: attempt.wire.address.map(|address| address.to_string()),
            status: attempt.wire.status,
            offset: attempt.offset,
            bytes: attempt.bytes,
            seconds: attempt.duration.as_secs_f64(),
            error: attempt.error.map(downloader_core::ErrorKind::as_str),
            reason: &attempt.reason,
            decision,
            wait,
            protocol: attempt.wire.protocol,
            tls: connection.and_then(|connection| connection.tls),
            reused: attempt.wire.reused,
            resolve: seconds(made.and_then(|made| made.resolve)),
            connect: seconds(made.and_then(|made| made.connect)),
            handshake: seconds(made.and_then(|made| made.handshake)),
            first_byte: seconds(attempt.wire.first_byte),
        }
    }

    /// The line of a failure; `message` is the error in words.
    pub(crate) fn failed(item: u32, name: &'a str, error: &Error, message: &'a str, exit: u8) -> Self {
        Self::Failed {
            item,
            name,
            url: error.url().map(ToString::to_string),
            kind: error.kind().as_str(),
            message,
            offset: error.offset(),
            status: error.status(),
            seconds: error.elapsed().map(|elapsed| elapsed.as_secs_f64()),
            attempts: error.attempts().len(),
            exit,
        }
    }

    /// Appends the line, with its end.
    pub(crate) fn write(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

/// The stable word for a decision, and the seconds of a wait.
fn decided(decision: Decision) -> (&'static str, Option<f64>) {
    match decision {
        Decision::Done => ("done", None),
        Decision::NextSource => ("next_source", None),
        Decision::Wait(delay) => ("wait", Some(delay.as_secs_f64())),
        Decision::Reject => ("reject", None),
        Decision::StartOver => ("start_over", None),
        Decision::GiveUp => ("give_up", None),
        _ => ("other", None),
    }
}

fn display<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// What the checks found, by the name of the check.
fn findings<S: Serializer>(evidence: &&[Evidence], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(evidence.iter().map(|evidence| (&*evidence.check, &*evidence.value)))
}

/// The names of the checks that the source itself asked for.
fn by_source<S: Serializer>(evidence: &&[Evidence], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(evidence.iter().filter(|evidence| evidence.told).map(|evidence| &*evidence.check))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line<'_>) -> String {
        let mut out = Vec::new();
        line.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_one_object_without_secrets() {
        let url = "https://me:s3cret@h/f?sig=s3cret".parse().unwrap();
        let mut evidence = [Evidence::new("sha-256", "ab"), Evidence::new("md5", "cd")];
        evidence[1].told = true;
        let done = Line::Done {
            item: 1,
            name: "a\nb",
            path: Some("d/a\nb"),
            url: &url,
            size: 3,
            received: 2,
            held: 1,
            seconds: 0.5,
            attempts: 1,
            media_type: None,
            evidence: &evidence,
            told: &evidence,
        };
        assert_eq!(
            text(&done),
            "{\"event\":\"done\",\"item\":1,\"name\":\"a\\nb\",\"path\":\"d/a\\nb\",\"url\":\"https://***@h/f?sig=***\",\
             \"size\":3,\"received\":2,\"held\":1,\"seconds\":0.5,\"attempts\":1,\"media_type\":null,\
             \"evidence\":{\"sha-256\":\"ab\",\"md5\":\"cd\"},\"told\":[\"md5\"]}\n"
        );
        let error =
            Error::new(downloader_core::ErrorKind::Truncated, "short").with_url(&url).with_status(206);
        let failed = text(&Line::failed(2, "f", &error, &error.to_string(), 6));
        assert!(!failed.contains("s3cret") && failed.contains("\"kind\":\"truncated\""), "{failed}");
        let started = text(&Line::Started { item: 1, name: "f", url: &url });
        assert!(started.starts_with("{\"event\":\"started\",\"item\":1,"), "{started}");
    }

    #[test]
    fn a_wait_tells_its_seconds() {
        assert_eq!(decided(Decision::Wait(Duration::from_millis(1500))), ("wait", Some(1.5)));
        assert_eq!(decided(Decision::GiveUp), ("give_up", None));
    }
}
