//! The policy of production: the tables `[paper.production.*]` of `pipelines/correspondence.toml`, and what follows from
//! them for the sheet. Lengths are inches; on a sheet from its upper left corner, on an envelope from its lower left one.

use serde::Deserialize;

use crate::engine::plan::PlanError;
use crate::letters::window::AddressBlock;
use crate::model::letter::LetterType;

/// A US letter sheet.
pub const SHEET_WIDTH_IN: f64 = 8.5;
/// Its height.
pub const SHEET_HEIGHT_IN: f64 = 11.0;
/// Columns of an Intelligent Mail barcode, bars and the spaces between them.
const IMB_COLUMNS: f64 = 129.0;
/// White that the barcode needs above and below it (USPS-B-3200).
const IMB_CLEAR_IN: f64 = 0.028;
/// Less than this is rounding.
const SLACK_IN: f64 = 0.000_5;

/// The plan.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductionPolicy {
    /// The envelope, and what may be in it.
    pub envelope: EnvelopePolicy,
    /// The upper window, for the sender.
    pub return_window: Window,
    /// The lower window, for the addressee.
    pub address_window: Window,
    /// Which letters share an envelope.
    pub sharing: SharingPolicy,
    /// What the inserter reads on each sheet.
    pub marks: MarksPolicy,
    /// The Intelligent Mail barcode.
    pub imb: ImbPolicy,
    /// Sheets of the batch that are no letters.
    pub sheets: SheetsPolicy,
}

/// The envelope (`[paper.production.envelope]`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopePolicy {
    /// What it is called: the manifest says it.
    pub name: String,
    /// Its inner width.
    pub width_in: f64,
    /// Its inner height.
    pub height_in: f64,
    /// How high the first panel of the folded sheet is.
    pub first_panel_in: f64,
    /// White beside an address, wherever the sheet has slipped to.
    pub clear_side_in: f64,
    /// White above and below it.
    pub clear_above_in: f64,
    /// Whether sheets are printed on both sides.
    pub duplex: bool,
    /// Sheets that go into it.
    pub sheets_max: u32,
    /// What a sheet weighs.
    pub sheet_grams: f64,
    /// What the empty envelope weighs.
    pub envelope_grams: f64,
}

/// A window of the envelope, as its maker gives it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// From the envelope's left.
    pub left_in: f64,
    /// From its foot.
    pub bottom_in: f64,
    /// Width.
    pub width_in: f64,
    /// Height.
    pub height_in: f64,
}

/// Which letters share an envelope (`[paper.production.sharing]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharingPolicy {
    /// Whether letters to one addressee at one address, of one day, share an envelope (COR-40).
    pub one_envelope: bool,
    /// Types that have an envelope of their own all the same.
    pub alone: Vec<LetterType>,
}

/// What the inserter reads (`[paper.production.marks]`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarksPolicy {
    /// Where the Data Matrix is.
    pub matrix_left_in: f64,
    /// From the upper edge.
    pub matrix_top_in: f64,
    /// Its side, without its quiet zone.
    pub matrix_side_in: f64,
    /// Where the line of the sequence mark stands. It is read upwards.
    pub sequence_left_in: f64,
    /// Where it begins, at its lower end.
    pub sequence_foot_in: f64,
    /// The size of its print.
    pub sequence_pt: f64,
}

/// The Intelligent Mail barcode (`[paper.production.imb]`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImbPolicy {
    /// Whether there is one.
    pub print: bool,
    /// Two digits: presort.
    pub barcode_id: String,
    /// Three digits: class of mail and services.
    pub service_type: String,
    /// Six or nine digits: who mails.
    pub mailer_id: String,
    /// Days for which a serial number is not used again.
    pub serial_days: u16,
    /// Where it begins.
    pub left_in: f64,
    /// Where it ends.
    pub bottom_in: f64,
    /// Its width.
    pub width_in: f64,
    /// The height of a full bar.
    pub height_in: f64,
}

/// Sheets that are no letters (`[paper.production.sheets]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SheetsPolicy {
    /// One before the first envelope.
    pub banner: bool,
    /// One before each group of so many envelopes; 0 for none.
    pub separate_every: u32,
    /// One after the last envelope.
    pub trailer: bool,
}

/// A part of a sheet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// From the left edge.
    pub left: f64,
    /// From the upper edge.
    pub top: f64,
    /// From the left edge.
    pub right: f64,
    /// From the upper edge.
    pub bottom: f64,
}

impl Area {
    /// Whether the other lies in it.
    pub fn holds(&self, other: &Self) -> bool {
        other.left >= self.left - SLACK_IN
            && other.right <= self.right + SLACK_IN
            && other.top >= self.top - SLACK_IN
            && other.bottom <= self.bottom + SLACK_IN
    }

    /// Whether they have a part in common.
    pub fn meets(&self, other: &Self) -> bool {
        self.left < other.right - SLACK_IN
            && other.left < self.right - SLACK_IN
            && self.top < other.bottom - SLACK_IN
            && other.top < self.bottom - SLACK_IN
    }

    fn without(&self, side: f64, above: f64) -> Self {
        Self { left: self.left + side, top: self.top + above, right: self.right - side, bottom: self.bottom - above }
    }
}

fn unusable<T>(table: &str, why: &str) -> Result<T, PlanError> {
    Err(PlanError::Unusable(format!("correspondence.toml: [paper.production.{table}] {why}")))
}

impl EnvelopePolicy {
    /// What a window shows of the sheet wherever that has slipped to.
    pub fn always_seen(&self, window: &Window) -> Area {
        let bottom = self.first_panel_in - window.bottom_in;
        Area {
            left: window.left_in,
            top: bottom - window.height_in + (self.height_in - self.first_panel_in),
            right: window.left_in + window.width_in - (self.width_in - SHEET_WIDTH_IN),
            bottom,
        }
    }

    /// What a window shows of the sheet at one time or another.
    pub fn ever_seen(&self, window: &Window) -> Area {
        let bottom = self.first_panel_in - window.bottom_in;
        Area {
            left: window.left_in - (self.width_in - SHEET_WIDTH_IN),
            top: bottom - window.height_in,
            right: window.left_in + window.width_in,
            bottom: bottom + (self.height_in - self.first_panel_in),
        }
    }

    /// Sheets that so many pages take.
    pub const fn sheets(&self, pages: u32) -> u32 {
        if self.duplex { pages.div_ceil(2) } else { pages }
    }

    /// What an envelope with so many sheets weighs, in grams.
    pub fn grams(&self, sheets: u32) -> f64 {
        self.envelope_grams + f64::from(sheets) * self.sheet_grams
    }
}

impl ImbPolicy {
    /// Where it is on the sheet.
    pub fn area(&self) -> Area {
        Area {
            left: self.left_in,
            top: self.bottom_in - self.height_in,
            right: self.left_in + self.width_in,
            bottom: self.bottom_in,
        }
    }

    /// Digits of the serial number: what the mailer's number leaves.
    pub const fn serial_digits(&self) -> usize {
        if self.mailer_id.len() == 9 { 6 } else { 9 }
    }

    /// How many serial numbers there are.
    pub const fn serials(&self) -> u64 {
        10u64.pow(if self.mailer_id.len() == 9 { 6 } else { 9 })
    }

    fn check(&self) -> Result<(), PlanError> {
        let digits = |text: &str, lengths: &[usize]| {
            lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(&self.barcode_id, &[2]) || self.barcode_id.as_bytes()[1] > b'4' {
            return unusable("imb", "barcode_id must be two digits, the second 0 to 4");
        }
        if !digits(&self.service_type, &[3]) {
            return unusable("imb", "service_type must be three digits");
        }
        // Numbers of nine digits begin with 9, those of six do not: so the two can be told apart.
        if !digits(&self.mailer_id, &[6, 9]) || (self.mailer_id.len() == 9) != self.mailer_id.starts_with('9') {
            return unusable("imb", "mailer_id must be nine digits that begin with 9, or six that do not");
        }
        if self.serial_days < 45 {
            return unusable("imb", "serial_days must be at least 45: the post wants numbers unique for so long");
        }
        // USPS-B-3200: 22 bars an inch, two more or less; a full bar of 0.125 to 0.165 in.
        let bars_per_in = (IMB_COLUMNS - 1.0) / 2.0 / (self.width_in * (IMB_COLUMNS - 1.0) / IMB_COLUMNS);
        if !(20.0..=24.1).contains(&bars_per_in) || !(0.125..=0.165).contains(&self.height_in) {
            return unusable("imb", "width_in must give 20 to 24 bars an inch, height_in must be 0.125 to 0.165");
        }
        Ok(())
    }
}

impl MarksPolicy {
    /// Where the Data Matrix is, with its quiet zone.
    pub fn matrix_area(&self) -> Area {
        let quiet = self.matrix_side_in / 26.0;
        Area {
            left: self.matrix_left_in - quiet,
            top: self.matrix_top_in - quiet,
            right: self.matrix_left_in + self.matrix_side_in + quiet,
            bottom: self.matrix_top_in + self.matrix_side_in + quiet,
        }
    }

    /// Where the sequence mark is, at its longest.
    pub fn sequence_area(&self) -> Area {
        let em = self.sequence_pt / 72.0;
        Area {
            left: self.sequence_left_in - 0.8 * em,
            top: self.sequence_foot_in - 13.0 * 0.6 * em,
            right: self.sequence_left_in + 0.25 * em,
            bottom: self.sequence_foot_in,
        }
    }
}

impl ProductionPolicy {
    /// Where an address and the barcode must lie to be read wherever the sheet has slipped to.
    pub fn address_area(&self) -> Area {
        self.envelope
            .always_seen(&self.address_window)
            .without(self.envelope.clear_side_in, self.envelope.clear_above_in)
    }

    /// Where the sender must lie to be read.
    pub fn return_area(&self) -> Area {
        self.envelope.always_seen(&self.return_window)
    }

    /// Checks that the figures make sense together.
    ///
    /// # Errors
    /// Names the table and the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        let envelope = &self.envelope;
        let fits = envelope.width_in >= SHEET_WIDTH_IN
            && envelope.height_in >= envelope.first_panel_in
            && (SHEET_HEIGHT_IN / 3.0 - SLACK_IN..=SHEET_HEIGHT_IN).contains(&envelope.first_panel_in);
        if !fits {
            return unusable(
                "envelope",
                "first_panel_in must be a third of the sheet or more, and go into the envelope",
            );
        }
        if !(1..=100).contains(&envelope.sheets_max) {
            return unusable("envelope", "sheets_max must be 1 to 100");
        }
        if !(envelope.sheet_grams > 0.0 && envelope.envelope_grams > 0.0) {
            return unusable("envelope", "sheet_grams and envelope_grams must be more than 0");
        }
        let area = self.address_area();
        if area.right - area.left < 1.0 || area.bottom - area.top < 0.3 {
            return unusable("address_window", "shows too little of the sheet when that slips");
        }
        if self.imb.print {
            self.imb.check()?;
            if !area.holds(&self.imb.area()) {
                return unusable("imb", "it would slip out of the address window");
            }
        }
        let printable = Area { left: 0.25, top: 0.25, right: SHEET_WIDTH_IN - 0.25, bottom: SHEET_HEIGHT_IN - 0.25 };
        for mark in [self.marks.matrix_area(), self.marks.sequence_area()] {
            let seen = [self.return_window, self.address_window].map(|window| envelope.ever_seen(&window));
            if !printable.holds(&mark) || seen.iter().any(|window| window.meets(&mark)) {
                return unusable("marks", "a mark must lie on the sheet, and where no window shows it");
            }
        }
        if self.marks.matrix_area().meets(&self.marks.sequence_area()) {
            return unusable("marks", "the sequence mark lies over the Data Matrix");
        }
        Ok(())
    }

    /// Checks that letters have their address where this envelope shows it, and leave the barcode its place.
    ///
    /// # Errors
    /// Says which of the two does not fit the other.
    pub fn check_letters(&self, block: &AddressBlock) -> Result<(), PlanError> {
        let foot = block.top_in + block.height_in;
        let seen = Area {
            left: block.left_in,
            top: foot - block.seen_in,
            right: block.left_in + block.width_in,
            bottom: foot,
        };
        if !self.address_area().holds(&seen) {
            return unusable("address_window", "the address of letters (geometry.toml) would slip out of it");
        }
        if self.imb.print && seen.bottom > self.imb.area().top - IMB_CLEAR_IN + SLACK_IN {
            return unusable("imb", "the address of letters (geometry.toml) comes too near to it");
        }
        Ok(())
    }
}
