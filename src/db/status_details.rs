//! What was told with a change of a case's status, for the letter that follows from it. It holds health data, so it is
//! here and not in the event that the letter is asked for by.

use super::{Conn, DbError, opt_parsed, parsed, text};
use crate::db::letters::AddresseeKind;
use crate::model::ids::CaseId;
use crate::model::letter::{Circumstances, LetterType};
use crate::model::people::Codes;
use crate::model::phi::Phi;

/// What was told.
#[derive(Debug, Clone)]
pub struct StatusDetail {
    /// The letter to be made; none where nobody is to be written to.
    pub letter_type: Option<LetterType>,
    /// Whom it goes to.
    pub addressee: AddresseeKind,
    /// What its way depends on.
    pub circumstances: Circumstances,
    /// What it is to say, as JSON.
    pub details: Phi<String>,
}

/// Keeps what was told with the change that made this version of a case.
///
/// # Errors
/// When the database fails.
pub async fn put(conn: &mut Conn, case: &CaseId, version: i64, detail: &StatusDetail) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO status_detail (case_id, version, letter_type, addressee, circumstances, details)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(case.as_str())
    .bind(version)
    .bind(detail.letter_type.map(LetterType::as_str))
    .bind(detail.addressee.as_str())
    .bind(Codes(detail.circumstances.clone()).to_string())
    .bind(detail.details.reveal())
    .execute(conn)
    .await?;
    Ok(())
}

/// What was told with the change that made this version of a case; none where nothing was.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, case: &CaseId, version: i64) -> Result<Option<StatusDetail>, DbError> {
    let row = sqlx::query(
        "SELECT letter_type, addressee, circumstances, details FROM status_detail WHERE case_id = $1 AND version = $2",
    )
    .bind(case.as_str())
    .bind(version)
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(StatusDetail {
            letter_type: opt_parsed(&row, "letter_type")?,
            addressee: parsed(&row, "addressee")?,
            circumstances: parsed::<Codes<_>>(&row, "circumstances")?.0,
            details: Phi(text(&row, "details")?),
        })
    })
    .transpose()
}
