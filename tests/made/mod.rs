//! The samples against the judgement of files: what `samples/scenarios.toml` expects of each made file, and that
//! each document in `samples/documents` is as good as it is meant to be.
#![expect(clippy::unwrap_used, reason = "a test ends where its world can't be set up")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;

use lettercase::cli::made::{self, MakeError, make};
use lettercase::intake::sniff::policy::SniffPolicy;
use lettercase::intake::sniff::{Sniffed, sniff};
use lettercase::model::judgement::FileType;
use lettercase::outside::extract::{Extract, ExtractLimits};
use serde::Deserialize;

/// What of the shipped policy is needed here.
#[derive(Deserialize)]
struct Shipped {
    limits: BTreeMap<String, Limits>,
    sniff: SniffPolicy,
    extract: ExtractLimits,
}

#[derive(Deserialize)]
struct Limits {
    file_bytes: u64,
}

#[derive(Deserialize)]
struct Scenarios {
    submission: Vec<Submission>,
}

#[derive(Deserialize)]
struct Submission {
    kind: String,
    files: Vec<Sent>,
}

#[derive(Clone, Deserialize)]
struct Sent {
    name: String,
    made: Option<String>,
    expect: String,
    reason: Option<String>,
}

fn shipped() -> Shipped {
    toml::from_str(include_str!("../../pipelines/intake.toml")).unwrap()
}

/// The made files of the scenarios: what is made, how it is sent, and the limit of the kind of case.
fn sent_made_files() -> Vec<(String, Sent, u64)> {
    let scenarios: Scenarios = toml::from_str(include_str!("../../samples/scenarios.toml")).unwrap();
    let limits = shipped().limits;
    let files = scenarios.submission.into_iter().flat_map(|Submission { kind, files }| {
        let limit_bytes = limits.get(&kind).unwrap().file_bytes;
        files.into_iter().filter_map(move |sent| Some((sent.made.clone()?, sent, limit_bytes)))
    });
    files.collect()
}

fn expected_type(name: &str) -> String {
    format!("accept {}", FileType::from_file_name(name).unwrap())
}

/// Judges a file under a name with the shipped policy: `accept docx`, `reject encrypted`, `hold macros`.
async fn verdict(path: &Path, name: &str) -> String {
    verdict_by(&shipped().sniff, path, name).await
}

async fn verdict_by(policy: &SniffPolicy, path: &Path, name: &str) -> String {
    let limits = shipped().extract;
    let extract = Extract::new(env!("CARGO_BIN_EXE_lettercase").into(), std::env::temp_dir(), limits);
    let file = File::open(path).unwrap();
    let size_bytes = file.metadata().unwrap().len();
    match sniff(&file, size_bytes, name, policy, &extract).await.unwrap() {
        Sniffed::Accept { file_type, .. } => format!("accept {file_type}"),
        Sniffed::Reject { reason, .. } => format!("reject {}", reason.code),
        Sniffed::Hold { reason, .. } => format!("hold {}", reason.code),
    }
}

/// What the judgement of files has to say for a scenario to end as it expects. Two reasons are not its own: a
/// signature is the scanner's to find, so what carries one must pass here; and size is counted on arrival.
fn expected(sent: &Sent) -> Option<String> {
    let code = sent.reason.as_deref().unwrap();
    match (sent.expect.as_str(), code) {
        ("quarantined", "virus") => Some(expected_type(&sent.name)),
        ("rejected", "too_large") => None,
        ("rejected", code) => Some(format!("reject {code}")),
        (_, code) => Some(format!("hold {code}")),
    }
}

#[tokio::test]
async fn each_made_file_is_judged_as_its_scenario_expects() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = vec![];
    for (made, sent, limit_bytes) in sent_made_files() {
        let path = dir.path().join(&made);
        make(&made, limit_bytes, &path).unwrap();
        let Some(expected) = expected(&sent) else { continue };
        let got = verdict(&path, &sent.name).await;
        if got != expected {
            wrong.push(format!("{made} as {}: expected `{expected}`, got `{got}`", sent.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_scenarios_send_every_file_that_can_be_made() {
    let sent: BTreeSet<_> = sent_made_files().into_iter().map(|(made, ..)| made).collect();
    assert_eq!(sent, made::NAMES.iter().map(|name| (*name).to_owned()).collect());
}

#[tokio::test]
async fn each_sample_document_is_accepted_as_what_its_name_says() {
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/documents");
    let (mut wrong, mut count) = (vec![], 0);
    for entry in fs::read_dir(documents).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let (got, expected) = (verdict(&path, name).await, expected_type(name));
        if got != expected {
            wrong.push(format!("{name}: expected `{expected}`, got `{got}`"));
        }
        count += 1;
    }
    assert!(count > 0, "there are no documents");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The bytes of a made file, under a limit of 1 MiB.
fn bytes_of(name: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    make(name, 1 << 20, &path).unwrap();
    fs::read(path).unwrap()
}

/// But for its size it is a good PDF, so nothing but the count on arrival can refuse it.
#[tokio::test]
async fn the_one_that_is_too_large_is_so_by_one_byte_and_takes_no_room() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made");
    let limit_bytes = 64 << 20;
    make("too-large-pdf", limit_bytes, &path).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!(found.len(), limit_bytes + 1);
    assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
    assert!(bytes_of("too-large-pdf").starts_with(b"%PDF-1."));
    make("pdf-named-png", limit_bytes, &path).unwrap();
    assert_eq!(verdict(&path, "a.pdf").await, "accept pdf");
}

/// The bombs are refused for their growth and for nothing beside it.
#[tokio::test]
async fn without_the_caps_the_bombs_are_accepted() {
    let policy = SniffPolicy { expansion_ratio: u64::MAX, page_pixels_colour: u64::MAX, ..shipped().sniff };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made");
    for (made, name) in [("archive-bomb-docx", "a.docx"), ("image-bomb-png", "a.png")] {
        make(made, 1 << 20, &path).unwrap();
        assert_eq!(verdict_by(&policy, &path, name).await, expected_type(name), "{made}");
    }
}

#[test]
fn all_others_are_small_and_the_same_each_time() {
    for name in made::NAMES.iter().filter(|name| **name != "too-large-pdf") {
        let bytes = bytes_of(name);
        assert!(bytes.len() < 64 << 10, "{name}: {} bytes", bytes.len());
        // A locked PDF has salts that are drawn anew.
        assert!(*name == "encrypted-pdf" || bytes == bytes_of(name), "{name} differs");
    }
}

#[test]
fn the_test_signature_is_in_its_part_whole_and_nowhere_else() {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes_of("eicar-docx"))).unwrap();
    let mut note = Vec::new();
    archive.by_name("word/note.txt").unwrap().read_to_end(&mut note).unwrap();
    assert_eq!(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&note)), EICAR_SHA256);
    for source in walkdir::WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli")) {
        let source = source.unwrap();
        let text = if source.file_type().is_file() { fs::read(source.path()).unwrap() } else { vec![] };
        assert!(!text.windows(note.len()).any(|window| window == note), "{}", source.path().display());
    }
}

/// Of the 68 bytes of the EICAR test file.
const EICAR_SHA256: &str = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f";

/// The password is needed: without it not one page can be read, with it all can.
#[test]
fn the_locked_pdf_opens_with_its_password_only() {
    let bytes = bytes_of("encrypted-pdf");
    assert!(matches!(lopdf::Document::load_mem(&bytes), Ok(document) if document.is_encrypted()));
    let open =
        lopdf::Document::load_mem_with_options(&bytes, lopdf::LoadOptions::with_password("ask the office")).unwrap();
    assert!(open.extract_text(&[1]).unwrap().contains("reconsider the decision"));
}

#[test]
fn an_unknown_name_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made");
    assert!(matches!(make("nonsense", 1, &path), Err(MakeError::Unknown(name)) if name == "nonsense"));
    assert!(!path.exists());
}
