//! Lists, in pages: each page ends with a cursor that leads to the next. A list goes by one index from where the cursor
//! points, so a page costs the same however much there is.

use std::str::FromStr;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::submissions::record_of;
use super::{Api, body};
use crate::access::Caller;
use crate::db::submissions::{self, Filter, Submission};
use crate::http::errors::Problem;
use crate::http::problems::Code;
use crate::model::access::{Action, Answer, Principal, Target, may};
use crate::model::case::CaseKind;
use crate::model::ids::{ReferenceNumber, SubmissionId, Tin};
use crate::model::submission::SubmissionState;

/// A place in a list: an instant and an id, opaque to callers.
pub(super) fn cursor(at: i64, id: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{at} {id}"))
}

/// Reads a cursor.
///
/// # Errors
/// 400 when it is none.
pub(super) fn read_cursor(text: &str) -> Result<(i64, String), Problem> {
    let bad = bad_cursor;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    let (at, id) = text.split_once(' ').ok_or_else(bad)?;
    // no database takes a NUL
    if id.chars().any(char::is_control) {
        return Err(bad());
    }
    Ok((at.parse().map_err(|_| bad())?, id.to_owned()))
}

/// Entries of a page.
///
/// # Errors
/// 400 when more are asked for than a page has.
pub(super) fn page_of(api: &Api, limit: Option<i64>) -> Result<i64, Problem> {
    let most = api.plan.limits.page_most;
    match limit {
        None => Ok(api.plan.limits.page_default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::bad(format!("limit must be from 1 to {most}"))),
    }
}

/// Cuts the row behind a page off, of `limit` and one that were read. Where the next page begins, if there is one.
pub(super) fn cut<T>(rows: &mut Vec<T>, limit: i64, place: impl Fn(&T) -> String) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    rows.last().filter(|_| more).map(place)
}

/// A page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    pub(super) cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    pub(super) limit: Option<i64>,
}

/// Which holds.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HoldsQuery {
    /// Also those that were lifted.
    #[serde(default)]
    #[param(value_type = Option<bool>)]
    pub(super) lifted: bool,
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    pub(super) cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    pub(super) limit: Option<i64>,
}

/// The place behind which a page begins, in a list that goes by an instant and an id of this kind.
///
/// # Errors
/// 400 when the cursor is none of this list's.
pub(super) fn behind<T: FromStr>(cursor: Option<&str>) -> Result<Option<(i64, T)>, Problem> {
    let Some((at, id)) = cursor.map(read_cursor).transpose()? else { return Ok(None) };
    let id = id.parse().map_err(|_| bad_cursor())?;
    Ok(Some((at, id)))
}

/// The cursor is none of this list's.
pub(super) fn bad_cursor() -> Problem {
    Problem::of(Code::BadCursor, "the cursor is not one that this list gave out; begin without one")
}

/// Which submissions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubmissionsQuery {
    /// The one of this reference number.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    reference: Option<ReferenceNumber>,
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// Which submissions. A TIN can be a person's number, and a sender's reference may name a patient: they come in a body,
/// not in a URL.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmissionSearch {
    /// Those of this practice; without it, those that the caller sent.
    #[serde(default)]
    tin: Option<Tin>,
    /// Those that the caller sent under this reference of its own (INT-36).
    #[serde(default)]
    sender_reference: Option<String>,
    /// Where the page before ended.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// A submission in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubmissionLine {
    id: SubmissionId,
    reference: ReferenceNumber,
    sender_reference: Option<String>,
    kind: CaseKind,
    state: SubmissionState,
    /// The state as a sender reads it.
    status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    submitted_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
}

impl SubmissionLine {
    fn of(submission: Submission) -> Self {
        Self {
            status: submission.state.shown(),
            id: submission.id,
            reference: submission.reference,
            sender_reference: submission.sender_reference,
            kind: submission.kind,
            state: submission.state,
            created_at: submission.created_at,
            submitted_at: submission.submitted_at,
            ended_at: submission.ended_at,
        }
    }
}

/// A page of submissions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Submissions {
    submissions: Vec<SubmissionLine>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List submissions, newest first.
#[utoipa::path(get, path = "/v1/submissions", tag = "submissions", params(SubmissionsQuery), responses((status = 200, body = Submissions)))]
pub async fn submissions(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<SubmissionsQuery>, QueryRejection>,
) -> Result<Json<Submissions>, Problem> {
    let Query(SubmissionsQuery { reference, cursor, limit }) = query?;
    let Some(reference) = reference else {
        return found(&api, &caller, SubmissionSearch { cursor, limit, ..SubmissionSearch::default() }).await;
    };
    let mut conn = api.intake.db.read().await?;
    let found = match submissions::by_reference(&mut conn, &reference).await? {
        Some(id) => submissions::get(&mut conn, &id).await?,
        None => None,
    };
    let lines = found.into_iter().filter(|one| sees(&caller.principal, one)).map(SubmissionLine::of).collect();
    Ok(Json(Submissions { submissions: lines, next: None }))
}

/// Look for submissions by TIN or by the sender's own reference, newest first.
#[utoipa::path(post, path = "/v1/submissions/search", tag = "submissions", request_body = SubmissionSearch,
    responses((status = 200, body = Submissions)))]
pub async fn search(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Submissions>, Problem> {
    let (_, search) = body::json::<SubmissionSearch>(&api, &headers, body).await?;
    found(&api, &caller, search).await
}

async fn found(api: &Api, caller: &Caller, search: SubmissionSearch) -> Result<Json<Submissions>, Problem> {
    let limit = page_of(api, search.limit)?;
    let before = search.cursor.as_deref().map(read_cursor).transpose()?;
    if search.sender_reference.as_ref().is_some_and(|reference| reference.chars().any(char::is_control)) {
        return Err(Problem::bad("sender_reference may hold no control characters"));
    }
    let owner = caller.principal.actor();
    let mut conn = api.intake.db.read().await?;
    let filter = match (&search.sender_reference, &search.tin) {
        (Some(reference), _) => Filter::SenderReference(&owner, reference),
        (None, Some(tin)) => Filter::Tin(tin),
        (None, None) if matches!(caller.principal, Principal::Staff { .. }) => Filter::All,
        (None, None) => Filter::Owner(&owner),
    };
    let mut page =
        submissions::list(&mut conn, filter, before.as_ref().map(|(at, id)| (*at, id.as_str())), limit + 1).await?;
    let next = cut(&mut page, limit, |last| cursor(last.created_at.as_microsecond(), last.id.as_str()));
    let lines = page
        .into_iter()
        .filter(|one| search.tin.is_none() || one.tin == search.tin)
        .filter(|one| sees(&caller.principal, one))
        .map(SubmissionLine::of)
        .collect();
    Ok(Json(Submissions { submissions: lines, next }))
}

fn sees(who: &Principal, submission: &Submission) -> bool {
    may(who, Action::ReadSubmission, &Target::Record(record_of(submission))) == Answer::Yes
}
