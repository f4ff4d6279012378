//! Cases and claims as intake needs to know them. The rules of each kind come with the kinds.

use std::str::FromStr;

use crate::codes;
use crate::model::judgement::UnknownCode;

codes! {
    /// What a document can belong to.
    pub enum CaseKind {
        /// Claim reconsideration (REC).
        Reconsideration = "reconsideration",
        /// Prior authorization (PRE).
        Precertification = "precertification",
        /// Appeal or dispute (DIS).
        Appeal = "appeal",
    }
}

codes! {
    /// What the payer has made of a claim (REC-02).
    pub enum ClaimStatus {
        /// Processed.
        Processed = "Processed",
        /// Paid.
        Paid = "Paid",
        /// Denied.
        Denied = "Denied",
        /// Found to be a duplicate.
        Duplicate = "Duplicate",
        /// Not finalized.
        Pending = "Pending",
    }
}

impl ClaimStatus {
    /// Whether the claim is finalized, so that a reconsideration can be asked for (REC-02).
    pub const fn is_finalized(self) -> bool {
        !matches!(self, Self::Pending)
    }
}

codes! {
    /// REC-40.
    pub enum ReconsiderationStatus {
        /// Started and saved, not submitted.
        OpenDraft = "Open Draft",
        /// Submitted.
        Received = "Received",
        /// Being worked on.
        InProcess = "In Process",
        /// Decided for the provider.
        Adjusted = "Adjusted",
        /// The first decision stands.
        Upheld = "Upheld",
        /// Waits for a reviewer.
        PendedForReview = "Pended for Review",
        /// A file was infected (INT-13).
        RequestFailedVirus = "Request Failed (Virus)",
    }
}

codes! {
    /// PRE-40.
    pub enum PrecertificationStatus {
        /// Not submitted.
        Incomplete = "Incomplete",
        /// Waits for a determination.
        Pending = "Pending",
        /// Approved.
        Approved = "Approved",
        /// Approved in part.
        PartiallyApproved = "Partially Approved",
        /// Denied.
        Denied = "Denied",
        /// Void.
        Void = "Void",
        /// No determination to show yet.
        Processing = "Processing",
    }
}

codes! {
    /// Where an appeal stands.
    pub enum AppealStatus {
        /// Filed.
        Received = "Received",
        /// Being reviewed.
        InProcess = "In Process",
        /// Answered.
        Decided = "Decided",
    }
}

/// A case's status: always one of its own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseStatus {
    /// Of a reconsideration.
    Reconsideration(ReconsiderationStatus),
    /// Of a precertification.
    Precertification(PrecertificationStatus),
    /// Of an appeal.
    Appeal(AppealStatus),
}

impl CaseStatus {
    /// Reads a status in the words of its kind.
    ///
    /// # Errors
    /// When that kind knows no such status.
    pub fn parse(kind: CaseKind, text: &str) -> Result<Self, UnknownCode> {
        Ok(match kind {
            CaseKind::Reconsideration => Self::Reconsideration(ReconsiderationStatus::from_str(text)?),
            CaseKind::Precertification => Self::Precertification(PrecertificationStatus::from_str(text)?),
            CaseKind::Appeal => Self::Appeal(AppealStatus::from_str(text)?),
        })
    }

    /// The status in the words of the spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reconsideration(status) => status.as_str(),
            Self::Precertification(status) => status.as_str(),
            Self::Appeal(status) => status.as_str(),
        }
    }

    /// The kind it is a status of.
    pub const fn kind(self) -> CaseKind {
        match self {
            Self::Reconsideration(_) => CaseKind::Reconsideration,
            Self::Precertification(_) => CaseKind::Precertification,
            Self::Appeal(_) => CaseKind::Appeal,
        }
    }

    /// Whether nothing follows: a new reconsideration may then be opened for the claim (REC-41).
    pub const fn is_final(self) -> bool {
        match self {
            Self::Reconsideration(status) => matches!(
                status,
                ReconsiderationStatus::Adjusted
                    | ReconsiderationStatus::Upheld
                    | ReconsiderationStatus::RequestFailedVirus
            ),
            Self::Precertification(status) => matches!(
                status,
                PrecertificationStatus::Approved
                    | PrecertificationStatus::PartiallyApproved
                    | PrecertificationStatus::Denied
                    | PrecertificationStatus::Void
            ),
            Self::Appeal(status) => matches!(status, AppealStatus::Decided),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rec_41_a_failed_reconsideration_lets_a_new_one_be_opened() {
        let failed = CaseStatus::parse(CaseKind::Reconsideration, "Request Failed (Virus)");
        assert_eq!(failed.map(CaseStatus::is_final), Ok(true));
    }

    #[test]
    fn a_status_of_another_kind_is_not_taken() {
        assert!(CaseStatus::parse(CaseKind::Appeal, "Adjusted").is_err());
    }
}
