//! What a rendered letter is: read with other programs than the one that wrote it.

use std::path::Path;
use std::process::Command;

use lettercase::letters::brand::Brand;
use lettercase::letters::render::Renderer;
use lettercase::model::letter::LetterType;

use super::{PLAN, RENDERER, check, sample, samples};

fn run(program: &str, args: &[&str], file: &Path) -> String {
    let ran = Command::new(program).args(args).arg(file).output();
    let ran = ran.unwrap_or_else(|_| panic!("{program} is missing: run `make deps` (qpdf and poppler-utils)"));
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

fn text_of(file: &Path) -> String {
    let out = file.with_extension("txt");
    let ran = Command::new("pdftotext").args(["-raw", "-enc", "UTF-8"]).arg(file).arg(&out).status();
    assert!(ran.unwrap_or_else(|_| panic!("pdftotext is missing: run `make deps`")).success());
    std::fs::read_to_string(out).unwrap()
}

/// One brand for each sample, in turn, so that both are seen with every type.
fn brand(i: usize) -> &'static Brand {
    RENDERER.brands().nth(i % RENDERER.brands().count()).unwrap()
}

#[test]
fn every_letter_is_sound_tagged_and_archivable_and_reads_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for (i, (letter_type, sample)) in samples().enumerate() {
        let told = format!("{letter_type} {}", sample.name);
        let letter = check(letter_type, &sample.document).unwrap_or_else(|faults| panic!("{told}: {faults:?}"));
        let brand = brand(i);
        let rendered = RENDERER.render(&letter, brand).unwrap_or_else(|error| panic!("{told}: {error:?}"));
        assert_eq!(rendered.overflows, [], "{told}");
        assert_eq!(rendered.warnings, [], "{told}");
        let file = dir.path().join("letter.pdf");
        std::fs::write(&file, &rendered.pdf).unwrap();

        run("qpdf", &["--check"], &file);
        let info = run("pdfinfo", &[], &file);
        let has = |name: &str, value: &str| {
            info.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.trim() == value))
        };
        assert!(has("Tagged:", "yes") && has("Pages:", &rendered.pages.to_string()), "{told}: {info}");
        assert!(
            has("Author:", &brand.text.legal_name) && has("Page size:", "612 x 792 pts (letter)"),
            "{told}: {info}"
        );
        let title = info.lines().find_map(|line| line.strip_prefix("Title:")).map(str::trim).unwrap_or_default();
        assert!(!title.is_empty(), "{told} has no title");
        let metadata = run("pdfinfo", &["-meta"], &file);
        for said in [
            "<pdfaid:part>2</pdfaid:part>",
            "<pdfaid:conformance>A</pdfaid:conformance>",
            "<pdfuaid:part>1</pdfuaid:part>",
        ] {
            assert!(metadata.contains(said), "{told} lacks {said}: {metadata}");
        }
        let bytes = String::from_utf8_lossy(&rendered.pdf);
        assert!(bytes.contains("/Lang(en-US)"), "{told} has no language");
        if letter.languages_page {
            for tag in ["es", "zh-CN", "zh-TW", "ko", "ja", "hi", "ar", "fa"] {
                assert!(bytes.contains(&format!("/Lang({tag})")), "{told}: nothing is tagged as {tag}");
            }
        }

        let fonts = run("pdffonts", &[], &file);
        for line in fonts.lines().skip(2) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let flags = &words[words.len() - 5..words.len() - 2];
            assert_eq!(flags, ["yes", "yes", "yes"], "{told}, embedded, subset, to Unicode: {line}");
            assert!(line.contains("Noto"), "{told}: {line}");
        }

        let text = text_of(&file);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut order = vec![brand.text.return_address.lines[0].clone()];
        order.push(sample.document["head"]["addressee"]["zip"].as_str().unwrap().to_owned());
        order.push(sample.document["head"]["letter_number"].as_str().unwrap().to_owned());
        order.push(title.to_owned());
        if !matches!(letter_type, LetterType::ReconsiderationCopy | LetterType::ReturnCoverSheet) {
            order.extend(["Dear ", "Do you have questions?", "Sincerely,"].map(str::to_owned));
        }
        if letter.languages_page {
            order.extend(["Help in your language", "Español", "简体中文", "Tiếng Việt", "Deutsch"].map(str::to_owned));
        }
        let mut rest = flat.as_str();
        for part in &order {
            let at = rest
                .find(part.as_str())
                .unwrap_or_else(|| panic!("{told}: {part:?} is not where it should be: {flat}"));
            rest = &rest[at + part.len()..];
        }
        assert!(flat.contains(&format!("Page {0} of {0}", rendered.pages)), "{told}: {flat}");
    }
}

#[test]
fn dis_06_a_denial_says_reason_rights_deadline_policy_and_whom_to_call() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (LetterType::ClaimDenied, "medical_necessity"),
        (LetterType::PrecertificationDenied, "medical_necessity_member"),
    ];
    for (letter_type, name) in cases {
        let letter = check(letter_type, &sample(letter_type, name)).unwrap();
        let rendered = RENDERER.render(&letter, RENDERER.brand("meridian").unwrap()).unwrap();
        let file = dir.path().join("letter.pdf");
        std::fs::write(&file, rendered.pdf).unwrap();
        let flat = text_of(&file).split_whitespace().collect::<Vec<_>>().join(" ");
        for said in [
            "Our policy asks for six weeks of such care",
            "Advanced Imaging of the Spine, policy number RAD-117",
            "You have the right to appeal",
            "You must appeal by March 13, 2027",
            "Meridian Health Plans, Appeals Department PO Box 41088",
            "Buckeye Independent Review Group",
            "1-800-555-0155",
            "within 48 hours",
        ] {
            assert!(flat.contains(said), "{letter_type}: {said:?} in {flat}");
        }
    }
}

#[test]
fn disclaimers_and_references_are_in_their_letters() {
    let dir = tempfile::tempdir().unwrap();
    let table = [
        // PRE-46
        (
            LetterType::PrecertificationApproved,
            "practice",
            "This approval is not a guarantee of benefits or of payment.",
        ),
        (LetterType::PrecertificationPartiallyApproved, "member", "This approval is not a guarantee of benefits"),
        // PRE-05
        (
            LetterType::PrecertificationNotRequired,
            "two_codes",
            "This is not a guarantee of coverage, and it is not an exemption for services in the future.",
        ),
        // REC-32
        (LetterType::ReconsiderationCopy, "portal", "LC-4Q7M2X9KD1"),
        // DIS-04
        (LetterType::AppealUpheld, "external_review", "You must ask for the external review by January 14, 2027."),
        // INT-13
        (LetterType::RequestFailedVirus, "one_file", "operative report 2026-06-11.docx"),
    ];
    for (letter_type, name, said) in table {
        let letter = check(letter_type, &sample(letter_type, name)).unwrap();
        let file = dir.path().join("letter.pdf");
        std::fs::write(&file, RENDERER.render(&letter, brand(0)).unwrap().pdf).unwrap();
        let flat = text_of(&file).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(said), "{letter_type}: {said:?} in {flat}");
        assert!(!flat.contains("MH40726183"), "{letter_type} shows the whole member id");
    }
}

#[test]
fn the_text_of_letters_is_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (LetterType::ClaimDenied, "medical_necessity"),
        (LetterType::PrecertificationApproved, "member_conditions"),
        (LetterType::AppealUpheld, "external_review"),
        (LetterType::ReturnCoverSheet, "with_list"),
    ];
    for (letter_type, name) in cases {
        let letter = check(letter_type, &sample(letter_type, name)).unwrap();
        let file = dir.path().join("letter.pdf");
        std::fs::write(&file, RENDERER.render(&letter, RENDERER.brand("meridian").unwrap()).unwrap().pdf).unwrap();
        // Pages are told apart; how poppler spaces right-to-left text is its own affair.
        let text = text_of(&file);
        let letter_pages: String = text.split("Help in your language").next().unwrap().replace('\u{c}', "\n----\n");
        insta::assert_snapshot!(format!("text_{letter_type}"), letter_pages.trim_end());
    }
}

#[test]
fn the_same_data_give_the_same_bytes_whoever_renders_them() {
    let other = Renderer::open(Some(&Path::new(env!("CARGO_MANIFEST_DIR")).join("templates"))).unwrap();
    let letter_type = LetterType::ClaimDenied;
    let document = sample(letter_type, "medical_necessity");
    let letter = check(letter_type, &document).unwrap();
    let first = RENDERER.render(&letter, RENDERER.brand("meridian").unwrap()).unwrap();
    let render = |renderer: &Renderer| {
        let letter = renderer.check_document(letter_type, &document, &PLAN).unwrap();
        renderer.render(&letter, renderer.brand("meridian").unwrap()).unwrap()
    };
    let [again, beside, elsewhere] = std::thread::scope(|scope| {
        let threads =
            [scope.spawn(|| render(&RENDERER)), scope.spawn(|| render(&RENDERER)), scope.spawn(|| render(&other))];
        threads.map(|thread| thread.join().unwrap())
    });
    for (told, rendered) in [("again", again), ("beside", beside), ("elsewhere", elsewhere)] {
        assert!(rendered.pdf == first.pdf, "rendered {told} it has other bytes");
        assert_eq!(rendered.template_version, first.template_version, "{told}");
        assert_eq!(rendered.brand_version, first.brand_version, "{told}");
    }
    let aldercrest = RENDERER.render(&letter, RENDERER.brand("aldercrest").unwrap()).unwrap();
    assert!(aldercrest.pdf != first.pdf && aldercrest.brand_version != first.brand_version);
    assert_eq!(aldercrest.template_version, first.template_version);
}
