//! Pictures whose structure is right; no one decodes them here.

use super::{crc32, noise, zlib};

fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [name.as_slice(), data].concat();
    [&(data.len() as u32).to_be_bytes(), body.as_slice(), &crc32(&body).to_be_bytes()].concat()
}

/// A PNG of a size, bit depth and colour type.
pub(crate) fn png(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    let header = [&width.to_be_bytes(), height.to_be_bytes().as_slice(), &[depth, colour, 0, 0, 0]].concat();
    let data = zlib(&noise(4_096));
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &data), chunk(b"IEND", b"")].concat()
}

/// A GIF of a number of frames.
pub(crate) fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
    let mut bytes = [b"GIF89a".as_slice(), &size, &[0x80, 0, 0], &[0, 0, 0, 255, 255, 255]].concat();
    for _ in 0..frames {
        bytes.extend([0x21, 0xF9, 4, 0, 0, 0, 0, 0]);
        bytes.extend([&[0x2C, 0, 0, 0, 0], size.as_slice(), &[0, 2]].concat());
        for block in noise(600).chunks(200) {
            bytes.push(block.len() as u8);
            bytes.extend(block);
        }
        bytes.push(0);
    }
    bytes.push(0x3B);
    bytes
}

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    [&[0xFF, marker], (body.len() as u16 + 2).to_be_bytes().as_slice(), body].concat()
}

/// A JPEG of a size with more segments behind its start.
pub(crate) fn jpeg(width: u16, height: u16, more: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8];
    bytes.extend(segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"));
    for (marker, body) in more {
        bytes.extend(segment(*marker, body));
    }
    let frame = [&[8], height.to_be_bytes().as_slice(), &width.to_be_bytes(), &[3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]]
        .concat();
    bytes.extend(segment(0xC0, &frame));
    bytes.extend(segment(0xDA, &[3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]));
    for byte in noise(4_096) {
        bytes.push(byte);
        if byte == 0xFF {
            bytes.push(0);
        }
    }
    bytes.extend([0xFF, 0xD9]);
    bytes
}

/// A TIFF of pages of a size, 1 bit a pixel, with data of a few hundred bytes each, as a fax is.
pub(crate) fn tiff(width: u32, height: u32, bits: u16, pages: usize) -> Vec<u8> {
    let mut bytes = b"II*\0".to_vec();
    let data = noise(700);
    // Data first, then the directories, each pointing at the next.
    let table_len = 2 + 8 * 12 + 4;
    let first = 8 + pages * data.len();
    bytes.extend((first as u32).to_le_bytes());
    for _ in 0..pages {
        bytes.extend(&data);
    }
    for page in 0..pages {
        let fields: [(u16, u16, u32, u32); 8] = [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 1, bits.into()),
            (259, 3, 1, 4),
            (273, 4, 1, (8 + page * data.len()) as u32),
            (277, 3, 1, 1),
            (278, 4, 1, height),
            (279, 4, 1, data.len() as u32),
        ];
        bytes.extend(8_u16.to_le_bytes());
        for (tag, kind, count, value) in fields {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        let next = if page + 1 < pages { first + (page + 1) * table_len } else { 0 };
        bytes.extend((next as u32).to_le_bytes());
    }
    bytes
}

/// An MP4 of two boxes.
pub(crate) fn mp4() -> Vec<u8> {
    let data = noise(3_000);
    [b"\0\0\0\x14ftypmp42\0\0\0\0isom".as_slice(), &(8 + 3_000_u32).to_be_bytes(), b"mdat", &data].concat()
}

/// Samsung's trailer around some data.
pub(crate) fn samsung(data: &[u8]) -> Vec<u8> {
    let directory = [b"SEFH".as_slice(), &106_u32.to_le_bytes(), &0_u32.to_le_bytes()].concat();
    [data, &directory, &(directory.len() as u32).to_le_bytes(), b"SEFT"].concat()
}
