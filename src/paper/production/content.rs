//! Content streams: what is drawn over a letter's page, or on a sheet of its own. Places in inches from the upper left.

use std::fmt::Write as _;

use crate::paper::production::font::PrintFont;
use crate::paper::production::plan::{Area, SHEET_HEIGHT_IN};

/// The name that pages have the font of marks under. No letter's own font is called so.
pub(super) const FONT: &str = "LcMarks";

/// A content stream.
pub(super) struct Content<'a> {
    font: &'a PrintFont,
    out: String,
}

impl<'a> Content<'a> {
    /// One for a page of its own.
    pub(super) const fn new(font: &'a PrintFont) -> Self {
        Self { font, out: String::new() }
    }

    /// One that ends a letter's page which began with `q`: whatever that page changed is undone.
    pub(super) fn over(font: &'a PrintFont) -> Self {
        Self { font, out: "Q\n".into() }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out.into_bytes()
    }

    /// A line of text that begins here.
    pub(super) fn text(&mut self, left_in: f64, base_in: f64, size_pt: f64, text: &str) {
        let (x, y) = (left_in * 72.0, (SHEET_HEIGHT_IN - base_in) * 72.0);
        let hex = self.font.hex(text);
        let _ = writeln!(self.out, "BT 0 g /{FONT} {size_pt} Tf {x:.3} {y:.3} Td {hex} Tj ET");
    }

    /// A line that is read upwards.
    pub(super) fn text_upwards(&mut self, left_in: f64, foot_in: f64, size_pt: f64, text: &str) {
        let (x, y) = (left_in * 72.0, (SHEET_HEIGHT_IN - foot_in) * 72.0);
        let hex = self.font.hex(text);
        let _ = writeln!(self.out, "BT 0 g /{FONT} {size_pt} Tf 0 1 -1 0 {x:.3} {y:.3} Tm {hex} Tj ET");
    }

    /// A picture of black and nothing, a bit for each part. As a picture and not as rectangles: printers blacken each dot
    /// that a shape touches, so thin bars would grow.
    pub(super) fn bits(&mut self, area: &Area, columns: usize, picture: &[bool]) {
        let rows = picture.len() / columns.max(1);
        let (width, height) = ((area.right - area.left) * 72.0, (area.bottom - area.top) * 72.0);
        let (x, y) = (area.left * 72.0, (SHEET_HEIGHT_IN - area.bottom) * 72.0);
        let _ = write!(
            self.out,
            "q 0 g {width:.4} 0 0 {height:.4} {x:.4} {y:.4} cm\nBI /W {columns} /H {rows} /BPC 1 /IM true /D [1 0] /F /AHx ID\n"
        );
        for row in picture.chunks(columns.max(1)) {
            for bits in row.chunks(8) {
                let byte = (0..8).fold(0u8, |byte, i| byte << 1 | u8::from(bits.get(i).copied().unwrap_or_default()));
                let _ = write!(self.out, "{byte:02X}");
            }
        }
        self.out.push_str(">\nEI Q\n");
    }
}
