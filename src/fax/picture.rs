//! A letter as a fax machine takes it: a TIFF of several black and white pages, each in one strip of CCITT group 4, at
//! 204 by 196 dots per inch and 1728 dots wide (ITU-T T.4 fine, RFC 3949 profile F).

use std::io::{Cursor, Seek, Write};

use fax::encoder::Encoder;
use fax::{Color, VecWriter};
use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_syntax::Pdf;
use hayro::hayro_syntax::page::Page;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{RenderCache, RenderSettings, render};
use serde::Deserialize;
use thiserror::Error;
use tiff::TiffError;
use tiff::encoder::{Rational, TiffEncoder};
use tiff::tags::{CompressionMethod, PhotometricInterpretation, ResolutionUnit, Tag};

/// Points of an inch, in which PDF measures.
const POINTS: f32 = 72.0;
/// No sheet that a fax machine prints is longer, in dots: 24 inches.
const HEIGHT_MAX: u16 = 4_704;

/// What a page is turned into (`[fax.page]`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagePolicy {
    /// Dots of a line.
    pub width_dots: u16,
    /// Dots per inch across.
    pub across_dpi: u16,
    /// Dots per inch down.
    pub down_dpi: u16,
    /// What is darker than this is black: 0 is black itself, 1 is white.
    pub black_below: f32,
}

/// Why no picture was made. No text of the letter is in it.
#[derive(Debug, Error)]
pub enum PictureError {
    /// The PDF can't be read.
    #[error("the PDF can't be read")]
    Unreadable,
    /// It has no page, or one that is too large.
    #[error("page {0} has a size that no fax machine takes")]
    Size(usize),
    /// It has no text or drawing: something went wrong, and a blank page must not pass for a letter.
    #[error("page {0} came out blank")]
    Blank(usize),
    /// The TIFF can't be written.
    #[error("the TIFF can't be written: {0}")]
    Tiff(#[from] TiffError),
}

/// A picture of a letter.
#[derive(Debug)]
pub struct Picture {
    /// The TIFF.
    pub tiff: Vec<u8>,
    /// Its pages.
    pub pages: u32,
}

/// Turns a PDF into a TIFF for the fax. It takes a core for a while: some hundredths of a second per page.
///
/// # Errors
/// See [`PictureError`].
pub fn picture(pdf: Vec<u8>, policy: &PagePolicy) -> Result<Picture, PictureError> {
    let pdf = Pdf::new(pdf).map_err(|_| PictureError::Unreadable)?;
    let cache = RenderCache::new();
    let mut out = Cursor::new(Vec::new());
    let mut tiff = TiffEncoder::new(&mut out)?;
    let pages = pdf.pages();
    if pages.is_empty() {
        return Err(PictureError::Size(0));
    }
    let count = u16::try_from(pages.len()).map_err(|_| PictureError::Size(pages.len()))?;
    for (at, page) in pages.iter().enumerate() {
        let dots = dots(page, &cache, policy).ok_or(PictureError::Size(at + 1))?;
        if dots.lines().all(|line| line.iter().all(|dot| *dot == Color::White)) {
            return Err(PictureError::Blank(at + 1));
        }
        let number = u16::try_from(at).map_err(|_| PictureError::Size(at + 1))?;
        write(&mut tiff, &dots, (number, count), policy)?;
    }
    Ok(Picture { tiff: out.into_inner(), pages: count.into() })
}

/// A page in black and white.
struct Dots {
    width: u16,
    dots: Vec<Color>,
}

impl Dots {
    fn lines(&self) -> impl ExactSizeIterator<Item = &[Color]> {
        self.dots.chunks(self.width.max(1).into())
    }
}

fn dots<'a>(page: &'a Page<'a>, cache: &RenderCache<'a>, policy: &PagePolicy) -> Option<Dots> {
    let (width, height) = page.render_dimensions();
    let (x_scale, y_scale) = (f32::from(policy.across_dpi) / POINTS, f32::from(policy.down_dpi) / POINTS);
    let height = (height * y_scale).round();
    // a page that is wider than the paper is made narrower, so that nothing is cut off
    let x_scale = x_scale.min(f32::from(policy.width_dots) / width);
    if !(1.0..=f32::from(HEIGHT_MAX)).contains(&height) || !x_scale.is_finite() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and HEIGHT_MAX")]
    let height = height as u16;
    let settings =
        RenderSettings { x_scale, y_scale, width: Some(policy.width_dots), height: Some(height), bg_color: WHITE };
    let pixels = render(page, cache, &InterpreterSettings::default(), &settings);
    let dots = pixels.data().iter().map(|pixel| {
        // as the eye weighs them (ITU-R BT.601)
        let luma = 0.299 * f32::from(pixel.r) + 0.587 * f32::from(pixel.g) + 0.114 * f32::from(pixel.b);
        if luma < policy.black_below * 255.0 { Color::Black } else { Color::White }
    });
    Some(Dots { width: policy.width_dots, dots: dots.collect() })
}

fn write(
    tiff: &mut TiffEncoder<impl Write + Seek>,
    dots: &Dots,
    (number, of): (u16, u16),
    policy: &PagePolicy,
) -> Result<(), PictureError> {
    let mut encoder = Encoder::new(VecWriter::new());
    for line in dots.lines() {
        let Ok(()) = encoder.encode_line(line.iter().copied(), dots.width);
    }
    let Ok(written) = encoder.finish();
    let strip = written.finish();
    let (width, height) = (u32::from(dots.width), dots.lines().len() as u32);
    let mut page = tiff.image_directory()?;
    let at = page.write_data(strip.as_slice())?;
    let at = u32::try_from(at).map_err(|_| TiffError::IntSizeError)?;
    // a page of several
    page.write_tag(Tag::NewSubfileType, 2_u32)?;
    page.write_tag(Tag::ImageWidth, width)?;
    page.write_tag(Tag::ImageLength, height)?;
    page.write_tag(Tag::BitsPerSample, 1_u16)?;
    page.write_tag(Tag::Compression, CompressionMethod::Fax4.to_u16())?;
    page.write_tag(Tag::PhotometricInterpretation, PhotometricInterpretation::WhiteIsZero.to_u16())?;
    page.write_tag(Tag::FillOrder, 1_u16)?;
    page.write_tag(Tag::StripOffsets, at)?;
    page.write_tag(Tag::SamplesPerPixel, 1_u16)?;
    page.write_tag(Tag::RowsPerStrip, height)?;
    page.write_tag(Tag::StripByteCounts, strip.len() as u32)?;
    page.write_tag(Tag::XResolution, Rational { n: policy.across_dpi.into(), d: 1 })?;
    page.write_tag(Tag::YResolution, Rational { n: policy.down_dpi.into(), d: 1 })?;
    page.write_tag(T6_OPTIONS, 0_u32)?;
    page.write_tag(Tag::ResolutionUnit, ResolutionUnit::Inch.to_u16())?;
    page.write_tag(PAGE_NUMBER, [number, of].as_slice())?;
    page.finish()?;
    Ok(())
}

/// Options of group 4: none.
const T6_OPTIONS: Tag = Tag::Unknown(293);
/// Which page of how many.
const PAGE_NUMBER: Tag = Tag::Unknown(297);
