//! What a template sees of the world while one letter is set: shared sources and fonts, and the letter's own files.
//! There is no clock, no network and no disk in it.

use std::collections::HashMap;

use typst::diag::{FileError, FileResult};
use typst::foundations::{Bytes, Datetime, Duration};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, World};

use crate::letters::fonts::Fonts;

/// The id of a path below `templates/letters/`, or of one of the letter's own files.
pub(super) fn id(path: &str) -> Option<FileId> {
    Some(RootedPath::new(VirtualRoot::Project, VirtualPath::new(path).ok()?).intern())
}

/// What all letters share.
pub(super) struct Shared {
    pub(super) library: LazyHash<Library>,
    pub(super) fonts: Fonts,
    pub(super) sources: HashMap<FileId, Source>,
    pub(super) files: HashMap<FileId, Bytes>,
}

/// One letter's world.
pub(super) struct LetterWorld<'a> {
    pub(super) shared: &'a Shared,
    pub(super) main: FileId,
    /// The letter's own files: its data, its brand's logo, its barcode.
    pub(super) own: Vec<(FileId, Bytes)>,
}

impl World for LetterWorld<'_> {
    fn library(&self) -> &LazyHash<Library> {
        &self.shared.library
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &self.shared.fonts.book
    }

    fn main(&self) -> FileId {
        self.main
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        self.shared.sources.get(&id).cloned().ok_or_else(|| missing(id))
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        let own = self.own.iter().find(|(own, _)| *own == id).map(|(_, bytes)| bytes);
        own.or_else(|| self.shared.files.get(&id)).cloned().ok_or_else(|| missing(id))
    }

    fn font(&self, index: usize) -> Option<Font> {
        self.shared.fonts.fonts.get(index).cloned()
    }

    /// A letter has the date of its data and no other.
    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        None
    }
}

fn missing(id: FileId) -> FileError {
    FileError::NotFound(id.get().vpath().get_without_slash().into())
}
