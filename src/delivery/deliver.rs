//! Stage deliver: what goes to the Messaging Center becomes a message there (COR-20). The message and the end of its
//! delivery are one transaction: there is no letter that is said to be delivered and can't be read, nor the other way
//! round.

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use super::{Correspondence, Routed};
use crate::db::letters::Letter;
use crate::db::messages::{self, NewMessage};
use crate::db::{Conn, DbError, Stamp, case_files, deliveries};
use crate::engine::stage::{Attempt, Handover, Outcome, Stage, StageError};
use crate::model::ids::MemberId;
use crate::model::letter::DeliveryState;
use crate::model::letter::stage::DELIVER;
use crate::model::message::MessageType;

/// The stage.
pub struct Deliver(pub Correspondence);

#[async_trait]
impl Stage for Deliver {
    const NAME: &'static str = DELIVER;
    type In = Routed;
    type Product = ();
    type Out = Routed;

    async fn run(&self, _: &Routed, _: Attempt) -> Result<Outcome<()>, StageError> {
        Ok(Outcome::Advance(()))
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Routed,
        _: Outcome<()>,
    ) -> Result<Handover, DbError> {
        let letter = &input.letter;
        // routing sends to the Messaging Center what is for a practice
        let tin = letter.tin.as_ref().ok_or(DbError::Unreadable { column: "tin" })?;
        let id = stamp.new_id()?;
        let dated = letter.letter_date.unwrap_or_else(|| self.0.calendar.local_day(letter.created_at));
        let member = member_of(conn, letter).await?;
        let new = NewMessage {
            id: &id,
            brand: &letter.brand,
            tin,
            category: letter.category,
            what: MessageType::Letter(letter.letter_type),
            letter_id: Some(&letter.id),
            case_id: letter.case_id.as_ref(),
            claim_number: letter.claim_number.as_ref(),
            member_id: member.as_ref(),
            status: None,
            event_id: None,
            online_until: self.0.online_until(dated),
            needs_answer: self.0.plan.inbox.needs_answer(letter.letter_type),
            due_at: self.0.due_at(letter),
        };
        // a letter whose delivery was stopped and released again is one message all the same
        messages::insert(conn, stamp, &new).await?;
        deliveries::transition(conn, stamp, &input.inbox, DeliveryState::Delivered, None).await?;
        Ok(Handover::Waits)
    }
}

/// The member that a letter is about: its own, or that of its case or claim.
async fn member_of(conn: &mut Conn, letter: &Letter) -> Result<Option<MemberId>, DbError> {
    let mut member = letter.member_id.clone();
    if let (None, Some(case)) = (&member, &letter.case_id) {
        member = case_files::get(conn, case).await?.map(|case| case.member_id);
    }
    if let (None, Some(number)) = (&member, &letter.claim_number) {
        member = case_files::claim(conn, &letter.brand, number).await?.map(|claim| claim.member_id);
    }
    Ok(member)
}

impl Correspondence {
    /// By when an answer to a letter is wanted, where it says so: the end of that day where the payer is.
    fn due_at(&self, letter: &Letter) -> Option<Timestamp> {
        let details: Value = serde_json::from_str(letter.details.reveal()).ok()?;
        let due_by: Date = details.get("due_by")?.as_str()?.parse().ok()?;
        Some(self.calendar.end_of_day(due_by))
    }

    /// Until when what is dated so is online: the same day some years later, to its end where the payer is (COR-23).
    pub(super) fn online_until(&self, dated: Date) -> Timestamp {
        let months = i32::from(self.plan.inbox.online_years) * 12;
        self.calendar.end_of_day(self.calendar.add_months(dated, months))
    }
}
