//! Users' own choices of how often they are told, per practice and category (COR-30). No row: what policy starts with. A
//! change leaves an event, which names the practice by our own id of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_number, opt_parsed, parsed, text, users};
use crate::db::digest_plans::category_of;
use crate::db::{events, reference};
use crate::model::access::Entitlement;
use crate::model::digest::{Cadence, ChoiceSource, LeftOut};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, MailId, Tin, UserId};
use crate::model::letter::LetterCategory;

/// The categories that there is a choice for: appeals follow claims.
pub const CATEGORIES: [LetterCategory; 2] = [LetterCategory::Claim, LetterCategory::Precertification];

/// A choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// How often.
    pub cadence: Cadence,
    /// What made it.
    pub source: ChoiceSource,
    /// When it was changed last.
    pub changed_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
}

/// What a user chose for a practice, and for what there can be a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfTin {
    /// The practice.
    pub tin: Tin,
    /// Our own id of it.
    pub uid: String,
    /// The categories of its letters that the user may read, each with the choice where there is one.
    pub choices: Vec<(LetterCategory, Option<Choice>)>,
}

fn read(row: &AnyRow) -> Result<Choice, DbError> {
    Ok(Choice {
        cadence: parsed(row, "cadence")?,
        source: parsed(row, "source")?,
        changed_at: instant(row, "changed_at")?,
        version: number(row, "version")?,
    })
}

/// A user's choice.
///
/// # Errors
/// When the database fails.
pub async fn get(
    conn: &mut Conn,
    user: &UserId,
    tin: &Tin,
    category: LetterCategory,
) -> Result<Option<Choice>, DbError> {
    let row = sqlx::query(
        "SELECT cadence, source, changed_at, version FROM digest_choice
         WHERE user_id = $1 AND tin = $2 AND category = $3",
    )
    .bind(user.as_str())
    .bind(tin.as_str())
    .bind(category.as_str())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The practices whose letters a user may read, in the order of our own ids of them, behind `after`.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut Conn, user: &UserId, after: &str, limit: i64) -> Result<Vec<OfTin>, DbError> {
    let rows = sqlx::query(
        "SELECT p.uid, t.tin, t.entitlements,
                a.cadence AS claim, a.source AS claim_source, a.changed_at AS claim_at, a.version AS claim_version,
                b.cadence AS precert, b.source AS precert_source, b.changed_at AS precert_at, b.version AS precert_version
         FROM user_tin t JOIN tin p ON p.tin = t.tin
         LEFT JOIN digest_choice a ON a.user_id = t.user_id AND a.tin = t.tin AND a.category = 'claim'
         LEFT JOIN digest_choice b ON b.user_id = t.user_id AND b.tin = t.tin AND b.category = 'precertification'
         WHERE t.user_id = $1 AND p.uid > $2
         AND (' ' || t.entitlements || ' ' LIKE $3 ESCAPE '!' OR ' ' || t.entitlements || ' ' LIKE $4 ESCAPE '!')
         ORDER BY p.uid LIMIT $5",
    )
    .bind(user.as_str())
    .bind(after)
    .bind(users::entitled(LetterCategory::Claim.entitlement()))
    .bind(users::entitled(LetterCategory::Precertification.entitlement()))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_tin).collect()
}

fn read_tin(row: &AnyRow) -> Result<OfTin, DbError> {
    let held: BTreeSet<Entitlement> = super::code_set(row, "entitlements")?;
    let columns = [
        (LetterCategory::Claim, ["claim", "claim_source", "claim_at", "claim_version"]),
        (LetterCategory::Precertification, ["precert", "precert_source", "precert_at", "precert_version"]),
    ];
    let mut choices = Vec::new();
    for (category, [cadence, source, at, version]) in columns {
        if !held.contains(&category.entitlement()) {
            continue;
        }
        let choice = match opt_parsed(row, cadence)? {
            None => None,
            Some(cadence) => Some(Choice {
                cadence,
                source: parsed(row, source)?,
                changed_at: instant(row, at)?,
                version: opt_number(row, version)?.unwrap_or_default(),
            }),
        };
        choices.push((category, choice));
    }
    Ok(OfTin { tin: parsed(row, "tin")?, uid: text(row, "uid")?, choices })
}

/// Leaves out what waits for a user who had chosen off, for one practice or all, and is about to choose otherwise: turning
/// on does not bring what is past. `starts_with`: what holds where nothing was chosen.
async fn set_aside(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    (user, tin, category): (&UserId, Option<&Tin>, LetterCategory),
    starts_with: Cadence,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE notification SET state = 'left_out', reason = $1, decided_at = $2
         WHERE user_id = $3 AND state = 'waiting' AND ($4 = '' OR tin = $4)
         AND CASE WHEN category = 'precertification' THEN category ELSE 'claim' END = $5
         AND COALESCE((SELECT c.cadence FROM digest_choice c WHERE c.user_id = notification.user_id
                       AND c.tin = notification.tin AND c.category = $5), $6) = 'off'",
    )
    .bind(LeftOut::WasOff.as_str())
    .bind(stamp.now())
    .bind(user.as_str())
    .bind(tin.map_or("", Tin::as_str))
    .bind(category.as_str())
    .bind(starts_with.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a user's choice over that of `version`; `None`: there is none yet, and `starts_with` held. Answers the new version.
///
/// # Errors
/// [`DbError::Stale`] when it has changed since.
pub async fn put(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    (user, tin, category): (&UserId, &Tin, LetterCategory),
    (cadence, source): (Cadence, ChoiceSource),
    (version, starts_with): (Option<i64>, Cadence),
) -> Result<i64, DbError> {
    if cadence != Cadence::Off {
        set_aside(conn, stamp, (user, Some(tin), category), starts_with).await?;
    }
    let statement = match version {
        None => {
            "INSERT INTO digest_choice (user_id, tin, category, cadence, source, changed_at, version)
             VALUES ($1, $2, $3, $4, $5, $6, $7 + 1) ON CONFLICT (user_id, tin, category) DO NOTHING"
        }
        Some(_) => {
            "UPDATE digest_choice SET cadence = $4, source = $5, changed_at = $6, version = version + 1
             WHERE user_id = $1 AND tin = $2 AND category = $3 AND version = $7"
        }
    };
    let done = sqlx::query(statement)
        .bind(user.as_str())
        .bind(tin.as_str())
        .bind(category.as_str())
        .bind(cadence.as_str())
        .bind(source.as_str())
        .bind(stamp.now())
        .bind(version.unwrap_or(0))
        .execute(&mut *conn)
        .await?;
    exactly_one(&done, "choice")?;
    let uid = reference::tin_uid(conn, tin).await?;
    tell(conn, stamp, brand, (user, uid.as_deref()), (category, cadence, source), 1).await?;
    Ok(version.unwrap_or(0) + 1)
}

/// Writes a user's choice for all practices whose letters of that category the user may read. Answers how many changed.
///
/// # Errors
/// When the database fails.
pub async fn put_all(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    (user, category): (&UserId, LetterCategory),
    cadence: Cadence,
    starts_with: Cadence,
) -> Result<u64, DbError> {
    if cadence != Cadence::Off {
        set_aside(conn, stamp, (user, None, category), starts_with).await?;
    }
    let done = sqlx::query(
        "INSERT INTO digest_choice (user_id, tin, category, cadence, source, changed_at, version)
         SELECT t.user_id, t.tin, $2, $3, $4, $5, 1 FROM user_tin t
         WHERE t.user_id = $1 AND ' ' || t.entitlements || ' ' LIKE $6 ESCAPE '!'
         ON CONFLICT (user_id, tin, category) DO UPDATE SET cadence = excluded.cadence, source = excluded.source,
            changed_at = excluded.changed_at, version = digest_choice.version + 1
         WHERE digest_choice.cadence <> excluded.cadence OR digest_choice.source <> excluded.source",
    )
    .bind(user.as_str())
    .bind(category.as_str())
    .bind(cadence.as_str())
    .bind(ChoiceSource::User.as_str())
    .bind(stamp.now())
    .bind(users::entitled(category.entitlement()))
    .execute(&mut *conn)
    .await?;
    let changed = done.rows_affected();
    if changed > 0 {
        tell(conn, stamp, brand, (user, None), (category, cadence, ChoiceSource::User), changed).await?;
    }
    Ok(changed)
}

/// Writes a choice that a user had made elsewhere. One that the user made here stays: false.
///
/// # Errors
/// When the database fails.
pub async fn load(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    (user, tin, category): (&UserId, &Tin, LetterCategory),
    cadence: Cadence,
) -> Result<bool, DbError> {
    let known = get(conn, user, tin, category).await?;
    match &known {
        Some(choice) if choice.source != ChoiceSource::Load => return Ok(false),
        Some(choice) if choice.cadence == cadence => return Ok(true),
        _ => {}
    }
    let version = known.map(|choice| choice.version);
    // what holds where nothing was chosen, a load does not know: it counts as what the user had elsewhere
    put(conn, stamp, brand, (user, tin, category), (cadence, ChoiceSource::Load), (version, cadence)).await?;
    Ok(true)
}

/// What one-click unsubscribe does (COR-34): turns off what a mail told of, its practices and the category of its kind, for
/// its user. `None`: there is no such mail. Answers how many choices changed; done again it changes nothing.
///
/// # Errors
/// When the database fails.
pub async fn off_for_mail(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    mail: &MailId,
) -> Result<Option<u64>, DbError> {
    let row = sqlx::query("SELECT user_id, kind FROM digest_mail WHERE id = $1")
        .bind(mail.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (user, category): (UserId, _) = (parsed(&row, "user_id")?, category_of(parsed(&row, "kind")?));
    // what was taken out before it was sent, it did not tell of
    let done = sqlx::query(
        "INSERT INTO digest_choice (user_id, tin, category, cadence, source, changed_at, version)
         SELECT $1, i.tin, $2, 'off', $3, $4, 1 FROM digest_item i
         WHERE i.mail_id = $5 AND COALESCE(i.sent_letters, i.letters) > 0
         ON CONFLICT (user_id, tin, category) DO UPDATE SET cadence = excluded.cadence, source = excluded.source,
            changed_at = excluded.changed_at, version = digest_choice.version + 1
         WHERE digest_choice.cadence <> excluded.cadence",
    )
    .bind(user.as_str())
    .bind(category.as_str())
    .bind(ChoiceSource::Unsubscribe.as_str())
    .bind(stamp.now())
    .bind(mail.as_str())
    .execute(&mut *conn)
    .await?;
    let changed = done.rows_affected();
    if changed > 0 {
        tell(conn, stamp, brand, (&user, None), (category, Cadence::Off, ChoiceSource::Unsubscribe), changed).await?;
    }
    Ok(Some(changed))
}

/// One event for each change, or for all that one act changed.
async fn tell(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    (user, tin_uid): (&UserId, Option<&str>),
    (category, cadence, source): (LetterCategory, Cadence, ChoiceSource),
    practices: u64,
) -> Result<(), DbError> {
    let event = NewEvent {
        kind: EventType::DigestChoiceChanged,
        subject: user.as_str(),
        brand,
        tin_uid,
        actor: stamp.actor,
        payload: json!({ "category": category, "cadence": cadence, "source": source, "practices": practices }),
    };
    events::append(conn, stamp, event).await
}
