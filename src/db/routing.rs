//! What routing decides by: practices' registration, readers and choice of paper, members' plans, and holds on letters
//! (COR-10..16).

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_parsed, opt_text, parsed, text};
use crate::db::letters::{Addressee, Letter};
use crate::db::{case_files, events, reference, users};
use crate::model::access::Entitlement;
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, HoldId, LetterId, MemberId, Tin};
use crate::model::letter::{DeliveryChannel, LetterCategory, LetterType, StopReason};
use crate::model::route::RouteReason;

/// A practice, as far as routing goes.
#[derive(Debug, Clone)]
pub struct Practice {
    /// Our own id of it, by which events speak of it.
    pub uid: String,
    /// The day it registered for digital correspondence.
    pub registered_on: Option<Date>,
    /// Whether a fax number of it is known.
    pub has_fax: bool,
}

/// The practice of that TIN.
///
/// # Errors
/// When the database fails.
pub async fn practice(conn: &mut Conn, tin: &Tin) -> Result<Option<Practice>, DbError> {
    let row = sqlx::query("SELECT uid, fax, registered_on FROM tin WHERE tin = $1")
        .bind(tin.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| {
        Ok(Practice {
            uid: text(&row, "uid")?,
            registered_on: opt_parsed(&row, "registered_on")?,
            has_fax: opt_text(&row, "fax")?.is_some_and(|fax| !fax.is_empty()),
        })
    })
    .transpose()
}

/// Whether a user who may come in holds the entitlement for the TIN. The payer's own people have no rights of a
/// practice.
///
/// # Errors
/// When the database fails.
pub async fn has_reader(conn: &mut Conn, tin: &Tin, entitlement: Entitlement) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM user_tin t JOIN app_user u ON u.id = t.user_id
         WHERE t.tin = $1 AND ' ' || t.entitlements || ' ' LIKE $2 ESCAPE '!' AND u.disabled_at IS NULL AND u.roles = ''",
    )
    .bind(tin.as_str())
    .bind(users::entitled(entitlement))
    .fetch_one(conn)
    .await?;
    Ok(number(&row, "n")? > 0)
}

/// The code of the plan of the member that a letter is about, where both are known: the letter's own, or that of its
/// claim or case.
///
/// # Errors
/// When the database fails.
pub async fn plan_of(conn: &mut Conn, letter: &Letter) -> Result<Option<String>, DbError> {
    let mut member: Option<MemberId> = letter.member_id.clone();
    if let (None, Some(number)) = (&member, &letter.claim_number) {
        member = case_files::claim(conn, &letter.brand, number).await?.map(|claim| claim.member_id);
    }
    if let (None, Some(case)) = (&member, &letter.case_id) {
        member = case_files::get(conn, case).await?.map(|case| case.member_id);
    }
    let Some(member) = member else { return Ok(None) };
    let row = sqlx::query("SELECT plan FROM member WHERE brand = $1 AND member_id = $2")
        .bind(letter.brand.as_str())
        .bind(member.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| opt_text(&row, "plan")).transpose().map(Option::flatten)
}

/// An access manager's choice of paper for a category (COR-11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paper {
    /// The category.
    pub category: LetterCategory,
    /// Since when it is on; `None`: it is off.
    pub since: Option<Timestamp>,
    /// Who changed it last.
    pub changed_by: String,
    /// When.
    pub changed_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
}

/// The choices for a TIN; a category that was never changed has none.
///
/// # Errors
/// When the database fails.
pub async fn papers(conn: &mut Conn, tin: &Tin) -> Result<Vec<Paper>, DbError> {
    let rows = sqlx::query(
        "SELECT category, since, changed_by, changed_at, version FROM tin_paper WHERE tin = $1 ORDER BY category",
    )
    .bind(tin.as_str())
    .fetch_all(conn)
    .await?;
    let read = |row: &AnyRow| {
        Ok(Paper {
            category: parsed(row, "category")?,
            since: opt_instant(row, "since")?,
            changed_by: text(row, "changed_by")?,
            changed_at: instant(row, "changed_at")?,
            version: number(row, "version")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Turns paper on or off, over the choice of `version`; `None`: there is none yet.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since.
pub async fn put_paper(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    tin: &Tin,
    category: LetterCategory,
    on: bool,
    version: Option<i64>,
) -> Result<(), DbError> {
    let statement = match version {
        None => {
            "INSERT INTO tin_paper (tin, category, since, changed_by, changed_at, version)
             VALUES ($1, $2, $3, $4, $5, $6 + 1) ON CONFLICT (tin, category) DO NOTHING"
        }
        Some(_) => {
            "UPDATE tin_paper SET since = $3, changed_by = $4, changed_at = $5, version = version + 1
             WHERE tin = $1 AND category = $2 AND version = $6"
        }
    };
    let done = sqlx::query(statement)
        .bind(tin.as_str())
        .bind(category.as_str())
        .bind(on.then(|| stamp.now()))
        .bind(stamp.actor)
        .bind(stamp.now())
        .bind(version.unwrap_or(0))
        .execute(conn)
        .await?;
    exactly_one(&done, "paper setting")
}

/// The ways of letters, and for which reasons each.
pub type Ways = Vec<(DeliveryChannel, Vec<RouteReason>)>;

/// The letters to a practice that were asked for since then and are routed, by category and ways, with how many there
/// are of each.
///
/// # Errors
/// When the database fails.
pub async fn ways_since(
    conn: &mut Conn,
    tin: &Tin,
    since: Timestamp,
) -> Result<Vec<(LetterCategory, Ways, i64)>, DbError> {
    let rows = sqlx::query(
        "SELECT l.category, i.reasons AS inbox, p.reasons AS paper, f.reasons AS fax, COUNT(*) AS n FROM letter l
         LEFT JOIN delivery i ON i.letter_id = l.id AND i.channel = 'inbox'
         LEFT JOIN delivery p ON p.letter_id = l.id AND p.channel = 'paper'
         LEFT JOIN delivery f ON f.letter_id = l.id AND f.channel = 'fax'
         WHERE l.tin = $1 AND l.created_at >= $2 AND l.addressee = 'tin' AND l.state = 'routed'
         GROUP BY l.category, i.reasons, p.reasons, f.reasons",
    )
    .bind(tin.as_str())
    .bind(since.as_microsecond())
    .fetch_all(conn)
    .await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut ways = Ways::new();
        for (channel, column) in
            [(DeliveryChannel::Inbox, "inbox"), (DeliveryChannel::Paper, "paper"), (DeliveryChannel::Fax, "fax")]
        {
            if let Some(codes) = opt_text(row, column)? {
                // a reason that only a newer version knows counts for no less than those that this one does
                ways.push((channel, codes.split_whitespace().filter_map(|code| code.parse().ok()).collect()));
            }
        }
        all.push((parsed(row, "category")?, ways, number(row, "n")?));
    }
    Ok(all)
}

/// What a hold holds back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Letters of a type.
    Type(LetterType),
    /// Letters to a practice.
    Tin(Tin),
}

impl Held {
    /// Why a letter is stopped that it holds back.
    pub const fn reason(&self) -> StopReason {
        match self {
            Self::Type(_) => StopReason::HeldType,
            Self::Tin(_) => StopReason::HeldTin,
        }
    }

    /// What is held back by the one of the two that is given. `None`: neither is, or both.
    pub fn one_of(letter_type: Option<LetterType>, tin: Option<Tin>) -> Option<Self> {
        match (letter_type, tin) {
            (Some(letter_type), None) => Some(Self::Type(letter_type)),
            (None, Some(tin)) => Some(Self::Tin(tin)),
            _ => None,
        }
    }

    /// Type and TIN, one of which it has.
    pub const fn parts(&self) -> (Option<LetterType>, Option<&Tin>) {
        match self {
            Self::Type(letter_type) => (Some(*letter_type), None),
            Self::Tin(tin) => (None, Some(tin)),
        }
    }
}

/// A hold on letters of a brand (COR-16).
#[derive(Debug, Clone)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// The brand.
    pub brand: Brand,
    /// What it holds back.
    pub held: Held,
    /// Why, in a person's words.
    pub reason: String,
    /// Who put it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was lifted.
    pub lifted_at: Option<Timestamp>,
    /// Counts its changes.
    pub version: i64,
}

/// Puts a hold. `None`: the same stands already.
///
/// # Errors
/// When the database fails.
pub async fn put_hold(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    held: &Held,
    reason: &str,
) -> Result<Option<Hold>, DbError> {
    let id: HoldId = stamp.new_id()?;
    let (letter_type, tin) = held.parts();
    let done = sqlx::query(
        "INSERT INTO letter_hold (id, brand, type, tin, reason, created_by, created_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1) ON CONFLICT DO NOTHING",
    )
    .bind(id.as_str())
    .bind(brand.as_str())
    .bind(letter_type.map(LetterType::as_str))
    .bind(tin.map(Tin::as_str))
    .bind(reason)
    .bind(stamp.actor)
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    let made = hold(conn, &id).await?.ok_or(DbError::Unreadable { column: "id" })?;
    tell_hold(conn, stamp, &made, true).await?;
    Ok(Some(made))
}

/// Lifts a hold.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since it was read.
pub async fn lift_hold(conn: &mut Conn, stamp: Stamp<'_>, hold: &Hold) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE letter_hold SET lifted_at = $1, version = version + 1 WHERE id = $2 AND version = $3 AND lifted_at IS NULL",
    )
    .bind(stamp.now())
    .bind(hold.id.as_str())
    .bind(hold.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "hold")?;
    tell_hold(conn, stamp, hold, false).await
}

/// The reason is a person's own words, so the event goes without it.
async fn tell_hold(conn: &mut Conn, stamp: Stamp<'_>, hold: &Hold, stands: bool) -> Result<(), DbError> {
    let (letter_type, tin) = hold.held.parts();
    let tin_uid = match tin {
        Some(tin) => reference::tin_uid(conn, tin).await?,
        None => None,
    };
    let event = NewEvent {
        kind: EventType::LetterHoldChanged,
        subject: hold.id.as_str(),
        brand: &hold.brand,
        tin_uid: tin_uid.as_deref(),
        actor: stamp.actor,
        payload: json!({ "stands": stands, "type": letter_type }),
    };
    events::append(conn, stamp, event).await
}

/// A statement's text: the columns that [`read_hold`] reads, and the caller's tail.
macro_rules! hold {
    ($tail:literal) => {
        concat!(
            "SELECT id, brand, type, tin, reason, created_by, created_at, lifted_at, version FROM letter_hold ",
            $tail
        )
    };
}

/// The hold of that id.
///
/// # Errors
/// When the database fails.
pub async fn hold(conn: &mut Conn, id: &HoldId) -> Result<Option<Hold>, DbError> {
    let row = sqlx::query(hold!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read_hold).transpose()
}

/// Holds, newest first, behind `before` (creation in microseconds, id); without `lifted` those that stand only.
///
/// # Errors
/// When the database fails.
pub async fn holds(
    conn: &mut Conn,
    lifted: bool,
    before: Option<(i64, &HoldId)>,
    limit: i64,
) -> Result<Vec<Hold>, DbError> {
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
    rows.iter().map(read_hold).collect()
}

/// The hold that holds a letter back, if one does. That of its type comes first. A practice's holds back the letters
/// to it; those to members have deadlines of their own.
///
/// # Errors
/// When the database fails.
pub async fn standing(conn: &mut Conn, letter: &Letter) -> Result<Option<Hold>, DbError> {
    let tin = match &letter.addressee {
        Addressee::Tin(tin) => Some(tin.as_str()),
        Addressee::Member(_) => None,
    };
    let row = sqlx::query(hold!(
        "WHERE brand = $1 AND lifted_at IS NULL AND (type = $2 OR tin = $3)
         ORDER BY CASE WHEN type IS NULL THEN 1 ELSE 0 END LIMIT 1"
    ))
    .bind(letter.brand.as_str())
    .bind(letter.letter_type.as_str())
    .bind(tin)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read_hold).transpose()
}

/// Letters that a hold stopped, that are stopped still and that no hold holds back, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn stopped_by(conn: &mut Conn, hold: &Hold, limit: i64) -> Result<Vec<LetterId>, DbError> {
    let (letter_type, tin) = hold.held.parts();
    let rows = sqlx::query(
        "SELECT id FROM letter WHERE state = 'stopped' AND brand = $1 AND reason_code = $2 AND (type = $3 OR tin = $4)
         AND superseded_by IS NULL AND NOT EXISTS (
             SELECT 1 FROM letter_hold h WHERE h.brand = letter.brand AND h.lifted_at IS NULL
             AND (h.type = letter.type OR (letter.addressee = 'tin' AND h.tin = letter.tin)))
         ORDER BY created_at, id LIMIT $5",
    )
    .bind(hold.brand.as_str())
    .bind(hold.held.reason().as_str())
    .bind(letter_type.map(LetterType::as_str))
    .bind(tin.map(Tin::as_str))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}

/// How many letters a hold stopped that are stopped still.
///
/// # Errors
/// When the database fails.
pub async fn count_stopped_by(conn: &mut Conn, hold: &Hold) -> Result<i64, DbError> {
    let (letter_type, tin) = hold.held.parts();
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM letter WHERE state = 'stopped' AND brand = $1 AND reason_code = $2
         AND (type = $3 OR tin = $4) AND superseded_by IS NULL",
    )
    .bind(hold.brand.as_str())
    .bind(hold.held.reason().as_str())
    .bind(letter_type.map(LetterType::as_str))
    .bind(tin.map(Tin::as_str))
    .fetch_one(conn)
    .await?;
    number(&row, "n")
}

fn read_hold(row: &AnyRow) -> Result<Hold, DbError> {
    let held = Held::one_of(opt_parsed(row, "type")?, opt_parsed(row, "tin")?);
    Ok(Hold {
        id: parsed(row, "id")?,
        brand: parsed(row, "brand")?,
        held: held.ok_or(DbError::Unreadable { column: "type" })?,
        reason: text(row, "reason")?,
        created_by: text(row, "created_by")?,
        created_at: instant(row, "created_at")?,
        lifted_at: opt_instant(row, "lifted_at")?,
        version: number(row, "version")?,
    })
}
