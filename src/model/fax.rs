//! Tries to send a letter by fax, and what became of them.

use crate::codes;

codes! {
    /// Where a try stands.
    pub enum FaxState {
        /// It lies ready, and nobody but us has seen it.
        Prepared = "prepared",
        /// The gateway has it.
        HandedOver = "handed_over",
        /// The other side confirmed all pages.
        Sent = "sent",
        /// The gateway says that it was not sent.
        Failed = "failed",
        /// The gateway said nothing in time.
        Unanswered = "unanswered",
        /// It was taken back before the gateway had it.
        Withdrawn = "withdrawn",
    }
}

codes! {
    /// Why a letter does not go by fax after all.
    pub enum FaxEnd {
        /// Its last try failed.
        Failed = "fax_failed",
        /// The gateway did not say what became of it, or there is none.
        Unanswered = "fax_unanswered",
        /// No number of the practice is known any more.
        NoNumber = "no_fax_number",
        /// It can't be made a picture of.
        NoPicture = "fax_no_picture",
    }
}
