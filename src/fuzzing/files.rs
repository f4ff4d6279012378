//! Files: judged by their heads in this process, and read inside as the child does it.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{LazyLock, Once};

use serde::Deserialize;

use super::chosen;
use crate::intake::extract::split::{self, SplitJob, SplitReport};
use crate::intake::extract::{Container, Inspection, child, pdf as inner};
use crate::intake::sniff::finding::{Finding, Stop};
use crate::intake::sniff::image;
use crate::intake::sniff::policy::SniffPolicy;
use crate::intake::sniff::source::Source;
use crate::intake::sniff::{Look, archive as directory, look, pdf as ends, text as plain};
use crate::model::judgement::{FileType, Flag, Reason};
use crate::model::pages::PageRange;
use crate::outside::extract::ExtractLimits;

/// What is shipped.
#[derive(Deserialize)]
struct Policy {
    sniff: SniffPolicy,
    extract: ExtractLimits,
}

/// The shipped policy with smaller figures: an input of a few KiB has to be able to reach them, and soon.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let mut policy: Policy = toml::from_str(include_str!("../../pipelines/intake.toml")).expect("the shipped policy");
    let sniff = &mut policy.sniff;
    (sniff.archive_entries, sniff.pages, sniff.embedded_files) = (64, 64, 8);
    (sniff.entry_bytes, sniff.expanded_bytes, sniff.embedded_bytes) = (256 << 10, 512 << 10, 256 << 10);
    sniff.expansion_floor_bytes = 16 << 10;
    (policy.extract.text_pages, policy.extract.text_bytes) = (16, 16 << 10);
    policy
});

/// A PDF: its ends, its inside, its text, and what it is taken apart into.
pub fn pdf(data: &[u8]) {
    let file = file_of(data);
    let source = Source::new(&file, data.len() as u64);
    looked_at(&source, Some(FileType::Pdf));
    let inspection = inspected(source, Container::Pdf, &[FileType::Pdf]);
    let accepted = inspection.filter(|inspection| inspection.finding.is_none());
    let pages = accepted.and_then(|inspection| inspection.pages).and_then(|pages| u32::try_from(pages).ok());
    if let Some(pages) = pages.filter(|pages| *pages > 1) {
        take_apart(source, pages);
    }
}

/// A ZIP archive as it comes.
pub fn archive(data: &[u8]) {
    let file = file_of(data);
    let source = Source::new(&file, data.len() as u64);
    match directory::entries(&source, &POLICY.sniff) {
        Err(stop) => blamed(stop),
        Ok(entries) => {
            let mut names = HashSet::new();
            let mut expanded: u64 = 0;
            for entry in &entries {
                assert!(entry.data_start + entry.stored_bytes <= source.len(), "an entry behind the end");
                assert!(names.insert(&entry.name), "a name twice");
                expanded += entry.expanded_bytes;
            }
            assert!(entries.len() as u64 <= POLICY.sniff.archive_entries && expanded <= POLICY.sniff.expanded_bytes);
        }
    }
    for named in [None, Some(FileType::Docx)] {
        looked_at(&source, named);
    }
    office(source);
}

/// An Office package, given by its parts: names and contents in turn, parted by 0xFF. So what the fuzzer changes gets
/// past the checksums.
pub fn package(data: &[u8]) {
    let fields: Vec<&[u8]> = data.split(|byte| *byte == 0xFF).take(64).collect();
    let mut names = HashSet::new();
    let parts = fields.chunks(2).filter_map(|part| match part {
        [name, content] => Some((String::from_utf8_lossy(name).into_owned(), *content)),
        _ => None,
    });
    let parts: Vec<(String, &[u8])> = parts.filter(|(name, _)| names.insert(name.clone())).collect();
    let bytes = packed(&parts);
    let file = file_of(&bytes);
    let source = Source::new(&file, bytes.len() as u64);
    looked_at(&source, Some(FileType::Xlsx));
    office(source);
}

fn office(source: Source<'_>) {
    inspected(source, Container::Ooxml, &[FileType::Docx, FileType::Xlsx]);
}

/// A ZIP archive of stored parts.
fn packed(parts: &[(String, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut central) = (vec![], vec![]);
    for (name, content) in parts {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let len = (content.len() as u32).to_le_bytes();
        let name_len = (name.len() as u16).to_le_bytes();
        let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0], &crc.sum().to_le_bytes()[..], &len, &len, &name_len, &[0, 0]];
        let common = common.concat();
        let start = (bytes.len() as u32).to_le_bytes();
        central.extend([b"PK\x01\x02\x14\0", common.as_slice(), &[0; 10], &start, name.as_bytes()].concat());
        bytes.extend([b"PK\x03\x04", common.as_slice(), name.as_bytes(), content].concat());
    }
    let count = (parts.len() as u16).to_le_bytes();
    let (len, start) = ((central.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    let end = [b"PK\x05\x06\0\0\0\0", &count[..], &count, &len, &start, &[0, 0]].concat();
    [bytes, central, end].concat()
}

/// A compound file.
pub fn compound(data: &[u8]) {
    let file = file_of(data);
    let source = Source::new(&file, data.len() as u64);
    for named in [FileType::Doc, FileType::Xls] {
        looked_at(&source, Some(named));
    }
    inspected(source, Container::Ole, &[FileType::Doc, FileType::Xls]);
}

/// A picture of the four kinds.
pub fn picture(data: &[u8]) {
    let file = file_of(data);
    let source = Source::new(&file, data.len() as u64);
    let policy = &POLICY.sniff;
    let (named, walked) = match data {
        [0x89, ..] => (FileType::Png, image::png::walk(&source, policy)),
        [b'G', ..] => (FileType::Gif, image::gif::walk(&source, policy)),
        [b'I' | b'M', ..] => (FileType::Tiff, image::tiff::walk(&source, policy)),
        _ => (FileType::Jpeg, image::jpeg::walk(&source, policy)),
    };
    match walked {
        Err(stop) => blamed(stop),
        Ok(walked) => {
            assert!(walked.end.is_none_or(|end| end <= source.len()), "a picture ends behind its file");
            assert!((1..=policy.pages).contains(&walked.pages), "{} pages", walked.pages);
        }
    }
    looked_at(&source, Some(named));
}

/// Anything at all under any name: plain text, and what is refused by name. The first byte chooses the name.
pub fn text(data: &[u8]) {
    let Some((choice, data)) = chosen(data, FileType::ALL.len() as u8 + 1) else { return };
    let named = FileType::ALL.get(usize::from(choice)).copied();
    let file = file_of(data);
    let source = Source::new(&file, data.len() as u64);
    looked_at(&source, named);
    if let Some(text) = plain::read(&source).expect("a file in memory can be read") {
        let (decoded, _, wrong) = text.encoding.decode(data);
        assert!(!wrong, "taken for {} and is none", text.encoding.name());
        let begins = decoded.trim_start_matches('\u{feff}').starts_with(text.opening.trim_start_matches('\u{feff}'));
        assert!(begins, "its opening is not how it begins");
    }
    read_text(source, FileType::Txt);
}

/// An unlinked file with these bytes.
fn file_of(data: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a place for files");
    file.write_all(data).expect("room for a file");
    file
}

/// Judges by the head, and holds what is so of every judgement.
fn looked_at(source: &Source<'_>, named: Option<FileType>) {
    let policy = &POLICY.sniff;
    match look(source, named, policy) {
        Err(stop) => blamed(stop),
        Ok(Look::Inside(Container::Pdf)) => {
            assert_eq!(named, Some(FileType::Pdf));
            let head = source.head(8).expect("a file in memory can be read");
            assert!(ends::begins(&head));
        }
        Ok(Look::Inside(Container::Ooxml | Container::Ole)) => {}
        Ok(Look::Good(file_type, flags, pages)) => {
            assert_eq!(named, Some(file_type), "accepted under another name");
            match file_type {
                FileType::Txt => assert!(pages.is_none() && flags.iter().all(|flag| *flag == Flag::Transcoded)),
                FileType::Jpeg | FileType::Tiff | FileType::Png | FileType::Gif => {
                    assert!(pages.is_some_and(|pages| (1..=policy.pages).contains(&pages)), "{pages:?} pages");
                    assert!(flags.iter().all(|flag| *flag == Flag::CameraTrailer && file_type == FileType::Jpeg));
                }
                _ => panic!("{file_type} is accepted by its head"),
            }
        }
    }
}

/// It was the file's fault, and it is said what to do.
fn blamed(stop: Stop) {
    match stop {
        Stop::Finding(finding) => told(&finding),
        Stop::Fault(fault) => panic!("the machine is blamed for a file: {fault}"),
    }
}

fn told(finding: &Finding) {
    let (Finding::Reject { reason, .. } | Finding::Hold { reason }) = finding;
    let Reason { message, .. } = reason;
    assert!(message.contains(' ') && message.len() < 600, "{message}");
}

/// Reads inside as the child does, and takes the text out of what is accepted, as it is done with no other file.
/// `None`: a library of the child's gave up.
fn inspected(source: Source<'_>, container: Container, types: &[FileType]) -> Option<Inspection> {
    let policy = &POLICY.sniff;
    let scratch = tempfile::tempfile().expect("a place for files");
    let inspection = in_child(|| child::inspect_into(source, container, policy, &scratch))?;
    let mut end = 0;
    for embedded in &inspection.embedded {
        assert_eq!(embedded.offset, end, "what was taken out lies one behind the other");
        end += embedded.len;
        assert!(embedded.name.as_ref().is_none_or(|name| name.reveal().chars().count() <= 255));
    }
    assert!(end <= scratch.metadata().expect("a file in memory").len() && end <= policy.embedded_bytes);
    assert!(inspection.embedded.len() as u64 <= policy.embedded_files);
    assert!(inspection.embedded.is_empty() || inspection.flags.contains(&Flag::EmbeddedFiles));
    match &inspection.finding {
        Some(finding) => told(finding),
        None => {
            let found =
                inspection.file_type.filter(|found| types.contains(found)).expect("what is accepted has a type");
            read_text(source, found);
        }
    }
    let report = serde_json::to_vec(&inspection).expect("a report");
    assert!(report.len() as u64 <= POLICY.extract.report_bytes);
    assert_eq!(serde_json::from_slice::<Inspection>(&report).expect("the parent reads it"), inspection);
    Some(inspection)
}

/// Takes the text out as the child does.
fn read_text(source: Source<'_>, file_type: FileType) {
    let limits = &POLICY.extract;
    let extract = || crate::intake::extract::text::extract(source, file_type, limits, &POLICY.sniff);
    let Some(text) = in_child(extract) else { return };
    assert!(text.pages.len() <= limits.text_pages);
    assert!(text.pages.iter().map(|page| page.reveal().len()).sum::<usize>() <= limits.text_bytes);
}

/// Takes a PDF apart in the middle: each part is a PDF of its pages, and of no other one.
fn take_apart(source: Source<'_>, pages: u32) {
    let middle = pages / 2;
    let ranges = vec![PageRange { first: middle + 1, last: pages }, PageRange { first: 1, last: middle }];
    let job = SplitJob { ranges, entry_bytes: POLICY.sniff.entry_bytes, bytes: 1 << 20 };
    let scratch = tempfile::tempfile().expect("a place for files");
    let Some(report) = in_child(|| split::pdf(source, &job, &scratch)) else { return };
    let SplitReport::Parts(parts) = report else { return };
    assert_eq!(parts.len(), job.ranges.len());
    let mut end = 0;
    for (part, range) in parts.iter().zip(&job.ranges) {
        assert_eq!(part.offset, end, "parts lie one behind the other");
        end += part.len;
        let own = Source::new(&scratch, end).slice(part.offset, part.len);
        looked_at(&own, Some(FileType::Pdf));
        assert!(matches!(look(&own, Some(FileType::Pdf), &POLICY.sniff), Ok(Look::Inside(Container::Pdf))));
        let bytes = own.head(own.len()).expect("a file in memory can be read");
        let document = inner::load(&bytes, job.entry_bytes as usize).expect("a part can be read");
        assert_eq!(document.get_pages().len(), range.pages() as usize, "pages of a part");
        let is_page = |object: &&lopdf::Object| object.as_dict().is_ok_and(|page| page.has_type(b"Page"));
        assert_eq!(document.objects.values().filter(is_page).count(), range.pages() as usize, "a page came along");
    }
    assert!(end <= job.bytes);
}

thread_local! {
    static IN_CHILD: Cell<bool> = const { Cell::new(false) };
    static FOREIGN: Cell<bool> = const { Cell::new(false) };
}

/// Does what the child does. Where a library that it uses panics, the child dies, and that is what it is there for;
/// a panic of ours is a finding, and so is a fault: a file must not look as if the machine were broken.
fn in_child<T>(work: impl FnOnce() -> io::Result<T>) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let foreign = panic.location().is_some_and(|place| place.file().contains("/registry/src/"));
            FOREIGN.set(foreign);
            if !(foreign && IN_CHILD.get()) {
                before(panic);
            }
        }));
    });
    IN_CHILD.set(true);
    let ended = catch_unwind(AssertUnwindSafe(work));
    IN_CHILD.set(false);
    match ended {
        Ok(Ok(done)) => Some(done),
        Ok(Err(fault)) if fault.kind() == io::ErrorKind::OutOfMemory => None,
        Ok(Err(fault)) => panic!("the machine is blamed for a file: {fault}"),
        Err(_) if FOREIGN.get() => None,
        Err(ours) => resume_unwind(ours),
    }
}
