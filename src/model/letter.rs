//! Letters: their kinds, what asks for them, and where one stands on its way from event to PDF to inbox or paper.

use std::collections::BTreeSet;

use crate::codes;
use crate::model::access::{Entitlement, Mode, Principal, Scope, TinSet};
use crate::model::case::{AppealStatus, CaseKind, CaseStatus, PrecertificationStatus, ReconsiderationStatus};
use crate::model::ids::Tin;

/// The stages of a letter, by which its work waits: what is asked for is composed, rendered, routed, and delivered to the
/// Messaging Center. Two journeys put work to each other by these names.
pub mod stage {
    /// Gathers what the letter says.
    pub const COMPOSE: &str = "compose";
    /// Makes its PDF.
    pub const RENDER: &str = "render";
    /// Decides which ways it goes.
    pub const ROUTE: &str = "route";
    /// Lays it into the Messaging Center.
    pub const DELIVER: &str = "deliver";
}

codes! {
    /// The three kinds of correspondence (COR-01).
    pub enum LetterCategory {
        /// About claims and their reconsiderations.
        Claim = "claim",
        /// About precertifications.
        Precertification = "precertification",
        /// About appeals.
        Appeal = "appeal",
    }
}

impl LetterCategory {
    /// The category of what is written about a case of this kind.
    pub const fn of(kind: CaseKind) -> Self {
        match kind {
            CaseKind::Reconsideration => Self::Claim,
            CaseKind::Precertification => Self::Precertification,
            CaseKind::Appeal => Self::Appeal,
        }
    }

    /// The right that shows such correspondence (COR-20). Appeals of claims and of precertifications concern both;
    /// whoever looks for claims sees them.
    pub const fn entitlement(self) -> Entitlement {
        match self {
            Self::Precertification => Entitlement::PrecertViewSubmit,
            Self::Claim | Self::Appeal => Entitlement::ClaimSearch,
        }
    }

    /// Whether a practice's access manager may ask for paper for it (COR-11); appeals are on paper anyway (COR-03).
    pub const fn has_paper_choice(self) -> bool {
        matches!(self, Self::Claim | Self::Precertification)
    }
}

codes! {
    /// Whom a letter is for (COR-01).
    pub enum AddresseeKind {
        /// A practice.
        Tin = "tin",
        /// A member.
        Member = "member",
    }
}

codes! {
    /// What routing must know of a letter that no row of ours tells: said by who asks for it.
    pub enum Circumstance {
        /// A third party to whom the decision is delegated writes it (COR-03).
        Delegated = "delegated",
        /// It belongs to a clinical review of a claim (COR-03).
        ClinicalClaimReview = "clinical_claim_review",
        /// The request that it answers came by fax (COR-13).
        ByFax = "by_fax",
    }
}

codes! {
    /// What a letter says. Each has a directory of its name in `templates/letters/`.
    pub enum LetterType {
        /// A reconsideration has come in.
        ReconsiderationReceived = "reconsideration_received",
        /// More is needed to decide a reconsideration.
        AdditionalInformationRequested = "additional_information_requested",
        /// The claim is adjusted.
        ReconsiderationAdjusted = "reconsideration_adjusted",
        /// The first decision stands.
        ReconsiderationUpheld = "reconsideration_upheld",
        /// A file was infected (INT-13).
        RequestFailedVirus = "request_failed_virus",
        /// A claim is denied, with appeal rights (DIS-06).
        ClaimDenied = "claim_denied",
        /// A copy of a reconsideration request (REC-32).
        ReconsiderationCopy = "reconsideration_copy",
        /// A precertification request has come in.
        PrecertificationReceived = "precertification_received",
        /// Documents are needed to decide a precertification.
        AdditionalDocumentsRequested = "additional_documents_requested",
        /// Approved (PRE-46).
        PrecertificationApproved = "precertification_approved",
        /// Approved in part; the rest denied, with appeal rights.
        PrecertificationPartiallyApproved = "precertification_partially_approved",
        /// Denied, with appeal rights (DIS-06).
        PrecertificationDenied = "precertification_denied",
        /// Void.
        PrecertificationVoid = "precertification_void",
        /// A service does not require precertification (PRE-05).
        PrecertificationNotRequired = "precertification_not_required",
        /// An appeal has come in.
        AppealReceived = "appeal_received",
        /// An appeal's decision: upheld, with the next level or the IRO (DIS-04).
        AppealUpheld = "appeal_upheld",
        /// An appeal's decision: overturned.
        AppealOverturned = "appeal_overturned",
        /// A sheet to lay on documents that go back by mail (OPS-06).
        ReturnCoverSheet = "return_cover_sheet",
    }
}

impl LetterType {
    /// The category it belongs to.
    pub const fn category(self) -> LetterCategory {
        match self {
            Self::ReconsiderationReceived
            | Self::AdditionalInformationRequested
            | Self::ReconsiderationAdjusted
            | Self::ReconsiderationUpheld
            | Self::RequestFailedVirus
            | Self::ClaimDenied
            | Self::ReconsiderationCopy
            | Self::ReturnCoverSheet => LetterCategory::Claim,
            Self::PrecertificationReceived
            | Self::AdditionalDocumentsRequested
            | Self::PrecertificationApproved
            | Self::PrecertificationPartiallyApproved
            | Self::PrecertificationDenied
            | Self::PrecertificationVoid
            | Self::PrecertificationNotRequired => LetterCategory::Precertification,
            Self::AppealReceived | Self::AppealUpheld | Self::AppealOverturned => LetterCategory::Appeal,
        }
    }

    /// What a case that came into this status may be told by. The first one is taken where nothing else is asked
    /// for; none: such a status makes no letter.
    pub const fn of_status(status: CaseStatus) -> &'static [Self] {
        match status {
            CaseStatus::Reconsideration(status) => match status {
                ReconsiderationStatus::Received => &[Self::ReconsiderationReceived],
                ReconsiderationStatus::PendedForReview => &[Self::AdditionalInformationRequested],
                ReconsiderationStatus::Adjusted => &[Self::ReconsiderationAdjusted],
                ReconsiderationStatus::Upheld => &[Self::ReconsiderationUpheld],
                ReconsiderationStatus::RequestFailedVirus => &[Self::RequestFailedVirus],
                ReconsiderationStatus::OpenDraft | ReconsiderationStatus::InProcess => &[],
            },
            CaseStatus::Precertification(status) => match status {
                PrecertificationStatus::Processing => &[Self::PrecertificationReceived],
                PrecertificationStatus::Pending => {
                    &[Self::AdditionalDocumentsRequested, Self::PrecertificationReceived]
                }
                PrecertificationStatus::Approved => &[Self::PrecertificationApproved],
                PrecertificationStatus::PartiallyApproved => &[Self::PrecertificationPartiallyApproved],
                PrecertificationStatus::Denied => &[Self::PrecertificationDenied],
                PrecertificationStatus::Void => &[Self::PrecertificationVoid],
                PrecertificationStatus::Incomplete => &[],
            },
            CaseStatus::Appeal(status) => match status {
                AppealStatus::Received => &[Self::AppealReceived],
                AppealStatus::Decided => &[Self::AppealUpheld, Self::AppealOverturned],
                AppealStatus::InProcess => &[],
            },
        }
    }
}

codes! {
    /// Where a letter stands.
    pub enum LetterState {
        /// An event asked for it.
        Asked = "asked",
        /// Its data is whole and checked.
        Composed = "composed",
        /// Its PDF is stored, never to change.
        Rendered = "rendered",
        /// Its deliveries are decided.
        Routed = "routed",
        /// It can't be produced; the reason says what is missing, and a task stands for it.
        Refused = "refused",
        /// A hold or a person stopped it before it went anywhere (COR-16).
        Stopped = "stopped",
    }
}

impl LetterState {
    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Routed | Self::Refused | Self::Stopped)
    }
}

codes! {
    /// How a letter gets to its addressee.
    pub enum DeliveryChannel {
        /// The Messaging Center.
        Inbox = "inbox",
        /// Print and mail.
        Paper = "paper",
        /// Fax.
        Fax = "fax",
    }
}

impl DeliveryChannel {
    /// What people call it.
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Inbox => "Messaging Center",
            Self::Paper => "Paper",
            Self::Fax => "Fax",
        }
    }
}

codes! {
    /// Where a delivery stands.
    pub enum DeliveryState {
        /// It waits for its channel.
        Waiting = "waiting",
        /// It is in an envelope of a print batch.
        InBatch = "in_batch",
        /// It is where its addressee can read it, or in the mail.
        Delivered = "delivered",
        /// The post brought it back.
        Returned = "returned",
        /// It was stopped (COR-16).
        Stopped = "stopped",
    }
}

impl DeliveryState {
    /// Whether nothing more is done for it by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Stopped)
    }
}

codes! {
    /// Why a letter, or a way of it, was stopped (COR-16).
    pub enum StopReason {
        /// Letters of its type are held back.
        HeldType = "held_type",
        /// Letters to its practice are held back.
        HeldTin = "held_tin",
        /// Another letter took its place.
        Superseded = "superseded",
        /// It belongs to a trial, of which nothing is printed (INT-35).
        Trial = "trial",
        /// What it says is wrong.
        WrongContent = "wrong_content",
        /// It is for somebody else.
        WrongAddressee = "wrong_addressee",
        /// The same was written already.
        Duplicate = "duplicate",
        /// Who asked for it takes that back.
        Withdrawn = "withdrawn",
        /// A person's other reason.
        Other = "other",
    }
}

impl StopReason {
    /// Whether a person may give it; the others follow from what stands in the rows.
    pub const fn is_for_people(self) -> bool {
        !matches!(self, Self::HeldType | Self::HeldTin | Self::Superseded | Self::Trial)
    }

    /// The reason as a sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::HeldType => "Letters of this type are held back.",
            Self::HeldTin => "Letters to this practice are held back.",
            Self::Superseded => "Another letter took its place.",
            Self::Trial => "It belongs to a trial: nothing of one is printed.",
            Self::WrongContent => "A person stopped it: what it says is wrong.",
            Self::WrongAddressee => "A person stopped it: it is for somebody else.",
            Self::Duplicate => "A person stopped it: the same was written already.",
            Self::Withdrawn => "A person stopped it: who asked for it takes that back.",
            Self::Other => "A person stopped it.",
        }
    }
}

/// A letter, as far as access goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterRecord<'a> {
    /// Who asked for it, as [`Principal::actor`] writes it.
    pub asker: &'a str,
    /// Whom it is for.
    pub addressee: AddresseeKind,
    /// The practice it concerns.
    pub tin: Option<&'a Tin>,
    /// Its category.
    pub category: LetterCategory,
    /// Real or trial.
    pub mode: Mode,
    /// About behavioral or substance-use records.
    pub sensitive: bool,
}

impl LetterRecord<'_> {
    /// Whether it is one that the caller has to do with. Letters to members are none of a practice's users.
    pub fn is_for(&self, who: &Principal) -> bool {
        if self.mode != who.mode() || (self.sensitive && !who.sees_sensitive()) {
            return false;
        }
        match who {
            Principal::Staff { .. } => true,
            Principal::Service { scopes, tins, .. } => {
                let own = self.asker == who.actor();
                match (self.tin, tins) {
                    (Some(tin), TinSet::Only(tins)) => tins.contains(tin),
                    (None, TinSet::Only(_)) => own,
                    (_, TinSet::All) => own || scopes.contains(&Scope::ReadAny),
                }
            }
            Principal::User { rights, .. } => {
                let rights = self.tin.filter(|_| self.addressee == AddresseeKind::Tin).and_then(|tin| rights.get(tin));
                rights.is_some_and(|rights| rights.entitlements.contains(&self.category.entitlement()))
            }
        }
    }
}

/// What routing was told of a letter.
pub type Circumstances = BTreeSet<Circumstance>;
