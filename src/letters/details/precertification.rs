//! Details of letters about precertifications.

use jiff::civil::Date;

use crate::letters::details::parts::{Denial, Needed, Service};
use crate::letters::fields::{Line, Prose, Some1};
use crate::{letter_codes, letter_data};

letter_codes! {
    /// How soon a request must be decided.
    pub enum Urgency {
        /// In the usual time.
        Standard = "standard",
        /// At once: waiting could harm the patient.
        Urgent = "urgent",
    }
}

letter_data! {
    /// A precertification request has come in.
    pub struct PrecertificationReceived {
        /// When.
        received_on: Date,
        /// How soon it must be decided.
        urgency: Option<Urgency>,
        /// What was asked for.
        services: Vec<Service>,
        /// By when it is decided.
        decide_by: Option<Date>,
    }
}

letter_data! {
    /// Documents are needed to decide a precertification.
    pub struct AdditionalDocumentsRequested {
        /// Which.
        needed: Some1<Needed>,
        /// By when.
        due_by: Date,
        /// What was asked for.
        services: Vec<Service>,
    }
}

letter_data! {
    /// A precertification is approved.
    pub struct PrecertificationApproved {
        /// When.
        decided_on: Date,
        /// The number to quote on the claim.
        authorization_number: Line,
        /// The first day it is good for.
        valid_from: Date,
        /// The last day it is good for.
        valid_to: Date,
        /// What is approved.
        services: Some1<Service>,
        /// What it depends on.
        conditions: Option<Prose>,
    }
}

letter_data! {
    /// A precertification is approved in part.
    pub struct PrecertificationPartiallyApproved {
        /// When.
        decided_on: Date,
        /// The number to quote on the claim.
        authorization_number: Line,
        /// The first day it is good for.
        valid_from: Date,
        /// The last day it is good for.
        valid_to: Date,
        /// What is approved.
        approved: Some1<Service>,
        /// What is not.
        denied: Some1<Service>,
        /// Why, and what can be done.
        denial: Denial,
    }
}

letter_data! {
    /// A precertification is denied.
    pub struct PrecertificationDenied {
        /// When.
        decided_on: Date,
        /// What is denied.
        services: Some1<Service>,
        /// Why, and what can be done.
        denial: Denial,
    }
}

letter_codes! {
    /// Who voided a request.
    pub enum VoidedBy {
        /// Who asked for it.
        Requester = "requester",
        /// The plan.
        Plan = "plan",
    }
}

letter_data! {
    /// A precertification request is void.
    pub struct PrecertificationVoid {
        /// Since when.
        voided_on: Date,
        /// By whom.
        voided_by: VoidedBy,
        /// Why.
        reason: Option<Prose>,
        /// What had been asked for.
        services: Vec<Service>,
    }
}

letter_data! {
    /// A service does not require precertification (PRE-05).
    pub struct PrecertificationNotRequired {
        /// When it was checked.
        checked_on: Date,
        /// What was checked.
        services: Some1<Service>,
        /// Where the service is to be given.
        place: Option<Line>,
    }
}
