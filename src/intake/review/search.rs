//! A person looks for a case: by what names it, or by its patient.

use jiff::civil::Date;

use crate::db::case_files::{self, FoundCase};
use crate::db::{Conn, DbError};
use crate::model::ids::{AttachmentControlNumber, Brand, CaseNumber, ClaimNumber, MemberId};
use crate::model::phi::Phi;

/// What is looked for. Each looks by an index of its own.
#[derive(Debug, Clone)]
pub enum CaseQuery {
    /// A case's number.
    CaseNumber(CaseNumber),
    /// Cases of a claim.
    ClaimNumber(ClaimNumber),
    /// Cases with an attachment control number.
    AttachmentControlNumber(AttachmentControlNumber),
    /// Cases of a member.
    MemberId(MemberId),
    /// Cases of members of that last name, however it is spelled in capitals, and date of birth.
    Person {
        /// The last name.
        last_name: Phi<String>,
        /// The date of birth.
        birth_date: Phi<Date>,
    },
}

/// Cases of a brand, by case number, from the one behind `after`. Fewer than `limit` means the end.
///
/// # Errors
/// When the database fails.
pub async fn search(
    conn: &mut Conn,
    brand: &Brand,
    query: &CaseQuery,
    after: Option<&CaseNumber>,
    limit: i64,
) -> Result<Vec<FoundCase>, DbError> {
    use case_files::By;
    let (by, value) = match query {
        CaseQuery::CaseNumber(number) => (By::CaseNumber, number.as_str()),
        CaseQuery::ClaimNumber(number) => (By::ClaimNumber, number.as_str()),
        CaseQuery::AttachmentControlNumber(number) => (By::AttachmentControlNumber, number.as_str()),
        CaseQuery::MemberId(id) => (By::MemberId, id.as_str()),
        CaseQuery::Person { last_name, birth_date } => {
            return of_person(conn, brand, last_name, birth_date, after, limit).await;
        }
    };
    case_files::search(conn, brand, (by, value), after, limit).await
}

/// The databases do not agree on what the capital of a letter is: names are compared here.
async fn of_person(
    conn: &mut Conn,
    brand: &Brand,
    last_name: &Phi<String>,
    birth_date: &Phi<Date>,
    after: Option<&CaseNumber>,
    limit: i64,
) -> Result<Vec<FoundCase>, DbError> {
    let wanted = folded(last_name.reveal());
    let date = birth_date.reveal().to_string();
    let mut found = Vec::new();
    let mut after = after.cloned();
    loop {
        let page = case_files::search(conn, brand, (case_files::By::BirthDate, &date), after.as_ref(), limit).await?;
        let is_last = i64::try_from(page.len()).unwrap_or(i64::MAX) < limit;
        after = page.last().map(|case| case.facts.case_number.clone());
        found.extend(page.into_iter().filter(|case| folded(&case.facts.name.reveal().1) == wanted));
        if is_last || i64::try_from(found.len()).unwrap_or(i64::MAX) >= limit {
            found.truncate(usize::try_from(limit).unwrap_or(0));
            return Ok(found);
        }
    }
}

fn folded(name: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    let composed: String = name.trim().nfkc().collect();
    caseless::default_case_fold_str(&composed).nfkc().collect()
}
