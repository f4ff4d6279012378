//! Which ways a letter goes, and why (COR-03, COR-04, COR-10..15): one pure decision, whose reasons are kept.
//!
//! What is not known counts against the Messaging Center: paper reaches everybody. Adding a way never takes another
//! away, but for two: a fax stands in for paper that nothing else asks for, and what is handed out is not sent.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::Deserialize;
use thiserror::Error;

use crate::codes;
use crate::model::letter::{AddresseeKind, Circumstance, Circumstances, DeliveryChannel, LetterCategory, LetterType};

codes! {
    /// Why a letter goes a way. In the order in which they decide.
    pub enum RouteReason {
        /// It is for a member (COR-03).
        ToMember = "to_member",
        /// Policy has its category on paper (COR-03).
        PaperCategory = "paper_category",
        /// Policy has its type on paper (COR-03).
        PaperType = "paper_type",
        /// It is of a clinical review of a claim (COR-03).
        ClinicalClaimReview = "clinical_claim_review",
        /// A third party decides (COR-03).
        Delegated = "delegated",
        /// Nobody knows the member's plan (COR-03).
        PlanUnknown = "plan_unknown",
        /// The member's plan has no digital correspondence (COR-03).
        PlanNotDigital = "plan_not_digital",
        /// It is older than digital correspondence of its category (COR-04).
        BeforeDigital = "before_digital",
        /// The practice is not registered (COR-10).
        NotRegistered = "not_registered",
        /// The practice is registered (COR-11).
        Registered = "registered",
        /// It answers a request that came by fax (COR-13).
        CameByFax = "came_by_fax",
        /// Policy does not show answers by fax in the Messaging Center (COR-13).
        FaxOnly = "fax_only",
        /// It can't be answered by fax for want of a number (COR-13).
        NoFaxNumber = "no_fax_number",
        /// Nobody at the practice would see it (COR-15).
        NobodyEntitled = "nobody_entitled",
        /// The practice's access manager asked for paper (COR-11).
        ManagerChosePaper = "manager_chose_paper",
        /// It is handed out where it is asked for.
        HandedOut = "handed_out",
        /// It needs an answer, and nobody opened it in time (COR-26).
        UnreadInTime = "unread_in_time",
        /// It could not be sent by fax (COR-13).
        FaxFailed = "fax_failed",
    }
}

impl RouteReason {
    /// The reason as a sentence. It is true whatever way it stands with.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::ToMember => "Letters to members go on paper.",
            Self::PaperCategory => "Letters of this category go on paper.",
            Self::PaperType => "Letters of this type go on paper.",
            Self::ClinicalClaimReview => "Letters of a clinical claim review go on paper.",
            Self::Delegated => "Letters of a third party that decides for the plan go on paper.",
            Self::PlanUnknown => {
                "The member's plan is not known, so it does not count as one with digital correspondence."
            }
            Self::PlanNotDigital => "The member's plan is not one with digital correspondence.",
            Self::BeforeDigital => "The letter is of a day before digital correspondence of its category began.",
            Self::NotRegistered => "The practice is not registered for digital correspondence.",
            Self::Registered => "The practice is registered for digital correspondence.",
            Self::CameByFax => "The request came by fax, so it is answered by fax.",
            Self::FaxOnly => "Answers by fax are not shown in the Messaging Center.",
            Self::NoFaxNumber => "The request came by fax, but no fax number of the practice is known.",
            Self::NobodyEntitled => {
                "Nobody at the practice has the right to see letters of this category in the Messaging Center."
            }
            Self::ManagerChosePaper => "The practice's access manager asked for paper as well.",
            Self::HandedOut => "Letters of this type are handed out where they are asked for, and not sent.",
            Self::UnreadInTime => "It needs an answer, and nobody opened it in the Messaging Center in time.",
            Self::FaxFailed => "It was to go by fax, and could not be sent that way.",
        }
    }

    /// Whether it asks for paper whatever else reaches the addressee. The others only keep a letter out of the
    /// Messaging Center.
    const fn demands_paper(self) -> bool {
        matches!(
            self,
            Self::ToMember | Self::PaperCategory | Self::PaperType | Self::ClinicalClaimReview | Self::Delegated
        )
    }
}

/// What routing knows of a letter.
#[derive(Debug, Clone)]
pub struct LetterFacts<'a> {
    /// What it says; its category is that of the type.
    pub letter_type: LetterType,
    /// Whom it is for.
    pub addressee: AddresseeKind,
    /// The date on it.
    pub letter_date: Date,
    /// The code of the plan of the member it is about.
    pub plan: Option<&'a str>,
    /// What was said of it.
    pub circumstances: &'a Circumstances,
}

/// What routing knows of the practice that a letter is for. One that is not known at all is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TinFacts {
    /// The day it registered.
    pub registered_on: Option<Date>,
    /// Whether somebody who may come in holds the entitlement for the letter's category.
    pub has_reader: bool,
    /// Whether a fax number is known.
    pub has_fax: bool,
    /// Categories for which the access manager asked for paper, and the day they did.
    pub paper: BTreeMap<LetterCategory, Date>,
}

impl TinFacts {
    /// Whether it is registered on a day.
    pub fn is_registered(&self, on: Date) -> bool {
        self.registered_on.is_some_and(|since| since <= on)
    }
}

/// What policy says (`[route]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutePolicy {
    /// Codes of the plans with digital correspondence.
    pub digital_plans: BTreeSet<String>,
    /// Categories that are on paper.
    pub paper_categories: BTreeSet<LetterCategory>,
    /// Types that are on paper in a category that is not.
    pub paper_types: BTreeSet<LetterType>,
    /// Types that are handed out where they are asked for, and not sent.
    pub on_request: BTreeSet<LetterType>,
    /// The date of the first digital letters, per category.
    pub digital_since: BTreeMap<LetterCategory, Date>,
    /// The date of the first letters for which access managers may ask for paper.
    pub paper_choice_since: Date,
    /// Whether what is answered by fax is shown in the Messaging Center, too.
    pub fax_answers_in_inbox: bool,
}

/// Why a policy can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RoutePolicyError {
    /// A category is neither digital nor on paper, or both.
    #[error("{0} must be in paper_categories or have a date in digital_since, and not both")]
    Category(LetterCategory),
    /// A type is sent on paper and not sent.
    #[error("{0} can't be in both paper_types and on_request")]
    Type(LetterType),
    /// A plan's code is empty: what has no plan would count as digital.
    #[error("digital_plans holds an empty code")]
    Plan,
}

impl RoutePolicy {
    /// Checks that it makes sense.
    ///
    /// # Errors
    /// See [`RoutePolicyError`].
    pub fn check(&self) -> Result<(), RoutePolicyError> {
        for category in LetterCategory::ALL {
            if self.paper_categories.contains(category) == self.digital_since.contains_key(category) {
                return Err(RoutePolicyError::Category(*category));
            }
        }
        if let Some(both) = self.paper_types.intersection(&self.on_request).next() {
            return Err(RoutePolicyError::Type(*both));
        }
        if self.digital_plans.iter().any(|plan| plan.trim().is_empty()) {
            return Err(RoutePolicyError::Plan);
        }
        Ok(())
    }
}

/// The decision: the ways a letter goes, each with its reasons, the deciding one first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// At most one of each channel; none only for what is not sent.
    pub deliveries: Vec<(DeliveryChannel, Vec<RouteReason>)>,
    /// Why it is not sent; empty where it is.
    pub not_sent: Vec<RouteReason>,
}

impl Routing {
    /// Whether it goes that way.
    pub fn has(&self, channel: DeliveryChannel) -> bool {
        self.deliveries.iter().any(|(one, _)| *one == channel)
    }

    /// Why it goes that way; nothing where it does not.
    pub fn why(&self, channel: DeliveryChannel) -> &[RouteReason] {
        self.deliveries.iter().find(|(one, _)| *one == channel).map_or(&[], |(_, reasons)| reasons)
    }
}

/// Decides. `tin` is that of the practice a letter is for; for a letter to a member it does not count.
pub fn decide(letter: &LetterFacts<'_>, tin: &TinFacts, policy: &RoutePolicy, today: Date) -> Routing {
    use RouteReason::{CameByFax, FaxOnly, HandedOut, ManagerChosePaper, NoFaxNumber, NobodyEntitled, Registered};
    let by_fax = answers_fax(letter);
    if policy.on_request.contains(&letter.letter_type) && !by_fax {
        return Routing { deliveries: Vec::new(), not_sent: vec![HandedOut] };
    }
    let not_digital = not_digital(letter, tin, policy, today);
    let faxed = by_fax && tin.has_fax;
    let kept_out = faxed && !policy.fax_answers_in_inbox;
    let inbox = not_digital.is_empty() && !kept_out;

    let (mut paper, mut fax): (Vec<RouteReason>, Vec<RouteReason>) = (Vec::new(), Vec::new());
    if faxed {
        fax.push(CameByFax);
        let (demands, rest): (Vec<RouteReason>, Vec<RouteReason>) =
            not_digital.iter().partition(|reason| reason.demands_paper());
        paper.extend(demands);
        fax.extend(rest);
        fax.extend((not_digital.is_empty() && kept_out).then_some(FaxOnly));
    } else {
        paper.extend(&not_digital);
    }
    paper.extend((by_fax && !faxed).then_some(NoFaxNumber));
    paper.extend((inbox && !tin.has_reader).then_some(NobodyEntitled));
    paper.extend(chose_paper(letter, tin, policy, today).then_some(ManagerChosePaper));

    let inbox = if inbox { vec![Registered] } else { Vec::new() };
    let ways = [(DeliveryChannel::Inbox, inbox), (DeliveryChannel::Fax, fax), (DeliveryChannel::Paper, paper)];
    Routing { deliveries: ways.into_iter().filter(|(_, reasons)| !reasons.is_empty()).collect(), not_sent: Vec::new() }
}

/// Whether it answers by letter to a practice what came by fax (COR-13).
fn answers_fax(letter: &LetterFacts<'_>) -> bool {
    letter.addressee == AddresseeKind::Tin
        && letter.letter_type.category() == LetterCategory::Precertification
        && letter.circumstances.contains(&Circumstance::ByFax)
}

/// All that keeps a letter out of the Messaging Center, the first of it deciding. For a letter to a member nothing
/// else counts.
fn not_digital(letter: &LetterFacts<'_>, tin: &TinFacts, policy: &RoutePolicy, today: Date) -> Vec<RouteReason> {
    if letter.addressee == AddresseeKind::Member {
        return vec![RouteReason::ToMember];
    }
    let category = letter.letter_type.category();
    let on_paper = policy.paper_categories.contains(&category);
    let begun = policy.digital_since.get(&category).is_some_and(|since| *since <= letter.letter_date);
    let said = |what| letter.circumstances.contains(&what);
    let holds = [
        (RouteReason::PaperCategory, on_paper),
        (RouteReason::PaperType, policy.paper_types.contains(&letter.letter_type)),
        (RouteReason::ClinicalClaimReview, said(Circumstance::ClinicalClaimReview)),
        (RouteReason::Delegated, said(Circumstance::Delegated)),
        (RouteReason::PlanUnknown, letter.plan.is_none()),
        (RouteReason::PlanNotDigital, letter.plan.is_some_and(|plan| !policy.digital_plans.contains(plan))),
        (RouteReason::BeforeDigital, !on_paper && !begun),
        (RouteReason::NotRegistered, !tin.is_registered(today)),
    ];
    holds.into_iter().filter_map(|(reason, holds)| holds.then_some(reason)).collect()
}

/// Whether the access manager's choice of paper counts. One from before the practice registered anew does not: a newly
/// registered practice begins digital only (COR-11).
fn chose_paper(letter: &LetterFacts<'_>, tin: &TinFacts, policy: &RoutePolicy, today: Date) -> bool {
    let category = letter.letter_type.category();
    let chosen =
        tin.paper.get(&category).zip(tin.registered_on).is_some_and(|(since, registered)| *since >= registered);
    letter.addressee == AddresseeKind::Tin
        && category.has_paper_choice()
        && chosen
        && tin.is_registered(today)
        && policy.paper_choice_since <= letter.letter_date
}

/// Whether a letter that was routed for these reasons would have been on paper, too, had the access manager's choice
/// for its category been this one.
pub fn on_paper_with_choice(ways: &[(DeliveryChannel, Vec<RouteReason>)], chosen: bool) -> bool {
    let other = |reason: &RouteReason| *reason != RouteReason::ManagerChosePaper;
    let on_paper = ways.iter().any(|(way, reasons)| *way == DeliveryChannel::Paper && reasons.iter().any(other));
    // without registration there is nothing to choose
    let registered = !ways.iter().any(|(_, reasons)| reasons.contains(&RouteReason::NotRegistered));
    on_paper || (chosen && registered && !ways.is_empty())
}

/// The decision in sentences, a line for each way.
pub fn explain(routing: &Routing) -> String {
    if routing.deliveries.is_empty() {
        return in_sentences("Not sent", &routing.not_sent);
    }
    let line = |(channel, reasons): &(DeliveryChannel, Vec<RouteReason>)| in_sentences(channel.shown(), reasons);
    routing.deliveries.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn in_sentences(what: &str, reasons: &[RouteReason]) -> String {
    let sentences: Vec<&str> = reasons.iter().map(|reason| reason.sentence()).collect();
    format!("{what}: {}", sentences.join(" "))
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
