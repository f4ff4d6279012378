//! Letters as those who ask for them see them: ask for one, see what became of it, read its PDF, and say what a refused
//! one lacked. Users of practices read theirs in the Messaging Center.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::correspondence::download_head;
use super::lists::{PageQuery, behind, cursor, cut, page_of};
use super::routing::{LETTER, letter_for};
use super::versions::{if_match, tagged};
use super::{Api, body};
use crate::access::Caller;
use crate::db::letters::{self, Addressee, Change, Letter, Made, NewLetter};
use crate::db::{DbError, Stamp, case_files, work};
use crate::delivery::open;
use crate::http::errors::Problem;
use crate::http::guard::{admit_to_all, allow};
use crate::http::problems::Code;
use crate::letters::about::{Named, about};
use crate::model::access::{Action, Target, may};
use crate::model::event::EventType;
use crate::model::ids::{Brand, CaseNumber, ClaimNumber, LetterId, LetterNumber, MemberId, Tin};
use crate::model::letter::stage::COMPOSE;
use crate::model::letter::{Circumstance, LetterCategory, LetterRecord, LetterState, LetterType};
use crate::model::phi::Phi;
use crate::outside::traces::Span;

/// The longest id of an event, in bytes.
const EVENT_BYTES: usize = 128;

/// Whom a letter goes to: one of both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddresseeRequest {
    /// A practice.
    Tin(Tin),
    /// A member.
    MemberId(MemberId),
}

/// A letter to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LetterRequest {
    /// The id of the event, in the asker's own world: asked for again by the same event, it is the same letter.
    #[schema(min_length = 1, max_length = 128)]
    event_id: String,
    /// The brand; else the installation's first.
    #[serde(default)]
    brand: Option<Brand>,
    r#type: LetterType,
    addressee: AddresseeRequest,
    /// The practice it concerns, where it is not the addressee.
    #[serde(default)]
    tin: Option<Tin>,
    /// The member it is about, where that is not the addressee.
    #[serde(default)]
    member_id: Option<MemberId>,
    #[serde(default)]
    claim_number: Option<ClaimNumber>,
    #[serde(default)]
    case_number: Option<CaseNumber>,
    /// What its way depends on.
    #[serde(default)]
    circumstances: Vec<Circumstance>,
    /// What it is to say: the fields of its type.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    details: Option<Phi<Value>>,
    /// The letter it takes the place of.
    #[serde(default)]
    supersedes: Option<LetterId>,
}

/// A letter.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterView {
    id: LetterId,
    /// The number on it.
    number: LetterNumber,
    brand: Brand,
    r#type: LetterType,
    category: LetterCategory,
    state: LetterState,
    /// Why it was refused or stopped: a code, and a sentence that names fields and rules, never values.
    reason_code: Option<String>,
    reason: Option<String>,
    /// By when an operator must have acted on a refused one.
    #[schema(value_type = Option<String>, format = DateTime)]
    due_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = Date)]
    letter_date: Option<Date>,
    /// Its PDF, and how it was made.
    made: Option<Made>,
    supersedes: Option<LetterId>,
    superseded_by: Option<LetterId>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Counts its changes; the number in the ETag.
    version: i64,
}

impl From<Letter> for LetterView {
    fn from(letter: Letter) -> Self {
        let (reason_code, reason) = letter.reason.unzip();
        Self {
            id: letter.id,
            number: letter.number,
            brand: letter.brand,
            r#type: letter.letter_type,
            category: letter.category,
            state: letter.state,
            reason_code,
            reason,
            due_at: letter.due_at,
            letter_date: letter.letter_date,
            made: letter.made,
            supersedes: letter.supersedes,
            superseded_by: letter.superseded_by,
            created_at: letter.created_at,
            ended_at: letter.ended_at,
            version: letter.version,
        }
    }
}

/// Letters, a page of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterList {
    letters: Vec<LetterView>,
    /// Where the next page begins.
    next: Option<String>,
}

/// Ask for a letter. The same event asks for the same letter, however often it comes.
#[utoipa::path(post, path = "/v1/letters", tag = "letters", request_body = LetterRequest,
    responses((status = 202, body = LetterView, headers(("Location" = String)))))]
pub async fn ask(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let (_, request) = body::json::<LetterRequest>(&api, &headers, body).await?;
    let letter = ask_for(&api, &caller, request).await?;
    api.engine.wake();
    let location = format!("/v1/letters/{}", letter.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(LetterView::from(letter))))
}

async fn ask_for(api: &Api, caller: &Caller, request: LetterRequest) -> Result<Letter, Problem> {
    let printable = |id: &str| (1..=EVENT_BYTES).contains(&id.len()) && !id.chars().any(char::is_control);
    if !printable(&request.event_id) {
        return Err(Problem::bad("event_id must have 1 to 128 bytes and no control characters"));
    }
    let details = request.details.unwrap_or_else(|| Phi(json!({})));
    if !details.reveal().is_object() {
        return Err(Problem::bad("details must be an object"));
    }
    let brand = api.brand(request.brand.as_ref(), caller.principal.mode())?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let mut tx = api.intake.db.begin().await?;
    let case = match &request.case_number {
        None => None,
        Some(number) => {
            let case = case_files::by_number(&mut tx, &brand, number).await?;
            Some(case.ok_or_else(|| Problem::of(Code::Unprocessable, "no case of case_number is known"))?)
        }
    };
    let addressee = match request.addressee {
        AddresseeRequest::Tin(tin) => Addressee::Tin(tin),
        AddresseeRequest::MemberId(member) => Addressee::Member(member),
    };
    let of_case = case.as_ref().and_then(|case| case.claim_number.clone());
    let claim = match request.claim_number.clone().or(of_case) {
        None => None,
        Some(number) => case_files::claim(&mut tx, &brand, &number).await?,
    };
    let named = Named {
        addressee: addressee.clone(),
        tin: request.tin,
        member_id: request.member_id,
        claim_number: request.claim_number,
    };
    let about =
        about(named, case.as_ref(), claim.as_ref()).map_err(|differ| Problem::of(Code::Unprocessable, differ))?;
    let record = LetterRecord {
        asker: &actor,
        addressee: addressee.kind(),
        tin: about.tin.as_ref(),
        category: request.r#type.category(),
        mode: brand.mode(),
        sensitive: case.as_ref().is_some_and(|case| case.sensitive),
    };
    allow(may(&caller.principal, Action::WriteLetters, &Target::Letter(record)), LETTER)
        .map_err(|_| Problem::of(Code::UnknownTin, "the practice is none of the caller's"))?;
    if let Some(old) = &request.supersedes {
        letter_for(&mut tx, caller, Action::WriteLetters, old.as_str()).await?;
    }
    let id = stamp.new_id()?;
    let circumstances = request.circumstances.into_iter().collect();
    let new = NewLetter {
        id: &id,
        brand: &brand,
        letter_type: request.r#type,
        asker: &actor,
        event_id: &request.event_id,
        addressee,
        tin: about.tin.as_ref(),
        member_id: about.member_id.as_ref(),
        claim_number: about.claim_number.as_ref(),
        case_id: case.as_ref().map(|case| &case.id),
        circumstances: &circumstances,
        details: &Phi(details.reveal().to_string()),
        supersedes: request.supersedes.as_ref(),
    };
    let asked = letters::ask(&mut tx, stamp, &new, COMPOSE).await?;
    let is_new = asked.is_some();
    let letter = match asked {
        Some(letter) => letter,
        None => letters::by_event(&mut tx, &actor, &request.event_id, request.r#type)
            .await?
            .ok_or(DbError::Stale { what: "letter" })?,
    };
    tx.commit().await.map_err(DbError::from)?;
    if is_new {
        Span::root(stamp.ctx, "ask", letter.id.as_str()).within_request().end(stamp.ctx, "asked", false);
    }
    Ok(letter)
}

/// See letters that can't be produced, nearest deadline first: each is an operator's task.
#[utoipa::path(get, path = "/v1/letters", tag = "letters", params(PageQuery), responses((status = 200, body = LetterList)))]
pub async fn refused(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<LetterList>, Problem> {
    let Query(query) = query?;
    admit_to_all(&caller, Action::WriteLetters)?;
    let limit = page_of(&api, query.limit)?;
    let after: Option<(i64, LetterId)> = behind(query.cursor.as_deref())?;
    let mut conn = api.intake.db.read().await?;
    let mut found = letters::refused(&mut conn, after.as_ref().map(|(at, id)| (*at, id)), limit + 1).await?;
    let place = |letter: &Letter| cursor(letter.due_at.map_or(0, Timestamp::as_microsecond), letter.id.as_str());
    let next = cut(&mut found, limit, place);
    Ok(Json(LetterList { letters: found.into_iter().map(LetterView::from).collect(), next }))
}

/// See a letter and what became of it.
#[utoipa::path(get, path = "/v1/letters/{id}", tag = "letters", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = LetterView, headers(("ETag" = String)))))]
pub async fn look(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let mut conn = api.intake.db.read().await?;
    let letter = letter_for(&mut conn, &caller, Action::ReadLetter, &id).await?.letter;
    Ok((tagged(letter.version), Json(LetterView::from(letter))))
}

/// Read a letter's PDF.
#[utoipa::path(get, path = "/v1/letters/{id}/pdf", tag = "letters", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, content_type = "application/pdf", body = Vec<u8>, headers(("ETag" = String))), (status = 409)))]
pub async fn pdf(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = path?;
    let letter = {
        let mut conn = api.intake.db.read().await?;
        letter_for(&mut conn, &caller, Action::DownloadLetter, &id).await?.letter
    };
    let response = pdf_of(&api, &letter).await?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let mut tx = api.intake.db.begin().await?;
    letters::event(&mut tx, stamp, &letter, EventType::LetterOpened, json!({})).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(response)
}

/// The PDF of a letter as an answer. That the caller may read it has been asked before, and it is written down after.
///
/// # Errors
/// 409 when there is none yet.
pub(super) async fn pdf_of(api: &Api, letter: &Letter) -> Result<Response, Problem> {
    let bytes = open::pdf(api.correspondence.objects.as_ref(), letter).await?;
    let tag = letter.made.as_ref().map(|made| format!("\"{}\"", made.sha256)).unwrap_or_default();
    // a number and no name: what a letter is called says nothing of whom it is about
    let head = download_head("application/pdf", &format!("{}.pdf", letter.number));
    Ok(([(header::ETAG, tag)], head, bytes).into_response())
}

/// What a refused letter lacked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AmendRequest {
    /// The details, whole: they take the place of what was said.
    #[schema(value_type = Object)]
    details: Phi<Value>,
}

/// Say what a refused letter lacked; it is composed anew.
#[utoipa::path(post, path = "/v1/letters/{id}/details", tag = "letters", request_body = AmendRequest,
    params(("id" = String, Path, description = "Its id"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 202, body = LetterView, headers(("ETag" = String))), (status = 409)))]
pub async fn amend(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let (_, request) = body::json::<AmendRequest>(&api, &headers, body).await?;
    if !request.details.reveal().is_object() {
        return Err(Problem::bad("details must be an object"));
    }
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let mut tx = api.intake.db.begin().await?;
    let letter = letter_for(&mut tx, &caller, Action::WriteLetters, &id).await?.letter;
    if if_match(&headers)? != letter.version {
        return Err(Problem::of(Code::VersionConflict, "the letter has changed meanwhile; look at it again"));
    }
    if letter.state != LetterState::Refused {
        return Err(Problem::of(Code::WrongState, "only a refused letter can be said otherwise"));
    }
    let change = Change { details: Some(Phi(request.details.reveal().to_string())), ..Change::default() };
    letters::transition(&mut tx, stamp, &letter, LetterState::Asked, change).await?;
    work::put(&mut tx, stamp, letter.id.as_str(), COMPOSE).await?;
    let letter = letters::get(&mut tx, &letter.id).await?.ok_or_else(|| Problem::not_found(LETTER))?;
    tx.commit().await.map_err(DbError::from)?;
    api.engine.wake();
    Ok((StatusCode::ACCEPTED, tagged(letter.version), Json(LetterView::from(letter))))
}
