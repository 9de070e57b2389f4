//! Conditions and waits in formats of serde, as their texts.
//!
//! Invariant: what is written is read back as the same; what has no text is refused. Must not know: any format.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Stop, Wait};

impl Serialize for Stop {
    /// Its text.
    ///
    /// # Errors
    /// If an event of the program's is part of it ([`Stop::when_set`]).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.has_text() {
            return Err(S::Error::custom("an event of the program's cannot be written"));
        }
        serializer.collect_str(self)
    }
}

impl Serialize for Wait {
    /// Its text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stop {
    /// Of its text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Wait {
    /// Of its text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_out_and_come_back() {
        let text = r#"["stop_after_attempt(5) | stop_never","wait_fixed(0.5)"]"#;
        let read: (Stop, Wait) = serde_json::from_str(text).unwrap();
        assert_eq!(read.0, Stop::after_attempt(5) | Stop::never());
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        let error = serde_json::from_str::<Wait>(r#""wait_fixed(3) + 3""#).unwrap_err().to_string();
        assert!(error.contains("expected a wait at byte 16, found the number 3"), "{error}");
        assert!(serde_json::from_str::<Stop>("5").is_err());
        let event = Stop::after_attempt(3) & Stop::when_set(std::sync::Arc::default());
        assert!(serde_json::to_string(&event).is_err());
    }
}
