//! Reference data: loaded in bulk and written one by one. For trials, a record of a brand is one of its twin (INT-35).

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Serialize;
use serde::de::IgnoredAny;
use utoipa::ToSchema;

use super::{Api, body, load};
use crate::access::Caller;
use crate::db::Stamp;
use crate::engine::bulk::LoadReport;
use crate::http::errors::Problem;
use crate::http::problems::Code;
use crate::intake::load::{Whose, load_of, put as put_record};
use crate::model::access::{Mode, Principal, TinSet};
use crate::model::reference::ReferenceKind;

/// Load reference data from a file.
///
/// Bad rows are told by their lines, the others are taken; loading again changes nothing. A body that breaks off loads
/// nothing. A key for trials writes the brand's twin, and no practices or providers: those are the same for both.
#[utoipa::path(post, path = "/v1/reference/{kind}/load", tag = "reference data",
    params(("kind" = ReferenceKind, Path, description = "What its rows are")),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 200, body = LoadReport)))]
pub async fn bulk(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LoadReport>, Problem> {
    let kind = writable(&caller, path)?;
    let spooled = load::spool(&api, &caller, &headers, body).await?;
    load::run(async move {
        let (actor, file) = (caller.actor(), spooled.open()?);
        let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
        let whose = Whose::Of(&api.brands, caller.principal.mode());
        Ok(load_of(&api.intake.db, stamp, whose, kind, spooled.form, file).await?)
    })
    .await
}

/// What was done with a record.
#[derive(Debug, Serialize, ToSchema)]
pub struct Written {
    kind: ReferenceKind,
    /// It is as the record says.
    written: bool,
}

/// Write one record, in place of what was known under its number.
///
/// The record has the fields of a row of its kind.
#[utoipa::path(put, path = "/v1/reference/{kind}", tag = "reference data",
    params(("kind" = ReferenceKind, Path, description = "What it is")), request_body = Object,
    responses((status = 200, body = Written)))]
pub async fn put(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Written>, Problem> {
    let kind = writable(&caller, path)?;
    // the fields are read as those of a row, whose sentences name no values
    let (bytes, _) = body::json::<IgnoredAny>(&api, &headers, body).await?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let whose = Whose::Of(&api.brands, caller.principal.mode());
    match put_record(&api.intake.db, stamp, whose, kind, &bytes).await? {
        Ok(()) => Ok(Json(Written { kind, written: true })),
        Err(reason) => Err(Problem::of(Code::Unprocessable, reason)),
    }
}

/// The kind in a path, if the caller may write any such record.
fn writable(caller: &Caller, path: Result<Path<String>, PathRejection>) -> Result<ReferenceKind, Problem> {
    let Path(kind) = path?;
    let kind: ReferenceKind = kind.parse().map_err(|_| Problem::not_found("kind of reference data"))?;
    if matches!(caller.principal, Principal::Service { tins: TinSet::Only(_), .. }) {
        // members have no TIN, and whoever writes claims moves them between practices
        let detail = "reference data are not for a key that is for some TINs only";
        return Err(Problem::of(Code::Forbidden, detail));
    }
    if caller.principal.mode() == Mode::Test && !kind.has_brand() {
        let detail = "practices and providers are the same for trials, which can't change them";
        return Err(Problem::of(Code::Forbidden, detail));
    }
    Ok(kind)
}
