//! Schedules of digests (OPS-10, OPS-11): when they go, what another timing would do, and what became of each run. An edit
//! is kept first and holds when it is confirmed.

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

use super::lists::{behind, cursor, cut, page_of};
use super::versions::{if_match, tagged};
use super::{Api, body};
use crate::access::Caller;
use crate::db::digest_runs::{self, Run, RunCounts};
use crate::db::schedules::{self, Revision};
use crate::db::{DbError, Stamp};
use crate::digests::preview::{EditPreview, NextRun};
use crate::digests::schedules::{ScheduleError, Standing, timing_of};
use crate::digests::timing::Timing;
use crate::http::errors::Problem;
use crate::http::guard::admit_to_all;
use crate::http::problems::Code;
use crate::model::action::Action;
use crate::model::digest::{Cadence, RevisionState, RunKind, RunReason, RunState};
use crate::model::ids::{Brand, RunId};

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        let said = error.to_string();
        match error {
            ScheduleError::NoSchedule | ScheduleError::NoRevision | ScheduleError::NoRun => {
                Self::of(Code::NotFound, said)
            }
            ScheduleError::State(_) => Self::of(Code::WrongState, said),
            ScheduleError::Conflict(_) => Self::of(Code::VersionConflict, said),
            ScheduleError::SecondPerson => Self::of(Code::Forbidden, said),
            ScheduleError::Timing(_) => Self::of(Code::Unprocessable, said),
            ScheduleError::Db(error) => error.into(),
        }
    }
}

/// What a schedule says, said, or is to say.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevisionView {
    /// From 1.
    revision: i64,
    state: RevisionState,
    timing: Timing,
    /// The revision that it goes back to.
    rolls_back: Option<i64>,
    proposed_by: String,
    #[schema(value_type = String, format = DateTime)]
    proposed_at: Timestamp,
    confirmed_by: Option<String>,
    /// Since when it holds, or held.
    #[schema(value_type = Option<String>, format = DateTime)]
    confirmed_at: Option<Timestamp>,
}

impl RevisionView {
    /// The view of a revision.
    pub(crate) fn of(revision: &Revision, timing: Timing) -> Self {
        Self {
            revision: revision.revision,
            state: revision.state,
            timing,
            rolls_back: revision.rolls_back,
            proposed_by: revision.proposed_by.clone(),
            proposed_at: revision.proposed_at,
            confirmed_by: revision.confirmed_by.clone(),
            confirmed_at: revision.confirmed_at,
        }
    }
}

/// Who paused a schedule, and since when.
#[derive(Debug, Serialize, ToSchema)]
pub struct PauseView {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    by: String,
}

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleView {
    /// Brand and cadence.
    name: String,
    brand: Brand,
    cadence: Cadence,
    /// Set as long as it does not run by itself.
    paused: Option<PauseView>,
    /// What it says.
    in_force: RevisionView,
    /// The edit that waits to be confirmed.
    proposed: Option<RevisionView>,
    /// Its next run; `null` while it is paused.
    next: Option<NextRun>,
    /// Counts its changes; the number in the ETag.
    version: i64,
}

impl ScheduleView {
    /// The view of a schedule.
    pub(crate) fn of(standing: &Standing, mut next: Vec<NextRun>) -> Self {
        let schedule = &standing.schedule;
        let proposed = standing.proposal.as_ref().map(|(revision, timing)| RevisionView::of(revision, timing.clone()));
        next.truncate(1);
        Self {
            name: schedule.name.clone(),
            brand: schedule.brand.clone(),
            cadence: schedule.cadence,
            paused: schedule.paused.clone().map(|pause| PauseView { at: pause.at, by: pause.by }),
            in_force: RevisionView::of(&schedule.revision, standing.timing.clone()),
            proposed,
            next: next.pop().filter(|_| schedule.paused.is_none()),
            version: schedule.version,
        }
    }
}

fn view(api: &Api, standing: &Standing) -> Result<ScheduleView, Problem> {
    let next = api.digests.shown_next(standing, &standing.timing, 1).map_err(ScheduleError::from)?;
    Ok(ScheduleView::of(standing, next))
}

/// All schedules.
#[derive(Debug, Serialize, ToSchema)]
pub struct Schedules {
    schedules: Vec<ScheduleView>,
}

/// List the schedules.
#[utoipa::path(get, path = "/v1/schedules", tag = "schedules", responses((status = 200, body = Schedules)))]
pub async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<Schedules>, Problem> {
    admit_to_all(&caller, Action::ReadSchedules)?;
    let standing = api.digests.schedules().await?;
    Ok(Json(Schedules { schedules: standing.iter().map(|one| view(&api, one)).collect::<Result<_, _>>()? }))
}

/// A schedule with all that it said.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleDetail {
    #[serde(flatten)]
    schedule: ScheduleView,
    /// Newest first.
    revisions: Vec<RevisionView>,
}

/// See a schedule and its revisions.
#[utoipa::path(get, path = "/v1/schedules/{name}", tag = "schedules", params(("name" = String, Path, description = "Brand and cadence: `meridian-daily`")),
    responses((status = 200, body = ScheduleDetail, headers(("ETag" = String)))))]
pub async fn look(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::ReadSchedules)?;
    let Path(name) = path?;
    let standing = api.digests.schedule(&name).await?;
    let mut conn = api.digests.db.read().await?;
    let of = |revision: Revision| timing_of(&revision).map(|timing| RevisionView::of(&revision, timing));
    let revisions = schedules::revisions(&mut conn, &standing.schedule.id).await?;
    let revisions = revisions.into_iter().map(of).collect::<Result<_, DbError>>()?;
    Ok((tagged(standing.schedule.version), Json(ScheduleDetail { schedule: view(&api, &standing)?, revisions })))
}

/// How many runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NextQuery {
    /// How many; else as many as an edit shows.
    #[serde(default)]
    #[param(minimum = 1, maximum = 100)]
    count: Option<u16>,
}

/// The next runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct NextRuns {
    /// Whether it is paused: then they come only once it is resumed.
    paused: bool,
    next: Vec<NextRun>,
}

/// See when a schedule runs next.
#[utoipa::path(get, path = "/v1/schedules/{name}/next", tag = "schedules",
    params(("name" = String, Path, description = "Brand and cadence"), NextQuery), responses((status = 200, body = NextRuns)))]
pub async fn next(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<NextQuery>, QueryRejection>,
) -> Result<Json<NextRuns>, Problem> {
    admit_to_all(&caller, Action::ReadSchedules)?;
    let (Path(name), Query(query)) = (path?, query?);
    let count = query.count.unwrap_or(api.digests.plan.schedules.preview_runs);
    if !(1..=100).contains(&count) {
        return Err(Problem::bad("count must be from 1 to 100"));
    }
    let standing = api.digests.schedule(&name).await?;
    let next = api.digests.shown_next(&standing, &standing.timing, count.into()).map_err(ScheduleError::from)?;
    Ok(Json(NextRuns { paused: standing.schedule.paused.is_some(), next }))
}

/// A run of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunView {
    id: RunId,
    brand: Brand,
    cadence: Cadence,
    kind: RunKind,
    /// The local period: a day, 2026-11-23, or a week, 2026-W48.
    period: String,
    /// The local day that its mails are of.
    #[schema(value_type = String, format = Date)]
    day: Date,
    state: RunState,
    /// Whose choices it serves.
    serves: Vec<Cadence>,
    /// The revision of the schedule that it came by.
    revision: i64,
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    /// Why it was skipped or is held.
    reason: Option<RunReason>,
    #[serde(flatten)]
    counts: RunCounts,
    asked_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    planned_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Counts its changes; the number in the ETag.
    version: i64,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            brand: run.brand,
            cadence: run.cadence,
            kind: run.kind,
            period: run.period,
            day: run.day,
            state: run.state,
            serves: run.serves.into_iter().collect(),
            revision: run.revision,
            due_at: run.due_at,
            reason: run.reason,
            counts: run.counts,
            asked_by: run.asked_by,
            created_at: run.created_at,
            planned_at: run.planned_at,
            ended_at: run.ended_at,
            version: run.version,
        }
    }
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Those in a state.
    #[serde(default)]
    state: Option<RunState>,
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// A page of runs, the last due first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Runs {
    runs: Vec<RunView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List what a schedule did, the last first, with counts; also what it left out, with the reason.
#[utoipa::path(get, path = "/v1/schedules/{name}/runs", tag = "schedules",
    params(("name" = String, Path, description = "Brand and cadence"), RunsQuery), responses((status = 200, body = Runs)))]
pub async fn runs(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<RunsQuery>, QueryRejection>,
) -> Result<Json<Runs>, Problem> {
    admit_to_all(&caller, Action::ReadSchedules)?;
    let (Path(name), Query(query)) = (path?, query?);
    let limit = page_of(&api, query.limit)?;
    let before: Option<(i64, RunId)> = behind(query.cursor.as_deref())?;
    let before = before.as_ref().map(|(at, id)| (*at, id));
    let schedule = api.digests.schedule(&name).await?.schedule;
    let mut conn = api.digests.db.read().await?;
    let mut rows = digest_runs::history(&mut conn, &schedule.id, query.state, before, limit + 1).await?;
    let next = cut(&mut rows, limit, |run| cursor(run.due_at.as_microsecond(), run.id.as_str()));
    Ok(Json(Runs { runs: rows.into_iter().map(RunView::from).collect(), next }))
}

/// Another timing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    timing: Timing,
}

/// See what another timing would do: its next runs, and what it would have done to the last days' letters, beside what the
/// revision in force would have done. Nothing is kept.
#[utoipa::path(post, path = "/v1/schedules/{name}/preview", tag = "schedules", request_body = EditRequest,
    params(("name" = String, Path, description = "Brand and cadence")), responses((status = 200, body = EditPreview)))]
pub async fn preview(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<EditPreview>, Problem> {
    admit_to_all(&caller, Action::ReadSchedules)?;
    let Path(name) = path?;
    let (_, wanted) = body::json::<EditRequest>(&api, &headers, body).await?;
    let standing = api.digests.schedule(&name).await?;
    Ok(Json(api.digests.preview(&standing, &wanted.timing).await?))
}

/// An edit that waits, and what it would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Edited {
    #[serde(flatten)]
    schedule: ScheduleView,
    preview: EditPreview,
}

async fn edited(api: &Api, standing: &Standing) -> Result<impl IntoResponse + use<>, Problem> {
    let timing = standing.proposal.as_ref().map_or(&standing.timing, |(_, timing)| timing);
    let preview = api.digests.preview(standing, timing).await?;
    let schedule = view(api, standing)?;
    Ok((StatusCode::CREATED, tagged(standing.schedule.version), Json(Edited { schedule, preview })))
}

/// Edit a schedule: the timing is kept, and holds when it is confirmed.
#[utoipa::path(post, path = "/v1/schedules/{name}/edits", tag = "schedules", request_body = EditRequest,
    params(("name" = String, Path, description = "Brand and cadence"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 201, body = Edited, headers(("ETag" = String))), (status = 409)))]
pub async fn edit(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::EditSchedules)?;
    let Path(name) = path?;
    let (_, wanted) = body::json::<EditRequest>(&api, &headers, body).await?;
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.digests.ctx, actor: &actor };
    let standing = api.digests.propose(stamp, &name, Some(version), &wanted.timing).await?;
    edited(&api, &standing).await
}

/// Which revision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// One that held.
    #[schema(minimum = 1)]
    revision: i64,
}

/// Go back to an earlier revision: an edit with its timing is kept, and holds when it is confirmed.
#[utoipa::path(post, path = "/v1/schedules/{name}/rollback", tag = "schedules", request_body = RollbackRequest,
    params(("name" = String, Path, description = "Brand and cadence"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 201, body = Edited, headers(("ETag" = String))), (status = 409)))]
pub async fn rollback(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::EditSchedules)?;
    let Path(name) = path?;
    let (_, wanted) = body::json::<RollbackRequest>(&api, &headers, body).await?;
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.digests.ctx, actor: &actor };
    let standing = api.digests.roll_back(stamp, &name, Some(version), wanted.revision).await?;
    edited(&api, &standing).await
}

/// Confirm an edit: it holds on every node at once. Where policy wants it, another person than made it must.
#[utoipa::path(post, path = "/v1/schedules/{name}/edits/{revision}/confirm", tag = "schedules",
    params(("name" = String, Path, description = "Brand and cadence"), ("revision" = i64, Path, description = "The edit's revision"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = ScheduleView, headers(("ETag" = String))), (status = 403), (status = 409)))]
pub async fn confirm(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<(String, i64)>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::EditSchedules)?;
    let Path((name, revision)) = path?;
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.digests.ctx, actor: &actor };
    let standing = api.digests.confirm(stamp, &name, Some(version), revision).await?;
    Ok((tagged(standing.schedule.version), Json(view(&api, &standing)?)))
}

/// Give an edit up that was not confirmed.
#[utoipa::path(post, path = "/v1/schedules/{name}/edits/{revision}/drop", tag = "schedules",
    params(("name" = String, Path, description = "Brand and cadence"), ("revision" = i64, Path, description = "The edit's revision"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = ScheduleView, headers(("ETag" = String))), (status = 409)))]
pub async fn drop_edit(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<(String, i64)>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::EditSchedules)?;
    let Path((name, revision)) = path?;
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.digests.ctx, actor: &actor };
    let standing = api.digests.drop_edit(stamp, &name, Some(version), revision).await?;
    Ok((tagged(standing.schedule.version), Json(view(&api, &standing)?)))
}

/// Pause a schedule: its periods are left out until it is resumed, and what waited goes with the first run after.
#[utoipa::path(post, path = "/v1/schedules/{name}/pause", tag = "schedules",
    params(("name" = String, Path, description = "Brand and cadence"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = ScheduleView, headers(("ETag" = String))), (status = 409)))]
pub async fn pause(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::EditSchedules)?;
    set_paused(&api, &caller, path?.0, &headers, true).await
}

/// Have a paused schedule run again. What it left out meanwhile is not caught up with.
#[utoipa::path(post, path = "/v1/schedules/{name}/resume", tag = "schedules",
    params(("name" = String, Path, description = "Brand and cadence"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = ScheduleView, headers(("ETag" = String))), (status = 409)))]
pub async fn resume(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::EditSchedules)?;
    set_paused(&api, &caller, path?.0, &headers, false).await
}

async fn set_paused(
    api: &Api,
    caller: &Caller,
    name: String,
    headers: &HeaderMap,
    paused: bool,
) -> Result<impl IntoResponse + use<>, Problem> {
    let (version, actor) = (if_match(headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.digests.ctx, actor: &actor };
    let standing = api.digests.set_paused(stamp, &name, Some(version), paused).await?;
    Ok((tagged(standing.schedule.version), Json(view(api, &standing)?)))
}

/// Run now, beside the schedule's own runs. Who got a mail today gets no second one of its kind.
#[utoipa::path(post, path = "/v1/schedules/{name}/run", tag = "schedules",
    params(("name" = String, Path, description = "Brand and cadence")),
    responses((status = 201, body = RunView, headers(("ETag" = String)))))]
pub async fn run(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::EditSchedules)?;
    let Path(name) = path?;
    let actor = caller.actor();
    let run = api.digests.run_now(Stamp { ctx: &api.digests.ctx, actor: &actor }, &name).await?;
    Ok((StatusCode::CREATED, tagged(run.version), Json(RunView::from(run))))
}

/// Have a held run take place now.
#[utoipa::path(post, path = "/v1/digest-runs/{id}/approve", tag = "schedules",
    params(("id" = RunId, Path, description = "Its id"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = RunView, headers(("ETag" = String))), (status = 409)))]
pub async fn approve(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::EditSchedules)?;
    decide(&api, &caller, &path?.0, &headers, true).await
}

/// Leave a held run out: what waited goes with the next.
#[utoipa::path(post, path = "/v1/digest-runs/{id}/skip", tag = "schedules",
    params(("id" = RunId, Path, description = "Its id"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = RunView, headers(("ETag" = String))), (status = 409)))]
pub async fn skip(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::EditSchedules)?;
    decide(&api, &caller, &path?.0, &headers, false).await
}

async fn decide(
    api: &Api,
    caller: &Caller,
    id: &str,
    headers: &HeaderMap,
    approved: bool,
) -> Result<impl IntoResponse + use<>, Problem> {
    let id: RunId = id.parse().map_err(|_| ScheduleError::NoRun)?;
    let (version, actor) = (if_match(headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.digests.ctx, actor: &actor };
    let run = api.digests.decide_held(stamp, &id, Some(version), approved).await?;
    Ok((tagged(run.version), Json(RunView::from(run))))
}
