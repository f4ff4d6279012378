//! The file-type judgement (INT-03, INT-06, INT-11): what a file is by its content, whether its name agrees,
//! and whether it is whole, readable and only one thing.
//!
//! It is a stage of its own before the scanner because the scanner answers OK for much that must not pass:
//! encrypted documents, bombs, an archive appended to a letter, attachments it can't unpack. Three designs are
//! refused. Trusting the client's Content-Type or the name: both are what an attacker writes. Trusting magic
//! numbers: every library that looks at the head alone was fooled, so a head only chooses which structure is
//! read, and the structure decides. Decoding in this process: whatever decompresses or decodes runs in a child
//! ([`crate::intake::extract`]) whose death costs one document; here only headers, directories and trailers
//! are read, each with a bound.

pub mod archive;
pub mod compound;
pub mod finding;
pub mod image;
pub mod kinds;
pub mod pdf;
pub mod policy;
pub mod source;
pub mod text;

use std::fs::File;
use std::io;

use thiserror::Error;

use self::finding::{Finding, Judged, Stop};
use self::policy::SniffPolicy;
use self::source::Source;
use crate::intake::extract::{Container, Embedded, Inspection};
use crate::model::judgement::{FileType, Flag, Reason, ReasonCode};
use crate::outside::extract::{Extract, ExtractError, ExtractOutcome};

/// Bytes at the start that the type libraries see.
const HEAD_BYTES: u64 = 8 << 10;
/// Files up to this length are text or nothing: no other format is so short, and the scanner skips them.
const TEXT_ONLY_BYTES: u64 = 5;

/// The judgement of one file.
#[derive(Debug)]
pub enum Sniffed {
    /// It is what its name says, and one of the accepted types.
    Accept {
        /// What it is.
        file_type: FileType,
        /// What is remarkable in it.
        flags: Vec<Flag>,
        /// Its pages, where they are known (OPS-07).
        pages: Option<u64>,
        /// Files found inside, as stretches of `scratch`; each is to be scanned.
        embedded: Vec<Embedded>,
        /// Holds the embedded files' bytes; unlinked, gone when dropped.
        scratch: Option<File>,
    },
    /// It is refused.
    Reject {
        /// What it is, as a short stable word, where known.
        detected: Option<String>,
        /// Why, and what to do.
        reason: Reason,
    },
    /// It can't be judged: an operator decides.
    Hold {
        /// What it is as far as known.
        file_type: FileType,
        /// Why.
        reason: Reason,
    },
}

/// A fault of ours: the judgement is to be retried.
#[derive(Debug, Error)]
pub enum SniffError {
    /// The file could not be read.
    #[error("could not read the file to be judged")]
    Read(#[source] io::Error),
    /// The file is not as long as was said: not all of it is here, or it is another one.
    #[error("the file to be judged has {found_bytes} bytes, not the {size_bytes} announced")]
    Length {
        /// Bytes announced.
        size_bytes: u64,
        /// Bytes there.
        found_bytes: u64,
    },
    /// The child could not be run.
    #[error("could not run the child that reads inside the file")]
    Child(#[from] ExtractError),
}

/// What the headers tell, before anything is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Settled: accepted with these flags, and its pages, where they are known.
    Good(FileType, Vec<Flag>, Option<u64>),
    /// The inside has to be read, in the child.
    Inside(Container),
}

/// Judges a file of `size_bytes` bytes by content and name. The file is read at positions only; its offset is
/// neither used nor moved. The name is used for its extension and for nothing else.
pub async fn sniff(
    file: &File,
    size_bytes: u64,
    file_name: &str,
    policy: &SniffPolicy,
    extract: &Extract,
) -> Result<Sniffed, SniffError> {
    let named = FileType::from_file_name(file_name);
    let found_bytes = file.metadata().map_err(SniffError::Read)?.len();
    if found_bytes != size_bytes {
        return Err(SniffError::Length { size_bytes, found_bytes });
    }
    let own = file.try_clone().map_err(SniffError::Read)?;
    let caps = policy.clone();
    let looked = tokio::task::spawn_blocking(move || look(&Source::new(&own, size_bytes), named, &caps)).await;
    match looked.map_err(|fault| SniffError::Read(io::Error::other(fault)))? {
        Ok(Look::Good(file_type, flags, pages)) => {
            Ok(Sniffed::Accept { file_type, flags, pages, embedded: vec![], scratch: None })
        }
        Ok(Look::Inside(container)) => inside(file, container, named, policy, extract).await,
        Err(Stop::Finding(finding)) => Ok(concluded(finding, named.unwrap_or(FileType::Txt))),
        Err(Stop::Fault(fault)) => Err(SniffError::Read(fault)),
    }
}

/// Judges by size, head, headers, directory and trailer alone. Pure but for reads of the file.
pub fn look(source: &Source<'_>, named: Option<FileType>, policy: &SniffPolicy) -> Judged<Look> {
    if source.is_empty() {
        let message = "this file is empty; check it on your side and send it again";
        return Err(Finding::reject(ReasonCode::Empty, message).into());
    }
    let head = source.head(HEAD_BYTES)?;
    if source.len() <= TEXT_ONLY_BYTES {
        return look_at_text(source, &head, named);
    }
    let Some(family) = Family::of(&head) else {
        if pdf::hides(source)? {
            return Err(Finding::polyglot(FileType::Pdf).into());
        }
        return look_at_text(source, &head, named);
    };
    match family {
        Family::Pdf => {
            agree(FileType::Pdf, named)?;
            pdf::check_end(source)?;
            Ok(Look::Inside(Container::Pdf))
        }
        Family::Image(file_type) => {
            agree(file_type, named)?;
            if pdf::hides(source)? {
                return Err(Finding::polyglot(file_type).into());
            }
            let (pages, flag) = image::judge(file_type, source, policy)?;
            Ok(Look::Good(file_type, flag.into_iter().collect(), Some(pages)))
        }
        Family::Compound => {
            compound::check_length(source, named)?;
            Ok(Look::Inside(Container::Ole))
        }
        Family::Archive => look_at_archive(source, named, policy),
        Family::BigTiff => Err(kinds::refuse("bigtiff").into()),
    }
}

/// What the first bytes claim. Only a choice of which structure to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Pdf,
    Image(FileType),
    Compound,
    Archive,
    BigTiff,
}

impl Family {
    fn of(head: &[u8]) -> Option<Self> {
        const OLE: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";
        Some(match head {
            _ if pdf::begins(head) => Self::Pdf,
            [0xFF, 0xD8, 0xFF, ..] => Self::Image(FileType::Jpeg),
            _ if head.starts_with(b"\x89PNG\r\n\x1a\n") => Self::Image(FileType::Png),
            _ if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") => Self::Image(FileType::Gif),
            _ if head.starts_with(b"II*\0") || head.starts_with(b"MM\0*") => Self::Image(FileType::Tiff),
            _ if head.starts_with(b"II+\0") || head.starts_with(b"MM\0+") => Self::BigTiff,
            _ if head.starts_with(OLE) => Self::Compound,
            _ if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") => Self::Archive,
            _ => return None,
        })
    }
}

/// Name and content have to agree (INT-03).
fn agree(content: FileType, named: Option<FileType>) -> Judged<()> {
    if named == Some(content) { Ok(()) } else { Err(kinds::mismatch(content, named, false).into()) }
}

fn look_at_text(source: &Source<'_>, head: &[u8], named: Option<FileType>) -> Judged<Look> {
    let Some(text) = text::read(source)? else { return Err(kinds::refuse(kinds::word_for(head)).into()) };
    if let Some(word) = text::markup(&text.opening) {
        return Err(kinds::refuse(word).into());
    }
    if named != Some(FileType::Txt) {
        return Err(kinds::mismatch(FileType::Txt, named, text::is_mail(&text.opening)).into());
    }
    let transcoded = text.encoding != encoding_rs::UTF_8;
    Ok(Look::Good(FileType::Txt, transcoded.then_some(Flag::Transcoded).into_iter().collect(), None))
}

/// The directory tells an Office package from other archives; which of them it is, its parts tell the child.
fn look_at_archive(source: &Source<'_>, named: Option<FileType>, policy: &SniffPolicy) -> Judged<Look> {
    let entries = archive::entries(source, policy);
    let expected = matches!(named, Some(FileType::Docx | FileType::Xlsx));
    match entries {
        Ok(entries) => match archive::kind(&entries) {
            "ooxml" => Ok(Look::Inside(Container::Ooxml)),
            word => Err(kinds::refuse(word).into()),
        },
        // A plain archive is refused as one, however it is made: nobody is to mend it.
        Err(Stop::Finding(finding)) if !expected && finding.code() != ReasonCode::Encrypted => {
            Err(kinds::refuse("zip").into())
        }
        Err(stop) => Err(stop),
    }
}

/// Has the child read the inside, and judges what it reports.
async fn inside(
    file: &File,
    container: Container,
    named: Option<FileType>,
    policy: &SniffPolicy,
    extract: &Extract,
) -> Result<Sniffed, SniffError> {
    let fallback = named.unwrap_or(container.likely_type());
    match extract.inspect(file, container, policy).await? {
        ExtractOutcome::Died { .. } => Ok(concluded(Finding::unreadable(), fallback)),
        ExtractOutcome::Done((inspection, scratch)) => {
            let file_type = inspection.file_type.unwrap_or(fallback);
            if let Some(content) = inspection.file_type.filter(|content| named != Some(*content)) {
                return Ok(concluded(kinds::mismatch(content, named, false), content));
            }
            if let Some(finding) = inspection.finding {
                return Ok(concluded(finding, file_type));
            }
            let scratch = (!inspection.embedded.is_empty()).then_some(scratch);
            let Inspection { flags, pages, embedded, .. } = inspection;
            Ok(Sniffed::Accept { file_type, flags, pages, embedded, scratch })
        }
    }
}

fn concluded(finding: Finding, file_type: FileType) -> Sniffed {
    match finding {
        Finding::Reject { detected, reason } => Sniffed::Reject { detected, reason },
        Finding::Hold { reason } => Sniffed::Hold { file_type, reason },
    }
}
