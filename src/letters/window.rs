//! Where a letter's address is on its first page: `letters/common/geometry.toml`.

use serde::Deserialize;

/// The box of the address. The address stands at its foot.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AddressBlock {
    /// From the left edge, in inches, as the other lengths.
    #[serde(rename = "address_left_in")]
    pub left_in: f64,
    /// From the upper edge.
    #[serde(rename = "address_top_in")]
    pub top_in: f64,
    /// Its width.
    #[serde(rename = "address_width_in")]
    pub width_in: f64,
    /// Its height.
    #[serde(rename = "address_height_in")]
    pub height_in: f64,
    /// Height of its lowest part, which an envelope shows always.
    #[serde(rename = "address_seen_in")]
    pub seen_in: f64,
    /// Sizes of print, the largest first.
    #[serde(rename = "address_sizes_pt")]
    pub sizes_pt: Vec<f64>,
    /// From line to line, in parts of the size.
    #[serde(rename = "address_line_em")]
    pub line_em: f64,
    /// How far letters reach above their line.
    #[serde(rename = "address_ascent_em")]
    pub ascent_em: f64,
    /// How far below it.
    #[serde(rename = "address_descent_em")]
    pub descent_em: f64,
    /// How far the rest of a broken line is set in.
    #[serde(rename = "address_indent_pt")]
    pub indent_pt: f64,
}

impl AddressBlock {
    /// Height of so many lines, in inches.
    pub fn height_of(&self, lines: usize, size_pt: f64) -> f64 {
        let between = u32::try_from(lines.saturating_sub(1)).map_or(f64::MAX, f64::from);
        (between * self.line_em + self.ascent_em + self.descent_em) * size_pt / 72.0
    }
}
