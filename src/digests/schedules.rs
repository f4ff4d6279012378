//! Schedules: made from policy, looked at each second by every node, edited by administrators (OPS-10, OPS-11).
//!
//! Nothing of a schedule is kept in memory. A tick reads the rows, computes what is due, and where something is, takes the
//! brand's rows, reads again and opens the runs in one transaction; edits take the same rows. So each period has one run
//! over all nodes, and an edit holds with the next tick everywhere. Before an edit holds, what was due by the old revision
//! is opened; so what came before is never judged by what came after.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::Digests;
use super::timing::{Decision, Due, Known, Occurrence, Period, Rhythm, Timing, TimingError};
use crate::db::digest_runs::{self, NewRun, Run};
use crate::db::schedules::{self, Revision, Schedule};
use crate::db::{Conn, DbError, Stamp, Tx};
use crate::model::digest::{Cadence, RevisionState, RunKind, RunReason, RunState};
use crate::model::ids::{Brand, RunId};

/// Who opens runs whose time has come, and makes schedules from policy.
pub const SCHEDULER: &str = "scheduler";

/// Why nothing was done. The texts are for outside.
#[derive(Debug, Error)]
pub enum ScheduleError {
    /// It is not there.
    #[error("there is no such schedule")]
    NoSchedule,
    /// It is not there.
    #[error("there is no such revision of the schedule")]
    NoRevision,
    /// It is not there.
    #[error("there is no such run")]
    NoRun,
    /// It can't be done as it stands.
    #[error("{0}")]
    State(&'static str),
    /// It has changed since the caller saw it.
    #[error("the {0} has changed meanwhile; look at it again")]
    Conflict(&'static str),
    /// Policy wants another person to confirm an edit (OPS-10).
    #[error("another person than the one who made the edit must confirm it")]
    SecondPerson,
    /// The timing makes no sense.
    #[error("{0}")]
    Timing(#[from] TimingError),
    /// The database failed.
    #[error(transparent)]
    Db(DbError),
}

impl From<DbError> for ScheduleError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Stale { what } => Self::Conflict(what),
            error => Self::Db(error),
        }
    }
}

/// What a tick opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticked {
    /// Runs that take place.
    pub opened: u32,
    /// Runs that wait for a person.
    pub held: u32,
    /// Periods that are left out, for a reason.
    pub skipped: u32,
}

/// A schedule with what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The row.
    pub schedule: Schedule,
    /// The timing in force.
    pub timing: Timing,
    /// The edit that waits to be confirmed.
    pub proposal: Option<(Revision, Timing)>,
    /// The latest period that is finished, or has begun.
    pub known: Option<Period>,
}

impl Standing {
    /// Its timing with what it needs to be computed with.
    pub(super) fn rhythm<'a>(&'a self, digests: &'a Digests) -> Result<Rhythm<'a>, DbError> {
        self.timing.resolve(self.schedule.cadence, &digests.calendar).map_err(unreadable)
    }

    fn known(&self) -> Known {
        let schedule = &self.schedule;
        let since = schedule.revision.confirmed_at.unwrap_or(schedule.created_at).max(schedule.created_at);
        Known { period: self.known, since, paused: schedule.paused.is_some() }
    }
}

fn unreadable(_: TimingError) -> DbError {
    DbError::Unreadable { column: "timing" }
}

/// The timing of a revision.
///
/// # Errors
/// When it is none that this version can read.
pub fn timing_of(revision: &Revision) -> Result<Timing, DbError> {
    serde_json::from_str(&revision.timing).map_err(|_| DbError::Unreadable { column: "timing" })
}

impl Digests {
    /// Makes the schedules that a brand starts with. Those that are there stay as they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn make_schedules(&self) -> Result<(), DbError> {
        let zone = self.calendar.zone_name().unwrap_or("UTC");
        let policy = &self.plan.schedules;
        let stamp = Stamp { ctx: &self.ctx, actor: SCHEDULER };
        let mut tx = self.db.begin().await?;
        for brand in self.brands.iter() {
            for (cadence, start) in [(Cadence::Daily, &policy.daily), (Cadence::Weekly, &policy.weekly)] {
                schedules::make(&mut tx, stamp, brand, cadence, &written(&Timing::starting(start, zone))?).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Opens what is due now. Every node does so each second; each period is opened once over all of them.
    ///
    /// # Errors
    /// When the database fails; the next tick does what this one did not.
    pub async fn tick(&self) -> Result<Ticked, DbError> {
        let mut all = Ticked::default();
        let mut failed = Ok(());
        for brand in self.brands.iter() {
            // one that fails does not keep the others from their time
            match self.tick_of(brand).await {
                Ok(ticked) => {
                    all.opened += ticked.opened;
                    all.held += ticked.held;
                    all.skipped += ticked.skipped;
                }
                Err(error) => failed = Err(error),
            }
        }
        failed.map(|()| all)
    }

    async fn tick_of(&self, brand: &Brand) -> Result<Ticked, DbError> {
        let now = self.ctx.now();
        if !self.is_due(brand, now).await? {
            return Ok(Ticked::default());
        }
        let mut tx = self.db.begin().await?;
        schedules::lock(&mut tx, brand).await?;
        let ticked = self.open_due(&mut tx, brand, now).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(ticked)
    }

    /// A look without a lock, for the many seconds in which nothing is due.
    async fn is_due(&self, brand: &Brand, now: Timestamp) -> Result<bool, DbError> {
        let mut standing = self.standing(&mut *self.db.read().await?, brand, now).await?;
        if standing.len() < 2 {
            self.make_schedules().await?;
            standing = self.standing(&mut *self.db.read().await?, brand, now).await?;
        }
        for one in &standing {
            if !one.rhythm(self)?.due(&one.known(), now, self.on_time()).is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn on_time(&self) -> SignedDuration {
        SignedDuration::from_mins(self.plan.schedules.on_time_minutes.into())
    }

    pub(super) async fn standing(
        &self,
        conn: &mut Conn,
        brand: &Brand,
        now: Timestamp,
    ) -> Result<Vec<Standing>, DbError> {
        let mut all = Vec::new();
        for schedule in schedules::of_brand(conn, brand).await? {
            all.push(self.stand(conn, schedule, now).await?);
        }
        Ok(all)
    }

    async fn stand(&self, conn: &mut Conn, schedule: Schedule, now: Timestamp) -> Result<Standing, DbError> {
        let timing = timing_of(&schedule.revision)?;
        let latest = timing.resolve(schedule.cadence, &self.calendar).map_err(unreadable)?.latest(now).to_string();
        let known = digest_runs::last_period(conn, &schedule.id, &latest).await?;
        let known = known.map(|text| text.parse().map_err(|_| DbError::Unreadable { column: "period" })).transpose()?;
        Ok(Standing { schedule, timing, proposal: None, known })
    }

    /// The zone whose days a brand's mails are counted by (COR-33): that of its daily schedule.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn zone_of(&self, conn: &mut Conn, brand: &Brand) -> Result<TimeZone, DbError> {
        Ok(self.zone_among(&self.standing(conn, brand, self.ctx.now()).await?))
    }

    pub(super) fn zone_among(&self, standing: &[Standing]) -> TimeZone {
        let daily = standing.iter().find(|one| one.schedule.cadence == Cadence::Daily);
        let rhythm = daily.and_then(|one| one.rhythm(self).ok());
        rhythm.map_or_else(|| self.calendar.zone().clone(), |rhythm| rhythm.zone().clone())
    }

    /// Opens what is due of a brand. The caller holds the rows of its schedules.
    async fn open_due(&self, conn: &mut Conn, brand: &Brand, now: Timestamp) -> Result<Ticked, DbError> {
        let standing = self.standing(conn, brand, now).await?;
        let mut due = Vec::new();
        for one in &standing {
            let rhythm = one.rhythm(self)?;
            due.extend(rhythm.due(&one.known(), now, self.on_time()).into_iter().map(|due| (one, due)));
        }
        due.sort_by_key(|(_, due)| due.occurrence.at);
        let mut ticked = Ticked::default();
        for (one, this) in &due {
            self.open(conn, (&standing, &due), (one, this), now, &mut ticked).await?;
        }
        Ok(ticked)
    }

    async fn open(
        &self,
        conn: &mut Conn,
        (standing, all): (&[Standing], &[(&Standing, Due)]),
        (one, due): (&Standing, &Due),
        now: Timestamp,
        ticked: &mut Ticked,
    ) -> Result<(), DbError> {
        let stamp = Stamp { ctx: &self.ctx, actor: SCHEDULER };
        let zone = self.zone_among(standing);
        let at = due.occurrence.at;
        let late = now.duration_since(at) > self.on_time();
        let day = zone.to_datetime(if late && due.decision == Decision::Run { now } else { at }).date();
        let mut serves = BTreeSet::from([one.schedule.cadence]);
        let (state, reason) = match due.decision {
            Decision::Run => {
                serves = self.serves(conn, (standing, all), (one, &zone), day, now).await?;
                (RunState::Planning, None)
            }
            Decision::Hold => (RunState::Held, Some(RunReason::Late)),
            Decision::Skip(reason) => (RunState::Skipped, Some(reason)),
        };
        if state != RunState::Skipped {
            // what waits for a person would tell what this one tells
            for held in digest_runs::held(conn, &one.schedule.id).await? {
                digest_runs::skip(conn, stamp, &held, RunReason::Merged).await?;
            }
        }
        let period = due.occurrence.period.to_string();
        let new = NewRun {
            schedule: &one.schedule,
            kind: RunKind::Scheduled,
            period: &period,
            day,
            state,
            reason,
            serves: &serves,
            due_at: at,
        };
        if digest_runs::open(conn, stamp, &new).await?.is_some() {
            match state {
                RunState::Held => ticked.held += 1,
                RunState::Skipped => ticked.skipped += 1,
                _ => ticked.opened += 1,
            }
        }
        Ok(())
    }

    /// Whose choices a run of a day serves: where the other cadence has a run on that day too, those of both. So the first
    /// carries both, and the later one what is left of users who got none (COR-33).
    async fn serves(
        &self,
        conn: &mut Conn,
        (standing, all): (&[Standing], &[(&Standing, Due)]),
        (one, zone): (&Standing, &TimeZone),
        day: Date,
        now: Timestamp,
    ) -> Result<BTreeSet<Cadence>, DbError> {
        let mut serves = BTreeSet::from([one.schedule.cadence]);
        for other in standing.iter().filter(|other| other.schedule.id != one.schedule.id) {
            let due = all.iter().filter(|(of, _)| of.schedule.id == other.schedule.id);
            let runs_now = due.map(|(_, due)| due.decision).any(|decision| decision == Decision::Run);
            if runs_now || digest_runs::ran_on(conn, &other.schedule.id, day).await? {
                serves.insert(other.schedule.cadence);
                continue;
            }
            let Some(run) = other.rhythm(self)?.on_day(day, zone) else { continue };
            let has_row = digest_runs::of_period(conn, &other.schedule.id, &run.period.to_string()).await?.is_some();
            // one that has a row and did not run, waits for a person or was left out
            if run.at > now && !has_row && other.schedule.paused.is_none() {
                serves.insert(other.schedule.cadence);
            }
        }
        Ok(serves)
    }

    /// All schedules of the brands served, with their edits that wait.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schedules(&self) -> Result<Vec<Standing>, ScheduleError> {
        let now = self.ctx.now();
        let mut conn = self.db.read().await?;
        let mut found = Vec::new();
        for schedule in schedules::list(&mut conn).await? {
            if self.brands.contains(&schedule.brand) {
                let standing = self.stand(&mut conn, schedule, now).await?;
                found.push(with_proposal(&mut conn, standing).await?);
            }
        }
        Ok(found)
    }

    /// The schedule of that name.
    ///
    /// # Errors
    /// [`ScheduleError::NoSchedule`], or the database fails.
    pub async fn schedule(&self, name: &str) -> Result<Standing, ScheduleError> {
        let mut conn = self.db.read().await?;
        self.by_name(&mut conn, name).await
    }

    pub(super) async fn by_name(&self, conn: &mut Conn, name: &str) -> Result<Standing, ScheduleError> {
        let found = schedules::by_name(conn, name).await?.filter(|found| self.brands.contains(&found.brand));
        let standing = self.stand(conn, found.ok_or(ScheduleError::NoSchedule)?, self.ctx.now()).await?;
        with_proposal(conn, standing).await
    }

    /// When a schedule runs next; by another timing, when it would. Periods that are finished have no second run.
    ///
    /// # Errors
    /// When the timing makes no sense.
    pub fn next_runs(
        &self,
        standing: &Standing,
        timing: &Timing,
        count: usize,
    ) -> Result<Vec<Occurrence>, TimingError> {
        let rhythm = timing.resolve(standing.schedule.cadence, &self.calendar)?;
        let mut runs = rhythm.next(self.ctx.now(), count.saturating_add(2));
        runs.retain(|run| standing.known.is_none_or(|known| run.period > known));
        runs.truncate(count);
        Ok(runs)
    }

    /// When digests of a cadence go next, of a brand whose schedules these are; `None` where they are paused.
    pub(super) fn next_among(&self, standing: &[Standing], cadence: Cadence) -> Result<Option<Timestamp>, DbError> {
        let one = standing.iter().find(|one| one.schedule.cadence == cadence && one.schedule.paused.is_none());
        let Some(one) = one else { return Ok(None) };
        let runs = self.next_runs(one, &one.timing, 1).map_err(unreadable)?;
        Ok(runs.first().map(|run| run.at))
    }

    /// The timing that a run came by.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn timing_of_run(&self, conn: &mut Conn, run: &Run) -> Result<Timing, DbError> {
        let revision = schedules::revision(conn, &run.schedule, run.revision).await?;
        timing_of(&revision.ok_or(DbError::Unreadable { column: "revision" })?)
    }

    /// Takes a schedule for a change, as the caller saw it, with what was due before it opened.
    pub(super) async fn take(&self, conn: &mut Conn, name: &str, seen: Option<i64>) -> Result<Standing, ScheduleError> {
        let brand = self.by_name(conn, name).await?.schedule.brand;
        schedules::lock(conn, &brand).await?;
        self.open_due(conn, &brand, self.ctx.now()).await?;
        let standing = self.by_name(conn, name).await?;
        if seen.is_some_and(|seen| seen != standing.schedule.version) {
            return Err(ScheduleError::Conflict("schedule"));
        }
        Ok(standing)
    }

    /// Ends a change: the schedule as it stands now.
    pub(super) async fn kept(&self, mut tx: Tx, name: &str) -> Result<Standing, ScheduleError> {
        let standing = self.by_name(&mut tx, name).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(standing)
    }

    /// Pauses a schedule, or has it run again. What its periods would have told goes with the first run after.
    ///
    /// # Errors
    /// See [`ScheduleError`].
    pub async fn set_paused(
        &self,
        stamp: Stamp<'_>,
        name: &str,
        seen: Option<i64>,
        paused: bool,
    ) -> Result<Standing, ScheduleError> {
        let mut tx = self.db.begin().await?;
        let standing = self.take(&mut tx, name, seen).await?;
        match (standing.schedule.paused.is_some(), paused) {
            (true, true) => return Err(ScheduleError::State("the schedule is paused already")),
            (false, false) => return Err(ScheduleError::State("the schedule is not paused")),
            _ => schedules::set_paused(&mut tx, stamp, &standing.schedule, paused).await?,
        }
        self.kept(tx, name).await
    }

    /// Opens a run beside the schedule's own, for its own cadence. Paused or not: a person asked for it.
    ///
    /// # Errors
    /// See [`ScheduleError`].
    pub async fn run_now(&self, stamp: Stamp<'_>, name: &str) -> Result<Run, ScheduleError> {
        let now = self.ctx.now();
        let mut tx = self.db.begin().await?;
        let standing = self.take(&mut tx, name, None).await?;
        let day = self.zone_of(&mut tx, &standing.schedule.brand).await?.to_datetime(now).date();
        let new = NewRun {
            schedule: &standing.schedule,
            kind: RunKind::Extra,
            period: &day.to_string(),
            day,
            state: RunState::Planning,
            reason: None,
            serves: &BTreeSet::from([standing.schedule.cadence]),
            due_at: now,
        };
        let id = digest_runs::open(&mut tx, stamp, &new).await?.ok_or(ScheduleError::Conflict("schedule"))?;
        let run = digest_runs::get(&mut tx, &id).await?.ok_or(ScheduleError::NoRun)?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(run)
    }

    /// Has a held run take place now, or not at all.
    ///
    /// # Errors
    /// See [`ScheduleError`].
    pub async fn decide_held(
        &self,
        stamp: Stamp<'_>,
        id: &RunId,
        seen: Option<i64>,
        approved: bool,
    ) -> Result<Run, ScheduleError> {
        let now = self.ctx.now();
        let mut tx = self.db.begin().await?;
        let run = self.run(&mut tx, id).await?;
        schedules::lock(&mut tx, &run.brand).await?;
        self.open_due(&mut tx, &run.brand, now).await?;
        let run = self.run(&mut tx, id).await?;
        if seen.is_some_and(|seen| seen != run.version) {
            return Err(ScheduleError::Conflict("run"));
        }
        if run.state != RunState::Held {
            return Err(ScheduleError::State("the run does not wait for a person"));
        }
        if approved {
            let standing = self.standing(&mut tx, &run.brand, now).await?;
            let one = standing.iter().find(|one| one.schedule.id == run.schedule).ok_or(ScheduleError::NoSchedule)?;
            let zone = self.zone_among(&standing);
            let day = zone.to_datetime(now).date();
            let serves = self.serves(&mut tx, (&standing, &[]), (one, &zone), day, now).await?;
            digest_runs::approve(&mut tx, stamp, &run, day, &serves).await?;
        } else {
            digest_runs::skip(&mut tx, stamp, &run, RunReason::Refused).await?;
        }
        let run = self.run(&mut tx, id).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(run)
    }

    async fn run(&self, conn: &mut Conn, id: &RunId) -> Result<Run, ScheduleError> {
        let run = digest_runs::get(conn, id).await?.filter(|run| self.brands.contains(&run.brand));
        run.ok_or(ScheduleError::NoRun)
    }
}

async fn with_proposal(conn: &mut Conn, standing: Standing) -> Result<Standing, ScheduleError> {
    let revisions = schedules::revisions(conn, &standing.schedule.id).await?;
    let proposed = revisions.into_iter().find(|revision| revision.state == RevisionState::Proposed);
    let proposal = proposed.map(|revision| timing_of(&revision).map(|timing| (revision, timing))).transpose()?;
    Ok(Standing { proposal, ..standing })
}

pub(super) fn written(timing: &Timing) -> Result<String, DbError> {
    serde_json::to_string(timing).map_err(|_| DbError::Unreadable { column: "timing" })
}
