//! Closes a batch: what waits becomes envelopes, in one transaction. So a crash leaves nothing half done, and a day that
//! is closed is closed once, by its unique row.
//!
//! A letter waits on where a hold stands, where a person must see to its address, and where no envelope takes it. That
//! never keeps the others.

use std::collections::{BTreeSet, HashMap};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::addresses::{corrected, mail_to, printed_on};
use super::production::pack::{Packed, Packing, Sheaf, To, Waiting, pack};
use super::production::plan::{ImbPolicy, ProductionPolicy};
use super::{Paper, PaperError};
use crate::db::batches::{self, Batch, Figures, NewBatch};
use crate::db::deliveries::{self, Delivery};
use crate::db::envelopes::{self, MailTo, NewEnvelope};
use crate::db::letters::{self, Addressee, Letter};
use crate::db::paper_tasks::{self, NewPaperTask};
use crate::db::{Conn, DbError, Stamp, routing, work};
use crate::engine::stage::stop_at;
use crate::model::ids::{Brand, DeliveryId, LetterId};
use crate::model::letter::{DeliveryChannel, DeliveryState};
use crate::model::paper::{ASSEMBLE, BatchKind, PaperTaskKind, RETURNED, TOO_LARGE};
use crate::paper::production::address::AddressFault;

/// Deliveries that are read at once.
const PART: i64 = 500;

/// All there is: also what was decided in this very instant, or by a node whose clock is ahead of ours.
const ALL: Timestamp = Timestamp::MAX;

/// A letter that goes into an envelope, as rows have it.
struct Going {
    delivery: Delivery,
    to: MailTo,
}

/// A letter that a person must see to first.
struct Task {
    kind: PaperTaskKind,
    to: MailTo,
    letter: LetterId,
    reasons: Vec<&'static str>,
}

/// What waits, as far as it is known before it is packed.
#[derive(Default)]
struct Gathered {
    /// Letters that go to the address that is printed on them.
    plain: Vec<Waiting>,
    /// Letters that go elsewhere, behind a sheet that says where.
    carried: Vec<Waiting>,
    going: HashMap<LetterId, Going>,
    tasks: Vec<Task>,
    held: usize,
    /// Letters that wait for a person.
    waiting: usize,
}

/// What a batch would hold.
struct Planned {
    envelopes: Vec<(Packed, bool)>,
    going: HashMap<LetterId, Going>,
    tasks: Vec<Task>,
    held: usize,
    waiting: usize,
    figures: Figures,
}

/// What a batch would hold if it were closed now.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Preview {
    /// The brand.
    pub brand: Brand,
    /// The local day of the next cut-off.
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    /// The next cut-off.
    #[schema(value_type = String, format = DateTime)]
    pub cut_off_at: Timestamp,
    /// What would be in it.
    #[serde(flatten)]
    pub figures: Figures,
    /// Letters that a hold keeps back.
    pub held: usize,
    /// Letters that wait until a person has seen to their address or size.
    pub waiting: usize,
}

impl Paper {
    /// Closes the batch of a brand's day; one that is closed stays as it is.
    ///
    /// # Errors
    /// See [`PaperError`].
    pub async fn close_day(
        &self,
        stamp: Stamp<'_>,
        brand: &Brand,
        day: Date,
        cut_off_at: Timestamp,
    ) -> Result<Batch, PaperError> {
        let mut tx = self.db.begin().await?;
        let serial = batches::lock_serials(&mut tx, &self.imb().mailer_id).await?;
        if let Some(batch) = batches::of_day(&mut tx, brand, day).await? {
            return Ok(batch);
        }
        let planned = self.plan(&mut tx, brand, day, cut_off_at).await?;
        let new = NewBatch { brand, kind: BatchKind::Daily, day, cut_off_at, figures: planned.figures };
        let batch = self.close(&mut tx, stamp, serial, &new, &planned).await?;
        stop_at("close", "written").await;
        tx.commit().await.map_err(DbError::from)?;
        stop_at("close", "committed").await;
        Ok(batch)
    }

    /// Closes what waits now, before the cut-off. That comes all the same and takes what is decided from now on.
    ///
    /// # Errors
    /// See [`PaperError`].
    pub async fn close_now(&self, stamp: Stamp<'_>, brand: &Brand) -> Result<Batch, PaperError> {
        let mut tx = self.db.begin().await?;
        let serial = batches::lock_serials(&mut tx, &self.imb().mailer_id).await?;
        let now = self.ctx.now();
        let before = now.checked_add(SignedDuration::from_micros(1)).unwrap_or(now);
        let day = self.calendar.local_day(now);
        let planned = self.plan(&mut tx, brand, day, ALL).await?;
        let new = NewBatch { brand, kind: BatchKind::Extra, day, cut_off_at: before, figures: planned.figures };
        let batch = if planned.envelopes.is_empty() {
            // a person is to know what keeps the letters
            self.raise(&mut tx, stamp, brand, &planned.tasks).await?;
            None
        } else {
            Some(self.close(&mut tx, stamp, serial, &new, &planned).await?)
        };
        stop_at("close", "written").await;
        tx.commit().await.map_err(DbError::from)?;
        stop_at("close", "committed").await;
        batch.ok_or(PaperError::NothingWaits)
    }

    /// What a batch of a brand would hold if it were closed now.
    ///
    /// # Errors
    /// See [`PaperError`].
    pub async fn preview(&self, brand: &Brand) -> Result<Preview, PaperError> {
        let mut conn = self.db.read().await?;
        let now = self.ctx.now();
        let last = batches::last_day(&mut conn, brand).await?;
        let (day, cut_off_at) = super::cutoff::next(last, now, &self.calendar, &self.plan.batches);
        let planned = self.plan(&mut conn, brand, day, ALL).await?;
        Ok(Preview {
            brand: brand.clone(),
            day,
            cut_off_at,
            figures: planned.figures,
            held: planned.held,
            waiting: planned.waiting,
        })
    }

    pub(super) fn imb(&self) -> &ImbPolicy {
        &self.plan.production.imb
    }

    /// Puts what waits into envelopes.
    async fn plan(&self, conn: &mut Conn, brand: &Brand, day: Date, before: Timestamp) -> Result<Planned, PaperError> {
        let gathered = self.gather(conn, brand, day, before).await?;
        let Gathered { plain, carried, going, mut tasks, held, mut waiting } = gathered;
        let policy = &self.plan.production;
        // the sheet on top takes the place of one of the letters'
        let mut tighter: ProductionPolicy = policy.clone();
        tighter.envelope.sheets_max = tighter.envelope.sheets_max.saturating_sub(1);
        let mut envelopes: Vec<(Packed, bool)> = Vec::new();
        for (letters, policy, carrier) in [(plain, policy, false), (carried, &tighter, true)] {
            let Packing { envelopes: packed, too_large } = pack(letters, policy);
            envelopes.extend(packed.into_iter().map(|packed| (packed, carrier)));
            for letter in too_large {
                let Some(to) = going.get(&letter).map(|going| going.to.clone()) else { continue };
                waiting += 1;
                tasks.push(Task { kind: PaperTaskKind::TooLarge, to, letter, reasons: vec![TOO_LARGE] });
            }
        }
        // the order of presorted mail
        envelopes.sort_by(|(a, _), (b, _)| a.zip.cmp(&b.zip));
        let mut figures = Figures::default();
        for (packed, carrier) in &envelopes {
            figures.envelopes += 1;
            figures.letters += i64::try_from(packed.letters.len()).unwrap_or(i64::MAX);
            figures.pages += pages(packed);
            figures.sheets += sheets(packed, *carrier);
        }
        Ok(Planned { envelopes, going, tasks, held, waiting, figures })
    }

    /// Reads what waits of a brand and was decided before an instant.
    async fn gather(
        &self,
        conn: &mut Conn,
        brand: &Brand,
        day: Date,
        before: Timestamp,
    ) -> Result<Gathered, PaperError> {
        let mut gathered = Gathered::default();
        let mut after: Option<(i64, DeliveryId)> = None;
        loop {
            let place = after.as_ref().map(|(at, id)| (*at, id));
            let part = deliveries::waiting(conn, brand, DeliveryChannel::Paper, before, place, PART).await?;
            let Some(last) = part.last() else { return Ok(gathered) };
            after = Some((last.created_at.as_microsecond(), last.id.clone()));
            for delivery in part {
                let letter = letters::get(conn, &delivery.letter_id).await?;
                let letter = letter.ok_or(DbError::Unreadable { column: "letter_id" })?;
                self.sort(conn, &mut gathered, delivery, &letter, day).await?;
            }
        }
    }

    /// Says of one letter whether it goes, and where.
    async fn sort(
        &self,
        conn: &mut Conn,
        gathered: &mut Gathered,
        delivery: Delivery,
        letter: &Letter,
        day: Date,
    ) -> Result<(), PaperError> {
        let Some(made) = &letter.made else { return Err(DbError::Unreadable { column: "sha256" }.into()) };
        if routing::standing(conn, letter).await?.is_some() {
            gathered.held += 1;
            return Ok(());
        }
        let brand = &letter.brand;
        let printed = mail_to(&letter.addressee, &printed_on(letter))?;
        let to = corrected(conn, brand, printed.clone()).await?;
        let address = super::addresses::from_row(&to.address);
        let faults = match self.check.check(&address) {
            Ok(_) => BTreeSet::new(),
            Err(faults) => faults.into_iter().map(AddressFault::as_str).collect(),
        };
        if !faults.is_empty() || paper_tasks::of_address(conn, brand, &to.addressee, &to.hash).await?.is_some() {
            gathered.waiting += 1;
            if !faults.is_empty() {
                gathered.tasks.push(Task {
                    kind: PaperTaskKind::Address,
                    to,
                    letter: letter.id.clone(),
                    reasons: faults.into_iter().collect(),
                });
            }
            return Ok(());
        }
        let waiting = Waiting {
            brand: brand.clone(),
            to: match &letter.addressee {
                Addressee::Tin(tin) => To::Tin(tin.clone()),
                Addressee::Member(member) => To::Member(member.clone()),
            },
            address,
            day,
            letter_type: letter.letter_type,
            letter: Sheaf {
                id: letter.id.clone(),
                number: letter.number.clone(),
                pages: made.pages,
                sha256: made.sha256.clone(),
            },
        };
        let list = if to.hash == printed.hash { &mut gathered.plain } else { &mut gathered.carried };
        list.push(waiting);
        gathered.going.insert(letter.id.clone(), Going { delivery, to });
        Ok(())
    }

    /// Writes a batch with its envelopes; its letters are in it from then on.
    async fn close(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        serial: i64,
        new: &NewBatch<'_>,
        planned: &Planned,
    ) -> Result<Batch, PaperError> {
        let mut serials = self.serials(conn, serial, planned.figures.envelopes).await?;
        let batch = batches::insert(conn, stamp, new).await?;
        for (sequence, (packed, carrier)) in (1i64..).zip(&planned.envelopes) {
            let mut enclosed = Vec::with_capacity(packed.letters.len());
            let mut to = None;
            for letter in &packed.letters {
                let going = planned.going.get(&letter.id).ok_or(DbError::Unreadable { column: "letter_id" })?;
                deliveries::transition(conn, stamp, &going.delivery, DeliveryState::InBatch, None).await?;
                enclosed.push((&letter.id, &going.delivery.id));
                to = to.or(Some(&going.to));
            }
            let envelope = NewEnvelope {
                batch: &batch.id,
                brand: new.brand,
                sequence,
                to: to.ok_or(DbError::Unreadable { column: "address" })?,
                carrier: *carrier,
                pages: pages(packed),
                sheets: sheets(packed, *carrier),
                mailer_id: &self.imb().mailer_id,
                serial: serials.next().ok_or(PaperError::SerialsUsedUp)?,
                reprint_of: None,
            };
            envelopes::insert(conn, stamp, &envelope, &enclosed).await?;
        }
        self.raise(conn, stamp, new.brand, &planned.tasks).await?;
        if planned.figures.envelopes > 0 {
            work::put(conn, stamp, batch.id.as_str(), ASSEMBLE).await?;
        }
        Ok(batch)
    }

    async fn raise(&self, conn: &mut Conn, stamp: Stamp<'_>, brand: &Brand, tasks: &[Task]) -> Result<(), DbError> {
        for task in tasks {
            let new = NewPaperTask {
                brand,
                kind: task.kind,
                to: &task.to,
                letter_id: Some(&task.letter),
                reasons: &task.reasons,
                due_at: self.act_by(),
            };
            paper_tasks::raise(conn, stamp, &new).await?;
        }
        Ok(())
    }

    /// By when a person must have seen to what is found now.
    pub(super) fn act_by(&self) -> Timestamp {
        self.calendar.business_deadline(self.ctx.now(), self.plan.batches.act_within_business_days)
    }

    /// As many serial numbers from `next` on. They are refused where one of them is that of a piece that was mailed within
    /// the policy's days, or may be mailed still.
    pub(super) async fn serials(
        &self,
        conn: &mut Conn,
        next: i64,
        count: i64,
    ) -> Result<impl Iterator<Item = i64> + use<>, PaperError> {
        let imb = self.imb();
        let all = i64::try_from(imb.serials()).unwrap_or(i64::MAX);
        if count > all {
            return Err(PaperError::SerialsUsedUp);
        }
        // another mailer's number may leave room for fewer
        let next = next % all;
        let (to_end, from_start) = (count.min(all - next), (next + count - all).max(0));
        let days = SignedDuration::from_hours(24 * i64::from(imb.serial_days));
        let mailed_after = self.ctx.now().checked_sub(days).unwrap_or(Timestamp::MIN);
        for range in [(next, next + to_end), (0, from_start)] {
            if range.0 < range.1 && batches::serials_in_use(conn, &imb.mailer_id, range, mailed_after).await? {
                tracing::error!("no batch can be closed: the serial numbers for the mail are used up");
                return Err(PaperError::SerialsUsedUp);
            }
        }
        batches::set_next_serial(conn, &imb.mailer_id, (next + count) % all).await?;
        Ok((0..count).map(move |i| (next + i) % all))
    }

    /// Raises the task about an address to which mail came back.
    pub(super) async fn raise_returned(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        brand: &Brand,
        to: &MailTo,
    ) -> Result<(), DbError> {
        let new = NewPaperTask {
            brand,
            kind: PaperTaskKind::Address,
            to,
            letter_id: None,
            reasons: &[RETURNED],
            due_at: self.act_by(),
        };
        paper_tasks::raise(conn, stamp, &new).await?;
        Ok(())
    }
}

fn pages(packed: &Packed) -> i64 {
    packed.letters.iter().map(|letter| i64::from(letter.pages)).sum()
}

/// With the sheet on top.
fn sheets(packed: &Packed, carrier: bool) -> i64 {
    i64::from(packed.sheets) + i64::from(carrier)
}
