//! Errors as RFC 9457 problem details: a stable code for programs, a sentence for a person, and never a value
//! that was sent.

use axum::Json;
use axum::extract::multipart::MultipartRejection;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::db::DbError;
use crate::intake::receive::ReceiveError;
use crate::intake::submit::SubmitError;
use crate::model::judgement::ReasonCode;

/// A problem to be answered.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// Always `about:blank`: the code tells the kind.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The stable code.
    pub code: String,
    /// What is wrong with what, and what to do.
    pub detail: String,
    #[serde(skip)]
    retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem of that status, code and sentence.
    pub fn new(status: StatusCode, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: code.into(),
            detail: detail.into(),
            retry_after_s: None,
        }
    }

    /// Something of ours is away: the request can be repeated.
    fn unavailable(what: &str) -> Self {
        let detail = format!("{what} can't be used now; nothing was taken, send the request again");
        Self { retry_after_s: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
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
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), "bad_path", "a part of the path can't be read: it must be percent-encoded UTF-8")
    }
}

impl From<MultipartRejection> for Problem {
    fn from(rejection: MultipartRejection) -> Self {
        let detail = "the body must be multipart/form-data, and its Content-Type must name the boundary";
        Self::new(rejection.status(), "bad_multipart", detail)
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        // Logged here, once, at the boundary; the caller gets no inside of ours.
        tracing::error!(error = %error, source = ?std::error::Error::source(&error).map(ToString::to_string), "database");
        if error.is_passing() {
            Self::unavailable("the database")
        } else {
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an error of ours; it is in the log")
        }
    }
}

impl From<ReceiveError> for Problem {
    fn from(error: ReceiveError) -> Self {
        let said = error.to_string();
        match error {
            ReceiveError::NoSubmission => Self::new(StatusCode::NOT_FOUND, "not_found", said),
            ReceiveError::Closed { .. } => Self::new(StatusCode::CONFLICT, "submission_closed", said),
            ReceiveError::TooSlow => Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", said),
            ReceiveError::Broken => Self::new(StatusCode::BAD_REQUEST, ReasonCode::Incomplete.as_str(), said),
            ReceiveError::Refused(reason) => {
                let status = match reason.code {
                    ReasonCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    ReasonCode::DuplicateName | ReasonCode::TooManyFiles => StatusCode::CONFLICT,
                    _ => StatusCode::UNPROCESSABLE_ENTITY,
                };
                Self::new(status, reason.code.as_str(), reason.message)
            }
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

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let said = error.to_string();
        match error {
            SubmitError::NoSubmission => Self::new(StatusCode::NOT_FOUND, "not_found", said),
            SubmitError::State { .. } => Self::new(StatusCode::CONFLICT, "wrong_state", said),
            SubmitError::NoFiles => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no_files", said),
            SubmitError::Db(error) => error.into(),
        }
    }
}
