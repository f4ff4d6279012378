//! When batches are closed: a pure function of the calendar, of what was closed last, and of the clock (COR-41).

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use serde::Deserialize;

use crate::engine::plan::PlanError;
use crate::model::calendar::Calendar;

/// When batches are closed (`[paper.batches]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchesPolicy {
    /// The time of each business day, by the mailroom's clocks.
    pub cut_off: Time,
    /// Business days within which a person must have seen to what keeps letters from going on paper.
    pub act_within_business_days: u16,
}

impl BatchesPolicy {
    /// Checks that the figures make sense.
    ///
    /// # Errors
    /// Names the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        if !(1..=90).contains(&self.act_within_business_days) {
            let why = "correspondence.toml: [paper.batches] act_within_business_days must be 1 to 90";
            return Err(PlanError::Unusable(why.into()));
        }
        Ok(())
    }
}

/// The days that are to be closed now, in their order, each with its cut-off. Every business day has its turn once,
/// however late this is asked: a batch takes what was decided before the cut-off of its own day. Where nothing was
/// closed yet, the first day is that before whose cut-off the first letter came.
pub fn due(
    last_closed: Option<Date>,
    first_waiting: Option<Timestamp>,
    now: Timestamp,
    calendar: &Calendar,
    policy: &BatchesPolicy,
) -> Vec<(Date, Timestamp)> {
    let next = |day: Date| calendar.add_business_days(day, 1);
    let first = match (last_closed, first_waiting) {
        (Some(last), _) => next(last),
        (None, None) => return Vec::new(),
        (None, Some(came)) => {
            let day = calendar.local_day(came);
            let in_time = calendar.is_business_day(day) && came < calendar.at(day, policy.cut_off);
            if in_time { day } else { next(day) }
        }
    };
    let mut days = Vec::new();
    let mut day = first;
    loop {
        let cut_off = calendar.at(day, policy.cut_off);
        if cut_off > now {
            return days;
        }
        days.push((day, cut_off));
        let following = next(day);
        if following <= day {
            // the end of the calendar
            return days;
        }
        day = following;
    }
}

/// The next cut-off: what is decided before it goes into that day's batch, if nothing is in its way.
pub fn next(
    last_closed: Option<Date>,
    now: Timestamp,
    calendar: &Calendar,
    policy: &BatchesPolicy,
) -> (Date, Timestamp) {
    let today = calendar.local_day(now);
    let mut day = if calendar.is_business_day(today) { today } else { calendar.add_business_days(today, 1) };
    while last_closed.is_some_and(|last| day <= last) || calendar.at(day, policy.cut_off) <= now {
        let following = calendar.add_business_days(day, 1);
        if following <= day {
            break;
        }
        day = following;
    }
    (day, calendar.at(day, policy.cut_off))
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};
    use jiff::tz::TimeZone;

    use super::*;
    use crate::model::calendar::CalendarPlan;

    fn calendar(zone: &str) -> Calendar {
        let plan: CalendarPlan = toml::from_str(include_str!("../../pipelines/calendar.toml")).unwrap();
        plan.resolve(TimeZone::get(zone).unwrap()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// What is due, as `23 2026-11-23T22:00:00Z` (day of the month, cut-off).
    fn told(last: Option<Date>, first: Option<&str>, now: &str, zone: &str, cut_off: Time) -> Vec<String> {
        let policy = BatchesPolicy { cut_off, act_within_business_days: 2 };
        let days = due(last, first.map(at), at(now), &calendar(zone), &policy);
        days.iter().map(|(day, cut_off)| format!("{} {cut_off}", day.day())).collect()
    }

    /// What happened, the day closed last, when a letter came, now, and the days that are due.
    type Row<'a> = (&'a str, Option<Date>, Option<&'a str>, &'a str, &'a [&'a str]);

    #[test]
    fn cor_41_each_business_day_is_closed_once_at_its_cut_off_however_late() {
        let (zone, five) = ("America/New_York", time(17, 0, 0, 0));
        let friday = Some(date(2026, 11, 20));
        // November 26 is Thanksgiving; winter time is five hours behind UTC
        let table: &[Row] = &[
            ("nothing ever came", None, None, "2026-11-23T23:00:00Z", &[]),
            ("it came today, before the cut-off", None, Some("2026-11-23T15:00:00Z"), "2026-11-23T21:59:59Z", &[]),
            (
                "the cut-off is there",
                None,
                Some("2026-11-23T15:00:00Z"),
                "2026-11-23T22:00:00Z",
                &["23 2026-11-23T22:00:00Z"],
            ),
            ("it came at the cut-off", None, Some("2026-11-23T22:00:00Z"), "2026-11-23T22:00:00Z", &[]),
            (
                "it came on a Saturday",
                None,
                Some("2026-11-21T15:00:00Z"),
                "2026-11-23T22:30:00Z",
                &["23 2026-11-23T22:00:00Z"],
            ),
            ("the weekend has no cut-off", friday, None, "2026-11-22T23:00:00Z", &[]),
            ("nothing came, and the day is closed", friday, None, "2026-11-23T22:00:00Z", &["23 2026-11-23T22:00:00Z"]),
            ("closed today", Some(date(2026, 11, 23)), Some("2026-11-23T15:00:00Z"), "2026-11-23T23:00:00Z", &[]),
            (
                "late by a week with a holiday",
                friday,
                None,
                "2026-11-30T22:00:00Z",
                &[
                    "23 2026-11-23T22:00:00Z",
                    "24 2026-11-24T22:00:00Z",
                    "25 2026-11-25T22:00:00Z",
                    "27 2026-11-27T22:00:00Z",
                    "30 2026-11-30T22:00:00Z",
                ],
            ),
            ("a clock that was set back", Some(date(2026, 12, 1)), None, "2026-11-23T23:00:00Z", &[]),
        ];
        for (what, last, first, now, expected) in table {
            assert_eq!(told(*last, *first, now, zone, five), *expected, "{what}");
        }
    }

    #[test]
    fn cor_41_the_cut_off_is_that_of_the_mailrooms_clocks_where_they_change() {
        // Sunday, March 14, 2027: an hour is left out. Friday has 22:00 UTC, Monday 21:00.
        assert_eq!(
            told(Some(date(2027, 3, 11)), None, "2027-03-15T21:00:00Z", "America/New_York", time(17, 0, 0, 0)),
            ["12 2027-03-12T22:00:00Z", "15 2027-03-15T21:00:00Z"]
        );
        // where the clocks change on a business day (Cairo, Friday, April 30, 2027, at midnight): a time that is left
        // out is as much later, one that is there twice is the first
        assert_eq!(
            told(Some(date(2027, 4, 29)), None, "2027-04-30T12:00:00Z", "Africa/Cairo", time(0, 30, 0, 0)),
            ["30 2027-04-29T22:30:00Z"]
        );
        assert_eq!(
            told(Some(date(2026, 10, 28)), None, "2026-10-29T22:00:00Z", "Africa/Cairo", time(23, 30, 0, 0)),
            ["29 2026-10-29T20:30:00Z"]
        );
    }

    #[test]
    fn whatever_the_times_of_asking_no_day_is_skipped_or_closed_twice() {
        let policy = BatchesPolicy { cut_off: time(17, 0, 0, 0), act_within_business_days: 2 };
        let calendar = calendar("America/New_York");
        let (from, to) = (at("2026-11-02T12:00:00Z"), at("2027-01-15T12:00:00Z"));
        let all = due(None, Some(from), to, &calendar, &policy);
        for hours in [1, 7, 24, 31, 100, 400] {
            let (mut closed, mut now): (Vec<(Date, Timestamp)>, _) = (Vec::new(), from);
            while now < to {
                closed.extend(due(closed.last().map(|(day, _)| *day), Some(from), now, &calendar, &policy));
                now = calendar.add_hours(now, hours);
            }
            closed.extend(due(closed.last().map(|(day, _)| *day), Some(from), to, &calendar, &policy));
            assert_eq!(closed, all, "every {hours} hours");
        }
        assert_eq!(next(all.last().map(|(day, _)| *day), to, &calendar, &policy).0, date(2027, 1, 15));
        assert_eq!(next(None, at("2026-11-25T23:00:00Z"), &calendar, &policy).0, date(2026, 11, 27));
    }
}
