//! Mail that was sent back (OPS-07).

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, instant, parsed, text};
use crate::db::documents::Document;
use crate::model::document::ReturnReason;
use crate::model::ids::{Brand, DocumentId};

/// An entry of the return log.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Return {
    /// The document.
    pub document_id: DocumentId,
    /// Its brand.
    pub brand: Brand,
    /// Why it went back.
    pub reason: ReturnReason,
    /// Who said so.
    pub actor: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Writes that a document goes back.
///
/// # Errors
/// When the database fails.
pub async fn log(conn: &mut Conn, stamp: Stamp<'_>, document: &Document, reason: ReturnReason) -> Result<(), DbError> {
    sqlx::query("INSERT INTO return_log (document_id, brand, reason, actor, at) VALUES ($1, $2, $3, $4, $5)")
        .bind(document.id.as_str())
        .bind(document.brand.as_str())
        .bind(reason.as_str())
        .bind(stamp.actor)
        .bind(stamp.now())
        .execute(conn)
        .await?;
    Ok(())
}

/// The return log, newest first, behind the row `after` (instant in microseconds, document).
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut Conn, after: Option<(i64, &DocumentId)>, limit: i64) -> Result<Vec<Return>, DbError> {
    let (at, id) = after.map_or((i64::MAX, ""), |(at, id)| (at, id.as_str()));
    let rows = sqlx::query(
        "SELECT document_id, brand, reason, actor, at FROM return_log WHERE (at, document_id) < ($1, $2)
         ORDER BY at DESC, document_id DESC LIMIT $3",
    )
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<Return, DbError> {
    Ok(Return {
        document_id: parsed(row, "document_id")?,
        brand: parsed(row, "brand")?,
        reason: parsed(row, "reason")?,
        actor: text(row, "actor")?,
        at: instant(row, "at")?,
    })
}
