//! PDF: ends, locks, active content, embedded files.

use super::build::{eicar, half, joined, pdf, without_tail, zip, zlib};
use super::{Case, check, judge, taken_out, verdict};

/// Rows: "PDF + ZIP polyglot, … HTML before %PDF", "truncated".
#[tokio::test]
async fn a_pdf_begins_at_its_first_byte_and_ends_at_its_last() {
    let letter = pdf::letter("Hello", "", &[]);
    let archive = zip::archive(&[zip::item("a.txt", b"x")]);
    let cases: Vec<Case> = vec![
        ("pdf + zip", "a.pdf", joined(&[&letter, &archive]), "reject polyglot pdf"),
        ("pdf + zip that ends as a pdf", "a.pdf", joined(&[&letter, &zip_around(b"\n%%EOF\n")]), "reject polyglot pdf"),
        ("pdf + html", "a.pdf", joined(&[&letter, b"<script>alert(1)</script>"]), "reject polyglot pdf"),
        (
            "pdf + much html",
            "a.pdf",
            joined(&[&letter, &b"<script>alert(1)</script>".repeat(200)]),
            "reject polyglot pdf",
        ),
        ("html before a pdf", "a.pdf", joined(&[b"<html>", &letter]), "reject polyglot pdf"),
        ("html before a pdf, as txt", "a.txt", joined(&[b"<html>", &letter]), "reject polyglot pdf"),
        ("half", "a.pdf", half(&letter), "reject damaged pdf"),
        ("without its tail", "a.pdf", without_tail(&letter), "reject damaged pdf"),
        ("half of an updated one", "a.pdf", without_tail(&pdf::updated(&letter)), "reject damaged pdf"),
        ("linearised without its tail", "a.pdf", without_tail(&pdf::linearised()), "reject damaged pdf"),
        ("table in the wrong place", "a.pdf", misplaced(&letter), "hold unreadable"),
    ];
    check(cases).await;
}

/// An archive whose comment is these bytes.
fn zip_around(comment: &[u8]) -> Vec<u8> {
    let item = zip::item("a.txt", b"x");
    let (bytes, directory) = (zip::local(&item), zip::central(&item, 0));
    let end = zip::end(1, directory.len() as u32, bytes.len() as u32, comment);
    [bytes, directory, end].concat()
}

fn misplaced(letter: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(letter).into_owned();
    let start = text.rfind("startxref").unwrap();
    [letter[..letter.len() - (text.len() - start)].to_vec(), b"startxref\n7\n%%EOF\n".to_vec()].concat()
}

/// Rows: "pdf with a user password …", "a false alarm: the words `/Encrypt 9 0 R`".
#[tokio::test]
async fn a_user_password_locks_a_pdf_an_owner_password_does_not() {
    let letter = pdf::letter("Hello", "", &[]);
    let cases: Vec<Case> = vec![
        ("user password", "a.pdf", pdf::locked(&letter, "secret"), "reject encrypted pdf"),
        ("owner password only", "a.pdf", pdf::locked(&letter, ""), "accept pdf owner_password"),
        ("the words on a page", "a.pdf", pdf::letter("/Encrypt 9 0 R trailer", "", &[]), "accept pdf"),
        (
            "a handler of someone's own",
            "a.pdf",
            pdf::write(
                &pdf::letter_objects("x", "", &[b"<< /Filter /Acme /V 4 >>".to_vec()]),
                "/Encrypt 6 0 R /ID [<00><00>]",
            ),
            "reject encrypted pdf",
        ),
    ];
    check(cases).await;
}

/// Row: "PDF with JavaScript, Launch, OpenAction".
#[tokio::test]
async fn what_acts_by_itself_is_accepted_and_flagged() {
    let script = b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>".to_vec();
    let launch = b"<< /Type /Action /S /Launch /F (cmd.exe) >>".to_vec();
    let hidden = pdf::with_object_streams(&pdf::letter("x", "/OpenAction 6 0 R", std::slice::from_ref(&script)));
    let cases: Vec<Case> = vec![
        (
            "JavaScript on opening",
            "a.pdf",
            pdf::letter("x", "/OpenAction 6 0 R", &[script]),
            "accept pdf active_content",
        ),
        ("JavaScript in an object stream", "a.pdf", hidden, "accept pdf active_content"),
        ("Launch", "a.pdf", pdf::letter("x", "", &[launch]), "accept pdf active_content"),
        (
            "additional actions",
            "a.pdf",
            pdf::letter("x", "/AA << /WC << /S /Named /N /Print >> >>", &[]),
            "accept pdf active_content",
        ),
        (
            "an open action that is a destination",
            "a.pdf",
            pdf::letter("x", "/OpenAction [3 0 R /Fit]", &[]),
            "accept pdf",
        ),
    ];
    check(cases).await;
}

/// Row: "PDF with embedded files: each taken out and scanned", and the two the scanner itself misses.
#[tokio::test]
async fn each_embedded_file_is_taken_out_to_the_byte() {
    let virus = eicar();
    let packed = zlib(&virus);
    // Rows of 17 bytes, each behind its predictor byte: "up" from the row above.
    let rows: Vec<u8> = predicted(&virus, 17);
    let checksum =
        "/Type /EmbeddedFile /Params << /Size 68 /CheckSum <00112233445566778899AABBCCDDEEFF> >> /Filter /FlateDecode";
    let predictor = "/Type /EmbeddedFile /Filter [/FlateDecode] /DecodeParms [<< /Predictor 12 /Columns 17 >>]";
    let hex: Vec<u8> = hex::encode(&packed).into_bytes();
    for (what, file) in [
        ("as it is", pdf::stream("/Type /EmbeddedFile", &virus)),
        ("compressed, its checksum before its filter", pdf::stream(checksum, &packed)),
        ("with a PNG predictor", pdf::stream(predictor, &zlib(&rows))),
        ("compressed, then as hex", pdf::stream("/Filter [/AHx /Fl]", &hex)),
        ("without a type", pdf::stream("/Filter /FlateDecode", &packed)),
    ] {
        let plain = pdf::with_attachment(file);
        for (how, bytes) in [
            ("plain", plain.clone()),
            ("object streams", pdf::with_object_streams(&plain)),
            ("owner password", pdf::locked(&plain, "")),
        ] {
            let sniffed = judge("a.pdf", &bytes).await;
            assert!(verdict(&sniffed).starts_with("accept pdf embedded_files"), "{what}, {how}: {}", verdict(&sniffed));
            assert_eq!(taken_out(&sniffed), std::slice::from_ref(&virus), "{what}, {how}");
        }
    }
}

/// PNG's "up" predictor over rows of a length.
fn predicted(bytes: &[u8], row: usize) -> Vec<u8> {
    let mut above = vec![0; row];
    let mut out = vec![];
    for line in bytes.chunks(row) {
        out.push(2);
        out.extend(line.iter().zip(&above).map(|(byte, up)| byte.wrapping_sub(*up)));
        above[..line.len()].copy_from_slice(line);
    }
    out
}

/// Rows: "what can't be taken out is held", "a locked file inside an accepted container is held", bombs.
#[tokio::test]
async fn embedded_files_that_can_not_be_judged_are_held() {
    let virus = zlib(&eicar());
    let macros = super::build::office::docx(&[("word/vbaProject.bin", b"x")]);
    let locked = pdf::locked(&pdf::letter("x", "", &[]), "secret");
    let embedded = |bytes: &[u8]| pdf::with_attachment(pdf::stream("/Type /EmbeddedFile", bytes));
    let packed = |dictionary: &str, bytes: &[u8]| pdf::with_attachment(pdf::stream(dictionary, bytes));
    let cases: Vec<Case> = vec![
        ("unknown filter", "a.pdf", packed("/Type /EmbeddedFile /Filter /Acme", &virus), "hold unreadable"),
        ("damaged data", "a.pdf", packed("/Type /EmbeddedFile /Filter /FlateDecode", &virus[..20]), "hold unreadable"),
        ("data in another file", "a.pdf", packed("/Type /EmbeddedFile /F (other.bin)", b""), "hold unreadable"),
        (
            "stream missing",
            "a.pdf",
            pdf::letter("x", "", &[b"<< /Type /Filespec /EF << /F 99 0 R >> >>".to_vec()]),
            "hold unreadable",
        ),
        ("macros inside", "a.pdf", embedded(&macros), "hold macros"),
        ("locked inside", "a.pdf", embedded(&locked), "hold encrypted"),
        ("archive inside", "a.pdf", embedded(&zip::archive(&[zip::item("a.txt", b"x")])), "accept pdf embedded_files"),
        ("pdf in pdf in pdf", "a.pdf", embedded(&embedded(&embedded(&embedded(b"x")))), "reject archive_bomb -"),
    ];
    check(cases).await;
}
