//! Office Open XML packages.

use super::zip::{Item, archive, item};

const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml";
const EXCEL: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml";

/// The content types of a package with this main part.
pub(crate) fn types(main: &str, content_type: &str) -> Item {
    let xml = format!(
        r#"<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/{main}" ContentType="{content_type}"/></Types>"#
    );
    item("[Content_Types].xml", xml.as_bytes())
}

/// The package's own relationships.
pub(crate) fn relationships(main: &str) -> Item {
    let xml = format!(
        r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="{main}"/></Relationships>"#
    );
    item("_rels/.rels", xml.as_bytes())
}

fn body(text: &str) -> Item {
    let xml = format!(
        r#"<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>"#
    );
    item("word/document.xml", xml.as_bytes())
}

/// The parts of a Word document, to be changed before they are packed.
pub(crate) fn docx_items(more: &[(&str, &[u8])]) -> Vec<Item> {
    let mut items =
        vec![types("word/document.xml", WORD), relationships("word/document.xml"), body("Appeal &amp; claim CLM-1")];
    items.extend(more.iter().map(|(name, bytes)| item(name, bytes)));
    items
}

/// A Word document with more parts.
pub(crate) fn docx(more: &[(&str, &[u8])]) -> Vec<u8> {
    archive(&docx_items(more))
}

/// A Word document whose main part is declared as this type.
pub(crate) fn docx_as(content_type: &str) -> Vec<u8> {
    archive(&[types("word/document.xml", content_type), relationships("word/document.xml"), body("x")])
}

/// An Excel workbook with more parts.
pub(crate) fn xlsx(more: &[(&str, &[u8])]) -> Vec<u8> {
    let workbook = br#"<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="Claims" sheetId="1" r:id="rId1"/></sheets></workbook>"#;
    let links = br#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml"/></Relationships>"#;
    let sheet = br#"<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1"><v>42</v></c></row></sheetData></worksheet>"#;
    let strings = br#"<?xml version="1.0"?><sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" count="1" uniqueCount="1"><si><t>Claim CLM-1</t></si></sst>"#;
    let mut items = vec![
        types("xl/workbook.xml", EXCEL),
        relationships("xl/workbook.xml"),
        item("xl/workbook.xml", workbook),
        item("xl/_rels/workbook.xml.rels", links),
        item("xl/worksheets/sheet1.xml", sheet),
        item("xl/sharedStrings.xml", strings),
    ];
    items.extend(more.iter().map(|(name, bytes)| item(name, bytes)));
    archive(&items)
}
