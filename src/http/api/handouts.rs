//! Sheets that are handed out where they are asked for: cover sheets of cases, and copies of requests.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::cases::case_for;
use super::correspondence::download_head;
use super::submissions::submission_for;
use crate::access::Caller;
use crate::db::{case_files, submissions};
use crate::http::errors::Problem;
use crate::http::problems::Code;
use crate::letters::handouts::HandoutError;
use crate::model::access::Action;
use crate::model::case::CaseKind;
use crate::model::ids::{CaseId, SubmissionId};
use crate::model::letter::AddresseeKind;

impl From<HandoutError> for Problem {
    fn from(error: HandoutError) -> Self {
        match error {
            HandoutError::Incomplete(why) => Self::of(Code::Unprocessable, why),
            HandoutError::Render(why) => {
                tracing::error!(%why, "a sheet could not be rendered");
                Self::unavailable("the renderer")
            }
            HandoutError::Db(error) => error.into(),
        }
    }
}

/// Whom a cover sheet is for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CoverSheetQuery {
    /// Whose address stands on it; else the practice's.
    addressee: Option<AddresseeKind>,
}

/// Print a cover sheet: laid on what comes back on paper, its barcode says which case that belongs to.
#[utoipa::path(get, path = "/v1/cases/{id}/cover-sheet", tag = "letters",
    params(("id" = String, Path, description = "The case's id"), CoverSheetQuery),
    responses((status = 200, content_type = "application/pdf", body = Vec<u8>), (status = 422)))]
pub async fn cover_sheet(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<CoverSheetQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let (Path(id), Query(query)) = (path?, query?);
    let id: CaseId = id.parse().map_err(|_| Problem::not_found("case"))?;
    let case = {
        let mut conn = api.intake.db.read().await?;
        case_for(&mut conn, &caller, Action::ReadCase, &id).await?
    };
    let to = query.addressee.unwrap_or(AddresseeKind::Tin);
    let pdf = api.letters.cover_sheet(&caller.actor(), &case, to).await?;
    Ok((download_head("application/pdf", &format!("cover-sheet-{}.pdf", case.case_number.as_str())), pdf)
        .into_response())
}

/// Download a copy of a reconsideration request, as it was sent (REC-32).
#[utoipa::path(get, path = "/v1/submissions/{id}/copy", tag = "submissions", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, content_type = "application/pdf", body = Vec<u8>), (status = 409), (status = 422)))]
pub async fn request_copy(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = path?;
    let id: SubmissionId = id.parse().map_err(|_| Problem::not_found("submission"))?;
    let (submission, case) = {
        let mut conn = api.intake.db.read().await?;
        let submission = submission_for(&mut conn, &caller, Action::ReadSubmission, &id).await?;
        let answer = submissions::case_answer(&mut conn, &id).await?;
        let case = match answer.and_then(|answer| answer.case_id) {
            Some(case) => case_files::get(&mut conn, &case).await?,
            None => None,
        };
        (submission, case)
    };
    if submission.kind != CaseKind::Reconsideration {
        return Err(Problem::of(Code::WrongState, "copies are made of reconsideration requests"));
    }
    let case = case.ok_or_else(|| Problem::of(Code::WrongState, "the request is on no case"))?;
    // what the case tells of the patient is for who may see the case, not for who sent something for it
    {
        let mut conn = api.intake.db.read().await?;
        case_for(&mut conn, &caller, Action::ReadCase, &case.id).await?;
    }
    let pdf = api.letters.request_copy(&caller.actor(), &submission, &case).await?;
    Ok((download_head("application/pdf", &format!("{}.pdf", submission.reference)), pdf).into_response())
}
