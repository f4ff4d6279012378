//! Schedules of digests and their revisions (OPS-10), and what other timings would have carried.

use jiff::Timestamp;
use serde_json::json;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_number, opt_text, parsed, text};
use crate::db::events;
use crate::model::digest::{Cadence, RevisionState, ScheduleChange};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, ScheduleId};

/// Who pauses a schedule, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// What a schedule says, or said, or is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Of which schedule.
    pub schedule: ScheduleId,
    /// From 1.
    pub revision: i64,
    /// Where it stands.
    pub state: RevisionState,
    /// The timing, as JSON.
    pub timing: String,
    /// The revision that it goes back to.
    pub rolls_back: Option<i64>,
    /// Who made it.
    pub proposed_by: String,
    /// When.
    pub proposed_at: Timestamp,
    /// Who confirmed it.
    pub confirmed_by: Option<String>,
    /// Since when it holds.
    pub confirmed_at: Option<Timestamp>,
}

/// A schedule with the revision in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// What people call it by.
    pub name: String,
    /// Its brand.
    pub brand: Brand,
    /// Daily or weekly.
    pub cadence: Cadence,
    /// Set as long as it does not run by itself.
    pub paused: Option<Pause>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
    /// What it says.
    pub revision: Revision,
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT s.id, s.name, s.brand, s.cadence, s.paused_at, s.paused_by, s.created_at, s.version, r.schedule_id,
                    r.revision, r.state, r.timing, r.rolls_back, r.proposed_by, r.proposed_at, r.confirmed_by, r.confirmed_at
             FROM schedule s JOIN schedule_revision r ON r.schedule_id = s.id AND r.revision = s.revision ",
            $tail
        )
    };
}

/// All schedules, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Schedule>, DbError> {
    let rows = sqlx::query(select!("ORDER BY s.name")).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// A brand's schedules, by name.
///
/// # Errors
/// When the database fails.
pub async fn of_brand(conn: &mut Conn, brand: &Brand) -> Result<Vec<Schedule>, DbError> {
    let rows = sqlx::query(select!("WHERE s.brand = $1 ORDER BY s.name")).bind(brand.as_str()).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// The schedule of that name.
///
/// # Errors
/// When the database fails.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<Schedule>, DbError> {
    let row = sqlx::query(select!("WHERE s.name = $1")).bind(name).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// The schedule of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &ScheduleId) -> Result<Option<Schedule>, DbError> {
    let row = sqlx::query(select!("WHERE s.id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Takes the rows of a brand's schedules until the end of the transaction, in one order: who opens runs or edits waits for
/// whoever does so now. What was read before may be old.
///
/// # Errors
/// When the database fails.
pub async fn lock(conn: &mut Conn, brand: &Brand) -> Result<(), DbError> {
    for cadence in [Cadence::Daily, Cadence::Weekly] {
        sqlx::query("UPDATE schedule SET version = version WHERE brand = $1 AND cadence = $2")
            .bind(brand.as_str())
            .bind(cadence.as_str())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Makes a schedule with its first revision, in force. Answers whether it was not there yet.
///
/// # Errors
/// When the database fails.
pub async fn make(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    cadence: Cadence,
    timing: &str,
) -> Result<bool, DbError> {
    let id: ScheduleId = stamp.new_id()?;
    let name = format!("{brand}-{cadence}");
    let made = sqlx::query(
        "INSERT INTO schedule (id, name, brand, cadence, revision, created_at, version)
         VALUES ($1, $2, $3, $4, 1, $5, 1) ON CONFLICT DO NOTHING",
    )
    .bind(id.as_str())
    .bind(&name)
    .bind(brand.as_str())
    .bind(cadence.as_str())
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if made.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO schedule_revision (schedule_id, revision, state, timing, proposed_by, proposed_at, confirmed_by,
                                        confirmed_at)
         VALUES ($1, 1, 'active', $2, $3, $4, $3, $4)",
    )
    .bind(id.as_str())
    .bind(timing)
    .bind(stamp.actor)
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    let schedule = get(conn, &id).await?.ok_or(DbError::Unreadable { column: "id" })?;
    changed(conn, stamp, &schedule, ScheduleChange::Made, 1).await?;
    Ok(true)
}

/// The revisions of a schedule, newest first.
///
/// # Errors
/// When the database fails.
pub async fn revisions(conn: &mut Conn, id: &ScheduleId) -> Result<Vec<Revision>, DbError> {
    let rows = sqlx::query(
        "SELECT schedule_id, revision, state, timing, rolls_back, proposed_by, proposed_at, confirmed_by, confirmed_at
         FROM schedule_revision WHERE schedule_id = $1 ORDER BY revision DESC",
    )
    .bind(id.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_revision).collect()
}

/// One revision of a schedule.
///
/// # Errors
/// When the database fails.
pub async fn revision(conn: &mut Conn, id: &ScheduleId, revision: i64) -> Result<Option<Revision>, DbError> {
    let row = sqlx::query(
        "SELECT schedule_id, revision, state, timing, rolls_back, proposed_by, proposed_at, confirmed_by, confirmed_at
         FROM schedule_revision WHERE schedule_id = $1 AND revision = $2",
    )
    .bind(id.as_str())
    .bind(revision)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read_revision).transpose()
}

/// Keeps a proposal; answers its revision.
///
/// # Errors
/// [`DbError::Stale`] when the schedule has changed since it was read.
pub async fn propose(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    schedule: &Schedule,
    timing: &str,
    rolls_back: Option<i64>,
) -> Result<i64, DbError> {
    bump(conn, schedule).await?;
    let row = sqlx::query(
        "INSERT INTO schedule_revision (schedule_id, revision, state, timing, rolls_back, proposed_by, proposed_at)
         SELECT $1, MAX(revision) + 1, 'proposed', $2, CAST($3 AS BIGINT), $4, CAST($5 AS BIGINT) FROM schedule_revision
         WHERE schedule_id = $1 RETURNING revision",
    )
    .bind(schedule.id.as_str())
    .bind(timing)
    .bind(rolls_back)
    .bind(stamp.actor)
    .bind(stamp.now())
    .fetch_one(&mut *conn)
    .await?;
    let revision = number(&row, "revision")?;
    changed(conn, stamp, schedule, ScheduleChange::Proposed, revision).await?;
    Ok(revision)
}

/// Puts a proposal in force.
///
/// # Errors
/// [`DbError::Stale`] when the schedule has changed since it was read, or there is no such proposal.
pub async fn confirm(conn: &mut Conn, stamp: Stamp<'_>, schedule: &Schedule, revision: i64) -> Result<(), DbError> {
    bump(conn, schedule).await?;
    let past = sqlx::query(
        "UPDATE schedule_revision SET state = 'past' WHERE schedule_id = $1 AND revision = $2 AND state = 'active'",
    )
    .bind(schedule.id.as_str())
    .bind(schedule.revision.revision)
    .execute(&mut *conn)
    .await?;
    exactly_one(&past, "schedule")?;
    let active = sqlx::query(
        "UPDATE schedule_revision SET state = 'active', confirmed_by = $1, confirmed_at = $2
         WHERE schedule_id = $3 AND revision = $4 AND state = 'proposed'",
    )
    .bind(stamp.actor)
    .bind(stamp.now())
    .bind(schedule.id.as_str())
    .bind(revision)
    .execute(&mut *conn)
    .await?;
    exactly_one(&active, "schedule")?;
    sqlx::query("UPDATE schedule SET revision = $1 WHERE id = $2")
        .bind(revision)
        .bind(schedule.id.as_str())
        .execute(&mut *conn)
        .await?;
    changed(conn, stamp, schedule, ScheduleChange::Confirmed, revision).await
}

/// Gives a proposal up.
///
/// # Errors
/// [`DbError::Stale`] when the schedule has changed since it was read, or there is no such proposal.
pub async fn drop_proposal(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    schedule: &Schedule,
    revision: i64,
) -> Result<(), DbError> {
    bump(conn, schedule).await?;
    let dropped = sqlx::query(
        "UPDATE schedule_revision SET state = 'dropped' WHERE schedule_id = $1 AND revision = $2 AND state = 'proposed'",
    )
    .bind(schedule.id.as_str())
    .bind(revision)
    .execute(&mut *conn)
    .await?;
    exactly_one(&dropped, "schedule")?;
    changed(conn, stamp, schedule, ScheduleChange::Dropped, revision).await
}

/// Pauses a schedule, or has it run again.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since it was read.
pub async fn set_paused(conn: &mut Conn, stamp: Stamp<'_>, schedule: &Schedule, paused: bool) -> Result<(), DbError> {
    bump(conn, schedule).await?;
    sqlx::query("UPDATE schedule SET paused_at = $1, paused_by = $2 WHERE id = $3")
        .bind(paused.then(|| stamp.now()))
        .bind(paused.then_some(stamp.actor))
        .bind(schedule.id.as_str())
        .execute(&mut *conn)
        .await?;
    let change = if paused { ScheduleChange::Paused } else { ScheduleChange::Resumed };
    changed(conn, stamp, schedule, change, schedule.revision.revision).await
}

async fn bump(conn: &mut Conn, schedule: &Schedule) -> Result<(), DbError> {
    let done = sqlx::query("UPDATE schedule SET version = version + 1 WHERE id = $1 AND version = $2")
        .bind(schedule.id.as_str())
        .bind(schedule.version)
        .execute(conn)
        .await?;
    exactly_one(&done, "schedule")
}

async fn changed(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    schedule: &Schedule,
    change: ScheduleChange,
    revision: i64,
) -> Result<(), DbError> {
    let event = NewEvent {
        kind: EventType::Schedule(change),
        subject: schedule.id.as_str(),
        brand: &schedule.brand,
        tin_uid: None,
        actor: stamp.actor,
        payload: json!({ "name": schedule.name, "revision": revision }),
    };
    events::append(conn, stamp, event).await
}

/// Whose correspondence of which time a run would have told.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// Of which brand.
    pub brand: &'a Brand,
    /// The choice that it serves.
    pub cadence: Cadence,
    /// What counts as the choice of who has chosen nothing.
    pub starts_with: Cadence,
    /// What was published after this instant.
    pub after: Timestamp,
    /// Up to and with this one: when it would have run.
    pub at: Timestamp,
}

/// A statement over the notifications of a [`Span`].
macro_rules! in_span {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " FROM notification n LEFT JOIN digest_choice c
                ON c.user_id = n.user_id AND c.tin = n.tin
                AND c.category = CASE WHEN n.category = 'precertification' THEN n.category ELSE 'claim' END
              WHERE n.brand = $1 AND n.published_at > $2 AND n.published_at <= $3 AND COALESCE(c.cadence, $4) = $5",
            $tail
        )
    };
}

/// How many mails a run would have sent, at one for each user and kind.
///
/// # Errors
/// When the database fails.
pub async fn would_send(conn: &mut Conn, span: Span<'_>) -> Result<i64, DbError> {
    let row = sqlx::query(in_span!("SELECT COUNT(*) AS mails FROM (SELECT DISTINCT n.user_id, n.kind", ") AS told"))
        .bind(span.brand.as_str())
        .bind(span.after.as_microsecond())
        .bind(span.at.as_microsecond())
        .bind(span.starts_with.as_str())
        .bind(span.cadence.as_str())
        .fetch_one(conn)
        .await?;
    number(&row, "mails")
}

/// How many letters would have waited how many minutes for a run: letter by letter and reader by reader.
///
/// # Errors
/// When the database fails.
pub async fn would_wait(conn: &mut Conn, span: Span<'_>) -> Result<Vec<(i64, i64)>, DbError> {
    let rows = sqlx::query(in_span!(
        "SELECT (CAST($3 AS BIGINT) - n.published_at) / 60000000 AS minutes, COUNT(*) AS letters",
        " GROUP BY minutes"
    ))
    .bind(span.brand.as_str())
    .bind(span.after.as_microsecond())
    .bind(span.at.as_microsecond())
    .bind(span.starts_with.as_str())
    .bind(span.cadence.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((number(row, "minutes")?, number(row, "letters")?))).collect()
}

fn read(row: &AnyRow) -> Result<Schedule, DbError> {
    Ok(Schedule {
        id: parsed(row, "id")?,
        name: text(row, "name")?,
        brand: parsed(row, "brand")?,
        cadence: parsed(row, "cadence")?,
        paused: opt_instant(row, "paused_at")?.zip(opt_text(row, "paused_by")?).map(|(at, by)| Pause { at, by }),
        created_at: instant(row, "created_at")?,
        version: number(row, "version")?,
        revision: read_revision(row)?,
    })
}

fn read_revision(row: &AnyRow) -> Result<Revision, DbError> {
    Ok(Revision {
        schedule: parsed(row, "schedule_id")?,
        revision: number(row, "revision")?,
        state: parsed(row, "state")?,
        timing: text(row, "timing")?,
        rolls_back: opt_number(row, "rolls_back")?,
        proposed_by: text(row, "proposed_by")?,
        proposed_at: instant(row, "proposed_at")?,
        confirmed_by: opt_text(row, "confirmed_by")?,
        confirmed_at: opt_instant(row, "confirmed_at")?,
    })
}
