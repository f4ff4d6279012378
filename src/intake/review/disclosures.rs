//! Who came to know a document while it was on a case (OPS-08). The report is read from the audit log: what is not
//! there did not happen.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::ReviewError;
use crate::db::documents::{self, Document};
use crate::db::{Conn, DbError, Stamp, events};
use crate::model::document::{Access, DocumentState};
use crate::model::event::{Event, EventType};
use crate::model::ids::{CaseId, DocumentId};

/// Events of a document that a report reads, at most.
const EVENTS: i64 = 10_000;

/// Somebody came to know the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Disclosure {
    /// How.
    pub access: Access,
    /// Who, as events name them.
    pub actor: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The place of the event in the audit log, once sealed.
    pub position: Option<i64>,
}

/// A time in which the document was on a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DisclosurePeriod)]
pub struct Period {
    /// The case.
    pub case_id: Option<CaseId>,
    /// Who put it there.
    pub matched_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub matched_at: Timestamp,
    /// Who took it off; `None` while it is there.
    pub undone_by: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub undone_at: Option<Timestamp>,
    /// Who came to know it in between.
    pub disclosures: Vec<Disclosure>,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DisclosureReport)]
pub struct Report {
    /// The document.
    pub document_id: DocumentId,
    /// The times in which it was on a case, in order.
    pub periods: Vec<Period>,
    /// False where there are more events than a report reads: the audit log then has the rest.
    pub complete: bool,
}

/// Writes that somebody came to know a document. The event names the case it is on, and nothing of a person.
///
/// # Errors
/// When the database fails.
pub async fn note(conn: &mut Conn, stamp: Stamp<'_>, document: &Document, access: Access) -> Result<(), DbError> {
    let payload = json!({ "case_id": document.case_id });
    documents::note(conn, stamp, document, EventType::Disclosed(access), payload).await
}

/// Who saw, downloaded or was told of a document, for each time in which it was on a case.
///
/// # Errors
/// [`ReviewError::NoDocument`], or when the database fails.
pub async fn disclosures(conn: &mut Conn, id: &DocumentId) -> Result<Report, ReviewError> {
    documents::get(conn, id).await?.ok_or(ReviewError::NoDocument)?;
    let mut types = vec![EventType::Document(DocumentState::Matched), EventType::MatchUndone];
    types.push(EventType::Document(DocumentState::Quarantined));
    types.extend(Access::ALL.iter().map(|access| EventType::Disclosed(*access)));
    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
    let all = events::of_subject(conn, id.as_str(), &types, EVENTS + 1).await?;
    let complete = i64::try_from(all.len()).unwrap_or(i64::MAX) <= EVENTS;
    Ok(Report { document_id: id.clone(), periods: periods(all), complete })
}

fn periods(events: Vec<Event>) -> Vec<Period> {
    let mut periods: Vec<Period> = Vec::new();
    for event in events {
        let kind = event.kind.parse();
        if kind == Ok(EventType::Document(DocumentState::Matched)) {
            periods.push(Period {
                case_id: case_of(&event),
                matched_by: event.actor,
                matched_at: event.at,
                undone_by: None,
                undone_at: None,
                disclosures: Vec::new(),
            });
            continue;
        }
        match (kind, periods.last_mut().filter(|period| period.undone_at.is_none())) {
            // a virus found later takes it off its case, too
            (Ok(EventType::MatchUndone | EventType::Document(_)), Some(period)) => {
                period.undone_by = Some(event.actor);
                period.undone_at = Some(event.at);
            }
            (Ok(EventType::Disclosed(access)), Some(period)) => {
                let Event { actor, at, position, .. } = event;
                period.disclosures.push(Disclosure { access, actor, at, position });
            }
            _ => {}
        }
    }
    periods
}

fn case_of(event: &Event) -> Option<CaseId> {
    let payload: serde_json::Value = serde_json::from_str(&event.payload).ok()?;
    payload.get("case_id")?.as_str()?.parse().ok()
}
