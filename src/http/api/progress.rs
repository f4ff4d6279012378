//! Live progress by server-sent events: what the event log says of a submission, in its one order. The id of
//! each is its position, so a client that comes back with `Last-Event-ID` goes on where it stopped, on any
//! node.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};

use super::Api;
use super::submissions::parse;
use crate::db::{events, submissions};
use crate::http::errors::Problem;
use crate::model::event::Event;
use crate::model::ids::SubmissionId;

/// How often the log is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// Events per look.
const PAGE: i64 = 100;

struct Follow {
    api: Api,
    submission: SubmissionId,
    position: i64,
    waiting: std::vec::IntoIter<Event>,
}

/// `GET /v1/submissions/{id}/events`
pub async fn events(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    let Path(id) = path?;
    let submission = parse(&id)?;
    {
        let mut conn = api.intake.db.read().await?;
        if submissions::get(&mut conn, &submission).await?.is_none() {
            return Err(Problem::new(axum::http::StatusCode::NOT_FOUND, "not_found", "there is no such submission"));
        }
    }
    let position = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()).unwrap_or(0);
    let engine = api.engine.clone();
    let follow = Follow { api, submission, position, waiting: Vec::new().into_iter() };
    let stream = stream::unfold(follow, |mut follow| async move {
        loop {
            if let Some(event) = follow.waiting.next() {
                follow.position = event.position.unwrap_or(follow.position);
                return Some((Ok(sent(&event)), follow));
            }
            match page(&follow).await {
                // The client comes back by itself, with the last id it saw.
                Err(_) => return None,
                Ok(page) if page.is_empty() => tokio::time::sleep(EVERY).await,
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
    let data = serde_json::json!({
        "subject": event.subject,
        "type": event.kind,
        "at": event.at,
        "payload": serde_json::from_str::<serde_json::Value>(&event.payload).unwrap_or_default(),
    });
    Sent::default().id(event.position.unwrap_or_default().to_string()).event(event.kind.clone()).data(data.to_string())
}
