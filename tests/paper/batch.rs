//! A batch as it is printed: read with other programs than the one that wrote it, and off the picture.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lettercase::model::letter::LetterType;
use lettercase::paper::production::assemble::{AssembleError, Carrier, Envelope};
use lettercase::paper::production::imb::ImbError;
use lettercase::paper::production::manifest::Manifest;
use lettercase::paper::production::marks::IntegrityMark;
use lettercase::paper::production::plan::Area;
use sha2::{Digest, Sha256};

use super::imb_reader::{bars, decode};
use super::packing::address;
use super::picture::{Picture, holds, matrices};
use super::{Letter, assemble, envelopes, letter, policy, run};

static LETTERS: LazyLock<Vec<Letter>> = LazyLock::new(|| {
    let samples = [
        (LetterType::ClaimDenied, "medical_necessity"),
        (LetterType::ReconsiderationCopy, "portal"),
        (LetterType::AppealOverturned, "payment"),
        (LetterType::ReturnCoverSheet, "plain"),
        (LetterType::PrecertificationApproved, "many_services"),
        (LetterType::ReconsiderationReceived, "portal"),
    ];
    let made = |(n, (letter_type, sample))| {
        letter(n, letter_type, sample, |document| {
            // This sample's address has more lines than a window shows: such a letter is never in a batch.
            if sample == "many_services" {
                document["head"]["addressee"]["name"] = "Upper Muskingum Rehabilitation, LLC".into();
                document["head"]["addressee"]["lines"] = serde_json::json!(["Suites 310–318", "2816 Zanesville Pike"]);
            }
        })
    };
    (1..).zip(samples).map(made).collect()
});

struct Printed {
    _dir: tempfile::TempDir,
    file: PathBuf,
    bytes: Vec<u8>,
    envelopes: Vec<Envelope>,
    manifest: Manifest,
}

static PRINTED: LazyLock<Printed> = LazyLock::new(|| {
    let envelopes = envelopes(&LETTERS, &[1, 2, 1, 2]);
    let mut bytes = Vec::new();
    let manifest = assemble(policy(), &LETTERS, &envelopes, &mut bytes).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("batch.pdf");
    std::fs::write(&file, &bytes).unwrap();
    Printed { file, _dir: dir, bytes, envelopes, manifest }
});

/// Each page of each letter: the letter, its page, and the page of the print file, from 1.
fn pages() -> Vec<(&'static Letter, u32, u32)> {
    let mut found = Vec::new();
    for piece in &PRINTED.manifest.pieces {
        let mut at = piece.first_page;
        for own in &piece.letters {
            let letter = LETTERS.iter().find(|letter| letter.sheaf.id == own.id).unwrap();
            assert_eq!(at % 2, 1, "letter {} begins on a back", own.number);
            found.extend((0..own.pages).map(|page| (letter, page + 1, at + page)));
            at += own.pages.next_multiple_of(2);
        }
        assert_eq!(at, piece.first_page + piece.printed_pages);
    }
    found
}

fn pages_of(file: &Path) -> u32 {
    let told = String::from_utf8(run("pdfinfo", &[], &[file])).unwrap();
    told.lines().find_map(|line| line.strip_prefix("Pages:")).unwrap().trim().parse().unwrap()
}

#[test]
fn cor_41_the_print_file_is_sound_and_the_manifest_counts_what_is_in_it() {
    let Printed { file, bytes, manifest, envelopes, .. } = &*PRINTED;
    run("qpdf", &["--check"], &[file]);
    assert_eq!(manifest.pdf_sha256, hex::encode(Sha256::digest(bytes)));
    assert_eq!((manifest.pdf_bytes, manifest.pdf_pages), (bytes.len() as u64, pages_of(file)));
    assert_eq!((manifest.envelopes, manifest.letters, manifest.pages), (4, 6, 14));
    assert_eq!((manifest.sheets, manifest.other_sheets), (9, 2));
    // a letter begins on a front: each page of a letter, its blank back, and two sheets that are none
    assert_eq!(manifest.pdf_pages, 2 * (manifest.sheets + manifest.other_sheets));
    for (piece, envelope) in manifest.pieces.iter().zip(envelopes) {
        assert_eq!(piece.sequence, envelope.sequence);
        assert_eq!(piece.imb_serial.as_deref(), Some(format!("{:09}", envelope.serial).as_str()));
        assert_eq!(piece.printed_pages, 2 * piece.sheets);
        let grams = policy().envelope.envelope_grams + f64::from(piece.sheets) * policy().envelope.sheet_grams;
        assert!((piece.grams - grams).abs() < 0.06);
        let hashes: String = envelope.letters.iter().map(|letter| format!("{}\n", letter.sha256)).collect();
        assert_eq!(piece.letters_sha256, hex::encode(Sha256::digest(hashes)));
    }
    assert_eq!(pages().len(), 14);

    let mut csv = Vec::new();
    manifest.write_csv(&mut csv).unwrap();
    let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(csv.as_slice()).records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(&rows[1][1], "2");
    assert_eq!(&rows[1][9], format!("{};{}", LETTERS[1].sheaf.number, LETTERS[2].sheaf.number));
    assert_eq!((&rows[4][1], &rows[4][6], &rows[4][8]), ("total", "9", manifest.pdf_sha256.as_str()));
    // Who carries it to the printer learns nobody's name.
    let told = serde_json::to_string(manifest).unwrap() + &String::from_utf8(csv).unwrap();
    for letter in LETTERS.iter() {
        let zip = letter.address.zip.0.reveal();
        assert!(!told.contains(letter.address.name.0.reveal()) && !told.contains(zip), "{told}");
    }
}

#[test]
fn every_letter_reads_and_looks_as_its_own_pdf() {
    let marks = [policy().marks.matrix_area(), policy().marks.sequence_area(), policy().imb.area()];
    let around = |area: &Area| Area {
        left: area.left - 0.03,
        top: area.top - 0.03,
        right: area.right + 0.03,
        bottom: area.bottom + 0.03,
    };
    let marks = marks.map(|area| around(&area));
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("letter.pdf");
    for (letter, page, printed) in pages() {
        std::fs::write(&own, &letter.pdf).unwrap();
        let told = format!("page {page} of {}", letter.sheaf.number);
        // from right of the marks on
        let text = |file: &Path, page: u32| {
            let page = page.to_string();
            let part = ["-f", &page, "-l", &page, "-x", "58", "-y", "0", "-W", "554", "-H", "792", "-raw"];
            let out = dir.path().join("text");
            let ran = std::process::Command::new("pdftotext").args(part).arg(file).arg(&out).status();
            assert!(ran.unwrap().success());
            std::fs::read_to_string(out).unwrap()
        };
        let (before, after) = (text(&own, page), text(&PRINTED.file, printed));
        assert!(before.split_whitespace().count() > 10, "{told}");
        assert_eq!(before, after, "{told}");
        let (before, after) = (Picture::of(&own, page, 100), Picture::of(&PRINTED.file, printed, 100));
        assert_eq!(before.differs(&after, &marks), 0, "{told}");
        if page % 2 == 1 {
            assert!(before.differs(&after, &[]) > 100, "{told} has no marks");
        }
    }
}

#[test]
fn cor_41_machines_read_each_sheet_s_mark_and_each_envelope_s_barcode_off_the_picture() {
    let Printed { file, manifest, envelopes, .. } = &*PRINTED;
    let read = matrices(file);
    assert_eq!(read.len(), usize::try_from(manifest.pdf_pages).unwrap());
    assert!(read[0].starts_with("B-20261123-01|000000|01/01|"), "the banner: {}", read[0]);
    for (envelope, piece) in envelopes.iter().zip(&manifest.pieces) {
        for sheet in 1..=piece.sheets {
            let page = piece.first_page + 2 * (sheet - 1);
            let hashes = envelope.letters.iter().map(|letter| &letter.sha256);
            let mark = IntegrityMark::new("B-20261123-01", piece.sequence, (sheet, piece.sheets), hashes);
            let at = usize::try_from(page).unwrap() - 1;
            // A cover sheet has a code of its own, which names its case.
            assert!(read[at].split(' ').any(|text| text == mark.to_string()), "page {page}: {}", read[at]);
            assert_eq!(read[at + 1], "", "the back of page {page} has none");
            let number = page.to_string();
            let out = run(
                "pdftotext",
                &["-f", &number, "-l", &number, "-x", "0", "-y", "600", "-W", "58", "-H", "192"],
                &[file, Path::new("-")],
            );
            assert_eq!(
                String::from_utf8(out).unwrap().split_whitespace().collect::<Vec<_>>().join(" "),
                mark.sequence_mark()
            );

            let picture = Picture::of(file, page, 600);
            if sheet == 1 {
                let zip: String = envelope.zip.reveal().chars().filter(char::is_ascii_digit).collect();
                let digits = format!("00270800000{:09}{zip}", envelope.serial);
                assert_eq!(decode(&bars(&picture, &policy().imb.area())), digits);
                let window = policy().envelope.ever_seen(&policy().address_window);
                let ink = picture.ink(&window).unwrap();
                let mut area = policy().address_area();
                let first = LETTERS.iter().find(|letter| letter.sheaf.id == envelope.letters[0].id).unwrap();
                let first_line = first.address.attention.as_ref().unwrap_or(&first.address.name);
                if first_line.0.reveal().chars().any(|c| !c.is_ascii() && c.is_uppercase()) {
                    // The accent of a capital may reach into the white above, not out of what is always seen.
                    area.top = policy().envelope.always_seen(&policy().address_window).top;
                }
                assert!(holds(&area, &ink), "address and barcode of {}: {ink:?} in {area:?}", envelope.sequence);
            }
        }
    }
}

#[test]
fn the_address_is_in_the_window_of_every_envelope() {
    let area = policy().address_area();
    let window = policy().envelope.ever_seen(&policy().address_window);
    for piece in &PRINTED.manifest.pieces {
        let letter = LETTERS.iter().find(|letter| letter.sheaf.id == piece.letters[0].id).unwrap();
        let page = piece.first_page.to_string();
        let out = run("pdftotext", &["-bbox", "-f", &page, "-l", &page], &[&PRINTED.file, Path::new("-")]);
        let mut seen = Vec::new();
        for line in String::from_utf8(out).unwrap().lines().filter(|line| line.contains("<word ")) {
            let side = |name: &str| -> f64 {
                let from = line.find(&format!("{name}=\"")).unwrap() + name.len() + 2;
                line[from..].split('"').next().unwrap().parse::<f64>().unwrap() / 72.0
            };
            // The box is as high as the font's tallest and deepest letters; ink ends a good part before.
            let (top, bottom) = (side("yMin"), side("yMax"));
            let em = (bottom - top) / 1.362;
            let word =
                Area { left: side("xMin"), top: top + 0.309 * em, right: side("xMax"), bottom: bottom - 0.053 * em };
            if window.meets(&word) {
                assert!(area.holds(&word), "{line}: {word:?} in {area:?}");
                let text = line.split('>').nth(1).unwrap().split('<').next().unwrap();
                seen.push(text.replace("&amp;", "&"));
            }
        }
        let address = &letter.address;
        let mut expected: Vec<&str> = Vec::new();
        let place = format!("{}, {} {}", address.city.0.reveal(), address.state.0, address.zip.0.reveal());
        let lines = address.attention.iter().chain([&address.name]).chain(&address.lines.0);
        expected.extend(lines.flat_map(|line| line.0.reveal().split_whitespace()));
        expected.extend(place.split_whitespace());
        assert_eq!(seen, expected);
    }
}

#[test]
fn what_letters_have_in_common_is_written_once() {
    // The same letter to twelve people: beside their names all is alike.
    let letters: Vec<Letter> = (1..=12)
        .map(|n| {
            letter(n, LetterType::AppealOverturned, "payment", |document| {
                document["head"]["letter_number"] = format!("LT-2026-{n:07}").into();
            })
        })
        .collect();
    let mut bytes = Vec::new();
    let manifest = assemble(policy(), &letters, &envelopes(&letters, &[1; 12]), &mut bytes).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = letters
        .iter()
        .map(|letter| {
            let file = dir.path().join(format!("{}.pdf", letter.sheaf.number));
            std::fs::write(&file, &letter.pdf).unwrap();
            file
        })
        .collect();
    let merged = dir.path().join("merged.pdf");
    let mut args: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    args.extend([Path::new("--"), &merged]);
    run("qpdf", &["--empty", "--pages"], &args);
    let (own, peer) = (manifest.pdf_bytes, std::fs::metadata(&merged).unwrap().len());
    assert!(own * 3 < peer, "{own} bytes, and qpdf's {peer}");
    assert!(manifest.shared_bytes > own);
    let whole = dir.path().join("batch.pdf");
    std::fs::write(&whole, &bytes).unwrap();
    let told =
        String::from_utf8(run("qpdf", &["--json", "--json-key=qpdf", "--json-stream-data=none"], &[&whole])).unwrap();
    assert_eq!(told.matches("LCMARK+Marks").count(), 3, "the font of marks is there once");
}

#[test]
fn groups_are_separated_and_each_policy_of_sheets_is_kept() {
    let letters = &LETTERS[1..5];
    let mut own = policy().clone();
    own.sheets.separate_every = 2;
    own.sheets.banner = false;
    own.envelope.duplex = false;
    own.imb.print = false;
    let mut bytes = Vec::new();
    let manifest = assemble(&own, letters, &envelopes(letters, &[1, 1, 1, 1]), &mut bytes).unwrap();
    // separators before 1 and 3, and the trailer; pages of 1, 2, 1 and 4
    assert_eq!((manifest.other_sheets, manifest.sheets, manifest.pdf_pages), (3, 8, 11));
    let firsts: Vec<u32> = manifest.pieces.iter().map(|piece| piece.first_page).collect();
    assert_eq!(firsts, [2, 3, 6, 7]);
    assert!(manifest.pieces.iter().all(|piece| piece.imb_serial.is_none()));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("batch.pdf");
    std::fs::write(&file, bytes).unwrap();
    run("qpdf", &["--check"], &[&file]);
    let text = String::from_utf8(run("pdftotext", &["-f", "5", "-l", "5"], &[&file, Path::new("-")])).unwrap();
    assert!(text.contains("Separator") && text.contains("Envelopes 000003 to 000004"), "{text}");
    let read = matrices(&file);
    assert!(read.iter().all(|text| !text.is_empty()), "on one side, each page is a sheet: {read:?}");
}

#[test]
fn cor_42_a_letter_is_mailed_again_behind_a_sheet_with_the_corrected_address() {
    let mut envelope = PRINTED.envelopes[0].clone();
    let to =
        address("Łucja Quiñones-Øster of the Weir Valley Community Orthopedic Practice", "9 Mill Race", "54703-2200");
    let sender = ["Meridian Health Plans", "PO Box 41070", "Columbus, OH 43218-1070"].map(str::to_owned).to_vec();
    envelope.carrier = Some(Carrier { sender, to });
    let mut bytes = Vec::new();
    let manifest = assemble(policy(), &LETTERS, &[envelope.clone()], &mut bytes).unwrap();
    let piece = &manifest.pieces[0];
    assert!(piece.carrier);
    assert_eq!((piece.pages, piece.sheets, piece.printed_pages), (3, 3, 6));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("again.pdf");
    std::fs::write(&file, &bytes).unwrap();
    run("qpdf", &["--check"], &[&file]);
    let page = piece.first_page.to_string();
    let text =
        String::from_utf8(run("pdftotext", &["-raw", "-f", &page, "-l", &page], &[&file, Path::new("-")])).unwrap();
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("PO Box 41070") && flat.contains("Łucja Quiñones-Øster of the Weir Valley"), "{text}");
    let picture = Picture::of(&file, piece.first_page, 600);
    let ink = picture.ink(&policy().envelope.ever_seen(&policy().address_window)).unwrap();
    assert!(holds(&policy().address_area(), &ink), "{ink:?}");
    let sender = picture.ink(&policy().envelope.ever_seen(&policy().return_window)).unwrap();
    assert!(holds(&policy().return_area(), &sender), "{sender:?}");
    let digits = format!("00270800000{:09}547032200", envelope.serial);
    assert_eq!(decode(&bars(&picture, &policy().imb.area())), digits);
    // The letter's own page has no second barcode.
    let letter = Picture::of(&file, piece.first_page + 2, 200);
    assert!(letter.ink(&policy().imb.area()).is_none());

    envelope.carrier.as_mut().unwrap().to.zip.0.0 = "1".into();
    match assemble(policy(), &LETTERS, &[envelope], &mut Vec::new()) {
        Err(AssembleError::Imb { sequence: 1, fault: ImbError::Zip }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_envelope_printed_again_is_the_same_but_for_its_place_in_the_file() {
    let envelope = PRINTED.envelopes[1].clone();
    let mut bytes = Vec::new();
    let manifest = assemble(policy(), &LETTERS, &[envelope], &mut bytes).unwrap();
    let (again, first) = (&manifest.pieces[0], &PRINTED.manifest.pieces[1]);
    assert_eq!((again.sequence, &again.imb_serial, &again.letters), (2, &first.imb_serial, &first.letters));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("again.pdf");
    std::fs::write(&file, &bytes).unwrap();
    for page in 0..again.printed_pages {
        let own = Picture::of(&file, again.first_page + page, 100);
        assert_eq!(own.differs(&Picture::of(&PRINTED.file, first.first_page + page, 100), &[]), 0);
    }
    let mut twice = Vec::new();
    assemble(policy(), &LETTERS, &PRINTED.envelopes, &mut twice).unwrap();
    assert!(twice == PRINTED.bytes, "the same batch has the same bytes");
}
