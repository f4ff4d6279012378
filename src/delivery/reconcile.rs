//! What becomes due in the Messaging Center by time alone: messages go offline (COR-23), and letters that need an answer
//! and that nobody opened are reported (COR-26). Idempotent, and under a lease on one node.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::Correspondence;
use crate::db::messages::{self, Message};
use crate::db::{Conn, Db, DbError, Stamp, deliveries, events, leases, letters, reference};
use crate::model::event::{EventType, NewEvent};
use crate::model::letter::DeliveryChannel;
use crate::model::route::RouteReason;

/// What one look did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tended {
    /// Messages taken offline.
    pub offline: u64,
    /// Letters reported as unread.
    pub unread: u64,
    /// Of those, sent on paper as well.
    pub paper: u64,
}

/// Messages of one transaction.
const PART: i64 = 200;
/// A node that died is waited for so long.
const LEASE: Duration = Duration::from_secs(900);

impl Correspondence {
    /// Looks once, if this node holds the lease.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reconcile(&self, token: &str) -> Result<Tended, DbError> {
        let stamp = Stamp { ctx: &self.ctx, actor: "reconciler" };
        let mut tx = self.db.begin().await?;
        let ours = leases::take(&mut tx, stamp, "messaging center", token, stamp.after(LEASE)).await?;
        tx.commit().await?;
        if !ours {
            return Ok(Tended::default());
        }
        let offline = take_offline(&self.db, stamp).await?;
        let (unread, paper) = self.report_unread(stamp).await?;
        Ok(Tended { offline, unread, paper })
    }

    /// The instant before which a letter must have come to count as unread now.
    pub fn unread_before(&self) -> Timestamp {
        let today = self.calendar.local_day(self.ctx.now());
        self.calendar.start_of_day(self.calendar.add_days(today, -i32::from(self.plan.inbox.unread_after_days)))
    }

    /// Reports letters that need an answer and were not opened in time, each once.
    async fn report_unread(&self, stamp: Stamp<'_>) -> Result<(u64, u64), DbError> {
        let (mut unread, mut paper) = (0, 0);
        loop {
            let mut tx = self.db.begin().await?;
            let part = messages::unreported(&mut tx, self.unread_before(), PART).await?;
            let (mut reported, full) = (0, part.len() as i64 == PART);
            for message in &part {
                if messages::report(&mut tx, stamp, &message.id).await? {
                    reported += 1;
                    paper += u64::from(self.report(&mut tx, stamp, message).await?);
                }
            }
            tx.commit().await?;
            unread += reported;
            if !full || reported == 0 {
                return Ok((unread, paper));
            }
        }
    }

    /// Writes the report, and sends the letter on paper where policy has it so. Answers whether it did.
    async fn report(&self, conn: &mut Conn, stamp: Stamp<'_>, message: &Message) -> Result<bool, DbError> {
        let uid = reference::tin_uid(conn, &message.tin).await?;
        let event = NewEvent {
            kind: EventType::MessageUnread,
            subject: message.id.as_str(),
            brand: &message.brand,
            tin_uid: uid.as_deref(),
            actor: stamp.actor,
            payload: json!({ "letter": message.letter_id, "category": message.category }),
        };
        events::append(conn, stamp, event).await?;
        let Some(id) = message.letter_id.as_ref().filter(|_| self.plan.inbox.paper_after_unread) else {
            return Ok(false);
        };
        // what another letter took the place of is answered by that one
        let Some(letter) = letters::get(conn, id).await?.filter(|letter| letter.superseded_by.is_none()) else {
            return Ok(false);
        };
        let ways = deliveries::of_letter(conn, id).await?;
        if ways.iter().any(|way| way.channel == DeliveryChannel::Paper) {
            return Ok(false);
        }
        deliveries::make(conn, stamp, &letter, DeliveryChannel::Paper, &[RouteReason::UnreadInTime.as_str()]).await?;
        Ok(true)
    }
}

/// Takes all messages offline whose time is over. Answers how many.
///
/// # Errors
/// When the database fails.
pub async fn take_offline(db: &Db, stamp: Stamp<'_>) -> Result<u64, DbError> {
    let mut all = 0;
    loop {
        let mut tx = db.begin().await?;
        let part = messages::take_offline(&mut tx, stamp, PART).await?;
        tx.commit().await?;
        all += part;
        if part < PART.unsigned_abs() {
            return Ok(all);
        }
    }
}
