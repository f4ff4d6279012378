//! Progress: what the event log says of a submission, in its one order, as pages or live by server-sent events. The id
//! of each is its position, so a client that comes back with `Last-Event-ID` goes on where it stopped, on any node.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::submissions::{parse, submission_for};
use crate::access::Caller;
use crate::db::events;
use crate::http::errors::Problem;
use crate::http::limits::UnderWay;
use crate::model::access::Action;
use crate::model::event::Event;
use crate::model::ids::SubmissionId;

/// Events per look.
const PAGE: i64 = 100;

/// One thing that happened.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventView {
    /// Its place in the one order of events.
    position: i64,
    /// What happened.
    #[serde(rename = "type")]
    kind: String,
    /// The submission or document it happened to.
    subject: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// More of it.
    #[schema(value_type = Object)]
    payload: Value,
}

impl EventView {
    fn of(event: &Event) -> Self {
        Self {
            position: event.position.unwrap_or_default(),
            kind: event.kind.clone(),
            subject: event.subject.clone(),
            at: event.at,
            payload: serde_json::from_str(&event.payload).unwrap_or_default(),
        }
    }
}

/// A page of a history.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    /// What happened, oldest first.
    events: Vec<EventView>,
    /// Send it as `after` for what follows; it stays the same while nothing does.
    after: i64,
}

/// Which part of a history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Only what lies behind this position.
    #[serde(default)]
    #[param(minimum = 0)]
    after: i64,
}

/// See what happened to a submission and its files.
#[utoipa::path(get, path = "/v1/submissions/{id}/history", tag = "submissions",
    params(("id" = String, Path, description = "Its id"), HistoryQuery), responses((status = 200, body = History)))]
pub async fn history(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<History>, Problem> {
    let (Path(id), Query(query)) = (path?, query?);
    if query.after < 0 {
        return Err(Problem::bad("after must not be under 0"));
    }
    let id = parse(&id)?;
    let mut conn = api.intake.db.read().await?;
    submission_for(&mut conn, &caller, Action::ReadSubmission, &id).await?;
    let page = events::of_submission(&mut conn, id.as_str(), query.after, PAGE).await?;
    let events: Vec<EventView> = page.iter().map(EventView::of).collect();
    let after = events.last().map_or(query.after, |last| last.position);
    Ok(Json(History { events, after }))
}

struct Follow {
    api: Api,
    submission: SubmissionId,
    position: i64,
    waiting: std::vec::IntoIter<Event>,
    every: Duration,
    _open: UnderWay,
}

/// Follow what happens to a submission, live.
///
/// Server-sent events; the id of each is its position. A client that comes back with `Last-Event-ID`, at whichever
/// node, gets what follows.
#[utoipa::path(get, path = "/v1/submissions/{id}/events", tag = "submissions",
    params(("id" = String, Path, description = "Its id"), ("Last-Event-ID" = Option<String>, Header, description = "The last id that was seen")),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub async fn events(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    let Path(id) = path?;
    let submission = parse(&id)?;
    {
        let mut conn = api.intake.db.read().await?;
        submission_for(&mut conn, &caller, Action::ReadSubmission, &submission).await?;
    }
    let open = api.usage.stream(&caller.principal.actor())?;
    let position = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()).unwrap_or(0);
    let engine = api.engine.clone();
    let every = Duration::from_millis(api.plan.stream.poll_ms);
    let follow = Follow { api, submission, position, waiting: Vec::new().into_iter(), every, _open: open };
    let stream = stream::unfold(follow, |mut follow| async move {
        loop {
            if let Some(event) = follow.waiting.next() {
                follow.position = event.position.unwrap_or(follow.position);
                return Some((Ok(sent(&event)), follow));
            }
            match page(&follow).await {
                // The client comes back by itself, with the last id it saw.
                Err(_) => return None,
                Ok(page) if page.is_empty() => tokio::time::sleep(follow.every).await,
                Ok(page) => follow.waiting = page.into_iter(),
            }
        }
    });
    // an open stream must not keep the node from ending; the client goes on at another one
    let stream = stream.take_until(async move { engine.stopping().await });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

async fn page(follow: &Follow) -> Result<Vec<Event>, crate::db::DbError> {
    let mut conn = follow.api.intake.db.read().await?;
    events::of_submission(&mut conn, follow.submission.as_str(), follow.position, PAGE).await
}

fn sent(event: &Event) -> Sent {
    let view = EventView::of(event);
    let sent = Sent::default().id(view.position.to_string()).event(view.kind.clone());
    let data = serde_json::to_string(&view).unwrap_or_default();
    sent.data(data)
}
