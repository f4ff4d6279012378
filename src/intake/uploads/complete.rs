//! From parts to the document: they are replayed through receive, as if they came now.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt, stream};
use tempfile::TempPath;
use tokio::io::AsyncReadExt;

use super::{Held, UploadError, lease_lost};
use crate::db::documents::{self, Document};
use crate::db::uploads::{self, Part, Upload, UploadState};
use crate::db::{DbError, Stamp};
use crate::engine::stage::stop_at;
use crate::intake::Intake;
use crate::intake::plan::ReceivePolicy;
use crate::intake::receive::{Arriving, Destination, ReceiveError, broken_off, end_unreceived};
use crate::model::document::DocumentState;
use crate::model::ids::DocumentId;
use crate::model::judgement::{Reason, ReasonCode};
use crate::outside::objects::{ObjectError, ObjectKey, Place};
use crate::outside::traces;

/// Bytes replayed at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// What became of an earlier try.
enum Before {
    /// The document is there.
    Taken,
    /// Nothing: this document is to be made.
    Nothing(DocumentId),
    /// An end that another try would come to as well.
    Over(UploadState, Option<Reason>),
}

/// What failed while parts were fetched: receive is only told that they broke off.
type Failed = Arc<Mutex<Option<ReplayError>>>;

/// Why a part could not be replayed.
#[derive(Debug)]
enum ReplayError {
    Store(ObjectError),
    Spool(io::Error),
}

impl Intake {
    /// Completes an upload whose bytes are all there, in a task of its own.
    pub(super) async fn take_up(&self, upload: Upload) -> Result<Upload, UploadError> {
        let intake = self.clone();
        let offset_bytes = upload.offset_bytes;
        let task = tokio::spawn(traces::carried(async move {
            let held = intake.hold(&upload.submission_id, &upload.id).await?;
            let done = intake.while_held(&upload.id, &held.token, intake.complete(&held)).await;
            intake.let_go(&upload.id, &held.token).await;
            done
        }));
        task.await.unwrap_or(Err(UploadError::Broken { offset_bytes }))
    }

    /// Makes the document of an upload's parts. Whatever an earlier try came to, there is one document in the end.
    pub(super) async fn complete(&self, held: &Held) -> Result<Upload, UploadError> {
        let upload = &held.upload;
        let wait = upload.due_at.as_second() - self.ctx.now().as_second();
        if wait > 0 {
            return Err(UploadError::Pending { retry_after_s: u32::try_from(wait).unwrap_or(u32::MAX) });
        }
        stop_at("upload", "whole").await;
        let document = match self.earlier_try(held).await? {
            Before::Taken => return self.completed(held, &upload.document_id).await,
            Before::Over(state, reason) => return self.refused(held, state, reason).await,
            Before::Nothing(document) => document,
        };
        let parts = {
            let mut conn = self.db.read().await?;
            uploads::parts(&mut conn, &upload.id).await?
        };
        let received_at = parts.last().map(|part| part.created_at);
        let failed = Failed::default();
        let first = match self.fetch_first(&parts).await {
            Ok(first) => first,
            Err(error) => return self.not_replayed(held, error).await,
        };
        let arriving = Arriving {
            to: Destination::Submission(&upload.submission_id),
            document: Some(&document),
            file_name: &upload.file_name,
            announced_bytes: Some(upload.length_bytes),
            received_at,
            actor: &upload.owner,
        };
        let body = Box::pin(self.replay(parts, first, Arc::clone(&failed)));
        match self.receive_at_pace(arriving, body, &self.patience()).await {
            Ok(_) => self.completed(held, &document).await,
            Err(ReceiveError::Refused(reason)) => {
                // the name may be taken by this very upload: by a writer that lost its lease and does not know
                if reason.code == ReasonCode::DuplicateName && self.document_row(&document).await?.is_some() {
                    return Err(UploadError::Locked);
                }
                self.refused(held, UploadState::Refused, Some(reason)).await
            }
            Err(ReceiveError::Closed { .. } | ReceiveError::NoSubmission) => {
                self.refused(held, UploadState::Closed, None).await
            }
            Err(error) => {
                let cause = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
                match cause {
                    Some(cause) => self.not_replayed(held, cause).await,
                    None => {
                        tracing::warn!(upload = %upload.id, error = %error, "could not complete an upload");
                        self.put_off(held).await
                    }
                }
            }
        }
    }

    /// Our own disk and store set the pace: what counts is that it ends.
    fn patience(&self) -> ReceivePolicy {
        let deadline_s = self.plan.receive.deadline_s;
        ReceivePolicy { grace_s: deadline_s, min_bytes_per_s: 0, ..self.plan.receive.clone() }
    }

    /// What an earlier try left behind.
    async fn earlier_try(&self, held: &Held) -> Result<Before, UploadError> {
        let upload = &held.upload;
        let stamp = Stamp { ctx: &self.ctx, actor: &upload.owner };
        let mut tx = self.db.begin().await?;
        let Some(document) = documents::get(&mut tx, &upload.document_id).await? else {
            return Ok(Before::Nothing(upload.document_id.clone()));
        };
        if document.accepted_at.is_some() {
            return Ok(Before::Taken);
        }
        match (document.state, document.reason) {
            (DocumentState::Receiving, _) => {}
            (DocumentState::Rejected, Some(reason)) if reason.code != ReasonCode::Incomplete => {
                return Ok(Before::Over(UploadState::Refused, Some(reason)));
            }
            (DocumentState::Rejected, _) => {}
            _ => return Ok(Before::Over(UploadState::Terminated, None)),
        }
        // It never was received. Should its writer be alive, that one now comes to nothing: it finds its row ended.
        end_unreceived(&mut tx, stamp, &document.id, broken_off()).await.map_err(lease_lost)?;
        let next: DocumentId = stamp.new_id()?;
        uploads::choose_document(&mut tx, &upload.id, &held.token, &next).await.map_err(lease_lost)?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(Before::Nothing(next))
    }

    async fn document_row(&self, id: &DocumentId) -> Result<Option<Document>, UploadError> {
        let mut conn = self.db.read().await?;
        Ok(documents::get(&mut conn, id).await?)
    }

    async fn completed(&self, held: &Held, document: &DocumentId) -> Result<Upload, UploadError> {
        self.end_upload(held, UploadState::Complete, None).await?;
        Ok(Upload { state: UploadState::Complete, document_id: document.clone(), ..held.upload.clone() })
    }

    async fn refused(&self, held: &Held, state: UploadState, reason: Option<Reason>) -> Result<Upload, UploadError> {
        self.end_upload(held, state, reason.as_ref()).await?;
        Err(UploadError::Ended { state, reason, now: true })
    }

    /// Ends or puts off an upload whose parts could not be read.
    async fn not_replayed(&self, held: &Held, error: ReplayError) -> Result<Upload, UploadError> {
        match error {
            ReplayError::Store(error @ (ObjectError::NotFound(_) | ObjectError::Mismatch(_))) => {
                tracing::error!(upload = %held.upload.id, error = %error, "a part that was durable is not there");
                self.refused(held, UploadState::Refused, Some(broken_off())).await
            }
            ReplayError::Store(error) => {
                tracing::warn!(upload = %held.upload.id, error = %error, "could not fetch the parts of an upload");
                self.put_off(held).await
            }
            ReplayError::Spool(error) => {
                tracing::warn!(upload = %held.upload.id, error = %error, "the spool can't take the parts of an upload");
                self.put_off(held).await
            }
        }
    }

    /// Has completing tried again after a pause that grows.
    async fn put_off(&self, held: &Held) -> Result<Upload, UploadError> {
        let policy = &self.plan.uploads;
        let doubled = u32::try_from(held.upload.tries).ok().and_then(|tries| 2_u64.checked_pow(tries));
        let pause_s = policy.retry_first_s.saturating_mul(doubled.unwrap_or(u64::MAX)).min(policy.retry_longest_s);
        let mut tx = self.db.begin().await?;
        let due_at = self.upload_stamp().after(Duration::from_secs(pause_s));
        uploads::put_off(&mut tx, &held.upload.id, &held.token, due_at).await?;
        tx.commit().await.map_err(DbError::from)?;
        Err(UploadError::Pending { retry_after_s: u32::try_from(pause_s).unwrap_or(u32::MAX) })
    }

    /// Fetches the first part before a document's row is made: where the store is away, none is.
    async fn fetch_first(&self, parts: &[Part]) -> Result<Option<File>, ReplayError> {
        match parts.first() {
            Some(part) => self.fetch_part(part).await.map(Some),
            None => Ok(None),
        }
    }

    /// A part as a file of this node that is gone when closed.
    async fn fetch_part(&self, part: &Part) -> Result<File, ReplayError> {
        let key = ObjectKey::from_name(Place::Parts, &part.name)
            .map_err(|error| ReplayError::Spool(io::Error::other(error)))?;
        let scratch: TempPath =
            tempfile::NamedTempFile::new_in(self.spool.dir()).map_err(ReplayError::Spool)?.into_temp_path();
        let version = part.version_id.as_deref();
        self.objects.fetch(&key, version, &scratch, Some(&part.sha256)).await.map_err(ReplayError::Store)?;
        File::open(&scratch).map_err(ReplayError::Spool)
    }

    /// The bytes of all parts, one part on this node at a time.
    fn replay(
        &self,
        parts: Vec<Part>,
        first: Option<File>,
        failed: Failed,
    ) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + use<> {
        let intake = self.clone();
        let rest = stream::iter(parts.into_iter().skip(1).map(Ok)).and_then(move |part| {
            let intake = intake.clone();
            async move { intake.fetch_part(&part).await }
        });
        let files = futures::StreamExt::chain(stream::iter(first.map(Ok)), rest);
        files.map_ok(bytes_of).try_flatten().map_err(move |error| {
            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            io::ErrorKind::Other.into()
        })
    }
}

/// A file's bytes.
fn bytes_of(file: File) -> impl Stream<Item = Result<Bytes, ReplayError>> + Send {
    stream::try_unfold(tokio::fs::File::from_std(file), |mut file| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        match file.read_buf(&mut chunk).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some((chunk.freeze(), file))),
            Err(error) => Err(ReplayError::Spool(error)),
        }
    })
}
