//! Submissions: opened, sent, taken up again after a failure.

use thiserror::Error;

use crate::db::documents::{Change, Document};
use crate::db::submissions::{self, Submission};
use crate::db::{Conn, DbError, Stamp, documents, reference};
use crate::intake::Intake;
use crate::model::case::CaseKind;
use crate::model::document::{Channel, DocumentState};
use crate::model::ids::{Brand, DocumentId, ReferenceNumber, SubmissionId};
use crate::model::submission::{Said, SubmissionState};
use crate::outside::traces::Span;

/// A submission to be opened.
#[derive(Debug, Clone)]
pub struct NewSubmission {
    /// The id it is to have, where that was chosen before (an `Idempotency-Key`).
    pub id: Option<SubmissionId>,
    /// Whose it is, as events name callers; a service that speaks for a user does not own it.
    pub owner: String,
    /// The brand it is sent to.
    pub brand: Brand,
    /// The kind of case it is for.
    pub kind: CaseKind,
    /// What the sender says it is about.
    pub said: Said,
    /// How it comes.
    pub channel: Channel,
    /// The sender's own reference.
    pub sender_reference: Option<String>,
    /// A failed submission whose clean files it takes over (INT-13).
    pub resubmits: Option<SubmissionId>,
}

/// Why a submission could not be opened, sent or changed.
#[derive(Debug, Error)]
pub enum SubmitError {
    /// It is not known.
    #[error("there is no such submission")]
    NoSubmission,
    /// It is not in the state for this.
    #[error("the submission is {state}; {needs}")]
    State {
        /// Its state.
        state: SubmissionState,
        /// What would be needed.
        needs: &'static str,
    },
    /// It has no such file.
    #[error("the submission has no such file")]
    NoFile,
    /// It has no files.
    #[error("the submission has no files; add one before it is sent")]
    NoFiles,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Intake {
    /// Opens a submission.
    ///
    /// # Errors
    /// [`SubmitError::State`] when the submission to be taken up again has not failed.
    pub async fn open_submission(&self, actor: &str, new: NewSubmission) -> Result<Submission, SubmitError> {
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        // Asked again, because the answer was lost: the same attempt, for its files lie there already.
        if let Some(failed) = &new.resubmits {
            submissions::lock(&mut tx, failed).await?.ok_or(SubmitError::NoSubmission)?;
            if let Some(open) = submissions::open_attempt(&mut tx, failed).await? {
                let submission = submissions::get(&mut tx, &open).await?.ok_or(SubmitError::NoSubmission)?;
                tx.commit().await.map_err(DbError::from)?;
                return Ok(submission);
            }
        }
        let tin_uid = match &new.said.tin {
            Some(tin) => reference::tin_uid(&mut tx, tin).await?,
            None => None,
        };
        let id = match new.id {
            Some(id) => id,
            None => stamp.new_id()?,
        };
        let submission = Submission {
            id,
            brand: new.brand,
            reference: ReferenceNumber::from_random(self.ctx.random_bits()),
            kind: new.kind,
            state: SubmissionState::Open,
            owner: new.owner,
            tin: new.said.tin.clone(),
            said: new.said,
            channel: new.channel,
            tin_uid,
            sender_reference: new.sender_reference,
            resubmits: new.resubmits,
            version: 0,
            created_at: self.ctx.now(),
            submitted_at: None,
            ended_at: None,
        };
        submissions::insert(&mut tx, stamp, &submission).await?;
        if let Some(failed) = &submission.resubmits {
            carry_over(&mut tx, stamp, failed, &submission).await?;
        }
        tx.commit().await.map_err(DbError::from)?;
        Span::root(&self.ctx, "open", submission.id.as_str()).within_request().end(&self.ctx, "open", false);
        Ok(submission)
    }

    /// Sends a submission: from here on it is the payer's. A second time changes nothing.
    ///
    /// # Errors
    /// [`SubmitError::NoFiles`] when there is nothing to send.
    pub async fn submit(&self, actor: &str, id: &SubmissionId) -> Result<Submission, SubmitError> {
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        let submission = submissions::lock(&mut tx, id).await?.ok_or(SubmitError::NoSubmission)?;
        match submission.state {
            SubmissionState::Open => {}
            SubmissionState::Withdrawn => {
                return Err(SubmitError::State { state: submission.state, needs: "it can't be sent any more" });
            }
            _ => return Ok(submission),
        }
        let files = documents::of_submission(&mut tx, id).await?;
        if !files.iter().any(|d| d.accepted_at.is_some() && d.state != DocumentState::Withdrawn) {
            return Err(SubmitError::NoFiles);
        }
        submissions::transition(&mut tx, stamp, &submission, SubmissionState::Submitted).await?;
        let sent = submissions::get(&mut tx, id).await?.ok_or(SubmitError::NoSubmission)?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(sent)
    }
}

impl Intake {
    /// Takes a file out of a submission that was not sent yet. One in which a virus was found can be taken out so,
    /// too (INT-13); its bytes stay barred. A second time changes nothing.
    ///
    /// # Errors
    /// [`SubmitError::State`] when the submission was sent, or its file is still arriving.
    pub async fn withdraw_file(&self, actor: &str, id: &SubmissionId, file: &DocumentId) -> Result<(), SubmitError> {
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        let submission = submissions::lock(&mut tx, id).await?.ok_or(SubmitError::NoSubmission)?;
        let document = documents::get(&mut tx, file).await?.filter(|d| d.submission_id.as_ref() == Some(id));
        let document = document.ok_or(SubmitError::NoFile)?;
        if submission.state != SubmissionState::Open {
            return Err(SubmitError::State {
                state: submission.state,
                needs: "files are taken away before it is sent",
            });
        }
        take_out(&mut tx, stamp, &document).await?;
        Ok(tx.commit().await.map_err(DbError::from)?)
    }

    /// Withdraws a submission that was not sent yet, with all of its files. A second time changes nothing.
    ///
    /// # Errors
    /// [`SubmitError::State`] when it was sent.
    pub async fn withdraw(&self, actor: &str, id: &SubmissionId) -> Result<(), SubmitError> {
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        let submission = submissions::lock(&mut tx, id).await?.ok_or(SubmitError::NoSubmission)?;
        match submission.state {
            SubmissionState::Open => {}
            SubmissionState::Withdrawn => return Ok(()),
            state => return Err(SubmitError::State { state, needs: "only one that was not sent can be withdrawn" }),
        }
        take_back(&mut tx, stamp, &submission).await?;
        Ok(tx.commit().await.map_err(DbError::from)?)
    }
}

/// Withdraws an open submission that the caller holds, with all of its files.
pub(super) async fn take_back(conn: &mut Conn, stamp: Stamp<'_>, submission: &Submission) -> Result<(), DbError> {
    for document in documents::of_submission(conn, &submission.id).await? {
        take_out(conn, stamp, &document).await?;
    }
    submissions::transition(conn, stamp, submission, SubmissionState::Withdrawn).await
}

/// Takes a document out of an open submission, and frees its place there. Work that is under way for it finds it gone.
async fn take_out(conn: &mut Conn, stamp: Stamp<'_>, document: &Document) -> Result<(), DbError> {
    if document.state == DocumentState::Withdrawn || document.accepted_at.is_none() && document.state.is_judged() {
        return Ok(());
    }
    documents::transition(conn, stamp, document, DocumentState::Withdrawn, Change::default()).await?;
    match &document.submission_id {
        Some(submission) => submissions::free_file(conn, submission).await,
        None => Ok(()),
    }
}

/// Hands the clean files of a failed submission over to a new attempt: they are not uploaded again (INT-13).
async fn carry_over(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    failed: &SubmissionId,
    attempt: &Submission,
) -> Result<(), SubmitError> {
    let old = submissions::lock(conn, failed).await?.ok_or(SubmitError::NoSubmission)?;
    if !matches!(old.state, SubmissionState::FailedVirus | SubmissionState::FailedRejected)
        || (&old.brand, old.kind) != (&attempt.brand, attempt.kind)
    {
        return Err(SubmitError::State { state: old.state, needs: "only a failed one can be taken up again" });
    }
    for document in documents::of_submission(conn, failed).await? {
        if document.state == DocumentState::Stored {
            documents::carry(conn, stamp, &document, &attempt.id).await?;
            submissions::reserve_file(conn, &attempt.id, i64::MAX).await?;
        }
    }
    Ok(())
}
