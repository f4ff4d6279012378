//! One print file of a whole batch. It is written as letters are read: one letter is in memory at a time.
//!
//! Memory: the bytes of one letter and its objects; 8 bytes for each object written; what is remembered as written
//! (6 MB at most); and the manifest, some 300 bytes an envelope. 10,000 letters come to some 15 MB.

use std::io::{self, Write};

use thiserror::Error;

use crate::letters::head::Addressee;
use crate::letters::window::AddressBlock;
use crate::model::ids::{LetterId, LetterNumber, Sha256};
use crate::model::phi::Phi;
use crate::paper::production::address::{self, AddressFault};
use crate::paper::production::content::{Content, FONT};
use crate::paper::production::copy::{Copier, CopyError, Opened, Over};
use crate::paper::production::font::{FontError, PrintFont};
use crate::paper::production::imb::{self, Imb, ImbError};
use crate::paper::production::manifest::{Manifest, Piece};
use crate::paper::production::marks::{IntegrityMark, MODULES, MarkError, check_batch_name};
use crate::paper::production::pack::{Packed, Sheaf};
use crate::paper::production::pdf::PdfWriter;
use crate::paper::production::plan::{Area, ProductionPolicy};
use crate::paper::production::sheets::Sheet;

pub use crate::paper::production::copy::LetterFault;

/// An envelope with its place in the batch and its serial number in the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Its place, from 1. A reprint keeps it.
    pub sequence: u32,
    /// Its serial number, which no other piece of this mailer had in the last 45 days. It is given by the caller.
    pub serial: u64,
    /// The ZIP code.
    pub zip: Phi<String>,
    /// The letters, the first on top.
    pub letters: Vec<Sheaf>,
    /// A sheet with another address, laid on top.
    pub carrier: Option<Carrier>,
}

/// A sheet in front of letters whose own address is not, or no longer, the right one: a letter that was issued is never
/// changed (COR-16), and mailing it again needs a place for the corrected address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// The sender's lines.
    pub sender: Vec<String>,
    /// Where it goes. The barcode holds this ZIP code.
    pub to: Addressee,
}

impl Envelope {
    /// What packing made, with its place and serial number.
    pub fn new(packed: Packed, sequence: u32, serial: u64) -> Self {
        Self { sequence, serial, zip: packed.zip, letters: packed.letters, carrier: None }
    }

    /// The ZIP code that it is mailed to.
    fn mailed_to(&self) -> &str {
        self.carrier.as_ref().map_or_else(|| self.zip.reveal(), |carrier| carrier.to.zip.0.reveal())
    }
}

/// A batch to be printed.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Its name, as marks hold it.
    pub name: &'a str,
    /// Its envelopes, in the order in which they are printed; some of them where only some are printed again.
    pub envelopes: &'a [Envelope],
}

/// Where the letters' PDFs are read from, one at a time.
pub trait LetterSource {
    /// The bytes of a letter.
    ///
    /// # Errors
    /// When it can't be read.
    fn read(&mut self, letter: &Sheaf) -> io::Result<Vec<u8>>;
}

impl<F: FnMut(&Sheaf) -> io::Result<Vec<u8>>> LetterSource for F {
    fn read(&mut self, letter: &Sheaf) -> io::Result<Vec<u8>> {
        self(letter)
    }
}

/// Why there is no print file. What was written until then is none.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// A letter can't be printed.
    #[error("letter {number} can't be printed: {fault}")]
    Letter {
        /// The letter.
        id: LetterId,
        /// Its number.
        number: LetterNumber,
        /// What is wrong with it.
        fault: LetterFault,
    },
    /// A letter can't be read.
    #[error("letter {number} can't be read")]
    Source {
        /// The letter.
        id: LetterId,
        /// Its number.
        number: LetterNumber,
        /// Why not.
        source: io::Error,
    },
    /// An envelope's barcode can't be made.
    #[error("envelope {sequence}: {fault}")]
    Imb {
        /// The envelope.
        sequence: u32,
        /// Why not.
        fault: ImbError,
    },
    /// The address on an envelope's own sheet can't be printed.
    #[error("envelope {sequence}: its address can't be printed")]
    Address {
        /// The envelope.
        sequence: u32,
        /// Why not.
        faults: Vec<AddressFault>,
    },
    /// An envelope holds nothing, or more than it takes.
    #[error("envelope {0} is empty or has more sheets than it takes")]
    Sheets(u32),
    /// Envelopes are not in their order, or one comes twice.
    #[error("envelope {0} is not behind the one before it")]
    Order(u32),
    /// A mark can't be made.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// The font can't be used.
    #[error(transparent)]
    Font(#[from] FontError),
    /// The file can't be written.
    #[error("can't write the print file: {0}")]
    Write(#[from] io::Error),
}

/// Puts batches together, by one policy and with one font.
pub struct Assembler<'a> {
    policy: &'a ProductionPolicy,
    block: &'a AddressBlock,
    font: PrintFont,
}

impl std::fmt::Debug for Assembler<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Assembler({})", self.policy.envelope.name)
    }
}

impl<'a> Assembler<'a> {
    /// One that sets its marks in this font, a file of one face, and addresses in this place: those of letters.
    ///
    /// # Errors
    /// When the font can't be used.
    pub fn new(policy: &'a ProductionPolicy, face: &[u8], block: &'a AddressBlock) -> Result<Self, FontError> {
        Ok(Self { policy, block, font: PrintFont::read(face)? })
    }

    /// Writes a batch. Only when this answers with a manifest is what was written whole: write it where nobody takes it
    /// for the batch before.
    ///
    /// # Errors
    /// Names the letter or the envelope that is at fault.
    pub fn assemble<W: Write>(
        &self,
        batch: &Batch<'_>,
        letters: &mut impl LetterSource,
        out: W,
    ) -> Result<Manifest, AssembleError> {
        check_batch_name(batch.name)?;
        let mut run = Run::begin(self, batch, out)?;
        let mut last = 0;
        for (i, envelope) in batch.envelopes.iter().enumerate() {
            if envelope.sequence <= last {
                return Err(AssembleError::Order(envelope.sequence));
            }
            last = envelope.sequence;
            run.separator(i)?;
            run.envelope(envelope, letters)?;
        }
        run.finish()
    }
}

/// A batch that is being written.
struct Run<'a, W> {
    policy: &'a ProductionPolicy,
    block: &'a AddressBlock,
    font: &'a PrintFont,
    batch: &'a Batch<'a>,
    pdf: PdfWriter<W>,
    copier: Copier,
    /// The font of marks.
    font_id: u32,
    /// A stream that only says `q`.
    save_id: u32,
    pieces: Vec<Piece>,
    other_sheets: u32,
}

impl<'a, W: Write> Run<'a, W> {
    fn begin(assembler: &'a Assembler<'_>, batch: &'a Batch<'a>, out: W) -> Result<Self, AssembleError> {
        let mut pdf = PdfWriter::begin(out)?;
        let font_id = assembler.font.write(&mut pdf)?;
        let save_id = pdf.reserve();
        pdf.stream(save_id, "", b"q\n")?;
        let mut run = Self {
            policy: assembler.policy,
            block: assembler.block,
            font: &assembler.font,
            batch,
            pdf,
            copier: Copier::default(),
            font_id,
            save_id,
            pieces: Vec::with_capacity(batch.envelopes.len()),
            other_sheets: 0,
        };
        if run.policy.sheets.banner {
            let sheets: u32 = batch.envelopes.iter().map(|envelope| run.sheets(envelope)).sum();
            let lines = vec![
                format!("{} envelopes, {sheets} sheets", batch.envelopes.len()),
                format!("Envelope: {}", run.policy.envelope.name.replace('_', " ")),
                format!("First panel when folded: {} in", run.policy.envelope.first_panel_in),
                (if run.policy.envelope.duplex { "Print on both sides" } else { "Print on one side" }).to_owned(),
            ];
            run.sheet("Print batch", lines)?;
        }
        Ok(run)
    }

    fn sheets(&self, envelope: &Envelope) -> u32 {
        let letters = envelope.letters.iter().map(|letter| self.policy.envelope.sheets(letter.pages));
        letters.sum::<u32>() + u32::from(envelope.carrier.is_some())
    }

    fn sheet(&mut self, title: &str, lines: Vec<String>) -> Result<(), AssembleError> {
        let content = Sheet { title, batch: self.batch.name, lines }.draw(self.font)?;
        self.other_sheets += 1;
        Ok(self.own_page(&content)?)
    }

    /// A sheet of ours, with its blank back.
    fn own_page(&mut self, content: &[u8]) -> io::Result<()> {
        let id = self.pdf.reserve();
        self.pdf.stream(id, "", content)?;
        let font = self.font_id;
        let entries = format!("/MediaBox[0 0 612 792]/Resources<</Font<</{FONT} {font} 0 R>>>>/Contents {id} 0 R");
        self.pdf.page(entries.as_bytes())?;
        if self.policy.envelope.duplex { blank(&mut self.pdf) } else { Ok(()) }
    }

    /// The sheet before a group of envelopes.
    fn separator(&mut self, i: usize) -> Result<(), AssembleError> {
        let every = usize::try_from(self.policy.sheets.separate_every).unwrap_or(usize::MAX);
        // One group needs nothing between.
        if every == 0 || !i.is_multiple_of(every) || self.batch.envelopes.len() <= every {
            return Ok(());
        }
        let group: Vec<u32> = self.batch.envelopes[i..].iter().take(every).map(|envelope| envelope.sequence).collect();
        let (from, to) = (group.first().copied().unwrap_or_default(), group.last().copied().unwrap_or_default());
        self.sheet("Separator", vec![format!("Envelopes {from:06} to {to:06}")])
    }

    fn envelope(&mut self, envelope: &Envelope, source: &mut impl LetterSource) -> Result<(), AssembleError> {
        let sheets = self.sheets(envelope);
        if envelope.letters.is_empty() || sheets == 0 || sheets > self.policy.envelope.sheets_max {
            return Err(AssembleError::Sheets(envelope.sequence));
        }
        let imb = if self.policy.imb.print {
            let made = Imb::new(&self.policy.imb, envelope.serial, envelope.mailed_to());
            Some(made.map_err(|fault| AssembleError::Imb { sequence: envelope.sequence, fault })?)
        } else {
            None
        };
        let first_page = self.pdf.pages() + 1;
        let mut sheet = 0;
        if let Some(carrier) = &envelope.carrier {
            sheet = 1;
            let mark = mark_of(self.batch.name, envelope, (sheet, sheets));
            let content = carrier_sheet(self.policy, self.font, self.block, carrier, &mark, imb.as_ref())
                .map_err(|error| error.of(envelope.sequence))?;
            self.own_page(&content)?;
        }
        for letter in &envelope.letters {
            let bytes = source.read(letter).map_err(|source| AssembleError::Source {
                id: letter.id.clone(),
                number: letter.number.clone(),
                source,
            })?;
            self.letter(envelope, imb.as_ref(), (&mut sheet, sheets), letter, &bytes)?;
        }
        let pages = envelope.letters.iter().map(|letter| letter.pages).sum();
        let printed_pages = self.pdf.pages() + 1 - first_page;
        self.pieces.push(Piece::new(envelope, self.policy, (first_page, printed_pages), pages, sheets));
        Ok(())
    }

    fn letter(
        &mut self,
        envelope: &Envelope,
        imb: Option<&Imb>,
        (sheet, sheets): (&mut u32, u32),
        letter: &Sheaf,
        bytes: &[u8],
    ) -> Result<(), AssembleError> {
        let at_fault = |fault| AssembleError::Letter { id: letter.id.clone(), number: letter.number.clone(), fault };
        if Sha256::of(bytes) != letter.sha256 {
            return Err(at_fault(LetterFault::Changed));
        }
        let opened = Opened::read(bytes, letter.pages).map_err(at_fault)?;
        let duplex = self.policy.envelope.duplex;
        let (policy, font, batch, font_id, save_id) =
            (self.policy, self.font, self.batch.name, self.font_id, self.save_id);
        // The symbols of all sheets fit where that of the first does.
        let mut mark_fault = None;
        let last = usize::try_from(letter.pages).unwrap_or(usize::MAX).saturating_sub(1);
        let done = self.copier.letter(
            &mut self.pdf,
            &opened,
            |page, _| {
                if duplex && page % 2 == 1 {
                    return Ok(None);
                }
                *sheet += 1;
                let mark = mark_of(batch, envelope, (*sheet, sheets));
                let imb = imb.filter(|_| *sheet == 1);
                let mut content = Content::over(font);
                match draw_marks(&mut content, policy, &mark, imb) {
                    Ok(()) => Ok(Some(Over { font: font_id, save: save_id, content: content.into_bytes() })),
                    Err(fault) => {
                        mark_fault = Some(fault);
                        Ok(None)
                    }
                }
            },
            |page, pdf| {
                // The next letter begins on a front.
                if duplex && page == last && page % 2 == 0 {
                    blank(pdf)?;
                }
                Ok(())
            },
        );
        match (done, mark_fault) {
            (Err(CopyError::Letter(fault)), _) => Err(at_fault(fault)),
            (Err(CopyError::Write(error)), _) => Err(error.into()),
            (Ok(()), Some(fault)) => Err(fault.into()),
            (Ok(()), None) => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Manifest, AssembleError> {
        if self.policy.sheets.trailer {
            let envelopes = self.pieces.len();
            let sheets: u32 = self.pieces.iter().map(|piece| piece.sheets).sum();
            self.sheet("End of batch", vec![format!("{envelopes} envelopes, {sheets} sheets")])?;
        }
        let (pages, shared) = (self.pdf.pages(), self.copier.shared_bytes());
        let written = self.pdf.finish(&format!("Print batch {}", self.batch.name))?;
        Ok(Manifest::new(self.batch.name, self.policy, written, pages, self.other_sheets, shared, self.pieces))
    }
}

/// A page without anything on it.
fn blank<W: Write>(pdf: &mut PdfWriter<W>) -> io::Result<()> {
    pdf.page(b"/MediaBox[0 0 612 792]/Resources<<>>")
}

fn mark_of(batch: &str, envelope: &Envelope, place: (u32, u32)) -> IntegrityMark {
    IntegrityMark::new(batch, envelope.sequence, place, envelope.letters.iter().map(|letter| &letter.sha256))
}

/// Draws what the front of a sheet has for machines.
fn draw_marks(
    content: &mut Content<'_>,
    policy: &ProductionPolicy,
    mark: &IntegrityMark,
    imb: Option<&Imb>,
) -> Result<(), MarkError> {
    let marks = &policy.marks;
    content.text_upwards(marks.sequence_left_in, marks.sequence_foot_in, marks.sequence_pt, &mark.sequence_mark());
    let side = Area {
        left: marks.matrix_left_in,
        top: marks.matrix_top_in,
        right: marks.matrix_left_in + marks.matrix_side_in,
        bottom: marks.matrix_top_in + marks.matrix_side_in,
    };
    content.bits(&side, MODULES, &mark.picture()?);
    if let Some(imb) = imb {
        content.bits(&policy.imb.area(), imb::COLUMNS, imb.picture());
    }
    Ok(())
}

/// What is wrong with a carrier.
enum CarrierError {
    Mark(MarkError),
    Address(Vec<AddressFault>),
}

impl CarrierError {
    fn of(self, sequence: u32) -> AssembleError {
        match self {
            Self::Mark(fault) => fault.into(),
            Self::Address(faults) => AssembleError::Address { sequence, faults },
        }
    }
}

/// A sheet with the address where letters have it, and nothing below the fold.
fn carrier_sheet(
    policy: &ProductionPolicy,
    font: &PrintFont,
    block: &AddressBlock,
    carrier: &Carrier,
    mark: &IntegrityMark,
    imb: Option<&Imb>,
) -> Result<Vec<u8>, CarrierError> {
    const SENDER_PT: f64 = 8.5;
    let mut content = Content::new(font);
    let mut base = policy.return_area().top + SENDER_PT / 72.0;
    for line in &carrier.sender {
        content.text(block.left_in, base, SENDER_PT, line);
        base += block.line_em * SENDER_PT / 72.0;
    }
    let set = address::set(font, block, &carrier.to).map_err(CarrierError::Address)?;
    let em = set.size_pt / 72.0;
    let mut base = block.top_in + block.height_in - block.descent_em * em;
    for (indent_pt, line) in set.lines.iter().rev() {
        content.text(block.left_in + indent_pt / 72.0, base, set.size_pt, line);
        base -= block.line_em * em;
    }
    draw_marks(&mut content, policy, mark, imb).map_err(CarrierError::Mark)?;
    Ok(content.into_bytes())
}
