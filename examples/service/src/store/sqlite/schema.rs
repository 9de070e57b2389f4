//! Owns the tables, and the way to an open file.
//!
//! Invariant: a file that is open is ours alone, and of the version that this program writes. Must not know what rows mean.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::failure::{failure, is_taken};
use crate::store::{Error, ErrorKind, Result};

/// The version of the tables that is written. A newer one is left alone; each older one gets a step that makes it the next.
const VERSION: i64 = 1;
/// The mark of our files in the header of SQLite: "dlsv".
const MARK: i64 = 0x646c_7376;

/// Specifications lie apart: they never change, and the rows that do are so much smaller. Ids are in order of the time in them, which
/// follows their first four characters: those of a second lie side by side, and what is taken in changes few pages of their index, however
/// many jobs there are.
const TABLES: &str = "
CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    group_name TEXT NOT NULL,
    lane TEXT NOT NULL,
    priority INTEGER NOT NULL,
    notify INTEGER NOT NULL,
    key TEXT,
    fingerprint TEXT NOT NULL,
    created INTEGER NOT NULL,
    status TEXT NOT NULL,
    queue TEXT,
    spot INTEGER NOT NULL,
    time INTEGER,
    token INTEGER,
    worker TEXT,
    downloads INTEGER NOT NULL,
    callbacks INTEGER NOT NULL,
    removals INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    error TEXT NOT NULL,
    ending TEXT,
    site TEXT,
    done INTEGER,
    total INTEGER,
    ended INTEGER
) STRICT;
CREATE UNIQUE INDEX by_id ON jobs (substr(id, 5) || substr(id, 1, 4));
CREATE UNIQUE INDEX by_key ON jobs (key) WHERE key IS NOT NULL;
CREATE INDEX by_turn ON jobs (queue, lane, priority DESC) WHERE spot = 0;
CREATE INDEX by_time ON jobs (spot, time, id) WHERE time IS NOT NULL;
CREATE INDEX by_status ON jobs (status);
CREATE INDEX by_group ON jobs (group_name);
CREATE TABLE specs (sequence INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE groups (name TEXT PRIMARY KEY, settings TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE stats (
    entity TEXT NOT NULL,
    instance TEXT NOT NULL,
    until INTEGER NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (entity, instance)
) STRICT, WITHOUT ROWID;
";

/// Opens the file, or makes it.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let shown = path.display();
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(failure(format!("opening the store {shown}")))?;
    prepare(&connection).map_err(|error| {
        if is_taken(&error) {
            let what = format!("the store {shown} is open already, here or in another process");
            return Error::new(ErrorKind::Unavailable, what).with(error);
        }
        failure(format!("opening the store {shown}"))(error)
    })?;
    let number = |name: &str| {
        let read = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        read.map_err(failure(format!("reading {shown}")))
    };
    match (number("application_id")?, number("user_version")?) {
        (MARK, VERSION) => Ok(connection),
        (0, 0) if number("page_count")? <= 1 => {
            create(connection).map_err(failure(format!("making {shown}")))
        }
        (MARK, newer) if newer > VERSION => {
            let what = format!("the store {shown} is of version {newer}, which this program does not know");
            Err(Error::new(ErrorKind::Broken, what))
        }
        _ => Err(Error::new(ErrorKind::Broken, format!("{shown} is no store of this program"))),
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    // Otherwise a statement that compares a column of a partial index with a parameter is compiled again for every value of it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Nobody else may read either; in exchange there is no shared memory, and the lock is taken once, until the process ends, however.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Every transaction is on the disk before it counts: not only a killed process, but a lost power supply loses nothing.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // 4096 pages of 4 KiB are copied into the file at a time, so that pages that change often are copied once for many changes.
    connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -(32 << 10))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Takes the lock, if it was not needed so far.
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")
}

fn create(mut connection: Connection) -> rusqlite::Result<Connection> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", MARK)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(connection)
}
