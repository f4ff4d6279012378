//! Stage store: judged bytes go to their final place: clean ones to `content/`, infected ones to
//! `quarantine/` (INT-13, INT-14).
//!
//! State first, cleanup after: the copy is repeatable, then the rows change in one transaction, then
//! `incoming/` is swept.

use async_trait::async_trait;

use super::{Judged, Stored, of_store, settle_submission};
use crate::db::contents::{self, Content, ContentState};
use crate::db::documents::{self, Change, Judged as Judgement};
use crate::db::{Conn, DbError, Stamp};
use crate::engine::stage::{Attempt, Handover, Outcome, Stage, StageError};
use crate::intake::Intake;
use crate::model::document::DocumentState;
use crate::model::ids::{Brand, DocumentId, Sha256};
use crate::model::judgement::{Reason, ReasonCode};
use crate::outside::objects::{ObjectKey, Tag};

/// The stage.
pub struct Store(pub Intake);

#[async_trait]
impl Stage for Store {
    const NAME: &'static str = "store";
    type In = Judged;
    type Product = Content;
    type Out = Stored;

    async fn run(&self, input: &Judged, _: Attempt) -> Result<Outcome<Content>, StageError> {
        let document = &input.document;
        let judged = judgement(input).ok_or_else(|| StageError::Fail { why: "the verdict is not complete".into() })?;
        let known = {
            let mut conn = self.0.db.read().await?;
            contents::get(&mut conn, &document.brand, &input.sha256).await?
        };
        let state = match known.as_ref().map(|c| c.state) {
            Some(ContentState::Deleting) => {
                return Err(StageError::Retry { why: "the same bytes are just being destroyed".into() });
            }
            // Found infected before: an older signature set does not make it clean.
            Some(ContentState::Infected) => ContentState::Infected,
            _ if judged.signature.is_some() => ContentState::Infected,
            _ => ContentState::Clean,
        };
        let judged = match known {
            Some(known) if known.state == ContentState::Infected => known.judged,
            _ => judged,
        };
        let (to, tag) = match state {
            ContentState::Infected => (ObjectKey::quarantine(&document.brand, &input.sha256), Tag::Quarantined),
            _ => (ObjectKey::content(&document.brand, &input.sha256), Tag::Clean),
        };
        let from = ObjectKey::incoming(&document.id);
        let version = document.incoming_version.as_deref();
        let stored = self
            .0
            .objects
            .copy(&from, version, &to, &input.sha256, input.size_bytes, tag)
            .await
            .map_err(|error| of_store(&error))?;
        Ok(Outcome::Advance(Content {
            brand: document.brand.clone(),
            sha256: input.sha256.clone(),
            size_bytes: input.size_bytes,
            state,
            version_id: stored.version,
            judged,
        }))
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Judged,
        outcome: Outcome<Content>,
    ) -> Result<Handover, DbError> {
        let content = match outcome {
            Outcome::Advance(content) => content,
            Outcome::Hold(reason) | Outcome::Reject(reason) => {
                let due_at = Some(self.0.aging().held_due(conn, &input.document).await?);
                let change = Change { reason: Some(reason), due_at, ..Change::default() };
                documents::transition(conn, stamp, &input.document, DocumentState::Held, change).await?;
                return Ok(Handover::Waits);
            }
        };
        contents::put(conn, stamp, &content).await?;
        // Another document's judgement of the same bytes may have come in between.
        let standing = contents::get(conn, &content.brand, &content.sha256).await?;
        if standing.is_none_or(|standing| standing.state != content.state) {
            return Err(DbError::Stale { what: "content" });
        }
        let (to, change) = match content.state {
            ContentState::Infected => {
                bar_documents(conn, stamp, &content, Some(&input.document.id)).await?;
                (DocumentState::Quarantined, barred(&content.judged))
            }
            _ => (DocumentState::Stored, Change::default()),
        };
        documents::transition(conn, stamp, &input.document, to, change).await?;
        settle_submission(conn, stamp, &input.document).await?;
        Ok(Handover::Waits)
    }

    async fn after(&self, input: &Judged) {
        self.0.clear_incoming(&input.document).await;
        self.0.clear_barred(&input.document.brand, &input.sha256).await;
    }
}

impl Intake {
    /// Takes bytes out of `content/` that an older signature set had let in and that are barred now.
    async fn clear_barred(&self, brand: &Brand, sha256: &Sha256) {
        let state = async {
            let mut conn = self.db.read().await?;
            contents::get(&mut conn, brand, sha256).await
        };
        if matches!(state.await, Ok(Some(Content { state: ContentState::Infected, .. })))
            && let Err(error) = self.objects.delete(&ObjectKey::content(brand, sha256)).await
        {
            tracing::warn!(error = %error, "could not sweep infected content");
        }
    }
}

/// Bars every document of content that was found infected, but for `except`: also those that an older signature
/// set had let pass (INT-12).
pub(crate) async fn bar_documents(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    content: &Content,
    except: Option<&DocumentId>,
) -> Result<(), DbError> {
    for document in documents::of_content(conn, &content.brand, &content.sha256).await? {
        if Some(&document.id) != except
            && document.state.is_judged()
            && document.state.may_become(DocumentState::Quarantined)
        {
            documents::transition(conn, stamp, &document, DocumentState::Quarantined, barred(&content.judged)).await?;
            settle_submission(conn, stamp, &document).await?;
        }
    }
    Ok(())
}

/// What the row of an infected document says.
fn barred(judged: &Judgement) -> Change {
    let message = "a virus was found in this file; it is barred. Take it out, and send a clean copy".to_owned();
    Change { reason: Some(Reason::new(ReasonCode::Virus, message)), judged: Some(judged.clone()), ..Change::default() }
}

fn judgement(input: &Judged) -> Option<Judgement> {
    let document = &input.document;
    Some(Judgement {
        signature: document.signature.clone(),
        engine: document.engine.clone()?,
        signatures: document.signatures.clone()?,
    })
    // an infected verdict without its signature, or a clean one with, is not acted on
    .filter(|judged| judged.signature.is_some() == (document.verdict.as_deref() == Some("infected")))
}
