//! What callers see of a submission and its documents. Identifiers and file names are for who sent them; the
//! field names are stable.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::db::case_files::CaseFile;
use crate::db::documents::Document;
use crate::db::submissions::{CaseAnswer, Submission};
use crate::db::{Conn, DbError, case_files, documents, submissions, work};
use crate::model::access::{Action, Answer, Principal, Record, Target, may, names_case};
use crate::model::case::CaseKind;
use crate::model::document::DocumentState;
use crate::model::ids::{CaseId, DocumentId, ReferenceNumber, SubmissionId};
use crate::model::judgement::{FileType, Flag, Reason};
use crate::model::matching::Evidence;
use crate::model::submission::SubmissionState;

/// A submission as its sender sees it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct SubmissionView {
    pub id: SubmissionId,
    pub reference: ReferenceNumber,
    pub kind: CaseKind,
    pub state: SubmissionState,
    /// The state as a sender reads it ("Request Failed (Virus)").
    pub status: String,
    /// The status of the case it opened or named.
    pub case_status: Option<String>,
    pub case_number: Option<String>,
    /// Why no case could be opened or found for it.
    pub case_note: Option<String>,
    pub resubmits: Option<SubmissionId>,
    /// The sender's own reference (INT-36).
    #[serde(default)]
    pub sender_reference: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub submitted_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Whether nothing more will happen by itself.
    pub ended: bool,
    pub documents: Vec<DocumentView>,
}

/// A document as its sender sees it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct DocumentView {
    pub id: DocumentId,
    pub file_name: String,
    pub state: DocumentState,
    pub file_type: Option<FileType>,
    pub detected: Option<String>,
    pub size_bytes: Option<u64>,
    pub flags: Vec<Flag>,
    pub reason: Option<Reason>,
    pub signature: Option<String>,
    pub case_number: Option<String>,
    /// The case it is on, for those whom it is named to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_id: Option<CaseId>,
    /// What the match rests on (INT-17).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Whether its work failed for good, so that it waits for an operator.
    #[serde(default)]
    pub needs_operator: bool,
    /// Why it is not on a case, in a sentence, where it could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The best proposals, where a person has to choose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposals: Vec<Proposal>,
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub accepted_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// A case proposed for a document.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct Proposal {
    /// By this it is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_id: Option<CaseId>,
    pub case_number: String,
    /// Sum of the evidence.
    pub bits: f64,
    /// What speaks for and against it.
    pub evidence: Vec<Evidence>,
}

impl Proposal {
    fn of(candidate: case_files::Candidate) -> Self {
        Self {
            case_id: Some(candidate.case_id),
            case_number: candidate.case_number.as_str().to_owned(),
            #[expect(clippy::cast_precision_loss, reason = "sums of evidence are small")]
            bits: candidate.millibits as f64 / 1000.0,
            evidence: serde_json::from_str(&candidate.evidence).unwrap_or_default(),
        }
    }

    /// The proposal in words, as an operator reads them.
    fn in_words(&self) -> String {
        let words = |agrees: bool| {
            let mut fields: Vec<&str> =
                self.evidence.iter().filter(|e| e.agrees == agrees).map(|e| e.field.as_str()).collect();
            fields.dedup();
            fields.join(", ")
        };
        match (words(true), words(false)) {
            (agrees, against) if against.is_empty() => format!("{}: {agrees} agree", self.case_number),
            (agrees, against) => format!("{}: {agrees} agree, {against} disagree", self.case_number),
        }
    }
}

/// Whose eyes see it.
#[derive(Debug, Clone, Copy)]
pub enum Eyes<'a> {
    /// The operator's of this machine.
    All,
    /// A caller's: cases of others are not named, and what speaks for which case is for those who decide it.
    Of(&'a Principal),
}

impl Eyes<'_> {
    fn decide(self) -> bool {
        match self {
            Self::All => true,
            Self::Of(who) => may(who, Action::DecideMatch, &Target::Route) == Answer::Yes,
        }
    }

    fn see_case(self, case: &CaseFile) -> bool {
        match self {
            Self::All => true,
            Self::Of(who) => names_case(who, &record_of_case(case)),
        }
    }
}

/// A case as far as access goes.
pub fn record_of_case(case: &CaseFile) -> Record<'_> {
    Record {
        owner: None,
        tin: Some(&case.tin),
        kind: Some(case.kind),
        mode: case.brand.mode(),
        sensitive: case.sensitive,
    }
}

/// Reads a submission with its documents.
///
/// # Errors
/// When the database fails.
pub async fn of_submission(conn: &mut Conn, submission: Submission, eyes: Eyes<'_>) -> Result<SubmissionView, DbError> {
    let answer = submissions::case_answer(conn, &submission.id).await?;
    let rows = documents::of_submission(conn, &submission.id).await?;
    let failed = match rows.iter().any(|row| may_have_failed(row.state)) {
        true => work::dead_of_submission(conn, &submission.id).await?,
        false => HashSet::new(),
    };
    let mut views = Vec::with_capacity(rows.len());
    for row in &rows {
        views.push(shown(conn, row, eyes, failed.contains(row.id.as_str())).await?);
    }
    view(conn, submission, answer, views, eyes).await
}

async fn view(
    conn: &mut Conn,
    submission: Submission,
    answer: Option<CaseAnswer>,
    documents: Vec<DocumentView>,
    eyes: Eyes<'_>,
) -> Result<SubmissionView, DbError> {
    let case = case_for(conn, answer.as_ref().and_then(|a| a.case_id.as_ref()), eyes).await?;
    Ok(SubmissionView {
        ended: has_ended(submission.state, &documents),
        id: submission.id,
        reference: submission.reference,
        kind: submission.kind,
        state: submission.state,
        status: submission.state.shown().to_owned(),
        case_status: case.as_ref().map(|c| c.status.as_str().to_owned()),
        case_number: case.as_ref().map(|c| c.case_number.as_str().to_owned()),
        case_note: answer.filter(|a| a.case_id.is_none()).map(|a| a.answer),
        resubmits: submission.resubmits,
        sender_reference: submission.sender_reference,
        created_at: submission.created_at,
        submitted_at: submission.submitted_at,
        ended_at: submission.ended_at,
        documents,
    })
}

async fn case_for(conn: &mut Conn, id: Option<&CaseId>, eyes: Eyes<'_>) -> Result<Option<CaseFile>, DbError> {
    let Some(id) = id else { return Ok(None) };
    Ok(case_files::get(conn, id).await?.filter(|case| eyes.see_case(case)))
}

/// An accepted submission has ended when its documents have been matched, proposed or left without a case.
fn has_ended(state: SubmissionState, documents: &[DocumentView]) -> bool {
    match state {
        SubmissionState::Open => false,
        // nothing more happens by itself where an operator has to act first
        SubmissionState::Submitted | SubmissionState::Accepted if documents.iter().any(|d| d.needs_operator) => true,
        SubmissionState::Submitted => false,
        SubmissionState::Accepted => documents.iter().all(|d| d.state != DocumentState::Stored && d.state.is_judged()),
        _ => true,
    }
}

/// Reads what its sender sees of a document.
///
/// # Errors
/// When the database fails.
pub async fn of_document(conn: &mut Conn, row: &Document, eyes: Eyes<'_>) -> Result<DocumentView, DbError> {
    let failed = may_have_failed(row.state)
        && work::of_subject(conn, row.id.as_str()).await?.iter().any(|work| work.state == "dead");
    shown(conn, row, eyes, failed).await
}

/// Whether work on a document in this state may have failed for good.
const fn may_have_failed(state: DocumentState) -> bool {
    matches!(state, DocumentState::Received | DocumentState::Scanning | DocumentState::Stored)
}

/// What is shown of a document; `failed` is whether work on it failed for good.
async fn shown(conn: &mut Conn, row: &Document, eyes: Eyes<'_>, failed: bool) -> Result<DocumentView, DbError> {
    let case = case_for(conn, row.case_id.as_ref(), eyes).await?;
    let candidates: Vec<Proposal> = match row.state {
        DocumentState::NeedsReview | DocumentState::Matched if eyes.decide() => {
            case_files::candidates(conn, row.id.as_str()).await?.into_iter().map(Proposal::of).collect()
        }
        _ => Vec::new(),
    };
    let (evidence, proposals) = match row.state {
        DocumentState::Matched => {
            (candidates.into_iter().next().map(|best| best.evidence).unwrap_or_default(), Vec::new())
        }
        _ => (Vec::new(), candidates),
    };
    let needs_operator = failed && may_have_failed(row.state);
    let why = match row.state {
        _ if needs_operator => Some("its processing failed for good; an operator has to look at it".to_owned()),
        DocumentState::NeedsReview if !eyes.decide() => Some("a person has to choose its case".to_owned()),
        DocumentState::NeedsReview => {
            let possible: Vec<String> = proposals.iter().map(Proposal::in_words).collect();
            Some(format!("a person has to choose; possible are {}", possible.join("; ")))
        }
        DocumentState::Unmatched => {
            Some("nothing said by the sender or read on its pages leads to a known case".to_owned())
        }
        _ => None,
    };
    Ok(DocumentView {
        id: row.id.clone(),
        file_name: row.file_name.reveal().to_owned(),
        state: row.state,
        file_type: row.file_type,
        detected: row.detected.clone(),
        size_bytes: row.size_bytes,
        flags: row.flags.clone(),
        reason: row.reason.clone(),
        signature: row.signature.clone(),
        case_number: case.as_ref().map(|c| c.case_number.as_str().to_owned()),
        case_id: case.map(|c| c.id),
        evidence,
        needs_operator,
        why,
        proposals,
        received_at: row.received_at,
        accepted_at: row.accepted_at,
        ended_at: row.ended_at,
    })
}
