//! Letters: what is checked before anything is rendered, and what a rendered letter is. No database is needed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its letters can't be made")]

mod commands;
mod fields;
mod layout;
mod pdf;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use lettercase::app::correspondence::CorrespondencePlan;
use lettercase::letters::LettersPolicy;
use lettercase::letters::data::LetterData;
use lettercase::letters::faults::{FieldFault, FieldRule};
use lettercase::letters::render::{Renderer, Sample};
use lettercase::model::letter::LetterType;
use serde_json::Value;

pub(crate) static RENDERER: LazyLock<Renderer> = LazyLock::new(|| Renderer::open(None).unwrap());
static PLAN: LazyLock<LettersPolicy> = LazyLock::new(|| CorrespondencePlan::load(None).unwrap().plan.letters);

/// Every sample of every type.
fn samples() -> impl Iterator<Item = (LetterType, &'static Sample)> {
    LetterType::ALL.iter().flat_map(|letter_type| RENDERER.samples(*letter_type).iter().map(move |s| (*letter_type, s)))
}

/// The document of one sample.
fn sample(letter_type: LetterType, name: &str) -> Value {
    let found = RENDERER.samples(letter_type).iter().find(|sample| sample.name == name);
    found.unwrap_or_else(|| panic!("{letter_type} has no sample {name}")).document.clone()
}

fn check(letter_type: LetterType, document: &Value) -> Result<LetterData, Vec<FieldFault>> {
    RENDERER.check_document(letter_type, document, &PLAN)
}

fn faults(letter_type: LetterType, document: &Value) -> BTreeSet<(String, FieldRule)> {
    match check(letter_type, document) {
        Ok(_) => BTreeSet::new(),
        Err(faults) => faults.into_iter().map(|fault| (fault.field, fault.rule)).collect(),
    }
}

/// Sets the value at a dotted path; nothing takes it away.
fn set(document: &mut Value, path: &str, value: Option<Value>) {
    let (parent, name) = path.rsplit_once('.').unwrap();
    let parent = document.pointer_mut(&format!("/{}", parent.replace('.', "/"))).unwrap();
    match (parent, value) {
        (Value::Object(object), Some(value)) => {
            object.insert(name.to_owned(), value);
        }
        (Value::Object(object), None) => {
            object.remove(name).unwrap();
        }
        (Value::Array(entries), Some(value)) => entries[name.parse::<usize>().unwrap()] = value,
        _ => panic!("{path} is in nothing"),
    }
}
