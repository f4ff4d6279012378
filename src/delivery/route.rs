//! Stage route: the ways of a letter are decided and become rows, each with its reasons (COR-14).
//!
//! All of it happens in the transaction that ends the work: what was set, held back or superseded before it counts, and
//! what comes after it does not (COR-12).

use async_trait::async_trait;
use serde_json::json;

use super::{Correspondence, facts_of};
use crate::db::deliveries::{self, Delivery};
use crate::db::letters::{self, Addressee, Change, Letter};
use crate::db::{Conn, DbError, Stamp, case_files, documents, events, reference, routing, work};
use crate::engine::stage::{Attempt, Handover, Outcome, Stage, StageError, Subject};
use crate::model::document::Channel;
use crate::model::event::{EventType, NewEvent};
use crate::model::letter::stage::ROUTE;
use crate::model::letter::{Circumstance, DeliveryChannel, DeliveryState, LetterCategory, LetterState, StopReason};
use crate::model::route::{LetterFacts, RouteReason, Routing, decide};

/// The stage.
pub struct Route(pub Correspondence);

/// A letter whose PDF is stored, with no way decided.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The row.
    pub letter: Letter,
}

#[async_trait]
impl Subject for Rendered {
    async fn load(conn: &mut Conn, id: &str) -> Result<Option<Self>, DbError> {
        let Some(letter) = letter_in(conn, id, LetterState::Rendered).await? else { return Ok(None) };
        Ok(Some(Self { letter }))
    }
}

/// A letter that is routed, with a delivery to the Messaging Center that waits.
#[derive(Debug, Clone)]
pub struct Routed {
    /// The row.
    pub letter: Letter,
    /// Its way to the Messaging Center.
    pub inbox: Delivery,
}

#[async_trait]
impl Subject for Routed {
    async fn load(conn: &mut Conn, id: &str) -> Result<Option<Self>, DbError> {
        let Some(letter) = letter_in(conn, id, LetterState::Routed).await? else { return Ok(None) };
        let waits = |one: &Delivery| one.channel == DeliveryChannel::Inbox && one.state == DeliveryState::Waiting;
        let inbox = deliveries::of_letter(conn, &letter.id).await?.into_iter().find(waits);
        Ok(inbox.map(|inbox| Self { letter, inbox }))
    }
}

async fn letter_in(conn: &mut Conn, id: &str, state: LetterState) -> Result<Option<Letter>, DbError> {
    let Ok(id) = id.parse() else { return Ok(None) };
    Ok(letters::get(conn, &id).await?.filter(|letter| letter.state == state))
}

#[async_trait]
impl Stage for Route {
    const NAME: &'static str = ROUTE;
    type In = Rendered;
    type Product = ();
    type Out = Routed;

    async fn run(&self, _: &Rendered, _: Attempt) -> Result<Outcome<()>, StageError> {
        Ok(Outcome::Advance(()))
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Rendered,
        _: Outcome<()>,
    ) -> Result<Handover, DbError> {
        let letter = &input.letter;
        let stopped = match routing::standing(conn, letter).await? {
            _ if letter.superseded_by.is_some() => Some(StopReason::Superseded),
            hold => hold.map(|hold| hold.held.reason()),
        };
        if let Some(reason) = stopped {
            stop(conn, stamp, letter, reason).await?;
            return Ok(Handover::Waits);
        }
        let routing = self.0.decide(conn, letter).await?;
        let reason = routing.not_sent.first().map(|reason| (reason.as_str(), reason.sentence().to_owned()));
        letters::transition(conn, stamp, letter, LetterState::Routed, Change { reason, ..Change::default() }).await?;
        for (channel, reasons) in &routing.deliveries {
            let codes: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
            deliveries::make(conn, stamp, letter, *channel, &codes).await?;
        }
        if routing.why(DeliveryChannel::Paper).contains(&RouteReason::NobodyEntitled) {
            tell_nobody_entitled(conn, stamp, letter).await?;
        }
        take_place(conn, stamp, letter).await?;
        Ok(if routing.has(DeliveryChannel::Inbox) { Handover::Next } else { Handover::Waits })
    }
}

impl Correspondence {
    /// Decides over a letter as things stand.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn decide(&self, conn: &mut Conn, letter: &Letter) -> Result<Routing, DbError> {
        let plan = routing::plan_of(conn, letter).await?;
        let tin = facts_of(conn, letter).await?;
        let mut circumstances = letter.circumstances.clone();
        if came_by_fax(conn, letter).await? {
            circumstances.insert(Circumstance::ByFax);
        }
        let facts = LetterFacts {
            letter_type: letter.letter_type,
            addressee: letter.addressee.kind(),
            // what is rendered has one; by the day it was asked for nothing goes digital too early
            letter_date: letter.letter_date.unwrap_or_else(|| self.calendar.local_day(letter.created_at)),
            plan: plan.as_deref(),
            circumstances: &circumstances,
        };
        Ok(decide(&facts, &tin, &self.plan.route, self.calendar.local_day(self.ctx.now())))
    }
}

/// Whether the request that a letter answers came by fax (COR-13). What came later for a case says nothing of that.
async fn came_by_fax(conn: &mut Conn, letter: &Letter) -> Result<bool, DbError> {
    let (LetterCategory::Precertification, Some(case)) = (letter.category, &letter.case_id) else { return Ok(false) };
    let Some(case) = case_files::get(conn, case).await? else { return Ok(false) };
    Ok(documents::opened_by(conn, &case.id, case.opened_at).await? == Some(Channel::Fax))
}

/// Stops a letter that is not routed, with the work for it.
pub(super) async fn stop(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    letter: &Letter,
    reason: StopReason,
) -> Result<(), DbError> {
    let reason = Some((reason.as_str(), reason.sentence().to_owned()));
    letters::transition(conn, stamp, letter, LetterState::Stopped, Change { reason, ..Change::default() }).await?;
    work::remove(conn, letter.id.as_str()).await
}

/// Stops the ways of a routed letter that wait still. What has arrived stays: an issued letter is never changed.
/// Answers how many there were.
pub(super) async fn stop_waiting(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    letter: &Letter,
    reason: StopReason,
) -> Result<usize, DbError> {
    let mut waiting = deliveries::of_letter(conn, &letter.id).await?;
    waiting.retain(|delivery| delivery.state == DeliveryState::Waiting);
    for delivery in &waiting {
        deliveries::transition(conn, stamp, delivery, DeliveryState::Stopped, Some(reason.as_str())).await?;
    }
    work::remove(conn, letter.id.as_str()).await?;
    Ok(waiting.len())
}

/// The letter takes the place of the one that it supersedes, if that is one for the same addressee: both show it, and
/// what of the old one is on its way still is stopped (COR-16).
async fn take_place(conn: &mut Conn, stamp: Stamp<'_>, letter: &Letter) -> Result<(), DbError> {
    let Some(id) = &letter.supersedes else { return Ok(()) };
    let Some(old) = letters::get(conn, id).await? else { return Ok(()) };
    if old.id == letter.id || old.brand != letter.brand || old.addressee != letter.addressee {
        tracing::warn!(letter = %letter.id, old = %old.id, "a letter can't supersede one for somebody else");
        return Ok(());
    }
    letters::supersede(conn, stamp, &old, &letter.id).await?;
    let Some(old) = letters::get(conn, id).await? else { return Ok(()) };
    match old.state {
        LetterState::Routed => stop_waiting(conn, stamp, &old, StopReason::Superseded).await.map(|_| ()),
        LetterState::Stopped => Ok(()),
        LetterState::Asked | LetterState::Composed | LetterState::Rendered | LetterState::Refused => {
            stop(conn, stamp, &old, StopReason::Superseded).await
        }
    }
}

/// The access manager is to know that letters come which nobody sees (COR-15).
async fn tell_nobody_entitled(conn: &mut Conn, stamp: Stamp<'_>, letter: &Letter) -> Result<(), DbError> {
    let Addressee::Tin(tin) = &letter.addressee else { return Ok(()) };
    let Some(uid) = reference::tin_uid(conn, tin).await? else { return Ok(()) };
    let event = NewEvent {
        kind: EventType::NobodyEntitled,
        subject: &uid,
        brand: &letter.brand,
        tin_uid: Some(&uid),
        actor: stamp.actor,
        payload: json!({ "letter": letter.id, "category": letter.category }),
    };
    events::append(conn, stamp, event).await
}
