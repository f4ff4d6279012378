//! Resumable uploads: a file that comes in several requests, over any node (INT-30).
//!
//! What a request brings is an object of its own, durable before it counts. When all bytes are there, the parts are
//! replayed through [`Intake::receive`], so that limits, hashes, crash-safety and the promise of INT-10 are in one
//! place, however a file comes. Nothing of an upload is on a node: any one can go on with it.
//!
//! A writer holds a lease. Its token names the node and a file of that node's spool, which is there as long as the
//! writer is: a node that comes back from a crash sees which of its own leases nobody holds any more.
//!
//! Refused designs:
//! - Appending to one object. Stores can't, and what was acknowledged would have to be read back to be trusted.
//! - Multipart uploads of the store. Their parts have a least size of 5 MiB, so a line that breaks earlier would
//!   never come to an end, and our stores would differ.
//! - Joining the parts in the store. The document's hash would be taken of nothing that we saw.

mod append;
mod complete;
mod give_way;
mod sweep;

pub use append::{Append, Checksum};

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use thiserror::Error;
use tokio::time::Instant;

use crate::db::uploads::{self, Upload, UploadState};
use crate::db::{Conn, DbError, Stamp, documents, submissions};
use crate::intake::Intake;
use crate::intake::receive::over_the_limit;
use crate::intake::room::NoRoom;
use crate::model::document::{Channel, DocumentState, FileName};
use crate::model::ids::{SubmissionId, UploadId};
use crate::model::judgement::{Reason, ReasonCode};
use crate::model::phi::Phi;
use crate::model::submission::SubmissionState;
use crate::outside::objects::ObjectError;
use crate::outside::spool::SpoolFile;

/// Why an upload was not begun or did not go on.
#[derive(Debug, Error)]
pub enum UploadError {
    /// There is no such upload in the submission, or no such submission.
    #[error("there is no such upload")]
    NotFound,
    /// The submission takes no files any more.
    #[error("the submission is {state}: it takes no more files")]
    Closed {
        /// Its state.
        state: SubmissionState,
    },
    /// The upload was not begun: its file would be refused.
    #[error("{}", .0.message)]
    Refused(Reason),
    /// The sender has as many uploads under way as may be.
    #[error("{limit} uploads are under way; end one of them or wait until one has expired")]
    TooManyUnderWay {
        /// How many may be.
        limit: i64,
    },
    /// The upload has ended, and not as a document.
    #[error("the upload is {state}; begin another")]
    Ended {
        /// How.
        state: UploadState,
        /// Why its file was refused.
        reason: Option<Reason>,
        /// By this request: it was under way before.
        now: bool,
    },
    /// Another request writes to it.
    #[error("another request writes to the upload; wait until it has ended")]
    Locked,
    /// The bytes would not go where the last ones ended.
    #[error("the upload goes on at byte {offset_bytes}")]
    Conflict {
        /// Where it goes on.
        offset_bytes: u64,
    },
    /// The bytes are not those of the checksum; they are thrown away.
    #[error("the bytes are not those of the checksum; send them again")]
    ChecksumMismatch,
    /// More bytes than the upload was begun for; they are thrown away.
    #[error("the upload was begun for {length_bytes} bytes, and these are more")]
    TooLong {
        /// Its length.
        length_bytes: u64,
    },
    /// The request announces few bytes, and they are not the last.
    #[error("a request must bring {least_bytes} bytes or all the rest")]
    PartTooSmall {
        /// How many it must bring.
        least_bytes: u64,
    },
    /// The upload came in as many pieces as may be.
    #[error("the upload came in {limit} pieces; it takes only all the rest in one")]
    TooManyParts {
        /// How many may be.
        limit: i64,
    },
    /// The request broke off.
    #[error("the request broke off; the upload goes on at byte {offset_bytes}")]
    Broken {
        /// Where it goes on: what arrived is kept.
        offset_bytes: u64,
    },
    /// The bytes came too slowly.
    #[error("the request took too long; the upload goes on at byte {offset_bytes}")]
    TooSlow {
        /// Where it goes on: what arrived is kept.
        offset_bytes: u64,
    },
    /// It is turned away for now, before a byte was read.
    #[error(transparent)]
    NoRoom(NoRoom),
    /// All bytes are there, and the document could not be made yet for a passing reason. It is tried again.
    #[error("all bytes are there; the file is taken in shortly, ask again")]
    Pending {
        /// When to ask again, in seconds.
        retry_after_s: u32,
    },
    /// The disk of the spool failed or is full.
    #[error("the spool can't take the bytes")]
    Spool(#[source] std::io::Error),
    /// The store failed: these bytes are not taken.
    #[error("the object store can't take the bytes")]
    Store(#[source] ObjectError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<NoRoom> for UploadError {
    fn from(no_room: NoRoom) -> Self {
        match no_room {
            NoRoom::Disk(error) => Self::Spool(error),
            told @ (NoRoom::Spool { .. } | NoRoom::Queue { .. }) => Self::NoRoom(told),
        }
    }
}

/// An upload to be begun.
#[derive(Debug, Clone)]
pub struct NewUpload<'a> {
    /// The submission its file is for.
    pub submission: &'a SubmissionId,
    /// Who begins it, as events name them: the document's receipt will, too.
    pub owner: &'a str,
    /// The sender's name for the file.
    pub file_name: &'a FileName,
    /// The file's size in bytes.
    pub length_bytes: u64,
    /// What the sender says of it, in the sender's own form.
    pub metadata: Option<&'a str>,
}

/// An upload that is ours to write to. The scratch file lives as long as the writer.
struct Held {
    upload: Upload,
    token: String,
    scratch: SpoolFile,
}

impl Intake {
    /// Begins an upload. What would be refused in the end is refused here already, where it can be seen: a file over
    /// the limit of its case kind (INT-05), of a name that is taken, of a submission that is full or closed.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn create_upload(&self, new: NewUpload<'_>) -> Result<Upload, UploadError> {
        let policy = &self.plan.uploads;
        let now = self.ctx.now();
        // nothing is set aside for what may come hours later, but who would be turned away then is told so now
        drop(self.room_for(new.length_bytes.min(self.plan.limits.largest())).await?);
        let mut tx = self.db.begin().await?;
        let submission = submissions::lock(&mut tx, new.submission).await?.ok_or(UploadError::NotFound)?;
        if submission.state != SubmissionState::Open {
            return Err(UploadError::Closed { state: submission.state });
        }
        self.foresee(&mut tx, &new, &submission).await?;
        if uploads::under_way(&mut tx, new.owner).await? >= policy.under_way {
            return Err(UploadError::TooManyUnderWay { limit: policy.under_way });
        }
        let upload = Upload {
            id: self.upload_stamp().new_id()?,
            submission_id: submission.id,
            brand: submission.brand,
            owner: new.owner.to_owned(),
            file_name: new.file_name.clone(),
            metadata: new.metadata.map(|metadata| Phi(metadata.to_owned())),
            state: UploadState::Receiving,
            length_bytes: new.length_bytes,
            offset_bytes: 0,
            parts: 0,
            document_id: self.upload_stamp().new_id()?,
            tries: 0,
            due_at: now,
            lease: None,
            reason: None,
            created_at: now,
            expires_at: now.checked_add(policy.expire()).unwrap_or(Timestamp::MAX),
        };
        uploads::insert(&mut tx, &upload).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(upload)
    }

    /// Begins an upload with its first bytes, or all of them. Where the bytes can't be used the upload is not there
    /// either; where they broke off or could not be taken now, it is, and goes on where they end.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn create_upload_with<S, E>(
        &self,
        new: NewUpload<'_>,
        announced_bytes: Option<u64>,
        checksum: Option<Checksum>,
        body: S,
    ) -> Result<Upload, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    {
        let begun = self.create_upload(new).await?;
        let (submission, upload) = (begun.submission_id.clone(), begun.id.clone());
        let first = Append { submission, upload, offset_bytes: 0, announced_bytes, checksum };
        match self.append_to_upload(first, body).await {
            Ok(upload) => Ok(upload),
            Err(
                error
                @ (UploadError::ChecksumMismatch | UploadError::TooLong { .. } | UploadError::PartTooSmall { .. }),
            ) => {
                self.terminate_upload(&begun.submission_id, &begun.id).await?;
                Err(error)
            }
            Err(error @ UploadError::Ended { .. }) => Err(error),
            // the sender learns the upload's address, and there how it stands
            Err(error) => {
                tracing::warn!(upload = %begun.id, error = %error, "an upload began without its first bytes");
                self.find_upload(&begun.submission_id, &begun.id).await
            }
        }
    }

    /// Refuses what is already known to come to a refusal.
    async fn foresee(
        &self,
        conn: &mut Conn,
        new: &NewUpload<'_>,
        submission: &submissions::Submission,
    ) -> Result<(), UploadError> {
        let refuse = |code, message: &str| Err(UploadError::Refused(Reason::new(code, message)));
        if new.length_bytes == 0 {
            return refuse(ReasonCode::Empty, "the file is empty; check it and send it again");
        }
        let limits = self.plan.limits.of(submission.kind);
        let by_upload = submission.channel == Channel::Upload;
        let limit_bytes = if by_upload { limits.file_bytes } else { self.plan.receive.alone_bytes };
        if new.length_bytes > limit_bytes {
            return Err(UploadError::Refused(over_the_limit(limit_bytes, Some(new.length_bytes))));
        }
        if by_upload {
            // whether a place is free is told by taking it; it is taken for good when the file is there
            if !submissions::reserve_file(conn, new.submission, limits.files).await? {
                let message =
                    format!("a submission takes at most {} files; take one away or begin another", limits.files);
                return refuse(ReasonCode::TooManyFiles, &message);
            }
            submissions::free_file(conn, new.submission).await?;
        }
        let name = new.file_name.reading_key();
        let holds_name = |state| !matches!(state, DocumentState::Rejected | DocumentState::Withdrawn);
        let files = documents::of_submission(conn, new.submission).await?;
        if files.iter().any(|file| holds_name(file.state) && file.file_name.reading_key() == name) {
            return refuse(
                ReasonCode::DuplicateName,
                "the submission has a file of this name already; rename it or take the other one away",
            );
        }
        Ok(())
    }

    /// How an upload stands. One whose bytes are all there and that a crash kept from becoming its document becomes it
    /// now.
    ///
    /// # Errors
    /// [`UploadError::Ended`] tells how it ended, [`UploadError::Locked`] that its offset is about to change: bytes come.
    pub async fn look_at_upload(&self, submission: &SubmissionId, id: &UploadId) -> Result<Upload, UploadError> {
        let upload = self.free(submission, id, Instant::now() + self.plan.uploads.give_way()).await?;
        match upload.state {
            UploadState::Complete => return Ok(upload),
            UploadState::Receiving => {}
            state => return Err(UploadError::Ended { state, reason: upload.reason, now: false }),
        }
        if upload.is_expired(self.ctx.now()) {
            return Err(UploadError::Ended { state: UploadState::Expired, reason: None, now: false });
        }
        if self.is_written(&upload) {
            return Err(UploadError::Locked);
        }
        if !upload.is_whole() {
            return Ok(upload);
        }
        self.take_up(upload).await
    }

    /// Gives an upload up and destroys its parts. A second time changes nothing.
    ///
    /// # Errors
    /// [`UploadError::Conflict`] for one that became its document: that is taken away from the submission, not here.
    pub async fn terminate_upload(&self, submission: &SubmissionId, id: &UploadId) -> Result<(), UploadError> {
        let held = match self.hold_soon(submission, id).await {
            Ok(held) => held,
            Err(UploadError::Ended { state: UploadState::Terminated, .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.end_upload(&held, UploadState::Terminated, None).await
    }

    async fn find_upload(&self, submission: &SubmissionId, id: &UploadId) -> Result<Upload, UploadError> {
        let mut conn = self.db.read().await?;
        let found = uploads::get(&mut conn, id).await?;
        found.filter(|upload| upload.submission_id == *submission).ok_or(UploadError::NotFound)
    }

    /// Whether somebody writes to the upload now.
    fn is_written(&self, upload: &Upload) -> bool {
        upload.lease.as_ref().is_some_and(|(token, until)| *until >= self.ctx.now() && !self.is_torn(token))
    }

    /// Whether a lease is one of this node's own that a crash cut off.
    fn is_torn(&self, token: &str) -> bool {
        token.rsplit_once('/').is_some_and(|(node, name)| node == self.node && !self.spool.has_scratch(name))
    }

    /// Takes an upload to write to it.
    async fn hold(&self, submission: &SubmissionId, id: &UploadId) -> Result<Held, UploadError> {
        let stamp = self.upload_stamp();
        let name = self.ctx.new_id();
        let token = format!("{}/{name}", self.node);
        // there before the lease is: a lease of this node without one is of nobody
        let scratch = self.spool.scratch(&name).await.map_err(UploadError::Spool)?;
        let mut tx = self.db.begin().await?;
        let found = uploads::get(&mut tx, id).await?.filter(|upload| upload.submission_id == *submission);
        if let Some((torn, _)) = found.as_ref().and_then(|upload| upload.lease.as_ref()).filter(|l| self.is_torn(&l.0))
        {
            uploads::release(&mut tx, id, torn).await?;
        }
        let taken = found.is_some()
            && uploads::take(&mut tx, stamp, id, &token, stamp.after(self.plan.uploads.lease())).await?;
        // again, as it is now that nobody else changes it
        let upload = match found {
            Some(_) => uploads::get(&mut tx, id).await?.ok_or(UploadError::NotFound)?,
            None => return Err(UploadError::NotFound),
        };
        match upload.state {
            UploadState::Receiving => {}
            UploadState::Complete => return Err(UploadError::Conflict { offset_bytes: upload.offset_bytes }),
            state => return Err(UploadError::Ended { state, reason: upload.reason, now: false }),
        }
        if !taken {
            return Err(UploadError::Locked);
        }
        if upload.is_expired(self.ctx.now()) {
            return Err(UploadError::Ended { state: UploadState::Expired, reason: None, now: false });
        }
        tx.commit().await.map_err(DbError::from)?;
        Ok(Held { upload, token, scratch })
    }

    /// Does work on an upload while its lease is renewed; without the lease the work is dropped.
    async fn while_held<T>(
        &self,
        id: &UploadId,
        token: &str,
        work: impl Future<Output = Result<T, UploadError>>,
    ) -> Result<T, UploadError> {
        let lease = self.plan.uploads.lease();
        let lost = async {
            loop {
                tokio::time::sleep(lease / 3).await;
                match self.renew_lease(id, token, lease).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => tracing::warn!(upload = %id, error = %error, "could not renew a writer's lease"),
                }
            }
        };
        tokio::select! {
            done = work => done,
            () = lost => Err(UploadError::Locked),
        }
    }

    async fn renew_lease(&self, id: &UploadId, token: &str, lease: Duration) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        let ours = uploads::renew(&mut tx, id, token, self.upload_stamp().after(lease)).await?;
        tx.commit().await?;
        Ok(ours)
    }

    /// Gives a lease back. Where that fails it runs out.
    async fn let_go(&self, id: &UploadId, token: &str) {
        let released = async {
            let mut tx = self.db.begin().await?;
            uploads::release(&mut tx, id, token).await?;
            Ok::<_, DbError>(tx.commit().await?)
        };
        if let Err(error) = released.await {
            tracing::warn!(upload = %id, error = %error, "could not give a writer's lease back");
        }
    }

    /// Ends an upload, then destroys its parts: what can't be destroyed now is swept later.
    async fn end_upload(&self, held: &Held, state: UploadState, reason: Option<&Reason>) -> Result<(), UploadError> {
        let mut tx = self.db.begin().await?;
        uploads::end(&mut tx, &held.upload.id, &held.token, state, reason).await.map_err(lease_lost)?;
        tx.commit().await.map_err(DbError::from)?;
        if let Err(error) = self.destroy_parts(&held.upload.id).await {
            tracing::warn!(upload = %held.upload.id, error = %error, "could not destroy the parts of an upload");
        }
        Ok(())
    }

    fn upload_stamp(&self) -> Stamp<'_> {
        Stamp { ctx: &self.ctx, actor: "uploads" }
    }
}

/// Without the lease somebody else has the upload.
fn lease_lost(error: DbError) -> UploadError {
    match error {
        DbError::Stale { .. } => UploadError::Locked,
        other => other.into(),
    }
}
