//! Readers of events: a journey reacts to another's events in a transaction of its own, once per event.

use async_trait::async_trait;

use crate::db::{Conn, Db, DbError, Stamp, events};
use crate::engine::stage::stop_at;
use crate::model::event::{Event, EventType};

/// Something that reacts to events in the one order they have.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Under this name it is kept how far it has come.
    fn name(&self) -> &'static str;

    /// Whether it has anything to do for such an event.
    fn wants(&self, kind: EventType) -> bool;

    /// Reacts, in the transaction that also moves its position: so it takes effect once.
    ///
    /// # Errors
    /// When the database fails; the event is then read again.
    async fn react(&self, conn: &mut Conn, stamp: Stamp<'_>, event: &Event) -> Result<(), DbError>;
}

/// How many events are looked at in one go.
const PAGE: i64 = 200;

/// Reads on up to and including the next event that the reader wants. False when there is nothing new.
///
/// # Errors
/// When the database fails.
pub async fn read_some(db: &Db, stamp: Stamp<'_>, reader: &dyn Reader) -> Result<bool, DbError> {
    let (from, page) = {
        let mut conn = db.read().await?;
        let from = events::reader_position(&mut conn, reader.name()).await?;
        (from, events::after(&mut conn, from, PAGE).await?)
    };
    let Some(last) = page.last().and_then(|(event, _)| event.position) else {
        return Ok(false);
    };
    // An event of a newer version's type is nothing this reader could want.
    let wanted = page.iter().find(|(event, _)| event.kind.parse().is_ok_and(|kind| reader.wants(kind)));
    if wanted.is_some() {
        stop_at(reader.name(), "loaded").await;
    }
    let mut tx = db.begin().await?;
    let to = match wanted {
        None => last,
        Some((event, _)) => {
            reader.react(&mut tx, Stamp { ctx: stamp.ctx, actor: reader.name() }, event).await?;
            stop_at(reader.name(), "written").await;
            event.position.unwrap_or(last)
        }
    };
    match events::move_reader(&mut tx, reader.name(), from, to).await {
        // another node has read it: what we did is undone with the transaction
        Err(DbError::Stale { .. }) => return Ok(true),
        moved => moved?,
    }
    tx.commit().await?;
    if wanted.is_some() {
        stop_at(reader.name(), "committed").await;
    }
    Ok(true)
}
