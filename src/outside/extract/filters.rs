//! A PDF stream's filters, strictly: what does not decode to its very end does not decode. `lopdf`'s own
//! decoder is refused here: it gives out what it has on an error, and skips parameters that come as an array
//! or by reference, so an attachment could be scanned as other bytes than a viewer opens.

use std::io::Read;

use flate2::read::ZlibDecoder;
use lopdf::{Dictionary, Document, Object, Stream};
use weezl::{BitOrder, decode::Decoder};

/// Filters of one stream; more than two are never useful.
const FILTERS: usize = 8;

/// The decoded content of a stream; `None` where a filter is unknown, the data are damaged, lie in another
/// file, or grow over `limit` bytes.
pub fn decode(stream: &Stream, document: &Document, limit: usize) -> Option<Vec<u8>> {
    if stream.dict.has(b"F") {
        return None;
    }
    let names = list(stream.dict.get(b"Filter").ok(), document)?;
    let params = list(stream.dict.get(b"DecodeParms").or(stream.dict.get(b"DP")).ok(), document)?;
    if names.len() > FILTERS || stream.content.len() > limit {
        return None;
    }
    let mut content = stream.content.clone();
    for (place, name) in names.iter().enumerate() {
        let params = params.get(place).and_then(|object| object.as_dict().ok());
        content = match name.as_name().ok()? {
            b"FlateDecode" | b"Fl" => predict(inflate(&content, limit)?, params, document)?,
            b"LZWDecode" | b"LZW" => predict(unpack_lzw(&content, params, document, limit)?, params, document)?,
            b"ASCII85Decode" | b"A85" => ascii85(&content)?,
            b"ASCIIHexDecode" | b"AHx" => ascii_hex(&content)?,
            b"RunLengthDecode" | b"RL" => run_length(&content, limit)?,
            b"Crypt" => content,
            _ => return None,
        };
        if content.len() > limit {
            return None;
        }
    }
    Some(content)
}

/// One object or an array of them, each resolved.
fn list<'d>(value: Option<&'d Object>, document: &'d Document) -> Option<Vec<&'d Object>> {
    let resolve = |object: &'d Object| document.dereference(object).ok().map(|(_, object)| object);
    match value.map(resolve) {
        None => Some(vec![]),
        Some(Some(Object::Array(objects))) => objects.iter().map(resolve).collect(),
        Some(Some(Object::Null)) => Some(vec![]),
        Some(Some(object)) => Some(vec![object]),
        Some(None) => None,
    }
}

fn number(params: Option<&Dictionary>, key: &[u8], document: &Document, default: usize) -> Option<usize> {
    match params.and_then(|params| params.get_deref(key, document).ok()) {
        None => Some(default),
        Some(value) => usize::try_from(value.as_i64().ok()?).ok(),
    }
}

fn inflate(content: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    ZlibDecoder::new(content).take(limit as u64 + 1).read_to_end(&mut out).ok()?;
    Some(out)
}

fn unpack_lzw(content: &[u8], params: Option<&Dictionary>, document: &Document, limit: usize) -> Option<Vec<u8>> {
    let mut decoder = match number(params, b"EarlyChange", document, 1)? {
        0 => Decoder::new(BitOrder::Msb, 8),
        _ => Decoder::with_tiff_size_switch(BitOrder::Msb, 8),
    };
    let mut out = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut rest = content;
    while out.len() <= limit {
        let step = decoder.decode_bytes(rest, &mut buffer);
        rest = rest.get(step.consumed_in..)?;
        out.extend_from_slice(buffer.get(..step.consumed_out)?);
        match step.status.ok()? {
            weezl::LzwStatus::Done => return Some(out),
            weezl::LzwStatus::NoProgress => return None,
            weezl::LzwStatus::Ok => {}
        }
    }
    None
}

/// Undoes a predictor: 2 is TIFF's (8 bits a component only), 10 to 15 are PNG's, told by each row's first byte.
fn predict(content: Vec<u8>, params: Option<&Dictionary>, document: &Document) -> Option<Vec<u8>> {
    let predictor = number(params, b"Predictor", document, 1)?;
    if predictor == 1 {
        return Some(content);
    }
    let colours = number(params, b"Colors", document, 1)?;
    let bits = number(params, b"BitsPerComponent", document, 8)?;
    let columns = number(params, b"Columns", document, 1)?;
    let pixel = colours.checked_mul(bits)?.div_ceil(8).max(1);
    let row = columns.checked_mul(colours)?.checked_mul(bits)?.div_ceil(8);
    match predictor {
        _ if row == 0 || row > 1 << 24 || pixel > 256 => None,
        2 if bits == 8 => Some(undo_tiff(content, row, pixel)),
        10..=15 => undo_png(&content, row, pixel),
        _ => None,
    }
}

fn undo_tiff(mut content: Vec<u8>, row: usize, pixel: usize) -> Vec<u8> {
    for line in content.chunks_mut(row) {
        for at in pixel..line.len() {
            let left = line.get(at - pixel).copied().unwrap_or(0);
            if let Some(byte) = line.get_mut(at) {
                *byte = byte.wrapping_add(left);
            }
        }
    }
    content
}

fn undo_png(content: &[u8], row: usize, pixel: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(content.len());
    let mut above = vec![0_u8; row];
    for line in content.chunks(row + 1) {
        let (kind, bytes) = line.split_first()?;
        let mut current = Vec::with_capacity(row);
        for (at, byte) in bytes.iter().enumerate() {
            let before = |line: &[u8]| at.checked_sub(pixel).and_then(|at| line.get(at)).copied().unwrap_or(0);
            let left = before(&current);
            let up = above.get(at).copied().unwrap_or(0);
            let guess = match kind {
                0 => 0,
                1 => left,
                2 => up,
                3 => u8::try_from((u16::from(left) + u16::from(up)) / 2).unwrap_or(0),
                4 => paeth(left, up, before(&above)),
                _ => return None,
            };
            current.push(byte.wrapping_add(guess));
        }
        out.extend_from_slice(&current);
        current.resize(row, 0);
        above = current;
    }
    Some(out)
}

/// PNG's Paeth predictor: whichever neighbour is nearest to left + up - upper left.
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let estimate = i16::from(left) + i16::from(up) - i16::from(corner);
    let distance = |neighbour: u8| (estimate - i16::from(neighbour)).abs();
    if distance(left) <= distance(up) && distance(left) <= distance(corner) {
        left
    } else if distance(up) <= distance(corner) {
        up
    } else {
        corner
    }
}

fn ascii85(content: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(content.len());
    let mut group: Vec<u8> = Vec::with_capacity(5);
    for byte in content.iter().filter(|b| !b.is_ascii_whitespace() && **b != 0) {
        match byte {
            b'~' => break,
            b'z' if group.is_empty() => out.extend_from_slice(&[0; 4]),
            b'!'..=b'u' => group.push(byte - b'!'),
            _ => return None,
        }
        if group.len() == 5 {
            out.extend_from_slice(&group_of_85(&group)?);
            group.clear();
        }
    }
    match group.len() {
        0 => {}
        1 => return None,
        kept => {
            group.resize(5, 84);
            out.extend_from_slice(group_of_85(&group)?.get(..kept - 1)?);
        }
    }
    Some(out)
}

fn group_of_85(group: &[u8]) -> Option<[u8; 4]> {
    let value = group.iter().fold(0_u64, |sum, digit| sum * 85 + u64::from(*digit));
    Some(u32::try_from(value).ok()?.to_be_bytes())
}

fn ascii_hex(content: &[u8]) -> Option<Vec<u8>> {
    let digits = content.iter().take_while(|b| **b != b'>').filter(|b| !b.is_ascii_whitespace() && **b != 0);
    let mut digits: Vec<u8> = digits.copied().collect();
    if digits.len() % 2 == 1 {
        digits.push(b'0');
    }
    hex::decode(digits).ok()
}

fn run_length(content: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = content;
    while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length != 128) {
        let used = match length {
            0..128 => {
                let count = usize::from(*length) + 1;
                out.extend_from_slice(after.get(..count)?);
                count
            }
            _ => {
                out.extend(std::iter::repeat_n(*after.first()?, 257 - usize::from(*length)));
                1
            }
        };
        rest = after.get(used..)?;
        if out.len() > limit {
            return None;
        }
    }
    Some(out)
}
