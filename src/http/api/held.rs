//! Held files and the quarantine (OPS-03). The lists tell what was found and where it came from, and no file name.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::decisions::{decided, fenced};
use super::documents::{answer_on, document_for};
use super::lists::{PageQuery, behind, cursor, cut, page_of};
use super::queue::{self, QueueLine, token_of};
use super::{Api, body};
use crate::access::Caller;
use crate::db::documents::{self, Document};
use crate::db::tasks::{Filter, TaskKind};
use crate::db::{Stamp, submissions};
use crate::http::errors::Problem;
use crate::http::guard::allow;
use crate::http::problems::Code;
use crate::intake::review::{self, Claimed, ReviewError, decide};
use crate::model::access::{Action, Answer, Target, may};
use crate::model::document::Channel;
use crate::model::ids::{DocumentId, Sha256, SubmissionId};
use crate::model::judgement::{FileType, Flag, Reason};

const HELD: &str = "list of held files";

/// Where a file came from.
#[derive(Debug, Serialize, ToSchema)]
pub struct Origin {
    channel: Channel,
    submission_id: Option<SubmissionId>,
    /// Who opened the submission.
    sender: Option<String>,
    /// The mailroom batch it came in.
    batch_id: Option<String>,
    /// The document it was taken out of.
    parent_id: Option<DocumentId>,
}

impl Origin {
    fn of(document: &Document, sender: Option<String>) -> Self {
        Self {
            channel: document.channel,
            submission_id: document.submission_id.clone(),
            sender,
            batch_id: document.batch_id.clone(),
            parent_id: document.parent_id.clone(),
        }
    }
}

/// A held file.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldLine {
    #[serde(flatten)]
    line: QueueLine,
    /// The version of the document: its ETag, to be sent as If-Match.
    version: i64,
    reason: Option<Reason>,
    file_type: Option<FileType>,
    detected: Option<String>,
    size_bytes: Option<u64>,
    flags: Vec<Flag>,
    origin: Origin,
    /// Whether policy alone holds it, so that it can be released to the scanner.
    can_release: bool,
    /// Whether it can be refused; what came by paper or fax can't (INT-21).
    can_reject: bool,
}

/// A page of held files, nearest deadline first.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldPage {
    items: Vec<HeldLine>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List held files, nearest deadline first.
#[utoipa::path(get, path = "/v1/held", tag = "mailroom", params(PageQuery), responses((status = 200, body = HeldPage)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<HeldPage>, Problem> {
    let Query(query) = query?;
    let who = &caller.principal;
    allow(may(who, Action::ReadHeld, &Target::Mailroom), HELD)?;
    let limit = page_of(&api, query.limit)?;
    let after = behind(query.cursor.as_deref())?;
    let filter = Filter { mode: who.mode(), kind: Some(TaskKind::Held), brand: None, sensitive: who.sees_sensitive() };
    let (waiting, next) = queue::page(&api, filter, after, limit).await?;
    let mut conn = api.intake.db.read().await?;
    let mut items = Vec::with_capacity(waiting.len());
    for line in waiting {
        // one that was decided over since the page was read is left out
        let row = documents::get(&mut conn, line.document_id()).await?;
        let Some(row) = row.filter(|row| TaskKind::of(row.state) == Some(TaskKind::Held)) else { continue };
        let sender = sender(&mut conn, &row).await?;
        items.push(HeldLine {
            line,
            version: row.version,
            origin: Origin::of(&row, sender),
            can_release: row.reason.as_ref().is_some_and(|reason| reason.code.is_policy()),
            can_reject: row.channel.can_refuse(),
            reason: row.reason,
            file_type: row.file_type,
            detected: row.detected,
            size_bytes: row.size_bytes,
            flags: row.flags,
        });
    }
    Ok(Json(HeldPage { items, next }))
}

async fn sender(conn: &mut crate::db::Conn, document: &Document) -> Result<Option<String>, Problem> {
    let Some(id) = &document.submission_id else { return Ok(None) };
    Ok(submissions::get(conn, id).await?.map(|submission| submission.owner))
}

/// Have a held file judged again, from the start: what held it may be gone.
#[utoipa::path(post, path = "/v1/held/{document}/rescan", tag = "mailroom",
    params(("document" = String, Path, description = "The document's id")),
    responses((status = 202, body = super::decisions::Decided), (status = 409)))]
pub async fn rescan(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let document = {
        let mut conn = api.intake.db.read().await?;
        document_for(&mut conn, &caller, Action::Rescan, &id).await?.0
    };
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    review::rescan(&api.intake.db, stamp, &document.id).await?;
    Ok((StatusCode::ACCEPTED, decided(&api, &document.id, Vec::new()).await?))
}

/// What a decision over a held file may say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeldDecision {
    /// The token of the lease, where the caller has taken the item from the queue; else it is taken now.
    #[serde(default)]
    token: Option<String>,
}

enum Verdict {
    Reject,
    Release,
}

/// Refuse a held file for what it is held for.
#[utoipa::path(post, path = "/v1/held/{document}/reject", tag = "mailroom", request_body = Option<HeldDecision>,
    params(("document" = String, Path, description = "The document's id"), ("If-Match" = String, Header, description = "The document's ETag")),
    responses((status = 200, body = super::decisions::Decided), (status = 409), (status = 412), (status = 422), (status = 428)))]
pub async fn reject(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    decide_held(&api, &caller, &id, &headers, body, Verdict::Reject).await
}

/// Release a held file from what policy alone holds it for.
///
/// It is judged anew, and stored only if the scanner finds it clean.
#[utoipa::path(post, path = "/v1/held/{document}/release", tag = "mailroom", request_body = Option<HeldDecision>,
    params(("document" = String, Path, description = "The document's id"), ("If-Match" = String, Header, description = "The document's ETag")),
    responses((status = 200, body = super::decisions::Decided), (status = 409), (status = 412), (status = 422), (status = 428)))]
pub async fn release(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    decide_held(&api, &caller, &id, &headers, body, Verdict::Release).await
}

async fn decide_held(
    api: &Api,
    caller: &Caller,
    id: &str,
    headers: &HeaderMap,
    body: Body,
    verdict: Verdict,
) -> Result<impl IntoResponse + use<>, Problem> {
    let bytes = body::small(api, body).await?;
    let said: HeldDecision = if bytes.is_empty() { HeldDecision::default() } else { body::parse(&bytes)? };
    let (document, version) = fenced(api, caller, headers, Action::DecideHeld, id).await?;
    let taken_now = match &said.token {
        Some(_) => None,
        None => Some(queue::take(api, caller, &document).await?.token),
    };
    let token = token_of(said.token.as_deref().or(taken_now.as_deref()).unwrap_or_default())?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let claim = Claimed { document: &document.id, token, version };
    let done = match verdict {
        Verdict::Reject => decide::reject(&api.intake.db, stamp, &claim).await,
        Verdict::Release => decide::release(&api.intake.db, stamp, &claim).await,
    };
    if let Err(error) = done {
        if let Some(token) = &taken_now {
            // a lease that stays behind runs out by itself
            let _ = queue::release(api, caller, &document.id, token).await;
        }
        return Err(error.into());
    }
    decided(api, &document.id, Vec::new()).await
}

/// A quarantined file.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuarantineLine {
    document_id: DocumentId,
    /// The version of the document: its ETag, to be sent as If-Match.
    version: i64,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    found_at: Option<Timestamp>,
    /// What was found.
    signature: Option<String>,
    /// The scanner, and its signatures.
    engine: Option<String>,
    signatures: Option<String>,
    sha256: Option<Sha256>,
    size_bytes: Option<u64>,
    file_type: Option<FileType>,
    origin: Origin,
}

/// A page of the quarantine, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuarantinePage {
    items: Vec<QuarantineLine>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List the quarantine, newest first. Nothing is released from it.
#[utoipa::path(get, path = "/v1/quarantine", tag = "mailroom", params(PageQuery), responses((status = 200, body = QuarantinePage)))]
pub async fn quarantine(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<QuarantinePage>, Problem> {
    let Query(query) = query?;
    let who = &caller.principal;
    allow(may(who, Action::ReadHeld, &Target::Mailroom), HELD)?;
    let limit = page_of(&api, query.limit)?;
    let after = behind(query.cursor.as_deref())?;
    let after = after.as_ref().map(|(at, id)| (*at, id));
    let mut conn = api.intake.db.read().await?;
    let mut rows = review::quarantine::list(&mut conn, who.mode(), after, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| cursor(row.created_at.as_microsecond(), row.id.as_str()));
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        // found after it was matched, it may be a sensitive case's
        if answer_on(&mut conn, &caller, Action::ReadHeld, &row).await?.0 != Answer::Yes {
            continue;
        }
        let sender = sender(&mut conn, &row).await?;
        items.push(QuarantineLine {
            origin: Origin::of(&row, sender),
            document_id: row.id,
            version: row.version,
            received_at: row.received_at,
            found_at: row.ended_at,
            signature: row.signature,
            engine: row.engine,
            signatures: row.signatures,
            sha256: row.sha256,
            size_bytes: row.size_bytes,
            file_type: row.file_type,
        });
    }
    Ok(Json(QuarantinePage { items, next }))
}

/// What was destroyed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Destroyed {
    /// How many documents had these bytes, and are purged.
    purged: u64,
}

/// Destroy a quarantined file for good, with every document of the same bytes.
#[utoipa::path(delete, path = "/v1/quarantine/{document}", tag = "mailroom",
    params(("document" = String, Path, description = "The document's id"), ("If-Match" = String, Header, description = "The document's ETag")),
    responses((status = 200, body = Destroyed), (status = 409), (status = 412), (status = 428)))]
pub async fn destroy(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Destroyed>, Problem> {
    let Path(id) = path?;
    let (document, version) = fenced(&api, &caller, &headers, Action::DestroyQuarantined, &id).await?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let objects = api.intake.objects.as_ref();
    let purged = review::quarantine::destroy(&api.intake.db, objects, stamp, &document.id, version).await;
    Ok(Json(Destroyed { purged: purged.map_err(begun)? }))
}

/// A destruction that met a store which failed has begun, and goes on by itself.
fn begun(error: ReviewError) -> Problem {
    match error {
        ReviewError::Store(why) => {
            tracing::error!(error = why, "a destruction met a store that failed");
            Problem::of(Code::Unavailable, "the object store can't be used now; the destruction goes on by itself")
        }
        other => other.into(),
    }
}
