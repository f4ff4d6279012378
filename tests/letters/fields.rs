//! Missing or malformed data are refused before rendering, and each fault names its field and never its value.

use std::collections::{BTreeMap, BTreeSet};

use lettercase::letters::details::parts::{DenialClass, DenialField};
use lettercase::letters::faults::{FieldRule, told};
use lettercase::model::letter::LetterType;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{PLAN, RENDERER, check, faults, sample, samples, set};

/// The dotted paths of all fields of objects, entries of lists by their number.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    let under = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if !at.is_empty() {
                    found.push(under(name));
                }
                paths(value, &under(name), found);
            }
        }
        Value::Array(entries) => {
            for (i, entry) in entries.iter().enumerate().take(2) {
                paths(entry, &under(&i.to_string()), found);
            }
        }
        _ => {}
    }
}

/// Numbers of entries left out: `lines.0.code` and `lines.1.code` are one field.
fn field_of(path: &str) -> String {
    path.split('.').filter(|part| part.parse::<usize>().is_err()).collect::<Vec<_>>().join(".")
}

#[test]
fn each_field_that_is_taken_away_is_named_or_is_one_a_letter_can_do_without() {
    let mut required: BTreeMap<LetterType, BTreeSet<String>> = BTreeMap::new();
    let mut optional: BTreeMap<LetterType, BTreeSet<String>> = BTreeMap::new();
    for (letter_type, sample) in samples() {
        let mut all = Vec::new();
        paths(&sample.document, "", &mut all);
        for path in all {
            let mut document = sample.document.clone();
            set(&mut document, &path, None);
            match check(letter_type, &document) {
                Ok(_) => optional.entry(letter_type).or_default().insert(field_of(&path)),
                Err(found) => {
                    let names: Vec<&str> = found.iter().map(|fault| fault.field.as_str()).collect();
                    assert_eq!(names, [path.as_str()], "{letter_type} {} without {path}", sample.name);
                    assert!(
                        matches!(found[0].rule, FieldRule::Missing | FieldRule::DenialNeeds),
                        "{letter_type} {path}: {}",
                        found[0]
                    );
                    required.entry(letter_type).or_default().insert(field_of(&path))
                }
            };
        }
    }
    // What a letter needs, to look at when it changes. A field of both lists is asked for by policy in some classes.
    let shown: BTreeMap<String, Value> = LetterType::ALL
        .iter()
        .map(|letter_type| {
            let of = |all: &BTreeMap<LetterType, BTreeSet<String>>| {
                let fields = all.get(letter_type).into_iter().flatten();
                fields.filter(|field| !field.starts_with("head.addressee")).cloned().collect::<Vec<_>>()
            };
            (letter_type.to_string(), json!({"required": of(&required), "optional": of(&optional)}))
        })
        .collect();
    insta::assert_json_snapshot!("fields", shown);
}

#[test]
fn dis_06_a_denial_that_lacks_what_its_class_needs_is_refused_and_named() {
    let whole = [
        (LetterType::ClaimDenied, "medical_necessity"),
        (LetterType::PrecertificationDenied, "medical_necessity_member"),
        (LetterType::PrecertificationPartiallyApproved, "practice_long"),
    ];
    for (letter_type, name) in whole {
        for class in DenialClass::ALL {
            let mut document = sample(letter_type, name);
            set(&mut document, "details.denial.class", Some(json!(class)));
            assert!(check(letter_type, &document).is_ok(), "{letter_type} {class}");
            for field in DenialField::ALL {
                let path = format!("details.denial.{field}");
                let mut document = document.clone();
                set(&mut document, &path, None);
                let expected = if PLAN.denial.of(*class).requires.contains(field) {
                    [(path, FieldRule::DenialNeeds)].into()
                } else {
                    [].into()
                };
                assert_eq!(faults(letter_type, &document), expected, "{letter_type} {class} without {field}");
            }
        }
    }
}

#[test]
fn dis_04_an_external_review_names_its_organization() {
    let mut document = sample(LetterType::AppealUpheld, "external_review");
    set(&mut document, "details.next.iro", None);
    let expected = [("details.next.iro".to_owned(), FieldRule::Missing)].into();
    assert_eq!(faults(LetterType::AppealUpheld, &document), expected);
}

#[test]
fn malformed_values_are_told_by_their_rule_and_never_repeated() {
    let denied = LetterType::ClaimDenied;
    let secret = "Zzyzx-Geheim";
    let table = [
        ("head.addressee.name", json!(""), FieldRule::Empty),
        ("head.addressee.name", json!(" \t "), FieldRule::Empty),
        ("head.addressee.name", json!(7), FieldRule::WrongKind),
        ("head.addressee.name", json!(secret.repeat(40)), FieldRule::TooLong),
        ("head.addressee.name", json!(format!("{secret}\nBcc: x")), FieldRule::ControlCharacter),
        ("head.addressee.name", json!(format!("{secret}\u{202e}")), FieldRule::ControlCharacter),
        ("head.addressee.name", json!(format!("{secret}\u{0}")), FieldRule::ControlCharacter),
        ("head.addressee.name", json!(format!("{secret} 王小明")), FieldRule::NoGlyph),
        ("head.addressee.name", json!(format!("{secret} 😀")), FieldRule::NoGlyph),
        ("head.addressee.state", json!("Ohio"), FieldRule::NotAState),
        ("head.addressee.zip", json!("4540"), FieldRule::NotAZip),
        ("head.addressee.zip", json!("45402-118"), FieldRule::NotAZip),
        ("head.addressee.kind", json!(secret), FieldRule::UnknownCode),
        ("head.date", json!("14.09.2026"), FieldRule::NotADate),
        ("head.date", json!("2026-02-30"), FieldRule::NotADate),
        ("head.date", json!("0026-09-14"), FieldRule::NotADate),
        ("head.claim.service_to", json!("2026-06-10"), FieldRule::EndsBeforeItBegins),
        ("details.lines", json!([]), FieldRule::Empty),
        ("details.lines", json!({}), FieldRule::WrongKind),
        ("details.lines.1.billed_cents", json!("18.40"), FieldRule::NotCents),
        ("details.lines.1.billed_cents", json!(18.4), FieldRule::NotCents),
        ("details.denial.class", json!("clinical"), FieldRule::UnknownCode),
        ("details.denial.appeal_deadline", json!("2026-09-14"), FieldRule::NotAfterLetter),
        ("details.denial.peer_to_peer.hours", json!(-48), FieldRule::NotACount),
        ("details.denial.iro", json!(secret), FieldRule::WrongKind),
        ("details.surprise", json!(1), FieldRule::UnknownField),
    ];
    for (path, value, rule) in table {
        let mut document = sample(denied, "medical_necessity");
        set(&mut document, path, Some(value.clone()));
        assert_eq!(faults(denied, &document), [(path.to_owned(), rule)].into(), "{path} = {value}");
        assert!(!told(&check(denied, &document).unwrap_err()).contains("Zzyzx"), "{path}");
    }
    // A name that is none of ours is not repeated: it could be anything.
    let mut document = sample(denied, "medical_necessity");
    set(&mut document, &format!("details.{secret}"), Some(json!(1)));
    assert_eq!(faults(denied, &document), [("details.?".to_owned(), FieldRule::UnknownField)].into());
}

#[test]
fn all_faults_are_told_at_once() {
    let mut document = sample(LetterType::ClaimDenied, "medical_necessity");
    set(&mut document, "head.addressee.city", None);
    set(&mut document, "details.decided_on", Some(json!("soon")));
    set(&mut document, "details.lines.0.code", Some(json!("")));
    let expected = [
        ("head.addressee.city".to_owned(), FieldRule::Missing),
        ("details.decided_on".to_owned(), FieldRule::NotADate),
        ("details.lines.0.code".to_owned(), FieldRule::Empty),
    ];
    assert_eq!(faults(LetterType::ClaimDenied, &document), expected.into());
}

#[test]
fn an_address_that_the_window_can_t_show_is_refused() {
    let mut document = sample(LetterType::ClaimDenied, "medical_necessity");
    let line = "Building C of the Old Zanesville Turnpike Professional Park, Entrance on the Northern Side";
    set(&mut document, "head.addressee.lines", Some(json!([line, line, line])));
    let expected = [("head.addressee".to_owned(), FieldRule::TooLong)].into();
    assert_eq!(faults(LetterType::ClaimDenied, &document), expected);
}

#[test]
fn names_of_europe_and_vietnam_can_be_shown() {
    for name in ["Đặng Thị Ngọc Ánh", "Łukasz Żółć", "Åsa Öberg", "Şükrü Çağlar", "Þórður Æ.", "Γιώργος", "Владимир"]
    {
        let mut document = sample(LetterType::ClaimDenied, "medical_necessity");
        set(&mut document, "head.addressee.name", Some(json!(name)));
        assert!(check(LetterType::ClaimDenied, &document).is_ok(), "{name}");
    }
}

#[test]
fn debug_of_letter_data_shows_nothing_of_it() {
    let letter = check(LetterType::ClaimDenied, &sample(LetterType::ClaimDenied, "medical_necessity")).unwrap();
    let shown = format!("{letter:?}");
    assert!(!shown.contains("Whitcombe") && !shown.contains("CL2638150472"), "{shown}");
}

#[test]
fn letter_data_come_back_from_storage_as_they_were() {
    for (letter_type, sample) in samples() {
        let letter = check(letter_type, &sample.document).unwrap();
        let stored = serde_json::to_string(&letter).unwrap();
        let back: lettercase::letters::LetterData = serde_json::from_str(&stored).unwrap();
        assert_eq!(back, letter, "{letter_type} {}", sample.name);
    }
}

proptest! {
    #[test]
    fn text_of_any_kind_is_shown_whole_or_refused(text in "\\PC{0,60}|[ -~\u{300}-\u{36f}\n\u{200b}]{0,40}") {
        let mut document = sample(LetterType::ReconsiderationUpheld, "with_appeal");
        set(&mut document, "details.reason", Some(json!(text)));
        match check(LetterType::ReconsiderationUpheld, &document) {
            Ok(letter) => {
                let shown = letter.document.reveal().pointer("/details/reason").unwrap().clone();
                for paragraph in shown.as_array().unwrap() {
                    let shows = |c: char| c == '\u{200b}' || RENDERER.coverage().shows(c);
                    prop_assert!(paragraph.as_str().unwrap().chars().all(shows));
                }
            }
            Err(found) => prop_assert_eq!(&found[0].field, "details.reason"),
        }
    }
}
