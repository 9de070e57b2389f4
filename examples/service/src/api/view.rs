//! Owns how jobs and groups are shown to callers.
//!
//! Invariant: nothing secret is shown: of URLs no credentials and no values of queries, of header fields the names, of `extra` nothing.
//! Must not know who asks.

use downloader_core::SafeUrl;
use serde_json::{Map, Value, json};

use super::Files;
use crate::job::{Destination, Ending};
use crate::store::{Counts, GroupView, JobView, Place};

/// A job; with the path of its file, where files are served.
pub(super) fn job(job: &JobView, files: Option<&Files>) -> Value {
    let spec = &job.spec;
    let mut shown = json!({
        "id": job.id,
        "url": url(&spec.url),
        "group": spec.group,
        "download": job.status.download,
        "callback": job.status.callback,
        "created": job.created,
        "attempts": { "downloads": job.downloads, "callbacks": job.callbacks },
    });
    let Some(members) = shown.as_object_mut() else { return shown };
    let mut add = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    if spec.priority != 0 {
        add("priority", spec.priority.into());
    }
    if !spec.mirrors.is_empty() {
        add("mirrors", spec.mirrors.iter().map(|mirror| url(mirror)).collect());
    }
    if !spec.request_headers.is_empty() {
        add("request_headers", spec.request_headers.keys().cloned().collect());
    }
    for (name, destination) in [("callback_to", &spec.callback), ("callback_error_to", &spec.callback_error)]
    {
        if let Some(destination) = destination {
            add(name, to(destination));
        }
    }
    match &job.place {
        Place::Delayed(_, due) => add("due", json!(due)),
        Place::Leased(_, lease) => add("worker", lease.worker.as_str().into()),
        Place::Settled(until) => add("forgotten", json!(until)),
        Place::Ready(_) => {}
    }
    if let Some(ended) = job.ended {
        add("ended", json!(ended));
    }
    if let Some(progress) = job.progress {
        add("progress", json!(progress));
    }
    if job.cancelled {
        add("cancelled", true.into());
    }
    if !job.error.is_empty() {
        add("error", job.error.as_str().into());
    }
    let location = job.ending.as_ref().and_then(|ending| ending.location.as_ref());
    if let Some(path) = files.zip(location).and_then(|(files, location)| files.path_of(location)) {
        add("file", path.into());
    }
    if let Some(ending) = &job.ending {
        add("ending", self::ending(ending));
    }
    shown
}

fn ending(ending: &Ending) -> Value {
    let mut shown = json!(ending);
    if let Some(members) = shown.as_object_mut() {
        members.remove("location");
    }
    shown
}

fn to(destination: &Destination) -> Value {
    let target = &destination.target;
    let target = if target.contains("://") { url(target) } else { target.as_str().into() };
    json!({ "type": destination.kind, "target": target })
}

pub(super) fn group(group: &GroupView) -> Value {
    let settings = group.settings.effective();
    let pinned = &group.settings.pinned;
    let mut pins = Map::new();
    if let Some(limit) = pinned.limit {
        pins.insert("limit".to_owned(), limit.get().into());
    }
    if let Some(proxy) = &pinned.proxy {
        pins.insert("proxy".to_owned(), if proxy.is_empty() { "".into() } else { url(proxy) });
    }
    json!({
        "name": group.name,
        "limit": settings.limit,
        "proxy": settings.proxy.as_deref().map(url),
        "asked": { "limit": group.settings.asked.limit, "proxy": group.settings.asked.proxy.as_deref().map(url) },
        "pinned": pins,
        "waiting": group.waiting(),
        "running": group.running(),
        "jobs": counts(&group.counts),
    })
}

/// How many jobs are in each state, by download and by callback.
pub(super) fn counts(counts: &Counts) -> Value {
    let mut sums = [Map::new(), Map::new()];
    for (status, count) in counts {
        for (sum, state) in sums.iter_mut().zip([status.download.to_string(), status.callback.to_string()]) {
            let before = sum.get(&state).and_then(Value::as_u64).unwrap_or(0);
            sum.insert(state, (before + count).into());
        }
    }
    let [downloads, callbacks] = sums;
    json!({ "download": downloads, "callback": callbacks })
}

fn url(text: &str) -> Value {
    SafeUrl::parse(text).map_or_else(|_| "(not a URL)".into(), |url| url.to_string().into())
}
