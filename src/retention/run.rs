//! Plans and runs: what would be destroyed, and the job that destroys it.
//!
//! A run goes through the records of one kind after the other, page by page. Each that is due is looked at once more in the
//! transaction that empties its row: what was done, held or opened again by then counts. After a crash the run goes on
//! behind the last page that it kept; what it had emptied is in no page any more, and what it had only begun is ended first.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Span;
use jiff::civil::Date;

use super::due::{CaseClock, Facts, Judged, due};
use super::holds::is_held;
use super::{Retention, RetentionError};
use crate::db::retention::candidates::{self, Candidate};
use crate::db::retention::holds::{self, LegalHold};
use crate::db::retention::{self, Count, Place, Run, destroy};
use crate::db::{Conn, DbError, Stamp, contents, documents, leases, outgoing};
use crate::engine::stage::stop_at;
use crate::intake::review::quarantine::end_destruction;
use crate::model::ids::{Brand, DocumentId};
use crate::model::outgoing::Outgoing;
use crate::model::retention::{Class, RecordKind, RetentionReason};
use crate::outside::objects::ObjectKey;

/// Under this name one node at a time destroys.
const LEASE: &str = "retention";
/// In whose name a node does.
const ACTOR: &str = "retention";

/// What a run on a day would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The payer's local day.
    pub day: Date,
    /// How many records by class and reason, of those that are old enough to be looked at.
    pub counts: Vec<Count>,
}

/// A record, and what would become of it.
#[derive(Debug, Clone)]
pub struct Looked {
    /// What it is.
    pub kind: RecordKind,
    /// Its id.
    pub id: String,
    /// Its brand.
    pub brand: Brand,
    /// When its row was made, in microseconds: its place in the order.
    pub placed_at: i64,
    /// Its class.
    pub class: Class,
    /// Due, or why not.
    pub judged: Judged,
}

/// What a look did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Worked {
    /// Records whose destruction began.
    pub destroyed: u64,
    /// Records that were looked at and left.
    pub left: u64,
    /// Destructions that the store keeps from their end.
    pub waiting: u64,
    /// Runs that were done.
    pub done: u64,
}

/// What became of a record that looked due.
enum Came {
    /// Its destruction has begun.
    Destroyed,
    /// It stays.
    Left(Class, RetentionReason),
    /// Somebody was first.
    Gone,
    /// Another node has the lease.
    Lost,
}

impl Retention {
    /// The payer's local day.
    pub fn today(&self) -> Date {
        self.calendar.local_day(self.ctx.now())
    }

    /// Rows made from this instant on (microseconds) are too young on a day, whatever their class.
    fn young(&self, day: Date) -> i64 {
        let years = Span::new().try_years(self.plan.shortest());
        let last = years.ok().and_then(|span| day.checked_sub(span).ok()).unwrap_or(Date::MIN);
        self.calendar.end_of_day(last).as_microsecond()
    }

    /// Its class, and whether it is due on a day.
    async fn judge(
        &self,
        conn: &mut Conn,
        one: &Candidate,
        standing: &[LegalHold],
        day: Date,
    ) -> Result<(Class, Judged), DbError> {
        let (class, years) = match one.kind {
            RecordKind::Document | RecordKind::Submission => self.plan.of_documents(one.case_kind),
            RecordKind::Letter => self.plan.of_letters(one.category),
            RecordKind::PrintBatch => self.plan.of_batches(),
            RecordKind::Case => self.plan.of_cases(one.case_kind),
        };
        let local = |at| self.calendar.local_day(at);
        let closed = || one.case_closed_at.map_or(CaseClock::Open, |at| CaseClock::Closed(local(at)));
        let facts = Facts {
            day: one.from_day.unwrap_or_else(|| local(one.from_at)),
            ended: one.ended,
            case: one.case_id.as_ref().map(|_| closed()),
            has_records: one.has_records,
            online_until: one.online_until.map(local),
            held: one.held_inside,
        };
        let judged = due(&facts, years, day);
        // holds are looked for only where one decides
        if judged.why == RetentionReason::Due && is_held(conn, one, standing).await? {
            return Ok((class, due(&Facts { held: true, ..facts }, years, day)));
        }
        Ok((class, judged))
    }

    /// What a run would do today: nothing is changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dry_run(&self) -> Result<Plan, RetentionError> {
        let day = self.today();
        let mut counts = Counts::default();
        for kind in RecordKind::ALL {
            self.look_through(day, *kind, |one| counts.add(one.class, one.judged.why)).await?;
        }
        Ok(Plan { day, counts: counts.into_list() })
    }

    /// All records of a kind that are old enough to be looked at on a day, oldest first, and what would become of each.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look_through(
        &self,
        day: Date,
        kind: RecordKind,
        mut each: impl FnMut(Looked),
    ) -> Result<(), RetentionError> {
        let (limit, mut behind) = (i64::from(self.plan.destruction.page), Place::before(kind).behind);
        loop {
            let page = self.look(day, kind, (behind.0, &behind.1), limit).await?;
            let Some(last) = page.last() else { return Ok(()) };
            behind = (last.placed_at, last.id.clone());
            page.into_iter().for_each(&mut each);
        }
    }

    /// Records of a kind that are old enough to be looked at on a day, behind a place, and what would become of each.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look(
        &self,
        day: Date,
        kind: RecordKind,
        behind: (i64, &str),
        limit: i64,
    ) -> Result<Vec<Looked>, RetentionError> {
        let mut conn = self.db.read().await?;
        let standing = holds::standing(&mut conn).await?;
        let page = candidates::page(&mut conn, kind, behind, self.young(day), limit).await?;
        let mut looked = Vec::with_capacity(page.len());
        for one in page {
            let (class, judged) = self.judge(&mut conn, &one, &standing, day).await?;
            let Candidate { kind, id, brand, placed_at, .. } = one;
            looked.push(Looked { kind, id, brand, placed_at, class, judged });
        }
        Ok(looked)
    }

    /// Begins a run: nodes work on it from now on.
    ///
    /// # Errors
    /// [`RetentionError::Disabled`] where policy destroys nothing, [`RetentionError::Running`] while a run is not done.
    pub async fn begin(&self, stamp: Stamp<'_>) -> Result<Run, RetentionError> {
        if !self.plan.destruction.enabled {
            return Err(RetentionError::Disabled);
        }
        let mut tx = self.db.begin().await?;
        let run = retention::begin(&mut tx, stamp, &self.brand, self.today()).await?;
        let run = run.ok_or(RetentionError::Running)?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(run)
    }

    /// Works on the run that is not done, if there is one and this node holds the lease, for as many pages as policy says.
    /// Where policy destroys nothing any more, it stands still.
    ///
    /// # Errors
    /// When the database fails; what the store refuses is logged and tried again.
    pub async fn work(&self, token: &str) -> Result<Worked, RetentionError> {
        let mut worked = Worked::default();
        if !self.plan.destruction.enabled {
            return Ok(worked);
        }
        for _ in 0..self.plan.destruction.pages_per_look {
            if !self.step(token, &mut worked).await? {
                break;
            }
        }
        Ok(worked)
    }

    fn stamp(&self) -> Stamp<'_> {
        Stamp { ctx: &self.ctx, actor: ACTOR }
    }

    async fn take_lease(&self, conn: &mut Conn, token: &str) -> Result<bool, DbError> {
        let until = self.stamp().after(Duration::from_secs(self.plan.destruction.lease_s));
        leases::take(conn, self.stamp(), LEASE, token, until).await
    }

    /// One page. False when there is nothing more to do now.
    async fn step(&self, token: &str, worked: &mut Worked) -> Result<bool, RetentionError> {
        let mut tx = self.db.begin().await?;
        let Some(run) = retention::running(&mut tx).await? else { return Ok(false) };
        if outgoing::is_held(&mut tx, Outgoing::Destruction).await? {
            return Ok(false);
        }
        let ours = self.take_lease(&mut tx, token).await?;
        tx.commit().await.map_err(DbError::from)?;
        if !ours {
            return Ok(false);
        }
        worked.waiting = self.end_begun(&run).await?;
        // while the store is away nothing more is begun
        if worked.waiting > 0 {
            return Ok(false);
        }
        let Some(place) = &run.place else {
            let mut tx = self.db.begin().await?;
            retention::end(&mut tx, self.stamp(), &self.brand, &run).await?;
            tx.commit().await.map_err(DbError::from)?;
            worked.done += 1;
            return Ok(false);
        };
        let limit = i64::from(self.plan.destruction.page);
        let page = self.look(run.day, place.kind, (place.behind.0, &place.behind.1), limit).await?;
        let mut left = Counts::default();
        for one in &page {
            if one.judged.why != RetentionReason::Due {
                left.add(one.class, one.judged.why);
                continue;
            }
            match self.destroy(token, &run, one).await? {
                Came::Destroyed => worked.destroyed += 1,
                Came::Left(class, why) => left.add(class, why),
                Came::Gone => {}
                Came::Lost => return Ok(false),
            }
        }
        worked.left += left.sum();
        let next = match page.last() {
            Some(last) => Some(Place { kind: place.kind, behind: (last.placed_at, last.id.clone()) }),
            None => place.kind.next().map(Place::before),
        };
        let mut tx = self.db.begin().await?;
        retention::advance(&mut tx, &run, next.as_ref(), &left.into_list()).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(true)
    }

    /// Destroys a record that looked due, if it is still.
    async fn destroy(&self, token: &str, run: &Run, looked: &Looked) -> Result<Came, RetentionError> {
        let (stamp, kind, id) = (self.stamp(), looked.kind, looked.id.as_str());
        let mut tx = self.db.begin().await?;
        holds::pass_gate(&mut tx, run.id.as_str()).await?;
        if !self.take_lease(&mut tx, token).await? {
            return Ok(Came::Lost);
        }
        let Some(one) = candidates::lock(&mut tx, kind, id).await? else { return Ok(Came::Gone) };
        let standing = holds::standing(&mut tx).await?;
        let (class, judged) = self.judge(&mut tx, &one, &standing, run.day).await?;
        let (RetentionReason::Due, Some(due_on)) = (judged.why, judged.due_on) else {
            return Ok(Came::Left(class, judged.why));
        };
        destroy::empty(&mut tx, stamp, kind, id).await?;
        if !retention::put_record(&mut tx, stamp, (kind, id, &one.brand), &run.id, (class, due_on)).await? {
            return Ok(Came::Gone);
        }
        stop_at("retention", "written").await;
        tx.commit().await.map_err(DbError::from)?;
        stop_at("retention", "committed").await;
        self.end_record(kind, id).await?;
        Ok(Came::Destroyed)
    }

    /// Ends what was begun and not ended. How many the store keeps from it.
    async fn end_begun(&self, run: &Run) -> Result<u64, RetentionError> {
        let (mut behind, mut waiting) = ((String::new(), String::new()), 0);
        loop {
            let begun = {
                let mut conn = self.db.read().await?;
                let limit = i64::from(self.plan.destruction.page);
                retention::begun(&mut conn, &run.id, (&behind.0, &behind.1), limit).await?
            };
            let Some(last) = begun.last() else { return Ok(waiting) };
            behind = (last.kind.to_string(), last.subject.clone());
            for record in &begun {
                waiting += u64::from(!self.end_record(record.kind, &record.subject).await?);
            }
        }
    }

    /// Takes the objects of a record away whose row is empty. False when the store does not let it, for now.
    async fn end_record(&self, kind: RecordKind, id: &str) -> Result<bool, RetentionError> {
        let gone = match kind {
            RecordKind::Document => self.take_bytes(id).await?,
            _ => self.take_files(kind, id).await?,
        };
        if let Err(why) = gone {
            tracing::warn!(record = id, kind = kind.as_str(), why, "could not take what a destroyed record had");
            return Ok(false);
        }
        stop_at("retention", "deleted").await;
        let mut tx = self.db.begin().await?;
        retention::end_record(&mut tx, self.stamp(), kind, id).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(true)
    }

    /// The bytes of a document go with the last one that has them.
    async fn take_bytes(&self, id: &str) -> Result<Result<(), String>, RetentionError> {
        let id: DocumentId = id.parse().map_err(|_| DbError::Unreadable { column: "subject" })?;
        let (brand, sha256) = {
            let mut conn = self.db.read().await?;
            let Some(document) = documents::get(&mut conn, &id).await? else { return Ok(Ok(())) };
            let Some(sha256) = document.sha256 else { return Ok(Ok(())) };
            let content = contents::get(&mut conn, &document.brand, &sha256).await?;
            if content.is_none_or(|content| content.state != contents::ContentState::Deleting) {
                return Ok(Ok(()));
            }
            (document.brand, sha256)
        };
        let ended = end_destruction(&self.db, self.objects.as_ref(), self.stamp(), &brand, &sha256).await;
        Ok(ended.map(|_| ()).map_err(|error| error.to_string()))
    }

    async fn take_files(&self, kind: RecordKind, id: &str) -> Result<Result<(), String>, RetentionError> {
        let files = {
            let mut conn = self.db.read().await?;
            destroy::files(&mut conn, kind, id).await?
        };
        for (brand, sha256) in files {
            let key = match kind {
                RecordKind::PrintBatch => ObjectKey::batch(&brand, &sha256),
                _ => ObjectKey::letter(&brand, &sha256),
            };
            if let Err(error) = self.objects.delete(&key).await {
                return Ok(Err(error.to_string()));
            }
        }
        Ok(Ok(()))
    }
}

/// Counts by class and reason.
#[derive(Default)]
struct Counts(BTreeMap<(Class, RetentionReason), i64>);

impl Counts {
    fn add(&mut self, class: Class, why: RetentionReason) {
        *self.0.entry((class, why)).or_default() += 1;
    }

    fn sum(&self) -> u64 {
        self.0.values().sum::<i64>().unsigned_abs()
    }

    fn into_list(self) -> Vec<Count> {
        self.0.into_iter().map(|((class, why), records)| Count { class, why, records }).collect()
    }
}
