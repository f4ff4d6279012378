//! The daily reconciliation: you sent so many, here is what became of each (INT-36).

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::lists::{cursor, cut, page_of, read_cursor};
use crate::access::Caller;
use crate::db::{documents, submissions};
use crate::http::errors::Problem;
use crate::model::document::DocumentState;
use crate::model::ids::{DocumentId, ReferenceNumber, Sha256, SubmissionId};
use crate::model::judgement::ReasonCode;
use crate::model::submission::SubmissionState;

/// Which day.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DayQuery {
    /// The day, in the payer's time zone, on which the submissions were opened.
    #[param(value_type = String, format = Date)]
    date: Date,
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// What became of a document.
#[derive(Debug, Serialize, ToSchema)]
pub struct DocumentLine {
    id: DocumentId,
    /// By which the sender knows which of its files it is.
    sha256: Option<Sha256>,
    state: DocumentState,
    /// Why it was refused, held or barred.
    reason: Option<ReasonCode>,
}

/// What became of a submission.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReconciledLine {
    id: SubmissionId,
    reference: ReferenceNumber,
    /// The sender's own reference.
    sender_reference: Option<String>,
    state: SubmissionState,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    documents: Vec<DocumentLine>,
}

/// What became of what the caller sent on a day.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reconciliation {
    #[schema(value_type = String, format = Date)]
    date: Date,
    /// From this instant on …
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// … and before this one.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// Submissions of the day, in all and by state.
    submissions: i64,
    submissions_by_state: BTreeMap<String, i64>,
    /// Documents accepted in them, in all and by state.
    documents: i64,
    documents_by_state: BTreeMap<String, i64>,
    /// Each of them, oldest first.
    lines: Vec<ReconciledLine>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// Reconcile a day: how much the caller sent, and what became of each.
#[utoipa::path(get, path = "/v1/reconciliation", tag = "submissions", params(DayQuery), responses((status = 200, body = Reconciliation)))]
pub async fn day(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<DayQuery>, QueryRejection>,
) -> Result<Json<Reconciliation>, Problem> {
    let Query(query) = query?;
    let limit = page_of(&api, query.limit)?;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let calendar = &api.intake.calendar;
    let from = calendar.start_of_day(query.date);
    let to = calendar.start_of_day(calendar.add_days(query.date, 1));
    let bounds = (from.as_microsecond(), to.as_microsecond());
    let owner = caller.principal.actor();
    let mut conn = api.intake.db.read().await?;
    let tally = submissions::tally(&mut conn, &owner, bounds.0, bounds.1).await?;
    let after = after.as_ref().map(|(at, id)| (*at, id.as_str()));
    let mut page = submissions::within(&mut conn, &owner, bounds, after, limit + 1).await?;
    let next = cut(&mut page, limit, |last| cursor(last.created_at.as_microsecond(), last.id.as_str()));
    let mut lines = Vec::with_capacity(page.len());
    for submission in page {
        let documents = documents::of_submission(&mut conn, &submission.id).await?;
        let line = |document: documents::Document| DocumentLine {
            id: document.id,
            sha256: document.sha256,
            state: document.state,
            reason: document.reason.map(|reason| reason.code),
        };
        lines.push(ReconciledLine {
            id: submission.id,
            reference: submission.reference,
            sender_reference: submission.sender_reference,
            state: submission.state,
            created_at: submission.created_at,
            documents: documents.into_iter().map(line).collect(),
        });
    }
    Ok(Json(Reconciliation {
        date: query.date,
        from,
        to,
        submissions: tally.submissions.values().sum(),
        submissions_by_state: tally.submissions,
        documents: tally.documents.values().sum(),
        documents_by_state: tally.documents,
        lines,
        next,
    }))
}
