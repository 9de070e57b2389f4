//! Owns the reading of what the script answers.
//!
//! Invariant: an answer that does not fit is [`ErrorKind::Broken`], never guessed at. Must not know who asked.

use redis::{FromRedisValue, Value};

use crate::job::{CallbackState, DownloadState, GroupSettings, JobId, Queue, Status};
use crate::store::entry::Entry;
use crate::store::view::{GroupView, LeaseView, Place, Progress};
use crate::store::{Error, ErrorKind, Result, Timestamp};

/// A job that was claimed: id, token, specification, what its group asks for, what is pinned of it, attempts, ending.
pub(super) type Claimed = (String, u64, String, String, Option<String>, u32, Option<String>);
/// A group: its name, what it asks for, what is pinned of it, and how many jobs there are by status.
pub(super) type Group = (String, String, Option<String>, Vec<(String, u64)>);

pub(super) fn id(text: &str) -> Result<JobId> {
    text.parse().map_err(|error| broken("the id of a job").with(error))
}

/// The settings of a group.
pub(super) fn settings(asked: &str, pinned: Option<&str>) -> Result<GroupSettings> {
    let unreadable = |error| broken("the settings of a group").with(error);
    Ok(GroupSettings {
        asked: serde_json::from_str(asked).map_err(unreadable)?,
        pinned: pinned.map(serde_json::from_str).transpose().map_err(unreadable)?.unwrap_or_default(),
    })
}

/// How many jobs have a status.
pub(super) fn counted((code, count): (String, u64)) -> Result<(Status, u64)> {
    Status::from_code(&code).map(|status| (status, count)).ok_or_else(|| broken("the status of a job"))
}

pub(super) fn group((name, asked, pinned, counts): Group) -> Result<GroupView> {
    let settings = settings(&asked, pinned.as_deref())?;
    Ok(GroupView { name, settings, counts: counts.into_iter().map(counted).collect::<Result<_>>()? })
}

/// All fields of a job, in the order of `whole` in the script.
pub(super) fn entry(fields: Vec<Value>) -> Result<Entry> {
    let mut fields = Fields(fields.into_iter());
    let id = id(&fields.next::<String>()?)?;
    let (sequence, group, lane) = (fields.next()?, fields.next()?, fields.next()?);
    let (priority, notify): (i8, u8) = (fields.next()?, fields.next()?);
    let (key, fingerprint, created) = (fields.next()?, fields.next()?, Timestamp(fields.next()?));
    let place = fields.place()?;
    let (result, callback): (Option<String>, Option<String>) = (fields.next()?, fields.next()?);
    Ok(Entry {
        id,
        sequence,
        group,
        lane,
        priority,
        notify_success: notify & 1 != 0,
        notify_failure: notify & 2 != 0,
        key,
        fingerprint,
        created,
        place,
        result: result.as_deref().map(download).transpose()?,
        callback: callback.as_deref().map(self::callback).transpose()?,
        attempts: [fields.next()?, fields.next()?, fields.next()?],
        losses: fields.next()?,
        settled: fields.next()?,
        cancelled: fields.next::<u8>()? != 0,
        error: fields.next()?,
        ending: fields.next()?,
        site: fields.next()?,
        progress: fields.progress()?,
        ended: fields.next::<Option<u64>>()?.map(Timestamp),
    })
}

struct Fields(std::vec::IntoIter<Value>);

impl Fields {
    fn next<T: FromRedisValue>(&mut self) -> Result<T> {
        let value = self.0.next().ok_or_else(|| broken("a job with too few fields"))?;
        redis::from_redis_value(value).map_err(|error| broken("a field of a job").with(error))
    }

    fn place(&mut self) -> Result<Place> {
        let (queue, spot): (Option<String>, String) = (self.next()?, self.next()?);
        let (time, token, worker) = (Timestamp(self.next()?), self.next()?, self.next()?);
        let queue = queue.and_then(|code| Queue::from_code(&code));
        match (spot.as_str(), queue) {
            ("ready", Some(queue)) => Ok(Place::Ready(queue)),
            ("delayed", Some(queue)) => Ok(Place::Delayed(queue, time)),
            ("leased", Some(queue)) => Ok(Place::Leased(queue, LeaseView { token, until: time, worker })),
            ("settled", None) => Ok(Place::Settled(time)),
            _ => Err(broken("the place of a job")),
        }
    }

    fn progress(&mut self) -> Result<Option<Progress>> {
        let (done, total) = (self.next::<Option<u64>>()?, self.next()?);
        Ok(done.map(|done| Progress { done, total }))
    }
}

fn download(code: &str) -> Result<DownloadState> {
    match code {
        "d" => Ok(DownloadState::Done),
        "f" => Ok(DownloadState::Failed),
        "c" => Ok(DownloadState::Cancelled),
        _ => Err(broken("the result of a job")),
    }
}

fn callback(code: &str) -> Result<CallbackState> {
    match code {
        "v" => Ok(CallbackState::Delivered),
        "x" => Ok(CallbackState::Dead),
        _ => Err(broken("the callback of a job")),
    }
}

pub(super) fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Broken, format!("{what}, as Redis has it, makes no sense"))
}
