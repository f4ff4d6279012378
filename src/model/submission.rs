//! A submission: one act of sending in. Its outcome is a pure function of its documents' states.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::codes;
use crate::model::document::DocumentState;
use crate::model::ids::{AttachmentControlNumber, CaseNumber, ClaimNumber, MemberId, Npi, ReferenceNumber, Tin};
use crate::model::phi::Phi;

codes! {
    /// Where a submission is.
    pub enum SubmissionState {
        /// Files can be added and taken away.
        Open = "open",
        /// Sent; waits until every file is judged.
        Submitted = "submitted",
        /// Every file is clean: its documents go to their case.
        Accepted = "accepted",
        /// A file was infected (INT-13).
        FailedVirus = "failed_virus",
        /// A file was refused.
        FailedRejected = "failed_rejected",
        /// A file could not be judged; an operator decides.
        Held = "held",
        /// Taken back before it was sent.
        Withdrawn = "withdrawn",
    }
}

impl SubmissionState {
    /// Whether a submission in this state may become `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Open => matches!(next, Self::Submitted | Self::Withdrawn),
            Self::Submitted => {
                matches!(next, Self::Accepted | Self::FailedVirus | Self::FailedRejected | Self::Held)
            }
            // the operator's decision on the held file ends it
            Self::Held => matches!(next, Self::Accepted | Self::FailedVirus | Self::FailedRejected),
            Self::Accepted | Self::FailedVirus | Self::FailedRejected | Self::Withdrawn => false,
        }
    }

    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Accepted | Self::FailedVirus | Self::FailedRejected | Self::Withdrawn)
    }

    /// The state in the words a sender reads.
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Submitted => "Submitted",
            Self::Accepted => "Accepted",
            Self::FailedVirus => "Request Failed (Virus)",
            Self::FailedRejected => "Request Failed (File refused)",
            Self::Held => "Held",
            Self::Withdrawn => "Withdrawn",
        }
    }
}

/// What a submission that has been sent becomes, given the states of its documents; `None` while one of them
/// is not judged. A virus outweighs a refusal, a refusal outweighs a hold (INT-13): what is certain decides.
pub fn outcome(documents: &[DocumentState]) -> Option<SubmissionState> {
    if documents.iter().any(|state| !state.is_judged()) {
        return None;
    }
    let any = |wanted| documents.contains(&wanted);
    Some(if any(DocumentState::Quarantined) {
        SubmissionState::FailedVirus
    } else if any(DocumentState::Rejected) {
        SubmissionState::FailedRejected
    } else if any(DocumentState::Held) {
        SubmissionState::Held
    } else {
        SubmissionState::Accepted
    })
}

/// What the sender said a document or submission is about (INT-15). Each field was parsed at the edge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Said {
    /// Reference number of an earlier submission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceNumber>,
    /// Case number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_number: Option<CaseNumber>,
    /// Claim number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_number: Option<ClaimNumber>,
    /// Attachment control number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment_control_number: Option<AttachmentControlNumber>,
    /// Member id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_id: Option<MemberId>,
    /// Practice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tin: Option<Tin>,
    /// Provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub npi: Option<Npi>,
    /// The member's date of birth.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date)]
    pub birth_date: Option<Phi<Date>>,
    /// A date of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date)]
    pub service_date: Option<Phi<Date>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int_13_one_infected_file_fails_the_submission_only_once_all_are_judged() {
        use DocumentState::{Held, Quarantined, Received, Rejected, Scanning, Stored};
        for (documents, expected) in [
            (vec![Stored, Stored], Some(SubmissionState::Accepted)),
            (vec![Stored, Quarantined], Some(SubmissionState::FailedVirus)),
            (vec![Quarantined, Rejected, Held], Some(SubmissionState::FailedVirus)),
            (vec![Rejected, Held], Some(SubmissionState::FailedRejected)),
            (vec![Stored, Held], Some(SubmissionState::Held)),
            (vec![Quarantined, Scanning], None),
            (vec![Stored, Received], None),
        ] {
            assert_eq!(outcome(&documents), expected, "{documents:?}");
        }
    }

    #[test]
    fn what_the_sender_said_does_not_print() {
        let said = Said { tin: "123456789".parse().ok(), claim_number: "CLM1".parse().ok(), ..Said::default() };
        let shown = format!("{said:?}");
        assert!(!shown.contains("123456789") && !shown.contains("CLM1"), "{shown}");
    }
}
