//! Word and Excel, old and new: macros, locks, what is embedded.

use super::build::ole::{compound, doc, native, record, word_streams, workbook_stream, xls};
use super::build::zip::{archive, item};
use super::build::{eicar, half, joined, noise, office, without_tail};
use super::{Case, check, judge, taken_out, verdict};

/// Rows: "docx with wrong or missing content types; a zip with `word/x.exe`", "docm named docx …".
#[tokio::test]
async fn a_package_is_what_its_main_part_is_declared_as() {
    let mut untyped = office::docx_items(&[]);
    untyped.remove(0);
    let mut unrelated = office::docx_items(&[]);
    unrelated.remove(1);
    let cases: Vec<Case> = vec![
        ("no content types", "a.docx", archive(&untyped), "reject type_not_accepted zip"),
        ("wrong content type", "a.docx", office::docx_as("text/plain"), "reject type_not_accepted ooxml"),
        ("no relationships", "a.docx", archive(&unrelated), "reject type_not_accepted ooxml"),
        ("a zip with word/x.exe", "a.docx", archive(&[item("word/x.exe", b"MZ")]), "reject type_not_accepted zip"),
        ("a docx with word/x.exe", "a.docx", office::docx(&[("word/x.exe", b"text")]), "reject type_not_accepted exe"),
        (
            "a docx with a program in a picture's name",
            "a.docx",
            office::docx(&[("word/media/a.png", &joined(&[b"MZ\x90\0", &[0; 99]]))]),
            "reject type_not_accepted exe",
        ),
        (
            "docm named docx",
            "a.docx",
            office::docx_as("application/vnd.ms-word.document.macroEnabled.main+xml"),
            "reject macros docm",
        ),
        (
            "xlsm named xlsx",
            "a.xlsx",
            office::docx_as("application/vnd.ms-excel.sheet.macroEnabled.main+xml"),
            "reject macros xlsm",
        ),
        (
            "template with macros",
            "a.docx",
            office::docx_as("application/vnd.ms-word.template.macroEnabledTemplate.main+xml"),
            "reject macros docm",
        ),
        (
            "template",
            "a.docx",
            office::docx_as("application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml"),
            "reject type_not_accepted dotx",
        ),
        (
            "presentation",
            "a.docx",
            office::docx_as("application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"),
            "reject type_not_accepted pptx",
        ),
        ("VBA part in a plain docx", "a.docx", office::docx(&[("word/vbaProject.bin", b"x")]), "reject macros docm"),
        ("VBA part in a plain xlsx", "a.xlsx", office::xlsx(&[("xl/vbaProject.bin", b"x")]), "reject macros xlsm"),
        (
            "macro sheet in a plain xlsx",
            "a.xlsx",
            office::xlsx(&[("xl/macrosheets/sheet1.xml", b"<x/>")]),
            "reject macros xlsm",
        ),
    ];
    check(cases).await;
}

/// Rows: "XLSX with external links", "macros in an embedded document: held", "a locked file inside … is held".
#[tokio::test]
async fn links_are_flagged_and_embedded_documents_are_looked_into() {
    let link = br#"<Relationships><Relationship Id="r" Type="x/externalLinkPath" Target="file:///c:/a.xlsx" TargetMode="External"/></Relationships>"#;
    let hyper = br#"<Relationships><Relationship Id="r" Type="x/hyperlink" Target="https://example.org" TargetMode="External"/></Relationships>"#;
    let with_macros = doc(&[("/Macros/VBA/dir", b"x")]);
    let locked = compound(&[("/EncryptedPackage", &noise(900)), ("/EncryptionInfo", b"x")]);
    let program = joined(&[b"MZ\x90\0", &[0; 99]]);
    let package = compound(&[("/\u{1}Ole10Native", &native("setup.exe", &program))]);
    let cases: Vec<Case> = vec![
        (
            "external workbook",
            "a.xlsx",
            office::xlsx(&[("xl/externalLinks/_rels/externalLink1.xml.rels", link)]),
            "accept xlsx external_links",
        ),
        ("a hyperlink", "a.docx", office::docx(&[("word/_rels/document.xml.rels", hyper)]), "accept docx"),
        (
            "remote template",
            "a.docx",
            office::docx(&[("word/_rels/settings.xml.rels", link)]),
            "accept docx external_links",
        ),
        (
            "embedded workbook",
            "a.docx",
            office::docx(&[("word/embeddings/a.xlsx", &office::xlsx(&[]))]),
            "accept docx embedded_files",
        ),
        ("embedded doc with macros", "a.docx", office::docx(&[("word/embeddings/o.bin", &with_macros)]), "hold macros"),
        (
            "embedded docm",
            "a.docx",
            office::docx(&[("word/embeddings/a.docx", &office::docx(&[("word/vbaProject.bin", b"x")]))]),
            "hold macros",
        ),
        ("embedded locked document", "a.docx", office::docx(&[("word/embeddings/o.bin", &locked)]), "hold encrypted"),
        (
            "embedded program in native data",
            "a.docx",
            office::docx(&[("word/embeddings/o.bin", &package)]),
            "hold type_not_accepted",
        ),
    ];
    check(cases).await;
}

#[tokio::test]
async fn embedded_native_data_are_taken_out_to_the_byte() {
    let virus = eicar();
    let object = compound(&[("/\u{1}Ole10Native", &native("note.txt", &virus))]);
    let in_docx = judge("a.docx", &office::docx(&[("word/embeddings/o.bin", &object)])).await;
    assert_eq!(taken_out(&in_docx), [object, virus.clone()]);
    let in_doc = judge("a.doc", &doc(&[("/ObjectPool/_1/\u{1}Ole10Native", &native("note.txt", &virus))])).await;
    assert_eq!(verdict(&in_doc), "accept doc embedded_files");
    assert_eq!(taken_out(&in_doc), [virus]);
}

/// Rows: "encrypted docx, xlsx, doc", "OLE document with macros, Excel 4 macro sheets", OLE by streams.
#[tokio::test]
async fn compound_files_are_judged_by_their_streams() {
    let (main, table) = word_streams("secret", 0x0100);
    let locked_doc = compound(&[("/WordDocument", &main), ("/0Table", &table)]);
    let file_pass = |body: &[u8]| xls(&workbook_stream(0, &[record(0x002F, body)]), &[]);
    let sheet = workbook_stream(0, &[]);
    let both = compound(&[("/WordDocument", &main), ("/Workbook", &sheet)]);
    let cases: Vec<Case> = vec![
        (
            "encrypted docx",
            "a.docx",
            compound(&[("/EncryptedPackage", &noise(9_000)), ("/EncryptionInfo", b"x")]),
            "reject encrypted ole",
        ),
        (
            "encrypted xlsx",
            "a.xlsx",
            compound(&[("/\u{6}DataSpaces/Version", b"x"), ("/EncryptedPackage", b"x")]),
            "reject encrypted ole",
        ),
        ("rights-managed doc", "a.doc", compound(&[("/\tDRMContent", b"x")]), "reject encrypted ole"),
        ("encrypted doc", "a.doc", locked_doc, "reject encrypted doc"),
        ("encrypted xls (RC4)", "a.xls", file_pass(&[1, 0, 1, 0, 1, 0]), "reject encrypted xls"),
        (
            "xls locked with the default password",
            "a.xls",
            file_pass(&[0, 0, 0x59, 0xB3, 0x0A, 0x9A]),
            "reject encrypted xls",
        ),
        ("doc with macros", "a.doc", doc(&[("/Macros/VBA/dir", b"x"), ("/Macros/PROJECT", b"x")]), "hold macros"),
        ("xls with an empty VBA project", "a.xls", xls(&sheet, &[("/_VBA_PROJECT_CUR/VBA/dir", b"")]), "hold macros"),
        ("Excel 4 macro sheet", "a.xls", xls(&workbook_stream(1, &[]), &[]), "hold macros"),
        (
            "xls with a link to another workbook",
            "a.xls",
            xls(&workbook_stream(0, &[record(0x01AE, b"\x01\0\x05\0\0\x01b.xls")]), &[]),
            "accept xls external_links",
        ),
        ("doc with a locked object", "a.doc", doc(&[("/ObjectPool/_1/WordDocument", &main)]), "hold encrypted"),
        ("doc with a locked object", "a.doc", doc(&[("/ObjectPool/_1/WordDocument", &main)]), "hold encrypted"),
        ("presentation", "a.doc", compound(&[("/PowerPoint Document", b"x")]), "reject type_not_accepted ppt"),
        ("Outlook message", "a.doc", compound(&[("/__properties_version1.0", b"x")]), "reject type_not_accepted msg"),
        (
            "Outlook message by name",
            "a.msg",
            compound(&[("/__properties_version1.0", b"x")]),
            "reject type_not_accepted msg",
        ),
        ("other compound file", "a.xls", compound(&[("/Whatever", b"x")]), "reject type_not_accepted ole"),
        ("Word and Excel at once", "a.doc", both, "reject polyglot doc"),
        ("half of a doc", "a.doc", half(&doc(&[])), "reject damaged doc"),
        ("doc without its last KiB", "a.doc", without_tail(&doc(&[])), "reject damaged doc"),
        ("half of an xls", "a.xls", half(&xls(&sheet, &[])), "reject damaged xls"),
        ("xls without its last KiB", "a.xls", without_tail(&xls(&sheet, &[])), "reject damaged xls"),
    ];
    check(cases).await;
}
