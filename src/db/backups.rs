//! What back-ups and restores need of the database: a copy of it, a time in which no object is deleted, and what of an
//! older state must not go on by itself.

use serde_json::json;

use super::{Conn, Db, DbError, Stamp, batches, events, leases, number, outgoing, parsed};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{BatchId, Brand};
use crate::model::outgoing::Outgoing;

/// Under this name stands until when no object is deleted.
const LEASE: &str = "backup";

/// Keeps all objects from being deleted until then (microseconds), for the copy of a database to find what it names. False
/// when they are kept already: the end of one back-up must not be that of another.
///
/// # Errors
/// When the database fails.
pub async fn keep_objects(conn: &mut Conn, stamp: Stamp<'_>, until: i64) -> Result<bool, DbError> {
    leases::take(conn, stamp, LEASE, &stamp.ctx.new_id(), until).await
}

/// Lets objects be deleted again.
///
/// # Errors
/// When the database fails.
pub async fn let_objects_go(conn: &mut Conn) -> Result<(), DbError> {
    sqlx::query("DELETE FROM lease WHERE name = $1").bind(LEASE).execute(conn).await?;
    Ok(())
}

/// Whether no object may be deleted now (microseconds).
///
/// # Errors
/// When the database fails.
pub async fn keeps_objects(conn: &mut Conn, now: i64) -> Result<bool, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM lease WHERE name = $1 AND until_at > $2")
        .bind(LEASE)
        .bind(now)
        .fetch_one(conn)
        .await?;
    Ok(number(&row, "n")? > 0)
}

impl Db {
    /// Writes the database as it is at one instant into a new file, beside running nodes. The caller syncs it.
    ///
    /// # Errors
    /// When it is no SQLite database, the file is there already, or can't be written.
    pub async fn copy_into(&self, file: &str) -> Result<(), DbError> {
        let mut conn = self.writer.acquire().await?;
        sqlx::query("VACUUM INTO $1").bind(file).execute(&mut *conn).await?;
        Ok(())
    }
}

/// What was put before a person after a restore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Doubts {
    /// Mails that were planned or under way.
    pub mails: u64,
    /// Print batches that were not done.
    pub batches: u64,
}

/// Has nothing go on by itself that may have been done after this state of the database was copied: mails that were
/// planned are in doubt, print batches that were not done are held, and what would come after them is held back.
/// Versions of objects are forgotten: a store that was filled from a back-up gave them others, and hashes vouch for bytes.
///
/// # Errors
/// When the database fails.
pub async fn restored(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    (ended, reached): (i64, Option<i64>),
) -> Result<Doubts, DbError> {
    for what in Outgoing::ALL {
        outgoing::set(conn, stamp, brand, *what, true).await?;
    }
    let mails = sqlx::query(
        "UPDATE digest_mail SET state = 'in_doubt', reason = 'restored', lease_token = NULL, lease_until = NULL,
             next_at = NULL, version = version + 1
         WHERE state IN ('planned', 'claimed', 'submitting', 'retry')",
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let open = sqlx::query("SELECT id FROM print_batch WHERE state <> 'done' AND held_at IS NULL ORDER BY id")
        .fetch_all(&mut *conn)
        .await?;
    for row in &open {
        let id: BatchId = parsed(row, "id")?;
        let batch = batches::get(conn, &id).await?.ok_or(DbError::Stale { what: "print batch" })?;
        batches::set_hold(conn, stamp, &batch, Some("restored from a back-up: was it printed since?")).await?;
    }
    for statement in [
        "UPDATE content SET version_id = NULL WHERE version_id IS NOT NULL",
        "UPDATE document SET incoming_version = NULL WHERE incoming_version IS NOT NULL",
        "UPDATE upload_part SET version_id = NULL WHERE version_id IS NOT NULL",
    ] {
        sqlx::query(statement).execute(&mut *conn).await?;
    }
    // it stood while the copy was taken, and nobody would end it
    let_objects_go(conn).await?;
    let doubts = Doubts { mails, batches: open.len() as u64 };
    let payload = json!({ "ended": ended, "reached": reached, "mails": doubts.mails, "batches": doubts.batches });
    let kind = EventType::InstallationRestored;
    let event = NewEvent { kind, subject: "installation", brand, tin_uid: None, actor: stamp.actor, payload };
    events::append(conn, stamp, event).await?;
    Ok(doubts)
}
