//! Owns the form of an entry as a row.
//!
//! Invariant: an entry that was written is read as it was. Must not know when rows are written.

use rusqlite::types::{FromSql, ToSqlOutput, ValueRef};
use rusqlite::{Row, ToSql};

use super::failure::failure;
use crate::job::{CallbackState, DownloadState, Queue, Status};
use crate::store::entry::Entry;
use crate::store::rows::Spot;
use crate::store::view::{LeaseView, Place, Progress};
use crate::store::{Error, ErrorKind, Result, Timestamp};

/// The columns that are written once.
const FIXED: [&str; 8] =
    ["sequence", "id", "group_name", "priority", "notify", "key", "fingerprint", "created"];
/// The columns that change.
const MOVING: [&str; 19] = [
    "lane",
    "status",
    "queue",
    "spot",
    "time",
    "token",
    "worker",
    "downloads",
    "callbacks",
    "removals",
    "losses",
    "settled",
    "cancelled",
    "error",
    "ending",
    "site",
    "done",
    "total",
    "ended",
];

/// The columns of an entry, for `SELECT`.
pub(super) fn columns() -> String {
    [&FIXED[..], &MOVING].concat().join(", ")
}

/// Takes the values of [`values`].
pub(super) fn insert() -> String {
    format!("INSERT INTO jobs ({}) VALUES (?{})", columns(), ", ?".repeat(FIXED.len() + MOVING.len() - 1))
}

/// Takes the values of [`moving`].
pub(super) fn update() -> String {
    format!("UPDATE jobs SET {} = ? WHERE sequence = ?", MOVING.join(" = ?, "))
}

/// All values, in the order of [`columns`].
pub(super) fn values(entry: &Entry) -> impl Iterator<Item = impl ToSql> {
    let fixed: [ToSqlOutput<'_>; FIXED.len()] = [
        number(entry.sequence),
        text(entry.id.as_str()),
        text(&entry.group),
        i64::from(entry.priority).into(),
        (i64::from(entry.notify_success) | i64::from(entry.notify_failure) << 1).into(),
        perhaps(entry.key.as_deref(), text),
        text(&entry.fingerprint),
        number(entry.created.0),
    ];
    fixed.into_iter().chain(changing(entry))
}

/// The values that change, and which row they are of.
pub(super) fn moving(entry: &Entry) -> impl Iterator<Item = impl ToSql> {
    changing(entry).into_iter().chain([number(entry.sequence)])
}

fn changing(entry: &Entry) -> [ToSqlOutput<'_>; MOVING.len()] {
    let (spot, time, lease) = match &entry.place {
        Place::Ready(_) => (0, None, None),
        Place::Delayed(_, until) => (code(Spot::Delayed), Some(*until), None),
        Place::Leased(_, lease) => (code(Spot::Leased), Some(lease.until), Some(lease)),
        Place::Settled(until) => (SETTLED, Some(*until), None),
    };
    let progress = entry.progress;
    [
        text(&entry.lane),
        text(entry.status().code()),
        perhaps(entry.queue().map(Queue::code), text),
        spot.into(),
        perhaps(time, |time| number(time.0)),
        perhaps(lease, |lease| number(lease.token)),
        perhaps(lease, |lease| text(&lease.worker)),
        i64::from(entry.attempts[0]).into(),
        i64::from(entry.attempts[1]).into(),
        i64::from(entry.attempts[2]).into(),
        i64::from(entry.losses).into(),
        number(entry.settled),
        i64::from(entry.cancelled).into(),
        text(&entry.error),
        perhaps(entry.ending.as_deref(), text),
        perhaps(entry.site.as_deref(), text),
        perhaps(progress, |progress| number(progress.done)),
        perhaps(progress.and_then(|progress| progress.total), number),
        perhaps(entry.ended, |ended| number(ended.0)),
    ]
}

/// Reads a row with the columns of [`columns`].
pub(super) fn entry(row: &Row<'_>) -> Result<Entry> {
    let id: String = column(row, 1)?;
    let status = status(row, 9)?;
    let result = match status.download {
        DownloadState::Queued | DownloadState::Delayed | DownloadState::Running => None,
        ended => Some(ended),
    };
    let callback = match status.callback {
        ended @ (CallbackState::Delivered | CallbackState::Dead) => Some(ended),
        _ => None,
    };
    let notify: i64 = column(row, 4)?;
    let done: Option<i64> = column(row, 24)?;
    let total: Option<i64> = column(row, 25)?;
    let ended: Option<i64> = column(row, 26)?;
    Ok(Entry {
        sequence: unsigned(row, 0)?,
        id: id.parse().map_err(|error| broken(1).with(error))?,
        group: column(row, 2)?,
        priority: column(row, 3)?,
        notify_success: notify & 1 != 0,
        notify_failure: notify & 2 != 0,
        key: column(row, 5)?,
        fingerprint: column(row, 6)?,
        created: Timestamp(unsigned(row, 7)?),
        lane: column(row, 8)?,
        place: place(row)?,
        result,
        callback,
        attempts: [column(row, 15)?, column(row, 16)?, column(row, 17)?],
        losses: column(row, 18)?,
        settled: unsigned(row, 19)?,
        cancelled: column(row, 20)?,
        error: column(row, 21)?,
        ending: column(row, 22)?,
        site: column(row, 23)?,
        progress: done
            .map(|done| Progress { done: done.unsigned_abs(), total: total.map(i64::unsigned_abs) }),
        ended: ended.map(|ended| Timestamp(ended.unsigned_abs())),
    })
}

fn place(row: &Row<'_>) -> Result<Place> {
    let spot: i64 = column(row, 11)?;
    if spot == SETTLED {
        return Ok(Place::Settled(Timestamp(unsigned(row, 12)?)));
    }
    let queue = queue(row, 10)?.ok_or_else(|| broken(10))?;
    match self::spot(spot) {
        Some(Spot::Ready) => Ok(Place::Ready(queue)),
        Some(Spot::Delayed) => Ok(Place::Delayed(queue, Timestamp(unsigned(row, 12)?))),
        Some(Spot::Leased) => {
            let (token, until) = (unsigned(row, 13)?, Timestamp(unsigned(row, 12)?));
            Ok(Place::Leased(queue, LeaseView { token, until, worker: column(row, 14)? }))
        }
        None => Err(broken(11)),
    }
}

/// The kinds of places in the column `spot`, and in [`Order`](crate::store::rows::Order) of what has a time.
const SETTLED: i64 = 3;

/// The number of a kind of place.
pub(super) fn code(spot: Spot) -> i64 {
    match spot {
        Spot::Ready => 0,
        Spot::Delayed => 1,
        Spot::Leased => 2,
    }
}

/// The kind of place of a number; `None` is settled.
pub(super) fn spot(code: i64) -> Option<Spot> {
    [Spot::Ready, Spot::Delayed, Spot::Leased].into_iter().find(|spot| self::code(*spot) == code)
}

pub(super) fn queue(row: &Row<'_>, at: usize) -> Result<Option<Queue>> {
    let code: Option<String> = column(row, at)?;
    code.map(|code| Queue::from_code(&code).ok_or_else(|| broken(at))).transpose()
}

pub(super) fn status(row: &Row<'_>, at: usize) -> Result<Status> {
    let code: String = column(row, at)?;
    Status::from_code(&code).ok_or_else(|| broken(at))
}

pub(super) fn column<T: FromSql>(row: &Row<'_>, at: usize) -> Result<T> {
    row.get(at).map_err(failure(format!("column {at} of a row")))
}

pub(super) fn unsigned(row: &Row<'_>, at: usize) -> Result<u64> {
    column::<i64>(row, at).and_then(|number| u64::try_from(number).map_err(|error| broken(at).with(error)))
}

fn broken(at: usize) -> Error {
    Error::new(ErrorKind::Broken, format!("column {at} of a row has no meaning"))
}

fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
}

/// Numbers beyond 2^63 do not come about: times and sizes of files are far below.
pub(super) fn number<'a>(number: u64) -> ToSqlOutput<'a> {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn perhaps<'a, T>(value: Option<T>, form: impl FnOnce(T) -> ToSqlOutput<'a>) -> ToSqlOutput<'a> {
    value.map_or(ToSqlOutput::Borrowed(ValueRef::Null), form)
}
