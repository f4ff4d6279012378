//! The pinned fonts, and which characters they can show. The system's fonts are never looked at.

use typst::foundations::Bytes;
use typst::text::{Font, FontBook, FontVariant};
use typst::utils::LazyHash;

use crate::letters::files::Files;

/// The family that letters and their data are set in.
pub(super) const TEXT_FAMILY: &str = "Noto Sans";

/// Characters that the text of letters can be set with: those in every face of its family.
pub struct Coverage(Vec<typst::text::Coverage>);

impl Coverage {
    /// Whether the character can be shown.
    pub fn shows(&self, c: char) -> bool {
        !self.0.is_empty() && self.0.iter().all(|face| face.contains(u32::from(c)))
    }
}

/// All fonts, in the order of their files.
pub(super) struct Fonts {
    pub(super) book: LazyHash<FontBook>,
    pub(super) fonts: Vec<Font>,
}

impl Fonts {
    pub(super) fn open(files: &Files) -> Self {
        let mut fonts = Vec::new();
        for (_, bytes) in files.under("fonts/").filter(|(path, _)| path.ends_with(".ttf") || path.ends_with(".otf")) {
            fonts.extend(Font::iter(Bytes::new(bytes.clone())));
        }
        Self { book: LazyHash::new(FontBook::from_fonts(&fonts)), fonts }
    }

    /// The face that text is set in where nothing sets it off.
    pub(super) fn text_face(&self) -> Option<&[u8]> {
        let mut faces = self.fonts.iter().filter(|font| font.info().family == TEXT_FAMILY);
        faces.find(|font| font.info().variant == FontVariant::default()).map(|font| font.data().as_slice())
    }

    pub(super) fn coverage(&self) -> Coverage {
        let faces = self.fonts.iter().filter(|font| font.info().family == TEXT_FAMILY);
        Coverage(faces.map(|font| font.info().coverage.clone()).collect())
    }
}
