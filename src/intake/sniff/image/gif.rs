//! GIF: the chain of blocks from the header to the trailer.

use super::{Walked, check_page, check_pages};
use crate::intake::sniff::finding::{Finding, Judged};
use crate::intake::sniff::policy::SniffPolicy;
use crate::intake::sniff::source::{Source, le16};
use crate::model::judgement::FileType;

const BLOCKS: u32 = 100_000;

/// Walks the blocks to the trailer byte.
pub fn walk(source: &Source<'_>, policy: &SniffPolicy) -> Judged<Walked> {
    let damaged = || Finding::damaged(FileType::Gif);
    let head = source.take(0, 13)?.ok_or_else(damaged)?;
    check_size(&head, 6, policy)?;
    let mut position = 13 + table_len(head.get(10).copied());
    let mut frames = 0;
    for _ in 0..BLOCKS {
        let kind = source.take(position, 1)?.ok_or_else(damaged)?;
        position = match kind.first() {
            Some(0x21) => skip_sub_blocks(source, position + 2)?,
            Some(0x2C) => {
                frames += 1;
                check_pages(frames, policy)?;
                let descriptor = source.take(position, 10)?.ok_or_else(damaged)?;
                check_size(&descriptor, 5, policy)?;
                skip_sub_blocks(source, position + 11 + table_len(descriptor.get(9).copied()))?
            }
            Some(0x3B) if frames > 0 => return Ok(Walked::plain(position + 1)),
            _ => return Err(damaged().into()),
        };
    }
    Err(damaged().into())
}

fn check_size(bytes: &[u8], at: usize, policy: &SniffPolicy) -> Judged<()> {
    match le16(bytes, at).zip(le16(bytes, at + 2)) {
        Some((width, height)) if width > 0 && height > 0 => check_page(width.into(), height.into(), 8, policy),
        _ => Err(Finding::damaged(FileType::Gif).into()),
    }
}

/// Bytes of a colour table, by its packed field.
fn table_len(packed: Option<u8>) -> u64 {
    match packed {
        Some(packed) if packed & 0x80 != 0 => 3 << ((packed & 7) + 1),
        _ => 0,
    }
}

/// The position behind a chain of sub-blocks; each begins with its length, the last has none.
fn skip_sub_blocks(source: &Source<'_>, mut position: u64) -> Judged<u64> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        // One read covers about 128 sub-blocks: a read for each would be a system call per 255 bytes.
        let filled = source.read_at(position, &mut buffer)?;
        let mut at = 0;
        while let Some(length) = buffer.get(..filled).and_then(|bytes| bytes.get(at)) {
            at += 1 + usize::from(*length);
            if *length == 0 {
                return Ok(position + at as u64);
            }
        }
        if filled == 0 {
            return Err(Finding::damaged(FileType::Gif).into());
        }
        position += at as u64;
    }
}
