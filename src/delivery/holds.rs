//! Holds on letters (COR-16): a type or a practice is held back until the hold is lifted. What is not routed by then is
//! stopped when it comes to be; whoever sends what waits on paper or by fax asks [`routing::standing`] likewise.

use super::LetterError;
use super::stop::{look, release_found};
use crate::db::routing::{self, Held, Hold};
use crate::db::{Db, DbError, Stamp, reference};
use crate::model::ids::{Brand, HoldId};
use crate::model::reason;

/// What came of lifting a hold.
#[derive(Debug, Clone)]
pub struct Lifted {
    /// The hold.
    pub hold: Hold,
    /// Letters that go again now.
    pub released: i64,
    /// Letters that it stopped and that are stopped still.
    pub left: i64,
}

/// Puts a hold on letters of a brand.
///
/// # Errors
/// See [`LetterError`].
pub async fn put(db: &Db, stamp: Stamp<'_>, brand: &Brand, held: &Held, reason: &str) -> Result<Hold, LetterError> {
    let reason = reason::check(reason).map_err(LetterError::Invalid)?;
    let mut tx = db.begin().await?;
    if let Held::Tin(tin) = held {
        reference::tin_uid(&mut tx, tin).await?.ok_or(LetterError::NoTin)?;
    }
    let hold = routing::put_hold(&mut tx, stamp, brand, held, reason).await?.ok_or(LetterError::Exists)?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(hold)
}

/// Lifts a hold, and lets at most `release` of the letters that it stopped go again, oldest first. One that is lifted
/// already stays so, and more of its letters go: that is how the rest of many is released.
///
/// # Errors
/// See [`LetterError`].
pub async fn lift(
    db: &Db,
    stamp: Stamp<'_>,
    id: &HoldId,
    version: Option<i64>,
    release: i64,
) -> Result<Lifted, LetterError> {
    let mut tx = db.begin().await?;
    let mut hold = routing::hold(&mut tx, id).await?.ok_or(LetterError::NoHold)?;
    if version.is_some_and(|version| version != hold.version) {
        return Err(LetterError::Conflict("hold"));
    }
    if hold.lifted_at.is_none() {
        routing::lift_hold(&mut tx, stamp, &hold).await?;
        hold = routing::hold(&mut tx, id).await?.ok_or(LetterError::NoHold)?;
    }
    let stopped = if release > 0 { routing::stopped_by(&mut tx, &hold, release).await? } else { Vec::new() };
    tx.commit().await.map_err(DbError::from)?;

    // a transaction each: many letters don't keep the database from others
    let mut released = 0;
    for letter in stopped {
        let mut tx = db.begin().await?;
        let Some(found) = look(&mut tx, &letter).await? else { continue };
        match release_found(&mut tx, stamp, &found).await {
            Ok(()) => {
                tx.commit().await.map_err(DbError::from)?;
                released += 1;
            }
            // another hold has it, or somebody was quicker
            Err(LetterError::Db(error)) => return Err(LetterError::Db(error)),
            Err(_) => {}
        }
    }
    let left = {
        let mut conn = db.read().await?;
        routing::count_stopped_by(&mut conn, &hold).await?
    };
    Ok(Lifted { hold, released, left })
}
