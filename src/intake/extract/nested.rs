//! Files within files: taken out to the scratch file within the policy's limits, and judged like the file
//! itself, but that what is refused at the top is for an operator further in: the letter around it may be good.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::{Embedded, Inspection, office, ole, pdf};
use crate::intake::sniff::finding::{Finding, Judged, Stop};
use crate::intake::sniff::kinds;
use crate::intake::sniff::policy::SniffPolicy;
use crate::intake::sniff::source::Source;
use crate::model::judgement::{FileType, Flag, ReasonCode};
use crate::model::phi::Phi;

/// Characters of an embedded file's name that are kept.
const NAME_CHARS: usize = 255;

/// What is known of a file while its inside is read.
pub struct Inside<'f> {
    /// The caps.
    pub policy: &'f SniffPolicy,
    scratch: &'f File,
    taken_bytes: u64,
    embedded: Vec<Embedded>,
    flags: BTreeSet<Flag>,
    file_type: Option<FileType>,
    pages: Option<u64>,
}

impl<'f> Inside<'f> {
    /// Nothing is known yet.
    pub const fn new(policy: &'f SniffPolicy, scratch: &'f File) -> Self {
        Self {
            policy,
            scratch,
            taken_bytes: 0,
            embedded: Vec::new(),
            flags: BTreeSet::new(),
            file_type: None,
            pages: None,
        }
    }

    /// Notes something remarkable.
    pub fn flag(&mut self, flag: Flag) {
        self.flags.insert(flag);
    }

    /// Notes what the file itself (depth 0) is.
    pub fn is(&mut self, depth: u32, file_type: FileType) {
        if depth == 0 {
            self.file_type = Some(file_type);
        }
    }

    /// Notes the pages of the file itself (depth 0).
    pub fn has_pages(&mut self, depth: u32, pages: usize) {
        if depth == 0 {
            self.pages = u64::try_from(pages).ok();
        }
    }

    /// Takes an embedded file out, to its end, and judges it. `None` from the reader's side is an error of the
    /// container: the file can't be taken out.
    pub fn take_out(&mut self, content: &mut dyn Read, name: Option<&str>, depth: u32) -> Judged<()> {
        if depth >= self.policy.nesting_depth {
            return Err(Finding::bomb("files in files in files").into());
        }
        if self.embedded.len() as u64 >= self.policy.embedded_files {
            return Err(Finding::bomb("more embedded files").into());
        }
        self.flag(Flag::EmbeddedFiles);
        let offset = self.taken_bytes;
        let len = self.copy(content)?;
        let name = name.map(|name| Phi(name.chars().take(NAME_CHARS).collect()));
        self.embedded.push(Embedded { offset, len, name });
        let scratch: &'f File = self.scratch;
        let source = Source::new(scratch, self.taken_bytes).slice(offset, len);
        judge(source, depth + 1, self).map_err(further_in)
    }

    fn copy(&mut self, content: &mut dyn Read) -> Judged<u64> {
        let start = self.taken_bytes;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => return Ok(self.taken_bytes - start),
                Ok(count) => count,
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(Finding::unreadable().into()),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            if self.taken_bytes + count as u64 > self.policy.embedded_bytes {
                return Err(Finding::bomb("more bytes in embedded files").into());
            }
            self.scratch.write_all_at(bytes, self.taken_bytes)?;
            self.taken_bytes += count as u64;
        }
    }

    /// The report.
    pub fn into_inspection(self, finding: Option<Finding>) -> Inspection {
        let flags = self.flags.into_iter().collect();
        Inspection { file_type: self.file_type, finding, flags, embedded: self.embedded, pages: self.pages }
    }
}

/// Judges an embedded file where it is a container; the scanner sees all of them.
fn judge<'f>(source: Source<'f>, depth: u32, inside: &mut Inside<'f>) -> Judged<()> {
    let head = source.head(512)?;
    match head.as_slice() {
        [0xD0, 0xCF, 0x11, 0xE0, ..] => ole::inspect(source, depth, inside),
        [b'P', b'K', 3, 4, ..] => office::inspect(source, depth, inside),
        _ if head.starts_with(b"%PDF-") => pdf::inspect(source, depth, inside),
        _ if is_program(&head) => Err(kinds::refuse("exe").into()),
        _ => Ok(()),
    }
}

/// A program of Windows or Linux by its first bytes: two letters alone are how a letter may begin.
pub fn is_program(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF") || (head.starts_with(b"MZ") && head.get(..64).is_some_and(|head| head.contains(&0)))
}

/// A refusal further in, as an operator's question.
pub(super) fn further_in(stop: Stop) -> Stop {
    let Stop::Finding(Finding::Reject { detected, reason }) = stop else { return stop };
    Stop::Finding(match reason.code {
        ReasonCode::Encrypted => Finding::hold(
            ReasonCode::Encrypted,
            "a file embedded in this one is locked with a password and can't be scanned; an operator looks at it",
        ),
        ReasonCode::Macros => {
            Finding::hold(ReasonCode::Macros, "a file embedded in this one has macros; an operator looks at it")
        }
        ReasonCode::ArchiveBomb => Finding::Reject { detected, reason },
        _ if detected.as_deref() == Some("exe") => {
            Finding::hold(ReasonCode::TypeNotAccepted, "a program is embedded in this file; an operator looks at it")
        }
        _ => Finding::unreadable(),
    })
}
