//! `templates`: list, check and render, by the program itself.

use std::process::{Command, Output};

use lettercase::model::letter::LetterType;
use serde_json::Value;

use super::RENDERER;

fn templates(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lettercase")).arg("templates").args(args).env_clear().output().unwrap()
}

#[test]
fn list_names_each_type_with_category_and_samples() {
    let ran = templates(&["list", "--json"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let rows: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), LetterType::ALL.len());
    for (row, letter_type) in rows.iter().zip(LetterType::ALL) {
        assert_eq!(row["type"], letter_type.as_str());
        assert_eq!(row["category"], letter_type.category().as_str());
        assert!(row["samples"].as_array().unwrap().len() >= 2, "{letter_type}");
    }
}

#[test]
fn render_writes_the_pdf_of_a_sample_or_of_a_file_and_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("letter.pdf").display().to_string();
    let ran =
        templates(&["render", "appeal_overturned", "--sample", "payment", "--brand", "aldercrest", "--out", &out]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(std::fs::read(&out).unwrap().starts_with(b"%PDF-1.7"));

    let mut document = RENDERER.samples(LetterType::AppealOverturned)[0].document.clone();
    document["head"]["addressee"].as_object_mut().unwrap().remove("city");
    let data = dir.path().join("data.json").display().to_string();
    std::fs::write(&data, document.to_string()).unwrap();
    let refused = [
        (vec!["render", "appeal_overturned", "--data", &data, "--out", &out], "head.addressee.city is missing"),
        (vec!["render", "appeal_overturned", "--sample", "none", "--out", &out], "payment"),
        (vec!["render", "appeal_overturned", "--brand", "none", "--out", &out], "aldercrest, meridian"),
    ];
    for (args, told) in refused {
        let ran = templates(&args);
        let error = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && error.contains(told), "{args:?}: {error}");
    }
}

#[test]
fn check_renders_everything_and_tells_pages_and_time() {
    let ran = templates(&["check", "--json"]);
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let rows: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let rows = rows.as_array().unwrap();
    let samples: usize = LetterType::ALL.iter().map(|letter_type| RENDERER.samples(*letter_type).len()).sum();
    assert_eq!(rows.len(), samples * RENDERER.brands().count());
    for row in rows {
        assert!(row["pages"].as_u64().unwrap() > 0 && row["ms"].is_u64() && row["error"].is_null(), "{row}");
        assert_eq!(row["overflows"], serde_json::json!([]), "{row}");
    }
}
