//! A subscriber that remembers all it is told, of every crate, at every level.
//!
//! Invariant: a span keeps its number when it is closed. Must not know who tells.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// A span, or an event, which has the message `message`.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) level: Level,
    /// The number of the span around it.
    pub(crate) parent: Option<usize>,
    pub(crate) fields: Fields,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(BTreeMap<&'static str, String>);

/// All that was told.
#[derive(Clone, Default)]
pub(crate) struct Capture(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    spans: Vec<Told>,
    events: Vec<Told>,
}

/// The number of a span.
struct Number(usize);

impl Capture {
    /// Captures what this thread tells until the guard is dropped.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        let capture = Self::default();
        let subscriber = Registry::default().with(capture.clone());
        (capture, tracing::subscriber::set_default(subscriber))
    }

    /// The spans of this name, with their numbers.
    pub(crate) fn spans(&self, name: &str) -> Vec<(usize, Told)> {
        let kept = self.0.lock().unwrap();
        kept.spans.iter().cloned().enumerate().filter(|(_, span)| span.name == name).collect()
    }

    /// The events within this span.
    pub(crate) fn events_in(&self, number: usize) -> Vec<Told> {
        let kept = self.0.lock().unwrap();
        kept.events.iter().filter(|event| event.parent == Some(number)).cloned().collect()
    }

    /// Spans and events of our crates.
    pub(crate) fn ours(&self) -> usize {
        let kept = self.0.lock().unwrap();
        kept.spans.iter().chain(&kept.events).filter(|told| told.target.starts_with("downloader")).count()
    }

    /// All of it as text.
    pub(crate) fn text(&self) -> String {
        let kept = self.0.lock().unwrap();
        let mut text = String::new();
        for told in kept.spans.iter().chain(&kept.events) {
            writeln!(text, "{told:?}").unwrap();
        }
        text
    }

    fn told(metadata: &'static Metadata<'static>, parent: Option<usize>) -> Told {
        Told {
            name: metadata.name(),
            target: metadata.target(),
            level: *metadata.level(),
            parent,
            fields: Fields::default(),
        }
    }
}

impl Fields {
    /// A field that has a value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field that has a number.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.get(name).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

impl Told {
    pub(crate) fn message(&self) -> &str {
        self.fields.get("message").unwrap_or_default()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent().and_then(|parent| parent.extensions().get::<Number>().map(|own| own.0));
        let mut told = Self::told(attributes.metadata(), parent);
        attributes.record(&mut told.fields);
        let mut kept = self.0.lock().unwrap();
        span.extensions_mut().insert(Number(kept.spans.len()));
        kept.spans.push(told);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let number = span.extensions().get::<Number>().unwrap().0;
        values.record(&mut self.0.lock().unwrap().spans[number].fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let parent = context.event_span(event);
        let number = parent.and_then(|parent| parent.extensions().get::<Number>().map(|own| own.0));
        let mut told = Self::told(event.metadata(), number);
        event.record(&mut told.fields);
        self.0.lock().unwrap().events.push(told);
    }
}
