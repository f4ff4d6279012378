//! Letters beside the lists of the Messaging Center: their PDFs, the correspondence history of claims and cases (COR-22),
//! what nobody opened in time (COR-26), and whom a user asks for rights (COR-25).

use std::io::{self, Write};
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::lists::{PageQuery, behind, cursor, cut, page_of};
use super::messages::{MessageView, no_message, reader};
use super::{Api, body};
use crate::access::Caller;
use crate::db::letters::{self, Letter};
use crate::db::messages::lists::Reader;
use crate::db::messages::{self, About, Message};
use crate::db::{Conn, DbError, Stamp, case_files, users};
use crate::delivery::open::{PdfError, pdf};
use crate::http::errors::Problem;
use crate::http::guard::{admit_to_all, allow};
use crate::http::problems::Code;
use crate::model::access::{Action, Answer, Entitlement, Principal, Target, may};
use crate::model::ids::{Brand, CaseId, ClaimNumber, LetterId, MessageId, Tin};
use crate::model::letter::{AddresseeKind, LetterCategory, LetterRecord};
use crate::model::message::MessageType;
use crate::model::mode::Mode;
use crate::model::phi::Phi;
use crate::outside::objects::Objects;

/// Letters of one ZIP file.
const LETTERS: usize = 100;
/// Access managers that are named for a TIN.
const MANAGERS: usize = 20;
/// Users of a TIN that are looked through for them at once.
const PART: i64 = 200;

impl From<PdfError> for Problem {
    fn from(error: PdfError) -> Self {
        match error {
            PdfError::None => Self::of(Code::WrongState, error.to_string()),
            PdfError::Lost(_) | PdfError::Store(..) => {
                tracing::error!(error = %error, "a letter's PDF could not be read");
                Self::unavailable("the object store")
            }
        }
    }
}

/// The letter of a message, if the caller may read it: whoever is entitled may as long as it is online, for it stands in
/// the history also where it was deleted from the Messaging Center (COR-22).
async fn letter_of(
    conn: &mut Conn,
    reader: Reader<'_>,
    id: &MessageId,
    now: Timestamp,
) -> Result<(Message, Letter), Problem> {
    let message = messages::get(conn, id).await?.ok_or_else(no_message)?;
    if !message.is_online(now) || message.mode != reader.mode || !reader.sees(&message.tin, message.category) {
        return Err(no_message());
    }
    let letter = match &message.letter_id {
        Some(letter) => letters::get(conn, letter).await?,
        None => None,
    };
    Ok((message, letter.ok_or_else(|| Problem::not_found("letter"))?))
}

/// The headers of a download that nobody but its reader is to keep.
pub(super) fn download_head(media_type: &'static str, name: &str) -> [(HeaderName, HeaderValue); 4] {
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment"))),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
    ]
}

/// Open the letter of a message, as PDF.
///
/// The message is read then. Who opened it first, and when, is kept.
#[utoipa::path(get, path = "/v1/messages/{id}/letter", tag = "messages", params(("id" = String, Path, description = "The message's id")),
    responses((status = 200, body = Vec<u8>, content_type = "application/pdf")))]
pub async fn letter(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = path?;
    let id: MessageId = id.parse().map_err(|_| no_message())?;
    let (journey, actor, reader) = (&api.correspondence, caller.actor(), reader(&caller)?);
    let opened = {
        let mut conn = journey.db.read().await?;
        letter_of(&mut conn, reader, &id, journey.ctx.now()).await?
    };
    let bytes = pdf(journey.objects.as_ref(), &opened.1).await?;
    let head = download_head("application/pdf", &format!("{}.pdf", opened.1.number));
    let stamp = Stamp { ctx: &journey.ctx, actor: &actor };
    // before a byte of it is given out
    journey.opened(stamp, reader.user, std::slice::from_ref(&opened)).await?;
    Ok((head, bytes).into_response())
}

/// Which letters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DownloadRequest {
    /// The messages' ids.
    #[schema(min_items = 1, max_items = 100)]
    messages: Vec<MessageId>,
}

/// Download the letters of several messages as one ZIP file.
///
/// All or none: a message that is not there, or has no letter, is 404. Each counts as opened. When a letter can't be read
/// half way, the connection breaks off.
#[utoipa::path(post, path = "/v1/messages/download", tag = "messages", request_body = DownloadRequest,
    responses((status = 200, body = Vec<u8>, content_type = "application/zip")))]
pub async fn download(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (_, mut wanted) = body::json::<DownloadRequest>(&api, &headers, body).await?;
    wanted.messages.sort();
    wanted.messages.dedup();
    if !(1..=LETTERS).contains(&wanted.messages.len()) {
        return Err(Problem::bad(format!("messages must have 1 to {LETTERS} entries")));
    }
    let (journey, actor, reader) = (&api.correspondence, caller.actor(), reader(&caller)?);
    let mut opened = Vec::with_capacity(wanted.messages.len());
    {
        let mut conn = journey.db.read().await?;
        for id in &wanted.messages {
            opened.push(letter_of(&mut conn, reader, id, journey.ctx.now()).await?);
        }
    }
    let stamp = Stamp { ctx: &journey.ctx, actor: &actor };
    journey.opened(stamp, reader.user, &opened).await?;
    let letters: Vec<Letter> = opened.into_iter().map(|(_, letter)| letter).collect();
    let (sender, mut receiver) = mpsc::channel(4);
    let (objects, handle) = (journey.objects.clone(), tokio::runtime::Handle::current());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = write_zip(Pieces(sender.clone()), &objects, &handle, &letters) {
            tracing::warn!(error = %error, "a download of letters broke off");
            // without this the file would seem to be complete
            let _ = sender.blocking_send(Err(error));
        }
    });
    let stream = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    Ok((download_head("application/zip", "letters.zip"), Body::from_stream(stream)).into_response())
}

/// Hands on what is written, piece by piece, and waits where the reader is slow.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the letters one after the other: no more than one of them is in memory. PDFs are compressed already.
fn write_zip(
    to: Pieces,
    objects: &Arc<dyn Objects>,
    handle: &tokio::runtime::Handle,
    letters: &[Letter],
) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(to);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for letter in letters {
        let bytes = handle.block_on(pdf(objects.as_ref(), letter)).map_err(io::Error::other)?;
        zip.start_file(format!("{}.pdf", letter.number), options).map_err(io::Error::other)?;
        zip.write_all(&bytes)?;
    }
    zip.finish().map(|_| ()).map_err(io::Error::other)
}

/// A page of letters and notices, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct CorrespondenceHistory {
    letters: Vec<MessageView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// Whether the caller may see letters of this kind to this practice.
fn sees(caller: &Caller, tin: &Tin, category: LetterCategory, mode: Mode, sensitive: bool) -> Answer {
    let record = LetterRecord { asker: "", addressee: AddresseeKind::Tin, tin: Some(tin), category, mode, sensitive };
    may(&caller.principal, Action::ReadLetter, &Target::Letter(record))
}

async fn history(
    api: &Api,
    caller: &Caller,
    about: About<'_>,
    page: &PageQuery,
) -> Result<Json<CorrespondenceHistory>, Problem> {
    let limit = page_of(api, page.limit)?;
    let before: Option<(i64, MessageId)> = behind(page.cursor.as_deref())?;
    let before = before.as_ref().map(|(at, id)| (*at, id));
    let journey = &api.correspondence;
    let mut conn = journey.db.read().await?;
    let mut rows = messages::history(&mut conn, about, journey.ctx.now(), before, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| cursor(row.published_at.as_microsecond(), row.id.as_str()));
    rows.retain(|row| sees(caller, &row.tin, row.category, row.mode, row.sensitive) == Answer::Yes);
    Ok(Json(CorrespondenceHistory { letters: rows.into_iter().map(MessageView::of).collect(), next }))
}

/// See the correspondence history of a case: its letters and notices as long as they are online, whatever was deleted
/// from inboxes.
#[utoipa::path(get, path = "/v1/cases/{id}/letters", tag = "messages",
    params(("id" = String, Path, description = "The case's id"), PageQuery), responses((status = 200, body = CorrespondenceHistory)))]
pub async fn of_case(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<CorrespondenceHistory>, Problem> {
    let (Path(id), Query(page)) = (path?, query?);
    let no_case = || Problem::not_found("case");
    let id: CaseId = id.parse().map_err(|_| no_case())?;
    let case = {
        let mut conn = api.correspondence.db.read().await?;
        case_files::get(&mut conn, &id).await?.ok_or_else(no_case)?
    };
    let category = LetterCategory::of(case.kind);
    allow(sees(&caller, &case.tin, category, case.brand.mode(), case.sensitive), "case")?;
    history(&api, &caller, About::Case(&id), &page).await
}

/// Which claim's letters. The number names a patient's claim: it comes in a body.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimLetters {
    /// The brand; else the installation's first.
    #[serde(default)]
    brand: Option<Brand>,
    claim_number: ClaimNumber,
    /// Where the page before ended.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

/// See the correspondence history of a claim: its letters and notices as long as they are online, whatever was deleted
/// from inboxes.
#[utoipa::path(post, path = "/v1/claims/letters", tag = "messages", request_body = ClaimLetters,
    responses((status = 200, body = CorrespondenceHistory)))]
pub async fn of_claim(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CorrespondenceHistory>, Problem> {
    let (_, said) = body::json::<ClaimLetters>(&api, &headers, body).await?;
    let brand = api.brand(said.brand.as_ref(), caller.principal.mode())?;
    let claim = {
        let mut conn = api.correspondence.db.read().await?;
        let found = case_files::claim(&mut conn, &brand, &said.claim_number).await?;
        found.ok_or_else(|| Problem::not_found("claim"))?
    };
    allow(sees(&caller, &claim.tin, LetterCategory::Claim, brand.mode(), false), "claim")?;
    let page = PageQuery { cursor: said.cursor, limit: said.limit };
    history(&api, &caller, About::Claim(&brand, &said.claim_number), &page).await
}

/// A letter that needs an answer and was not opened in time.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnreadLetter {
    message_id: MessageId,
    letter_id: Option<LetterId>,
    /// The practice's, all but its last digits hidden.
    tin: String,
    category: LetterCategory,
    r#type: MessageType,
    #[schema(value_type = String, format = DateTime)]
    published_at: Timestamp,
    /// When it was reported by an event.
    #[schema(value_type = Option<String>, format = DateTime)]
    reported_at: Option<Timestamp>,
}

/// A page of them, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnreadReport {
    letters: Vec<UnreadLetter>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// See which letters that need an answer nobody opened in time.
#[utoipa::path(get, path = "/v1/messages/unread-report", tag = "messages", params(PageQuery), responses((status = 200, body = UnreadReport)))]
pub async fn unread_report(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<UnreadReport>, Problem> {
    let Query(page) = query?;
    admit_to_all(&caller, Action::ReadUnread)?;
    let limit = page_of(&api, page.limit)?;
    let before: Option<(i64, MessageId)> = behind(page.cursor.as_deref())?;
    let before = before.as_ref().map(|(at, id)| (*at, id));
    let journey = &api.correspondence;
    let mut conn = journey.db.read().await?;
    let (mode, until) = (caller.principal.mode(), journey.unread_before());
    let mut rows = messages::unopened(&mut conn, mode, until, before, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| cursor(row.published_at.as_microsecond(), row.id.as_str()));
    let view = |row: Message| UnreadLetter {
        message_id: row.id,
        letter_id: row.letter_id,
        tin: row.tin.masked(),
        category: row.category,
        r#type: row.what,
        published_at: row.published_at,
        reported_at: row.reported_at,
    };
    Ok(Json(UnreadReport { letters: rows.into_iter().map(view).collect(), next }))
}

/// The caller's rights for a TIN.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnRights {
    tin: Tin,
    entitlements: Vec<Entitlement>,
    /// Whether the caller administers the TIN.
    access_manager: bool,
    /// The names of who does.
    #[schema(value_type = Vec<String>)]
    access_managers: Vec<Phi<String>>,
}

/// The caller's rights per TIN.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnEntitlements {
    /// None for services and for the payer's own people: they have scopes and roles.
    tins: Vec<OwnRights>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// See one's rights per TIN, and who can change them.
#[utoipa::path(get, path = "/v1/me/entitlements", tag = "access", params(PageQuery), responses((status = 200, body = OwnEntitlements)))]
pub async fn entitlements(
    State(api): State<Api>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<OwnEntitlements>, Problem> {
    let Query(page) = query?;
    let limit = page_of(&api, page.limit)?;
    // by its place: a TIN can be a person's number, and a cursor stands in an address
    let from = behind::<String>(page.cursor.as_deref())?.map_or(0, |(at, _)| usize::try_from(at).unwrap_or_default());
    let Principal::User { rights, .. } = &caller.principal else {
        return Ok(Json(OwnEntitlements { tins: Vec::new(), next: None }));
    };
    let count = usize::try_from(limit).unwrap_or_default();
    let mut conn = api.correspondence.db.read().await?;
    let mut tins = Vec::new();
    for (tin, own) in rights.iter().skip(from).take(count) {
        tins.push(OwnRights {
            tin: tin.clone(),
            entitlements: own.entitlements.iter().copied().collect(),
            access_manager: own.access_manager,
            access_managers: managers(&mut conn, tin).await?,
        });
    }
    let next = (from + count < rights.len()).then(|| cursor(i64::try_from(from + count).unwrap_or_default(), ""));
    Ok(Json(OwnEntitlements { tins, next }))
}

/// The names of who administers a TIN and may come in.
async fn managers(conn: &mut Conn, tin: &Tin) -> Result<Vec<Phi<String>>, DbError> {
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let part = users::of_tin(conn, tin, after.as_ref(), PART).await?;
        after = part.last().map(|(user, _)| user.id.clone());
        let full = i64::try_from(part.len()).unwrap_or_default() == PART;
        let of_part = part.into_iter().filter(|(user, own)| own.rights.access_manager && user.disabled_at.is_none());
        names.extend(of_part.map(|(user, _)| user.person.name));
        names.truncate(MANAGERS);
        if !full || names.len() == MANAGERS {
            return Ok(names);
        }
    }
}
