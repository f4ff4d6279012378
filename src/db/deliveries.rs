//! Delivery rows and their transitions: each way of a letter to its addressee is one row (COR-14).

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_parsed, opt_text, parsed, text};
use crate::db::letters::Letter;
use crate::db::{events, ledger, reference};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, DeliveryId, LetterId, Tin};
use crate::model::letter::{DeliveryChannel, DeliveryState};

/// A delivery as it is stored.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The letter.
    pub letter_id: LetterId,
    /// Its brand.
    pub brand: Brand,
    /// How it goes.
    pub channel: DeliveryChannel,
    /// Where it stands.
    pub state: DeliveryState,
    /// Why it goes this way: codes, the deciding one first.
    pub reasons: Vec<String>,
    /// The practice it concerns.
    pub tin: Option<Tin>,
    /// Why it was stopped.
    pub reason: Option<String>,
    /// When it was decided.
    pub created_at: Timestamp,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// Counts its changes.
    pub version: i64,
}

/// Makes a letter's delivery, waiting for its channel. One that is there already stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn make(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    letter: &Letter,
    channel: DeliveryChannel,
    reasons: &[&str],
) -> Result<(), DbError> {
    let id = stamp.ctx.new_id();
    let state = DeliveryState::Waiting;
    let made = sqlx::query(
        "INSERT INTO delivery (id, letter_id, brand, channel, state, reasons, tin, created_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0) ON CONFLICT DO NOTHING",
    )
    .bind(&id)
    .bind(letter.id.as_str())
    .bind(letter.brand.as_str())
    .bind(channel.as_str())
    .bind(state.as_str())
    .bind(reasons.join(" "))
    .bind(letter.tin.as_ref().map(Tin::as_str))
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if made.rows_affected() == 0 {
        return Ok(());
    }
    let kind = ledger::Kind::delivery(channel);
    ledger::receipt(conn, stamp, kind, &id, &letter.brand).await?;
    ledger::post(conn, stamp, kind, &id, None, state.as_str()).await?;
    let tin_uid = match &letter.tin {
        Some(tin) => reference::tin_uid(conn, tin).await?,
        None => None,
    };
    tell(conn, stamp, (&id, &letter.brand, tin_uid.as_deref()), state, &letter.id, channel).await
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, letter_id, brand, channel, state, reasons, tin, reason, created_at, ended_at, version
             FROM delivery ",
            $tail
        )
    };
}

/// A letter's deliveries.
///
/// # Errors
/// When the database fails.
pub async fn of_letter(conn: &mut Conn, letter: &LetterId) -> Result<Vec<Delivery>, DbError> {
    let rows =
        sqlx::query(select!("WHERE letter_id = $1 ORDER BY channel")).bind(letter.as_str()).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// Deliveries of a channel in a state, oldest first, behind `after` (creation in microseconds, id).
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut Conn,
    channel: DeliveryChannel,
    state: DeliveryState,
    after: Option<(i64, &DeliveryId)>,
    limit: i64,
) -> Result<Vec<Delivery>, DbError> {
    let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (at, id.as_str()));
    let rows = sqlx::query(select!(
        "WHERE channel = $1 AND state = $2 AND (created_at, id) > ($3, $4) ORDER BY created_at, id LIMIT $5"
    ))
    .bind(channel.as_str())
    .bind(state.as_str())
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// The delivery of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &DeliveryId) -> Result<Option<Delivery>, DbError> {
    let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Deliveries of a brand that wait for a channel and were decided before an instant, oldest first, behind `after`
/// (creation in microseconds, id).
///
/// # Errors
/// When the database fails.
pub async fn waiting(
    conn: &mut Conn,
    brand: &Brand,
    channel: DeliveryChannel,
    before: Timestamp,
    after: Option<(i64, &DeliveryId)>,
    limit: i64,
) -> Result<Vec<Delivery>, DbError> {
    let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (at, id.as_str()));
    let rows = sqlx::query(select!(
        "WHERE channel = $1 AND state = 'waiting' AND created_at < $2 AND (created_at, id) > ($3, $4) AND brand = $5
         ORDER BY created_at, id LIMIT $6"
    ))
    .bind(channel.as_str())
    .bind(before.as_microsecond())
    .bind(at)
    .bind(id)
    .bind(brand.as_str())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Brings a delivery into a state, with posting and event.
///
/// # Errors
/// [`DbError::Stale`] when the row has changed since it was read.
pub async fn transition(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    delivery: &Delivery,
    to: DeliveryState,
    reason: Option<&str>,
) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE delivery SET state = $1, reason = $2, ended_at = $3, version = version + 1 WHERE id = $4 AND version = $5",
    )
    .bind(to.as_str())
    .bind(reason)
    .bind(to.is_final().then(|| stamp.now()))
    .bind(delivery.id.as_str())
    .bind(delivery.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "delivery")?;
    let id = delivery.id.as_str();
    let kind = ledger::Kind::delivery(delivery.channel);
    ledger::post(conn, stamp, kind, id, Some(delivery.state.as_str()), to.as_str()).await?;
    let tin_uid = match &delivery.tin {
        Some(tin) => reference::tin_uid(conn, tin).await?,
        None => None,
    };
    tell(conn, stamp, (id, &delivery.brand, tin_uid.as_deref()), to, &delivery.letter_id, delivery.channel).await
}

async fn tell(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    (id, brand, tin_uid): (&str, &Brand, Option<&str>),
    state: DeliveryState,
    letter: &LetterId,
    channel: DeliveryChannel,
) -> Result<(), DbError> {
    let event = NewEvent {
        kind: EventType::Delivery(state),
        subject: id,
        brand,
        tin_uid,
        actor: stamp.actor,
        payload: serde_json::json!({ "letter": letter, "channel": channel }),
    };
    events::append(conn, stamp, event).await
}

fn read(row: &AnyRow) -> Result<Delivery, DbError> {
    Ok(Delivery {
        id: parsed(row, "id")?,
        letter_id: parsed(row, "letter_id")?,
        brand: parsed(row, "brand")?,
        channel: parsed(row, "channel")?,
        state: parsed(row, "state")?,
        reasons: text(row, "reasons")?.split_whitespace().map(str::to_owned).collect(),
        tin: opt_parsed(row, "tin")?,
        reason: opt_text(row, "reason")?,
        created_at: instant(row, "created_at")?,
        ended_at: opt_instant(row, "ended_at")?,
        version: number(row, "version")?,
    })
}
