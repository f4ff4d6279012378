//! Hostile files, made when they are needed. They are part of the samples, yet none may lie in a repository or
//! in this program: scanners would raise the alarm on every checkout and every installation. Each is built to
//! be refused, or held, for one reason only: in everything else it is as good as its writer can make it.
//!
//! Refused: a directory of ready files, encrypted or not, for the reason above; and damage by flipping bytes at
//! random, which proves nothing about any rule.

mod office;
mod pdf;

use std::fs::File;
use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::path::Path;

use thiserror::Error;
use zip::write::{SimpleFileOptions, ZipWriter};

/// How a file comes to be.
enum Recipe {
    /// By its bytes.
    Bytes(fn() -> Result<Vec<u8>, MakeError>),
    /// By these, and zeros behind them up to one byte more than a file may have.
    OverLimit(fn() -> Result<Vec<u8>, MakeError>),
}

/// Every file and how it is made, in the order of [`NAMES`]. Each function says what the file is and why.
const RECIPES: [(&str, Recipe); 13] = [
    ("eicar-docx", Recipe::Bytes(office::eicar_docx)),
    ("empty", Recipe::Bytes(empty)),
    ("too-large-pdf", Recipe::OverLimit(pdf::letter)),
    ("zip", Recipe::Bytes(plain_zip)),
    ("pdf-named-png", Recipe::Bytes(pdf::letter)),
    ("truncated-pdf", Recipe::Bytes(pdf::truncated)),
    ("encrypted-pdf", Recipe::Bytes(pdf::encrypted)),
    ("encrypted-docx", Recipe::Bytes(office::encrypted_docx)),
    ("docm-named-docx", Recipe::Bytes(office::docm)),
    ("pdf-zip-polyglot", Recipe::Bytes(pdf::and_zip)),
    ("archive-bomb-docx", Recipe::Bytes(office::archive_bomb_docx)),
    ("image-bomb-png", Recipe::Bytes(image_bomb_png)),
    ("doc-with-macros", Recipe::Bytes(office::doc_with_macros)),
];

/// The names [`make`] knows.
pub const NAMES: &[&str] = &{
    let mut names = [""; RECIPES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = RECIPES[at].0;
        at += 1;
    }
    names
};

/// Why a file could not be made.
#[derive(Debug, Error)]
pub enum MakeError {
    /// There is no such file.
    #[error("no file of the name {0} can be made")]
    Unknown(String),
    /// A PDF could not be put together.
    #[error("could not put the PDF together")]
    Pdf(#[from] lopdf::Error),
    /// An archive could not be put together.
    #[error("could not put the archive together")]
    Archive(#[from] zip::result::ZipError),
    /// A file could not be put together.
    #[error("could not put the file together")]
    Build(#[from] io::Error),
    /// It could not be written.
    #[error("could not write the file")]
    Write(#[source] io::Error),
}

/// Makes the file of a name and writes it to `to`; what is there is replaced. `limit_bytes` is the most a file
/// may have where this one is sent, and matters to the one that is to be larger.
///
/// # Errors
/// When the name is none of [`NAMES`], or the file could not be put together or written.
pub fn make(name: &str, limit_bytes: u64, to: &Path) -> Result<(), MakeError> {
    let recipe = RECIPES.iter().find(|(known, _)| *known == name).map(|(_, recipe)| recipe);
    let (bytes, len) = match recipe.ok_or_else(|| MakeError::Unknown(name.to_owned()))? {
        Recipe::Bytes(bytes) => (bytes()?, None),
        Recipe::OverLimit(bytes) => (bytes()?, Some(limit_bytes.saturating_add(1))),
    };
    write(&bytes, len, to).map_err(MakeError::Write)
}

/// Writes the bytes; where a length is given, what is missing to it is a hole, which takes no room on disk.
fn write(bytes: &[u8], len: Option<u64>, to: &Path) -> io::Result<()> {
    let mut file = File::create(to)?;
    file.write_all(bytes)?;
    len.map_or(Ok(()), |len| file.set_len(len))
}

/// No byte at all: a scan that failed, an export that broke off. No scanner has an opinion on it.
fn empty() -> Result<Vec<u8>, MakeError> {
    Ok(Vec::new())
}

/// A plain archive with one note in it: not an accepted type, whatever it holds.
fn plain_zip() -> Result<Vec<u8>, MakeError> {
    archive(Vec::new(), &[("records/note.txt", b"A note in an archive.\r\n")])
}

/// A picture of 2,500 megapixels in a few hundred bytes, its chunks and checksums in order: a program that
/// decodes it makes room for 7.5 GB first. Only the header tells.
fn image_bomb_png() -> Result<Vec<u8>, MakeError> {
    const SIDE_PIXELS: u32 = 50_000;
    let mut header = [SIDE_PIXELS.to_be_bytes(), SIDE_PIXELS.to_be_bytes()].concat();
    // 8 bits for each of red, green and blue; deflate, the standard's filters, not interlaced.
    header.extend([8, 2, 0, 0, 0]);
    let one_row = vec![0; 1 + 3 * SIDE_PIXELS as usize];
    let mut data = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    data.write_all(&one_row)?;
    let chunks = [chunk(*b"IHDR", &header), chunk(*b"IDAT", &data.finish()?), chunk(*b"IEND", &[])];
    Ok([b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat())
}

/// One chunk of a PNG: length, name, data, checksum of the latter two.
fn chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [name.as_slice(), data].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    [&(data.len() as u32).to_be_bytes(), body.as_slice(), &crc.sum().to_be_bytes()].concat()
}

/// An archive of these parts behind some other bytes; its directory counts from the first of those, as that of
/// a self-extracting archive does.
fn archive(before: Vec<u8>, parts: &[(&str, &[u8])]) -> Result<Vec<u8>, MakeError> {
    let mut bytes = Cursor::new(before);
    bytes.seek(SeekFrom::End(0))?;
    let mut zip = ZipWriter::new(bytes);
    // One fixed date: the same file has the same bytes each time.
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default());
    for (name, content) in parts {
        zip.start_file(*name, options)?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// Bytes without pattern, always the same: for what is to look encrypted.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}
