//! Errors as RFC 9457 problem details: a stable code for programs, a sentence for a person, and never a value
//! that was sent.

use axum::Json;
use axum::extract::multipart::{MultipartError, MultipartRejection};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::problems::{Code, title};
use crate::access::{AuthError, ManageError};
use crate::cases::status::StatusError;
use crate::db::DbError;
use crate::delivery::LetterError;
use crate::engine::bulk::LoadError;
use crate::intake::receive::ReceiveError;
use crate::intake::review::ReviewError;
use crate::intake::room::NoRoom;
use crate::intake::submit::SubmitError;
use crate::model::judgement::ReasonCode;

/// A problem to be answered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the code tells the kind.
    #[schema(value_type = String)]
    r#type: &'static str,
    /// The status in words.
    #[schema(value_type = String)]
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The stable code.
    #[schema(value_type = String)]
    pub code: &'static str,
    /// What is wrong with what, and what to do. It never holds a value that was sent.
    pub detail: String,
    /// The request's id, under which more is in our log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem of that code and sentence.
    pub fn of(code: Code, detail: impl Into<String>) -> Self {
        let status = code.status();
        Self {
            r#type: "about:blank",
            title: title(status),
            status: status.as_u16(),
            code: code.as_str(),
            detail: detail.into(),
            request_id: None,
            retry_after_s: None,
        }
    }

    /// The same with a status that the code alone does not tell.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self.title = title(status);
        self
    }

    /// The same, to be sent again after a while.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_s = Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self
    }

    /// Whether the same request would be refused again: nothing passing stood in its way.
    pub const fn is_final(&self) -> bool {
        self.status < 500 && self.retry_after_s.is_none() && self.status != 408
    }

    /// It is not there, or not for this caller: nobody is told which.
    pub fn not_found(what: &str) -> Self {
        Self::of(Code::NotFound, format!("there is no such {what}"))
    }

    /// The request can't be read.
    pub fn bad(detail: impl Into<String>) -> Self {
        Self::of(Code::BadRequest, detail)
    }

    /// A load ended before its end. That its rows can be loaded again is what makes it harmless.
    fn broken_off(code: Code) -> Self {
        let detail = "the load broke off by an error of ours; rows may have been loaded, send the file again";
        Self::of(code, detail).retry_after(Duration::from_secs(5))
    }

    /// Something of ours is away: the request can be repeated.
    pub fn unavailable(what: &str) -> Self {
        let detail = format!("{what} can't be used now; nothing was taken, send the request again");
        Self::of(Code::Unavailable, detail).retry_after(Duration::from_secs(5))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = self.retry_after_s;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::of(Code::BadPath, "a part of the path can't be read: it must be percent-encoded UTF-8")
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        let what = without_values(&rejection.body_text());
        let what = what.unwrap_or_else(|| "a parameter is not of its form".to_owned());
        Self::bad(format!("the query can't be read: {what}"))
    }
}

/// What serde says is wrong with a form, if it can be said without anything that was sent: not even the name of a
/// field that is not ours. What stands at the end of its sentences is ours, what they quote before need not be.
pub(super) fn without_values(text: &str) -> Option<String> {
    let unknown = "unknown field `";
    if text.contains(unknown)
        && let Some((_, wanted)) = text.rsplit_once("`, expected ")
    {
        return Some(format!("unknown field, expected {wanted}"));
    }
    for start in ["missing field `", "duplicate field `"] {
        let at = text.rfind(start);
        let name = at.and_then(|at| text[at + start.len()..].strip_suffix('`'));
        if let Some(name) = name.filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) {
            return Some(format!("{start}{name}`"));
        }
    }
    let rule = text.rfind("not a ").filter(|_| !text.contains(['"', '`']))?;
    Some(text[rule..].to_owned())
}

impl From<MultipartRejection> for Problem {
    fn from(_: MultipartRejection) -> Self {
        let detail = "the body must be multipart/form-data, and its Content-Type must name the boundary";
        Self::of(Code::BadMultipart, detail)
    }
}

impl From<MultipartError> for Problem {
    fn from(error: MultipartError) -> Self {
        let detail = "the multipart body can't be read: its boundary, a part's head or its end is broken";
        let problem = Self::of(Code::BadMultipart, detail);
        if error.status().is_client_error() { problem.with_status(error.status()) } else { problem }
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        // Logged here, once, at the boundary; the caller gets no inside of ours.
        tracing::error!(error = %error, source = ?std::error::Error::source(&error).map(ToString::to_string), "database");
        if error.is_passing() {
            Self::unavailable("the database")
        } else {
            Self::of(Code::Internal, "an error of ours; it is in the log")
        }
    }
}

impl From<ReceiveError> for Problem {
    fn from(error: ReceiveError) -> Self {
        let said = error.to_string();
        match error {
            ReceiveError::NoSubmission => Self::of(Code::NotFound, said),
            ReceiveError::Closed { .. } => Self::of(Code::SubmissionClosed, said),
            ReceiveError::TooSlow => Self::of(Code::TooSlow, said),
            ReceiveError::Broken => Self::of(Code::File(ReasonCode::Incomplete), said),
            ReceiveError::Refused(reason) => Self::of(Code::File(reason.code), reason.message),
            ReceiveError::NoRoom(no_room) => no_room.into(),
            ReceiveError::Spool(source) => {
                tracing::error!(error = %source, "spool");
                Self::unavailable("the spool")
            }
            ReceiveError::Store(source) => {
                tracing::error!(error = %source, "object store");
                Self::unavailable("the object store")
            }
            ReceiveError::Db(error) => error.into(),
        }
    }
}

impl From<NoRoom> for Problem {
    fn from(no_room: NoRoom) -> Self {
        let said = no_room.to_string();
        match no_room {
            NoRoom::Spool { retry_after } | NoRoom::Queue { retry_after } => {
                Self::of(Code::Busy, said).retry_after(retry_after)
            }
            NoRoom::Disk(source) => {
                tracing::error!(error = %source, "spool");
                Self::unavailable("the spool")
            }
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let said = error.to_string();
        match error {
            SubmitError::NoSubmission | SubmitError::NoFile => Self::of(Code::NotFound, said),
            SubmitError::State { .. } => Self::of(Code::WrongState, said),
            SubmitError::NoFiles => Self::of(Code::NoFiles, said),
            SubmitError::Db(error) => error.into(),
        }
    }
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Self {
        let said = error.to_string();
        match error {
            ReviewError::NoDocument | ReviewError::NoCase | ReviewError::NoDeadLetter => Self::of(Code::NotFound, said),
            ReviewError::State { .. } => Self::of(Code::WrongState, said),
            ReviewError::Conflict { .. } => Self::of(Code::VersionConflict, said),
            ReviewError::NotHolder => Self::of(Code::Held, said),
            ReviewError::NotProposed
            | ReviewError::CantRefuse { .. }
            | ReviewError::NotReleasable { .. }
            | ReviewError::Ranges(_)
            | ReviewError::CantSplit(_) => Self::of(Code::Unprocessable, said),
            ReviewError::Store(why) => {
                tracing::error!(error = why, "a decision met a store that failed");
                Self::unavailable("the object store")
            }
            // somebody else decided in the same moment
            ReviewError::Db(DbError::Stale { .. }) => {
                Self::of(Code::VersionConflict, "it has changed meanwhile; look at it again")
            }
            ReviewError::Db(error) => error.into(),
        }
    }
}

impl From<LetterError> for Problem {
    fn from(error: LetterError) -> Self {
        let said = error.to_string();
        match error {
            LetterError::NoLetter | LetterError::NoHold | LetterError::NoTin => Self::of(Code::NotFound, said),
            LetterError::State(..) | LetterError::Superseded | LetterError::Held => Self::of(Code::WrongState, said),
            LetterError::Exists => Self::of(Code::Exists, said),
            LetterError::Conflict(_) => Self::of(Code::VersionConflict, said),
            LetterError::Invalid(_) => Self::of(Code::Unprocessable, said),
            LetterError::Db(error) => error.into(),
        }
    }
}

impl From<StatusError> for Problem {
    fn from(error: StatusError) -> Self {
        let said = error.to_string();
        match error {
            StatusError::NoCase => Self::of(Code::NotFound, said),
            StatusError::UnknownStatus | StatusError::OtherLetter => Self::of(Code::Unprocessable, said),
            StatusError::Conflict => Self::of(Code::VersionConflict, said),
            StatusError::Same => Self::of(Code::WrongState, said),
            StatusError::Db(error) => error.into(),
        }
    }
}

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        let said = error.to_string();
        match error {
            ManageError::Missing(_) => Self::of(Code::NotFound, said),
            ManageError::Conflict { .. } => Self::of(Code::VersionConflict, said),
            ManageError::Beyond(_) => Self::of(Code::Forbidden, said),
            ManageError::Invalid(_) => Self::of(Code::Unprocessable, said),
            ManageError::Db(error) => error.into(),
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            // the reader's own sentence could quote the file
            LoadError::Csv(_) => {
                Self::of(Code::Unprocessable, "the CSV can't be read: its first line must hold the field names")
            }
            LoadError::Read(source) => {
                tracing::error!(error = %source, "a spooled load could not be read");
                Self::broken_off(Code::Unavailable)
            }
            LoadError::Db(error) => {
                let passing = error.is_passing();
                tracing::error!(error = %error, "a load broke off");
                Self::broken_off(if passing { Code::Unavailable } else { Code::Internal })
            }
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let said = error.to_string();
        match error {
            AuthError::Unknown => Self::of(Code::Unauthenticated, said),
            AuthError::Expired => Self::of(Code::KeyExpired, said),
            AuthError::Revoked => Self::of(Code::KeyRevoked, said),
            AuthError::NoUser | AuthError::Disabled => Self::of(Code::NoUser, said),
            AuthError::NotActAs => Self::of(Code::Forbidden, said),
            AuthError::Issuer => Self::unavailable("the issuer of logins"),
            AuthError::Db(error) => error.into(),
        }
    }
}
