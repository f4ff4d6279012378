//! Office Open XML packages (ECMA-376): what a .docx or .xlsx is by the type of its main part, and what its
//! parts hold. Every part is expanded once, to its declared length and checksum, so that nothing is left that
//! another reader would see differently.

use std::collections::HashMap;
use std::io::{self, Read};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use quick_xml::events::{BytesStart, Event};

use super::nested::{Inside, is_program};
use crate::intake::sniff::archive::{self, Entry, Method};
use crate::intake::sniff::finding::{Finding, Judged};
use crate::intake::sniff::kinds;
use crate::intake::sniff::source::{Source, SourceReader};
use crate::model::judgement::{FileType, Flag, ReasonCode};

/// Bytes of a part that is parsed to judge the package: content types and relationships.
const XML_BYTES: u64 = 8 << 20;
const HEAD_BYTES: u64 = 512;

/// Endings of parts that a system would run, or a viewer act on.
const PROGRAMS: [&str; 17] = [
    "exe", "dll", "com", "scr", "msi", "bat", "cmd", "ps1", "vbs", "vbe", "js", "jse", "wsf", "hta", "jar", "lnk",
    "pif",
];
/// Endings of parts that are documents of their own.
const DOCUMENTS: [&str; 7] = ["mht", "mhtml", "htm", "html", "rtf", "eml", "msg"];

/// The types a package declares for its parts.
#[derive(Default)]
struct ContentTypes {
    by_extension: HashMap<String, String>,
    by_part: HashMap<String, String>,
}

impl ContentTypes {
    fn of(&self, part: &str) -> &str {
        let part = part.trim_start_matches('/').to_ascii_lowercase();
        let extension = part.rsplit('.').next().unwrap_or_default();
        self.by_part.get(&part).or_else(|| self.by_extension.get(extension)).map_or("", String::as_str)
    }
}

/// Reads a package; at depth 0 it has to be a Word document or an Excel workbook, further in any archive is
/// taken apart.
pub fn inspect<'f>(source: Source<'f>, depth: u32, inside: &mut Inside<'f>) -> Judged<()> {
    let entries = archive::entries(&source, inside.policy)?;
    let Some(types) = entries.iter().find(|entry| entry.name == "[Content_Types].xml") else {
        if depth == 0 {
            return Err(kinds::refuse("zip").into());
        }
        return unpack(&source, &entries, depth, inside);
    };
    let types = content_types(&xml(&source, types)?)?;
    // Macros first: a package that has them is told so, whatever its main part says it is.
    if entries.iter().any(|entry| has_macros(&entry.name, types.of(&entry.name))) {
        if !inside.policy.waive_macros {
            let excel = entries.iter().any(|entry| entry.name.to_ascii_lowercase().starts_with("xl/"));
            return Err(macros(if excel { "xlsm" } else { "docm" }).into());
        }
        inside.flag(Flag::Macros);
    }
    let main = main_part(&source, &entries)?;
    match main_type(types.of(&main)) {
        Ok(file_type) => inside.is(depth, file_type),
        Err("pptx") if depth > 0 => {}
        Err(word) => return Err(kinds::refuse(word).into()),
    }
    for entry in entries.iter().filter(|entry| !entry.name.ends_with('/')) {
        inspect_part(&source, entry, depth, inside)?;
    }
    Ok(())
}

fn damaged() -> Finding {
    Finding::damaged(FileType::Docx)
}

fn macros(word: &str) -> Finding {
    Finding::reject_as(
        word,
        ReasonCode::Macros,
        "this document has macros, which its type does not allow; save it as .docx or .xlsx without them and send that",
    )
}

/// A VBA project or an Excel 4 macro sheet, by name or by declared type.
fn has_macros(name: &str, content_type: &str) -> bool {
    let (name, content_type) = (name.to_ascii_lowercase(), content_type.to_ascii_lowercase());
    let file = name.rsplit('/').next().unwrap_or_default();
    matches!(file, "vbaproject.bin" | "vbadata.xml" | "vbaprojectsignature.bin")
        || name.contains("/macrosheets/")
        || content_type.contains("vbaproject")
        || content_type.contains("macrosheet")
}

/// The accepted type of a main part, or the word for what it is instead.
fn main_type(content_type: &str) -> Result<FileType, &'static str> {
    let lower = content_type.to_ascii_lowercase();
    let has = |word: &str| lower.contains(word);
    match () {
        () if has("wordprocessingml.document.main+xml") => Ok(FileType::Docx),
        () if has("spreadsheetml.sheet.main+xml") => Ok(FileType::Xlsx),
        () if has("binary.macroenabled") => Err("xlsb"),
        () if has("ms-word") && has("macroenabled") => Err("docm"),
        () if has("ms-excel") && has("macroenabled") => Err("xlsm"),
        () if has("wordprocessingml.template") => Err("dotx"),
        () if has("spreadsheetml.template") => Err("xltx"),
        () if has("presentationml") || has("ms-powerpoint") => Err("pptx"),
        () => Err("ooxml"),
    }
}

/// The main part's name, by the package's own relationships.
fn main_part(source: &Source<'_>, entries: &[Entry]) -> Judged<String> {
    let find = |name: &str| entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(name));
    let Some(relationships) = find("_rels/.rels") else { return Err(kinds::refuse("ooxml").into()) };
    let relationships = relationships_of(&xml(source, relationships)?)?;
    let main = relationships.iter().find(|r| r.kind.ends_with("/officeDocument")).map(|r| r.target.clone());
    match main.map(|target| target.trim_start_matches('/').trim_start_matches("./").to_owned()) {
        Some(target) if find(&target).is_some() => Ok(target),
        _ => Err(kinds::refuse("ooxml").into()),
    }
}

/// Expands one part to its end and judges what it is.
fn inspect_part<'f>(source: &Source<'f>, entry: &Entry, depth: u32, inside: &mut Inside<'f>) -> Judged<()> {
    let name = entry.name.to_ascii_lowercase();
    let extension = name.rsplit('.').next().unwrap_or_default();
    let mut head = Vec::new();
    expand(source, entry).take(HEAD_BYTES).read_to_end(&mut head).map_err(|_| damaged())?;
    if PROGRAMS.contains(&extension) || is_program(&head) {
        return Err(kinds::refuse("exe").into());
    }
    if name.contains("/externallinks/") {
        inside.flag(Flag::ExternalLinks);
    }
    if name.contains("/activex/") {
        inside.flag(Flag::ActiveContent);
    }
    if extension == "rels" {
        let external = relationships_of(&xml(source, entry)?)?;
        // Hyperlinks are in most letters and open on a click only; what else is external loads by itself.
        if external.iter().any(|r| r.external && !r.kind.ends_with("/hyperlink")) {
            inside.flag(Flag::ExternalLinks);
        }
        return Ok(());
    }
    let is_container = head.starts_with(b"\xD0\xCF\x11\xE0") || head.starts_with(b"PK\x03\x04");
    let is_document = head.starts_with(b"%PDF-") || DOCUMENTS.contains(&extension);
    if is_container || is_document || name.contains("/embeddings/") {
        return inside.take_out(&mut expand(source, entry), entry.name.rsplit('/').next(), depth);
    }
    io::copy(&mut expand(source, entry), &mut io::sink()).map_err(|_| damaged())?;
    Ok(())
}

/// Takes every file out of a plain archive that is embedded in another file.
fn unpack<'f>(source: &Source<'f>, entries: &[Entry], depth: u32, inside: &mut Inside<'f>) -> Judged<()> {
    for entry in entries.iter().filter(|entry| !entry.name.ends_with('/')) {
        inside.take_out(&mut expand(source, entry), entry.name.rsplit('/').next(), depth)?;
    }
    Ok(())
}

/// A part of XML, whole.
pub(super) fn xml(source: &Source<'_>, entry: &Entry) -> Judged<Vec<u8>> {
    if entry.expanded_bytes > XML_BYTES {
        return Err(Finding::bomb("larger lists of parts").into());
    }
    let mut bytes = Vec::new();
    expand(source, entry).read_to_end(&mut bytes).map_err(|_| damaged())?;
    Ok(bytes)
}

/// A reader of a part's expanded bytes, which fails where they are not those declared.
pub(super) fn expand<'f>(source: &Source<'f>, entry: &Entry) -> Expanded<'f> {
    let stored = source.slice(entry.data_start, entry.stored_bytes).reader();
    let inner = match entry.method {
        Method::Stored => Inner::Stored(stored),
        Method::Deflated => Inner::Deflated(Box::new(DeflateDecoder::new(stored))),
    };
    Expanded { inner, left: entry.expanded_bytes, crc: Crc::new(), wanted: entry.crc32 }
}

/// See [`expand`].
pub(super) struct Expanded<'f> {
    inner: Inner<'f>,
    left: u64,
    crc: Crc,
    wanted: u32,
}

enum Inner<'f> {
    Stored(SourceReader<'f>),
    Deflated(Box<DeflateDecoder<SourceReader<'f>>>),
}

impl Read for Expanded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = match &mut self.inner {
            Inner::Stored(reader) => reader.read(buffer),
            Inner::Deflated(reader) => reader.read(buffer),
        }?;
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        self.left = self.left.checked_sub(count as u64).ok_or_else(wrong)?;
        self.crc.update(buffer.get(..count).unwrap_or_default());
        if count == 0 && (self.left > 0 || self.crc.sum() != self.wanted) {
            return Err(wrong());
        }
        Ok(count)
    }
}

struct Relationship {
    kind: String,
    target: String,
    external: bool,
}

fn relationships_of(xml: &[u8]) -> Judged<Vec<Relationship>> {
    let mut found = Vec::new();
    each_element(xml, |element| {
        if element.local_name().as_ref() == "Relationship" {
            let get = |key| attribute(element, key).unwrap_or_default();
            let external = get("TargetMode").eq_ignore_ascii_case("external");
            found.push(Relationship { kind: get("Type"), target: get("Target"), external });
        }
    })?;
    Ok(found)
}

fn content_types(xml: &[u8]) -> Judged<ContentTypes> {
    let mut types = ContentTypes::default();
    each_element(xml, |element| {
        let get = |key| attribute(element, key).unwrap_or_default();
        match element.local_name().as_ref() {
            "Default" => {
                types.by_extension.insert(get("Extension").to_ascii_lowercase(), get("ContentType"));
            }
            "Override" => {
                let part = get("PartName").trim_start_matches('/').to_ascii_lowercase();
                types.by_part.insert(part, get("ContentType"));
            }
            _ => {}
        }
    })?;
    Ok(types)
}

fn each_element(xml: &[u8], mut each: impl FnMut(&BytesStart<'_>)) -> Judged<()> {
    let (xml, _, _) = encoding_rs::UTF_8.decode(xml);
    let mut reader = quick_xml::Reader::from_str(&xml);
    loop {
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element)) => each(&element),
            // No part of a package has a document type; entities could blow it up.
            Ok(Event::DocType(_)) | Err(_) => return Err(damaged().into()),
            Ok(Event::Eof) => return Ok(()),
            Ok(_) => {}
        }
    }
}

fn attribute(element: &BytesStart<'_>, key: &str) -> Option<String> {
    let attribute = element.try_get_attribute(key).ok()??;
    let unescaped = quick_xml::escape::unescape(&attribute.value).map(|text| text.into_owned());
    Some(unescaped.unwrap_or_else(|_| attribute.value.clone().into_owned()))
}
