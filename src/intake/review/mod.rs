//! What a person does to a document: decide what waits for one, undo a match, have a held file scanned again, replay
//! dead work.
//!
//! Each decision is one transaction. It is fenced twice: by the lease under which the person has taken the item, so
//! that only the holder decides, and by the version of the document that the person saw, so that nothing is decided
//! over what has changed meanwhile.

pub mod decide;
pub mod disclosures;
pub mod quarantine;
pub mod search;
pub mod split;

use serde_json::json;
use thiserror::Error;

use crate::db::documents::{self, Change, Document};
use crate::db::{Conn, Db, DbError, Stamp, case_files, tasks, work};
use crate::engine::tell_of_work;
use crate::intake::aging::Aging;
use crate::intake::stages;
use crate::model::document::{Channel, DocumentState};
use crate::model::event::EventType;
use crate::model::ids::DocumentId;
use crate::model::judgement::ReasonCode;

/// Why it was not done.
#[derive(Debug, Error)]
pub enum ReviewError {
    /// The document is not known.
    #[error("there is no such document")]
    NoDocument,
    /// It is not in the state for this.
    #[error("the document is {state}; only one that is {needs} can be changed so")]
    State {
        /// Its state.
        state: DocumentState,
        /// What would be needed.
        needs: &'static str,
    },
    /// It is not as the person saw it.
    #[error("the document has changed since it was read (version {found}, not {expected}); look at it again")]
    Conflict {
        /// The version that the person saw.
        expected: i64,
        /// The version that it is.
        found: i64,
    },
    /// The person does not have the item, or not any more.
    #[error("the item is not yours, or its time ran out; take it again")]
    NotHolder,
    /// There is no such case of the document's brand.
    #[error("there is no such case of the document's brand")]
    NoCase,
    /// The case is none of those proposed.
    #[error("the case is none of those that are proposed for the document; choose it by its number instead")]
    NotProposed,
    /// What came on that channel is here and can't be refused (INT-21).
    #[error("what came by {channel} can't be refused; return it as not ours, or have it scanned again")]
    CantRefuse {
        /// How it came.
        channel: Channel,
    },
    /// It is held for more than policy.
    #[error(
        "the file is held because of {reason}, which nobody can waive; only what policy alone holds can be released"
    )]
    NotReleasable {
        /// Why it is held.
        reason: &'static str,
    },
    /// The page ranges do not take the document apart.
    #[error("{0}")]
    Ranges(String),
    /// The document can't be taken apart.
    #[error("{0}")]
    CantSplit(&'static str),
    /// The store failed; nothing has changed.
    #[error("{0}")]
    Store(String),
    /// There is no such dead letter.
    #[error("there is no dead letter of that subject and stage")]
    NoDeadLetter,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl ReviewError {
    fn not_releasable(reason: Option<ReasonCode>) -> Self {
        Self::NotReleasable { reason: reason.map_or("an unknown reason", ReasonCode::as_str) }
    }
}

/// What a person decides over, and what fences the decision.
#[derive(Debug, Clone, Copy)]
pub struct Claimed<'a> {
    /// The document.
    pub document: &'a DocumentId,
    /// The token of the lease under which the person that the stamp names has it ([`tasks::claim_next`]).
    pub token: &'a str,
    /// The version of the document that the person saw.
    pub version: i64,
}

/// Takes the document for the rest of the transaction, if it is as the person saw it, in one of `states`, and theirs.
async fn claimed(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    claim: &Claimed<'_>,
    states: &[DocumentState],
    needs: &'static str,
) -> Result<Document, ReviewError> {
    // the document before its task, like every transition
    let document = documents::lock(conn, claim.document).await?.ok_or(ReviewError::NoDocument)?;
    if !states.contains(&document.state) {
        return Err(ReviewError::State { state: document.state, needs });
    }
    if document.version != claim.version {
        return Err(ReviewError::Conflict { expected: claim.version, found: document.version });
    }
    if !tasks::hold(conn, stamp, claim.document, claim.token).await? {
        return Err(ReviewError::NotHolder);
    }
    Ok(document)
}

/// Takes a document off its case (INT-17). The candidates and their evidence stay, for the next decision. `version` is
/// the one that the person saw, where they saw one.
///
/// # Errors
/// See [`ReviewError`].
pub async fn undo_match(
    db: &Db,
    stamp: Stamp<'_>,
    aging: Aging<'_>,
    id: &DocumentId,
    version: Option<i64>,
) -> Result<(), ReviewError> {
    let mut tx = db.begin().await?;
    let document = documents::lock(&mut tx, id).await?.ok_or(ReviewError::NoDocument)?;
    if document.state != DocumentState::Matched {
        return Err(ReviewError::State { state: document.state, needs: "matched" });
    }
    if let Some(expected) = version.filter(|expected| *expected != document.version) {
        return Err(ReviewError::Conflict { expected, found: document.version });
    }
    let payload = json!({ "case_id": document.case_id });
    documents::note(&mut tx, stamp, &document, EventType::MatchUndone, payload).await?;
    let proposed: Vec<_> =
        case_files::candidates(&mut tx, id.as_str()).await?.into_iter().map(|candidate| candidate.case_id).collect();
    let due_at = Some(aging.match_due(&mut tx, &document, &proposed).await?);
    let change = Change { off_case: true, due_at, ..Change::default() };
    documents::transition(&mut tx, stamp, &document, DocumentState::NeedsReview, change).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

/// Has a held document judged again, from the start: what held it may be gone.
///
/// # Errors
/// See [`ReviewError`].
pub async fn rescan(db: &Db, stamp: Stamp<'_>, id: &DocumentId) -> Result<(), ReviewError> {
    let mut tx = db.begin().await?;
    let document = documents::get(&mut tx, id).await?.ok_or(ReviewError::NoDocument)?;
    if document.state != DocumentState::Held {
        return Err(ReviewError::State { state: document.state, needs: "held" });
    }
    documents::note(&mut tx, stamp, &document, EventType::RescanAsked, json!({})).await?;
    documents::transition(&mut tx, stamp, &document, DocumentState::Received, Change::default()).await?;
    work::put(&mut tx, stamp, id.as_str(), stages::FIRST).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

/// Sets a dead letter to work again, with its tries anew (INT-18).
///
/// # Errors
/// See [`ReviewError`].
pub async fn replay(db: &Db, stamp: Stamp<'_>, subject: &str, stage: &str) -> Result<(), ReviewError> {
    let mut tx = db.begin().await?;
    if !work::replay(&mut tx, stamp, subject, stage).await? {
        return Err(ReviewError::NoDeadLetter);
    }
    tell_of_work(&mut tx, stamp, EventType::WorkReplayed, subject, stage).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}
