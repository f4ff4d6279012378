//! The policy of notifications: `pipelines/notifications.toml`.

use std::path::Path;

use jiff::civil::Time;
use serde::Deserialize;

use crate::digests::timing::Timing;
use crate::engine::plan::{Loaded, PlanError, load};
use crate::model::calendar::WeekDay;
use crate::model::digest::{Cadence, CatchUp, OnHoliday};
use crate::outside::mailer::RelayPolicy;

const BUILT_IN: &str = include_str!("../../pipelines/notifications.toml");

/// The plan.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotificationsPlan {
    /// What users start with.
    pub choices: ChoicesPolicy,
    /// What digests hold.
    pub digests: DigestsPolicy,
    /// What schedules start with, and how they are edited.
    pub schedules: SchedulesPolicy,
    /// How mails are handed over.
    pub sending: SendingPolicy,
    /// How relays are treated.
    pub relays: RelayPolicy,
    /// What becomes of mails that come back.
    pub returns: ReturnsPolicy,
}

/// What users start with (`[choices]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoicesPolicy {
    /// How often a user is told who has chosen nothing (COR-30).
    pub starts_with: Cadence,
}

/// What digests hold (`[digests]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestsPolicy {
    /// Whether what needs an answer goes to weekly readers with the daily digest, when its due date would pass before the
    /// next weekly one.
    pub action_daily_when_due: bool,
    /// Users who are planned in one transaction.
    pub users_per_step: u32,
    /// Seconds for which a node that died while it planned is waited for.
    pub planning_lease_s: u32,
    /// Practices that a mail names.
    pub tins_shown: u32,
}

/// What a brand's schedules start with, and how they are edited (`[schedules]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulesPolicy {
    /// Whether an edit must be confirmed by another person than made it (OPS-10).
    pub second_administrator: bool,
    /// Days for which an edit shows what it would have done.
    pub preview_days: u16,
    /// Runs that an edit shows.
    pub preview_runs: u16,
    /// Minutes after its time within which a run was not missed.
    pub on_time_minutes: u16,
    /// The daily one.
    pub daily: StartPolicy,
    /// The weekly one.
    pub weekly: StartPolicy,
}

/// What a schedule starts with (`[schedules.daily]`, `[schedules.weekly]`), in the payer's time zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartPolicy {
    /// The local time.
    pub at: Time,
    /// The days of the week; one, where it is weekly.
    pub weekdays: Vec<WeekDay>,
    /// What it does on a holiday.
    pub on_holiday: OnHoliday,
    /// What becomes of a period that passed while nothing ran.
    pub catch_up: CatchUp,
    /// Minutes after which a period is too late to run by itself.
    pub grace_minutes: u32,
    /// Minutes over which its mails are spread.
    pub spread_minutes: u16,
}

/// How mails are handed over (`[sending]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendingPolicy {
    /// Mails that a node takes at a time.
    pub batch: u16,
    /// Seconds after which a silent node has lost what it took.
    pub lease_s: u32,
    /// Tries.
    pub tries: u16,
    /// Seconds until the second try; doubled each time, jittered.
    pub retry_first_s: u32,
    /// Seconds between two tries at most.
    pub retry_longest_s: u32,
}

/// What becomes of mails that come back (`[returns]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReturnsPolicy {
    /// Passing failures in a row after which nothing more is sent to an address.
    pub soft_bounces: u16,
    /// Seconds for which a file has not changed that counts as whole.
    pub settle_s: u32,
    /// Bytes of a mail that came back.
    pub most_bytes: usize,
    /// Mails that came back which are taken in one look.
    pub batch: u16,
}

impl NotificationsPlan {
    /// Reads and checks the plan.
    ///
    /// # Errors
    /// Names the file, the table and the figure.
    pub fn load(config: Option<&Path>) -> Result<Loaded<Self>, PlanError> {
        let loaded: Loaded<Self> = load("notifications.toml", BUILT_IN, config)?;
        loaded.plan.check()?;
        Ok(loaded)
    }

    fn check(&self) -> Result<(), PlanError> {
        let unusable = |why: &str| Err(PlanError::Unusable(format!("notifications.toml: {why}")));
        if !(1..=10_000).contains(&self.digests.users_per_step) || !(1..=500).contains(&self.digests.tins_shown) {
            return unusable("[digests] users_per_step must be 1 to 10000, tins_shown 1 to 500");
        }
        if !(1..=3_600).contains(&self.digests.planning_lease_s) {
            return unusable("[digests] planning_lease_s must be 1 to 3600");
        }
        let schedules = &self.schedules;
        if !(1..=90).contains(&schedules.preview_days) || !(1..=100).contains(&schedules.preview_runs) {
            return unusable("[schedules] preview_days must be 1 to 90, preview_runs 1 to 100");
        }
        if schedules.daily.weekdays.is_empty() || schedules.weekly.weekdays.len() != 1 {
            return unusable("[schedules] daily needs a day of the week, weekly exactly one");
        }
        for (start, cadence) in [(&schedules.daily, Cadence::Daily), (&schedules.weekly, Cadence::Weekly)] {
            // the zone is the payer's, which the calendar has looked up
            if let Err(error) = Timing::starting(start, "UTC").check(cadence) {
                return unusable(&format!("[schedules.{cadence}] {error}"));
            }
        }
        if schedules.on_time_minutes > 60 {
            return unusable("[schedules] on_time_minutes must be at most 60");
        }
        let sending = &self.sending;
        if !(1..=1_000).contains(&sending.batch) || !(30..=3_600).contains(&sending.lease_s) || sending.tries == 0 {
            return unusable("[sending] batch must be 1 to 1000, lease_s 30 to 3600, tries at least 1");
        }
        if sending.retry_first_s == 0 || sending.retry_longest_s < sending.retry_first_s {
            return unusable("[sending] retry_first_s must be at least 1, and retry_longest_s no less");
        }
        if !self.relays.is_sound() || self.relays.accept_s + self.relays.reply_s * 3 >= sending.lease_s {
            return unusable(
                "[relays] times must be 1 to 600 s and end before [sending] lease_s (three times reply_s, and accept_s), \
                 the rest at least 1",
            );
        }
        let returns = &self.returns;
        if returns.soft_bounces == 0 || returns.batch == 0 {
            return unusable("[returns] soft_bounces and batch must be at least 1");
        }
        if !(16_384..=64 << 20).contains(&returns.most_bytes) {
            return unusable("[returns] most_bytes must be 16384 to 67108864");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_that_is_built_in_is_whole_and_has_the_figures_of_the_spec() {
        let plan = NotificationsPlan::load(None).unwrap().plan;
        assert_eq!(plan.choices.starts_with, Cadence::Daily, "COR-30");
        assert!(!plan.digests.action_daily_when_due, "off unless an installation wants it");
    }

    #[test]
    fn a_plan_that_makes_no_sense_is_refused_by_its_table() {
        for (from, to, told) in [
            ("users_per_step = 500", "users_per_step = 0", "[digests]"),
            ("planning_lease_s = 120", "planning_lease_s = 0", "planning_lease_s"),
            ("weekdays = [\"monday\"]", "weekdays = [\"monday\", \"friday\"]", "weekly exactly one"),
            ("tries = 26", "tries = 0", "[sending]"),
            ("soft_bounces = 3", "soft_bounces = 0", "[returns]"),
            ("accept_s = 120", "accept_s = 220", "[relays]"),
            ("[choices]\n", "[choices]\nsurprise = 1\n", "surprise"),
        ] {
            assert_eq!(BUILT_IN.matches(from).count(), 1, "{from}");
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("notifications.toml"), BUILT_IN.replace(from, to)).unwrap();
            let refused = NotificationsPlan::load(Some(dir.path())).map(|_| ()).map_err(|error| error.to_string());
            assert!(refused.is_err_and(|error| error.contains(told)), "{told}");
        }
    }
}
