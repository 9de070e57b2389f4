//! What follows an attempt that failed: another source, a wait, links anew, or the end.
//!
//! Invariant: whom an attempt blames is decided here, once, and recorded; a download fails only by what it was told itself,
//! never by what is only known of others. Must not know: bytes, how replies are judged.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Asked, Fault, State, Transfer};
use crate::context::Stop;
use crate::error::{Error, ErrorKind};
use crate::event::Decision;
use crate::sources::{Outlook, explained};

impl Transfer {
    /// An attempt failed; its body is dropped by now. Decides what follows, and records it.
    pub(super) fn recover(&mut self, asked: &Asked, fault: Fault) -> Result<(), Stop> {
        let url = &asked.underway.url;
        let place = |error: Error| error.with_url(url).with_offset(self.at);
        let (error, decision) = match fault {
            Fault::StartOver(error) => {
                self.state = State::Done;
                self.cx.attempted(&asked.underway, Some(&error), Decision::StartOver);
                return Err(Stop::StartOver(error));
            }
            Fault::Aside(error) => {
                self.cx.sources.set_aside(asked.underway.id);
                (error, Some(Decision::Reject))
            }
            Fault::Recover(error) if error.kind().is_fatal() => {
                let error = place(error);
                self.state = State::Done;
                self.cx.attempted(&asked.underway, Some(&error), Decision::GiveUp);
                return Err(Stop::GiveUp(error));
            }
            Fault::Recover(error) if error.is_unasked() => {
                let error = place(error);
                self.cx.sources.failed(url.origin(), &error);
                if !asked.yields {
                    self.tried.push(asked.underway.id);
                    self.unasked.push(asked.underway.id);
                    self.spared += error.spared();
                    // When the next probe goes is no wish of the far side.
                    self.last = Some(error.clone().with_retry_after(None));
                }
                (error, None)
            }
            Fault::Recover(error) => {
                let error = place(explained(error, url, SystemTime::now()));
                if self.cx.policy.is_transient(&error) {
                    self.cx.sources.failed(url.origin(), &error);
                    self.tried.push(asked.underway.id);
                    self.last = Some(error.clone());
                    (error, None)
                } else {
                    self.cx.sources.reject(asked.underway.id, url.origin(), &error);
                    (error, Some(Decision::Reject))
                }
            }
        };
        let next = self.next(Some(&error));
        let follows = match &next {
            Ok((_, follows)) => *follows,
            Err(Stop::StartOver(_)) => Decision::StartOver,
            Err(Stop::GiveUp(_)) => Decision::GiveUp,
        };
        self.cx.attempted(&asked.underway, Some(&error), decision.unwrap_or(follows));
        self.state = next?.0;
        Ok(())
    }

    /// Who is asked next, and when.
    pub(super) fn next(&mut self, error: Option<&Error>) -> Result<(State, Decision), Stop> {
        let cx = &self.cx;
        match cx.sources.outlook(&self.tried) {
            Outlook::Untried => Ok((State::Idle, Decision::NextSource)),
            Outlook::Tried => {
                self.rounds += 1;
                self.attempts = self.attempts.saturating_add(1);
                let error = self.last.as_ref().or(error).cloned().unwrap_or_else(exhausted);
                if let Some(delay) = cx.delay(&error, self.rounds, self.attempts) {
                    // A download lives as long as if it had asked.
                    let delay = delay.saturating_add(self.spared);
                    return Ok((State::Waiting(Box::pin(tokio::time::sleep(delay))), Decision::Wait(delay)));
                }
                if !self.unasked.is_empty() {
                    // No download fails by what is only known of others.
                    let unasked = std::mem::take(&mut self.unasked);
                    self.tried.retain(|id| !unasked.contains(id));
                    self.insists = true;
                    return Ok((State::Idle, Decision::NextSource));
                }
                self.state = State::Done;
                Err(if cx.sources.yield_to_aside() { Stop::StartOver(error) } else { Stop::GiveUp(error) })
            }
            Outlook::OnlyAside => {
                self.state = State::Done;
                Err(Stop::StartOver(cx.sources.blame().or_else(|| error.cloned()).unwrap_or_else(exhausted)))
            }
            Outlook::Empty { generation } => {
                let cx = Arc::clone(cx);
                let locating = Box::pin(async move { cx.sources.locate(generation, cx.meter.done()).await });
                Ok((State::Locating(locating), Decision::NextSource))
            }
        }
    }

    /// All sources may be asked again.
    pub(super) fn begin_round(&mut self) {
        self.tried.clear();
        self.unasked.clear();
        self.spared = Duration::ZERO;
        self.insists = false;
    }
}

fn exhausted() -> Error {
    Error::new(ErrorKind::NotFound, "no source is left")
}
