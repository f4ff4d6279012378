//! Text for matching (INT-15): of PDF, Word, Excel and plain text. Pictures have none here. What can't be read
//! gives fewer pages, never an error: a document without text goes to a person all the same.

use std::io::{self, BufReader, Read};

use calamine::{Data, DataRef, Reader as _, Xls, Xlsx};
use quick_xml::events::Event;

use super::{ExtractedText, office, pdf};
use crate::intake::sniff::archive;
use crate::intake::sniff::finding::{Judged, Stop};
use crate::intake::sniff::policy::SniffPolicy;
use crate::intake::sniff::source::{Source, le16, le32};
use crate::intake::sniff::text as plain;
use crate::model::judgement::FileType;
use crate::model::phi::Phi;
use crate::outside::extract::ExtractLimits;

/// Pages under construction, within the limits.
struct Pages<'l> {
    limits: &'l ExtractLimits,
    pages: Vec<String>,
    bytes: usize,
    truncated: bool,
}

impl Pages<'_> {
    /// Begins a page; `false` where no more are taken.
    fn begin(&mut self) -> bool {
        if self.pages.len() >= self.limits.text_pages || self.truncated {
            self.truncated = true;
            return false;
        }
        self.pages.push(String::new());
        true
    }

    /// Adds to the last page; `false` where the limit is reached.
    fn push(&mut self, text: &str) -> bool {
        let left = self.limits.text_bytes.saturating_sub(self.bytes);
        let kept = text.get(..text.floor_char_boundary(left)).unwrap_or_default();
        if let Some(page) = self.pages.last_mut() {
            page.push_str(kept);
            self.bytes += kept.len();
        }
        self.truncated |= kept.len() < text.len();
        !self.truncated
    }
}

/// The text of a document of a known type.
pub fn extract(
    source: Source<'_>,
    file_type: FileType,
    limits: &ExtractLimits,
    policy: &SniffPolicy,
) -> io::Result<ExtractedText> {
    let mut pages = Pages { limits, pages: vec![], bytes: 0, truncated: false };
    let done = match file_type {
        FileType::Txt => of_plain(source, &mut pages),
        FileType::Pdf => of_pdf(source, &mut pages, policy),
        FileType::Docx => of_docx(source, &mut pages, policy),
        FileType::Xlsx => of_xlsx(source, &mut pages),
        FileType::Xls => of_xls(source, &mut pages),
        FileType::Doc => of_doc(source, &mut pages),
        FileType::Jpeg | FileType::Tiff | FileType::Png | FileType::Gif => Ok(()),
    };
    if let Err(Stop::Fault(fault)) = done {
        return Err(fault);
    }
    Ok(ExtractedText { pages: pages.pages.into_iter().map(Phi).collect(), truncated: pages.truncated })
}

/// Plain text by its encoding; a form feed ends a page.
fn of_plain(source: Source<'_>, pages: &mut Pages<'_>) -> Judged<()> {
    let Some(text) = plain::read(&source)? else { return Ok(()) };
    let mut bytes = Vec::new();
    // No encoding accepted takes more than two bytes where UTF-8 takes one.
    let most = (pages.limits.text_bytes as u64 + 1) * 2;
    source.reader().take(most).read_to_end(&mut bytes)?;
    let (decoded, _, _) = text.encoding.decode(&bytes);
    for page in decoded.split('\u{c}') {
        if !pages.begin() || !pages.push(page) {
            break;
        }
    }
    Ok(())
}

fn of_pdf(source: Source<'_>, pages: &mut Pages<'_>, policy: &SniffPolicy) -> Judged<()> {
    let mut bytes = Vec::new();
    source.reader().read_to_end(&mut bytes)?;
    let limit = usize::try_from(policy.entry_bytes).unwrap_or(usize::MAX);
    let document = pdf::load(&bytes, limit)?;
    for number in document.get_pages().into_keys() {
        if !pages.begin() {
            break;
        }
        // A chunk in a font that can't be decoded is left out; the rest of the page stands.
        for chunk in document.extract_text_chunks_with_limit(&[number], limit).into_iter().flatten() {
            if !pages.push(&chunk) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A Word document's headers, body, notes and footers, as one page: where pages break only Word knows.
fn of_docx(source: Source<'_>, pages: &mut Pages<'_>, policy: &SniffPolicy) -> Judged<()> {
    let entries = archive::entries(&source, policy)?;
    let is =
        |name: &str, part: &str| name.strip_prefix("word/").is_some_and(|n| n.starts_with(part) && n.ends_with(".xml"));
    pages.begin();
    for part in ["header", "document", "footnotes", "endnotes", "footer"] {
        for entry in entries.iter().filter(|entry| is(&entry.name, part)) {
            let mut xml = Vec::new();
            // A broken part ends its own text only.
            office::expand(&source, entry).read_to_end(&mut xml).ok();
            if !words_of(&xml, pages) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The runs of a WordprocessingML part; `false` where the limit is reached.
fn words_of(xml: &[u8], pages: &mut Pages<'_>) -> bool {
    let (xml, _, _) = encoding_rs::UTF_8.decode(xml);
    let mut reader = quick_xml::Reader::from_str(&xml);
    let mut in_run = false;
    loop {
        let more = match reader.read_event() {
            Ok(Event::Start(element)) if element.name().as_ref() == "w:t" => {
                in_run = true;
                true
            }
            Ok(Event::End(element)) => match element.name().as_ref() {
                "w:t" => {
                    in_run = false;
                    true
                }
                "w:p" => pages.push("\n"),
                "w:tc" => pages.push("\t"),
                _ => true,
            },
            Ok(Event::Empty(element)) => match element.name().as_ref() {
                "w:tab" => pages.push("\t"),
                "w:br" | "w:cr" => pages.push("\n"),
                _ => true,
            },
            Ok(Event::Text(text)) if in_run => pages.push(&text.xml10_content()),
            Ok(Event::GeneralRef(entity)) if in_run => {
                let text = match entity.resolve_char_ref() {
                    Ok(Some(character)) => Some(character.to_string()),
                    _ => quick_xml::escape::resolve_predefined_entity(&entity).map(str::to_owned),
                };
                text.is_none_or(|text| pages.push(&text))
            }
            Ok(Event::Eof) | Err(_) => return true,
            Ok(_) => true,
        };
        if !more {
            return false;
        }
    }
}

/// A workbook's cells, cell by cell: a sheet with one cell at each far corner must not become a table.
fn of_xlsx(source: Source<'_>, pages: &mut Pages<'_>) -> Judged<()> {
    let Ok(mut book) = Xlsx::new(BufReader::new(source.reader())) else { return Ok(()) };
    for sheet in book.sheet_names() {
        if !pages.begin() {
            break;
        }
        let Ok(mut cells) = book.worksheet_cells_reader(&sheet) else { continue };
        let mut row = 0;
        while let Ok(Some(cell)) = cells.next_cell() {
            let separator = if cell.get_position().0 == row { "\t" } else { "\n" };
            row = cell.get_position().0;
            let value = cell_text(cell.get_value());
            let goes_on = value.is_empty() || (pages.push(separator) && pages.push(&value));
            if !goes_on {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn cell_text(value: &DataRef<'_>) -> String {
    match value {
        DataRef::SharedString(text) => (*text).to_owned(),
        other => Data::from(other.clone()).to_string(),
    }
}

fn of_xls(source: Source<'_>, pages: &mut Pages<'_>) -> Judged<()> {
    let Ok(mut book) = Xls::new(BufReader::new(source.reader())) else { return Ok(()) };
    for sheet in book.sheet_names() {
        if !pages.begin() {
            break;
        }
        let Ok(range) = book.worksheet_range(&sheet) else { continue };
        for row in range.rows() {
            let cells: Vec<_> = row.iter().map(ToString::to_string).filter(|cell| !cell.is_empty()).collect();
            let goes_on = cells.is_empty() || (pages.push(&cells.join("\t")) && pages.push("\n"));
            if !goes_on {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A Word 97-2003 document's text by its piece table (MS-DOC 2.4.1).
fn of_doc(source: Source<'_>, pages: &mut Pages<'_>) -> Judged<()> {
    let Ok(mut compound) = cfb::CompoundFile::open(BufReader::new(source.reader())) else { return Ok(()) };
    let mut stream = |name: &str| {
        let mut bytes = Vec::new();
        compound.open_stream(name).ok()?.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let Some(main) = stream("WordDocument") else { return Ok(()) };
    let table = if le16(&main, 10).unwrap_or(0) & 0x0200 == 0 { "0Table" } else { "1Table" };
    let Some(table) = stream(table) else { return Ok(()) };
    pages.begin();
    for piece in pieces(&main, &table).unwrap_or_default() {
        let text: String = piece_text(&main, &piece).chars().map(layout).collect();
        if !pages.push(&text) {
            break;
        }
    }
    Ok(())
}

/// A run of characters of a Word document.
struct Piece {
    offset: usize,
    chars: usize,
    one_byte: bool,
}

fn pieces(main: &[u8], table: &[u8]) -> Option<Vec<Piece>> {
    let start = usize::try_from(le32(main, 0x01A2)?).ok()?;
    let len = usize::try_from(le32(main, 0x01A6)?).ok()?;
    let mut rest = table.get(start..)?.get(..len)?;
    // Formatting comes first, each with its length; the piece table is marked 2.
    while rest.first() == Some(&1) {
        rest = rest.get(3 + usize::from(le16(rest, 1)?)..)?;
    }
    let plan = rest.strip_prefix(&[2])?.get(4..)?;
    let count = plan.len().checked_sub(4)? / 12;
    let mut pieces = Vec::with_capacity(count);
    for place in 0..count {
        let (from, to) = le32(plan, place * 4).zip(le32(plan, place * 4 + 4))?;
        let position = le32(plan, (count + 1) * 4 + place * 8 + 2)?;
        let one_byte = position & 0x4000_0000 != 0;
        let offset = usize::try_from(position & 0x3FFF_FFFF).ok()?;
        let chars = usize::try_from(to.checked_sub(from)?).ok()?;
        pieces.push(Piece { offset: if one_byte { offset / 2 } else { offset }, chars, one_byte });
    }
    Some(pieces)
}

fn piece_text(main: &[u8], piece: &Piece) -> String {
    let (encoding, width) = if piece.one_byte { (encoding_rs::WINDOWS_1252, 1) } else { (encoding_rs::UTF_16LE, 2) };
    let bytes = main.get(piece.offset..).unwrap_or_default();
    let len = piece.chars.saturating_mul(width).min(bytes.len());
    encoding.decode_without_bom_handling(bytes.get(..len).unwrap_or_default()).0.into_owned()
}

/// Word's own marks of paragraphs, cells and fields as layout.
fn layout(c: char) -> char {
    match c {
        '\r' | '\u{b}' => '\n',
        '\u{7}' => '\t',
        '\u{13}'..='\u{15}' | '\u{1}' | '\u{8}' => ' ',
        other => other,
    }
}
