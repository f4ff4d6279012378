//! JPEG: the markers from SOI to EOI, through the entropy-coded data of every scan.

use super::{Announced, Walked, check_page};
use crate::intake::sniff::finding::{Finding, Judged};
use crate::intake::sniff::policy::SniffPolicy;
use crate::intake::sniff::source::{Source, be16, find};
use crate::model::judgement::FileType;

/// Markers of one file outside the coded data; progressive pictures have a few dozen.
const MARKERS: u32 = 20_000;

/// Fill bytes before one marker.
const FILL_BYTES: u32 = 64;

/// Walks the markers to EOI.
pub fn walk(source: &Source<'_>, policy: &SniffPolicy) -> Judged<Walked> {
    let damaged = || Finding::damaged(FileType::Jpeg);
    let mut position = 2;
    let mut announced = Announced::default();
    let (mut frame_seen, mut scan_seen) = (false, false);
    for _ in 0..MARKERS {
        let (marker, after) = next_marker(source, position)?;
        match marker {
            0xD9 if scan_seen => return Ok(Walked { end: Some(after), announced, pages: 1 }),
            // Markers that stand alone, without a length.
            0x01 | 0xD0..=0xD7 => {
                position = after;
                continue;
            }
            // No scan yet, a second start, or a value the standard reserves: no picture.
            0x00 | 0x02..=0xBF | 0xD8 | 0xD9 | 0xF0..=0xFD => return Err(damaged().into()),
            _ => {}
        }
        let length = source.take(after, 2)?.and_then(|b| be16(&b, 0)).filter(|length| *length >= 2);
        let length = u64::from(length.ok_or_else(damaged)?);
        let segment = source.take(after + 2, length - 2)?.ok_or_else(damaged)?;
        position = after + length;
        match marker {
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                check_frame(&segment, policy)?;
                frame_seen = true;
            }
            0xDA if frame_seen => {
                scan_seen = true;
                position = end_of_scan(source, position)?;
            }
            0xDA => return Err(damaged().into()),
            0xE1 | 0xE2 => read_announcement(&segment, &mut announced),
            _ => {}
        }
    }
    Err(damaged().into())
}

/// The marker at a position and the position behind it; any number of fill bytes may stand before it.
fn next_marker(source: &Source<'_>, mut position: u64) -> Judged<(u8, u64)> {
    let damaged = || Finding::damaged(FileType::Jpeg);
    let first = source.take(position, 1)?.ok_or_else(damaged)?;
    if first != [0xFF] {
        return Err(damaged().into());
    }
    for _ in 0..FILL_BYTES {
        position += 1;
        match source.take(position, 1)?.ok_or_else(damaged)?.first() {
            Some(0xFF) => {}
            Some(marker) => return Ok((*marker, position + 1)),
            None => break,
        }
    }
    Err(damaged().into())
}

/// The position of the first marker behind coded data: 0xFF, not stuffed and no restart.
fn end_of_scan(source: &Source<'_>, start: u64) -> Judged<u64> {
    let mut found = None;
    let mut after_ff = false;
    source.each_chunk(start, |position, bytes| {
        for (at, byte) in bytes.iter().enumerate() {
            if after_ff && !matches!(byte, 0x00 | 0xD0..=0xD7 | 0xFF) {
                found = Some(position + at as u64 - 1);
                return false;
            }
            after_ff = *byte == 0xFF;
        }
        true
    })?;
    Ok(found.ok_or_else(|| Finding::damaged(FileType::Jpeg))?)
}

fn check_frame(segment: &[u8], policy: &SniffPolicy) -> Judged<()> {
    let size = be16(segment, 1).zip(be16(segment, 3)).zip(segment.first().zip(segment.get(5)));
    let Some(((height, width), (precision, channels))) = size.filter(|((_, width), _)| *width > 0) else {
        return Err(Finding::damaged(FileType::Jpeg).into());
    };
    // A height of 0 is told behind the first scan, where only a decoder sees it: the largest is assumed.
    let height = if height == 0 { u16::MAX } else { height };
    check_page(width.into(), height.into(), u64::from(*precision) * u64::from(*channels), policy)
}

fn read_announcement(segment: &[u8], announced: &mut Announced) {
    let says = |words: &[&[u8]]| words.iter().any(|word| find(segment, word).is_some());
    if segment.starts_with(b"MPF\0") {
        announced.pictures = true;
    } else if segment.starts_with(b"http://ns.adobe.com/xap/1.0/\0") {
        announced.motion |= says(&[b"MotionPhoto", b"MicroVideo"]);
        announced.pictures |= says(&[b"Container:Directory", b"hdrgm:"]);
    }
}
