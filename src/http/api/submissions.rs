//! Submissions: open, send, look.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use super::view::{SubmissionView, of_submission};
use super::{ACTOR, Api};
use crate::http::errors::Problem;
use crate::intake::submit::NewSubmission;
use crate::model::case::CaseKind;
use crate::model::document::Channel;
use crate::model::ids::{Brand, SubmissionId};
use crate::model::submission::Said;

/// What opens a submission.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the word of the vocabulary")]
pub struct OpenRequest {
    pub kind: CaseKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<Brand>,
    #[serde(default)]
    pub said: Said,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resubmits: Option<SubmissionId>,
}

/// The longest sender's reference, in bytes.
const SENDER_REFERENCE_BYTES: usize = 256;
/// The longest body of a request that holds no file, in bytes.
const REQUEST_BYTES: usize = 64 << 10;

/// `POST /v1/submissions`
pub async fn open(State(api): State<Api>, body: axum::body::Body) -> Result<impl IntoResponse, Problem> {
    let body = small(body).await?;
    let request: OpenRequest = serde_json::from_slice(&body).map_err(|error| bad_json(&error))?;
    if request.sender_reference.as_ref().is_some_and(|r| r.len() > SENDER_REFERENCE_BYTES) {
        return Err(bad("sender_reference may have at most 256 bytes"));
    }
    if request.sender_reference.as_ref().is_some_and(|r| r.chars().any(char::is_control)) {
        return Err(bad("sender_reference may hold no control characters"));
    }
    let new = NewSubmission {
        brand: request.brand.unwrap_or_else(|| api.brand.clone()),
        kind: request.kind,
        said: request.said,
        channel: Channel::Upload,
        sender_reference: request.sender_reference,
        resubmits: request.resubmits,
    };
    let submission = api.intake.open_submission(ACTOR, new).await?;
    api.engine.wake();
    let location = format!("/v1/submissions/{}", submission.id);
    let view = look(&api, &submission.id).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)))
}

/// `GET /v1/submissions/{id}`
pub async fn status(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<SubmissionView>, Problem> {
    let Path(id) = path?;
    Ok(Json(look(&api, &parse(&id)?).await?))
}

/// `POST /v1/submissions/{id}/submit`
pub async fn submit(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let submission = api.intake.submit(ACTOR, &parse(&id)?).await?;
    api.engine.wake();
    Ok((StatusCode::ACCEPTED, Json(look(&api, &submission.id).await?)))
}

async fn look(api: &Api, id: &SubmissionId) -> Result<SubmissionView, Problem> {
    let mut conn = api.intake.db.read().await?;
    of_submission(&mut conn, id).await?.ok_or_else(missing)
}

/// The id in a path; one that is none is simply not there.
pub(super) fn parse(id: &str) -> Result<SubmissionId, Problem> {
    id.parse().map_err(|_| missing())
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such submission")
}

fn bad(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
}

/// What is wrong with a JSON body, without a value of it: values can be health data.
fn bad_json(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let rule = ["not a ", "missing field", "unknown field"].iter().find(|p| text.starts_with(**p));
    let what = match rule {
        Some(_) => text.split(" at line").next().unwrap_or_default().to_owned(),
        None => "it is not the JSON this request wants".to_owned(),
    };
    bad(&format!("the body can't be read: {what} (line {}, column {})", error.line(), error.column()))
}

async fn small(body: axum::body::Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, REQUEST_BYTES).await.map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the request's JSON may have at most 64 KiB")
    })
}
