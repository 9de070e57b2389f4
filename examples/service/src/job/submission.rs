//! Owns the reading of a submission: one JSON object becomes a job and the settings of its group, or a reason.
//!
//! Invariant: members are checked in the order of the original, so that of several faults the same one is told; where ours is stricter, the
//! job could only have failed later. Must not know HTTP: whoever answers puts the reason into its sentence ([`Refusal::sentence`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;

use downloader_checks::MediaType;
use downloader_core::validate::Digest;
use serde_json::Value;

use super::fields::{Fields, go_type, go_value};
use super::group::Settings;
use super::spec::{Bucket, Destination, Spec};
use super::uri;

const LONGEST_GROUP: usize = 1024;
const LONGEST_KEY: usize = 255;
const MOST_MIRRORS: usize = 32;
const MOST_HEADERS: usize = 100;
/// Fields with which an answer is not the whole file: the engine alone decides on ranges and conditions, and a job with one could only fail.
const PARTIAL: [&str; 6] =
    ["Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"];
const PRIORITIES: std::ops::RangeInclusive<i64> = -100..=100;

/// What this service takes.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Schemes of URLs to download.
    pub schemes: Vec<String>,
    /// Kinds of callbacks that are enabled.
    pub callbacks: BTreeSet<String>,
}

impl Default for Rules {
    /// `http` and `https`, called back over `http`.
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Self { schemes: texts(&["http", "https"]), callbacks: texts(&["http"]).into_iter().collect() }
    }
}

/// A job to be taken in, and the settings of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The job.
    pub spec: Spec,
    /// What it asks of its group.
    pub settings: Settings,
}

/// Why a submission is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which half of it.
    pub part: Part,
    /// The member; `None` when the whole is no object.
    pub field: Option<&'static str>,
    /// The reason, in the words of the original where it has some.
    pub reason: String,
}

/// The halves of a submission. That of the group is looked at when that of the job is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Part {
    /// The job.
    Job,
    /// The group.
    Aggregation,
}

impl Refusal {
    /// The sentence with which the original answers, which holds the whole body: only for whoever sent it.
    #[must_use]
    pub fn sentence(&self, body: &str) -> String {
        format!("Error unmarshalling body '{body}' to {:?}: {}", self.part, self.reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}

type Read<T> = Result<T, (&'static str, String)>;

fn refuse<T>(field: &'static str, reason: impl Into<String>) -> Read<T> {
    Err((field, reason.into()))
}

impl Submission {
    /// Reads the body of a submission.
    ///
    /// # Errors
    /// The first fault, with the member it is in.
    pub fn parse(body: &[u8], rules: &Rules) -> Result<Self, Refusal> {
        let whole = |reason| Refusal { part: Part::Job, field: None, reason };
        let fields = Fields::parse(body).map_err(whole)?;
        let of = |part| move |(field, reason)| Refusal { part, field: Some(field), reason };
        let spec = job(&fields, rules).map_err(of(Part::Job))?;
        let settings = group(&fields).map_err(of(Part::Aggregation))?;
        Ok(Self { spec, settings })
    }
}

fn job(fields: &Fields, rules: &Rules) -> Read<Spec> {
    let Some(url) = fields.text("url") else { return refuse("url", "URL must be a string") };
    if let Err(why) = uri::absolute(url, &rules.schemes) {
        return refuse("url", format!("Could not parse URL: {why}"));
    }
    let Some(group) = fields.text("aggr_id") else { return refuse("aggr_id", "aggr_id must be a string") };
    if group.is_empty() {
        return refuse("aggr_id", "aggr_id cannot be empty");
    }
    if group.len() > LONGEST_GROUP {
        return refuse("aggr_id", format!("aggr_id is longer than {LONGEST_GROUP} bytes"));
    }
    let bucket = bucket(fields)?;
    let (callback, callback_error) = callbacks(fields, rules, bucket.is_some())?;
    let extra = match fields.strict_text("extra") {
        Ok(extra) => extra.unwrap_or_default(),
        Err(_) => return refuse("extra", "extra must be a string"),
    };
    Ok(Spec {
        callback,
        callback_error,
        extra: extra.to_owned(),
        mime_type: mime_type(fields)?,
        max_retries: max_retries(fields)?,
        extract_image_size: match fields.flag("extract_image_size") {
            Ok(flag) => flag.unwrap_or(false),
            Err(_) => return refuse("extract_image_size", "ExtractImageSize must be a boolean"),
        },
        download_timeout: download_timeout(fields)?,
        request_headers: request_headers(fields)?,
        bucket,
        subpath: subpath(fields)?,
        digests: digests(fields)?,
        size: above(fields, "size", -1)?,
        mirrors: mirrors(fields, rules)?,
        priority: priority(fields)?,
        idempotency_key: idempotency_key(fields)?,
        host_limit: above(fields, "host_limit", 0)?.and_then(NonZeroU32::new),
        bytes_per_second: above(fields, "bytes_per_second", 0)?,
        ..Spec::new(url, group)
    })
}

fn bucket(fields: &Fields) -> Read<Option<Bucket>> {
    let given = |name| fields.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    match (given("s3_bucket"), given("s3_region")) {
        (Some(name), Some(region)) => Ok(Some(Bucket { name, region })),
        (None, None) => Ok(None),
        (None, Some(_)) => refuse("s3_bucket", "s3_region provided without an s3_bucket"),
        (Some(_), None) => refuse("s3_region", "s3_bucket provided without an s3_region"),
    }
}

fn callbacks(
    fields: &Fields,
    rules: &Rules,
    optional: bool,
) -> Read<(Option<Destination>, Option<Destination>)> {
    if let Some(url) = fields.text("callback_url") {
        if let Err(why) = uri::absolute(url, &["http", "https"]) {
            return refuse("callback_url", format!("Could not parse callback URL: {why}"));
        }
        return Ok((Some(destination("callback_type", "callback_url", "http", url, rules)?), None));
    }
    let (kind, target) = (fields.text("callback_type"), fields.text("callback_dst"));
    let callback = match (kind, target) {
        (None, None) | (Some(""), Some("")) if optional => None,
        (None, _) => return refuse("callback_type", "callback_type must be a string"),
        (_, None) => return refuse("callback_dst", "callback_dst must be a string"),
        (Some(kind), Some(target)) if kind.is_empty() || target.is_empty() => {
            let reason =
                format!("You need to provide both callback_type ({kind:?}) and callback_dst ({target:?})");
            return refuse(if kind.is_empty() { "callback_type" } else { "callback_dst" }, reason);
        }
        (Some(kind), Some(target)) => {
            Some(destination("callback_type", "callback_dst", kind, target, rules)?)
        }
    };
    let error_target = fields.text("callback_error_dst").filter(|target| !target.is_empty());
    let error_kind = fields.text("callback_error_type").filter(|kind| !kind.is_empty());
    let error = match (error_kind.or(callback.as_ref().map(|callback| callback.kind.as_str())), error_target)
    {
        (Some(kind), Some(target)) => {
            Some(destination("callback_error_type", "callback_error_dst", kind, target, rules)?)
        }
        (None, Some(_)) => {
            return refuse(
                "callback_error_type",
                "callback_error_dst provided without a callback_error_type",
            );
        }
        (_, None) if error_kind.is_some() => {
            return refuse("callback_error_dst", "callback_error_type provided without a callback_error_dst");
        }
        (_, None) => None,
    };
    Ok((callback, error))
}

fn destination(
    kind_field: &'static str,
    target_field: &'static str,
    kind: &str,
    target: &str,
    rules: &Rules,
) -> Read<Destination> {
    if !rules.callbacks.contains(kind) {
        let known: Vec<_> = rules.callbacks.iter().map(String::as_str).collect();
        return refuse(kind_field, format!("{kind_field} {kind:?} is not one of {}", known.join(", ")));
    }
    if kind == "http"
        && let Err(why) = uri::absolute(target, &["http", "https"])
    {
        return refuse(target_field, format!("Could not parse callback URL: {why}"));
    }
    Ok(Destination { kind: kind.to_owned(), target: target.to_owned() })
}

fn mime_type(fields: &Fields) -> Read<String> {
    let Ok(patterns) = fields.strict_text("mime_type") else {
        return refuse("mime_type", "MimeType pattern must be a string");
    };
    let patterns = patterns.unwrap_or_default();
    let malformed = |part: &&str| MediaType::any_of([part.trim()]).is_err();
    match patterns.split(',').find(malformed) {
        Some(part) => refuse("mime_type", format!("Invalid MimeType Pattern, {:?}", part.trim())),
        None => Ok(patterns.to_owned()),
    }
}

fn max_retries(fields: &Fields) -> Read<Option<u32>> {
    match fields.whole("max_retries") {
        Err(value) => refuse("max_retries", format!("Max retries must be a number, was: {}", go_type(value))),
        Ok(Some(..0)) => refuse("max_retries", "Max retries must not be negative"),
        Ok(retries) => Ok(retries.map(capped)),
    }
}

fn download_timeout(fields: &Fields) -> Read<Option<u32>> {
    match fields.whole("download_timeout") {
        Err(_) => refuse("download_timeout", "Download timeout must be a number"),
        Ok(Some(..=0)) => refuse("download_timeout", "Download timeout must be greater than 0"),
        Ok(seconds) => Ok(seconds.map(capped)),
    }
}

/// What is more than 32 bits hold is as good as no bound.
fn capped(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn request_headers(fields: &Fields) -> Read<BTreeMap<String, String>> {
    const FIELD: &str = "request_headers";
    let members = match fields.value(FIELD) {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return refuse(FIELD, "request_headers must be a dictionary"),
    };
    if members.len() > MOST_HEADERS {
        return refuse(FIELD, format!("request_headers has more than {MOST_HEADERS} members"));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in members {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            _ => {
                let why = "Values of request headers keys must be either strings or ints.Given value is";
                return refuse(FIELD, format!("{why} {}", go_value(value)));
            }
        };
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return refuse(FIELD, format!("invalid header field name {name:?}"));
        }
        if PARTIAL.iter().any(|partial| name.eq_ignore_ascii_case(partial)) {
            let why = "would bring a part of the file, or none: leave it out";
            return refuse(FIELD, format!("request header {name} {why}"));
        }
        if text.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return refuse(FIELD, format!("invalid header field value for {name:?}"));
        }
        headers.insert(name.clone(), text);
    }
    Ok(headers)
}

fn subpath(fields: &Fields) -> Read<String> {
    let path = fields.text("subpath").unwrap_or_default();
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) || path.contains('\0') {
        return refuse("subpath", format!("Invalid path specified: {path}"));
    }
    Ok(segments.join("/"))
}

fn digests(fields: &Fields) -> Read<Vec<String>> {
    const FIELD: &str = "digests";
    let members = match fields.value(FIELD) {
        None => return Ok(Vec::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return refuse(FIELD, "digests must be an object of digests by algorithm"),
    };
    let mut digests = Vec::new();
    for (algorithm, hex) in members {
        let digest = format!("{algorithm}={}", hex.as_str().unwrap_or_default());
        if let Err(error) = Digest::parse(&digest) {
            return refuse(FIELD, format!("digests: {error}"));
        }
        digests.push(digest);
    }
    Ok(digests)
}

fn mirrors(fields: &Fields, rules: &Rules) -> Read<Vec<String>> {
    const FIELD: &str = "mirrors";
    let values = match fields.value(FIELD) {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(_) => return refuse(FIELD, "mirrors must be an array of URLs"),
    };
    if values.len() > MOST_MIRRORS {
        return refuse(FIELD, format!("mirrors has more than {MOST_MIRRORS} members"));
    }
    let mut mirrors = Vec::new();
    for value in values {
        let Some(mirror) = value.as_str() else { return refuse(FIELD, "mirrors must be an array of URLs") };
        if let Err(why) = uri::absolute(mirror, &rules.schemes) {
            return refuse(FIELD, format!("Could not parse mirror: {why}"));
        }
        mirrors.push(mirror.to_owned());
    }
    Ok(mirrors)
}

fn priority(fields: &Fields) -> Read<i8> {
    let priority = match fields.whole("priority") {
        Ok(priority) => priority.unwrap_or(0),
        Err(_) => return refuse("priority", "priority must be a number"),
    };
    match i8::try_from(priority) {
        Ok(priority) if PRIORITIES.contains(&i64::from(priority)) => Ok(priority),
        _ => refuse("priority", "priority must be from -100 to 100"),
    }
}

fn idempotency_key(fields: &Fields) -> Read<Option<String>> {
    const FIELD: &str = "idempotency_key";
    match fields.strict_text(FIELD) {
        Ok(Some(key)) if key.is_empty() || key.len() > LONGEST_KEY => {
            refuse(FIELD, format!("idempotency_key must have 1 to {LONGEST_KEY} bytes"))
        }
        Ok(key) => Ok(key.map(str::to_owned)),
        Err(_) => refuse(FIELD, "idempotency_key must be a string"),
    }
}

/// A number greater than `bound`, that fits.
fn above<T: TryFrom<i64>>(fields: &Fields, field: &'static str, bound: i64) -> Read<Option<T>> {
    let number = match fields.whole(field) {
        Err(_) => return refuse(field, format!("{field} must be a number")),
        Ok(None) => return Ok(None),
        Ok(Some(number)) => number,
    };
    match T::try_from(number) {
        Ok(fitting) if number > bound => Ok(Some(fitting)),
        Ok(_) => refuse(field, format!("{field} must be greater than {bound}")),
        Err(_) if number <= bound => refuse(field, format!("{field} must be greater than {bound}")),
        Err(_) => refuse(field, format!("{field} is too large")),
    }
}

fn group(fields: &Fields) -> Read<Settings> {
    let limit = match fields.whole("aggr_limit") {
        Ok(Some(limit)) => u32::try_from(limit).ok().and_then(NonZeroU32::new),
        Ok(None) | Err(_) => return refuse("aggr_limit", "Aggregation limit must be a number"),
    };
    let Some(limit) = limit else {
        return refuse("aggr_limit", "Aggregation limit must be greater than 0");
    };
    let Ok(proxy) = fields.strict_text("aggr_proxy") else {
        return refuse("aggr_proxy", "Aggregation proxy must be a string");
    };
    let proxy = proxy.filter(|proxy| !proxy.is_empty());
    if let Some(proxy) = proxy
        && let Err(why) = uri::absolute(proxy, PROXIES)
    {
        return refuse("aggr_proxy", format!("Aggregation proxy must be a valid URI: {why}"));
    }
    Ok(Settings { limit, proxy: proxy.map(str::to_owned) })
}

/// The proxies that the engine knows.
const PROXIES: &[&str] = &["http", "https", "socks5", "socks5h"];
