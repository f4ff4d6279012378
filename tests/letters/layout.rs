//! Templates of one's own: what does not fit, does not compile or is not accessible is found and named.

use std::path::Path;

use lettercase::letters::overflow::OverflowKind;
use lettercase::letters::render::{RenderError, Renderer};
use lettercase::model::letter::LetterType;
use serde_json::Value;

use super::{PLAN, RENDERER, sample};

/// A copy of the templates, with a file of it changed.
fn changed(file: &str, change: impl FnOnce(String) -> String) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    for entry in walkdir::WalkDir::new(&from) {
        let entry = entry.unwrap();
        let to = dir.path().join(entry.path().strip_prefix(&from).unwrap());
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(to).unwrap();
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
    let path = dir.path().join(file);
    let text = change(std::fs::read_to_string(&path).unwrap());
    std::fs::write(path, text).unwrap();
    dir
}

fn render(dir: &Path, letter_type: LetterType, document: &Value) -> Result<Vec<(OverflowKind, usize)>, RenderError> {
    let renderer = Renderer::open(Some(dir)).unwrap();
    let letter = renderer.check_document(letter_type, document, &PLAN).unwrap();
    let rendered = renderer.render(&letter, renderer.brand("meridian").unwrap())?;
    Ok(rendered.overflows.iter().map(|overflow| (overflow.kind, overflow.page)).collect())
}

const TEMPLATE: &str = "letters/appeal_overturned/letter.typ";

fn with_text(added: &str) -> Result<Vec<(OverflowKind, usize)>, RenderError> {
    let dir = changed(TEMPLATE, |text| format!("{text}\n{added}\n"));
    render(dir.path(), LetterType::AppealOverturned, &sample(LetterType::AppealOverturned, "payment"))
}

#[test]
fn lines_that_do_not_fit_are_found_wherever_they_are() {
    let table = [
        ("Fits.", None),
        ("#box(width: 9in)[#h(7in)Out at the right]", Some(OverflowKind::Margin)),
        ("#move(dx: -1in)[Out at the left]", Some(OverflowKind::Margin)),
        ("#box(width: 1in, clip: true)[#box[Far too wide for its box]]", Some(OverflowKind::Box)),
        ("#block(height: 0.2in, width: 3in)[One \\ Two \\ Three] <fixed>", Some(OverflowKind::Box)),
        ("#table(columns: (0.5in, 1fr), [Incomprehensibilities], [beside])", Some(OverflowKind::Overlap)),
    ];
    for (added, expected) in table {
        let kinds: Vec<OverflowKind> = with_text(added).unwrap().into_iter().map(|(kind, _)| kind).collect();
        match expected {
            None => assert_eq!(kinds, [], "{added}"),
            Some(kind) => assert!(kinds.contains(&kind), "{added}: {kinds:?}"),
        }
    }
}

#[test]
fn a_template_that_fails_is_named_with_its_line_and_without_data() {
    let Err(RenderError::Template { letter_type, place, message }) = with_text("#nothing.of-the-kind") else {
        panic!("it does not fail");
    };
    assert_eq!(letter_type, LetterType::AppealOverturned);
    assert!(place.starts_with("appeal_overturned/letter.typ:"), "{place}");
    assert!(message.reveal().contains("unknown variable"), "{message:?}");
}

#[test]
fn what_is_not_accessible_or_not_archivable_is_not_exported() {
    for added in ["#image(\"/logo.svg\", width: 1in)", "#text(font: \"Noto Sans\", fallback: false)[王]"] {
        let Err(RenderError::Template { .. }) = with_text(added) else { panic!("{added} is exported") };
    }
}

#[test]
fn a_version_changes_with_what_letters_are_made_of_and_with_nothing_else() {
    let version = |dir: &Path, letter_type| Renderer::open(Some(dir)).unwrap().template_version(letter_type).to_owned();
    let (changed_type, other) = (LetterType::AppealOverturned, LetterType::ClaimDenied);
    let own = changed(TEMPLATE, |text| text + "\n");
    assert_ne!(version(own.path(), changed_type), RENDERER.template_version(changed_type));
    assert_eq!(version(own.path(), other), RENDERER.template_version(other));
    let shared = changed("letters/common/letter.typ", |text| text + "\n");
    assert_ne!(version(shared.path(), other), RENDERER.template_version(other));
    let sample = changed("letters/appeal_overturned/samples/payment.json", |text| text + "\n");
    assert_eq!(version(sample.path(), changed_type), RENDERER.template_version(changed_type));
    let brand = changed("brands/meridian/brand.toml", |text| text + "\n# more\n");
    let renderer = Renderer::open(Some(brand.path())).unwrap();
    assert_ne!(renderer.brand("meridian").unwrap().version, RENDERER.brand("meridian").unwrap().version);
    assert_eq!(renderer.brand("aldercrest").unwrap().version, RENDERER.brand("aldercrest").unwrap().version);
}

#[test]
fn a_brand_that_is_not_whole_is_refused_with_its_name() {
    let table = [
        ("brands/aldercrest/brand.toml", "portal = ", "portals = ", "portals"),
        ("brands/aldercrest/brand.toml", "#2e5d34", "green", "#rrggbb"),
        ("brands/aldercrest/logo.svg", "<path", "<text/><path", "<text>"),
        ("letters/common/geometry.toml", "edge_in", "edge_cm", "edge_in"),
    ];
    for (file, from, to, told) in table {
        let dir = changed(file, |text| text.replace(from, to));
        let error = Renderer::open(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains(told), "{file}: {error}");
    }
}

#[test]
fn the_page_of_languages_has_at_least_fifteen_and_each_character_of_them_has_a_glyph() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let text = std::fs::read_to_string(top.join("letters/common/languages.toml")).unwrap();
    let languages: toml::Table = toml::from_str(&text).unwrap();
    let languages = languages["language"].as_array().unwrap();
    let tags: Vec<&str> = languages.iter().map(|language| language["lang"].as_str().unwrap()).collect();
    for tag in ["es", "zh", "vi", "ko", "tl", "ru", "ar", "ht", "fr", "pt", "pl", "de", "ja", "hi", "fa"] {
        assert!(tags.contains(&tag), "{tag}");
    }
    for language in languages {
        let name = language["name"].as_str().unwrap();
        let text = language["text"].as_str().unwrap();
        assert_eq!(text.matches("{phone}").count(), 1, "{name}");
        let rtl = language.get("dir").and_then(toml::Value::as_str) == Some("rtl");
        assert_eq!(rtl, ["ar", "fa"].contains(&language["lang"].as_str().unwrap()), "{name}");
    }
    // A missing glyph fails the export of any letter that has the page: the fonts are cut to these texts.
    let dir = changed("letters/common/languages.toml", |text| text.replace("口译", "口譯龘"));
    let document = sample(LetterType::AppealOverturned, "payment");
    assert!(render(dir.path(), LetterType::AppealOverturned, &document).is_err());
}
