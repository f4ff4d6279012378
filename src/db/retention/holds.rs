//! Legal holds (OPS-15). What a hold is of stands in its row only; events name the hold, and a practice by our own id.

use jiff::Timestamp;
use serde_json::json;
use sqlx::any::AnyRow;

use crate::db::{
    Conn, DbError, Stamp, events, exactly_one, instant, number, opt_instant, opt_parsed, opt_text, parsed, reference,
    set_installation, text,
};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, CaseId, LegalHoldId, MemberId, Tin};

/// Under this name lies a row that whoever puts a hold and whoever destroys a record holds until the end of their
/// transaction: one is before the other.
const GATE: &str = "retention.gate";

/// What a hold keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// What is on a case.
    Case(CaseId),
    /// What concerns a practice.
    Tin(Tin),
    /// What is about a member.
    Member(MemberId),
}

impl Kept {
    /// What is kept by the one of the three that is given. `None`: none of them is, or more than one.
    pub fn one_of(case: Option<CaseId>, tin: Option<Tin>, member: Option<MemberId>) -> Option<Self> {
        match (case, tin, member) {
            (Some(case), None, None) => Some(Self::Case(case)),
            (None, Some(tin), None) => Some(Self::Tin(tin)),
            (None, None, Some(member)) => Some(Self::Member(member)),
            _ => None,
        }
    }

    /// Case, TIN and member, one of which it has.
    pub const fn parts(&self) -> (Option<&CaseId>, Option<&Tin>, Option<&MemberId>) {
        match self {
            Self::Case(case) => (Some(case), None, None),
            Self::Tin(tin) => (None, Some(tin), None),
            Self::Member(member) => (None, None, Some(member)),
        }
    }

    /// What kind of thing, as events tell it.
    pub const fn of(&self) -> &'static str {
        match self {
            Self::Case(_) => "case",
            Self::Tin(_) => "tin",
            Self::Member(_) => "member",
        }
    }
}

/// A legal hold.
#[derive(Debug, Clone)]
pub struct LegalHold {
    /// Its id.
    pub id: LegalHoldId,
    /// The brand.
    pub brand: Brand,
    /// What it keeps.
    pub kept: Kept,
    /// Why, in a person's words.
    pub reason: String,
    /// Who put it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Who lifted it.
    pub lifted_by: Option<String>,
    /// When.
    pub lifted_at: Option<Timestamp>,
    /// Counts its changes.
    pub version: i64,
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! hold {
    ($tail:literal) => {
        concat!(
            "SELECT id, brand, case_id, tin, member_id, reason, created_by, created_at, lifted_by, lifted_at, version
             FROM retention_hold ",
            $tail
        )
    };
}

/// Waits until nobody else puts a hold or destroys a record, and keeps others waiting until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn pass_gate(conn: &mut Conn, who: &str) -> Result<(), DbError> {
    set_installation(conn, GATE, who).await
}

/// Puts a hold. `None`: the same stands already.
///
/// # Errors
/// When the database fails.
pub async fn put(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    kept: &Kept,
    reason: &str,
) -> Result<Option<LegalHold>, DbError> {
    let id: LegalHoldId = stamp.new_id()?;
    let (case, tin, member) = kept.parts();
    let done = sqlx::query(
        "INSERT INTO retention_hold (id, brand, case_id, tin, member_id, reason, created_by, created_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1) ON CONFLICT DO NOTHING",
    )
    .bind(id.as_str())
    .bind(brand.as_str())
    .bind(case.map(CaseId::as_str))
    .bind(tin.map(Tin::as_str))
    .bind(member.map(MemberId::as_str))
    .bind(reason)
    .bind(stamp.actor)
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    let made = get(conn, &id).await?.ok_or(DbError::Unreadable { column: "id" })?;
    tell(conn, stamp, &made, true).await?;
    Ok(Some(made))
}

/// Lifts a hold.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since it was read.
pub async fn lift(conn: &mut Conn, stamp: Stamp<'_>, hold: &LegalHold) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE retention_hold SET lifted_at = $1, lifted_by = $2, version = version + 1
         WHERE id = $3 AND version = $4 AND lifted_at IS NULL",
    )
    .bind(stamp.now())
    .bind(stamp.actor)
    .bind(hold.id.as_str())
    .bind(hold.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "hold")?;
    tell(conn, stamp, hold, false).await
}

/// The reason is a person's own words, and a member's id is nobody else's business: the event goes without both.
async fn tell(conn: &mut Conn, stamp: Stamp<'_>, hold: &LegalHold, stands: bool) -> Result<(), DbError> {
    let (case, tin, _) = hold.kept.parts();
    let tin_uid = match tin {
        Some(tin) => reference::tin_uid(conn, tin).await?,
        None => None,
    };
    let event = NewEvent {
        kind: EventType::RetentionHoldChanged,
        subject: hold.id.as_str(),
        brand: &hold.brand,
        tin_uid: tin_uid.as_deref(),
        actor: stamp.actor,
        payload: json!({ "stands": stands, "of": hold.kept.of(), "case": case }),
    };
    events::append(conn, stamp, event).await
}

/// The hold of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &LegalHoldId) -> Result<Option<LegalHold>, DbError> {
    let row = sqlx::query(hold!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Holds, newest first, behind `before` (creation in microseconds, id); without `lifted` those that stand only.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut Conn,
    lifted: bool,
    before: Option<(i64, &LegalHoldId)>,
    limit: i64,
) -> Result<Vec<LegalHold>, DbError> {
    let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (at, id.as_str()));
    let rows = sqlx::query(hold!(
        "WHERE (created_at, id) < ($1, $2) AND ($3 = 'all' OR lifted_at IS NULL)
         ORDER BY created_at DESC, id DESC LIMIT $4"
    ))
    .bind(at)
    .bind(id)
    .bind(if lifted { "all" } else { "standing" })
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// All holds that stand. They are few: a person puts each.
///
/// # Errors
/// When the database fails.
pub async fn standing(conn: &mut Conn) -> Result<Vec<LegalHold>, DbError> {
    let rows = sqlx::query(hold!("WHERE lifted_at IS NULL ORDER BY created_at, id")).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// Whether a member is known, by the reference data or by a case: a slip of the pen would hold nothing.
///
/// # Errors
/// When the database fails.
pub async fn knows_member(conn: &mut Conn, brand: &Brand, member: &MemberId) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM member WHERE brand = $1 AND member_id = $2)
              + (SELECT COUNT(*) FROM case_file WHERE brand = $1 AND member_id = $2) AS n",
    )
    .bind(brand.as_str())
    .bind(member.as_str())
    .fetch_one(conn)
    .await?;
    Ok(number(&row, "n")? > 0)
}

fn read(row: &AnyRow) -> Result<LegalHold, DbError> {
    let kept = Kept::one_of(opt_parsed(row, "case_id")?, opt_parsed(row, "tin")?, opt_parsed(row, "member_id")?);
    Ok(LegalHold {
        id: parsed(row, "id")?,
        brand: parsed(row, "brand")?,
        kept: kept.ok_or(DbError::Unreadable { column: "case_id" })?,
        reason: text(row, "reason")?,
        created_by: text(row, "created_by")?,
        created_at: instant(row, "created_at")?,
        lifted_by: opt_text(row, "lifted_by")?,
        lifted_at: opt_instant(row, "lifted_at")?,
        version: number(row, "version")?,
    })
}
