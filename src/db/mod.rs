//! The only SQL. Free functions that take the caller's connection, so that a state change, its posting, its
//! event and the next work commit together, whoever makes it.
//!
//! One text serves SQLite and PostgreSQL; the real forks are opening ([`Db::open`]) and claiming
//! ([`work::claim`]). There are no repository traits: they would repeat every signature and hide the
//! transaction.

pub mod backups;
pub mod batches;
pub mod case_files;
pub mod contents;
pub mod deliveries;
pub mod digest_choices;
pub mod digest_mails;
pub mod digest_plans;
pub mod digest_runs;
pub mod documents;
pub mod envelopes;
pub mod events;
mod faults;
pub mod fax_jobs;
pub mod fill;
pub mod glance;
pub mod idempotency;
pub mod keys;
pub mod leases;
pub mod ledger;
pub mod letter_upkeep;
pub mod letters;
pub mod messages;
pub mod notifications;
pub mod outgoing;
pub mod paper_tasks;
pub mod reference;
pub mod retention;
pub mod returns;
pub mod routing;
pub mod schedules;
pub mod search;
pub mod sources;
pub mod standing;
pub mod status_details;
pub mod submissions;
pub mod suppressions;
pub mod tasks;
pub mod uploads;
pub mod users;
pub mod work;

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::migrate::Migrator;
use sqlx::{Any, AnyPool, Connection, Executor, Row, Transaction};
use thiserror::Error;

use crate::outside::context::Context;

pub use faults::{Fault, answered};

/// A connection, inside a transaction or not.
pub type Conn = sqlx::AnyConnection;
/// A transaction that writes.
pub type Tx = Transaction<'static, Any>;

/// How long PostgreSQL waits for a lock.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '10s'";

static MIGRATIONS: Migrator = sqlx::migrate!("src/db/migrations");

/// The oldest schema version whose readers still understand this one's rows (expand first, contract later).
const OLDEST_READER: &str = "1";

/// Under this name and a node's, the hash of the plan that the node runs is kept.
pub const PLAN_PREFIX: &str = "plan.";

/// Which database lies beneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// SQLite, embedded.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// What went wrong with the database.
#[derive(Debug, Error)]
pub enum DbError {
    /// It does not answer, is locked, full or restarting: worth another try.
    #[error("the database can't be used now: {0}")]
    Unavailable(Fault, #[source] sqlx::Error),
    /// The row is no longer in the state that the change began from: somebody else was first.
    #[error("the {what} has changed meanwhile")]
    Stale {
        /// What was to be changed.
        what: &'static str,
    },
    /// A change of state that the model does not know.
    #[error("a {what} can't go from {from} to {to}")]
    Transition {
        /// What was to be changed.
        what: &'static str,
        /// The state it is in.
        from: &'static str,
        /// The state asked for.
        to: &'static str,
    },
    /// A stored value can't be read back.
    #[error("column {column} holds what this version can't read")]
    Unreadable {
        /// The column, never its value.
        column: &'static str,
    },
    /// The schema could not be brought up, or is newer than this program.
    #[error("the schema can't be used: {0}")]
    Schema(String),
    /// A fault of a statement.
    #[error("the database refused a statement")]
    Statement(#[source] sqlx::Error),
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match Fault::of(&error) {
            Some(fault) => {
                // counted here, where each passes once, whoever asked and whatever is made of it
                metrics::counter!("lettercase_database_faults_total", "fault" => fault.as_str()).increment(1);
                Self::Unavailable(fault, error)
            }
            None => Self::Statement(error),
        }
    }
}

impl DbError {
    /// What stands in the way for now, and not by the statement's fault.
    pub const fn fault(&self) -> Option<Fault> {
        match self {
            Self::Unavailable(fault, _) => Some(*fault),
            _ => None,
        }
    }

    /// Whether two transactions stood in each other's way: trying again at once can help.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Stale { .. }) || self.fault() == Some(Fault::Conflict)
    }

    /// Whether trying again later can help.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(..) | Self::Stale { .. })
    }
}

/// An open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    writer: AnyPool,
    reader: AnyPool,
    flavor: Flavor,
}

impl Db {
    /// Opens `sqlite:PATH` or `postgres://…`. SQLite gets one writing connection, WAL and full fsync: what a
    /// caller was told is durable.
    ///
    /// # Errors
    /// When the address is of neither kind or the database can't be reached.
    pub async fn open(url: &str) -> Result<Self, DbError> {
        sqlx::any::install_default_drivers();
        let flavor = if url.starts_with("sqlite:") {
            Flavor::Sqlite
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Flavor::Postgres
        } else {
            return Err(DbError::Schema("the database setting must begin with sqlite: or postgres:".into()));
        };
        let pool = |connections, setup: &'static [&'static str]| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(10))
                .after_connect(move |conn, _| {
                    Box::pin(async move {
                        for statement in setup {
                            conn.execute(*statement).await?;
                        }
                        Ok(())
                    })
                })
                // When SQLite is full it ends the transaction by itself. sqlx then counts one that can't be ended any
                // more, and the connection would begin no other: it is replaced.
                .before_acquire(|conn, _| Box::pin(async move { Ok(!conn.is_in_transaction()) }))
        };
        let (writer, reader) = match flavor {
            Flavor::Sqlite => {
                const WRITER: &[&str] = &[
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = FULL",
                    "PRAGMA busy_timeout = 10000",
                    "PRAGMA temp_store = MEMORY",
                    // 16 MiB for each connection that needs it: the upper pages of the indexes of millions of rows
                    "PRAGMA cache_size = -16384",
                ];
                const READER: &[&str] = &[
                    "PRAGMA busy_timeout = 10000",
                    "PRAGMA temp_store = MEMORY",
                    "PRAGMA cache_size = -16384",
                    "PRAGMA query_only = ON",
                ];
                let url = if url.contains('?') { url.to_owned() } else { format!("{url}?mode=rwc") };
                (pool(1, WRITER).connect(&url).await?, pool(4, READER).connect(&url).await?)
            }
            Flavor::Postgres => {
                // Pages of lists are cheap however dear their plans look: compiling one costs more than all of it.
                // A lock is waited for as long as SQLite's: a statement that waits holds a caller and a connection.
                const SETUP: &[&str] =
                    &["SET synchronous_commit = on", "SET statement_timeout = '60s'", LOCK_TIMEOUT, "SET jit = off"];
                let one = pool(16, SETUP).connect(url).await?;
                (one.clone(), one)
            }
        };
        Ok(Self { writer, reader, flavor })
    }

    /// Which database lies beneath.
    pub const fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// Begins a transaction that writes. On SQLite it takes the one write lock at once, so that no
    /// transaction fails half way for having begun as a reader.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        Ok(match self.flavor {
            Flavor::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await?,
            Flavor::Postgres => self.writer.begin().await?,
        })
    }

    /// The same, where all statements are to see the same rows: on SQLite they do anyway.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn begin_snapshot(&self) -> Result<Tx, DbError> {
        let mut tx = self.begin().await?;
        if self.flavor == Flavor::Postgres {
            sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute(&mut *tx).await?;
        }
        Ok(tx)
    }

    /// A connection to read with.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn read(&self) -> Result<sqlx::pool::PoolConnection<Any>, DbError> {
        Ok(self.reader.acquire().await?)
    }

    /// Brings the schema up to this program's.
    ///
    /// # Errors
    /// When a migration fails.
    pub async fn migrate(&self) -> Result<(), DbError> {
        // PostgreSQL lets one node migrate at a time. SQLite does not: who lost the race finds it done.
        let mut tries = if self.flavor == Flavor::Sqlite { 5 } else { 1 };
        while let Err(error) = self.run_migrations().await {
            tries -= 1;
            if tries == 0 {
                return Err(error);
            }
        }
        let mut tx = self.begin().await?;
        search::set_up(&mut tx).await?;
        set_installation(&mut tx, "oldest_reader", OLDEST_READER).await?;
        Ok(tx.commit().await?)
    }

    async fn run_migrations(&self) -> Result<(), DbError> {
        let mut conn = self.writer.acquire().await?;
        // another node's migration is waited for to its end
        if self.flavor == Flavor::Postgres {
            conn.execute("SET lock_timeout = 0").await?;
        }
        let done = MIGRATIONS.run(&mut *conn).await.map_err(|error| DbError::Schema(error.to_string()));
        if self.flavor == Flavor::Postgres {
            conn.execute(LOCK_TIMEOUT).await?;
        }
        done
    }

    /// Checks that it takes a write and keeps it: of this node, one row that is there for this alone.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check_write(&self, stamp: Stamp<'_>, node: &str) -> Result<(), DbError> {
        let mut tx = self.begin().await?;
        set_installation(&mut tx, &format!("probe.{node}"), &stamp.now().to_string()).await?;
        Ok(tx.commit().await?)
    }

    /// Checks that this program may work on the schema as it stands: its own, or a newer one that still
    /// serves readers as old as this program.
    ///
    /// # Errors
    /// When the schema is missing, older, or too new.
    pub async fn check_schema(&self) -> Result<(), DbError> {
        let mut conn = self.read().await?;
        let ours = MIGRATIONS.iter().map(|m| m.version).max().unwrap_or_default();
        let newest = sqlx::query("SELECT CAST(MAX(version) AS BIGINT) AS newest FROM _sqlx_migrations")
            .fetch_optional(&mut *conn)
            .await;
        let found = there(newest.map_err(DbError::from))?.flatten();
        let found: Option<i64> = found.and_then(|row| row.try_get("newest").ok());
        let oldest = there(installation(&mut conn, "oldest_reader").await)?.flatten();
        let oldest = oldest.and_then(|v| v.parse::<i64>().ok());
        match (found, oldest) {
            (None, _) => Err(DbError::Schema("it is empty; run `lettercase migrate`".into())),
            (Some(found), _) if found < ours => Err(DbError::Schema(format!(
                "it is at version {found}, this program needs {ours}; run `lettercase migrate`"
            ))),
            (Some(found), Some(oldest)) if oldest > ours => Err(DbError::Schema(format!(
                "it is at version {found} and serves no program older than schema {oldest}; this one knows {ours}"
            ))),
            _ => Ok(()),
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }
}

/// What a table says, if it is there. That the database can't be used now is not taken for an empty one.
fn there<T>(found: Result<T, DbError>) -> Result<Option<T>, DbError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error @ DbError::Unavailable(..)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Who writes, and when: given to every function that leaves a trace.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Clock and ids.
    pub ctx: &'a Context,
    /// Who does it.
    pub actor: &'a str,
}

impl Stamp<'_> {
    /// The instant now, as it is stored.
    pub fn now(&self) -> i64 {
        self.ctx.now().as_microsecond()
    }

    /// An id that is given to nothing else.
    ///
    /// # Errors
    /// When such an id is none of the kind that is asked for.
    pub fn new_id<T: FromStr>(&self) -> Result<T, DbError> {
        self.ctx.new_id().parse().map_err(|_| DbError::Unreadable { column: "id" })
    }

    /// The instant `wait` from now, as it is stored.
    pub fn after(&self, wait: Duration) -> i64 {
        self.now().saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Reads a value that the installation keeps about itself.
///
/// # Errors
/// When the database fails.
pub async fn installation(conn: &mut Conn, name: &str) -> Result<Option<String>, DbError> {
    let row = sqlx::query("SELECT value FROM installation WHERE name = $1").bind(name).fetch_optional(conn).await?;
    row.map(|row| text(&row, "value")).transpose()
}

/// Reads the values whose names begin with `prefix`, which holds no wildcard.
///
/// # Errors
/// When the database fails.
pub async fn installation_like(conn: &mut Conn, prefix: &str) -> Result<Vec<(String, String)>, DbError> {
    let rows = sqlx::query("SELECT name, value FROM installation WHERE name LIKE $1 ORDER BY name")
        .bind(format!("{prefix}%"))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((text(row, "name")?, text(row, "value")?))).collect()
}

/// Keeps a value about the installation.
///
/// # Errors
/// When the database fails.
pub async fn set_installation(conn: &mut Conn, name: &str, value: &str) -> Result<(), DbError> {
    sqlx::query("INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(value)
        .execute(conn)
        .await?;
    Ok(())
}

fn text(row: &AnyRow, column: &'static str) -> Result<String, DbError> {
    row.try_get(column).map_err(|_| DbError::Unreadable { column })
}

fn opt_text(row: &AnyRow, column: &'static str) -> Result<Option<String>, DbError> {
    row.try_get(column).map_err(|_| DbError::Unreadable { column })
}

fn number(row: &AnyRow, column: &'static str) -> Result<i64, DbError> {
    row.try_get(column).map_err(|_| DbError::Unreadable { column })
}

fn opt_number(row: &AnyRow, column: &'static str) -> Result<Option<i64>, DbError> {
    row.try_get(column).map_err(|_| DbError::Unreadable { column })
}

fn parsed<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<T, DbError> {
    text(row, column)?.parse().map_err(|_| DbError::Unreadable { column })
}

fn opt_parsed<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<Option<T>, DbError> {
    opt_text(row, column)?.map(|v| v.parse().map_err(|_| DbError::Unreadable { column })).transpose()
}

fn instant(row: &AnyRow, column: &'static str) -> Result<Timestamp, DbError> {
    Timestamp::from_microsecond(number(row, column)?).map_err(|_| DbError::Unreadable { column })
}

fn opt_instant(row: &AnyRow, column: &'static str) -> Result<Option<Timestamp>, DbError> {
    opt_number(row, column)?
        .map(|micros| Timestamp::from_microsecond(micros).map_err(|_| DbError::Unreadable { column }))
        .transpose()
}

/// Codes joined by blanks. One that only a newer version knows counts as absent: rights that this one can't judge are
/// not given.
fn code_set<T: FromStr + Ord>(row: &AnyRow, column: &'static str) -> Result<BTreeSet<T>, DbError> {
    Ok(text(row, column)?.split_whitespace().filter_map(|code| code.parse().ok()).collect())
}

/// So many copies of `form`, joined by commas; each `$` of it gets the next number, from `first`.
fn places(copies: usize, first: usize, form: &str) -> String {
    let mut text = String::new();
    let mut number = first;
    for copy in 0..copies {
        if copy > 0 {
            text.push_str(", ");
        }
        for c in form.chars() {
            text.push(c);
            if c == '$' {
                text.push_str(&number.to_string());
                number += 1;
            }
        }
    }
    text
}

/// The rows with the last repeated up to a round number: so there are few texts of a statement, and their plans are kept.
fn padded<T: Clone>(rows: &[T]) -> Vec<T> {
    let mut padded = rows.to_vec();
    if let Some(last) = rows.last() {
        padded.resize(rows.len().next_power_of_two(), last.clone());
    }
    padded
}

/// Exactly one row must have changed: otherwise somebody else was first.
fn exactly_one(result: &sqlx::any::AnyQueryResult, what: &'static str) -> Result<(), DbError> {
    if result.rows_affected() == 1 { Ok(()) } else { Err(DbError::Stale { what }) }
}
