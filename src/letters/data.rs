//! A letter's data: checked whole before anything is rendered, then one JSON document that a template only has to set.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::letters::details::Details;
use crate::letters::faults::{FieldFault, FieldRule};
use crate::letters::fields::{Field, Reader};
use crate::letters::fonts::Coverage;
use crate::letters::head::Head;
use crate::letters::plan::{LettersPolicy, MemberIdShown};
use crate::model::letter::LetterType;
use crate::model::phi::Phi;

/// Checked data of one letter. It can be stored as it is and rendered later: nothing of it is computed anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetterData {
    /// The type, which names the template.
    pub letter_type: LetterType,
    /// The date on the letter, which is its PDF's date too.
    pub date: jiff::civil::Date,
    /// Whether the page of languages ends it.
    pub languages_page: bool,
    /// `{head, details}` as templates read them: dates written out, amounts with their currency.
    pub document: Phi<Value>,
}

/// Lines of the smallest print that the envelope's window shows.
const WINDOW_LINES: usize = 7;

/// What of the head a letter can't do without, beside what every head has.
const fn needs(letter_type: LetterType) -> &'static [&'static str] {
    match letter_type {
        LetterType::ReconsiderationReceived
        | LetterType::AdditionalInformationRequested
        | LetterType::ReconsiderationAdjusted
        | LetterType::ReconsiderationUpheld
        | LetterType::ReconsiderationCopy => &["member", "practice", "claim", "case"],
        LetterType::RequestFailedVirus => &["practice", "claim"],
        LetterType::ClaimDenied => &["member", "practice", "claim"],
        LetterType::PrecertificationReceived
        | LetterType::AdditionalDocumentsRequested
        | LetterType::PrecertificationApproved
        | LetterType::PrecertificationPartiallyApproved
        | LetterType::PrecertificationDenied
        | LetterType::PrecertificationVoid => &["member", "practice", "case"],
        LetterType::PrecertificationNotRequired => &["practice"],
        LetterType::AppealReceived | LetterType::AppealUpheld | LetterType::AppealOverturned => &["member", "case"],
        LetterType::ReturnCoverSheet => &["case"],
    }
}

/// Checks what a letter is to be made of.
///
/// # Errors
/// Every field that is missing or malformed, with the rule it breaks.
pub fn check(
    letter_type: LetterType,
    head: &Head,
    details: &Value,
    plan: &LettersPolicy,
    coverage: &Coverage,
) -> Result<LetterData, Vec<FieldFault>> {
    let Ok(head) = serde_json::to_value(head) else {
        return Err(vec![FieldFault { field: "head".into(), rule: FieldRule::WrongKind }]);
    };
    check_values(letter_type, Some(&head), Some(details), plan, coverage)
}

/// The same for data that comes as JSON alone, as samples do: `{head, details}`.
///
/// # Errors
/// As [`check`].
pub fn check_document(
    letter_type: LetterType,
    document: &Value,
    plan: &LettersPolicy,
    coverage: &Coverage,
) -> Result<LetterData, Vec<FieldFault>> {
    let mut reader = Reader::new(coverage);
    if reader.object(Some(document), &["head", "details"]).is_none() || reader.has_faults() {
        return Err(reader.faults());
    }
    check_values(letter_type, document.get("head"), document.get("details"), plan, coverage)
}

fn check_values(
    letter_type: LetterType,
    head: Option<&Value>,
    details: Option<&Value>,
    plan: &LettersPolicy,
    coverage: &Coverage,
) -> Result<LetterData, Vec<FieldFault>> {
    let mut reader = Reader::new(coverage);
    let head = reader.under("head", |reader| {
        let head = Head::read(head, reader)?;
        check_head(letter_type, &head, reader);
        Some(head)
    });
    let details = reader.under("details", |reader| {
        let details = Details::read(letter_type, details, reader)?;
        if let Some(head) = &head {
            details.check(head.date, plan, reader);
        }
        Some(details)
    });
    let (Some(head), Some(details), false) = (head, details, reader.has_faults()) else {
        return Err(reader.faults());
    };
    let document = json!({"head": show_head(&head, plan), "details": details.show()});
    Ok(LetterData {
        letter_type,
        date: head.date,
        languages_page: plan.languages_page(letter_type),
        document: Phi(document),
    })
}

fn check_head(letter_type: LetterType, head: &Head, reader: &mut Reader<'_>) {
    let handed_out = matches!(letter_type, LetterType::ReconsiderationCopy | LetterType::ReturnCoverSheet);
    if head.letter_number.is_none() && !handed_out {
        reader.fault_at("letter_number", FieldRule::Missing);
    }
    for part in needs(letter_type) {
        let there = match *part {
            "member" => head.member.is_some(),
            "practice" => head.practice.is_some(),
            "claim" => head.claim.is_some(),
            _ => head.case.is_some(),
        };
        if !there {
            reader.fault_at(part, FieldRule::Missing);
        }
    }
    if head.addressee.window_lines() > WINDOW_LINES {
        reader.fault_at("addressee", FieldRule::TooLong);
    }
    if head.claim.as_ref().is_some_and(|claim| claim.service_to < claim.service_from) {
        reader.fault_at("claim.service_to", FieldRule::EndsBeforeItBegins);
    }
}

/// The head as templates read it, with as much of the member's id as policy shows.
fn show_head(head: &Head, plan: &LettersPolicy) -> Value {
    let mut shown = head.show();
    if plan.show.member_id == MemberIdShown::LastFour
        && let Some(id) = shown.pointer_mut("/member/member_id")
    {
        let whole: Vec<char> = id.as_str().unwrap_or_default().chars().collect();
        let kept = if whole.len() > 4 { whole.len() - 4 } else { whole.len() };
        *id = Value::from(format!("•••• {}", whole[kept..].iter().collect::<String>()));
    }
    shown
}
