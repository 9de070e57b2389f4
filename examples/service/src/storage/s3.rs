//! Owns the storage in buckets: the service's, and those of callers.
//!
//! Invariant: an object is visible by one request, which comes last. What an attempt left of an upload is thrown away by the writer, or, if
//! the process was killed, by the bucket's own rule for uploads that nobody completed. Must not know whose file it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use downloader_core::write::Writer;
use downloader_core::{Error, ErrorKind, Result};
use downloader_object_store::{ObjectWriter, Store};
use object_store::ObjectStoreExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use serde_json::Value;

use super::{FileName, S3Options, Settings, Storage, segments};
use crate::job::Bucket;

/// Buckets of callers that are kept open.
const MOST_OPEN: usize = 64;

/// Files in the service's own bucket.
#[derive(Debug)]
pub struct Bucketed {
    store: Store,
    /// The same, to delete from: the writer's crate only writes.
    deleting: AmazonS3,
    site: String,
}

impl Bucketed {
    /// Opens a bucket; nothing is asked of it yet.
    ///
    /// # Errors
    /// Kind `Input` for options that make no store.
    pub fn open(bucket: &Bucket, settings: &Settings) -> Result<Self> {
        let store = open(bucket, &settings.s3)?;
        let mut builder = AmazonS3Builder::new().with_bucket_name(&bucket.name);
        for (name, value) in options(bucket, &settings.s3) {
            let key: AmazonS3ConfigKey =
                name.parse().map_err(|_| Error::input(format!("s3: unknown option {name}")))?;
            builder = builder.with_config(key, value);
        }
        let deleting = builder
            .build()
            .map_err(|error| Error::input("s3: these options make no store").with_source(error))?;
        let site = settings.site.clone().unwrap_or_else(|| format!("s3://{}", bucket.name));
        Ok(Self { store, deleting, site })
    }
}

#[async_trait]
impl Storage for Bucketed {
    fn site(&self) -> &str {
        &self.site
    }

    fn writer(&self, file: &FileName) -> Result<Box<dyn Writer>> {
        Ok(Box::new(ObjectWriter::new(&self.store, &file.path())?))
    }

    async fn remove(&self, path: &str) -> Result<()> {
        segments(path)?;
        let cannot = |error: object_store::Error| {
            Error::new(ErrorKind::Local, format!("cannot remove {}/{path}", self.site)).with_source(error)
        };
        let key = Path::parse(path).map_err(|error| cannot(error.into()))?;
        match self.deleting.delete(&key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            removed => removed.map_err(cannot),
        }
    }

    /// Nothing: a writer that ends throws its upload away.
    async fn forget(&self, _: &FileName) -> Result<()> {
        Ok(())
    }
}

/// Buckets of callers.
#[derive(Clone, Debug)]
pub struct Buckets {
    options: S3Options,
    open: Arc<Mutex<HashMap<(String, String), Store>>>,
}

impl Buckets {
    /// Those that are reached with these options.
    #[must_use]
    pub fn new(options: S3Options) -> Self {
        Self { options, open: Arc::default() }
    }

    pub(super) fn writer(&self, bucket: &Bucket, file: &FileName, extra: &str) -> Result<Box<dyn Writer>> {
        let mut writer = ObjectWriter::new(&self.store(bucket)?, &file.path())?;
        for (name, value) in metadata(extra)? {
            writer = writer.metadata(name, value);
        }
        Ok(Box::new(writer))
    }

    /// Connections are shared by all jobs of a bucket.
    fn store(&self, bucket: &Bucket) -> Result<Store> {
        let key = (bucket.region.clone(), bucket.name.clone());
        let mut open_ones = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open_ones.get(&key) {
            return Ok(store.clone());
        }
        let store = open(bucket, &self.options)?;
        if open_ones.len() >= MOST_OPEN {
            open_ones.clear();
        }
        open_ones.insert(key, store.clone());
        Ok(store)
    }
}

fn open(bucket: &Bucket, settings: &S3Options) -> Result<Store> {
    check(bucket)?;
    Store::open(&format!("s3://{}", bucket.name), options(bucket, settings))
}

/// Both become parts of a URL, which requests go to that are signed with our key: a caller's words must not lead elsewhere.
fn check(bucket: &Bucket) -> Result<()> {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let region = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !(1..=255).contains(&bucket.name.len())
        || bucket.name.starts_with('.')
        || !bucket.name.bytes().all(name)
    {
        return Err(Error::input("s3_bucket: expected letters, digits, dots, hyphens and underscores"));
    }
    if !(1..=64).contains(&bucket.region.len()) || !bucket.region.bytes().all(region) {
        return Err(Error::input("s3_region: expected letters, digits and hyphens"));
    }
    Ok(())
}

/// The region of the bucket goes before that of the settings.
fn options<'a>(bucket: &'a Bucket, settings: &'a S3Options) -> impl Iterator<Item = (&'a str, &'a str)> {
    let others = settings.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let others = others.filter(|(name, _)| {
        !matches!(*name, "region" | "aws_region" | "default_region" | "aws_default_region")
    });
    others.chain([("region", bucket.region.as_str())])
}

/// String and number members of `extra`; of numbers the whole part. What ASCII does not hold is coded as RFC 2047 has it, which is how S3
/// itself hands it out.
fn metadata(extra: &str) -> Result<Vec<(String, String)>> {
    if extra.is_empty() {
        return Ok(Vec::new());
    }
    let Ok(Value::Object(members)) = serde_json::from_str(extra) else {
        return Err(Error::input(
            "extra: expected a JSON object, whose members become metadata of the object",
        ));
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "cut toward zero and at the bounds, as the original does"
    )]
    let whole =
        |number: &serde_json::Number| number.as_i64().or_else(|| number.as_f64().map(|number| number as i64));
    let pairs = members.into_iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some((name, printable(text))),
        Value::Number(number) => whole(&number).map(|number| (name, number.to_string())),
        _ => None,
    });
    let named = pairs.map(|(name, value)| match is_token(&name) {
        true => Ok((name, value)),
        false => Err(Error::input(format!("extra: {name:?} cannot be the name of metadata"))),
    });
    named.collect()
}

/// As a value of a field of HTTP.
fn printable(text: String) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text;
    }
    format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(text))
}

/// A name of a field of HTTP (RFC 9110 section 5.6.2).
fn is_token(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers_of_extra_become_metadata() {
        let pairs = metadata(r#"{"a":"b","n":2.9,"big":7,"no":true,"none":null,"list":[1],"map":{}}"#)
            .expect("an object");
        let pairs: HashMap<_, _> = pairs.into_iter().collect();
        let expected =
            [("a", "b"), ("n", "2"), ("big", "7")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs, HashMap::from(expected));
        assert!(metadata("").expect("nothing").is_empty());
        let coded = metadata("{\"a\":\"é\\n\"}").expect("an object");
        assert_eq!(coded, [("a".to_owned(), "=?UTF-8?B?w6kK?=".to_owned())]);
        for bad in
            ["text", "[]", "5", "{", r#"{"":"a"}"#, r#"{"a b":"c"}"#, r#"{"a\r\nb":"c"}"#, r#"{"é":"c"}"#]
        {
            assert!(metadata(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn neither_bucket_nor_region_leads_elsewhere() {
        let of = |name: &str, region: &str| Bucket { name: name.to_owned(), region: region.to_owned() };
        for good in ["b", "my-bucket.example", "Old_Bucket"] {
            check(&of(good, "eu-west-1")).expect(good);
        }
        for bad in ["", "a/b", "..", "a?b", "a#b", "u@h", "a%2Fb", "a b", &"x".repeat(256)] {
            check(&of(bad, "eu-west-1")).expect_err(bad);
        }
        for bad in ["", "x@evil.example/", "evil.example", "a/b", "a:1", "a?", &"x".repeat(65)] {
            let error = Buckets::new(S3Options::default()).store(&of("b", bad)).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::Input);
        }
    }

    #[test]
    fn a_region_of_the_settings_does_not_replace_that_of_the_bucket() {
        let bucket = Bucket { name: "b".to_owned(), region: "eu-west-1".to_owned() };
        let settings = S3Options(vec![
            ("aws_region".to_owned(), "x".to_owned()),
            ("endpoint".to_owned(), "http://e".to_owned()),
        ]);
        let all: Vec<_> = options(&bucket, &settings).collect();
        assert_eq!(all, [("endpoint", "http://e"), ("region", "eu-west-1")]);
        assert!(!format!("{settings:?}").contains("http"), "values may be secret");
    }
}
