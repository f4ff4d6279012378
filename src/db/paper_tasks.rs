//! What a person must see to before letters can go on paper, and the addresses that persons gave (COR-42).

use jiff::Timestamp;
use serde_json::json;
use sqlx::any::AnyRow;

use super::envelopes::{MailTo, read_addressee};
use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_parsed, opt_text, parsed, text};
use crate::db::events;
use crate::db::letters::Addressee;
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, LetterId, PaperTaskId, Sha256};
use crate::model::paper::{PaperTaskEnd, PaperTaskKind};
use crate::model::phi::Phi;

/// A task as it is stored.
#[derive(Debug, Clone)]
pub struct PaperTask {
    /// Its id.
    pub id: PaperTaskId,
    /// The brand of the letters.
    pub brand: Brand,
    /// What must be seen to.
    pub kind: PaperTaskKind,
    /// Whose letters, and the address.
    pub to: MailTo,
    /// The letter that no envelope takes; else the first that waits.
    pub letter_id: Option<LetterId>,
    /// Codes of what is wrong.
    pub reasons: Vec<String>,
    /// By when.
    pub due_at: Timestamp,
    /// Since when.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Who ended it.
    pub ended_by: Option<String>,
    /// How it ended.
    pub ending: Option<PaperTaskEnd>,
    /// Counts its changes.
    pub version: i64,
}

/// A task to be raised.
#[derive(Debug, Clone)]
pub struct NewPaperTask<'a> {
    /// The brand of the letters.
    pub brand: &'a Brand,
    /// What must be seen to.
    pub kind: PaperTaskKind,
    /// Whose letters, and the address.
    pub to: &'a MailTo,
    /// The letter that no envelope takes; else the first that waits.
    pub letter_id: Option<&'a LetterId>,
    /// Codes of what is wrong.
    pub reasons: &'a [&'a str],
    /// By when.
    pub due_at: Timestamp,
}

/// Raises a task, with its event. `false`: the same stands already.
///
/// # Errors
/// When the database fails.
pub async fn raise(conn: &mut Conn, stamp: Stamp<'_>, new: &NewPaperTask<'_>) -> Result<bool, DbError> {
    let id = stamp.ctx.new_id();
    let done = sqlx::query(
        "INSERT INTO paper_task (id, brand, kind, addressee, addressee_key, address_hash, address, letter_id, reasons,
                                 due_at, created_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1) ON CONFLICT DO NOTHING",
    )
    .bind(&id)
    .bind(new.brand.as_str())
    .bind(new.kind.as_str())
    .bind(new.to.addressee.kind().as_str())
    .bind(new.to.addressee.key())
    .bind(new.to.hash.as_str())
    .bind(new.to.address.reveal())
    .bind(new.letter_id.map(LetterId::as_str))
    .bind(new.reasons.join(" "))
    .bind(new.due_at.as_microsecond())
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let payload = json!({ "kind": new.kind, "reasons": new.reasons, "letter": new.letter_id });
    tell(conn, stamp, EventType::PaperTaskRaised, &id, new.brand, payload).await?;
    Ok(true)
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, brand, kind, addressee, addressee_key, address_hash, address, letter_id, reasons, due_at,
                    created_at, ended_at, ended_by, ending, version
             FROM paper_task ",
            $tail
        )
    };
}

/// The task of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &PaperTaskId) -> Result<Option<PaperTask>, DbError> {
    let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// The tasks that stand, nearest deadline first, behind `after` (deadline in microseconds, id).
///
/// # Errors
/// When the database fails.
pub async fn standing(
    conn: &mut Conn,
    after: Option<(i64, &PaperTaskId)>,
    limit: i64,
) -> Result<Vec<PaperTask>, DbError> {
    let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (at, id.as_str()));
    let rows = sqlx::query(select!("WHERE ended_at IS NULL AND (due_at, id) > ($1, $2) ORDER BY due_at, id LIMIT $3"))
        .bind(at)
        .bind(id)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// The task that stands about an address of an addressee.
///
/// # Errors
/// When the database fails.
pub async fn of_address(
    conn: &mut Conn,
    brand: &Brand,
    addressee: &Addressee,
    hash: &Sha256,
) -> Result<Option<PaperTask>, DbError> {
    let row = sqlx::query(select!(
        "WHERE brand = $1 AND addressee = $2 AND addressee_key = $3 AND address_hash = $4 AND kind = 'address'
         AND ended_at IS NULL"
    ))
    .bind(brand.as_str())
    .bind(addressee.kind().as_str())
    .bind(addressee.key())
    .bind(hash.as_str())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Ends a task, with its event.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since it was read, or has ended.
pub async fn end(conn: &mut Conn, stamp: Stamp<'_>, task: &PaperTask, how: PaperTaskEnd) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE paper_task SET ended_at = $1, ended_by = $2, ending = $3, version = version + 1
         WHERE id = $4 AND version = $5 AND ended_at IS NULL",
    )
    .bind(stamp.now())
    .bind(stamp.actor)
    .bind(how.as_str())
    .bind(task.id.as_str())
    .bind(task.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "task")?;
    let payload = json!({ "kind": task.kind, "ending": how });
    tell(conn, stamp, EventType::PaperTaskEnded, task.id.as_str(), &task.brand, payload).await
}

async fn tell(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    kind: EventType,
    id: &str,
    brand: &Brand,
    payload: serde_json::Value,
) -> Result<(), DbError> {
    let event = NewEvent { kind, subject: id, brand, tin_uid: None, actor: stamp.actor, payload };
    events::append(conn, stamp, event).await
}

/// Keeps the address that a person gave in place of another; a later one takes the place of an earlier one.
///
/// # Errors
/// When the database fails.
pub async fn correct(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    wrong: &MailTo,
    address: &Phi<String>,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO address_correction (brand, addressee, addressee_key, address_hash, address, created_by, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (brand, addressee, addressee_key, address_hash) DO UPDATE SET address = excluded.address,
            created_by = excluded.created_by, created_at = excluded.created_at",
    )
    .bind(brand.as_str())
    .bind(wrong.addressee.kind().as_str())
    .bind(wrong.addressee.key())
    .bind(wrong.hash.as_str())
    .bind(address.reveal())
    .bind(stamp.actor)
    .bind(stamp.now())
    .execute(conn)
    .await?;
    Ok(())
}

/// The address that a person gave in place of this one, as JSON.
///
/// # Errors
/// When the database fails.
pub async fn correction(
    conn: &mut Conn,
    brand: &Brand,
    addressee: &Addressee,
    hash: &Sha256,
) -> Result<Option<Phi<String>>, DbError> {
    let row = sqlx::query(
        "SELECT address FROM address_correction
         WHERE brand = $1 AND addressee = $2 AND addressee_key = $3 AND address_hash = $4",
    )
    .bind(brand.as_str())
    .bind(addressee.kind().as_str())
    .bind(addressee.key())
    .bind(hash.as_str())
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok(Phi(text(&row, "address")?))).transpose()
}

/// Forgets what took the place of an address.
///
/// # Errors
/// When the database fails.
pub async fn forget_correction(conn: &mut Conn, brand: &Brand, of: &MailTo) -> Result<(), DbError> {
    sqlx::query(
        "DELETE FROM address_correction
         WHERE brand = $1 AND addressee = $2 AND addressee_key = $3 AND address_hash = $4",
    )
    .bind(brand.as_str())
    .bind(of.addressee.kind().as_str())
    .bind(of.addressee.key())
    .bind(of.hash.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<PaperTask, DbError> {
    Ok(PaperTask {
        id: parsed(row, "id")?,
        brand: parsed(row, "brand")?,
        kind: parsed(row, "kind")?,
        to: MailTo {
            addressee: read_addressee(row)?,
            address: Phi(text(row, "address")?),
            hash: parsed(row, "address_hash")?,
        },
        letter_id: opt_parsed(row, "letter_id")?,
        reasons: text(row, "reasons")?.split_whitespace().map(str::to_owned).collect(),
        due_at: instant(row, "due_at")?,
        created_at: instant(row, "created_at")?,
        ended_at: opt_instant(row, "ended_at")?,
        ended_by: opt_text(row, "ended_by")?,
        ending: opt_parsed(row, "ending")?,
        version: number(row, "version")?,
    })
}
