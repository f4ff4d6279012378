//! The USPS Intelligent Mail barcode (USPS-B-3200): 31 digits in 65 bars.

use barcodes::common::traits::BarcodeEncoder as _;
use barcodes::common::types::Encoded;
use thiserror::Error;

use crate::paper::production::plan::ImbPolicy;

/// Bars of a barcode.
pub const BARS: usize = 65;
/// Columns and rows of its picture: each bar and each space between two is a column; ascender, tracker and descender are a
/// row each.
pub(super) const COLUMNS: usize = 2 * BARS - 1;
pub(super) const ROWS: usize = 3;

/// Why there is no barcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ImbError {
    /// The serial number has more digits than the mailer's number leaves.
    #[error("the serial number is larger than the mailer's number leaves room for")]
    Serial,
    /// The ZIP code has not 5, 9 or 11 digits.
    #[error("the ZIP code has not 5, 9 or 11 digits")]
    Zip,
    /// The mailer's figures are not what they must be.
    #[error("the mailer's figures can't be encoded")]
    Mailer,
}

/// A barcode.
#[derive(Clone, PartialEq, Eq)]
pub struct Imb {
    tracking: String,
    routing: String,
    picture: [bool; COLUMNS * ROWS],
}

impl std::fmt::Debug for Imb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // where it goes to is an address
        write!(f, "Imb({} …)", self.tracking)
    }
}

impl Imb {
    /// The barcode of a piece of mail.
    ///
    /// # Errors
    /// When the serial number or the ZIP code can't be in it.
    pub fn new(policy: &ImbPolicy, serial: u64, zip: &str) -> Result<Self, ImbError> {
        if serial >= policy.serials() {
            return Err(ImbError::Serial);
        }
        let digits = policy.serial_digits();
        let tracking = format!("{}{}{}{serial:0digits$}", policy.barcode_id, policy.service_type, policy.mailer_id);
        let routing: String = zip.chars().filter(|c| *c != '-').collect();
        Self::encode(&tracking, &routing)
    }

    /// The barcode of a tracking code of 20 digits and a routing code of 0, 5, 9 or 11.
    ///
    /// # Errors
    /// When they are not that.
    pub fn encode(tracking: &str, routing: &str) -> Result<Self, ImbError> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !matches!(routing.len(), 0 | 5 | 9 | 11) || !number(routing) {
            return Err(ImbError::Zip);
        }
        if tracking.len() != 20 || !number(tracking) {
            return Err(ImbError::Mailer);
        }
        let mut picture = [false; COLUMNS * ROWS];
        let text = if routing.is_empty() { tracking.to_owned() } else { format!("{tracking}-{routing}") };
        match barcodes::postal::imb::Imb::encode_into(&text, &mut picture) {
            Ok(Encoded::Matrix { width: COLUMNS, height: ROWS }) => {
                Ok(Self { tracking: tracking.to_owned(), routing: routing.to_owned(), picture })
            }
            _ => Err(ImbError::Mailer),
        }
    }

    /// Tracking code and routing code, up to 31 digits. The routing code is a part of an address.
    pub fn digits(&self) -> String {
        format!("{}{}", self.tracking, self.routing)
    }

    /// The bars: full, ascending, descending, or tracker alone.
    pub fn bars(&self) -> String {
        let row = |row: usize| self.picture[row * COLUMNS..].iter().step_by(2).take(BARS);
        let bars = row(0).zip(row(2)).map(|(ascends, descends)| match (ascends, descends) {
            (true, true) => 'F',
            (true, false) => 'A',
            (false, true) => 'D',
            (false, false) => 'T',
        });
        bars.collect()
    }

    pub(super) fn picture(&self) -> &[bool] {
        &self.picture
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of USPS-B-3200.
    #[test]
    fn cor_41_the_published_examples_are_encoded_as_published() {
        for (routing, bars) in [
            ("", "ATTFATTDTTADTAATTDTDTATTDAFDDFADFDFTFFFFFTATFAAAATDFFTDAADFTFDTDT"),
            ("01234", "DTTAFADDTTFTDTFTFDTDDADADAFADFATDDFTAAAFDTTADFAAATDFDTDFADDDTDFFT"),
            ("012345678", "ADFTTAFDTTTTFATTADTAAATFTFTATDAAAFDDADATATDTDTTDFDTDATADADTDFFTFA"),
            ("01234567891", "AADTFFDFTDADTAADAATFDTDDAAADDTDTTDAFADADDDTFFFDDTTTADFAAADFTDAADA"),
        ] {
            let barcode = Imb::encode("01234567094987654321", routing).unwrap();
            assert_eq!(barcode.bars(), bars, "{routing}");
            assert_eq!(barcode.digits(), format!("01234567094987654321{routing}"));
        }
    }

    #[test]
    fn what_can_t_be_encoded_is_refused() {
        for (tracking, routing, error) in [
            ("0123456709498765432", "", ImbError::Mailer),
            ("05234567094987654321", "", ImbError::Mailer),
            ("0123456709498765432x", "", ImbError::Mailer),
            ("01234567094987654321", "0123", ImbError::Zip),
            ("01234567094987654321", "0123a", ImbError::Zip),
        ] {
            assert_eq!(Imb::encode(tracking, routing), Err(error), "{tracking} {routing}");
        }
    }
}
