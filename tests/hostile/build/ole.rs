//! Compound files, by the `cfb` crate.

use std::io::{Cursor, Write};

/// A compound file of these streams; storages on the way are made.
pub(crate) fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = cfb::CompoundFile::create(Cursor::new(vec![])).unwrap();
    for (path, bytes) in streams {
        if let Some((storage, _)) = path.rsplit_once('/').filter(|(storage, _)| !storage.is_empty()) {
            file.create_storage_all(storage).unwrap();
        }
        file.create_stream(path).unwrap().write_all(bytes).unwrap();
    }
    file.flush().unwrap();
    file.into_inner().into_inner()
}

/// The main stream and the table stream of a Word document of one piece.
pub(crate) fn word_streams(text: &str, flags: u16) -> (Vec<u8>, Vec<u8>) {
    let mut main = vec![0; 0x600];
    main[..2].copy_from_slice(&0xA5EC_u16.to_le_bytes());
    main[10..12].copy_from_slice(&flags.to_le_bytes());
    let offset = main.len() as u32;
    main.extend(text.as_bytes());
    main.extend(super::noise(6_000));
    let mut table = vec![2];
    table.extend(16_u32.to_le_bytes());
    table.extend(0_u32.to_le_bytes());
    table.extend((text.len() as u32).to_le_bytes());
    table.extend([0, 0]);
    table.extend(((offset * 2) | 0x4000_0000).to_le_bytes());
    table.extend([0, 0]);
    main[0x1A6..0x1AA].copy_from_slice(&(table.len() as u32).to_le_bytes());
    (main, table)
}

/// A Word 97-2003 document with more streams.
pub(crate) fn doc(more: &[(&str, &[u8])]) -> Vec<u8> {
    let (main, table) = word_streams("Appeal of claim CLM-1\r", 0);
    let mut streams: Vec<(&str, &[u8])> = vec![("/WordDocument", &main), ("/0Table", &table)];
    streams.extend(more);
    compound(&streams)
}

/// One record of a workbook stream.
pub(crate) fn record(kind: u16, body: &[u8]) -> Vec<u8> {
    [kind.to_le_bytes().as_slice(), &(body.len() as u16).to_le_bytes(), body].concat()
}

/// A workbook stream with one sheet of a kind (0 a worksheet, 1 a macro sheet) and more records.
pub(crate) fn workbook_stream(sheet_kind: u8, more: &[Vec<u8>]) -> Vec<u8> {
    let start = |kind: u16| {
        record(
            0x0809,
            &[&0x0600_u16.to_le_bytes(), kind.to_le_bytes().as_slice(), &[0xBB, 0x0D, 0xCC, 7, 0, 0, 0, 0, 6, 0, 0, 0]]
                .concat(),
        )
    };
    let end = record(0x000A, &[]);
    let globals_len = |sheet: &[u8]| start(5).len() + more.concat().len() + sheet.len() + end.len();
    let sheet =
        |position: u32| record(0x0085, &[position.to_le_bytes().as_slice(), &[0, sheet_kind, 5, 0], b"Sheet"].concat());
    let position = globals_len(&sheet(0)) as u32;
    let label = record(0x0204, &[&[0, 0, 0, 0, 15, 0, 5, 0, 0], b"CLM-1".as_slice()].concat());
    [
        start(5),
        more.concat(),
        sheet(position),
        end.clone(),
        start(if sheet_kind == 1 { 0x40 } else { 0x10 }),
        label,
        end,
    ]
    .concat()
}

/// An Excel 97-2003 workbook of this stream.
pub(crate) fn xls(workbook: &[u8], more: &[(&str, &[u8])]) -> Vec<u8> {
    let padding = super::noise(6_000);
    let mut streams: Vec<(&str, &[u8])> = vec![("/Workbook", workbook), ("/SummaryPart", &padding)];
    streams.extend(more);
    compound(&streams)
}

/// Native data as office programs embed any file.
pub(crate) fn native(name: &str, payload: &[u8]) -> Vec<u8> {
    let path = [name.as_bytes(), b"\0"].concat();
    let body = [
        &[2, 0],
        path.as_slice(),
        &path,
        &[0, 0, 3, 0],
        &(path.len() as u32).to_le_bytes(),
        &path,
        &(payload.len() as u32).to_le_bytes(),
        payload,
    ]
    .concat();
    [(body.len() as u32).to_le_bytes().as_slice(), &body].concat()
}
