//! What a person does to a document: undo a match, have a held file scanned again, replay dead work.

use serde_json::json;
use thiserror::Error;

use crate::db::documents::{self, Change};
use crate::db::{DbError, Stamp, work};
use crate::engine::tell_of_work;
use crate::intake::{Intake, stages};
use crate::model::document::DocumentState;
use crate::model::event::EventType;
use crate::model::ids::DocumentId;

/// Why it was not done.
#[derive(Debug, Error)]
pub enum ReviewError {
    /// The document is not known.
    #[error("there is no such document")]
    NoDocument,
    /// It is not in the state for this.
    #[error("the document is {state}; only one that is {needs} can be changed so")]
    State {
        /// Its state.
        state: DocumentState,
        /// What would be needed.
        needs: &'static str,
    },
    /// There is no such dead letter.
    #[error("there is no dead letter of that subject and stage")]
    NoDeadLetter,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Intake {
    /// Takes a document off its case (INT-17). The candidates and their evidence stay, for the next decision.
    ///
    /// # Errors
    /// See [`ReviewError`].
    pub async fn undo_match(&self, actor: &str, id: &DocumentId) -> Result<(), ReviewError> {
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        let document = documents::get(&mut tx, id).await?.ok_or(ReviewError::NoDocument)?;
        if document.state != DocumentState::Matched {
            return Err(ReviewError::State { state: document.state, needs: "matched" });
        }
        let payload = json!({ "case_id": document.case_id });
        documents::note(&mut tx, stamp, &document, EventType::MatchUndone, payload).await?;
        let change = Change { off_case: true, ..Change::default() };
        documents::transition(&mut tx, stamp, &document, DocumentState::NeedsReview, change).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// Has a held document judged again, from the start: what held it may be gone.
    ///
    /// # Errors
    /// See [`ReviewError`].
    pub async fn rescan(&self, actor: &str, id: &DocumentId) -> Result<(), ReviewError> {
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        let document = documents::get(&mut tx, id).await?.ok_or(ReviewError::NoDocument)?;
        if document.state != DocumentState::Held {
            return Err(ReviewError::State { state: document.state, needs: "held" });
        }
        documents::note(&mut tx, stamp, &document, EventType::RescanAsked, json!({})).await?;
        documents::transition(&mut tx, stamp, &document, DocumentState::Received, Change::default()).await?;
        work::put(&mut tx, stamp, id.as_str(), stages::FIRST).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// Sets a dead letter to work again, with its tries anew (INT-18).
    ///
    /// # Errors
    /// See [`ReviewError`].
    pub async fn replay(&self, actor: &str, subject: &str, stage: &str) -> Result<(), ReviewError> {
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        if !work::replay(&mut tx, stamp, subject, stage).await? {
            return Err(ReviewError::NoDeadLetter);
        }
        tell_of_work(&mut tx, stamp, EventType::WorkReplayed, subject, stage).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }
}
