//! What all transfers of one download share.
//!
//! Invariant: the content taken up (`pinned`) changes only when the download starts over.
//! Must not know: writers; the state of any one transfer.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::download::Download;
use crate::entity::{Entity, Provenance, SourceId};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Decision, Event, Observer, Totals};
use crate::meter::Meter;
use crate::record::{Record, Underway};
use crate::reporter::Reporter;
use crate::request::Request;
use crate::retry::{Failure, RetryPolicy};
use crate::sources::Sources;
use crate::validate::{Digest, Evidence, Told, Validator};

/// Why a transfer cannot go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The bytes taken so far are not, or cannot be shown to be, of the content now served.
    StartOver(Error),
    /// No way is left.
    GiveUp(Error),
}

impl Stop {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::StartOver(error) | Self::GiveUp(error) => error,
        }
    }
}

/// The surroundings of one download.
pub(crate) struct Context {
    pub(crate) job: u64,
    pub(crate) request: Request,
    pub(crate) download: Arc<dyn Download>,
    pub(crate) sources: Sources,
    pub(crate) policy: Arc<dyn RetryPolicy>,
    pub(crate) reporter: Reporter,
    pub(crate) meter: Arc<Meter>,
    pub(crate) total: Arc<Meter>,
    pub(crate) record: Record,
    pub(crate) started: Instant,
    /// A digest will be checked: bytes may be joined on trial.
    pub(crate) digest: bool,
    /// Least bytes worth a connection of their own.
    pub(crate) least_segment: u64,
    /// Wrong bytes came: nothing is joined on trial, and connections that served before are not used.
    pub(crate) suspicious: AtomicBool,
    /// Failed attempts: those of the transfer that has most.
    attempts: AtomicU32,
    pinned: Mutex<Option<Pinned>>,
}

/// The content taken up.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    pub(crate) provenance: Provenance,
    /// True when it was taken up in this run, not left by an earlier one.
    pub(crate) this_run: bool,
    /// Ranges of it were, or are said to be, served.
    pub(crate) seekable: bool,
}

impl Pinned {
    /// True when it was taken up from this source.
    pub(crate) fn is_of(&self, source: &SourceId) -> bool {
        self.provenance.source == *source
    }
}

impl Context {
    #[allow(clippy::too_many_arguments, reason = "called once, by the engine")]
    pub(crate) fn new(
        job: u64,
        sources: Sources,
        download: Arc<dyn Download>,
        policy: Arc<dyn RetryPolicy>,
        observer: Option<Arc<dyn Observer>>,
        meters: (Arc<Meter>, Arc<Meter>),
        least_segment: u64,
        request: Request,
    ) -> Self {
        let digest =
            request.range.is_all() && request.validators.iter().any(|validator| validator.is_digest());
        Self {
            job,
            reporter: Reporter::new(job, request.terms.group.as_deref(), observer),
            request,
            download,
            sources,
            policy,
            meter: meters.0,
            total: meters.1,
            record: Record::default(),
            started: Instant::now(),
            digest,
            least_segment,
            suspicious: AtomicBool::new(false),
            attempts: AtomicU32::new(0),
            pinned: Mutex::new(None),
        }
    }

    pub(crate) fn pinned(&self) -> Option<Pinned> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn pin(&self, pinned: Option<Pinned>) {
        *self.pinned.lock().unwrap_or_else(PoisonError::into_inner) = pinned;
    }

    pub(crate) fn found_seekable(&self) {
        if let Some(pinned) = self.pinned.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            pinned.seekable = true;
        }
    }

    pub(crate) fn is_suspicious(&self) -> bool {
        self.suspicious.load(Relaxed)
    }

    /// The size of the whole content: as announced, else as the caller says.
    pub(crate) fn size_of(&self, entity: &Entity) -> Option<u64> {
        entity.size.or(self.request.size)
    }

    /// What the policy says of a failure; `attempts` are those of whoever failed, since the download was taken up.
    pub(crate) fn delay(&self, error: &Error, rounds: u32, attempts: u32) -> Option<Duration> {
        self.attempts.fetch_max(attempts, Relaxed);
        self.policy.delay(&Failure { error, rounds, attempts, elapsed: self.started.elapsed() })
    }

    /// Failed attempts that whoever begins now takes over.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.load(Relaxed)
    }

    /// What came has to be thrown away: that was an attempt, too.
    pub(crate) fn threw_away(&self) -> u32 {
        self.attempts.fetch_add(1, Relaxed).saturating_add(1)
    }

    pub(crate) fn attempted(&self, underway: &Underway, error: Option<&Error>, decision: Decision) {
        let attempt = underway.end(error, decision);
        self.observe(&Event::Attempt { job: self.job, attempt: &attempt });
        self.record.push(underway, attempt);
    }

    pub(crate) fn observe(&self, event: &Event<'_>) {
        self.reporter.tell(event);
    }

    /// The download is taken up.
    pub(crate) fn begun(&self) {
        self.observe(&Event::Started { job: self.job, group: self.request.terms.group.as_deref() });
    }

    /// Every byte came, and they are right.
    pub(crate) fn succeeded(&self) {
        self.policy.succeeded();
        self.observe(&Event::Done { job: self.job, totals: self.totals() });
    }

    /// What it came to so far.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            received: self.meter.received(),
            in_place: self.meter.done(),
            elapsed: self.started.elapsed(),
        }
    }

    /// Tells of advisory checks that did not agree.
    pub(crate) fn warn(&self, evidence: &[Evidence]) {
        for error in evidence.iter().filter_map(|evidence| evidence.warning.as_ref()) {
            self.observe(&Event::Warning { job: self.job, error });
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.meter.add_received(bytes as u64);
        self.total.add_received(bytes as u64);
    }

    /// Bytes of the content are in place, or were given out.
    pub(crate) fn done(&self, bytes: u64) {
        self.meter.add_done(bytes);
        self.total.add_done(bytes);
    }

    /// What is asked of the bytes: of a part of a content, or of a head alone, nothing can be.
    pub(crate) fn checks(&self) -> &[Arc<dyn Validator>] {
        let whole = self.request.range.is_all() && self.request.body;
        if whole { &self.request.validators } else { &[] }
    }

    /// The check that the source's own word asks for, where the caller named no digest.
    pub(crate) fn told(&self, digests: &[Digest]) -> Option<Told> {
        let whole = self.request.range.is_all() && self.request.body;
        if whole && !self.digest { Told::strongest(digests) } else { None }
    }

    /// Work of this download, in its span. A panic of an observer, writer or check ends its own download, and no other.
    pub(crate) async fn guarded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let work = work.instrument(self.reporter.span().clone());
        AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            let error = Error::new(ErrorKind::Local, format!("a plug-in panicked: {text}"));
            let error = self.final_error(error);
            let (job, totals) = (self.job, self.totals());
            self.reporter.tell_at_last(&Event::Failed { job, error: &error, totals });
            Err(error)
        })
    }

    /// The error, with the record of all that was tried.
    pub(crate) fn final_error(&self, error: Error) -> Error {
        error.with_attempts(self.record.take(), self.started.elapsed())
    }
}

impl Drop for Context {
    /// The last who had to do with the download is gone.
    fn drop(&mut self) {
        if self.reporter.is_underway() {
            self.reporter.tell_at_last(&Event::Stopped { job: self.job, totals: self.totals() });
        }
    }
}
