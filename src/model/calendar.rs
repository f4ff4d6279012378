//! The payer's calendar: which day an instant is of, which days business is done on, and when a time limit ends.
//!
//! Every deadline is computed here and nowhere else. Time limits are of four kinds: hours (which run by the clock),
//! calendar days, business days and months (which end with a day of the payer's time zone). The holidays are data; so
//! is the weekend. Refused: instants shifted by multiples of 24 hours, which are off by one where the clocks change.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, Zoned};
use serde::Deserialize;
use thiserror::Error;

use crate::codes;

codes! {
    /// A day of the week.
    #[expect(missing_docs, reason = "each variant is the day of its name")]
    pub enum WeekDay {
        Monday = "monday",
        Tuesday = "tuesday",
        Wednesday = "wednesday",
        Thursday = "thursday",
        Friday = "friday",
        Saturday = "saturday",
        Sunday = "sunday",
    }
}

impl WeekDay {
    /// Ours for jiff's.
    pub const fn of(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Monday,
            Weekday::Tuesday => Self::Tuesday,
            Weekday::Wednesday => Self::Wednesday,
            Weekday::Thursday => Self::Thursday,
            Weekday::Friday => Self::Friday,
            Weekday::Saturday => Self::Saturday,
            Weekday::Sunday => Self::Sunday,
        }
    }
}

/// The calendar as it is written down: `pipelines/calendar.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarPlan {
    /// The payer's time zone, by its IANA name.
    pub zone: String,
    /// Days on which no business is done.
    pub weekend: BTreeSet<WeekDay>,
    /// The last day whose holidays are listed.
    pub known_until: Date,
    /// Holidays by date, with their names.
    pub holidays: BTreeMap<Date, String>,
}

/// What is wrong with a calendar.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CalendarError {
    /// There would be no business day.
    #[error("weekend holds all days of the week")]
    NoBusinessDay,
    /// A holiday lies where the list is said not to reach.
    #[error("the holiday {0} lies after known_until")]
    Beyond(Date),
}

/// The calendar.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    weekend: BTreeSet<WeekDay>,
    known_until: Date,
    holidays: BTreeSet<Date>,
}

impl CalendarPlan {
    /// The calendar, with its time zone as the caller found it under [`CalendarPlan::zone`].
    ///
    /// # Errors
    /// See [`CalendarError`].
    pub fn resolve(&self, zone: TimeZone) -> Result<Calendar, CalendarError> {
        if self.weekend.len() == WeekDay::ALL.len() {
            return Err(CalendarError::NoBusinessDay);
        }
        if let Some(beyond) = self.holidays.keys().next_back().filter(|day| **day > self.known_until) {
            return Err(CalendarError::Beyond(*beyond));
        }
        let (weekend, known_until) = (self.weekend.clone(), self.known_until);
        Ok(Calendar { zone, weekend, known_until, holidays: self.holidays.keys().copied().collect() })
    }
}

impl Calendar {
    /// The payer's time zone.
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Whether the holidays up to that day are known. Beyond, only the weekend is left out, so a time limit may be
    /// computed too short, never too long.
    pub fn covers(&self, day: Date) -> bool {
        day <= self.known_until
    }

    /// The time as the payer's clocks show it.
    pub fn local(&self, at: Timestamp) -> Zoned {
        at.to_zoned(self.zone.clone())
    }

    /// The day that an instant is of, where the payer is.
    pub fn local_day(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }

    /// The first instant of a day. That is midnight, but where the clocks go forward over midnight.
    pub fn start_of_day(&self, day: Date) -> Timestamp {
        day.to_zoned(self.zone.clone()).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }

    /// The first instant that is no longer of the day: what happens before it is in time.
    pub fn end_of_day(&self, day: Date) -> Timestamp {
        day.tomorrow().map_or(Timestamp::MAX, |next| self.start_of_day(next))
    }

    /// The instant at which the payer's clocks show that time of a day: the first one where they show it twice, the one
    /// as much later where they leave it out.
    pub fn at(&self, day: Date, time: Time) -> Timestamp {
        day.to_datetime(time).to_zoned(self.zone.clone()).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }

    /// Whether business is done on that day.
    pub fn is_business_day(&self, day: Date) -> bool {
        !self.is_weekend(day) && !self.holidays.contains(&day)
    }

    /// Whether that day is of the weekend.
    pub fn is_weekend(&self, day: Date) -> bool {
        self.weekend.contains(&WeekDay::of(day.weekday()))
    }

    /// Whether that day is listed as a holiday, on a weekend or not.
    pub fn is_holiday(&self, day: Date) -> bool {
        self.holidays.contains(&day)
    }

    /// The payer's time zone by its IANA name; `None` for one that has none.
    pub fn zone_name(&self) -> Option<&str> {
        self.zone.iana_name()
    }

    /// The `days`-th calendar day after a day, before it where negative.
    pub fn add_days(&self, day: Date, days: i32) -> Date {
        Span::new().try_days(days).map_or(day, |span| day.saturating_add(span))
    }

    /// The `days`-th business day after a day, before it where negative. The day itself never counts, so one without
    /// business is treated like the business day before it (the one after it, backwards); 0 is the day itself.
    pub fn add_business_days(&self, day: Date, days: i32) -> Date {
        let mut left = days.unsigned_abs();
        let mut at = day;
        while left > 0 {
            let Ok(next) = (if days > 0 { at.tomorrow() } else { at.yesterday() }) else { return at };
            at = next;
            left -= u32::from(self.is_business_day(at));
        }
        at
    }

    /// The same day of the month `months` later; the last day of that month where it has no such day.
    pub fn add_months(&self, day: Date, months: i32) -> Date {
        Span::new().try_months(months).map_or(day, |span| day.saturating_add(span))
    }

    /// The instant so many hours later, by the clock: hours run over nights, weekends and changes of the clocks.
    pub fn add_hours(&self, at: Timestamp, hours: i32) -> Timestamp {
        at.checked_add(SignedDuration::from_hours(hours.into())).unwrap_or(if hours < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }

    /// By when what was received must be done that has `days` business days: the end of the `days`-th business day
    /// after the day of receipt. The day of receipt never counts, at whatever hour it came. What comes on a day without
    /// business has been received on that day all the same: the first business day after it is day one, as for what
    /// came on the business day before. The other reading (it counts as received on the next business day) would give
    /// the payer a day more than the sender may expect.
    pub fn business_deadline(&self, received_at: Timestamp, days: u16) -> Timestamp {
        self.end_of_day(self.add_business_days(self.local_day(received_at), days.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../pipelines/calendar.toml");

    fn shipped() -> Calendar {
        let plan: CalendarPlan = toml::from_str(SHIPPED).unwrap();
        let zone = TimeZone::get(&plan.zone).unwrap();
        plan.resolve(zone).unwrap()
    }

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The holidays by their law (5 U.S.C. 6103), not by their list.
    fn federal_holidays(year: i16) -> Vec<Date> {
        let nth = |month: i8, nth: i8, weekday| {
            Date::new(year, month, 1).unwrap().nth_weekday_of_month(nth, weekday).unwrap()
        };
        let fixed = [(1, 1), (6, 19), (7, 4), (11, 11), (12, 25)].map(|(month, day)| {
            let date = Date::new(year, month, day).unwrap();
            match date.weekday() {
                Weekday::Saturday => date.yesterday().unwrap(),
                Weekday::Sunday => date.tomorrow().unwrap(),
                _ => date,
            }
        });
        let moving = [
            nth(1, 3, Weekday::Monday),
            nth(2, 3, Weekday::Monday),
            nth(5, -1, Weekday::Monday),
            nth(9, 1, Weekday::Monday),
            nth(10, 2, Weekday::Monday),
            nth(11, 4, Weekday::Thursday),
        ];
        fixed.into_iter().chain(moving).collect()
    }

    #[test]
    fn the_shipped_holidays_are_those_of_the_law_as_they_are_observed() {
        let plan: CalendarPlan = toml::from_str(SHIPPED).unwrap();
        let mut expected: Vec<Date> = (2026..=2029).flat_map(federal_holidays).collect();
        expected.retain(|day| *day <= plan.known_until && day.year() >= 2026);
        expected.sort_unstable();
        assert_eq!(plan.holidays.keys().copied().collect::<Vec<_>>(), expected);
        assert!(shipped().covers(plan.known_until) && !shipped().covers(plan.known_until.tomorrow().unwrap()));
    }

    #[test]
    fn ops_02_a_business_day_ends_a_time_limit_with_its_own_end() {
        let calendar = shipped();
        for (received, days, deadline, why) in [
            ("2026-11-20T15:00:00Z", 1, "2026-11-24T05:00:00Z", "Friday: the whole of Monday is left"),
            ("2026-11-17T15:00:00Z", 1, "2026-11-19T05:00:00Z", "Tuesday"),
            ("2026-11-18T04:59:59Z", 1, "2026-11-19T05:00:00Z", "one second before midnight is still Tuesday"),
            ("2026-11-18T05:00:00Z", 1, "2026-11-20T05:00:00Z", "midnight is Wednesday"),
            ("2026-11-21T15:00:00Z", 1, "2026-11-24T05:00:00Z", "Saturday: Monday is day one"),
            ("2026-11-25T15:00:00Z", 1, "2026-11-28T05:00:00Z", "Thanksgiving is no business day"),
            ("2026-11-26T15:00:00Z", 1, "2026-11-28T05:00:00Z", "what comes on it has the day after as day one"),
            ("2026-07-02T15:00:00Z", 1, "2026-07-07T04:00:00Z", "Independence Day is observed on Friday, July 3"),
            ("2026-11-20T15:00:00Z", 0, "2026-11-21T05:00:00Z", "no business day: the day of receipt itself"),
            ("2026-03-06T15:00:00Z", 1, "2026-03-10T04:00:00Z", "the clocks go forward in between"),
            ("2026-10-30T15:00:00Z", 1, "2026-11-03T05:00:00Z", "the clocks go back in between"),
            ("2027-12-30T15:00:00Z", 1, "2028-01-04T05:00:00Z", "New Year's Day is observed on Friday"),
        ] {
            assert_eq!(calendar.business_deadline(at(received), days), at(deadline), "{received}: {why}");
        }
    }

    #[test]
    fn dis_10_calendar_days_months_and_hours_are_counted_as_people_do() {
        let calendar = shipped();
        for (from, months, to) in [
            ("2026-01-31", 1, "2026-02-28"),
            ("2028-01-31", 1, "2028-02-29"),
            ("2026-03-31", -1, "2026-02-28"),
            ("2026-08-31", 6, "2027-02-28"),
            ("2026-12-15", 1, "2027-01-15"),
            ("2026-05-30", 0, "2026-05-30"),
        ] {
            assert_eq!(calendar.add_months(day(from), months), day(to), "{from} and {months} months");
        }
        assert_eq!(calendar.add_days(day("2026-02-27"), 2), day("2026-03-01"));
        assert_eq!(calendar.add_days(day("2026-03-01"), -2), day("2026-02-27"));
        assert_eq!(
            calendar.add_business_days(day("2026-11-30"), -2),
            day("2026-11-25"),
            "over Thanksgiving, backwards"
        );
        assert_eq!(calendar.add_business_days(day("2026-11-29"), -1), day("2026-11-27"));
        // 72 hours over the change of the clocks are 72 hours
        assert_eq!(calendar.add_hours(at("2026-03-07T12:00:00-05:00"), 72), at("2026-03-10T13:00:00-04:00"));
        assert_eq!(calendar.add_days(Date::MAX, 1), Date::MAX, "the end of time is no panic");
        assert_eq!(calendar.add_business_days(Date::MAX, 5), Date::MAX);
        assert_eq!(calendar.add_hours(Timestamp::MAX, 1), Timestamp::MAX);
    }

    #[test]
    fn a_day_has_as_many_hours_as_its_clocks_give_it() {
        let calendar = shipped();
        for (text, hours) in [("2026-03-08", 23), ("2026-11-01", 25), ("2026-06-01", 24)] {
            let (start, end) = (calendar.start_of_day(day(text)), calendar.end_of_day(day(text)));
            assert_eq!(end.duration_since(start), SignedDuration::from_hours(hours), "{text}");
            assert_eq!(
                (calendar.local_day(start), calendar.local_day(end)),
                (day(text), day(text).tomorrow().unwrap())
            );
        }
    }

    #[test]
    fn where_the_clocks_go_forward_at_midnight_the_day_begins_at_one() {
        let plan: CalendarPlan = toml::from_str(SHIPPED).unwrap();
        let beirut = plan.resolve(TimeZone::get("Asia/Beirut").unwrap()).unwrap();
        let start = beirut.start_of_day(day("2026-03-29"));
        assert_eq!(start, at("2026-03-28T22:00:00Z"));
        assert_eq!(beirut.end_of_day(day("2026-03-28")), start);
    }

    #[test]
    fn a_calendar_without_business_days_or_with_holidays_it_does_not_know_is_refused() {
        let plan: CalendarPlan = toml::from_str(SHIPPED).unwrap();
        let all = CalendarPlan { weekend: WeekDay::ALL.iter().copied().collect(), ..plan.clone() };
        assert_eq!(all.resolve(TimeZone::UTC).map(|_| ()), Err(CalendarError::NoBusinessDay));
        let beyond = CalendarPlan { known_until: day("2028-12-24"), ..plan };
        assert_eq!(beyond.resolve(TimeZone::UTC).map(|_| ()), Err(CalendarError::Beyond(day("2028-12-25"))));
    }
}
