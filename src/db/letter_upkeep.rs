//! What the reconciler of letters asks: what lies still, which PDFs there should be, and which deadlines are near.

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, number, parsed};
use crate::model::ids::{Brand, LetterId, Sha256};
use crate::model::letter::LetterState;

/// Letters in a state that were asked for before an instant (microseconds) and have no work of any kind, oldest first.
/// A dead letter of the queue is work: an operator has it.
///
/// # Errors
/// When the database fails.
pub async fn without_work(
    conn: &mut Conn,
    state: LetterState,
    before: i64,
    limit: i64,
) -> Result<Vec<LetterId>, DbError> {
    let rows = sqlx::query(
        "SELECT id FROM letter WHERE state = $1 AND created_at < $2
         AND NOT EXISTS (SELECT 1 FROM work WHERE work.subject = letter.id) ORDER BY created_at, id LIMIT $3",
    )
    .bind(state.as_str())
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}

/// Letters that wait for the Messaging Center since before an instant (microseconds) and have no work, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn undelivered_without_work(conn: &mut Conn, before: i64, limit: i64) -> Result<Vec<LetterId>, DbError> {
    let rows = sqlx::query(
        "SELECT letter_id FROM delivery WHERE channel = 'inbox' AND state = 'waiting' AND created_at < $1
         AND NOT EXISTS (SELECT 1 FROM work WHERE work.subject = delivery.letter_id) ORDER BY created_at, id LIMIT $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| parsed(row, "letter_id")).collect()
}

/// Refused letters whose deadline lies before an instant and was not told yet, nearest first.
///
/// # Errors
/// When the database fails.
pub async fn unwarned(conn: &mut Conn, before: Timestamp, limit: i64) -> Result<Vec<LetterId>, DbError> {
    let rows = sqlx::query(
        "SELECT id FROM letter WHERE state = 'refused' AND due_at < $1 AND warned_at IS NULL ORDER BY due_at, id LIMIT $2",
    )
    .bind(before.as_microsecond())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}

/// Keeps that the deadline of a refused letter was told. False when it was before, or it is refused no more.
///
/// # Errors
/// When the database fails.
pub async fn set_warned(conn: &mut Conn, stamp: Stamp<'_>, id: &LetterId) -> Result<bool, DbError> {
    let done =
        sqlx::query("UPDATE letter SET warned_at = $1 WHERE id = $2 AND state = 'refused' AND warned_at IS NULL")
            .bind(stamp.now())
            .bind(id.as_str())
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// A letter that says it has a PDF.
#[derive(Debug, Clone)]
pub struct Filed {
    /// When it was asked for, in microseconds: with the id its place in the order they are looked through.
    pub created_at: i64,
    /// The letter.
    pub id: LetterId,
    /// Its brand.
    pub brand: Brand,
    /// Hash of its PDF.
    pub sha256: Sha256,
}

/// Letters with a PDF in the order they were asked for, behind a place.
///
/// # Errors
/// When the database fails.
pub async fn filed(conn: &mut Conn, after: (i64, &str), limit: i64) -> Result<Vec<Filed>, DbError> {
    let rows = sqlx::query(
        "SELECT created_at, id, brand, sha256 FROM letter
         WHERE (created_at, id) > ($1, $2) AND sha256 IS NOT NULL AND destroyed_at IS NULL ORDER BY created_at, id LIMIT $3",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let read = |row: &AnyRow| {
        Ok(Filed {
            created_at: number(row, "created_at")?,
            id: parsed(row, "id")?,
            brand: parsed(row, "brand")?,
            sha256: parsed(row, "sha256")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Whether it is a letter's PDF, or a file of a print batch: what lies among the letters in the store.
///
/// # Errors
/// When the database fails.
pub async fn is_known(conn: &mut Conn, brand: &Brand, sha256: &Sha256) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT id FROM letter WHERE brand = $1 AND sha256 = $2 AND destroyed_at IS NULL
         UNION ALL SELECT id FROM print_batch
         WHERE brand = $1 AND $2 IN (pdf_sha256, json_sha256, csv_sha256) AND destroyed_at IS NULL LIMIT 1",
    )
    .bind(brand.as_str())
    .bind(sha256.as_str())
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Whether it was such a file and is being destroyed: it may or may not be there.
///
/// # Errors
/// When the database fails.
pub async fn is_going(conn: &mut Conn, brand: &Brand, sha256: &Sha256) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT r.subject FROM letter l JOIN retention_record r ON r.kind = 'letter' AND r.subject = l.id
         WHERE l.brand = $1 AND l.sha256 = $2 AND r.state = 'destroying'
         UNION ALL SELECT r.subject FROM print_batch b
         JOIN retention_record r ON r.kind = 'print_batch' AND r.subject = b.id
         WHERE b.brand = $1 AND $2 IN (b.pdf_sha256, b.json_sha256, b.csv_sha256) AND r.state = 'destroying' LIMIT 1",
    )
    .bind(brand.as_str())
    .bind(sha256.as_str())
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// How many PDFs and files of print batches there should be.
///
/// # Errors
/// When the database fails.
pub async fn files(conn: &mut Conn) -> Result<i64, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM (
             SELECT brand, sha256 FROM letter WHERE sha256 IS NOT NULL AND destroyed_at IS NULL
             UNION SELECT brand, pdf_sha256 FROM print_batch WHERE pdf_sha256 IS NOT NULL AND destroyed_at IS NULL
             UNION SELECT brand, json_sha256 FROM print_batch WHERE json_sha256 IS NOT NULL AND destroyed_at IS NULL
             UNION SELECT brand, csv_sha256 FROM print_batch WHERE csv_sha256 IS NOT NULL AND destroyed_at IS NULL) AS file",
    )
    .fetch_one(conn)
    .await?;
    number(&row, "n")
}

/// Whether somebody works in a stage, or did when their process died.
///
/// # Errors
/// When the database fails.
pub async fn is_worked(conn: &mut Conn, stage: &str) -> Result<bool, DbError> {
    let row = sqlx::query("SELECT subject FROM work WHERE stage = $1 AND state = 'running' LIMIT 1")
        .bind(stage)
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}
