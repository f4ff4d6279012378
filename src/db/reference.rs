//! Reference data: idempotent upserts and the look-ups of the matcher.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, number, opt_parsed, opt_text, text};
use crate::db::{case_files, tasks};
use crate::model::address::Address;
use crate::model::case::CaseStatus;
use crate::model::ids::{AttachmentControlNumber, Brand, ClaimNumber, MemberId, Npi, Tin};
use crate::model::phi::Phi;
use crate::model::reference::{CaseRecord, ClaimRecord, MemberRecord, ProviderRecord, Record, Sensitive, TinRecord};

/// What an upsert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upserted {
    /// The row is as the record says.
    Done,
    /// The row is there and stays as it is, for the reason given.
    Kept(&'static str),
}

/// Writes one record, in place of what was known under its key.
///
/// # Errors
/// When the database fails.
pub async fn upsert(conn: &mut Conn, stamp: Stamp<'_>, record: &Record) -> Result<Upserted, DbError> {
    match record {
        Record::Tin(record) => tin(conn, stamp, record).await,
        Record::Provider(record) => provider(conn, record).await,
        Record::Member(record) => member(conn, record).await,
        Record::Claim(record) => claim(conn, record).await,
        Record::Case(record, status) => case(conn, stamp, record, *status).await,
    }
}

async fn tin(conn: &mut Conn, stamp: Stamp<'_>, record: &TinRecord) -> Result<Upserted, DbError> {
    sqlx::query(
        "INSERT INTO tin (tin, uid, name, address, fax, registered_on) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tin) DO UPDATE SET name = excluded.name, address = COALESCE(excluded.address, tin.address),
            fax = COALESCE(excluded.fax, tin.fax), registered_on = COALESCE(excluded.registered_on, tin.registered_on)",
    )
    .bind(record.tin.as_str())
    .bind(stamp.ctx.new_id())
    .bind(&record.name)
    .bind(json_of(record.address().ok().flatten().as_ref())?)
    .bind(record.fax.as_deref())
    .bind(record.registered_on.map(|day| day.to_string()))
    .execute(conn)
    .await?;
    Ok(Upserted::Done)
}

async fn provider(conn: &mut Conn, record: &ProviderRecord) -> Result<Upserted, DbError> {
    sqlx::query(
        "INSERT INTO provider (npi, name, tin) VALUES ($1, $2, $3)
         ON CONFLICT (npi) DO UPDATE SET name = excluded.name, tin = excluded.tin",
    )
    .bind(record.npi.as_str())
    .bind(&record.name)
    .bind(record.tin.as_str())
    .execute(conn)
    .await?;
    Ok(Upserted::Done)
}

async fn member(conn: &mut Conn, record: &MemberRecord) -> Result<Upserted, DbError> {
    sqlx::query(
        "INSERT INTO member (brand, member_id, first_name, last_name, birth_date, account, address, plan)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (brand, member_id) DO UPDATE SET first_name = excluded.first_name,
            last_name = excluded.last_name, birth_date = excluded.birth_date, account = excluded.account,
            address = COALESCE(excluded.address, member.address), plan = COALESCE(excluded.plan, member.plan)",
    )
    .bind(record.brand.as_str())
    .bind(record.member_id.as_str())
    .bind(record.first_name.reveal())
    .bind(record.last_name.reveal())
    .bind(record.birth_date.reveal().to_string())
    .bind(record.account.as_deref())
    .bind(json_of(record.address().ok().flatten().as_ref())?)
    .bind(record.plan.as_deref())
    .execute(conn)
    .await?;
    Ok(Upserted::Done)
}

async fn claim(conn: &mut Conn, record: &ClaimRecord) -> Result<Upserted, DbError> {
    sqlx::query(
        "INSERT INTO claim (brand, claim_number, member_id, tin, npi, status, service_from, service_to, processed_on)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (brand, claim_number) DO UPDATE SET member_id = excluded.member_id, tin = excluded.tin,
            npi = excluded.npi, status = excluded.status, service_from = excluded.service_from,
            service_to = excluded.service_to, processed_on = excluded.processed_on",
    )
    .bind(record.brand.as_str())
    .bind(record.claim_number.as_str())
    .bind(record.member_id.as_str())
    .bind(record.tin.as_str())
    .bind(record.npi.as_ref().map(Npi::as_str))
    .bind(record.status.as_str())
    .bind(record.service_from.to_string())
    .bind(record.service_to.to_string())
    .bind(record.processed_on.map(|d| d.to_string()))
    .execute(conn)
    .await?;
    Ok(Upserted::Done)
}

async fn case(conn: &mut Conn, stamp: Stamp<'_>, record: &CaseRecord, status: CaseStatus) -> Result<Upserted, DbError> {
    let row = sqlx::query("SELECT origin FROM case_file WHERE brand = $1 AND case_number = $2")
        .bind(record.brand.as_str())
        .bind(record.case_number.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    let origin = row.map(|row| opt_text(&row, "origin")).transpose()?.flatten();
    if origin.as_deref() == Some("here") {
        return Ok(Upserted::Kept("the case was opened here, so a load does not change it"));
    }
    let done = sqlx::query(
        "INSERT INTO case_file (id, brand, kind, case_number, status, claim_number, attachment_control_number,
                                member_id, tin, npi, service_from, service_to, opened_at, closed_at, deadline_at,
                                sensitive_since, origin, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
                 CASE WHEN $16 = 'true' THEN $17 END, 'loaded', 0)
         ON CONFLICT (brand, case_number) DO UPDATE SET status = excluded.status, claim_number = excluded.claim_number,
            attachment_control_number = excluded.attachment_control_number, member_id = excluded.member_id,
            tin = excluded.tin, npi = excluded.npi, service_from = excluded.service_from,
            service_to = excluded.service_to, opened_at = excluded.opened_at, closed_at = excluded.closed_at,
            deadline_at = excluded.deadline_at,
            sensitive_since = CASE $16 WHEN 'true' THEN COALESCE(case_file.sensitive_since, excluded.sensitive_since)
                                       WHEN 'false' THEN NULL ELSE case_file.sensitive_since END,
            version = case_file.version + 1
         WHERE case_file.kind = excluded.kind AND case_file.origin = 'loaded'",
    )
    .bind(stamp.ctx.new_id())
    .bind(record.brand.as_str())
    .bind(record.kind.as_str())
    .bind(record.case_number.as_str())
    .bind(status.as_str())
    .bind(record.claim_number.as_ref().map(ClaimNumber::as_str))
    .bind(record.attachment_control_number.as_ref().map(AttachmentControlNumber::as_str))
    .bind(record.member_id.as_str())
    .bind(record.tin.as_str())
    .bind(record.npi.as_ref().map(Npi::as_str))
    .bind(record.service_from.map(|d| d.to_string()))
    .bind(record.service_to.map(|d| d.to_string()))
    .bind(midnight(record.opened_on))
    .bind(record.closed_on.map(midnight))
    .bind(record.deadline_at.map(Timestamp::as_microsecond))
    .bind(record.sensitive.map_or("", Sensitive::as_str))
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(Upserted::Kept("a case of that number and another kind is known"));
    }
    if let (Some(deadline_at), None) = (record.deadline_at, record.closed_on)
        && let Some(case) = case_files::by_number(conn, &record.brand, &record.case_number).await?
    {
        tasks::bring_forward(conn, &case.id, deadline_at).await?;
    }
    Ok(Upserted::Done)
}

fn json_of<T: serde::Serialize>(value: Option<&T>) -> Result<Option<String>, DbError> {
    value.map(serde_json::to_string).transpose().map_err(|_| DbError::Unreadable { column: "address" })
}

/// Other systems send days; the start of the day in UTC stands for it until cases keep days of their own.
fn midnight(day: Date) -> i64 {
    day.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_microsecond())
}

/// Whether an open reconsideration other than `case_number` is known for the claim: a load would break REC-03.
///
/// # Errors
/// When the database fails.
pub async fn other_open_reconsideration(conn: &mut Conn, record: &CaseRecord) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM case_file WHERE brand = $1 AND claim_number = $2 AND kind = 'reconsideration'
         AND closed_at IS NULL AND case_number <> $3",
    )
    .bind(record.brand.as_str())
    .bind(record.claim_number.as_ref().map(ClaimNumber::as_str))
    .bind(record.case_number.as_str())
    .fetch_one(conn)
    .await?;
    Ok(number(&row, "n")? > 0)
}

/// Whether a member of that id is known.
///
/// # Errors
/// When the database fails.
pub async fn is_member(conn: &mut Conn, brand: &Brand, member_id: &str) -> Result<bool, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM member WHERE brand = $1 AND member_id = $2")
        .bind(brand.as_str())
        .bind(member_id)
        .fetch_one(conn)
        .await?;
    Ok(number(&row, "n")? > 0)
}

/// Our own id of a practice, by which events speak of it.
///
/// # Errors
/// When the database fails.
pub async fn tin_uid(conn: &mut Conn, tin: &Tin) -> Result<Option<String>, DbError> {
    let row = sqlx::query("SELECT uid FROM tin WHERE tin = $1").bind(tin.as_str()).fetch_optional(conn).await?;
    row.map(|row| opt_text(&row, "uid")).transpose().map(Option::flatten)
}

/// A practice as letters need to know it.
#[derive(Debug, Clone)]
pub struct Practice {
    /// Its name.
    pub name: String,
    /// Where its letters go.
    pub address: Option<Address>,
    /// Where its faxes go.
    pub fax: Option<String>,
    /// The day it registered for digital correspondence.
    pub registered_on: Option<Date>,
}

/// The practice of that TIN.
///
/// # Errors
/// When the database fails.
pub async fn practice(conn: &mut Conn, tin: &Tin) -> Result<Option<Practice>, DbError> {
    let row = sqlx::query("SELECT name, address, fax, registered_on FROM tin WHERE tin = $1")
        .bind(tin.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| {
        Ok(Practice {
            name: text(&row, "name")?,
            address: address(&row)?,
            fax: opt_text(&row, "fax")?,
            registered_on: opt_parsed(&row, "registered_on")?,
        })
    })
    .transpose()
}

/// A member as letters need to know them.
#[derive(Debug, Clone)]
pub struct MemberFacts {
    /// First and last name.
    pub name: Phi<String>,
    /// Where their letters go.
    pub address: Option<Phi<Address>>,
    /// The plan's code.
    pub plan: Option<String>,
}

/// The member of that id.
///
/// # Errors
/// When the database fails.
pub async fn member_facts(conn: &mut Conn, brand: &Brand, id: &MemberId) -> Result<Option<MemberFacts>, DbError> {
    let row =
        sqlx::query("SELECT first_name, last_name, address, plan FROM member WHERE brand = $1 AND member_id = $2")
            .bind(brand.as_str())
            .bind(id.as_str())
            .fetch_optional(conn)
            .await?;
    row.map(|row| {
        Ok(MemberFacts {
            name: Phi(format!("{} {}", text(&row, "first_name")?, text(&row, "last_name")?)),
            address: address(&row)?.map(Phi),
            plan: opt_text(&row, "plan")?,
        })
    })
    .transpose()
}

fn address(row: &AnyRow) -> Result<Option<Address>, DbError> {
    let unreadable = |_| DbError::Unreadable { column: "address" };
    opt_text(row, "address")?.map(|json| serde_json::from_str(&json).map_err(unreadable)).transpose()
}

/// The name of the provider of that NPI.
///
/// # Errors
/// When the database fails.
pub async fn provider_name(conn: &mut Conn, npi: &Npi) -> Result<Option<String>, DbError> {
    let row = sqlx::query("SELECT name FROM provider WHERE npi = $1").bind(npi.as_str()).fetch_optional(conn).await?;
    row.map(|row| text(&row, "name")).transpose()
}
