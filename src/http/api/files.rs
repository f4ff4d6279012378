//! Files of a submission: one by one as raw bodies, or several in one multipart.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::multipart::Field;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use sha2::{Digest, Sha256 as Hasher};

use super::Api;
use super::body::announced;
use super::incoming::Incoming;
use super::submissions::{parse, refused, submission_for};
use crate::access::Caller;
use crate::db::documents::{self, Document};
use crate::http::errors::Problem;
use crate::http::idempotency::{self, Claim};
use crate::http::problems::Code;
use crate::intake::receive::{Arriving, Destination, Receipt, ReceiveError};
use crate::model::access::Action;
use crate::model::document::{DocumentState, FileName};
use crate::model::ids::{DocumentId, SubmissionId};

/// Add a file: the body is the file, the last part of the path is its name.
///
/// 201 means durable: the file survives the crash of any process.
#[utoipa::path(put, path = "/v1/submissions/{id}/files/{name}", tag = "files",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The file"),
    params(("id" = String, Path, description = "The submission's id"), ("name" = String, Path, description = "The file's name"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "Makes a repeated request answer the same")),
    responses((status = 201, body = Receipt)))]
pub async fn raw(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Path((id, name)) = path?;
    let submission = open_to(&api, &caller, &id).await?;
    let file_name = file_name(&api, &name)?;
    let route = format!("PUT /v1/submissions/{submission}/files");
    let mut claim = idempotency::claim(&api, &caller, &headers, &route).await?;
    let _under_way = api.usage.upload(&caller.principal.actor())?;
    let mut chunks = Incoming::of(&headers, body);
    let file = Arrival { submission: &submission, name: &file_name, announced_bytes: announced(&headers) };
    let receipt = match take(&api, &caller, claim.as_mut(), file, &mut chunks).await {
        Ok(receipt) => receipt,
        Err(problem) => return Err(refused(claim, problem).await),
    };
    if let Some(claim) = claim {
        claim.finish().await?;
    }
    api.engine.wake();
    Ok((StatusCode::CREATED, Json(receipt)))
}

/// Add files: each part with a file name is one.
///
/// What was taken before a part was refused stays taken.
#[utoipa::path(post, path = "/v1/submissions/{id}/files", tag = "files",
    request_body(content = FilesForm, content_type = "multipart/form-data"),
    params(("id" = String, Path, description = "The submission's id"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "Makes a repeated request answer the same")),
    responses((status = 201, body = Vec<Receipt>)))]
pub async fn multipart(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    parts: Result<Parts, Problem>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let submission = open_to(&api, &caller, &id).await?;
    let route = format!("POST /v1/submissions/{submission}/files");
    let claim = idempotency::claim(&api, &caller, &headers, &route).await?;
    let under_way = api.usage.upload(&caller.principal.actor())?;
    let mut parts = parts?;
    let taken = take_all(&api, &caller, claim.as_ref(), &submission, &mut parts).await;
    drop(under_way);
    let receipts = match taken {
        Ok(receipts) => receipts,
        Err(problem) => return Err(refused(claim, problem).await),
    };
    if let Some(claim) = claim {
        claim.finish().await?;
    }
    Ok((StatusCode::CREATED, Json(receipts)))
}

/// Files as parts of a form.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a form that is read part by part")]
pub struct FilesForm {
    /// Each a file with its name.
    #[schema(value_type = Vec<String>, format = Binary)]
    files: Vec<Vec<u8>>,
}

/// Takes every file of a form into the submission.
pub(super) async fn take_all(
    api: &Api,
    caller: &Caller,
    claim: Option<&Claim>,
    submission: &SubmissionId,
    parts: &mut Parts,
) -> Result<Vec<Receipt>, Problem> {
    let mut receipts: Vec<Receipt> = Vec::new();
    while let Some(part) = parts.next().await? {
        let Some(name) = part.file_name().map(ToOwned::to_owned) else {
            if names_a_file(&part) {
                let detail =
                    "a part's file name can't be read: it must be UTF-8, as `filename=\"…\"`, and not `filename*`";
                return Err(Problem::of(Code::BadFileName, detail));
            }
            continue;
        };
        let file_name = file_name(api, &name)?;
        let mut own = match claim {
            Some(claim) => Some(claim.part(receipts.len()).await?),
            None => None,
        };
        let file = Arrival { submission, name: &file_name, announced_bytes: None };
        match take(api, caller, own.as_mut(), file, &mut part.map(|chunk| chunk).boxed()).await {
            Ok(receipt) => receipts.push(receipt),
            Err(problem) => return Err(refused(own, problem).await),
        }
        if let Some(own) = own {
            own.finish().await?;
        }
        api.engine.wake();
    }
    if receipts.is_empty() {
        let detail = "no part of the multipart body is a file; give each file's part a filename";
        return Err(Problem::of(Code::NoFiles, detail));
    }
    Ok(receipts)
}

/// Take a file out of a submission that was not sent yet, by its name or its document's id.
#[utoipa::path(delete, path = "/v1/submissions/{id}/files/{name}", tag = "files",
    params(("id" = String, Path, description = "The submission's id"), ("name" = String, Path, description = "The file's name, or its document's id")),
    responses((status = 204)))]
pub async fn withdraw(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path((id, name)) = path?;
    let submission = open_to(&api, &caller, &id).await?;
    let key = FileName::new(&name).map(|name| name.reading_key()).ok();
    let file = {
        let mut conn = api.intake.db.read().await?;
        let files = documents::of_submission(&mut conn, &submission).await?;
        // one that was taken out before is taken out: a second time changes nothing
        let wanted = |d: &&Document| d.id.as_str() == name || Some(d.file_name.reading_key()) == key;
        let standing = files.iter().filter(wanted).find(|d| d.state != DocumentState::Withdrawn);
        standing.or_else(|| files.iter().find(wanted)).map(|d| d.id.clone())
    };
    let file = file.ok_or_else(|| Problem::not_found("file"))?;
    api.intake.withdraw_file(&caller.actor(), &submission, &file).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The submission in a path, if the caller may change it.
async fn open_to(api: &Api, caller: &Caller, id: &str) -> Result<SubmissionId, Problem> {
    let id = parse(id)?;
    let mut conn = api.intake.db.read().await?;
    Ok(submission_for(&mut conn, caller, Action::EditSubmission, &id).await?.id)
}

/// A file on its way in.
struct Arrival<'a> {
    submission: &'a SubmissionId,
    name: &'a FileName,
    announced_bytes: Option<u64>,
}

/// Takes a file, or compares it with what an earlier request under the same key made of it.
async fn take<S, E>(
    api: &Api,
    caller: &Caller,
    claim: Option<&mut Claim>,
    file: Arrival<'_>,
    chunks: &mut S,
) -> Result<Receipt, Problem>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
{
    let mut document = None;
    if let Some(claim) = claim {
        if let Some(made) = made_before(api, claim).await? {
            return compare(api, claim, &made, &file, chunks).await;
        }
        document = claim.resource.parse::<DocumentId>().ok();
    }
    let arriving = Arriving {
        to: Destination::Submission(file.submission),
        document: document.as_ref(),
        file_name: file.name,
        announced_bytes: file.announced_bytes,
        received_at: None,
        actor: &caller.actor(),
    };
    Ok(api.intake.receive(arriving, chunks).await?)
}

/// The document that an earlier request under this key made. One that it only began is left behind.
async fn made_before(api: &Api, claim: &mut Claim) -> Result<Option<Document>, Problem> {
    let Some(id) = claim.resource.parse::<DocumentId>().ok().filter(|_| claim.again) else { return Ok(None) };
    let known = {
        let mut conn = api.intake.db.read().await?;
        documents::get(&mut conn, &id).await?
    };
    match known {
        Some(document) if document.accepted_at.is_some() => Ok(Some(document)),
        Some(_) => claim.begin_anew().await.map(|()| None),
        None => Ok(None),
    }
}

/// Reads a file that was taken before, to see that it is the same.
async fn compare<S, E>(
    api: &Api,
    claim: &Claim,
    made: &Document,
    file: &Arrival<'_>,
    chunks: &mut S,
) -> Result<Receipt, Problem>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
{
    let mut hasher = Hasher::new();
    let mut read: u64 = 0;
    let size_bytes = made.size_bytes.unwrap_or_default();
    let patience = api.intake.plan.receive.grace();
    loop {
        let next = tokio::time::timeout(patience, chunks.next()).await.map_err(|_| ReceiveError::TooSlow)?;
        let chunk = match next {
            None => break,
            Some(chunk) => chunk.map_err(|_| ReceiveError::Broken)?,
        };
        read += chunk.len() as u64;
        if read > size_bytes {
            return Err(claim.differs());
        }
        hasher.update(&chunk);
    }
    let sha256 = hex::encode(hasher.finalize());
    let same_place = made.submission_id.as_ref() == Some(file.submission);
    match &made.sha256 {
        Some(known) if known.as_str() == sha256 && same_place && made.file_name == *file.name => {
            Ok(Receipt { document: made.id.clone(), size_bytes, sha256: known.clone() })
        }
        _ => Err(claim.differs()),
    }
}

/// Whether a part has a file name in any spelling. One that could not be read must not make its file a field, which
/// is passed over: the sender would be told that all was taken.
pub(super) fn names_a_file(part: &Field<'_>) -> bool {
    let Some(head) = part.headers().get(header::CONTENT_DISPOSITION) else { return false };
    let (head, word) = (head.as_bytes().to_ascii_lowercase(), b"filename");
    let begins = |at: usize| at > 0 && (head[at - 1] == b';' || head[at - 1].is_ascii_whitespace());
    head.windows(word.len()).enumerate().any(|(at, found)| found == word && begins(at))
}

/// The parts of a form, each waited for with patience and counted.
pub struct Parts {
    form: Multipart,
    body: Incoming,
    left: usize,
    most: usize,
    /// Bytes that may come until the next part is there: the head of a part, and one before that is no file. The
    /// reader of forms holds a head in memory until it is whole, however long it gets.
    between: usize,
    patience: Duration,
}

impl FromRequest<Api> for Parts {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let body = Incoming::of(&head.headers, body);
        let form = Multipart::from_request(Request::from_parts(head, Body::from_stream(body.clone())), api).await?;
        let limits = &api.plan.limits;
        let (most, between) = (limits.multipart_parts, limits.field_bytes + limits.header_bytes);
        Ok(Self { form, body, left: most, most, between, patience: api.intake.plan.receive.grace() })
    }
}

impl Parts {
    /// The next part.
    pub(super) async fn next(&mut self) -> Result<Option<Field<'_>>, Problem> {
        let (body, between, before) = (&self.body, self.between, self.body.came());
        let mut next = pin!(self.form.next_field());
        let bounded = std::future::poll_fn(|task| match next.as_mut().poll(task) {
            Poll::Ready(part) => Poll::Ready(part.map_err(Problem::from)),
            Poll::Pending if body.came() - before > between => Poll::Ready(Err(Problem::of(
                Code::BodyTooLarge,
                format!("a part that is no file and the head of the next may have at most {between} bytes together"),
            ))),
            Poll::Pending => Poll::Pending,
        });
        let part = tokio::time::timeout(self.patience, bounded).await;
        let part = part.map_err(|_| ReceiveError::TooSlow)??;
        if part.is_some() {
            self.left = self.left.checked_sub(1).ok_or_else(|| {
                Problem::of(Code::TooManyParts, format!("a multipart body may have at most {} parts", self.most))
            })?;
        }
        Ok(part)
    }
}

/// A file's name as it was sent.
pub(super) fn file_name(api: &Api, raw: &str) -> Result<FileName, Problem> {
    let most = api.plan.limits.file_name_bytes;
    if raw.len() > most {
        return Err(Problem::of(Code::BadFileName, format!("a file name may have at most {most} bytes")));
    }
    FileName::new(raw).map_err(|error| Problem::of(Code::BadFileName, error.to_string()))
}
