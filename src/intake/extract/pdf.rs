//! The inside of a PDF: whether it takes a password, what acts by itself, and the files embedded in it, each
//! taken out. The words of a page are never looked at for this: a page may say "/Encrypt" and mean nothing.

use std::collections::BTreeMap;
use std::io::Read;

use lopdf::{Dictionary, Document, LoadOptions, Object, ObjectId};

use super::filters;
use super::nested::Inside;
use crate::intake::sniff::finding::{Finding, Judged};
use crate::intake::sniff::source::Source;
use crate::model::judgement::{FileType, Flag};

/// Arrays and dictionaries within each other; `lopdf` reads no deeper.
const DEPTH: u32 = 128;

/// Reads a PDF: encryption, active content, embedded files.
pub fn inspect<'f>(source: Source<'f>, depth: u32, inside: &mut Inside<'f>) -> Judged<()> {
    inside.is(depth, FileType::Pdf);
    let mut bytes = Vec::new();
    source.reader().read_to_end(&mut bytes)?;
    let document = load(&bytes, usize::try_from(inside.policy.entry_bytes).unwrap_or(usize::MAX))?;
    if document.is_encrypted() {
        return Err(Finding::encrypted("pdf").into());
    }
    if document.was_encrypted() {
        inside.flag(Flag::OwnerPassword);
    }
    let pages = document.get_pages().len();
    if document.catalog().is_err() || pages == 0 {
        return Err(Finding::unreadable().into());
    }
    inside.has_pages(depth, pages);
    let mut found = Found::default();
    for (id, object) in &document.objects {
        found.visit(object, Some(*id), &document, 0)?;
    }
    if found.active {
        inside.flag(Flag::ActiveContent);
    }
    if mentions_embedded(&bytes) > found.typed + found.mentions {
        return Err(Finding::unreadable().into());
    }
    for (id, name) in &found.files {
        take_out(&document, *id, name.as_deref(), depth, inside)?;
    }
    Ok(())
}

/// Loads a document within limits. A locked one whose handler is unknown counts as encrypted.
pub fn load(bytes: &[u8], limit: usize) -> Result<Document, Finding> {
    Document::load_mem_with_options(bytes, LoadOptions::with_max_decompressed_size(limit)).map_err(
        |fault| match fault {
            lopdf::Error::InvalidPassword
            | lopdf::Error::UnsupportedSecurityHandler(_)
            | lopdf::Error::Decryption(_) => Finding::encrypted("pdf"),
            _ => Finding::unreadable(),
        },
    )
}

/// How often the bytes have the mark of an embedded file. More marks than were found as objects or as words
/// within a stream: one hides where no list of objects leads.
fn mentions_embedded(bytes: &[u8]) -> usize {
    const MARK: &[u8] = b"/EmbeddedFile";
    let marks = bytes.windows(MARK.len() + 1).filter(|window| window.starts_with(MARK) && !window.ends_with(b"s"));
    marks.count()
}

/// What the objects hold.
#[derive(Default)]
struct Found {
    active: bool,
    files: BTreeMap<ObjectId, Option<String>>,
    /// Streams marked as embedded files.
    typed: usize,
    /// The same mark as mere words within streams.
    mentions: usize,
}

impl Found {
    fn visit(&mut self, object: &Object, id: Option<ObjectId>, document: &Document, depth: u32) -> Judged<()> {
        if depth > DEPTH {
            return Err(Finding::unreadable().into());
        }
        match object {
            Object::Array(objects) => {
                objects.iter().try_for_each(|object| self.visit(object, None, document, depth + 1))
            }
            Object::Dictionary(dictionary) => self.visit_dictionary(dictionary, document, depth),
            Object::Stream(stream) => {
                self.mentions += mentions_embedded(&stream.content);
                if let Some(id) = id.filter(|_| stream.dict.has_type(b"EmbeddedFile")) {
                    self.typed += 1;
                    self.files.entry(id).or_default();
                }
                self.visit_dictionary(&stream.dict, document, depth)
            }
            _ => Ok(()),
        }
    }

    fn visit_dictionary(&mut self, dictionary: &Dictionary, document: &Document, depth: u32) -> Judged<()> {
        self.active |= is_active(dictionary, document);
        if let Ok(files) = dictionary.get(b"EF") {
            self.file_specification(dictionary, files, document)?;
        }
        dictionary.iter().try_for_each(|(_, value)| self.visit(value, None, document, depth + 1))
    }

    /// A file specification's streams, which all have to be there.
    fn file_specification(&mut self, spec: &Dictionary, files: &Object, document: &Document) -> Judged<()> {
        let files = document.dereference(files).ok().and_then(|(_, object)| object.as_dict().ok());
        let name = [b"UF".as_slice(), b"F"].into_iter().find_map(|key| spec.get_deref(key, document).ok());
        let name = name.and_then(|object| object.as_str().ok()).map(readable);
        for (_, file) in files.ok_or_else(Finding::unreadable)?.iter() {
            let id =
                file.as_reference().ok().filter(|id| document.get_object(*id).is_ok_and(|o| o.as_stream().is_ok()));
            let known = self.files.entry(id.ok_or_else(Finding::unreadable)?).or_default();
            *known = known.take().or_else(|| name.clone());
        }
        Ok(())
    }
}

/// Whether a dictionary acts: scripts, programs, forms that send, media, and anything that runs on opening.
/// An open action that is a mere destination (an array) only chooses the page that shows first.
fn is_active(dictionary: &Dictionary, document: &Document) -> bool {
    const ACTIONS: [&[u8]; 8] =
        [b"JavaScript", b"Launch", b"SubmitForm", b"ImportData", b"Rendition", b"RichMediaExecute", b"GoToR", b"GoToE"];
    let action = dictionary.get_deref(b"S", document).ok().and_then(|object| object.as_name().ok());
    let opens = dictionary.get_deref(b"OpenAction", document).is_ok_and(|object| object.as_dict().is_ok());
    opens
        || action.is_some_and(|action| ACTIONS.contains(&action))
        || [b"AA".as_slice(), b"JS", b"JavaScript", b"XFA", b"RichMediaContent"].iter().any(|key| dictionary.has(key))
}

/// A text string: UTF-16 or UTF-8 with its mark, else one character per byte.
fn readable(bytes: &[u8]) -> String {
    match bytes {
        [0xFE, 0xFF, ..] | [0xEF, 0xBB, 0xBF, ..] => encoding_rs::UTF_8.decode(bytes).0.into_owned(),
        _ => encoding_rs::WINDOWS_1252.decode(bytes).0.into_owned(),
    }
}

fn take_out<'f>(
    document: &Document,
    id: ObjectId,
    name: Option<&str>,
    depth: u32,
    inside: &mut Inside<'f>,
) -> Judged<()> {
    let limit = usize::try_from(inside.policy.entry_bytes).unwrap_or(usize::MAX);
    let stream = document.get_object(id).and_then(Object::as_stream).map_err(|_| Finding::unreadable())?;
    let content = filters::decode(stream, document, limit).ok_or_else(Finding::unreadable)?;
    inside.take_out(&mut content.as_slice(), name, depth)
}
