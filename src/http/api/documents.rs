//! Documents: what they are and where, and the bytes of the clean ones.

use std::io::SeekFrom;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::versions::etag;
use super::view::{DocumentView, Eyes, of_document, record_of_case};
use super::{Api, submissions};
use crate::access::Caller;
use crate::db::contents::{self, ContentState};
use crate::db::documents::{self, Document};
use crate::db::{Conn, DbError, Stamp, case_files, submissions as rows};
use crate::engine::stage::StageError;
use crate::http::errors::Problem;
use crate::http::guard::allow;
use crate::http::problems::Code;
use crate::intake::review::disclosures;
use crate::model::access::{Action, Answer, Record, Target, may};
use crate::model::document::{Access, DocumentState};
use crate::model::ids::DocumentId;

const DOCUMENT: &str = "document";

/// See what a document is and where it is.
#[utoipa::path(get, path = "/v1/documents/{id}", tag = "documents", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = DocumentView, headers(("ETag" = String, description = "its version, for If-Match")))))]
pub async fn look(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(id) = path?;
    let (document, own) = {
        let mut conn = api.intake.db.read().await?;
        document_for(&mut conn, &caller, Action::ReadDocument, &id).await?
    };
    if !own {
        tell(&api, &caller, &document, Access::Shown).await?;
    }
    let mut conn = api.intake.db.read().await?;
    let view = of_document(&mut conn, &document, Eyes::Of(&caller.principal)).await?;
    Ok(([(header::ETAG, etag(document.version))], Json(view)))
}

/// Download a clean document.
///
/// Only bytes that were scanned clean are given out. A part can be asked for by `Range`.
#[utoipa::path(get, path = "/v1/documents/{id}/content", tag = "documents",
    params(("id" = String, Path, description = "Its id"), ("Range" = Option<String>, Header, description = "bytes=FROM-TO, one range")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"), (status = 304)))]
pub async fn content(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(id) = path?;
    let not_clean = || Problem::of(Code::NotClean, "the document is not, or not yet, known to be clean");
    let (document, content) = {
        let mut conn = api.intake.db.read().await?;
        let (document, _) = document_for(&mut conn, &caller, Action::DownloadDocument, &id).await?;
        let sha256 = document.sha256.clone().filter(|_| has_content(document.state)).ok_or_else(not_clean)?;
        let content = contents::get(&mut conn, &document.brand, &sha256).await?;
        (document, content.filter(|content| content.state == ContentState::Clean).ok_or_else(not_clean)?)
    };
    let etag = format!("\"{}\"", content.sha256);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let range = range(&headers, content.size_bytes, &etag)?;
    // The bytes are compared with their hash before one of them is given out.
    let file = api.intake.content_of(&content.brand, &content.sha256, content.version_id.as_deref()).await;
    let file = file.map_err(|error| away(&error))?;
    tell(&api, &caller, &document, Access::Downloaded).await?;
    let (status, from, to) = match range {
        None => (StatusCode::OK, 0, content.size_bytes),
        Some((from, to)) => (StatusCode::PARTIAL_CONTENT, from, to),
    };
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(from)).await.map_err(|_| Problem::unavailable("the spool"))?;
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(file.take(to - from), 64 << 10)));
    *response.status_mut() = status;
    let media_type = document.file_type.map_or("application/octet-stream", |file_type| file_type.media_type());
    let head = response.headers_mut();
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // what strangers sent never runs in the page it is opened from
    head.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    for (name, value) in [
        (header::ETAG, Some(etag)),
        (header::CONTENT_DISPOSITION, Some(disposition(document.file_name.reveal()))),
        (header::CONTENT_RANGE, range.map(|(from, to)| format!("bytes {from}-{}/{}", to - 1, content.size_bytes))),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            head.insert(name, value);
        }
    }
    Ok(response)
}

/// Whether the bytes of a document in this state are, or may be, among the clean ones.
const fn has_content(state: DocumentState) -> bool {
    matches!(
        state,
        DocumentState::Stored
            | DocumentState::Matched
            | DocumentState::NeedsReview
            | DocumentState::Unmatched
            | DocumentState::Split
            | DocumentState::Returned
    )
}

fn away(error: &StageError) -> Problem {
    tracing::error!(error = %error, "content could not be read");
    Problem::unavailable("the object store")
}

/// Writes down that the caller saw or got the document: who did is asked when a match turns out wrong (OPS-08, OPS-14).
pub(super) async fn tell(api: &Api, caller: &Caller, document: &Document, how: Access) -> Result<(), Problem> {
    tell_all(api, caller, &[document], how).await
}

/// The same of several at once.
pub(super) async fn tell_all(api: &Api, caller: &Caller, documents: &[&Document], how: Access) -> Result<(), Problem> {
    let actor = caller.actor();
    let stamp = Stamp { ctx: &api.intake.ctx, actor: &actor };
    let mut tx = api.intake.db.begin().await?;
    for document in documents {
        disclosures::note(&mut tx, stamp, document, how).await?;
    }
    Ok(tx.commit().await.map_err(DbError::from)?)
}

/// The document of that id, if the caller may do this to it, and whether the caller sent it: the one place where
/// access to documents is asked. It can be had by who sent it, and by who has to do with the case it is on.
///
/// # Errors
/// 404 when it is not there or not for this caller.
pub(super) async fn document_for(
    conn: &mut Conn,
    caller: &Caller,
    action: Action,
    id: &str,
) -> Result<(Document, bool), Problem> {
    allow(may(&caller.principal, action, &Target::Route), DOCUMENT)?;
    let id: DocumentId = id.parse().map_err(|_| Problem::not_found(DOCUMENT))?;
    let document = documents::get(conn, &id).await?.ok_or_else(|| Problem::not_found(DOCUMENT))?;
    let (answer, own) = answer_on(conn, caller, action, &document).await?;
    allow(answer, DOCUMENT)?;
    Ok((document, own))
}

/// Whether the caller may do this to the document, and whether the caller sent it.
pub(super) async fn answer_on(
    conn: &mut Conn,
    caller: &Caller,
    action: Action,
    document: &Document,
) -> Result<(Answer, bool), DbError> {
    let case = match &document.case_id {
        Some(case) => case_files::get(conn, case).await?,
        None => None,
    };
    let sensitive = match &case {
        Some(case) => case.sensitive,
        // as long as it may belong to such a case it is kept like one of it
        None => case_files::proposes_sensitive(conn, document.id.as_str()).await?,
    };
    let submission = match &document.submission_id {
        Some(submission) => rows::get(conn, submission).await?,
        None => None,
    };
    if let Some(submission) = &submission {
        let sent = Record { sensitive, ..submissions::record_of(submission) };
        if may(&caller.principal, action, &Target::Record(sent)) == Answer::Yes {
            return Ok((Answer::Yes, submission.owner == caller.principal.actor()));
        }
    }
    let record = match &case {
        Some(case) => record_of_case(case),
        // it came alone: until it has a case it is nobody's but the mailroom's
        None => Record {
            owner: None,
            tin: document.said.as_ref().and_then(|said| said.tin.as_ref()),
            kind: None,
            mode: document.brand.mode(),
            sensitive,
        },
    };
    Ok((may(&caller.principal, action, &Target::Record(record)), false))
}

/// The part asked for, as (first byte, byte behind the last). Several parts, or another unit, are not served as parts:
/// all is sent (RFC 9110, section 14.2).
///
/// # Errors
/// 416 when there are no such bytes.
pub(super) fn range(headers: &HeaderMap, size: u64, etag: &str) -> Result<Option<(u64, u64)>, Problem> {
    let Some(text) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else { return Ok(None) };
    if headers.get(header::IF_RANGE).is_some_and(|known| known.as_bytes() != etag.as_bytes()) {
        return Ok(None);
    }
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')) else { return Ok(None) };
    let (from, to) = (from.trim(), to.trim());
    let number = |text: &str| text.parse::<u64>().ok();
    let part = match (number(from), number(to)) {
        (Some(from), Some(to)) if from <= to => (from, to.saturating_add(1).min(size)),
        (Some(from), None) if to.is_empty() => (from, size),
        (None, Some(last)) if from.is_empty() => (size.saturating_sub(last), size),
        _ => return Ok(None),
    };
    if part.0 < part.1 {
        return Ok(Some(part));
    }
    Err(Problem::of(Code::BadRange, format!("the document has {size} bytes")))
}

/// The name a download is saved under (RFC 6266): as the sender wrote it, without what a file system or a header could
/// trip over.
pub(super) fn disposition(name: &str) -> String {
    let safe: String = name
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| {
            let steers = c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            if steers || "\"<>:|?*".contains(c) { '_' } else { c }
        })
        .collect();
    let safe = safe.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let safe = if safe.is_empty() { "document" } else { safe };
    let ascii: String = safe.chars().map(|c| if c.is_ascii() && c != '%' { c } else { '_' }).collect();
    let encoded: String = safe
        .bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_part_of_the_bytes_or_all_of_them() {
        for (text, expected) in [
            ("bytes=0-9", Some(Some((0, 10)))),
            ("bytes=90-", Some(Some((90, 100)))),
            ("bytes=-10", Some(Some((90, 100)))),
            ("bytes=-1000", Some(Some((0, 100)))),
            ("bytes=95-1000", Some(Some((95, 100)))),
            ("bytes=100-", None),
            ("bytes=-0", None),
            ("bytes=9-0", Some(None)),
            ("bytes=0-1,5-6", Some(None)),
            ("lines=0-1", Some(None)),
            ("bytes=a-b", Some(None)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(text));
            assert_eq!(range(&headers, 100, "\"x\"").ok(), expected, "{text}");
            headers.insert(header::IF_RANGE, HeaderValue::from_static("\"y\""));
            assert_eq!(range(&headers, 100, "\"x\"").ok(), Some(None), "{text}: of another version");
        }
    }

    #[test]
    fn a_download_has_a_name_that_steers_nothing() {
        for (name, expected) in [
            ("letter.pdf", "attachment; filename=\"letter.pdf\"; filename*=UTF-8''letter.pdf"),
            ("a\r\nX: y.pdf", "attachment; filename=\"a__X_ y.pdf\"; filename*=UTF-8''a__X_%20y.pdf"),
            ("../../etc/passwd", "attachment; filename=\"passwd\"; filename*=UTF-8''passwd"),
            ("\u{202e}fdp.exe", "attachment; filename=\"_fdp.exe\"; filename*=UTF-8''_fdp.exe"),
            ("Käse 100%.pdf", "attachment; filename=\"K_se 100_.pdf\"; filename*=UTF-8''K%C3%A4se%20100%25.pdf"),
            ("...", "attachment; filename=\"document\"; filename*=UTF-8''document"),
        ] {
            assert_eq!(disposition(name), expected);
        }
    }
}
