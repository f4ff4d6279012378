//! What users are told of by mail, how often, and where each mail stands (COR-30..35, OPS-10).

use jiff::civil::Date;

use crate::codes;
use crate::model::ids::{Brand, IdError, MailId, UserId};
use crate::model::letter::LetterCategory;

codes! {
    /// How often a user wants to be told of a practice's correspondence (COR-30). A schedule is daily or weekly.
    pub enum Cadence {
        /// Never.
        Off = "off",
        /// On each day that the daily schedule names.
        Daily = "daily",
        /// Once a week.
        Weekly = "weekly",
    }
}

codes! {
    /// What made a choice.
    pub enum ChoiceSource {
        /// The user.
        User = "user",
        /// The user, by the link in a mail (COR-34).
        Unsubscribe = "unsubscribe",
        /// A bulk load of what users had chosen elsewhere.
        Load = "load",
    }
}

codes! {
    /// What a mail is about (COR-31). A message counts in one kind.
    pub enum DigestKind {
        /// Letters and notices about claims and appeals.
        ClaimInfo = "claim_info",
        /// Those of them that need an answer.
        ClaimAction = "claim_action",
        /// Letters and notices about precertifications.
        PrecertInfo = "precert_info",
        /// Those of them that need an answer.
        PrecertAction = "precert_action",
    }
}

impl DigestKind {
    /// The kind of a message. Mails about appeals go with those about claims: their readers are the same (COR-20).
    pub const fn of(category: LetterCategory, needs_answer: bool) -> Self {
        match (category, needs_answer) {
            (LetterCategory::Precertification, false) => Self::PrecertInfo,
            (LetterCategory::Precertification, true) => Self::PrecertAction,
            (LetterCategory::Claim | LetterCategory::Appeal, false) => Self::ClaimInfo,
            (LetterCategory::Claim | LetterCategory::Appeal, true) => Self::ClaimAction,
        }
    }

    /// Whether it asks for something.
    pub const fn needs_answer(self) -> bool {
        matches!(self, Self::ClaimAction | Self::PrecertAction)
    }
}

codes! {
    /// Where a notification stands.
    pub enum NotificationState {
        /// The next digest that serves its user's choice takes it.
        Waiting = "waiting",
        /// It is in a mail: how that stands, the mail says.
        Mailed = "mailed",
        /// It is in none, for a reason.
        LeftOut = "left_out",
    }
}

codes! {
    /// Why a user was not told of a message by mail. Looked at when a digest is planned, and again right before its mail
    /// is handed over (COR-33).
    pub enum LeftOut {
        /// The user chose so.
        Off = "off",
        /// The user had read it.
        Read = "read",
        /// The user had deleted it.
        Deleted = "deleted",
        /// The user does not want to see such messages (COR-24).
        Hidden = "hidden",
        /// The user had no right to see it any more (COR-20).
        NotEntitled = "not_entitled",
        /// The user may not come in any more.
        Disabled = "disabled",
        /// No mail address of the user is known.
        NoAddress = "no_address",
        /// Nothing is sent to the user's address: it bounced, or its owner complained (COR-34).
        Suppressed = "suppressed",
        /// It was offline already (COR-23).
        Offline = "offline",
        /// The user had chosen off when it came, and later otherwise: turning on does not bring what is past.
        WasOff = "was_off",
    }
}

codes! {
    /// Where a mail stands.
    pub enum MailState {
        /// It waits for its time.
        Planned = "planned",
        /// A node has it; nothing of it was handed over.
        Claimed = "claimed",
        /// It is being handed over: a crash here leaves it in doubt.
        Submitting = "submitting",
        /// The relay has it.
        Accepted = "accepted",
        /// The relay refused it for now: it is tried again.
        Retry = "retry",
        /// The relay refused it for good, or for the last time.
        Rejected = "rejected",
        /// It may have been sent or not. Never sent again by itself.
        InDoubt = "in_doubt",
        /// An operator said that it is not to be sent again.
        Closed = "closed",
        /// Nothing was left to tell of when it was to be sent.
        Empty = "empty",
        /// It came back after the relay had taken it (RFC 3464).
        Bounced = "bounced",
        /// It did not go on its day: a later mail tells what it was to tell (COR-33).
        Folded = "folded",
    }
}

impl MailState {
    /// The state as people are told of it.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Planned => "it waits for its time",
            Self::Claimed | Self::Submitting => "it is being handed to the mail relay",
            Self::Accepted => "the mail relay took it",
            Self::Retry => "the mail relay did not take it yet; it is tried again",
            Self::Rejected => "the mail relay refused it",
            Self::InDoubt => "it may have been sent or not; an operator decides",
            Self::Closed => "it may have been sent or not, and is not sent again",
            Self::Empty => "nothing was left to tell of when it was to be sent",
            Self::Bounced => "it came back",
            Self::Folded => "it did not go on its day; a later mail tells what it was to tell",
        }
    }
}

codes! {
    /// Why a run was made.
    pub enum RunKind {
        /// Its period came.
        Scheduled = "scheduled",
        /// A person asked for it.
        Extra = "extra",
    }
}

codes! {
    /// Where a run stands.
    pub enum RunState {
        /// It waits for a person: it came too late to go by itself.
        Held = "held",
        /// Its mails are being made.
        Planning = "planning",
        /// Its mails are made, and not all of them have come to an end.
        Sending = "sending",
        /// Each of its mails has come to an end.
        Done = "done",
        /// It did not take place, for a reason.
        Skipped = "skipped",
    }
}

codes! {
    /// Why a run did not take place, or waits.
    pub enum RunReason {
        /// A later one took what it would have told.
        Merged = "merged",
        /// It was later than the schedule's grace.
        TooLate = "too_late",
        /// The schedule leaves out what was missed.
        Missed = "missed",
        /// The schedule was paused.
        Paused = "paused",
        /// It came late, and the schedule leaves it to a person.
        Late = "late",
        /// A person decided so.
        Refused = "refused",
        /// An edit moved its time to before the edit was confirmed.
        Edited = "edited",
    }
}

codes! {
    /// What was done to a schedule.
    pub enum ScheduleChange {
        /// It was made, by policy.
        Made = "made",
        /// Another timing was proposed.
        Proposed = "proposed",
        /// The proposed timing holds.
        Confirmed = "confirmed",
        /// The proposed timing was given up.
        Dropped = "dropped",
        /// It does not run until it is resumed.
        Paused = "paused",
        /// It runs again.
        Resumed = "resumed",
    }
}

codes! {
    /// What becomes of a period that passed while nothing ran (OPS-11). Nothing that waited is lost: what is skipped goes
    /// with the next run.
    pub enum CatchUp {
        /// It runs once, if it is not too late.
        Once = "once",
        /// It is left out.
        Skip = "skip",
        /// A person decides.
        Hold = "hold",
    }
}

codes! {
    /// What a schedule does on a holiday of the payer's calendar.
    pub enum OnHoliday {
        /// It runs as on any day.
        Run = "run",
        /// It does not run.
        Skip = "skip",
        /// It runs on the next business day instead.
        Next = "next",
    }
}

codes! {
    /// Where a revision of a schedule stands.
    pub enum RevisionState {
        /// It waits to be confirmed.
        Proposed = "proposed",
        /// It holds.
        Active = "active",
        /// Another holds.
        Past = "past",
        /// It was given up before it held.
        Dropped = "dropped",
    }
}

codes! {
    /// Why nothing is sent to an address.
    pub enum SuppressionReason {
        /// Mail to it came back for good.
        Bounce = "bounce",
        /// Who has it complained.
        Complaint = "complaint",
    }
}

/// The id of the mail of a brand, user, kind and local day: there is one at most (COR-33).
///
/// # Errors
/// Never in practice: all of it is checked text.
pub fn mail_id(brand: &Brand, day: Date, user: &UserId, kind: DigestKind) -> Result<MailId, IdError> {
    format!("{brand}:{day}:{user}:{kind}").parse()
}

/// A mail address as suppressions are kept by it: without blanks at its ends, its domain in small letters. What stands
/// before the `@` is its server's business.
pub fn mail_address(text: &str) -> String {
    let text = text.trim();
    match text.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
        None => text.to_owned(),
    }
}
