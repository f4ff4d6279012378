//! Pictures, walked from header to end without decoding a pixel: how many pixels a page would have, where the
//! picture ends, and what lies behind it. A decoder is refused here on purpose: it would allocate what a
//! hostile header asks for, in the process that serves everyone else.

pub mod gif;
pub mod jpeg;
pub mod png;
pub mod tiff;

use super::finding::{Finding, Judged};
use super::policy::SniffPolicy;
use super::source::{self, Source};
use crate::model::judgement::{FileType, Flag, ReasonCode};

/// What a walk over a picture found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// The position behind its last byte; `None` where the format does not tell.
    pub end: Option<u64>,
    /// What the picture's own metadata announces behind its end.
    pub announced: Announced,
    /// Its pages; the frames of a moving picture are one.
    pub pages: u64,
}

impl Walked {
    /// A picture of which nothing is announced to follow its end.
    pub const fn plain(end: u64) -> Self {
        Self { end: Some(end), announced: Announced { pictures: false, motion: false }, pages: 1 }
    }
}

/// Trailers a camera announces in a picture's metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Announced {
    /// More pictures: Multi-Picture Format, gain maps.
    pub pictures: bool,
    /// The video of a motion photo.
    pub motion: bool,
}

/// Judges a picture of a known type: its pages, and a flag where a camera's trailer follows it.
pub fn judge(file_type: FileType, source: &Source<'_>, policy: &SniffPolicy) -> Judged<(u64, Option<Flag>)> {
    let walked = match file_type {
        FileType::Png => png::walk(source, policy)?,
        FileType::Gif => gif::walk(source, policy)?,
        FileType::Tiff => tiff::walk(source, policy)?,
        _ => jpeg::walk(source, policy)?,
    };
    if archive_ends_here(source)? {
        return Err(Finding::polyglot(file_type).into());
    }
    let Some(end) = walked.end else { return Ok((walked.pages, None)) };
    if is_padding(source, end)? {
        return Ok((walked.pages, None));
    }
    if file_type == FileType::Jpeg && is_camera_trailer(source, end, walked.announced, policy)? {
        return Ok((walked.pages, Some(Flag::CameraTrailer)));
    }
    Err(Finding::polyglot(file_type).into())
}

/// Refuses a page of more pixels than the policy allows for its bits per pixel.
pub(super) fn check_page(width: u64, height: u64, bits: u64, policy: &SniffPolicy) -> Judged<()> {
    let most = match bits {
        0 | 1 => policy.page_pixels_bilevel,
        2..=8 => policy.page_pixels_grey,
        _ => policy.page_pixels_colour,
    };
    if width.saturating_mul(height) > most {
        let message = "this picture has more pixels than is accepted; scan or export it at a lower resolution (300 dpi \
                       is enough) and send it again";
        return Err(Finding::reject(ReasonCode::ImageBomb, message).into());
    }
    Ok(())
}

/// Refuses a picture of more pages or frames than the policy allows.
pub(super) fn check_pages(pages: u64, policy: &SniffPolicy) -> Judged<()> {
    if pages > policy.pages {
        let message = "this picture has more pages than is accepted; send it in several files";
        return Err(Finding::reject(ReasonCode::ImageBomb, message).into());
    }
    Ok(())
}

/// Whether nothing but padding (NUL, 0xFF, line ends) follows `end`.
pub(super) fn is_padding(source: &Source<'_>, end: u64) -> std::io::Result<bool> {
    let mut padding = true;
    source.each_chunk(end, |_, bytes| {
        padding = bytes.iter().all(|b| matches!(b, 0 | 0xFF | b'\r' | b'\n'));
        padding
    })?;
    Ok(padding)
}

/// Whether a ZIP reader, which looks from the end, would find an archive that ends with the file: the record
/// of its end, with a comment that reaches exactly to the last byte.
pub(super) fn archive_ends_here(source: &Source<'_>) -> std::io::Result<bool> {
    const RECORD: usize = 22;
    let (_, tail) = source.tail(source.len(), 65_535 + RECORD as u64)?;
    Ok(tail.windows(RECORD).enumerate().any(|(at, record)| {
        record.starts_with(b"PK\x05\x06")
            && source::le16(record, 20).is_some_and(|comment| at + RECORD + usize::from(comment) == tail.len())
    }))
}

/// Pictures behind a picture: previews, gain maps, views of a panorama.
const PICTURES: u32 = 64;

fn is_camera_trailer(
    source: &Source<'_>,
    end: u64,
    announced: Announced,
    policy: &SniffPolicy,
) -> std::io::Result<bool> {
    let rest = source.slice(end, source.len());
    if is_samsung_trailer(&rest)? {
        return Ok(true);
    }
    let mut position = 0;
    for _ in 0..PICTURES {
        let rest = rest.slice(position, rest.len());
        if is_padding(&rest, 0)? || (announced.motion && is_mp4(&rest)?) {
            return Ok(true);
        }
        let start = skip_padding(&rest, 0)?;
        let picture = rest.slice(start, rest.len());
        let head = picture.head(3)?;
        if !announced.pictures || head != [0xFF, 0xD8, 0xFF] {
            return Ok(false);
        }
        match jpeg::walk(&picture, policy) {
            Ok(Walked { end: Some(end), .. }) => position += start + end,
            _ => return Ok(false),
        }
    }
    Ok(false)
}

/// The position of the first byte from `end` on that is no NUL: cameras align each picture.
fn skip_padding(source: &Source<'_>, end: u64) -> std::io::Result<u64> {
    let mut found = source.len();
    source.each_chunk(end, |position, bytes| match bytes.iter().position(|b| *b != 0) {
        Some(at) => {
            found = position + at as u64;
            false
        }
        None => true,
    })?;
    Ok(found)
}

/// Samsung's trailer: blocks, then a directory `SEFH` … whose length and `SEFT` are the last eight bytes.
fn is_samsung_trailer(rest: &Source<'_>) -> std::io::Result<bool> {
    let Some(close) = rest.take(rest.len().saturating_sub(8), 8)? else { return Ok(false) };
    let Some(length) = source::le32(&close, 0).filter(|_| close.ends_with(b"SEFT")) else { return Ok(false) };
    let Some(start) = rest.len().checked_sub(8 + u64::from(length)) else { return Ok(false) };
    Ok(rest.take(start, 4)?.is_some_and(|mark| mark == *b"SEFH"))
}

/// An MP4 whose boxes begin with `ftyp` and fill the rest to the last byte.
fn is_mp4(rest: &Source<'_>) -> std::io::Result<bool> {
    let mut position = 0;
    for box_number in 0..1_000 {
        let Some(header) = rest.take(position, 8)? else { return Ok(false) };
        let name = header.get(4..8).unwrap_or_default();
        if (box_number == 0 && name != b"ftyp") || !name.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
            return Ok(false);
        }
        let length = match source::be32(&header, 0).unwrap_or(0) {
            0 => rest.len() - position,
            1 => rest.take(position + 8, 8)?.and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes),
            short => u64::from(short),
        };
        match position.checked_add(length) {
            Some(end) if length >= 8 && end == rest.len() => return Ok(true),
            Some(end) if length >= 8 && end < rest.len() => position = end,
            _ => return Ok(false),
        }
    }
    Ok(false)
}
