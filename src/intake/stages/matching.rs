//! Stage match: the document is tied to its case, proposed to a person, or left without one (INT-15).

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::json;

use super::Stored;
use crate::db::documents::{self, Change};
use crate::db::{Conn, DbError, Stamp, case_files, contents, reference, submissions};
use crate::engine::stage::{Attempt, Handover, Outcome, Stage, StageError};
use crate::intake::Intake;
use crate::model::document::DocumentState;
use crate::model::ids::{CaseId, DocumentId};
use crate::model::judgement::FileType;
use crate::model::matching::{CaseFacts, Decision, PageFacts, Sent, Weighed, decide, read_page};
use crate::model::submission::SubmissionState;
use crate::model::trial::Trial;
use crate::outside::extract::ExtractOutcome;

/// The stage.
pub struct Match(pub Intake);

/// A member's cases looked at, at most.
const CASES_OF_MEMBER: i64 = 10;

#[async_trait]
impl Stage for Match {
    const NAME: &'static str = super::MATCH;
    type In = Stored;
    type Product = Decision;
    type Out = Stored;

    async fn run(&self, input: &Stored, _: Attempt) -> Result<Outcome<Decision>, StageError> {
        if Trial::of(&input.document.brand, &input.document.file_name) == Some(Trial::Unmatched) {
            return Ok(Outcome::Advance(Decision::Unmatched));
        }
        let mut page = self.read(input).await?;
        let mut conn = self.0.db.read().await?;
        let sent = sent(&mut conn, input).await?;
        let candidates = candidates(&mut conn, input, &sent, &mut page).await?;
        let decision = decide(&sent, &page, candidates, &self.0.plan.r#match);
        Ok(Outcome::Advance(match decision {
            // What was said was said of the whole that was split: of a part that says nothing itself it proves nothing.
            Decision::Matched(best) if input.document.parent_id.is_some() && page.identifiers.is_empty() => {
                Decision::NeedsReview(vec![*best])
            }
            decision => decision,
        }))
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Stored,
        outcome: Outcome<Decision>,
    ) -> Result<Handover, DbError> {
        let decision = match outcome {
            Outcome::Advance(decision) => decision,
            Outcome::Hold(_) | Outcome::Reject(_) => Decision::Unmatched,
        };
        let (to, candidates, case_id) = match decision {
            Decision::Matched(best) => {
                let id = best.case.id.clone();
                (DocumentState::Matched, vec![kept(&best)], Some(id))
            }
            Decision::NeedsReview(all) => (DocumentState::NeedsReview, all.iter().map(kept).collect(), None),
            Decision::Unmatched => (DocumentState::Unmatched, Vec::new(), None),
        };
        let id: &DocumentId = &input.document.id;
        case_files::put_candidates(conn, id.as_str(), &candidates).await?;
        let proposed: Vec<CaseId> = candidates.iter().map(|(case, ..)| case.clone()).collect();
        let due_at = match to {
            DocumentState::Matched => None,
            _ => Some(self.0.aging().match_due(conn, &input.document, &proposed).await?),
        };
        let change = Change { case_id, due_at, ..Change::default() };
        documents::transition(conn, stamp, &input.document, to, change).await?;
        Ok(Handover::Waits)
    }
}

impl Match {
    /// What the pages say. A document without text says nothing: that is no evidence, not a fault. One whose text
    /// can't be had whole is incomplete.
    async fn read(&self, input: &Stored) -> Result<PageFacts, StageError> {
        let mut facts = PageFacts::default();
        let Some(file_type) = input.document.file_type.filter(|t| has_text(*t)) else { return Ok(facts) };
        let intake = &self.0;
        let version = {
            let mut conn = intake.db.read().await?;
            contents::get(&mut conn, &input.document.brand, &input.sha256).await?.and_then(|c| c.version_id)
        };
        let file = match intake.content_of(&input.document.brand, &input.sha256, version.as_deref()).await {
            Ok(file) => file,
            Err(StageError::Fail { why }) => return Err(StageError::Retry { why }),
            Err(error) => return Err(error),
        };
        let text = intake
            .extract
            .text(&file, file_type, &intake.plan.sniff)
            .await
            .map_err(|error| StageError::Pause { why: error.to_string() })?;
        match text {
            ExtractOutcome::Done(text) => {
                for page in &text.pages {
                    read_page(page.reveal(), intake.plan.r#match.identifier_limit, &mut facts);
                }
                facts.incomplete |= text.truncated;
            }
            ExtractOutcome::Died { how } => {
                tracing::info!(document = %input.document.id, how = ?how, "no text could be taken out");
                facts.incomplete = true;
            }
        }
        Ok(facts)
    }
}

const fn has_text(file_type: FileType) -> bool {
    !matches!(file_type, FileType::Jpeg | FileType::Tiff | FileType::Png | FileType::Gif)
}

async fn sent(conn: &mut Conn, input: &Stored) -> Result<Sent, DbError> {
    let Some(id) = &input.document.submission_id else {
        let said = input.document.said.clone().unwrap_or_default();
        return Ok(Sent { said, ..Sent::default() });
    };
    let Some(submission) = submissions::get(conn, id).await? else { return Ok(Sent::default()) };
    if submission.state != SubmissionState::Accepted {
        return Err(DbError::Stale { what: "submission" });
    }
    let answer = submissions::case_answer(conn, id).await?;
    Ok(Sent { said: submission.said, kind: Some(submission.kind), to: answer.and_then(|a| a.case_id) })
}

/// All cases that anything said or read leads to. It also marks which identifiers on the pages are members'.
async fn candidates(
    conn: &mut Conn,
    input: &Stored,
    sent: &Sent,
    page: &mut PageFacts,
) -> Result<Vec<CaseFacts>, DbError> {
    let brand = &input.document.brand;
    let mut found: BTreeMap<CaseId, CaseFacts> = BTreeMap::new();
    let mut add = |cases: Vec<CaseFacts>| found.extend(cases.into_iter().map(|case| (case.id.clone(), case)));
    if let Some(id) = &sent.to {
        add(case_files::facts_of(conn, brand, id).await?.into_iter().collect());
    }
    let said = &sent.said;
    let named = [
        said.case_number.as_ref().map(|n| n.as_str()),
        said.claim_number.as_ref().map(|n| n.as_str()),
        said.attachment_control_number.as_ref().map(|n| n.as_str()),
    ];
    for identifier in named.into_iter().flatten() {
        add(case_files::named_by(conn, brand, identifier).await?);
    }
    for identifier in &page.identifiers {
        add(case_files::named_by(conn, brand, identifier.reveal()).await?);
        if reference::is_member(conn, brand, identifier.reveal()).await? {
            page.known_members.insert(identifier.clone());
        }
        if let Ok(number) = identifier.reveal().parse()
            && let Some(claim) = case_files::claim(conn, brand, &number).await?
        {
            page.known_claims.insert(identifier.clone(), claim.member_id);
        }
    }
    let members = page.known_members.iter().map(|id| id.reveal().as_str());
    for member in members.chain(said.member_id.as_ref().map(|id| id.as_str())) {
        add(case_files::of_member(conn, brand, member, CASES_OF_MEMBER).await?);
    }
    Ok(found.into_values().collect())
}

fn kept(weighed: &Weighed) -> (CaseId, i64, String) {
    (weighed.case.id.clone(), weighed.millibits, json!(weighed.evidence).to_string())
}
