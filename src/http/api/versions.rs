//! Versions as HTTP has them: what is answered carries its version as ETag, and who changes it sends it back.

use axum::http::{HeaderMap, header};

use crate::http::errors::Problem;
use crate::http::problems::Code;

/// A version as an ETag.
pub(super) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The version that the caller saw.
///
/// # Errors
/// 428 when it is not said; 412 when it is none that we gave out, so that it can't be the one that is there.
pub(super) fn if_match(headers: &HeaderMap) -> Result<i64, Problem> {
    let needed = || Problem::of(Code::VersionNeeded, "send If-Match with the ETag of what is to be changed");
    let told = headers.get(header::IF_MATCH).ok_or_else(needed)?.to_str().unwrap_or_default().trim();
    if told == "*" {
        return Err(needed());
    }
    let version = told.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(|text| text.parse().ok());
    version.ok_or_else(|| Problem::of(Code::VersionConflict, "If-Match is no ETag that was given out for it"))
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
