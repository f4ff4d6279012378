//! What is held of the parsers of requests, whatever comes. For `crate::fuzzing`, which can't see them.
#![expect(clippy::expect_used, clippy::panic, reason = "a finding is a panic")]

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;

use super::documents::{disposition, range};
use super::files::names_a_file;
use super::lists::{cursor, read_cursor};
use super::submissions::OpenRequest;
use super::{body, versions};
use crate::access::Expected;
use crate::http::guard::bearer;

/// How many parsers there are.
pub(crate) const CHOICES: u8 = 7;

/// Calls the parser chosen.
pub(crate) fn request(choice: u8, data: &[u8]) {
    match choice {
        0 => part_of_a_file(data),
        1 => place_in_a_list(data),
        2 => token(data),
        3 => version(data),
        4 => media(data),
        5 => json(data),
        6 => form(data),
        other => panic!("there is no parser {other}"),
    }
}

/// A head of one line; `None` where HTTP would not let it pass.
fn with(name: HeaderName, value: &[u8]) -> Option<HeaderMap> {
    Some(HeaderMap::from_iter([(name, HeaderValue::from_bytes(value).ok()?)]))
}

fn part_of_a_file(data: &[u8]) {
    let Some(headers) = with(header::RANGE, data) else { return };
    for size in [0, 1, 100, u64::MAX] {
        match range(&headers, size, "\"1\"") {
            Ok(None) => {}
            Ok(Some((from, to))) => assert!(from < to && to <= size, "{from} to {to} of {size}"),
            Err(problem) => assert_eq!(problem.code, "range_not_satisfiable"),
        }
    }
}

fn place_in_a_list(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok((at, id)) = read_cursor(text) {
        assert!(id.len() < text.len() && !id.contains('\0'));
        assert_eq!(read_cursor(&cursor(at, &id)).ok(), Some((at, id)), "read again it is another place");
    }
}

fn token(data: &[u8]) {
    let Some(headers) = with(header::AUTHORIZATION, data) else { return };
    if let Some(token) = bearer(&headers) {
        assert!(!token.is_empty() && token.trim() == token && token.len() < data.len());
    }
}

fn version(data: &[u8]) {
    let Some(headers) = with(header::IF_MATCH, data) else { return };
    if let Ok(version) = versions::if_match(&headers) {
        let again = with(header::IF_MATCH, versions::etag(version).as_bytes()).expect("an ETag of ours");
        assert_eq!(versions::if_match(&again).ok(), Some(version));
    }
    let Some(headers) = with(header::IF_NONE_MATCH, data) else { return };
    assert!(!matches!(versions::seen(&headers), Ok(Expected::Absent)) || data == b"*");
}

fn media(data: &[u8]) {
    if let Some(headers) = with(header::CONTENT_TYPE, data) {
        let told = body::media_type(&headers).expect("there is one");
        assert!(told.len() <= data.len() && !told.contains(';') && told.trim() == told);
    }
    if let Some(headers) = with(header::CONTENT_LENGTH, data) {
        assert!(
            body::announced(&headers)
                .is_none_or(|_| data.len() <= 64 || data.starts_with(b"0") || data.starts_with(b"+"))
        );
    }
}

/// No value comes back, and what is taken is written as it was meant.
fn json(data: &[u8]) {
    match body::parse::<OpenRequest>(data) {
        Err(problem) => assert!(!problem.detail.contains('~'), "a value is told: {}", problem.detail),
        Ok(request) => {
            let own = serde_json::to_vec(&request).expect("a request as JSON");
            let again: OpenRequest = body::parse(&own).expect("what we write we read");
            assert_eq!(serde_json::to_vec(&again).expect("a request as JSON"), own);
        }
    }
}

/// The parts of a form: one with a file's name in any spelling is never passed over as a field. The body comes in two.
fn form(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    let chunks = [first, second].map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)));
    let body = Body::from_stream(futures::stream::iter(chunks));
    let head = (header::CONTENT_TYPE, "multipart/form-data; boundary=X");
    let request = Request::builder().header(head.0, head.1).body(body).expect("a request");
    futures::executor::block_on(async {
        let mut form = Multipart::from_request(request, &()).await.expect("a boundary");
        while let Ok(Some(part)) = form.next_field().await {
            let shown =
                part.headers().get(header::CONTENT_DISPOSITION).map(|head| head.as_bytes().to_ascii_lowercase());
            let plain = shown.is_some_and(|head| head.windows(11).any(|word| word == b"; filename="));
            assert!(part.file_name().is_some() || !plain || names_a_file(&part), "a file is taken for a field");
            if let Some(name) = part.file_name() {
                download(name);
            }
            if part.bytes().await.is_err() {
                break;
            }
        }
    });
}

/// A download under a name: one line that every head may hold, whose name leads nowhere and steers nothing.
pub(crate) fn download(name: &str) {
    let line = disposition(name);
    assert!(HeaderValue::from_str(&line).is_ok_and(|line| line.to_str().is_ok()), "no line of a head");
    let (ascii, encoded) = line
        .strip_prefix("attachment; filename=\"")
        .and_then(|rest| rest.split_once("\"; filename*=UTF-8''"))
        .expect("both spellings");
    for shown in [ascii, encoded] {
        assert!(!shown.is_empty() && !shown.contains(['"', '/', '\\', ';', '\r', '\n']) || shown == ascii, "{shown}");
    }
    assert!(!ascii.contains(['"', '/', '\\', '\r', '\n']) && !ascii.starts_with('.'));
    let mut bytes = Vec::new();
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        let digits = (byte == b'%').then(|| rest.by_ref().take(2).collect::<Vec<u8>>());
        bytes.push(digits.map_or(byte, |digits| hex::decode(digits).expect("two digits")[0]));
    }
    let meant = String::from_utf8(bytes).expect("UTF-8, as it says");
    assert!(!meant.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | '"' | '\u{202a}'..='\u{202e}')));
}
