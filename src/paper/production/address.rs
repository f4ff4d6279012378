//! Whether an address can be printed and delivered, as far as data allow: asked before a batch closes. What is wrong is a
//! person's task.

use serde::Serialize;

use crate::codes;
use crate::letters::head::Addressee;
use crate::letters::window::AddressBlock;
use crate::model::address::is_state;
use crate::paper::production::font::{FontError, PrintFont};

codes! {
    /// What is wrong with an address. It names the rule, never the address.
    pub enum AddressFault {
        /// A part of it is not there.
        Missing = "address_part_missing",
        /// The ZIP code is not five digits, or nine with a hyphen, or begins with 000.
        Zip = "zip_malformed",
        /// There is no such state or territory.
        State = "state_unknown",
        /// The font has no glyph for a character.
        NoGlyph = "address_no_glyph",
        /// A word is wider than the window.
        TooWide = "address_too_wide",
        /// It has more lines than the window shows.
        TooManyLines = "address_too_many_lines",
    }
}

/// How an address is set, in the largest print that fits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fit {
    /// The size of its print.
    pub size_pt: f64,
    /// Its lines, with those that go on in the next.
    pub lines: usize,
}

/// Checks addresses with the font that letters are set in.
pub struct AddressCheck {
    font: PrintFont,
    block: AddressBlock,
}

impl std::fmt::Debug for AddressCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AddressCheck({:?})", self.block)
    }
}

impl AddressCheck {
    /// One for letters with this font and this box for their address.
    ///
    /// # Errors
    /// When the font can't be read.
    pub fn new(face: &[u8], block: AddressBlock) -> Result<Self, FontError> {
        Ok(Self { font: PrintFont::read(face)?, block })
    }

    /// How it is set, or all that is wrong with it.
    ///
    /// # Errors
    /// Every fault, once.
    pub fn check(&self, address: &Addressee) -> Result<Fit, Vec<AddressFault>> {
        set(&self.font, &self.block, address).map(|set| Fit { size_pt: set.size_pt, lines: set.lines.len() })
    }
}

/// An address as it is set.
pub(super) struct SetAddress {
    pub(super) size_pt: f64,
    /// Its lines, and how far each is set in, in points.
    pub(super) lines: Vec<(f64, String)>,
}

/// Sets an address in the largest print that fits, or tells all that is wrong with it.
pub(super) fn set(
    font: &PrintFont,
    block: &AddressBlock,
    address: &Addressee,
) -> Result<SetAddress, Vec<AddressFault>> {
    let mut faults = Vec::new();
    let lines = lines(address);
    let needed = [&address.name, &address.city].into_iter().chain(&address.lines.0);
    if address.lines.0.is_empty() || needed.into_iter().any(|line| line.0.reveal().trim().is_empty()) {
        faults.push(AddressFault::Missing);
    }
    if !is_zip(address.zip.0.reveal()) {
        faults.push(AddressFault::Zip);
    }
    if !is_state(&address.state.0) {
        faults.push(AddressFault::State);
    }
    if lines.iter().flat_map(|line| line.chars()).any(|c| font.advance(c).is_none()) {
        faults.push(AddressFault::NoGlyph);
    }
    let in_size = |size_pt: f64| -> Option<SetAddress> {
        let broken: Option<Vec<_>> = lines.iter().map(|line| broken(font, block, line, size_pt)).collect();
        Some(SetAddress { size_pt, lines: broken?.concat() })
    };
    let fits = |set: &SetAddress| block.height_of(set.lines.len(), set.size_pt) <= block.seen_in + 0.000_5;
    match block.sizes_pt.iter().filter_map(|size| in_size(*size)).find(fits) {
        Some(set) if faults.is_empty() => return Ok(set),
        Some(_) => {}
        None => {
            let smallest = block.sizes_pt.iter().copied().fold(f64::MAX, f64::min);
            let set = in_size(smallest);
            faults.push(if set.is_none() { AddressFault::TooWide } else { AddressFault::TooManyLines });
        }
    }
    Err(faults)
}

/// A line, broken where it is too long: as many words as fit, the rest set in. `None` where a word is wider than that.
fn broken(font: &PrintFont, block: &AddressBlock, line: &str, size_pt: f64) -> Option<Vec<(f64, String)>> {
    let width = block.width_in * 72.0 + 0.01;
    let space = font.width(" ", size_pt);
    let mut done = Vec::new();
    let (mut indent, mut at, mut text) = (0.0, 0.0, String::new());
    for piece in pieces(line) {
        let wide = font.width(piece.text, size_pt);
        let before = if piece.after_space && !text.is_empty() { space } else { 0.0 };
        if at + before + wide <= width {
            if before > 0.0 {
                text.push(' ');
            }
            at += before + wide;
        } else if block.indent_pt + wide <= width && !text.is_empty() {
            done.push((indent, std::mem::take(&mut text)));
            indent = block.indent_pt;
            at = indent + wide;
        } else {
            return None;
        }
        text.push_str(piece.text);
    }
    done.push((indent, text));
    Some(done)
}

struct Piece<'a> {
    text: &'a str,
    after_space: bool,
}

/// Where a line may be broken: between words, and behind their hyphens.
fn pieces(line: &str) -> impl Iterator<Item = Piece<'_>> {
    line.split(' ')
        .filter(|word| !word.is_empty())
        .flat_map(|word| word.split_inclusive('-').enumerate().map(|(i, text)| Piece { text, after_space: i == 0 }))
}

/// The lines of an address as letters have them.
fn lines(address: &Addressee) -> Vec<String> {
    let attention = address.attention.iter().map(|line| line.0.reveal().clone());
    let name = [address.name.0.reveal().clone()];
    let street = address.lines.0.iter().map(|line| line.0.reveal().clone());
    let place = format!("{}, {} {}", address.city.0.reveal(), address.state.0, address.zip.0.reveal());
    attention.chain(name).chain(street).chain([place]).collect()
}

fn is_zip(zip: &str) -> bool {
    let shape: String = zip.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    // No place has 000, and 00000 is what systems write that know none.
    (shape == "99999" || shape == "99999-9999") && !zip.starts_with("000")
}
