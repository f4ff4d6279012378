//! Judged bytes, once per brand. Documents refer to them by hash (INT-14).

use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, number, opt_text, parsed, text};
use crate::codes;
use crate::db::documents::Judged;
use crate::model::ids::{Brand, Sha256};

codes! {
    /// What the bytes are.
    pub enum ContentState {
        /// Scanned clean, in `content/`.
        Clean = "clean",
        /// Infected, in `quarantine/`.
        Infected = "infected",
        /// No document refers to them any more; the object is going.
        Deleting = "deleting",
    }
}

/// A content row.
#[derive(Debug, Clone)]
pub struct Content {
    /// The brand whose documents refer to it.
    pub brand: Brand,
    /// Hash of the bytes.
    pub sha256: Sha256,
    /// Size in bytes.
    pub size_bytes: u64,
    /// What the bytes are.
    pub state: ContentState,
    /// The version of the object, where the store keeps versions: only what was scanned is ever served.
    pub version_id: Option<String>,
    /// Who judged them, and by what.
    pub judged: Judged,
}

/// The content of that hash.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, brand: &Brand, sha256: &Sha256) -> Result<Option<Content>, DbError> {
    let row = sqlx::query(
        "SELECT brand, sha256, size_bytes, state, version_id, signature, engine, signatures FROM content
         WHERE brand = $1 AND sha256 = $2",
    )
    .bind(brand.as_str())
    .bind(sha256.as_str())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Writes a judgement of bytes whose object is in its place. The newest judgement stands, but what was
/// infected once does not become clean by an older signature set: that is an operator's matter. Content that is being
/// destroyed stays as it is: who finds it so comes back when it is gone.
///
/// # Errors
/// When the database fails.
pub async fn put(conn: &mut Conn, stamp: Stamp<'_>, content: &Content) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO content (brand, sha256, size_bytes, state, version_id, signature, engine, signatures, judged_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (brand, sha256) DO UPDATE SET state = excluded.state, version_id = excluded.version_id,
            signature = excluded.signature, engine = excluded.engine, signatures = excluded.signatures,
            judged_at = excluded.judged_at
         WHERE content.state <> 'deleting' AND NOT (content.state = 'infected' AND excluded.state = 'clean')",
    )
    .bind(content.brand.as_str())
    .bind(content.sha256.as_str())
    .bind(i64::try_from(content.size_bytes).unwrap_or(i64::MAX))
    .bind(content.state.as_str())
    .bind(content.version_id.as_deref())
    .bind(content.judged.signature.as_deref())
    .bind(&content.judged.engine)
    .bind(&content.judged.signatures)
    .bind(stamp.now())
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks clean content as judged anew by a newer signature set.
///
/// # Errors
/// [`DbError::Stale`] when it is not clean any more.
pub async fn set_rescanned(conn: &mut Conn, stamp: Stamp<'_>, content: &Content, by: &Judged) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE content SET engine = $1, signatures = $2, judged_at = $3
         WHERE brand = $4 AND sha256 = $5 AND state = 'clean'",
    )
    .bind(&by.engine)
    .bind(&by.signatures)
    .bind(stamp.now())
    .bind(content.brand.as_str())
    .bind(content.sha256.as_str())
    .execute(conn)
    .await?;
    exactly_one(&done, "content")
}

/// Clean content that was judged by other signatures than `signatures`, in pages by (brand, hash).
///
/// # Errors
/// When the database fails.
pub async fn judged_by_others(
    conn: &mut Conn,
    signatures: &str,
    after: (&str, &str),
    limit: i64,
) -> Result<Vec<Content>, DbError> {
    let rows = sqlx::query(
        "SELECT brand, sha256, size_bytes, state, version_id, signature, engine, signatures FROM content
         WHERE state = 'clean' AND signatures <> $1 AND (brand > $2 OR (brand = $2 AND sha256 > $3))
         ORDER BY brand, sha256 LIMIT $4",
    )
    .bind(signatures)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Contents found infected since then (microseconds).
///
/// # Errors
/// When the database fails.
pub async fn infected_since(conn: &mut Conn, since: i64, limit: i64) -> Result<Vec<(Brand, Sha256)>, DbError> {
    let rows = sqlx::query(
        "SELECT brand, sha256 FROM content WHERE state = 'infected' AND judged_at >= $1 ORDER BY judged_at DESC LIMIT $2",
    )
    .bind(since)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((parsed(row, "brand")?, parsed(row, "sha256")?))).collect()
}

/// Marks infected content as being destroyed. False when it is not infected, or is on its way already.
///
/// # Errors
/// When the database fails.
pub async fn set_deleting(conn: &mut Conn, brand: &Brand, sha256: &Sha256) -> Result<bool, DbError> {
    let done =
        sqlx::query("UPDATE content SET state = 'deleting' WHERE brand = $1 AND sha256 = $2 AND state = 'infected'")
            .bind(brand.as_str())
            .bind(sha256.as_str())
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Marks content as being destroyed, if every document of it is purged. Who stores the same bytes meanwhile holds the row
/// until its document says so, or finds the mark and waits.
///
/// # Errors
/// When the database fails.
pub async fn set_unused(conn: &mut Conn, brand: &Brand, sha256: &Sha256) -> Result<bool, DbError> {
    // a statement of its own: the next one sees what was written while this one waited for the row
    sqlx::query("UPDATE content SET state = state WHERE brand = $1 AND sha256 = $2")
        .bind(brand.as_str())
        .bind(sha256.as_str())
        .execute(&mut *conn)
        .await?;
    let done = sqlx::query(
        "UPDATE content SET state = 'deleting' WHERE brand = $1 AND sha256 = $2 AND state <> 'deleting'
         AND NOT EXISTS (SELECT 1 FROM document d WHERE d.brand = $1 AND d.sha256 = $2 AND d.state <> 'purged')",
    )
    .bind(brand.as_str())
    .bind(sha256.as_str())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether somebody is just storing these bytes, or was when their process died: what they copied must not be taken from
/// under them.
///
/// # Errors
/// When the database fails.
pub async fn is_stored_now(conn: &mut Conn, brand: &Brand, sha256: &Sha256) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM document d JOIN work w ON w.subject = d.id
         WHERE d.brand = $1 AND d.sha256 = $2 AND w.stage = 'store' AND w.state = 'running'",
    )
    .bind(brand.as_str())
    .bind(sha256.as_str())
    .fetch_one(conn)
    .await?;
    Ok(number(&row, "n")? > 0)
}

/// Takes the row of destroyed content away. False when another was first.
///
/// # Errors
/// When the database fails.
pub async fn remove_deleting(conn: &mut Conn, brand: &Brand, sha256: &Sha256) -> Result<bool, DbError> {
    let done = sqlx::query("DELETE FROM content WHERE brand = $1 AND sha256 = $2 AND state = 'deleting'")
        .bind(brand.as_str())
        .bind(sha256.as_str())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Contents whose destruction has begun.
///
/// # Errors
/// When the database fails.
pub async fn deleting(conn: &mut Conn, limit: i64) -> Result<Vec<(Brand, Sha256)>, DbError> {
    let rows =
        sqlx::query("SELECT brand, sha256 FROM content WHERE state = 'deleting' ORDER BY brand, sha256 LIMIT $1")
            .bind(limit)
            .fetch_all(conn)
            .await?;
    rows.iter().map(|row| Ok((parsed(row, "brand")?, parsed(row, "sha256")?))).collect()
}

/// How many contents there are in a state.
///
/// # Errors
/// When the database fails.
pub async fn count(conn: &mut Conn, state: ContentState) -> Result<i64, DbError> {
    let row =
        sqlx::query("SELECT COUNT(*) AS n FROM content WHERE state = $1").bind(state.as_str()).fetch_one(conn).await?;
    number(&row, "n")
}

fn read(row: &AnyRow) -> Result<Content, DbError> {
    Ok(Content {
        brand: parsed(row, "brand")?,
        sha256: parsed(row, "sha256")?,
        size_bytes: u64::try_from(number(row, "size_bytes")?).unwrap_or(0),
        state: parsed(row, "state")?,
        version_id: opt_text(row, "version_id")?,
        judged: Judged {
            signature: opt_text(row, "signature")?,
            engine: text(row, "engine")?,
            signatures: text(row, "signatures")?,
        },
    })
}
