//! Edits of schedules: kept, shown with what they would do, and confirmed, by another person where policy asks for one
//! (OPS-10).

use std::collections::BTreeSet;

use super::Digests;
use super::schedules::{ScheduleError, Standing, timing_of, written};
use super::timing::{Occurrence, Timing};
use crate::db::digest_runs::{self, NewRun};
use crate::db::schedules::{self, Revision};
use crate::db::{Conn, DbError, Stamp};
use crate::model::digest::{RevisionState, RunKind, RunReason, RunState};
use crate::model::event::AT_COMMAND_LINE;

impl Digests {
    /// Keeps an edit, to be confirmed. Nothing runs by it yet.
    ///
    /// # Errors
    /// See [`ScheduleError`].
    pub async fn propose(
        &self,
        stamp: Stamp<'_>,
        name: &str,
        seen: Option<i64>,
        timing: &Timing,
    ) -> Result<Standing, ScheduleError> {
        let mut tx = self.db.begin().await?;
        let standing = self.take(&mut tx, name, seen).await?;
        self.keep(&mut tx, stamp, &standing, timing, None).await?;
        self.kept(tx, name).await
    }

    /// Keeps an edit that goes back to an earlier revision, to be confirmed like any other.
    ///
    /// # Errors
    /// See [`ScheduleError`].
    pub async fn roll_back(
        &self,
        stamp: Stamp<'_>,
        name: &str,
        seen: Option<i64>,
        revision: i64,
    ) -> Result<Standing, ScheduleError> {
        let mut tx = self.db.begin().await?;
        let standing = self.take(&mut tx, name, seen).await?;
        let old = schedules::revision(&mut tx, &standing.schedule.id, revision).await?;
        let old = old.ok_or(ScheduleError::NoRevision)?;
        if old.state != RevisionState::Past {
            return Err(ScheduleError::State("that revision never held, or holds now"));
        }
        self.keep(&mut tx, stamp, &standing, &timing_of(&old)?, Some(revision)).await?;
        self.kept(tx, name).await
    }

    async fn keep(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        standing: &Standing,
        timing: &Timing,
        rolls_back: Option<i64>,
    ) -> Result<(), ScheduleError> {
        timing.check(standing.schedule.cadence)?;
        if standing.proposal.is_some() {
            return Err(ScheduleError::State("an edit waits already: confirm it or drop it first"));
        }
        if *timing == standing.timing {
            return Err(ScheduleError::State("the schedule says so already"));
        }
        schedules::propose(conn, stamp, &standing.schedule, &written(timing)?, rolls_back).await?;
        Ok(())
    }

    /// Puts an edit in force, on every node at once.
    ///
    /// # Errors
    /// See [`ScheduleError`].
    pub async fn confirm(
        &self,
        stamp: Stamp<'_>,
        name: &str,
        seen: Option<i64>,
        revision: i64,
    ) -> Result<Standing, ScheduleError> {
        let mut tx = self.db.begin().await?;
        let standing = self.take(&mut tx, name, seen).await?;
        let (proposed, timing) = waiting(&standing, revision)?;
        let same = person(&proposed.proposed_by) == person(stamp.actor);
        // who is at the command line, is not known
        if self.plan.schedules.second_administrator && (same || stamp.actor == AT_COMMAND_LINE) {
            return Err(ScheduleError::SecondPerson);
        }
        // a zone that was known then need not be known to this node
        timing.check(standing.schedule.cadence)?;
        schedules::confirm(&mut tx, stamp, &standing.schedule, revision).await?;
        let before = standing;
        let standing = self.by_name(&mut tx, name).await?;
        self.write_off(&mut tx, stamp, &before, &standing).await?;
        self.kept(tx, name).await
    }

    /// A period whose time was still to come, and that an edit moved to before the edit, has no run: its history says so.
    /// What it would have told goes with the next.
    async fn write_off(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        before: &Standing,
        standing: &Standing,
    ) -> Result<(), DbError> {
        let now = self.ctx.now();
        let rhythm = standing.rhythm(self)?;
        let passed = rhythm.between(rhythm.period_begins(now), now);
        // where the zone changed, a period may have begun in one of them only
        let ahead = before.rhythm(self)?.next(now, 2);
        let is_new = |run: &Occurrence| standing.known.is_none_or(|known| run.period > known);
        let moved = passed.into_iter().filter(|run| ahead.iter().any(|to_come| to_come.period == run.period));
        for run in moved.filter(is_new) {
            let new = NewRun {
                schedule: &standing.schedule,
                kind: RunKind::Scheduled,
                period: &run.period.to_string(),
                day: self.zone_of(conn, &standing.schedule.brand).await?.to_datetime(run.at).date(),
                state: RunState::Skipped,
                reason: Some(RunReason::Edited),
                serves: &BTreeSet::from([standing.schedule.cadence]),
                due_at: run.at,
            };
            digest_runs::open(conn, stamp, &new).await?;
        }
        Ok(())
    }

    /// Gives an edit up.
    ///
    /// # Errors
    /// See [`ScheduleError`].
    pub async fn drop_edit(
        &self,
        stamp: Stamp<'_>,
        name: &str,
        seen: Option<i64>,
        revision: i64,
    ) -> Result<Standing, ScheduleError> {
        let mut tx = self.db.begin().await?;
        let standing = self.take(&mut tx, name, seen).await?;
        waiting(&standing, revision)?;
        schedules::drop_proposal(&mut tx, stamp, &standing.schedule, revision).await?;
        self.kept(tx, name).await
    }
}

/// Who acts, whichever service speaks for them.
fn person(actor: &str) -> &str {
    actor.split_once(" via ").map_or(actor, |(person, _)| person)
}

/// The edit of that revision, if it waits.
fn waiting(standing: &Standing, revision: i64) -> Result<(&Revision, &Timing), ScheduleError> {
    let (proposed, timing) = standing.proposal.as_ref().ok_or(ScheduleError::State("no edit waits"))?;
    if proposed.revision != revision {
        return Err(ScheduleError::Conflict("edit"));
    }
    Ok((proposed, timing))
}
