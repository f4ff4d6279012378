//! Changes of a case's status by the payer's people and systems. What follows from what comes with the rules of each kind;
//! here it is held that a status is one of its kind, that nobody overwrites what they have not seen, and that the letter
//! which tells of it is asked for with it (COR-01).

use serde_json::{Value, json};
use thiserror::Error;

use crate::db::case_files::{self, CaseFile};
use crate::db::letters::AddresseeKind;
use crate::db::status_details::{self, StatusDetail};
use crate::db::{Db, DbError, Stamp};
use crate::model::case::CaseStatus;
use crate::model::ids::CaseId;
use crate::model::letter::{Circumstances, LetterType};
use crate::model::phi::Phi;

/// A change that is asked for.
#[derive(Debug, Clone)]
pub struct StatusChange {
    /// The status, in the words of the case's kind.
    pub status: String,
    /// What the ways of its letter depend on, and whether a practice sees it (PRE-43).
    pub circumstances: Circumstances,
    /// The letter to tell it by.
    pub letter: Told,
}

/// How a status is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// By a letter.
    By {
        /// Which of those that go with the status; else the first of them, if there is one.
        letter_type: Option<LetterType>,
        /// Whom it goes to.
        addressee: AddresseeKind,
        /// What it is to say.
        details: Phi<Value>,
    },
    /// By no letter: somebody else writes it, or nobody is to be written to.
    Not,
}

/// Why a status was not changed.
#[derive(Debug, Error)]
pub enum StatusError {
    /// There is no such case.
    #[error("there is no such case")]
    NoCase,
    /// Its kind knows no such status.
    #[error("a case of this kind has no such status")]
    UnknownStatus,
    /// The letter does not go with the status.
    #[error("a letter of this type does not go with this status")]
    OtherLetter,
    /// It has changed since it was seen.
    #[error("the case has changed meanwhile")]
    Conflict,
    /// It is in this status already.
    #[error("the case is in this status already")]
    Same,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What is told of a status to the practice, by this letter.
pub(super) fn told(letter_type: LetterType, details: &Value) -> StatusDetail {
    StatusDetail {
        letter_type: Some(letter_type),
        addressee: AddresseeKind::Tin,
        circumstances: Circumstances::new(),
        details: Phi(details.to_string()),
    }
}

/// Brings a case into a status, if it is still the version that was seen, and keeps what its letter is to say. Answers the
/// case as it is then.
///
/// # Errors
/// See [`StatusError`].
pub async fn change(
    db: &Db,
    stamp: Stamp<'_>,
    id: &CaseId,
    seen: i64,
    change: &StatusChange,
) -> Result<CaseFile, StatusError> {
    let mut tx = db.begin().await?;
    let case = case_files::get(&mut tx, id).await?.ok_or(StatusError::NoCase)?;
    if case.version != seen {
        return Err(StatusError::Conflict);
    }
    let status = CaseStatus::parse(case.kind, &change.status).map_err(|_| StatusError::UnknownStatus)?;
    if status == case.status {
        return Err(StatusError::Same);
    }
    let detail = detail(status, change)?;
    status_details::put(&mut tx, id, case.version + 1, &detail).await?;
    match case_files::set_status(&mut tx, stamp, &case, status, json!({})).await {
        Err(DbError::Stale { .. }) => return Err(StatusError::Conflict),
        done => done?,
    }
    let changed = case_files::get(&mut tx, id).await?.ok_or(StatusError::NoCase)?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(changed)
}

fn detail(status: CaseStatus, change: &StatusChange) -> Result<StatusDetail, StatusError> {
    let goes_with = LetterType::of_status(status);
    let circumstances = change.circumstances.clone();
    let Told::By { letter_type, addressee, details } = &change.letter else {
        return Ok(StatusDetail {
            letter_type: None,
            addressee: AddresseeKind::Tin,
            circumstances,
            details: Phi("{}".into()),
        });
    };
    if letter_type.is_some_and(|letter_type| !goes_with.contains(&letter_type)) {
        return Err(StatusError::OtherLetter);
    }
    Ok(StatusDetail {
        letter_type: letter_type.or_else(|| goes_with.first().copied()),
        addressee: *addressee,
        circumstances,
        details: Phi(details.reveal().to_string()),
    })
}
