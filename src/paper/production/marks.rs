//! What the inserter reads on each sheet: its envelope, its place in it, and whether its content is what was planned.

use std::fmt;
use std::str::FromStr;

use datamatrix::{DataMatrix, SymbolList};
use sha2::{Digest, Sha256 as Hasher};
use thiserror::Error;

use crate::model::ids::Sha256;

/// Modules of the symbol's side: all have the same size, so that a reader is set up once.
pub(super) const MODULES: usize = 26;
/// The longest name of a batch: with all else it fits the symbol in any characters it may have.
const NAME_CHARS: usize = 16;

/// Why a mark can't be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MarkError {
    /// A batch's name is of capital letters, digits and hyphens.
    #[error("the name of a batch must be of 1 to 16 capital letters, digits and hyphens")]
    BatchName,
    /// There is no symbol for it.
    #[error("a figure of the mark is too large for its symbol")]
    TooLong,
    /// What was read is no mark.
    #[error("not an integrity mark")]
    NotAMark,
}

/// A sheet's mark: `<batch>|<envelope>|<sheet>/<sheets>|<check>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrityMark {
    /// The batch.
    pub batch: String,
    /// The envelope's place in the batch, from 1; 0 on sheets that are no letters.
    pub sequence: u32,
    /// The sheet's place in the envelope, from 1.
    pub sheet: u32,
    /// Sheets of the envelope.
    pub sheets: u32,
    /// The first four bytes of a hash over all above and the letters' own hashes.
    pub check: u32,
}

impl fmt::Display for IntegrityMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{:06}|{:02}/{:02}|{:08X}", self.batch, self.sequence, self.sheet, self.sheets, self.check)
    }
}

impl FromStr for IntegrityMark {
    type Err = MarkError;

    fn from_str(text: &str) -> Result<Self, MarkError> {
        let mut parts = text.split('|');
        let mut part = || parts.next().ok_or(MarkError::NotAMark);
        let (batch, sequence, place, check) = (part()?, part()?, part()?, part()?);
        let (sheet, sheets) = place.split_once('/').ok_or(MarkError::NotAMark)?;
        let number = |text: &str| text.parse().map_err(|_| MarkError::NotAMark);
        let mark = Self {
            batch: batch.to_owned(),
            sequence: number(sequence)?,
            sheet: number(sheet)?,
            sheets: number(sheets)?,
            check: u32::from_str_radix(check, 16).map_err(|_| MarkError::NotAMark)?,
        };
        // Only what we write ourselves: no sign, no blank, nothing behind it.
        if mark.to_string() == text { Ok(mark) } else { Err(MarkError::NotAMark) }
    }
}

impl IntegrityMark {
    /// The mark of a sheet with these letters in its envelope.
    pub fn new<'a>(
        batch: &str,
        sequence: u32,
        (sheet, sheets): (u32, u32),
        letters: impl IntoIterator<Item = &'a Sha256>,
    ) -> Self {
        let mut hash = Hasher::new();
        hash.update(format!("{batch}|{sequence}|{sheet}/{sheets}"));
        for letter in letters {
            hash.update("|");
            hash.update(letter.as_str());
        }
        let hash = hash.finalize();
        let check = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        Self { batch: batch.to_owned(), sequence, sheet, sheets, check }
    }

    /// What stands beside it for people: `000123 1/4`.
    pub fn sequence_mark(&self) -> String {
        format!("{:06} {}/{}", self.sequence, self.sheet, self.sheets)
    }

    /// The Data Matrix (ECC 200), row by row, true where it is dark.
    pub(super) fn picture(&self) -> Result<Vec<bool>, MarkError> {
        let sizes = SymbolList::default().enforce_square().enforce_width_in(MODULES..=MODULES);
        let code = DataMatrix::encode(self.to_string().as_bytes(), sizes).map_err(|_| MarkError::TooLong)?;
        let bitmap = code.bitmap();
        if bitmap.width() == MODULES && bitmap.height() == MODULES {
            Ok(bitmap.bits().to_vec())
        } else {
            Err(MarkError::TooLong)
        }
    }
}

/// Checks a batch's name.
///
/// # Errors
/// When marks can't hold it.
pub fn check_batch_name(name: &str) -> Result<(), MarkError> {
    let of = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (1..=NAME_CHARS).contains(&name.len()) && name.bytes().all(of);
    if fits { Ok(()) } else { Err(MarkError::BatchName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_from_its_symbol_and_tells_a_changed_letter() {
        let letters: Vec<Sha256> = ["a", "b"].iter().map(|c| c.repeat(64).parse().unwrap()).collect();
        for (name, sequence, of) in
            [("B-20261123-01", 123, (1, 4)), ("ZZZZZZZZZZZZZZZZ", u32::MAX, (99, 100)), ("A", 0, (1, 1))]
        {
            check_batch_name(name).unwrap();
            let mark = IntegrityMark::new(name, sequence, of, &letters);
            let read = DataMatrix::decode(&mark.picture().unwrap(), MODULES).unwrap();
            assert_eq!(String::from_utf8(read).unwrap().parse(), Ok(mark.clone()));
            assert_ne!(IntegrityMark::new(name, sequence, of, &letters[..1]).check, mark.check);
        }
        assert_eq!(IntegrityMark::new("A", 123, (1, 4), &letters).sequence_mark(), "000123 1/4");
        for name in ["", "a", "A B", "A|B", "ZZZZZZZZZZZZZZZZZ"] {
            assert!(check_batch_name(name).is_err(), "{name}");
        }
        for text in [
            "",
            "A|1|1/1|0",
            "A|000001|01/01",
            "A|000001|01-01|00000000",
            "A|000001|01/01|0000000x",
            "A|+00001|01/01|00000000",
        ] {
            assert_eq!(text.parse::<IntegrityMark>(), Err(MarkError::NotAMark), "{text}");
        }
    }
}
