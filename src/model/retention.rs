//! Retention: what kinds of records there are, and why one is destroyed or kept (OPS-15).

use std::fmt;
use std::str::FromStr;

use crate::codes;
use crate::model::case::CaseKind;
use crate::model::judgement::UnknownCode;
use crate::model::letter::LetterCategory;

codes! {
    /// What is destroyed as one. A run goes through them in this order: what hangs on another goes before it.
    pub enum RecordKind {
        /// A document: its bytes where no other has them, its name, and what was said of it.
        Document = "document",
        /// A letter: its PDF, its data, and its words in the search.
        Letter = "letter",
        /// A submission: what its sender said.
        Submission = "submission",
        /// A print batch: print file, manifests, and addresses of its envelopes.
        PrintBatch = "print_batch",
        /// A case: the numbers that it is known by, and what was told with its statuses.
        Case = "case",
    }
}

impl RecordKind {
    /// The first one.
    pub const FIRST: Self = Self::Document;

    /// The one after it.
    pub fn next(self) -> Option<Self> {
        let at = Self::ALL.iter().position(|kind| *kind == self)?;
        Self::ALL.get(at + 1).copied()
    }
}

codes! {
    /// Why a record is destroyed, or is not.
    pub enum RetentionReason {
        /// Its time is over, and nothing keeps it.
        Due = "due",
        /// Its time is over, and a legal hold keeps it.
        Held = "held",
        /// Its time is not over.
        NotYet = "not_yet",
        /// Its time is over, and users read it still: that is a clock of its own (COR-23).
        Online = "online",
        /// Its time is over, and records that hang on it are there still.
        HasRecords = "has_records",
        /// Its case is open.
        CaseOpen = "case_open",
        /// It is on its way, or waits for a person.
        InProgress = "in_progress",
    }
}

impl RetentionReason {
    /// The reason as a sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Due => "Its time is over, and nothing keeps it.",
            Self::Held => "A legal hold keeps it.",
            Self::NotYet => "Its time is not over.",
            Self::Online => "Users read it in the Messaging Center still.",
            Self::HasRecords => "Records that hang on it are there still.",
            Self::CaseOpen => "Its case is open.",
            Self::InProgress => "It is on its way, or waits for a person.",
        }
    }
}

codes! {
    /// Where a run stands.
    pub enum RetentionRunState {
        /// It goes through the records.
        Running = "running",
        /// It has been through all of them.
        Done = "done",
    }
}

codes! {
    /// Where the destruction of a record stands.
    pub enum RecordState {
        /// Its row holds nothing any more; its objects are going.
        Destroying = "destroying",
        /// Nothing is left.
        Done = "done",
    }
}

/// A retention class: one of three, and the kind or category that has a period of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Documents and submissions.
    Documents(Option<CaseKind>),
    /// Letters and print batches.
    Letters(Option<LetterCategory>),
    /// Cases.
    Cases(Option<CaseKind>),
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Documents(None) => f.write_str("documents"),
            Self::Documents(Some(kind)) => write!(f, "documents.{kind}"),
            Self::Letters(None) => f.write_str("letters"),
            Self::Letters(Some(category)) => write!(f, "letters.{category}"),
            Self::Cases(None) => f.write_str("cases"),
            Self::Cases(Some(kind)) => write!(f, "cases.{kind}"),
        }
    }
}

impl FromStr for Class {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let (class, own) = text.split_once('.').map_or((text, None), |(class, own)| (class, Some(own)));
        Ok(match class {
            "documents" => Self::Documents(own.map(str::parse).transpose()?),
            "letters" => Self::Letters(own.map(str::parse).transpose()?),
            "cases" => Self::Cases(own.map(str::parse).transpose()?),
            _ => return Err(UnknownCode { of: "Class" }),
        })
    }
}

impl serde::Serialize for Class {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_reads_back_as_what_it_was_written_as() {
        for text in ["documents", "documents.appeal", "letters", "letters.claim", "cases", "cases.precertification"] {
            assert_eq!(text.parse::<Class>().map(|class| class.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "audit", "letters.", "documents.claim", "cases.appeal.x"] {
            assert!(text.parse::<Class>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_hangs_on_another_goes_before_it() {
        let mut all = vec![RecordKind::FIRST];
        while let Some(next) = all.last().and_then(|last| last.next()) {
            all.push(next);
        }
        assert_eq!(all, RecordKind::ALL);
        assert_eq!(all.last(), Some(&RecordKind::Case));
    }
}
