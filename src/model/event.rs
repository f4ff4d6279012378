//! Events: what the audit log, live progress and the journeys read. No health data is in one, so that the
//! destruction of a record never breaks the chain (INT-19).

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::Value;

use crate::model::case::{CaseKind, CaseStatus};
use crate::model::digest::{RunState, ScheduleChange};
use crate::model::document::{Access, DocumentState};
use crate::model::ids::{Brand, EventId};
use crate::model::judgement::UnknownCode;
use crate::model::letter::{DeliveryState, LetterState};
use crate::model::paper::{BatchState, EnvelopeState};
use crate::model::retention::RetentionRunState;
use crate::model::submission::SubmissionState;

/// Who acts in what is done at the command line, until people there are known.
pub const AT_COMMAND_LINE: &str = "cli";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// A document came into a state.
    Document(DocumentState),
    /// A document's match was undone by a person (INT-17).
    MatchUndone,
    /// Somebody came to know a document (OPS-08).
    Disclosed(Access),
    /// A person released a held document from what policy alone held it for (OPS-03).
    HoldWaived,
    /// A person had quarantined bytes destroyed (OPS-03).
    DestructionAsked,
    /// What waits for a person will soon be overdue, or is (OPS-02).
    TaskDueSoon,
    /// A document went over from a failed submission to a new attempt (INT-13).
    DocumentCarried,
    /// A submission came into a state.
    Submission(SubmissionState),
    /// A case was opened.
    CaseOpened(CaseKind),
    /// A case's status changed.
    CaseStatusChanged(CaseKind),
    /// Somebody was handed a sheet that names a case: a cover sheet, or a copy of its request (OPS-14).
    SheetHandedOut,
    /// Work ended as a dead letter.
    WorkDead,
    /// An operator set a dead letter to work again.
    WorkReplayed,
    /// An operator asked for a new scan of a document.
    RescanAsked,
    /// A bulk load of reference data, users or entitlements ended.
    ReferenceLoaded,
    /// A key was made.
    KeyCreated,
    /// A key got a new secret; the old one ends.
    KeyRotated,
    /// A key was revoked.
    KeyRevoked,
    /// A user came, changed, or was disabled or enabled.
    UserChanged,
    /// A user's roles as one of the payer's people changed (OPS-17).
    UserRolesChanged,
    /// A user's rights for a TIN changed (OPS-13).
    EntitlementChanged,
    /// Somebody searched, exported or verified the audit log (OPS-14).
    AuditRead,
    /// A letter came into a state.
    Letter(LetterState),
    /// A letter was marked as superseded by another (COR-16).
    LetterSuperseded,
    /// Somebody opened or downloaded a letter (COR-26, OPS-14).
    LetterOpened,
    /// A refused letter will soon be overdue, or is.
    LetterDueSoon,
    /// Letters of a type or a practice are held back, or no longer (COR-16).
    LetterHoldChanged,
    /// A delivery of a letter came into a state.
    Delivery(DeliveryState),
    /// Paper was turned on or off for a practice (COR-12).
    PaperChanged,
    /// A letter came for a practice where nobody holds the entitlement to see it (COR-15).
    NobodyEntitled,
    /// A letter that needs an answer was not opened in time (COR-26).
    MessageUnread,
    /// A print batch came into a state.
    PrintBatch(BatchState),
    /// A printer's word on a batch was taken.
    PrintBatchAcknowledged,
    /// Somebody got a batch's print file or manifest (OPS-14).
    PrintBatchDownloaded,
    /// A batch is held back, or no longer.
    PrintBatchHoldChanged,
    /// An envelope was spoiled or came back (COR-42).
    Envelope(EnvelopeState),
    /// Letters can't go on paper before a person has seen to something.
    PaperTaskRaised,
    /// A person has seen to it.
    PaperTaskEnded,
    /// A user's choice of how often to be told changed (COR-30).
    DigestChoiceChanged,
    /// A schedule of digests was changed (OPS-10).
    Schedule(ScheduleChange),
    /// A run of a schedule came into a state (OPS-11).
    DigestRun(RunState),
    /// An operator decided on a mail in doubt.
    MailDecided,
    /// Nothing is sent to a user's address any more: mail to it came back, or its owner complained (COR-34).
    MailSuppressed,
    /// A person lifted that.
    MailSuppressionLifted,
    /// A person has a test mail sent to themselves (OPS-10).
    TestMailAsked,
    /// A legal hold was put or lifted (OPS-15).
    RetentionHoldChanged,
    /// A run of the destruction of what is due came into a state.
    RetentionRun(RetentionRunState),
    /// A record was destroyed, for its time was over.
    RecordDestroyed,
    /// Mails, faxes, print batches or destruction are held back as a whole, or no longer.
    OutgoingHoldChanged,
    /// The installation goes on from a back-up: what came after that is not in this log.
    InstallationRestored,
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(state) => write!(f, "document.{state}"),
            Self::MatchUndone => f.write_str("document.match_undone"),
            Self::Disclosed(access) => write!(f, "document.{access}"),
            Self::HoldWaived => f.write_str("document.hold_waived"),
            Self::DestructionAsked => f.write_str("document.destruction_asked"),
            Self::TaskDueSoon => f.write_str("task.due_soon"),
            Self::DocumentCarried => f.write_str("document.carried"),
            Self::Submission(state) => write!(f, "submission.{state}"),
            Self::CaseOpened(kind) => write!(f, "case.opened.{kind}"),
            Self::CaseStatusChanged(kind) => write!(f, "case.status_changed.{kind}"),
            Self::SheetHandedOut => f.write_str("case.sheet_handed_out"),
            Self::WorkDead => f.write_str("work.dead"),
            Self::WorkReplayed => f.write_str("work.replayed"),
            Self::RescanAsked => f.write_str("document.rescan_asked"),
            Self::ReferenceLoaded => f.write_str("reference.loaded"),
            Self::KeyCreated => f.write_str("key.created"),
            Self::KeyRotated => f.write_str("key.rotated"),
            Self::KeyRevoked => f.write_str("key.revoked"),
            Self::UserChanged => f.write_str("user.changed"),
            Self::UserRolesChanged => f.write_str("user.roles_changed"),
            Self::EntitlementChanged => f.write_str("entitlement.changed"),
            Self::AuditRead => f.write_str("audit.read"),
            Self::Letter(state) => write!(f, "letter.{state}"),
            Self::LetterSuperseded => f.write_str("letter.superseded"),
            Self::LetterOpened => f.write_str("letter.opened"),
            Self::LetterDueSoon => f.write_str("letter.due_soon"),
            Self::LetterHoldChanged => f.write_str("letter.hold_changed"),
            Self::Delivery(state) => write!(f, "delivery.{state}"),
            Self::PaperChanged => f.write_str("tin.paper_changed"),
            Self::NobodyEntitled => f.write_str("tin.nobody_entitled"),
            Self::MessageUnread => f.write_str("message.unread"),
            Self::PrintBatch(state) => write!(f, "print_batch.{state}"),
            Self::PrintBatchAcknowledged => f.write_str("print_batch.acknowledged"),
            Self::PrintBatchDownloaded => f.write_str("print_batch.downloaded"),
            Self::PrintBatchHoldChanged => f.write_str("print_batch.hold_changed"),
            Self::Envelope(state) => write!(f, "envelope.{state}"),
            Self::PaperTaskRaised => f.write_str("paper_task.raised"),
            Self::MailDecided => f.write_str("mail.decided"),
            Self::PaperTaskEnded => f.write_str("paper_task.ended"),
            Self::DigestChoiceChanged => f.write_str("digest_choice.changed"),
            Self::Schedule(change) => write!(f, "schedule.{change}"),
            Self::DigestRun(state) => write!(f, "digest_run.{state}"),
            Self::MailSuppressed => f.write_str("mail.suppressed"),
            Self::MailSuppressionLifted => f.write_str("mail.suppression_lifted"),
            Self::TestMailAsked => f.write_str("mail.test_asked"),
            Self::RetentionHoldChanged => f.write_str("retention.hold_changed"),
            Self::RetentionRun(state) => write!(f, "retention_run.{state}"),
            Self::RecordDestroyed => f.write_str("retention.destroyed"),
            Self::OutgoingHoldChanged => f.write_str("outgoing.hold_changed"),
            Self::InstallationRestored => f.write_str("installation.restored"),
        }
    }
}

impl FromStr for EventType {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let unknown = UnknownCode { of: "EventType" };
        Ok(match text {
            "document.match_undone" => Self::MatchUndone,
            "document.hold_waived" => Self::HoldWaived,
            "document.destruction_asked" => Self::DestructionAsked,
            "task.due_soon" => Self::TaskDueSoon,
            "document.carried" => Self::DocumentCarried,
            "document.rescan_asked" => Self::RescanAsked,
            "case.sheet_handed_out" => Self::SheetHandedOut,
            "work.dead" => Self::WorkDead,
            "work.replayed" => Self::WorkReplayed,
            "reference.loaded" => Self::ReferenceLoaded,
            "key.created" => Self::KeyCreated,
            "key.rotated" => Self::KeyRotated,
            "key.revoked" => Self::KeyRevoked,
            "user.changed" => Self::UserChanged,
            "user.roles_changed" => Self::UserRolesChanged,
            "entitlement.changed" => Self::EntitlementChanged,
            "audit.read" => Self::AuditRead,
            "letter.superseded" => Self::LetterSuperseded,
            "letter.opened" => Self::LetterOpened,
            "letter.due_soon" => Self::LetterDueSoon,
            "letter.hold_changed" => Self::LetterHoldChanged,
            "tin.paper_changed" => Self::PaperChanged,
            "tin.nobody_entitled" => Self::NobodyEntitled,
            "message.unread" => Self::MessageUnread,
            "print_batch.acknowledged" => Self::PrintBatchAcknowledged,
            "print_batch.downloaded" => Self::PrintBatchDownloaded,
            "print_batch.hold_changed" => Self::PrintBatchHoldChanged,
            "paper_task.raised" => Self::PaperTaskRaised,
            "mail.decided" => Self::MailDecided,
            "paper_task.ended" => Self::PaperTaskEnded,
            "digest_choice.changed" => Self::DigestChoiceChanged,
            "mail.suppressed" => Self::MailSuppressed,
            "mail.suppression_lifted" => Self::MailSuppressionLifted,
            "mail.test_asked" => Self::TestMailAsked,
            "retention.hold_changed" => Self::RetentionHoldChanged,
            "retention.destroyed" => Self::RecordDestroyed,
            "outgoing.hold_changed" => Self::OutgoingHoldChanged,
            "installation.restored" => Self::InstallationRestored,
            _ => match text.split_once('.').ok_or(unknown.clone())? {
                ("document", word) => match word.parse() {
                    Ok(access) => Self::Disclosed(access),
                    Err(_) => Self::Document(word.parse()?),
                },
                ("submission", state) => Self::Submission(state.parse()?),
                ("letter", state) => Self::Letter(state.parse()?),
                ("delivery", state) => Self::Delivery(state.parse()?),
                ("print_batch", state) => Self::PrintBatch(state.parse()?),
                ("envelope", state) => Self::Envelope(state.parse()?),
                ("schedule", change) => Self::Schedule(change.parse()?),
                ("digest_run", state) => Self::DigestRun(state.parse()?),
                ("retention_run", state) => Self::RetentionRun(state.parse()?),
                ("case", rest) => match rest.split_once('.').ok_or(unknown.clone())? {
                    ("opened", kind) => Self::CaseOpened(kind.parse()?),
                    ("status_changed", kind) => Self::CaseStatusChanged(kind.parse()?),
                    _ => return Err(unknown),
                },
                _ => return Err(unknown),
            },
        })
    }
}

/// An event about to be written: it gets its id from the context and its position from the sequencer.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    /// What happened.
    pub kind: EventType,
    /// The id of what it happened to.
    pub subject: &'a str,
    /// The brand it belongs to.
    pub brand: &'a Brand,
    /// Our own id of the practice it concerns, where there is one.
    pub tin_uid: Option<&'a str>,
    /// Who did it: `system`, a node's stage, or a user.
    pub actor: &'a str,
    /// More of it, without health data.
    pub payload: Value,
}

/// An event as it was written.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its place in the one order of events; `None` until it is sealed.
    pub position: Option<i64>,
    /// What happened, as the code it was stored with: a newer node's event stays readable.
    pub kind: String,
    /// The version of its payload's form.
    pub version: i64,
    /// The id of what it happened to.
    pub subject: String,
    /// The brand it belongs to.
    pub brand: String,
    /// Our own id of the practice it concerns.
    pub tin_uid: Option<String>,
    /// Who did it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// More of it, as the JSON text that was stored.
    pub payload: String,
}

impl Event {
    /// The status that an event of a case of this kind tells of, and the version of the case that it made. The case may
    /// have gone on since.
    pub fn case_status(&self, kind: CaseKind) -> Option<(CaseStatus, i64)> {
        let payload: Value = serde_json::from_str(&self.payload).ok()?;
        let status = payload.get("to").or_else(|| payload.get("status"))?.as_str()?;
        let version = payload.get("version").and_then(Value::as_i64).unwrap_or_default();
        Some((CaseStatus::parse(kind, status).ok()?, version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_type_reads_back_as_what_it_was_written_as() {
        let mut all = vec![
            EventType::MatchUndone,
            EventType::HoldWaived,
            EventType::DestructionAsked,
            EventType::TaskDueSoon,
            EventType::DocumentCarried,
            EventType::WorkDead,
            EventType::WorkReplayed,
            EventType::RescanAsked,
            EventType::ReferenceLoaded,
            EventType::KeyCreated,
            EventType::KeyRotated,
            EventType::KeyRevoked,
            EventType::UserChanged,
            EventType::UserRolesChanged,
            EventType::EntitlementChanged,
            EventType::AuditRead,
            EventType::LetterSuperseded,
            EventType::LetterOpened,
            EventType::LetterDueSoon,
            EventType::LetterHoldChanged,
            EventType::PaperChanged,
            EventType::NobodyEntitled,
            EventType::MessageUnread,
            EventType::PrintBatchAcknowledged,
            EventType::PrintBatchDownloaded,
            EventType::PrintBatchHoldChanged,
            EventType::PaperTaskRaised,
            EventType::PaperTaskEnded,
            EventType::DigestChoiceChanged,
            EventType::MailDecided,
            EventType::MailSuppressed,
            EventType::MailSuppressionLifted,
            EventType::TestMailAsked,
            EventType::RetentionHoldChanged,
            EventType::RecordDestroyed,
            EventType::OutgoingHoldChanged,
            EventType::InstallationRestored,
        ];
        all.extend(BatchState::ALL.iter().map(|state| EventType::PrintBatch(*state)));
        all.extend(EnvelopeState::ALL.iter().map(|state| EventType::Envelope(*state)));
        all.extend(ScheduleChange::ALL.iter().map(|change| EventType::Schedule(*change)));
        all.extend(RetentionRunState::ALL.iter().map(|state| EventType::RetentionRun(*state)));
        all.extend(RunState::ALL.iter().map(|state| EventType::DigestRun(*state)));
        all.extend(LetterState::ALL.iter().map(|state| EventType::Letter(*state)));
        all.extend(DeliveryState::ALL.iter().map(|state| EventType::Delivery(*state)));
        all.extend(DocumentState::ALL.iter().map(|s| EventType::Document(*s)));
        all.extend(Access::ALL.iter().map(|access| EventType::Disclosed(*access)));
        all.extend(SubmissionState::ALL.iter().map(|s| EventType::Submission(*s)));
        all.extend(CaseKind::ALL.iter().flat_map(|k| [EventType::CaseOpened(*k), EventType::CaseStatusChanged(*k)]));
        for kind in all {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }
}
