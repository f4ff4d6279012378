//! The quarantine: what was found and where it came from. Nothing is released from it; what is destroyed is destroyed
//! for good, and the audit log says by whom (OPS-03).
//!
//! Destruction is in three steps, each repeatable: the content is marked `deleting`, its object is deleted, then its
//! documents become `purged` and the row goes. A crash in between leaves the mark, and a reconciler goes on from there.
//! While it is there, the same bytes arriving anew wait.

use serde_json::json;

use super::ReviewError;
use crate::db::documents::{self, Change, Document};
use crate::db::{Conn, Db, DbError, Stamp, contents};
use crate::engine::stage::stop_at;
use crate::model::access::Mode;
use crate::model::document::DocumentState;
use crate::model::event::EventType;
use crate::model::ids::{Brand, DocumentId, Sha256};
use crate::outside::objects::{ObjectKey, Objects};

/// Quarantined documents of a mode, newest first, behind the row `after` (when it was made in microseconds, its id).
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut Conn,
    mode: Mode,
    after: Option<(i64, &DocumentId)>,
    limit: i64,
) -> Result<Vec<Document>, DbError> {
    documents::newest_in_state(conn, DocumentState::Quarantined, mode, after, limit).await
}

/// Destroys the bytes of a quarantined document; with it all documents of these bytes are purged. How many they were.
///
/// # Errors
/// [`ReviewError::Conflict`] when the document is not as the person saw it; [`ReviewError::Store`] when the store
/// failed: the destruction has then begun, and goes on by itself.
pub async fn destroy(
    db: &Db,
    objects: &dyn Objects,
    stamp: Stamp<'_>,
    id: &DocumentId,
    version: i64,
) -> Result<u64, ReviewError> {
    const NEEDS: &str = "quarantined";
    let mut tx = db.begin().await?;
    let document = documents::lock(&mut tx, id).await?.ok_or(ReviewError::NoDocument)?;
    let (DocumentState::Quarantined, Some(sha256)) = (document.state, &document.sha256) else {
        return Err(ReviewError::State { state: document.state, needs: NEEDS });
    };
    if document.version != version {
        return Err(ReviewError::Conflict { expected: version, found: document.version });
    }
    if contents::set_deleting(&mut tx, &document.brand, sha256).await? {
        documents::note(&mut tx, stamp, &document, EventType::DestructionAsked, json!({})).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    stop_at("destroy", "begun").await;
    end_destruction(db, objects, stamp, &document.brand, sha256).await
}

/// Ends a destruction that has begun. How many documents it purged.
///
/// # Errors
/// [`ReviewError::Store`] when the store failed.
pub async fn end_destruction(
    db: &Db,
    objects: &dyn Objects,
    stamp: Stamp<'_>,
    brand: &Brand,
    sha256: &Sha256,
) -> Result<u64, ReviewError> {
    {
        let mut conn = db.read().await?;
        if contents::is_stored_now(&mut conn, brand, sha256).await? {
            return Err(ReviewError::Store("the same bytes are just being stored".into()));
        }
    }
    // Retention marks clean bytes, too; those go first, so that no copy of them comes after.
    for key in [ObjectKey::content(brand, sha256), ObjectKey::quarantine(brand, sha256)] {
        objects.delete(&key).await.map_err(|error| ReviewError::Store(error.to_string()))?;
    }
    stop_at("destroy", "deleted").await;
    let mut tx = db.begin().await?;
    if !contents::remove_deleting(&mut tx, brand, sha256).await? {
        return Ok(0);
    }
    let mut purged = 0;
    for document in documents::of_content(&mut tx, brand, sha256).await? {
        if document.state == DocumentState::Quarantined {
            // what was found stays told
            let change = Change { reason: document.reason.clone(), ..Change::default() };
            documents::transition(&mut tx, stamp, &document, DocumentState::Purged, change).await?;
            purged += 1;
        }
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(purged)
}
