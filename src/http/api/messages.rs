//! The Messaging Center of a user (COR-20..24). Each request asks anew what the user is entitled to: what is taken away
//! is gone at once, and what a user may not see is not there.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lists::{behind, cursor, page_of};
use super::{Api, body};
use crate::access::Caller;
use crate::db::messages::lists::{self, COUNTED, Listed, Reader, Wanted};
use crate::db::messages::{self, Marking, Marks, Message};
use crate::db::{Conn, DbError, Stamp};
use crate::http::errors::Problem;
use crate::http::guard::allow;
use crate::model::access::{Answer, Needs, Principal};
use crate::model::ids::{CaseId, CaseNumber, ClaimNumber, LetterId, LetterNumber, MessageId, Tin};
use crate::model::letter::LetterCategory;
use crate::model::message::{Folder, MessageType, words};
use crate::model::phi::Phi;

/// What is not there.
pub(super) const MESSAGE: &str = "message";
/// Characters that a search may have.
const TEXT: usize = 200;
/// Choices of what not to see.
const HIDDEN: usize = 100;

/// The user who calls, as a reader of messages.
///
/// # Errors
/// 403 for who is none.
pub(super) fn reader(caller: &Caller) -> Result<Reader<'_>, Problem> {
    match &caller.principal {
        Principal::User { user, rights, mode } => Ok(Reader { user, rights, mode: *mode }),
        _ => Err(allow(Answer::Forbidden { needs: Needs::User }, MESSAGE).err().unwrap_or_else(no_message)),
    }
}

pub(super) fn no_message() -> Problem {
    Problem::not_found(MESSAGE)
}

/// A message, as far as it is the same for all who see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageView {
    id: MessageId,
    tin: Tin,
    category: LetterCategory,
    /// The letter's type, or `notice`.
    r#type: MessageType,
    /// Missing for a notice.
    letter_id: Option<LetterId>,
    letter_number: Option<LetterNumber>,
    /// The letter that took this one's place.
    superseded_by: Option<LetterId>,
    case_id: Option<CaseId>,
    case_number: Option<CaseNumber>,
    claim_number: Option<ClaimNumber>,
    #[schema(value_type = Option<String>)]
    member_name: Option<Phi<String>>,
    /// What a notice tells: the case's status then.
    status: Option<String>,
    /// Whether it needs an answer.
    action_required: bool,
    #[schema(value_type = String, format = DateTime)]
    published_at: Timestamp,
    /// Until when it can be read online.
    #[schema(value_type = String, format = DateTime)]
    online_until: Timestamp,
    /// When somebody of the practice first opened the letter.
    #[schema(value_type = Option<String>, format = DateTime)]
    first_opened_at: Option<Timestamp>,
}

impl MessageView {
    /// As users see it.
    pub(super) fn of(message: Message) -> Self {
        Self {
            id: message.id,
            tin: message.tin,
            category: message.category,
            r#type: message.what,
            letter_id: message.letter_id,
            letter_number: message.letter_number,
            superseded_by: message.superseded_by,
            case_id: message.case_id,
            case_number: message.case_number,
            claim_number: message.claim_number,
            member_name: message.member_name,
            status: message.status,
            action_required: message.action_required_at.is_some(),
            published_at: message.published_at,
            online_until: message.online_until,
            first_opened_at: message.opened_at,
        }
    }
}

/// A message in a user's Messaging Center.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnMessage {
    #[serde(flatten)]
    message: MessageView,
    read: bool,
    flagged: bool,
    archived: bool,
}

impl OwnMessage {
    fn of(message: Message, marks: Marks) -> Self {
        Self {
            message: MessageView::of(message),
            read: marks.read_at.is_some(),
            flagged: marks.flagged_at.is_some(),
            archived: marks.archived_at.is_some(),
        }
    }
}

/// Which messages. A TIN and what is looked for can be health data: they come in a body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageSearch {
    /// `inbox` (also without it), `flagged` or `archive`.
    #[serde(default)]
    folder: Option<Folder>,
    #[serde(default)]
    category: Option<LetterCategory>,
    #[serde(default)]
    r#type: Option<MessageType>,
    #[serde(default)]
    tin: Option<Tin>,
    /// Only what the user has not read.
    #[serde(default)]
    unread: bool,
    /// Words, or beginnings of words, that all must be in it: of its type, numbers, the member's name, a status.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 200)]
    text: Option<Phi<String>>,
    /// Where the page before ended.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// A page of messages, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Messages {
    messages: Vec<OwnMessage>,
    /// Where the list goes on; `null` when this is its end. Where much is filtered out, a page can be shorter than its
    /// limit, even empty, and go on all the same.
    next: Option<String>,
}

/// Look through one's messages, newest first: the inbox, what is flagged, the archive.
///
/// With `text`, the newest 500 messages are found that have all the words.
#[utoipa::path(post, path = "/v1/messages/search", tag = "messages", request_body = MessageSearch,
    responses((status = 200, body = Messages)))]
pub async fn search(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Messages>, Problem> {
    let (_, said) = body::json::<MessageSearch>(&api, &headers, body).await?;
    let reader = reader(&caller)?;
    let limit = usize::try_from(page_of(&api, said.limit)?).unwrap_or_default();
    let before: Option<(i64, MessageId)> = behind(said.cursor.as_deref())?;
    let before = before.as_ref().map(|(at, id)| (*at, id));
    let wanted =
        Wanted { folder: said.folder, category: said.category, what: said.r#type, tin: said.tin, unread: said.unread };
    let journey = &api.correspondence;
    let now = journey.ctx.now();
    let mut conn = journey.db.read().await?;
    let listed = match &said.text {
        None => lists::list(&mut conn, reader, &wanted, now, before, limit).await?,
        Some(text) => {
            let text = text.reveal();
            if text.chars().count() > TEXT {
                return Err(Problem::bad(format!("text may have at most {TEXT} characters")));
            }
            let words = words(text);
            if words.is_empty() {
                return Err(Problem::bad("text must hold a letter or digit"));
            }
            lists::find(&mut conn, reader, &wanted, &words, now, before, limit).await?
        }
    };
    Ok(Json(page(&mut conn, reader, listed).await?))
}

async fn page(conn: &mut Conn, reader: Reader<'_>, listed: Listed) -> Result<Messages, DbError> {
    let mut messages = Vec::with_capacity(listed.messages.len());
    for id in &listed.messages {
        if let Some(message) = messages::get(conn, id).await? {
            let marks = messages::marks(conn, reader.user, id).await?;
            messages.push(OwnMessage::of(message, marks));
        }
    }
    Ok(Messages { messages, next: listed.next.map(|(at, id)| cursor(at, id.as_str())) })
}

/// Unread messages of a category.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnreadOf {
    category: LetterCategory,
    /// How many, up to 500.
    unread: i64,
    /// Whether there may be more.
    or_more: bool,
}

/// Unread messages in the inbox, per category that the user wants to see.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageCounts {
    categories: Vec<UnreadOf>,
}

/// See how many messages of one's inbox are unread.
#[utoipa::path(get, path = "/v1/messages/counts", tag = "messages", responses((status = 200, body = MessageCounts)))]
pub async fn counts(State(api): State<Api>, caller: Caller) -> Result<Json<MessageCounts>, Problem> {
    let journey = &api.correspondence;
    let mut conn = journey.db.read().await?;
    let counted = lists::unread(&mut conn, reader(&caller)?, journey.ctx.now()).await?;
    let of = |(category, unread)| UnreadOf { category, unread, or_more: unread >= COUNTED };
    Ok(Json(MessageCounts { categories: counted.into_iter().map(of).collect() }))
}

/// The message of that id, if it is in the caller's Messaging Center.
///
/// # Errors
/// 404 when it is not.
pub(super) async fn message_for(
    conn: &mut Conn,
    api: &Api,
    reader: Reader<'_>,
    id: &str,
) -> Result<(Message, Marks), Problem> {
    let id: MessageId = id.parse().map_err(|_| no_message())?;
    if !lists::is_there(conn, reader, &id, api.correspondence.ctx.now()).await? {
        return Err(no_message());
    }
    let message = messages::get(conn, &id).await?.ok_or_else(no_message)?;
    Ok((message, messages::marks(conn, reader.user, &id).await?))
}

/// See a message.
#[utoipa::path(get, path = "/v1/messages/{id}", tag = "messages", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = OwnMessage)))]
pub async fn look(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<OwnMessage>, Problem> {
    let Path(id) = path?;
    let mut conn = api.correspondence.db.read().await?;
    let (message, marks) = message_for(&mut conn, &api, reader(&caller)?, &id).await?;
    Ok(Json(OwnMessage::of(message, marks)))
}

/// How a message is to be marked; what is not said stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRequest {
    #[serde(default)]
    read: Option<bool>,
    #[serde(default)]
    flagged: Option<bool>,
    /// In the archive, or back in the inbox.
    #[serde(default)]
    archived: Option<bool>,
}

/// Mark a message as read, flagged or archived, or take such a mark away. It concerns nobody else.
#[utoipa::path(put, path = "/v1/messages/{id}/mark", tag = "messages", request_body = MarkRequest,
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = OwnMessage)))]
pub async fn mark(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<OwnMessage>, Problem> {
    let Path(id) = path?;
    let (_, said) = body::json::<MarkRequest>(&api, &headers, body).await?;
    let marking = Marking { read: said.read, flagged: said.flagged, archived: said.archived, deleted: false };
    let (message, marks) = change(&api, &caller, &id, marking).await?;
    Ok(Json(OwnMessage::of(message, marks)))
}

/// Delete a message from one's Messaging Center, for good.
///
/// Nobody else's is touched, and the correspondence history of the claim or case shows it as long as it is online.
#[utoipa::path(delete, path = "/v1/messages/{id}", tag = "messages", params(("id" = String, Path, description = "Its id")),
    responses((status = 204)))]
pub async fn delete(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = path?;
    change(&api, &caller, &id, Marking { deleted: true, ..Marking::default() }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change(api: &Api, caller: &Caller, id: &str, marking: Marking) -> Result<(Message, Marks), Problem> {
    let (journey, actor, reader) = (&api.correspondence, caller.actor(), reader(caller)?);
    let stamp = Stamp { ctx: &journey.ctx, actor: &actor };
    let mut tx = journey.db.begin().await?;
    let (message, _) = message_for(&mut tx, api, reader, id).await?;
    messages::mark(&mut tx, stamp, reader.user, &message, marking).await?;
    let marks = messages::marks(&mut tx, reader.user, &message.id).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok((message, marks))
}

/// Something that the user does not want to see.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HiddenView {
    category: LetterCategory,
    /// One type of the category; without it, all of it.
    #[serde(default)]
    r#type: Option<MessageType>,
}

/// What the user does not want to see.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HiddenList {
    #[schema(max_items = 100)]
    hidden: Vec<HiddenView>,
}

/// See which categories and types one chose not to see.
#[utoipa::path(get, path = "/v1/messages/hidden", tag = "messages", responses((status = 200, body = HiddenList)))]
pub async fn hidden(State(api): State<Api>, caller: Caller) -> Result<Json<HiddenList>, Problem> {
    let mut conn = api.correspondence.db.read().await?;
    let rows = messages::hidden(&mut conn, reader(&caller)?.user).await?;
    Ok(Json(HiddenList {
        hidden: rows.into_iter().map(|(category, r#type)| HiddenView { category, r#type }).collect(),
    }))
}

/// Choose which categories and types not to see, in the place of what was chosen before. Nothing is deleted by it.
#[utoipa::path(put, path = "/v1/messages/hidden", tag = "messages", request_body = HiddenList,
    responses((status = 200, body = HiddenList)))]
pub async fn hide(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<HiddenList>, Problem> {
    let (_, wanted) = body::json::<HiddenList>(&api, &headers, body).await?;
    if wanted.hidden.len() > HIDDEN {
        return Err(Problem::bad(format!("hidden may have at most {HIDDEN} entries")));
    }
    let rows: Vec<_> = wanted.hidden.into_iter().map(|one| (one.category, one.r#type)).collect();
    if rows.iter().any(|(category, what)| what.is_some_and(|what| !what.is_of(*category))) {
        return Err(Problem::bad("a type named is not one of its category"));
    }
    let user = reader(&caller)?.user;
    let mut tx = api.correspondence.db.begin().await?;
    messages::put_hidden(&mut tx, user, &rows).await?;
    let rows = messages::hidden(&mut tx, user).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(Json(HiddenList {
        hidden: rows.into_iter().map(|(category, r#type)| HiddenView { category, r#type }).collect(),
    }))
}
