//! Messages of the Messaging Center (COR-20..26): a letter, or a notice of a case's status.

use std::fmt;
use std::str::FromStr;

use crate::codes;
use crate::model::case::{CaseStatus, PrecertificationStatus, ReconsiderationStatus};
use crate::model::judgement::UnknownCode;
use crate::model::letter::{LetterCategory, LetterType};

codes! {
    /// Where a user finds a message (COR-21).
    pub enum Folder {
        /// What came, and was not archived.
        Inbox = "inbox",
        /// What the user flagged, archived or not.
        Flagged = "flagged",
        /// What the user archived.
        Archive = "archive",
    }
}

/// The code of a notice, beside those of letters.
const NOTICE: &str = "notice";

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageType {
    /// A letter of this type.
    Letter(LetterType),
    /// A notice of a case's status (PRE-42).
    Notice,
}

impl MessageType {
    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Letter(letter_type) => letter_type.as_str(),
            Self::Notice => NOTICE,
        }
    }

    /// Whether there are such messages in a category.
    pub fn is_of(self, category: LetterCategory) -> bool {
        match self {
            Self::Letter(letter_type) => letter_type.category() == category,
            Self::Notice => true,
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for MessageType {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        if text == NOTICE { Ok(Self::Notice) } else { text.parse().map(Self::Letter) }
    }
}

impl serde::Serialize for MessageType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for MessageType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("not a known type of message"))
    }
}

impl utoipa::PartialSchema for MessageType {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let codes = LetterType::ALL.iter().map(|letter_type| letter_type.as_str()).chain([NOTICE]);
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(codes))
            .into()
    }
}

impl utoipa::ToSchema for MessageType {}

impl CaseStatus {
    /// Whether practices see it: what is not submitted yet concerns nobody but its author (REC-40, PRE-40), and what a
    /// third party has in its hands shows when that has decided (PRE-43).
    pub const fn is_visible(self, delegated: bool) -> bool {
        match self {
            Self::Reconsideration(ReconsiderationStatus::OpenDraft)
            | Self::Precertification(PrecertificationStatus::Incomplete) => false,
            Self::Precertification(PrecertificationStatus::Pending | PrecertificationStatus::Processing) => !delegated,
            Self::Reconsideration(_) | Self::Precertification(_) | Self::Appeal(_) => true,
        }
    }
}

/// The words of a text, as search compares them: letters and digits, in lower case.
pub fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_message_reads_back_as_what_it_was_written_as() {
        let letters = LetterType::ALL.iter().map(|letter_type| MessageType::Letter(*letter_type));
        for one in letters.chain([MessageType::Notice]) {
            assert_eq!(one.as_str().parse(), Ok(one));
            assert!(LetterCategory::ALL.iter().any(|category| one.is_of(*category)), "{one}");
        }
        assert!("nonsense".parse::<MessageType>().is_err());
    }

    #[test]
    fn numbers_are_found_by_their_parts_however_they_are_written() {
        assert_eq!(words("CLM-2026/0042 (Größe)"), ["clm", "2026", "0042", "größe"]);
        assert!(words(" -' \"* ").is_empty());
    }

    #[test]
    fn pre_42_what_is_not_submitted_is_no_notice() {
        assert!(!CaseStatus::Precertification(PrecertificationStatus::Incomplete).is_visible(false));
        assert!(!CaseStatus::Reconsideration(ReconsiderationStatus::OpenDraft).is_visible(false));
        assert!(CaseStatus::Precertification(PrecertificationStatus::Void).is_visible(false));
    }

    #[test]
    fn pre_43_what_a_third_party_decides_shows_once_it_is_decided() {
        for (status, shows) in [
            (PrecertificationStatus::Pending, false),
            (PrecertificationStatus::Processing, false),
            (PrecertificationStatus::Approved, true),
            (PrecertificationStatus::Denied, true),
        ] {
            assert_eq!(CaseStatus::Precertification(status).is_visible(true), shows, "{status}");
        }
        assert!(CaseStatus::Precertification(PrecertificationStatus::Pending).is_visible(false));
    }
}
