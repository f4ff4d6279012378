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

pub use crate::model::action::Action;
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
        /// Have destroyed what is due; legal holds.
        Retention = "retention",
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
            if matches!(
                action,
                Action::ReadMessages | Action::EditMessages | Action::ReadNotifications | Action::EditNotifications
            ) =>
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
            Action::ManageEntitlements | Action::ReadPaper | Action::ChangePaper | Action::ReadUserChoices
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
