//! Retention (OPS-15): runs, how far each has come, what it left and what it destroyed; legal holds; records that may be due.

pub mod candidates;
pub mod destroy;
pub mod holds;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, events, exactly_one, instant, number, opt_instant, opt_parsed, parsed, text};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, RetentionRunId};
use crate::model::retention::{Class, RecordKind, RecordState, RetentionReason, RetentionRunState};

/// Where a run has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The kind it is at.
    pub kind: RecordKind,
    /// The record that it has looked at last: when its row was made, in microseconds, and its id.
    pub behind: (i64, String),
}

impl Place {
    /// Before the first record of a kind.
    pub const fn before(kind: RecordKind) -> Self {
        Self { kind, behind: (i64::MIN, String::new()) }
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: RetentionRunId,
    /// Where it stands.
    pub state: RetentionRunState,
    /// The payer's local day as which everything is judged.
    pub day: Date,
    /// Who asked for it.
    pub asked_by: String,
    /// When.
    pub started_at: Timestamp,
    /// When it was done.
    pub done_at: Option<Timestamp>,
    /// How far it has come; `None`: through all records.
    pub place: Option<Place>,
    /// Counts its changes.
    pub version: i64,
}

/// A record that was destroyed.
#[derive(Debug, Clone)]
pub struct Destroyed {
    /// What it was.
    pub kind: RecordKind,
    /// Its id.
    pub subject: String,
    /// Its brand.
    pub brand: Brand,
    /// The run that destroyed it.
    pub run_id: RetentionRunId,
    /// Its class.
    pub class: Class,
    /// The first day on which it could be.
    pub due_on: Date,
    /// How far that is.
    pub state: RecordState,
    /// When it began.
    pub begun_at: Timestamp,
    /// When nothing was left.
    pub done_at: Option<Timestamp>,
}

/// How many records there are of a class and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The class.
    pub class: Class,
    /// Why they are destroyed, or are not.
    pub why: RetentionReason,
    /// How many.
    pub records: i64,
}

macro_rules! run {
    ($tail:literal) => {
        concat!(
            "SELECT id, state, day, asked_by, started_at, done_at, kind, place_at, place_id, version FROM retention_run ",
            $tail
        )
    };
}

macro_rules! record {
    ($tail:literal) => {
        concat!(
            "SELECT kind, subject, brand, run_id, class, due_on, state, begun_at, done_at FROM retention_record ",
            $tail
        )
    };
}

/// Begins a run. `None`: one is running.
///
/// # Errors
/// When the database fails.
pub async fn begin(conn: &mut Conn, stamp: Stamp<'_>, brand: &Brand, day: Date) -> Result<Option<Run>, DbError> {
    let id: RetentionRunId = stamp.new_id()?;
    let first = Place::before(RecordKind::FIRST);
    let made = sqlx::query(
        "INSERT INTO retention_run (id, state, day, asked_by, started_at, kind, place_at, place_id, version)
         VALUES ($1, 'running', $2, $3, $4, $5, $6, $7, 1) ON CONFLICT DO NOTHING",
    )
    .bind(id.as_str())
    .bind(day.to_string())
    .bind(stamp.actor)
    .bind(stamp.now())
    .bind(first.kind.as_str())
    .bind(first.behind.0)
    .bind(first.behind.1)
    .execute(&mut *conn)
    .await?;
    if made.rows_affected() == 0 {
        return Ok(None);
    }
    tell_run(conn, stamp, brand, &id, RetentionRunState::Running, json!({ "day": day })).await?;
    get(conn, &id).await
}

async fn tell_run(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    id: &RetentionRunId,
    state: RetentionRunState,
    payload: serde_json::Value,
) -> Result<(), DbError> {
    let kind = EventType::RetentionRun(state);
    let event = NewEvent { kind, subject: id.as_str(), brand, tin_uid: None, actor: stamp.actor, payload };
    events::append(conn, stamp, event).await
}

/// The run of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &RetentionRunId) -> Result<Option<Run>, DbError> {
    let row = sqlx::query(run!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read_run).transpose()
}

/// The run that is not done.
///
/// # Errors
/// When the database fails.
pub async fn running(conn: &mut Conn) -> Result<Option<Run>, DbError> {
    let row = sqlx::query(run!("WHERE state = 'running'")).fetch_optional(conn).await?;
    row.as_ref().map(read_run).transpose()
}

/// Runs, newest first, behind `before` (start in microseconds, id).
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut Conn, before: Option<(i64, &RetentionRunId)>, limit: i64) -> Result<Vec<Run>, DbError> {
    let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (at, id.as_str()));
    let rows = sqlx::query(run!("WHERE (started_at, id) < ($1, $2) ORDER BY started_at DESC, id DESC LIMIT $3"))
        .bind(at)
        .bind(id)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_run).collect()
}

/// Keeps how far a run has come, and what it left on the way there.
///
/// # Errors
/// [`DbError::Stale`] when another node brought it further.
pub async fn advance(conn: &mut Conn, run: &Run, to: Option<&Place>, left: &[Count]) -> Result<(), DbError> {
    let place = to.cloned().unwrap_or_else(|| Place::before(RecordKind::FIRST));
    let done = sqlx::query(
        "UPDATE retention_run SET kind = $1, place_at = $2, place_id = $3, version = version + 1
         WHERE id = $4 AND version = $5 AND state = 'running'",
    )
    .bind(to.map(|place| place.kind.as_str()))
    .bind(place.behind.0)
    .bind(place.behind.1)
    .bind(run.id.as_str())
    .bind(run.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "run")?;
    for count in left {
        sqlx::query(
            "INSERT INTO retention_left (run_id, class, why, records) VALUES ($1, $2, $3, $4)
             ON CONFLICT (run_id, class, why) DO UPDATE SET records = retention_left.records + excluded.records",
        )
        .bind(run.id.as_str())
        .bind(count.class.to_string())
        .bind(count.why.as_str())
        .bind(count.records)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Ends a run that has been through all records.
///
/// # Errors
/// [`DbError::Stale`] when another node was first.
pub async fn end(conn: &mut Conn, stamp: Stamp<'_>, brand: &Brand, run: &Run) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE retention_run SET state = 'done', done_at = $1, version = version + 1
         WHERE id = $2 AND version = $3 AND state = 'running' AND kind IS NULL",
    )
    .bind(stamp.now())
    .bind(run.id.as_str())
    .bind(run.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "run")?;
    let records: i64 =
        counts(conn, &run.id).await?.iter().filter(|n| n.why == RetentionReason::Due).map(|n| n.records).sum();
    tell_run(conn, stamp, brand, &run.id, RetentionRunState::Done, json!({ "destroyed": records })).await
}

/// What a run destroyed and what it left, by class and reason.
///
/// # Errors
/// When the database fails.
pub async fn counts(conn: &mut Conn, run: &RetentionRunId) -> Result<Vec<Count>, DbError> {
    let rows = sqlx::query(
        "SELECT class, 'due' AS why, COUNT(*) AS records FROM retention_record WHERE run_id = $1 GROUP BY class
         UNION ALL SELECT class, why, records FROM retention_left WHERE run_id = $1 ORDER BY 1, 2",
    )
    .bind(run.as_str())
    .fetch_all(conn)
    .await?;
    let read = |row: &AnyRow| {
        Ok(Count { class: parsed(row, "class")?, why: parsed(row, "why")?, records: number(row, "records")? })
    };
    rows.iter().map(read).collect()
}

/// Keeps that the destruction of a record has begun, with its event: ids, class and day only. False when it had.
///
/// # Errors
/// When the database fails.
pub async fn put_record(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    of: (RecordKind, &str, &Brand),
    run: &RetentionRunId,
    (class, due_on): (Class, Date),
) -> Result<bool, DbError> {
    let (kind, subject, brand) = of;
    let done = sqlx::query(
        "INSERT INTO retention_record (kind, subject, brand, run_id, class, due_on, state, begun_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'destroying', $7) ON CONFLICT DO NOTHING",
    )
    .bind(kind.as_str())
    .bind(subject)
    .bind(brand.as_str())
    .bind(run.as_str())
    .bind(class.to_string())
    .bind(due_on.to_string())
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let event = NewEvent {
        kind: EventType::RecordDestroyed,
        subject,
        brand,
        tin_uid: None,
        actor: stamp.actor,
        payload: json!({ "kind": kind, "class": class, "due_on": due_on, "run": run }),
    };
    events::append(conn, stamp, event).await?;
    Ok(true)
}

/// Keeps that nothing of a record is left. What is said twice changes nothing.
///
/// # Errors
/// When the database fails.
pub async fn end_record(conn: &mut Conn, stamp: Stamp<'_>, kind: RecordKind, subject: &str) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE retention_record SET state = 'done', done_at = $1
         WHERE kind = $2 AND subject = $3 AND state = 'destroying'",
    )
    .bind(stamp.now())
    .bind(kind.as_str())
    .bind(subject)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records of a run whose destruction has begun and not ended, behind a place (kind, id).
///
/// # Errors
/// When the database fails.
pub async fn begun(
    conn: &mut Conn,
    run: &RetentionRunId,
    behind: (&str, &str),
    limit: i64,
) -> Result<Vec<Destroyed>, DbError> {
    let rows = sqlx::query(record!(
        "WHERE run_id = $1 AND state = 'destroying' AND (kind, subject) > ($2, $3) ORDER BY kind, subject LIMIT $4"
    ))
    .bind(run.as_str())
    .bind(behind.0)
    .bind(behind.1)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_record).collect()
}

/// What a run destroyed, as it came, behind a place (begin in microseconds, id).
///
/// # Errors
/// When the database fails.
pub async fn records(
    conn: &mut Conn,
    run: &RetentionRunId,
    behind: Option<(i64, &str)>,
    limit: i64,
) -> Result<Vec<Destroyed>, DbError> {
    let (at, id) = behind.unwrap_or((i64::MIN, ""));
    let rows = sqlx::query(record!(
        "WHERE run_id = $1 AND (begun_at, subject) > ($2, $3) ORDER BY begun_at, subject LIMIT $4"
    ))
    .bind(run.as_str())
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_record).collect()
}

fn read_run(row: &AnyRow) -> Result<Run, DbError> {
    let behind = (number(row, "place_at")?, text(row, "place_id")?);
    Ok(Run {
        id: parsed(row, "id")?,
        state: parsed(row, "state")?,
        day: parsed(row, "day")?,
        asked_by: text(row, "asked_by")?,
        started_at: instant(row, "started_at")?,
        done_at: opt_instant(row, "done_at")?,
        place: opt_parsed(row, "kind")?.map(|kind| Place { kind, behind }),
        version: number(row, "version")?,
    })
}

fn read_record(row: &AnyRow) -> Result<Destroyed, DbError> {
    Ok(Destroyed {
        kind: parsed(row, "kind")?,
        subject: text(row, "subject")?,
        brand: parsed(row, "brand")?,
        run_id: parsed(row, "run_id")?,
        class: parsed(row, "class")?,
        due_on: parsed(row, "due_on")?,
        state: parsed(row, "state")?,
        begun_at: instant(row, "begun_at")?,
        done_at: opt_instant(row, "done_at")?,
    })
}
