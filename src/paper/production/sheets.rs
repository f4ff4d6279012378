//! Sheets of a batch that are no letters: for who stands at the printer and the inserter. They are taken out before
//! envelopes are closed, say so, and name nobody.

use crate::paper::production::content::Content;
use crate::paper::production::font::PrintFont;
use crate::paper::production::marks::{IntegrityMark, MODULES, MarkError};
use crate::paper::production::plan::Area;

/// What a sheet says.
pub(super) struct Sheet<'a> {
    pub(super) title: &'a str,
    pub(super) batch: &'a str,
    pub(super) lines: Vec<String>,
}

impl Sheet<'_> {
    /// Draws it. Its Data Matrix has envelope 0: no machine takes it for a letter.
    pub(super) fn draw(&self, font: &PrintFont) -> Result<Vec<u8>, MarkError> {
        let mut content = Content::new(font);
        content.text(1.0, 2.0, 40.0, self.title);
        content.text(1.0, 2.8, 28.0, self.batch);
        for (line, base) in self.lines.iter().zip(0u32..) {
            content.text(1.0, 3.6 + f64::from(base) * 0.35, 16.0, line);
        }
        content.text(1.0, 8.6, 14.0, "This sheet is not mailed: take it out before envelopes are closed.");
        let mark = IntegrityMark::new(self.batch, 0, (1, 1), []);
        let side = Area { left: 1.0, top: 8.9, right: 2.0, bottom: 9.9 };
        content.bits(&side, MODULES, &mark.picture()?);
        Ok(content.into_bytes())
    }
}
