//! A compound file's header and sector table: whether the file is as long as its own table says. Readers fill
//! a missing end with zeros, so that a document that was cut off opens and shows less.

use super::finding::{Finding, Judged};
use super::source::{Source, le16, le32};
use crate::model::judgement::FileType;

const FREE: u32 = 0xFFFF_FFFF;
/// Sector numbers from here on are marks.
const MARKS: u32 = 0xFFFF_FFFA;
/// Bytes the last sector may be short of: some writers leave out what is unused in it.
const SLACK: u64 = 511;

/// Checks that every sector in use lies within the file; a refusal calls it what its name says.
pub fn check_length(source: &Source<'_>, named: Option<FileType>) -> Judged<()> {
    let damaged = || Finding::damaged(named.filter(|named| *named == FileType::Xls).unwrap_or(FileType::Doc));
    let header = source.take(0, 512)?.ok_or_else(damaged)?;
    let shift = le16(&header, 30).filter(|shift| matches!(shift, 9 | 12)).ok_or_else(damaged)?;
    let sector_bytes = 1_u64 << shift;
    let start_of = |sector: u32| (u64::from(sector) + 1) * sector_bytes;
    let mut last_used = 0;
    let numbers = sector_bytes / 4;
    for (place, sector) in table_sectors(source, &header, sector_bytes)?.ok_or_else(damaged)?.into_iter().enumerate() {
        let table = source.take(start_of(sector), sector_bytes)?.ok_or_else(damaged)?;
        let used = table.chunks_exact(4).rposition(|bytes| le32(bytes, 0).is_some_and(|entry| entry != FREE));
        if let Some(used) = used {
            last_used = last_used.max(place as u64 * numbers + used as u64);
        }
    }
    let wanted = (last_used + 2) * sector_bytes;
    if source.len() + SLACK < wanted { Err(damaged().into()) } else { Ok(()) }
}

/// The sectors that hold the table: 109 in the header, more in a chain of sectors of their own. `None` where
/// they can't all be there.
fn table_sectors(source: &Source<'_>, header: &[u8], sector_bytes: u64) -> Judged<Option<Vec<u32>>> {
    // No more than fit into the file.
    let most = usize::try_from(source.len() / sector_bytes).unwrap_or(usize::MAX);
    let listed = |bytes: &[u8]| -> Vec<u32> {
        bytes.chunks_exact(4).filter_map(|bytes| le32(bytes, 0)).filter(|sector| *sector < MARKS).collect()
    };
    let mut sectors = listed(header.get(76..).unwrap_or_default());
    let mut next = le32(header, 68).unwrap_or(FREE);
    // Counted by itself: a sector of the chain may list nothing but marks, and lead to itself.
    let mut links = 0;
    while next < MARKS {
        links += 1;
        let position = (u64::from(next) + 1) * sector_bytes;
        let Some(sector) = source.take(position, sector_bytes)? else { return Ok(None) };
        let (list, link) = sector.split_at(sector.len().saturating_sub(4));
        sectors.extend(listed(list));
        next = le32(link, 0).unwrap_or(FREE);
        if sectors.len() > most || links > most {
            return Ok(None);
        }
        if list.iter().all(|b| *b == 0xFF) {
            break;
        }
    }
    Ok((sectors.len() <= most).then_some(sectors))
}
