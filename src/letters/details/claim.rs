//! Details of letters about claims.

use jiff::civil::Date;

use crate::letters::details::parts::{AdjustedLine, Denial, DeniedLine, Needed};
use crate::letters::fields::{Cents, Count, Line, Prose, Some1};
use crate::{letter_codes, letter_data};

letter_data! {
    /// A reconsideration has come in.
    pub struct ReconsiderationReceived {
        /// When.
        received_on: Date,
        /// The number the sender quotes.
        reference_number: Option<Line>,
        /// What was asked for.
        request: Option<Line>,
        /// What came with it, a line each.
        documents: Vec<Line>,
        /// By when it is decided.
        decide_by: Option<Date>,
    }
}

letter_data! {
    /// More is needed to decide a reconsideration.
    pub struct AdditionalInformationRequested {
        /// What.
        needed: Some1<Needed>,
        /// By when.
        due_by: Date,
        /// The number to quote.
        reference_number: Option<Line>,
    }
}

letter_data! {
    /// The claim is adjusted.
    pub struct ReconsiderationAdjusted {
        /// When it was decided.
        decided_on: Date,
        /// Why, and what was changed.
        explanation: Prose,
        /// The claim's lines as they are now.
        lines: Vec<AdjustedLine>,
        /// What is paid on top.
        additional_payment_cents: Option<Cents>,
        /// Interest in it.
        interest_cents: Option<Cents>,
        /// By when it is paid.
        pay_by: Option<Date>,
    }
}

letter_data! {
    /// The first decision stands.
    pub struct ReconsiderationUpheld {
        /// When it was decided.
        decided_on: Date,
        /// Why.
        reason: Prose,
        /// What was looked at, a line each.
        reviewed: Vec<Line>,
        /// By when an appeal must be filed, where one is open.
        appeal_deadline: Option<Date>,
    }
}

letter_data! {
    /// A file was infected (INT-13).
    pub struct RequestFailedVirus {
        /// When the request came in.
        received_on: Date,
        /// The number the sender quotes.
        reference_number: Option<Line>,
        /// The infected files' names as the sender gave them.
        files: Some1<Line>,
        /// How many other files are kept.
        files_kept: Option<Count>,
    }
}

letter_data! {
    /// A claim is denied.
    pub struct ClaimDenied {
        /// When.
        decided_on: Date,
        /// The lines that are not paid.
        lines: Some1<DeniedLine>,
        /// What the member owes the provider.
        member_owes_cents: Option<Cents>,
        /// Why, and what can be done.
        denial: Denial,
    }
}

letter_codes! {
    /// How a request came.
    pub enum RequestChannel {
        /// On the portal.
        Portal = "portal",
        /// By another program.
        Api = "api",
        /// By mail.
        Mail = "mail",
        /// By fax.
        Fax = "fax",
        /// By e-mail.
        Email = "email",
    }
}

letter_data! {
    /// A question of the questionnaire with its answer.
    pub struct Answer {
        /// What was asked.
        question: Line,
        /// What was answered.
        answer: Line,
    }
}

letter_data! {
    /// A file that came with a request.
    pub struct SentFile {
        /// Its name as the sender gave it.
        name: Line,
        /// Its pages.
        pages: Option<Count>,
        /// Its size in words, as the sender saw it.
        size: Option<Line>,
    }
}

letter_data! {
    /// A copy of a reconsideration request (REC-32).
    pub struct ReconsiderationCopy {
        /// When it was sent.
        submitted_on: Date,
        /// The time with its zone, as the sender saw it.
        submitted_at: Option<Line>,
        /// The number the sender quotes.
        reference_number: Line,
        /// How it came.
        channel: RequestChannel,
        /// The questionnaire.
        answers: Vec<Answer>,
        /// The sender's notes.
        notes: Option<Prose>,
        /// The files.
        files: Vec<SentFile>,
    }
}

letter_data! {
    /// A sheet to lay on documents that go back by mail (OPS-06).
    pub struct ReturnCoverSheet {
        /// By when they should be here.
        due_by: Option<Date>,
        /// What to send, a line each.
        documents: Vec<Line>,
    }
}
