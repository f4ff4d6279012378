//! What destruction takes out of rows (OPS-15). The row stays, with its id, states, dates, reasons and the hash of what is
//! gone; so do practices, which are no patients. What names a person or says something of one goes.

use jiff::Timestamp;

use crate::db::documents::{self, Change};
use crate::db::{Conn, DbError, Stamp, contents, exactly_one, letter_upkeep, parsed, search, work};
use crate::model::address::Address;
use crate::model::document::DocumentState;
use crate::model::ids::{Brand, DocumentId, MessageId, Sha256};
use crate::model::retention::RecordKind;
use crate::model::submission::Said;

/// Stands where a row must say something, and what it said is gone.
const GONE: &str = "DESTROYED";

/// Empties a record's row and those that belong to it, in the caller's transaction, which holds the row. Bytes of a
/// document that no other has are marked as going.
///
/// # Errors
/// When the database fails; [`DbError::Stale`] when it is destroyed already.
pub async fn empty(conn: &mut Conn, stamp: Stamp<'_>, kind: RecordKind, id: &str) -> Result<(), DbError> {
    match kind {
        RecordKind::Document => document(conn, stamp, id).await,
        RecordKind::Letter => letter(conn, stamp, id).await,
        RecordKind::Submission => submission(conn, stamp, id).await,
        RecordKind::PrintBatch => print_batch(conn, stamp, id).await,
        RecordKind::Case => case(conn, stamp, id).await,
    }
}

async fn document(conn: &mut Conn, stamp: Stamp<'_>, id: &str) -> Result<(), DbError> {
    let id: DocumentId = id.parse().map_err(|_| DbError::Unreadable { column: "id" })?;
    let document = documents::get(conn, &id).await?.ok_or(DbError::Stale { what: "document" })?;
    // one that a person had destroyed is purged already; its row says the name still
    if document.state != DocumentState::Purged {
        let change = Change { reason: document.reason.clone(), ..Change::default() };
        documents::transition(conn, stamp, &document, DocumentState::Purged, change).await?;
    }
    let done = sqlx::query(
        "UPDATE document SET file_name = $1, file_name_key = $1, said = NULL, ended_at = COALESCE($2, ended_at),
            destroyed_at = $3, version = version + 1 WHERE id = $4 AND destroyed_at IS NULL",
    )
    .bind(GONE)
    .bind(document.ended_at.map(Timestamp::as_microsecond))
    .bind(stamp.now())
    .bind(id.as_str())
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "document")?;
    sqlx::query("DELETE FROM match_candidate WHERE document_id = $1").bind(id.as_str()).execute(&mut *conn).await?;
    work::remove(conn, id.as_str()).await?;
    if let Some(sha256) = &document.sha256 {
        contents::set_unused(conn, &document.brand, sha256).await?;
    }
    Ok(())
}

async fn letter(conn: &mut Conn, stamp: Stamp<'_>, id: &str) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE letter SET details = '{}', data = NULL, claim_number = NULL,
            member_id = CASE WHEN addressee = 'member' THEN $1 ELSE NULL END,
            destroyed_at = $2, version = version + 1 WHERE id = $3 AND destroyed_at IS NULL",
    )
    .bind(GONE)
    .bind(stamp.now())
    .bind(id)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "letter")?;
    let found = sqlx::query("SELECT id FROM message WHERE letter_id = $1").bind(id).fetch_all(&mut *conn).await?;
    for row in &found {
        message(conn, &parsed(row, "id")?).await?;
    }
    sqlx::query(
        "UPDATE paper_task SET address = $1, address_hash = '',
            addressee_key = CASE WHEN addressee = 'member' THEN $2 ELSE addressee_key END, version = version + 1
         WHERE letter_id = $3 AND ended_at IS NOT NULL",
    )
    .bind(no_address()?)
    .bind(GONE)
    .bind(id)
    .execute(&mut *conn)
    .await?;
    work::remove(conn, id).await
}

/// A message loses what it says of a member, and its words.
async fn message(conn: &mut Conn, id: &MessageId) -> Result<(), DbError> {
    sqlx::query("UPDATE message SET member_id = NULL, claim_number = NULL WHERE id = $1")
        .bind(id.as_str())
        .execute(&mut *conn)
        .await?;
    search::remove(conn, id).await
}

async fn submission(conn: &mut Conn, stamp: Stamp<'_>, id: &str) -> Result<(), DbError> {
    let nothing = serde_json::to_string(&Said::default()).map_err(|_| DbError::Unreadable { column: "said" })?;
    let done = sqlx::query(
        "UPDATE submission SET said = $1, sender_reference = NULL, destroyed_at = $2, version = version + 1
         WHERE id = $3 AND destroyed_at IS NULL",
    )
    .bind(nothing)
    .bind(stamp.now())
    .bind(id)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "submission")
}

async fn print_batch(conn: &mut Conn, stamp: Stamp<'_>, id: &str) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE print_batch SET destroyed_at = $1, version = version + 1 WHERE id = $2 AND destroyed_at IS NULL",
    )
    .bind(stamp.now())
    .bind(id)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "batch")?;
    // a few addresses can be tried against a hash: it goes, too
    sqlx::query(
        "UPDATE envelope SET address = $1, address_hash = '',
            addressee_key = CASE WHEN addressee = 'member' THEN $2 ELSE addressee_key END, version = version + 1
         WHERE batch_id = $3",
    )
    .bind(no_address()?)
    .bind(GONE)
    .bind(id)
    .execute(&mut *conn)
    .await?;
    work::remove(conn, id).await
}

fn no_address() -> Result<String, DbError> {
    let none = Address { lines: Vec::new(), city: String::new(), state: String::new(), zip: String::new() };
    serde_json::to_string(&none).map_err(|_| DbError::Unreadable { column: "address" })
}

async fn case(conn: &mut Conn, stamp: Stamp<'_>, id: &str) -> Result<(), DbError> {
    // its number is unique within the brand: our own id takes its place
    let done = sqlx::query(
        "UPDATE case_file SET case_number = $1, claim_number = NULL, attachment_control_number = NULL, member_id = $2,
            npi = NULL, service_from = NULL, service_to = NULL, deadline_at = NULL, destroyed_at = $3,
            version = version + 1 WHERE id = $4 AND destroyed_at IS NULL",
    )
    .bind(format!("{GONE} {}", id.to_ascii_uppercase()))
    .bind(GONE)
    .bind(stamp.now())
    .bind(id)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "case")?;
    for statement in
        ["UPDATE status_detail SET details = '{}' WHERE case_id = $1", "DELETE FROM match_candidate WHERE case_id = $1"]
    {
        sqlx::query(statement).bind(id).execute(&mut *conn).await?;
    }
    let found = sqlx::query("SELECT id FROM message WHERE case_id = $1").bind(id).fetch_all(&mut *conn).await?;
    for row in &found {
        message(conn, &parsed(row, "id")?).await?;
    }
    Ok(())
}

/// Files in `letters/` that a destroyed letter or batch had, and that nothing that is kept has, with the brand they lie
/// under.
///
/// # Errors
/// When the database fails.
pub async fn files(conn: &mut Conn, kind: RecordKind, id: &str) -> Result<Vec<(Brand, Sha256)>, DbError> {
    let statement = match kind {
        RecordKind::Letter => {
            "SELECT brand, sha256 FROM letter WHERE id = $1 AND sha256 IS NOT NULL AND destroyed_at IS NOT NULL"
        }
        RecordKind::PrintBatch => {
            "SELECT brand, pdf_sha256 AS sha256 FROM print_batch
             WHERE id = $1 AND pdf_sha256 IS NOT NULL AND destroyed_at IS NOT NULL
             UNION SELECT brand, json_sha256 FROM print_batch
             WHERE id = $1 AND json_sha256 IS NOT NULL AND destroyed_at IS NOT NULL
             UNION SELECT brand, csv_sha256 FROM print_batch
             WHERE id = $1 AND csv_sha256 IS NOT NULL AND destroyed_at IS NOT NULL"
        }
        RecordKind::Document | RecordKind::Submission | RecordKind::Case => return Ok(Vec::new()),
    };
    let rows = sqlx::query(statement).bind(id).fetch_all(&mut *conn).await?;
    let mut files = Vec::with_capacity(rows.len());
    for row in &rows {
        let (brand, sha256) = (parsed(row, "brand")?, parsed(row, "sha256")?);
        if !letter_upkeep::is_known(conn, &brand, &sha256).await? {
            files.push((brand, sha256));
        }
    }
    Ok(files)
}
