//! What a user is told of by mail: the user's own choices (COR-30), the feed of what came, and why a mail went or did not.
//! A TIN can be a person's social security number: it comes in bodies, never in a URL.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::lists::{PageQuery, behind, cursor, page_of, read_cursor};
use super::messages::reader;
use super::routing::letter_for;
use super::versions::{refused, seen_before, tagged};
use super::{Api, body};
use crate::access::Caller;
use crate::db::digest_choices::Choice;
use crate::db::notifications::{self, Fed, InMail};
use crate::db::users;
use crate::digests::choices::{Chosen, ChosenPage};
use crate::digests::why::Told;
use crate::http::errors::Problem;
use crate::model::access::{Action, Answer, Principal, Target, may};
use crate::model::digest::{Cadence, ChoiceSource, DigestKind, LeftOut, MailState, NotificationState};
use crate::model::ids::{LetterId, MessageId, Tin, UserId};
use crate::model::letter::LetterCategory;
use crate::model::message::MessageType;

/// How often a user is told of a practice's letters of a category.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChoiceView {
    tin: Tin,
    /// `claim`, which appeals follow, or `precertification`.
    category: LetterCategory,
    cadence: Cadence,
    /// Whether it was chosen; else it is what every user starts with.
    chosen: bool,
    /// What chose it.
    source: Option<ChoiceSource>,
    /// When it was changed last.
    #[schema(value_type = Option<String>, format = DateTime)]
    changed_at: Option<Timestamp>,
    /// How often it was changed; the number in its ETag.
    version: i64,
}

impl ChoiceView {
    fn of(chosen: Chosen) -> Self {
        let choice: Option<Choice> = chosen.choice;
        Self {
            tin: chosen.tin,
            category: chosen.category,
            cadence: chosen.cadence,
            chosen: choice.is_some(),
            source: choice.as_ref().map(|choice| choice.source),
            changed_at: choice.as_ref().map(|choice| choice.changed_at),
            version: choice.map_or(0, |choice| choice.version),
        }
    }
}

/// A page of choices: one for each practice and category that the user may read.
#[derive(Debug, Serialize, ToSchema)]
pub struct Choices {
    choices: Vec<ChoiceView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

impl Choices {
    fn of(page: ChosenPage, shows: impl Fn(&Tin) -> bool) -> Self {
        let shown = page.items.into_iter().filter(|chosen| shows(&chosen.tin));
        Self { choices: shown.map(ChoiceView::of).collect(), next: page.next.map(|uid| cursor(0, &uid)) }
    }
}

/// See how often one is told of the letters of which practice.
#[utoipa::path(get, path = "/v1/me/notification-choices", tag = "notifications", params(PageQuery),
    responses((status = 200, body = Choices)))]
pub async fn own_choices(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Choices>, Problem> {
    let reader = reader(&caller)?;
    let page = choices_page(&api, reader.user, query?.0).await?;
    Ok(Json(Choices::of(page, |tin| reader.rights.contains_key(tin))))
}

async fn choices_page(api: &Api, user: &UserId, query: PageQuery) -> Result<ChosenPage, Problem> {
    let limit = page_of(api, query.limit)?;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?.map(|(_, uid)| uid);
    Ok(api.digests.choices_of(user, after.as_deref(), limit).await?)
}

/// How often one wants to be told.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoiceRequest {
    tin: Tin,
    /// `claim`, which appeals follow, or `precertification`.
    category: LetterCategory,
    /// `off`, `daily` or `weekly`.
    cadence: Cadence,
}

/// Choose how often to be told of a practice's letters of a category. It concerns nobody else, and counts from the next
/// digest on.
///
/// `If-Match` names the version that was seen, `"0"` where it was never chosen.
#[utoipa::path(put, path = "/v1/me/notification-choices", tag = "notifications", request_body = ChoiceRequest,
    params(("If-Match" = Option<String>, Header, description = "The version that was seen, as ETag"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it was never chosen")),
    responses((status = 200, body = ChoiceView, headers(("ETag" = String)))))]
pub async fn choose(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let expected = seen_before(&headers)?;
    let (_, wanted) = body::json::<ChoiceRequest>(&api, &headers, body).await?;
    let reader = reader(&caller)?;
    let (actor, of) = (caller.actor(), (&wanted.tin, wanted.category));
    let done = api.digests.choose(&actor, (reader.user, reader.rights), of, wanted.cadence, expected).await;
    let view = ChoiceView::of(done.map_err(|error| refused(error, expected))?);
    Ok((tagged(view.version), Json(view)))
}

/// How often one wants to be told of all practices' letters of a category.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AllChoicesRequest {
    /// `claim`, which appeals follow, or `precertification`.
    category: LetterCategory,
    /// `off`, `daily` or `weekly`.
    cadence: Cadence,
}

/// How many choices changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChoicesChanged {
    changed: u64,
}

/// Choose how often to be told of the letters of a category, for all practices at once, whatever was chosen before.
#[utoipa::path(put, path = "/v1/me/notification-choices/all", tag = "notifications", request_body = AllChoicesRequest,
    responses((status = 200, body = ChoicesChanged)))]
pub async fn choose_all(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ChoicesChanged>, Problem> {
    let (_, wanted) = body::json::<AllChoicesRequest>(&api, &headers, body).await?;
    let reader = reader(&caller)?;
    let (actor, of) = (caller.actor(), (reader.user, reader.rights));
    let changed = api.digests.choose_all(&actor, of, wanted.category, wanted.cadence).await?;
    Ok(Json(ChoicesChanged { changed }))
}

/// See how often a user is told of the letters of which practice. An access manager sees it for the practices managed.
#[utoipa::path(get, path = "/v1/users/{id}/notification-choices", tag = "notifications",
    params(("id" = String, Path, description = "The user's id"), PageQuery), responses((status = 200, body = Choices)))]
pub async fn choices_of(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Choices>, Problem> {
    let Path(id) = path?;
    let missing = || Problem::not_found("user");
    let user: UserId = id.parse().map_err(|_| missing())?;
    let mut conn = api.digests.db.read().await?;
    users::get(&mut conn, &user).await?.ok_or_else(missing)?;
    drop(conn);
    let page = choices_page(&api, &user, query?.0).await?;
    let shows = |tin: &Tin| may(&caller.principal, Action::ReadUserChoices, &Target::Tin(tin)) == Answer::Yes;
    Ok(Json(Choices::of(page, shows)))
}

/// The mail that tells of a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailOfNotification {
    state: MailState,
    /// The digest that it is of.
    cadence: Option<Cadence>,
    /// When it goes, or is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    /// When it came to its end.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
}

impl MailOfNotification {
    fn of(mail: InMail) -> Self {
        Self { state: mail.state, cadence: mail.cadence, next_at: mail.next_at, ended_at: mail.ended_at }
    }
}

/// A message that the user was or is to be told of.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationView {
    message_id: MessageId,
    /// Missing for a notice.
    letter_id: Option<LetterId>,
    tin: Tin,
    category: LetterCategory,
    /// The letter's type, or `notice`.
    r#type: MessageType,
    kind: DigestKind,
    #[schema(value_type = String, format = DateTime)]
    published_at: Timestamp,
    /// By when an answer is wanted.
    #[schema(value_type = Option<String>, format = DateTime)]
    due_at: Option<Timestamp>,
    read: bool,
    /// Where telling of it by mail stands.
    state: NotificationState,
    /// Why there is no mail of it.
    left_out: Option<LeftOut>,
    mail: Option<MailOfNotification>,
}

impl NotificationView {
    fn of(fed: Fed) -> Self {
        let it = fed.notification;
        Self {
            message_id: it.message_id,
            letter_id: fed.letter_id,
            tin: it.tin,
            category: it.category,
            r#type: fed.what,
            kind: it.kind,
            published_at: it.published_at,
            due_at: it.due_at,
            read: fed.read_at.is_some(),
            state: it.state,
            left_out: it.reason,
            mail: it.mail.map(MailOfNotification::of),
        }
    }
}

/// A page of notifications, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Notifications {
    notifications: Vec<NotificationView>,
    /// Where the list goes on; `null` when this is its end. Where messages are gone that were told of, a page can be
    /// shorter than its limit, even empty, and go on all the same.
    next: Option<String>,
}

/// See what came since one could read it, newest first, and how telling of it by mail stands.
#[utoipa::path(get, path = "/v1/me/notifications", tag = "notifications", params(PageQuery),
    responses((status = 200, body = Notifications)))]
pub async fn feed(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Notifications>, Problem> {
    let Query(query) = query?;
    let reader = reader(&caller)?;
    let limit = page_of(&api, query.limit)?;
    let before: Option<(i64, MessageId)> = behind(query.cursor.as_deref())?;
    let before = before.as_ref().map(|(at, id)| (*at, id));
    let mut conn = api.digests.db.read().await?;
    let found = notifications::feed(&mut conn, reader.user, api.digests.ctx.now(), before, limit).await?;
    // a service may speak for the user at some of the practices only
    let shown = found.items.into_iter().filter(|fed| reader.sees(&fed.notification.tin, fed.notification.category));
    Ok(Json(Notifications {
        notifications: shown.map(NotificationView::of).collect(),
        next: found.next.map(|(at, id)| cursor(at, id.as_str())),
    }))
}

/// Of which user.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ToldQuery {
    /// The user; a user asks for itself alone, and need not say so.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    user: Option<UserId>,
}

/// What became of telling a user of a letter by mail.
#[derive(Debug, Serialize, ToSchema)]
pub struct ToldView {
    letter_id: LetterId,
    user: UserId,
    /// `waiting`, `mailed`, `left_out` or `never`.
    state: &'static str,
    kind: Option<DigestKind>,
    /// Why the user was not told: a code.
    reason: Option<&'static str>,
    /// All of it in a sentence or two.
    explanation: String,
    /// The mail that it is in, or was taken out of.
    mail: Option<MailOfNotification>,
}

impl ToldView {
    fn of(letter_id: LetterId, user: UserId, told: Told) -> Self {
        let (state, explanation) = (told.code(), told.sentence());
        let (kind, reason, mail) = match told {
            Told::Waiting { kind, .. } => (Some(kind), None, None),
            Told::Mailed { kind, mail } => (Some(kind), None, Some(mail)),
            Told::LeftOut { kind, reason, mail, .. } => (Some(kind), Some(reason.as_str()), mail),
            Told::Never(never) => (None, Some(never.as_str()), None),
        };
        Self { letter_id, user, state, kind, reason, explanation, mail: mail.map(MailOfNotification::of) }
    }
}

/// See whether a user was told of a letter by mail, and why or why not.
#[utoipa::path(get, path = "/v1/letters/{id}/notifications", tag = "notifications",
    params(("id" = String, Path, description = "The letter's id"), ToldQuery), responses((status = 200, body = ToldView)))]
pub async fn why(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ToldQuery>, QueryRejection>,
) -> Result<Json<ToldView>, Problem> {
    let Path(id) = path?;
    let Query(ToldQuery { user }) = query?;
    let mut conn = api.digests.db.read().await?;
    let found = letter_for(&mut conn, &caller, Action::WhyNotified, &id).await?;
    let missing = || Problem::not_found("user");
    let user = match (&caller.principal, user) {
        (Principal::User { user: own, .. }, None) => own.clone(),
        (Principal::User { user: own, .. }, Some(user)) if *own != user => return Err(missing()),
        (_, Some(user)) => users::get(&mut conn, &user).await?.ok_or_else(missing)?.id,
        (_, None) => return Err(Problem::bad("user must be named")),
    };
    let letter = found.letter.id;
    let told = api.digests.why(&mut conn, &letter, &user).await?;
    Ok(Json(ToldView::of(letter, user, told)))
}
