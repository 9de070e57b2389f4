//! Owns one attempt at one job: from the claim to the settlement.
//!
//! Invariant: it ends in one settlement, or in none when the lease is lost. Must not know how leases are renewed, or reports made.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use downloader_core::validate::{Algorithm, Evidence};
use downloader_core::{Error, ErrorKind, Job, Outcome, SafeUrl};
use tokio::time::{Instant, timeout};
use url::Url;

use super::guarded::Guarded;
use super::leases::{Held, Stop};
use super::metrics::Result as How;
use super::settler::Settler;
use super::verdict::{self, Verdict};
use super::{Settings, Shared, request};
use crate::job::{Ending, Location, Spec};
use crate::storage::FileName;
use crate::store::{Settlement, Work};

/// A host that rests for longer than this is not waited for: the job goes back, and its group has room meanwhile.
const SHORT_REST: Duration = Duration::from_secs(1);

/// Does it, and reports.
pub(super) async fn run(shared: &Shared, settler: &Settler, work: Work, claimed: (Instant, SystemTime)) {
    let (began, group) = (Instant::now(), work.spec.group.clone());
    shared.metrics.began(&group);
    let holding = shared.leases.hold(work.lease.clone(), claimed);
    let held = holding.held();
    let conclusion = tokio::select! {
        biased;
        why = held.stopped() => stopped(why),
        settlement = attempt(shared, &work, held) => Some(settlement),
    };
    let (how, counted) = match conclusion {
        None => (How::Lost, false),
        Some(settlement) => {
            let how = how(&settlement, held.why());
            if matches!(settlement, Settlement::Downloaded(ref ending) if !ending.success)
                && work.spec.bucket.is_none()
            {
                let file = FileName::new(work.spec.subpath.as_str(), work.lease.id.clone());
                if let Err(error) = shared.storages.own.forget(&file).await {
                    tracing::warn!(job = %work.lease.id, error = ?error, "something of a failed job is left");
                }
            }
            // Until the store has it the lease is renewed; if it cannot be had for that long, the lease ends.
            let settled = settler.settle(work.lease.clone(), settlement);
            (how, timeout(shared.settings.lease * 2, settled).await.unwrap_or(false))
        }
    };
    let how = if counted { how } else { How::Lost };
    if how == How::Again {
        // Nobody is woken by a job that waits for a time; whoever claims is told of it.
        shared.again.notify_one();
    }
    shared.metrics.ended(&group, how, began.elapsed(), held.received());
    tracing::debug!(job = %work.lease.id, group, result = ?how, "attempt ended");
}

fn stopped(why: Stop) -> Option<Settlement> {
    match why {
        Stop::Lost => None,
        Stop::Released => Some(Settlement::Released),
        Stop::Cancelled => Some(Settlement::Downloaded(Box::new(Ending::failed("cancelled", 0)))),
    }
}

fn how(settlement: &Settlement, stopped: Option<Stop>) -> How {
    match settlement {
        Settlement::Downloaded(ending) if ending.success => How::Done,
        Settlement::Downloaded(_) if stopped == Some(Stop::Cancelled) => How::Cancelled,
        Settlement::Again { .. } => How::Again,
        Settlement::Released => How::Released,
        _ => How::Failed,
    }
}

async fn attempt(shared: &Shared, work: &Work, held: &Arc<Held>) -> Settlement {
    let spec = &work.spec;
    let url = match SafeUrl::parse(&spec.url) {
        Ok(url) => url,
        Err(error) => return concluded(shared, work, verdict::of_request(&error)),
    };
    if let Some(rest) = shared.engine.limits().resting(url.origin()).filter(|rest| *rest > SHORT_REST) {
        let reason = format!("{} asked to be left alone", url.origin());
        return Settlement::Again { delay: rest, reason, counted: false };
    }
    // Waited for before the clock of the job begins.
    let _guest = shared.hosts.enter(url.origin(), spec.host_limit).await;
    match download(shared, work, held, &url).await {
        Ok(ending) => Settlement::Downloaded(Box::new(ending)),
        Err(verdict) => concluded(shared, work, verdict),
    }
}

async fn download(shared: &Shared, work: &Work, held: &Arc<Held>, url: &SafeUrl) -> Result<Ending, Verdict> {
    let (spec, settings) = (&work.spec, &shared.settings);
    let proxies = match &work.proxy {
        None => None,
        Some(proxy) => match request::proxies(proxy, settings.guard.as_ref()).await {
            Ok(proxies) => Some(proxies),
            Err(error) => {
                shared.metrics.invalid_proxy();
                return Err(verdict::of(&error, None, url));
            }
        },
    };
    let request = request::of(spec, settings, proxies).map_err(|error| verdict::of_request(&error))?;
    let file = FileName::new(spec.subpath.as_str(), work.lease.id.clone());
    let writer = match &spec.bucket {
        Some(bucket) => shared
            .storages
            .writer_for(bucket, &file, &spec.extra)
            .map_err(|error| verdict::of_bucket(&error))?,
        None => shared.storages.own.writer(&file).map_err(|error| verdict::of_request(&error))?,
    };
    let (writer, failed) = Guarded::new(writer, Arc::clone(held), spec.bucket.is_some());
    let job = Job::new(request, writer);
    held.measured_by(job.meter());
    // A task of its own: a panic in it is an error here.
    let done = shared.engine.start(job).await;
    let result = match done {
        Ok(done) => done.result,
        Err(error) => {
            Err(Error::new(ErrorKind::Local, "the download ended without a result").with_source(error))
        }
    };
    match result {
        Ok(outcome) => {
            let location = spec
                .bucket
                .is_none()
                .then(|| Location { site: shared.storages.own.site().to_owned(), path: file.path() });
            let ending = ending(spec, settings, &outcome, location);
            shared.metrics.replied(ending.response_code);
            Ok(ending)
        }
        Err(error) => {
            tracing::info!(job = %work.lease.id, %error, "attempt failed");
            Err(verdict::of(&error, failed.get().copied(), url))
        }
    }
}

/// What is told of a file that is stored.
fn ending(spec: &Spec, settings: &Settings, outcome: &Outcome, location: Option<Location>) -> Ending {
    let of_http = matches!(outcome.url.scheme(), "http" | "https");
    let status = outcome.wire.status.filter(|_| of_http).unwrap_or(0);
    let found = |name: &str| {
        outcome
            .evidence
            .iter()
            .find(|evidence| &*evidence.check == name)
            .map(|evidence| evidence.value.to_string())
    };
    let is_digest = |evidence: &&Evidence| evidence.check.parse::<Algorithm>().is_ok();
    let path = location.as_ref().map(|location| location.path.as_str());
    Ending {
        success: true,
        error: String::new(),
        // The rest of what an earlier attempt had: a part for us, the whole for whoever is told.
        response_code: if status == 206 { 200 } else { status },
        image_size: found("image-size").filter(|_| spec.extract_image_size).unwrap_or_default(),
        size: Some(outcome.size),
        media_type: found("media-type"),
        digests: outcome
            .evidence
            .iter()
            .filter(is_digest)
            .map(|evidence| (evidence.check.to_string(), evidence.value.to_string()))
            .collect(),
        download_url: settings
            .download_url
            .as_ref()
            .zip(path)
            .map(|(base, path)| download_url(base, path))
            .unwrap_or_default(),
        location,
    }
}

/// The path below the base, which may end with a slash.
fn download_url(base: &Url, path: &str) -> String {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    url.into()
}

/// Another attempt, or the end.
fn concluded(shared: &Shared, work: &Work, verdict: Verdict) -> Settlement {
    let Shared { settings, metrics, .. } = shared;
    if verdict.response_code != 0 {
        metrics.replied(verdict.response_code);
    }
    metrics.failed(verdict.counted, verdict.internal);
    let retries = work.spec.max_retries.unwrap_or(settings.max_retries);
    if !verdict.retriable || work.attempts >= retries {
        return Settlement::Downloaded(Box::new(Ending::failed(verdict.error, verdict.response_code)));
    }
    let asked = verdict.retry_after.map(|asked| asked.min(settings.longest_retry_after));
    let delay = settings.backoff.wait(work.attempts.saturating_add(1), asked);
    Settlement::Again { delay, reason: verdict.error, counted: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skroutz_26_where_clients_find_a_file() {
        for (base, expected) in [
            ("http://h/files", "http://h/files/a%20b/32a/32a9M0C-QxziDA"),
            ("http://h/files/", "http://h/files/a%20b/32a/32a9M0C-QxziDA"),
            ("http://h", "http://h/a%20b/32a/32a9M0C-QxziDA"),
        ] {
            let base = Url::parse(base).expect("a URL");
            assert_eq!(download_url(&base, "a b/32a/32a9M0C-QxziDA"), expected);
        }
    }
}
