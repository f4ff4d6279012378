//! Addresses that nothing is sent to (COR-34), and what is asked of a mail that came back.

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_parsed, opt_text, parsed, text};
use crate::model::digest::{MailState, SuppressionReason};
use crate::model::ids::{Brand, MailId, SuppressionId, UserId};
use crate::model::phi::Phi;

/// An address that nothing is sent to, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Its id.
    pub id: SuppressionId,
    /// The address, its domain in small letters.
    pub address: Phi<String>,
    /// Why.
    pub reason: SuppressionReason,
    /// The status code of RFC 3463, or the kind of complaint of RFC 5965.
    pub detail: Option<String>,
    /// The mail that it was about.
    pub mail_id: Option<MailId>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub lifted_at: Option<Timestamp>,
    /// Who lifted it.
    pub lifted_by: Option<String>,
    /// Counts its changes.
    pub version: i64,
}

/// A suppression to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewSuppression<'a> {
    /// The address, its domain in small letters (`mail_address` in `src/model/digest.rs`).
    pub address: &'a str,
    /// Why.
    pub reason: SuppressionReason,
    /// The status code of RFC 3463, or the kind of complaint of RFC 5965.
    pub detail: Option<&'a str>,
    /// The mail that it is about.
    pub mail_id: Option<&'a MailId>,
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, address, reason, detail, mail_id, created_at, lifted_at, lifted_by, version
             FROM mail_suppression ",
            $tail
        )
    };
}

/// Suppresses an address. Its id; none where it is suppressed already.
///
/// # Errors
/// When the database fails.
pub async fn insert(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    new: NewSuppression<'_>,
) -> Result<Option<SuppressionId>, DbError> {
    let id = stamp.ctx.new_id();
    let done = sqlx::query(
        "INSERT INTO mail_suppression (id, address, reason, detail, mail_id, created_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, 1) ON CONFLICT (address) WHERE lifted_at IS NULL DO NOTHING",
    )
    .bind(&id)
    .bind(new.address)
    .bind(new.reason.as_str())
    .bind(new.detail)
    .bind(new.mail_id.map(MailId::as_str))
    .bind(stamp.now())
    .execute(conn)
    .await?;
    if done.rows_affected() == 0 { Ok(None) } else { Ok(id.parse().ok()) }
}

/// What stands against an address, however it is written, the oldest first. Planning asks in the same way.
///
/// # Errors
/// When the database fails.
pub async fn against(conn: &mut Conn, address: &str) -> Result<Vec<Suppression>, DbError> {
    let statement = select!("WHERE LOWER(address) = LOWER($1) AND lifted_at IS NULL ORDER BY created_at, id");
    let rows = sqlx::query(statement).bind(address).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// When what stood against an address, however it is written, was last lifted.
///
/// # Errors
/// When the database fails.
pub async fn last_lifted(conn: &mut Conn, address: &str) -> Result<Option<Timestamp>, DbError> {
    let row = sqlx::query(
        "SELECT lifted_at FROM mail_suppression WHERE LOWER(address) = LOWER($1) AND lifted_at IS NOT NULL
         ORDER BY lifted_at DESC LIMIT 1",
    )
    .bind(address)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(|row| instant(row, "lifted_at")).transpose()
}

/// One of them.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &SuppressionId) -> Result<Option<Suppression>, DbError> {
    let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Those that stand, the newest first, behind the one with this instant and id.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut Conn,
    behind: Option<(Timestamp, &SuppressionId)>,
    limit: i64,
) -> Result<Vec<Suppression>, DbError> {
    let (at, id) = behind.map_or((i64::MAX, ""), |(at, id)| (at.as_microsecond(), id.as_str()));
    let rows = sqlx::query(select!(
        "WHERE lifted_at IS NULL AND (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3"
    ))
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Lifts one, at the version that it was read at.
///
/// # Errors
/// [`DbError::Stale`] when it changed meanwhile, or was lifted.
pub async fn lift(conn: &mut Conn, stamp: Stamp<'_>, id: &SuppressionId, version: i64) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE mail_suppression SET lifted_at = $3, lifted_by = $4, version = version + 1
         WHERE id = $1 AND version = $2 AND lifted_at IS NULL",
    )
    .bind(id.as_str())
    .bind(version)
    .bind(stamp.now())
    .bind(stamp.actor)
    .execute(conn)
    .await?;
    exactly_one(&done, "suppression")
}

fn read(row: &AnyRow) -> Result<Suppression, DbError> {
    Ok(Suppression {
        id: parsed(row, "id")?,
        address: Phi(text(row, "address")?),
        reason: parsed(row, "reason")?,
        detail: opt_text(row, "detail")?,
        mail_id: opt_parsed(row, "mail_id")?,
        created_at: instant(row, "created_at")?,
        lifted_at: opt_instant(row, "lifted_at")?,
        lifted_by: opt_text(row, "lifted_by")?,
        version: number(row, "version")?,
    })
}

/// A mail that came back, and whose it is.
#[derive(Debug, Clone)]
pub struct ReturnedMail {
    /// Where it stands.
    pub state: MailState,
    /// Its brand.
    pub brand: Brand,
    /// Whose it is.
    pub user_id: UserId,
    /// The user's address as it is now.
    pub address: Option<Phi<String>>,
    /// When it was handed over.
    pub submitted_at: Option<Timestamp>,
}

/// What is known of a mail.
///
/// # Errors
/// When the database fails.
pub async fn mail(conn: &mut Conn, id: &MailId) -> Result<Option<ReturnedMail>, DbError> {
    let row = sqlx::query(
        "SELECT m.state, m.brand, m.user_id, u.email, m.submitted_at
         FROM digest_mail m JOIN app_user u ON u.id = m.user_id WHERE m.id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(ReturnedMail {
        state: parsed(&row, "state")?,
        brand: parsed(&row, "brand")?,
        user_id: parsed(&row, "user_id")?,
        address: opt_text(&row, "email")?.map(Phi),
        submitted_at: opt_instant(&row, "submitted_at")?,
    }))
}

/// Writes down that a mail came back: one that was taken by a relay, or of which that was not known. False where it is
/// known already, or where it was never handed over.
///
/// # Errors
/// When the database fails.
pub async fn bounced(conn: &mut Conn, stamp: Stamp<'_>, id: &MailId, status: &str) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE digest_mail SET state = 'bounced', reason = $2, ended_at = COALESCE(ended_at, $3), version = version + 1
         WHERE id = $1 AND state IN ('accepted', 'in_doubt', 'closed')",
    )
    .bind(id.as_str())
    .bind(status)
    .bind(stamp.now())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many of the user's mails between these instants came back one after the other, counted from the latest down to the
/// last that did not, and at most so many.
///
/// # Errors
/// When the database fails.
pub async fn bounced_in_a_row(
    conn: &mut Conn,
    user: &UserId,
    (from, until): (Option<Timestamp>, Timestamp),
    most: i64,
) -> Result<i64, DbError> {
    let rows = sqlx::query(
        "SELECT state FROM digest_mail WHERE user_id = $1 AND submitted_at <= $2 AND submitted_at >= $3
         AND state IN ('accepted', 'bounced') ORDER BY submitted_at DESC, id DESC LIMIT $4",
    )
    .bind(user.as_str())
    .bind(until.as_microsecond())
    .bind(from.map_or(i64::MIN, Timestamp::as_microsecond))
    .bind(most)
    .fetch_all(conn)
    .await?;
    let mut count = 0;
    for row in &rows {
        if parsed::<MailState>(row, "state")? != MailState::Bounced {
            break;
        }
        count += 1;
    }
    Ok(count)
}
