//! What intake says of a file, and the stable codes it says it with.

use serde::{Deserialize, Serialize};

/// Declares an enum of closed codes that are the same word in code, database, API and logs.
#[macro_export]
macro_rules! codes {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $code)] $variant,)+ }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::judgement::UnknownCode;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($code => Ok(Self::$variant),)+
                    _ => Err($crate::model::judgement::UnknownCode { of: stringify!($name) }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some(Self::ALL.iter().map(|code| code.as_str())))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

/// A text that is none of an enum's codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a known {of}")]
pub struct UnknownCode {
    /// The enum that does not know it.
    pub of: &'static str,
}

codes! {
    /// The types intake accepts (INT-03), one per format: `.jpg` and `.jpeg` are one, so are `.tif` and `.tiff`.
    pub enum FileType {
        /// Portable Document Format, ISO 32000.
        Pdf = "pdf",
        /// JPEG image.
        Jpeg = "jpeg",
        /// TIFF image, one page or many.
        Tiff = "tiff",
        /// PNG image.
        Png = "png",
        /// GIF image.
        Gif = "gif",
        /// Word 97-2003 document.
        Doc = "doc",
        /// Word document, Office Open XML.
        Docx = "docx",
        /// Excel 97-2003 workbook.
        Xls = "xls",
        /// Excel workbook, Office Open XML.
        Xlsx = "xlsx",
        /// Plain text.
        Txt = "txt",
    }
}

impl FileType {
    /// The type a file name's extension declares, `None` for one that is not accepted or missing. Blanks and
    /// dots at the end don't count: some systems drop them.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (_, extension) = name.trim_end_matches(|c: char| c == '.' || c.is_whitespace()).rsplit_once('.')?;
        Some(match extension.to_ascii_lowercase().as_str() {
            "pdf" => Self::Pdf,
            "jpg" | "jpeg" => Self::Jpeg,
            "tif" | "tiff" => Self::Tiff,
            "png" => Self::Png,
            "gif" => Self::Gif,
            "doc" => Self::Doc,
            "docx" => Self::Docx,
            "xls" => Self::Xls,
            "xlsx" => Self::Xlsx,
            "txt" => Self::Txt,
            _ => return None,
        })
    }

    /// The media type a download is served with.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Jpeg => "image/jpeg",
            Self::Tiff => "image/tiff",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Doc => "application/msword",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Xls => "application/vnd.ms-excel",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Txt => "text/plain; charset=utf-8",
        }
    }
}

codes! {
    /// Why a file was refused or is held (INT-11, INT-12). Part of the API: never reworded, only added to.
    pub enum ReasonCode {
        /// No byte came.
        Empty = "empty",
        /// A letter lacks data, or has data it can't be made with (COR-02, DIS-06).
        IncompleteData = "incomplete_data",
        /// Over the size limit of its case kind (INT-05).
        TooLarge = "too_large",
        /// The upload broke off or its bytes are not those announced.
        Incomplete = "incomplete",
        /// Name or content is of no accepted type (INT-03).
        TypeNotAccepted = "type_not_accepted",
        /// Name and content are of different types (INT-03).
        TypeMismatch = "type_mismatch",
        /// The container does not hold together: parts missing, cut off, out of bounds.
        Damaged = "damaged",
        /// It takes a password to open (INT-06).
        Encrypted = "encrypted",
        /// Macros where the type allows none.
        Macros = "macros",
        /// A second format hides before or behind the first.
        Polyglot = "polyglot",
        /// More entries, depth, expansion or bytes inside than the policy allows.
        ArchiveBomb = "archive_bomb",
        /// More pixels than the policy allows.
        ImageBomb = "image_bomb",
        /// What is inside could not be taken out to be scanned.
        Unreadable = "unreadable",
        /// The scanner could not judge it within the policy's tries (INT-12).
        ScanFailed = "scan_failed",
        /// The scanner found a signature (INT-13).
        Virus = "virus",
        /// A second file of the same name in the submission (INT-04).
        DuplicateName = "duplicate_name",
        /// More files than a submission may have (INT-01).
        TooManyFiles = "too_many_files",
        /// A person found that it is not for this payer (OPS-07).
        NotOurs = "not_ours",
    }
}

impl ReasonCode {
    /// Whether policy alone holds a file for it, so that a person may waive it (OPS-03). What could not be read or
    /// judged is never waived: nobody knows what it is.
    pub const fn is_policy(self) -> bool {
        matches!(self, Self::Macros)
    }
}

codes! {
    /// What is remarkable in an accepted file: told, kept, and for policy to weigh.
    pub enum Flag {
        /// JavaScript, launch or open actions in a PDF.
        ActiveContent = "active_content",
        /// Macros, in a file that a person released (OPS-03).
        Macros = "macros",
        /// Files embedded in the file.
        EmbeddedFiles = "embedded_files",
        /// Links to other workbooks; never fetched.
        ExternalLinks = "external_links",
        /// A PDF with an owner password only: readable, with its permissions limited.
        OwnerPassword = "owner_password",
        /// A camera's own data behind the end of a picture.
        CameraTrailer = "camera_trailer",
        /// The text is not UTF-8; it is transcoded for matching.
        Transcoded = "transcoded",
    }
}

codes! {
    /// What intake makes of a file, in a word.
    pub enum Verdict {
        /// Taken in.
        Accept = "accept",
        /// Refused.
        Reject = "reject",
        /// Infected.
        Virus = "virus",
        /// An operator has to decide.
        Held = "held",
    }
}

/// Why a file is refused or held: a code for programs, a sentence for a person. The sentence says what is
/// wrong and what to do, and holds nothing of the file's name or content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    /// The stable code.
    pub code: ReasonCode,
    /// What is wrong with what, and what to do.
    pub message: String,
}

impl Reason {
    /// A reason from its two parts.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
