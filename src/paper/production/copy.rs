//! Copies a letter's pages into the print file. An object that is the same as one already there is not written again:
//! what it names was compared before, so equal bytes mean an equal whole (fonts, colour profiles, pictures, whole pages
//! of languages).
//!
//! Left behind: tags, links, bookmarks and metadata. They are for readers, not for printers; the letter itself is kept.

use std::collections::HashMap;
use std::io::{self, Write};

use lopdf::{Dictionary, Document, LoadOptions, Object, ObjectId, StringFormat};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::paper::production::content::FONT;
use crate::paper::production::pdf::PdfWriter;
use crate::paper::production::plan::{SHEET_HEIGHT_IN, SHEET_WIDTH_IN};

/// Objects remembered as written, in each of two generations. They take
/// 6 MB at most, however long the batch is.
const REMEMBERED: usize = 1 << 16;
/// How deep objects of a letter may nest.
const DEPTH: usize = 60;
/// Bytes that a letter's table of objects may expand to.
const TABLE_BYTES: usize = 64 << 20;

/// Why a letter can't be printed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LetterFault {
    /// It is no PDF that can be read.
    #[error("it is no PDF that can be read")]
    Unreadable,
    /// It is encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// Its bytes are not those that were stored.
    #[error("its bytes are not those that were stored")]
    Changed,
    /// It has another number of pages than planned.
    #[error("it has {found} pages, not {planned}")]
    Pages {
        /// How many it was to have.
        planned: u32,
        /// How many it has.
        found: u32,
    },
    /// A page is not an upright US letter page.
    #[error("page {0} is not an upright US letter page")]
    PageSize(u32),
    /// It nests deeper than letters do.
    #[error("its objects nest too deeply")]
    TooDeep,
}

/// A fault of the letter, or of the file that is written.
pub(super) enum CopyError {
    Letter(LetterFault),
    Write(io::Error),
}

impl From<LetterFault> for CopyError {
    fn from(fault: LetterFault) -> Self {
        Self::Letter(fault)
    }
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// What was written, by the hash of its bytes: two generations, of which the older is forgotten as a whole. What comes
/// again and again moves to the younger and stays.
#[derive(Default)]
struct Seen {
    young: HashMap<[u8; 16], u32>,
    old: HashMap<[u8; 16], u32>,
}

impl Seen {
    fn get(&mut self, hash: &[u8; 16]) -> Option<u32> {
        if let Some(id) = self.young.get(hash) {
            return Some(*id);
        }
        let id = self.old.get(hash).copied()?;
        self.insert(*hash, id);
        Some(id)
    }

    fn insert(&mut self, hash: [u8; 16], id: u32) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, id);
    }
}

/// Copies letters into one file.
#[derive(Default)]
pub(super) struct Copier {
    seen: Seen,
    shared_bytes: u64,
}

/// A letter that was read: its pages are there, upright and of the right size.
pub(super) struct Opened {
    document: Document,
    pages: Vec<ObjectId>,
}

impl Opened {
    /// Reads a letter.
    pub(super) fn read(bytes: &[u8], planned: u32) -> Result<Self, LetterFault> {
        let options = LoadOptions { max_decompressed_size: Some(TABLE_BYTES), ..LoadOptions::default() };
        let document = Document::load_mem_with_options(bytes, options).map_err(|_| LetterFault::Unreadable)?;
        if document.is_encrypted() || document.was_encrypted() {
            return Err(LetterFault::Encrypted);
        }
        let pages: Vec<ObjectId> = document.page_iter().collect();
        let found = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        if found != planned {
            return Err(LetterFault::Pages { planned, found });
        }
        let opened = Self { document, pages };
        for (number, id) in (1..).zip(&opened.pages) {
            if !opened.is_upright_letter(*id) {
                return Err(LetterFault::PageSize(number));
            }
        }
        Ok(opened)
    }

    fn dictionary(&self, id: ObjectId) -> Option<&Dictionary> {
        self.document.get_object(id).ok()?.as_dict().ok()
    }

    fn resolved<'a>(&'a self, object: &'a Object) -> Option<&'a Object> {
        self.document.dereference(object).ok().map(|(_, object)| object)
    }

    /// An entry of a page, or of what it is below of.
    fn inherited(&self, page: ObjectId, key: &[u8]) -> Option<&Object> {
        let mut node = self.dictionary(page)?;
        for _ in 0..DEPTH {
            if let Ok(value) = node.get(key) {
                return self.resolved(value);
            }
            node = self.dictionary(node.get(b"Parent").ok()?.as_reference().ok()?)?;
        }
        None
    }

    fn is_upright_letter(&self, page: ObjectId) -> bool {
        let turned = self.inherited(page, b"Rotate").and_then(|turn| turn.as_i64().ok()).unwrap_or(0);
        let scaled = self.inherited(page, b"UserUnit").is_some();
        let right = |area: &Object| {
            let corner = [0.0, 0.0, SHEET_WIDTH_IN * 72.0, SHEET_HEIGHT_IN * 72.0];
            area.as_array().is_ok_and(|sides| {
                let sides: Vec<f64> =
                    sides.iter().filter_map(|side| self.resolved(side)?.as_float().ok()).map(f64::from).collect();
                sides.len() == 4 && sides.iter().zip(corner).all(|(side, corner)| (side - corner).abs() < 1.0)
            })
        };
        turned % 360 == 0
            && !scaled
            && self.inherited(page, b"MediaBox").is_some_and(right)
            && self.inherited(page, b"CropBox").is_none_or(right)
    }
}

/// What a page is given on its way.
pub(super) struct Over {
    /// The font of marks.
    pub(super) font: u32,
    /// The stream that only says `q`.
    pub(super) save: u32,
    /// What is drawn over the page; it begins with `Q`.
    pub(super) content: Vec<u8>,
}

impl Copier {
    /// Bytes that were not written because they were there.
    pub(super) const fn shared_bytes(&self) -> u64 {
        self.shared_bytes
    }

    /// Copies all pages of a letter. `over` says what is drawn over each; page numbers begin at 0.
    pub(super) fn letter<W: Write>(
        &mut self,
        pdf: &mut PdfWriter<W>,
        letter: &Opened,
        mut over: impl FnMut(usize, &mut PdfWriter<W>) -> Result<Option<Over>, CopyError>,
        mut after: impl FnMut(usize, &mut PdfWriter<W>) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        let mut ids = HashMap::new();
        for (number, page) in letter.pages.iter().enumerate() {
            let over = over(number, pdf)?;
            let mut copy = Copy { copier: self, letter, ids: &mut ids, pdf };
            let entries = copy.page(*page, over)?;
            pdf.page(&entries)?;
            after(number, pdf)?;
        }
        Ok(())
    }
}

enum Slot {
    /// Being copied; the number it was given because something in it names it.
    Open(Option<u32>),
    Done(u32),
}

struct Copy<'a, W> {
    copier: &'a mut Copier,
    letter: &'a Opened,
    ids: &'a mut HashMap<ObjectId, Slot>,
    pdf: &'a mut PdfWriter<W>,
}

impl<W: Write> Copy<'_, W> {
    fn page(&mut self, id: ObjectId, over: Option<Over>) -> Result<Vec<u8>, CopyError> {
        let letter = self.letter;
        let page = letter.dictionary(id).ok_or(LetterFault::Unreadable)?;
        let mut out = Vec::with_capacity(256);
        for key in [b"MediaBox".as_slice(), b"CropBox"] {
            if let Some(area) = letter.inherited(id, key) {
                self.entry(key, area, &mut out)?;
            }
        }
        // How the page's own colours are mixed.
        if let Ok(group) = page.get(b"Group") {
            self.entry(b"Group", group, &mut out)?;
        }
        let none = Object::Dictionary(Dictionary::new());
        let resources = letter.inherited(id, b"Resources").unwrap_or(&none);
        match (&over, resources.as_dict()) {
            (Some(over), Ok(resources)) => {
                out.extend_from_slice(b"/Resources");
                self.resources(resources, over.font, &mut out)?;
            }
            _ => self.entry(b"Resources", resources, &mut out)?,
        }
        let mut streams = Vec::new();
        if let Ok(contents) = page.get(b"Contents") {
            match letter.resolved(contents) {
                Some(Object::Array(parts)) => streams.extend(parts.iter().filter_map(|part| part.as_reference().ok())),
                Some(Object::Stream(_)) => streams.extend(contents.as_reference().ok()),
                _ => {}
            }
        }
        out.extend_from_slice(b"/Contents[");
        if let Some(over) = &over {
            out.extend_from_slice(format!("{} 0 R ", over.save).as_bytes());
        }
        for stream in streams {
            let id = self.object(stream, 0)?;
            out.extend_from_slice(format!("{id} 0 R ").as_bytes());
        }
        if let Some(over) = &over {
            let id = self.pdf.reserve();
            self.pdf.stream(id, "", &over.content)?;
            out.extend_from_slice(format!("{id} 0 R").as_bytes());
        }
        out.push(b']');
        Ok(out)
    }

    /// A page's resources with the font of marks beside its own.
    fn resources(&mut self, resources: &Dictionary, font: u32, out: &mut Vec<u8>) -> Result<(), CopyError> {
        out.extend_from_slice(b"<<");
        for (key, value) in resources.iter().filter(|(key, _)| key.as_slice() != b"Font") {
            self.entry(key, value, out)?;
        }
        out.extend_from_slice(b"/Font<<");
        let letter = self.letter;
        let fonts = resources.get(b"Font").ok().and_then(|fonts| letter.resolved(fonts)?.as_dict().ok());
        for (key, value) in fonts.into_iter().flat_map(Dictionary::iter) {
            self.entry(key, value, out)?;
        }
        out.extend_from_slice(format!("/{FONT} {font} 0 R>>>>").as_bytes());
        Ok(())
    }

    fn entry(&mut self, key: &[u8], value: &Object, out: &mut Vec<u8>) -> Result<(), CopyError> {
        name(key, out);
        self.put(value, out, 0)
    }

    /// Copies an object, or finds that it is there; answers its number.
    fn object(&mut self, id: ObjectId, depth: usize) -> Result<u32, CopyError> {
        match self.ids.get_mut(&id) {
            Some(Slot::Done(new)) => return Ok(*new),
            Some(Slot::Open(Some(new))) => return Ok(*new),
            Some(slot @ Slot::Open(None)) => {
                let new = self.pdf.reserve();
                *slot = Slot::Open(Some(new));
                return Ok(new);
            }
            None => self.ids.insert(id, Slot::Open(None)),
        };
        let letter = self.letter;
        let object = letter.document.get_object(id).unwrap_or(&Object::Null);
        let mut body = Vec::new();
        self.put(object, &mut body, depth + 1)?;
        let new = if let Some(Slot::Open(Some(new))) = self.ids.get(&id) {
            // It names itself, so its bytes hold its own number and are like no other's.
            let new = *new;
            self.pdf.object(new, &body)?;
            new
        } else {
            let mut hash = [0; 16];
            hash.copy_from_slice(&Sha256::digest(&body)[..16]);
            if let Some(there) = self.copier.seen.get(&hash) {
                self.copier.shared_bytes += body.len() as u64;
                there
            } else {
                let new = self.pdf.reserve();
                self.pdf.object(new, &body)?;
                self.copier.seen.insert(hash, new);
                new
            }
        };
        self.ids.insert(id, Slot::Done(new));
        Ok(new)
    }

    fn put(&mut self, object: &Object, out: &mut Vec<u8>, depth: usize) -> Result<(), CopyError> {
        if depth > DEPTH {
            return Err(LetterFault::TooDeep.into());
        }
        match object {
            Object::Null => out.extend_from_slice(b" null"),
            Object::Boolean(value) => out.extend_from_slice(if *value { b" true" } else { b" false" }),
            Object::Integer(value) => out.extend_from_slice(format!(" {value}").as_bytes()),
            Object::Real(value) => out.extend_from_slice(format!(" {value}").as_bytes()),
            Object::Name(value) => name(value, out),
            Object::String(value, format) => string(value, *format, out),
            Object::Array(values) => {
                out.push(b'[');
                for value in values {
                    self.put(value, out, depth + 1)?;
                }
                out.push(b']');
            }
            Object::Dictionary(values) => {
                if leads_back(values) {
                    out.extend_from_slice(b" null");
                    return Ok(());
                }
                out.extend_from_slice(b"<<");
                self.entries(values, out, depth)?;
                out.extend_from_slice(b">>");
            }
            Object::Stream(stream) => {
                out.extend_from_slice(b"<<");
                self.entries(&stream.dict, out, depth)?;
                out.extend_from_slice(format!("/Length {}>>\nstream\n", stream.content.len()).as_bytes());
                out.extend_from_slice(&stream.content);
                out.extend_from_slice(b"\nendstream");
            }
            Object::Reference(id) => {
                let new = self.object(*id, depth + 1)?;
                out.extend_from_slice(format!(" {new} 0 R").as_bytes());
            }
        }
        Ok(())
    }

    fn entries(&mut self, values: &Dictionary, out: &mut Vec<u8>, depth: usize) -> Result<(), CopyError> {
        let left = |key: &[u8]| matches!(key, b"Length" | b"StructParent" | b"StructParents" | b"Metadata");
        for (key, value) in values.iter().filter(|(key, _)| !left(key)) {
            name(key, out);
            self.put(value, out, depth + 1)?;
        }
        Ok(())
    }
}

/// Whether this is a page or above one: nothing that is drawn needs it, and all of a letter hangs on it.
fn leads_back(dictionary: &Dictionary) -> bool {
    let kind = dictionary.get(b"Type").and_then(Object::as_name);
    matches!(kind, Ok(b"Page" | b"Pages" | b"Catalog" | b"StructTreeRoot" | b"StructElem"))
}

fn name(name: &[u8], out: &mut Vec<u8>) {
    out.push(b'/');
    for byte in name {
        if b"()<>[]{}/%#".contains(byte) || !(33..=126).contains(byte) {
            out.extend_from_slice(format!("#{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
}

fn string(text: &[u8], format: StringFormat, out: &mut Vec<u8>) {
    if format == StringFormat::Hexadecimal {
        out.push(b'<');
        out.extend_from_slice(hex::encode(text).as_bytes());
        out.push(b'>');
        return;
    }
    out.push(b'(');
    for byte in text {
        match byte {
            b'(' | b')' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(*byte),
        }
    }
    out.push(b')');
}
