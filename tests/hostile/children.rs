//! The child's limits: what kills it costs one document.

use std::path::Path;
use std::time::Duration;

use lettercase::intake::extract::Container;
use lettercase::model::judgement::FileType;
use lettercase::outside::extract::{Death, Extract, ExtractError, ExtractLimits, ExtractOutcome, program_beside};

use super::build::{noise, office, pdf};
use super::{extract, file, shipped, verdict};
use lettercase::intake::sniff::{SniffError, sniff};

/// Makes a program of a script. Another process writes it: a descriptor of ours, inherited by a child of another test,
/// would keep it busy.
fn write_program(path: &Path, script: &str) {
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 755 "$2""#;
    let status = std::process::Command::new("sh").args(["-c", write, "sh", script]).arg(path).status().unwrap();
    assert!(status.success());
}

/// A child that is another program.
fn stand_in(script: &str, limits: ExtractLimits) -> (Extract, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("child");
    write_program(&path, script);
    (Extract::new(path, std::env::temp_dir(), limits), dir)
}

#[test]
fn children_are_of_the_small_program_if_it_is_there_and_of_this_version() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("lettercase");
    assert_eq!(program_beside(own.clone()), own);

    write_program(&dir.path().join("lettercase-extract"), "echo lettercase-extract 0.0.1");
    assert_eq!(program_beside(own.clone()), own, "another version");

    std::fs::remove_file(dir.path().join("lettercase-extract")).unwrap();
    write_program(&dir.path().join("lettercase-extract"), "echo lettercase-extract; exec sleep 600");
    assert_eq!(program_beside(own.clone()), own, "one that never ends");

    let built = Path::new(env!("CARGO_BIN_EXE_lettercase"));
    assert_eq!(program_beside(built.into()), Path::new(env!("CARGO_BIN_EXE_lettercase-extract")));
}

#[tokio::test]
async fn the_program_does_itself_what_the_small_one_does() {
    let alone = tempfile::tempdir().unwrap();
    let exe = alone.path().join("lettercase");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lettercase"), &exe).unwrap();
    let bytes = pdf::letter("About claim CL2026000123", "", &[]);
    let mut reports = Vec::new();
    for exe in [exe, env!("CARGO_BIN_EXE_lettercase").into()] {
        let extract = Extract::new(exe, std::env::temp_dir(), shipped().extract);
        match extract.text(&file(&bytes), FileType::Pdf, &shipped().sniff).await.unwrap() {
            ExtractOutcome::Done(text) => reports.push(text),
            ExtractOutcome::Died { how } => panic!("{how:?}"),
        }
    }
    assert_eq!(reports[0], reports[1]);
    assert!(!reports[0].pages.is_empty());
}

async fn death(extract: &Extract, bytes: &[u8], container: Container) -> Death {
    match extract.inspect(&file(bytes), container, &shipped().sniff).await.unwrap() {
        ExtractOutcome::Died { how } => how,
        ExtractOutcome::Done(done) => panic!("it reported {:?}", done.0),
    }
}

#[tokio::test]
async fn a_child_that_hangs_is_killed_at_the_deadline() {
    let limits = ExtractLimits { deadline_ms: 300, ..shipped().extract };
    let (extract, _dir) = stand_in("exec sleep 60", limits);
    let work = death(&extract, b"x", Container::Pdf);
    let how = tokio::time::timeout(Duration::from_secs(20), work).await.unwrap();
    assert_eq!(how, Death::Deadline);
}

#[tokio::test]
async fn a_child_that_says_too_much_or_nonsense_or_crashes_is_a_death_of_that_kind() {
    let limits = ExtractLimits { report_bytes: 1_000, deadline_ms: 20_000, ..shipped().extract };
    for (script, expected) in [
        ("exec yes", Death::Report),
        ("echo nonsense", Death::Report),
        ("exit 101", Death::Code(101)),
        ("kill -SEGV $$", Death::Signal(11)),
    ] {
        let (extract, _dir) = stand_in(script, limits.clone());
        assert_eq!(death(&extract, b"x", Container::Pdf).await, expected, "{script}");
    }
}

#[tokio::test]
async fn a_child_over_its_memory_dies_and_the_document_is_held() {
    let mut shipped = shipped();
    // the program's own text counts, too, and that of a debug build is large
    shipped.extract.memory_bytes = 256 << 20;
    let extract = extract(shipped.extract.clone());
    let bytes = pdf::letter("x", "", &[pdf::stream("", &noise(120 << 20))]);
    assert!(matches!(death(&extract, &bytes, Container::Pdf).await, Death::Signal(_) | Death::Code(_)));
    let judged = sniff(&file(&bytes), bytes.len() as u64, "a.pdf", &shipped.sniff, &extract).await.unwrap();
    assert_eq!(verdict(&judged), "hold unreadable");
    // Nothing else is affected: the next document is judged as ever.
    let docx = office::docx(&[]);
    let judged = sniff(&file(&docx), docx.len() as u64, "a.docx", &shipped.sniff, &extract).await.unwrap();
    assert_eq!(verdict(&judged), "accept docx");
}

#[tokio::test]
async fn a_child_over_its_cpu_time_dies() {
    let mut shipped = shipped();
    shipped.extract.cpu_seconds = 1;
    // A long list of small objects: seconds of parsing.
    let list: Vec<u8> = b"[ [ ] << /A 1 >> (x) ] ".repeat(2_000_000);
    let bytes = pdf::letter("x", "", &[[b"[".as_slice(), &list, b"]"].concat()]);
    shipped.extract.memory_bytes = 8 << 30;
    let how = death(&extract(shipped.extract), &bytes, Container::Pdf).await;
    assert!(matches!(how, Death::Signal(_)), "{how:?}");
}

#[tokio::test]
async fn a_child_that_can_not_be_started_or_meets_an_io_fault_is_our_fault() {
    let policy = shipped().sniff;
    let bytes = pdf::letter("x", "", &[]);
    let missing = Extract::new("/nowhere/lettercase".into(), std::env::temp_dir(), shipped().extract);
    let judged = sniff(&file(&bytes), bytes.len() as u64, "a.pdf", &policy, &missing).await;
    assert!(matches!(judged, Err(SniffError::Child(ExtractError::Start(_)))));
    let judged = sniff(&file(&bytes), 7, "a.pdf", &policy, &missing).await;
    assert!(matches!(judged, Err(SniffError::Length { .. })), "a file of another length than announced");
    let (faulty, _dir) = stand_in("exit 74", shipped().extract);
    let judged = sniff(&file(&bytes), bytes.len() as u64, "a.pdf", &policy, &faulty).await;
    assert!(matches!(judged, Err(SniffError::Child(ExtractError::Fault))));
}

#[tokio::test]
async fn a_child_sees_no_environment() {
    // What the shell itself sets is not ours.
    let script = "test -z \"$(/usr/bin/env | grep -v -e ^PWD= -e ^OLDPWD= -e ^SHLVL= -e ^_=)\" && exit 7; exit 8";
    let (extract, _dir) = stand_in(script, shipped().extract);
    assert_eq!(death(&extract, b"x", Container::Pdf).await, Death::Code(7));
}
