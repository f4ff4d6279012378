//! What is wrong with a letter's data: the field and the rule it breaks, never the value.

use crate::codes;

codes! {
    /// The rule that a field breaks.
    pub enum FieldRule {
        /// It is needed and not there.
        Missing = "missing",
        /// The policy for this class of denial asks for it (DIS-06).
        DenialNeeds = "denial_needs",
        /// Nothing has this name.
        UnknownField = "unknown_field",
        /// It is of another kind of JSON value.
        WrongKind = "wrong_kind",
        /// It is empty or blank.
        Empty = "empty",
        /// It is longer, or has more entries, than a letter takes.
        TooLong = "too_long",
        /// It is no date written YYYY-MM-DD.
        NotADate = "not_a_date",
        /// It is no amount in whole cents.
        NotCents = "not_cents",
        /// It is no number of a kind that makes sense here.
        NotACount = "not_a_count",
        /// It is none of the codes.
        UnknownCode = "unknown_code",
        /// It is no state of the United States, written with two letters.
        NotAState = "not_a_state",
        /// It is no ZIP code.
        NotAZip = "not_a_zip",
        /// It should lie after the letter's date.
        NotAfterLetter = "not_after_letter",
        /// It ends before it begins.
        EndsBeforeItBegins = "ends_before_it_begins",
        /// It has a line break, a control character or a mark that changes the direction of text.
        ControlCharacter = "control_character",
        /// It has characters that no font here can show.
        NoGlyph = "no_glyph",
    }
}

impl FieldRule {
    /// The rule as a part of a sentence.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Missing => "is missing",
            Self::DenialNeeds => "is missing; a denial of this class needs it",
            Self::UnknownField => "is no field of this letter",
            Self::WrongKind => "is of the wrong kind",
            Self::Empty => "is empty",
            Self::TooLong => "is too long",
            Self::NotADate => "is no date (YYYY-MM-DD)",
            Self::NotCents => "is no amount in whole cents",
            Self::NotACount => "is no whole number in range",
            Self::UnknownCode => "is none of its codes",
            Self::NotAState => "is no two-letter state",
            Self::NotAZip => "is no ZIP code",
            Self::NotAfterLetter => "is not after the letter's date",
            Self::EndsBeforeItBegins => "ends before it begins",
            Self::ControlCharacter => "has control characters",
            Self::NoGlyph => "has characters no font here can show",
        }
    }
}

/// A field that a letter can't be made with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct FieldFault {
    /// Where it is: names with dots between them, entries of lists by their number from 0.
    pub field: String,
    /// What is wrong with it.
    pub rule: FieldRule,
}

impl std::fmt::Display for FieldFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.field, self.rule.says())
    }
}

/// Several faults as one line.
pub fn told(faults: &[FieldFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
