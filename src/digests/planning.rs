//! Planning: from a run that was opened to mails that wait for their time, a slice of users at a time.
//!
//! A slice is one transaction and moves the run's cursor; so a crash repeats the slice that was broken off and nothing
//! else. One node plans at a time, under a lease; but what keeps slices from being doubled is the version of the run.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::Digests;
use super::timing::first_instant;
use crate::db::digest_plans::dry::{self, Counted, Line};
use crate::db::digest_plans::{self, Meets, Rules, Run};
use crate::db::{Conn, DbError, Stamp, leases};
use crate::engine::stage::stop_at;
use crate::model::digest::Cadence;
use crate::model::ids::{Brand, MailId, RunId, UserId};

/// Who plans, in events.
const ACTOR: &str = "digests";
/// The lease is called so, and places where tests stop a node.
const NAME: &str = "digest-planning";
/// A slice that another transaction stood in the way of is tried again so often at once.
const TRIES: u32 = 5;

/// What a dry run answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    /// How much of what there is.
    pub counts: Vec<Counted>,
    /// Who, and why; in the order of users.
    pub lines: Vec<Line>,
    /// Behind which user the lines go on.
    pub next: Option<UserId>,
}

impl Digests {
    /// Plans all runs that were opened, slice by slice as long as `goes_on`, and ends those whose mails have come to their
    /// ends. What is left is taken up by another node, or after the start.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan_due(&self, goes_on: impl Fn() -> bool) -> Result<(), DbError> {
        while goes_on() && self.plan_step().await? {}
        self.finish_runs().await.map(|_| ())
    }

    /// Plans the next slice of the oldest run that is to be planned, if no other node does. Answers whether there is more
    /// to do at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan_step(&self) -> Result<bool, DbError> {
        // most of the time there is nothing, and then nothing is written
        let mut conn = self.db.read().await?;
        let any = digest_plans::oldest(&mut conn).await?.is_some();
        drop(conn);
        if !any {
            return Ok(false);
        }
        let stamp = Stamp { ctx: &self.ctx, actor: ACTOR };
        let token = self.ctx.new_id();
        let lease = Duration::from_secs(u64::from(self.plan.digests.planning_lease_s));
        let mut tx = self.db.begin().await?;
        let ours = leases::take(&mut tx, stamp, NAME, &token, stamp.after(lease)).await?;
        tx.commit().await?;
        if !ours {
            return Ok(false);
        }
        let mut tries = 1;
        let planned = loop {
            match self.plan_slice(stamp).await {
                Err(error) if error.is_conflict() && tries < TRIES => tries += 1,
                other => break other,
            }
        };
        let mut tx = self.db.begin().await?;
        leases::release(&mut tx, NAME, &token).await?;
        tx.commit().await?;
        planned
    }

    async fn plan_slice(&self, stamp: Stamp<'_>) -> Result<bool, DbError> {
        let mut tx = self.db.begin_snapshot().await?;
        let Some(run) = digest_plans::oldest(&mut tx).await? else { return Ok(false) };
        let rules = self.rules(&mut tx, &run.brand, run.day).await?;
        let users = self.plan.digests.users_per_step;
        let slice =
            digest_plans::slice(&mut tx, stamp, &run, rules, users, |mail| spread(&run, mail, self.ctx.now())).await?;
        stop_at(NAME, "written").await;
        tx.commit().await?;
        stop_at(NAME, "committed").await;
        match slice {
            Some(slice) => tracing::debug!(run = run.id.as_str(), ?slice, "planned a slice"),
            None => tracing::info!(run = run.id.as_str(), mails = run.mails, "planned a run"),
        }
        Ok(true)
    }

    /// By what a run of the brand is planned. Where weekly digests are paused, their next run is never.
    async fn rules(&self, conn: &mut Conn, brand: &Brand, day: Date) -> Result<Rules, DbError> {
        let standing = self.standing(conn, brand, self.ctx.now()).await?;
        let answers_before = match self.plan.digests.action_daily_when_due {
            true => Some(self.next_among(&standing, Cadence::Weekly)?.unwrap_or(Timestamp::MAX)),
            false => None,
        };
        let zone = self.zone_among(&standing);
        let day_begins = first_instant(&zone, day.to_datetime(Time::midnight())).unwrap_or(Timestamp::MAX);
        Ok(Rules { starts_with: self.plan.choices.starts_with, answers_before, day_begins })
    }

    /// Ends the runs whose mails have all come to an end. Answers which.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_runs(&self) -> Result<Vec<RunId>, DbError> {
        let stamp = Stamp { ctx: &self.ctx, actor: ACTOR };
        let mut tx = self.db.begin().await?;
        let ended = digest_plans::finish_runs(&mut tx, stamp).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// What a run of the brand that serves these cadences would do now, as one of that local day: counts, and a page of up
    /// to `users` users behind `after`. Nothing is changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dry_run(
        &self,
        brand: &Brand,
        serves: &BTreeSet<Cadence>,
        day: Date,
        after: Option<&UserId>,
        users: u32,
    ) -> Result<DryRun, DbError> {
        let mut conn = self.db.read().await?;
        let now = self.ctx.now();
        let rules = self.rules(&mut conn, brand, day).await?;
        let meets = Meets { brand, serves, day, rules, now };
        let counts = dry::count(&mut conn, &meets).await?;
        let lines = dry::lines(&mut conn, &meets, after, i64::from(users)).await?;
        let shown: BTreeSet<&UserId> = lines.iter().map(|line| &line.user).collect();
        let next = if shown.len() == users as usize { shown.last().map(|user| (*user).clone()) } else { None };
        Ok(DryRun { counts, next, lines })
    }
}

/// When a mail goes: at a place in the run's stretch of time that its id alone decides, so that planning it again comes to
/// the same. Where that time is over, the run was held or the nodes were away, and the stretch begins now.
fn spread(run: &Run, mail: &MailId, now: Timestamp) -> Timestamp {
    let hash = Sha256::digest(mail.as_str().as_bytes());
    let place = hash.iter().take(6).fold(0_i64, |number, byte| (number << 8) | i64::from(*byte));
    let stretch = SignedDuration::from_mins(run.spread_minutes.clamp(0, 1_440));
    let from = if now.duration_since(run.created_at) > stretch { now } else { run.created_at };
    let micros = stretch.as_secs() * 1_000_000;
    let wait = if micros == 0 { 0 } else { place % micros };
    from.saturating_add(SignedDuration::from_micros(wait)).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::{DigestKind, mail_id};

    #[test]
    fn mails_are_spread_evenly_over_the_runs_time_and_always_the_same() {
        let opened: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let mut run = Run {
            id: "01234567-89ab-7cde-8f01-23456789abcd".parse().unwrap(),
            brand: "meridian".parse().unwrap(),
            day: jiff::civil::date(2026, 11, 23),
            serves: [Cadence::Daily].into(),
            due_at: opened,
            created_at: opened,
            planned_to: None,
            spread_minutes: 60,
            mails: 0,
            version: 1,
        };
        let mut quarters = [0; 4];
        for n in 0..4_000_u32 {
            let user = format!("01234567-89ab-7cde-8f01-{n:012x}").parse().unwrap();
            let mail = mail_id(&run.brand, run.day, &user, DigestKind::ClaimInfo).unwrap();
            let wait = spread(&run, &mail, opened).duration_since(opened).as_secs();
            quarters[usize::try_from(wait / 900).unwrap()] += 1;
            assert_eq!(spread(&run, &mail, opened), spread(&run, &mail, run.created_at));
        }
        assert!(quarters.iter().all(|n| (900..1_100).contains(n)), "{quarters:?}");
        run.spread_minutes = 0;
        let mail = mail_id(
            &run.brand,
            run.day,
            &"01234567-89ab-7cde-8f01-23456789abcd".parse().unwrap(),
            DigestKind::ClaimInfo,
        );
        let mail = mail.unwrap();
        assert_eq!(spread(&run, &mail, opened), opened, "all at once");
        let later = opened + SignedDuration::from_hours(5);
        assert_eq!(spread(&run, &mail, later), later, "a run that was held begins when it is let go");
    }
}
