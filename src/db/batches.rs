//! Print batches and their transitions, and the serial numbers of their envelopes (COR-41).

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use sqlx::any::AnyRow;

use super::{
    Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_number, opt_parsed, opt_text, parsed, text,
};
use crate::db::events;
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{BatchId, Brand, Sha256};
use crate::model::paper::{BatchKind, BatchState};

/// What a batch holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Figures {
    /// Envelopes.
    pub envelopes: i64,
    /// Letters in them.
    pub letters: i64,
    /// Pages of the letters.
    pub pages: i64,
    /// Sheets in the envelopes.
    pub sheets: i64,
}

/// A file of a batch in the object store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct BatchFile {
    /// Its hash, under which it lies there.
    pub sha256: Sha256,
    /// Its size.
    pub bytes: i64,
}

/// The files of a batch.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct BatchFiles {
    /// The print file.
    pub pdf: BatchFile,
    /// Its pages, with blank backs and sheets that are no letters.
    pub pdf_pages: i64,
    /// The manifest as JSON.
    pub json: BatchFile,
    /// The manifest as CSV.
    pub csv: BatchFile,
}

/// Why a batch is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchHold {
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why, in a person's words.
    pub reason: String,
}

/// A batch as it is stored.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// What stands on its sheets.
    pub name: String,
    /// Its brand.
    pub brand: Brand,
    /// Why it was closed.
    pub kind: BatchKind,
    /// The local day it is of.
    pub day: Date,
    /// Where it stands.
    pub state: BatchState,
    /// What was decided before this instant was taken.
    pub cut_off_at: Timestamp,
    /// What it holds.
    pub figures: Figures,
    /// Its files, once they are stored.
    pub files: Option<BatchFiles>,
    /// Whether it is held back.
    pub hold: Option<BatchHold>,
    /// Who closed it.
    pub closed_by: String,
    /// When.
    pub closed_at: Timestamp,
    /// When its files were stored.
    pub assembled_at: Option<Timestamp>,
    /// When it was done.
    pub done_at: Option<Timestamp>,
    /// Counts its changes.
    pub version: i64,
}

/// A batch to be closed.
#[derive(Debug, Clone)]
pub struct NewBatch<'a> {
    /// Its brand.
    pub brand: &'a Brand,
    /// Why it is closed.
    pub kind: BatchKind,
    /// The local day it is of.
    pub day: Date,
    /// What was decided before this instant is taken.
    pub cut_off_at: Timestamp,
    /// What it holds.
    pub figures: Figures,
}

/// Holds the serial numbers of a mailer until the end of the transaction: one batch at a time is closed. Answers the
/// next number.
///
/// # Errors
/// When the database fails.
pub async fn lock_serials(conn: &mut Conn, mailer: &str) -> Result<i64, DbError> {
    let row = sqlx::query(
        "INSERT INTO mail_serial (mailer_id, next) VALUES ($1, 0)
         ON CONFLICT (mailer_id) DO UPDATE SET next = mail_serial.next RETURNING next",
    )
    .bind(mailer)
    .fetch_one(conn)
    .await?;
    number(&row, "next")
}

/// Keeps the next serial number.
///
/// # Errors
/// When the database fails.
pub async fn set_next_serial(conn: &mut Conn, mailer: &str, next: i64) -> Result<(), DbError> {
    sqlx::query("UPDATE mail_serial SET next = $1 WHERE mailer_id = $2").bind(next).bind(mailer).execute(conn).await?;
    Ok(())
}

/// Whether one of the serial numbers from `from` to before `to` can't be used again yet: its piece was mailed after
/// that instant, or may be mailed still.
///
/// # Errors
/// When the database fails.
pub async fn serials_in_use(
    conn: &mut Conn,
    mailer: &str,
    (from, to): (i64, i64),
    mailed_after: Timestamp,
) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM envelope WHERE mailer_id = $1 AND serial >= $2 AND serial < $3
         AND (mailed_at > $4 OR state IN ('in_batch', 'printed', 'inserted'))",
    )
    .bind(mailer)
    .bind(from)
    .bind(to)
    .bind(mailed_after.as_microsecond())
    .fetch_one(conn)
    .await?;
    Ok(number(&row, "n")? > 0)
}

/// The last day that was closed for a brand.
///
/// # Errors
/// When the database fails.
pub async fn last_day(conn: &mut Conn, brand: &Brand) -> Result<Option<Date>, DbError> {
    let row = sqlx::query("SELECT MAX(day) AS day FROM print_batch WHERE brand = $1 AND kind = 'daily'")
        .bind(brand.as_str())
        .fetch_one(conn)
        .await?;
    opt_parsed(&row, "day")
}

/// When the first of a brand's deliveries on paper that wait still was decided.
///
/// # Errors
/// When the database fails.
pub async fn first_waiting(conn: &mut Conn, brand: &Brand) -> Result<Option<Timestamp>, DbError> {
    let row = sqlx::query(
        "SELECT MIN(created_at) AS first_at FROM delivery WHERE channel = 'paper' AND state = 'waiting' AND brand = $1",
    )
    .bind(brand.as_str())
    .fetch_one(conn)
    .await?;
    opt_instant(&row, "first_at")
}

/// Closes a batch, with its event. Its name counts the batches of its day; the caller holds the serial numbers.
///
/// # Errors
/// When the database fails, or that day of the brand is closed already.
pub async fn insert(conn: &mut Conn, stamp: Stamp<'_>, new: &NewBatch<'_>) -> Result<Batch, DbError> {
    let id: BatchId = stamp.new_id()?;
    let row = sqlx::query("SELECT COUNT(*) AS n FROM print_batch WHERE day = $1")
        .bind(new.day.to_string())
        .fetch_one(&mut *conn)
        .await?;
    let name = format!("B-{}-{:02}", new.day.strftime("%Y%m%d"), number(&row, "n")? + 1);
    // there is nothing to print or to wait for in an empty one
    let state = if new.figures.envelopes == 0 { BatchState::Done } else { BatchState::Closed };
    let done = sqlx::query(
        "INSERT INTO print_batch (id, name, brand, kind, day, state, cut_off_at, envelopes, letters, pages, sheets,
                                  closed_by, closed_at, done_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1) ON CONFLICT DO NOTHING",
    )
    .bind(id.as_str())
    .bind(&name)
    .bind(new.brand.as_str())
    .bind(new.kind.as_str())
    .bind(new.day.to_string())
    .bind(state.as_str())
    .bind(new.cut_off_at.as_microsecond())
    .bind(new.figures.envelopes)
    .bind(new.figures.letters)
    .bind(new.figures.pages)
    .bind(new.figures.sheets)
    .bind(stamp.actor)
    .bind(stamp.now())
    .bind((state == BatchState::Done).then(|| stamp.now()))
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "print batch")?;
    let batch = get(conn, &id).await?.ok_or(DbError::Unreadable { column: "id" })?;
    let payload = json!({
        "name": batch.name,
        "kind": batch.kind,
        "day": batch.day,
        "envelopes": new.figures.envelopes,
        "letters": new.figures.letters,
        "sheets": new.figures.sheets,
    });
    event(conn, stamp, &batch, EventType::PrintBatch(BatchState::Closed), payload).await?;
    Ok(batch)
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, name, brand, kind, day, state, cut_off_at, envelopes, letters, pages, sheets, pdf_sha256, pdf_bytes,
                    pdf_pages, json_sha256, json_bytes, csv_sha256, csv_bytes, held_at, held_by, held_reason, closed_by,
                    closed_at, assembled_at, done_at, destroyed_at, version
             FROM print_batch ",
            $tail
        )
    };
}

/// The batch of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &BatchId) -> Result<Option<Batch>, DbError> {
    let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// The batch of that name.
///
/// # Errors
/// When the database fails.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<Batch>, DbError> {
    let row = sqlx::query(select!("WHERE name = $1")).bind(name).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// The batch of a brand's day.
///
/// # Errors
/// When the database fails.
pub async fn of_day(conn: &mut Conn, brand: &Brand, day: Date) -> Result<Option<Batch>, DbError> {
    let row = sqlx::query(select!("WHERE brand = $1 AND day = $2 AND kind = 'daily'"))
        .bind(brand.as_str())
        .bind(day.to_string())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Batches, newest first, behind `before` (closing in microseconds, id); with a brand or a state those of it only.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut Conn,
    brand: Option<&Brand>,
    state: Option<BatchState>,
    before: Option<(i64, &BatchId)>,
    limit: i64,
) -> Result<Vec<Batch>, DbError> {
    let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (at, id.as_str()));
    let rows = sqlx::query(select!(
        "WHERE (closed_at, id) < ($1, $2) AND ($3 = '' OR brand = $3) AND ($4 = '' OR state = $4)
         ORDER BY closed_at DESC, id DESC LIMIT $5"
    ))
    .bind(at)
    .bind(id)
    .bind(brand.map_or("", Brand::as_str))
    .bind(state.map_or("", BatchState::as_str))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Keeps where a batch's files are.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since it was read.
pub async fn assembled(conn: &mut Conn, stamp: Stamp<'_>, batch: &Batch, files: &BatchFiles) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE print_batch SET state = 'assembled', pdf_sha256 = $1, pdf_bytes = $2, pdf_pages = $3, json_sha256 = $4,
            json_bytes = $5, csv_sha256 = $6, csv_bytes = $7, assembled_at = $8, version = version + 1
         WHERE id = $9 AND state = 'closed'",
    )
    .bind(files.pdf.sha256.as_str())
    .bind(files.pdf.bytes)
    .bind(files.pdf_pages)
    .bind(files.json.sha256.as_str())
    .bind(files.json.bytes)
    .bind(files.csv.sha256.as_str())
    .bind(files.csv.bytes)
    .bind(stamp.now())
    .bind(batch.id.as_str())
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "print batch")?;
    let payload = json!({ "pdf_sha256": files.pdf.sha256, "pdf_pages": files.pdf_pages });
    event(conn, stamp, batch, EventType::PrintBatch(BatchState::Assembled), payload).await
}

/// Ends a batch.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since it was read.
pub async fn done(conn: &mut Conn, stamp: Stamp<'_>, batch: &Batch) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE print_batch SET state = 'done', done_at = $1, version = version + 1 WHERE id = $2 AND state = 'assembled'",
    )
    .bind(stamp.now())
    .bind(batch.id.as_str())
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "print batch")?;
    event(conn, stamp, batch, EventType::PrintBatch(BatchState::Done), json!({})).await
}

/// Holds a batch back, or no longer. The reason is a person's own words, so the event goes without it.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since it was read.
pub async fn set_hold(conn: &mut Conn, stamp: Stamp<'_>, batch: &Batch, reason: Option<&str>) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE print_batch SET held_at = $1, held_by = $2, held_reason = $3, version = version + 1
         WHERE id = $4 AND version = $5",
    )
    .bind(reason.map(|_| stamp.now()))
    .bind(reason.map(|_| stamp.actor))
    .bind(reason)
    .bind(batch.id.as_str())
    .bind(batch.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "print batch")?;
    event(conn, stamp, batch, EventType::PrintBatchHoldChanged, json!({ "stands": reason.is_some() })).await
}

/// Takes the row of a batch for this transaction: who changes its envelopes waits for whoever does so now.
///
/// # Errors
/// [`DbError::Stale`] when it is gone.
pub async fn lock(conn: &mut Conn, batch: &BatchId) -> Result<(), DbError> {
    let done = sqlx::query("UPDATE print_batch SET version = version + 1 WHERE id = $1")
        .bind(batch.as_str())
        .execute(conn)
        .await?;
    exactly_one(&done, "print batch")
}

/// Writes an event about a batch.
///
/// # Errors
/// When the database fails.
pub async fn event(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    batch: &Batch,
    kind: EventType,
    payload: serde_json::Value,
) -> Result<(), DbError> {
    let event =
        NewEvent { kind, subject: batch.id.as_str(), brand: &batch.brand, tin_uid: None, actor: stamp.actor, payload };
    events::append(conn, stamp, event).await
}

fn read(row: &AnyRow) -> Result<Batch, DbError> {
    let destroyed_at = opt_instant(row, "destroyed_at")?;
    Ok(Batch {
        id: parsed(row, "id")?,
        name: text(row, "name")?,
        brand: parsed(row, "brand")?,
        kind: parsed(row, "kind")?,
        day: parsed(row, "day")?,
        state: parsed(row, "state")?,
        cut_off_at: instant(row, "cut_off_at")?,
        figures: Figures {
            envelopes: number(row, "envelopes")?,
            letters: number(row, "letters")?,
            pages: number(row, "pages")?,
            sheets: number(row, "sheets")?,
        },
        // those of a destroyed one are gone (OPS-15)
        files: read_files(row)?.filter(|_| destroyed_at.is_none()),
        hold: match (opt_instant(row, "held_at")?, opt_text(row, "held_by")?, opt_text(row, "held_reason")?) {
            (Some(at), Some(by), Some(reason)) => Some(BatchHold { at, by, reason }),
            _ => None,
        },
        closed_by: text(row, "closed_by")?,
        closed_at: instant(row, "closed_at")?,
        assembled_at: opt_instant(row, "assembled_at")?,
        done_at: opt_instant(row, "done_at")?,
        version: number(row, "version")?,
    })
}

fn read_files(row: &AnyRow) -> Result<Option<BatchFiles>, DbError> {
    let file = |hash: &'static str, bytes: &'static str| -> Result<Option<BatchFile>, DbError> {
        let (hash, bytes) = (opt_parsed(row, hash)?, opt_number(row, bytes)?);
        Ok(hash.zip(bytes).map(|(sha256, bytes)| BatchFile { sha256, bytes }))
    };
    let files = (
        file("pdf_sha256", "pdf_bytes")?,
        opt_number(row, "pdf_pages")?,
        file("json_sha256", "json_bytes")?,
        file("csv_sha256", "csv_bytes")?,
    );
    Ok(match files {
        (Some(pdf), Some(pdf_pages), Some(json), Some(csv)) => Some(BatchFiles { pdf, pdf_pages, json, csv }),
        _ => None,
    })
}
