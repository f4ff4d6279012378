//! Stage sniff: what is it, is it whole, may it come in (INT-11).

use async_trait::async_trait;

use super::{Received, Sniffed, of_reading, settle_submission};
use crate::db::documents::{self, Change};
use crate::db::{Conn, DbError, Stamp};
use crate::engine::stage::{Attempt, Handover, Outcome, Stage, StageError};
use crate::intake::Intake;
use crate::intake::sniff as judge;
use crate::model::document::DocumentState;
use crate::model::judgement::{FileType, Flag, Reason, ReasonCode};
use crate::model::trial::Trial;

/// The stage.
pub struct Sniff(pub Intake);

/// What a file was found to be.
#[derive(Debug, Clone)]
pub enum Found {
    /// An accepted type, what is remarkable, and the pages, where they are known.
    Type(FileType, Vec<Flag>, Option<u64>),
    /// Refused, with what it was recognised as.
    Refused(Option<String>, Reason),
}

#[async_trait]
impl Stage for Sniff {
    const NAME: &'static str = super::FIRST;
    type In = Received;
    type Product = Found;
    type Out = Sniffed;

    async fn run(&self, input: &Received, _: Attempt) -> Result<Outcome<Found>, StageError> {
        let intake = &self.0;
        match Trial::of(&input.document.brand, &input.document.file_name) {
            Some(Trial::Rejected) => {
                let reason =
                    Reason::new(ReasonCode::TypeNotAccepted, "refused because the name of this trial asks for it");
                return Ok(Outcome::Advance(Found::Refused(None, reason)));
            }
            Some(Trial::Held) => {
                let reason = Reason::new(ReasonCode::ScanFailed, "held because the name of this trial asks for it");
                return Ok(Outcome::Hold(reason));
            }
            _ => {}
        }
        let file = intake.bytes_of(&input.document, &input.sha256, input.size_bytes).await?;
        let name = input.document.file_name.reveal();
        let sniffed =
            judge::sniff(&file, input.size_bytes, name, &intake.sniff_policy(&input.document), &intake.extract)
                .await
                .map_err(|error| of_reading(&error))?;
        Ok(match sniffed {
            judge::Sniffed::Accept { file_type, flags, pages, .. } => {
                Outcome::Advance(Found::Type(file_type, flags, pages))
            }
            judge::Sniffed::Reject { detected, reason } => Outcome::Advance(Found::Refused(detected, reason)),
            judge::Sniffed::Hold { reason, .. } => Outcome::Hold(reason),
        })
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Received,
        outcome: Outcome<Found>,
    ) -> Result<Handover, DbError> {
        let document = &input.document;
        let refused = if document.channel.can_refuse() { DocumentState::Rejected } else { DocumentState::Held };
        let (to, change) = match outcome {
            Outcome::Advance(Found::Type(file_type, flags, pages)) => {
                let change = Change { file_type: Some((file_type, flags)), pages, ..Change::default() };
                documents::transition(conn, stamp, document, DocumentState::Scanning, change).await?;
                return Ok(Handover::Next);
            }
            Outcome::Advance(Found::Refused(detected, reason)) => {
                (refused, Change { detected, reason: Some(reason), ..Change::default() })
            }
            Outcome::Reject(reason) => (refused, Change { reason: Some(reason), ..Change::default() }),
            Outcome::Hold(reason) => (DocumentState::Held, Change { reason: Some(reason), ..Change::default() }),
        };
        let due_at = match to {
            DocumentState::Held => Some(self.0.aging().held_due(conn, document).await?),
            _ => None,
        };
        documents::transition(conn, stamp, document, to, Change { due_at, ..change }).await?;
        settle_submission(conn, stamp, document).await?;
        Ok(Handover::Waits)
    }

    async fn after(&self, input: &Received) {
        // a refused file's bytes are of no use any more; a held one's are, and an accepted one's above all
        let state = async {
            let mut conn = self.0.db.read().await.ok()?;
            documents::get(&mut conn, &input.document.id).await.ok()?.map(|d| d.state)
        };
        if state.await == Some(DocumentState::Rejected) {
            self.0.clear_incoming(&input.document).await;
        }
    }
}
