//! Bytes of a file, or of a stretch of one, read at positions. No shared file offset is ever moved, so the
//! same open file can be read here, by the scanner and by the child at once; and every read has a bound.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// The most one call of [`Source::take`] gives out, in bytes.
const TAKE_LIMIT: u64 = 16 << 20;
/// Bytes of one chunk of [`Source::each_chunk`], at most.
pub const CHUNK: usize = 64 << 10;

/// A stretch of an open file.
#[derive(Debug, Clone, Copy)]
pub struct Source<'f> {
    file: &'f File,
    base: u64,
    len: u64,
}

impl<'f> Source<'f> {
    /// The first `len` bytes of a file.
    pub const fn new(file: &'f File, len: u64) -> Self {
        Self { file, base: 0, len }
    }

    /// A stretch of this one; what reaches past its end is cut there.
    pub fn slice(&self, start: u64, len: u64) -> Self {
        let start = start.min(self.len);
        Self { file: self.file, base: self.base.saturating_add(start), len: len.min(self.len - start) }
    }

    /// Its length in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no byte.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills as much of `buffer` as there is at `position`.
    pub fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(position);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..want).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, self.base + position + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(filled)
    }

    /// Exactly `count` bytes from `position`; `None` where the file ends before or `count` is beyond all
    /// reason for a header (16 MiB).
    pub fn take(&self, position: u64, count: u64) -> io::Result<Option<Vec<u8>>> {
        let end = position.checked_add(count);
        if count > TAKE_LIMIT || end.is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let mut bytes = vec![0; count as usize];
        let filled = self.read_at(position, &mut bytes)?;
        Ok((filled == bytes.len()).then_some(bytes))
    }

    /// Up to `count` bytes from the start.
    pub fn head(&self, count: u64) -> io::Result<Vec<u8>> {
        Ok(self.take(0, count.min(self.len))?.unwrap_or_default())
    }

    /// Up to `count` bytes before `end`, and the position they begin at.
    pub fn tail(&self, end: u64, count: u64) -> io::Result<(u64, Vec<u8>)> {
        let end = end.min(self.len);
        let start = end.saturating_sub(count);
        Ok((start, self.take(start, end - start)?.unwrap_or_default()))
    }

    /// Calls `each` with the bytes from `position` on, chunk by chunk, until the end or until it returns
    /// `false`.
    pub fn each_chunk(&self, mut position: u64, mut each: impl FnMut(u64, &[u8]) -> bool) -> io::Result<()> {
        let left = usize::try_from(self.len.saturating_sub(position)).unwrap_or(CHUNK);
        let mut buffer = vec![0; left.min(CHUNK)];
        loop {
            let filled = self.read_at(position, &mut buffer)?;
            let Some(bytes) = buffer.get(..filled).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            if !each(position, bytes) {
                return Ok(());
            }
            position += filled as u64;
        }
    }

    /// A reader with a position of its own.
    pub const fn reader(&self) -> SourceReader<'f> {
        SourceReader { source: *self, position: 0 }
    }
}

/// `Read` and `Seek` over a [`Source`].
#[derive(Debug)]
pub struct SourceReader<'f> {
    source: Source<'f>,
    position: u64,
}

impl Read for SourceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read_at(self.position, buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for SourceReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.source.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

/// Little-endian 16 bits at a place, `None` past the end.
pub fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

/// Little-endian 32 bits at a place, `None` past the end.
pub fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// Little-endian 64 bits at a place, `None` past the end.
pub fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

/// Big-endian 16 bits at a place, `None` past the end.
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// Big-endian 32 bits at a place, `None` past the end.
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// The first place of `needle` in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len().max(1)).position(|window| window == needle)
}

/// The last place of `needle` in `bytes`.
pub fn rfind(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len().max(1)).rposition(|window| window == needle)
}
