//! What a fault left behind: letters that lie still, PDFs that no letter has and letters whose PDF is gone, and the word
//! before the deadline of one that can't be produced. Idempotent, and under a lease on one node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use super::stages::Letters;
use crate::db::letter_upkeep::{self, Filed};
use crate::db::letters::{self, Letter};
use crate::db::{self, Conn, DbError, Stamp, deliveries, leases, work};
use crate::model::event::EventType;
use crate::model::ids::{Brand, LetterId, Sha256};
use crate::model::letter::stage::{COMPOSE, DELIVER, RENDER, ROUTE};
use crate::model::letter::{DeliveryChannel, DeliveryState, LetterState};
use crate::model::mode::Mode;
use crate::model::paper::ASSEMBLE;
use crate::outside::objects::{ObjectKey, Place};

/// What one look mended or found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    /// Letters put to work again.
    pub woken: u64,
    /// PDFs that no letter has, swept.
    pub orphans: u64,
    /// Letters whose PDF is not in the store.
    pub missing: u64,
    /// Deadlines of refused letters, told.
    pub warned: u64,
}

/// PDFs that no letter had when they were looked at, by name, and when that was first. It is this process's own: after a
/// restart their time begins anew.
#[derive(Debug, Clone, Default)]
pub struct Orphans(Arc<Mutex<HashMap<String, Timestamp>>>);

/// Letters or tasks of one look.
const PAGE: i64 = 200;
/// PDFs asked for at once.
const AT_ONCE: usize = 8;
/// Orphans that are remembered; the others are seen again.
const REMEMBERED: usize = 10_000;
/// A node that died is waited for so long.
const LEASE: Duration = Duration::from_secs(300);
/// Under these names it is kept how far the comparison has come.
const ROWS_CURSOR: &str = "letters.rows.after";
const OBJECTS_CURSOR: &str = "letters.objects.after";

impl Letters {
    /// Looks once, if this node holds the lease.
    ///
    /// # Errors
    /// When the database fails; what the store refuses is logged and looked at again.
    pub async fn reconcile(&self, token: &str) -> Result<Kept, DbError> {
        let stamp = Stamp { ctx: &self.ctx, actor: "reconciler" };
        let mut tx = self.db.begin().await?;
        let ours = leases::take(&mut tx, stamp, "letters", token, stamp.after(LEASE)).await?;
        tx.commit().await?;
        if !ours {
            return Ok(Kept::default());
        }
        Ok(Kept {
            woken: self.wake_still(stamp).await?,
            orphans: self.sweep_orphans().await?,
            missing: self.find_missing().await?,
            warned: self.warn_of_refused(stamp).await?,
        })
    }

    /// Puts letters to work that wait for a stage without having any: nothing that was asked for may lie still. State and
    /// work commit together, so this takes a fault, and is told as one.
    async fn wake_still(&self, stamp: Stamp<'_>) -> Result<u64, DbError> {
        let before = stamp.now().saturating_sub(micros(self.plan.reconcile.stuck_after_s));
        let mut still = Vec::new();
        {
            let mut conn = self.db.read().await?;
            for state in [LetterState::Asked, LetterState::Composed, LetterState::Rendered] {
                still.extend(letter_upkeep::without_work(&mut conn, state, before, PAGE).await?);
            }
            still.extend(letter_upkeep::undelivered_without_work(&mut conn, before, PAGE).await?);
        }
        let mut woken = 0;
        for id in still {
            woken += u64::from(self.wake(stamp, &id).await?);
        }
        Ok(woken)
    }

    async fn wake(&self, stamp: Stamp<'_>, id: &LetterId) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        let Some(letter) = letters::get(&mut tx, id).await? else { return Ok(false) };
        let Some(stage) = waits_for(&mut tx, &letter).await? else { return Ok(false) };
        if !work::of_subject(&mut tx, id.as_str()).await?.is_empty() {
            return Ok(false);
        }
        work::put(&mut tx, stamp, id.as_str(), stage).await?;
        tx.commit().await?;
        metrics::counter!("lettercase_letters_without_work_total").increment(1);
        tracing::error!(letter = %id, stage, "a letter had no work; it is put to work again");
        Ok(true)
    }

    /// Sweeps PDFs that no letter has: a letter was stopped after its PDF was stored, and is not to be sent as it was.
    async fn sweep_orphans(&self) -> Result<u64, DbError> {
        let per_look = self.plan.reconcile.compared_per_look;
        let after = {
            let mut conn = self.db.read().await?;
            db::installation(&mut conn, OBJECTS_CURSOR).await?.filter(|after| !after.is_empty())
        };
        let page = match self.objects.list(Place::Letters, after.as_deref(), per_look).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(error = %error, "could not list the PDFs of letters");
                return Ok(0);
            }
        };
        let mut swept = 0;
        for (name, _) in &page {
            swept += u64::from(self.sweep_if_orphan(name).await?);
        }
        let next = page.last().filter(|_| page.len() == per_look).map(|(name, _)| name.as_str());
        self.keep_cursor(OBJECTS_CURSOR, (after.as_deref(), next)).await?;
        Ok(swept)
    }

    async fn sweep_if_orphan(&self, name: &str) -> Result<bool, DbError> {
        let Some((key, brand, sha256)) = letter_key(name) else {
            tracing::warn!("an object that is no letter's lies among the PDFs of letters");
            return Ok(false);
        };
        let has_row = {
            let mut conn = self.db.read().await?;
            letter_upkeep::is_known(&mut conn, &brand, &sha256).await?
        };
        let since = self.orphans.seen(name, has_row, self.ctx.now());
        let grace = micros(self.plan.reconcile.orphan_after_s);
        if since.is_none_or(|since| self.ctx.now().as_microsecond() <= since.as_microsecond().saturating_add(grace)) {
            return Ok(false);
        }
        // Only its own letter or print batch can have the same bytes made again. So while nobody renders or assembles, none
        // that is stored is about to get its row; and nobody begins to while this transaction writes (on PostgreSQL: in
        // the moment it takes).
        let mut tx = self.db.begin().await?;
        for stage in [RENDER, ASSEMBLE] {
            if letter_upkeep::is_worked(&mut tx, stage).await? {
                return Ok(false);
            }
        }
        if letter_upkeep::is_known(&mut tx, &brand, &sha256).await? {
            return Ok(false);
        }
        if let Err(error) = self.objects.delete(&key).await {
            tracing::warn!(error = %error, "could not sweep the PDF of no letter");
            return Ok(false);
        }
        tx.rollback().await?;
        self.orphans.seen(name, true, self.ctx.now());
        tracing::warn!(object = %key, "a PDF that no letter has was swept");
        Ok(true)
    }

    /// Finds letters whose PDF is not in the store. What was issued is gone then, so it is told each time it is seen.
    async fn find_missing(&self) -> Result<u64, DbError> {
        let per_look = self.plan.reconcile.compared_per_look;
        let (kept, page) = {
            let mut conn = self.db.read().await?;
            let kept = db::installation(&mut conn, ROWS_CURSOR).await?.filter(|after| !after.is_empty());
            let after = kept.as_deref().and_then(|kept| kept.split_once(' '));
            let after = after.and_then(|(at, id)| Some((at.parse().ok()?, id))).unwrap_or((i64::MIN, ""));
            let limit = i64::try_from(per_look).unwrap_or(i64::MAX);
            let page = letter_upkeep::filed(&mut conn, after, limit).await?;
            (kept, page)
        };
        let mut missing = 0;
        for some in page.chunks(AT_ONCE) {
            let looked = join_all(some.iter().map(|letter| self.is_missing(letter))).await;
            missing += looked.into_iter().filter(|missing| *missing).count() as u64;
        }
        let next = page.last().filter(|_| page.len() == per_look);
        let next = next.map(|last| format!("{} {}", last.created_at, last.id));
        self.keep_cursor(ROWS_CURSOR, (kept.as_deref(), next.as_deref())).await?;
        Ok(missing)
    }

    async fn is_missing(&self, letter: &Filed) -> bool {
        match self.objects.head(&ObjectKey::letter(&letter.brand, &letter.sha256)).await {
            Ok(Some(_)) => false,
            Ok(None) => {
                metrics::counter!("lettercase_letters_without_pdf_total").increment(1);
                tracing::error!(letter = %letter.id, "the PDF of a letter is not in the store: bring it back from a backup");
                true
            }
            Err(error) => {
                tracing::warn!(letter = %letter.id, error = %error, "could not look for the PDF of a letter");
                false
            }
        }
    }

    /// Keeps where the next look goes on; at the end it begins anew.
    async fn keep_cursor(&self, name: &str, (kept, next): (Option<&str>, Option<&str>)) -> Result<(), DbError> {
        if kept == next {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        db::set_installation(&mut tx, name, next.unwrap_or_default()).await?;
        Ok(tx.commit().await?)
    }

    /// Tells of refused letters whose deadline is near, once each: by an event, a count and a line in the log.
    async fn warn_of_refused(&self, stamp: Stamp<'_>) -> Result<u64, DbError> {
        let before = self.ctx.now().saturating_add(self.plan.refused.warn_before()).unwrap_or(Timestamp::MAX);
        let due = {
            let mut conn = self.db.read().await?;
            letter_upkeep::unwarned(&mut conn, before, PAGE).await?
        };
        let mut warned = 0;
        for id in due {
            warned += u64::from(self.warn_of(stamp, &id).await?);
        }
        Ok(warned)
    }

    async fn warn_of(&self, stamp: Stamp<'_>, id: &LetterId) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        if !letter_upkeep::set_warned(&mut tx, stamp, id).await? {
            return Ok(false);
        }
        let Some(letter) = letters::get(&mut tx, id).await? else { return Ok(false) };
        // nobody waits for what a trial asked for; it is only marked
        let real = letter.brand.mode() == Mode::Live;
        let overdue = letter.due_at.is_some_and(|due| due <= stamp.ctx.now());
        if real {
            let payload = json!({ "type": letter.letter_type, "due_at": letter.due_at, "overdue": overdue });
            letters::event(&mut tx, stamp, &letter, EventType::LetterDueSoon, payload).await?;
        }
        tx.commit().await?;
        if real {
            metrics::counter!("lettercase_letters_due_soon_total").increment(1);
            tracing::warn!(letter = %id, due_at = ?letter.due_at, overdue, "somebody must act on a letter that can't be produced");
        }
        Ok(real)
    }
}

/// The stage that a letter waits for as it stands.
async fn waits_for(conn: &mut Conn, letter: &Letter) -> Result<Option<&'static str>, DbError> {
    Ok(match letter.state {
        LetterState::Asked => Some(COMPOSE),
        LetterState::Composed => Some(RENDER),
        LetterState::Rendered => Some(ROUTE),
        LetterState::Routed => {
            let ways = deliveries::of_letter(conn, &letter.id).await?;
            let waits = |way: &deliveries::Delivery| {
                way.channel == DeliveryChannel::Inbox && way.state == DeliveryState::Waiting
            };
            ways.iter().any(waits).then_some(DELIVER)
        }
        LetterState::Refused | LetterState::Stopped => None,
    })
}

/// What a name in the place of letters says.
fn letter_key(name: &str) -> Option<(ObjectKey, Brand, Sha256)> {
    let key = ObjectKey::from_name(Place::Letters, name).ok()?;
    let (brand, rest) = name.split_once('/')?;
    Some((key, brand.parse().ok()?, rest.rsplit('/').next()?.parse().ok()?))
}

impl Orphans {
    /// Keeps that a PDF has a row or has none. Since when it is known to have none.
    fn seen(&self, name: &str, has_row: bool, now: Timestamp) -> Option<Timestamp> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if has_row {
            known.remove(name);
            return None;
        }
        if known.len() >= REMEMBERED && !known.contains_key(name) {
            return None;
        }
        Some(*known.entry(name.to_owned()).or_insert(now))
    }
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
