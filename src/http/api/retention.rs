//! Retention (OPS-15): what would be destroyed and why, the runs that destroy it, and legal holds. Records are told by their
//! ids; nothing of a patient is told but in a hold that is on a member.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::lists::{HoldsQuery, PageQuery, behind, cursor, cut, page_of, read_cursor};
use super::versions::{if_match, tagged};
use super::{Api, body};
use crate::access::Caller;
use crate::db::retention::holds::{self as legal, Kept, LegalHold};
use crate::db::retention::{self, Count, Destroyed, Run};
use crate::db::{Conn, DbError, Stamp};
use crate::http::errors::Problem;
use crate::http::guard::admit_to_all;
use crate::http::problems::Code;
use crate::model::action::Action;
use crate::model::ids::{Brand, CaseId, LegalHoldId, MemberId, RetentionRunId, Tin};
use crate::model::retention::{RecordKind, RecordState, RetentionReason, RetentionRunState};
use crate::retention::{Looked, RetentionError};

impl From<RetentionError> for Problem {
    fn from(error: RetentionError) -> Self {
        let said = error.to_string();
        match error {
            RetentionError::NoHold | RetentionError::NoRun => Self::of(Code::NotFound, said),
            RetentionError::Nothing(_) | RetentionError::Invalid(_) => Self::of(Code::Unprocessable, said),
            RetentionError::Exists => Self::of(Code::Exists, said),
            RetentionError::Running | RetentionError::Disabled => Self::of(Code::WrongState, said),
            RetentionError::Conflict(_) => Self::of(Code::VersionConflict, said),
            RetentionError::Db(error) => error.into(),
        }
    }
}

/// How many records there are of a class and reason.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountView {
    /// `documents`, `letters`, `cases`, or with a kind or category that has a period of its own: `letters.appeal`.
    class: String,
    why: RetentionReason,
    records: i64,
}

impl CountView {
    /// The view of a count.
    pub(crate) fn of(count: &Count) -> Self {
        Self { class: count.class.to_string(), why: count.why, records: count.records }
    }
}

/// What a run would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanView {
    /// The payer's local day.
    #[schema(value_type = String, format = Date)]
    day: Date,
    /// Whether policy lets runs destroy.
    destruction: bool,
    /// Of all records that are old enough to be looked at. Those with `has_records` go in the same run if what hangs on them
    /// does.
    counts: Vec<CountView>,
}

/// See what a run would destroy today, and what it would leave and why. Nothing is changed.
#[utoipa::path(get, path = "/v1/retention/plan", tag = "retention", responses((status = 200, body = PlanView)))]
pub async fn plan(State(api): State<Api>, caller: Caller) -> Result<Json<PlanView>, Problem> {
    admit_to_all(&caller, Action::ReadRetention)?;
    let plan = api.retention.dry_run().await?;
    let destruction = api.retention.plan.destruction.enabled;
    Ok(Json(PlanView { day: plan.day, destruction, counts: plan.counts.iter().map(CountView::of).collect() }))
}

/// A record, and what would become of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct LookedView {
    kind: RecordKind,
    id: String,
    brand: Brand,
    class: String,
    why: RetentionReason,
    /// The first day on which its time is over, where that is known.
    #[schema(value_type = Option<String>, format = Date)]
    due_on: Option<Date>,
}

impl LookedView {
    /// The view of a record.
    pub(crate) fn of(one: &Looked) -> Self {
        Self {
            kind: one.kind,
            id: one.id.clone(),
            brand: one.brand.clone(),
            class: one.class.to_string(),
            why: one.judged.why,
            due_on: one.judged.due_on,
        }
    }
}

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PlanQuery {
    /// Those with this reason: a page then has as many as were met, perhaps none, and `next` says whether there are more.
    #[serde(default)]
    why: Option<RetentionReason>,
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Records looked at for a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// A page of records, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanPage {
    records: Vec<LookedView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// See what would become of each record of a kind that is old enough to be looked at.
#[utoipa::path(get, path = "/v1/retention/plan/{kind}", tag = "retention",
    params(("kind" = RecordKind, Path, description = "What kind of record"), PlanQuery), responses((status = 200, body = PlanPage)))]
pub async fn plan_of(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PlanQuery>, QueryRejection>,
) -> Result<Json<PlanPage>, Problem> {
    admit_to_all(&caller, Action::ReadRetention)?;
    let (Path(kind), Query(query)) = (path?, query?);
    let kind: RecordKind = kind.parse().map_err(|_| Problem::not_found("kind of record"))?;
    let limit = page_of(&api, query.limit)?;
    let (at, id) = query.cursor.as_deref().map(read_cursor).transpose()?.unwrap_or((i64::MIN, String::new()));
    let mut rows = api.retention.look(api.retention.today(), kind, (at, &id), limit + 1).await?;
    let next = cut(&mut rows, limit, |one| cursor(one.placed_at, &one.id));
    let wanted = |one: &&Looked| query.why.is_none_or(|why| one.judged.why == why);
    Ok(Json(PlanPage { records: rows.iter().filter(wanted).map(LookedView::of).collect(), next }))
}

/// A run, what it destroyed and what it left.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunReport {
    id: RetentionRunId,
    state: RetentionRunState,
    /// The payer's local day as which everything is judged.
    #[schema(value_type = String, format = Date)]
    day: Date,
    asked_by: String,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    done_at: Option<Timestamp>,
    /// What it is at; `null` when it has been through all.
    at: Option<RecordKind>,
    /// Those with `due` are destroyed.
    counts: Vec<CountView>,
}

impl RunReport {
    /// The report of a run.
    pub(crate) fn of(run: Run, counts: &[Count]) -> Self {
        Self {
            id: run.id,
            state: run.state,
            day: run.day,
            asked_by: run.asked_by,
            started_at: run.started_at,
            done_at: run.done_at,
            at: run.place.map(|place| place.kind),
            counts: counts.iter().map(CountView::of).collect(),
        }
    }
}

async fn report_of(conn: &mut Conn, run: Run) -> Result<RunReport, DbError> {
    let counts = retention::counts(conn, &run.id).await?;
    Ok(RunReport::of(run, &counts))
}

/// A page of runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RetentionRuns {
    runs: Vec<RunReport>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List runs, newest first, with what each destroyed and left.
#[utoipa::path(get, path = "/v1/retention/runs", tag = "retention", params(PageQuery), responses((status = 200, body = RetentionRuns)))]
pub async fn runs(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<RetentionRuns>, Problem> {
    admit_to_all(&caller, Action::ReadRetention)?;
    let Query(query) = query?;
    let limit = page_of(&api, query.limit)?;
    let before: Option<(i64, RetentionRunId)> = behind(query.cursor.as_deref())?;
    let mut conn = api.retention.db.read().await?;
    let before = before.as_ref().map(|(at, id)| (*at, id));
    let mut rows = retention::list(&mut conn, before, limit + 1).await?;
    let next = cut(&mut rows, limit, |run| cursor(run.started_at.as_microsecond(), run.id.as_str()));
    let mut runs = Vec::with_capacity(rows.len());
    for run in rows {
        runs.push(report_of(&mut conn, run).await?);
    }
    Ok(Json(RetentionRuns { runs, next }))
}

/// Have destroyed what is due. Nodes work on it from now on; one run at a time.
#[utoipa::path(post, path = "/v1/retention/runs", tag = "retention",
    responses((status = 202, body = RunReport), (status = 409)))]
pub async fn begin(State(api): State<Api>, caller: Caller) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::RunRetention)?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.retention.ctx, actor: &actor };
    let run = api.retention.begin(stamp).await?;
    Ok((StatusCode::ACCEPTED, Json(RunReport::of(run, &[]))))
}

async fn run_of(conn: &mut Conn, id: &str) -> Result<Run, Problem> {
    let id: RetentionRunId = id.parse().map_err(|_| RetentionError::NoRun)?;
    Ok(retention::get(conn, &id).await?.ok_or(RetentionError::NoRun)?)
}

/// See a run: what it destroyed and what it left, by class and reason.
#[utoipa::path(get, path = "/v1/retention/runs/{id}", tag = "retention", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = RunReport)))]
pub async fn look(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<RunReport>, Problem> {
    admit_to_all(&caller, Action::ReadRetention)?;
    let Path(id) = path?;
    let mut conn = api.retention.db.read().await?;
    let run = run_of(&mut conn, &id).await?;
    Ok(Json(report_of(&mut conn, run).await?))
}

/// A record that was destroyed.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordView {
    kind: RecordKind,
    id: String,
    brand: Brand,
    class: String,
    /// The first day on which it could be.
    #[schema(value_type = String, format = Date)]
    due_on: Date,
    state: RecordState,
    #[schema(value_type = String, format = DateTime)]
    begun_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    done_at: Option<Timestamp>,
}

impl From<Destroyed> for RecordView {
    fn from(one: Destroyed) -> Self {
        Self {
            kind: one.kind,
            id: one.subject,
            brand: one.brand,
            class: one.class.to_string(),
            due_on: one.due_on,
            state: one.state,
            begun_at: one.begun_at,
            done_at: one.done_at,
        }
    }
}

/// A page of what a run destroyed, as it came.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordsPage {
    records: Vec<RecordView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List what a run destroyed.
#[utoipa::path(get, path = "/v1/retention/runs/{id}/records", tag = "retention",
    params(("id" = String, Path, description = "Its id"), PageQuery), responses((status = 200, body = RecordsPage)))]
pub async fn records(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<RecordsPage>, Problem> {
    admit_to_all(&caller, Action::ReadRetention)?;
    let (Path(id), Query(query)) = (path?, query?);
    let limit = page_of(&api, query.limit)?;
    let place = query.cursor.as_deref().map(read_cursor).transpose()?;
    let mut conn = api.retention.db.read().await?;
    let run = run_of(&mut conn, &id).await?;
    let place = place.as_ref().map(|(at, id)| (*at, id.as_str()));
    let mut rows = retention::records(&mut conn, &run.id, place, limit + 1).await?;
    let next = cut(&mut rows, limit, |one| cursor(one.begun_at.as_microsecond(), &one.subject));
    Ok(Json(RecordsPage { records: rows.into_iter().map(RecordView::from).collect(), next }))
}

/// A legal hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct LegalHoldView {
    id: LegalHoldId,
    brand: Brand,
    case_id: Option<CaseId>,
    tin: Option<Tin>,
    member_id: Option<MemberId>,
    /// Why, in the words of who put it.
    reason: String,
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    lifted_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    lifted_at: Option<Timestamp>,
    /// How often it changed; the number in its ETag.
    version: i64,
}

impl LegalHoldView {
    /// The view of a hold.
    pub(crate) fn of(hold: LegalHold) -> Self {
        let (case_id, tin, member_id) = hold.kept.parts();
        Self {
            id: hold.id,
            brand: hold.brand,
            case_id: case_id.cloned(),
            tin: tin.cloned(),
            member_id: member_id.cloned(),
            reason: hold.reason,
            created_by: hold.created_by,
            created_at: hold.created_at,
            lifted_by: hold.lifted_by,
            lifted_at: hold.lifted_at,
            version: hold.version,
        }
    }
}

/// A page of legal holds, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct LegalHolds {
    holds: Vec<LegalHoldView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List legal holds, newest first.
#[utoipa::path(get, path = "/v1/retention/holds", tag = "retention", params(HoldsQuery), responses((status = 200, body = LegalHolds)))]
pub async fn holds(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<HoldsQuery>, QueryRejection>,
) -> Result<Json<LegalHolds>, Problem> {
    admit_to_all(&caller, Action::ReadRetention)?;
    let Query(query) = query?;
    let limit = page_of(&api, query.limit)?;
    let before: Option<(i64, LegalHoldId)> = behind(query.cursor.as_deref())?;
    let mut conn = api.retention.db.read().await?;
    let before = before.as_ref().map(|(at, id)| (*at, id));
    let mut rows = legal::list(&mut conn, query.lifted, before, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| cursor(row.created_at.as_microsecond(), row.id.as_str()));
    Ok(Json(LegalHolds { holds: rows.into_iter().map(LegalHoldView::of).collect(), next }))
}

/// A legal hold to be put: on a case, a practice or a member.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LegalHoldRequest {
    /// The brand; else the installation's first.
    #[serde(default)]
    brand: Option<Brand>,
    #[serde(default)]
    case_id: Option<CaseId>,
    #[serde(default)]
    tin: Option<Tin>,
    #[serde(default)]
    member_id: Option<MemberId>,
    /// Why, in a few words without health data.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}

/// Put a legal hold: as long as it stands, nothing of the case, the practice or the member is destroyed.
#[utoipa::path(post, path = "/v1/retention/holds", tag = "retention", request_body = LegalHoldRequest,
    responses((status = 201, body = LegalHoldView, headers(("ETag" = String))), (status = 409), (status = 422)))]
pub async fn hold(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::RunRetention)?;
    let (_, wanted) = body::json::<LegalHoldRequest>(&api, &headers, body).await?;
    let brand = api.brand(wanted.brand.as_ref(), caller.principal.mode())?;
    let kept = Kept::one_of(wanted.case_id, wanted.tin, wanted.member_id);
    let kept = kept.ok_or_else(|| Problem::bad("name a case, a TIN or a member, one of them"))?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.retention.ctx, actor: &actor };
    let hold = api.retention.hold(stamp, &brand, &kept, &wanted.reason).await?;
    Ok((StatusCode::CREATED, tagged(hold.version), Json(LegalHoldView::of(hold))))
}

/// See a legal hold.
#[utoipa::path(get, path = "/v1/retention/holds/{id}", tag = "retention", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = LegalHoldView, headers(("ETag" = String)))))]
pub async fn look_at_hold(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::ReadRetention)?;
    let Path(id) = path?;
    let id: LegalHoldId = id.parse().map_err(|_| RetentionError::NoHold)?;
    let mut conn = api.retention.db.read().await?;
    let hold = legal::get(&mut conn, &id).await?.ok_or(RetentionError::NoHold)?;
    Ok((tagged(hold.version), Json(LegalHoldView::of(hold))))
}

/// Lift a legal hold: what it kept goes with the next run that finds it due.
#[utoipa::path(post, path = "/v1/retention/holds/{id}/release", tag = "retention",
    params(("id" = String, Path, description = "Its id"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = LegalHoldView, headers(("ETag" = String)))))]
pub async fn release(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::RunRetention)?;
    let Path(id) = path?;
    let id: LegalHoldId = id.parse().map_err(|_| RetentionError::NoHold)?;
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.retention.ctx, actor: &actor };
    let hold = api.retention.release(stamp, &id, Some(version)).await?;
    Ok((tagged(hold.version), Json(LegalHoldView::of(hold))))
}
