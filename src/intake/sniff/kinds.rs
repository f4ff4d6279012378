//! What is not accepted, by name: the short word reports use, and the sentence that tells a person what the
//! file is and what to do. One table, so that the words stay the same everywhere.

use file_format::{FileFormat, Kind};

use super::finding::{Finding, phrase};
use crate::model::judgement::{FileType, ReasonCode};

/// Word, what it is, what to do.
const KINDS: &[(&str, &str, &str)] = &[
    ("rtf", "an RTF document", "open it in Word and save it as .docx"),
    ("html", "a web page", "open it in a browser and print it as a PDF document"),
    ("svg", "an SVG drawing", "export it as a PNG picture or a PDF document"),
    ("xml", "an XML file", "send the document it belongs to, as a PDF document"),
    ("spreadsheetml", "a workbook saved as XML", "open it in Excel and save it as .xlsx"),
    ("postscript", "a PostScript file", "convert it to a PDF document"),
    ("eml", "an e-mail message", "save its text and its attachments as PDF documents and send those"),
    ("msg", "an Outlook message", "save its text and its attachments as PDF documents and send those"),
    ("zip", "a ZIP archive", "unpack it and send the documents inside, each as a file of its own"),
    ("archive", "an archive", "unpack it and send the documents inside, each as a file of its own"),
    ("jar", "a Java program", "send the document itself, as a PDF document"),
    ("apk", "an Android program", "send the document itself, as a PDF document"),
    ("exe", "a program", "send the document itself, as a PDF document"),
    ("heic", "an HEIC picture from a telephone", "export it as JPEG, or set the camera to its most compatible format"),
    ("webp", "a WebP picture", "save it as PNG or JPEG"),
    ("bmp", "a bitmap picture", "save it as PNG"),
    ("image", "a picture of another kind", "save it as PNG, JPEG or TIFF"),
    ("bigtiff", "a BigTIFF picture", "save it as plain TIFF or as a PDF document"),
    ("docm", "a Word document with macros", "save it as .docx, which has none"),
    ("xlsm", "an Excel workbook with macros", "save it as .xlsx, which has none"),
    ("dotx", "a Word template", "save it as a .docx document"),
    ("xltx", "an Excel template", "save it as a .xlsx workbook"),
    ("xlsb", "a binary Excel workbook", "save it as .xlsx"),
    ("pptx", "a presentation", "save it as a PDF document"),
    ("ppt", "a presentation", "save it as a PDF document"),
    ("opendocument", "an OpenDocument file", "save it as .docx or .xlsx, or as a PDF document"),
    ("epub", "an e-book", "save it as a PDF document"),
    ("ooxml", "an Office package of no known kind", "open it in Word or Excel and save it as .docx or .xlsx"),
    ("ole", "a compound file that is neither a Word document nor an Excel workbook", "save it as a PDF document"),
    ("audio", "a recording", "send a written document"),
    ("video", "a video", "send a written document"),
    ("binary", "a file of no known kind", "send it as a PDF document"),
];

/// The refusal of a kind that is not accepted.
pub fn refuse(word: &str) -> Finding {
    let code = if matches!(word, "docm" | "xlsm") { ReasonCode::Macros } else { ReasonCode::TypeNotAccepted };
    let known = KINDS.iter().find(|(known, ..)| *known == word).or(KINDS.last());
    let (word, what, advice) =
        known.copied().unwrap_or(("binary", "a file of no known kind", "send it as a PDF document"));
    Finding::reject_as(word, code, format!("this is {what}, which is not accepted; {advice}"))
}

/// The refusal where the content is accepted but the name says something else (INT-03).
pub fn mismatch(content: FileType, named: Option<FileType>, mail: bool) -> Finding {
    if mail && named.is_none() {
        return refuse("eml");
    }
    let what = phrase(content);
    let ending = content.as_str();
    let message = match named {
        Some(named) if content == FileType::Txt => {
            let wanted = if matches!(named, FileType::Xls | FileType::Xlsx) { "xlsx" } else { named.as_str() };
            format!(
                "this is a plain text (or a CSV list), but its name says {}; open it in the program it was made with \
                 and save it as .{wanted}, or rename it to .txt",
                phrase(named)
            )
        }
        Some(named) => format!(
            "this is {what}, but its name says {}; rename it to end in .{ending}, or save it in the format its name says",
            phrase(named)
        ),
        None => format!("this is {what}, but its name does not end so; rename it to end in .{ending}"),
    };
    Finding::reject_as(ending, ReasonCode::TypeMismatch, message)
}

/// The short word for content of no accepted kind, by its first bytes: `infer` first, `file-format` beside it.
/// Where they disagree the more telling answer is taken: both refuse it, and only the sentence depends on it.
pub fn word_for(head: &[u8]) -> &'static str {
    let inferred = infer::get(head).map(|kind| word_of_media(kind.mime_type()));
    let format = FileFormat::from_bytes(head);
    match inferred {
        Some(word) if !matches!(word, "binary" | "archive" | "image") => word,
        first => match word_of_media(format.media_type()) {
            "binary" => first.unwrap_or_else(|| word_of_kind(format.kind())),
            word => word,
        },
    }
}

fn word_of_media(media: &str) -> &'static str {
    match media {
        "image/heif" | "image/heic" | "image/avif" | "image/heif-sequence" | "image/heic-sequence" => "heic",
        "image/webp" => "webp",
        "image/bmp" => "bmp",
        "image/svg+xml" => "svg",
        "text/html" => "html",
        "text/rtf" | "application/rtf" => "rtf",
        "text/xml" | "application/xml" => "xml",
        "application/postscript" => "postscript",
        "application/zip" => "zip",
        "application/java-archive" | "application/java-vm" => "jar",
        "application/epub+zip" => "epub",
        "application/vnd.ms-outlook" => "msg",
        "application/vnd.microsoft.portable-executable"
        | "application/x-msdownload"
        | "application/x-executable"
        | "application/x-elf"
        | "application/x-mach-binary"
        | "application/wasm"
        | "application/x-dosexec" => "exe",
        "application/x-7z-compressed"
        | "application/vnd.rar"
        | "application/x-rar-compressed"
        | "application/gzip"
        | "application/x-tar"
        | "application/x-bzip2"
        | "application/x-xz"
        | "application/zstd"
        | "application/vnd.ms-cab-compressed" => "archive",
        other if other.starts_with("image/") => "image",
        other if other.starts_with("audio/") => "audio",
        other if other.starts_with("video/") => "video",
        _ => "binary",
    }
}

fn word_of_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Archive | Kind::Compressed | Kind::Disk => "archive",
        Kind::Executable => "exe",
        Kind::Image => "image",
        Kind::Audio => "audio",
        Kind::Video => "video",
        _ => "binary",
    }
}
