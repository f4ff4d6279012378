//! Bodies that are not files: read within their bounds, and complained about without a value of theirs.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::Api;
use crate::http::errors::{Problem, without_values};
use crate::http::problems::Code;

/// Reads a JSON body, as its bytes and as what they say.
///
/// # Errors
/// 413 when it is too large, 415 when it says that it is no JSON, 400 when it is not of the form wanted.
pub async fn json<T: DeserializeOwned>(api: &Api, headers: &HeaderMap, body: Body) -> Result<(Vec<u8>, T), Problem> {
    says_json(headers)?;
    let bytes = small(api, body).await?;
    let value = parse(&bytes)?;
    Ok((bytes, value))
}

/// Reads a JSON body, if there is one.
///
/// # Errors
/// As for [`json`].
pub async fn json_or_none<T: DeserializeOwned>(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<Option<T>, Problem> {
    says_json(headers)?;
    let bytes = small(api, body).await?;
    if bytes.is_empty() { Ok(None) } else { parse(&bytes).map(Some) }
}

/// The media type that a body says it has, in lower case and without parameters; empty where it can't be read.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let told = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or_default();
    Some(told.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// How many bytes the body has by its sender's word. HTTP has been parsed by then: it is a number or not there.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses a body that says that it is something else.
fn says_json(headers: &HeaderMap) -> Result<(), Problem> {
    if media_type(headers).is_some_and(|essence| essence != "application/json" && !essence.ends_with("+json")) {
        return Err(Problem::of(Code::UnsupportedMediaType, "the body must be application/json"));
    }
    Ok(())
}

/// Reads a body that holds no file.
///
/// # Errors
/// 413 when it is too large, 400 when it broke off.
pub async fn small(api: &Api, body: Body) -> Result<Vec<u8>, Problem> {
    within(api.plan.limits.json_bytes, body).await
}

/// Reads a body of at most so many bytes.
///
/// # Errors
/// As for [`small`].
pub(super) async fn within(limit: usize, body: Body) -> Result<Vec<u8>, Problem> {
    match axum::body::to_bytes(body, limit).await {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(error) if is_too_large(&error) => {
            Err(Problem::of(Code::BodyTooLarge, format!("the request's body may have at most {limit} bytes")))
        }
        Err(_) => Err(Problem::bad("the body broke off")),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if cause.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Parses JSON.
///
/// # Errors
/// What is wrong with it and where, without a value of it: values can be health data.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // a list of a form's values, in their order, would be taken for the form
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Problem::bad("the body must be a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let what = text.rsplit_once(" at line").and_then(|(said, _)| without_values(said));
        let what = what.unwrap_or_else(|| "it is not the JSON this request wants".to_owned());
        Problem::bad(format!("the body can't be read: {what} (line {}, column {})", error.line(), error.column()))
    })
}
