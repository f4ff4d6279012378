//! Letter rows and their transitions (COR-01, COR-02, COR-16).

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use sqlx::any::AnyRow;

use super::{
    Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_number, opt_parsed, opt_text, parsed, text,
};
use crate::db::{events, ledger, reference, work};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, CaseId, ClaimNumber, LetterId, LetterNumber, MemberId, Sha256, Tin};
use crate::model::letter::{Circumstances, LetterCategory, LetterState, LetterType};
use crate::model::people::Codes;
use crate::model::phi::Phi;

pub use crate::model::letter::AddresseeKind;

/// A letter's addressee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressee {
    /// A practice.
    Tin(Tin),
    /// A member.
    Member(MemberId),
}

impl Addressee {
    /// Which of the two.
    pub const fn kind(&self) -> AddresseeKind {
        match self {
            Self::Tin(_) => AddresseeKind::Tin,
            Self::Member(_) => AddresseeKind::Member,
        }
    }
}

/// A letter that is asked for.
#[derive(Debug, Clone)]
pub struct NewLetter<'a> {
    /// The id it is to have.
    pub id: &'a LetterId,
    /// Its brand.
    pub brand: &'a Brand,
    /// What it says.
    pub letter_type: LetterType,
    /// Who asks.
    pub asker: &'a str,
    /// The event of theirs that it is asked for by: asked for again it is the same letter.
    pub event_id: &'a str,
    /// Whom it is for.
    pub addressee: Addressee,
    /// The practice it concerns; that of the addressee where it is one.
    pub tin: Option<&'a Tin>,
    /// The member it is about.
    pub member_id: Option<&'a MemberId>,
    /// The claim it is about.
    pub claim_number: Option<&'a ClaimNumber>,
    /// The case it is about.
    pub case_id: Option<&'a CaseId>,
    /// What was said for it, as JSON.
    pub details: &'a Phi<String>,
    /// What was said for its routing.
    pub circumstances: &'a Circumstances,
    /// The letter it takes the place of.
    pub supersedes: Option<&'a LetterId>,
}

/// A letter as it is stored.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its id.
    pub id: LetterId,
    /// The number on it.
    pub number: LetterNumber,
    /// Its brand.
    pub brand: Brand,
    /// What it says.
    pub letter_type: LetterType,
    /// Of which category.
    pub category: LetterCategory,
    /// Where it stands.
    pub state: LetterState,
    /// Who asked for it.
    pub asker: String,
    /// By which event of theirs.
    pub event_id: String,
    /// Whom it is for.
    pub addressee: Addressee,
    /// The practice it concerns.
    pub tin: Option<Tin>,
    /// The member it is about.
    pub member_id: Option<MemberId>,
    /// The claim it is about.
    pub claim_number: Option<ClaimNumber>,
    /// The case it is about.
    pub case_id: Option<CaseId>,
    /// What was said for it, as JSON.
    pub details: Phi<String>,
    /// What was said for its routing.
    pub circumstances: Circumstances,
    /// What it is rendered from, as JSON, once composed.
    pub data: Option<Phi<String>>,
    /// The date on it.
    pub letter_date: Option<Date>,
    /// How it was made, once rendered.
    pub made: Option<Made>,
    /// Why it was refused or stopped: a code, and a sentence without values.
    pub reason: Option<(String, String)>,
    /// By when an operator must have acted on a refused one.
    pub due_at: Option<Timestamp>,
    /// The letter it takes the place of.
    pub supersedes: Option<LetterId>,
    /// The letter that took its place.
    pub superseded_by: Option<LetterId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// When retention destroyed what it said: it has no PDF any more (OPS-15).
    pub destroyed_at: Option<Timestamp>,
    /// Counts its changes.
    pub version: i64,
}

/// A PDF, and how it was made: with the data, enough to make it again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Made {
    /// Hash of the PDF.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its pages.
    pub pages: u32,
    /// The version of the template.
    pub template_version: String,
    /// The version of the brand's looks.
    pub brand_version: String,
    /// The version of the engine.
    pub engine_version: String,
}

/// Asks for a letter and puts it to work. `None` when the same event has asked for one before: it is then found by
/// [`by_event`].
///
/// # Errors
/// When the database fails; [`DbError::Stale`] when another letter has its number: ask again.
pub async fn ask(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    new: &NewLetter<'_>,
    first_stage: &str,
) -> Result<Option<Letter>, DbError> {
    let (kind, member) = match &new.addressee {
        Addressee::Tin(_) => (AddresseeKind::Tin, new.member_id),
        Addressee::Member(member) => (AddresseeKind::Member, Some(member)),
    };
    let tin = match &new.addressee {
        Addressee::Tin(tin) => Some(tin),
        Addressee::Member(_) => new.tin,
    };
    let made = sqlx::query(
        "INSERT INTO letter (id, number, brand, type, category, state, asker, event_id, addressee, tin, member_id,
                             claim_number, case_id, details, circumstances, supersedes, created_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 0) ON CONFLICT DO NOTHING",
    )
    .bind(new.id.as_str())
    .bind(LetterNumber::from_random(stamp.ctx.random_bits()).as_str())
    .bind(new.brand.as_str())
    .bind(new.letter_type.as_str())
    .bind(new.letter_type.category().as_str())
    .bind(LetterState::Asked.as_str())
    .bind(new.asker)
    .bind(new.event_id)
    .bind(kind.as_str())
    .bind(tin.map(Tin::as_str))
    .bind(member.map(MemberId::as_str))
    .bind(new.claim_number.map(ClaimNumber::as_str))
    .bind(new.case_id.map(CaseId::as_str))
    .bind(new.details.reveal())
    .bind(Codes(new.circumstances.clone()).to_string())
    .bind(new.supersedes.map(LetterId::as_str))
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if made.rows_affected() == 0 {
        let asked = by_event(conn, new.asker, new.event_id, new.letter_type).await?;
        return asked.map(|_| None).ok_or(DbError::Stale { what: "letter number" });
    }
    let Some(letter) = get(conn, new.id).await? else { return Err(DbError::Unreadable { column: "id" }) };
    ledger::receipt(conn, stamp, ledger::Kind::Letter, new.id.as_str(), new.brand).await?;
    ledger::post(conn, stamp, ledger::Kind::Letter, new.id.as_str(), None, LetterState::Asked.as_str()).await?;
    tell(conn, stamp, &letter, LetterState::Asked, None).await?;
    work::put(conn, stamp, new.id.as_str(), first_stage).await?;
    Ok(Some(letter))
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, number, brand, type, category, state, asker, event_id, addressee, tin, member_id, claim_number,
                    case_id, details, circumstances, data, letter_date, template_version, brand_version, engine_version,
                    sha256, size_bytes,
                    pages, reason_code, reason, due_at, supersedes, superseded_by, created_at, ended_at, destroyed_at, version
             FROM letter ",
            $tail
        )
    };
}

/// The letter of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &LetterId) -> Result<Option<Letter>, DbError> {
    let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// The letter that an event has asked for.
///
/// # Errors
/// When the database fails.
pub async fn by_event(
    conn: &mut Conn,
    asker: &str,
    event_id: &str,
    letter_type: LetterType,
) -> Result<Option<Letter>, DbError> {
    let row = sqlx::query(select!("WHERE asker = $1 AND event_id = $2 AND type = $3"))
        .bind(asker)
        .bind(event_id)
        .bind(letter_type.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Which letters a list has.
#[derive(Debug, Clone, Copy)]
pub enum Filter<'a> {
    /// All there are.
    All,
    /// Those about a case.
    Case(&'a CaseId),
}

/// Letters, newest first, behind `before` (creation in microseconds, id).
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut Conn,
    filter: Filter<'_>,
    before: Option<(i64, &LetterId)>,
    limit: i64,
) -> Result<Vec<Letter>, DbError> {
    let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (at, id.as_str()));
    let query = match filter {
        Filter::All => {
            sqlx::query(select!("WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3"))
        }
        Filter::Case(_) => sqlx::query(select!(
            "WHERE case_id = $4 AND (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3"
        )),
    };
    let query = query.bind(at).bind(id).bind(limit);
    let query = match filter {
        Filter::All => query,
        Filter::Case(case) => query.bind(case.as_str()),
    };
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// Refused letters, nearest deadline first, behind `after` (deadline in microseconds, id).
///
/// # Errors
/// When the database fails.
pub async fn refused(conn: &mut Conn, after: Option<(i64, &LetterId)>, limit: i64) -> Result<Vec<Letter>, DbError> {
    let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (at, id.as_str()));
    let rows = sqlx::query(select!("WHERE state = 'refused' AND (due_at, id) > ($1, $2) ORDER BY due_at, id LIMIT $3"))
        .bind(at)
        .bind(id)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// What changes with a state.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What it is rendered from, and the date on it.
    pub composed: Option<(Phi<String>, Date)>,
    /// Its PDF.
    pub made: Option<Made>,
    /// Other details, said by an operator for a refused one.
    pub details: Option<Phi<String>>,
    /// Why: a code, and a sentence without values.
    pub reason: Option<(&'static str, String)>,
    /// By when an operator must have acted.
    pub due_at: Option<Timestamp>,
}

/// Brings a letter into a state, with posting and event.
///
/// # Errors
/// [`DbError::Stale`] when the row has changed since it was read.
pub async fn transition(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    letter: &Letter,
    to: LetterState,
    change: Change,
) -> Result<(), DbError> {
    let made = change.made.as_ref();
    let done = sqlx::query(
        "UPDATE letter SET state = $1, data = COALESCE($2, data), letter_date = COALESCE($3, letter_date),
            sha256 = COALESCE($4, sha256), size_bytes = COALESCE($5, size_bytes), pages = COALESCE($6, pages),
            template_version = COALESCE($7, template_version), brand_version = COALESCE($8, brand_version),
            engine_version = COALESCE($9, engine_version), details = COALESCE($10, details), reason_code = $11,
            reason = $12, due_at = $13, warned_at = NULL, ended_at = $14, version = version + 1
         WHERE id = $15 AND version = $16",
    )
    .bind(to.as_str())
    .bind(change.composed.as_ref().map(|(data, _)| data.reveal().clone()))
    .bind(change.composed.as_ref().map(|(_, date)| date.to_string()))
    .bind(made.map(|m| m.sha256.as_str()))
    .bind(made.map(|m| i64::try_from(m.size_bytes).unwrap_or(i64::MAX)))
    .bind(made.map(|m| i64::from(m.pages)))
    .bind(made.map(|m| m.template_version.as_str()))
    .bind(made.map(|m| m.brand_version.as_str()))
    .bind(made.map(|m| m.engine_version.as_str()))
    .bind(change.details.as_ref().map(|details| details.reveal().clone()))
    .bind(change.reason.as_ref().map(|(code, _)| *code))
    .bind(change.reason.as_ref().map(|(_, sentence)| sentence.as_str()))
    .bind(change.due_at.map(Timestamp::as_microsecond))
    .bind(to.is_final().then(|| stamp.now()))
    .bind(letter.id.as_str())
    .bind(letter.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "letter")?;
    let (from, code) = (letter.state.as_str(), change.reason.map(|(code, _)| code));
    ledger::post(conn, stamp, ledger::Kind::Letter, letter.id.as_str(), Some(from), to.as_str()).await?;
    tell(conn, stamp, letter, to, code).await
}

/// Marks a letter as superseded by another (COR-16). One that is already keeps its mark.
///
/// # Errors
/// When the database fails.
pub async fn supersede(conn: &mut Conn, stamp: Stamp<'_>, old: &Letter, by: &LetterId) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE letter SET superseded_by = $1, version = version + 1 WHERE id = $2 AND superseded_by IS NULL",
    )
    .bind(by.as_str())
    .bind(old.id.as_str())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    event(conn, stamp, old, EventType::LetterSuperseded, json!({ "by": by })).await
}

async fn tell(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    letter: &Letter,
    state: LetterState,
    code: Option<&str>,
) -> Result<(), DbError> {
    let mut payload = json!({ "type": letter.letter_type, "category": letter.category });
    if let Some(code) = code {
        payload["reason"] = json!(code);
    }
    event(conn, stamp, letter, EventType::Letter(state), payload).await
}

/// Writes an event about a letter.
///
/// # Errors
/// When the database fails.
pub async fn event(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    letter: &Letter,
    kind: EventType,
    payload: serde_json::Value,
) -> Result<(), DbError> {
    let tin_uid = match &letter.tin {
        Some(tin) => reference::tin_uid(conn, tin).await?,
        None => None,
    };
    let event = NewEvent {
        kind,
        subject: letter.id.as_str(),
        brand: &letter.brand,
        tin_uid: tin_uid.as_deref(),
        actor: stamp.actor,
        payload,
    };
    events::append(conn, stamp, event).await
}

fn read(row: &AnyRow) -> Result<Letter, DbError> {
    let destroyed_at = opt_instant(row, "destroyed_at")?;
    let (tin, member_id): (Option<Tin>, Option<MemberId>) = (opt_parsed(row, "tin")?, opt_parsed(row, "member_id")?);
    let addressee = match parsed(row, "addressee")? {
        AddresseeKind::Tin => Addressee::Tin(tin.clone().ok_or(DbError::Unreadable { column: "tin" })?),
        AddresseeKind::Member => {
            Addressee::Member(member_id.clone().ok_or(DbError::Unreadable { column: "member_id" })?)
        }
    };
    Ok(Letter {
        id: parsed(row, "id")?,
        number: parsed(row, "number")?,
        brand: parsed(row, "brand")?,
        letter_type: parsed(row, "type")?,
        category: parsed(row, "category")?,
        state: parsed(row, "state")?,
        asker: text(row, "asker")?,
        event_id: text(row, "event_id")?,
        addressee,
        tin,
        member_id,
        claim_number: opt_parsed(row, "claim_number")?,
        case_id: opt_parsed(row, "case_id")?,
        details: Phi(text(row, "details")?),
        circumstances: parsed::<Codes<_>>(row, "circumstances")?.0,
        data: opt_text(row, "data")?.map(Phi),
        letter_date: opt_parsed(row, "letter_date")?,
        made: read_made(row)?.filter(|_| destroyed_at.is_none()),
        reason: opt_text(row, "reason_code")?.zip(opt_text(row, "reason")?),
        due_at: opt_instant(row, "due_at")?,
        supersedes: opt_parsed(row, "supersedes")?,
        superseded_by: opt_parsed(row, "superseded_by")?,
        created_at: instant(row, "created_at")?,
        ended_at: opt_instant(row, "ended_at")?,
        destroyed_at,
        version: number(row, "version")?,
    })
}

fn read_made(row: &AnyRow) -> Result<Option<Made>, DbError> {
    let Some(sha256) = opt_parsed(row, "sha256")? else { return Ok(None) };
    let count = |column| {
        let number = opt_number(row, column)?.unwrap_or_default();
        u64::try_from(number).map_err(|_| DbError::Unreadable { column })
    };
    Ok(Some(Made {
        sha256,
        size_bytes: count("size_bytes")?,
        pages: u32::try_from(count("pages")?).map_err(|_| DbError::Unreadable { column: "pages" })?,
        template_version: text(row, "template_version")?,
        brand_version: text(row, "brand_version")?,
        engine_version: text(row, "engine_version")?,
    }))
}
