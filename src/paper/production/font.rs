//! The font that marks are set in: that of letters, cut to the characters that marks and addresses have, written once.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use subsetter::GlyphRemapper;
use thiserror::Error;
use ttf_parser::Face;

use crate::paper::production::pdf::PdfWriter;

/// The font can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the font of letters can't be used for marks")]
pub struct FontError;

/// Characters that are written: ASCII, Latin letters, and the punctuation that names have.
fn written(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{17f}' | '\u{1e00}'..='\u{1eff}' | '–' | '—' | '‘' | '’' | '“' | '”' | '•')
}

/// The font.
pub(super) struct PrintFont {
    /// Advances of all characters it has, in parts of a thousand.
    advances: HashMap<char, f64>,
    /// Glyphs of the cut font.
    glyphs: BTreeMap<char, u16>,
    file: Vec<u8>,
    bbox: [f64; 4],
    ascent: f64,
    descent: f64,
    cap_height: f64,
}

impl PrintFont {
    pub(super) fn read(data: &[u8]) -> Result<Self, FontError> {
        let face = Face::parse(data, 0).map_err(|_| FontError)?;
        let scale = 1_000.0 / f64::from(face.units_per_em());
        let (mut advances, mut glyphs, mut remapper) = (HashMap::new(), BTreeMap::new(), GlyphRemapper::new());
        let tables = face.tables().cmap.into_iter().flat_map(|cmap| cmap.subtables);
        for table in tables.filter(ttf_parser::cmap::Subtable::is_unicode) {
            table.codepoints(|code| {
                let Some((c, glyph)) = char::from_u32(code).and_then(|c| Some((c, table.glyph_index(code)?))) else {
                    return;
                };
                let Some(advance) = face.glyph_hor_advance(glyph) else { return };
                advances.insert(c, f64::from(advance) * scale);
                if written(c) {
                    glyphs.entry(c).or_insert(glyph.0);
                }
            });
        }
        for glyph in glyphs.values_mut() {
            *glyph = remapper.remap(*glyph);
        }
        if !(' '..='~').all(|c| glyphs.contains_key(&c)) {
            return Err(FontError);
        }
        let file = subsetter::subset(data, 0, &remapper).map_err(|_| FontError)?;
        let bbox = face.global_bounding_box();
        Ok(Self {
            advances,
            glyphs,
            file,
            bbox: [bbox.x_min, bbox.y_min, bbox.x_max, bbox.y_max].map(|side| f64::from(side) * scale),
            ascent: f64::from(face.ascender()) * scale,
            descent: f64::from(face.descender()) * scale,
            cap_height: f64::from(face.capital_height().unwrap_or(face.ascender())) * scale,
        })
    }

    /// A character's advance in parts of a thousand.
    pub(super) fn advance(&self, c: char) -> Option<f64> {
        self.advances.get(&c).copied()
    }

    /// How wide a text is, in points.
    pub(super) fn width(&self, text: &str, size_pt: f64) -> f64 {
        text.chars().filter_map(|c| self.advance(c)).sum::<f64>() * size_pt / 1_000.0
    }

    /// A text as a string of glyphs. What the font does not have is left out.
    pub(super) fn hex(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() * 4 + 2);
        out.push('<');
        for glyph in text.chars().filter_map(|c| self.glyphs.get(&c)) {
            let _ = write!(out, "{glyph:04X}");
        }
        out.push('>');
        out
    }

    /// Writes the font; answers its object.
    pub(super) fn write<W: Write>(&self, pdf: &mut PdfWriter<W>) -> io::Result<u32> {
        let [font, cid, descriptor, file, unicode] = [(); 5].map(|()| pdf.reserve());
        pdf.object(
            font,
            format!(
                "<</Type/Font/Subtype/Type0/BaseFont/LCMARK+Marks/Encoding/Identity-H/DescendantFonts[{cid} 0 R]/ToUnicode \
                 {unicode} 0 R>>"
            )
            .as_bytes(),
        )?;
        let mut widths: Vec<(u16, f64)> =
            self.glyphs.iter().map(|(c, glyph)| (*glyph, self.advance(*c).unwrap_or_default())).collect();
        widths.sort_unstable_by_key(|(glyph, _)| *glyph);
        widths.dedup_by_key(|(glyph, _)| *glyph);
        let widths = widths.iter().fold(String::new(), |mut out, (glyph, width)| {
            let _ = write!(out, "{glyph}[{width:.0}]");
            out
        });
        pdf.object(
            cid,
            format!(
                "<</Type/Font/Subtype/CIDFontType2/BaseFont/LCMARK+Marks/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)\
                 /Supplement 0>>/FontDescriptor {descriptor} 0 R/CIDToGIDMap/Identity/DW 0/W[{widths}]>>"
            )
            .as_bytes(),
        )?;
        let [left, low, right, high] = self.bbox;
        pdf.object(
            descriptor,
            format!(
                "<</Type/FontDescriptor/FontName/LCMARK+Marks/Flags 4/FontBBox[{left:.0} {low:.0} {right:.0} {high:.0}]\
                 /ItalicAngle 0/Ascent {:.0}/Descent {:.0}/CapHeight {:.0}/StemV 80/FontFile2 {file} 0 R>>",
                self.ascent, self.descent, self.cap_height
            )
            .as_bytes(),
        )?;
        pdf.stream(file, &format!("/Filter/FlateDecode/Length1 {}", self.file.len()), &deflated(&self.file)?)?;
        pdf.stream(unicode, "/Filter/FlateDecode", &deflated(self.to_unicode().as_bytes())?)?;
        Ok(font)
    }

    fn to_unicode(&self) -> String {
        let mut out = String::from(
            "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CMapName /Marks def\n/CMapType 2 def\n\
             1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n",
        );
        let pairs: Vec<(char, u16)> = self.glyphs.iter().map(|(c, glyph)| (*c, *glyph)).collect();
        for part in pairs.chunks(100) {
            let _ = writeln!(out, "{} beginbfchar", part.len());
            for (c, glyph) in part {
                let _ = writeln!(out, "<{glyph:04X}> <{:04X}>", u32::from(*c));
            }
            out.push_str("endbfchar\n");
        }
        out.push_str("endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n");
        out
    }
}

fn deflated(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}
