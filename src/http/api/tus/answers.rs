//! What tus requests are answered with.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::fmt::rfc2822::DateTimePrinter;

use super::headers::{HeaderError, VERSION};
use crate::db::uploads::{Upload, UploadState};
use crate::http::errors::Problem;
use crate::http::problems::Code;
use crate::intake::uploads::UploadError;
use crate::model::judgement::{Reason, ReasonCode};

/// A header of the protocol, and its name as people write it.
pub(super) struct Name {
    pub(super) header: HeaderName,
    pub(super) told: &'static str,
}

const fn name(header: &'static str, told: &'static str) -> Name {
    Name { header: HeaderName::from_static(header), told }
}

pub(super) const RESUMABLE: Name = name("tus-resumable", "Tus-Resumable");
pub(super) const OFFSET: Name = name("upload-offset", "Upload-Offset");
pub(super) const LENGTH: Name = name("upload-length", "Upload-Length");
pub(super) const METADATA: Name = name("upload-metadata", "Upload-Metadata");
pub(super) const CHECKSUM: Name = name("upload-checksum", "Upload-Checksum");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const SPOKEN: HeaderName = HeaderName::from_static("tus-version");
/// The document that an upload became.
const DOCUMENT: HeaderName = HeaderName::from_static("lettercase-document");

/// The extensions offered.
const EXTENSIONS: &str = "creation,creation-with-upload,expiration,checksum,termination";
const ALGORITHMS: &str = "sha1,sha256";
/// When a sender that is locked out may come again.
const LOCKED: Duration = Duration::from_secs(1);
/// When a sender with too many uploads under way may come again.
const UNDER_WAY: Duration = Duration::from_secs(60);

/// Whether a route is one of these.
pub fn is_at(path: &str) -> bool {
    path.starts_with("/v1/submissions/{id}/uploads")
}

/// Every answer names the version, refusals by the guard too, and the answer to another version the ones there are.
pub fn mark(response: &mut Response) {
    let refused = response.status() == StatusCode::PRECONDITION_FAILED;
    let headers = response.headers_mut();
    headers.insert(RESUMABLE.header, HeaderValue::from_static(VERSION));
    if refused {
        headers.insert(SPOKEN, HeaderValue::from_static(VERSION));
    }
}

/// What is spoken here.
pub(super) fn spoken(largest_bytes: u64) -> Response {
    let headers = [
        (SPOKEN, HeaderValue::from_static(VERSION)),
        (HeaderName::from_static("tus-extension"), HeaderValue::from_static(EXTENSIONS)),
        (HeaderName::from_static("tus-max-size"), HeaderValue::from(largest_bytes)),
        (HeaderName::from_static("tus-checksum-algorithm"), HeaderValue::from_static(ALGORITHMS)),
    ];
    (StatusCode::OK, headers).into_response()
}

/// An upload as an answer tells it.
pub(super) struct Told<'a> {
    status: StatusCode,
    upload: &'a Upload,
    headers: HeaderMap,
}

/// How an upload stands.
pub(super) fn told(status: StatusCode, upload: &Upload) -> Told<'_> {
    let mut headers = HeaderMap::new();
    headers.insert(OFFSET.header, HeaderValue::from(upload.offset_bytes));
    headers.insert(LENGTH.header, HeaderValue::from(upload.length_bytes));
    if upload.state == UploadState::Complete {
        add(&mut headers, DOCUMENT, upload.document_id.as_str());
    } else if let Ok(expires) = DateTimePrinter::new().timestamp_to_rfc9110_string(&upload.expires_at) {
        add(&mut headers, EXPIRES, &expires);
    }
    Told { status, upload, headers }
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl Told<'_> {
    /// With its address.
    pub(super) fn located(mut self) -> Self {
        let at = format!("/v1/submissions/{}/uploads/{}", self.upload.submission_id, self.upload.id);
        add(&mut self.headers, header::LOCATION, &at);
        self
    }

    /// With what its sender said of it.
    pub(super) fn with_metadata(mut self) -> Self {
        if let Some(metadata) = &self.upload.metadata {
            add(&mut self.headers, METADATA.header, metadata.reveal());
        }
        self
    }
}

impl IntoResponse for Told<'_> {
    fn into_response(self) -> Response {
        (self.status, self.headers).into_response()
    }
}

/// A problem, and where the upload goes on.
#[derive(Debug)]
pub struct Refusal {
    problem: Problem,
    offset_bytes: Option<u64>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.problem.into_response();
        if let Some(offset_bytes) = self.offset_bytes {
            response.headers_mut().insert(OFFSET.header, HeaderValue::from(offset_bytes));
        }
        response
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, offset_bytes: None }
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Problem::from(rejection).into()
    }
}

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Self {
        let code = match error {
            HeaderError::Version => Code::TusVersion,
            HeaderError::NoFileName | HeaderError::FileName => Code::BadFileName,
            _ => Code::BadRequest,
        };
        Problem::of(code, error.to_string()).into()
    }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        let offset_bytes = match &error {
            UploadError::Conflict { offset_bytes }
            | UploadError::Broken { offset_bytes }
            | UploadError::TooSlow { offset_bytes } => Some(*offset_bytes),
            _ => None,
        };
        Self { problem: problem(error), offset_bytes }
    }
}

fn problem(error: UploadError) -> Problem {
    let said = error.to_string();
    let closed = StatusCode::UNPROCESSABLE_ENTITY;
    match error {
        UploadError::NotFound => Problem::not_found("upload"),
        UploadError::Closed { .. } => Problem::of(Code::SubmissionClosed, said).with_status(closed),
        UploadError::Refused(reason) => refused(reason),
        UploadError::TooManyUnderWay { .. } => Problem::of(Code::TooManyUploads, said).retry_after(UNDER_WAY),
        UploadError::Ended { reason: Some(reason), now: true, .. } => refused(reason),
        UploadError::Ended { state: UploadState::Closed, now: true, .. } => {
            Problem::of(Code::SubmissionClosed, "the submission takes no more files").with_status(closed)
        }
        UploadError::Ended { reason: Some(reason), .. } => {
            Problem::of(Code::UploadGone, format!("{said}: {}", reason.message))
        }
        UploadError::Ended { .. } => Problem::of(Code::UploadGone, said),
        UploadError::Locked => Problem::of(Code::UploadLocked, said).retry_after(LOCKED),
        UploadError::Conflict { .. } => Problem::of(Code::OffsetConflict, said),
        UploadError::ChecksumMismatch => Problem::of(Code::ChecksumMismatch, said),
        UploadError::TooLong { .. } => Problem::of(Code::UploadTooLong, said),
        UploadError::PartTooSmall { .. } => Problem::of(Code::PieceTooSmall, said),
        UploadError::TooManyParts { .. } => Problem::of(Code::TooManyPieces, said),
        UploadError::Broken { .. } => Problem::of(Code::File(ReasonCode::Incomplete), said),
        UploadError::TooSlow { .. } => Problem::of(Code::TooSlow, said),
        UploadError::Pending { retry_after_s } => {
            Problem::of(Code::UploadPending, said).retry_after(Duration::from_secs(retry_after_s.into()))
        }
        UploadError::NoRoom(no_room) => no_room.into(),
        UploadError::Spool(source) => {
            tracing::error!(error = %source, "spool");
            Problem::unavailable("the spool")
        }
        UploadError::Store(source) => {
            tracing::error!(error = %source, "object store");
            Problem::unavailable("the object store")
        }
        UploadError::Db(error) => error.into(),
    }
}

/// A file that is not taken. Nothing of it passes by itself, so none of it is a conflict.
fn refused(reason: Reason) -> Problem {
    let status = match reason.code {
        ReasonCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::of(Code::File(reason.code), reason.message).with_status(status)
}
