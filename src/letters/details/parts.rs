//! What the details of several letters are made of.

use jiff::civil::Date;

use crate::letters::fields::{Cents, Count, Line, Prose, Some1, State, Zip};
use crate::{codes, letter_codes, letter_data};

letter_data! {
    /// A service that was asked for or decided on.
    pub struct Service {
        /// Its procedure code.
        code: Line,
        /// What it is, in words.
        description: Line,
        /// The first day it is for.
        service_from: Option<Date>,
        /// The last day it is for.
        service_to: Option<Date>,
        /// How many visits, days or units.
        units: Option<Count>,
        /// Who is to do it.
        provider: Option<Line>,
    }
}

letter_data! {
    /// Something that is needed to decide.
    pub struct Needed {
        /// What.
        what: Line,
        /// What for.
        why: Option<Line>,
    }
}

letter_data! {
    /// A line of a claim that is denied.
    pub struct DeniedLine {
        /// The day of service.
        service_on: Date,
        /// The procedure code.
        code: Line,
        /// What was done.
        description: Line,
        /// What was billed.
        billed_cents: Cents,
        /// Why this line is not paid, in a few words.
        reason: Line,
    }
}

letter_data! {
    /// A line of a claim that is paid otherwise than before.
    pub struct AdjustedLine {
        /// The day of service.
        service_on: Date,
        /// The procedure code.
        code: Line,
        /// What was done.
        description: Line,
        /// What was billed.
        billed_cents: Cents,
        /// What had been paid.
        paid_before_cents: Cents,
        /// What is paid now.
        paid_now_cents: Cents,
        /// What the member owes.
        member_owes_cents: Cents,
    }
}

letter_data! {
    /// Where an office can be reached.
    pub struct Contact {
        /// Its name.
        name: Line,
        /// Street, box, suite.
        lines: Some1<Line>,
        /// City.
        city: Line,
        /// State.
        state: State,
        /// ZIP code.
        zip: Zip,
        /// Phone.
        phone: Line,
        /// Fax.
        fax: Option<Line>,
        /// Web address.
        website: Option<Line>,
    }
}

letter_data! {
    /// A coverage policy that a decision rests on.
    pub struct CoveragePolicy {
        /// Its title.
        title: Line,
        /// Its number.
        number: Line,
        /// The section that decided.
        section: Option<Line>,
        /// Since when it is in force.
        effective_on: Option<Date>,
    }
}

letter_codes! {
    /// What follows a decision that is not accepted (DIS-04).
    pub enum AppealLevel {
        /// The first internal appeal.
        First = "first",
        /// The second, by another clinical reviewer.
        Second = "second",
        /// External review by an independent review organization.
        External = "external",
    }
}

letter_codes! {
    /// Classes of denial; what each must hold is policy (DIS-06).
    pub enum DenialClass {
        /// Not medically necessary.
        MedicalNecessity = "medical_necessity",
        /// For a reason that needs no clinical judgement.
        Administrative = "administrative",
        /// Some of it is approved, the rest is denied.
        Partial = "partial",
    }
}

codes! {
    /// What policy can ask of a denial. The codes are the names of the fields in [`Denial`].
    pub enum DenialField {
        /// Why.
        Reason = "reason",
        /// The right to appeal: which level is open.
        AppealRights = "appeal_level",
        /// By when the appeal must be filed.
        AppealDeadline = "appeal_deadline",
        /// The coverage policy that decided.
        CoveragePolicy = "coverage_policy",
        /// The independent review organization of the state.
        IroContact = "iro",
        /// Why, in clinical terms.
        ClinicalRationale = "clinical_rationale",
        /// The reviewer's profession and specialty.
        Reviewer = "reviewer",
        /// How to speak with the medical director (DIS-05).
        PeerToPeer = "peer_to_peer",
    }
}

letter_data! {
    /// How a provider speaks with the medical director (DIS-05).
    pub struct PeerToPeer {
        /// The number to call.
        phone: Line,
        /// Hours after the denial in which to ask.
        hours: Count,
    }
}

letter_data! {
    /// What a denial tells. Which of it must be there is policy per class.
    pub struct Denial {
        /// The class.
        class: DenialClass,
        /// Why, in words that a member understands.
        reason: Option<Prose>,
        /// Why, in clinical terms.
        clinical_rationale: Option<Prose>,
        /// The coverage policy that decided.
        coverage_policy: Option<CoveragePolicy>,
        /// The reviewer's profession and specialty.
        reviewer: Option<Line>,
        /// The level of appeal that is open.
        appeal_level: Option<AppealLevel>,
        /// By when it must be filed.
        appeal_deadline: Option<Date>,
        /// The independent review organization of the state.
        iro: Option<Contact>,
        /// How to speak with the medical director.
        peer_to_peer: Option<PeerToPeer>,
    }
}

impl Denial {
    /// Whether it has this.
    pub const fn has(&self, field: DenialField) -> bool {
        match field {
            DenialField::Reason => self.reason.is_some(),
            DenialField::AppealRights => self.appeal_level.is_some(),
            DenialField::AppealDeadline => self.appeal_deadline.is_some(),
            DenialField::CoveragePolicy => self.coverage_policy.is_some(),
            DenialField::IroContact => self.iro.is_some(),
            DenialField::ClinicalRationale => self.clinical_rationale.is_some(),
            DenialField::Reviewer => self.reviewer.is_some(),
            DenialField::PeerToPeer => self.peer_to_peer.is_some(),
        }
    }
}
