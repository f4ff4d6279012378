//! Takes a PDF apart into documents of some of its pages (OPS-01).
//!
//! Each part is a new document, made of its pages and what they lead to, not the old one with pages removed: a removed
//! page lives on wherever something else still leads to it, and a part must not carry another patient's page along.
//! So nothing that leads to a page that is not the part's is taken: links, actions, outlines, form fields, threads and
//! the structure tree stay behind. What a page shows is all there.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};

use lopdf::{Dictionary, Document, Object, ObjectId, Stream, dictionary};
use serde::{Deserialize, Serialize};

use super::{filters, pdf};
use crate::codes;
use crate::intake::sniff::source::Source;
use crate::model::pages::{PageRange, take_apart};

/// Arrays and dictionaries within each other; `lopdf` reads no deeper.
const DEPTH: u32 = 128;

/// What is to be taken apart, and within which bounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SplitJob {
    /// The pages of each part.
    pub ranges: Vec<PageRange>,
    /// Bytes of one stream, expanded.
    pub entry_bytes: u64,
    /// Bytes of all parts.
    pub bytes: u64,
}

codes! {
    /// Why a document can't be taken apart.
    pub enum Unsplittable {
        /// It can't be read as it is.
        Unreadable = "unreadable",
        /// It has files attached, which belong to no page.
        Attachments = "attachments",
        /// What its pages show is made from a form when it is opened.
        Form = "form",
        /// The parts would be too large.
        TooLarge = "too_large",
    }
}

/// A part, as a stretch of the scratch file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitReport {
    /// The parts, in the order of their ranges.
    Parts(Vec<Part>),
    /// The ranges do not fit its pages, in words.
    Ranges(String),
    /// It can't be taken apart.
    Unsplittable(Unsplittable),
}

/// Takes a PDF apart; the parts go to `scratch`, one behind the other.
///
/// # Errors
/// When the file can't be read or the scratch file not written.
pub fn pdf(source: Source<'_>, job: &SplitJob, scratch: &File) -> io::Result<SplitReport> {
    let mut bytes = Vec::new();
    source.reader().read_to_end(&mut bytes)?;
    let entry_bytes = usize::try_from(job.entry_bytes).unwrap_or(usize::MAX);
    let Ok(document) = pdf::load(&bytes, entry_bytes) else {
        return Ok(SplitReport::Unsplittable(Unsplittable::Unreadable));
    };
    drop(bytes);
    if let Some(why) = unsplittable(&document) {
        return Ok(SplitReport::Unsplittable(why));
    }
    let pages: Vec<ObjectId> = document.get_pages().into_values().collect();
    if let Err(error) = take_apart(&job.ranges, u32::try_from(pages.len()).unwrap_or(u32::MAX)) {
        return Ok(SplitReport::Ranges(error.to_string()));
    }
    let mut out = Bounded { file: scratch, written: 0, limit: job.bytes, over: false };
    let mut parts = Vec::new();
    for range in &job.ranges {
        let offset = out.written;
        let mine = pages.iter().skip(range.first as usize - 1).take(range.pages() as usize);
        let Some(mut part) = part_of(&document, entry_bytes, mine) else {
            return Ok(SplitReport::Unsplittable(Unsplittable::Unreadable));
        };
        match part.save_to(&mut out) {
            Ok(()) => parts.push(Part { offset, len: out.written - offset }),
            Err(_) if out.over => return Ok(SplitReport::Unsplittable(Unsplittable::TooLarge)),
            Err(fault) => return Err(fault),
        }
    }
    Ok(SplitReport::Parts(parts))
}

fn unsplittable(document: &Document) -> Option<Unsplittable> {
    let Ok(catalog) = document.catalog() else { return Some(Unsplittable::Unreadable) };
    if document.is_encrypted() {
        return Some(Unsplittable::Unreadable);
    }
    let entry = |dictionary: &Dictionary, key: &[u8]| dictionary.get_deref(key, document).ok().cloned();
    let names = entry(catalog, b"Names");
    if names.as_ref().and_then(|names| names.as_dict().ok()).is_some_and(|names| names.has(b"EmbeddedFiles"))
        || catalog.has(b"AF")
        || catalog.has(b"Collection")
    {
        return Some(Unsplittable::Attachments);
    }
    let form = entry(catalog, b"AcroForm");
    let form = form.as_ref().and_then(|form| form.as_dict().ok());
    let made = form.is_some_and(|form| {
        form.has(b"XFA") || entry(form, b"NeedAppearances").is_some_and(|needs| needs.as_bool().unwrap_or(true))
    });
    made.then_some(Unsplittable::Form)
}

/// A new document of some pages. `None` where they can't be read.
fn part_of<'p>(from: &Document, entry_bytes: usize, pages: impl Iterator<Item = &'p ObjectId>) -> Option<Document> {
    let mut to = Document::with_version(if from.version.as_str() < "1.5" { "1.5" } else { &from.version });
    let tree = to.new_object_id();
    let mut copier = Copier { from, entry_bytes, to, copied: HashMap::new(), waiting: Vec::new() };
    let mut kids = Vec::new();
    for id in pages {
        kids.push(Object::Reference(copier.page(*id, tree)?));
    }
    copier.follow()?;
    let mut catalog = dictionary! { "Type" => "Catalog", "Pages" => tree };
    // which layers of a page are shown
    if let Some(layers) = from.catalog().ok().and_then(|catalog| catalog.get(b"OCProperties").ok()) {
        catalog.set("OCProperties", copier.copy(layers, 0)?);
        copier.follow()?;
    }
    let mut to = copier.to;
    let count = i64::try_from(kids.len()).ok()?;
    to.objects.insert(tree, dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => count }.into());
    let catalog = to.add_object(catalog);
    to.trailer.set("Root", catalog);
    Some(to)
}

/// Copies what pages lead to.
struct Copier<'d> {
    from: &'d Document,
    /// Bytes of one stream, expanded, at most.
    entry_bytes: usize,
    to: Document,
    copied: HashMap<ObjectId, ObjectId>,
    waiting: Vec<ObjectId>,
}

impl Copier<'_> {
    /// A page with what it inherits, below another tree.
    fn page(&mut self, id: ObjectId, tree: ObjectId) -> Option<ObjectId> {
        const KEPT: [&[u8]; 11] = [
            b"Type",
            b"MediaBox",
            b"CropBox",
            b"BleedBox",
            b"TrimBox",
            b"ArtBox",
            b"Rotate",
            b"Contents",
            b"Group",
            b"UserUnit",
            b"VP",
        ];
        let from = self.from;
        let page = from.get_dictionary(id).ok()?;
        let mut new = Dictionary::new();
        for key in KEPT {
            if let Some(value) = inherited(from, page, key) {
                new.set(key, self.copy(value, 0)?);
            }
        }
        if let Some(resources) = inherited(from, page, b"Resources") {
            let used = self.names_on(id)?;
            new.set("Resources", self.resources(resources, used, 0)?);
        }
        let own = self.to.new_object_id();
        let notes = page.get_deref(b"Annots", from).ok().and_then(|notes| notes.as_array().ok());
        let mut kept = Vec::new();
        for note in notes.into_iter().flatten() {
            kept.extend(self.annotation(note, own)?);
        }
        if !kept.is_empty() {
            new.set("Annots", kept);
        }
        new.set("Parent", tree);
        self.to.objects.insert(own, new.into());
        Some(own)
    }

    /// Every name that stands in a page's content.
    fn names_on(&self, page: ObjectId) -> Option<BTreeSet<Vec<u8>>> {
        let mut names = BTreeSet::new();
        for id in self.from.get_page_contents(page) {
            let stream = self.from.get_object(id).and_then(Object::as_stream).ok()?;
            names.extend(self.names_in(stream)?);
        }
        Some(names)
    }

    fn names_in(&self, stream: &Stream) -> Option<BTreeSet<Vec<u8>>> {
        Some(names(&filters::decode(stream, self.from, self.entry_bytes)?))
    }

    /// What drawings draw with. One list often serves all pages, and leads to all of their pictures: taken is only what
    /// is named where it is used.
    fn resources(&mut self, resources: &Object, mut used: BTreeSet<Vec<u8>>, depth: u32) -> Option<Object> {
        const DRAWN: [&[u8]; 2] = [b"XObject", b"Pattern"];
        let from = self.from;
        let Ok(resources) = from.dereference(resources).and_then(|(_, resources)| resources.as_dict()) else {
            return Some(Object::Null);
        };
        if leads_to_pages(resources) {
            return Some(Object::Null);
        }
        let drawn = |key: &[u8]| resources.get_deref(key, from).ok().and_then(|all| all.as_dict().ok());
        // a form without a list of its own draws with this one
        loop {
            let before = used.len();
            for (name, form) in drawn(b"XObject").into_iter().flatten() {
                if !used.contains(name) {
                    continue;
                }
                let stream = from.dereference(form).ok().and_then(|(_, form)| form.as_stream().ok());
                let bare = |stream: &&Stream| is_form(&stream.dict) && !stream.dict.has(b"Resources");
                if let Some(stream) = stream.filter(bare) {
                    used.extend(self.names_in(stream)?);
                }
            }
            if used.len() == before {
                break;
            }
        }
        let mut own = Dictionary::new();
        for (key, value) in resources {
            let value = match drawn(key).filter(|_| DRAWN.contains(&key.as_slice())) {
                None => self.copy(value, depth + 1)?,
                Some(all) => {
                    let mut kept = Dictionary::new();
                    for (name, value) in all.iter().filter(|(name, _)| used.contains(*name)) {
                        kept.set(name.clone(), self.copy(value, depth + 1)?);
                    }
                    kept.into()
                }
            };
            own.set(key.clone(), value);
        }
        Some(own.into())
    }

    /// A note on a page without what leads away from it. `Some(None)`: there is nothing to show.
    #[expect(clippy::option_option, reason = "unreadable is not the same as nothing")]
    fn annotation(&mut self, note: &Object, page: ObjectId) -> Option<Option<Object>> {
        const LEADS_AWAY: [&[u8]; 11] =
            [b"Parent", b"P", b"Dest", b"A", b"AA", b"PA", b"IRT", b"Popup", b"StructParent", b"Kids", b"RT"];
        let Ok(note) = self.from.dereference(note).and_then(|(_, note)| note.as_dict()) else { return Some(None) };
        // a list of notes that names a page would take that one along
        if leads_to_pages(note) {
            return Some(None);
        }
        if note.get(b"Subtype").and_then(Object::as_name).is_ok_and(|subtype| matches!(subtype, b"Link" | b"Popup")) {
            return Some(None);
        }
        let mut own = Dictionary::new();
        for (key, value) in note.iter().filter(|(key, _)| !LEADS_AWAY.contains(&key.as_slice())) {
            own.set(key.clone(), self.copy(value, 0)?);
        }
        own.set("P", page);
        Some(Some(Object::Reference(self.to.add_object(own))))
    }

    /// Copies a value; what it refers to is copied later. `None` where it is nested too deep.
    fn copy(&mut self, object: &Object, depth: u32) -> Option<Object> {
        if depth > DEPTH {
            return None;
        }
        Some(match object {
            Object::Reference(id) => self.refer(*id),
            Object::Array(all) => {
                Object::Array(all.iter().map(|object| self.copy(object, depth + 1)).collect::<Option<_>>()?)
            }
            Object::Dictionary(dictionary) if leads_to_pages(dictionary) => Object::Null,
            Object::Dictionary(dictionary) => self.copy_dictionary(dictionary, depth)?.into(),
            Object::Stream(stream) => {
                let mut plain = stream.dict.clone();
                let resources = plain.remove(b"Resources");
                let mut own = self.copy_dictionary(&plain, depth)?;
                if let Some(resources) = resources {
                    let used = self.names_in(stream)?;
                    own.set("Resources", self.resources(&resources, used, depth)?);
                }
                Stream::new(own, stream.content.clone()).into()
            }
            plain => plain.clone(),
        })
    }

    fn copy_dictionary(&mut self, dictionary: &Dictionary, depth: u32) -> Option<Dictionary> {
        let mut own = Dictionary::new();
        for (key, value) in dictionary {
            own.set(key.clone(), self.copy(value, depth + 1)?);
        }
        Some(own)
    }

    /// The reference to the copy of an object; nothing where it is a page or leads to pages.
    fn refer(&mut self, id: ObjectId) -> Object {
        if let Some(own) = self.copied.get(&id) {
            return Object::Reference(*own);
        }
        let barred = match self.from.get_object(id) {
            Ok(object) => object.as_dict().is_ok_and(leads_to_pages),
            Err(_) => true,
        };
        if barred {
            return Object::Null;
        }
        let own = self.to.new_object_id();
        self.copied.insert(id, own);
        self.waiting.push(id);
        Object::Reference(own)
    }

    /// Copies all that was referred to.
    fn follow(&mut self) -> Option<()> {
        while let Some(id) = self.waiting.pop() {
            let from = self.from;
            let copy = self.copy(from.get_object(id).ok()?, 0)?;
            self.to.objects.insert(*self.copied.get(&id)?, copy);
        }
        Some(())
    }
}

/// What a page has itself, or its tree for it.
fn inherited<'d>(from: &'d Document, page: &'d Dictionary, key: &[u8]) -> Option<&'d Object> {
    const INHERITED: [&[u8]; 4] = [b"Resources", b"MediaBox", b"CropBox", b"Rotate"];
    let mut at = page;
    for _ in 0..DEPTH {
        match at.get(key) {
            Ok(value) => return Some(value),
            Err(_) if !INHERITED.contains(&key) => return None,
            Err(_) => at = at.get_deref(b"Parent", from).ok()?.as_dict().ok()?,
        }
    }
    None
}

fn is_form(dictionary: &Dictionary) -> bool {
    dictionary.get(b"Subtype").and_then(Object::as_name).is_ok_and(|subtype| subtype == b"Form")
}

/// Every name (`/Im0`) that stands in a content, with its escapes read. One within a text is taken for a name, too:
/// then something is kept that is not drawn.
fn names(content: &[u8]) -> BTreeSet<Vec<u8>> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0 || b"/()<>[]{}%".contains(byte);
    let mut names = BTreeSet::new();
    for (at, _) in content.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
        let rest = content.get(at + 1..).unwrap_or_default();
        let raw = rest.get(..rest.iter().position(ends).unwrap_or(rest.len())).unwrap_or_default();
        let mut name = Vec::new();
        let mut bytes = raw.iter();
        while let Some(byte) = bytes.next() {
            let escaped = bytes.as_slice().get(..2).filter(|_| *byte == b'#');
            match escaped.and_then(|digits| hex::decode(digits).ok()) {
                Some(decoded) => {
                    name.extend(decoded);
                    bytes.nth(1);
                }
                None => name.push(*byte),
            }
        }
        names.insert(name);
    }
    names
}

/// Whether a dictionary is a page or a way to pages.
fn leads_to_pages(dictionary: &Dictionary) -> bool {
    let types: BTreeSet<&[u8]> =
        [b"Page".as_slice(), b"Pages", b"Catalog", b"StructTreeRoot", b"StructElem", b"Outlines"].into();
    dictionary.get(b"Type").and_then(Object::as_name).is_ok_and(|name| types.contains(name))
        // a page whose type is not written down, and a node of the tree
        || (dictionary.has(b"MediaBox") && dictionary.has(b"Contents"))
        || (dictionary.has(b"Kids") && dictionary.has(b"Count"))
}

/// Writes up to a limit.
struct Bounded<'f> {
    file: &'f File,
    written: u64,
    limit: u64,
    over: bool,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written + bytes.len() as u64 > self.limit {
            self.over = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
