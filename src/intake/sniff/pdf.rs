//! A PDF's two ends: the signature at offset 0, and behind the last `%%EOF` nothing but padding. What lies
//! between is read by the child.

use super::finding::{Finding, Judged};
use super::image::{archive_ends_here, is_padding};
use super::source::{Source, find, rfind};
use crate::model::judgement::FileType;

const SIGNATURE: &[u8] = b"%PDF-";
/// How far from the start viewers look for the signature, in bytes.
pub const SIGNATURE_REACH: u64 = 1_024;
const END: &[u8] = b"%%EOF";
/// How far before the last byte that is no padding the end mark may stand, in bytes.
const END_REACH: u64 = 1_024;

/// Whether the file begins as a PDF.
pub fn begins(head: &[u8]) -> bool {
    head.starts_with(SIGNATURE)
}

/// Whether a viewer would open as a PDF what does not begin as one.
pub fn hides(source: &Source<'_>) -> std::io::Result<bool> {
    let head = source.head(SIGNATURE_REACH)?;
    let behind = find(&head, SIGNATURE).is_some_and(|at| at > 0);
    Ok(behind && rfind(&source.tail(source.len(), END_REACH)?.1, END).is_some())
}

/// Checks the end: present, last, and no archive's as well.
pub fn check_end(source: &Source<'_>) -> Judged<()> {
    if archive_ends_here(source)? {
        return Err(Finding::polyglot(FileType::Pdf).into());
    }
    let end = end_of_content(source)?;
    let (start, tail) = source.tail(end, END_REACH)?;
    let Some(mark) = rfind(&tail, END) else {
        return Err(without_end(source)?.into());
    };
    let after = start + (mark + END.len()) as u64;
    if after < end && !is_blank(source, after, end)? {
        return Err(what_follows(source, after)?.into());
    }
    if find(&tail, b"startxref").is_none() {
        return Err(Finding::damaged(FileType::Pdf).into());
    }
    Ok(())
}

/// No end mark where it belongs: cut off, unless a whole document ends further up and something follows it.
fn without_end(source: &Source<'_>) -> std::io::Result<Finding> {
    let mut last_end = None;
    let mut carry: Vec<u8> = Vec::new();
    source.each_chunk(0, |position, bytes| {
        let before = position - carry.len() as u64;
        carry.extend_from_slice(bytes);
        if let Some(at) = rfind(&carry, END) {
            last_end = Some(before + at as u64);
        }
        carry.drain(..carry.len().saturating_sub(END.len() - 1));
        true
    })?;
    match last_end {
        Some(end) => what_follows(source, end + END.len() as u64),
        None => Ok(Finding::damaged(FileType::Pdf)),
    }
}

/// What is wrong with a document that goes on behind an end mark. An object: it is an update or a linearised
/// file that was cut off. Anything else is foreign.
fn what_follows(source: &Source<'_>, after: u64) -> std::io::Result<Finding> {
    let next = source.slice(after, 64).head(64)?;
    let text = next.trim_ascii_start();
    let is_object = text.first().is_some_and(u8::is_ascii_digit) || text.starts_with(b"%");
    Ok(if is_object { Finding::damaged(FileType::Pdf) } else { Finding::polyglot(FileType::Pdf) })
}

/// The position behind the last byte that is no padding.
fn end_of_content(source: &Source<'_>) -> std::io::Result<u64> {
    let mut end = source.len();
    while end > 0 {
        let (start, tail) = source.tail(end, 64 << 10)?;
        match tail.iter().rposition(|b| !matches!(b, 0 | 0xFF | b' ' | b'\t' | b'\r' | b'\n' | 0x1A)) {
            Some(at) => return Ok(start + at as u64 + 1),
            None => end = start,
        }
    }
    Ok(0)
}

fn is_blank(source: &Source<'_>, start: u64, end: u64) -> std::io::Result<bool> {
    is_padding(&source.slice(start, end - start), 0)
}
