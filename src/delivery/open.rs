//! The PDF of a letter in a user's hand, and the evidence of it (COR-02, COR-26).

use serde_json::json;

use super::Correspondence;
use crate::db::letters::{self, Letter};
use crate::db::messages::{self, Marking, Message};
use crate::db::{DbError, Stamp};
use crate::model::event::EventType;
use crate::model::ids::{LetterId, Sha256, UserId};
use crate::outside::objects::{ObjectError, ObjectKey, Objects};

/// Why a PDF is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// The letter has none.
    #[error("the letter is not rendered")]
    None,
    /// What lies in its place is not it, or nothing.
    #[error("the PDF of letter {0} is not where it was stored, or not what was stored")]
    Lost(LetterId),
    /// The store can't be read.
    #[error("the PDF of letter {0} can't be read: {1}")]
    Store(LetterId, #[source] ObjectError),
}

/// A letter's PDF, compared with its hash: what is read is what was issued.
///
/// # Errors
/// See [`PdfError`].
pub async fn pdf(objects: &dyn Objects, letter: &Letter) -> Result<Vec<u8>, PdfError> {
    let made = letter.made.as_ref().ok_or(PdfError::None)?;
    let limit = usize::try_from(made.size_bytes).unwrap_or(usize::MAX);
    let bytes = objects.get_bytes(&ObjectKey::letter(&letter.brand, &made.sha256), limit).await;
    let bytes = bytes.map_err(|error| PdfError::Store(letter.id.clone(), error))?;
    let sound = bytes.filter(|bytes| Sha256::of(bytes) == made.sha256);
    sound.ok_or_else(|| PdfError::Lost(letter.id.clone()))
}

impl Correspondence {
    /// Keeps that a user opened the letters of these messages: each is read then, the first opening is kept for good,
    /// and each is an event.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn opened(&self, stamp: Stamp<'_>, user: &UserId, opened: &[(Message, Letter)]) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        for (message, letter) in opened {
            let first = messages::open(&mut tx, stamp, &message.id, user).await?;
            let read = Marking { read: Some(true), ..Marking::default() };
            messages::mark(&mut tx, stamp, user, message, read).await?;
            let payload = json!({ "message": message.id, "first": first });
            letters::event(&mut tx, stamp, letter, EventType::LetterOpened, payload).await?;
        }
        Ok(tx.commit().await?)
    }
}
