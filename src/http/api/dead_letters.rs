//! Dead letters (OPS-05): work that failed for good, with its reason, and its replay.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lists::{PageQuery, bad_cursor, cursor, cut, page_of, read_cursor};
use super::{Api, body};
use crate::access::Caller;
use crate::db::Stamp;
use crate::db::work::{self, WorkRow};
use crate::http::errors::Problem;
use crate::http::guard::admit_to_all;
use crate::intake::review::{self, ReviewError};
use crate::model::access::Action;

/// A page of dead letters, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetters {
    dead_letters: Vec<WorkRow>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List dead letters, oldest first.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "mailroom", params(PageQuery), responses((status = 200, body = DeadLetters)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<DeadLetters>, Problem> {
    let Query(query) = query?;
    admit_to_all(&caller, Action::ReadDeadLetters)?;
    let limit = page_of(&api, query.limit)?;
    let place = query.cursor.as_deref().map(read_cursor).transpose()?;
    let after = match &place {
        Some((at, place)) => {
            let (subject, stage) = place.split_once(' ').ok_or_else(bad_cursor)?;
            Some((*at, subject, stage))
        }
        None => None,
    };
    let mut conn = api.intake.db.read().await?;
    let mut letters = work::dead_letters(&mut conn, after, limit + 1).await?;
    let next = cut(&mut letters, limit, |letter| {
        cursor(letter.created_at.as_microsecond(), &format!("{} {}", letter.subject, letter.stage))
    });
    Ok(Json(DeadLetters { dead_letters: letters, next }))
}

/// Which dead letters: one by its subject and stage, or all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    stage: Option<String>,
    #[serde(default)]
    all: bool,
}

/// What was set to work again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replayed {
    replayed: u64,
    /// Whether there were more than one request replays: send it again.
    more: bool,
}

/// Set dead letters to work again, with their tries anew.
#[utoipa::path(post, path = "/v1/dead-letters/replay", tag = "mailroom", request_body = Replay, responses((status = 200, body = Replayed)))]
pub async fn replay(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Replayed>, Problem> {
    admit_to_all(&caller, Action::ReplayDeadLetters)?;
    let (_, which): (_, Replay) = body::json(&api, &headers, body).await?;
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let db = &api.intake.db;
    let replayed = match (which.subject, which.stage, which.all) {
        (Some(subject), Some(stage), false) => {
            // no database takes a NUL
            if [&subject, &stage].iter().any(|text| text.chars().any(char::is_control)) {
                return Err(ReviewError::NoDeadLetter.into());
            }
            review::replay(db, stamp, &subject, &stage).await?;
            Replayed { replayed: 1, more: false }
        }
        (None, None, true) => {
            let limit = api.plan.limits.page_most;
            let mut letters = {
                let mut conn = db.read().await?;
                work::dead_letters(&mut conn, None, limit + 1).await?
            };
            let more = cut(&mut letters, limit, |_| String::new()).is_some();
            let mut replayed = 0;
            for letter in letters {
                match review::replay(db, stamp, &letter.subject, &letter.stage).await {
                    Ok(()) => replayed += 1,
                    // somebody else was quicker
                    Err(ReviewError::NoDeadLetter) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Replayed { replayed, more }
        }
        _ => return Err(Problem::bad("name a dead letter by subject and stage, or say all")),
    };
    api.engine.wake();
    Ok(Json(replayed))
}
