//! What every letter begins with: who it is to, when it was written, what it is about.

use jiff::civil::Date;

use crate::letters::fields::{Line, Some1, State, Zip};
use crate::{letter_codes, letter_data};

letter_codes! {
    /// Whom a letter speaks to.
    pub enum ReaderKind {
        /// A member: "you" is the patient, or who speaks for them.
        Member = "member",
        /// A practice: "you" is the provider.
        Practice = "practice",
    }
}

letter_data! {
    /// Who gets the letter, as it stands in the envelope's window.
    pub struct Addressee {
        /// Whom the letter speaks to.
        kind: ReaderKind,
        /// The name.
        name: Line,
        /// Who in the house.
        attention: Option<Line>,
        /// Street, box, suite: one to three lines.
        lines: Some1<Line>,
        /// City.
        city: Line,
        /// State.
        state: State,
        /// ZIP code.
        zip: Zip,
    }
}

/// Characters that a line of the window holds in its smallest print.
const WINDOW_CHARS: usize = 45;

impl Addressee {
    /// About how many lines it takes in the envelope's window, in the smallest print.
    pub fn window_lines(&self) -> usize {
        let lines = |line: &Line| line.0.reveal().chars().count().div_ceil(WINDOW_CHARS);
        let city = (self.city.0.reveal().chars().count() + 14).div_ceil(WINDOW_CHARS);
        let attention = self.attention.as_ref().map_or(0, lines);
        attention + lines(&self.name) + self.lines.0.iter().map(lines).sum::<usize>() + city
    }
}

letter_data! {
    /// The member it is about.
    pub struct MemberHead {
        /// First and last name.
        name: Line,
        /// The whole id; how much of it is shown is policy.
        member_id: Line,
        /// The plan's name.
        plan: Option<Line>,
    }
}

letter_data! {
    /// The practice it is about.
    pub struct PracticeHead {
        /// Its name.
        name: Line,
        /// Its TIN, masked.
        tin: Option<Line>,
        /// The provider in it.
        provider: Option<Line>,
    }
}

letter_data! {
    /// The claim it is about.
    pub struct ClaimHead {
        /// Its number.
        number: Line,
        /// The first day of service.
        service_from: Date,
        /// The last day of service.
        service_to: Date,
        /// When it was processed.
        processed_on: Option<Date>,
    }
}

letter_data! {
    /// The case it is about.
    pub struct CaseHead {
        /// Its number.
        number: Line,
    }
}

letter_data! {
    /// What every letter begins with. Filled from rows, never by who asks for the letter.
    pub struct Head {
        /// The letter's own number; none on a sheet that is handed out and kept nowhere.
        letter_number: Option<Line>,
        /// The date on it.
        date: Date,
        /// Who gets it.
        addressee: Addressee,
        /// The member it is about.
        member: Option<MemberHead>,
        /// The practice it is about.
        practice: Option<PracticeHead>,
        /// The claim it is about.
        claim: Option<ClaimHead>,
        /// The case it is about.
        case: Option<CaseHead>,
    }
}
