//! Letters: their kinds, what asks for them, and where one stands on its way from event to PDF to inbox or paper.

use crate::codes;
use crate::model::access::Entitlement;
use crate::model::case::{AppealStatus, CaseKind, CaseStatus, PrecertificationStatus, ReconsiderationStatus};

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

codes! {
    /// Where a delivery stands.
    pub enum DeliveryState {
        /// It waits for its channel.
        Waiting = "waiting",
        /// It is where its addressee can read it.
        Delivered = "delivered",
        /// It was stopped (COR-16).
        Stopped = "stopped",
    }
}
