//! Print batches and their envelopes: where each stands, and what a printer's word makes of it (COR-41, COR-42).

use crate::codes;

/// The stage that puts a closed batch together. Its files lie among the letters in the store, so that who sweeps there asks
/// for it too.
pub const ASSEMBLE: &str = "assemble";

codes! {
    /// Why a batch was closed.
    pub enum BatchKind {
        /// The cut-off of a day came: each business day has one, also one on which nothing waited.
        Daily = "daily",
        /// A person closed it before the cut-off, which comes all the same.
        Extra = "extra",
        /// Spoiled and missing envelopes of another one are printed again.
        Reprint = "reprint",
    }
}

codes! {
    /// Where a batch stands.
    pub enum BatchState {
        /// Its envelopes are fixed.
        Closed = "closed",
        /// Its print file and manifest are stored.
        Assembled = "assembled",
        /// Each of its envelopes is in the mail, or has one that took its place.
        Done = "done",
    }
}

codes! {
    /// Where an envelope stands (COR-42).
    pub enum EnvelopeState {
        /// It belongs to a batch.
        InBatch = "in_batch",
        /// Its sheets are printed.
        Printed = "printed",
        /// Its sheets are in it.
        Inserted = "inserted",
        /// The post has it.
        Mailed = "mailed",
        /// It was harmed or is missing: its letters are printed again.
        Spoiled = "spoiled",
        /// The post brought it back.
        Returned = "returned",
    }
}

codes! {
    /// A file of a batch.
    pub enum PrintFile {
        /// What is printed.
        Pdf = "print.pdf",
        /// The list of envelopes, for programs.
        Json = "manifest.json",
        /// The same as a table.
        Csv = "manifest.csv",
    }
}

impl PrintFile {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Json => "application/json",
            Self::Csv => "text/csv",
        }
    }
}

codes! {
    /// What a printer tells of an envelope.
    pub enum PieceEvent {
        /// Its sheets are printed.
        Printed = "printed",
        /// Its sheets are in it.
        Inserted = "inserted",
        /// The post has it.
        Mailed = "mailed",
        /// It was harmed.
        Spoiled = "spoiled",
        /// Nobody finds it.
        Missing = "missing",
    }
}

codes! {
    /// Why the post brought an envelope back, by its endorsements (USPS, Domestic Mail Manual 507).
    pub enum ReturnReason {
        /// Attempted, not known.
        NotKnown = "not_known",
        /// Moved, left no address; or the order to forward has run out.
        Moved = "moved",
        /// There is no such number or street.
        NoSuchAddress = "no_such_address",
        /// Something of the address is missing.
        InsufficientAddress = "insufficient_address",
        /// Nobody lives there.
        Vacant = "vacant",
        /// It has no receptacle, or can't be delivered as addressed for another reason.
        NotDeliverable = "not_deliverable",
        /// The addressee did not take it.
        Refused = "refused",
        /// Nobody fetched it.
        Unclaimed = "unclaimed",
        /// The addressee has died.
        Deceased = "deceased",
        /// Another reason.
        Other = "other",
    }
}

codes! {
    /// What a person must see to before letters can go on paper.
    pub enum PaperTaskKind {
        /// Letters can't go to this address of this addressee.
        Address = "address",
        /// A letter has more sheets than an envelope takes.
        TooLarge = "too_large",
    }
}

codes! {
    /// How such a task ended.
    pub enum PaperTaskEnd {
        /// The addressee has another address.
        Corrected = "corrected",
        /// The address counts as right.
        Dismissed = "dismissed",
    }
}

/// The reason of a task about an address to which mail came back; others are codes of what is wrong with its form.
pub const RETURNED: &str = "returned";
/// The reason of a task about a letter that no envelope takes.
pub const TOO_LARGE: &str = "too_many_sheets";

/// What an event makes of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It comes into this state.
    To(EnvelopeState),
    /// Nothing: it is so, or further, already.
    Stays,
    /// It can't be: another event says the contrary.
    Against,
}

impl EnvelopeState {
    /// What an event makes of an envelope in this state. Events may come in any order and more than once: a later one
    /// implies those before it.
    pub const fn after(self, event: PieceEvent) -> Step {
        use EnvelopeState::{InBatch, Inserted, Mailed, Printed, Returned, Spoiled};
        match (self, event) {
            (InBatch, PieceEvent::Printed) => Step::To(Printed),
            (InBatch | Printed, PieceEvent::Inserted) => Step::To(Inserted),
            (InBatch | Printed | Inserted, PieceEvent::Mailed) => Step::To(Mailed),
            (InBatch | Printed | Inserted, PieceEvent::Spoiled | PieceEvent::Missing) => Step::To(Spoiled),
            // what is spoiled is printed again: mailed as well, the letter would come twice
            (Spoiled, PieceEvent::Mailed) => Step::Against,
            (Mailed | Returned, PieceEvent::Spoiled | PieceEvent::Missing) => Step::Against,
            (_, PieceEvent::Printed | PieceEvent::Inserted)
            | (Mailed | Returned, PieceEvent::Mailed)
            | (Spoiled, PieceEvent::Spoiled | PieceEvent::Missing) => Step::Stays,
        }
    }

    /// Whether it is known what became of it.
    pub const fn is_accounted_for(self) -> bool {
        matches!(self, Self::Mailed | Self::Spoiled | Self::Returned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_comes_to_the_same_end_in_whatever_order_and_however_often_it_is_told_of() {
        use PieceEvent::{Inserted, Mailed, Printed};
        let orders = [
            vec![Printed, Inserted, Mailed],
            vec![Mailed, Inserted, Printed],
            vec![Inserted, Mailed, Printed, Mailed, Inserted],
            vec![Mailed],
        ];
        for events in orders {
            let end = events.iter().fold(EnvelopeState::InBatch, |state, event| match state.after(*event) {
                Step::To(next) => next,
                Step::Stays => state,
                Step::Against => unreachable!("{events:?}"),
            });
            assert_eq!(end, EnvelopeState::Mailed, "{events:?}");
        }
    }

    #[test]
    fn what_is_spoiled_is_never_mailed_and_what_is_mailed_never_spoiled() {
        for event in [PieceEvent::Spoiled, PieceEvent::Missing] {
            for state in [EnvelopeState::InBatch, EnvelopeState::Printed, EnvelopeState::Inserted] {
                assert_eq!(state.after(event), Step::To(EnvelopeState::Spoiled));
            }
            assert_eq!(EnvelopeState::Spoiled.after(event), Step::Stays);
            assert_eq!(EnvelopeState::Mailed.after(event), Step::Against);
            assert_eq!(EnvelopeState::Returned.after(event), Step::Against);
        }
        assert_eq!(EnvelopeState::Spoiled.after(PieceEvent::Mailed), Step::Against);
    }
}
