//! PNG: the chain of chunks from `IHDR` to `IEND`.

use super::{Walked, check_page, check_pages};
use crate::intake::sniff::finding::{Finding, Judged};
use crate::intake::sniff::policy::SniffPolicy;
use crate::intake::sniff::source::{Source, be32};
use crate::model::judgement::FileType;

/// Chunks of one file: encoders write a few thousand of 8 KiB at most for the files accepted here.
const CHUNKS: u32 = 100_000;

/// Walks the chunks to the end of `IEND`.
pub fn walk(source: &Source<'_>, policy: &SniffPolicy) -> Judged<Walked> {
    let damaged = || Finding::damaged(FileType::Png);
    let mut position = 8;
    let mut data_seen = false;
    for number in 0..CHUNKS {
        let header = source.take(position, 8)?.ok_or_else(damaged)?;
        let length = u64::from(be32(&header, 0).ok_or_else(damaged)?);
        let name = header.get(4..8).unwrap_or_default();
        let end = position + 12 + length;
        if end > source.len() || (number == 0) != (name == b"IHDR") || !name.iter().all(u8::is_ascii_alphabetic) {
            return Err(damaged().into());
        }
        match name {
            b"IHDR" => check_header(source, position + 8, length, policy)?,
            b"acTL" => {
                let frames = source.take(position + 8, 4)?.and_then(|b| be32(&b, 0)).unwrap_or(0);
                check_pages(u64::from(frames), policy)?;
            }
            b"IDAT" => data_seen = true,
            b"IEND" if data_seen && length == 0 => return Ok(Walked::plain(end)),
            b"IEND" => return Err(damaged().into()),
            _ => {}
        }
        position = end;
    }
    Err(damaged().into())
}

fn check_header(source: &Source<'_>, position: u64, length: u64, policy: &SniffPolicy) -> Judged<()> {
    let damaged = || Finding::damaged(FileType::Png);
    let header = source.take(position, 13)?.filter(|_| length == 13).ok_or_else(damaged)?;
    let (width, height) = be32(&header, 0).zip(be32(&header, 4)).ok_or_else(damaged)?;
    let depth = u64::from(header.get(8).copied().unwrap_or(0));
    let channels = match header.get(9) {
        Some(0 | 3) => 1,
        Some(4) => 2,
        Some(2) => 3,
        Some(6) => 4,
        _ => return Err(damaged().into()),
    };
    if width == 0 || height == 0 || !matches!(depth, 1 | 2 | 4 | 8 | 16) {
        return Err(damaged().into());
    }
    check_page(width.into(), height.into(), depth * channels, policy)
}
