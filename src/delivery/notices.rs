//! Notices: each change of a case to a status that practices see is told in the Messaging Center, whatever way its letter
//! takes (PRE-42); for reconsiderations and appeals as for precertifications.

use async_trait::async_trait;

use super::Correspondence;
use crate::db::messages::{self, NewMessage};
use crate::db::{Conn, DbError, Stamp, case_files, reference, status_details};
use crate::engine::readers::Reader;
use crate::model::event::{Event, EventType};
use crate::model::letter::{Circumstance, LetterCategory};
use crate::model::message::MessageType;

/// The reader of cases' events.
pub struct Notices(pub Correspondence);

/// The reader's name.
pub const READER: &str = "notices";

#[async_trait]
impl Reader for Notices {
    fn name(&self) -> &'static str {
        READER
    }

    fn wants(&self, kind: EventType) -> bool {
        matches!(kind, EventType::CaseOpened(_) | EventType::CaseStatusChanged(_))
    }

    async fn react(&self, conn: &mut Conn, stamp: Stamp<'_>, event: &Event) -> Result<(), DbError> {
        let Ok(case_id) = event.subject.parse() else { return Ok(()) };
        let Some(case) = case_files::get(conn, &case_id).await? else { return Ok(()) };
        let Some((status, version)) = event.case_status(case.kind) else { return Ok(()) };
        let detail = status_details::get(conn, &case.id, version).await?;
        let delegated = detail.is_some_and(|detail| detail.circumstances.contains(&Circumstance::Delegated));
        if !status.is_visible(delegated) {
            return Ok(());
        }
        // nobody is entitled for a practice that is not known
        if reference::tin_uid(conn, &case.tin).await?.is_none() {
            return Ok(());
        }
        let id = stamp.new_id()?;
        let new = NewMessage {
            id: &id,
            brand: &case.brand,
            tin: &case.tin,
            category: LetterCategory::of(case.kind),
            what: MessageType::Notice,
            letter_id: None,
            case_id: Some(&case.id),
            claim_number: case.claim_number.as_ref(),
            member_id: Some(&case.member_id),
            status: Some(status.as_str()),
            event_id: Some(event.id.as_str()),
            online_until: self.0.online_until(self.0.calendar.local_day(event.at)),
            needs_answer: false,
            due_at: None,
        };
        messages::insert(conn, stamp, &new).await.map(|_| ())
    }
}
