//! Paper beside digital correspondence, per practice (COR-11, COR-12), and what would come of it. A TIN can be a person's
//! social security number: it comes in bodies, never in a URL.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::routing::Decision;
use super::versions::{refused, seen_before, tagged};
use super::{Api, body};
use crate::access::paper::PaperSetting;
use crate::access::{Caller, Manager};
use crate::delivery::what_if::Supposed;
use crate::http::errors::Problem;
use crate::http::guard::allow;
use crate::model::access::{Action, Target, may};
use crate::model::ids::Tin;
use crate::model::letter::{Circumstance, LetterCategory, LetterType};
use crate::model::route::explain;

/// Whether a practice's letters of a category go on paper as well.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaperView {
    category: LetterCategory,
    paper: bool,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// When it was changed last.
    #[schema(value_type = Option<String>, format = DateTime)]
    changed_at: Option<Timestamp>,
    /// How often it was changed; the number in its ETag.
    version: i64,
}

impl PaperView {
    fn of(setting: PaperSetting) -> Self {
        Self {
            category: setting.category,
            paper: setting.since.is_some(),
            since: setting.since,
            changed_at: setting.changed_at,
            version: setting.version,
        }
    }
}

/// Which TIN's settings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaperSearch {
    tin: Tin,
}

/// A TIN's settings, one for each category that has a choice.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaperOfTin {
    settings: Vec<PaperView>,
}

/// See whether a practice gets paper as well.
#[utoipa::path(post, path = "/v1/paper/search", tag = "letters", request_body = PaperSearch,
    responses((status = 200, body = PaperOfTin)))]
pub async fn of_tin(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PaperOfTin>, Problem> {
    let (_, search) = body::json::<PaperSearch>(&api, &headers, body).await?;
    let settings = api.access.paper_of(Manager::Caller(&caller), &search.tin).await?;
    Ok(Json(PaperOfTin { settings: settings.into_iter().map(PaperView::of).collect() }))
}

/// Whether a practice is to get paper as well.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaperRequest {
    tin: Tin,
    /// `claim` or `precertification`.
    category: LetterCategory,
    paper: bool,
}

/// Turn paper on or off for a practice. It takes effect for letters that are routed after it; digital stays.
///
/// Only the practice's access manager does it. `If-Match` names the version that was seen, `"0"` where it was never
/// changed.
#[utoipa::path(post, path = "/v1/paper/set", tag = "letters", request_body = PaperRequest,
    params(("If-Match" = Option<String>, Header, description = "The version that was seen, as ETag"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it was never changed")),
    responses((status = 200, body = PaperView, headers(("ETag" = String)))))]
pub async fn set(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let expected = seen_before(&headers)?;
    let (_, wanted) = body::json::<PaperRequest>(&api, &headers, body).await?;
    let by = Manager::Caller(&caller);
    let done = api.access.set_paper(by, &wanted.tin, wanted.category, wanted.paper, expected).await;
    let setting = done.map_err(|error| refused(error, expected))?;
    Ok((tagged(setting.version), Json(PaperView::of(setting))))
}

/// A letter to the practice, as it might come.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SupposedLetter {
    r#type: LetterType,
    /// The code of its member's plan; without it, the plan is not known.
    #[serde(default)]
    plan: Option<String>,
    /// The date on it; without it, today.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date)]
    date: Option<Date>,
    #[serde(default)]
    #[schema(value_type = Vec<Circumstance>)]
    circumstances: BTreeSet<Circumstance>,
}

/// What is supposed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRunRequest {
    tin: Tin,
    /// Paper on or off for claim letters; without it, as it is.
    #[serde(default)]
    claim_paper: Option<bool>,
    /// Paper on or off for precertification letters; without it, as it is.
    #[serde(default)]
    precertification_paper: Option<bool>,
    /// A letter to decide over.
    #[serde(default)]
    letter: Option<SupposedLetter>,
}

/// What would come of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRun {
    /// The ways of the letter supposed.
    decision: Option<Decision>,
    /// The same in sentences, a line for each way.
    explanation: Option<String>,
    /// Letters to the practice that were asked for within the last 30 days and are routed.
    letters: i64,
    /// Those of them that went on paper.
    on_paper: i64,
    /// Those that would have gone on paper.
    would_be_on_paper: i64,
}

/// Try what would come of turning paper on or off, over the letters of the last 30 days and over one that might come.
/// Nothing is changed.
#[utoipa::path(post, path = "/v1/routing/dry-run", tag = "letters", request_body = DryRunRequest,
    responses((status = 200, body = DryRun)))]
pub async fn dry_run(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<DryRun>, Problem> {
    let (_, wanted) = body::json::<DryRunRequest>(&api, &headers, body).await?;
    allow(may(&caller.principal, Action::ReadPaper, &Target::Tin(&wanted.tin)), "TIN")?;
    let choices = [
        (LetterCategory::Claim, wanted.claim_paper),
        (LetterCategory::Precertification, wanted.precertification_paper),
    ];
    let paper: BTreeMap<_, _> = choices.into_iter().filter_map(|(category, on)| Some((category, on?))).collect();
    let letter = wanted.letter.map(|letter| Supposed {
        letter_type: letter.r#type,
        plan: letter.plan,
        letter_date: letter.date,
        circumstances: letter.circumstances,
    });
    let answer = api.correspondence.what_if(&wanted.tin, &paper, letter.as_ref()).await?;
    Ok(Json(DryRun {
        decision: answer.routing.as_ref().map(Decision::of),
        explanation: answer.routing.as_ref().map(explain),
        letters: answer.letters,
        on_paper: answer.on_paper,
        would_be_on_paper: answer.would_be_on_paper,
    }))
}
