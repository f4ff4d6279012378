//! Details of letters about appeals.

use jiff::civil::Date;

use crate::letters::details::parts::{AppealLevel, Contact, CoveragePolicy, Service};
use crate::letters::fields::{Cents, Line, Prose};
use crate::{letter_codes, letter_data};

letter_codes! {
    /// Kinds of appeals: each has its time (DIS-03).
    pub enum AppealKind {
        /// About care that was given.
        PostService = "post_service",
        /// About care that is planned.
        PreService = "pre_service",
        /// Waiting could harm the patient.
        Expedited = "expedited",
    }
}

letter_data! {
    /// An appeal has come in.
    pub struct AppealReceived {
        /// When.
        received_on: Date,
        /// Its kind.
        kind: AppealKind,
        /// The level it is at.
        level: Option<AppealLevel>,
        /// What it is about.
        subject: Option<Prose>,
        /// What came with it, a line each.
        documents: Vec<Line>,
        /// By when it is decided.
        decide_by: Date,
    }
}

letter_data! {
    /// What can be done after an appeal is turned down (DIS-04).
    pub struct NextLevel {
        /// The level that is open.
        level: AppealLevel,
        /// By when it must be asked for.
        deadline: Date,
        /// The independent review organization, for external review.
        iro: Option<Contact>,
    }
}

letter_data! {
    /// The decision stands.
    pub struct AppealUpheld {
        /// When it was decided.
        decided_on: Date,
        /// The level that decided.
        level: AppealLevel,
        /// Why.
        reason: Prose,
        /// The coverage policy that decided.
        coverage_policy: Option<CoveragePolicy>,
        /// The reviewer's profession and specialty.
        reviewer: Option<Line>,
        /// What was looked at, a line each.
        reviewed: Vec<Line>,
        /// What can be done next.
        next: NextLevel,
    }
}

letter_data! {
    /// The decision is changed.
    pub struct AppealOverturned {
        /// When it was decided.
        decided_on: Date,
        /// Why.
        explanation: Prose,
        /// What is approved now.
        services: Vec<Service>,
        /// The number to quote on the claim.
        authorization_number: Option<Line>,
        /// What is paid.
        payment_cents: Option<Cents>,
        /// By when it is paid.
        pay_by: Option<Date>,
    }
}
