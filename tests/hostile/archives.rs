//! Archives, accepted and not: bombs, overlaps, lies, second archives.

use super::build::zip::{archive, central, end, item, local};
use super::build::{crc32, half, joined, noise, office, without_tail};
use super::{Case, check};

/// Row: "zip, eml and other types not accepted"; "encrypted zip".
#[tokio::test]
async fn types_that_are_not_accepted_are_named() {
    let mut locked = item("a.txt", b"hello");
    locked.flags = 1;
    let program = joined(&[b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff", &[0; 46], &[64, 0, 0, 0], b"PE\0\0", &[0; 400]]);
    let cases: Vec<Case> = vec![
        ("zip", "a.zip", archive(&[item("a.txt", b"hello")]), "reject type_not_accepted zip"),
        ("zip named docx", "a.docx", archive(&[item("a.txt", b"hello")]), "reject type_not_accepted zip"),
        ("empty zip", "a.docx", end(0, 0, 0, b""), "reject type_not_accepted zip"),
        ("encrypted zip", "a.zip", archive(&[locked]), "reject encrypted zip"),
        (
            "OpenDocument",
            "a.docx",
            archive(&[item("mimetype", b"application/vnd.oasis.opendocument.text")]),
            "reject type_not_accepted opendocument",
        ),
        ("JAR", "a.jar", archive(&[item("META-INF/MANIFEST.MF", b"x")]), "reject type_not_accepted jar"),
        ("Windows program", "a.exe", program.clone(), "reject type_not_accepted exe"),
        ("Windows program named txt", "a.txt", program, "reject type_not_accepted exe"),
        ("ELF named pdf", "a.pdf", joined(&[b"\x7fELF\x02\x01\x01\0", &[0; 300]]), "reject type_not_accepted exe"),
        ("gzip", "a.gz", joined(&[b"\x1f\x8b\x08\0\0\0\0\0\0\x03", &noise(99)]), "reject type_not_accepted archive"),
        (
            "WebP named jpg",
            "a.jpg",
            b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0aaaaaaaaaaaaaaaaaaaaaaaa".to_vec(),
            "reject type_not_accepted webp",
        ),
        ("BigTIFF", "a.tif", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0".to_vec(), "reject type_not_accepted bigtiff"),
    ];
    check(cases).await;
}

/// Row: "zip bomb, overlapping entries, deep nesting, too many entries (empty ones count)".
#[tokio::test]
async fn bombs_are_stopped_at_our_own_caps() {
    let many: Vec<_> = (0..10_001).map(|n| item(&format!("e/{n}"), b"")).collect();
    let mut lying = office::docx_items(&[]);
    let mut part = item("word/lie.xml", &vec![b' '; 5_000_000]);
    part.expanded_bytes = 900;
    lying.push(part);
    let mut lzma = office::docx_items(&[]);
    lzma[2].method = 14;
    let cases: Vec<Case> = vec![
        (
            "ratio of 1,000 : 1",
            "a.docx",
            office::docx(&[("word/bomb.xml", &vec![b' '; 20_000_000])]),
            "reject archive_bomb -",
        ),
        ("too many empty entries", "a.docx", archive(&many), "reject archive_bomb -"),
        ("overlapping entries", "a.docx", overlapping(), "reject archive_bomb -"),
        ("nested deeper than the cap", "a.docx", nested(6), "reject archive_bomb -"),
        ("a part longer than it says", "a.docx", archive(&lying), "reject damaged docx"),
        ("LZMA part", "a.docx", archive(&lzma), "reject damaged zip"),
    ];
    check(cases).await;
}

/// Two entries, the second beginning inside the first.
fn overlapping() -> Vec<u8> {
    let inner = item("word/b.xml", b"quoted");
    let mut outer = item("word/a.xml", b"");
    outer.stored = local(&inner);
    (outer.method, outer.expanded_bytes, outer.crc) = (0, outer.stored.len() as u32, crc32(&outer.stored));
    let bytes = local(&outer);
    let directory = [central(&outer, 0), central(&inner, 30 + outer.name.len() as u32)].concat();
    let end = end(2, directory.len() as u32, bytes.len() as u32, b"");
    [bytes, directory, end].concat()
}

fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(office::docx(&[]), |inner, _| office::docx(&[("word/embeddings/inner.docx", &inner)]))
}

/// Rows: "PDF + ZIP polyglot …" for archives, "an infected ZIP appended to a docx", "truncated".
#[tokio::test]
async fn nothing_hides_before_between_or_behind_the_parts() {
    let docx = office::docx(&[("word/media/image1.png", &noise(30_000))]);
    let second = archive(&[item("x.txt", b"hidden")]);
    let mut twice = office::docx_items(&[]);
    twice.push(item("WORD/document.xml", b"<other/>"));
    let mut commented = docx.clone();
    let at = commented.len() - 2;
    commented[at..].copy_from_slice(&7_u16.to_le_bytes());
    commented.extend(b"comment");
    let gap = {
        let items = office::docx_items(&[]);
        let (mut bytes, mut directory) = (vec![], vec![]);
        for item in &items {
            directory.extend(central(item, bytes.len() as u32));
            bytes.extend(local(item));
            bytes.extend(noise(500));
        }
        let end = end(items.len() as u16, directory.len() as u32, bytes.len() as u32, b"");
        [bytes, directory, end].concat()
    };
    let cases: Vec<Case> = vec![
        ("second archive behind", "a.docx", joined(&[&docx, &second]), "reject polyglot zip"),
        ("bytes behind", "a.docx", joined(&[&docx, b"<script>"]), "reject polyglot zip"),
        ("a comment", "a.docx", commented, "reject polyglot zip"),
        ("gaps between", "a.docx", gap, "reject polyglot zip"),
        ("a part twice", "a.docx", archive(&twice), "reject damaged zip"),
        ("half of a docx", "a.docx", half(&docx), "reject damaged zip"),
        ("docx without its last KiB", "a.docx", without_tail(&docx), "reject damaged zip"),
        ("half of an xlsx", "a.xlsx", half(&office::xlsx(&[])), "reject damaged zip"),
        ("xlsx without its last bytes", "a.xlsx", without_tail(&office::xlsx(&[])), "reject damaged zip"),
    ];
    check(cases).await;
}
