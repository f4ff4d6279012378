//! What a person does to a letter on its way: stop it, or let it go again (COR-16). Each is fenced by what they saw.

use super::LetterError;
use super::route::{stop as stop_letter, stop_waiting};
use crate::db::deliveries::{self, Delivery};
use crate::db::envelopes::{self, Envelope};
use crate::db::letters::{self, Change, Letter};
use crate::db::{Conn, Db, DbError, Stamp, routing, work};
use crate::model::ids::LetterId;
use crate::model::letter::stage::{COMPOSE, DELIVER, ROUTE};
use crate::model::letter::{DeliveryChannel, DeliveryState, LetterState, StopReason};

/// A letter with its ways.
#[derive(Debug, Clone)]
pub struct WithWays {
    /// The letter.
    pub letter: Letter,
    /// Its deliveries.
    pub deliveries: Vec<Delivery>,
    /// The envelopes that it was put into, the last one first, with the names of their batches.
    pub envelopes: Vec<(String, Envelope)>,
}

impl WithWays {
    /// Counts the changes of both, so that who saw a way waiting does not stop one that has gone.
    pub fn version(&self) -> i64 {
        self.deliveries.iter().fold(self.letter.version, |sum, delivery| sum + delivery.version)
    }
}

/// A letter with its ways.
///
/// # Errors
/// When the database fails.
pub async fn look(conn: &mut Conn, id: &LetterId) -> Result<Option<WithWays>, DbError> {
    let Some(letter) = letters::get(conn, id).await? else { return Ok(None) };
    let deliveries = deliveries::of_letter(conn, id).await?;
    let on_paper = deliveries.iter().any(|delivery| delivery.channel == DeliveryChannel::Paper);
    let envelopes = if on_paper { envelopes::of_letter(conn, id).await? } else { Vec::new() };
    Ok(Some(WithWays { letter, deliveries, envelopes }))
}

/// The letter as it was seen.
async fn seen(conn: &mut Conn, id: &LetterId, version: Option<i64>) -> Result<WithWays, LetterError> {
    let found = look(conn, id).await?.ok_or(LetterError::NoLetter)?;
    match version {
        Some(version) if version != found.version() => Err(LetterError::Conflict("letter")),
        _ => Ok(found),
    }
}

/// Stops a letter that is not routed, or the ways of one that is as far as they wait still. `version` is what the
/// caller saw; `None`: as it is.
///
/// # Errors
/// See [`LetterError`].
pub async fn stop(
    db: &Db,
    stamp: Stamp<'_>,
    id: &LetterId,
    version: Option<i64>,
    reason: StopReason,
) -> Result<WithWays, LetterError> {
    if !reason.is_for_people() {
        return Err(LetterError::Invalid("this reason is not one that a person gives"));
    }
    let mut tx = db.begin().await?;
    let found = seen(&mut tx, id, version).await?;
    match found.letter.state {
        LetterState::Stopped => return Err(LetterError::State(LetterState::Stopped, "there is nothing to stop")),
        LetterState::Routed => {
            if stop_waiting(&mut tx, stamp, &found.letter, reason).await? == 0 {
                return Err(LetterError::State(LetterState::Routed, "no way of it waits still"));
            }
        }
        LetterState::Asked | LetterState::Composed | LetterState::Rendered | LetterState::Refused => {
            stop_letter(&mut tx, stamp, &found.letter, reason).await?;
        }
    }
    let now = look(&mut tx, id).await?.ok_or(LetterError::NoLetter)?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(now)
}

/// Lets a stopped letter go again: to be routed where its PDF is stored, else to be composed. Of a routed one, the ways
/// that were stopped wait again.
///
/// # Errors
/// See [`LetterError`].
pub async fn release(db: &Db, stamp: Stamp<'_>, id: &LetterId, version: Option<i64>) -> Result<WithWays, LetterError> {
    let mut tx = db.begin().await?;
    let found = seen(&mut tx, id, version).await?;
    release_found(&mut tx, stamp, &found).await?;
    let now = look(&mut tx, id).await?.ok_or(LetterError::NoLetter)?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(now)
}

/// Lets a letter go again, in the caller's transaction.
pub(super) async fn release_found(conn: &mut Conn, stamp: Stamp<'_>, found: &WithWays) -> Result<(), LetterError> {
    let letter = &found.letter;
    if letter.destroyed_at.is_some() {
        return Err(LetterError::State(letter.state, "what it said is destroyed"));
    }
    if letter.superseded_by.is_some() {
        return Err(LetterError::Superseded);
    }
    let id = letter.id.as_str();
    match letter.state {
        LetterState::Stopped => {
            not_held(conn, letter).await?;
            let (to, stage) = match letter.made {
                Some(_) => (LetterState::Rendered, ROUTE),
                None => (LetterState::Asked, COMPOSE),
            };
            letters::transition(conn, stamp, letter, to, Change::default()).await?;
            work::restart(conn, stamp, id, stage).await?;
        }
        LetterState::Routed => {
            let stopped = |one: &&Delivery| one.state == DeliveryState::Stopped;
            let stopped: Vec<&Delivery> = found.deliveries.iter().filter(stopped).collect();
            if stopped.is_empty() {
                return Err(LetterError::State(letter.state, "no way of it was stopped"));
            }
            not_held(conn, letter).await?;
            for delivery in &stopped {
                deliveries::transition(conn, stamp, delivery, DeliveryState::Waiting, None).await?;
            }
            if stopped.iter().any(|delivery| delivery.channel == DeliveryChannel::Inbox) {
                work::restart(conn, stamp, id, DELIVER).await?;
            }
        }
        state => return Err(LetterError::State(state, "it was not stopped")),
    }
    Ok(())
}

async fn not_held(conn: &mut Conn, letter: &Letter) -> Result<(), LetterError> {
    match routing::standing(conn, letter).await? {
        Some(_) => Err(LetterError::Held),
        None => Ok(()),
    }
}
