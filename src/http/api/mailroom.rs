//! The mailroom's books (OPS-07): batches with their counts, what was wrong with files of sources, what was sent back.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::lists::{PageQuery, bad_cursor, behind, cursor, cut, page_of, read_cursor};
use crate::access::Caller;
use crate::db::returns::{self, Return};
use crate::db::sources::{self, Batch};
use crate::http::errors::Problem;
use crate::http::guard::admit_to_all;
use crate::model::access::Action;

const BATCH: &str = "mailroom batch";

/// A place in a list of the sources, as it is read.
fn place(query: &PageQuery) -> Result<Option<(Timestamp, String)>, Problem> {
    let Some((at, id)) = query.cursor.as_deref().map(read_cursor).transpose()? else { return Ok(None) };
    Ok(Some((Timestamp::from_microsecond(at).map_err(|_| bad_cursor())?, id)))
}

/// A page of mailroom batches, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Batches {
    batches: Vec<Batch>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List mailroom batches with what was expected and received, newest first.
#[utoipa::path(get, path = "/v1/mailroom/batches", tag = "mailroom", params(PageQuery), responses((status = 200, body = Batches)))]
pub async fn batches(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Batches>, Problem> {
    let Query(query) = query?;
    admit_to_all(&caller, Action::ReadMailroom)?;
    let (limit, after) = (page_of(&api, query.limit)?, place(&query)?);
    let mut conn = api.intake.db.read().await?;
    let after = after.as_ref().map(|(at, id)| (*at, id.as_str()));
    let mut batches = sources::batches(&mut conn, after, limit + 1).await?;
    let next = cut(&mut batches, limit, |batch| cursor(batch.created_at.as_microsecond(), &batch.id));
    Ok(Json(Batches { batches, next }))
}

/// See a mailroom batch with its counts.
#[utoipa::path(get, path = "/v1/mailroom/batches/{id}", tag = "mailroom",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = Batch)))]
pub async fn batch(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Batch>, Problem> {
    let Path(id) = path?;
    admit_to_all(&caller, Action::ReadMailroom)?;
    let missing = || Problem::not_found(BATCH);
    // no database takes a NUL
    if id.chars().any(char::is_control) {
        return Err(missing());
    }
    let mut conn = api.intake.db.read().await?;
    Ok(Json(sources::batch(&mut conn, &id).await?.ok_or_else(missing)?))
}

/// A page of what was wrong with files of sources, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problems {
    problems: Vec<sources::Problem>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List what was wrong with files of sources, newest first.
#[utoipa::path(get, path = "/v1/mailroom/problems", tag = "mailroom", params(PageQuery), responses((status = 200, body = Problems)))]
pub async fn problems(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Problems>, Problem> {
    let Query(query) = query?;
    admit_to_all(&caller, Action::ReadMailroom)?;
    let (limit, after) = (page_of(&api, query.limit)?, place(&query)?);
    let mut conn = api.intake.db.read().await?;
    let after = after.as_ref().map(|(at, item)| (*at, item.as_str()));
    let mut problems = sources::problems(&mut conn, after, limit + 1).await?;
    let next = cut(&mut problems, limit, |problem| cursor(problem.seen_at.as_microsecond(), &problem.item));
    Ok(Json(Problems { problems, next }))
}

/// A page of the return log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Returns {
    returns: Vec<Return>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List what was sent back as not ours, newest first.
#[utoipa::path(get, path = "/v1/mailroom/returns", tag = "mailroom", params(PageQuery), responses((status = 200, body = Returns)))]
pub async fn returns(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Returns>, Problem> {
    let Query(query) = query?;
    admit_to_all(&caller, Action::ReadMailroom)?;
    let limit = page_of(&api, query.limit)?;
    let after = behind(query.cursor.as_deref())?;
    let mut conn = api.intake.db.read().await?;
    let mut log = returns::list(&mut conn, after.as_ref().map(|(at, id)| (*at, id)), limit + 1).await?;
    let next = cut(&mut log, limit, |entry| cursor(entry.at.as_microsecond(), entry.document_id.as_str()));
    Ok(Json(Returns { returns: log, next }))
}
