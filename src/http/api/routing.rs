//! Letters on their way: why one goes which way (COR-14), and what persons stop, release and hold back (COR-16). It
//! tells codes and sentences of ours, and nothing that is in a letter.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lists::{HoldsQuery, behind, cursor, cut, page_of};
use super::versions::{if_match, tagged};
use super::{Api, body};
use crate::access::Caller;
use crate::db::deliveries::Delivery;
use crate::db::envelopes::Envelope;
use crate::db::routing::{self, Held, Hold};
use crate::db::{Conn, Stamp, case_files};
use crate::delivery::holds;
use crate::delivery::stop::{self, WithWays};
use crate::http::errors::Problem;
use crate::http::guard::{admit_to_all, allow};
use crate::model::access::{Action, Target, may};
use crate::model::ids::{Brand, DeliveryId, HoldId, LetterId, Tin};
use crate::model::letter::{
    DeliveryChannel, DeliveryState, LetterCategory, LetterRecord, LetterState, LetterType, StopReason,
};
use crate::model::paper::EnvelopeState;
use crate::model::route::{RouteReason, Routing};

pub(super) const LETTER: &str = "letter";

/// A reason: a code for programs, a sentence for a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct Because {
    code: String,
    /// Missing where only a newer version knows the code.
    sentence: Option<String>,
}

impl Because {
    /// A reason of routing.
    pub(super) fn of(reason: RouteReason) -> Self {
        Self { code: reason.as_str().to_owned(), sentence: Some(reason.sentence().to_owned()) }
    }

    fn of_route(code: &str) -> Self {
        let sentence = code.parse::<RouteReason>().ok().map(|reason| reason.sentence().to_owned());
        Self { code: code.to_owned(), sentence }
    }

    fn of_stop(code: &str) -> Self {
        let sentence = code.parse::<StopReason>().ok().map(|reason| reason.sentence().to_owned());
        Self { code: code.to_owned(), sentence }
    }
}

/// A way that a letter goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    id: DeliveryId,
    channel: DeliveryChannel,
    state: DeliveryState,
    /// Why it goes this way; what decides comes first.
    reasons: Vec<Because>,
    /// Why it was stopped.
    stopped: Option<Because>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// The envelopes that it was put into, the last one first.
    envelopes: Vec<InEnvelope>,
}

/// An envelope that a letter was put into.
#[derive(Debug, Serialize, ToSchema)]
pub struct InEnvelope {
    /// The name of the print batch.
    batch: String,
    /// The envelope's place in it.
    sequence: i64,
    state: EnvelopeState,
    /// Why it was spoiled or came back.
    reason: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    mailed_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    returned_at: Option<Timestamp>,
}

impl InEnvelope {
    fn of((batch, envelope): &(String, Envelope)) -> Self {
        Self {
            batch: batch.clone(),
            sequence: envelope.sequence,
            state: envelope.state,
            reason: envelope.reason.clone(),
            mailed_at: envelope.times.mailed_at,
            returned_at: envelope.times.returned_at,
        }
    }
}

impl DeliveryView {
    fn of(delivery: &Delivery, envelopes: &[(String, Envelope)]) -> Self {
        let envelopes = if delivery.channel == DeliveryChannel::Paper { envelopes } else { &[] };
        Self {
            envelopes: envelopes.iter().map(InEnvelope::of).collect(),
            id: delivery.id.clone(),
            channel: delivery.channel,
            state: delivery.state,
            reasons: delivery.reasons.iter().map(|code| Because::of_route(code)).collect(),
            stopped: delivery.reason.as_deref().map(Because::of_stop),
            created_at: delivery.created_at,
            ended_at: delivery.ended_at,
        }
    }
}

/// Which ways a letter goes, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct Why {
    letter_id: LetterId,
    r#type: LetterType,
    category: LetterCategory,
    state: LetterState,
    /// Why it was refused, stopped, or not sent.
    because: Option<Because>,
    /// None where nothing is decided yet, or the letter is not sent.
    deliveries: Vec<DeliveryView>,
    /// The letter it takes the place of.
    supersedes: Option<LetterId>,
    /// The letter that took its place.
    superseded_by: Option<LetterId>,
    /// Counts the changes of the letter and its ways; the number in the ETag.
    version: i64,
}

impl Why {
    fn of(found: WithWays) -> Self {
        let version = found.version();
        let deliveries = found.deliveries.iter().map(|one| DeliveryView::of(one, &found.envelopes)).collect();
        let letter = found.letter;
        Self {
            letter_id: letter.id,
            r#type: letter.letter_type,
            category: letter.category,
            state: letter.state,
            because: letter.reason.map(|(code, sentence)| Because { code, sentence: Some(sentence) }),
            deliveries,
            supersedes: letter.supersedes,
            superseded_by: letter.superseded_by,
            version,
        }
    }
}

/// A letter with its ways, if the caller may do this to it.
pub(super) async fn letter_for(
    conn: &mut Conn,
    caller: &Caller,
    action: Action,
    id: &str,
) -> Result<WithWays, Problem> {
    let id: LetterId = id.parse().map_err(|_| Problem::not_found(LETTER))?;
    let found = stop::look(conn, &id).await?.ok_or_else(|| Problem::not_found(LETTER))?;
    let letter = &found.letter;
    let case = match &letter.case_id {
        Some(case) => case_files::get(conn, case).await?,
        None => None,
    };
    let record = LetterRecord {
        asker: &letter.asker,
        addressee: letter.addressee.kind(),
        tin: letter.tin.as_ref(),
        category: letter.category,
        mode: letter.brand.mode(),
        sensitive: case.is_some_and(|case| case.sensitive),
    };
    allow(may(&caller.principal, action, &Target::Letter(record)), LETTER)?;
    Ok(found)
}

/// See which ways a letter goes, and why.
#[utoipa::path(get, path = "/v1/letters/{id}/why", tag = "letters", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = Why, headers(("ETag" = String)))))]
pub async fn why(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let mut conn = api.correspondence.db.read().await?;
    let found = letter_for(&mut conn, &caller, Action::ReadLetter, &id).await?;
    Ok((tagged(found.version()), Json(Why::of(found))))
}

/// Why a letter is to be stopped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// `wrong_content`, `wrong_addressee`, `duplicate`, `withdrawn` or `other`.
    reason: StopReason,
}

/// Stop a letter before it goes out; of one that is routed, the ways that wait still. What has arrived stays.
#[utoipa::path(post, path = "/v1/letters/{id}/stop", tag = "letters", request_body = StopRequest,
    params(("id" = String, Path, description = "Its id"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = Why, headers(("ETag" = String))), (status = 409)))]
pub async fn stop(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let (_, wanted) = body::json::<StopRequest>(&api, &headers, body).await?;
    let journey = &api.correspondence;
    let id = {
        let mut conn = journey.db.read().await?;
        letter_for(&mut conn, &caller, Action::StopLetters, &id).await?.letter.id
    };
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &journey.ctx, actor: &actor };
    let now = stop::stop(&journey.db, stamp, &id, Some(version), wanted.reason).await?;
    Ok((tagged(now.version()), Json(Why::of(now))))
}

/// Let a stopped letter go again, or the ways of a routed one that were stopped.
#[utoipa::path(post, path = "/v1/letters/{id}/release", tag = "letters",
    params(("id" = String, Path, description = "Its id"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = Why, headers(("ETag" = String))), (status = 409)))]
pub async fn release(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let journey = &api.correspondence;
    let id = {
        let mut conn = journey.db.read().await?;
        letter_for(&mut conn, &caller, Action::StopLetters, &id).await?.letter.id
    };
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &journey.ctx, actor: &actor };
    let now = stop::release(&journey.db, stamp, &id, Some(version)).await?;
    api.engine.wake();
    Ok((tagged(now.version()), Json(Why::of(now))))
}

/// A hold on letters of a brand: of a type, or to a practice.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldView {
    id: HoldId,
    brand: Brand,
    r#type: Option<LetterType>,
    tin: Option<Tin>,
    /// Why, in the words of who put it.
    reason: String,
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    lifted_at: Option<Timestamp>,
    /// How often it changed; the number in its ETag.
    version: i64,
}

impl HoldView {
    fn of(hold: Hold) -> Self {
        let (letter_type, tin) = hold.held.parts();
        Self {
            id: hold.id,
            brand: hold.brand,
            r#type: letter_type,
            tin: tin.cloned(),
            reason: hold.reason,
            created_by: hold.created_by,
            created_at: hold.created_at,
            lifted_at: hold.lifted_at,
            version: hold.version,
        }
    }
}

/// A page of holds, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Holds {
    holds: Vec<HoldView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List holds on letters, newest first.
#[utoipa::path(get, path = "/v1/letter-holds", tag = "letters", params(HoldsQuery), responses((status = 200, body = Holds)))]
pub async fn holds(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<HoldsQuery>, QueryRejection>,
) -> Result<Json<Holds>, Problem> {
    let Query(query) = query?;
    admit_to_all(&caller, Action::StopLetters)?;
    let limit = page_of(&api, query.limit)?;
    let before: Option<(i64, HoldId)> = behind(query.cursor.as_deref())?;
    let mut conn = api.correspondence.db.read().await?;
    let before = before.as_ref().map(|(at, id)| (*at, id));
    let mut rows = routing::holds(&mut conn, query.lifted, before, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| cursor(row.created_at.as_microsecond(), row.id.as_str()));
    Ok(Json(Holds { holds: rows.into_iter().map(HoldView::of).collect(), next }))
}

/// A hold to be put: on a type or a practice.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// The brand; else the installation's first.
    #[serde(default)]
    brand: Option<Brand>,
    #[serde(default)]
    r#type: Option<LetterType>,
    #[serde(default)]
    tin: Option<Tin>,
    /// Why, in a few words without health data.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}

/// Hold letters of a type, or to a practice, back until the hold is lifted.
#[utoipa::path(post, path = "/v1/letter-holds", tag = "letters", request_body = HoldRequest,
    responses((status = 201, body = HoldView, headers(("ETag" = String))), (status = 409)))]
pub async fn hold(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::StopLetters)?;
    let (_, wanted) = body::json::<HoldRequest>(&api, &headers, body).await?;
    let brand = api.brand(wanted.brand.as_ref(), caller.principal.mode())?;
    let held = Held::one_of(wanted.r#type, wanted.tin);
    let held = held.ok_or_else(|| Problem::bad("name a type or a TIN, one of both"))?;
    let (journey, actor) = (&api.correspondence, caller.actor());
    let stamp = Stamp { ctx: &journey.ctx, actor: &actor };
    let hold = holds::put(&journey.db, stamp, &brand, &held, &wanted.reason).await?;
    Ok((StatusCode::CREATED, tagged(hold.version), Json(HoldView::of(hold))))
}

/// What is to become of the letters that a hold stopped.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LiftRequest {
    /// Let them go again.
    #[serde(default)]
    release: bool,
}

/// A hold that is lifted.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiftedView {
    hold: HoldView,
    /// Letters that go again now.
    released: i64,
    /// Letters that it stopped and that are stopped still: lift it again to release more of them.
    left: i64,
}

/// Lift a hold. With `release`, letters that it stopped go again; it is sent again while some are left.
#[utoipa::path(post, path = "/v1/letter-holds/{id}/lift", tag = "letters", request_body = Option<LiftRequest>,
    params(("id" = String, Path, description = "Its id"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = LiftedView, headers(("ETag" = String)))))]
pub async fn lift(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    admit_to_all(&caller, Action::StopLetters)?;
    let Path(id) = path?;
    let id: HoldId = id.parse().map_err(|_| Problem::not_found("hold"))?;
    let wanted = body::json_or_none::<LiftRequest>(&api, &headers, body).await?.unwrap_or_default();
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let journey = &api.correspondence;
    let stamp = Stamp { ctx: &journey.ctx, actor: &actor };
    let release = if wanted.release { api.plan.limits.page_most } else { 0 };
    let lifted = holds::lift(&journey.db, stamp, &id, Some(version), release).await?;
    api.engine.wake();
    let etag = tagged(lifted.hold.version);
    let view = LiftedView { hold: HoldView::of(lifted.hold), released: lifted.released, left: lifted.left };
    Ok((etag, Json(view)))
}

/// Ways as a decision has them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Decision {
    deliveries: Vec<DecidedWay>,
    /// Why it is not sent; empty where it is.
    not_sent: Vec<Because>,
}

/// A way that a letter would go.
#[derive(Debug, Serialize, ToSchema)]
pub struct DecidedWay {
    channel: DeliveryChannel,
    /// Why; what decides comes first.
    reasons: Vec<Because>,
}

impl Decision {
    /// A decision as it is told.
    pub(super) fn of(routing: &Routing) -> Self {
        let told = |reasons: &[RouteReason]| reasons.iter().map(|reason| Because::of(*reason)).collect();
        let way = |(channel, reasons): &(DeliveryChannel, Vec<RouteReason>)| DecidedWay {
            channel: *channel,
            reasons: told(reasons),
        };
        Self { deliveries: routing.deliveries.iter().map(way).collect(), not_sent: told(&routing.not_sent) }
    }
}
