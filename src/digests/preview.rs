//! What another timing would do: its next runs, and what it would have done to the last days' letters (OPS-10).
//!
//! Counted are the notifications that there were, by the choices as they are now, as if nobody had read or deleted a letter
//! before its digest: it is what a run would have had to tell at most.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Digests;
use super::schedules::{ScheduleError, Standing};
use super::timing::{Occurrence, Timing, TimingError};
use crate::db::schedules::{self, Span};

/// A run to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NextRun {
    /// The local period: a day, 2026-11-23, or a week, 2026-W48.
    pub period: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The same as the clocks of the schedule's zone show it.
    #[schema(example = "2026-11-23T07:00:00-05:00")]
    pub local: String,
}

/// A run that would have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PastRun {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Mails: one for each user and kind.
    pub mails: i64,
    /// Letters and notices in them, reader by reader.
    pub letters: i64,
}

/// How long letters would have waited for their run. Nothing, where there were none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delay {
    /// Half of them no longer than so many minutes.
    pub p50_minutes: Option<i64>,
    /// Nine of ten.
    pub p90_minutes: Option<i64>,
    /// All of them.
    pub max_minutes: Option<i64>,
}

/// What a timing would have done to the last days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Effect {
    /// Its runs.
    pub runs: Vec<PastRun>,
    /// Mails of all of them.
    pub mails: i64,
    /// Letters and notices in them, reader by reader.
    pub letters: i64,
    /// Mails of the largest run.
    pub most_mails: i64,
    /// Mails in a minute at most, spread as the timing says.
    pub peak_mails_per_minute: i64,
    /// How long letters would have waited.
    pub delay: Delay,
}

/// What an edit does, before it is confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EditPreview {
    /// Its next runs.
    pub next: Vec<NextRun>,
    /// Days that were looked back at.
    pub days: u16,
    /// What it would have done to them.
    pub effect: Effect,
    /// What the revision in force would have done to them.
    pub in_force: Effect,
}

impl Digests {
    /// The next runs of a schedule by a timing, as people read them.
    ///
    /// # Errors
    /// When the timing makes no sense.
    pub fn shown_next(&self, standing: &Standing, timing: &Timing, count: usize) -> Result<Vec<NextRun>, TimingError> {
        let rhythm = timing.resolve(standing.schedule.cadence, &self.calendar)?;
        let shown = |run: Occurrence| NextRun {
            period: run.period.to_string(),
            at: run.at,
            local: run.at.to_zoned(rhythm.zone().clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        };
        Ok(self.next_runs(standing, timing, count)?.into_iter().map(shown).collect())
    }

    /// What a schedule would do by another timing, beside what it does.
    ///
    /// # Errors
    /// When the timing makes no sense, or the database fails.
    pub async fn preview(&self, standing: &Standing, timing: &Timing) -> Result<EditPreview, ScheduleError> {
        let policy = &self.plan.schedules;
        timing.check(standing.schedule.cadence)?;
        Ok(EditPreview {
            next: self.shown_next(standing, timing, policy.preview_runs.into())?,
            days: policy.preview_days,
            effect: self.effect(standing, timing).await?,
            in_force: self.effect(standing, &standing.timing).await?,
        })
    }

    async fn effect(&self, standing: &Standing, timing: &Timing) -> Result<Effect, ScheduleError> {
        let schedule = &standing.schedule;
        let rhythm = timing.resolve(schedule.cadence, &self.calendar)?;
        let (mut runs, mut waits) = (Vec::new(), BTreeMap::<i64, i64>::new());
        let mut conn = self.db.read().await?;
        for (after, at) in rhythm.simulate(self.ctx.now(), self.plan.schedules.preview_days) {
            let starts_with = self.plan.choices.starts_with;
            let span = Span { brand: &schedule.brand, cadence: schedule.cadence, starts_with, after, at };
            let mut letters = 0;
            for (minutes, count) in schedules::would_wait(&mut conn, span).await? {
                *waits.entry(minutes).or_default() += count;
                letters += count;
            }
            let mails = if letters == 0 { 0 } else { schedules::would_send(&mut conn, span).await? };
            runs.push(PastRun { at, mails, letters });
        }
        let most_mails = runs.iter().map(|run| run.mails).max().unwrap_or_default();
        // mails go in whole ones: a window with more minutes than mails still has one in its fullest minute
        let minutes = i64::from(timing.spread_minutes.max(1));
        Ok(Effect {
            mails: runs.iter().map(|run| run.mails).sum(),
            letters: runs.iter().map(|run| run.letters).sum(),
            most_mails,
            peak_mails_per_minute: most_mails.saturating_add(minutes - 1) / minutes,
            delay: delay(&waits),
            runs,
        })
    }
}

/// The delays of letters, counted by minutes.
fn delay(waits: &BTreeMap<i64, i64>) -> Delay {
    let all: i64 = waits.values().sum();
    let within = |tenths: i64| {
        // the smallest that so many tenths do not exceed
        let wanted = all.saturating_mul(tenths).saturating_add(9) / 10;
        let mut seen = 0;
        waits.iter().find_map(|(minutes, count)| {
            seen += count;
            (seen >= wanted && seen > 0).then_some(*minutes)
        })
    };
    Delay { p50_minutes: within(5), p90_minutes: within(9), max_minutes: waits.keys().next_back().copied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_10_delays_are_told_as_the_smallest_that_so_many_do_not_exceed() {
        for (waits, expected) in [
            (vec![], (None, None, None)),
            (vec![(7, 1)], (Some(7), Some(7), Some(7))),
            (vec![(1, 5), (2, 4), (60, 1)], (Some(1), Some(2), Some(60))),
            (vec![(1, 4), (2, 6)], (Some(2), Some(2), Some(2))),
            (vec![(0, 1), (10, 1), (20, 1)], (Some(10), Some(20), Some(20))),
        ] {
            let told = delay(&waits.iter().copied().collect());
            assert_eq!((told.p50_minutes, told.p90_minutes, told.max_minutes), expected, "{waits:?}");
        }
    }
}
