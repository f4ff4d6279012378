//! Made office documents: packages (.docx) and compound files (.doc, and what a locked .docx becomes).

use std::io::{Cursor, Write};
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cfb::{CompoundFile, Version};

use super::{MakeError, archive, noise};
use crate::outside::scanner::eicar;

const DOCX_TYPE: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml";
const DOCM_TYPE: &str = "application/vnd.ms-word.document.macroEnabled.main+xml";
const DECLARATION: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#;
const TEXT: &str = "This letter is a made sample. It is about nobody.";

/// A good Word document that carries the EICAR test file as a part of its own. By its structure nothing is
/// wrong with it: only a scanner that opens archives finds it.
pub(super) fn eicar_docx() -> Result<Vec<u8>, MakeError> {
    package(DOCX_TYPE, &[("word/note.txt", eicar().as_bytes())])
}

/// A document with macros under the name of one that has none: office programs go by the type of the main
/// part, so it would run them. The project in it is an empty one.
pub(super) fn docm() -> Result<Vec<u8>, MakeError> {
    let link = r#"<Relationship Id="r1" Type="http://schemas.microsoft.com/office/2006/relationships/vbaProject" Target="vbaProject.bin"/>"#;
    let links = relationships(link);
    let project = compound(&vba_project(""))?;
    package(DOCM_TYPE, &[("word/_rels/document.xml.rels", links.as_bytes()), ("word/vbaProject.bin", &project)])
}

/// A document of some tens of kilobytes with a part that expands to 32 MiB, a thousand times its size: good
/// documents stay far below that. A hundred such parts would still be small, and fill the memory of a machine.
pub(super) fn archive_bomb_docx() -> Result<Vec<u8>, MakeError> {
    const EXPANDED_BYTES: usize = 32 << 20;
    let blank = " ".repeat(EXPANDED_BYTES);
    let part = format!("{DECLARATION}<blank>{blank}</blank>");
    package(DOCX_TYPE, &[("word/blank.xml", part.as_bytes())])
}

/// What Word makes of a .docx that is saved with a password: a compound file with the locked package and with
/// what it takes to open it (MS-OFFCRYPTO). There is nothing under this lock, and no password to it.
pub(super) fn encrypted_docx() -> Result<Vec<u8>, MakeError> {
    const PACKAGE_BYTES: usize = 24 << 10;
    let package = [(PACKAGE_BYTES as u64).to_le_bytes().as_slice(), &noise(PACKAGE_BYTES)].concat();
    compound(&[("/EncryptionInfo".into(), encryption_info()), ("/EncryptedPackage".into(), package)])
}

/// Version 4.4, "agile": a header of 8 bytes, then how it is locked, as XML.
fn encryption_info() -> Vec<u8> {
    let [salt, hash] = [16, 64].map(|len| BASE64_STANDARD.encode(noise(len)));
    let key = BASE64_STANDARD.encode(noise(32));
    let cipher = format!(
        r#"blockSize="16" keyBits="256" hashSize="64" cipherAlgorithm="AES" cipherChaining="ChainingModeCBC" hashAlgorithm="SHA512" saltSize="16" saltValue="{salt}""#
    );
    let xml = format!(
        r#"{DECLARATION}<encryption xmlns="http://schemas.microsoft.com/office/2006/encryption" xmlns:p="http://schemas.microsoft.com/office/2006/keyEncryptor/password"><keyData {cipher}/><dataIntegrity encryptedHmacKey="{hash}" encryptedHmacValue="{hash}"/><keyEncryptors><keyEncryptor uri="http://schemas.microsoft.com/office/2006/keyEncryptor/password"><p:encryptedKey spinCount="100000" {cipher} encryptedVerifierHashInput="{salt}" encryptedVerifierHashValue="{hash}" encryptedKeyValue="{key}"/></keyEncryptor></keyEncryptors></encryption>"#
    );
    [&[4, 0, 4, 0, 0x40, 0, 0, 0], xml.as_bytes()].concat()
}

/// A Word 97-2003 document with macros, if only an empty project of them. Old documents often have some and
/// mean no harm, and no scanner can tell: somebody has to look.
pub(super) fn doc_with_macros() -> Result<Vec<u8>, MakeError> {
    let text = format!("{TEXT}\r");
    let table = piece_table(text.len() as u32);
    let main = word_stream(&text, table.len() as u32);
    let mut streams = vec![("/WordDocument".into(), main), ("/0Table".into(), table)];
    streams.extend(vba_project("/Macros"));
    compound(&streams)
}

/// Where the text begins in the main stream of a .doc.
const TEXT_START: u32 = 0x600;
/// The least a main stream has.
const STREAM_BYTES: u32 = 0x1000;

/// The main stream of a .doc (MS-DOC 2.5): the file information block, then the text, one byte a character.
fn word_stream(text: &str, table_len: u32) -> Vec<u8> {
    let text_len = text.len() as u32;
    let mut stream = vec![0; TEXT_START as usize];
    let mut put = |at: usize, bytes: &[u8]| stream[at..at + bytes.len()].copy_from_slice(bytes);
    // The mark, the version (Word 97), the language; 0Table is the table stream; then the older version.
    put(0x00, &[0xEC, 0xA5, 0xC1, 0x00]);
    put(0x06, &[0x09, 0x04]);
    put(0x0A, &[0x00, 0x10, 0xBF, 0x00]);
    // How many numbers of 2, of 4 and of 8 bytes follow each of these.
    put(0x20, &[0x0E, 0x00]);
    put(0x3E, &[0x16, 0x00]);
    put(0x98, &[0x5D, 0x00]);
    // Where the text begins and ends, the length of it all, the characters of the text; its piece table.
    put(0x18, &TEXT_START.to_le_bytes());
    put(0x1C, &(TEXT_START + text_len).to_le_bytes());
    put(0x40, &STREAM_BYTES.to_le_bytes());
    put(0x4C, &text_len.to_le_bytes());
    put(0x01A6, &table_len.to_le_bytes());
    stream.extend(text.bytes());
    stream.resize(STREAM_BYTES as usize, 0);
    stream
}

/// The table stream of a .doc: where the text's one piece lies (MS-DOC 2.9.38).
fn piece_table(text_len: u32) -> Vec<u8> {
    const ONE_BYTE_EACH: u32 = 0x4000_0000;
    let plan = [
        0_u32.to_le_bytes().as_slice(),
        &text_len.to_le_bytes(),
        &[0, 0],
        &((TEXT_START * 2) | ONE_BYTE_EACH).to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    [&[2], (plan.len() as u32).to_le_bytes().as_slice(), &plan].concat()
}

type Streams = Vec<(String, Vec<u8>)>;

/// A VBA project without a module, in a storage (MS-OVBA 2.2).
fn vba_project(storage: &str) -> Streams {
    let project =
        b"ID=\"{00000000-0000-0000-0000-000000000000}\"\r\nName=\"Project\"\r\nVersionCompatible32=\"393222000\"\r\n";
    vec![
        (format!("{storage}/VBA/_VBA_PROJECT"), vec![0xCC, 0x61, 0xFF, 0xFF, 0, 0, 0]),
        // Compressed, and nothing in it: the mark of such a stream alone.
        (format!("{storage}/VBA/dir"), vec![1]),
        (format!("{storage}/PROJECT"), project.to_vec()),
    ]
}

/// A compound file of these streams, in sectors of 512 bytes as office programs write it.
fn compound(streams: &[(String, Vec<u8>)]) -> Result<Vec<u8>, MakeError> {
    let mut file = CompoundFile::create_with_version(Version::V3, Cursor::new(Vec::new()))?;
    for (path, bytes) in streams {
        if let Some((storage, _)) = path.rsplit_once('/').filter(|(storage, _)| !storage.is_empty()) {
            file.create_storage_all(storage)?;
        }
        file.create_stream(path)?.write_all(bytes)?;
    }
    // One fixed date: the same file has the same bytes each time.
    let storages: Vec<_> =
        file.walk().filter(|entry| !entry.is_stream()).map(|entry| entry.path().to_owned()).collect();
    for storage in storages {
        file.set_created_time(&storage, SystemTime::UNIX_EPOCH)?;
        file.set_modified_time(&storage, SystemTime::UNIX_EPOCH)?;
    }
    file.flush()?;
    Ok(file.into_inner().into_inner())
}

/// A Word document of one paragraph whose main part is declared as this type, with more parts.
fn package(main_type: &str, more: &[(&str, &[u8])]) -> Result<Vec<u8>, MakeError> {
    let types = format!(
        r#"{DECLARATION}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Default Extension="txt" ContentType="text/plain"/><Default Extension="bin" ContentType="application/vnd.ms-office.vbaProject"/><Override PartName="/word/document.xml" ContentType="{main_type}"/></Types>"#
    );
    let links = relationships(
        r#"<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>"#,
    );
    let body = format!(
        r#"{DECLARATION}<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>{TEXT}</w:t></w:r></w:p></w:body></w:document>"#
    );
    let mut parts: Vec<(&str, &[u8])> = vec![
        ("[Content_Types].xml", types.as_bytes()),
        ("_rels/.rels", links.as_bytes()),
        ("word/document.xml", body.as_bytes()),
    ];
    parts.extend(more);
    archive(Vec::new(), &parts)
}

fn relationships(each: &str) -> String {
    format!(
        r#"{DECLARATION}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{each}</Relationships>"#
    )
}
