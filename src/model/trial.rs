//! Named trigger files: with a key for trials, a file's name says what is to become of it (INT-35). So an integrator
//! sees each outcome without having a virus or a file that no scanner can judge.

use crate::codes;
use crate::model::access::Mode;
use crate::model::document::FileName;
use crate::model::ids::Brand;

codes! {
    /// What is to become of a trigger file.
    pub enum Trial {
        /// Judged like any other file.
        Clean = "clean",
        /// Found infected.
        Virus = "virus",
        /// Could not be judged.
        Held = "held",
        /// No case is known for it.
        Unmatched = "unmatched",
        /// Refused for its type.
        Rejected = "rejected",
    }
}

/// What a trigger file's name begins with, before the outcome and the extension.
pub const PREFIX: &str = "lettercase-test-";

impl Trial {
    /// What the name of a file of this brand says; nothing where real documents come in.
    pub fn of(brand: &Brand, name: &FileName) -> Option<Self> {
        if brand.mode() != Mode::Test {
            return None;
        }
        let key = name.reading_key();
        let (stem, _) = key.rsplit_once('.')?;
        stem.strip_prefix(PREFIX)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int_35_only_among_trials_a_name_says_what_becomes_of_a_file() {
        for (brand, name, expected) in [
            ("meridian.test", "lettercase-test-virus.pdf", Some(Trial::Virus)),
            ("meridian.test", "Lettercase-Test-HELD.TIF", Some(Trial::Held)),
            ("meridian.test", "lettercase-test-clean.txt", Some(Trial::Clean)),
            ("meridian.test", "lettercase-test-unmatched.docx", Some(Trial::Unmatched)),
            ("meridian.test", "lettercase-test-rejected.txt", Some(Trial::Rejected)),
            ("meridian.test", "lettercase-test-other.txt", None),
            ("meridian.test", "lettercase-test-virus", None),
            ("meridian.test", "virus.pdf", None),
            ("meridian", "lettercase-test-virus.pdf", None),
        ] {
            let found = Trial::of(&brand.parse().unwrap(), &FileName::new(name).unwrap());
            assert_eq!(found, expected, "{brand} {name}");
        }
    }
}
