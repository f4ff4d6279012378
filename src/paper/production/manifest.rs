//! What a print file holds: for the printer, who answers by it, and for the ledger. No names and no addresses.

use std::io::{self, Write};

use serde::Serialize;
use sha2::{Digest, Sha256 as Hasher};

use crate::model::ids::{LetterId, LetterNumber};
use crate::paper::production::assemble::Envelope;
use crate::paper::production::pdf::Written;
use crate::paper::production::plan::ProductionPolicy;

/// A letter in an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PieceLetter {
    /// The letter.
    pub id: LetterId,
    /// The number printed on it.
    pub number: LetterNumber,
    /// Its pages.
    pub pages: u32,
}

/// An envelope.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Piece {
    /// Its place in the batch.
    pub sequence: u32,
    /// Its serial number in the barcode; none where there is no barcode.
    pub imb_serial: Option<String>,
    /// Its first page in the print file, from 1.
    pub first_page: u32,
    /// Pages that it takes there, with blank backs.
    pub printed_pages: u32,
    /// Pages of its letters.
    pub pages: u32,
    /// Its sheets.
    pub sheets: u32,
    /// What it weighs, about.
    pub grams: f64,
    /// SHA-256 over the hashes of its letters, in their order, one a line.
    pub letters_sha256: String,
    /// Whether a sheet with another address is on top.
    pub carrier: bool,
    /// Its letters, the first on top.
    pub letters: Vec<PieceLetter>,
}

impl Piece {
    pub(super) fn new(
        envelope: &Envelope,
        policy: &ProductionPolicy,
        (first_page, printed_pages): (u32, u32),
        pages: u32,
        sheets: u32,
    ) -> Self {
        let mut hash = Hasher::new();
        for letter in &envelope.letters {
            hash.update(letter.sha256.as_str());
            hash.update("\n");
        }
        let digits = policy.imb.serial_digits();
        Self {
            sequence: envelope.sequence,
            imb_serial: policy.imb.print.then(|| format!("{:0digits$}", envelope.serial)),
            first_page,
            printed_pages,
            pages,
            sheets,
            grams: tenths(policy.envelope.grams(sheets)),
            letters_sha256: hex::encode(hash.finalize()),
            carrier: envelope.carrier.is_some(),
            letters: envelope
                .letters
                .iter()
                .map(|letter| PieceLetter { id: letter.id.clone(), number: letter.number.clone(), pages: letter.pages })
                .collect(),
        }
    }
}

/// The manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    /// The batch.
    pub batch: String,
    /// Which envelopes they go into.
    pub envelope: String,
    /// SHA-256 of the print file.
    pub pdf_sha256: String,
    /// Its size.
    pub pdf_bytes: u64,
    /// Pages of the print file, with blank backs and sheets that are no letters.
    pub pdf_pages: u32,
    /// Envelopes.
    pub envelopes: usize,
    /// Letters in them.
    pub letters: usize,
    /// Pages of the letters.
    pub pages: u32,
    /// Sheets in envelopes.
    pub sheets: u32,
    /// Sheets that are no letters.
    pub other_sheets: u32,
    /// What all envelopes weigh, about.
    pub grams: f64,
    /// Bytes that letters have in common and that were written once.
    pub shared_bytes: u64,
    /// The envelopes.
    pub pieces: Vec<Piece>,
}

impl Manifest {
    pub(super) fn new(
        batch: &str,
        policy: &ProductionPolicy,
        written: Written,
        pdf_pages: u32,
        other_sheets: u32,
        shared_bytes: u64,
        pieces: Vec<Piece>,
    ) -> Self {
        Self {
            batch: batch.to_owned(),
            envelope: policy.envelope.name.clone(),
            pdf_sha256: written.sha256,
            pdf_bytes: written.bytes,
            pdf_pages,
            envelopes: pieces.len(),
            letters: pieces.iter().map(|piece| piece.letters.len()).sum(),
            pages: pieces.iter().map(|piece| piece.pages).sum(),
            sheets: pieces.iter().map(|piece| piece.sheets).sum(),
            other_sheets,
            grams: tenths(pieces.iter().map(|piece| piece.grams).sum()),
            shared_bytes,
            pieces,
        }
    }

    /// Writes it as CSV: a line an envelope, letters with `;` between them, and the totals in the last line.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_csv(&self, out: impl Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record([
            "batch",
            "sequence",
            "imb_serial",
            "first_page",
            "printed_pages",
            "pages",
            "sheets",
            "grams",
            "letters_sha256",
            "letter_numbers",
            "letter_ids",
        ])?;
        let joined = |values: Vec<&str>| values.join(";");
        for piece in &self.pieces {
            csv.write_record([
                self.batch.clone(),
                piece.sequence.to_string(),
                piece.imb_serial.clone().unwrap_or_default(),
                piece.first_page.to_string(),
                piece.printed_pages.to_string(),
                piece.pages.to_string(),
                piece.sheets.to_string(),
                format!("{:.1}", piece.grams),
                piece.letters_sha256.clone(),
                joined(piece.letters.iter().map(|letter| letter.number.as_str()).collect()),
                joined(piece.letters.iter().map(|letter| letter.id.as_str()).collect()),
            ])?;
        }
        csv.write_record([
            self.batch.clone(),
            "total".into(),
            String::new(),
            String::new(),
            self.pdf_pages.to_string(),
            self.pages.to_string(),
            self.sheets.to_string(),
            format!("{:.1}", self.grams),
            self.pdf_sha256.clone(),
            self.letters.to_string(),
            self.envelopes.to_string(),
        ])?;
        csv.flush()
    }
}

fn tenths(grams: f64) -> f64 {
    (grams * 10.0).round() / 10.0
}
