//! Mail that came back, and what a person must see to before letters can go on paper (COR-42, OPS-04).

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::batches::EnvelopeView;
use super::lists::{PageQuery, behind, cursor, cut, page_of};
use super::versions::{if_match, tagged};
use super::{Api, body};
use crate::access::Caller;
use crate::db::Stamp;
use crate::db::letters::Addressee;
use crate::db::paper_tasks::{self, PaperTask};
use crate::http::errors::Problem;
use crate::http::guard::admit_to_all;
use crate::model::access::Action;
use crate::model::ids::{Brand, LetterId, MemberId, PaperTaskId, Tin};
use crate::model::paper::{PaperTaskEnd, PaperTaskKind, ReturnReason};
use crate::paper::addresses::GivenAddress;

/// What a person must see to before letters can go on paper.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaperTaskView {
    id: PaperTaskId,
    brand: Brand,
    kind: PaperTaskKind,
    /// The practice, where the letters are for one.
    tin: Option<Tin>,
    /// The member, where they are for one.
    member_id: Option<MemberId>,
    /// The address that they can't go to.
    #[schema(value_type = Object)]
    address: Value,
    /// The letter that no envelope takes; else the first that waits.
    letter_id: Option<LetterId>,
    /// What is wrong: `returned`, `too_many_sheets`, or what is wrong with the form of the address.
    reasons: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    ending: Option<PaperTaskEnd>,
    /// Counts its changes; the number in its ETag.
    version: i64,
}

impl From<PaperTask> for PaperTaskView {
    fn from(task: PaperTask) -> Self {
        let (tin, member_id) = match task.to.addressee {
            Addressee::Tin(tin) => (Some(tin), None),
            Addressee::Member(member) => (None, Some(member)),
        };
        Self {
            id: task.id,
            brand: task.brand,
            kind: task.kind,
            tin,
            member_id,
            address: serde_json::from_str(task.to.address.reveal()).unwrap_or_default(),
            letter_id: task.letter_id,
            reasons: task.reasons,
            due_at: task.due_at,
            created_at: task.created_at,
            ended_at: task.ended_at,
            ending: task.ending,
            version: task.version,
        }
    }
}

/// A page of tasks, nearest deadline first.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaperTasks {
    tasks: Vec<PaperTaskView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List what a person must see to before letters can go on paper, nearest deadline first.
#[utoipa::path(get, path = "/v1/paper-tasks", tag = "paper", params(PageQuery), responses((status = 200, body = PaperTasks)))]
pub async fn tasks(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<PaperTasks>, Problem> {
    let Query(query) = query?;
    admit_to_all(&caller, Action::WorkPrintBatches)?;
    let limit = page_of(&api, query.limit)?;
    let after: Option<(i64, PaperTaskId)> = behind(query.cursor.as_deref())?;
    let after = after.as_ref().map(|(at, id)| (*at, id));
    let mut conn = api.paper.db.read().await?;
    let mut rows = paper_tasks::standing(&mut conn, after, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| cursor(row.due_at.as_microsecond(), row.id.as_str()));
    Ok(Json(PaperTasks { tasks: rows.into_iter().map(PaperTaskView::from).collect(), next }))
}

/// What came of a task.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskEnded {
    task: PaperTaskView,
    /// Letters that came back and wait for the next batch again.
    again: usize,
}

/// Give an addressee another address: what came back is mailed again, behind a sheet that carries it.
#[utoipa::path(post, path = "/v1/paper-tasks/{id}/correct", tag = "paper", request_body = GivenAddress,
    params(("id" = String, Path, description = "Its id"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = TaskEnded, headers(("ETag" = String))), (status = 409)))]
pub async fn correct(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    admit_to_all(&caller, Action::WorkPrintBatches)?;
    let (_, given) = body::json::<GivenAddress>(&api, &headers, body).await?;
    let id: PaperTaskId = id.parse().map_err(|_| Problem::not_found("task"))?;
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.paper.ctx, actor: &actor };
    let (task, again) = api.paper.correct_address(stamp, &id, Some(version), &given).await?;
    Ok((tagged(task.version), Json(TaskEnded { task: task.into(), again })))
}

/// What is to become of what came back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DismissRequest {
    /// Mail it to the same address again.
    #[serde(default)]
    again: bool,
}

/// End a task without another address: mail may go to the old one.
#[utoipa::path(post, path = "/v1/paper-tasks/{id}/dismiss", tag = "paper", request_body = Option<DismissRequest>,
    params(("id" = String, Path, description = "Its id"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = TaskEnded, headers(("ETag" = String))), (status = 409)))]
pub async fn dismiss(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    admit_to_all(&caller, Action::WorkPrintBatches)?;
    let wanted = body::json_or_none::<DismissRequest>(&api, &headers, body).await?.unwrap_or_default();
    let id: PaperTaskId = id.parse().map_err(|_| Problem::not_found("task"))?;
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.paper.ctx, actor: &actor };
    let (task, again) = api.paper.dismiss_task(stamp, &id, Some(version), wanted.again).await?;
    Ok((tagged(task.version), Json(TaskEnded { task: task.into(), again })))
}

/// An envelope that came back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnedRequest {
    /// What a scanner reads on it: the Data Matrix of a sheet, or the digits of the Intelligent Mail barcode.
    #[schema(min_length = 1, max_length = 64)]
    barcode: String,
    reason: ReturnReason,
    /// Another address, where the post or the addressee told it.
    #[serde(default)]
    address: Option<GivenAddress>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReturnedView {
    /// The name of its batch.
    batch: String,
    envelope: EnvelopeView,
    /// What a person must see to: further mail to that address waits.
    task: Option<PaperTaskView>,
    /// Letters that wait for the next batch again.
    again: usize,
}

/// Keep that an envelope came back. With another address its letters are mailed again, once; else further mail to the
/// old one waits for a person.
#[utoipa::path(post, path = "/v1/returned-mail", tag = "paper", request_body = ReturnedRequest,
    responses((status = 200, body = ReturnedView), (status = 409)))]
pub async fn returned(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReturnedView>, Problem> {
    admit_to_all(&caller, Action::WorkPrintBatches)?;
    let (_, wanted) = body::json::<ReturnedRequest>(&api, &headers, body).await?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.paper.ctx, actor: &actor };
    let came = api.paper.returned(stamp, &wanted.barcode, wanted.reason, wanted.address.as_ref()).await?;
    Ok(Json(ReturnedView {
        batch: came.batch,
        envelope: came.envelope.into(),
        task: came.task.map(PaperTaskView::from),
        again: came.again,
    }))
}
