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
        if lines.iter().flat_map(|line| line.chars()).any(|c| self.font.advance(c).is_none()) {
            faults.push(AddressFault::NoGlyph);
        }
        let fit = self.block.sizes_pt.iter().find_map(|size| {
            let count = self.set(&lines, *size)?;
            (self.block.height_of(count, *size) <= self.block.seen_in + 0.000_5)
                .then_some(Fit { size_pt: *size, lines: count })
        });
        match fit {
            Some(fit) if faults.is_empty() => return Ok(fit),
            Some(_) => {}
            None => {
                let smallest = self.block.sizes_pt.iter().copied().fold(f64::MAX, f64::min);
                let wide = self.set(&lines, smallest).is_none();
                faults.push(if wide { AddressFault::TooWide } else { AddressFault::TooManyLines });
            }
        }
        Err(faults)
    }

    /// Lines that it takes in this size; `None` where a word is wider than a line.
    fn set(&self, lines: &[String], size_pt: f64) -> Option<usize> {
        let width = self.block.width_in * 72.0;
        lines.iter().map(|line| self.broken(line, size_pt, width)).sum()
    }

    /// Lines that a line is broken into: as many words as fit, the rest set in.
    fn broken(&self, line: &str, size_pt: f64, width: f64) -> Option<usize> {
        let (mut count, mut at) = (1, 0.0);
        let space = self.font.width(" ", size_pt);
        for piece in pieces(line) {
            let wide = self.font.width(piece.text, size_pt);
            let before = if piece.after_space && at > 0.0 { space } else { 0.0 };
            if at + before + wide <= width + 0.01 {
                at += before + wide;
            } else if self.block.indent_pt + wide <= width + 0.01 {
                count += 1;
                at = self.block.indent_pt + wide;
            } else {
                return None;
            }
        }
        Some(count)
    }
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
pub(super) fn lines(address: &Addressee) -> Vec<String> {
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
