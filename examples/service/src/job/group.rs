//! Owns the settings of a group: how many downloads at once, and by which way.
//!
//! Invariant: a limit is never zero. Must not know how many jobs a group has.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// The settings that hold for all jobs of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How many of its downloads run at the same time, over all processors.
    pub limit: NonZeroU32,
    /// The proxy of its downloads; `None` leaves it to the environment of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

/// The settings of a group, with where they come from.
///
/// The last submission sets `asked`. What an operator pins goes before it, until it is unpinned, and however often jobs ask for something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// What the last submission asked for.
    pub asked: Settings,
    /// What an operator set.
    #[serde(default)]
    pub pinned: GroupChange,
}

/// What is pinned of a group's settings: it goes before what jobs ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupChange {
    /// The limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroU32>,
    /// The proxy; the empty text is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

impl GroupSettings {
    /// What holds.
    #[must_use]
    pub fn effective(&self) -> Settings {
        let proxy = match &self.pinned.proxy {
            Some(proxy) => Some(proxy.clone()).filter(|proxy| !proxy.is_empty()),
            None => self.asked.proxy.clone(),
        };
        Settings { limit: self.pinned.limit.unwrap_or(self.asked.limit), proxy }
    }
}

/// What is to become of the pins of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPatch {
    /// Of the limit.
    pub limit: Patch<NonZeroU32>,
    /// Of the proxy; to pin the empty text is to pin none.
    pub proxy: Patch<String>,
}

/// What is to become of one pin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Patch<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// What jobs ask for holds again.
    Unpin,
    /// This holds, whatever jobs ask for.
    Pin(T),
}

impl<T: Clone> Patch<T> {
    fn apply(&self, pin: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Unpin => *pin = None,
            Self::Pin(value) => *pin = Some(value.clone()),
        }
    }
}

impl GroupPatch {
    /// Takes all pins away.
    #[must_use]
    pub fn unpin() -> Self {
        Self { limit: Patch::Unpin, proxy: Patch::Unpin }
    }

    /// Pins a limit, and leaves the proxy as it is.
    #[must_use]
    pub fn limit(limit: NonZeroU32) -> Self {
        Self { limit: Patch::Pin(limit), ..Self::default() }
    }

    /// Pins a proxy, and leaves the limit as it is.
    pub fn proxy(proxy: impl Into<String>) -> Self {
        Self { proxy: Patch::Pin(proxy.into()), ..Self::default() }
    }
}

impl GroupChange {
    /// Is nothing pinned?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limit.is_none() && self.proxy.is_none()
    }

    /// Does with the pins what the patch says.
    pub fn apply(&mut self, patch: &GroupPatch) {
        patch.limit.apply(&mut self.limit);
        patch.proxy.apply(&mut self.proxy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skroutz_60_what_an_operator_pins_goes_before_what_jobs_ask_for() {
        let limit = |n| NonZeroU32::new(n).expect("not zero");
        let asked = Settings { limit: limit(3), proxy: Some("http://p:1".to_owned()) };
        let mut group = GroupSettings { asked: asked.clone(), pinned: GroupChange::default() };
        assert_eq!(group.effective(), asked);
        group.pinned = GroupChange { limit: Some(limit(9)), proxy: Some(String::new()) };
        assert_eq!(group.effective(), Settings { limit: limit(9), proxy: None });
    }
}
