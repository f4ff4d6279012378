//! The matching queue (OPS-01, OPS-02): what waits, and who has it. A list tells ids and times only; who takes an item
//! sees it, and that is written down.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::cases::{CaseView, proposed};
use super::documents::{document_for, tell};
use super::lists::{behind, cursor, cut, page_of};
use super::versions::etag;
use super::view::{DocumentView, Eyes, of_document};
use super::{Api, body};
use crate::access::Caller;
use crate::db::tasks::{self, Counts, Filter, Lease, Taken, Task, TaskKind};
use crate::db::{DbError, Stamp, documents};
use crate::http::errors::Problem;
use crate::http::guard::allow;
use crate::http::problems::Code;
use crate::intake::review::ReviewError;
use crate::model::access::{Action, Answer, Target, may};
use crate::model::document::Access;
use crate::model::ids::{Brand, DocumentId};

const QUEUE: &str = "queue";

/// What of the queue.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Of one kind only.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    kind: Option<TaskKind>,
    /// Of one brand only.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    brand: Option<Brand>,
}

/// What of the queue, and where in it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QueueQuery {
    /// Of one kind only.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    kind: Option<TaskKind>,
    /// Of one brand only.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    brand: Option<Brand>,
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// What waits for a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueLine {
    document_id: DocumentId,
    kind: TaskKind,
    brand: Brand,
    /// Legal receipt.
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    /// Seconds since receipt.
    age_s: i64,
    /// Since when it waits.
    #[schema(value_type = String, format = DateTime)]
    waits_since: Timestamp,
    /// By when somebody must have acted.
    #[schema(value_type = String, format = DateTime)]
    deadline_at: Timestamp,
    overdue: bool,
    /// Who has it.
    holder: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    lease_until: Option<Timestamp>,
}

impl QueueLine {
    /// The document that waits.
    pub(super) fn document_id(&self) -> &DocumentId {
        &self.document_id
    }

    /// A task as it is at an instant.
    pub(super) fn of(task: Task, now: Timestamp) -> Self {
        Self {
            document_id: task.document_id,
            kind: task.kind,
            brand: task.brand,
            received_at: task.received_at,
            age_s: now.duration_since(task.received_at).max(SignedDuration::ZERO).as_secs(),
            waits_since: task.created_at,
            deadline_at: task.deadline_at,
            overdue: task.deadline_at < now,
            holder: task.holder,
            lease_until: task.lease_until,
        }
    }
}

/// A page of the queue, nearest deadline first.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueuePage {
    items: Vec<QueueLine>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// The part of the queue that the caller may have: with held files where the caller may do this to them.
fn filter<'a>(
    caller: &Caller,
    kind: Option<TaskKind>,
    brand: Option<&'a Brand>,
    to_held: Action,
) -> Result<Filter<'a>, Problem> {
    let who = &caller.principal;
    allow(may(who, Action::ReadQueue, &Target::Mailroom), QUEUE)?;
    let held = may(who, to_held, &Target::Mailroom);
    let kind = match kind {
        None if held != Answer::Yes => Some(TaskKind::Match),
        Some(TaskKind::Held) => {
            allow(held, QUEUE)?;
            kind
        }
        kind => kind,
    };
    Ok(Filter { mode: who.mode(), kind, brand, sensitive: who.sees_sensitive() })
}

/// List what waits for a person, nearest deadline first.
#[utoipa::path(get, path = "/v1/queue", tag = "mailroom", params(QueueQuery), responses((status = 200, body = QueuePage)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<QueueQuery>, QueryRejection>,
) -> Result<Json<QueuePage>, Problem> {
    let Query(query) = query?;
    let limit = page_of(&api, query.limit)?;
    let after = behind(query.cursor.as_deref())?;
    let filter = filter(&caller, query.kind, query.brand.as_ref(), Action::ReadHeld)?;
    let (items, next) = page(&api, filter, after, limit).await?;
    Ok(Json(QueuePage { items, next }))
}

/// A page of what waits, and where the next one begins.
pub(super) async fn page(
    api: &Api,
    filter: Filter<'_>,
    after: Option<(i64, DocumentId)>,
    limit: i64,
) -> Result<(Vec<QueueLine>, Option<String>), Problem> {
    let now = api.intake.ctx.now();
    let mut conn = api.intake.db.read().await?;
    let after = after.as_ref().map(|(at, id)| (*at, id));
    let mut waiting = tasks::list(&mut conn, now, filter, after, limit + 1).await?;
    let next = cut(&mut waiting, limit, |task| cursor(task.deadline_at.as_microsecond(), task.document_id.as_str()));
    Ok((waiting.into_iter().map(|task| QueueLine::of(task, now)).collect(), next))
}

/// Count what waits, is overdue, or is due soon.
#[utoipa::path(get, path = "/v1/queue/counts", tag = "mailroom", params(Which), responses((status = 200, body = Vec<Counts>)))]
pub async fn counts(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Vec<Counts>>, Problem> {
    let Query(which) = query?;
    let filter = filter(&caller, which.kind, which.brand.as_ref(), Action::ReadHeld)?;
    let now = api.intake.ctx.now();
    let soon = now.saturating_add(api.intake.plan.aging.warn_before()).unwrap_or(Timestamp::MAX);
    let mut conn = api.intake.db.read().await?;
    Ok(Json(tasks::counts(&mut conn, now, soon, filter).await?))
}

/// An item that the caller has taken: the document beside the cases proposed for it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Item {
    /// What fences the decision: its token is sent with it.
    lease: Lease,
    #[serde(flatten)]
    line: QueueLine,
    /// The version of the document: the ETag, to be sent as If-Match.
    version: i64,
    document: DocumentView,
    /// The cases proposed, in the order of the document's `proposals`, which hold the evidence for each.
    cases: Vec<CaseView>,
}

/// Take the next item: the one with the nearest deadline that nobody has.
///
/// Nobody else gets it until it is decided, given back, or the lease has run out. Held files come only to who may
/// decide over them, or asks for them.
#[utoipa::path(post, path = "/v1/queue/next", tag = "mailroom", params(Which),
    responses((status = 200, body = Item, headers(("ETag" = String, description = "the document's version, for If-Match"))),
        (status = 204, description = "Nothing waits that nobody has")))]
pub async fn next(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(which) = query?;
    let to_held = if which.kind.is_none() { Action::DecideHeld } else { Action::Rescan };
    let filter = filter(&caller, which.kind, which.brand.as_ref(), to_held)?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    match tasks::claim_next(&api.intake.db, stamp, filter, api.intake.plan.queue.lease()).await? {
        Some(lease) => item(&api, &caller, lease).await,
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Take a document's item. Who has it already gets it anew, under another token.
#[utoipa::path(post, path = "/v1/queue/{document}/lease", tag = "mailroom",
    params(("document" = String, Path, description = "The document's id")),
    responses((status = 200, body = Item, headers(("ETag" = String, description = "the document's version, for If-Match"))), (status = 409)))]
pub async fn lease(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = path?;
    let document = {
        let mut conn = api.intake.db.read().await?;
        document_for(&mut conn, &caller, Action::DecideMatch, &id).await?.0
    };
    if TaskKind::of(document.state) == Some(TaskKind::Held) {
        allow(may(&caller.principal, Action::Rescan, &Target::Route), QUEUE)?;
    }
    let lease = take(&api, &caller, &document).await?;
    item(&api, &caller, lease).await
}

/// Takes a document's item for the caller.
///
/// # Errors
/// 409 when somebody else has it, or nothing is to be decided.
pub(super) async fn take(api: &Api, caller: &Caller, document: &documents::Document) -> Result<Lease, Problem> {
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let mut tx = api.intake.db.begin().await?;
    let taken = tasks::claim(&mut tx, stamp, &document.id, api.intake.plan.queue.lease()).await?;
    tx.commit().await.map_err(DbError::from)?;
    match taken {
        Taken::Yes(lease) => Ok(lease),
        Taken::ByAnother { until } => Err(Problem::of(Code::Held, format!("somebody else has it until {until}"))),
        Taken::NoTask => {
            Err(Problem::of(Code::WrongState, format!("the document is {}: nothing is to be decided", document.state)))
        }
    }
}

/// What the caller sees of an item now taken. That it was shown is written before.
async fn item(api: &Api, caller: &Caller, lease: Lease) -> Result<Response, Problem> {
    let now = api.intake.ctx.now();
    let (document, task) = {
        let mut conn = api.intake.db.read().await?;
        let document = documents::get(&mut conn, &lease.document_id).await?.ok_or(ReviewError::NoDocument)?;
        (document, tasks::get(&mut conn, now, &lease.document_id).await?)
    };
    // a rescan that somebody else asked for takes it away
    let task = task.ok_or(ReviewError::NotHolder)?;
    tell(api, caller, &document, Access::Shown).await?;
    let mut conn = api.intake.db.read().await?;
    let view = of_document(&mut conn, &document, Eyes::Of(&caller.principal)).await?;
    let cases = proposed(&mut conn, &document).await?;
    let version = document.version;
    let item = Item { lease, line: QueueLine::of(task, now), version, document: view, cases };
    Ok(([(header::ETAG, etag(version))], Json(item)).into_response())
}

/// What names a lease.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LeaseToken {
    /// The token that came with the item.
    token: String,
}

/// A token as it can be looked for.
///
/// # Errors
/// 409 when it is none that we gave out.
pub(super) fn token_of(token: &str) -> Result<&str, Problem> {
    // no database takes a NUL
    if token.chars().any(char::is_control) { Err(ReviewError::NotHolder.into()) } else { Ok(token) }
}

/// A lease as it runs now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Renewed {
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

/// Keep an item for longer. What ran out can't be renewed: take it again.
#[utoipa::path(put, path = "/v1/queue/{document}/lease", tag = "mailroom", request_body = LeaseToken,
    params(("document" = String, Path, description = "The document's id")),
    responses((status = 200, body = Renewed), (status = 409)))]
pub async fn renew(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Renewed>, Problem> {
    let Path(id) = path?;
    let (_, LeaseToken { token }) = body::json(&api, &headers, body).await?;
    let document = {
        let mut conn = api.intake.db.read().await?;
        document_for(&mut conn, &caller, Action::DecideMatch, &id).await?.0
    };
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let lease = api.intake.plan.queue.lease();
    let mut tx = api.intake.db.begin().await?;
    let until = tasks::renew(&mut tx, stamp, &document.id, token_of(&token)?, lease).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(Json(Renewed { until: until.ok_or(ReviewError::NotHolder)? }))
}

/// Give an item back undecided: somebody else can take it at once.
#[utoipa::path(delete, path = "/v1/queue/{document}/lease", tag = "mailroom",
    params(("document" = String, Path, description = "The document's id"), LeaseToken),
    responses((status = 204), (status = 409)))]
pub async fn give_back(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<LeaseToken>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = path?;
    let Query(LeaseToken { token }) = query?;
    let document = {
        let mut conn = api.intake.db.read().await?;
        document_for(&mut conn, &caller, Action::DecideMatch, &id).await?.0
    };
    if release(&api, &caller, &document.id, token_of(&token)?).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ReviewError::NotHolder.into())
    }
}

/// Gives the caller's item back. False when it was not theirs any more.
pub(super) async fn release(api: &Api, caller: &Caller, id: &DocumentId, token: &str) -> Result<bool, Problem> {
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let mut tx = api.intake.db.begin().await?;
    let released = tasks::release(&mut tx, stamp, id, token).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(released)
}
