//! Mail that came back, and what a person does about addresses (COR-42).
//!
//! What came back waits for a person, and so does further mail to the same addressee at the same address. With another
//! address the letters wait for the next batch again and go there behind a sheet that carries it; a letter itself is
//! never changed. That happens once, for only a letter that came back can wait again.

use super::acknowledge::{by_place, checks, in_the_mail};
use super::addresses::GivenAddress;
use super::production::marks::{IntegrityMark, check_batch_name};
use super::{Paper, PaperError};
use crate::db::envelopes::{self, Enclosed, Envelope, MailTo, Times};
use crate::db::paper_tasks::{self, PaperTask};
use crate::db::{Conn, DbError, Stamp, batches, deliveries, letters};
use crate::engine::stage::stop_at;
use crate::model::ids::{Brand, PaperTaskId};
use crate::model::letter::DeliveryState;
use crate::model::paper::{EnvelopeState, PaperTaskEnd, PaperTaskKind, ReturnReason};

/// What came of mail that came back.
#[derive(Debug, Clone)]
pub struct Returned {
    /// The envelope as it stands now.
    pub envelope: Envelope,
    /// The name of its batch.
    pub batch: String,
    /// The task that stands about its address.
    pub task: Option<PaperTask>,
    /// Letters that wait for the next batch again.
    pub again: usize,
}

impl Paper {
    /// Keeps that an envelope came back, by what a scanner reads on it: the Data Matrix of one of its sheets, or the
    /// digits of its Intelligent Mail barcode. With another address its letters are mailed again.
    ///
    /// # Errors
    /// See [`PaperError`].
    pub async fn returned(
        &self,
        stamp: Stamp<'_>,
        barcode: &str,
        reason: ReturnReason,
        given: Option<&GivenAddress>,
    ) -> Result<Returned, PaperError> {
        let mut tx = self.db.begin().await?;
        let (batch, envelope, inside) = self.found(&mut tx, barcode).await?;
        batches::lock(&mut tx, &envelope.batch_id).await?;
        match envelope.state {
            EnvelopeState::Spoiled => {
                return Err(PaperError::State("the envelope was spoiled or missing: its letters are printed again"));
            }
            // told before: only the address may be new
            EnvelopeState::Returned => {}
            EnvelopeState::Mailed => came_back(&mut tx, stamp, &envelope, &inside, reason).await?,
            EnvelopeState::InBatch | EnvelopeState::Printed | EnvelopeState::Inserted => {
                // it was in the mail, or it could not have come back
                in_the_mail(&mut tx, stamp, &inside).await?;
                came_back(&mut tx, stamp, &envelope, &inside, reason).await?;
            }
        }
        let mut again = 0;
        if envelope.state != EnvelopeState::Returned {
            self.raise_returned(&mut tx, stamp, &envelope.brand, &envelope.to).await?;
        }
        if let Some(given) = given {
            let to = self.take_address(&envelope.to, given)?;
            again = correct(&mut tx, stamp, &envelope.brand, &envelope.to, &to).await?;
        }
        self.end_if_done(&mut tx, stamp, &envelope).await?;
        let now = envelopes::at(&mut tx, &envelope.batch_id, envelope.sequence).await?.ok_or(PaperError::NoEnvelope)?;
        let task = paper_tasks::of_address(&mut tx, &now.brand, &now.to.addressee, &now.to.hash).await?;
        stop_at("returned", "written").await;
        tx.commit().await.map_err(DbError::from)?;
        Ok(Returned { envelope: now, batch, task, again })
    }

    async fn found(&self, conn: &mut Conn, barcode: &str) -> Result<(String, Envelope, Vec<Enclosed>), PaperError> {
        let text = barcode.trim();
        let mark = text.parse::<IntegrityMark>().ok();
        let envelope = match &mark {
            Some(mark) => {
                check_batch_name(&mark.batch).map_err(|_| PaperError::NoEnvelope)?;
                let batch = batches::by_name(conn, &mark.batch).await?.ok_or(PaperError::NoEnvelope)?;
                envelopes::at(conn, &batch.id, i64::from(mark.sequence)).await?
            }
            None => {
                let (mailer, serial) = mailed_as(text).ok_or(PaperError::NoEnvelope)?;
                envelopes::by_serial(conn, mailer, serial).await?
            }
        };
        let envelope = envelope.ok_or(PaperError::NoEnvelope)?;
        let inside = by_place(envelopes::enclosed(conn, &envelope.batch_id, Some(envelope.sequence)).await?);
        let inside = inside.into_values().next().unwrap_or_default();
        if mark.is_some_and(|mark| !checks(&mark, &envelope, &inside)) {
            return Err(PaperError::NoEnvelope);
        }
        let batch = super::batch(conn, &envelope.batch_id).await?;
        Ok((batch.name, envelope, inside))
    }

    async fn end_if_done(&self, conn: &mut Conn, stamp: Stamp<'_>, envelope: &Envelope) -> Result<(), PaperError> {
        let batch = super::batch(conn, &envelope.batch_id).await?;
        if batch.state == crate::model::paper::BatchState::Assembled
            && envelopes::open(conn, &envelope.batch_id).await? == 0
        {
            batches::done(conn, stamp, &batch).await?;
        }
        Ok(())
    }

    /// Gives an addressee another address: what came back from the old one is mailed again, and what waits goes there.
    /// Answers how many letters that came back wait for the next batch again.
    ///
    /// # Errors
    /// See [`PaperError`].
    pub async fn correct_address(
        &self,
        stamp: Stamp<'_>,
        id: &PaperTaskId,
        version: Option<i64>,
        given: &GivenAddress,
    ) -> Result<(PaperTask, usize), PaperError> {
        let mut tx = self.db.begin().await?;
        let task = standing(&mut tx, id, version).await?;
        if task.kind != PaperTaskKind::Address {
            return Err(PaperError::State("the task is not about an address"));
        }
        let to = self.take_address(&task.to, given)?;
        let again = correct(&mut tx, stamp, &task.brand, &task.to, &to).await?;
        let now = paper_tasks::get(&mut tx, id).await?.ok_or(PaperError::NoTask)?;
        tx.commit().await.map_err(DbError::from)?;
        Ok((now, again))
    }

    /// Ends a task without another address: mail may go to the old one. With `again`, what came back from it is mailed
    /// there again. What is wrong with an address is found again when the next batch is closed.
    ///
    /// # Errors
    /// See [`PaperError`].
    pub async fn dismiss_task(
        &self,
        stamp: Stamp<'_>,
        id: &PaperTaskId,
        version: Option<i64>,
        again: bool,
    ) -> Result<(PaperTask, usize), PaperError> {
        let mut tx = self.db.begin().await?;
        let task = standing(&mut tx, id, version).await?;
        paper_tasks::end(&mut tx, stamp, &task, PaperTaskEnd::Dismissed).await?;
        let again = if again { wait_again(&mut tx, stamp, &task.brand, &task.to).await? } else { 0 };
        let now = paper_tasks::get(&mut tx, id).await?.ok_or(PaperError::NoTask)?;
        tx.commit().await.map_err(DbError::from)?;
        Ok((now, again))
    }
}

/// Mailer and serial number of the digits of an Intelligent Mail barcode (USPS-B-3200): a mailer's number of nine digits
/// begins with 9, one of six does not.
fn mailed_as(digits: &str) -> Option<(&str, i64)> {
    if !matches!(digits.len(), 20 | 25 | 29 | 31) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mailer_digits = if digits.as_bytes()[5] == b'9' { 9 } else { 6 };
    let serial = digits[5 + mailer_digits..20].parse().ok()?;
    Some((&digits[5..5 + mailer_digits], serial))
}

async fn standing(conn: &mut Conn, id: &PaperTaskId, version: Option<i64>) -> Result<PaperTask, PaperError> {
    let task = paper_tasks::get(conn, id).await?.ok_or(PaperError::NoTask)?;
    if task.ended_at.is_some() {
        return Err(PaperError::State("the task has ended"));
    }
    if version.is_some_and(|version| version != task.version) {
        return Err(PaperError::Conflict("task"));
    }
    Ok(task)
}

/// An envelope came back, and its letters with it.
async fn came_back(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    envelope: &Envelope,
    inside: &[Enclosed],
    reason: ReturnReason,
) -> Result<(), DbError> {
    let times = Times { returned_at: Some(stamp.ctx.now()), ..Times::default() };
    envelopes::transition(conn, stamp, envelope, EnvelopeState::Returned, times, Some(reason.as_str())).await?;
    for letter in inside {
        let delivery = deliveries::get(conn, &letter.delivery_id).await?;
        let delivery = delivery.ok_or(DbError::Unreadable { column: "delivery_id" })?;
        deliveries::transition(conn, stamp, &delivery, DeliveryState::Returned, None).await?;
    }
    Ok(())
}

/// Another address takes the place of one: what stands about the old one has ended.
async fn correct(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    brand: &Brand,
    old: &MailTo,
    new: &MailTo,
) -> Result<usize, PaperError> {
    // back to an address that was given up before: that one is the last word then
    paper_tasks::forget_correction(conn, brand, new).await?;
    paper_tasks::correct(conn, stamp, brand, old, &new.address).await?;
    if let Some(task) = paper_tasks::of_address(conn, brand, &old.addressee, &old.hash).await? {
        paper_tasks::end(conn, stamp, &task, PaperTaskEnd::Corrected).await?;
    }
    Ok(wait_again(conn, stamp, brand, old).await?)
}

/// What came back from an address waits for the next batch again, but for letters whose place another took. Answers how
/// many they are.
async fn wait_again(conn: &mut Conn, stamp: Stamp<'_>, brand: &Brand, from: &MailTo) -> Result<usize, DbError> {
    let mut again = 0;
    for envelope in envelopes::returned_from(conn, brand, &from.addressee, &from.hash).await? {
        for letter in envelopes::enclosed(conn, &envelope.batch_id, Some(envelope.sequence)).await? {
            let superseded = letters::get(conn, &letter.letter_id).await?.is_none_or(|one| one.superseded_by.is_some());
            let delivery = deliveries::get(conn, &letter.delivery_id).await?;
            if let Some(delivery) = delivery.filter(|one| !superseded && one.state == DeliveryState::Returned) {
                deliveries::transition(conn, stamp, &delivery, DeliveryState::Waiting, None).await?;
                again += 1;
            }
        }
    }
    Ok(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cor_42_the_digits_of_a_barcode_name_the_mailer_and_the_piece() {
        for (digits, expected) in [
            ("00270800000000000123", Some(("800000", 123))),
            ("0027080000000000012343001", Some(("800000", 123))),
            ("00270900000001000123430010417", Some(("900000001", 123))),
            ("0027080000000000012", None),
            ("0027080000000000012x", None),
            ("", None),
        ] {
            assert_eq!(mailed_as(digits), expected, "{digits}");
        }
    }
}
