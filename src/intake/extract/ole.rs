//! Compound files (MS-CFB): what a .doc or .xls is by its streams, whether it is locked, and whether it has
//! macros. The head of such a file tells nothing: Word, Excel, Outlook and encrypted newer files begin alike.

use std::io::{self, BufReader, Read};

use cfb::CompoundFile;

use super::nested::{Inside, further_in};
use crate::intake::sniff::finding::{Finding, Judged};
use crate::intake::sniff::kinds;
use crate::intake::sniff::source::{Source, SourceReader, le16, le32};
use crate::model::judgement::{FileType, Flag, ReasonCode};

/// Bytes of a `\u{1}Ole10Native` header that are looked at: three paths at most.
const NATIVE_HEADER_BYTES: u64 = 4_096;

type Compound<'f> = CompoundFile<BufReader<SourceReader<'f>>>;

/// One stream or storage, by its path with `/`.
struct Item {
    path: String,
    name: String,
    is_stream: bool,
    len: u64,
    depth: usize,
}

/// Reads a compound file: streams, encryption, macros, embedded files.
pub fn inspect<'f>(source: Source<'f>, depth: u32, inside: &mut Inside<'f>) -> Judged<()> {
    let mut compound = CompoundFile::open(BufReader::new(source.reader())).map_err(|fault| blame(fault, None))?;
    let items = items(&compound, inside)?;
    let root = |name: &str| items.iter().any(|item| item.depth == 1 && item.name == name);
    if root("EncryptedPackage") || items.iter().any(|item| item.name.ends_with("DRMContent")) || root("\u{6}DataSpaces")
    {
        return Err(Finding::encrypted("ole").into());
    }
    let (word, excel) = (root("WordDocument"), root("Workbook") || root("Book"));
    if items.iter().any(|item| item.name == "EncryptedPackage") {
        return Err(further_in(Finding::encrypted("ole").into()));
    }
    let file_type = match (word, excel) {
        (true, true) => return Err(Finding::polyglot(FileType::Doc).into()),
        (true, false) => Some(FileType::Doc),
        (false, true) => Some(FileType::Xls),
        (false, false) if depth > 0 => None,
        (false, false) if root("PowerPoint Document") => return Err(kinds::refuse("ppt").into()),
        (false, false) if root("__properties_version1.0") => return Err(kinds::refuse("msg").into()),
        (false, false) => return Err(kinds::refuse("ole").into()),
    };
    if let Some(file_type) = file_type {
        inside.is(depth, file_type);
    }
    for item in items.iter().filter(|item| item.is_stream) {
        // Objects within the document have storages of their own, with the same names in them.
        let read = read_stream(&mut compound, item, file_type, inside);
        read.map_err(|stop| if item.depth > 1 { further_in(stop) } else { stop })?;
    }
    if items.iter().any(has_macros) {
        found_macros(inside)?;
    }
    for item in items.iter().filter(|item| item.is_stream) {
        take_out(&mut compound, item, depth, inside)?;
    }
    Ok(())
}

/// Whose fault a read error is: what the `cfb` crate finds wrong with the file, or the machine's.
fn blame(fault: io::Error, file_type: Option<FileType>) -> crate::intake::sniff::finding::Stop {
    match fault.raw_os_error() {
        Some(_) => fault.into(),
        None if fault.kind() == io::ErrorKind::OutOfMemory => fault.into(),
        None => Finding::damaged(file_type.unwrap_or(FileType::Doc)).into(),
    }
}

fn items(compound: &Compound<'_>, inside: &Inside<'_>) -> Judged<Vec<Item>> {
    let mut items = Vec::new();
    for entry in compound.walk().filter(|entry| !entry.is_root()) {
        if items.len() as u64 >= inside.policy.archive_entries {
            return Err(Finding::bomb("more parts").into());
        }
        items.push(Item {
            path: entry.path().to_string_lossy().into_owned(),
            name: entry.name().to_owned(),
            is_stream: entry.is_stream(),
            len: entry.len(),
            depth: entry.path().components().count() - 1,
        });
    }
    Ok(items)
}

/// Ends the judgement, unless a person has released this document from it.
fn found_macros(inside: &mut Inside<'_>) -> Judged<()> {
    if !inside.policy.waive_macros {
        return Err(macros().into());
    }
    inside.flag(Flag::Macros);
    Ok(())
}

fn macros() -> Finding {
    Finding::hold(
        ReasonCode::Macros,
        "this document has macros; an operator looks at it. To avoid that, save it as .docx or .xlsx and send that",
    )
}

/// A VBA project, even an empty one: its storages and streams (MS-OVBA).
fn has_macros(item: &Item) -> bool {
    let name = item.name.to_ascii_lowercase();
    matches!(name.as_str(), "macros" | "vba" | "_vba_project" | "_vba_project_cur" | "projectwm")
}

/// Reads a stream to its end, so that one that is cut off is noticed, and looks into the main ones.
fn read_stream(
    compound: &mut Compound<'_>,
    item: &Item,
    file_type: Option<FileType>,
    inside: &mut Inside<'_>,
) -> Judged<()> {
    let wrong = |fault| blame(fault, file_type);
    let mut stream = BufReader::new(compound.open_stream(&item.path).map_err(wrong)?);
    match item.name.as_str() {
        "WordDocument" => check_word(&mut stream).map_err(wrong)?.map_or(Ok(()), Err)?,
        "Workbook" | "Book" => {
            let found = check_workbook(&mut stream, inside.policy.waive_macros).map_err(wrong)?;
            if found.macros {
                found_macros(inside)?;
            }
            if found.links {
                inside.flag(Flag::ExternalLinks);
            }
            found.finding.map_or(Ok(()), Err)?;
        }
        _ => {}
    }
    let mut stream = compound.open_stream(&item.path).map_err(wrong)?;
    let len = io::copy(&mut stream, &mut io::sink()).map_err(wrong)?;
    if len == item.len { Ok(()) } else { Err(Finding::damaged(file_type.unwrap_or(FileType::Doc)).into()) }
}

/// Word's file information block (MS-DOC 2.5): its mark, and the bit `fEncrypted`.
fn check_word(stream: &mut impl Read) -> io::Result<Option<Finding>> {
    let mut block = [0; 12];
    stream.read_exact(&mut block)?;
    let mark = le16(&block, 0).unwrap_or(0);
    Ok(match le16(&block, 10) {
        _ if !matches!(mark, 0xA5EC | 0xA5DC) => Some(Finding::damaged(FileType::Doc)),
        Some(flags) if flags & 0x0100 != 0 => Some(Finding::encrypted("doc")),
        _ => None,
    })
}

/// What the records of a workbook say.
#[derive(Default)]
struct Workbook {
    finding: Option<Finding>,
    links: bool,
    macros: bool,
}

/// Walks a workbook's records (MS-XLS 2.3): FILEPASS, the kinds of its sheets, a VBA project, links.
/// Macros end the walk unless they are waived: then what follows counts.
fn check_workbook(stream: &mut impl Read, waive_macros: bool) -> io::Result<Workbook> {
    let mut found = Workbook::default();
    let mut first = true;
    loop {
        let mut header = [0; 4];
        match stream.read_exact(&mut header) {
            Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof && !first => return Ok(found),
            other => other?,
        }
        let (record, len) = (le16(&header, 0).unwrap_or(0), le16(&header, 2).unwrap_or(0));
        if first && !matches!(record, 0x0809 | 0x0409 | 0x0209 | 0x0009) {
            found.finding = Some(Finding::damaged(FileType::Xls));
        }
        first = false;
        // Behind the last record some writers pad the stream with zeros.
        if record == 0 && len == 0 || found.finding.is_some() || (found.macros && !waive_macros) {
            return Ok(found);
        }
        let mut body = vec![0; usize::from(len)];
        stream.read_exact(&mut body)?;
        check_record(record, &body, &mut found);
    }
}

fn check_record(record: u16, body: &[u8], found: &mut Workbook) {
    match record {
        0x002F => found.finding = Some(Finding::encrypted("xls")),
        // A sheet of kind 1, or a substream of kind 0x40, is an Excel 4 macro sheet; kind 6 a VBA module.
        0x0085 if matches!(body.get(5), Some(1 | 6)) => found.macros = true,
        0x0809 if le16(body, 2) == Some(0x0040) => found.macros = true,
        0x00D3 => found.macros = true,
        // A link to another workbook; those of length 4 stand for this one or for add-in functions.
        0x01AE if body.len() > 4 => found.links = true,
        _ => {}
    }
}

/// Takes out what is embedded: native data, packages, and the contents of foreign objects.
fn take_out<'f>(compound: &mut Compound<'f>, item: &Item, depth: u32, inside: &mut Inside<'f>) -> Judged<()> {
    let mut stream = compound.open_stream(&item.path).map_err(|fault| blame(fault, None))?;
    match item.name.as_str() {
        "\u{1}Ole10Native" => {
            let mut header = Vec::new();
            (&mut stream).take(NATIVE_HEADER_BYTES).read_to_end(&mut header).map_err(|fault| blame(fault, None))?;
            let (name, start, len) = native_payload(&header).unwrap_or((None, 4, item.len.saturating_sub(4)));
            let mut stream = compound.open_stream(&item.path).map_err(|fault| blame(fault, None))?;
            io::copy(&mut (&mut stream).take(start), &mut io::sink()).map_err(|fault| blame(fault, None))?;
            inside.take_out(&mut stream.take(len), name.as_deref(), depth)
        }
        "Package" | "CONTENTS" => inside.take_out(&mut stream, None, depth),
        _ => Ok(()),
    }
}

/// The payload of native data: its name, where it begins and its length. The layout is not in the standard:
/// total length, 2 bytes, label, path, 4 bytes, length and text of a second path, then length and data.
fn native_payload(header: &[u8]) -> Option<(Option<String>, u64, u64)> {
    let zero = |from: usize| header.get(from..)?.iter().position(|b| *b == 0).map(|at| from + at);
    let label_end = zero(6)?;
    let path_end = zero(label_end + 1)?;
    let second_len = usize::try_from(le32(header, path_end + 5)?).ok()?;
    let at = (path_end + 9).checked_add(second_len)?;
    let len = le32(header, at)?;
    let total = u64::from(le32(header, 0)?) + 4;
    let start = at as u64 + 4;
    let label = header.get(6..label_end).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (start + u64::from(len) <= total).then_some((label, start, len.into()))
}
