//! Owns the tree of keys and values: read from a file, with the environment over it, and emptied by whoever takes a value.
//!
//! Invariant: a value that is taken is of the kind that was asked for, or a fault names its key; what is left in the end nobody knows. Must
//! not know any key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

/// What every variable begins with.
const PREFIX: &str = "DOWNLOADER_";
/// Variables of that prefix which are no keys: what is logged, and the switch for short waits of the original.
const NO_KEYS: [&str; 2] = ["DOWNLOADER_LOG", TEST_TIME];
/// With this variable waits between attempts are counted in 200 ms.
pub(super) const TEST_TIME: &str = "DOWNLOADER_TEST_TIME";
/// The largest file that is read.
const LARGEST: u64 = 1 << 20;

/// What is wrong with the configuration: the key, and what is accepted. Values are not shown, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, such as `processor.storage_dir`, or the file.
    pub key: String,
    /// What is wrong, or what is accepted.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    pub(super) fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }
}

/// Keys and values, without those that were taken.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Map<String, Value>,
    variables: BTreeMap<String, String>,
    /// Those of AWS, which are nobody's keys.
    aws: BTreeMap<String, String>,
    test_time: bool,
}

impl Tree {
    pub(super) fn read(file: &Path) -> Result<Self, Fault> {
        let shown = file.display().to_string();
        let size =
            std::fs::metadata(file).map_err(|error| Fault::new(shown.clone(), error.to_string()))?.len();
        if size > LARGEST {
            return Err(Fault::new(shown, "larger than 1 MiB"));
        }
        let text =
            std::fs::read_to_string(file).map_err(|error| Fault::new(shown.clone(), error.to_string()))?;
        let is_toml = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
        Self::parse(&text, is_toml).map_err(|fault| Fault::new(shown, fault.what))
    }

    pub(super) fn parse(text: &str, is_toml: bool) -> Result<Self, Fault> {
        let malformed = |why: String| Fault::new("configuration", why);
        let value: Value = if is_toml {
            // Its message quotes a line of the file, which may hold a secret: only the place is told.
            toml::from_str(text).map_err(|error: toml::de::Error| {
                let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
                malformed(format!("not TOML: {} in line {line}", error.message()))
            })?
        } else {
            serde_json::from_str(text).map_err(|error| malformed(format!("not JSON: {error}")))?
        };
        match value {
            Value::Object(root) => Ok(Self { root: lower(root), ..Self::default() }),
            _ => Err(malformed("expected one object of sections".to_owned())),
        }
    }

    /// With the variables of these that are ours over it.
    pub(super) fn under(mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        for (name, value) in environment {
            let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
            self.test_time |= name == TEST_TIME;
            if name.starts_with("AWS_") {
                self.aws.insert(name, value);
            } else if name.starts_with(PREFIX) && !NO_KEYS.contains(&name.as_str()) {
                self.variables.insert(name, value);
            }
        }
        self
    }

    pub(super) fn has_test_time(&self) -> bool {
        self.test_time
    }

    /// A variable `AWS_…` of the environment.
    #[cfg_attr(not(feature = "sqs"), expect(dead_code, reason = "only SQS asks; S3 reads its own"))]
    pub(super) fn aws(&self, name: &str) -> Option<String> {
        self.aws.get(name).filter(|value| !value.is_empty()).cloned()
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Fault> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Fault::new(key, "expected a text")),
        }
    }

    /// A text that is not empty.
    pub(super) fn some_text(&mut self, key: &str) -> Result<Option<String>, Fault> {
        Ok(self.text(key)?.filter(|text| !text.is_empty()))
    }

    pub(super) fn path(&mut self, key: &str) -> Result<Option<PathBuf>, Fault> {
        Ok(self.some_text(key)?.map(PathBuf::from))
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, Fault> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(_) => Err(Fault::new(key, "expected true or false")),
        }
    }

    /// A whole number within these bounds, as whatever type they fit.
    pub(super) fn number<N: TryFrom<u64>>(
        &mut self,
        key: &str,
        bounds: RangeInclusive<u64>,
        what: &str,
    ) -> Result<Option<N>, Fault> {
        let number = match self.take(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let fits =
            number.filter(|number| bounds.contains(number)).and_then(|number| N::try_from(number).ok());
        let (from, to) = (bounds.start(), bounds.end());
        fits.map(Some).ok_or_else(|| Fault::new(key, format!("expected {what}, from {from} to {to}")))
    }

    /// A time, of which the file has the number in this unit.
    pub(super) fn time(&mut self, key: &str, unit: Duration, least: u64) -> Result<Option<Duration>, Fault> {
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
        let name = match unit.as_millis() {
            1 => "milliseconds",
            1000 => "seconds",
            60_000 => "minutes",
            _ => "units of time",
        };
        let most = u64::try_from(LONGEST.as_millis() / unit.as_millis().max(1)).unwrap_or(u64::MAX);
        let number = self.number::<u64>(key, least..=most, &format!("a number of {name}"))?;
        Ok(number.map(|number| {
            Duration::from_millis(number.saturating_mul(u64::try_from(unit.as_millis()).unwrap_or(1)))
        }))
    }

    /// A number of seconds, at least so many.
    pub(super) fn seconds(&mut self, key: &str, least: u64) -> Result<Option<Duration>, Fault> {
        self.time(key, Duration::from_secs(1), least)
    }

    pub(super) fn list(&mut self, key: &str) -> Result<Option<Vec<String>>, Fault> {
        let fault = || Fault::new(key, "expected a list of texts");
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(
                text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
            )),
            Some(Value::Array(values)) => {
                let texts = values.into_iter().map(|value| value.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().map(Some).ok_or_else(fault)
            }
            Some(_) => Err(fault()),
        }
    }

    /// Names and values, as texts; the case of names stays.
    pub(super) fn map(&mut self, key: &str) -> Result<Option<BTreeMap<String, String>>, Fault> {
        let Some(members) = self.members(key)? else { return Ok(None) };
        let texts = members.into_iter().map(|(name, value)| Some((name, plain(value)?)));
        texts.collect::<Option<_>>().map(Some).ok_or_else(|| no_map(key))
    }

    /// The same where dots are part of names, which TOML may have taken for sections.
    #[cfg(feature = "kafka")]
    pub(super) fn dotted_map(&mut self, key: &str) -> Result<Option<BTreeMap<String, String>>, Fault> {
        let Some(members) = self.members(key)? else { return Ok(None) };
        let mut texts = BTreeMap::new();
        let mut left: Vec<_> = members.into_iter().collect();
        while let Some((name, value)) = left.pop() {
            match value {
                Value::Object(inner) => {
                    left.extend(inner.into_iter().map(|(last, value)| (format!("{name}.{last}"), value)));
                }
                value => {
                    texts.insert(name, plain(value).ok_or_else(|| no_map(key))?);
                }
            }
        }
        Ok(Some(texts))
    }

    fn members(&mut self, key: &str) -> Result<Option<Map<String, Value>>, Fault> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(Value::String(text)) => serde_json::from_str(&text).map(Some).map_err(|_| no_map(key)),
            Some(_) => Err(no_map(key)),
        }
    }

    /// What nobody took.
    pub(super) fn left(self) -> Vec<String> {
        let mut left = Vec::new();
        names(&self.root, "", &mut left);
        left.extend(self.variables.into_keys());
        left
    }

    /// The environment goes before the file, whose value is then taken too.
    fn take(&mut self, key: &str) -> Option<Value> {
        let told = self.remove(key);
        self.variables.remove(&variable(key)).map(Value::String).or(told)
    }

    fn remove(&mut self, key: &str) -> Option<Value> {
        let (sections, last) = key.rsplit_once('.').unwrap_or(("", key));
        let mut section = &mut self.root;
        for part in sections.split('.').filter(|part| !part.is_empty()) {
            section = section.get_mut(part)?.as_object_mut()?;
        }
        section.remove(last)
    }
}

fn no_map(key: &str) -> Fault {
    Fault::new(key, "expected names with texts, numbers or flags as values")
}

fn plain(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The name of a key in the environment.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Maps whose names mean something to others.
const NAMES_STAY: [&str; 3] = ["request_headers", "kafka", "s3"];

/// Case does not matter in keys.
fn lower(members: Map<String, Value>) -> Map<String, Value> {
    let lowered = |(name, value): (String, Value)| {
        let name = name.to_ascii_lowercase();
        match value {
            Value::Object(inner) if !NAMES_STAY.contains(&name.as_str()) => {
                (name, Value::Object(lower(inner)))
            }
            value => (name, value),
        }
    };
    members.into_iter().map(lowered).collect()
}

fn names(members: &Map<String, Value>, prefix: &str, found: &mut Vec<String>) {
    for (name, value) in members {
        let key = format!("{prefix}{name}");
        match value {
            Value::Object(inner) => names(inner, &format!("{key}."), found),
            _ => found.push(key),
        }
    }
}
