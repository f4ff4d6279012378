//! What the extract child does for intake, and its reports: `EXE extract inspect CONTAINER` reads inside a
//! container to judge it, `EXE extract text TYPE` takes the text out for matching, `EXE extract split TYPE` takes a
//! document apart.
//!
//! The process, its limits and its end are [`crate::outside::extract`]'s. [`child`] and what it calls run in the
//! child only; the methods here run in the parent, and see of the file nothing but a report.

pub mod child;
pub mod filters;
pub mod nested;
pub mod office;
pub mod ole;
pub mod pdf;
pub mod split;
pub mod text;

use std::fs::File;

use serde::{Deserialize, Serialize};

use self::split::{SplitJob, SplitReport};

use crate::codes;
use crate::intake::sniff::finding::Finding;
use crate::intake::sniff::policy::SniffPolicy;
use crate::model::judgement::{FileType, Flag};
use crate::model::phi::Phi;
use crate::outside::extract::{Extract, ExtractError, ExtractOutcome};

codes! {
    /// A container whose inside has to be read to judge it.
    pub enum Container {
        /// A PDF document.
        Pdf = "pdf",
        /// An Office Open XML package.
        Ooxml = "ooxml",
        /// A compound file (OLE): Word and Excel 97-2003, and encrypted newer ones.
        Ole = "ole",
    }
}

impl Container {
    /// What it most likely is, where nothing else tells.
    pub const fn likely_type(self) -> FileType {
        match self {
            Self::Pdf => FileType::Pdf,
            Self::Ooxml => FileType::Docx,
            Self::Ole => FileType::Doc,
        }
    }
}

/// A file found inside another, as a stretch of the scratch file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedded {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The name it has inside, cut at 255 characters; to be listed, never used as a path.
    pub name: Option<Phi<String>>,
}

/// What the child found inside a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// What the file is, once its structure told.
    pub file_type: Option<FileType>,
    /// What speaks against it.
    pub finding: Option<Finding>,
    /// What is remarkable in it.
    pub flags: Vec<Flag>,
    /// What was taken out.
    pub embedded: Vec<Embedded>,
    /// Its pages, where it has any and they were counted.
    pub pages: Option<u64>,
}

/// Text of a document, for matching (INT-15). It is health data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractedText {
    /// Page by page (sheet by sheet; one for formats without pages).
    pub pages: Vec<Phi<String>>,
    /// Whether there was more than the limits allow.
    pub truncated: bool,
}

impl Extract {
    /// Reads inside a container. The scratch file holds what was taken out.
    pub async fn inspect(
        &self,
        file: &File,
        container: Container,
        policy: &SniffPolicy,
    ) -> Result<ExtractOutcome<(Inspection, File)>, ExtractError> {
        self.run_with_scratch(file, ["inspect", container.as_str()], policy).await
    }

    /// Takes a PDF apart. The scratch file holds the parts.
    pub async fn split(
        &self,
        file: &File,
        job: &SplitJob,
    ) -> Result<ExtractOutcome<(SplitReport, File)>, ExtractError> {
        self.run_with_scratch(file, ["split", FileType::Pdf.as_str()], job).await
    }

    /// Takes the text out of a document; pictures have none.
    pub async fn text(
        &self,
        file: &File,
        file_type: FileType,
        policy: &SniffPolicy,
    ) -> Result<ExtractOutcome<ExtractedText>, ExtractError> {
        self.run(file, ["text", file_type.as_str()], policy).await
    }
}
