//! A document: one file of a submission, or one arriving alone.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::codes;
use crate::model::ids::IdError;
use crate::model::phi::Phi;

codes! {
    /// Where a document is (spec: intake, Statuses).
    pub enum DocumentState {
        /// Its bytes are on their way; nothing is promised yet.
        Receiving = "receiving",
        /// Durable: the sender has been told so.
        Received = "received",
        /// Its type is known; the scanner has it, or its verdict waits for its final place.
        Scanning = "scanning",
        /// Clean, in its final place.
        Stored = "stored",
        /// On its case.
        Matched = "matched",
        /// A person chooses between proposed cases.
        NeedsReview = "needs_review",
        /// No case is known for it.
        Unmatched = "unmatched",
        /// Refused, with its reason.
        Rejected = "rejected",
        /// Infected; its bytes are barred.
        Quarantined = "quarantined",
        /// Could not be judged; an operator decides.
        Held = "held",
        /// Taken back by its sender before submission, or gone with an expired draft.
        Withdrawn = "withdrawn",
        /// Became several documents.
        Split = "split",
        /// Not ours, sent back.
        Returned = "returned",
        /// Destroyed by retention; the row stays.
        Purged = "purged",
    }
}

impl DocumentState {
    /// Whether a document in this state may become `next`. The database refuses every other way.
    pub fn may_become(self, next: Self) -> bool {
        use DocumentState::{
            Held, Matched, NeedsReview, Purged, Quarantined, Received, Receiving, Rejected, Returned, Scanning, Split,
            Stored, Unmatched, Withdrawn,
        };
        match self {
            Receiving => matches!(next, Received | Rejected | Withdrawn),
            Received => matches!(next, Scanning | Rejected | Held | Withdrawn),
            Scanning => matches!(next, Stored | Quarantined | Held | Rejected | Withdrawn),
            // a later rescan can find what an older signature set could not (INT-12)
            Stored => matches!(next, Matched | NeedsReview | Unmatched | Quarantined | Withdrawn | Purged),
            Matched => matches!(next, NeedsReview | Unmatched | Quarantined | Purged),
            NeedsReview | Unmatched => {
                matches!(next, Matched | NeedsReview | Unmatched | Quarantined | Split | Returned | Purged)
                    && self != next
            }
            Held => matches!(next, Received | Scanning | Rejected | Quarantined | Withdrawn | Returned | Purged),
            // out of a draft (INT-13); the bytes of an infected one stay barred
            Rejected | Quarantined => matches!(next, Withdrawn | Purged),
            Withdrawn | Split | Returned => next == Purged,
            Purged => false,
        }
    }

    /// Whether intake has said what the file is: a submission waits until all of its documents are judged.
    pub const fn is_judged(self) -> bool {
        !matches!(self, Self::Receiving | Self::Received | Self::Scanning)
    }
}

codes! {
    /// Why a document is not ours and goes back (OPS-07).
    pub enum ReturnReason {
        /// It is addressed to another payer.
        OtherPayer = "other_payer",
        /// The patient is not a member here.
        NotOurMember = "not_our_member",
        /// It is nothing that a health plan works on: advertising, private letters.
        NotForUs = "not_for_us",
        /// Nobody can read it: its sender has to send it again.
        Illegible = "illegible",
        /// What came with it is missing, and without that it can't be worked on.
        Incomplete = "incomplete",
    }
}

codes! {
    /// How somebody came to know a document (OPS-08).
    pub enum Access {
        /// It was shown.
        Shown = "shown",
        /// Its bytes were handed out.
        Downloaded = "downloaded",
        /// A message told of it.
        Told = "told",
    }
}

codes! {
    /// How a document came (INT-20, INT-21).
    pub enum Channel {
        /// A person or a service uploaded it.
        Upload = "upload",
        /// The mailroom scanned paper.
        Scan = "scan",
        /// A fax gateway delivered it.
        Fax = "fax",
        /// A mail gateway delivered it.
        Email = "email",
    }
}

impl Channel {
    /// Whether a document can be sent back to who sent it. What came on paper or by fax is here, whatever it is:
    /// it is held instead, and keeps its receipt time (INT-21).
    pub const fn can_refuse(self) -> bool {
        matches!(self, Self::Upload | Self::Email)
    }
}

/// The sender's name for a file: health data, never a path, kept raw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(Phi<String>);

/// The longest file name kept, in bytes; a longer one is an error of the client.
pub const MAX_FILE_NAME_BYTES: usize = 1024;

impl FileName {
    /// Takes a client's file name as it is.
    ///
    /// # Errors
    /// When it is empty or longer than [`MAX_FILE_NAME_BYTES`].
    pub fn new(raw: &str) -> Result<Self, IdError> {
        let rule = match raw.len() {
            0 => "it must not be empty",
            n if n > MAX_FILE_NAME_BYTES => "it must have at most 1024 bytes",
            _ => return Ok(Self(Phi(raw.to_owned()))),
        };
        Err(IdError { kind: "file name", rule })
    }

    /// The raw name.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// The form in which two names are the same to a reader (INT-04): NFKC, case-folded, NFKC again, blanks
    /// at the ends and path parts before the name left out.
    pub fn reading_key(&self) -> String {
        let last = self.reveal().rsplit(['/', '\\']).next().unwrap_or_default();
        let composed: String = last.trim().nfkc().collect();
        caseless::default_case_fold_str(&composed).nfkc().collect()
    }

    /// The name for a screen or a terminal: control and direction characters are shown as `\u{…}`.
    pub fn escaped(&self) -> String {
        self.reveal()
            .chars()
            .map(|c| {
                let steers = c.is_control()
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
                if steers { c.escape_unicode().to_string() } else { c.to_string() }
            })
            .collect()
    }
}

impl TryFrom<String> for FileName {
    type Error = IdError;
    fn try_from(raw: String) -> Result<Self, IdError> {
        Self::new(&raw)
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> String {
        name.0.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int_04_two_names_are_the_same_when_a_person_reads_them_so() {
        for (left, right, same) in [
            ("Report.pdf", "REPORT.PDF", true),
            ("caf\u{e9}.pdf", "cafe\u{301}.pdf", true),
            ("stra\u{df}e.pdf", "STRASSE.pdf", true),
            ("\u{fb01}le.pdf", "file.pdf", true),
            ("C:\\scans\\a.pdf", "a.pdf", true),
            (" a.pdf ", "a.pdf", true),
            ("a.pdf", "b.pdf", false),
            ("a.pdf", "a.tif", false),
        ] {
            let key = |name: &str| FileName::new(name).unwrap().reading_key();
            assert_eq!(key(left) == key(right), same, "{left} / {right}");
        }
    }

    #[test]
    fn a_name_that_steers_the_terminal_is_shown_escaped() {
        let name = FileName::new("inv\u{202e}fdp.exe\0").unwrap();
        assert_eq!(name.escaped(), "inv\\u{202e}fdp.exe\\u{0}");
    }

    #[test]
    fn nothing_comes_back_from_the_purged_and_nothing_becomes_itself() {
        for from in DocumentState::ALL {
            assert!(!DocumentState::Purged.may_become(*from));
            assert!(!from.may_become(*from), "{from}");
        }
    }

    #[test]
    fn only_a_scanned_document_is_stored() {
        let before: Vec<_> = DocumentState::ALL.iter().filter(|s| s.may_become(DocumentState::Stored)).collect();
        assert_eq!(before, [&DocumentState::Scanning]);
    }
}
