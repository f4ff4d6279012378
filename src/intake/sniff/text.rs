//! Plain text by strict decoding: UTF-8, UTF-16 with its mark, Windows-1252; no control characters but those
//! of layout, and nothing at the start that a browser or a viewer would act on. Guessing encodings by
//! statistics is refused: a wrong guess would only make matching wrong.

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::source::{CHUNK, Source};

/// Characters at the start that are looked at for markup.
const OPENING_CHARS: usize = 4_096;

/// A text that decodes strictly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its encoding.
    pub encoding: &'static Encoding,
    /// Its first characters, without a byte order mark.
    pub opening: String,
}

/// Reads a file as text; `None` where it is none.
pub fn read(source: &Source<'_>) -> std::io::Result<Option<Text>> {
    let head = source.head(3)?;
    let marked = match head.as_slice() {
        [0xEF, 0xBB, 0xBF] => Some(UTF_8),
        [0xFF, 0xFE, ..] => Some(UTF_16LE),
        [0xFE, 0xFF, ..] => Some(UTF_16BE),
        _ => None,
    };
    let candidates: &[&'static Encoding] = match &marked {
        Some(encoding) => std::slice::from_ref(encoding),
        None => &[UTF_8, WINDOWS_1252],
    };
    for encoding in candidates {
        if let Some(opening) = decode(source, encoding)? {
            return Ok(Some(Text { encoding, opening }));
        }
    }
    Ok(None)
}

/// Decodes all of it strictly and keeps the opening; `None` at the first byte or character that is no text.
fn decode(source: &Source<'_>, encoding: &'static Encoding) -> std::io::Result<Option<String>> {
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut opening = String::new();
    let mut good = true;
    // No encoding accepted takes more than three bytes where it had one, and no more than that for what is left over.
    let chunk = usize::try_from(source.len()).unwrap_or(CHUNK).min(CHUNK);
    let mut buffer = String::with_capacity(chunk * 3 + 16);
    source.each_chunk(0, |position, bytes| {
        buffer.clear();
        let last = position + bytes.len() as u64 == source.len();
        let (result, _) = decoder.decode_to_string_without_replacement(bytes, &mut buffer, last);
        good = result == DecoderResult::InputEmpty && buffer.chars().all(|c| is_text(c, encoding));
        if opening.len() < OPENING_CHARS {
            opening.extend(buffer.chars().take(OPENING_CHARS));
        }
        good
    })?;
    Ok(good.then_some(opening))
}

/// Layout (tab, line feed, vertical tab, form feed, return), the end mark of DOS editors and all that prints.
/// C1 controls come out of Windows-1252 only where a byte has no meaning in it.
fn is_text(c: char, encoding: &'static Encoding) -> bool {
    match c {
        '\t'..='\r' | '\u{8}' | '\u{1a}' => true,
        '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => false,
        '\u{80}'..='\u{9f}' => encoding != WINDOWS_1252,
        _ => true,
    }
}

/// What a text is that a browser or a viewer would act on, as a short word; `None` for plain data.
pub fn markup(opening: &str) -> Option<&'static str> {
    let start = opening.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\u{1a}');
    let lower: String = start.chars().take(2_048).collect::<String>().to_ascii_lowercase();
    if lower.starts_with("{\\rtf") {
        return Some("rtf");
    }
    if lower.starts_with("%!ps") {
        return Some("postscript");
    }
    let tag = lower.strip_prefix('<')?;
    if tag.starts_with('?') || tag.starts_with("!--") || tag.starts_with("!doctype") {
        return Some(root_word(tag).unwrap_or("xml"));
    }
    element_word(tag)
}

/// The word for the first element of note behind a prolog or a comment.
fn root_word(rest: &str) -> Option<&'static str> {
    if rest.starts_with("!doctype html") || rest.contains("<html") {
        return Some("html");
    }
    if rest.contains("<svg") || rest.contains("!doctype svg") {
        return Some("svg");
    }
    if rest.contains("progid=\"excel.sheet\"") || rest.contains("urn:schemas-microsoft-com:office:spreadsheet") {
        return Some("spreadsheetml");
    }
    None
}

fn element_word(tag: &str) -> Option<&'static str> {
    /// Elements at which browsers take unlabelled text for HTML.
    const HTML: [&str; 18] = [
        "html", "head", "script", "iframe", "h1", "div", "font", "table", "a", "style", "title", "b", "body", "br",
        "p", "meta", "img", "object",
    ];
    let name_len = tag.find(|c: char| !(c.is_ascii_alphanumeric() || c == ':')).unwrap_or(tag.len());
    let (name, rest) = tag.split_at(name_len);
    let closes = rest.starts_with(['>', '/']) || rest.starts_with(char::is_whitespace);
    if !closes {
        return None;
    }
    if name == "svg" {
        return Some("svg");
    }
    if HTML.contains(&name) {
        return Some("html");
    }
    let inside = rest.split('>').next().unwrap_or(rest);
    inside.contains("xmlns").then(|| root_word(tag).unwrap_or("xml"))
}

/// Whether a text is an e-mail message: header lines of a transported mail at its start.
pub fn is_mail(opening: &str) -> bool {
    let mut seen = 0;
    for line in opening.lines().take(60).take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let known = ["received", "return-path", "message-id", "mime-version", "from", "to", "subject", "date"];
        seen += usize::from(line.contains(':') && known.contains(&name.as_str()));
    }
    seen >= 3
}
