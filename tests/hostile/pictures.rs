//! Pictures: bombs by their header, cut-off ones, second formats.

use super::build::{half, image, joined, office, without_tail, zip};
use super::{Case, check};

/// Row: "image bombs (PNG, TIFF, GIF, JPEG from the header)".
#[tokio::test]
async fn pictures_of_too_many_pixels_are_refused_by_their_header() {
    let cases: Vec<Case> = vec![
        ("png", "a.png", image::png(50_000, 50_000, 8, 2), "reject image_bomb -"),
        ("png of 1 bit, an A0 plan", "a.png", image::png(19_866, 28_087, 1, 0), "accept png"),
        ("png of 1 bit, larger", "a.png", image::png(60_000, 60_000, 1, 0), "reject image_bomb -"),
        ("gif", "a.gif", image::gif(65_535, 65_535, 1), "reject image_bomb -"),
        ("gif of too many frames", "a.gif", image::gif(2, 2, 5_001), "reject image_bomb -"),
        ("jpeg", "a.jpg", image::jpeg(65_500, 65_500, &[]), "reject image_bomb -"),
        ("jpeg that tells its height later", "a.jpg", image::jpeg(65_500, 0, &[]), "reject image_bomb -"),
        ("tiff", "a.tif", image::tiff(100_000, 100_000, 1, 1), "reject image_bomb -"),
        ("tiff of 8 bits", "a.tif", image::tiff(20_000, 20_000, 8, 1), "reject image_bomb -"),
        ("tiff of too many pages", "a.tif", image::tiff(9, 9, 1, 5_001), "reject image_bomb -"),
    ];
    check(cases).await;
}

/// Row: "truncated: half or the last KB missing, any type but text".
#[tokio::test]
async fn cut_off_pictures_are_damaged() {
    let all: [(&str, Vec<u8>, &str); 4] = [
        ("a.png", image::png(100, 100, 8, 2), "reject damaged png"),
        ("a.gif", image::gif(100, 100, 4), "reject damaged gif"),
        ("a.jpg", image::jpeg(100, 100, &[]), "reject damaged jpeg"),
        ("a.tif", image::tiff(100, 100, 1, 3), "reject damaged tiff"),
    ];
    let cut = |(name, bytes, expected): &(&'static str, Vec<u8>, &'static str)| -> Vec<Case> {
        vec![("half", name, half(bytes), expected), ("without its tail", name, without_tail(bytes), expected)]
    };
    check(all.iter().flat_map(cut).collect()).await;
    let endless = {
        let mut tiff = image::tiff(9, 9, 1, 1);
        let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap());
        let at = tiff.len() - 4;
        tiff[at..].copy_from_slice(&directory.to_le_bytes());
        tiff
    };
    check(vec![
        ("a chain of directories that bites its tail", "a.tif", endless, "reject damaged tiff"),
        (
            "HTML behind a JPEG magic",
            "a.jpg",
            b"\xff\xd8\xff<html><script>alert(1)</script>".to_vec(),
            "reject damaged jpeg",
        ),
        ("GIF that is a script", "a.gif", b"GIF89a/*aaaaaaaaaaaa*/=1;alert(1)//aaaaaa".to_vec(), "reject damaged gif"),
    ])
    .await;
}

/// Row: "PDF + ZIP polyglot, GIF + JAR, HTML before %PDF" for pictures.
#[tokio::test]
async fn no_second_format_follows_a_picture() {
    let jar = zip::archive(&[zip::item("META-INF/MANIFEST.MF", b"Main-Class: x")]);
    // Its comment covers the trailer's own directory, so that the archive ends with the file.
    let mut dressed = jar.clone();
    let comment_len = dressed.len() - 2;
    dressed[comment_len..].copy_from_slice(&20_u16.to_le_bytes());
    let announced: &[(u8, &[u8])] = &[(0xE2, b"MPF\0II*\0")];
    let cases: Vec<Case> = vec![
        ("gif + jar", "a.gif", joined(&[&image::gif(9, 9, 1), &jar]), "reject polyglot gif"),
        ("png + html", "a.png", joined(&[&image::png(9, 9, 8, 2), b"<html>"]), "reject polyglot png"),
        ("tiff + docx", "a.tif", joined(&[&image::tiff(9, 9, 1, 1), &office::docx(&[])]), "reject polyglot tiff"),
        ("tiff + script", "a.tif", joined(&[&image::tiff(9, 9, 1, 1), b"<?php 1 ?>"]), "reject polyglot tiff"),
        ("jpeg + zip", "a.jpg", joined(&[&image::jpeg(9, 9, &[]), &jar]), "reject polyglot jpeg"),
        (
            "jpeg + unannounced jpeg",
            "a.jpg",
            joined(&[&image::jpeg(9, 9, &[]), &image::jpeg(9, 9, &[])]),
            "reject polyglot jpeg",
        ),
        ("jpeg + unannounced mp4", "a.jpg", joined(&[&image::jpeg(9, 9, &[]), &image::mp4()]), "reject polyglot jpeg"),
        (
            "jpeg with MPF + script",
            "a.jpg",
            joined(&[&image::jpeg(9, 9, announced), b"<script>"]),
            "reject polyglot jpeg",
        ),
        (
            "jpeg + zip in Samsung's clothes",
            "a.jpg",
            joined(&[&image::jpeg(9, 9, &[]), &image::samsung(&dressed)]),
            "reject polyglot jpeg",
        ),
    ];
    check(cases).await;
}
