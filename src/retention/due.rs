//! When a record is due (OPS-15): the decision, pure. What is not known keeps a record.

use jiff::Span;
use jiff::civil::Date;

use crate::model::retention::RetentionReason;

/// Where the case of a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseClock {
    /// It is open.
    Open,
    /// It was closed on this local day.
    Closed(Date),
}

/// What is known of a record. Days are the payer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The day of its own date.
    pub day: Date,
    /// Whether it has come to an end: nothing is done with it, and nobody is to do anything.
    pub ended: bool,
    /// The case that it is on, or is.
    pub case: Option<CaseClock>,
    /// Whether records that hang on it are there.
    pub has_records: bool,
    /// The last day on which users read it.
    pub online_until: Option<Date>,
    /// Whether a legal hold stands for it.
    pub held: bool,
}

/// The decision over a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Due, or why not.
    pub why: RetentionReason,
    /// The first day on which its time is over, where that is known.
    pub due_on: Option<Date>,
}

/// Whether a record that is kept for so many years is due on a day. It is kept for the whole of the last day.
pub fn due(facts: &Facts, years: u16, today: Date) -> Judged {
    if !facts.ended {
        return Judged { why: RetentionReason::InProgress, due_on: None };
    }
    let from = match facts.case {
        Some(CaseClock::Open) => return Judged { why: RetentionReason::CaseOpen, due_on: None },
        Some(CaseClock::Closed(day)) => day.max(facts.day),
        None => facts.day,
    };
    let due_on = first_day_after(from, years);
    let why = if today < due_on {
        RetentionReason::NotYet
    } else if facts.has_records {
        RetentionReason::HasRecords
    } else if facts.online_until.is_some_and(|last| today <= last) {
        RetentionReason::Online
    } else if facts.held {
        RetentionReason::Held
    } else {
        RetentionReason::Due
    };
    Judged { why, due_on: Some(due_on) }
}

/// The day after the one that lies so many years later. Of February 29 that is March 1, in every year.
fn first_day_after(day: Date, years: u16) -> Date {
    let later = Span::new().try_years(years).ok().and_then(|span| day.checked_add(span).ok());
    let Some(later) = later else { return Date::MAX };
    // a day that this year does not have fell back to the one before it: that is kept, too
    later.tomorrow().unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Facts =
        Facts { day: date(2016, 11, 20), ended: true, case: None, has_records: false, online_until: None, held: false };

    #[test]
    fn ops_15_a_record_is_due_when_its_years_are_over_and_nothing_keeps_it() {
        let closed = |year, month, day| Some(CaseClock::Closed(date(year, month, day)));
        let today = date(2026, 11, 21);
        for (what, facts, today, why, due_on) in [
            ("on its last day", PLAIN, date(2026, 11, 20), RetentionReason::NotYet, Some(today)),
            ("on the day after", PLAIN, today, RetentionReason::Due, Some(today)),
            ("long after", PLAIN, date(2040, 1, 1), RetentionReason::Due, Some(today)),
            ("on its way", Facts { ended: false, ..PLAIN }, today, RetentionReason::InProgress, None),
            ("open", Facts { case: Some(CaseClock::Open), ..PLAIN }, today, RetentionReason::CaseOpen, None),
            ("closed before", Facts { case: closed(2015, 1, 1), ..PLAIN }, today, RetentionReason::Due, Some(today)),
            (
                "closed later",
                Facts { case: closed(2016, 11, 21), ..PLAIN },
                today,
                RetentionReason::NotYet,
                Some(date(2026, 11, 22)),
            ),
            ("held", Facts { held: true, ..PLAIN }, today, RetentionReason::Held, Some(today)),
            ("held before", Facts { held: true, ..PLAIN }, date(2026, 11, 20), RetentionReason::NotYet, Some(today)),
            ("has records", Facts { has_records: true, ..PLAIN }, today, RetentionReason::HasRecords, Some(today)),
            ("online today", Facts { online_until: Some(today), ..PLAIN }, today, RetentionReason::Online, Some(today)),
            (
                "online before",
                Facts { online_until: Some(date(2026, 11, 20)), ..PLAIN },
                today,
                RetentionReason::Due,
                Some(today),
            ),
        ] {
            assert_eq!(due(&facts, 10, today), Judged { why, due_on }, "{what}");
        }
    }

    #[test]
    fn years_end_with_the_day_also_where_a_year_does_not_have_it() {
        for (from, years, due_on) in [
            (date(2016, 2, 29), 10, date(2026, 3, 1)),
            (date(2016, 2, 29), 4, date(2020, 3, 1)),
            (date(2016, 2, 28), 4, date(2020, 2, 29)),
            (date(2016, 12, 31), 1, date(2018, 1, 1)),
            (Date::MAX, 10, Date::MAX),
        ] {
            assert_eq!(first_day_after(from, years), due_on, "{from} {years}");
        }
    }

    fn any_day() -> impl Strategy<Value = Date> {
        (1990i16..2090, 1i8..=12, 1i8..=31).prop_filter_map("no such day", |(y, m, d)| Date::new(y, m, d).ok())
    }

    fn any_facts() -> impl Strategy<Value = Facts> {
        let case = prop_oneof![
            Just(None),
            Just(Some(CaseClock::Open)),
            any_day().prop_map(|day| Some(CaseClock::Closed(day)))
        ];
        (any_day(), any::<bool>(), case, any::<bool>(), proptest::option::of(any_day()), any::<bool>()).prop_map(
            |(day, ended, case, has_records, online_until, held)| Facts {
                day,
                ended,
                case,
                has_records,
                online_until,
                held,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_due_is_old_enough_and_kept_by_nothing(facts in any_facts(), years in 1u16..100, today in any_day()) {
            let judged = due(&facts, years, today);
            if judged.why == RetentionReason::Due {
                prop_assert!(facts.ended && !facts.held && !facts.has_records);
                prop_assert!(facts.case != Some(CaseClock::Open));
                prop_assert!(facts.online_until.is_none_or(|last| last < today));
                prop_assert!(today.year() - facts.day.year() >= i16::try_from(years).unwrap());
                prop_assert!(judged.due_on.is_some_and(|day| day <= today && day > facts.day));
                if let Some(CaseClock::Closed(day)) = facts.case {
                    prop_assert!(today.year() - day.year() >= i16::try_from(years).unwrap());
                }
            }
        }

        #[test]
        fn a_hold_a_day_less_and_a_year_more_never_make_a_record_due(facts in any_facts(), years in 1u16..100, today in any_day()) {
            let is_due = |facts: &Facts, years, today| due(facts, years, today).why == RetentionReason::Due;
            let held = Facts { held: true, ..facts };
            prop_assert!(!is_due(&held, years, today));
            if !is_due(&facts, years, today) {
                prop_assert!(!is_due(&facts, years + 1, today));
                prop_assert!(!is_due(&facts, years, today.yesterday().unwrap()));
            }
        }
    }
}
