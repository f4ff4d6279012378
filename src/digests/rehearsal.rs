//! What an administrator tries before it happens (OPS-10): a run that does nothing, and a test mail to oneself.

use std::collections::BTreeSet;

use jiff::civil::Date;
use serde_json::json;
use thiserror::Error;

use super::Digests;
use super::mail::{ComposeError, MailContent};
use super::planning::DryRun;
use super::schedules::{ScheduleError, Standing};
use crate::codes;
use crate::db::schedules::Schedule;
use crate::db::{DbError, Stamp, events, suppressions};
use crate::model::digest::{Cadence, DigestKind, mail_address, mail_id};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::UserId;
use crate::model::phi::Phi;
use crate::outside::mailer::{Away, BodyError};

/// What a run that somebody asks for now would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// Whose choices it would serve.
    pub serves: BTreeSet<Cadence>,
    /// The local day that its mails would be of.
    pub day: Date,
    /// What would become of what waits.
    pub found: DryRun,
}

codes! {
    /// What became of a test mail.
    pub enum TestOutcome {
        /// The relay has it.
        Accepted = "accepted",
        /// The relay refused it: it did not go.
        Refused = "refused",
        /// The relay gave no answer: it may have gone.
        InDoubt = "in_doubt",
    }
}

/// A test mail, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestSent {
    /// Its subject.
    pub subject: String,
    /// The relay that was spoken to.
    pub relay: String,
    /// What it came to.
    pub outcome: TestOutcome,
    /// Why, where it is not accepted: what the relay answered.
    pub reason: Option<String>,
}

/// Why no test mail was sent. The texts are for outside.
#[derive(Debug, Error)]
pub enum TestError {
    /// The settings say nothing of mail.
    #[error("this installation has no [mail] in its settings: no mail is sent from here")]
    NoMail,
    /// The address is suppressed (COR-34).
    #[error("nothing is sent to this address, after a bounce or a complaint: lift that first")]
    Suppressed,
    /// The address is none that relays take.
    #[error("the address is none that a mail can go to")]
    Address,
    /// It can't be made.
    #[error("the mail can't be made: its template fails")]
    Compose,
    /// No relay can be had.
    #[error(transparent)]
    Away(#[from] Away),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<ComposeError> for TestError {
    fn from(error: ComposeError) -> Self {
        match error {
            ComposeError::Address => Self::Address,
            _ => Self::Compose,
        }
    }
}

impl Digests {
    /// What a run of the schedule would do if it were asked for now: who would be told and why, who would not and why; up
    /// to `users` users behind `after`. Nothing is changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rehearse(
        &self,
        standing: &Standing,
        after: Option<&UserId>,
        users: u32,
    ) -> Result<Rehearsed, ScheduleError> {
        let schedule = &standing.schedule;
        let zone = self.zone_of(&mut *self.db.read().await?, &schedule.brand).await?;
        let day = zone.to_datetime(self.ctx.now()).date();
        let serves = BTreeSet::from([schedule.cadence]);
        let found = self.dry_run(&schedule.brand, &serves, day, after, users).await?;
        Ok(Rehearsed { serves, day, found })
    }

    /// Sends a test mail of the schedule's brand, with made content, over the relays that digests go by. It is told of in
    /// an event before it goes; digests and their rows know nothing of it.
    ///
    /// # Errors
    /// See [`TestError`]: nothing was sent.
    pub async fn send_test(
        &self,
        stamp: Stamp<'_>,
        schedule: &Schedule,
        kind: DigestKind,
        (to, name): (Phi<String>, Phi<String>),
    ) -> Result<TestSent, TestError> {
        let mail = self.mail.as_ref().ok_or(TestError::NoMail)?;
        // it is nobody's: each test is a message of its own, and its tokens lead to nothing
        let nobody: UserId = self.ctx.new_id().parse().map_err(|_| TestError::Compose)?;
        let (now, zone) = (self.ctx.now(), self.calendar.zone().clone());
        let day = now.to_zoned(zone.clone()).date();
        let id = mail_id(&schedule.brand, day, &nobody, kind).map_err(|_| TestError::Compose)?;
        let address = mail_address(to.reveal());
        let content = MailContent::test(id, schedule.brand.clone(), kind, to, name, now, zone);
        let composed = mail.composer.compose(&content)?;
        let mut tx = self.db.begin().await?;
        if !suppressions::against(&mut tx, &address).await?.is_empty() {
            return Err(TestError::Suppressed);
        }
        let event = NewEvent {
            kind: EventType::TestMailAsked,
            subject: schedule.id.as_str(),
            brand: &schedule.brand,
            tin_uid: None,
            actor: stamp.actor,
            payload: json!({ "schedule": schedule.name, "kind": kind }),
        };
        events::append(&mut tx, stamp, event).await?;
        tx.commit().await.map_err(DbError::from)?;
        let mut dialog = mail.relays.connect().await?;
        let relay = dialog.relay().to_owned();
        let (outcome, reason) = match dialog.begin(&composed.from, composed.to.reveal()).await {
            Err(refused) => (TestOutcome::Refused, Some(refused.reason())),
            Ok(()) => match dialog.body(&composed.bytes).await {
                Ok(_) => (TestOutcome::Accepted, None),
                Err(BodyError::Refused(refused)) => (TestOutcome::Refused, Some(refused.reason())),
                Err(BodyError::CutOff) => (TestOutcome::Refused, Some("cut_off".to_owned())),
                Err(BodyError::Unknown) => (TestOutcome::InDoubt, Some("no_answer".to_owned())),
            },
        };
        Ok(TestSent { subject: composed.subject, relay, outcome, reason })
    }
}
