//! The one call of backend services: what it is about and all files in one multipart, opened, taken and sent.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;

use super::files::{Parts, take_all};
use super::submissions::{OpenRequest, look, open_claimed, refused};
use super::view::SubmissionView;
use super::{Api, body};
use crate::access::Caller;
use crate::db::submissions::Submission;
use crate::http::errors::Problem;
use crate::http::idempotency::{self, Claim};
use crate::http::problems::Code;

/// What one call holds.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a form that is read part by part")]
pub struct IntakeForm {
    /// What it is about, as JSON. It must come before the files.
    metadata: OpenRequest,
    /// Each a file with its name.
    #[schema(value_type = Vec<String>, format = Binary)]
    files: Vec<Vec<u8>>,
}

/// Send in with one call: what it is about and all files.
///
/// 202 means that every file is durable and the submission is sent; what becomes of it tells its status, history or
/// stream of events. If a file is refused at the door, nothing is sent. Use an `Idempotency-Key`: then a call that
/// broke off can be made again without doing anything twice.
#[utoipa::path(post, path = "/v1/intake", tag = "submissions",
    request_body(content = IntakeForm, content_type = "multipart/form-data"),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "Makes a repeated request answer the same")),
    responses((status = 202, body = SubmissionView, headers(("Location" = String)))))]
pub async fn intake(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    parts: Result<Parts, Problem>,
) -> Result<impl IntoResponse, Problem> {
    let mut claim = idempotency::claim(&api, &caller, &headers, "POST /v1/intake").await?;
    let under_way = api.usage.upload(&caller.principal.actor())?;
    let mut parts = parts?;
    let sent = send(&api, &caller, claim.as_mut(), &mut parts).await;
    drop(under_way);
    let submission = match sent {
        Ok(submission) => submission,
        Err(problem) => return Err(refused(claim, problem).await),
    };
    if let Some(claim) = claim {
        claim.finish().await?;
    }
    api.engine.wake();
    let location = format!("/v1/submissions/{}", submission.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(look(&api, &caller, submission).await?)))
}

async fn send(
    api: &Api,
    caller: &Caller,
    mut claim: Option<&mut Claim>,
    parts: &mut Parts,
) -> Result<Submission, Problem> {
    let metadata = metadata(api, parts).await?;
    let request: OpenRequest = body::parse(&metadata)?;
    let submission = open_claimed(api, caller, claim.as_deref_mut(), &metadata, request).await?;
    match take_all(api, caller, claim.as_deref(), &submission.id, parts).await {
        Ok(_) => Ok(api.intake.submit(&caller.actor(), &submission.id).await?),
        Err(problem) => {
            // one call is one act: without all of its files it was not made
            if problem.is_final() || claim.is_none() {
                let withdrawn = api.intake.withdraw(&caller.actor(), &submission.id).await;
                if let Err(error) = withdrawn {
                    tracing::warn!(submission = %submission.id, error = %error, "could not withdraw a refused call's submission");
                }
            }
            Err(problem)
        }
    }
}

/// The first part: what the submission is about.
async fn metadata(api: &Api, parts: &mut Parts) -> Result<Vec<u8>, Problem> {
    let first =
        || Problem::of(Code::BadMultipart, "the first part must be `metadata`, a JSON object without a filename");
    let limit = api.plan.limits.field_bytes;
    let mut part = parts.next().await?.filter(|part| part.name() == Some("metadata")).ok_or_else(first)?;
    let mut bytes = Vec::new();
    let patience = api.intake.plan.receive.grace();
    loop {
        let chunk = tokio::time::timeout(patience, part.chunk()).await;
        let chunk = chunk.map_err(|_| Problem::of(Code::TooSlow, "the metadata did not come in time"))??;
        let Some(chunk) = chunk else { return Ok(bytes) };
        if bytes.len() + chunk.len() > limit {
            return Err(Problem::of(Code::BodyTooLarge, format!("the metadata may have at most {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
}
