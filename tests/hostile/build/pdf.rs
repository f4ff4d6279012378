//! A minimal PDF writer, with variants.

/// Objects in order (number 1 first) and what else stands in the trailer.
pub(crate) fn write(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n".to_vec();
    let offsets: Vec<_> =
        objects.iter().enumerate().map(|(at, object)| push_object(&mut bytes, at + 1, object)).collect();
    let start = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for offset in offsets {
        bytes.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    let size = objects.len() + 1;
    bytes.extend(format!("trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n").bytes());
    bytes
}

fn push_object(bytes: &mut Vec<u8>, number: usize, object: &[u8]) -> usize {
    let offset = bytes.len();
    bytes.extend(format!("{number} 0 obj\n").bytes());
    bytes.extend(object);
    bytes.extend(b"\nendobj\n");
    offset
}

/// A stream object.
pub(crate) fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("<< {dictionary} /Length {} >>\nstream\n", content.len());
    [head.as_bytes(), content, b"\nendstream"].concat()
}

/// A letter of one page; more entries for its catalog, more objects from number 6 on.
pub(crate) fn letter(text: &str, catalog: &str, more: &[Vec<u8>]) -> Vec<u8> {
    write(&letter_objects(text, catalog, more), "")
}

/// The objects of [`letter`].
pub(crate) fn letter_objects(text: &str, catalog: &str, more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let content = format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET");
    let mut objects = vec![
        format!("<< /Type /Catalog /Pages 2 0 R {catalog} >>").into_bytes(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_vec(),
        stream("", content.as_bytes()),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_vec(),
    ];
    objects.extend(more.iter().cloned());
    objects
}

/// A letter with one attachment, given as the stream object number 7.
pub(crate) fn with_attachment(file: Vec<u8>) -> Vec<u8> {
    let specification = b"<< /Type /Filespec /F (a.txt) /UF (a.txt) /EF << /F 7 0 R >> >>".to_vec();
    letter("See attachment", "/Names << /EmbeddedFiles << /Names [(a.txt) 6 0 R] >> >>", &[specification, file])
}

/// A PDF with one more revision behind its end: a new catalog.
pub(crate) fn updated(first: &[u8]) -> Vec<u8> {
    let mut bytes = first.to_vec();
    let previous = start_of_table(first);
    let offset = push_object(&mut bytes, 1, b"<< /Type /Catalog /Pages 2 0 R /Lang (en) >>");
    let start = bytes.len();
    bytes.extend(format!("xref\n1 1\n{offset:010} 00000 n \n").bytes());
    bytes.extend(format!("trailer\n<< /Size 6 /Root 1 0 R /Prev {previous} >>\nstartxref\n{start}\n%%EOF\n").bytes());
    bytes
}

fn start_of_table(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rev().nth(1).unwrap().parse().unwrap()
}

/// A PDF laid out like a linearised one: the first page's table and end mark come first, the rest follows.
pub(crate) fn linearised() -> Vec<u8> {
    let objects = letter_objects("First page first", "", &[]);
    // Two passes: the first finds out where the parts come to lie.
    let mut places = (vec![0; 6], 0, 0);
    let mut bytes = vec![];
    for _ in 0..2 {
        let (offsets, second_table, _) = &places;
        let mut out = b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n".to_vec();
        push_object(&mut out, 6, b"<< /Linearized 1 /L 10000 /O 3 /E 900 /N 1 /T 500 /H [0 0] >>");
        let first_table = out.len();
        out.extend(b"xref\n1 5\n");
        for offset in offsets.iter().take(5) {
            out.extend(format!("{offset:010} 00000 n \n").bytes());
        }
        let trailer = format!("trailer\n<< /Size 7 /Root 1 0 R /Prev {second_table:010} >>\nstartxref\n0\n%%EOF\n");
        out.extend(trailer.bytes());
        let offsets: Vec<_> =
            objects.iter().enumerate().map(|(at, object)| push_object(&mut out, at + 1, object)).collect();
        let second_table = out.len();
        out.extend(b"xref\n0 1\n0000000000 65535 f \ntrailer\n<< /Size 7 >>\n");
        out.extend(format!("startxref\n{first_table}\n%%EOF\n").bytes());
        places = (offsets, second_table, first_table);
        bytes = out;
    }
    bytes
}

/// The same document with object streams and a cross-reference stream.
pub(crate) fn with_object_streams(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    lopdf::Document::load_mem(bytes).unwrap().save_modern(&mut out).unwrap();
    out
}

/// The same document, locked; an empty user password leaves only the owner's.
pub(crate) fn locked(bytes: &[u8], user_password: &str) -> Vec<u8> {
    let mut document = lopdf::Document::load_mem(bytes).unwrap();
    let id = lopdf::Object::string_literal("0123456789abcdef");
    document.trailer.set("ID", lopdf::Object::Array(vec![id.clone(), id]));
    let version = lopdf::EncryptionVersion::V2 {
        document: &document,
        owner_password: "owner",
        user_password,
        key_length: 128,
        permissions: lopdf::Permissions::PRINTABLE,
    };
    let state = lopdf::EncryptionState::try_from(version).unwrap();
    document.encrypt(&state).unwrap();
    let mut out = vec![];
    document.save_to(&mut out).unwrap();
    out
}
