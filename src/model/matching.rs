//! Which case a document belongs to: a pure decision over evidence (INT-15, INT-17).
//!
//! This first version knows exact identifiers only. It matches by itself where a case-level identifier
//! points at exactly one case, something about the person or the practice corroborates it, and nothing
//! conflicts. Everything else is a person's decision, with the best three proposed: a wrong match discloses
//! a patient's data, a missed one costs a minute. Weighed inexact evidence, barcodes and OCR join later as
//! further [`Field`]s; the rule stays.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::codes;
use crate::model::case::CaseKind;
use crate::model::ids::{AttachmentControlNumber, CaseId, CaseNumber, ClaimNumber, MemberId, Npi, Tin};
use crate::model::phi::Phi;
use crate::model::submission::Said;

codes! {
    /// What a piece of evidence is about.
    pub enum Field {
        /// The case of the earlier submission whose reference the sender quotes.
        Submission = "submission",
        /// The kind of case the sender says it is for. Never evidence for a case, only against one.
        Kind = "kind",
        /// Case number.
        CaseNumber = "case_number",
        /// Claim number.
        ClaimNumber = "claim_number",
        /// Attachment control number.
        AttachmentControlNumber = "attachment_control_number",
        /// Member id.
        MemberId = "member_id",
        /// The member's first and last name, both.
        Name = "name",
        /// The member's date of birth.
        BirthDate = "birth_date",
        /// Practice.
        Tin = "tin",
        /// Provider.
        Npi = "npi",
        /// A date within the case's dates of service.
        ServiceDate = "service_date",
    }
}

impl Field {
    /// Whether it names a case, not only a person or a practice.
    pub const fn is_case_level(self) -> bool {
        matches!(self, Self::Submission | Self::CaseNumber | Self::ClaimNumber | Self::AttachmentControlNumber)
    }
}

codes! {
    /// Where a piece of evidence comes from.
    pub enum Source {
        /// The sender said so.
        Sender = "sender",
        /// The pages say so.
        Page = "page",
    }
}

/// One piece of evidence for or against a case. It holds no identifier, so it can be kept and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Evidence {
    /// What it is about.
    pub field: Field,
    /// Who says it.
    pub source: Source,
    /// Whether it speaks for the case.
    pub agrees: bool,
}

/// Weights and thresholds (policy), in bits of evidence: log2 of how much likelier an agreement is for the
/// right case than for another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchPolicy {
    /// A match needs at least this much.
    pub accept_bits: f64,
    /// A proposal needs at least this much.
    pub propose_bits: f64,
    /// What a disagreement takes away when proposals are ordered. It also bars an automatic match.
    pub conflict_bits: f64,
    /// How many cases are proposed at most.
    pub proposals: usize,
    /// How many distinct identifier-like words of a document are looked up at most.
    pub identifier_limit: usize,
    /// What an exact agreement of each field is worth.
    pub bits: Bits,
}

/// Bits per field. See [`MatchPolicy`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the Field of its name")]
pub struct Bits {
    pub submission: f64,
    pub case_number: f64,
    pub claim_number: f64,
    pub attachment_control_number: f64,
    pub member_id: f64,
    pub name: f64,
    pub birth_date: f64,
    pub tin: f64,
    pub npi: f64,
    pub service_date: f64,
}

impl Bits {
    const fn of(&self, field: Field) -> f64 {
        match field {
            Field::Submission => self.submission,
            Field::Kind => 0.0,
            Field::CaseNumber => self.case_number,
            Field::ClaimNumber => self.claim_number,
            Field::AttachmentControlNumber => self.attachment_control_number,
            Field::MemberId => self.member_id,
            Field::Name => self.name,
            Field::BirthDate => self.birth_date,
            Field::Tin => self.tin,
            Field::Npi => self.npi,
            Field::ServiceDate => self.service_date,
        }
    }
}

/// A case as the matcher sees it.
#[derive(Debug, Clone)]
pub struct CaseFacts {
    /// Its id.
    pub id: CaseId,
    /// Its kind.
    pub kind: CaseKind,
    /// Whether it is still open. Closed ones are proposed, too.
    pub open: bool,
    /// Its number.
    pub case_number: CaseNumber,
    /// The claim it is about.
    pub claim_number: Option<ClaimNumber>,
    /// The control number of attachments announced for it.
    pub attachment_control_number: Option<AttachmentControlNumber>,
    /// The patient.
    pub member_id: MemberId,
    /// The patient's first and last name.
    pub name: Phi<(String, String)>,
    /// The patient's date of birth.
    pub birth_date: Option<Phi<Date>>,
    /// The practice.
    pub tin: Tin,
    /// The provider.
    pub npi: Option<Npi>,
    /// First and last day of service.
    pub service: Option<(Date, Date)>,
}

/// What the sender of a document said, all in all.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// What was said in the fields of the submission.
    pub said: Said,
    /// The kind of case it was said to be for.
    pub kind: Option<CaseKind>,
    /// The case that the submission named, joined or opened.
    pub to: Option<CaseId>,
}

/// What the pages of a document say, brought to comparable form. All of it is health data.
#[derive(Debug, Clone, Default)]
pub struct PageFacts {
    /// Words that can be identifiers, upper-cased.
    pub identifiers: BTreeSet<Phi<String>>,
    /// Words, upper-cased.
    pub words: BTreeSet<Phi<String>>,
    /// Dates.
    pub dates: BTreeSet<Phi<Date>>,
    /// Of the identifiers, those that are ids of members the payer knows.
    pub known_members: BTreeSet<Phi<String>>,
    /// Of the identifiers, those that are claim numbers the payer knows, each with the claim's member. A claim
    /// without a case is no candidate, and still says whom a page is about.
    pub known_claims: BTreeMap<Phi<String>, MemberId>,
    /// Whether the pages say more than was read: what was not read could contradict.
    pub incomplete: bool,
}

impl PageFacts {
    fn has(&self, identifier: &str) -> bool {
        self.identifiers.contains(&Phi(identifier.to_owned()))
    }

    fn has_word(&self, word: &str) -> bool {
        !word.is_empty() && self.words.contains(&Phi(word.to_uppercase()))
    }
}

/// A case with the evidence found for and against it.
#[derive(Debug, Clone)]
pub struct Weighed {
    /// The case.
    pub case: CaseFacts,
    /// What speaks for and against it.
    pub evidence: Vec<Evidence>,
    /// Sum of the evidence, in thousandths of a bit.
    pub millibits: i64,
}

impl Weighed {
    fn any(&self, test: impl Fn(&Evidence) -> bool) -> bool {
        self.evidence.iter().any(test)
    }

    fn is_named(&self) -> bool {
        self.any(|e| e.agrees && e.field.is_case_level())
    }

    fn is_corroborated(&self) -> bool {
        self.any(|e| e.agrees && !e.field.is_case_level())
    }

    fn is_contradicted(&self) -> bool {
        self.any(|e| !e.agrees)
    }
}

/// What is decided about a document.
#[derive(Debug, Clone)]
pub enum Decision {
    /// It belongs to this case.
    Matched(Box<Weighed>),
    /// A person chooses among these, best first; never empty.
    NeedsReview(Vec<Weighed>),
    /// No case is known that it could belong to.
    Unmatched,
}

/// Decides over all candidate cases: those that any identifier of the sender or of the pages leads to.
pub fn decide(sent: &Sent, page: &PageFacts, candidates: Vec<CaseFacts>, policy: &MatchPolicy) -> Decision {
    let mut weighed: Vec<Weighed> = candidates.into_iter().map(|case| weigh(case, sent, page, policy)).collect();
    weighed.sort_by(|a, b| (b.millibits, b.case.open, &b.case.id).cmp(&(a.millibits, a.case.open, &a.case.id)));
    // A reference that leads nowhere was meant to lead somewhere, and what was not read could contradict.
    let doubtful = page.incomplete || (sent.said.reference.is_some() && sent.to.is_none());
    if let Some(place) = the_only_one(&weighed, sent.to.as_ref()).filter(|_| !doubtful) {
        let best = &weighed[place];
        if best.is_corroborated() && !best.is_contradicted() && best.millibits >= millibits(policy.accept_bits) {
            return Decision::Matched(Box::new(weighed.swap_remove(place)));
        }
    }
    weighed.retain(|w| w.millibits >= millibits(policy.propose_bits) || w.is_named());
    weighed.truncate(policy.proposals);
    if weighed.is_empty() { Decision::Unmatched } else { Decision::NeedsReview(weighed) }
}

/// The one case that a case-level identifier names. Where a claim number names several cases of one claim
/// (a closed reconsideration, a new one, an appeal), the one the submission was sent to, or else the only
/// open one; but never against a sibling that is named by a number of its own. The kind that the sender said
/// does not choose among siblings: most wrong matches are the right member's other case.
fn the_only_one(weighed: &[Weighed], sent_to: Option<&CaseId>) -> Option<usize> {
    let named: Vec<usize> = (0..weighed.len()).filter(|i| weighed[*i].is_named()).collect();
    let single = |places: Vec<usize>| if let [place] = places[..] { Some(place) } else { None };
    if named.len() == 1 {
        return single(named);
    }
    // Two different claims named at once are a contradiction, whoever names them.
    let first = weighed.get(*named.first()?)?;
    let one_claim = named.iter().all(|i| {
        weighed[*i].case.claim_number == first.case.claim_number
            && weighed[*i].case.claim_number.is_some()
            && weighed[*i].case.member_id == first.case.member_id
    });
    if !one_claim {
        return None;
    }
    let chosen = match sent_to {
        Some(target) => single(named.iter().copied().filter(|i| weighed[*i].case.id == *target).collect()),
        None => single(named.iter().copied().filter(|i| weighed[*i].case.open).collect()),
    }?;
    let by_its_own_number = |i: usize| {
        weighed[i].any(|e| e.agrees && matches!(e.field, Field::CaseNumber | Field::AttachmentControlNumber))
    };
    named.into_iter().all(|i| i == chosen || !by_its_own_number(i)).then_some(chosen)
}

fn weigh(case: CaseFacts, sent: &Sent, page: &PageFacts, policy: &MatchPolicy) -> Weighed {
    let mut evidence = Vec::new();
    of_sender(&case, sent, &mut evidence);
    of_page(&case, page, &mut evidence);
    let millibits = sum(&evidence, policy);
    Weighed { case, evidence, millibits }
}

fn say(evidence: &mut Vec<Evidence>, field: Field, source: Source, agrees: Option<bool>) {
    if let Some(agrees) = agrees {
        evidence.push(Evidence { field, source, agrees });
    }
}

fn of_sender(case: &CaseFacts, sent: &Sent, evidence: &mut Vec<Evidence>) {
    let said = &sent.said;
    let mut say = |field, agrees| say(evidence, field, Source::Sender, agrees);
    // Only a reference leads to a case by itself: a case opened or joined for a claim rests on the claim number,
    // which is evidence already.
    let by_reference = sent.to.as_ref().filter(|_| said.reference.is_some());
    say(Field::Submission, by_reference.map(|id| *id == case.id));
    say(Field::Kind, sent.kind.filter(|kind| *kind != case.kind).map(|_| false));
    say(Field::CaseNumber, said.case_number.as_ref().map(|n| *n == case.case_number));
    say(Field::ClaimNumber, agreement(&said.claim_number, &case.claim_number));
    say(Field::AttachmentControlNumber, agreement(&said.attachment_control_number, &case.attachment_control_number));
    say(Field::MemberId, said.member_id.as_ref().map(|id| *id == case.member_id));
    say(Field::Tin, said.tin.as_ref().map(|tin| *tin == case.tin));
    say(Field::Npi, agreement(&said.npi, &case.npi));
    say(Field::BirthDate, agreement(&said.birth_date, &case.birth_date));
    say(Field::ServiceDate, said.service_date.as_ref().and_then(|date| within(case, date.reveal())));
}

fn of_page(case: &CaseFacts, page: &PageFacts, evidence: &mut Vec<Evidence>) {
    let mut say = |field, agrees| say(evidence, field, Source::Page, agrees);
    // What a page does not say is no evidence; that it speaks of somebody else is.
    let found = |holds: bool| holds.then_some(true);
    let against = |holds: bool| holds.then_some(false);
    let named = |number: Option<&str>| found(number.is_some_and(|number| page.has(number)));
    let own_claim = case.claim_number.as_ref().map(ClaimNumber::as_str);
    say(Field::CaseNumber, named(Some(case.case_number.as_str())));
    say(Field::ClaimNumber, named(own_claim));
    // a precertification's papers may tell of the same member's claims; another claim's case's may not
    let other_claim = page
        .known_claims
        .iter()
        .any(|(number, member)| *member == case.member_id && own_claim.is_some_and(|own| own != number.reveal()));
    say(Field::ClaimNumber, against(other_claim));
    say(
        Field::AttachmentControlNumber,
        named(case.attachment_control_number.as_ref().map(AttachmentControlNumber::as_str)),
    );
    say(Field::MemberId, named(Some(case.member_id.as_str())));
    let other_member = page.known_members.iter().any(|id| id.reveal() != case.member_id.as_str())
        || page.known_claims.values().any(|member| *member != case.member_id);
    say(Field::MemberId, against(other_member));
    say(Field::Tin, named(Some(case.tin.as_str())));
    say(Field::Npi, named(case.npi.as_ref().map(Npi::as_str)));
    let (first, last) = case.name.reveal();
    say(Field::Name, found(page.has_word(first) && page.has_word(last)));
    say(Field::BirthDate, found(case.birth_date.as_ref().is_some_and(|date| page.dates.contains(date))));
    say(Field::ServiceDate, found(page.dates.iter().any(|date| within(case, date.reveal()) == Some(true))));
}

fn within(case: &CaseFacts, date: &Date) -> Option<bool> {
    case.service.map(|(from, to)| (from..=to).contains(date))
}

/// Agreement of two known values; a missing field is no evidence, not a disagreement.
fn agreement<T: PartialEq>(left: &Option<T>, right: &Option<T>) -> Option<bool> {
    Some(left.as_ref()? == right.as_ref()?)
}

/// Sums the evidence; a field that sender and page agree on counts once, for they often share their source.
fn sum(evidence: &[Evidence], policy: &MatchPolicy) -> i64 {
    let agreed: BTreeSet<Field> = evidence.iter().filter(|e| e.agrees).map(|e| e.field).collect();
    let against = evidence.iter().filter(|e| !e.agrees).count();
    let gained: i64 = agreed.into_iter().map(|field| millibits(policy.bits.of(field))).sum();
    gained - millibits(policy.conflict_bits) * i64::try_from(against).unwrap_or(i64::MAX / 1_000_000)
}

#[expect(clippy::cast_possible_truncation, reason = "policy figures are small")]
fn millibits(bits: f64) -> i64 {
    (bits * 1000.0).round() as i64
}

/// Finds in a text what can be an identifier, a word or a date. What is over `identifier_limit` makes the facts
/// incomplete.
pub fn read_page(text: &str, identifier_limit: usize, facts: &mut PageFacts) {
    for word in text.split(|c: char| c.is_whitespace() || c.is_control() || ",;:()[]{}<>|\"'=".contains(c)) {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        if word.is_empty() || word.len() > 80 {
            continue;
        }
        let upper = word.to_uppercase();
        let digits = upper.bytes().filter(u8::is_ascii_digit).count();
        if let Some(date) = read_date(&upper) {
            facts.dates.insert(Phi(date));
        } else if digits >= 4 {
            for identifier in identifiers_in(&upper) {
                if facts.identifiers.len() >= identifier_limit && !facts.identifiers.contains(&Phi(identifier.clone()))
                {
                    facts.incomplete = true;
                    return;
                }
                facts.identifiers.insert(Phi(identifier));
            }
        } else if digits == 0 {
            facts.words.insert(Phi(upper));
        }
    }
}

/// A word as an identifier, and what else it may hold: a TIN written with its hyphen, a member id with a
/// dependent's suffix, two numbers with a stroke between them.
fn identifiers_in(word: &str) -> Vec<String> {
    if !word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./#".contains(&b)) {
        return Vec::new();
    }
    let mut found = vec![word.to_owned()];
    let bare: String = word.chars().filter(|c| *c != '-').collect();
    if bare.len() == 9 && bare.bytes().all(|b| b.is_ascii_digit()) {
        found.push(bare);
    }
    let parts = word.split(['-', '/', '_', '#', '.']);
    found.extend(
        parts.filter(|p| p.len() < word.len() && p.bytes().filter(u8::is_ascii_digit).count() >= 4).map(Into::into),
    );
    found
}

/// Reads the ways a date stands in a US letter: 2026-03-09, 03/09/2026, 3-9-2026.
fn read_date(word: &str) -> Option<Date> {
    let separator = word.chars().find(|c| *c == '/' || *c == '-')?;
    let parts: Vec<&str> = word.split(separator).collect();
    let [a, b, c] = parts[..] else { return None };
    let (year, month, day) = if a.len() == 4 { (a, b, c) } else { (c, a, b) };
    if year.len() != 4 {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
