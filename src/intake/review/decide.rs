//! What a person decides over what waits: the case of a document, that it is not ours, and what becomes of a held file.

use serde_json::json;

use super::{Claimed, ReviewError, claimed};
use crate::db::documents::{self, Change, Document};
use crate::db::{Conn, Db, DbError, Stamp, case_files, returns, work};
use crate::intake::stages::{self, settle_submission};
use crate::model::document::{DocumentState, ReturnReason};
use crate::model::event::EventType;
use crate::model::ids::CaseId;
use crate::model::judgement::{Reason, ReasonCode};

const TO_MATCH: &[DocumentState] = &[DocumentState::NeedsReview, DocumentState::Unmatched];
const NEEDS_MATCH: &str = "in review or unmatched";

/// Puts a document on one of the cases proposed for it (OPS-01).
///
/// # Errors
/// [`ReviewError::NotProposed`], and see [`ReviewError`].
pub async fn accept(db: &Db, stamp: Stamp<'_>, claim: &Claimed<'_>, case: &CaseId) -> Result<(), ReviewError> {
    assign(db, stamp, claim, case, true).await
}

/// Puts a document on any case of its brand, proposed or not (OPS-01).
///
/// # Errors
/// See [`ReviewError`].
pub async fn choose(db: &Db, stamp: Stamp<'_>, claim: &Claimed<'_>, case: &CaseId) -> Result<(), ReviewError> {
    assign(db, stamp, claim, case, false).await
}

async fn assign(
    db: &Db,
    stamp: Stamp<'_>,
    claim: &Claimed<'_>,
    case: &CaseId,
    only_proposed: bool,
) -> Result<(), ReviewError> {
    let mut tx = db.begin().await?;
    let document = claimed(&mut tx, stamp, claim, TO_MATCH, NEEDS_MATCH).await?;
    let found = case_files::get(&mut tx, case).await?.filter(|found| found.brand == document.brand);
    let found = found.ok_or(ReviewError::NoCase)?;
    let proposed = put_first(&mut tx, &document, &found.id).await?;
    if only_proposed && !proposed {
        return Err(ReviewError::NotProposed);
    }
    let told = vec![("by", json!("person")), ("proposed", json!(proposed))];
    let change = Change { case_id: Some(found.id), told, ..Change::default() };
    documents::transition(&mut tx, stamp, &document, DocumentState::Matched, change).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

/// Puts the decided case before the other candidates, which stay for the case that the match is undone. Whether it was
/// one of them; if not, it has no evidence but the person's word.
async fn put_first(conn: &mut Conn, document: &Document, case: &CaseId) -> Result<bool, DbError> {
    let all = case_files::candidates(conn, document.id.as_str()).await?;
    let (mut kept, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .map(|candidate| (candidate.case_id, candidate.millibits, candidate.evidence))
        .partition(|(id, ..)| id == case);
    let proposed = !kept.is_empty();
    if !proposed {
        kept.push((case.clone(), 0, "[]".to_owned()));
    }
    kept.extend(others);
    case_files::put_candidates(conn, document.id.as_str(), &kept).await?;
    Ok(proposed)
}

/// Says that a document is not ours: it goes back, with an entry in the return log (OPS-07). Also the way out for a
/// held one that came on paper or by fax and can't be refused (INT-21).
///
/// # Errors
/// See [`ReviewError`].
pub async fn return_as_not_ours(
    db: &Db,
    stamp: Stamp<'_>,
    claim: &Claimed<'_>,
    reason: ReturnReason,
) -> Result<(), ReviewError> {
    const STATES: &[DocumentState] = &[DocumentState::NeedsReview, DocumentState::Unmatched, DocumentState::Held];
    let mut tx = db.begin().await?;
    let document = claimed(&mut tx, stamp, claim, STATES, "in review, unmatched or held").await?;
    returns::log(&mut tx, stamp, &document, reason).await?;
    let change = Change {
        reason: Some(Reason::new(ReasonCode::NotOurs, "this document is not for this payer; it was sent back")),
        told: vec![("returned_for", json!(reason))],
        ..Change::default()
    };
    let held = document.state == DocumentState::Held;
    documents::transition(&mut tx, stamp, &document, DocumentState::Returned, change).await?;
    if held {
        settle_submission(&mut tx, stamp, &document).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

/// Refuses a held file for what it is held for (OPS-03).
///
/// # Errors
/// [`ReviewError::CantRefuse`] for what came on paper or by fax, and see [`ReviewError`].
pub async fn reject(db: &Db, stamp: Stamp<'_>, claim: &Claimed<'_>) -> Result<(), ReviewError> {
    let mut tx = db.begin().await?;
    let document = claimed(&mut tx, stamp, claim, &[DocumentState::Held], "held").await?;
    if !document.channel.can_refuse() {
        return Err(ReviewError::CantRefuse { channel: document.channel });
    }
    let code = document.reason.as_ref().map_or(ReasonCode::Unreadable, |reason| reason.code);
    let message = format!("a person looked at this file and refused it ({code}); send it in another form");
    let change =
        Change { reason: Some(Reason::new(code, message)), told: vec![("by", json!("person"))], ..Change::default() };
    documents::transition(&mut tx, stamp, &document, DocumentState::Rejected, change).await?;
    settle_submission(&mut tx, stamp, &document).await?;
    // its bytes are swept from incoming like any that no document needs
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

/// Releases a held file from what policy alone holds it for (OPS-03). It is not stored by that: it is judged anew from
/// the start with that one reason waived, and only the scanner's clean word stores it. For a file is held before it is
/// scanned, or because it could not be: no held file has a clean verdict to rely on.
///
/// # Errors
/// [`ReviewError::NotReleasable`] where more than policy holds it, and see [`ReviewError`].
pub async fn release(db: &Db, stamp: Stamp<'_>, claim: &Claimed<'_>) -> Result<(), ReviewError> {
    let mut tx = db.begin().await?;
    let document = claimed(&mut tx, stamp, claim, &[DocumentState::Held], "held").await?;
    let code = document.reason.as_ref().map(|reason| reason.code);
    let Some(waived) = code.filter(|code| code.is_policy()) else { return Err(ReviewError::not_releasable(code)) };
    documents::note(&mut tx, stamp, &document, EventType::HoldWaived, json!({ "reason": waived })).await?;
    let change = Change { waived: Some(waived), ..Change::default() };
    documents::transition(&mut tx, stamp, &document, DocumentState::Received, change).await?;
    work::put(&mut tx, stamp, document.id.as_str(), stages::FIRST).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}
