//! Messages: what clamd answers, what a request says in its heads, its forms and its JSON, and identifiers.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::chosen;
use crate::access::secret::KeySecret;
use crate::digests::returns::report::{self, Said};
use crate::http::api::fuzzing as requests;
use crate::http::api::tus::headers::{self, HeaderError, Metadata};
use crate::model::document::FileName;
use crate::model::ids::{
    AttachmentControlNumber, Brand, CaseNumber, ClaimNumber, DocumentId, Issuer, MemberId, Npi, ReferenceNumber,
    Sha256, Subject, Tin,
};
use crate::model::judgement::FileType;
use crate::model::pages::{PageRange, take_apart};
use crate::outside::scanner::{Handover, Reply, parse_scan, parse_version};
use crate::outside::traces::Caller;

/// The first byte chooses the parser.
pub fn messages(data: &[u8]) {
    const OURS: u8 = 8;
    // behind all others, so that the seeds of those keep their numbers
    const RETURNED: u8 = OURS + requests::CHOICES;
    const TRACEPARENT: u8 = RETURNED + 1;
    let Some((choice, data)) = chosen(data, TRACEPARENT + 1) else { return };
    match choice {
        0 => scanned(data),
        1 => version(data),
        2 => metadata(data),
        3 => number(data),
        4 => drop(headers::checksum(data)),
        5 => with_text(data, secret),
        6 => with_text(data, identifier),
        7 => with_text(data, |text| {
            ranges(text);
            name(text);
        }),
        RETURNED => returned(data),
        TRACEPARENT => with_text(data, traceparent),
        other => requests::request(other - OURS, data),
    }
}

fn with_text(data: &[u8], each: impl Fn(&str)) {
    if let Ok(text) = std::str::from_utf8(data) {
        each(text);
    }
}

/// What is taken has every part in its place: another span can't be read from it.
fn traceparent(text: &str) {
    if let Some(caller) = Caller::parse(text) {
        assert!(text.len() >= 55 && text.is_char_boundary(55));
        let known = format!("00{}", &text[2..55]);
        assert_eq!(Caller::parse(&known), Some(caller));
    }
}

/// `Clean` is said only for the exact answer.
fn scanned(data: &[u8]) {
    let digits = |bytes: &[u8]| (1..=10).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
    for handover in [Handover::Stream, Handover::OpenFile] {
        let exact = match handover {
            Handover::Stream => data == b"stream: OK\0",
            Handover::OpenFile => {
                data.strip_prefix(b"fd[").and_then(|rest| rest.strip_suffix(b"]: OK\0")).is_some_and(digits)
            }
        };
        match parse_scan(data, handover) {
            Reply::Ok => assert!(exact, "clean by another answer"),
            Reply::Found(name) => {
                assert!(!name.is_empty() && name.len() < data.len() && name.bytes().all(|b| b.is_ascii_graphic()));
            }
            Reply::Error(text) => assert!(text.len() < data.len() && !text.chars().any(char::is_control)),
            Reply::Unknown(_) => assert!(!exact, "the exact answer is not known"),
        }
    }
}

fn version(data: &[u8]) {
    if let Some(version) = parse_version(data) {
        assert!(version.engine.starts_with("ClamAV ") && version.engine.len() < data.len());
        assert!(!version.engine.chars().any(char::is_control));
    }
}

fn metadata(data: &[u8]) {
    let Ok(metadata) = Metadata::parse(data) else { return };
    for key in ["filename", "name", "filetype"] {
        assert!(metadata.get(key).is_none_or(|value| value.len() < data.len()));
    }
    match metadata.file_name() {
        Ok(text) => name(text),
        Err(error) => assert!(matches!(error, HeaderError::NoFileName | HeaderError::FileName)),
    }
}

fn number(data: &[u8]) {
    if let Ok(number) = headers::bytes("Upload-Length", data) {
        let text = std::str::from_utf8(data).expect("digits are text").trim_start_matches('0');
        assert_eq!(if text.is_empty() { "0" } else { text }, number.to_string());
    }
}

fn secret(text: &str) {
    let Some(secret) = KeySecret::parse(text) else { return };
    assert_eq!(secret.reveal(), text);
    assert!(KeySecret::is_meant(text));
    assert_eq!(format!("{secret:?}"), "KeySecret(…)");
}

/// Whatever is an identifier is the same one when it is read again, and its refusal tells nothing of it.
fn identifier(text: &str) {
    fn one<T>(text: &str, most: usize)
    where
        T: FromStr<Err: Display> + Into<String> + Serialize + DeserializeOwned + PartialEq + Debug + Clone,
    {
        match text.parse::<T>() {
            Ok(id) => {
                let own: String = id.clone().into();
                assert!(!own.is_empty() && own.len() <= most && own.trim() == own, "{own:?}");
                assert_eq!(own.parse::<T>().ok().as_ref(), Some(&id), "read again it is another one");
                let json = serde_json::to_string(&id).expect("an identifier as JSON");
                assert_eq!(serde_json::from_str::<T>(&json).ok().as_ref(), Some(&id));
            }
            Err(error) => super::tells_no_value(&error.to_string()),
        }
    }
    one::<DocumentId>(text, 36);
    one::<Issuer>(text, 255);
    one::<Subject>(text, 255);
    one::<Brand>(text, 37);
    one::<Sha256>(text, 64);
    one::<Tin>(text, 9);
    one::<Npi>(text, 10);
    one::<ClaimNumber>(text, 64);
    one::<CaseNumber>(text, 64);
    one::<AttachmentControlNumber>(text, 64);
    one::<MemberId>(text, 64);
    one::<ReferenceNumber>(text, 13);
}

/// Ranges take a document apart exactly when each page is in one of them once.
fn ranges(text: &str) {
    let ranges: Vec<PageRange> = text.split_whitespace().take(16).filter_map(|range| range.parse().ok()).collect();
    for range in &ranges {
        assert!(range.first > 0 && range.first <= range.last);
        assert_eq!(range.to_string().parse().ok(), Some(*range));
    }
    for pages in [0, 1, 5] {
        let once = |page: u32| ranges.iter().filter(|range| (range.first..=range.last).contains(&page)).count() == 1;
        let within = ranges.iter().all(|range| range.last <= pages);
        let whole = ranges.len() >= 2 && within && (1..=pages).all(once);
        assert_eq!(take_apart(&ranges, pages).is_ok(), whole, "{ranges:?} of {pages}");
    }
}

/// What is kept of a mail that came back is codes, and bounded.
fn returned(data: &[u8]) {
    let Some(report) = report::read(data) else { return };
    assert!(report.ids.len() <= 20 && report.ids.iter().all(|id| id.len() <= 300));
    match &report.said {
        Said::Failed(status) => assert!(status.0 == 4 || status.0 == 5),
        Said::Complaint(kind) => assert!(kind.len() <= 14 && !kind.contains(super::VALUE_MARK)),
        Said::Underway => {}
    }
}

/// A file's name shows nothing that steers, and what is downloaded under it neither.
fn name(text: &str) {
    let Ok(name) = FileName::new(text) else { return };
    assert_eq!(name.reveal(), text);
    let shown = name.escaped();
    assert!(!shown.chars().any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}')));
    let _ = (name.reading_key(), FileType::from_file_name(text));
    requests::download(text);
}
