//! When a schedule runs: pure functions of what it says, of the payer's holidays, and of the clock (OPS-10, OPS-11).
//!
//! A schedule has a run for each of its local periods: a day (2026-11-23) or an ISO week (2026-W48). `croner` computes the
//! instant of a day in the schedule's zone. A time that the clocks leave out is the first instant after the gap, one that
//! they show twice is the first of the two; so each day has exactly one, but for days that a zone leaves out altogether.
//! Refused: asking a cron pattern for the next time only. Where a gap reaches over midnight, it finds the run of the day
//! before for the day after, or passes over a week whose only day it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use croner::Cron;
use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::digests::plan::StartPolicy;
use crate::model::calendar::{Calendar, WeekDay};
use crate::model::digest::{Cadence, CatchUp, OnHoliday, RunReason};
use crate::model::judgement::UnknownCode;

/// Minutes of a week: nothing that is later than that is of use.
const WEEK_MINUTES: u32 = 7 * 24 * 60;
/// Minutes over which mails can be spread: half a day.
const SPREAD_MINUTES: u16 = 12 * 60;
/// Days for which it is looked back for what was missed: of an outage longer than that, only these are told.
const BACK_DAYS: i32 = 366;
/// Days within which there is a business day, and a run of any schedule that has runs.
const RUN_WITHIN_DAYS: i32 = 21;
/// Days that are looked at for the next runs at most.
const AHEAD_DAYS: i32 = 4_000;

/// What a schedule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// The local time.
    #[serde(with = "hours_and_minutes")]
    #[schema(value_type = String, example = "07:00", pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    pub at: Time,
    /// The time zone, by its IANA name.
    #[schema(example = "America/New_York", max_length = 64)]
    pub zone: String,
    /// The days of the week; exactly one, where it is weekly.
    #[serde(deserialize_with = "each_once")]
    #[schema(min_items = 1)]
    pub weekdays: BTreeSet<WeekDay>,
    /// What it does on a holiday of the payer's calendar.
    pub on_holiday: OnHoliday,
    /// What becomes of a period that passed while nothing ran.
    pub catch_up: CatchUp,
    /// Minutes after which a period is too late to be caught up with.
    #[schema(minimum = 0, maximum = 10080)]
    pub grace_minutes: u32,
    /// Minutes over which the mails of a run are spread.
    #[schema(minimum = 0, maximum = 720)]
    pub spread_minutes: u16,
}

/// A day that is said twice is more likely another one misspelt.
fn each_once<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<WeekDay>, D::Error> {
    let days = Vec::<WeekDay>::deserialize(from)?;
    let (said, days) = (days.len(), BTreeSet::from_iter(days));
    if days.len() == said { Ok(days) } else { Err(serde::de::Error::custom("a day of the week is there twice")) }
}

/// Times as people write them: without seconds.
mod hours_and_minutes {
    use jiff::civil::Time;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&time.strftime("%H:%M").to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
        let text = String::deserialize(from)?;
        super::read_time(&text).ok_or_else(|| serde::de::Error::custom("not a time of the day as HH:MM"))
    }
}

/// Reads a time as HH:MM.
pub fn read_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Time::new(digits(hour)?, digits(minute)?, 0, 0).ok()
}

/// Why a timing can't be used. Each text begins with the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TimingError {
    /// Digests are never sent at no time.
    #[error("cadence must be daily or weekly")]
    Cadence,
    /// Seconds are not kept.
    #[error("at must be a time of the day as HH:MM")]
    At,
    /// The zone is not known.
    #[error("zone is no known IANA time zone")]
    Zone,
    /// It would never run.
    #[error("weekdays must name at least one day of the week")]
    NoWeekday,
    /// A week has one run.
    #[error("weekdays must name exactly one day of the week, for the schedule is weekly")]
    Weekdays,
    /// The figure is too large.
    #[error("grace_minutes must be at most {WEEK_MINUTES}")]
    Grace,
    /// The figure is too large.
    #[error("spread_minutes must be at most {SPREAD_MINUTES}")]
    Spread,
}

impl Timing {
    /// What a schedule starts with by policy, in the payer's zone.
    pub fn starting(policy: &StartPolicy, zone: &str) -> Self {
        Self {
            at: policy.at,
            zone: zone.to_owned(),
            weekdays: policy.weekdays.iter().copied().collect(),
            on_holiday: policy.on_holiday,
            catch_up: policy.catch_up,
            grace_minutes: policy.grace_minutes,
            spread_minutes: policy.spread_minutes,
        }
    }

    /// Checks that a schedule of that cadence can say so.
    ///
    /// # Errors
    /// Names the field.
    pub fn check(&self, cadence: Cadence) -> Result<(), TimingError> {
        self.zone().map(|_| ())?;
        match (cadence, self.weekdays.len()) {
            (Cadence::Off, _) => Err(TimingError::Cadence),
            (_, 0) => Err(TimingError::NoWeekday),
            (Cadence::Weekly, 2..) => Err(TimingError::Weekdays),
            _ if self.at.second() != 0 || self.at.subsec_nanosecond() != 0 => Err(TimingError::At),
            _ if self.grace_minutes > WEEK_MINUTES => Err(TimingError::Grace),
            _ if self.spread_minutes > SPREAD_MINUTES => Err(TimingError::Spread),
            _ => Ok(()),
        }
    }

    fn zone(&self) -> Result<TimeZone, TimingError> {
        // a file system that does not mind case would find zones under names that another node does not know
        let found = TimeZone::get(&self.zone).ok().filter(|zone| zone.iana_name() == Some(self.zone.as_str()));
        found.ok_or(TimingError::Zone)
    }

    /// The timing with what it needs to be computed with.
    ///
    /// # Errors
    /// As for [`Timing::check`].
    pub fn resolve<'a>(&'a self, cadence: Cadence, calendar: &'a Calendar) -> Result<Rhythm<'a>, TimingError> {
        self.check(cadence)?;
        let cron = Cron::from_str(&format!("{} {} * * *", self.at.minute(), self.at.hour()));
        let cron = cron.map_err(|_| TimingError::At)?;
        Ok(Rhythm { timing: self, cadence, calendar, zone: self.zone()?, cron })
    }
}

/// A local period of a schedule. Those of one cadence are in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A day, of a daily schedule.
    Day(Date),
    /// An ISO week, of a weekly one: year and week.
    Week(i16, i8),
}

impl Period {
    fn of(cadence: Cadence, day: Date) -> Self {
        if cadence == Cadence::Weekly {
            let week = day.iso_week_date();
            Self::Week(week.year(), week.week())
        } else {
            Self::Day(day)
        }
    }

    fn first_day(self) -> Date {
        match self {
            Self::Day(day) => day,
            Self::Week(year, week) => {
                ISOWeekDate::new(year, week, Weekday::Monday).map_or(Date::MIN, ISOWeekDate::date)
            }
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => day.fmt(f),
            Self::Week(year, week) => write!(f, "{year:04}-W{week:02}"),
        }
    }
}

impl FromStr for Period {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let read = match text.split_once("-W") {
            None => text.parse().ok().map(Self::Day),
            Some((year, week)) => year.parse().ok().zip(week.parse().ok()).map(|(year, week)| Self::Week(year, week)),
        };
        read.ok_or(UnknownCode { of: "Period" })
    }
}

/// A run that a schedule has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    /// The local period that it is of.
    pub period: Period,
    /// When.
    pub at: Timestamp,
}

/// What becomes of a period whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It runs.
    Run,
    /// It does not, for a reason; what waited goes with the next.
    Skip(RunReason),
    /// A person decides.
    Hold,
}

/// A period whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Which, and when it was to run.
    pub occurrence: Occurrence,
    /// What becomes of it.
    pub decision: Decision,
}

/// What a schedule is known to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The latest period that has a row, up to [`Rhythm::latest`]: it and those before are finished, whatever was edited.
    pub period: Option<Period>,
    /// Since when the revision holds: what would have run before was another's.
    pub since: Timestamp,
    /// Whether a person has paused it.
    pub paused: bool,
}

/// A timing that can be computed with.
#[derive(Debug, Clone)]
pub struct Rhythm<'a> {
    timing: &'a Timing,
    cadence: Cadence,
    calendar: &'a Calendar,
    zone: TimeZone,
    cron: Cron,
}

impl Rhythm<'_> {
    /// The day that an instant is of in the schedule's zone.
    pub fn local_day(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }

    /// When the period began that an instant is in.
    pub fn period_begins(&self, at: Timestamp) -> Timestamp {
        let day = Period::of(self.cadence, self.local_day(at)).first_day();
        first_instant(&self.zone, day.to_datetime(Time::midnight())).unwrap_or(at)
    }

    /// The latest period that can have begun by now. What the rows know beyond, a clock that went wrong wrote.
    pub fn latest(&self, now: Timestamp) -> Period {
        // where the clocks go back over midnight, the day that has begun comes a second time
        Period::of(self.cadence, plus(self.local_day(now), 1))
    }

    /// The instant at which the clocks first show the schedule's time on a day. `None`: the zone leaves the day out.
    pub fn instant(&self, day: Date) -> Option<Timestamp> {
        let begin = first_instant(&self.zone, day.to_datetime(Time::midnight()))?;
        let local = self.zone.to_datetime(begin);
        if local.date() != day {
            return None;
        }
        let wanted = day.to_datetime(self.timing.at);
        if wanted < local {
            // the day begins with a gap
            return Some(begin);
        }
        let found = self.cron.find_next_occurrence(&begin.to_zoned(self.zone.clone()), true).ok();
        // croner gives gaps of more than two hours up; Antarctica has had longer ones
        let sound = |at: &jiff::Zoned| at.datetime() == wanted || is_gap(&self.zone, wanted);
        found.filter(sound).map(|at| at.timestamp()).or_else(|| first_instant(&self.zone, wanted))
    }

    /// The runs of days, by day: the day they are of by their schedule, holidays considered.
    fn days(&self, from: Date, to: Date) -> BTreeMap<Date, Period> {
        let mut runs = BTreeMap::new();
        let mut day = plus(from, -RUN_WITHIN_DAYS);
        while day <= to {
            if self.timing.weekdays.contains(&WeekDay::of(day.weekday())) {
                let moved = match self.timing.on_holiday {
                    _ if !self.calendar.is_holiday(day) => Some(day),
                    OnHoliday::Run => Some(day),
                    OnHoliday::Skip => None,
                    OnHoliday::Next => Some(self.calendar.add_business_days(day, 1)),
                };
                if let Some(on) = moved {
                    // a day has one run: where it has one of its own, what was moved there goes with it
                    let period = Period::of(self.cadence, if self.cadence == Cadence::Weekly { day } else { on });
                    if on == day {
                        runs.insert(on, period);
                    } else {
                        runs.entry(on).or_insert(period);
                    }
                }
            }
            match day.tomorrow() {
                Ok(next) => day = next,
                Err(_) => break,
            }
        }
        runs.retain(|day, _| (from..=to).contains(day));
        runs
    }

    /// The runs after an instant, up to and with another, in their order.
    pub fn between(&self, after: Timestamp, to: Timestamp) -> Vec<Occurrence> {
        if after >= to {
            return Vec::new();
        }
        // a run that a gap moves over midnight belongs to the day before
        let days = self.days(plus(self.local_day(after), -1), plus(self.local_day(to), 1));
        let runs = days.into_iter().filter_map(|(day, period)| Some(Occurrence { period, at: self.instant(day)? }));
        let mut runs: Vec<_> = runs.filter(|run| run.at > after && run.at <= to).collect();
        runs.sort_by_key(|run| run.at);
        runs
    }

    /// The next runs after an instant.
    pub fn next(&self, after: Timestamp, count: usize) -> Vec<Occurrence> {
        let mut step = RUN_WITHIN_DAYS;
        loop {
            let to = later(after, step);
            let mut runs = self.between(after, to);
            if runs.len() >= count || step >= AHEAD_DAYS {
                runs.truncate(count);
                return runs;
            }
            step = step.saturating_mul(3).min(AHEAD_DAYS);
        }
    }

    /// Whether a run of it is on that day of some zone, as that zone counts days.
    pub fn on_day(&self, day: Date, zone: &TimeZone) -> Option<Occurrence> {
        let day_of = |at: Timestamp| zone.to_datetime(at).date();
        let begin = first_instant(zone, day.to_datetime(Time::midnight()))?;
        self.between(later(begin, -1), later(begin, 2)).into_iter().find(|run| day_of(run.at) == day)
    }

    /// Its zone.
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// What is due now. Of what was missed only the latest is caught up with, once; the earlier ones go with it. One that
    /// begins within `on_time` was not missed.
    pub fn due(&self, known: &Known, now: Timestamp, on_time: SignedDuration) -> Vec<Due> {
        let mut since = known.since.max(later(now, -BACK_DAYS));
        if let Some(period) = known.period {
            // from a day before: what a gap moved over midnight
            let from = first_instant(&self.zone, plus(period.first_day(), -1).to_datetime(Time::midnight()));
            since = from.map_or(since, |from| since.max(from));
        }
        let mut runs = self.between(since, now);
        runs.retain(|run| known.period.is_none_or(|period| run.period > period));
        let last = runs.len().saturating_sub(1);
        let decided = runs.into_iter().enumerate().map(|(at, occurrence)| {
            let decision = match () {
                () if known.paused => Decision::Skip(RunReason::Paused),
                () if at < last => Decision::Skip(RunReason::Merged),
                () => self.latest_due(now.duration_since(occurrence.at), on_time),
            };
            Due { occurrence, decision }
        });
        decided.collect()
    }

    fn latest_due(&self, late: SignedDuration, on_time: SignedDuration) -> Decision {
        let grace = SignedDuration::from_mins(self.timing.grace_minutes.into());
        match self.timing.catch_up {
            _ if late <= on_time => Decision::Run,
            CatchUp::Once if late <= grace => Decision::Run,
            CatchUp::Once => Decision::Skip(RunReason::TooLate),
            CatchUp::Skip => Decision::Skip(RunReason::Missed),
            CatchUp::Hold => Decision::Hold,
        }
    }

    /// The runs of the last days, each with the one before it: what was published between the two, it would have told.
    pub fn simulate(&self, now: Timestamp, days: u16) -> Vec<(Timestamp, Timestamp)> {
        let start = later(now, -i32::from(days));
        let runs = self.between(later(start, -RUN_WITHIN_DAYS), now);
        let pairs = runs.windows(2).filter_map(|pair| match pair {
            [before, run] => Some((before.at, run.at)),
            _ => None,
        });
        pairs.filter(|(_, at)| *at > start).collect()
    }
}

fn plus(day: Date, days: i32) -> Date {
    Span::new().try_days(days).map_or(day, |span| day.saturating_add(span))
}

fn later(at: Timestamp, days: i32) -> Timestamp {
    let bound = if days < 0 { Timestamp::MIN } else { Timestamp::MAX };
    at.checked_add(SignedDuration::from_hours(i64::from(days) * 24)).unwrap_or(bound)
}

fn is_gap(zone: &TimeZone, at: DateTime) -> bool {
    matches!(zone.to_ambiguous_timestamp(at).offset(), AmbiguousOffset::Gap { .. })
}

/// The instant at which a zone's clocks first show a time, or the first one after the gap that it falls into. `None`: the
/// end of time.
pub fn first_instant(zone: &TimeZone, at: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(at);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { after, .. } => {
            // by the clocks as they go after the gap, it is before it
            let before = after.to_timestamp(at).ok()?;
            zone.following(before).find(|change| change.offset() == after).map(|change| change.timestamp())
        }
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.compatible().ok(),
    }
}

#[cfg(test)]
#[path = "timing_tests.rs"]
mod tests;
