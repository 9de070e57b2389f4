//! Owns the statements over rows in a file.
//!
//! Invariant: every statement finds its rows by an index, but for the sums at opening (a test asks SQLite for its plan of each). Must not
//! know a rule.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{CachedStatement, Connection, Params, Row, params, params_from_iter};

use super::failure::failure;
use super::record;
use super::schema;
use crate::job::{GroupSettings, JobId, Queue, Status};
use crate::store::entry::Entry;
use crate::store::rows::{Counter, Index, Loaded, Order, Rows, Tally};
use crate::store::view::Place;
use crate::store::{Error, ErrorKind, Result, Timestamp};

#[derive(Debug)]
pub(in crate::store) struct SqliteRows {
    connection: Connection,
    insert: String,
    update: String,
    entry: String,
    ready: String,
    columns: String,
    /// Those with a worker, who will ask for them soon: as many as the limits of all groups let be.
    leased: HashMap<JobId, Entry>,
}

const SPEC: &str = "SELECT text FROM specs WHERE sequence = ?1";
const KEYED: &str = "SELECT id FROM jobs WHERE key = ?1";
/// The first of the priorities below one.
const HEAD: &str = "SELECT priority, sequence, created FROM jobs \
    WHERE spot = 0 AND queue = ?1 AND lane = ?2 AND priority < ?3 ORDER BY priority DESC, sequence LIMIT 1";
const FIRST: &str =
    "SELECT time, id FROM jobs WHERE spot = ?1 AND time IS NOT NULL ORDER BY time, id LIMIT 1";
const OLDEST: &str = "SELECT created, id FROM jobs WHERE status = ?1 ORDER BY sequence LIMIT 1";
/// Leases are few: as many as the limits of all groups let be.
const LEASED_BY: &str =
    "SELECT id FROM jobs WHERE spot = 2 AND time IS NOT NULL AND worker = ?1 ORDER BY time, id";
const INSERT_SPEC: &str = "INSERT INTO specs (sequence, text) VALUES (?1, ?2)";
const REMOVE: &str = "DELETE FROM jobs WHERE sequence = ?1";
const REMOVE_SPEC: &str = "DELETE FROM specs WHERE sequence = ?1";
const PUT_GROUP: &str = "INSERT INTO groups (name, settings) VALUES (?1, ?2) \
    ON CONFLICT (name) DO UPDATE SET settings = excluded.settings";
const REMOVE_GROUP: &str = "DELETE FROM groups WHERE name = ?1";
const RESERVE: &str = "INSERT INTO counters (name, value) VALUES (?1, ?2) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const PUT_STATS: &str = "INSERT INTO stats (entity, instance, until, json) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (entity, instance) DO UPDATE SET until = excluded.until, json = excluded.json";
const STATS: &str = "SELECT instance, json FROM stats WHERE entity = ?1 AND until > ?2 ORDER BY instance";
const OLD_STATS: &str = "DELETE FROM stats WHERE entity = ?1 AND until <= ?2";

/// What jobs have in common that are counted together.
#[derive(PartialEq, Eq, Hash)]
struct Kind {
    group: String,
    status: String,
    lane: Option<(String, String, i64)>,
}

impl SqliteRows {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let connection = schema::open(path)?;
        let columns = record::columns();
        // As the index has it.
        let entry = format!(
            "SELECT {columns} FROM jobs \
            WHERE substr(id, 5) || substr(id, 1, 4) = substr(?1, 5) || substr(?1, 1, 4)"
        );
        let ready = format!(
            "SELECT {columns} FROM jobs WHERE spot = 0 AND queue = ?1 AND lane = ?2 \
            ORDER BY priority DESC, sequence LIMIT 1"
        );
        let (insert, update, leased) = (record::insert(), record::update(), HashMap::new());
        Ok(Self { connection, insert, update, entry, ready, columns, leased })
    }

    pub(super) fn begin(&mut self) -> Result<()> {
        self.execute("BEGIN", []).map(drop)
    }

    pub(super) fn commit(&mut self) -> Result<()> {
        self.execute("COMMIT", []).map(drop)
    }

    /// Undoes all since [`Self::begin`].
    pub(super) fn undo(&mut self) {
        self.leased.clear();
        // Without a transaction it is undone already.
        if self.in_transaction()
            && let Err(error) = self.execute("ROLLBACK", [])
        {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot be undone");
        }
    }

    pub(super) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql).map_err(failure("preparing a statement"))
    }

    fn execute(&self, sql: &str, values: impl Params) -> Result<usize> {
        self.prepare(sql)?.execute(values).map_err(failure("writing to the store"))
    }

    fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.prepare(sql)?;
        let reading = || failure("reading the store");
        let mut rows = statement.query(values).map_err(reading())?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(reading())? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.all(sql, values, read)?.pop())
    }

    fn scan_of(&self, index: Index<'_>) -> String {
        let which = match index {
            Index::All => "",
            Index::Status(_) => "status = ?3 AND ",
            Index::Group(_) => "group_name = ?3 AND ",
        };
        let columns = &self.columns;
        format!("SELECT {columns} FROM jobs WHERE {which}sequence < ?1 ORDER BY sequence DESC LIMIT ?2")
    }

    fn tallies(&self) -> Result<Vec<Tally>> {
        // Counted here: SQLite would sort them all first.
        let mut counts = HashMap::<Kind, u64>::new();
        self.all("SELECT group_name, status, queue, lane, spot FROM jobs", [], |row| {
            let [group, status] = [record::column(row, 0)?, record::column(row, 1)?];
            let queue: Option<String> = record::column(row, 2)?;
            let lane = queue.map(|queue| Ok((queue, record::column(row, 3)?, record::column(row, 4)?)));
            *counts.entry(Kind { group, status, lane: lane.transpose()? }).or_default() += 1;
            Ok(())
        })?;
        let unknown = || Error::new(ErrorKind::Broken, "a status or queue that no job can have");
        let tally = |(kind, count): (Kind, u64)| {
            let status = Status::from_code(&kind.status)?;
            let lane = match kind.lane {
                Some((queue, lane, spot)) => Some((Queue::from_code(&queue)?, lane, record::spot(spot)?)),
                None => None,
            };
            Some(Tally { group: kind.group, status, lane, count })
        };
        counts.into_iter().map(|counted| tally(counted).ok_or_else(unknown)).collect()
    }

    fn counter(&self, counter: Counter) -> Result<u64> {
        let value = self.one("SELECT value FROM counters WHERE name = ?1", [name(counter)], |row| {
            record::unsigned(row, 0)
        })?;
        Ok(value.unwrap_or(0))
    }
}

impl Rows for SqliteRows {
    fn entry(&mut self, id: &JobId) -> Result<Option<Entry>> {
        if let Some(entry) = self.leased.get(id) {
            return Ok(Some(entry.clone()));
        }
        self.one(&self.entry, [id.as_str()], record::entry)
    }

    fn spec(&mut self, entry: &Entry) -> Result<String> {
        let text = self.one(SPEC, [record::number(entry.sequence)], |row| record::column(row, 0))?;
        text.ok_or_else(|| Error::new(ErrorKind::Broken, format!("{} is not there", entry.id)))
    }

    fn insert(&mut self, entry: &Entry, spec: &str) -> Result<()> {
        self.execute(&self.insert, params_from_iter(record::values(entry)))?;
        self.execute(INSERT_SPEC, params![record::number(entry.sequence), spec]).map(drop)
    }

    fn update(&mut self, before: &Entry, after: &Entry) -> Result<()> {
        if matches!(after.place, Place::Leased(..)) {
            self.leased.insert(after.id.clone(), after.clone());
        } else if matches!(before.place, Place::Leased(..)) {
            self.leased.remove(&before.id);
        }
        self.execute(&self.update, params_from_iter(record::moving(after))).map(drop)
    }

    fn remove(&mut self, entry: &Entry) -> Result<()> {
        self.execute(REMOVE, [record::number(entry.sequence)])?;
        self.execute(REMOVE_SPEC, [record::number(entry.sequence)]).map(drop)
    }

    fn keyed(&mut self, key: &str) -> Result<Option<JobId>> {
        self.one(KEYED, [key], |row| id(row, 0))
    }

    fn ready(&mut self, queue: Queue, lane: &str) -> Result<Option<Entry>> {
        self.one(&self.ready, [queue.code(), lane], record::entry)
    }

    fn oldest_ready(&mut self, queue: Queue, lane: &str) -> Result<Option<Timestamp>> {
        let mut oldest: Option<(u64, u64)> = None;
        let mut below = i64::MAX;
        while let Some((priority, head)) = self.one(HEAD, params![queue.code(), lane, below], |row| {
            Ok((record::column(row, 0)?, (record::unsigned(row, 1)?, record::unsigned(row, 2)?)))
        })? {
            below = priority;
            oldest = oldest.into_iter().chain([head]).min();
        }
        Ok(oldest.map(|(_, created)| Timestamp(created)))
    }

    fn first(&mut self, order: Order) -> Result<Option<(Timestamp, JobId)>> {
        let spot = match order {
            Order::Delayed => 1,
            Order::Leased => 2,
            Order::Settled => 3,
        };
        self.one(FIRST, [spot], timed)
    }

    fn oldest(&mut self, status: Status) -> Result<Option<(Timestamp, JobId)>> {
        self.one(OLDEST, [status.code()], timed)
    }

    fn leased_by(&mut self, worker: &str) -> Result<Vec<JobId>> {
        self.all(LEASED_BY, [worker], |row| id(row, 0))
    }

    fn scan(&mut self, index: Index<'_>, before: u64, most: usize) -> Result<Vec<Entry>> {
        let sql = self.scan_of(index);
        let (before, most) = (record::number(before), i64::try_from(most).unwrap_or(i64::MAX));
        match index {
            Index::All => self.all(&sql, params![before, most], record::entry),
            Index::Status(status) => self.all(&sql, params![before, most, status.code()], record::entry),
            Index::Group(group) => self.all(&sql, params![before, most, group], record::entry),
        }
    }

    fn put_group(&mut self, name: &str, settings: Option<&GroupSettings>) -> Result<()> {
        let Some(settings) = settings else { return self.execute(REMOVE_GROUP, [name]).map(drop) };
        let unwritable = |error| Error::new(ErrorKind::Broken, "settings without a form").with(error);
        let text = serde_json::to_string(settings).map_err(unwritable)?;
        self.execute(PUT_GROUP, [name, &text]).map(drop)
    }

    fn load(&mut self) -> Result<Loaded> {
        let groups = self.all("SELECT name, settings FROM groups", [], |row| {
            let (name, text): (String, String) = (record::column(row, 0)?, record::column(row, 1)?);
            let broken =
                |error| Error::new(ErrorKind::Broken, format!("the settings of {name:?}")).with(error);
            let settings = serde_json::from_str(&text).map_err(broken)?;
            Ok((name, settings))
        })?;
        Ok(Loaded {
            groups,
            tallies: self.tallies()?,
            sequence: self.counter(Counter::Sequence)?,
            token: self.counter(Counter::Token)?,
        })
    }

    fn reserve(&mut self, counter: Counter, upto: u64) -> Result<()> {
        self.execute(RESERVE, params![name(counter), record::number(upto)]).map(drop)
    }

    fn put_stats(&mut self, entity: &str, instance: &str, json: &str, until: Timestamp) -> Result<()> {
        self.execute(PUT_STATS, params![entity, instance, record::number(until.0), json]).map(drop)
    }

    fn stats(&mut self, entity: &str, now: Timestamp) -> Result<Vec<(String, String)>> {
        let now = record::number(now.0);
        self.execute(OLD_STATS, params![entity, now])?;
        self.all(STATS, params![entity, now], |row| Ok((record::column(row, 0)?, record::column(row, 1)?)))
    }

    /// Writes: a full disk would let itself be read.
    fn check(&mut self) -> Result<()> {
        let now = self.counter(Counter::Token)?;
        self.reserve(Counter::Token, now)
    }
}

fn name(counter: Counter) -> &'static str {
    match counter {
        Counter::Sequence => "sequence",
        Counter::Token => "token",
    }
}

fn timed(row: &Row<'_>) -> Result<(Timestamp, JobId)> {
    Ok((Timestamp(record::unsigned(row, 0)?), id(row, 1)?))
}

fn id(row: &Row<'_>, at: usize) -> Result<JobId> {
    let text: String = record::column(row, at)?;
    text.parse().map_err(|error| Error::new(ErrorKind::Broken, format!("{text:?} as a job's id")).with(error))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::job::{Settings, Spec, Submission};
    use crate::store::ledger::Ledger;
    use crate::store::{Claim, Clock, Policy};

    fn rows() -> (TempDir, SqliteRows) {
        let folder = TempDir::new().expect("a folder");
        let rows = SqliteRows::open(&folder.path().join("jobs.db")).expect("open");
        (folder, rows)
    }

    #[test]
    fn every_statement_finds_its_rows_by_an_index() {
        let (_folder, rows) = rows();
        let group = Index::Group("g");
        let status = Index::Status(Status::ALL[0]);
        let scans = [Index::All, status, group].map(|index| rows.scan_of(index));
        let mut statements = vec![rows.update.clone(), rows.entry.clone(), rows.ready.clone()];
        statements.extend(scans);
        let fixed = [
            SPEC,
            KEYED,
            HEAD,
            FIRST,
            OLDEST,
            LEASED_BY,
            REMOVE,
            REMOVE_SPEC,
            REMOVE_GROUP,
            STATS,
            OLD_STATS,
        ];
        statements.extend(fixed.map(str::to_owned));
        for sql in statements {
            let mut statement = rows.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(&sql);
            for at in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(at, 1).expect("bound");
            }
            let mut plan = Vec::new();
            let mut steps = statement.raw_query();
            while let Some(step) = steps.next().expect("a plan") {
                plan.push(step.get::<_, String>(3).expect("a text"));
            }
            let searches = plan.iter().any(|step| step.contains("SEARCH"));
            let all = rows.scan_of(Index::All) == sql; // by number, from the newest on
            assert!(searches || all, "{sql}: {plan:?}");
            let bad = |step: &String| step.contains("SCAN jobs") || step.contains("TEMP B-TREE");
            assert!(!plan.iter().any(bad), "{sql}: {plan:?}");
        }
    }

    /// A rolling upgrade: what a newer program took in waits for it, and is not in the way.
    #[test]
    fn a_record_of_a_newer_version_is_left_to_others() {
        let (_folder, rows) = rows();
        let clock = Clock::manual(Timestamp(5));
        let mut ledger = Ledger::open(rows, Policy::default(), clock.clone()).expect("open");
        let limit = std::num::NonZeroU32::MIN;
        let ids = [1, 2].map(|byte| JobId::from_bytes([byte; 10]));
        let batch = ids.clone().map(|id| {
            let settings = Settings { limit, proxy: None };
            (id, Submission { spec: Spec::new("http://h/", "g"), settings })
        });
        ledger.submit(&batch).expect("taken in");
        let newer = r#"{"version":9,"how":"unknown"}"#;
        let rows = ledger.rows();
        rows.execute("UPDATE specs SET text = ?1 WHERE sequence = 1", [newer]).expect("written");
        let claimed = ledger.claim(&Claim::new(Queue::Downloads, "w", 9)).expect("claimed");
        assert_eq!(claimed.work.into_iter().map(|work| work.lease.id).collect::<Vec<_>>(), ids[1..]);
        let left = ledger.rows().entry(&ids[0]).expect("read").expect("there");
        assert_eq!(ledger.rows().spec(&left).expect("there"), newer);
        assert_eq!(
            ledger.rows().first(Order::Delayed).expect("read"),
            Some((Timestamp(60_005), ids[0].clone()))
        );
    }

    #[test]
    fn a_newer_file_is_refused_and_left_as_it_is() {
        let (folder, rows) = rows();
        rows.connection.pragma_update(None, "user_version", 99).expect("set");
        drop(rows);
        let path = folder.path().join("jobs.db");
        let refused = SqliteRows::open(&path).expect_err("refused");
        assert_eq!(refused.kind(), ErrorKind::Broken);
        assert!(refused.to_string().contains("version 99"), "{refused}");
        let again = SqliteRows::open(&path).expect_err("refused again");
        assert!(again.to_string().contains("version 99"), "{again}");
    }
}
