//! Good files of all twelve extensions, and the oddities good files have, are accepted.

use lettercase::outside::extract::ExtractOutcome;

use super::build::{image, joined, noise, office, ole, pdf, zip};
use super::{Case, check, extract, file, shipped};
use lettercase::model::judgement::FileType;

/// One good file of each accepted extension (INT-03).
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>, FileType)> {
    vec![
        ("a.pdf", pdf::letter("Appeal of claim CLM-1", "", &[]), FileType::Pdf),
        ("a.jpg", image::jpeg(2_000, 1_500, &[]), FileType::Jpeg),
        ("a.jpeg", image::jpeg(2_000, 1_500, &[]), FileType::Jpeg),
        ("a.tif", image::tiff(1_728, 2_200, 1, 2), FileType::Tiff),
        ("a.tiff", image::tiff(1_728, 2_200, 1, 1), FileType::Tiff),
        ("a.png", image::png(1_000, 800, 8, 2), FileType::Png),
        ("a.gif", image::gif(640, 480, 3), FileType::Gif),
        ("a.doc", ole::doc(&[]), FileType::Doc),
        ("a.docx", office::docx(&[]), FileType::Docx),
        ("a.xls", ole::xls(&ole::workbook_stream(0, &[]), &[]), FileType::Xls),
        ("a.xlsx", office::xlsx(&[]), FileType::Xlsx),
        ("A.TXT", b"Dear Sir or Madam,\r\nplease find attached".to_vec(), FileType::Txt),
    ]
}

#[tokio::test]
async fn one_good_file_of_each_accepted_extension_is_accepted() {
    let expected = |file_type: FileType| -> &'static str { Box::leak(format!("accept {file_type}").into_boxed_str()) };
    check(files().into_iter().map(|(name, bytes, kind)| (name, name, bytes, expected(kind))).collect()).await;
}

#[tokio::test]
async fn what_good_files_have_behind_their_end_is_accepted() {
    let letter = pdf::letter("Hello", "", &[]);
    // Ten bytes that do not compress in every 320, as the parts of office programs' own templates.
    let template: Vec<u8> = noise(65_540).chunks(10).flat_map(|bytes| [bytes, &[b' '; 310]].concat()).collect();
    let mpf: &[(u8, &[u8])] = &[(0xE2, b"MPF\0II*\0")];
    let motion: &[(u8, &[u8])] = &[(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x GCamera:MicroVideo=\"1\"/>")];
    let second = image::jpeg(320, 240, &[]);
    let cases: Vec<Case> = vec![
        (
            "jpeg with a second picture (MPF)",
            "a.jpg",
            joined(&[&image::jpeg(64, 64, mpf), &second]),
            "accept jpeg camera_trailer",
        ),
        (
            "jpeg with MPF, aligned by zeros",
            "a.jpg",
            joined(&[&image::jpeg(64, 64, mpf), &[0; 37], &second]),
            "accept jpeg camera_trailer",
        ),
        (
            "jpeg with Samsung's trailer",
            "a.jpg",
            joined(&[&image::jpeg(64, 64, &[]), &image::samsung(&image::mp4())]),
            "accept jpeg camera_trailer",
        ),
        (
            "motion photo with its MP4",
            "a.jpg",
            joined(&[&image::jpeg(64, 64, motion), &image::mp4()]),
            "accept jpeg camera_trailer",
        ),
        ("png padded with NUL", "a.png", joined(&[&image::png(9, 9, 8, 2), &[0; 4_000]]), "accept png"),
        ("gif with line ends", "a.gif", joined(&[&image::gif(9, 9, 1), b"\r\n"]), "accept gif"),
        ("tiff padded with 0xFF", "a.tif", joined(&[&image::tiff(9, 9, 1, 1), &[0xFF; 512]]), "accept tiff"),
        ("pdf with line ends and NUL", "a.pdf", joined(&[&letter, b"\r\n\r\n\0\0\0"]), "accept pdf"),
        ("updated pdf", "a.pdf", pdf::updated(&letter), "accept pdf"),
        ("linearised pdf", "a.pdf", pdf::linearised(), "accept pdf"),
        ("docx part of 2 MiB at 25 : 1", "a.docx", office::docx(&[("word/styles.xml", &template)]), "accept docx"),
        ("docx streamed, its sizes behind its parts", "a.docx", streamed(), "accept docx"),
        ("object-stream pdf", "a.pdf", pdf::with_object_streams(&letter), "accept pdf"),
        (
            "docx with an undeclared left-over part",
            "a.docx",
            office::docx(&[("[trash]/0000.dat", b"\0\0\0")]),
            "accept docx",
        ),
        (
            "docx part at 300 : 1 below the floor",
            "a.docx",
            office::docx(&[("word/theme/theme1.xml", &[b' '; 300_000])]),
            "accept docx",
        ),
    ];
    check(cases).await;
}

/// A Word document as a streaming writer makes it: each part's sizes follow it.
fn streamed() -> Vec<u8> {
    let (mut bytes, mut directory) = (vec![], vec![]);
    let items = office::docx_items(&[]);
    for mut item in items.clone() {
        item.flags = 8;
        directory.extend(zip::central(&item, bytes.len() as u32));
        let mut head = zip::local(&item);
        head[14..26].fill(0);
        bytes.extend(head);
        bytes.extend(b"PK\x07\x08");
        for number in [item.crc, item.stored.len() as u32, item.expanded_bytes] {
            bytes.extend(number.to_le_bytes());
        }
    }
    let end = zip::end(items.len() as u16, directory.len() as u32, bytes.len() as u32, b"");
    [bytes, directory, end].concat()
}

#[test]
fn the_shipped_policy_stays_within_the_scanner_s_reach_and_knows_its_keys() {
    assert!(shipped().sniff.entry_bytes <= 100 << 20, "the scanner cuts longer parts");
    let misspelt = include_str!("../../pipelines/intake.toml").replace("archive_entries =", "archive_entires =");
    assert!(toml::from_str::<super::Shipped>(&misspelt).is_err());
}

#[tokio::test]
async fn multi_page_tiff_and_a_hundred_page_fax_of_380_megapixels_are_accepted() {
    let fax = image::tiff(1_728, 2_200, 1, 100);
    assert!(fax.len() < 1_000_000, "a fax is small");
    check(vec![
        ("fax", "fax.tif", fax, "accept tiff"),
        ("three pages", "a.tiff", image::tiff(2_550, 3_300, 8, 3), "accept tiff"),
    ])
    .await;
}

#[tokio::test]
async fn text_is_taken_out_of_pdf_word_excel_and_plain_text() {
    let shipped = shipped();
    let extract = extract(shipped.extract.clone());
    let utf16 = "\u{feff}claim CLM-1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut files = files();
    files.push(("b.txt", utf16, FileType::Txt));
    for (name, bytes, file_type) in files {
        let outcome = extract.text(&file(&bytes), file_type, &shipped.sniff).await.unwrap();
        let ExtractOutcome::Done(text) = outcome else { panic!("{name} died") };
        let all: String = text.pages.iter().map(|page| page.reveal().as_str()).collect();
        match file_type {
            FileType::Jpeg | FileType::Tiff | FileType::Png | FileType::Gif => assert_eq!(all, "", "{name}"),
            FileType::Txt if name == "A.TXT" => assert!(all.contains("Sir or Madam"), "{name}: {all}"),
            _ => assert!(all.contains("CLM-1"), "{name}: {all}"),
        }
        assert!(!text.truncated, "{name}");
    }
}

#[tokio::test]
async fn text_is_cut_at_its_limit_and_says_so() {
    let mut shipped = shipped();
    shipped.extract.text_bytes = 10;
    let outcome = extract(shipped.extract).text(&file("ääääääääää".as_bytes()), FileType::Txt, &shipped.sniff).await;
    let ExtractOutcome::Done(text) = outcome.unwrap() else { panic!("died") };
    assert_eq!((text.pages[0].reveal().as_str(), text.truncated), ("äääää", true));
}
