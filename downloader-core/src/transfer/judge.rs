//! Verdicts on replies: do their bytes continue those taken before, and was that all?
//!
//! Invariant: bytes of two replies are joined only on proof, or where a digest will decide, or where they were
//! compared and agreed. Must not know: how sources are chosen, delays, writers.

use super::{Asked, Fault, State, Transfer};
use crate::context::{Pinned, Stop};
use crate::download::Body;
use crate::entity::{Provenance, Splice};
use crate::error::{Error, ErrorKind};
use crate::event::Decision;
use crate::trail::{Skip, Trail};
use crate::validate::Head;

/// Fewer bytes than these prove nothing by being equal.
const LEAST_OVERLAP: u64 = 64;

impl Transfer {
    /// Do the bytes of this reply continue those taken before? Says what of it must be skipped.
    pub(super) fn judge(&mut self, body: &Body, asked: &Asked) -> Result<Option<Skip>, Fault> {
        if body.not_modified {
            return Ok(None);
        }
        let (cx, at, url) = (&self.cx, self.at, &asked.underway.url);
        if body.range.start > asked.from {
            let what = format!("the reply starts at byte {}, behind the one asked for", body.range.start);
            return Err(Fault::Recover(Error::new(ErrorKind::Protocol, what)));
        }
        let head = Head { url, entity: &body.entity, media_type: body.media_type.as_ref() };
        for validator in &cx.request.validators {
            validator.admit(&head).map_err(Fault::Recover)?;
        }
        let came = Provenance { entity: body.entity.clone(), source: asked.underway.source.clone() };
        let Some(pinned) = cx.pinned() else {
            if !came.entity.is_strong() {
                self.trail = Some(Box::new(Trail::new(at)));
            }
            cx.pin(Some(Pinned { provenance: came, this_run: true, seekable: body.seekable }));
            return Ok((body.range.start < at).then(|| Skip::blind(body.range.start, at)));
        };
        let same_source = pinned.is_of(&asked.underway.source);
        let changed = |what: &str| self.other_content(asked, what);
        let by_digest = cx.digest && !cx.request.strict && !cx.is_suspicious();
        // Nothing is joined: not a byte was taken, or none comes.
        let nothing_joined = same_source
            && !pinned.provenance.entity.is_strong()
            && (cx.meter.done() == 0 || body.range.is_empty());
        let skip = match pinned.provenance.splice(&came) {
            Splice::Contradicted => return Err(changed("the source now has another content")),
            _ if came.entity.size.is_some_and(|size| size < at)
                || (body.range.is_empty() && body.range.start < asked.from) =>
            {
                return Err(changed("the content is shorter than what was taken of it"));
            }
            Splice::Proven => Skip::blind(body.range.start, at),
            Splice::Plausible if nothing_joined => Skip::blind(body.range.start, at),
            Splice::Plausible => {
                let comparable = same_source && pinned.this_run && !cx.request.strict;
                let trail = self.trail.as_ref().filter(|_| comparable);
                match trail.and_then(|trail| trail.compare(body.range.start, at)) {
                    Some(skip) => skip,
                    None if by_digest => Skip::blind(body.range.start, at),
                    None => return Err(changed("nothing proves that it is still the same content")),
                }
            }
        };
        if body.seekable {
            cx.found_seekable();
        }
        if self.trail.is_none() && !pinned.provenance.entity.is_strong() {
            self.trail = Some(Box::new(Trail::new(at)));
        }
        Ok(Some(skip).filter(|skip| !skip.is_over()))
    }

    /// The stream ended: was that all?
    pub(super) fn ended(
        &mut self,
        asked: &Asked,
        announced: Option<u64>,
        skipping: bool,
    ) -> Result<(), Stop> {
        let entity = self.cx.pinned().map(|pinned| pinned.provenance.entity).unwrap_or_default();
        let target = self.end.or_else(|| self.cx.size_of(&entity));
        match target {
            // A shorter range than asked for, or of a content whose size nobody tells: what follows is asked next.
            _ if self.is_partial(asked, announced, skipping, target) => {
                self.cx.attempted(&asked.underway, None, Decision::Done);
                self.state = State::Idle;
                Ok(())
            }
            // Nothing lies behind what was taken: the content is a shorter one.
            Some(target) if self.at < target && announced == Some(asked.from) && asked.from == self.at => {
                let what = format!("the content ends at byte {} of {target}", self.at);
                self.recover(asked, self.other_content(asked, &what))
            }
            target if skipping || target.is_some_and(|target| self.at < target) => {
                let what = format!("the body ended at byte {}, before its time", self.at);
                let truncated = Fault::Recover(Error::new(ErrorKind::Truncated, &*what));
                let fault = match self.other_content(asked, &what) {
                    // An end that nobody announced, and no error: of another source it is a shorter content; of
                    // the same one, too, where a digest will tell; else it is a cut.
                    aside @ Fault::Aside(_) if announced.is_none() => aside,
                    start_over if skipping && announced.is_none() && self.cx.digest => start_over,
                    _ => truncated,
                };
                self.recover(asked, fault)
            }
            _ => {
                self.end = Some(self.at);
                self.finish(asked);
                Ok(())
            }
        }
    }

    /// The source has another content than the one taken up: its fault, if that one was another source's.
    pub(super) fn other_content(&self, asked: &Asked, what: &str) -> Fault {
        let error = Error::new(ErrorKind::Changed, what).with_url(&asked.underway.url).with_offset(self.at);
        let same_source = self.cx.pinned().is_some_and(|pinned| pinned.is_of(&asked.underway.source));
        if same_source { Fault::StartOver(error) } else { Fault::Aside(error) }
    }

    /// Did the body hold all that it announced, and may there be more?
    fn is_partial(
        &mut self,
        asked: &Asked,
        announced: Option<u64>,
        skipping: bool,
        target: Option<u64>,
    ) -> bool {
        let complete = target.is_some_and(|target| self.at >= target) && !skipping;
        if complete || announced.is_none_or(|end| end > self.at) {
            return false;
        }
        if asked.underway.bytes > 0 {
            return !skipping;
        }
        // Nothing new came behind what was asked for again: less of that is asked for.
        let asked_again = asked.from < self.at && self.overlap > 0;
        if asked_again {
            self.overlap = (self.at - asked.from).min(self.overlap) / 2;
            if self.overlap < LEAST_OVERLAP {
                self.overlap = 0;
            }
        }
        asked_again
    }
}
