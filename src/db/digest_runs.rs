//! Runs of schedules: opened once for each local period (OPS-11), held, skipped, listed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use sqlx::any::AnyRow;

use super::schedules::Schedule;
use super::{
    Conn, DbError, Stamp, code_set, exactly_one, instant, number, opt_instant, opt_parsed, opt_text, parsed, text,
};
use crate::db::events;
use crate::model::digest::{Cadence, RunKind, RunReason, RunState};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, RunId, ScheduleId};

/// What a run has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct RunCounts {
    /// Users who were looked at.
    pub users: i64,
    /// Mails that were made.
    pub mails: i64,
    /// What they tell of: one per practice and mail.
    pub items: i64,
    /// Letters and notices in them.
    pub letters: i64,
    /// Letters and notices that are told in none, for a reason.
    pub left_out: i64,
}

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Of which schedule.
    pub schedule: ScheduleId,
    /// Its brand.
    pub brand: Brand,
    /// The cadence of its schedule.
    pub cadence: Cadence,
    /// Why it was made.
    pub kind: RunKind,
    /// The local period: a day, 2026-11-23, or a week, 2026-W48.
    pub period: String,
    /// The local day that its mails are of (COR-33).
    pub day: Date,
    /// Where it stands.
    pub state: RunState,
    /// Whose choices it serves.
    pub serves: BTreeSet<Cadence>,
    /// The revision of the schedule that it came by.
    pub revision: i64,
    /// When it was to run.
    pub due_at: Timestamp,
    /// Why it was skipped or held.
    pub reason: Option<RunReason>,
    /// Users up to and with this one are planned.
    pub planned_to: Option<String>,
    /// What it has come to.
    pub counts: RunCounts,
    /// Who asked for it.
    pub asked_by: String,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When its mails were made.
    pub planned_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Counts its changes.
    pub version: i64,
}

/// A run to be opened.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// Of which schedule, by its revision in force.
    pub schedule: &'a Schedule,
    /// Why.
    pub kind: RunKind,
    /// The local period.
    pub period: &'a str,
    /// The local day that its mails are of.
    pub day: Date,
    /// Where it begins: planning, held or skipped.
    pub state: RunState,
    /// Why it is held or skipped.
    pub reason: Option<RunReason>,
    /// Whose choices it serves.
    pub serves: &'a BTreeSet<Cadence>,
    /// When it was to run.
    pub due_at: Timestamp,
}

/// Opens a run, with its event. `None`: that period has one, and nothing was changed.
///
/// # Errors
/// When the database fails.
pub async fn open(conn: &mut Conn, stamp: Stamp<'_>, new: &NewRun<'_>) -> Result<Option<RunId>, DbError> {
    let id: RunId = stamp.new_id()?;
    let ended = (new.state == RunState::Skipped).then(|| stamp.now());
    let done = sqlx::query(
        "INSERT INTO digest_run (id, schedule_id, brand, cadence, kind, period, day, state, serves, revision, due_at, reason,
                                 users, mails, items, letters, left_out, asked_by, created_at, ended_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, 0, 0, 0, $13, $14, $15, 1)
         ON CONFLICT DO NOTHING",
    )
    .bind(id.as_str())
    .bind(new.schedule.id.as_str())
    .bind(new.schedule.brand.as_str())
    .bind(new.schedule.cadence.as_str())
    .bind(new.kind.as_str())
    .bind(new.period)
    .bind(new.day.to_string())
    .bind(new.state.as_str())
    .bind(joined(new.serves))
    .bind(new.schedule.revision.revision)
    .bind(new.due_at.as_microsecond())
    .bind(new.reason.map(RunReason::as_str))
    .bind(stamp.actor)
    .bind(stamp.now())
    .bind(ended)
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    let payload = json!({
        "name": new.schedule.name,
        "kind": new.kind,
        "period": new.period,
        "day": new.day,
        "serves": new.serves,
        "reason": new.reason,
    });
    event(conn, stamp, (id.as_str(), &new.schedule.brand), new.state, payload).await?;
    Ok(Some(id))
}

/// Has a held run take place after all.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since it was read.
pub async fn approve(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    run: &Run,
    day: Date,
    serves: &BTreeSet<Cadence>,
) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE digest_run SET state = 'planning', day = $1, serves = $2, version = version + 1
         WHERE id = $3 AND version = $4 AND state = 'held'",
    )
    .bind(day.to_string())
    .bind(joined(serves))
    .bind(run.id.as_str())
    .bind(run.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "run")?;
    let payload = json!({ "period": run.period, "day": day, "serves": serves, "approved": true });
    event(conn, stamp, (run.id.as_str(), &run.brand), RunState::Planning, payload).await
}

/// Ends a held run: it does not take place.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since it was read.
pub async fn skip(conn: &mut Conn, stamp: Stamp<'_>, run: &Run, reason: RunReason) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE digest_run SET state = 'skipped', reason = $1, ended_at = $2, version = version + 1
         WHERE id = $3 AND version = $4 AND state = 'held'",
    )
    .bind(reason.as_str())
    .bind(stamp.now())
    .bind(run.id.as_str())
    .bind(run.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "run")?;
    let payload = json!({ "period": run.period, "reason": reason });
    event(conn, stamp, (run.id.as_str(), &run.brand), RunState::Skipped, payload).await
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, schedule_id, brand, cadence, kind, period, day, state, serves, revision, due_at, reason, planned_to,
                    users, mails, items, letters, left_out, asked_by, created_at, planned_at, ended_at, version
             FROM digest_run ",
            $tail
        )
    };
}

/// The run of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &RunId) -> Result<Option<Run>, DbError> {
    let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// The run of a schedule's period, whatever became of it.
///
/// # Errors
/// When the database fails.
pub async fn of_period(conn: &mut Conn, schedule: &ScheduleId, period: &str) -> Result<Option<Run>, DbError> {
    let row = sqlx::query(select!("WHERE schedule_id = $1 AND period = $2 AND kind = 'scheduled'"))
        .bind(schedule.as_str())
        .bind(period)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The latest period of a schedule that has a run of its own, up to `latest`. Periods of a cadence sort as their texts do.
///
/// # Errors
/// When the database fails.
pub async fn last_period(conn: &mut Conn, schedule: &ScheduleId, latest: &str) -> Result<Option<String>, DbError> {
    let row = sqlx::query(
        "SELECT MAX(period) AS period FROM digest_run WHERE schedule_id = $1 AND period <= $2 AND kind = 'scheduled'",
    )
    .bind(schedule.as_str())
    .bind(latest)
    .fetch_one(conn)
    .await?;
    opt_text(&row, "period")
}

/// Runs of a schedule that came by themselves and are of that local day, but for those that wait or were skipped.
///
/// # Errors
/// When the database fails.
pub async fn ran_on(conn: &mut Conn, schedule: &ScheduleId, day: Date) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM digest_run
         WHERE schedule_id = $1 AND day = $2 AND kind = 'scheduled' AND state NOT IN ('held', 'skipped')",
    )
    .bind(schedule.as_str())
    .bind(day.to_string())
    .fetch_one(conn)
    .await?;
    Ok(number(&row, "n")? > 0)
}

/// The runs of a schedule that wait for a person.
///
/// # Errors
/// When the database fails.
pub async fn held(conn: &mut Conn, schedule: &ScheduleId) -> Result<Vec<Run>, DbError> {
    let rows =
        sqlx::query(select!("WHERE schedule_id = $1 AND state = 'held' AND ended_at IS NULL ORDER BY due_at, id"))
            .bind(schedule.as_str())
            .fetch_all(conn)
            .await?;
    rows.iter().map(read).collect()
}

/// Runs that have not ended, the first due first; in a state those of it only.
///
/// # Errors
/// When the database fails.
pub async fn unended(conn: &mut Conn, state: Option<RunState>, limit: i64) -> Result<Vec<Run>, DbError> {
    let rows = sqlx::query(select!("WHERE ended_at IS NULL AND ($1 = '' OR state = $1) ORDER BY due_at, id LIMIT $2"))
        .bind(state.map_or("", RunState::as_str))
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// Runs of a schedule, the last due first, behind `before` (due in microseconds, id); in a state those of it only.
///
/// # Errors
/// When the database fails.
pub async fn history(
    conn: &mut Conn,
    schedule: &ScheduleId,
    state: Option<RunState>,
    before: Option<(i64, &RunId)>,
    limit: i64,
) -> Result<Vec<Run>, DbError> {
    let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (at, id.as_str()));
    let rows = sqlx::query(select!(
        "WHERE schedule_id = $1 AND (due_at, id) < ($2, $3) AND ($4 = '' OR state = $4)
         ORDER BY due_at DESC, id DESC LIMIT $5"
    ))
    .bind(schedule.as_str())
    .bind(at)
    .bind(id)
    .bind(state.map_or("", RunState::as_str))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Writes that a run, by its id and brand, came into a state.
///
/// # Errors
/// When the database fails.
pub async fn event(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    (id, brand): (&str, &Brand),
    state: RunState,
    payload: serde_json::Value,
) -> Result<(), DbError> {
    let kind = EventType::DigestRun(state);
    let event = NewEvent { kind, subject: id, brand, tin_uid: None, actor: stamp.actor, payload };
    events::append(conn, stamp, event).await
}

fn joined(serves: &BTreeSet<Cadence>) -> String {
    serves.iter().map(|cadence| cadence.as_str()).collect::<Vec<_>>().join(" ")
}

fn read(row: &AnyRow) -> Result<Run, DbError> {
    Ok(Run {
        id: parsed(row, "id")?,
        schedule: parsed(row, "schedule_id")?,
        brand: parsed(row, "brand")?,
        cadence: parsed(row, "cadence")?,
        kind: parsed(row, "kind")?,
        period: text(row, "period")?,
        day: parsed(row, "day")?,
        state: parsed(row, "state")?,
        serves: code_set(row, "serves")?,
        revision: number(row, "revision")?,
        due_at: instant(row, "due_at")?,
        reason: opt_parsed(row, "reason")?,
        planned_to: opt_text(row, "planned_to")?,
        counts: RunCounts {
            users: number(row, "users")?,
            mails: number(row, "mails")?,
            items: number(row, "items")?,
            letters: number(row, "letters")?,
            left_out: number(row, "left_out")?,
        },
        asked_by: text(row, "asked_by")?,
        created_at: instant(row, "created_at")?,
        planned_at: opt_instant(row, "planned_at")?,
        ended_at: opt_instant(row, "ended_at")?,
        version: number(row, "version")?,
    })
}
