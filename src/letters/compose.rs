//! What a letter is made of: the head from our rows, the details from who asked for it, and for letters that a status asks
//! for by itself, what our rows can tell.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use crate::db::case_files::{self, CaseFile, ClaimFacts};
use crate::db::letters::{Addressee, Letter};
use crate::db::reference::{self, MemberFacts, Practice};
use crate::db::{Conn, DbError};
use crate::letters::asks::OURSELVES;
use crate::letters::fields::{Line, Some1, State, Zip};
use crate::letters::fonts::Coverage;
use crate::letters::head::{self, CaseHead, ClaimHead, Head, MemberHead, PracticeHead, ReaderKind};
use crate::letters::{LetterData, LettersPolicy, Renderer, faults};
use crate::model::address::Address;
use crate::model::calendar::Calendar;
use crate::model::ids::{Brand, CaseId, ClaimNumber, LetterNumber, MemberId, Tin};
use crate::model::letter::LetterType;
use crate::model::phi::Phi;

/// As much of a file's name as a letter shows.
const NAME_CHARS: usize = 120;

/// What is to be composed.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are those of a letter")]
pub struct Order<'a> {
    /// None on a sheet that no letter's row stands for.
    pub number: Option<&'a LetterNumber>,
    pub brand: &'a Brand,
    pub letter_type: LetterType,
    pub addressee: &'a Addressee,
    pub tin: Option<&'a Tin>,
    pub member_id: Option<&'a MemberId>,
    pub claim_number: Option<&'a ClaimNumber>,
    pub case_id: Option<&'a CaseId>,
    pub details: &'a Phi<String>,
    /// Whether it was asked for by a status: names of files are then a sender's.
    pub by_itself: bool,
}

impl<'a> From<&'a Letter> for Order<'a> {
    fn from(letter: &'a Letter) -> Self {
        Self {
            number: Some(&letter.number),
            brand: &letter.brand,
            letter_type: letter.letter_type,
            addressee: &letter.addressee,
            tin: letter.tin.as_ref(),
            member_id: letter.member_id.as_ref(),
            claim_number: letter.claim_number.as_ref(),
            case_id: letter.case_id.as_ref(),
            details: &letter.details,
            by_itself: letter.asker == OURSELVES,
        }
    }
}

/// What our rows tell of a letter.
struct Facts {
    practice: Option<Practice>,
    provider: Option<String>,
    member: Option<MemberFacts>,
    claim: Option<ClaimFacts>,
    case: Option<CaseFile>,
    /// The day the case was opened.
    opened_on: Option<Date>,
}

/// Gathers a letter's data and checks it. What is missing or malformed is told by its fields, without values.
///
/// # Errors
/// When the database fails.
pub async fn compose(
    conn: &mut Conn,
    letter: Order<'_>,
    (now, calendar): (Timestamp, &Calendar),
    renderer: &Renderer,
    plan: &LettersPolicy,
) -> Result<Result<LetterData, String>, DbError> {
    let facts = gather(conn, letter, calendar).await?;
    let today = calendar.local_day(now);
    let details = match details(letter, &facts, today, renderer.coverage()) {
        Ok(details) => details,
        Err(fault) => return Ok(Err(fault)),
    };
    let head = match head(letter, &facts, today) {
        Ok(head) => head,
        Err(fault) => return Ok(Err(fault)),
    };
    Ok(renderer.check(letter.letter_type, &head, &details, plan).map_err(|found| faults::told(&found)))
}

async fn gather(conn: &mut Conn, letter: Order<'_>, calendar: &Calendar) -> Result<Facts, DbError> {
    let case = match letter.case_id {
        Some(id) => case_files::get(conn, id).await?,
        None => None,
    };
    let claim = match letter.claim_number {
        Some(number) => case_files::claim(conn, letter.brand, number).await?,
        None => None,
    };
    let npi = claim.as_ref().and_then(|claim| claim.npi.clone());
    Ok(Facts {
        practice: match letter.tin {
            Some(tin) => reference::practice(conn, tin).await?,
            None => None,
        },
        provider: match &npi {
            Some(npi) => reference::provider_name(conn, npi).await?,
            None => None,
        },
        member: match letter.member_id {
            Some(id) => reference::member_facts(conn, letter.brand, id).await?,
            None => None,
        },
        claim,
        opened_on: case.as_ref().map(|case| calendar.local_day(case.opened_at)),
        case,
    })
}

fn line(text: impl Into<String>) -> Line {
    Line(Phi(text.into()))
}

fn head(letter: Order<'_>, facts: &Facts, today: Date) -> Result<Head, String> {
    Ok(Head {
        letter_number: letter.number.map(|number| line(number.as_str())),
        date: today,
        addressee: addressee(letter, facts)?,
        member: letter.member_id.zip(facts.member.as_ref()).map(|(id, member)| member_head(id, member)),
        practice: letter.tin.zip(facts.practice.as_ref()).map(|(tin, practice)| practice_head(tin, practice, facts)),
        claim: facts.claim.as_ref().map(|claim| ClaimHead {
            number: line(claim.claim_number.as_str()),
            service_from: claim.service.0,
            service_to: claim.service.1,
            processed_on: claim.processed_on,
        }),
        case: facts.case.as_ref().map(|case| CaseHead { number: line(case.case_number.as_str()) }),
    })
}

fn member_head(id: &MemberId, member: &MemberFacts) -> MemberHead {
    MemberHead { name: line(member.name.reveal()), member_id: line(id.as_str()), plan: member.plan.as_ref().map(line) }
}

fn practice_head(tin: &Tin, practice: &Practice, facts: &Facts) -> PracticeHead {
    PracticeHead {
        name: line(&practice.name),
        tin: Some(line(tin.masked())),
        provider: facts.provider.as_ref().filter(|provider| **provider != practice.name).map(line),
    }
}

fn addressee(letter: Order<'_>, facts: &Facts) -> Result<head::Addressee, String> {
    const NO_PRACTICE: &str = "head.addressee is missing: the practice is not in the reference data";
    const NO_MEMBER: &str = "head.addressee is missing: the member is not in the reference data";
    const NO_ADDRESS: &str = "head.addressee is missing: the reference data has no address";
    let (kind, name, address) = match letter.addressee {
        Addressee::Tin(_) => {
            let practice = facts.practice.as_ref().ok_or(NO_PRACTICE)?;
            (ReaderKind::Practice, practice.name.clone(), practice.address.clone())
        }
        Addressee::Member(_) => {
            let member = facts.member.as_ref().ok_or(NO_MEMBER)?;
            (ReaderKind::Member, member.name.reveal().clone(), member.address.clone().map(Phi::into_inner))
        }
    };
    let Address { lines, city, state, zip } = address.ok_or(NO_ADDRESS)?;
    Ok(head::Addressee {
        kind,
        name: line(name),
        attention: None,
        lines: Some1(lines.into_iter().map(line).collect()),
        city: line(city),
        state: State(state),
        zip: Zip(Phi(zip)),
    })
}

/// The details: what was said, over what our rows tell for the letters that a status asks for by itself.
fn details(letter: Order<'_>, facts: &Facts, today: Date, coverage: &Coverage) -> Result<Value, String> {
    let said: Value = serde_json::from_str(letter.details.reveal()).map_err(|_| "details is no JSON".to_owned())?;
    let Value::Object(mut said) = said else { return Err("details must be an object".into()) };
    if letter.by_itself
        && let Some(Value::Array(files)) = said.get_mut("files")
    {
        files.iter_mut().for_each(|name| *name = json!(shown(name.as_str().unwrap_or_default(), coverage)));
    }
    let mut details = known(letter.letter_type, facts, today);
    details.extend(said);
    Ok(Value::Object(details))
}

/// A file's name as a letter can show it: a sender may have named a file in a script that no font here has, and is to be
/// told of it all the same.
pub(super) fn shown(name: &str, coverage: &Coverage) -> String {
    name.chars().map(|c| if coverage.shows(c) { c } else { '_' }).take(NAME_CHARS).collect()
}

/// What our rows tell. Nothing that a person has to decide is among it.
fn known(letter_type: LetterType, facts: &Facts, today: Date) -> Map<String, Value> {
    let pairs: Vec<(&str, Option<Value>)> = match letter_type {
        LetterType::ReconsiderationReceived
        | LetterType::RequestFailedVirus
        | LetterType::PrecertificationReceived
        | LetterType::AppealReceived => vec![("received_on", facts.opened_on.map(|day| json!(day)))],
        LetterType::ReconsiderationAdjusted
        | LetterType::ReconsiderationUpheld
        | LetterType::ClaimDenied
        | LetterType::PrecertificationApproved
        | LetterType::PrecertificationPartiallyApproved
        | LetterType::PrecertificationDenied
        | LetterType::AppealUpheld
        | LetterType::AppealOverturned => vec![("decided_on", Some(json!(today)))],
        LetterType::PrecertificationVoid => vec![("voided_on", Some(json!(today)))],
        LetterType::AdditionalInformationRequested
        | LetterType::AdditionalDocumentsRequested
        | LetterType::ReconsiderationCopy
        | LetterType::PrecertificationNotRequired
        | LetterType::ReturnCoverSheet => Vec::new(),
    };
    pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
