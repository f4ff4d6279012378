//! The barcode of the cover sheet (OPS-06): a Data Matrix (ECC 200) that names the case, so that what comes back on
//! paper matches itself.
//!
//! Its content is `LC1|<brand>|<case number>`: the form's version, the brand, the case. There is no health data in it
//! beyond the number that stands beside it in print.

use std::fmt::Write as _;

use datamatrix::{DataMatrix, SymbolList};

/// What the barcode of a case holds.
pub fn content(brand: &str, case_number: &str) -> String {
    format!("LC1|{brand}|{case_number}")
}

/// The barcode as a picture of one path, a unit per module, with the quiet zone of one module around it. `None` where
/// the content is too long for a symbol.
pub(super) fn svg(content: &str) -> Option<String> {
    let code = DataMatrix::encode(content.as_bytes(), SymbolList::default().enforce_square()).ok()?;
    let bitmap = code.bitmap();
    let (width, height) = (bitmap.width() + 2, bitmap.height() + 2);
    let mut path = String::new();
    let mut pixels: Vec<(usize, usize)> = bitmap.pixels().map(|(x, y)| (y, x)).collect();
    pixels.sort_unstable();
    // Runs of modules as one rectangle: hairlines between neighbours would disturb readers.
    let mut at = 0;
    while let Some(&(y, x)) = pixels.get(at) {
        let mut run = 1;
        while pixels.get(at + run) == Some(&(y, x + run)) {
            run += 1;
        }
        let _ = write!(path, "M{} {}h{run}v1h-{run}z", x + 1, y + 1);
        at += run;
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\"><path d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_barcode_decodes_to_what_it_was_made_of() {
        let text = content("meridian", "RC-7K4M9TX2");
        let code = DataMatrix::encode(text.as_bytes(), SymbolList::default().enforce_square()).unwrap();
        let bitmap = code.bitmap();
        let back = DataMatrix::decode(bitmap.bits(), bitmap.width()).unwrap();
        assert_eq!(back, b"LC1|meridian|RC-7K4M9TX2");
        assert!(svg(&text).unwrap().contains("<path d=\"M1 1h1v1h-1z"));
        assert!(svg(&"9".repeat(4000)).is_none());
    }
}
