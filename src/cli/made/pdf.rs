//! Made PDF documents: a good letter, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lopdf::encryption::crypt_filters::{Aes256CryptFilter, CryptFilter};
use lopdf::{Document, EncryptionState, EncryptionVersion, Object, Permissions, Stream, StringFormat, dictionary};

use super::{MakeError, archive, noise};

const LINES: [&str; 4] = [
    "Request for reconsideration",
    "Please review the enclosed records and reconsider the decision.",
    "This page is a made sample. It is about nobody.",
    "",
];
/// Times the lines stand on the page: enough for a file that has a middle to be cut at.
const REPEATS: usize = 12;

/// A good letter of one page. Under the name of a picture it is refused, because name and content must agree;
/// with zeros behind it, which a PDF may have, until it is one byte over the limit, for its size alone.
pub(super) fn letter() -> Result<Vec<u8>, MakeError> {
    bytes_of(document())
}

/// The first two thirds of a good letter: an upload that broke off where nobody noticed. Its table of objects
/// and its end mark are missing; viewers repair such a file silently, and show a part of it as the whole.
pub(super) fn truncated() -> Result<Vec<u8>, MakeError> {
    let mut bytes = letter()?;
    bytes.truncate(bytes.len() * 2 / 3);
    Ok(bytes)
}

/// A letter that takes a password to open (AES-256, as current programs lock): nothing in it can be scanned.
/// With an owner password only, it could be read and would be accepted.
pub(super) fn encrypted() -> Result<Vec<u8>, MakeError> {
    let mut document = document();
    let id = Object::String(noise(16), StringFormat::Hexadecimal);
    document.trailer.set("ID", vec![id.clone(), id]);
    let filter: Arc<dyn CryptFilter> = Arc::new(Aes256CryptFilter);
    let state = EncryptionState::try_from(EncryptionVersion::V5 {
        encrypt_metadata: true,
        crypt_filters: BTreeMap::from([(b"StdCF".to_vec(), filter)]),
        file_encryption_key: &noise(32),
        stream_filter: b"StdCF".to_vec(),
        string_filter: b"StdCF".to_vec(),
        owner_password: "the office's own",
        user_password: "ask the office",
        permissions: Permissions::PRINTABLE,
    })?;
    document.encrypt(&state)?;
    bytes_of(document)
}

/// A letter with an archive behind it, both whole: viewers open the one, unpackers, which look from the end,
/// the other. What is scanned as the first may be used as the second.
pub(super) fn and_zip() -> Result<Vec<u8>, MakeError> {
    archive(letter()?, &[("hidden.txt", b"A second file in the first.\r\n")])
}

fn document() -> Document {
    let mut document = Document::with_version("1.7");
    let pages = document.new_object_id();
    let font = document.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding",
    });
    let content = document.add_object(Stream::new(dictionary! {}, page_content().into_bytes()));
    let page = document.add_object(dictionary! {
        "Type" => "Page",
        "Parent" => pages,
        "MediaBox" => vec![0.into(), 0.into(), 612.into(), 792.into()],
        "Contents" => content,
        "Resources" => dictionary! { "Font" => dictionary! { "F1" => font } },
    });
    document.set_object(pages, dictionary! { "Type" => "Pages", "Kids" => vec![page.into()], "Count" => 1 });
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
    document.trailer.set("Root", catalog);
    document
}

fn page_content() -> String {
    let lines: String = LINES.map(|line| format!("({line}) Tj T*\n")).concat();
    format!("BT /F1 11 Tf 14 TL 72 720 Td\n{}ET", lines.repeat(REPEATS))
}

fn bytes_of(mut document: Document) -> Result<Vec<u8>, MakeError> {
    let mut bytes = Vec::new();
    document.save_to(&mut bytes)?;
    Ok(bytes)
}
