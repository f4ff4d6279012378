//! Case rows: opened here by a submission, or loaded from another system.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_parsed, opt_text, parsed, text};
use crate::db::events;
use crate::model::case::{CaseKind, CaseStatus, ClaimStatus};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, CaseId, CaseNumber, ClaimNumber, MemberId, Npi, Tin};
use crate::model::matching::CaseFacts;
use crate::model::phi::Phi;

/// A case as it is stored, as far as intake needs it.
#[derive(Debug, Clone)]
pub struct CaseFile {
    /// Its id.
    pub id: CaseId,
    /// Its brand.
    pub brand: Brand,
    /// Its kind.
    pub kind: CaseKind,
    /// Its number.
    pub case_number: CaseNumber,
    /// Its status.
    pub status: CaseStatus,
    /// The claim it is about.
    pub claim_number: Option<ClaimNumber>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// The practice.
    pub tin: Tin,
    /// The patient.
    pub member_id: MemberId,
    /// Its own nearest deadline (OPS-02).
    pub deadline_at: Option<Timestamp>,
    /// Whether it holds behavioral or substance-use records (OPS-17).
    pub sensitive: bool,
    /// Counts its changes.
    pub version: i64,
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! case_file {
    ($tail:literal) => {
        concat!(
            "SELECT id, brand, kind, case_number, status, claim_number, opened_at, closed_at, tin, member_id, deadline_at,
                    sensitive_since, version
             FROM case_file ",
            $tail
        )
    };
}

/// A claim, as far as intake needs it.
#[derive(Debug, Clone)]
pub struct ClaimFacts {
    /// Its number.
    pub claim_number: ClaimNumber,
    /// The patient.
    pub member_id: MemberId,
    /// The practice.
    pub tin: Tin,
    /// The provider.
    pub npi: Option<Npi>,
    /// What the payer has made of it.
    pub status: ClaimStatus,
    /// First and last day of service.
    pub service: (Date, Date),
    /// The day it was last processed.
    pub processed_on: Option<Date>,
}

/// The claim of that number.
///
/// # Errors
/// When the database fails.
pub async fn claim(conn: &mut Conn, brand: &Brand, number: &ClaimNumber) -> Result<Option<ClaimFacts>, DbError> {
    let row = sqlx::query(
        "SELECT claim_number, member_id, tin, npi, status, service_from, service_to, processed_on FROM claim
         WHERE brand = $1 AND claim_number = $2",
    )
    .bind(brand.as_str())
    .bind(number.as_str())
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(ClaimFacts {
            claim_number: parsed(&row, "claim_number")?,
            member_id: parsed(&row, "member_id")?,
            tin: parsed(&row, "tin")?,
            npi: opt_parsed(&row, "npi")?,
            status: parsed(&row, "status")?,
            service: (parsed(&row, "service_from")?, parsed(&row, "service_to")?),
            processed_on: opt_parsed(&row, "processed_on")?,
        })
    })
    .transpose()
}

/// The case of that number.
///
/// # Errors
/// When the database fails.
pub async fn by_number(conn: &mut Conn, brand: &Brand, number: &CaseNumber) -> Result<Option<CaseFile>, DbError> {
    let row = sqlx::query(case_file!("WHERE brand = $1 AND case_number = $2"))
        .bind(brand.as_str())
        .bind(number.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The case of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &CaseId) -> Result<Option<CaseFile>, DbError> {
    let row = sqlx::query(case_file!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Opens a reconsideration for a claim. False when one is open already (REC-03).
///
/// # Errors
/// When the database fails.
pub async fn open_reconsideration(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    (id, number): (&CaseId, &CaseNumber),
    claim: &ClaimFacts,
    status: CaseStatus,
) -> Result<bool, DbError> {
    let made = sqlx::query(
        "INSERT INTO case_file (id, brand, kind, case_number, status, claim_number, member_id, tin, npi,
                                service_from, service_to, opened_at, origin, version)
         VALUES ($1, $2, 'reconsideration', $3, $4, $5, $6, $7, $8, $9, $10, $11, 'here', 0) ON CONFLICT DO NOTHING",
    )
    .bind(id.as_str())
    .bind(brand.as_str())
    .bind(number.as_str())
    .bind(status.as_str())
    .bind(claim.claim_number.as_str())
    .bind(claim.member_id.as_str())
    .bind(claim.tin.as_str())
    .bind(claim.npi.as_ref().map(Npi::as_str))
    .bind(claim.service.0.to_string())
    .bind(claim.service.1.to_string())
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if made.rows_affected() == 0 {
        return Ok(false);
    }
    let event = NewEvent {
        kind: EventType::CaseOpened(CaseKind::Reconsideration),
        subject: id.as_str(),
        brand,
        tin_uid: None,
        actor: stamp.actor,
        payload: json!({ "status": status.as_str() }),
    };
    events::append(conn, stamp, event).await?;
    Ok(true)
}

/// The reconsideration that is open for a claim; REC-03 lets there be one at most.
///
/// # Errors
/// When the database fails.
pub async fn open_reconsideration_of(
    conn: &mut Conn,
    brand: &Brand,
    claim: &ClaimNumber,
) -> Result<Option<CaseFile>, DbError> {
    let row = sqlx::query(case_file!(
        "WHERE brand = $1 AND claim_number = $2 AND kind = 'reconsideration' AND closed_at IS NULL"
    ))
    .bind(brand.as_str())
    .bind(claim.as_str())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Changes a case's status; a final one closes it.
///
/// # Errors
/// [`DbError::Stale`] when the row has changed since it was read.
pub async fn set_status(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    case: &CaseFile,
    status: CaseStatus,
    payload: serde_json::Value,
) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE case_file SET status = $1, closed_at = $2, version = version + 1
         WHERE id = $3 AND version = $4 AND destroyed_at IS NULL",
    )
    .bind(status.as_str())
    .bind(status.is_final().then(|| stamp.now()))
    .bind(case.id.as_str())
    .bind(case.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "case")?;
    let mut payload = payload;
    payload["from"] = json!(case.status.as_str());
    payload["to"] = json!(status.as_str());
    payload["version"] = json!(case.version + 1);
    let event = NewEvent {
        kind: EventType::CaseStatusChanged(case.kind),
        subject: case.id.as_str(),
        brand: &case.brand,
        tin_uid: None,
        actor: stamp.actor,
        payload,
    };
    events::append(conn, stamp, event).await
}

macro_rules! facts {
    ($tail:literal) => {
        concat!(
            "SELECT c.id, c.kind, c.case_number, c.claim_number, c.attachment_control_number, c.member_id, c.tin, c.npi,
                    c.service_from, c.service_to, c.closed_at, m.first_name, m.last_name, m.birth_date
             FROM case_file c LEFT JOIN member m ON m.brand = c.brand AND m.member_id = c.member_id ",
            $tail
        )
    };
}

/// The cases that a case-level identifier names: as case number, claim number or attachment control number.
/// Three look-ups, each by its index: one with OR would read the table on some plans.
///
/// # Errors
/// When the database fails.
pub async fn named_by(conn: &mut Conn, brand: &Brand, identifier: &str) -> Result<Vec<CaseFacts>, DbError> {
    let rows = sqlx::query(concat!(
        facts!("WHERE c.brand = $1 AND c.case_number = $2"),
        " UNION ",
        facts!("WHERE c.brand = $1 AND c.claim_number = $2"),
        " UNION ",
        facts!("WHERE c.brand = $1 AND c.attachment_control_number = $2"),
    ))
    .bind(brand.as_str())
    .bind(identifier)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_facts).collect()
}

/// A member's cases, open ones first.
///
/// # Errors
/// When the database fails.
pub async fn of_member(conn: &mut Conn, brand: &Brand, member: &str, limit: i64) -> Result<Vec<CaseFacts>, DbError> {
    let rows = sqlx::query(facts!(
        "WHERE c.brand = $1 AND c.member_id = $2 ORDER BY CASE WHEN c.closed_at IS NULL THEN 0 ELSE 1 END, c.opened_at DESC LIMIT $3"
    ))
    .bind(brand.as_str())
    .bind(member)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_facts).collect()
}

/// The facts of one case.
///
/// # Errors
/// When the database fails.
pub async fn facts_of(conn: &mut Conn, brand: &Brand, id: &CaseId) -> Result<Option<CaseFacts>, DbError> {
    let row = sqlx::query(facts!("WHERE c.brand = $1 AND c.id = $2"))
        .bind(brand.as_str())
        .bind(id.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_facts).transpose()
}

fn read(row: &AnyRow) -> Result<CaseFile, DbError> {
    let kind: CaseKind = parsed(row, "kind")?;
    Ok(CaseFile {
        id: parsed(row, "id")?,
        brand: parsed(row, "brand")?,
        kind,
        case_number: parsed(row, "case_number")?,
        status: CaseStatus::parse(kind, &text(row, "status")?).map_err(|_| DbError::Unreadable { column: "status" })?,
        claim_number: opt_parsed(row, "claim_number")?,
        opened_at: instant(row, "opened_at")?,
        closed_at: opt_instant(row, "closed_at")?,
        tin: parsed(row, "tin")?,
        member_id: parsed(row, "member_id")?,
        deadline_at: opt_instant(row, "deadline_at")?,
        sensitive: opt_instant(row, "sensitive_since")?.is_some(),
        version: number(row, "version")?,
    })
}

fn read_facts(row: &AnyRow) -> Result<CaseFacts, DbError> {
    let from: Option<Date> = opt_parsed(row, "service_from")?;
    let to: Option<Date> = opt_parsed(row, "service_to")?;
    let name = (opt_text(row, "first_name")?.unwrap_or_default(), opt_text(row, "last_name")?.unwrap_or_default());
    Ok(CaseFacts {
        id: parsed(row, "id")?,
        kind: parsed(row, "kind")?,
        open: opt_instant(row, "closed_at")?.is_none(),
        case_number: parsed(row, "case_number")?,
        claim_number: opt_parsed(row, "claim_number")?,
        attachment_control_number: opt_parsed(row, "attachment_control_number")?,
        member_id: parsed(row, "member_id")?,
        name: Phi(name),
        birth_date: opt_parsed::<Date>(row, "birth_date")?.map(Phi),
        tin: parsed(row, "tin")?,
        npi: opt_parsed(row, "npi")?,
        service: from.map(|from| (from, to.unwrap_or(from))),
    })
}

/// A case that was looked for.
#[derive(Debug, Clone)]
pub struct FoundCase {
    /// What names it and whom it is of.
    pub facts: CaseFacts,
    /// Its status, in the words of its kind.
    pub status: CaseStatus,
    /// Its own nearest deadline.
    pub deadline_at: Option<Timestamp>,
    /// Whether it holds behavioral or substance-use records.
    pub sensitive: bool,
}

/// By what a case is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Its number.
    CaseNumber,
    /// Its claim's number.
    ClaimNumber,
    /// Its attachment control number.
    AttachmentControlNumber,
    /// Its member's id.
    MemberId,
    /// Its member's date of birth, ISO.
    BirthDate,
}

macro_rules! found {
    ($test:literal) => {
        concat!(
            "SELECT c.id, c.kind, c.case_number, c.claim_number, c.attachment_control_number, c.member_id, c.tin, c.npi,
                    c.service_from, c.service_to, c.closed_at, m.first_name, m.last_name, m.birth_date,
                    c.status, c.deadline_at, c.sensitive_since
             FROM case_file c LEFT JOIN member m ON m.brand = c.brand AND m.member_id = c.member_id
             WHERE c.brand = $1 AND ",
            $test,
            " AND c.case_number > $3 ORDER BY c.case_number LIMIT $4"
        )
    };
}

/// Cases of a brand by their numbers, from the one behind `after`.
///
/// # Errors
/// When the database fails.
pub async fn search(
    conn: &mut Conn,
    brand: &Brand,
    (by, value): (By, &str),
    after: Option<&CaseNumber>,
    limit: i64,
) -> Result<Vec<FoundCase>, DbError> {
    let statement = match by {
        By::CaseNumber => found!("c.case_number = $2"),
        By::ClaimNumber => found!("c.claim_number = $2"),
        By::AttachmentControlNumber => found!("c.attachment_control_number = $2"),
        By::MemberId => found!("c.member_id = $2"),
        By::BirthDate => {
            found!("c.member_id IN (SELECT b.member_id FROM member b WHERE b.brand = $1 AND b.birth_date = $2)")
        }
    };
    let rows = sqlx::query(statement)
        .bind(brand.as_str())
        .bind(value)
        .bind(after.map_or("", CaseNumber::as_str))
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            let facts = read_facts(row)?;
            let status = CaseStatus::parse(facts.kind, &text(row, "status")?);
            Ok(FoundCase {
                status: status.map_err(|_| DbError::Unreadable { column: "status" })?,
                deadline_at: opt_instant(row, "deadline_at")?,
                sensitive: opt_instant(row, "sensitive_since")?.is_some(),
                facts,
            })
        })
        .collect()
}

/// The deadlines of those of these cases that are open and have one.
///
/// # Errors
/// When the database fails.
pub async fn deadlines(conn: &mut Conn, cases: &[CaseId]) -> Result<Vec<Timestamp>, DbError> {
    let mut deadlines = Vec::new();
    for id in cases {
        let case = get(conn, id).await?.filter(|case| case.closed_at.is_none());
        deadlines.extend(case.and_then(|case| case.deadline_at));
    }
    Ok(deadlines)
}

/// A proposed or decided case of a document, with its evidence.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The case.
    pub case_id: CaseId,
    /// Its number, for those who may see it.
    pub case_number: CaseNumber,
    /// Sum of the evidence, in thousandths of a bit.
    pub millibits: i64,
    /// The evidence, as JSON text.
    pub evidence: String,
}

/// Keeps a document's candidates, best first, in place of those it had.
///
/// # Errors
/// When the database fails.
pub async fn put_candidates(
    conn: &mut Conn,
    document: &str,
    candidates: &[(CaseId, i64, String)],
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM match_candidate WHERE document_id = $1").bind(document).execute(&mut *conn).await?;
    for (place, (case_id, millibits, evidence)) in (0i64..).zip(candidates) {
        sqlx::query(
            "INSERT INTO match_candidate (document_id, place, case_id, millibits, evidence) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(document)
        .bind(place)
        .bind(case_id.as_str())
        .bind(*millibits)
        .bind(evidence)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A document's candidates, best first.
///
/// # Errors
/// When the database fails.
pub async fn candidates(conn: &mut Conn, document: &str) -> Result<Vec<Candidate>, DbError> {
    let rows = sqlx::query(
        "SELECT m.case_id, c.case_number, m.millibits, m.evidence FROM match_candidate m
         JOIN case_file c ON c.id = m.case_id WHERE m.document_id = $1 ORDER BY m.place",
    )
    .bind(document)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Candidate {
                case_id: parsed(row, "case_id")?,
                case_number: parsed(row, "case_number")?,
                millibits: number(row, "millibits")?,
                evidence: text(row, "evidence")?,
            })
        })
        .collect()
}

/// Whether a document is proposed for a case with behavioral or substance-use records (OPS-17).
///
/// # Errors
/// When the database fails.
pub async fn proposes_sensitive(conn: &mut Conn, document: &str) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM match_candidate m JOIN case_file c ON c.id = m.case_id
         WHERE m.document_id = $1 AND c.sensitive_since IS NOT NULL",
    )
    .bind(document)
    .fetch_one(conn)
    .await?;
    Ok(number(&row, "n")? > 0)
}
