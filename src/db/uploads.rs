//! Resumable uploads and their parts. A part counts from the transaction that writes its row and moves the offset;
//! an object without a row is nothing.
//!
//! One writer at a time: whoever writes holds a lease, and every statement that changes an upload is fenced by its
//! token, so a writer that lost it changes nothing, whatever its clock says.

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::documents::{with_nul, without_nul};
use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_parsed, opt_text, parsed, text};
use crate::codes;
use crate::model::document::FileName;
use crate::model::ids::{Brand, DocumentId, Sha256, SubmissionId, UploadId};
use crate::model::judgement::{Reason, ReasonCode};
use crate::model::phi::Phi;

codes! {
    /// Where a resumable upload is.
    pub enum UploadState {
        /// It takes bytes, or all are there and it is about to become a document.
        Receiving = "receiving",
        /// It became its document.
        Complete = "complete",
        /// Its file was refused, with the reason.
        Refused = "refused",
        /// Its submission took no more files.
        Closed = "closed",
        /// It was not whole in time.
        Expired = "expired",
        /// Its sender gave it up.
        Terminated = "terminated",
    }
}

/// A resumable upload.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// The submission its file is for.
    pub submission_id: SubmissionId,
    /// The submission's brand.
    pub brand: Brand,
    /// Who began it, as events name them.
    pub owner: String,
    /// The sender's name for the file.
    pub file_name: FileName,
    /// What the sender said of it, in the sender's own form, to be given back as it is.
    pub metadata: Option<Phi<String>>,
    /// Where it is.
    pub state: UploadState,
    /// The file's size in bytes.
    pub length_bytes: u64,
    /// How many of them are durable.
    pub offset_bytes: u64,
    /// In how many parts.
    pub parts: i64,
    /// The document it is, or is to become.
    pub document_id: DocumentId,
    /// Tries to complete it that failed for a passing reason.
    pub tries: i64,
    /// Before then it is not tried again.
    pub due_at: Timestamp,
    /// The token of who writes, and until when.
    pub lease: Option<(String, Timestamp)>,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it ends if it is not whole.
    pub expires_at: Timestamp,
}

impl Upload {
    /// Whether all of its bytes are durable.
    pub const fn is_whole(&self) -> bool {
        self.offset_bytes == self.length_bytes
    }

    /// Whether its time is over. That of one whose bytes are all there never is: they were accepted, however long it
    /// takes to make them a document.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        !self.is_whole() && self.expires_at <= now
    }
}

/// A part: what one request brought.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where it begins.
    pub first_byte: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its hash.
    pub sha256: Sha256,
    /// The name of its object.
    pub name: String,
    /// The version of its object, where the store keeps versions.
    pub version_id: Option<String>,
    /// When it was there.
    pub created_at: Timestamp,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, submission_id, brand, owner, file_name, metadata, state, length_bytes, offset_bytes, parts,
             document_id, tries, due_at, lease_token, lease_until, reason_code, reason, created_at, expires_at
             FROM upload ",
            $tail
        )
    };
}

/// Begins an upload.
///
/// # Errors
/// When the database fails.
pub async fn insert(conn: &mut Conn, new: &Upload) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO upload (id, submission_id, brand, owner, file_name, metadata, state, length_bytes, offset_bytes,
                             parts, document_id, tries, due_at, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(new.id.as_str())
    .bind(new.submission_id.as_str())
    .bind(new.brand.as_str())
    .bind(&new.owner)
    .bind(without_nul(new.file_name.reveal()))
    .bind(new.metadata.as_ref().map(|metadata| without_nul(metadata.reveal())))
    .bind(new.state.as_str())
    .bind(signed(new.length_bytes))
    .bind(signed(new.offset_bytes))
    .bind(new.parts)
    .bind(new.document_id.as_str())
    .bind(new.tries)
    .bind(new.due_at.as_microsecond())
    .bind(new.created_at.as_microsecond())
    .bind(new.expires_at.as_microsecond())
    .execute(conn)
    .await?;
    Ok(())
}

/// The upload of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &UploadId) -> Result<Option<Upload>, DbError> {
    let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// How many uploads an owner has under way.
///
/// # Errors
/// When the database fails.
pub async fn under_way(conn: &mut Conn, owner: &str) -> Result<i64, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM upload WHERE owner = $1 AND state = 'receiving'")
        .bind(owner)
        .fetch_one(conn)
        .await?;
    number(&row, "n")
}

/// Takes the lease of an upload under way until `until` (microseconds), where nobody has it. True when it is ours.
///
/// # Errors
/// When the database fails.
pub async fn take(conn: &mut Conn, stamp: Stamp<'_>, id: &UploadId, token: &str, until: i64) -> Result<bool, DbError> {
    let taken = sqlx::query(
        "UPDATE upload SET lease_token = $1, lease_until = $2
         WHERE id = $3 AND state = 'receiving' AND (lease_token IS NULL OR lease_until < $4)",
    )
    .bind(token)
    .bind(until)
    .bind(id.as_str())
    .bind(stamp.now())
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Lengthens the lease. False when it is no longer ours.
///
/// # Errors
/// When the database fails.
pub async fn renew(conn: &mut Conn, id: &UploadId, token: &str, until: i64) -> Result<bool, DbError> {
    let done = sqlx::query("UPDATE upload SET lease_until = $1 WHERE id = $2 AND lease_token = $3")
        .bind(until)
        .bind(id.as_str())
        .bind(token)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Asks the writer that holds this lease to give way. It concerns that lease alone: the next one stands as any other.
///
/// # Errors
/// When the database fails.
pub async fn ask_to_give_way(conn: &mut Conn, id: &UploadId, token: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE upload SET give_way = lease_token WHERE id = $1 AND lease_token = $2")
        .bind(id.as_str())
        .bind(token)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether the writer that holds this lease was asked to give way.
///
/// # Errors
/// When the database fails.
pub async fn is_asked_to_give_way(conn: &mut Conn, id: &UploadId, token: &str) -> Result<bool, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM upload WHERE id = $1 AND give_way = $2")
        .bind(id.as_str())
        .bind(token)
        .fetch_one(conn)
        .await?;
    Ok(number(&row, "n")? > 0)
}

/// Gives the lease back. It changes nothing where it is no longer ours.
///
/// # Errors
/// When the database fails.
pub async fn release(conn: &mut Conn, id: &UploadId, token: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE upload SET lease_token = NULL, lease_until = NULL WHERE id = $1 AND lease_token = $2")
        .bind(id.as_str())
        .bind(token)
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts a part whose object is durable, and moves the offset behind it.
///
/// # Errors
/// [`DbError::Stale`] when the lease is no longer ours: the caller's transaction must not commit.
pub async fn add_part(conn: &mut Conn, upload: &Upload, token: &str, part: &Part) -> Result<(), DbError> {
    let moved = sqlx::query(
        "UPDATE upload SET offset_bytes = offset_bytes + $1, parts = parts + 1
         WHERE id = $2 AND lease_token = $3 AND state = 'receiving' AND offset_bytes = $4",
    )
    .bind(signed(part.size_bytes))
    .bind(upload.id.as_str())
    .bind(token)
    .bind(signed(part.first_byte))
    .execute(&mut *conn)
    .await?;
    exactly_one(&moved, "upload")?;
    sqlx::query(
        "INSERT INTO upload_part (upload_id, first_byte, size_bytes, sha256, name, version_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(upload.id.as_str())
    .bind(signed(part.first_byte))
    .bind(signed(part.size_bytes))
    .bind(part.sha256.as_str())
    .bind(&part.name)
    .bind(part.version_id.as_deref())
    .bind(part.created_at.as_microsecond())
    .execute(conn)
    .await?;
    Ok(())
}

/// An upload's parts in their order.
///
/// # Errors
/// When the database fails.
pub async fn parts(conn: &mut Conn, id: &UploadId) -> Result<Vec<Part>, DbError> {
    let rows = sqlx::query(
        "SELECT first_byte, size_bytes, sha256, name, version_id, created_at FROM upload_part
         WHERE upload_id = $1 ORDER BY first_byte",
    )
    .bind(id.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_part).collect()
}

/// Gives the upload another document to become: the one chosen before never was received, and is ended.
///
/// # Errors
/// [`DbError::Stale`] when the lease is no longer ours: the caller's transaction must not commit.
pub async fn choose_document(
    conn: &mut Conn,
    id: &UploadId,
    token: &str,
    document: &DocumentId,
) -> Result<(), DbError> {
    let done =
        sqlx::query("UPDATE upload SET document_id = $1 WHERE id = $2 AND lease_token = $3 AND state = 'receiving'")
            .bind(document.as_str())
            .bind(id.as_str())
            .bind(token)
            .execute(conn)
            .await?;
    exactly_one(&done, "upload")
}

/// Puts completing off until `due_at` (microseconds). It changes nothing where the lease is no longer ours.
///
/// # Errors
/// When the database fails.
pub async fn put_off(conn: &mut Conn, id: &UploadId, token: &str, due_at: i64) -> Result<(), DbError> {
    sqlx::query("UPDATE upload SET tries = tries + 1, due_at = $1 WHERE id = $2 AND lease_token = $3")
        .bind(due_at)
        .bind(id.as_str())
        .bind(token)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends an upload, and its lease with it.
///
/// # Errors
/// [`DbError::Stale`] when the lease is no longer ours.
pub async fn end(
    conn: &mut Conn,
    id: &UploadId,
    token: &str,
    state: UploadState,
    reason: Option<&Reason>,
) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE upload SET state = $1, reason_code = $2, reason = $3, lease_token = NULL, lease_until = NULL
         WHERE id = $4 AND lease_token = $5 AND state = 'receiving'",
    )
    .bind(state.as_str())
    .bind(reason.map(|reason| reason.code.as_str()))
    .bind(reason.map(|reason| reason.message.as_str()))
    .bind(id.as_str())
    .bind(token)
    .execute(conn)
    .await?;
    exactly_one(&done, "upload")
}

/// Uploads whose bytes are all there and that nobody completes, though it is due.
///
/// # Errors
/// When the database fails.
pub async fn uncompleted(conn: &mut Conn, stamp: Stamp<'_>, limit: i64) -> Result<Vec<Upload>, DbError> {
    let rows = sqlx::query(select!(
        "WHERE state = 'receiving' AND offset_bytes = length_bytes AND due_at <= $1
         AND (lease_token IS NULL OR lease_until < $1) ORDER BY due_at, id LIMIT $2"
    ))
    .bind(stamp.now())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Uploads that are not whole and whose time was over before `before` (microseconds).
///
/// # Errors
/// When the database fails.
pub async fn expired(conn: &mut Conn, before: i64, limit: i64) -> Result<Vec<Upload>, DbError> {
    let rows = sqlx::query(select!(
        "WHERE state = 'receiving' AND offset_bytes < length_bytes AND expires_at < $1
         ORDER BY expires_at, id LIMIT $2"
    ))
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Uploads in a state whose time was over before `before` (microseconds).
///
/// # Errors
/// When the database fails.
pub async fn over(conn: &mut Conn, state: UploadState, before: i64, limit: i64) -> Result<Vec<Upload>, DbError> {
    let rows = sqlx::query(select!("WHERE state = $1 AND expires_at < $2 ORDER BY expires_at, id LIMIT $3"))
        .bind(state.as_str())
        .bind(before)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// Ended uploads that have parts still.
///
/// # Errors
/// When the database fails.
pub async fn ended_with_parts(conn: &mut Conn, limit: i64) -> Result<Vec<UploadId>, DbError> {
    let rows = sqlx::query(
        "SELECT DISTINCT p.upload_id FROM upload_part p LEFT JOIN upload u ON u.id = p.upload_id
         WHERE u.id IS NULL OR u.state <> 'receiving' ORDER BY p.upload_id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| parsed(row, "upload_id")).collect()
}

/// Takes the rows of an upload's parts away, once their objects are gone.
///
/// # Errors
/// When the database fails.
pub async fn remove_parts(conn: &mut Conn, id: &UploadId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM upload_part WHERE upload_id = $1").bind(id.as_str()).execute(conn).await?;
    Ok(())
}

/// Forgets an upload that has ended: its row holds the file's name.
///
/// # Errors
/// When the database fails.
pub async fn forget(conn: &mut Conn, id: &UploadId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM upload WHERE id = $1 AND state <> 'receiving'").bind(id.as_str()).execute(conn).await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Upload, DbError> {
    let code: Option<ReasonCode> = opt_parsed(row, "reason_code")?;
    let message = opt_text(row, "reason")?;
    Ok(Upload {
        id: parsed(row, "id")?,
        submission_id: parsed(row, "submission_id")?,
        brand: parsed(row, "brand")?,
        owner: text(row, "owner")?,
        file_name: FileName::new(&with_nul(&text(row, "file_name")?))
            .map_err(|_| DbError::Unreadable { column: "file_name" })?,
        metadata: opt_text(row, "metadata")?.map(|metadata| Phi(with_nul(&metadata))),
        state: parsed(row, "state")?,
        length_bytes: unsigned(row, "length_bytes")?,
        offset_bytes: unsigned(row, "offset_bytes")?,
        parts: number(row, "parts")?,
        document_id: parsed(row, "document_id")?,
        tries: number(row, "tries")?,
        due_at: instant(row, "due_at")?,
        lease: opt_text(row, "lease_token")?.zip(opt_instant(row, "lease_until")?),
        reason: code.map(|code| Reason::new(code, message.unwrap_or_default())),
        created_at: instant(row, "created_at")?,
        expires_at: instant(row, "expires_at")?,
    })
}

fn read_part(row: &AnyRow) -> Result<Part, DbError> {
    Ok(Part {
        first_byte: unsigned(row, "first_byte")?,
        size_bytes: unsigned(row, "size_bytes")?,
        sha256: parsed(row, "sha256")?,
        name: text(row, "name")?,
        version_id: opt_text(row, "version_id")?,
        created_at: instant(row, "created_at")?,
    })
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(row: &AnyRow, column: &'static str) -> Result<u64, DbError> {
    u64::try_from(number(row, column)?).map_err(|_| DbError::Unreadable { column })
}
