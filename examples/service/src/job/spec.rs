//! Owns the record of what was asked for: written once, when the job is taken in.
//!
//! Invariant: a record of any version that was ever written is read, and one of a version that is not known yet is told from one that is
//! broken, so that a rolling upgrade loses nothing. Must not know how far the job is.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use downloader_core::SafeUrl;
use serde::{Deserialize, Serialize};

/// The version that is written. A field that readers may ignore is added without a new version; a new version is for what an older reader
/// would do wrong, and such a reader then leaves the job to others.
const VERSION: u32 = 1;

/// What was asked for. `Debug` shows no credentials, header values or `extra`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Where the file is, as it was given.
    pub url: String,
    /// Other places of the same file, in order of preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
    /// Whose limit counts, `aggr_id`.
    pub group: String,
    /// Who is told of success, and of failure unless `callback_error` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Destination>,
    /// Who is told of failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_error: Option<Destination>,
    /// Echoed in the callback.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extra: String,
    /// Patterns of media types that the content must show; empty is no check.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mime_type: String,
    /// How many repeats after the first attempt; `None` leaves it to the service (2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Is the size of an image to be told?
    #[serde(default, skip_serializing_if = "is_false")]
    pub extract_image_size: bool,
    /// The most that one attempt may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_timeout: Option<u32>,
    /// Header fields of the requests, which go before those of the service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub request_headers: BTreeMap<String, String>,
    /// The caller's own bucket, in place of the service's storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// Folder within the service's storage, without slashes at its ends; empty is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// Digests that the file must have, as `sha-256=9f86…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
    /// The size that the file must have, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Before others of its group, from -100 to 100; 0 by default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i8,
    /// Two submissions with the same key are one job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// How many requests at once at the host of its URL, by each processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_limit: Option<NonZeroU32>,
    /// The most that its transfer may take of the line, in bytes per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

/// Who is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The backend: `http`, `kafka`, `sqs`, `amqp`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What that backend takes as address: a URL, a topic, a queue.
    pub target: String,
}

/// A bucket of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
}

/// Is somebody to be told?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Of a success.
    pub success: bool,
    /// Of a failure, and of a job that was cancelled.
    pub failure: bool,
}

/// A record that this program cannot read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableRecord {
    /// A newer program wrote it, and says that an older one would get it wrong. Leave it to others.
    #[error("a record of version {0}, which this program does not know")]
    Version(u32),
    /// It is broken.
    #[error("a broken record")]
    Broken(#[source] serde_json::Error),
}

impl Spec {
    /// A job with nothing but the least that is needed.
    pub fn new(url: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            mirrors: Vec::new(),
            group: group.into(),
            callback: None,
            callback_error: None,
            extra: String::new(),
            mime_type: String::new(),
            max_retries: None,
            extract_image_size: false,
            download_timeout: None,
            request_headers: BTreeMap::new(),
            bucket: None,
            subpath: String::new(),
            digests: Vec::new(),
            size: None,
            priority: 0,
            idempotency_key: None,
            host_limit: None,
            bytes_per_second: None,
        }
    }

    /// Who is told of an ending of this kind.
    #[must_use]
    pub fn destination(&self, success: bool) -> Option<&Destination> {
        let failure = self.callback_error.as_ref().filter(|_| !success);
        failure.or(self.callback.as_ref())
    }

    /// Is somebody told of success, of failure?
    #[must_use]
    pub fn notify(&self) -> Notify {
        Notify { success: self.destination(true).is_some(), failure: self.destination(false).is_some() }
    }

    /// The record as text.
    #[must_use]
    pub fn write(&self) -> String {
        #[derive(Serialize)]
        struct Versioned<'a> {
            version: u32,
            #[serde(flatten)]
            spec: &'a Spec,
        }
        let record = Versioned { version: VERSION, spec: self };
        serde_json::to_string(&record).expect("text, numbers and maps with text as keys have a form in JSON")
    }

    /// Reads a record that this or another version of the program wrote.
    ///
    /// # Errors
    /// When the version is newer than this program, or the text is no record.
    pub fn read(text: &str) -> Result<Self, UnreadableRecord> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_str(text).map_err(UnreadableRecord::Broken)?;
        if version > VERSION {
            return Err(UnreadableRecord::Version(version));
        }
        serde_json::from_str(text).map_err(UnreadableRecord::Broken)
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("url", &shown(&self.url))
            .field("group", &self.group)
            .field("callback", &self.callback)
            .field("callback_error", &self.callback_error)
            .field("mirrors", &self.mirrors.len())
            .field("request_headers", &self.request_headers.keys())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = if self.target.contains("://") { shown(&self.target) } else { self.target.clone() };
        write!(f, "{}:{target}", self.kind)
    }
}

/// A URL without its secrets.
fn shown(url: &str) -> String {
    SafeUrl::parse(url).map_or_else(|_| "(not a URL)".to_owned(), |url| url.to_string())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(value: &i8) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as they were written; a line is added with each version, and none is ever changed.
    const WRITTEN: &[&str] = &[
        r#"{"version":1,"url":"http://h/a","group":"g"}"#,
        r#"{"version":1,"url":"http://h/a","mirrors":["http://m/a"],"group":"g","callback":{"type":"http","target":"http://r/"},"callback_error":{"type":"kafka","target":"errors"},"extra":"e","mime_type":"image/*","max_retries":0,"extract_image_size":true,"download_timeout":7,"request_headers":{"A":"b"},"bucket":{"name":"n","region":"r"},"subpath":"s/t","digests":["sha-256=00"],"size":3,"priority":-4,"idempotency_key":"k","host_limit":2,"bytes_per_second":1000}"#,
    ];

    #[test]
    fn every_version_that_was_ever_written_is_read() {
        for text in WRITTEN {
            let spec = Spec::read(text).expect(text);
            assert_eq!(spec.url, "http://h/a");
        }
        assert_eq!(
            Spec::read(WRITTEN[1]).expect("read").write(),
            WRITTEN[1],
            "and the present one is written so"
        );
    }

    #[test]
    fn what_a_newer_program_added_is_passed_over_unless_it_forbids_that() {
        let added = r#"{"version":1,"url":"http://h/a","group":"g","new":[1]}"#;
        assert_eq!(Spec::read(added).expect("read"), Spec::new("http://h/a", "g"));
        let newer = r#"{"version":2,"url":{"a":1}}"#;
        assert!(matches!(Spec::read(newer), Err(UnreadableRecord::Version(2))));
        assert!(matches!(Spec::read("{}"), Err(UnreadableRecord::Broken(_))));
    }

    #[test]
    fn who_is_told_of_what() {
        let to = |target: &str| Some(Destination { kind: "http".to_owned(), target: target.to_owned() });
        let mut spec = Spec::new("http://h/", "g");
        assert_eq!(spec.notify(), Notify { success: false, failure: false });
        spec.callback_error = to("http://errors/");
        assert_eq!(spec.notify(), Notify { success: false, failure: true });
        spec.callback = to("http://all/");
        assert_eq!(spec.destination(true), to("http://all/").as_ref());
        assert_eq!(spec.destination(false), to("http://errors/").as_ref());
    }

    #[test]
    fn no_secret_is_shown() {
        let mut spec = Spec::new("http://user:hunter2@h/a", "g");
        spec.request_headers.insert("Authorization".to_owned(), "hunter2".to_owned());
        spec.callback =
            Some(Destination { kind: "http".to_owned(), target: "http://u:hunter2@r/".to_owned() });
        spec.extra = "hunter2".to_owned();
        assert!(!format!("{spec:?}").contains("hunter2"), "{spec:?}");
    }
}
