//! Tries to send letters by fax (COR-13).

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_text, parsed};
use crate::model::fax::FaxState;
use crate::model::ids::DeliveryId;

/// A try as it is stored.
#[derive(Debug, Clone)]
pub struct FaxJob {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Which try, from 1.
    pub number: u32,
    /// Where it stands.
    pub state: FaxState,
    /// Pages of its picture.
    pub pages: i64,
    /// When it was laid ready.
    pub prepared_at: Timestamp,
    /// When the gateway got it.
    pub handed_at: Option<Timestamp>,
    /// By when the gateway must have answered; of a failed one that is tried again, when.
    pub due_at: Timestamp,
    /// When the gateway answered.
    pub answered_at: Option<Timestamp>,
    /// Why it failed, in the gateway's words.
    pub reason: Option<String>,
    /// Counts its changes.
    pub version: i64,
}

/// Keeps a try that lies ready.
///
/// # Errors
/// When the database fails, or there is such a try.
pub async fn insert(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    (delivery, number): (&DeliveryId, u32),
    pages: u32,
    due_at: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO fax_job (delivery_id, number, state, pages, prepared_at, due_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, 0)",
    )
    .bind(delivery.as_str())
    .bind(i64::from(number))
    .bind(FaxState::Prepared.as_str())
    .bind(i64::from(pages))
    .bind(stamp.now())
    .bind(due_at.as_microsecond())
    .execute(conn)
    .await?;
    Ok(())
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT delivery_id, number, state, pages, prepared_at, handed_at, due_at, answered_at, reason, version
             FROM fax_job ",
            $tail
        )
    };
}

/// The tries of a delivery, the first one first.
///
/// # Errors
/// When the database fails.
pub async fn of_delivery(conn: &mut Conn, delivery: &DeliveryId) -> Result<Vec<FaxJob>, DbError> {
    let rows = sqlx::query(select!("WHERE delivery_id = $1 ORDER BY number")).bind(delivery.as_str());
    rows.fetch_all(conn).await?.iter().map(read).collect()
}

/// Tries in a state whose time came before an instant, the oldest first.
///
/// # Errors
/// When the database fails.
pub async fn due(conn: &mut Conn, state: FaxState, before: Timestamp, limit: i64) -> Result<Vec<FaxJob>, DbError> {
    let rows = sqlx::query(select!("WHERE state = $1 AND due_at < $2 ORDER BY due_at, delivery_id LIMIT $3"))
        .bind(state.as_str())
        .bind(before.as_microsecond())
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// Failed tries after which another is due: of deliveries that their channel still has, and that no later try follows.
///
/// # Errors
/// When the database fails.
pub async fn to_repeat(
    conn: &mut Conn,
    before: Timestamp,
    after: Option<&(i64, DeliveryId)>,
    limit: i64,
) -> Result<Vec<FaxJob>, DbError> {
    let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (*at, id.as_str()));
    let rows = sqlx::query(select!(
        "WHERE state = 'failed' AND due_at < $1 AND (due_at, delivery_id) > ($2, $3)
         AND NOT EXISTS (SELECT 1 FROM fax_job later
                         WHERE later.delivery_id = fax_job.delivery_id AND later.number > fax_job.number)
         AND EXISTS (SELECT 1 FROM delivery WHERE delivery.id = fax_job.delivery_id AND delivery.state = 'in_batch')
         ORDER BY due_at, delivery_id LIMIT $4"
    ))
    .bind(before.as_microsecond())
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// What changes in a try.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Where it stands then.
    pub to: FaxState,
    /// When what it waits for is due.
    pub due_at: Timestamp,
    /// When the gateway answered.
    pub answered_at: Option<Timestamp>,
    /// Why it failed.
    pub reason: Option<&'a str>,
}

/// Brings a try into a state.
///
/// # Errors
/// [`DbError::Stale`] when the row has changed since it was read.
pub async fn transition(conn: &mut Conn, stamp: Stamp<'_>, job: &FaxJob, change: Change<'_>) -> Result<(), DbError> {
    let handed = (change.to == FaxState::HandedOver).then(|| stamp.now());
    let done = sqlx::query(
        "UPDATE fax_job SET state = $1, due_at = $2, answered_at = $3, reason = $4, handed_at = COALESCE($5, handed_at),
                            version = version + 1
         WHERE delivery_id = $6 AND number = $7 AND version = $8",
    )
    .bind(change.to.as_str())
    .bind(change.due_at.as_microsecond())
    .bind(change.answered_at.map(Timestamp::as_microsecond))
    .bind(change.reason)
    .bind(handed)
    .bind(job.delivery_id.as_str())
    .bind(i64::from(job.number))
    .bind(job.version)
    .execute(conn)
    .await?;
    exactly_one(&done, "fax")
}

fn read(row: &AnyRow) -> Result<FaxJob, DbError> {
    let try_number = number(row, "number")?;
    Ok(FaxJob {
        delivery_id: parsed(row, "delivery_id")?,
        number: u32::try_from(try_number).map_err(|_| DbError::Unreadable { column: "number" })?,
        state: parsed(row, "state")?,
        pages: number(row, "pages")?,
        prepared_at: instant(row, "prepared_at")?,
        handed_at: opt_instant(row, "handed_at")?,
        due_at: instant(row, "due_at")?,
        answered_at: opt_instant(row, "answered_at")?,
        reason: opt_text(row, "reason")?,
        version: number(row, "version")?,
    })
}
