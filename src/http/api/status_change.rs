//! A case's status, set by the payer's people and systems; its letter follows by itself (COR-01).

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::cases::case_for;
use super::versions::{seen, tagged};
use super::{Api, body};
use crate::access::{Caller, Expected};
use crate::cases::status::{self, StatusChange, Told};
use crate::db::Stamp;
use crate::http::errors::Problem;
use crate::http::problems::Code;
use crate::model::access::Action;
use crate::model::case::CaseKind;
use crate::model::ids::{CaseId, CaseNumber};
use crate::model::letter::{AddresseeKind, Circumstance, LetterType};
use crate::model::phi::Phi;

/// The letter that tells of a status.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusLetter {
    /// Which of those that go with the status; else the first of them, if there is one.
    #[serde(default)]
    r#type: Option<LetterType>,
    /// Whom it goes to; else to the practice.
    #[serde(default)]
    addressee: Option<AddresseeKind>,
    /// What it is to say beside what the case tells: the fields of its type.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    details: Option<Phi<Value>>,
}

/// A status to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRequest {
    /// The status, in the words of the case's kind.
    status: String,
    /// What the ways of its letter depend on, and whether a practice sees it.
    #[serde(default)]
    circumstances: Vec<Circumstance>,
    /// The letter that tells of it.
    #[serde(default)]
    letter: Option<StatusLetter>,
    /// Whether nobody is to be written to.
    #[serde(default)]
    no_letter: bool,
}

/// A case as its status was set.
#[derive(Debug, Serialize, ToSchema)]
pub struct CaseStatusView {
    id: CaseId,
    case_number: CaseNumber,
    kind: CaseKind,
    status: &'static str,
    open: bool,
    /// Counts its changes; the number in the ETag.
    version: i64,
}

/// Set the status of a case. What tells of it, a letter and a notice, follows by itself.
#[utoipa::path(post, path = "/v1/cases/{id}/status", tag = "letters", request_body = StatusRequest,
    params(("id" = String, Path, description = "Its id"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; without it the case is changed as it is")),
    responses((status = 200, body = CaseStatusView, headers(("ETag" = String))), (status = 409)))]
pub async fn set(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let id: CaseId = id.parse().map_err(|_| Problem::not_found("case"))?;
    let (_, request) = body::json::<StatusRequest>(&api, &headers, body).await?;
    let case = {
        let mut conn = api.intake.db.read().await?;
        case_for(&mut conn, &caller, Action::SetCaseStatus, &id).await?
    };
    let version = match seen(&headers)? {
        Expected::Version(version) => version,
        Expected::Any => case.version,
        Expected::Absent => return Err(Problem::of(Code::VersionConflict, "the case is there already")),
    };
    let change = StatusChange {
        status: request.status,
        circumstances: request.circumstances.into_iter().collect(),
        letter: told(request.letter, request.no_letter)?,
    };
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let case = status::change(&api.intake.db, stamp, &id, version, &change).await?;
    api.engine.wake();
    let view = CaseStatusView {
        status: case.status.as_str(),
        open: case.closed_at.is_none(),
        id: case.id,
        case_number: case.case_number,
        kind: case.kind,
        version: case.version,
    };
    Ok((tagged(view.version), Json(view)))
}

fn told(letter: Option<StatusLetter>, no_letter: bool) -> Result<Told, Problem> {
    if no_letter && letter.is_some() {
        return Err(Problem::bad("letter and no_letter exclude each other"));
    }
    if no_letter {
        return Ok(Told::Not);
    }
    let letter = letter.unwrap_or(StatusLetter { r#type: None, addressee: None, details: None });
    let details = letter.details.unwrap_or_else(|| Phi(Value::Object(serde_json::Map::new())));
    if !details.reveal().is_object() {
        return Err(Problem::bad("letter.details must be an object"));
    }
    Ok(Told::By { letter_type: letter.r#type, addressee: letter.addressee.unwrap_or(AddresseeKind::Tin), details })
}
