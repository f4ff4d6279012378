//! What becomes due on paper by time alone: the cut-offs. Idempotent, and under a lease on one node.

use std::time::Duration;

use super::cutoff::due;
use super::{Paper, PaperError};
use crate::db::{DbError, Stamp, batches, deliveries, leases, outgoing};
use crate::model::letter::{DeliveryChannel, DeliveryState, StopReason};
use crate::model::mode::Mode;
use crate::model::outgoing::Outgoing;

/// What one look did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tended {
    /// Days closed.
    pub closed: u64,
    /// Envelopes in them.
    pub envelopes: u64,
    /// Letters of trials that were stopped.
    pub trials: u64,
}

/// Deliveries of one transaction.
const PART: i64 = 200;
/// A node that died is waited for so long.
const LEASE: Duration = Duration::from_secs(900);

impl Paper {
    /// Looks once, if this node holds the lease.
    ///
    /// # Errors
    /// See [`PaperError`].
    pub async fn reconcile(&self, token: &str) -> Result<Tended, PaperError> {
        let stamp = Stamp { ctx: &self.ctx, actor: "reconciler" };
        let mut tx = self.db.begin().await?;
        let ours = leases::take(&mut tx, stamp, "print batches", token, stamp.after(LEASE)).await?;
        tx.commit().await.map_err(DbError::from)?;
        let mut tended = Tended::default();
        if !ours {
            return Ok(tended);
        }
        for brand in self.brands.iter() {
            tended.trials += self.stop_trials(stamp, &brand.in_mode(Mode::Test)).await?;
            let (last, first) = {
                let mut conn = self.db.read().await?;
                // the days are caught up when it is let go
                if outgoing::is_held(&mut conn, Outgoing::Batches).await? {
                    continue;
                }
                (batches::last_day(&mut conn, brand).await?, batches::first_waiting(&mut conn, brand).await?)
            };
            for (day, cut_off) in due(last, first, self.ctx.now(), &self.calendar, &self.plan.batches) {
                let batch = self.close_day(stamp, brand, day, cut_off).await?;
                tended.closed += 1;
                tended.envelopes += batch.figures.envelopes.unsigned_abs();
            }
        }
        Ok(tended)
    }

    /// Nothing of a trial is printed: its letters that would go on paper are stopped, and say so (INT-35).
    async fn stop_trials(&self, stamp: Stamp<'_>, brand: &crate::model::ids::Brand) -> Result<u64, PaperError> {
        let before = jiff::Timestamp::MAX;
        let mut stopped = 0;
        loop {
            let mut tx = self.db.begin().await?;
            let part = deliveries::waiting(&mut tx, brand, DeliveryChannel::Paper, before, None, PART).await?;
            for delivery in &part {
                let reason = Some(StopReason::Trial.as_str());
                deliveries::transition(&mut tx, stamp, delivery, DeliveryState::Stopped, reason).await?;
            }
            tx.commit().await.map_err(DbError::from)?;
            stopped += part.len() as u64;
            if (part.len() as i64) < PART {
                return Ok(stopped);
            }
        }
    }
}
