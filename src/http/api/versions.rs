//! Versions of things as ETags (RFC 9110, section 13.1): what is answered carries its version, and what is changed must
//! be what the caller saw.

use axum::http::{HeaderMap, HeaderName, header};

use crate::access::{Expected, ManageError};
use crate::http::errors::Problem;
use crate::http::problems::Code;

/// What no thing's version is: an ETag that is none of ours matches nothing.
const NONE_OF_OURS: i64 = i64::MIN;

/// A version as an ETag.
pub(super) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The header that tells the version of what is answered.
pub(super) fn tagged(version: i64) -> [(HeaderName, String); 1] {
    [(header::ETAG, etag(version))]
}

/// What the caller saw of a thing that it may also change unseen.
///
/// # Errors
/// 428 for `If-Match: *`, which says nothing; 400 for an `If-None-Match` that is not `*`.
pub(super) fn seen(headers: &HeaderMap) -> Result<Expected, Problem> {
    if let Some(value) = headers.get(header::IF_MATCH) {
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Err(needed());
        }
        let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
        return Ok(Expected::Version(version.unwrap_or(NONE_OF_OURS)));
    }
    match headers.get(header::IF_NONE_MATCH) {
        None => Ok(Expected::Any),
        Some(value) if value.as_bytes() == b"*" => Ok(Expected::Absent),
        Some(_) => Err(Problem::bad("If-None-Match can only be * here: nothing is to be there yet")),
    }
}

/// What the caller saw of a thing that it is about to change.
///
/// # Errors
/// 428 when the caller does not say.
pub(super) fn seen_before(headers: &HeaderMap) -> Result<Expected, Problem> {
    match seen(headers)? {
        Expected::Any => Err(needed()),
        expected => Ok(expected),
    }
}

/// The version that the caller saw of a thing that is there.
///
/// # Errors
/// 428 when it is not said; 412 when it is none that we gave out, so that it can't be the one that is there.
pub(super) fn if_match(headers: &HeaderMap) -> Result<i64, Problem> {
    match seen_before(headers)? {
        Expected::Version(version) if version != NONE_OF_OURS => Ok(version),
        Expected::Version(_) | Expected::Absent => {
            Err(Problem::of(Code::VersionConflict, "If-Match is no ETag that was given out for it"))
        }
        Expected::Any => Err(needed()),
    }
}

fn needed() -> Problem {
    Problem::of(Code::VersionNeeded, "send If-Match with the ETag of what is to be changed")
}

/// A refusal, told by what was expected: that something is there already is no conflict of versions.
pub(super) fn refused(error: ManageError, expected: Expected) -> Problem {
    match (&error, expected) {
        (ManageError::Conflict { what, .. }, Expected::Absent) => {
            Problem::of(Code::Exists, format!("such a thing is there already: {what}"))
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_comes_back_as_it_was_given_out() {
        for (text, expected) in [
            (etag(3), Ok(3)),
            ("3".to_owned(), Err("version_conflict")),
            ("W/\"3\"".to_owned(), Err("version_conflict")),
            ("\"x\"".to_owned(), Err("version_conflict")),
            ("*".to_owned(), Err("version_needed")),
        ] {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, text.parse().unwrap())]);
            assert_eq!(if_match(&headers).map_err(|problem| problem.code), expected, "{text}");
        }
        assert_eq!(if_match(&HeaderMap::new()).map_err(|problem| problem.code), Err("version_needed"));
    }
}
