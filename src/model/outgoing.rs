//! What can't be taken back once it was done, and so can be held back as a whole: after a restore nobody knows what of it
//! has been done already.

use crate::codes;

codes! {
    /// What an installation does that can't be taken back.
    pub enum Outgoing {
        /// Mails to users go to relays.
        Mails = "mails",
        /// Letters go to the fax gateway, and what it does not answer for goes on paper.
        Faxes = "faxes",
        /// Print batches are closed at their cut-off.
        Batches = "batches",
        /// Records are destroyed by a run of retention.
        Destruction = "destruction",
    }
}
