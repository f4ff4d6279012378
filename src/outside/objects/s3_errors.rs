//! What an S3 server's answers mean to us: the one place that knows its codes.

use std::fmt::Display;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::error::{ObjectError, Trouble};

/// Longest part of a server's own words that gets into an error.
const WORDS_MAX: usize = 200;

/// Turns the SDK's error into ours.
pub(super) fn told<E>(doing: &'static str, on: impl Display, error: SdkError<E, HttpResponse>) -> ObjectError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match &error {
        SdkError::ServiceError(answer) => {
            let (status, code) = (answer.raw().status().as_u16(), answer.err().code().unwrap_or_default());
            let words: String = answer.err().message().unwrap_or_default().chars().take(WORDS_MAX).collect();
            let request = answer.raw().headers().get("x-amz-request-id").unwrap_or("-");
            let cause = format!("the server answered {status} {code} {words} (request {request})");
            class(status, code)(Trouble::new(doing, on, cause))
        }
        SdkError::TimeoutError(_) => ObjectError::Timeout(Trouble::new(doing, on, DisplayErrorContext(&error))),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            ObjectError::Timeout(Trouble::new(doing, on, DisplayErrorContext(&error)))
        }
        SdkError::ConstructionFailure(_) => {
            ObjectError::Misconfigured(Trouble::new(doing, on, DisplayErrorContext(&error)))
        }
        _ => ObjectError::Unavailable(Trouble::new(doing, on, DisplayErrorContext(&error))),
    }
}

/// The kind of error an answer is, by its code and, where that is unknown or missing (HEAD), by its status.
fn class(status: u16, code: &str) -> fn(Trouble) -> ObjectError {
    match code {
        "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" => {
            return ObjectError::Mismatch;
        }
        "RequestTimeout" => return ObjectError::Timeout,
        "NoSuchBucket"
        | "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "InvalidBucketName"
        | "KMS.NotFoundException"
        | "RequestTimeTooSkewed" => return ObjectError::Misconfigured,
        "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" => return ObjectError::Full,
        // New credentials come from the chain in time.
        "ExpiredToken" | "IncompleteBody" => return ObjectError::Unavailable,
        _ => {}
    }
    match status {
        // The source of a copy changed between look and copy.
        412 => ObjectError::Mismatch,
        404 => ObjectError::NotFound,
        401 | 403 => ObjectError::Denied,
        408 => ObjectError::Timeout,
        507 => ObjectError::Full,
        409 | 429 => ObjectError::Unavailable,
        300..=499 | 501 => ObjectError::Misconfigured,
        _ => ObjectError::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_retryable_when_time_may_heal_it() {
        for (status, code, retryable) in [
            (503, "SlowDown", true),
            (500, "InternalError", true),
            (429, "", true),
            (507, "XMinioStorageFull", true),
            (400, "RequestTimeout", true),
            (400, "ExpiredToken", true),
            (400, "BadDigest", false),
            (403, "AccessDenied", false),
            (404, "NoSuchKey", false),
            (404, "NoSuchBucket", false),
            (412, "PreconditionFailed", false),
            (501, "NotImplemented", false),
            (301, "PermanentRedirect", false),
        ] {
            let error = class(status, code)(Trouble::new("put", "incoming/x", "said so"));
            assert_eq!(error.is_retryable(), retryable, "{status} {code}");
        }
    }
}
