//! What is done for faxes, a look at a time and under a lease on one node: answers are read, what waits is laid ready and
//! handed over, what failed is tried again, and what can't be sent goes on paper.
//!
//! A try is laid ready first, then kept in the database, then handed over by a rename. So a crash leaves files that the
//! next look writes anew, or a try that it hands over; and what is not in `prepared/` any more is with the gateway. A
//! letter can be stopped until it is kept; from then on it is under way.

use std::time::Duration;

use jiff::Timestamp;

use super::folder::{Answered, Control, Gateway, Job, Outcome};
use super::picture::{PictureError, picture};
use super::{Fax, FaxError};
use crate::db::deliveries::{self, Delivery};
use crate::db::fax_jobs::{self, Change, FaxJob};
use crate::db::letters::{self, Letter};
use crate::db::{Conn, DbError, Stamp, leases, outgoing, reference, routing};
use crate::delivery::open::{PdfError, pdf};
use crate::engine::stage::stop_at;
use crate::model::fax::{FaxEnd, FaxState};
use crate::model::ids::{DeliveryId, Sha256};
use crate::model::letter::{DeliveryChannel, DeliveryState, StopReason};
use crate::model::mode::Mode;
use crate::model::outgoing::Outgoing;
use crate::model::route::RouteReason;

/// A node that died is waited for so long.
const LEASE: Duration = Duration::from_secs(600);
/// Places where tests stop a node are called so.
const NAME: &str = "fax";
/// The longest reason of a gateway that is kept, in characters.
const REASON_CHARS: usize = 100;

/// What one look did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tended {
    /// Tries handed over.
    pub handed_over: u64,
    /// Letters that arrived.
    pub sent: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Letters that go on paper instead.
    pub on_paper: u64,
    /// Files of the gateway's that are no answers.
    pub unread: u64,
}

impl Fax {
    /// Looks once, if this node holds the lease.
    ///
    /// # Errors
    /// See [`FaxError`].
    pub async fn reconcile(&self, token: &str) -> Result<Tended, FaxError> {
        let stamp = Stamp { ctx: &self.ctx, actor: "fax" };
        let mut tx = self.db.begin().await?;
        let ours = leases::take(&mut tx, stamp, "fax", token, stamp.after(LEASE)).await?;
        tx.commit().await.map_err(DbError::from)?;
        let mut tended = Tended::default();
        if !ours {
            return Ok(tended);
        }
        if let Some(gateway) = &self.gateway {
            self.read_answers(stamp, gateway, &mut tended).await?;
        }
        // what nobody has answered for may be a fax that went after the back-up that we go on from
        let held = {
            let mut conn = self.db.read().await?;
            outgoing::is_held(&mut conn, Outgoing::Faxes).await?
        };
        if held {
            return Ok(tended);
        }
        if let Some(gateway) = &self.gateway {
            // what a crash left ready goes first
            self.hand_over(stamp, gateway, &mut tended).await?;
            self.begin(stamp, gateway, &mut tended).await?;
            self.repeat(stamp, gateway, &mut tended).await?;
            self.hand_over(stamp, gateway, &mut tended).await?;
        }
        self.give_up(stamp, &mut tended).await?;
        Ok(tended)
    }

    fn hours(&self, hours: u16) -> Duration {
        Duration::from_secs(u64::from(hours) * 3_600)
    }

    /// The instant so long from now.
    fn after(&self, pause: Duration) -> Timestamp {
        self.ctx.now().saturating_add(pause).unwrap_or(Timestamp::MAX)
    }

    /// The instant so long before now.
    fn before(&self, hours: u16) -> Timestamp {
        self.ctx.now().saturating_sub(self.hours(hours)).unwrap_or(Timestamp::MIN)
    }

    async fn read_answers(&self, stamp: Stamp<'_>, gateway: &Gateway, tended: &mut Tended) -> Result<(), FaxError> {
        for answered in gateway.answers(usize::try_from(self.at_once).unwrap_or(1))? {
            self.take(stamp, &answered, tended).await?;
            stop_at(NAME, "answered").await;
            if let Err(error) = gateway.put_away(&answered) {
                // it says the same when it is read again
                tracing::warn!(error = %error, "an answer of the fax gateway stays where it is");
            }
        }
        Ok(())
    }

    /// Takes an answer. A second one of the same try, or of one that waits for none, changes nothing.
    async fn take(&self, stamp: Stamp<'_>, answered: &Answered, tended: &mut Tended) -> Result<(), FaxError> {
        let Some((named, said)) = &answered.answer else {
            tracing::warn!("a file in the fax gateway's answers is none that can be read");
            tended.unread += 1;
            return Ok(());
        };
        let mut tx = self.db.begin().await?;
        let jobs = fax_jobs::of_delivery(&mut tx, &named.delivery).await?;
        let delivery = deliveries::get(&mut tx, &named.delivery).await?;
        let job = jobs.into_iter().find(|job| job.number == named.number && waits_for_an_answer(job.state));
        let (Some(job), Some(delivery)) = (job, delivery) else { return Ok(()) };
        let reason = said.reason.as_deref().map(words);
        match said.outcome {
            Outcome::Sent => {
                let change = Change {
                    to: FaxState::Sent,
                    due_at: job.due_at,
                    answered_at: Some(said.at),
                    reason: reason.as_deref(),
                };
                fax_jobs::transition(&mut tx, stamp, &job, change).await?;
                // one that was given up on meanwhile has gone on paper, and stays stopped
                if delivery.state == DeliveryState::InBatch {
                    deliveries::transition(&mut tx, stamp, &delivery, DeliveryState::Delivered, None).await?;
                    tended.sent += 1;
                }
            }
            Outcome::Failed => {
                let again = Duration::from_secs(u64::from(self.plan.send.again_after_min) * 60);
                let change = Change {
                    to: FaxState::Failed,
                    due_at: self.after(again),
                    answered_at: Some(said.at),
                    reason: reason.as_deref(),
                };
                fax_jobs::transition(&mut tx, stamp, &job, change).await?;
                tended.failed += 1;
                if job.number >= self.plan.send.tries && delivery.state == DeliveryState::InBatch {
                    on_paper(&mut tx, stamp, &delivery, FaxEnd::Failed).await?;
                    tended.on_paper += 1;
                }
            }
        }
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// Lays the letters ready that wait for the fax. What is held back is passed over, however much it is.
    async fn begin(&self, stamp: Stamp<'_>, gateway: &Gateway, tended: &mut Tended) -> Result<(), FaxError> {
        let (mut begun, mut behind) = (0, None);
        while begun < self.at_once {
            let page = self.waiting(behind.as_ref()).await?;
            behind = page.last().map(|last| (last.created_at.as_microsecond(), last.id.clone()));
            if behind.is_none() {
                break;
            }
            for delivery in page {
                if delivery.brand.mode() == Mode::Test {
                    let mut tx = self.db.begin().await?;
                    let reason = Some(StopReason::Trial.as_str());
                    deliveries::transition(&mut tx, stamp, &delivery, DeliveryState::Stopped, reason).await?;
                    tx.commit().await.map_err(DbError::from)?;
                    continue;
                }
                match self.prepare(stamp, gateway, &delivery, 1, tended).await? {
                    Prepared::Done => begun += 1,
                    Prepared::Held => {}
                    Prepared::StoreAway => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// A page of the letters that wait for the fax, behind one of them.
    async fn waiting(&self, behind: Option<&(i64, DeliveryId)>) -> Result<Vec<Delivery>, DbError> {
        let mut conn = self.db.read().await?;
        let behind = behind.map(|(at, id)| (*at, id));
        deliveries::list(&mut conn, DeliveryChannel::Fax, DeliveryState::Waiting, behind, self.at_once).await
    }

    async fn repeat(&self, stamp: Stamp<'_>, gateway: &Gateway, tended: &mut Tended) -> Result<(), FaxError> {
        let (mut begun, mut behind) = (0, None);
        while begun < self.at_once {
            let failed = {
                let mut conn = self.db.read().await?;
                fax_jobs::to_repeat(&mut conn, self.ctx.now(), behind.as_ref(), self.at_once).await?
            };
            behind = failed.last().map(|last| (last.due_at.as_microsecond(), last.delivery_id.clone()));
            if behind.is_none() {
                break;
            }
            for job in failed {
                let delivery = {
                    let mut conn = self.db.read().await?;
                    deliveries::get(&mut conn, &job.delivery_id).await?
                };
                let Some(delivery) = delivery else { continue };
                match self.prepare(stamp, gateway, &delivery, job.number + 1, tended).await? {
                    Prepared::Done => begun += 1,
                    Prepared::Held => {}
                    Prepared::StoreAway => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Lays a try ready and keeps it. Where nothing can be sent, the letter goes on paper; where it is held back, or its
    /// PDF can't be read just now, it waits.
    async fn prepare(
        &self,
        stamp: Stamp<'_>,
        gateway: &Gateway,
        delivery: &Delivery,
        number: u32,
        tended: &mut Tended,
    ) -> Result<Prepared, FaxError> {
        let (letter, fax, held) = {
            let mut conn = self.db.read().await?;
            let Some(letter) = letters::get(&mut conn, &delivery.letter_id).await? else { return Ok(Prepared::Held) };
            let fax = match &delivery.tin {
                Some(tin) => reference::practice(&mut conn, tin).await?.and_then(|practice| practice.fax),
                None => None,
            };
            let held = routing::standing(&mut conn, &letter).await?.is_some();
            (letter, fax, held)
        };
        if held {
            return Ok(Prepared::Held);
        }
        let Some(fax) = fax else {
            self.end(stamp, delivery, FaxEnd::NoNumber, tended).await?;
            return Ok(Prepared::Done);
        };
        let made = match self.picture_of(&letter).await {
            Ok(Some(made)) => made,
            Ok(None) => return Ok(Prepared::StoreAway),
            Err(error) => {
                tracing::error!(letter = %letter.id, error = %error, "a letter can't be sent by fax");
                self.end(stamp, delivery, FaxEnd::NoPicture, tended).await?;
                return Ok(Prepared::Done);
            }
        };
        let job = Job { delivery: delivery.id.clone(), number };
        let control = Control {
            form: 1,
            job: job.name(),
            picture: format!("{}.tif", job.name()),
            number: fax,
            pages: made.pages,
            bytes: made.tiff.len() as u64,
            sha256: Sha256::of(&made.tiff).into(),
        };
        gateway.prepare(&job, &control, &made.tiff)?;
        stop_at(NAME, "prepared").await;
        let mut tx = self.db.begin().await?;
        // somebody may have stopped or held it while the picture was made
        let now = deliveries::get(&mut tx, &delivery.id).await?.filter(|now| now.version == delivery.version);
        if now.is_none() || routing::standing(&mut tx, &letter).await?.is_some() {
            gateway.withdraw(&job)?;
            return Ok(Prepared::Held);
        }
        let due_at = self.after(self.hours(self.plan.send.answer_within_h));
        fax_jobs::insert(&mut tx, stamp, (&delivery.id, number), made.pages, due_at).await?;
        if delivery.state == DeliveryState::Waiting {
            deliveries::transition(&mut tx, stamp, delivery, DeliveryState::InBatch, None).await?;
        }
        stop_at(NAME, "written").await;
        tx.commit().await.map_err(DbError::from)?;
        stop_at(NAME, "committed").await;
        Ok(Prepared::Done)
    }

    /// The picture of a letter. `None`: the store is away, and it waits.
    async fn picture_of(&self, letter: &Letter) -> Result<Option<super::picture::Picture>, PictureError> {
        let pdf = match pdf(self.objects.as_ref(), letter).await {
            Ok(pdf) => pdf,
            Err(PdfError::Store(_, error)) => {
                tracing::warn!(letter = %letter.id, error = %error, "a letter can't be read to be sent by fax");
                return Ok(None);
            }
            Err(PdfError::None | PdfError::Lost(_)) => return Err(PictureError::Unreadable),
        };
        let policy = self.plan.page.clone();
        let made = tokio::task::spawn_blocking(move || picture(pdf, &policy)).await;
        made.map_err(|_| PictureError::Unreadable)?.map(Some)
    }

    /// Hands over what lies ready.
    async fn hand_over(&self, stamp: Stamp<'_>, gateway: &Gateway, tended: &mut Tended) -> Result<(), FaxError> {
        let ready = {
            let mut conn = self.db.read().await?;
            fax_jobs::due(&mut conn, FaxState::Prepared, Timestamp::MAX, self.at_once).await?
        };
        for job in ready {
            let named = Job { delivery: job.delivery_id.clone(), number: job.number };
            gateway.hand_over(&named)?;
            stop_at(NAME, "handed-over").await;
            let mut tx = self.db.begin().await?;
            let due_at = self.after(self.hours(self.plan.send.answer_within_h));
            let change = Change { to: FaxState::HandedOver, due_at, answered_at: None, reason: None };
            fax_jobs::transition(&mut tx, stamp, &job, change).await?;
            tx.commit().await.map_err(DbError::from)?;
            tended.handed_over += 1;
        }
        Ok(())
    }

    /// What nobody answered for in time, and what has waited too long for a gateway, goes on paper: twice is better than
    /// never, for a letter has a deadline.
    async fn give_up(&self, stamp: Stamp<'_>, tended: &mut Tended) -> Result<(), FaxError> {
        let unanswered = {
            let mut conn = self.db.read().await?;
            fax_jobs::due(&mut conn, FaxState::HandedOver, self.ctx.now(), self.at_once).await?
        };
        for job in unanswered {
            let mut tx = self.db.begin().await?;
            let change = Change { to: FaxState::Unanswered, due_at: job.due_at, answered_at: None, reason: None };
            fax_jobs::transition(&mut tx, stamp, &job, change).await?;
            let delivery = deliveries::get(&mut tx, &job.delivery_id).await?;
            if let Some(delivery) = delivery.filter(|delivery| delivery.state == DeliveryState::InBatch) {
                tracing::warn!(letter = %delivery.letter_id, "the fax gateway did not say what became of a letter");
                on_paper(&mut tx, stamp, &delivery, FaxEnd::Unanswered).await?;
                tended.on_paper += 1;
            }
            tx.commit().await.map_err(DbError::from)?;
        }
        let since = self.before(self.plan.send.wait_h);
        let (mut ended, mut behind) = (0, None);
        while ended < self.at_once {
            let page = self.waiting(behind.as_ref()).await?;
            behind = page.last().map(|last| (last.created_at.as_microsecond(), last.id.clone()));
            if behind.is_none() {
                break;
            }
            for delivery in page {
                if delivery.created_at >= since {
                    return Ok(());
                }
                if !self.is_held(&delivery).await? {
                    self.end(stamp, &delivery, FaxEnd::Unanswered, tended).await?;
                    ended += 1;
                }
            }
        }
        Ok(())
    }

    async fn is_held(&self, delivery: &Delivery) -> Result<bool, DbError> {
        let mut conn = self.db.read().await?;
        match letters::get(&mut conn, &delivery.letter_id).await? {
            Some(letter) => Ok(routing::standing(&mut conn, &letter).await?.is_some()),
            None => Ok(false),
        }
    }

    async fn end(
        &self,
        stamp: Stamp<'_>,
        delivery: &Delivery,
        why: FaxEnd,
        tended: &mut Tended,
    ) -> Result<(), FaxError> {
        let mut tx = self.db.begin().await?;
        on_paper(&mut tx, stamp, delivery, why).await?;
        tx.commit().await.map_err(DbError::from)?;
        tended.on_paper += 1;
        Ok(())
    }
}

/// What came of laying a letter ready.
enum Prepared {
    /// It is ready, or goes on paper.
    Done,
    /// It waits: somebody holds it back, or changed it just now.
    Held,
    /// So do all: PDFs can't be read.
    StoreAway,
}

const fn waits_for_an_answer(state: FaxState) -> bool {
    matches!(state, FaxState::Prepared | FaxState::HandedOver | FaxState::Unanswered)
}

/// A gateway's reason as it is kept: it is their text, so it is cut and bare of control characters.
fn words(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS).collect()
}

/// Ends a delivery by fax, and has the letter go on paper with that reason.
async fn on_paper(conn: &mut Conn, stamp: Stamp<'_>, delivery: &Delivery, why: FaxEnd) -> Result<(), DbError> {
    deliveries::transition(conn, stamp, delivery, DeliveryState::Stopped, Some(why.as_str())).await?;
    let Some(letter) = letters::get(conn, &delivery.letter_id).await? else { return Ok(()) };
    // what another letter took the place of is answered by that one
    if letter.superseded_by.is_none() {
        let reason = RouteReason::FaxFailed.as_str();
        deliveries::make(conn, stamp, &letter, DeliveryChannel::Paper, &[reason]).await?;
    }
    metrics::counter!("lettercase_faxes_on_paper_total").increment(1);
    Ok(())
}

/// The tries of a delivery, for who asks why.
///
/// # Errors
/// When the database fails.
pub async fn tries(conn: &mut Conn, delivery: &Delivery) -> Result<Vec<FaxJob>, DbError> {
    fax_jobs::of_delivery(conn, &delivery.id).await
}
