//! A ZIP archive's directory, read with caps before a byte is expanded. Readers disagree about damaged
//! archives, and what one reader skips another opens; so only archives on which all agree pass: entries that
//! lie one behind the other from the first byte to the directory, each named once and the same in both places,
//! and nothing behind the end. The `zip` crate's reader is refused here: it is lenient by design and reads the
//! whole directory before it can be asked how long it is.

use std::collections::HashSet;

use super::finding::{Finding, Judged};
use super::policy::SniffPolicy;
use super::source::{Source, find, le16, le32, le64, rfind};
use crate::model::judgement::ReasonCode;

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
/// Descriptors and padding between entries, in bytes; more could hide something.
const GAP: u64 = 64;

/// How an entry is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// By DEFLATE.
    Deflated,
}

/// One entry of an archive.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name as it stands there.
    pub name: String,
    /// How it is stored.
    pub method: Method,
    /// CRC-32 of its expanded bytes.
    pub crc32: u32,
    /// Bytes as stored.
    pub stored_bytes: u64,
    /// Bytes expanded, as declared.
    pub expanded_bytes: u64,
    /// Where its stored bytes begin.
    pub data_start: u64,
    header_start: u64,
    has_descriptor: bool,
}

/// Where a directory lies.
struct Directory {
    start: u64,
    len: u64,
    entries: u64,
    /// The position behind it: of the record of the end, 64-bit one first.
    end: u64,
}

/// Reads and checks the directory of an archive that fills `source` from its first byte to its last.
pub fn entries(source: &Source<'_>, policy: &SniffPolicy) -> Judged<Vec<Entry>> {
    let directory = locate(source)?;
    if directory.entries > policy.archive_entries {
        return Err(Finding::bomb("more parts").into());
    }
    let bytes = source.take(directory.start, directory.len)?.ok_or_else(damaged)?;
    let mut entries = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        if entries.len() as u64 >= policy.archive_entries {
            return Err(Finding::bomb("more parts").into());
        }
        let (entry, len) = central_entry(rest)?;
        entries.push(entry);
        rest = rest.get(len..).ok_or_else(damaged)?;
    }
    if entries.len() as u64 != directory.entries {
        return Err(damaged().into());
    }
    check_names(&entries)?;
    check_sizes(&entries, policy)?;
    check_layout(source, &mut entries, &directory)?;
    Ok(entries)
}

fn damaged() -> Finding {
    Finding::reject_as(
        "zip",
        ReasonCode::Damaged,
        "this file is cut off or damaged inside; open it where it was made, save it again and send the new file",
    )
}

fn polyglot() -> Finding {
    Finding::reject_as(
        "zip",
        ReasonCode::Polyglot,
        "this file has other data before, between or behind its parts; save it anew and send that file",
    )
}

fn locate(source: &Source<'_>) -> Judged<Directory> {
    let (start, tail) = source.tail(source.len(), 65_535 + 22)?;
    let at = rfind(&tail, END).ok_or_else(damaged)?;
    let record = tail.get(at..).unwrap_or_default();
    let comment = u64::from(le16(record, 20).ok_or_else(damaged)?);
    let position = start + at as u64;
    // A comment may hold anything, a second archive too; no office program writes one.
    if comment != 0 || position + 22 != source.len() {
        return Err(polyglot().into());
    }
    let numbers = le16(record, 10).zip(le32(record, 12)).zip(le32(record, 16));
    let ((entries, len), begins) = numbers.ok_or_else(damaged)?;
    let directory = if entries == u16::MAX || len == u32::MAX || begins == u32::MAX {
        locate_64(source, position)?
    } else {
        Directory { start: begins.into(), len: len.into(), entries: entries.into(), end: position }
    };
    match directory.start.checked_add(directory.len) {
        Some(end) if end == directory.end => Ok(directory),
        Some(end) if end < directory.end => Err(polyglot().into()),
        _ => Err(damaged().into()),
    }
}

/// The 64-bit record of the end, whose locator stands right before the short one.
fn locate_64(source: &Source<'_>, end_record: u64) -> Judged<Directory> {
    let locator = source.take(end_record.saturating_sub(20), 20)?.ok_or_else(damaged)?;
    let position = le64(&locator, 8).filter(|_| locator.starts_with(b"PK\x06\x07")).ok_or_else(damaged)?;
    let record = source.take(position, 56)?.filter(|r| r.starts_with(END_64)).ok_or_else(damaged)?;
    let numbers = le64(&record, 32).zip(le64(&record, 40)).zip(le64(&record, 48));
    let ((entries, len), start) = numbers.ok_or_else(damaged)?;
    Ok(Directory { start, len, entries, end: position })
}

/// The entry at the start of `bytes`, and the length of its record.
fn central_entry(bytes: &[u8]) -> Judged<(Entry, usize)> {
    let header = bytes.get(..46).filter(|header| header.starts_with(CENTRAL)).ok_or_else(damaged)?;
    let short = |at| le16(header, at).unwrap_or(0);
    let long = |at| le32(header, at).unwrap_or(0);
    let (name_len, extra_len) = (usize::from(short(28)), usize::from(short(30)));
    let len = 46 + name_len + extra_len + usize::from(short(32));
    let name = bytes.get(46..46 + name_len).ok_or_else(damaged)?;
    let extra = bytes.get(46 + name_len..46 + name_len + extra_len).ok_or_else(damaged)?;
    if short(8) & 0x2041 != 0 {
        return Err(Finding::encrypted("zip").into());
    }
    let method = match short(10) {
        0 => Method::Stored,
        8 => Method::Deflated,
        _ => return Err(unusual_method().into()),
    };
    let mut wide = wide_numbers(extra);
    let mut widen = |number: u32| match number {
        u32::MAX => wide.next().ok_or_else(damaged),
        number => Ok(u64::from(number)),
    };
    let (expanded_bytes, stored_bytes, header_start) = (widen(long(24))?, widen(long(20))?, widen(long(42))?);
    let entry = Entry {
        name: String::from_utf8_lossy(name).into_owned(),
        method,
        crc32: long(16),
        stored_bytes,
        expanded_bytes,
        data_start: 0,
        header_start,
        has_descriptor: short(8) & 8 != 0,
    };
    Ok((entry, len))
}

fn unusual_method() -> Finding {
    Finding::reject_as(
        "zip",
        ReasonCode::Damaged,
        "the parts of this file are compressed in a way no office program uses; open it, save it again and send the \
         new file",
    )
}

/// The 64-bit numbers of an entry's extra field 1, in order.
fn wide_numbers(mut extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut numbers = Vec::new();
    while let Some((id, len)) = le16(extra, 0).zip(le16(extra, 2)) {
        let end = 4 + usize::from(len);
        if id == 1 {
            let field = extra.get(4..end).unwrap_or_default();
            numbers.extend(field.chunks_exact(8).filter_map(|bytes| le64(bytes, 0)));
        }
        extra = extra.get(end..).unwrap_or_default();
    }
    numbers.into_iter()
}

fn check_names(entries: &[Entry]) -> Judged<()> {
    let mut seen = HashSet::new();
    let folded = |entry: &Entry| entry.name.trim_start_matches('/').replace('\\', "/").to_ascii_lowercase();
    if entries.iter().all(|entry| !entry.name.contains('\0') && seen.insert(folded(entry))) {
        return Ok(());
    }
    Err(damaged().into())
}

fn check_sizes(entries: &[Entry], policy: &SniffPolicy) -> Judged<()> {
    let total = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.expanded_bytes));
    if total > policy.expanded_bytes {
        return Err(Finding::bomb("more bytes when expanded").into());
    }
    for entry in entries {
        let most = entry.stored_bytes.saturating_mul(policy.expansion_ratio).max(policy.expansion_floor_bytes);
        if entry.expanded_bytes > policy.entry_bytes || entry.expanded_bytes > most {
            return Err(Finding::bomb("a part that grows to many times its size when expanded").into());
        }
        if entry.method == Method::Stored && entry.expanded_bytes != entry.stored_bytes {
            return Err(damaged().into());
        }
    }
    Ok(())
}

/// Checks that the entries lie one behind the other, and fills in where their data begin.
fn check_layout(source: &Source<'_>, entries: &mut [Entry], directory: &Directory) -> Judged<()> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|place| entries.get(*place).map(|entry| entry.header_start));
    let mut position = 0;
    for place in order {
        let Some(entry) = entries.get_mut(place) else { continue };
        if entry.header_start < position {
            return Err(Finding::bomb("parts that lie one over the other").into());
        }
        check_gap(source, position, entry.header_start)?;
        entry.data_start = local_entry(source, entry)?;
        position = entry.data_start.checked_add(entry.stored_bytes).ok_or_else(damaged)?;
        if entry.has_descriptor {
            position = position.checked_add(descriptor_len(source, position)?).ok_or_else(damaged)?;
        }
    }
    if position > directory.start {
        return Err(damaged().into());
    }
    check_gap(source, position, directory.start)
}

/// Bytes of a data descriptor: with its mark or without; its sizes are 32 bits wide in files this small, or 64
/// where the writer streamed.
fn descriptor_len(source: &Source<'_>, position: u64) -> Judged<u64> {
    let bytes = source.take(position, 4)?.unwrap_or_default();
    Ok(if bytes == b"PK\x07\x08" { 16 } else { 12 })
}

fn check_gap(source: &Source<'_>, from: u64, to: u64) -> Judged<()> {
    let gap = to.saturating_sub(from);
    if gap == 0 {
        return Ok(());
    }
    let blank = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    match source.take(from, gap)?.filter(|_| from > 0 && gap <= GAP) {
        Some(bytes) if blank(&bytes) || (gap <= 12 && find(&bytes, b"PK").is_none()) => Ok(()),
        _ => Err(polyglot().into()),
    }
}

/// Checks an entry's own header against the directory; the position its data begin at.
fn local_entry(source: &Source<'_>, entry: &Entry) -> Judged<u64> {
    let header = source.take(entry.header_start, 30)?.filter(|h| h.starts_with(LOCAL)).ok_or_else(damaged)?;
    let short = |at| le16(&header, at).unwrap_or(0);
    let name = source.take(entry.header_start + 30, short(26).into())?.ok_or_else(damaged)?;
    let method = match entry.method {
        Method::Stored => 0,
        Method::Deflated => 8,
    };
    if String::from_utf8_lossy(&name) != entry.name || short(8) != method {
        return Err(damaged().into());
    }
    if short(6) & 0x2041 != 0 {
        return Err(Finding::encrypted("zip").into());
    }
    Ok(entry.header_start + 30 + u64::from(short(26)) + u64::from(short(28)))
}

/// What kind of archive this is, as a short word, by the names of its parts.
pub fn kind(entries: &[Entry]) -> &'static str {
    let has = |prefix: &str| entries.iter().any(|entry| entry.name.starts_with(prefix));
    match () {
        () if has("[Content_Types].xml") => "ooxml",
        () if has("AndroidManifest.xml") => "apk",
        () if has("META-INF/container.xml") => "epub",
        () if has("mimetype") => "opendocument",
        () if has("META-INF/MANIFEST.MF") => "jar",
        () => "zip",
    }
}
