//! Text: encodings, look-alikes, markup, names.

use super::{Case, build, check, judge};
use lettercase::intake::sniff::Sniffed;

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Rows: "zero bytes", "1 to 5 bytes".
#[tokio::test]
async fn the_shortest_files_are_empty_or_text() {
    check(vec![
        ("zero bytes", "a.pdf", vec![], "reject empty -"),
        ("one byte", "a.txt", b"x".to_vec(), "accept txt"),
        ("five bytes", "a.txt", b"Hello".to_vec(), "accept txt"),
        ("five bytes of a pdf", "a.pdf", b"%PDF-".to_vec(), "reject type_mismatch txt"),
        ("four bytes of a zip", "a.txt", b"PK\x03\x04".to_vec(), "reject type_not_accepted zip"),
        ("three bytes, one NUL", "a.txt", b"a\0b".to_vec(), "reject type_not_accepted binary"),
    ])
    .await;
}

/// Rows: "text: UTF-8, UTF-8 with BOM, …", "EICAR as UTF-16 or base64 text", "truncated … any type but text".
#[tokio::test]
async fn text_in_its_common_encodings_is_accepted_whatever_it_begins_with() {
    let eicar = String::from_utf8(build::eicar()).unwrap();
    let cases: Vec<Case> = vec![
        ("UTF-8", "a.txt", "Grüße aus Köln".into(), "accept txt"),
        ("UTF-8 with BOM", "a.txt", "\u{feff}Grüße".into(), "accept txt"),
        ("UTF-16", "a.txt", utf16("Grüße aus Köln"), "accept txt transcoded"),
        ("Windows-1252", "a.txt", b"Gr\xfc\xdfe \x96 \x80 5".to_vec(), "accept txt transcoded"),
        ("begins with MZ", "a.txt", b"MZ Holdings appeals claim 7".to_vec(), "accept txt"),
        ("begins with BM", "a.txt", b"BM Clinic, Main Street".to_vec(), "accept txt"),
        ("begins with #!", "a.txt", b"#! URGENT appeal".to_vec(), "accept txt"),
        ("EICAR as UTF-16", "a.txt", utf16(&eicar), "accept txt transcoded"),
        ("EICAR as text is the scanner's", "a.txt", eicar.into(), "accept txt"),
        ("CSV as txt", "a.txt", b"claim,amount\n1,2\n".to_vec(), "accept txt"),
        ("JSON source as txt", "a.txt", br#"{"claim": [1, 2]}"#.to_vec(), "accept txt"),
        ("a quoted address", "a.txt", b"<ada@example.org> wrote: a < b".to_vec(), "accept txt"),
        ("half of a text", "a.txt", build::half("Grüße aus Köln am Rhein".as_bytes()), "accept txt"),
        ("a letter that speaks of %PDF-", "a.txt", b"The file begins with %PDF-1.4, why?".to_vec(), "accept txt"),
    ];
    check(cases).await;
}

/// Rows: "binary named .txt; HTML, SVG, RTF, PostScript …", "SVG or HTML named .png".
#[tokio::test]
async fn binary_and_markup_that_a_viewer_acts_on_are_no_text() {
    let svg = br#"<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>"#.to_vec();
    let html = b"  \r\n<!DOCTYPE html><html><script>1</script>".to_vec();
    let cases: Vec<Case> = vec![
        ("binary", "a.txt", build::noise(2_000), "reject type_not_accepted binary"),
        ("C0 controls", "a.txt", b"abc\x01\x02\x03 def".to_vec(), "reject type_not_accepted binary"),
        ("HTML", "a.txt", html.clone(), "reject type_not_accepted html"),
        ("HTML element", "a.txt", b"<b onclick=x>hello</b>".to_vec(), "reject type_not_accepted html"),
        ("HTML as UTF-16", "a.txt", utf16("<html><script>"), "reject type_not_accepted html"),
        ("SVG", "a.txt", svg.clone(), "reject type_not_accepted svg"),
        ("RTF", "a.txt", br"{\rtf1\ansi Hello}".to_vec(), "reject type_not_accepted rtf"),
        ("PostScript", "a.txt", b"%!PS-Adobe-3.0\nshowpage".to_vec(), "reject type_not_accepted postscript"),
        ("XML", "a.txt", b"<?xml version='1.0'?><a/>".to_vec(), "reject type_not_accepted xml"),
        ("SVG named png", "a.png", svg, "reject type_not_accepted svg"),
        ("HTML named png", "a.png", html, "reject type_not_accepted html"),
    ];
    check(cases).await;
}

/// Row: "RTF, HTML, CSV or SpreadsheetML named .doc / .xls, HEIC named .jpg": the message says what to do.
#[tokio::test]
async fn common_mistakes_are_told_what_they_are_and_what_to_do() {
    let sheet = br#"<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?><Workbook/>"#;
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\0".repeat(4);
    for (name, bytes, expected, advice) in [
        (
            "a.doc",
            br"{\rtf1 Hello}".to_vec(),
            "reject type_not_accepted rtf",
            "an RTF document, which is not accepted; open it in Word and save it as .docx",
        ),
        ("a.doc", b"<html>".to_vec(), "reject type_not_accepted html", "print it as a PDF"),
        ("a.xls", b"a,b\n1,2\n".to_vec(), "reject type_mismatch txt", "save it as .xlsx, or rename it to .txt"),
        ("a.xls", sheet.to_vec(), "reject type_not_accepted spreadsheetml", "open it in Excel and save it as .xlsx"),
        ("a.jpg", heic, "reject type_not_accepted heic", "export it as JPEG"),
    ] {
        let sniffed = judge(name, &bytes).await;
        assert_eq!(super::verdict(&sniffed), expected);
        let Sniffed::Reject { reason, .. } = sniffed else { panic!("not refused") };
        assert!(reason.message.contains(advice), "{}", reason.message);
    }
}

/// Rows: "names: bidi override, path parts …", "wrong extension".
#[tokio::test]
async fn a_name_counts_by_its_extension_only_and_must_agree() {
    let text = b"Hello, world".to_vec();
    let long = Box::leak(format!("{}.txt", "é".repeat(300)).into_boxed_str());
    let cases: Vec<Case> = vec![
        ("bidi override", "appeal\u{202e}fdp.txt", text.clone(), "accept txt"),
        ("path parts", "../../etc/passwd.txt", text.clone(), "accept txt"),
        ("NUL before the extension", "a.pdf\0.txt", text.clone(), "accept txt"),
        ("device name", "CON.txt", text.clone(), "accept txt"),
        ("trailing dot", "a.txt.", text.clone(), "accept txt"),
        ("255+ bytes", long, text.clone(), "accept txt"),
        ("no extension", "README", text.clone(), "reject type_mismatch txt"),
        ("text named pdf", "a.pdf", text.clone(), "reject type_mismatch txt"),
        (
            "mail named eml",
            "a.eml",
            b"From: a@b\nTo: c@d\nSubject: x\n\nHello".to_vec(),
            "reject type_not_accepted eml",
        ),
        ("png named jpg", "a.jpg", build::image::png(9, 9, 8, 2), "reject type_mismatch png"),
        ("jpeg named tiff", "a.tiff", build::image::jpeg(9, 9, &[]), "reject type_mismatch jpeg"),
        ("pdf named docx", "a.docx", build::pdf::letter("x", "", &[]), "reject type_mismatch pdf"),
        ("docx named xlsx", "a.xlsx", build::office::docx(&[]), "reject type_mismatch docx"),
        ("docx named doc", "a.doc", build::office::docx(&[]), "reject type_mismatch docx"),
        (
            "xls named doc",
            "a.doc",
            build::ole::xls(&build::ole::workbook_stream(0, &[]), &[]),
            "reject type_mismatch xls",
        ),
    ];
    check(cases).await;
}

#[tokio::test]
async fn messages_hold_nothing_of_the_name() {
    for name in ["Ada Muster 123-45-6789.pdf", "Ada Muster 123-45-6789.xyz"] {
        let Sniffed::Reject { reason, .. } = judge(name, b"Hello, world").await else { panic!("not refused") };
        assert!(!reason.message.contains("Muster") && !reason.message.contains("xyz"), "{}", reason.message);
    }
}
