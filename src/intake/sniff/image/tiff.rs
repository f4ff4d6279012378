//! TIFF 6.0: the chain of directories, one a page, and the reach of everything they point at. BigTIFF is not
//! accepted: nothing that faxes or scans writes it.

use std::collections::HashSet;

use super::{Announced, Walked, check_page, check_pages};
use crate::intake::sniff::finding::{Finding, Judged};
use crate::intake::sniff::policy::SniffPolicy;
use crate::intake::sniff::source::{Source, be16, be32, le16, le32};
use crate::model::judgement::FileType;

const FIELDS: usize = 1_024;
/// Strips and tiles of all pages together: every page may name the same long list, and each list is read.
const STRIPS: u64 = 4 << 20;
/// Directories beside the pages: thumbnails, Exif, GPS.
const SIDE_DIRECTORIES: usize = 4_096;

/// One field of a directory, its value or the place of its values.
struct Field {
    tag: u16,
    kind: u16,
    count: u64,
    value: Vec<u8>,
}

struct Tiff<'f> {
    source: Source<'f>,
    big_endian: bool,
    /// The furthest byte that anything points at.
    reach: u64,
    seen: HashSet<u64>,
    side: Vec<u64>,
    strips_left: u64,
    /// Whether the end of every page's data is known.
    lengths_known: bool,
}

/// Walks every directory; the end is the furthest byte in use.
pub fn walk(source: &Source<'_>, policy: &SniffPolicy) -> Judged<Walked> {
    let head = source.take(0, 8)?.ok_or_else(damaged)?;
    let big_endian = head.first() == Some(&b'M');
    let mut tiff = Tiff {
        source: *source,
        big_endian,
        reach: 8,
        seen: HashSet::new(),
        side: vec![],
        strips_left: STRIPS,
        lengths_known: true,
    };
    let mut next = u64::from(tiff.long(&head, 4).ok_or_else(damaged)?);
    let mut pages = 0;
    while next != 0 {
        pages += 1;
        check_pages(pages, policy)?;
        let (fields, following) = tiff.directory(next)?;
        tiff.page(&fields, policy)?;
        next = following;
    }
    if pages == 0 {
        return Err(damaged().into());
    }
    tiff.side_directories()?;
    Ok(Walked { end: tiff.lengths_known.then_some(tiff.reach), announced: Announced::default(), pages })
}

fn damaged() -> Finding {
    Finding::damaged(FileType::Tiff)
}

impl Tiff<'_> {
    fn short(&self, bytes: &[u8], at: usize) -> Option<u16> {
        if self.big_endian { be16(bytes, at) } else { le16(bytes, at) }
    }

    fn long(&self, bytes: &[u8], at: usize) -> Option<u32> {
        if self.big_endian { be32(bytes, at) } else { le32(bytes, at) }
    }

    /// Notes that bytes are in use; past the end of the file they are missing.
    fn reaches(&mut self, start: u64, len: u64) -> Judged<()> {
        let end = start.checked_add(len).filter(|end| *end <= self.source.len()).ok_or_else(damaged)?;
        self.reach = self.reach.max(end);
        Ok(())
    }

    /// The fields of the directory at an offset, and the offset of the next.
    fn directory(&mut self, offset: u64) -> Judged<(Vec<Field>, u64)> {
        if !self.seen.insert(offset) {
            return Err(damaged().into());
        }
        let count = self.source.take(offset, 2)?.and_then(|b| self.short(&b, 0)).ok_or_else(damaged)?;
        if count == 0 || usize::from(count) > FIELDS {
            return Err(damaged().into());
        }
        let len = u64::from(count) * 12;
        let table = self.source.take(offset + 2, len)?.ok_or_else(damaged)?;
        // Some writers leave out the offset of the next directory behind the last one.
        let next = self.source.take(offset + 2 + len, 4)?.and_then(|b| self.long(&b, 0)).unwrap_or(0);
        self.reaches(offset, (2 + len + 4).min(self.source.len() - offset))?;
        let mut fields = Vec::with_capacity(usize::from(count));
        for entry in table.chunks_exact(12) {
            fields.push(self.field(entry)?);
        }
        Ok((fields, u64::from(next)))
    }

    fn field(&mut self, entry: &[u8]) -> Judged<Field> {
        let (tag, kind) = self.short(entry, 0).zip(self.short(entry, 2)).ok_or_else(damaged)?;
        let count = u64::from(self.long(entry, 4).ok_or_else(damaged)?);
        let size = count * unit(kind);
        let field = |value| Field { tag, kind, count, value };
        if size <= 4 {
            return Ok(field(entry.get(8..).unwrap_or_default().to_vec()));
        }
        let offset = u64::from(self.long(entry, 8).ok_or_else(damaged)?);
        self.reaches(offset, size)?;
        let wanted = matches!(tag, 258 | 273 | 279 | 324 | 325 | 330);
        if wanted {
            self.strips_left = self.strips_left.checked_sub(count).ok_or_else(damaged)?;
        }
        let value = if wanted { self.source.take(offset, size)?.unwrap_or_default() } else { vec![] };
        Ok(field(value))
    }

    fn numbers(&self, field: &Field) -> Vec<u64> {
        let width = usize::try_from(unit(field.kind)).unwrap_or(1);
        let count = usize::try_from(field.count).unwrap_or(usize::MAX);
        let number = |bytes: &[u8]| match field.kind {
            3 => self.short(bytes, 0).map(u64::from),
            4 | 13 => self.long(bytes, 0).map(u64::from),
            _ => bytes.first().map(|b| u64::from(*b)),
        };
        field.value.chunks_exact(width).take(count).filter_map(number).collect()
    }

    /// Checks a page's pixels and that its data is all there.
    fn page(&mut self, fields: &[Field], policy: &SniffPolicy) -> Judged<()> {
        let all = |tag: u16| fields.iter().find(|f| f.tag == tag).map(|f| self.numbers(f)).unwrap_or_default();
        let one = |tag: u16| all(tag).first().copied();
        let (width, height) = one(256).zip(one(257)).ok_or_else(damaged)?;
        let bits = one(258).unwrap_or(1).saturating_mul(one(277).unwrap_or(1));
        check_page(width, height, bits, policy)?;
        let (starts, lengths) = match all(273) {
            tiles if tiles.is_empty() => (all(324), all(325)),
            strips => (strips, all(279)),
        };
        if starts.is_empty() || width == 0 || height == 0 {
            return Err(damaged().into());
        }
        let side: Vec<_> = [330, 34_665, 34_853].into_iter().flat_map(all).collect();
        self.side.extend(side);
        if lengths.len() != starts.len() {
            self.lengths_known = false;
        }
        for (place, start) in starts.iter().enumerate() {
            self.reaches(*start, lengths.get(place).copied().unwrap_or(0))?;
        }
        Ok(())
    }

    /// Thumbnails and Exif are read for their reach only.
    fn side_directories(&mut self) -> Judged<()> {
        while let Some(offset) = self.side.pop() {
            if self.seen.len() > SIDE_DIRECTORIES {
                return Err(damaged().into());
            }
            if offset == 0 || self.seen.contains(&offset) {
                continue;
            }
            let (fields, _) = self.directory(offset)?;
            let all = |tag: u16| fields.iter().find(|f| f.tag == tag).map(|f| self.numbers(f)).unwrap_or_default();
            let pieces: Vec<_> = [(273, 279), (324, 325), (513, 514)]
                .into_iter()
                .flat_map(|(starts, lengths)| all(starts).into_iter().zip(all(lengths)))
                .collect();
            let deeper: Vec<_> = [330, 34_665, 34_853, 40_965].into_iter().flat_map(all).collect();
            self.side.extend(deeper);
            for (start, len) in pieces {
                self.reaches(start, len)?;
            }
        }
        Ok(())
    }
}

/// Bytes of one value of a field's kind.
const fn unit(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 => 8,
        _ => 1,
    }
}
