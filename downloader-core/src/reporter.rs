//! What a download tells while it runs: events to its observer, and the same to whoever listens through `tracing`.
//!
//! A span each (level `DEBUG`, target `downloader_core`), around all the work, so that the spans of backends, writers
//! and checks are its children. Invariant: a download that was taken up is told to have ended exactly once, also if it
//! is dropped or a plug-in panics; what nobody listens to is not formatted. Must not know: who listens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tracing::field::{Empty, display};
use tracing::{Span, debug, debug_span};

use crate::error::ErrorKind;
use crate::event::{Attempt, Decision, Event, Observer, Totals};

/// Tells of one download.
pub(crate) struct Reporter {
    span: Span,
    observer: Option<Arc<dyn Observer>>,
    /// It was taken up, and has not ended.
    underway: AtomicBool,
    /// The span has its URL.
    named: AtomicBool,
}

impl Reporter {
    /// The span becomes a child of the current one.
    pub(crate) fn new(job: u64, group: Option<&str>, observer: Option<Arc<dyn Observer>>) -> Self {
        let span = debug_span!(
            target: "downloader_core",
            "download",
            job,
            group,
            url.full = Empty,
            error.type = Empty,
        );
        Self { span, observer, underway: AtomicBool::new(false), named: AtomicBool::new(false) }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    pub(crate) fn is_underway(&self) -> bool {
        self.underway.load(Relaxed)
    }

    /// Tells of an event; of the ends of a download only the first.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        match event {
            Event::Started { .. } => self.underway.store(true, Relaxed),
            Event::Done { .. } | Event::Failed { .. } | Event::Stopped { .. }
                if !self.underway.swap(false, Relaxed) =>
            {
                return;
            }
            _ => {}
        }
        self.trace(event);
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }

    /// Tells of an end behind which nobody could be told of a panic of the observer.
    pub(crate) fn tell_at_last(&self, event: &Event<'_>) {
        // Whoever listens panicked already, or is being dropped: there is no download left to fail.
        let _ = catch_unwind(AssertUnwindSafe(|| self.tell(event)));
    }

    fn trace(&self, event: &Event<'_>) {
        let span = &self.span;
        match event {
            Event::Request { url, offset, .. } => {
                if !span.is_disabled() && !self.named.swap(true, Relaxed) {
                    span.record("url.full", display(url));
                }
                debug!(target: "downloader_core", parent: span, { url.full = %url, offset }, "asking");
            }
            Event::Head { body, .. } => {
                let (status, size, from) = (body.wire.status, body.entity.size, body.range.start);
                debug!(
                    target: "downloader_core",
                    parent: span,
                    { http.response.status_code = status, size, from },
                    "head accepted"
                );
            }
            Event::Attempt { attempt, .. } => trace_attempt(span, attempt),
            Event::StartOver { error, wait, .. } => debug!(
                target: "downloader_core",
                parent: span,
                { error.type = error.kind().as_str(), %error, wait = wait.as_secs_f64() },
                "starting over"
            ),
            Event::Warning { error, .. } => {
                debug!(target: "downloader_core", parent: span, { %error }, "a check that only warns");
            }
            Event::Verified { .. } => debug!(target: "downloader_core", parent: span, "verified"),
            Event::Done { totals, .. } => trace_end(span, totals, "done"),
            Event::Failed { error, totals, .. } => {
                span.record("error.type", error.kind().as_str());
                debug!(target: "downloader_core", parent: span, { %error }, "no way is left");
                trace_end(span, totals, "failed");
            }
            Event::Stopped { totals, .. } => trace_end(span, totals, "stopped"),
            _ => {}
        }
    }
}

fn trace_attempt(span: &Span, attempt: &Attempt) {
    let wait = match attempt.decision {
        Decision::Wait(delay) => Some(delay.as_secs_f64()),
        _ => None,
    };
    debug!(
        target: "downloader_core",
        parent: span,
        {
            url.full = %attempt.url,
            offset = attempt.offset,
            bytes = attempt.bytes,
            duration = attempt.duration.as_secs_f64(),
            http.response.status_code = attempt.wire.status,
            error.type = attempt.error.map(ErrorKind::as_str),
            reason = &*attempt.reason,
            decision = %attempt.decision,
            wait,
        },
        "attempt ended"
    );
}

fn trace_end(span: &Span, totals: &Totals, what: &'static str) {
    let Totals { received, in_place, elapsed } = *totals;
    let duration = elapsed.as_secs_f64();
    debug!(target: "downloader_core", parent: span, { received, in_place, duration }, "{what}");
}

/// Tells `tracing` what an origin's gate tells its observer, in the span of the request that brought the news.
pub(crate) fn trace_gate(event: &Event<'_>) {
    match event {
        Event::Resting { origin, time } => {
            debug!(target: "downloader_core", origin, wait = time.as_secs_f64(), "the origin is left alone");
        }
        Event::CircuitOpened { origin, failures, time } => {
            let wait = time.as_secs_f64();
            debug!(target: "downloader_core", origin, failures, wait, "the circuit of the origin opened");
        }
        Event::CircuitClosed { origin } => {
            debug!(target: "downloader_core", origin, "the circuit of the origin closed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::error::Error;

    /// The names of what it was told.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl Observer for Told {
        fn observe(&self, event: &Event<'_>) {
            let name = format!("{event:?}").split(' ').next().unwrap_or_default().to_owned();
            assert_ne!(name, "Failed", "it fell over a failure");
            self.0.lock().unwrap().push(name);
        }
    }

    #[test]
    fn an_end_is_told_once_and_only_of_what_began() {
        let told = Told::default();
        let reporter = Reporter::new(1, None, Some(Arc::new(told.clone())));
        let totals = Totals::default();
        reporter.tell(&Event::Stopped { job: 1, totals });
        reporter.tell(&Event::Started { job: 1, group: None });
        assert!(reporter.is_underway());
        reporter.tell(&Event::Done { job: 1, totals });
        reporter.tell(&Event::Stopped { job: 1, totals });
        assert!(!reporter.is_underway());
        assert_eq!(*told.0.lock().unwrap(), ["Started", "Done"]);
    }

    #[test]
    fn an_observer_that_panics_at_the_end_is_borne() {
        let reporter = Reporter::new(1, None, Some(Arc::new(Told::default())));
        reporter.tell(&Event::Started { job: 1, group: None });
        let error = Error::new(ErrorKind::Local, "x");
        reporter.tell_at_last(&Event::Failed { job: 1, error: &error, totals: Totals::default() });
        assert!(!reporter.is_underway());
    }

    #[test]
    fn a_span_that_nobody_listens_to_is_none() {
        let reporter = Reporter::new(1, Some("g"), None);
        assert!(reporter.span().is_disabled());
        let wait = Duration::from_secs(1);
        let error = Error::new(ErrorKind::Local, "x");
        reporter.tell(&Event::StartOver { job: 1, error: &error, wait });
    }
}
