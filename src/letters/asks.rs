//! What asks for letters by itself: a case that came into another status (COR-01). What is to be said beside the rows was
//! told with the change and lies in `status_detail`; the event only says that it happened.

use async_trait::async_trait;

use crate::db::case_files::{self, CaseFile};
use crate::db::letters::{self, Addressee, AddresseeKind, NewLetter};
use crate::db::status_details::{self, StatusDetail};
use crate::db::{Conn, DbError, Stamp};
use crate::engine::readers::Reader;
use crate::model::case::CaseStatus;
use crate::model::event::{Event, EventType};
use crate::model::letter::stage::COMPOSE;
use crate::model::letter::{Circumstances, LetterType};
use crate::model::phi::Phi;
use crate::outside::traces::Span;

/// Who asks for a letter that no service asked for.
pub const OURSELVES: &str = "system";

/// The reader of cases' events.
pub struct Asks;

/// The reader's name.
pub const READER: &str = "letters";

#[async_trait]
impl Reader for Asks {
    fn name(&self) -> &'static str {
        READER
    }

    fn wants(&self, kind: EventType) -> bool {
        matches!(kind, EventType::CaseOpened(_) | EventType::CaseStatusChanged(_))
    }

    async fn react(&self, conn: &mut Conn, stamp: Stamp<'_>, event: &Event) -> Result<(), DbError> {
        let Ok(id) = event.subject.parse() else { return Ok(()) };
        let Some(case) = case_files::get(conn, &id).await? else { return Ok(()) };
        let Some((status, version)) = event.case_status(case.kind) else { return Ok(()) };
        let detail = status_details::get(conn, &case.id, version).await?;
        let detail = detail.unwrap_or_else(|| by_itself(status));
        let Some(letter_type) = detail.letter_type else { return Ok(()) };
        ask(conn, stamp, &case, event, letter_type, &detail).await
    }
}

/// What follows from a status with which nothing was told.
fn by_itself(status: CaseStatus) -> StatusDetail {
    StatusDetail {
        letter_type: LetterType::of_status(status).first().copied(),
        addressee: AddresseeKind::Tin,
        circumstances: Circumstances::new(),
        details: Phi("{}".into()),
    }
}

async fn ask(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    case: &CaseFile,
    event: &Event,
    letter_type: LetterType,
    detail: &StatusDetail,
) -> Result<(), DbError> {
    let id = stamp.new_id()?;
    let addressee = match detail.addressee {
        AddresseeKind::Tin => Addressee::Tin(case.tin.clone()),
        AddresseeKind::Member => Addressee::Member(case.member_id.clone()),
    };
    let new = NewLetter {
        id: &id,
        brand: &case.brand,
        letter_type,
        asker: OURSELVES,
        event_id: event.id.as_str(),
        addressee,
        tin: Some(&case.tin),
        member_id: Some(&case.member_id),
        claim_number: case.claim_number.as_ref(),
        case_id: Some(&case.id),
        details: &detail.details,
        circumstances: &detail.circumstances,
        supersedes: None,
    };
    if letters::ask(conn, stamp, &new, COMPOSE).await?.is_some() {
        // should this transaction come to nothing, the trace is of a letter that is not there, and of one span
        Span::root(stamp.ctx, "ask", id.as_str()).end(stamp.ctx, "asked", false);
    }
    Ok(())
}
