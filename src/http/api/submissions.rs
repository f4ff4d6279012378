//! Submissions: open, send, withdraw, look.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{Eyes, SubmissionView, of_submission};
use super::{Api, body};
use crate::access::Caller;
use crate::db::submissions::{self, Submission};
use crate::db::{Conn, DbError};
use crate::http::errors::Problem;
use crate::http::guard::reach;
use crate::http::idempotency;
use crate::http::problems::Code;
use crate::intake::submit::NewSubmission;
use crate::model::access::{Action, OpenRefusal, Record, may_open};
use crate::model::case::CaseKind;
use crate::model::document::Channel;
use crate::model::ids::{Brand, SubmissionId};
use crate::model::submission::Said;

/// What opens a submission.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct OpenRequest {
    pub kind: CaseKind,
    /// The brand it is for; else the installation's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<Brand>,
    /// What it is about, as far as the sender knows.
    #[serde(default)]
    pub said: Said,
    /// The sender's own reference: stored, searchable, at most 256 bytes (INT-36).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub sender_reference: Option<String>,
    /// A failed submission whose clean files it takes over (INT-13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resubmits: Option<SubmissionId>,
}

/// The longest sender's reference, in bytes.
const SENDER_REFERENCE_BYTES: usize = 256;

/// Open a submission.
///
/// It takes files until it is submitted. With an `Idempotency-Key` a repeated request answers with the same submission.
#[utoipa::path(post, path = "/v1/submissions", tag = "submissions", request_body = OpenRequest,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "Makes a repeated request answer the same")),
    responses((status = 201, body = SubmissionView, headers(("Location" = String)))))]
pub async fn open(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let mut claim = idempotency::claim(&api, &caller, &headers, "POST /v1/submissions").await?;
    let opened = async {
        let (bytes, request) = body::json::<OpenRequest>(&api, &headers, body).await?;
        open_claimed(&api, &caller, claim.as_mut(), &bytes, request).await
    };
    let submission = match opened.await {
        Ok(submission) => submission,
        Err(problem) => return Err(refused(claim, problem).await),
    };
    if let Some(claim) = claim {
        claim.finish().await?;
    }
    api.engine.wake();
    let location = format!("/v1/submissions/{}", submission.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(look(&api, &caller, submission).await?)))
}

/// Ends the claim of a request that was refused, and hands its problem on. What may work when sent again unchanged
/// keeps its claim.
pub(super) async fn refused(claim: Option<idempotency::Claim>, problem: Problem) -> Problem {
    if let Some(claim) = claim.filter(|_| problem.is_final()) {
        claim.forget().await;
    }
    problem
}

/// Opens the submission of a request, or finds the one that an earlier request under the same key opened.
pub(super) async fn open_claimed(
    api: &Api,
    caller: &Caller,
    claim: Option<&mut idempotency::Claim>,
    said: &[u8],
    request: OpenRequest,
) -> Result<Submission, Problem> {
    let mut id = None;
    if let Some(claim) = claim {
        claim.says(said).await?;
        let chosen: SubmissionId = claim.resource.parse().map_err(|_| DbError::Unreadable { column: "resource" })?;
        if claim.again {
            let mut conn = api.intake.db.read().await?;
            if let Some(opened) = submissions::get(&mut conn, &chosen).await? {
                return Ok(opened);
            }
        }
        id = Some(chosen);
    }
    let new = wanted(api, caller, id, request).await?;
    Ok(api.intake.open_submission(&caller.actor(), new).await?)
}

/// What a request asks for, if the caller may.
async fn wanted(
    api: &Api,
    caller: &Caller,
    id: Option<SubmissionId>,
    request: OpenRequest,
) -> Result<NewSubmission, Problem> {
    if request.sender_reference.as_ref().is_some_and(|r| r.len() > SENDER_REFERENCE_BYTES) {
        return Err(Problem::bad("sender_reference may have at most 256 bytes"));
    }
    if request.sender_reference.as_ref().is_some_and(|r| r.chars().any(char::is_control)) {
        return Err(Problem::bad("sender_reference may hold no control characters"));
    }
    let mode = caller.principal.mode();
    let brand = api.brand(request.brand.as_ref(), mode)?;
    may_open(&caller.principal, request.said.tin.as_ref(), request.kind).map_err(|refusal| match refusal {
        OpenRefusal::TinNeeded => Problem::of(Code::TinNeeded, "said.tin must name the practice it is about"),
        OpenRefusal::UnknownTin => {
            Problem::of(Code::UnknownTin, "said.tin is none of the caller's for this kind of case")
        }
    })?;
    if let Some(failed) = &request.resubmits {
        let mut conn = api.intake.db.read().await?;
        submission_for(&mut conn, caller, Action::EditSubmission, failed).await?;
    }
    Ok(NewSubmission {
        id,
        owner: caller.principal.actor(),
        brand,
        kind: request.kind,
        said: request.said,
        channel: Channel::Upload,
        sender_reference: request.sender_reference,
        resubmits: request.resubmits,
    })
}

/// See a submission and what became of its files.
#[utoipa::path(get, path = "/v1/submissions/{id}", tag = "submissions", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = SubmissionView)))]
pub async fn status(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<SubmissionView>, Problem> {
    let Path(id) = path?;
    let id = parse(&id)?;
    let mut conn = api.intake.db.read().await?;
    let submission = submission_for(&mut conn, &caller, Action::ReadSubmission, &id).await?;
    Ok(Json(of_submission(&mut conn, submission, Eyes::Of(&caller.principal)).await?))
}

/// Send a submission: from here on it is the payer's. A second time changes nothing.
#[utoipa::path(post, path = "/v1/submissions/{id}/submit", tag = "submissions",
    params(("id" = String, Path, description = "Its id")), responses((status = 202, body = SubmissionView)))]
pub async fn submit(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let id = parse(&id)?;
    {
        let mut conn = api.intake.db.read().await?;
        submission_for(&mut conn, &caller, Action::EditSubmission, &id).await?;
    }
    let submission = api.intake.submit(&caller.actor(), &id).await?;
    api.engine.wake();
    Ok((StatusCode::ACCEPTED, Json(look(&api, &caller, submission).await?)))
}

/// Withdraw a submission that was not sent yet, with its files.
#[utoipa::path(delete, path = "/v1/submissions/{id}", tag = "submissions",
    params(("id" = String, Path, description = "Its id")), responses((status = 204)))]
pub async fn withdraw(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = path?;
    let id = parse(&id)?;
    {
        let mut conn = api.intake.db.read().await?;
        submission_for(&mut conn, &caller, Action::EditSubmission, &id).await?;
    }
    api.intake.withdraw(&caller.actor(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A submission as the caller sees it. That the caller may see it has been asked before.
pub(super) async fn look(api: &Api, caller: &Caller, submission: Submission) -> Result<SubmissionView, Problem> {
    let mut conn = api.intake.db.read().await?;
    Ok(of_submission(&mut conn, submission, Eyes::Of(&caller.principal)).await?)
}

const SUBMISSION: &str = "submission";

/// The submission of that id, if the caller may do this to it: the one place where access to submissions is asked.
///
/// # Errors
/// 404 when it is not there or not for this caller.
pub(super) async fn submission_for(
    conn: &mut Conn,
    caller: &Caller,
    action: Action,
    id: &SubmissionId,
) -> Result<Submission, Problem> {
    let submission = submissions::get(conn, id).await?.ok_or_else(|| Problem::not_found(SUBMISSION))?;
    reach(caller, action, SUBMISSION, record_of(&submission))?;
    Ok(submission)
}

/// A submission as far as access goes.
pub(super) fn record_of(submission: &Submission) -> Record<'_> {
    Record {
        owner: Some(&submission.owner),
        tin: submission.tin.as_ref(),
        kind: Some(submission.kind),
        mode: submission.brand.mode(),
        sensitive: false,
    }
}

/// The id in a path; one that is none is simply not there.
pub(super) fn parse(id: &str) -> Result<SubmissionId, Problem> {
    id.parse().map_err(|_| Problem::not_found(SUBMISSION))
}
