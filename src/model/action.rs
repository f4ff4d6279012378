//! What a caller wants to do, and what of keys, staff and users may do it at all. Whether to this one thing is decided in
//! [`super::access`].

use crate::codes;
use crate::model::access::{Role, Scope};

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
        /// See what one is told of by mail, and how often one chose to be.
        ReadNotifications = "read_notifications",
        /// Choose how often to be told (COR-30).
        EditNotifications = "edit_notifications",
        /// See how often another user chose to be told.
        ReadUserChoices = "read_user_choices",
        /// See whether a user was told of a letter, and why or why not (COR-33).
        WhyNotified = "why_notified",
        /// See print batches, and how their envelopes stand (OPS-04).
        ReadPrintBatches = "read_print_batches",
        /// Read a batch's print file and manifest.
        DownloadPrintBatch = "download_print_batch",
        /// Take a printer's word and what came back, have spoiled envelopes printed again, see to addresses (COR-42).
        WorkPrintBatches = "work_print_batches",
        /// Close a batch before the cut-off, hold batches back and let them go (COR-16).
        DecidePrintBatches = "decide_print_batches",
        /// See how mails of digests stand.
        ReadMails = "read_mails",
        /// Have a mail in doubt sent again, or not.
        DecideMails = "decide_mails",
        /// See when digests go, what another timing would do, and what became of each run (OPS-10, OPS-11).
        ReadSchedules = "read_schedules",
        /// Edit, pause and run schedules of digests, decide about runs that wait.
        EditSchedules = "edit_schedules",
        /// See what retention keeps and destroys: plans, runs, legal holds (OPS-15).
        ReadRetention = "read_retention",
        /// Have destroyed what is due; put and lift legal holds.
        RunRetention = "run_retention",
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
            | Self::StopLetters
            | Self::ReadPrintBatches
            | Self::DownloadPrintBatch
            | Self::WorkPrintBatches
            | Self::DecidePrintBatches
            | Self::ReadUnread
            | Self::WhyNotified
            | Self::ReadMails
            | Self::DecideMails
            | Self::ReadSchedules
            | Self::EditSchedules => Scope::Operate,
            Self::ReadAudit | Self::ReadDisclosures => Scope::Audit,
            Self::WriteReference => Scope::Reference,
            Self::ManageKeys
            | Self::ManageUsers
            | Self::ManageEntitlements
            | Self::ReadPaper
            | Self::ChangePaper
            | Self::ReadUserChoices => Scope::Access,
            // the service names the user whose messages they are
            Self::ReadMessages | Self::EditMessages | Self::ReadNotifications | Self::EditNotifications => Scope::ActAs,
            Self::ReadRetention | Self::RunRetention => Scope::Retention,
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
            | Self::EditMessages
            | Self::ReadNotifications
            | Self::EditNotifications => &[],
            Self::ReadSubmission | Self::ReadDocument | Self::DownloadDocument | Self::ReadLetter => {
                &[MailroomOperator, Supervisor, Reviewer]
            }
            Self::ReadCase | Self::DownloadLetter | Self::WriteLetters | Self::SetCaseStatus => &[Supervisor, Reviewer],
            Self::SearchCases | Self::ReadQueue | Self::DecideMatch | Self::ReadHeld | Self::Rescan => {
                &[MailroomOperator, Supervisor]
            }
            Self::UndoMatch => &[Supervisor, Reviewer],
            Self::ReadDisclosures => &[Supervisor, PrivacyAuditor],
            Self::DecideHeld | Self::DestroyQuarantined | Self::DecidePrintBatches => &[Supervisor],
            Self::ReadDeadLetters
            | Self::ReplayDeadLetters
            | Self::StopLetters
            | Self::ReadPaper
            | Self::ReadUnread
            | Self::ReadMails
            | Self::DecideMails
            | Self::ReadUserChoices => &[Supervisor, Administrator],
            Self::WhyNotified => &[Supervisor, Administrator, PrivacyAuditor],
            Self::ReadMailroom | Self::ReadPrintBatches => &[MailroomOperator, Supervisor, Administrator],
            Self::DownloadPrintBatch | Self::WorkPrintBatches => &[MailroomOperator, Supervisor],
            Self::ReadAudit => &[PrivacyAuditor],
            Self::WriteReference | Self::ManageKeys | Self::ManageUsers | Self::ManageEntitlements => &[Administrator],
            Self::ReadSchedules => &[Supervisor, Administrator],
            Self::EditSchedules | Self::RunRetention => &[Administrator],
            Self::ReadRetention => &[Administrator, PrivacyAuditor],
            Self::ReadMetrics => &[Administrator],
            Self::ReadSelf => Role::ALL,
        }
    }

    /// Whether there is such a thing to do among trials.
    pub(super) const fn is_for_trials(self) -> bool {
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
    pub(super) const fn is_for_users(self) -> bool {
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
                | Self::ReadNotifications
                | Self::EditNotifications
                | Self::ReadUserChoices
                | Self::WhyNotified
                | Self::ReadPaper
                | Self::ChangePaper
                | Self::ManageEntitlements
                | Self::ReadSelf
        )
    }
}
