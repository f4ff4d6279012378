//! What waits for a person: one row per document in a state where somebody must act. It is written and taken away
//! with the document's state, so the queue is read by its own index, however many documents there are.

use jiff::Timestamp;

use super::{Conn, DbError, Stamp};
use crate::codes;
use crate::db::documents::Document;
use crate::model::document::DocumentState;
use crate::model::ids::DocumentId;

codes! {
    /// What a person has to do.
    pub enum TaskKind {
        /// Choose the case, or say that there is none (OPS-01).
        Match = "match",
        /// Decide over a file that could not be judged (OPS-03).
        Held = "held",
    }
}

impl TaskKind {
    /// What a person has to do for a document in this state, if anything.
    pub const fn of(state: DocumentState) -> Option<Self> {
        match state {
            DocumentState::NeedsReview | DocumentState::Unmatched => Some(Self::Match),
            DocumentState::Held => Some(Self::Held),
            _ => None,
        }
    }
}

/// Has a document wait for a person. One that waits already keeps its deadline unless a new one is given.
///
/// # Errors
/// When the database fails.
pub(super) async fn put(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    document: &Document,
    kind: TaskKind,
    due_at: Option<Timestamp>,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO task (document_id, kind, brand, mode, received_at, created_at, deadline_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (document_id) DO UPDATE SET kind = excluded.kind, deadline_at = COALESCE($8, task.deadline_at),
            holder = NULL, lease_token = NULL, lease_until = NULL",
    )
    .bind(document.id.as_str())
    .bind(kind.as_str())
    .bind(document.brand.as_str())
    .bind(document.brand.mode().as_str())
    .bind(document.received_at.as_microsecond())
    .bind(stamp.now())
    .bind(due_at.unwrap_or(document.received_at).as_microsecond())
    .bind(due_at.map(Timestamp::as_microsecond))
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a document's task away: somebody has acted, or there is nothing to do any more.
///
/// # Errors
/// When the database fails.
pub(super) async fn remove(conn: &mut Conn, document: &DocumentId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM task WHERE document_id = $1").bind(document.as_str()).execute(conn).await?;
    Ok(())
}
