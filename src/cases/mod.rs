//! Cases react to what intake tells, in transactions of their own: the journeys meet as rows and events.
//!
//! Until each kind's rules come, a reconsideration that names a known claim opens a bare case under REC-03,
//! and everything else names a case that is there.

pub mod status;

use async_trait::async_trait;
use serde_json::json;

use crate::db::case_files::CaseFile;
use crate::db::documents::Document;
use crate::db::submissions::{CaseAnswer, Submission};
use crate::db::{Conn, DbError, Stamp, case_files, documents, status_details, submissions, work};
use crate::engine::readers::Reader;
use crate::model::case::{CaseKind, CaseStatus, ReconsiderationStatus};
use crate::model::document::DocumentState;
use crate::model::event::{Event, EventType};
use crate::model::ids::{CaseId, CaseNumber, ReferenceNumber};
use crate::model::letter::LetterType;
use crate::model::submission::SubmissionState;

/// Also where there is such a claim, but of another practice or member than was said: they are told apart to nobody.
const UNKNOWN_CLAIM: &str = "no claim of the number named is known for the practice and member named";
/// Also where there is such a case, but of another practice.
const UNKNOWN_CASE: &str = "no case of the number named is known for the practice named";

/// The reader of submissions' events.
pub struct Cases;

/// The stage of the intake journey that waits for our answer.
const SETTLE: &str = "settle";

/// The reader's name.
pub const READER: &str = "cases";

#[async_trait]
impl Reader for Cases {
    fn name(&self) -> &'static str {
        READER
    }

    fn wants(&self, kind: EventType) -> bool {
        matches!(kind, EventType::Submission(SubmissionState::Submitted | SubmissionState::FailedVirus))
    }

    async fn react(&self, conn: &mut Conn, stamp: Stamp<'_>, event: &Event) -> Result<(), DbError> {
        let (Ok(kind), Ok(id)) = (event.kind.parse(), event.subject.parse()) else { return Ok(()) };
        let Some(submission) = submissions::get(conn, &id).await? else { return Ok(()) };
        match kind {
            EventType::Submission(SubmissionState::Submitted) => {
                let answer = answer(conn, stamp, &submission).await?;
                submissions::put_case_answer(conn, stamp, &id, &answer).await?;
                work::put(conn, stamp, id.as_str(), SETTLE).await
            }
            EventType::Submission(SubmissionState::FailedVirus) => fail(conn, stamp, &submission).await,
            _ => Ok(()),
        }
    }
}

/// The case that a submission is for.
async fn answer(conn: &mut Conn, stamp: Stamp<'_>, submission: &Submission) -> Result<CaseAnswer, DbError> {
    let said = &submission.said;
    let found = |case_id: CaseId| CaseAnswer { case_id: Some(case_id), answer: "named".into() };
    let none = |answer: &str| CaseAnswer { case_id: None, answer: answer.into() };
    if let Some(number) = &said.case_number {
        return Ok(match case_files::by_number(conn, &submission.brand, number).await? {
            // another practice is not told that there is such a case
            Some(case) if said.tin.as_ref().is_some_and(|tin| *tin != case.tin) => none(UNKNOWN_CASE),
            Some(case) if case.kind == submission.kind => found(case.id),
            Some(_) => none("the case named is of another kind"),
            None => none(UNKNOWN_CASE),
        });
    }
    if let Some(reference) = &said.reference {
        return Ok(match earlier(conn, reference).await? {
            // what failed or was decided takes no more: the claim may have a new request (REC-41)
            Some(case) if ours(&case, submission) && case.status.is_final() && said.claim_number.is_some() => {
                return open(conn, stamp, submission).await;
            }
            Some(case) if ours(&case, submission) => found(case.id),
            Some(case) if case.brand == submission.brand => none("the case of the reference is of another kind"),
            _ => none("no case is known for the reference"),
        });
    }
    match submission.kind {
        CaseKind::Reconsideration => open(conn, stamp, submission).await,
        CaseKind::Precertification | CaseKind::Appeal => Ok(none("no case was named")),
    }
}

fn ours(case: &CaseFile, submission: &Submission) -> bool {
    case.brand == submission.brand && case.kind == submission.kind
}

/// The case of an earlier submission.
async fn earlier(conn: &mut Conn, reference: &ReferenceNumber) -> Result<Option<CaseFile>, DbError> {
    let Some(id) = submissions::by_reference(conn, reference).await? else { return Ok(None) };
    let answer = submissions::case_answer(conn, &id).await?;
    let Some(case_id) = answer.and_then(|answer| answer.case_id) else { return Ok(None) };
    case_files::get(conn, &case_id).await
}

/// Opens a bare reconsideration for the claim named. What else the sender said about it must fit: a case on
/// the wrong claim would be another patient's.
async fn open(conn: &mut Conn, stamp: Stamp<'_>, submission: &Submission) -> Result<CaseAnswer, DbError> {
    let none = |answer: &str| Ok(CaseAnswer { case_id: None, answer: answer.into() });
    let said = &submission.said;
    let Some(number) = &said.claim_number else { return none("no claim was named") };
    let Some(claim) = case_files::claim(conn, &submission.brand, number).await? else {
        return none(UNKNOWN_CLAIM);
    };
    let other_practice = said.tin.as_ref().is_some_and(|tin| *tin != claim.tin);
    let other_member = said.member_id.as_ref().is_some_and(|member| *member != claim.member_id);
    if other_practice || other_member {
        return none(UNKNOWN_CLAIM);
    }
    if !claim.status.is_finalized() {
        return none("the claim is not finalized (REC-02)");
    }
    let id: CaseId = stamp.new_id()?;
    let case_number = new_case_number(stamp.ctx.random_bits())?;
    let status = CaseStatus::Reconsideration(ReconsiderationStatus::Received);
    if case_files::open_reconsideration(conn, stamp, &submission.brand, (&id, &case_number), &claim, status).await? {
        let details = json!({ "reference_number": submission.reference });
        let detail = status::told(LetterType::ReconsiderationReceived, &details);
        status_details::put(conn, &id, 0, &detail).await?;
        return Ok(CaseAnswer { case_id: Some(id), answer: "opened".into() });
    }
    // What is sent for a claim whose reconsideration is open belongs to that one; no second one is opened.
    match case_files::open_reconsideration_of(conn, &submission.brand, number).await? {
        Some(open) => Ok(CaseAnswer { case_id: Some(open.id), answer: "joined".into() }),
        None => none("a reconsideration was open for this claim a moment ago (REC-03)"),
    }
}

/// A reconsideration whose submission had an infected file fails as a whole; other kinds keep status, clock
/// and receipt date (INT-13).
async fn fail(conn: &mut Conn, stamp: Stamp<'_>, submission: &Submission) -> Result<(), DbError> {
    let answer = submissions::case_answer(conn, &submission.id).await?;
    let opened = answer.filter(|a| a.answer == "opened").and_then(|a| a.case_id);
    let Some(case_id) = opened else { return Ok(()) };
    let Some(case) = case_files::get(conn, &case_id).await? else { return Ok(()) };
    // Another submission that joined it was taken: its request goes on, only this one's has failed.
    if case.status.is_final() || submissions::others_hold(conn, &case_id, &submission.id).await? {
        return Ok(());
    }
    let status = CaseStatus::Reconsideration(ReconsiderationStatus::RequestFailedVirus);
    let files = documents::of_submission(conn, &submission.id).await?;
    let infected = |document: &&Document| document.state == DocumentState::Quarantined;
    let names: Vec<&str> = files.iter().filter(infected).map(|document| document.file_name.reveal()).collect();
    let kept = files.iter().filter(|document| document.state == DocumentState::Stored).count();
    let details = json!({ "reference_number": submission.reference, "files": names, "files_kept": kept });
    let detail = status::told(LetterType::RequestFailedVirus, &details);
    status_details::put(conn, &case.id, case.version + 1, &detail).await?;
    case_files::set_status(conn, stamp, &case, status, json!({ "submission": submission.id })).await
}

/// A number for a case of ours: sparse and with a check character, like a reference number.
fn new_case_number(random: u64) -> Result<CaseNumber, DbError> {
    ReferenceNumber::from_random(random)
        .as_str()
        .replacen("LC-", "RC-", 1)
        .parse()
        .map_err(|_| DbError::Unreadable { column: "case_number" })
}
