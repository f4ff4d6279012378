//! Resumable uploads over HTTP: tus 1.0 with creation, creation-with-upload, expiration, checksum and termination
//! (INT-30). What a request may do to an upload is asked of its submission, as for files.
//!
//! Left out on purpose:
//! - `X-HTTP-Method-Override`: a method that only the handler knows would pass by the guard's rules.
//! - Concatenation and deferred lengths: what would be refused in the end is to be refused before it is sent.
//!
//! A status that tus clients take as passing and try again (409, 423) is never given to what won't pass: a name that
//! is taken is 409 for a file, here it is 422.

pub mod answers;
pub mod headers;

use axum::body::{Body, HttpBody};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use self::answers::{CHECKSUM, LENGTH, METADATA, OFFSET, RESUMABLE, Refusal, told};
use self::headers::{HeaderError, Metadata};
use super::Api;
use super::body::{announced, media_type};
use super::files::file_name;
use super::incoming::Incoming;
use super::submissions::{parse, submission_for};
use crate::access::Caller;
use crate::db::uploads::{Upload, UploadState};
use crate::http::errors::Problem;
use crate::http::problems::Code;
use crate::intake::uploads::{Append, NewUpload, UploadError};
use crate::model::access::Action;
use crate::model::ids::{SubmissionId, UploadId};

/// The type of a body that holds bytes of an upload.
const BYTES: &str = "application/offset+octet-stream";

/// What is spoken here: tus 1.0 and its extensions.
#[utoipa::path(options, path = "/v1/submissions/{id}/uploads", tag = "resumable uploads",
    params(("id" = String, Path, description = "The submission's id")),
    responses((status = 200, description = "In headers", headers(("Tus-Version" = String), ("Tus-Extension" = String),
        ("Tus-Max-Size" = u64), ("Tus-Checksum-Algorithm" = String)))))]
pub async fn options(State(api): State<Api>) -> Response {
    answers::spoken(api.intake.plan.limits.largest())
}

/// Begin a resumable upload; with a body of `application/offset+octet-stream`, with its first bytes.
///
/// What would be refused in the end is refused here: a file that is too large, a name that is taken, a submission that
/// is full (413, 422).
#[utoipa::path(post, path = "/v1/submissions/{id}/uploads", tag = "resumable uploads",
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream", description = "Nothing, the first bytes or all of them"),
    params(("id" = String, Path, description = "The submission's id"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
        ("Upload-Length" = u64, Header, description = "The file's size in bytes"),
        ("Upload-Metadata" = String, Header, description = "`filename` and its value in Base64; more is kept and given back"),
        ("Upload-Checksum" = Option<String>, Header, description = "Of the body: `sha1` or `sha256`, and the digest in Base64")),
    responses((status = 201, description = "It is there, at Location", headers(("Location" = String), ("Upload-Offset" = u64),
        ("Upload-Expires" = String), ("Lettercase-Document" = String)))))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (empty, body) = (body.is_end_stream(), Incoming::of(&headers, body));
    speaks(&headers)?;
    let Path(id) = path?;
    let submission = open_to(&api, &caller, &id).await?;
    for (name, told) in [("upload-defer-length", "Upload-Defer-Length"), ("upload-concat", "Upload-Concat")] {
        if headers.contains_key(name) {
            return Err(HeaderError::NotOffered(told).into());
        }
    }
    let length_bytes = number(&headers, &LENGTH)?.ok_or(HeaderError::Missing("Upload-Length"))?;
    let metadata = one(&headers, &METADATA)?.unwrap_or_default();
    let read = Metadata::parse(metadata)?;
    let file_name = file_name(&api, read.file_name()?)?;
    let new = NewUpload {
        submission: &submission,
        owner: &caller.actor(),
        file_name: &file_name,
        length_bytes,
        metadata: std::str::from_utf8(metadata).ok(),
    };
    let upload = if holds_bytes(&headers) {
        let checksum = one(&headers, &CHECKSUM)?.map(headers::checksum).transpose()?;
        let _under_way = api.usage.upload(&caller.principal.actor())?;
        api.intake.create_upload_with(new, announced(&headers), checksum, body).await?
    } else if empty {
        api.intake.create_upload(new).await?
    } else {
        return Err(not_bytes().into());
    };
    wake(&api, &upload);
    Ok(told(StatusCode::CREATED, &upload).located().into_response())
}

/// How an upload stands: its offset is where it goes on.
#[utoipa::path(head, path = "/v1/submissions/{id}/uploads/{upload}", tag = "resumable uploads",
    params(("id" = String, Path, description = "The submission's id"), ("upload" = String, Path, description = "The upload's id"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`")),
    responses((status = 200, description = "In headers", headers(("Upload-Offset" = u64), ("Upload-Length" = u64),
        ("Upload-Metadata" = String), ("Upload-Expires" = String), ("Lettercase-Document" = String)))))]
pub async fn look(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    speaks(&headers)?;
    let (submission, id) = upload_in(&api, &caller, path).await?;
    let upload = api.intake.look_at_upload(&submission, &id).await.map_err(|error| match error {
        // the request that brought the last bytes is the one that is told why
        UploadError::Ended { state, reason, .. } => UploadError::Ended { state, reason, now: false },
        other => other,
    })?;
    wake(&api, &upload);
    Ok(told(StatusCode::OK, &upload).with_metadata().into_response())
}

/// Go on with an upload. With its last byte the document is made, and the answer names it.
///
/// What arrives before a connection breaks is kept, unless there is a checksum: then it is all or nothing.
#[utoipa::path(patch, path = "/v1/submissions/{id}/uploads/{upload}", tag = "resumable uploads",
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream", description = "The next bytes"),
    params(("id" = String, Path, description = "The submission's id"), ("upload" = String, Path, description = "The upload's id"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
        ("Upload-Offset" = u64, Header, description = "Where they go: where the last ones ended"),
        ("Upload-Checksum" = Option<String>, Header, description = "Of the body: `sha1` or `sha256`, and the digest in Base64")),
    responses((status = 204, description = "They are durable", headers(("Upload-Offset" = u64), ("Upload-Expires" = String),
        ("Lettercase-Document" = String)))))]
pub async fn append(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let body = Incoming::of(&headers, body);
    speaks(&headers)?;
    let (submission, id) = upload_in(&api, &caller, path).await?;
    if !holds_bytes(&headers) {
        return Err(not_bytes().into());
    }
    let append = Append {
        submission,
        upload: id,
        offset_bytes: number(&headers, &OFFSET)?.ok_or(HeaderError::Missing("Upload-Offset"))?,
        announced_bytes: announced(&headers),
        checksum: one(&headers, &CHECKSUM)?.map(headers::checksum).transpose()?,
    };
    let _under_way = api.usage.upload(&caller.principal.actor())?;
    let upload = api.intake.append_to_upload(append, body).await?;
    wake(&api, &upload);
    Ok(told(StatusCode::NO_CONTENT, &upload).into_response())
}

/// Give an upload up; what it brought is destroyed. A second time changes nothing.
#[utoipa::path(delete, path = "/v1/submissions/{id}/uploads/{upload}", tag = "resumable uploads",
    params(("id" = String, Path, description = "The submission's id"), ("upload" = String, Path, description = "The upload's id"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`")),
    responses((status = 204)))]
pub async fn terminate(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    speaks(&headers)?;
    let (submission, id) = upload_in(&api, &caller, path).await?;
    match api.intake.terminate_upload(&submission, &id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(UploadError::Conflict { .. }) => {
            let detail = "the upload became its document; take the file out of the submission instead";
            Err(Problem::of(Code::WrongState, detail).with_status(StatusCode::UNPROCESSABLE_ENTITY).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The submission in a path, if the caller may change it.
async fn open_to(api: &Api, caller: &Caller, id: &str) -> Result<SubmissionId, Problem> {
    let id = parse(id)?;
    let mut conn = api.intake.db.read().await?;
    Ok(submission_for(&mut conn, caller, Action::EditSubmission, &id).await?.id)
}

async fn upload_in(
    api: &Api,
    caller: &Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<(SubmissionId, UploadId), Problem> {
    let Path((submission, upload)) = path?;
    let submission = open_to(api, caller, &submission).await?;
    Ok((submission, upload.parse().map_err(|_| Problem::not_found("upload"))?))
}

/// A document that was made has work to be done.
fn wake(api: &Api, upload: &Upload) {
    if upload.state == UploadState::Complete {
        api.engine.wake();
    }
}

fn speaks(headers: &HeaderMap) -> Result<(), HeaderError> {
    headers::version(one(headers, &RESUMABLE)?)
}

/// The value of a header that may be there once.
fn one<'a>(headers: &'a HeaderMap, name: &answers::Name) -> Result<Option<&'a [u8]>, HeaderError> {
    let mut values = headers.get_all(&name.header).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(HeaderError::Repeated(name.told));
    }
    Ok(value.map(|value| value.as_bytes()))
}

fn number(headers: &HeaderMap, name: &answers::Name) -> Result<Option<u64>, HeaderError> {
    one(headers, name)?.map(|value| headers::bytes(name.told, value)).transpose()
}

fn holds_bytes(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|told| told == BYTES)
}

fn not_bytes() -> Problem {
    Problem::of(Code::UnsupportedMediaType, format!("the body must be {BYTES}"))
}
