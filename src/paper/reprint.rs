//! Prints spoiled and missing envelopes again: each exactly once, by the unique row of the one that takes its place.

use jiff::SignedDuration;

use super::addresses::corrected;
use super::{Paper, PaperError, batch};
use crate::db::batches::{self, Batch, Figures, NewBatch};
use crate::db::envelopes::{self, Envelope, MailTo, NewEnvelope};
use crate::db::{Conn, DbError, Stamp, paper_tasks, work};
use crate::engine::stage::stop_at;
use crate::model::ids::BatchId;
use crate::model::paper::{ASSEMBLE, BatchKind, BatchState};

impl Paper {
    /// Makes a batch of the spoiled envelopes of another one, with new places and serial numbers. What is in them and
    /// on them is as it was; only where a person gave another address since, it goes there. One to an address that a
    /// person must see to waits until then.
    ///
    /// # Errors
    /// See [`PaperError`].
    pub async fn reprint(&self, stamp: Stamp<'_>, id: &BatchId) -> Result<Batch, PaperError> {
        let mut tx = self.db.begin().await?;
        let serial = batches::lock_serials(&mut tx, &self.imb().mailer_id).await?;
        batches::lock(&mut tx, id).await.map_err(|_| PaperError::NoBatch)?;
        let old = batch(&mut tx, id).await?;
        let mut going = Vec::new();
        for envelope in envelopes::to_reprint(&mut tx, id).await? {
            if let Some(to) = self.goes_to(&mut tx, &envelope).await? {
                going.push((envelope, to));
            }
        }
        if going.is_empty() {
            return Err(PaperError::State("no spoiled envelope of the batch can be printed again"));
        }
        let letters = envelopes::enclosed(&mut tx, id, None).await?;
        let mut figures = Figures::default();
        for (envelope, to) in &going {
            figures.envelopes += 1;
            figures.letters += letters.iter().filter(|letter| letter.envelope_id == envelope.id).count() as i64;
            figures.pages += envelope.pages;
            figures.sheets += envelope.sheets + more(envelope, to);
        }
        let now = self.ctx.now();
        let new = NewBatch {
            brand: &old.brand,
            kind: BatchKind::Reprint,
            day: self.calendar.local_day(now),
            cut_off_at: now.checked_add(SignedDuration::from_micros(1)).unwrap_or(now),
            figures,
        };
        let mut serials = self.serials(&mut tx, serial, figures.envelopes).await?;
        let made = batches::insert(&mut tx, stamp, &new).await?;
        for (sequence, (envelope, to)) in (1i64..).zip(&going) {
            let own = letters.iter().filter(|letter| letter.envelope_id == envelope.id);
            let own: Vec<_> = own.map(|letter| (&letter.letter_id, &letter.delivery_id)).collect();
            let again = NewEnvelope {
                batch: &made.id,
                brand: &old.brand,
                sequence,
                to,
                carrier: envelope.carrier || more(envelope, to) > 0,
                pages: envelope.pages,
                sheets: envelope.sheets + more(envelope, to),
                mailer_id: &self.imb().mailer_id,
                serial: serials.next().ok_or(PaperError::SerialsUsedUp)?,
                reprint_of: Some(&envelope.id),
            };
            envelopes::insert(&mut tx, stamp, &again, &own).await?;
        }
        work::put(&mut tx, stamp, made.id.as_str(), ASSEMBLE).await?;
        if old.state == BatchState::Assembled && envelopes::open(&mut tx, id).await? == 0 {
            batches::done(&mut tx, stamp, &old).await?;
        }
        stop_at("reprint", "written").await;
        tx.commit().await.map_err(DbError::from)?;
        Ok(made)
    }

    /// Where a spoiled envelope goes now; `None` where a person must see to that first.
    async fn goes_to(&self, conn: &mut Conn, envelope: &Envelope) -> Result<Option<MailTo>, PaperError> {
        let to = corrected(conn, &envelope.brand, envelope.to.clone()).await?;
        let stands = paper_tasks::of_address(conn, &envelope.brand, &to.addressee, &to.hash).await?.is_some();
        let most = i64::from(self.plan.production.envelope.sheets_max);
        if stands || envelope.sheets + more(envelope, &to) > most {
            return Ok(None);
        }
        Ok(Some(to))
    }
}

/// The sheet with the address, where it is new.
fn more(envelope: &Envelope, to: &MailTo) -> i64 {
    i64::from(!envelope.carrier && to.hash != envelope.to.hash)
}
