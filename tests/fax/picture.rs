//! The picture of a letter, read back.

use fax::Color;
use fax::decoder::{decode_g4, pels};
use lettercase::app::correspondence::CorrespondencePlan;
use lettercase::fax::picture::{PagePolicy, PictureError, picture};

use super::LETTER;

fn policy() -> PagePolicy {
    CorrespondencePlan::load(None).unwrap().plan.fax.page
}

/// A tag's value in the directory at `at`, and where the next directory is.
fn directory(tiff: &[u8], at: usize) -> (impl Fn(u16) -> Option<u32>, usize) {
    let short = |at: usize| u16::from_le_bytes([tiff[at], tiff[at + 1]]);
    let long = |at: usize| u32::from_le_bytes(tiff[at..at + 4].try_into().unwrap());
    let entries: Vec<(u16, u32)> = (0..usize::from(short(at)))
        .map(|entry| at + 2 + entry * 12)
        .map(|entry| {
            let value = if short(entry + 2) == 3 { short(entry + 8).into() } else { long(entry + 8) };
            (short(entry), value)
        })
        .collect();
    let next = long(at + 2 + usize::from(short(at)) * 12) as usize;
    (move |tag| entries.iter().find(|entry| entry.0 == tag).map(|entry| entry.1), next)
}

#[test]
fn a_letter_becomes_a_tiff_of_black_and_white_pages_in_the_form_of_a_fax() {
    let made = picture(LETTER.clone(), &policy()).unwrap();
    let tiff = &made.tiff;
    assert_eq!(&tiff[..4], b"II*\0");
    let mut at = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let mut pages = 0;
    while at != 0 {
        let (tag, next) = directory(tiff, at);
        for (number, what, value) in [
            (256, "width", 1728),
            (257, "height: 11 inches", 2156),
            (258, "bits", 1),
            (259, "group 4", 4),
            (262, "white is zero", 0),
            (277, "samples", 1),
            (278, "one strip", 2156),
            (296, "inch", 2),
        ] {
            assert_eq!(tag(number), Some(value), "{what}");
        }
        let (from, bytes) = (tag(273).unwrap() as usize, tag(279).unwrap() as usize);
        let (mut lines, mut black) = (0_u32, 0_usize);
        let strip = tiff[from..from + bytes].iter().copied();
        decode_g4(strip, 1728, Some(2156), |transitions| {
            lines += 1;
            let line: Vec<Color> = pels(transitions, 1728).collect();
            assert_eq!(line.len(), 1728);
            black += line.iter().filter(|dot| **dot == Color::Black).count();
        });
        assert_eq!(lines, 2156, "every line is there");
        let share = black as f64 / (1728.0 * 2156.0);
        assert!((0.005..0.15).contains(&share), "text, and no more than that: {share}");
        (at, pages) = (next, pages + 1);
    }
    assert_eq!((pages, made.pages), (4, 4));
    assert!(tiff.len() < 600_000, "{} bytes", tiff.len());
}

#[test]
fn what_is_no_letter_is_no_blank_page() {
    assert!(matches!(
        picture(b"%PDF-1.7 and nothing".to_vec(), &policy()),
        Err(PictureError::Unreadable | PictureError::Size(0))
    ));
    let blank = PagePolicy { black_below: 0.0, ..policy() };
    assert!(matches!(picture(LETTER.clone(), &blank), Err(PictureError::Blank(1))));
}
