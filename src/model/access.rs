//! Who may do what (INT-33, OPS-13, OPS-17). One pure function, [`may`], decides for every route, stream and
//! export; what it knows is all that counts.
//!
//! Three kinds of callers: services with keys, users of practices with entitlements per TIN, and the payer's own
//! staff with roles. A key or user of the test mode meets only what is of the test mode, and the other way round
//! (INT-35).

use std::collections::{BTreeMap, BTreeSet};

use crate::codes;
use crate::model::case::CaseKind;
use crate::model::ids::{KeyId, Tin, UserId};
use crate::model::letter::LetterRecord;

pub use crate::model::mode::Mode;

codes! {
    /// What a key may be used for.
    pub enum Scope {
        /// Send in: create submissions, add and take away files, submit.
        Submit = "submit",
        /// See submissions, documents and their progress.
        Read = "read",
        /// See also what others sent, within the key's TINs.
        ReadAny = "read_any",
        /// Download clean documents.
        Download = "download",
        /// Work on the matching queue.
        Match = "match",
        /// Held files, quarantine, dead letters, mailroom batches.
        Operate = "operate",
        /// Search, export and verify the audit log; disclosure reports.
        Audit = "audit",
        /// Load and change reference data.
        Reference = "reference",
        /// Users, entitlements and keys.
        Access = "access",
        /// Metrics.
        Metrics = "metrics",
        /// Speak for a user whom the service has identified.
        ActAs = "act_as",
        /// Set the status of cases, ask for letters.
        Correspondence = "correspondence",
    }
}

codes! {
    /// A right of a user for a TIN.
    pub enum Entitlement {
        /// Look for claims.
        ClaimSearch = "claim_search",
        /// See and submit precertifications.
        PrecertViewSubmit = "precert_view_submit",
        /// Look for patients.
        PatientSearch = "patient_search",
        /// Reconsiderations and disputes of claims.
        Reconsideration = "reconsideration",
    }
}

impl Entitlement {
    /// The right that a kind of case takes.
    pub const fn for_kind(kind: CaseKind) -> Self {
        match kind {
            CaseKind::Precertification => Self::PrecertViewSubmit,
            CaseKind::Reconsideration | CaseKind::Appeal => Self::Reconsideration,
        }
    }
}

codes! {
    /// A role of the payer's own people (OPS-17).
    pub enum Role {
        /// Matches documents, has held files scanned again.
        MailroomOperator = "mailroom_operator",
        /// Decides over held files, quarantine and dead letters, undoes matches.
        Supervisor = "supervisor",
        /// Works on cases: sees their documents.
        Reviewer = "reviewer",
        /// Keys, users, reference data, sources. No document.
        Administrator = "administrator",
        /// The audit log and disclosure reports. No document.
        PrivacyAuditor = "privacy_auditor",
        /// Beside another role: behavioral and substance-use documents, too.
        SensitiveRecords = "sensitive_records",
    }
}

/// The TINs a key is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TinSet {
    /// All there are.
    All,
    /// These only.
    Only(BTreeSet<Tin>),
}

impl TinSet {
    /// Whether the TIN is in it.
    pub fn contains(&self, tin: &Tin) -> bool {
        match self {
            Self::All => true,
            Self::Only(tins) => tins.contains(tin),
        }
    }

    /// Whether all of it is in the other.
    pub fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::All) => true,
            (Self::All, Self::Only(_)) => false,
            (Self::Only(these), Self::Only(those)) => these.is_subset(those),
        }
    }
}

/// What a key gives to whoever holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// The TINs it is for.
    pub tins: TinSet,
    /// Real or trial.
    pub mode: Mode,
}

/// A user's rights for one TIN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TinRights {
    /// Entitlements.
    pub entitlements: BTreeSet<Entitlement>,
    /// Whether the user administers the TIN.
    pub access_manager: bool,
}

impl TinRights {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entitlements.is_empty() && !self.access_manager
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A service with a key.
    Service {
        /// Its key.
        key: KeyId,
        /// What the key may be used for.
        scopes: BTreeSet<Scope>,
        /// The TINs it is for.
        tins: TinSet,
        /// Real or trial.
        mode: Mode,
    },
    /// A user of practices.
    User {
        /// The user.
        user: UserId,
        /// Rights per TIN.
        rights: BTreeMap<Tin, TinRights>,
        /// Real or trial.
        mode: Mode,
    },
    /// One of the payer's own people.
    Staff {
        /// The user.
        user: UserId,
        /// The roles.
        roles: BTreeSet<Role>,
    },
}

impl Principal {
    /// The mode of what the caller meets.
    pub const fn mode(&self) -> Mode {
        match self {
            Self::Service { mode, .. } | Self::User { mode, .. } => *mode,
            Self::Staff { .. } => Mode::Live,
        }
    }

    /// Whom events name, and who owns what is made: our own id, nothing of a person.
    pub fn actor(&self) -> String {
        match self {
            Self::Service { key, .. } => format!("key:{key}"),
            Self::User { user, .. } => format!("user:{user}"),
            Self::Staff { user, .. } => format!("staff:{user}"),
        }
    }

    /// Whether the caller may make, see and change a key with these grants: nobody gives more than they have, and
    /// the secret of a rotated key is a new one in the caller's hand.
    pub fn may_give(&self, grants: &Grants) -> bool {
        match self {
            Self::Service { scopes, tins, mode, .. } => {
                grants.scopes.is_subset(scopes)
                    && grants.tins.is_within(tins)
                    && (*mode == Mode::Live || grants.mode == Mode::Test)
            }
            // Administrators have no scopes to measure by: keys are what they are there for, and each is audited.
            Self::Staff { roles, .. } => roles.contains(&Role::Administrator),
            Self::User { .. } => false,
        }
    }

    /// Whether behavioral and substance-use records may be seen, where others may be (OPS-17).
    pub fn sees_sensitive(&self) -> bool {
        match self {
            // A practice sees what concerns it; the right of its own is the payer's people's (OPS-17).
            Self::Service { .. } | Self::User { .. } => true,
            Self::Staff { roles, .. } => roles.contains(&Role::SensitiveRecords),
        }
    }
}

codes! {
    /// What a route does. Each route has one; who may do it stands in [`may`].
    pub enum Action {
        /// Open a submission.
        CreateSubmission = "create_submission",
        /// Add or take away files, submit, withdraw.
        EditSubmission = "edit_submission",
        /// See a submission, its history and progress.
        ReadSubmission = "read_submission",
        /// See what a document is and where.
        ReadDocument = "read_document",
        /// Read a clean document's bytes.
        DownloadDocument = "download_document",
        /// See which documents are on a case.
        ReadCase = "read_case",
        /// Look for cases by number, member or claim.
        SearchCases = "search_cases",
        /// See the matching queue and its counts.
        ReadQueue = "read_queue",
        /// Take an item of the matching queue and decide it.
        DecideMatch = "decide_match",
        /// Undo a match.
        UndoMatch = "undo_match",
        /// See who saw a document while its match was wrong.
        ReadDisclosures = "read_disclosures",
        /// See held files and the quarantine.
        ReadHeld = "read_held",
        /// Have a held file scanned again.
        Rescan = "rescan",
        /// Reject or release a held file.
        DecideHeld = "decide_held",
        /// Destroy a quarantined file.
        DestroyQuarantined = "destroy_quarantined",
        /// See dead letters.
        ReadDeadLetters = "read_dead_letters",
        /// Set dead letters to work again.
        ReplayDeadLetters = "replay_dead_letters",
        /// See mailroom batches, their counts, sources and the return log.
        ReadMailroom = "read_mailroom",
        /// Search, export and verify the audit log.
        ReadAudit = "read_audit",
        /// Load and change reference data.
        WriteReference = "write_reference",
        /// See, make, rotate and revoke keys.
        ManageKeys = "manage_keys",
        /// See and change users and staff roles.
        ManageUsers = "manage_users",
        /// See and change the entitlements for a TIN.
        ManageEntitlements = "manage_entitlements",
        /// See a letter: what became of it, and why.
        ReadLetter = "read_letter",
        /// Read a letter's PDF where it is not one's own message.
        DownloadLetter = "download_letter",
        /// Ask for letters, and say what a refused one lacked.
        WriteLetters = "write_letters",
        /// Set the status of a case.
        SetCaseStatus = "set_case_status",
        /// Stop and release letters, put and lift holds on them.
        StopLetters = "stop_letters",
        /// See whether a TIN gets paper, and try what else would come of it.
        ReadPaper = "read_paper",
        /// Turn paper on or off for a TIN.
        ChangePaper = "change_paper",
        /// Look into one's Messaging Center (COR-20).
        ReadMessages = "read_messages",
        /// Mark, archive and delete one's messages, and choose what to see of them (COR-21, COR-24).
        EditMessages = "edit_messages",
        /// See which letters that need an answer were not opened in time (COR-26).
        ReadUnread = "read_unread",
        /// Read the metrics.
        ReadMetrics = "read_metrics",
        /// Ask who one is.
        ReadSelf = "read_self",
    }
}

impl Action {
    /// The scope of a key that it takes. `None`: any key.
    pub const fn scope(self) -> Option<Scope> {
        Some(match self {
            Self::CreateSubmission | Self::EditSubmission => Scope::Submit,
            Self::ReadSubmission | Self::ReadDocument | Self::ReadCase | Self::ReadLetter => Scope::Read,
            Self::DownloadDocument | Self::DownloadLetter => Scope::Download,
            Self::WriteLetters | Self::SetCaseStatus => Scope::Correspondence,
            Self::ReadQueue | Self::DecideMatch | Self::SearchCases | Self::UndoMatch => Scope::Match,
            Self::ReadHeld
            | Self::Rescan
            | Self::DecideHeld
            | Self::DestroyQuarantined
            | Self::ReadDeadLetters
            | Self::ReplayDeadLetters
            | Self::ReadMailroom
            | Self::StopLetters => Scope::Operate,
            Self::ReadAudit | Self::ReadDisclosures => Scope::Audit,
            Self::WriteReference => Scope::Reference,
            Self::ManageKeys | Self::ManageUsers | Self::ManageEntitlements | Self::ReadPaper | Self::ChangePaper => {
                Scope::Access
            }
            Self::ReadUnread => Scope::Operate,
            // the service names the user whose messages they are
            Self::ReadMessages | Self::EditMessages => Scope::ActAs,
            Self::ReadMetrics => Scope::Metrics,
            Self::ReadSelf => return None,
        })
    }

    /// The roles of staff that may do it.
    pub const fn roles(self) -> &'static [Role] {
        use Role::{Administrator, MailroomOperator, PrivacyAuditor, Reviewer, Supervisor};
        match self {
            // Staff do not send in for a practice; what came on paper comes by a source.
            // Nobody chooses for a practice but its own access manager (COR-12).
            // A Messaging Center is its user's alone.
            Self::CreateSubmission
            | Self::EditSubmission
            | Self::ChangePaper
            | Self::ReadMessages
            | Self::EditMessages => &[],
            Self::ReadSubmission | Self::ReadDocument | Self::DownloadDocument | Self::ReadLetter => {
                &[MailroomOperator, Supervisor, Reviewer]
            }
            Self::ReadCase | Self::DownloadLetter | Self::WriteLetters | Self::SetCaseStatus => &[Supervisor, Reviewer],
            Self::SearchCases | Self::ReadQueue | Self::DecideMatch | Self::ReadHeld | Self::Rescan => {
                &[MailroomOperator, Supervisor]
            }
            Self::UndoMatch => &[Supervisor, Reviewer],
            Self::ReadDisclosures => &[Supervisor, PrivacyAuditor],
            Self::DecideHeld | Self::DestroyQuarantined => &[Supervisor],
            Self::ReadDeadLetters
            | Self::ReplayDeadLetters
            | Self::StopLetters
            | Self::ReadPaper
            | Self::ReadUnread => &[Supervisor, Administrator],
            Self::ReadMailroom => &[MailroomOperator, Supervisor, Administrator],
            Self::ReadAudit => &[PrivacyAuditor],
            Self::WriteReference | Self::ManageKeys | Self::ManageUsers | Self::ManageEntitlements => &[Administrator],
            Self::ReadMetrics => &[Administrator],
            Self::ReadSelf => Role::ALL,
        }
    }

    /// Whether there is such a thing to do among trials.
    const fn is_for_trials(self) -> bool {
        matches!(
            self,
            Self::CreateSubmission
                | Self::EditSubmission
                | Self::ReadSubmission
                | Self::ReadDocument
                | Self::DownloadDocument
                | Self::ReadCase
                | Self::ReadLetter
                | Self::DownloadLetter
                | Self::WriteLetters
                | Self::SetCaseStatus
                | Self::ReadMessages
                | Self::EditMessages
                | Self::WriteReference
                | Self::ReadSelf
        )
    }

    /// Whether users of practices have any such thing to do.
    const fn is_for_users(self) -> bool {
        matches!(
            self,
            Self::CreateSubmission
                | Self::EditSubmission
                | Self::ReadSubmission
                | Self::ReadDocument
                | Self::DownloadDocument
                | Self::ReadCase
                | Self::ReadLetter
                | Self::ReadMessages
                | Self::EditMessages
                | Self::ReadPaper
                | Self::ChangePaper
                | Self::ManageEntitlements
                | Self::ReadSelf
        )
    }
}

/// A submission, a document or a case, as far as access goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Who made it, as [`Principal::actor`] writes it. `None`: it came by a source, or is a case.
    pub owner: Option<&'a str>,
    /// The practice it is about, where that is known.
    pub tin: Option<&'a Tin>,
    /// The kind of case it is for or on, where that is known.
    pub kind: Option<CaseKind>,
    /// Real or trial.
    pub mode: Mode,
    /// Behavioral or substance-use records.
    pub sensitive: bool,
}

/// What it is to be done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// Nothing in particular: may the caller use such a route at all?
    Route,
    /// A submission, a document or a case.
    Record(Record<'a>),
    /// A letter.
    Letter(LetterRecord<'a>),
    /// What came to the payer and is no practice's yet: the mailroom's queue and lists.
    Mailroom,
    /// The rights for a TIN.
    Tin(&'a Tin),
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It may be done.
    Yes,
    /// The caller may not do such a thing at all; `needs` says what it would take.
    Forbidden {
        /// What the caller would need, in words.
        needs: Needs,
    },
    /// The caller may do such things, but not to this: it is answered as if it were not there.
    Hidden,
}

/// What a caller would need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A key with this scope.
    Scope(Scope),
    /// One of these roles.
    Role(&'static [Role]),
    /// A key that is not for trials.
    LiveKey,
    /// A key that is not limited to some TINs.
    AllTins,
    /// To be a service or one of the payer's people.
    NotUser,
    /// To be the access manager of the TIN.
    AccessManager,
    /// To be a user of a practice, or to speak for one.
    User,
}

/// Whether the caller may do this to that.
pub fn may(who: &Principal, action: Action, target: &Target<'_>) -> Answer {
    let as_such = may_at_all(who, action);
    match (as_such, target) {
        (Answer::Yes, Target::Route) => Answer::Yes,
        (Answer::Yes, Target::Record(record)) => seen(reaches(who, record)),
        (Answer::Yes, Target::Letter(letter)) => seen(letter.is_for(who)),
        (Answer::Yes, Target::Mailroom) => in_mailroom(who),
        (Answer::Yes, Target::Tin(tin)) => seen(administers(who, tin)),
        (refused, _) => refused,
    }
}

const fn seen(yes: bool) -> Answer {
    if yes { Answer::Yes } else { Answer::Hidden }
}

fn may_at_all(who: &Principal, action: Action) -> Answer {
    match who {
        // also for whom a key for trials speaks: users and their rights have no twins
        Principal::Service { mode: Mode::Test, .. } | Principal::User { mode: Mode::Test, .. }
            if !action.is_for_trials() =>
        {
            Answer::Forbidden { needs: Needs::LiveKey }
        }
        Principal::Service { .. } | Principal::Staff { .. }
            if matches!(action, Action::ReadMessages | Action::EditMessages) =>
        {
            Answer::Forbidden { needs: Needs::User }
        }
        // a service speaks for the access manager, or not at all (COR-12)
        Principal::Service { .. } if action == Action::ChangePaper => Answer::Forbidden { needs: Needs::AccessManager },
        Principal::Service { scopes, .. } => match action.scope() {
            Some(scope) if !scopes.contains(&scope) => Answer::Forbidden { needs: Needs::Scope(scope) },
            _ => Answer::Yes,
        },
        Principal::Staff { roles, .. } => {
            let wanted = action.roles();
            if wanted.iter().any(|role| roles.contains(role)) {
                Answer::Yes
            } else {
                Answer::Forbidden { needs: Needs::Role(wanted) }
            }
        }
        Principal::User { rights, .. } => match action {
            Action::ManageEntitlements | Action::ReadPaper | Action::ChangePaper
                if !rights.values().any(|rights| rights.access_manager) =>
            {
                Answer::Forbidden { needs: Needs::AccessManager }
            }
            _ if action.is_for_users() => Answer::Yes,
            _ => Answer::Forbidden { needs: Needs::NotUser },
        },
    }
}

/// Nobody knows yet whose a document in the mailroom is: who is there for some practices only, or for what they sent
/// themselves, has no part in it.
fn in_mailroom(who: &Principal) -> Answer {
    match who {
        Principal::Staff { .. } => Answer::Yes,
        Principal::User { .. } => Answer::Forbidden { needs: Needs::NotUser },
        Principal::Service { tins: TinSet::Only(_), .. } => Answer::Forbidden { needs: Needs::AllTins },
        Principal::Service { scopes, .. } if !scopes.contains(&Scope::ReadAny) => {
            Answer::Forbidden { needs: Needs::Scope(Scope::ReadAny) }
        }
        Principal::Service { .. } => Answer::Yes,
    }
}

fn reaches(who: &Principal, record: &Record<'_>) -> bool {
    if record.mode != who.mode() || (record.sensitive && !who.sees_sensitive()) {
        return false;
    }
    match who {
        Principal::Staff { .. } => true,
        Principal::Service { scopes, tins, .. } => {
            let own = record.owner == Some(who.actor().as_str());
            let any = own || scopes.contains(&Scope::ReadAny);
            match (record.tin, tins) {
                (Some(tin), TinSet::Only(tins)) => tins.contains(tin),
                (None, TinSet::Only(_)) => own,
                (_, TinSet::All) => any,
            }
        }
        // Without a TIN nothing is a practice's.
        Principal::User { rights, .. } => record.tin.and_then(|tin| rights.get(tin)).is_some_and(|rights| {
            record.kind.is_some_and(|kind| rights.entitlements.contains(&Entitlement::for_kind(kind)))
        }),
    }
}

/// Why a submission can't be opened by a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenRefusal {
    /// It must name its TIN: the caller has some only.
    TinNeeded,
    /// The TIN is none of the caller's, or not for this kind of case.
    UnknownTin,
}

/// Whether the caller may open a submission about this.
///
/// # Errors
/// See [`OpenRefusal`].
pub fn may_open(who: &Principal, tin: Option<&Tin>, kind: CaseKind) -> Result<(), OpenRefusal> {
    let known = match (who, tin) {
        (Principal::Service { tins: TinSet::All, .. }, _) => true,
        (_, None) => return Err(OpenRefusal::TinNeeded),
        (Principal::Service { tins, .. }, Some(tin)) => tins.contains(tin),
        (Principal::User { rights, .. }, Some(tin)) => {
            rights.get(tin).is_some_and(|rights| rights.entitlements.contains(&Entitlement::for_kind(kind)))
        }
        (Principal::Staff { .. }, Some(_)) => false,
    };
    if known { Ok(()) } else { Err(OpenRefusal::UnknownTin) }
}

/// Whether a case may be named to the caller beside what the caller sent: its number and status.
pub fn names_case(who: &Principal, case: &Record<'_>) -> bool {
    match who {
        Principal::Service { tins, .. } => case.mode == who.mode() && case.tin.is_some_and(|tin| tins.contains(tin)),
        Principal::User { .. } | Principal::Staff { .. } => reaches(who, case),
    }
}

fn administers(who: &Principal, tin: &Tin) -> bool {
    match who {
        Principal::Staff { .. } => true,
        Principal::Service { tins, .. } => tins.contains(tin),
        Principal::User { rights, .. } => rights.get(tin).is_some_and(|rights| rights.access_manager),
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
