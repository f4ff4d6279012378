//! What a person decides over a document: its case, its parts, that it is not ours; and what undoes a match (OPS-01,
//! OPS-07, OPS-08). Each decision is fenced by the lease's token and by the version that the person saw.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cases::case_for;
use super::documents::document_for;
use super::queue::token_of;
use super::versions::{etag, if_match};
use super::{Api, body};
use crate::access::Caller;
use crate::db::Stamp;
use crate::db::documents::{self, Document};
use crate::http::errors::Problem;
use crate::http::guard::allow;
use crate::http::problems::Code;
use crate::intake::review::disclosures::{Report, disclosures};
use crate::intake::review::split::split;
use crate::intake::review::{Claimed, ReviewError, decide, undo_match};
use crate::model::access::{Action, Target, may};
use crate::model::document::{DocumentState, ReturnReason};
use crate::model::ids::{CaseId, DocumentId};
use crate::model::pages::PageRange;

const DOCUMENT: &str = "document";

/// What became of a document. No more is told of it: who wants to see it asks for it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Decided {
    document_id: DocumentId,
    state: DocumentState,
    /// The version that it is now.
    version: i64,
    /// The documents it was taken apart into, in the order of the ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<DocumentId>,
}

/// Answers what became of a document, and wakes the engine: there may be work.
pub(super) async fn decided(
    api: &Api,
    id: &DocumentId,
    parts: Vec<DocumentId>,
) -> Result<impl IntoResponse + use<>, Problem> {
    api.engine.wake();
    let mut conn = api.intake.db.read().await?;
    let row = documents::get(&mut conn, id).await?.ok_or(ReviewError::NoDocument)?;
    let version = row.version;
    let decided = Decided { document_id: row.id, state: row.state, version, parts };
    Ok(([(header::ETAG, etag(version))], Json(decided)))
}

/// The document that a request decides over, and the version that the caller saw.
pub(super) async fn fenced(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    action: Action,
    id: &str,
) -> Result<(Document, i64), Problem> {
    let mut conn = api.intake.db.read().await?;
    let (document, _) = document_for(&mut conn, caller, action, id).await?;
    Ok((document, if_match(headers)?))
}

/// The case a document is put on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OnCase {
    /// The token that came with the item.
    token: String,
    /// The case.
    case_id: CaseId,
}

/// Put a document on one of the cases proposed for it.
#[utoipa::path(post, path = "/v1/queue/{document}/accept", tag = "mailroom", request_body = OnCase,
    params(("document" = String, Path, description = "The document's id"), ("If-Match" = String, Header, description = "The ETag that came with the item")),
    responses((status = 200, body = Decided), (status = 409), (status = 412), (status = 422), (status = 428)))]
pub async fn accept(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    assign(&api, &caller, &id, &headers, body, true).await
}

/// Put a document on any case of its brand, proposed or not.
#[utoipa::path(post, path = "/v1/queue/{document}/choose", tag = "mailroom", request_body = OnCase,
    params(("document" = String, Path, description = "The document's id"), ("If-Match" = String, Header, description = "The ETag that came with the item")),
    responses((status = 200, body = Decided), (status = 409), (status = 412), (status = 428)))]
pub async fn choose(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    assign(&api, &caller, &id, &headers, body, false).await
}

async fn assign(
    api: &Api,
    caller: &Caller,
    id: &str,
    headers: &HeaderMap,
    body: Body,
    only_proposed: bool,
) -> Result<impl IntoResponse + use<>, Problem> {
    let (_, OnCase { token, case_id }) = body::json(api, headers, body).await?;
    let (document, version) = fenced(api, caller, headers, Action::DecideMatch, id).await?;
    {
        // nobody puts a document where they could not have found the case
        let mut conn = api.intake.db.read().await?;
        case_for(&mut conn, caller, Action::SearchCases, &case_id).await?;
    }
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let claim = Claimed { document: &document.id, token: token_of(&token)?, version };
    match only_proposed {
        true => decide::accept(&api.intake.db, stamp, &claim, &case_id).await?,
        false => decide::choose(&api.intake.db, stamp, &claim, &case_id).await?,
    }
    decided(api, &document.id, Vec::new()).await
}

/// How a document is taken apart.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Apart {
    /// The token that came with the item.
    token: String,
    /// Ranges of pages, as `1-2` or `3`, counted from 1. Together they hold each page exactly once.
    pages: Vec<String>,
}

/// Take a PDF apart into one document per range of pages. Each part is scanned and matched by itself.
#[utoipa::path(post, path = "/v1/queue/{document}/split", tag = "mailroom", request_body = Apart,
    params(("document" = String, Path, description = "The document's id"), ("If-Match" = String, Header, description = "The ETag that came with the item")),
    responses((status = 200, body = Decided), (status = 409), (status = 412), (status = 422), (status = 428)))]
pub async fn split_apart(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let (_, Apart { token, pages }) = body::json(&api, &headers, body).await?;
    let ranges: Result<Vec<PageRange>, _> = pages.iter().map(|range| range.parse()).collect();
    let ranges = ranges.map_err(|error| Problem::of(Code::Unprocessable, error.to_string()))?;
    let (document, version) = fenced(&api, &caller, &headers, Action::DecideMatch, &id).await?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let claim = Claimed { document: &document.id, token: token_of(&token)?, version };
    let parts = split(api.intake.split_tools(), stamp, &claim, &ranges).await?;
    decided(&api, &document.id, parts).await
}

/// Why a document goes back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotOurs {
    /// The token that came with the item.
    token: String,
    reason: ReturnReason,
}

/// Say that a document is not ours: it goes back, with an entry in the return log.
///
/// For a held one this takes who may decide over held files.
#[utoipa::path(post, path = "/v1/queue/{document}/not-ours", tag = "mailroom", request_body = NotOurs,
    params(("document" = String, Path, description = "The document's id"), ("If-Match" = String, Header, description = "The ETag that came with the item")),
    responses((status = 200, body = Decided), (status = 409), (status = 412), (status = 428)))]
pub async fn not_ours(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let (_, NotOurs { token, reason }) = body::json(&api, &headers, body).await?;
    let (document, version) = fenced(&api, &caller, &headers, Action::DecideMatch, &id).await?;
    if document.state == DocumentState::Held {
        allow(may(&caller.principal, Action::DecideHeld, &Target::Route), DOCUMENT)?;
    }
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let claim = Claimed { document: &document.id, token: token_of(&token)?, version };
    decide::return_as_not_ours(&api.intake.db, stamp, &claim, reason).await?;
    decided(&api, &document.id, Vec::new()).await
}

/// Take a document off its case. It waits in the queue again; its disclosure report tells who came to know it.
#[utoipa::path(post, path = "/v1/documents/{id}/undo-match", tag = "mailroom",
    params(("id" = String, Path, description = "Its id"), ("If-Match" = String, Header, description = "The document's ETag")),
    responses((status = 200, body = Decided), (status = 409), (status = 412), (status = 428)))]
pub async fn undo(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let (document, version) = fenced(&api, &caller, &headers, Action::UndoMatch, &id).await?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    undo_match(&api.intake.db, stamp, api.intake.aging(), &document.id, Some(version)).await?;
    decided(&api, &document.id, Vec::new()).await
}

/// See who saw, downloaded or was told of a document, for each time in which it was on a case (OPS-08).
#[utoipa::path(get, path = "/v1/documents/{id}/disclosures", tag = "mailroom",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = Report)))]
pub async fn disclosed(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Report>, Problem> {
    let Path(id) = path?;
    let mut conn = api.intake.db.read().await?;
    let (document, _) = document_for(&mut conn, &caller, Action::ReadDisclosures, &id).await?;
    Ok(Json(disclosures(&mut conn, &document.id).await?))
}
