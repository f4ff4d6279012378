//! Events: appended without a position, sealed in order, read by position.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_number, opt_text, padded, parsed, places, text};
use crate::model::event::{Event, NewEvent};

/// A page of the audit log: parameters are instant and position that it lies behind, the first instant, subject, actor,
/// type, and how many.
macro_rules! search {
    ($by:literal) => {
        concat!(
            "SELECT id, position, type, version, subject, brand, tin_uid, actor, at, payload FROM event
             WHERE ",
            $by,
            " AND position IS NOT NULL AND (at, position) < ($1, $2) AND at >= $3
             AND ($5 = '' OR actor = $5) AND ($6 = '' OR type = $6)
             ORDER BY at DESC, position DESC LIMIT $7"
        )
    };
}

/// The history of a submission: parameters are its id, the position behind which it begins, and how many. It is sorted
/// by a term and not by the bare column, which would tempt a planner to walk through the whole log in its order.
pub const OF_SUBMISSION: &str =
    "SELECT id, position, type, version, subject, brand, tin_uid, actor, at, payload FROM event
     WHERE position > $2
     AND subject IN (SELECT CAST($1 AS TEXT) UNION ALL SELECT id FROM document WHERE submission_id = $1)
     AND type NOT IN ('task.due_soon', 'document.shown', 'document.downloaded', 'document.told')
     ORDER BY position + 0 LIMIT $3";

/// The version of the payloads written now.
const PAYLOAD_VERSION: i64 = 1;

/// Writes an event into the caller's transaction.
///
/// # Errors
/// When the database fails.
pub async fn append(conn: &mut Conn, stamp: Stamp<'_>, event: NewEvent<'_>) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO event (id, type, version, subject, brand, tin_uid, actor, at, payload)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(stamp.ctx.new_id())
    .bind(event.kind.to_string())
    .bind(PAYLOAD_VERSION)
    .bind(event.subject)
    .bind(event.brand.as_str())
    .bind(event.tin_uid)
    .bind(stamp.actor)
    .bind(stamp.now())
    .bind(event.payload.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Events that have no position yet, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn unsealed(conn: &mut Conn, limit: i64) -> Result<Vec<Event>, DbError> {
    let rows = sqlx::query(
        "SELECT id, position, type, version, subject, brand, tin_uid, actor, at, payload FROM event
         WHERE position IS NULL ORDER BY at, id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// An event's place in the log.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The event.
    pub id: &'a str,
    /// Its position.
    pub position: i64,
    /// The digest of what it says there.
    pub digest: String,
}

/// The statement that gives so many events their places; its parameters are id, position and digest of each.
pub fn placing(events: usize) -> String {
    // each is looked up by its id: a planner would go through all that have no position
    format!(
        "UPDATE event SET position = v.column2, digest = v.column3 FROM (VALUES {}) AS v
         WHERE event.id = v.column1 AND event.position + 0 IS NULL",
        places(events, 1, "($, $, $)")
    )
}

/// Gives events their places.
///
/// # Errors
/// When the database fails or one of them has a place already.
pub async fn place(conn: &mut Conn, events: &[Place<'_>]) -> Result<(), DbError> {
    let rows = padded(events);
    let statement = sqlx::query(AssertSqlSafe(placing(rows.len())));
    let query =
        rows.iter().fold(statement, |query, row| query.bind(row.id).bind(row.position).bind(row.digest.as_str()));
    let done = query.execute(conn).await?;
    if done.rows_affected() != events.len() as u64 {
        return Err(DbError::Stale { what: "event" });
    }
    Ok(())
}

/// Sealed events behind `position`, in order, with their stored digests.
///
/// # Errors
/// When the database fails.
pub async fn after(conn: &mut Conn, position: i64, limit: i64) -> Result<Vec<(Event, String)>, DbError> {
    let rows = sqlx::query(
        "SELECT id, position, type, version, subject, brand, tin_uid, actor, at, payload, digest FROM event
         WHERE position > $1 ORDER BY position LIMIT $2",
    )
    .bind(position)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((read(row)?, opt_text(row, "digest")?.unwrap_or_default()))).collect()
}

/// Sealed events about a submission or one of its documents, behind `position`. Who of the payer's people looked at
/// what, and how long they took, is not told to a sender.
///
/// # Errors
/// When the database fails.
pub async fn of_submission(
    conn: &mut Conn,
    submission: &str,
    position: i64,
    limit: i64,
) -> Result<Vec<Event>, DbError> {
    let rows = sqlx::query(OF_SUBMISSION).bind(submission).bind(position).bind(limit).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// Events of these types about a subject, in their order; those not sealed yet come last.
///
/// # Errors
/// When the database fails.
pub async fn of_subject(conn: &mut Conn, subject: &str, types: &[String], limit: i64) -> Result<Vec<Event>, DbError> {
    let types = serde_json::to_string(types).map_err(|_| DbError::Unreadable { column: "type" })?;
    // the types as one text, since the two databases have no common way to bind a list
    let rows = sqlx::query(
        "SELECT id, position, type, version, subject, brand, tin_uid, actor, at, payload FROM event
         WHERE subject = $1 AND $2 LIKE '%\"' || type || '\"%'
         ORDER BY CASE WHEN position IS NULL THEN 1 ELSE 0 END, position, at, id LIMIT $3",
    )
    .bind(subject)
    .bind(types)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Which events a search of the audit log finds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Search<'a> {
    /// Those about this.
    pub subject: Option<&'a str>,
    /// Those of this actor.
    pub actor: Option<&'a str>,
    /// Those of this type.
    pub kind: Option<&'a str>,
    /// Those since then.
    pub from: Option<Timestamp>,
    /// Those before then.
    pub to: Option<Timestamp>,
}

impl Search<'_> {
    /// The statement whose index leads to the fewest.
    pub const fn statement(&self) -> &'static str {
        match self {
            Self { subject: Some(_), .. } => search!("subject = $4"),
            Self { actor: Some(_), .. } => search!("actor = $5 AND $4 = ''"),
            Self { kind: Some(_), .. } => search!("type = $6 AND $4 = ''"),
            _ => search!("$4 = ''"),
        }
    }
}

/// Sealed events, newest first, of those behind `before` (instant in microseconds, position).
///
/// # Errors
/// When the database fails.
pub async fn search(
    conn: &mut Conn,
    search: Search<'_>,
    before: Option<(i64, i64)>,
    limit: i64,
) -> Result<Vec<Event>, DbError> {
    // nothing has the position 0, so that what happened at the very end is behind the part asked for
    let end = search.to.map_or((i64::MAX, 0), |to| (to.as_microsecond(), 0));
    let (at, position) = before.map_or(end, |before| before.min(end));
    let rows = sqlx::query(search.statement())
        .bind(at)
        .bind(position)
        .bind(search.from.map_or(i64::MIN, Timestamp::as_microsecond))
        .bind(search.subject.unwrap_or_default())
        .bind(search.actor.unwrap_or_default())
        .bind(search.kind.unwrap_or_default())
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// A batch of events under one MAC that chains it to the batch before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Position of the first event in it.
    pub first_position: i64,
    /// Position of the last event in it.
    pub last_position: i64,
    /// HMAC-SHA-256 over the MAC before and the events' digests, in hexadecimal.
    pub mac: String,
}

/// The newest seal.
///
/// # Errors
/// When the database fails.
pub async fn last_seal(conn: &mut Conn) -> Result<Option<Seal>, DbError> {
    let row = sqlx::query("SELECT first_position, last_position, mac FROM seal ORDER BY first_position DESC LIMIT 1")
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_seal).transpose()
}

/// Whether there is a seal that ends at `position` with this MAC.
///
/// # Errors
/// When the database fails.
pub async fn is_sealed(conn: &mut Conn, position: i64, mac: &str) -> Result<bool, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM seal WHERE last_position = $1 AND mac = $2")
        .bind(position)
        .bind(mac)
        .fetch_one(conn)
        .await?;
    Ok(number(&row, "n")? > 0)
}

/// Seals whose first position is behind `position`, in order.
///
/// # Errors
/// When the database fails.
pub async fn seals_after(conn: &mut Conn, position: i64, limit: i64) -> Result<Vec<Seal>, DbError> {
    let rows = sqlx::query(
        "SELECT first_position, last_position, mac FROM seal WHERE first_position > $1 ORDER BY first_position LIMIT $2",
    )
    .bind(position)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_seal).collect()
}

/// Seals that reach to a position or lie behind it, in order.
///
/// # Errors
/// When the database fails.
pub async fn seals_from(conn: &mut Conn, position: i64, limit: i64) -> Result<Vec<Seal>, DbError> {
    let rows = sqlx::query(
        "SELECT first_position, last_position, mac FROM seal WHERE last_position >= $1 ORDER BY last_position LIMIT $2",
    )
    .bind(position)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_seal).collect()
}

/// The seal before a position.
///
/// # Errors
/// When the database fails.
pub async fn seal_before(conn: &mut Conn, position: i64) -> Result<Option<Seal>, DbError> {
    let row = sqlx::query(
        "SELECT first_position, last_position, mac FROM seal WHERE last_position < $1
         ORDER BY last_position DESC LIMIT 1",
    )
    .bind(position)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read_seal).transpose()
}

/// Writes a seal.
///
/// # Errors
/// When the database fails.
pub async fn put_seal(conn: &mut Conn, stamp: Stamp<'_>, seal: &Seal) -> Result<(), DbError> {
    sqlx::query("INSERT INTO seal (first_position, last_position, mac, at) VALUES ($1, $2, $3, $4)")
        .bind(seal.first_position)
        .bind(seal.last_position)
        .bind(&seal.mac)
        .bind(stamp.now())
        .execute(conn)
        .await?;
    Ok(())
}

/// How many events have no position, and since when the oldest of them waits.
///
/// # Errors
/// When the database fails.
pub async fn backlog(conn: &mut Conn) -> Result<(i64, Option<Timestamp>), DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n, CAST(MIN(at) AS BIGINT) AS oldest FROM event WHERE position IS NULL")
        .fetch_one(conn)
        .await?;
    Ok((number(&row, "n")?, super::opt_instant(&row, "oldest")?))
}

/// The last position given out, 0 when none was.
///
/// # Errors
/// When the database fails.
pub async fn head(conn: &mut Conn) -> Result<i64, DbError> {
    let row = sqlx::query("SELECT CAST(MAX(position) AS BIGINT) AS head FROM event").fetch_one(conn).await?;
    Ok(opt_number(&row, "head")?.unwrap_or(0))
}

/// How far the reader `name` has come.
///
/// # Errors
/// When the database fails.
pub async fn reader_position(conn: &mut Conn, name: &str) -> Result<i64, DbError> {
    let row = sqlx::query("SELECT position FROM event_reader WHERE name = $1").bind(name).fetch_optional(conn).await?;
    row.map_or(Ok(0), |row| number(&row, "position"))
}

/// How far each reader has come.
///
/// # Errors
/// When the database fails.
pub async fn reader_positions(conn: &mut Conn) -> Result<Vec<(String, i64)>, DbError> {
    let rows = sqlx::query("SELECT name, position FROM event_reader ORDER BY name").fetch_all(conn).await?;
    rows.iter().map(|row| Ok((text(row, "name")?, number(row, "position")?))).collect()
}

/// How far a reader is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The reader.
    pub name: String,
    /// Sealed events that it has not read.
    pub count: i64,
    /// When the first of them was written.
    pub oldest_at: Option<Timestamp>,
}

/// How far each reader is behind.
///
/// # Errors
/// When the database fails.
pub async fn unread(conn: &mut Conn) -> Result<Vec<Unread>, DbError> {
    // positions are without gaps: their difference is a count
    let rows = sqlx::query(
        "SELECT r.name AS name, COALESCE((SELECT MAX(position) FROM event), 0) - r.position AS n, e.at AS oldest
         FROM event_reader r LEFT JOIN event e ON e.position = r.position + 1 ORDER BY r.name",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Unread {
                name: text(row, "name")?,
                count: number(row, "n")?,
                oldest_at: super::opt_instant(row, "oldest")?,
            })
        })
        .collect()
}

/// Moves the reader `name` from one position to the next.
///
/// # Errors
/// [`DbError::Stale`] when another node moved it first.
pub async fn move_reader(conn: &mut Conn, name: &str, from: i64, to: i64) -> Result<(), DbError> {
    let done = sqlx::query(
        "INSERT INTO event_reader (name, position) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET position = excluded.position WHERE event_reader.position = $3",
    )
    .bind(name)
    .bind(to)
    .bind(from)
    .execute(conn)
    .await?;
    exactly_one(&done, "event reader")
}

fn read(row: &AnyRow) -> Result<Event, DbError> {
    Ok(Event {
        id: parsed(row, "id")?,
        position: opt_number(row, "position")?,
        kind: text(row, "type")?,
        version: number(row, "version")?,
        subject: text(row, "subject")?,
        brand: text(row, "brand")?,
        tin_uid: opt_text(row, "tin_uid")?,
        actor: text(row, "actor")?,
        at: instant(row, "at")?,
        payload: text(row, "payload")?,
    })
}

fn read_seal(row: &AnyRow) -> Result<Seal, DbError> {
    Ok(Seal {
        first_position: number(row, "first_position")?,
        last_position: number(row, "last_position")?,
        mac: text(row, "mac")?,
    })
}
