//! Mails of digests: how each stands, and what an operator does with those in doubt. What a mail told is not kept but for
//! its counts.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body;
use super::lists::{bad_cursor, cut, page_of, read_cursor};
use super::versions::{if_match, tagged};
use super::{Api, lists};
use crate::access::Caller;
use crate::db::Stamp;
use crate::db::digest_mails::{self, Mail, Which};
use crate::digests::upkeep::MailError;
use crate::http::errors::Problem;
use crate::http::guard::admit_to_all;
use crate::http::problems::Code;
use crate::model::access::Action;
use crate::model::digest::{DigestKind, MailState};
use crate::model::ids::{Brand, MailId, RunId, UserId};

const MAIL: &str = "mail";

impl From<MailError> for Problem {
    fn from(error: MailError) -> Self {
        let said = error.to_string();
        match error {
            MailError::NoMail => Self::of(Code::NotFound, said),
            MailError::State(_) => Self::of(Code::WrongState, said),
            MailError::Conflict => Self::of(Code::VersionConflict, said),
            MailError::Db(error) => error.into(),
        }
    }
}

/// A mail.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailView {
    id: MailId,
    /// The run that planned it.
    run_id: RunId,
    brand: Brand,
    user_id: UserId,
    kind: DigestKind,
    /// The local day it is of.
    day: String,
    state: MailState,
    /// The state in a sentence.
    told: &'static str,
    /// Why it is there: a code, or what the relay answered (`rcpt 550 5.1.1`).
    reason: Option<String>,
    /// Practices that it was planned to tell of.
    items: i64,
    /// Letters and notices that it was planned to tell of.
    letters: i64,
    /// Practices that it told of.
    sent_items: Option<i64>,
    /// Letters and notices that it told of.
    sent_letters: Option<i64>,
    tries: i64,
    /// When it is tried.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    relay: Option<String>,
    /// When its text was let go.
    #[schema(value_type = Option<String>, format = DateTime)]
    submitted_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Counts its changes; the number in the ETag.
    version: i64,
}

impl From<Mail> for MailView {
    fn from(mail: Mail) -> Self {
        Self {
            told: mail.state.sentence(),
            id: mail.id,
            run_id: mail.run_id,
            brand: mail.brand,
            user_id: mail.user,
            kind: mail.kind,
            day: mail.day,
            state: mail.state,
            reason: mail.reason,
            items: mail.planned.0,
            letters: mail.planned.1,
            sent_items: mail.sent.map(|sent| sent.0),
            sent_letters: mail.sent.map(|sent| sent.1),
            tries: mail.tries,
            next_at: mail.next_at,
            relay: mail.relay,
            submitted_at: mail.submitted_at,
            ended_at: mail.ended_at,
            version: mail.version,
        }
    }
}

/// Which mails. Without any of these: those in doubt.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MailsQuery {
    /// Those of a run.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    run: Option<RunId>,
    /// Of a run, those in this state.
    #[serde(default)]
    state: Option<MailState>,
    /// Those of a user.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    user: Option<UserId>,
    /// Where the page before ended.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// A page of mails, in the order of their names.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mails {
    mails: Vec<MailView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// List mails: those in doubt, those of a run, or those of a user.
#[utoipa::path(get, path = "/v1/mails", tag = "notifications", params(MailsQuery), responses((status = 200, body = Mails)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<MailsQuery>, QueryRejection>,
) -> Result<Json<Mails>, Problem> {
    let Query(query) = query?;
    admit_to_all(&caller, Action::ReadMails)?;
    let which = match (query.run, query.state, query.user) {
        (None, None | Some(MailState::InDoubt), None) => Which::InDoubt,
        (Some(run), None, None) => Which::Run(run),
        (Some(run), Some(state), None) => Which::RunIn(run, state),
        (None, None, Some(user)) => Which::User(user),
        _ => return Err(Problem::bad("send run, run and state, or user; state alone can only be in_doubt")),
    };
    let limit = page_of(&api, query.limit)?;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let after: Option<MailId> = after.map(|(_, id)| id.parse().map_err(|_| bad_cursor())).transpose()?;
    let mut conn = api.digests.db.read().await?;
    let mut rows = digest_mails::list(&mut conn, &which, after.as_ref(), limit + 1).await?;
    let next = cut(&mut rows, limit, |row| lists::cursor(0, row.id.as_str()));
    Ok(Json(Mails { mails: rows.into_iter().map(MailView::from).collect(), next }))
}

fn known(id: &str) -> Result<MailId, Problem> {
    id.parse().map_err(|_| Problem::not_found(MAIL))
}

/// See how a mail stands.
#[utoipa::path(get, path = "/v1/mails/{id}", tag = "notifications", params(("id" = String, Path, description = "Its name")),
    responses((status = 200, body = MailView, headers(("ETag" = String)))))]
pub async fn look(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    admit_to_all(&caller, Action::ReadMails)?;
    let mut conn = api.digests.db.read().await?;
    let mail = digest_mails::get(&mut conn, &known(&id)?).await?.ok_or_else(|| Problem::not_found(MAIL))?;
    Ok((tagged(mail.version), Json(MailView::from(mail))))
}

/// What is to become of a mail in doubt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailDecision {
    /// `true`: send it again, under the same Message-ID, by which mail programs know a copy. `false`: it is not to be sent
    /// again.
    send_again: bool,
}

/// Decide on a mail in doubt. It may have gone, or not: nobody sends it again by himself.
#[utoipa::path(post, path = "/v1/mails/{id}/decide", tag = "notifications", request_body = MailDecision,
    params(("id" = String, Path, description = "Its name"), ("If-Match" = Option<String>, Header, description = "The ETag that was seen; 428 without it")),
    responses((status = 200, body = MailView, headers(("ETag" = String))), (status = 409)))]
pub async fn decide(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    admit_to_all(&caller, Action::DecideMails)?;
    let (_, wanted) = body::json::<MailDecision>(&api, &headers, body).await?;
    let id = known(&id)?;
    let (version, actor) = (if_match(&headers)?, caller.actor());
    let stamp = Stamp { ctx: &api.digests.ctx, actor: &actor };
    let mail = api.digests.decide_mail(stamp, &id, Some(version), wanted.send_again).await?;
    Ok((tagged(mail.version), Json(MailView::from(mail))))
}
