//! Back-pressure: what a node turns away before a disk is full or a queue without an end, while it can still say so.
//!
//! A sender is told to come again (503 with `Retry-After`), a source of the mailroom leaves its file where it lies, and
//! an upload that is whole waits to be completed. What was accepted is never touched.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::Mutex;

use super::{Intake, stages};
use crate::db::{DbError, work};
use crate::outside::spool::Reservation;

/// Table `[room]` of `pipelines/intake.toml`, where each is explained.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomPolicy {
    /// Bytes left free on the spool's disk.
    pub spool_free_bytes: u64,
    /// Documents that may wait for one of the first stages.
    pub queue: i64,
    /// Seconds for which a count of them is believed.
    pub look_s: u32,
    /// Seconds after which who was turned away may come again.
    pub retry_after_s: u32,
}

impl RoomPolicy {
    /// After how long who was turned away may come again.
    pub fn retry_after(&self) -> Duration {
        Duration::from_secs(self.retry_after_s.into())
    }
}

/// Why a file is turned away for now.
#[derive(Debug, Error)]
pub enum NoRoom {
    /// The spool's disk is nearly full.
    #[error("this node has no room for files now; send it again a little later")]
    Spool {
        /// When to come again.
        retry_after: Duration,
    },
    /// More documents wait than are let wait.
    #[error("too many documents wait to be judged; send it again a little later")]
    Queue {
        /// When to come again.
        retry_after: Duration,
    },
    /// The system does not tell how much room there is.
    #[error("the spool can't be looked at")]
    Disk(#[source] std::io::Error),
}

/// Whether the queue was too long when it was last looked at, and when that was.
#[derive(Debug, Clone, Default)]
pub struct Backlog(Arc<Mutex<Option<(Timestamp, bool)>>>);

impl Intake {
    /// Room for a file of so many bytes: on the disk, and in the queue behind it.
    pub(crate) async fn room_for(&self, bytes: u64) -> Result<Reservation, NoRoom> {
        if self.is_queue_long().await {
            return Err(NoRoom::Queue { retry_after: self.plan.room.retry_after() });
        }
        self.spool_room(bytes)
    }

    /// Room for so many bytes on the spool's disk.
    pub(crate) fn spool_room(&self, bytes: u64) -> Result<Reservation, NoRoom> {
        let room = &self.plan.room;
        let reserved = self.spool.reserve(bytes, room.spool_free_bytes).map_err(NoRoom::Disk)?;
        reserved.ok_or_else(|| NoRoom::Spool { retry_after: room.retry_after() })
    }

    /// Counted no further than to the limit, and by one request at a time: the others don't wait for it, nor does any
    /// of them fail for a database that does not tell.
    async fn is_queue_long(&self) -> bool {
        let room = &self.plan.room;
        let now = self.ctx.now();
        let Ok(mut known) = self.backlog.0.try_lock() else { return false };
        if let Some((at, is_long)) = *known
            && now.duration_since(at).as_secs().unsigned_abs() < u64::from(room.look_s)
        {
            return is_long;
        }
        let Ok(waiting) = self.waiting(room.queue).await else { return false };
        let is_long = waiting >= room.queue;
        *known = Some((now, is_long));
        is_long
    }

    /// Documents that wait to be judged, up to a limit.
    async fn waiting(&self, limit: i64) -> Result<i64, DbError> {
        let mut conn = self.db.read().await?;
        let mut waiting = 0;
        for stage in [stages::FIRST, stages::RESCAN] {
            waiting += work::waiting(&mut conn, stage, limit - waiting).await?;
        }
        Ok(waiting)
    }
}
