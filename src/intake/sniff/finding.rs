//! How a judgement ends early: a finding about the file, or a fault of ours. Both travel as an error, so that
//! `?` reads as "unless it is refused".

use std::io;

use serde::{Deserialize, Serialize};

use crate::model::judgement::{FileType, Reason, ReasonCode};

/// What speaks against a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It is refused.
    Reject {
        /// What it is, as a short stable word ("rtf", "exe"), where that is known.
        detected: Option<String>,
        /// Why, and what to do.
        reason: Reason,
    },
    /// It can't be judged: an operator decides.
    Hold {
        /// Why.
        reason: Reason,
    },
}

impl Finding {
    /// The code of its reason.
    pub const fn code(&self) -> ReasonCode {
        match self {
            Self::Reject { reason, .. } | Self::Hold { reason } => reason.code,
        }
    }

    /// A refusal of something whose kind does not matter or is the accepted one.
    pub fn reject(code: ReasonCode, message: &str) -> Self {
        Self::Reject { detected: None, reason: Reason::new(code, message) }
    }

    /// A refusal that says what the file is.
    pub fn reject_as(detected: &str, code: ReasonCode, message: impl Into<String>) -> Self {
        Self::Reject { detected: Some(detected.to_owned()), reason: Reason::new(code, message) }
    }

    /// Something for an operator.
    pub fn hold(code: ReasonCode, message: &str) -> Self {
        Self::Hold { reason: Reason::new(code, message) }
    }

    /// The container ends before it should, or its parts do not fit together.
    pub fn damaged(file_type: FileType) -> Self {
        let what = phrase(file_type);
        let message = format!(
            "this is {what} that is cut off or damaged; open it where it was made, save it again and send the new file"
        );
        Self::reject_as(file_type.as_str(), ReasonCode::Damaged, message)
    }

    /// A second format before or behind the first.
    pub fn polyglot(file_type: FileType) -> Self {
        let what = phrase(file_type);
        let message =
            format!("this is {what} with other data before or behind it; print or export it anew and send that file");
        Self::reject_as(file_type.as_str(), ReasonCode::Polyglot, message)
    }

    /// It takes a password to open (INT-06).
    pub fn encrypted(detected: &str) -> Self {
        Self::reject_as(
            detected,
            ReasonCode::Encrypted,
            "this file is encrypted or locked with a password, so it can't be scanned; save it without a password and \
             send it again, the connection itself is already encrypted",
        )
    }

    /// More inside than the policy allows.
    pub fn bomb(what: &str) -> Self {
        let message = format!("this file holds {what}, more than is accepted; send its content as a PDF document");
        Self::Reject { detected: None, reason: Reason::new(ReasonCode::ArchiveBomb, message) }
    }

    /// It is well formed as far as was seen, but could not be read to its end by us.
    pub fn unreadable() -> Self {
        Self::hold(
            ReasonCode::Unreadable,
            "what is inside this file could not be taken out to be checked; an operator looks at it",
        )
    }
}

/// A type as a sentence names it, with its article.
pub const fn phrase(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Pdf => "a PDF document",
        FileType::Jpeg => "a JPEG picture",
        FileType::Tiff => "a TIFF picture",
        FileType::Png => "a PNG picture",
        FileType::Gif => "a GIF picture",
        FileType::Doc => "a Word 97-2003 document",
        FileType::Docx => "a Word document",
        FileType::Xls => "an Excel 97-2003 workbook",
        FileType::Xlsx => "an Excel workbook",
        FileType::Txt => "a plain text",
    }
}

/// Why a judgement stopped.
#[derive(Debug)]
pub enum Stop {
    /// The file is to blame.
    Finding(Finding),
    /// We are: the file could not be read.
    Fault(io::Error),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}

impl From<io::Error> for Stop {
    fn from(fault: io::Error) -> Self {
        Self::Fault(fault)
    }
}

/// A step of a judgement.
pub type Judged<T> = Result<T, Stop>;
