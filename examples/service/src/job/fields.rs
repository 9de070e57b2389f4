//! Owns the look at the members of a JSON object as the original sees them.
//!
//! Invariant: what is missing is told from what is of another type only where the original does. Must not know what a member means.

use serde_json::{Map, Value};

/// The members of a submission.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads one object. `null` counts as one without members, of a repeated name the last counts. The error is a reason in words.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let kind = match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => return Ok(Self(members)),
            Ok(Value::Null) => return Ok(Self(Map::new())),
            Err(error) if error.is_eof() => return Err("unexpected end of JSON input".to_owned()),
            Err(error) => return Err(error.to_string()),
            Ok(Value::Array(_)) => "array",
            Ok(Value::String(_)) => "string",
            Ok(Value::Bool(_)) => "bool",
            Ok(Value::Number(_)) => "number",
        };
        Err(format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"))
    }

    /// What is there, `null` included.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A text; whatever else is there counts as nothing.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(Value::as_str)
    }

    /// A text if anything is there; `Err` if it is of another type, `null` included.
    pub(super) fn strict_text(&self, name: &str) -> Result<Option<&str>, &Value> {
        self.value(name).map(|value| value.as_str().ok_or(value)).transpose()
    }

    /// A number without its fraction; `Err` if it is of another type, `null` included. Numbers beyond 64 bits end at their bounds.
    pub(super) fn whole(&self, name: &str) -> Result<Option<i64>, &Value> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "cut toward zero and at the bounds, as documented"
        )]
        let cut = |number: f64| number as i64;
        let read = |value: &Value| value.as_i64().or_else(|| value.as_f64().map(cut));
        self.value(name).map(|value| read(value).ok_or(value)).transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, &Value> {
        self.value(name).map(|value| value.as_bool().ok_or(value)).transpose()
    }
}

/// The name that the language of the original has for the type of a value.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as the original prints it.
pub(super) fn go_value(value: &Value) -> String {
    let each = |values: Vec<String>| values.join(" ");
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", each(values.iter().map(go_value).collect())),
        Value::Object(members) => {
            let shown = members.iter().map(|(name, value)| format!("{name}:{}", go_value(value)));
            format!("map[{}]", each(shown.collect()))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
