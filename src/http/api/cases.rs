//! Cases as the mailroom needs them: looked for, and with the documents on them. What a person looks for is health data,
//! so it stands in a body and never in an address.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::documents::{answer_on, tell_all};
use super::lists::{PageQuery, behind, cursor, cut, page_of};
use super::view::{DocumentView, Eyes, of_document, record_of_case};
use super::{Api, body};
use crate::access::Caller;
use crate::db::case_files::{self, CaseFile, FoundCase};
use crate::db::documents::{self, Document};
use crate::db::{Conn, DbError};
use crate::http::errors::Problem;
use crate::http::guard::reach;
use crate::intake::review::search::{CaseQuery, search};
use crate::model::access::{Action, Answer, Record, Target, may};
use crate::model::case::{CaseKind, CaseStatus};
use crate::model::document::Access;
use crate::model::ids::{AttachmentControlNumber, Brand, CaseId, CaseNumber, ClaimNumber, MemberId, Tin};
use crate::model::matching::CaseFacts;
use crate::model::phi::Phi;

const CASE: &str = "case";

/// A case as who matches documents sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CaseView {
    id: CaseId,
    case_number: CaseNumber,
    kind: CaseKind,
    status: &'static str,
    open: bool,
    claim_number: Option<ClaimNumber>,
    attachment_control_number: Option<AttachmentControlNumber>,
    member_id: MemberId,
    #[schema(value_type = String)]
    first_name: Phi<String>,
    #[schema(value_type = String)]
    last_name: Phi<String>,
    #[schema(value_type = Option<String>, format = Date)]
    birth_date: Option<Phi<Date>>,
    tin: Tin,
    #[schema(value_type = Option<String>, format = Date)]
    service_from: Option<Date>,
    #[schema(value_type = Option<String>, format = Date)]
    service_to: Option<Date>,
    /// Its own nearest deadline.
    #[schema(value_type = Option<String>, format = DateTime)]
    deadline_at: Option<Timestamp>,
}

impl CaseView {
    fn of(facts: CaseFacts, status: CaseStatus, deadline_at: Option<Timestamp>) -> Self {
        let (first_name, last_name) = facts.name.into_inner();
        Self {
            id: facts.id,
            case_number: facts.case_number,
            kind: facts.kind,
            status: status.as_str(),
            open: facts.open,
            claim_number: facts.claim_number,
            attachment_control_number: facts.attachment_control_number,
            member_id: facts.member_id,
            first_name: Phi(first_name),
            last_name: Phi(last_name),
            birth_date: facts.birth_date,
            tin: facts.tin,
            service_from: facts.service.map(|(from, _)| from),
            service_to: facts.service.map(|(_, to)| to),
            deadline_at,
        }
    }
}

/// The cases proposed for a document, best first.
pub(super) async fn proposed(conn: &mut Conn, document: &Document) -> Result<Vec<CaseView>, DbError> {
    let mut cases = Vec::new();
    for candidate in case_files::candidates(conn, document.id.as_str()).await? {
        let facts = case_files::facts_of(conn, &document.brand, &candidate.case_id).await?;
        let case = case_files::get(conn, &candidate.case_id).await?;
        cases.extend(facts.zip(case).map(|(facts, case)| CaseView::of(facts, case.status, case.deadline_at)));
    }
    Ok(cases)
}

/// The case of that id, if the caller may do this to it.
///
/// # Errors
/// 404 when it is not there or not for this caller.
pub(super) async fn case_for(
    conn: &mut Conn,
    caller: &Caller,
    action: Action,
    id: &CaseId,
) -> Result<CaseFile, Problem> {
    let case = case_files::get(conn, id).await?.ok_or_else(|| Problem::not_found(CASE))?;
    reach(caller, action, CASE, record_of_case(&case))?;
    Ok(case)
}

/// What is looked for: one number or id, or last name and date of birth together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseSearch {
    /// The brand; else the installation's first.
    #[serde(default)]
    brand: Option<Brand>,
    #[serde(default)]
    case_number: Option<CaseNumber>,
    #[serde(default)]
    claim_number: Option<ClaimNumber>,
    #[serde(default)]
    attachment_control_number: Option<AttachmentControlNumber>,
    #[serde(default)]
    member_id: Option<MemberId>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    last_name: Option<Phi<String>>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date)]
    birth_date: Option<Phi<Date>>,
    /// Where the page before ended.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Entries of a page.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<i64>,
}

impl CaseSearch {
    fn query(&mut self) -> Result<CaseQuery, Problem> {
        let person = match (self.last_name.take(), self.birth_date.take()) {
            (Some(last_name), Some(birth_date)) => Some(CaseQuery::Person { last_name, birth_date }),
            (None, None) => None,
            _ => return Err(Problem::bad("last_name and birth_date are looked for together")),
        };
        let all = [
            self.case_number.take().map(CaseQuery::CaseNumber),
            self.claim_number.take().map(CaseQuery::ClaimNumber),
            self.attachment_control_number.take().map(CaseQuery::AttachmentControlNumber),
            self.member_id.take().map(CaseQuery::MemberId),
            person,
        ];
        let mut named = all.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(query), None) => Ok(query),
            _ => Err(Problem::bad(
                "name one of case_number, claim_number, attachment_control_number, member_id, or last_name with birth_date",
            )),
        }
    }
}

/// A page of cases, by case number.
#[derive(Debug, Serialize, ToSchema)]
pub struct CasePage {
    cases: Vec<CaseView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// Look for cases.
///
/// A POST, since what is looked for is health data: it must not stand in an address, which proxies log.
#[utoipa::path(post, path = "/v1/cases/search", tag = "mailroom", request_body = CaseSearch, responses((status = 200, body = CasePage)))]
pub async fn find(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CasePage>, Problem> {
    let (_, mut said): (_, CaseSearch) = body::json(&api, &headers, body).await?;
    let mode = caller.principal.mode();
    let brand = api.brand(said.brand.as_ref(), mode)?;
    let limit = page_of(&api, said.limit)?;
    let after: Option<CaseNumber> = behind(said.cursor.as_deref())?.map(|(_, number)| number);
    let query = said.query()?;
    let mut conn = api.intake.db.read().await?;
    let mut found = search(&mut conn, &brand, &query, after.as_ref(), limit + 1).await?;
    let next = cut(&mut found, limit, |case| cursor(0, case.facts.case_number.as_str()));
    let sees = |case: &FoundCase| {
        let facts = &case.facts;
        let record =
            Record { owner: None, tin: Some(&facts.tin), kind: Some(facts.kind), mode, sensitive: case.sensitive };
        may(&caller.principal, Action::SearchCases, &Target::Record(record)) == Answer::Yes
    };
    let cases = found.into_iter().filter(sees).map(|case| CaseView::of(case.facts, case.status, case.deadline_at));
    Ok(Json(CasePage { cases: cases.collect(), next }))
}

/// A page of the documents on a case, in the order they came.
#[derive(Debug, Serialize, ToSchema)]
pub struct CaseDocuments {
    documents: Vec<DocumentView>,
    /// Where the next page begins; `null` when this is the last.
    next: Option<String>,
}

/// See which documents are on a case.
#[utoipa::path(get, path = "/v1/cases/{id}/documents", tag = "documents",
    params(("id" = String, Path, description = "The case's id"), PageQuery), responses((status = 200, body = CaseDocuments)))]
pub async fn documents(
    State(api): State<Api>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<CaseDocuments>, Problem> {
    let (Path(id), Query(query)) = (path?, query?);
    let limit = page_of(&api, query.limit)?;
    let after = behind(query.cursor.as_deref())?;
    let after = after.as_ref().map(|(at, id)| (*at, id));
    let id: CaseId = id.parse().map_err(|_| Problem::not_found(CASE))?;
    let (rows, next) = {
        let mut conn = api.intake.db.read().await?;
        case_for(&mut conn, &caller, Action::ReadCase, &id).await?;
        let mut rows = documents::of_case(&mut conn, &id, after, limit + 1).await?;
        let next = cut(&mut rows, limit, |row| cursor(row.created_at.as_microsecond(), row.id.as_str()));
        let mut seen = Vec::with_capacity(rows.len());
        for row in rows {
            let (answer, own) = answer_on(&mut conn, &caller, Action::ReadCase, &row).await?;
            if answer == Answer::Yes {
                seen.push((row, own));
            }
        }
        (seen, next)
    };
    let mut others = Vec::new();
    for (row, own) in &rows {
        if !own {
            others.push(row);
        }
    }
    tell_all(&api, &caller, &others, Access::Shown).await?;
    let mut conn = api.intake.db.read().await?;
    let mut views = Vec::with_capacity(rows.len());
    for (row, _) in &rows {
        views.push(of_document(&mut conn, row, Eyes::Of(&caller.principal)).await?);
    }
    Ok(Json(CaseDocuments { documents: views, next }))
}
