//! A ZIP writer that can lie.

use super::{crc32, deflate};

/// One entry to be written.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) stored: Vec<u8>,
    pub(crate) expanded_bytes: u32,
    pub(crate) crc: u32,
    pub(crate) method: u16,
    pub(crate) flags: u16,
}

/// A deflated entry.
pub(crate) fn item(name: &str, bytes: &[u8]) -> Item {
    Item {
        name: name.into(),
        stored: deflate(bytes),
        expanded_bytes: bytes.len() as u32,
        crc: crc32(bytes),
        method: 8,
        flags: 0,
    }
}

/// The header fields both records have, from "version needed" on.
fn common(item: &Item) -> Vec<u8> {
    let mut bytes = vec![20, 0];
    bytes.extend(item.flags.to_le_bytes());
    bytes.extend(item.method.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(item.crc.to_le_bytes());
    bytes.extend((item.stored.len() as u32).to_le_bytes());
    bytes.extend(item.expanded_bytes.to_le_bytes());
    bytes.extend((item.name.len() as u16).to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// An entry as it lies in the file.
pub(crate) fn local(item: &Item) -> Vec<u8> {
    [b"PK\x03\x04".as_slice(), &common(item), item.name.as_bytes(), &item.stored].concat()
}

/// An entry of the directory, for data that begin at `offset`.
pub(crate) fn central(item: &Item, offset: u32) -> Vec<u8> {
    let tail = [&[0; 10], offset.to_le_bytes().as_slice()].concat();
    [b"PK\x01\x02\x14\0".as_slice(), &common(item), &tail, item.name.as_bytes()].concat()
}

/// The record of the end.
pub(crate) fn end(entries: u16, len: u32, start: u32, comment: &[u8]) -> Vec<u8> {
    let mut bytes = b"PK\x05\x06\0\0\0\0".to_vec();
    bytes.extend(entries.to_le_bytes());
    bytes.extend(entries.to_le_bytes());
    bytes.extend(len.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend((comment.len() as u16).to_le_bytes());
    bytes.extend(comment);
    bytes
}

/// An archive of these entries.
pub(crate) fn archive(items: &[Item]) -> Vec<u8> {
    let (mut bytes, mut directory) = (vec![], vec![]);
    for item in items {
        directory.extend(central(item, bytes.len() as u32));
        bytes.extend(local(item));
    }
    let start = bytes.len() as u32;
    let end = end(items.len() as u16, directory.len() as u32, start, b"");
    [bytes, directory, end].concat()
}
