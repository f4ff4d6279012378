//! The audit log (OPS-14): searched, exported with what proves it, verified. That it is read is an event, too; what was
//! looked for is told by its kind only.

use std::io;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use super::lists::{behind, cursor, cut, page_of};
use super::{Api, body};
use crate::access::Caller;
use crate::db::events::{self, Seal, Search};
use crate::db::{DbError, Stamp};
use crate::engine::audit::{self, Report};
use crate::engine::installation_brand;
use crate::engine::sequencer::kept_head;
use crate::http::errors::Problem;
use crate::http::problems::Code;
use crate::model::access::{Principal, TinSet};
use crate::model::event::{Event, EventType, NewEvent};

/// Events read at a time for an export.
const PART: i64 = 500;
/// Parts of an export that wait for a slow reader.
const AHEAD: usize = 2;
/// The longest subject or actor, in bytes.
const NAME_BYTES: usize = 256;
/// What the reading of the log happens to.
const LOG: &str = "audit";

/// What to look for. Subjects and actors come in a body, as whatever could point at a person does.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditSearch {
    /// What it happened to: an id of ours.
    #[serde(default)]
    subject: Option<String>,
    /// Who did it, as events name it: `key:ID`, `user:ID`, `staff:ID`, `user:ID via key:ID`.
    #[serde(default)]
    actor: Option<String>,
    /// What happened.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    /// Since when.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Before when.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Where the page before ended.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// An event of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEvent {
    /// Its place in the one order of events.
    position: i64,
    id: String,
    /// What happened.
    #[serde(rename = "type")]
    kind: String,
    /// What it happened to.
    subject: String,
    brand: String,
    /// Our own id of the practice it concerns.
    tin_uid: Option<String>,
    /// Who did it.
    actor: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// More of it.
    #[schema(value_type = Object)]
    payload: Value,
}

impl AuditEvent {
    fn of(event: Event) -> Self {
        Self {
            position: event.position.unwrap_or_default(),
            id: event.id.to_string(),
            kind: event.kind,
            subject: event.subject,
            brand: event.brand,
            tin_uid: event.tin_uid,
            actor: event.actor,
            at: event.at,
            payload: serde_json::from_str(&event.payload).unwrap_or_default(),
        }
    }
}

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditPage {
    events: Vec<AuditEvent>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// Search the audit log, newest first. What has just happened is in it once it is sealed, within a moment.
#[utoipa::path(post, path = "/v1/audit/search", tag = "audit", request_body = AuditSearch,
    responses((status = 200, body = AuditPage)))]
pub async fn search(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AuditPage>, Problem> {
    over_all(&caller)?;
    let (_, wanted) = body::json::<AuditSearch>(&api, &headers, body).await?;
    let limit = page_of(&api, wanted.limit)?;
    let before = behind(wanted.cursor.as_deref())?;
    let unsound = |name: &Option<String>| {
        name.as_ref().is_some_and(|n| n.is_empty() || n.len() > NAME_BYTES || n.chars().any(char::is_control))
    };
    if unsound(&wanted.subject) || unsound(&wanted.actor) {
        return Err(Problem::bad("subject and actor must have 1 to 256 bytes, none of them a control character"));
    }
    // a misspelt one would find nothing, and nothing is an answer here
    if wanted.kind.as_ref().is_some_and(|kind| kind.parse::<EventType>().is_err()) {
        return Err(Problem::bad("type is none of the types of events"));
    }
    let by = [
        ("subject", wanted.subject.is_some()),
        ("actor", wanted.actor.is_some()),
        ("type", wanted.kind.is_some()),
        ("from", wanted.from.is_some()),
        ("to", wanted.to.is_some()),
    ];
    let by: Vec<&str> = by.into_iter().filter_map(|(name, given)| given.then_some(name)).collect();
    tell(&api, &caller, json!({ "how": "search", "by": by })).await?;
    let search = Search {
        subject: wanted.subject.as_deref(),
        actor: wanted.actor.as_deref(),
        kind: wanted.kind.as_deref(),
        from: wanted.from,
        to: wanted.to,
    };
    let mut conn = api.intake.db.read().await?;
    let mut page = events::search(&mut conn, search, before, limit + 1).await?;
    let next =
        cut(&mut page, limit, |last| cursor(last.at.as_microsecond(), &last.position.unwrap_or_default().to_string()));
    Ok(Json(AuditPage { events: page.into_iter().map(AuditEvent::of).collect(), next }))
}

/// Which part of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// The first position; without it, from the beginning.
    #[serde(default)]
    #[param(minimum = 1)]
    from: Option<i64>,
    /// The last position; without it, as far as events are sealed.
    #[serde(default)]
    #[param(minimum = 1)]
    to: Option<i64>,
}

/// Export the audit log with what proves it, as NDJSON.
///
/// The first line, `begin`, holds the MAC that the first seal goes on from. Then come the events, as they were sealed,
/// each with its digest, and behind those of a seal the seal. The last line, `end`, says how many events there were: an
/// export without it broke off. The part is extended to whole seals, so that it can be verified by itself:
///
/// - `digest` is SHA-256 over the JSON array, without blanks, of `position`, `id`, `type`, `version`, `subject`,
///   `brand`, `tin_uid`, `actor`, `at_us` and `payload`, in hexadecimal;
/// - `mac` is HMAC-SHA-256, under the audit key, over the MAC before, `first_position` as eight bytes, the most
///   significant first, and the digests, in hexadecimal.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", params(ExportQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
pub async fn export(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    over_all(&caller)?;
    let Query(query) = query?;
    let (from, to) = (query.from.unwrap_or(1), query.to.unwrap_or(i64::MAX));
    if from < 1 || to < 1 {
        return Err(Problem::bad("from and to are positions: they begin with 1"));
    }
    if to < from {
        return Err(Problem::bad("to must not lie before from"));
    }
    let open = api.usage.stream(&caller.principal.actor())?;
    tell(&api, &caller, json!({ "how": "export", "from": query.from, "to": query.to })).await?;
    let (lines, waiting) = mpsc::channel(AHEAD);
    let stopping = api.engine.clone();
    tokio::spawn(async move {
        let _open = open;
        let written = tokio::select! {
            written = write(&api, from, to, &lines) => written,
            () = stopping.stopping() => Err(Broken::Stopping),
        };
        // without its last line, and by a connection that breaks, the reader knows that it is not whole
        match written {
            Ok(()) | Err(Broken::Gone) => {}
            Err(broken) => {
                tracing::warn!(error = %broken, "an export of the audit log broke off");
                let _ = lines.send(Err(io::Error::other("broken off"))).await;
            }
        }
    });
    let body = stream::unfold(waiting, |mut waiting| async move { waiting.recv().await.map(|part| (part, waiting)) });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
    Ok((kind, Body::from_stream(body)).into_response())
}

/// Why an export ends early.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("the reader is gone")]
    Gone,
    #[error("the node stops")]
    Stopping,
}

type Lines = mpsc::Sender<Result<Bytes, io::Error>>;

/// A connection is held for one part at a time: a slow reader takes none away from others.
async fn write(api: &Api, from: i64, to: i64, lines: &Lines) -> Result<(), Broken> {
    let db = &api.intake.db;
    let (to, first, before) = {
        let mut conn = db.read().await?;
        // up to here each event has its seal, whatever is sealed meanwhile
        let to = to.min(events::head(&mut conn).await?);
        let covering = events::seals_from(&mut conn, from, 1).await?.pop();
        let first = covering.map_or(from, |seal| seal.first_position.min(from));
        (to, first, events::seal_before(&mut conn, first).await?)
    };
    let previous = before.map(|seal| seal.mac).unwrap_or_default();
    send(lines, vec![json!({ "begin": { "first_position": first, "previous_mac": previous } })]).await?;
    let (mut position, mut count) = (first - 1, 0);
    while position < to {
        let seal = {
            let mut conn = db.read().await?;
            events::seals_from(&mut conn, position + 1, 1).await?.pop()
        };
        // what has a position and no seal was put in by somebody else, and is not left out
        let end = seal.as_ref().map_or(to, |seal| seal.last_position);
        while position < end {
            let part = {
                let mut conn = db.read().await?;
                events::after(&mut conn, position, PART.min(end - position)).await?
            };
            let part: Vec<_> = part.into_iter().filter(|(event, _)| event.position.is_some_and(|p| p <= end)).collect();
            let Some(last) = part.last().and_then(|(event, _)| event.position) else { break };
            position = last;
            count += part.len();
            send(lines, part.iter().map(|(event, digest)| line(event, digest)).collect()).await?;
        }
        let Some(Seal { first_position, last_position, mac }) = seal else { break };
        position = position.max(last_position);
        let seal = json!({ "first_position": first_position, "last_position": last_position, "mac": mac });
        send(lines, vec![json!({ "seal": seal })]).await?;
    }
    send(lines, vec![json!({ "end": { "last_position": position, "events": count } })]).await
}

fn line(event: &Event, digest: &str) -> Value {
    json!({ "event": {
        "position": event.position,
        "id": event.id,
        "type": event.kind,
        "version": event.version,
        "subject": event.subject,
        "brand": event.brand,
        "tin_uid": event.tin_uid,
        "actor": event.actor,
        "at": event.at,
        "at_us": event.at.as_microsecond(),
        // the text itself: its digest is over this and no other way to write the same
        "payload": event.payload,
        "digest": digest,
    } })
}

async fn send(lines: &Lines, part: Vec<Value>) -> Result<(), Broken> {
    let text: String = part.into_iter().map(|line| format!("{line}\n")).collect();
    lines.send(Ok(text.into())).await.map_err(|_| Broken::Gone)
}

/// Verify the whole audit log. One at a time: it reads all of it.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "audit", responses((status = 200, body = Report)))]
pub async fn verify(State(api): State<Api>, caller: Caller) -> Result<Json<Report>, Problem> {
    over_all(&caller)?;
    let _alone = api.usage.verification()?;
    tell(&api, &caller, json!({ "how": "verify" })).await?;
    let head = kept_head(api.intake.objects.as_ref()).await.map_err(|error| {
        tracing::error!(error = %error, "the head of the audit chain could not be read");
        Problem::unavailable("the object store")
    })?;
    Ok(Json(audit::verify(&api.intake.db, &api.audit_key, head.as_ref()).await?))
}

/// The log is over all practices: a key that is for some TINs only has no business with it.
fn over_all(caller: &Caller) -> Result<(), Problem> {
    match caller.principal {
        Principal::Service { tins: TinSet::Only(_), .. } => {
            Err(Problem::of(Code::Forbidden, "the audit log is not for a key that is for some TINs only"))
        }
        _ => Ok(()),
    }
}

/// Writes down that the log is read, before it is: nobody reads it unseen.
async fn tell(api: &Api, caller: &Caller, payload: Value) -> Result<(), Problem> {
    let (actor, brand) = (caller.actor(), installation_brand());
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let event =
        NewEvent { kind: EventType::AuditRead, subject: LOG, brand: &brand, tin_uid: None, actor: &actor, payload };
    let mut tx = api.intake.db.begin().await?;
    events::append(&mut tx, stamp, event).await?;
    tx.commit().await.map_err(DbError::from)?;
    api.engine.wake();
    Ok(())
}
