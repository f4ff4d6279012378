//! What one request brings.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use sha1::Sha1;
use sha2::{Digest, Sha256 as Sha2};
use tokio::time::{Instant, timeout_at};

use super::{Held, UploadError, lease_lost};
use crate::db::uploads::{self, Part, Upload, UploadState};
use crate::db::{DbError, submissions};
use crate::engine::stage::stop_at;
use crate::intake::Intake;
use crate::intake::receive::is_too_slow;
use crate::model::ids::{SubmissionId, UploadId};
use crate::model::submission::SubmissionState;
use crate::outside::objects::ObjectKey;
use crate::outside::traces;

/// Bytes that go on with an upload.
#[derive(Debug, Clone)]
pub struct Append {
    /// The submission it is of.
    pub submission: SubmissionId,
    /// The upload.
    pub upload: UploadId,
    /// Where they go: where the last ones ended.
    pub offset_bytes: u64,
    /// How many are announced.
    pub announced_bytes: Option<u64>,
    /// What they must be. Then all of them are taken or none.
    pub checksum: Option<Checksum>,
}

/// A checksum of a request's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-1: against faults of the way, not against people.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
}

/// How a request's body came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Whole,
    Broken,
    Slowly,
    /// Another request waits, and nothing comes.
    Silently,
}

impl Intake {
    /// Takes the bytes of a request, and, when they are the last, makes the document. `Ok` means durable.
    ///
    /// What arrived before a request broke off is kept, unless a checksum was given. For that it runs in a task of its
    /// own: a server drops a request whose connection breaks, and this is when there is something to keep.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn append_to_upload<S, E>(&self, append: Append, body: S) -> Result<Upload, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    {
        let (intake, offset_bytes) = (self.clone(), append.offset_bytes);
        let task = tokio::spawn(traces::carried(async move { intake.append(append, body).await }));
        task.await.unwrap_or(Err(UploadError::Broken { offset_bytes }))
    }

    async fn append<S, E>(&self, append: Append, body: S) -> Result<Upload, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    {
        // the answer to the last bytes was lost, and they come again as none
        let known = self.find_upload(&append.submission, &append.upload).await?;
        if known.state == UploadState::Complete && append.offset_bytes == known.length_bytes {
            return Ok(known);
        }
        let mut held = self.hold_soon(&append.submission, &append.upload).await?;
        let (id, token) = (held.upload.id.clone(), held.token.clone());
        let done = self.while_held(&id, &token, self.append_held(&mut held, &append, body)).await;
        self.let_go(&id, &token).await;
        done
    }

    async fn append_held<S, E>(&self, held: &mut Held, append: &Append, body: S) -> Result<Upload, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    {
        let open = {
            let mut conn = self.db.read().await?;
            submissions::get(&mut conn, &append.submission).await?.map(|submission| submission.state)
        };
        if open != Some(SubmissionState::Open) {
            self.end_upload(held, UploadState::Closed, None).await?;
            return Err(UploadError::Ended { state: UploadState::Closed, reason: None, now: true });
        }
        if append.offset_bytes != held.upload.offset_bytes {
            return Err(UploadError::Conflict { offset_bytes: held.upload.offset_bytes });
        }
        if !held.upload.is_whole() {
            let came = self.take_part(held, append, body).await?;
            let offset_bytes = held.upload.offset_bytes;
            match came {
                Came::Whole => {}
                Came::Broken => return Err(UploadError::Broken { offset_bytes }),
                Came::Slowly => return Err(UploadError::TooSlow { offset_bytes }),
                Came::Silently => return Err(UploadError::Locked),
            }
        }
        if held.upload.is_whole() { self.complete(held).await } else { Ok(held.upload.clone()) }
    }

    /// Streams the body into a part and makes that count.
    async fn take_part<S, E>(&self, held: &mut Held, append: &Append, body: S) -> Result<Came, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    {
        let policy = &self.plan.uploads;
        let (length_bytes, rest) = (held.upload.length_bytes, held.upload.length_bytes - append.offset_bytes);
        if let Some(announced) = append.announced_bytes {
            if announced > rest {
                return Err(UploadError::TooLong { length_bytes });
            }
            if announced != 0 && announced < rest {
                if held.upload.parts >= policy.parts {
                    return Err(UploadError::TooManyParts { limit: policy.parts });
                }
                if announced < policy.part_bytes {
                    return Err(UploadError::PartTooSmall { least_bytes: policy.part_bytes });
                }
            }
        }
        held.scratch.take_room(self.spool_room(append.announced_bytes.unwrap_or(rest))?);
        let mut sum = append.checksum.as_ref().map(Running::of);
        let came = self.read_part(held, rest, body, sum.as_mut()).await?;
        let size_bytes = held.scratch.size_bytes();
        let short = append.announced_bytes.is_some_and(|announced| announced != size_bytes);
        let came = if came == Came::Whole && short { Came::Broken } else { came };
        if let (Some(sum), Some(expected)) = (sum, &append.checksum) {
            if came != Came::Whole {
                return Ok(came);
            }
            if sum.finish() != *expected {
                return Err(UploadError::ChecksumMismatch);
            }
        }
        if size_bytes == 0 {
            return Ok(came);
        }
        if size_bytes < rest && held.upload.parts >= policy.parts {
            return Err(UploadError::TooManyParts { limit: policy.parts });
        }
        self.keep_part(held, append.offset_bytes).await?;
        Ok(came)
    }

    /// Reads the body into the scratch file, within its length and its pace.
    async fn read_part<S, E>(
        &self,
        held: &mut Held,
        rest: u64,
        mut body: S,
        mut sum: Option<&mut Running>,
    ) -> Result<Came, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    {
        let (pace, began) = (&self.plan.receive, Instant::now());
        loop {
            let patience = (Instant::now() + pace.grace()).min(began + pace.deadline());
            let chunk = loop {
                let look = Instant::now() + self.plan.uploads.stalled();
                // what an error was is no matter, and it need not be one that can wait here
                let next = timeout_at(patience.min(look), body.next()).await.map(|next| next.map(Result::ok));
                match next {
                    Ok(None) => return Ok(Came::Whole),
                    Ok(Some(None)) => return Ok(Came::Broken),
                    Ok(Some(Some(chunk))) => break chunk,
                    Err(_) if Instant::now() >= patience => return Ok(Came::Slowly),
                    Err(_) if self.must_give_way(held).await => return Ok(Came::Silently),
                    Err(_) => {}
                }
            };
            if held.scratch.size_bytes() + chunk.len() as u64 > rest {
                return Err(UploadError::TooLong { length_bytes: held.upload.length_bytes });
            }
            if let Some(sum) = sum.as_mut() {
                sum.update(&chunk);
            }
            held.scratch.write(&chunk).await.map_err(UploadError::Spool)?;
            if is_too_slow(began.elapsed(), held.scratch.size_bytes(), pace) {
                return Ok(Came::Slowly);
            }
        }
    }

    /// Makes the scratch file's bytes durable, then has them count.
    async fn keep_part(&self, held: &mut Held, first_byte: u64) -> Result<(), UploadError> {
        let size_bytes = held.scratch.size_bytes();
        let key = ObjectKey::part(&held.upload.id, first_byte, self.ctx.random_bits());
        let (path, sha256) = held.scratch.finish().await.map_err(UploadError::Spool)?;
        let stored = self.objects.put_file(&key, path, size_bytes, &sha256).await.map_err(UploadError::Store)?;
        stop_at("upload", "stored").await;
        let part = Part {
            first_byte,
            size_bytes,
            sha256,
            name: key.name().to_owned(),
            version_id: stored.version,
            created_at: self.ctx.now(),
        };
        let mut tx = self.db.begin().await?;
        uploads::add_part(&mut tx, &held.upload, &held.token, &part).await.map_err(lease_lost)?;
        tx.commit().await.map_err(DbError::from)?;
        stop_at("upload", "counted").await;
        held.upload.offset_bytes += size_bytes;
        held.upload.parts += 1;
        Ok(())
    }
}

/// A checksum being taken.
enum Running {
    Sha1(Sha1),
    Sha256(Sha2),
}

impl Running {
    fn of(expected: &Checksum) -> Self {
        match expected {
            Checksum::Sha1(_) => Self::Sha1(Sha1::new()),
            Checksum::Sha256(_) => Self::Sha256(Sha2::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Checksum {
        match self {
            Self::Sha1(hasher) => Checksum::Sha1(hasher.finalize().into()),
            Self::Sha256(hasher) => Checksum::Sha256(hasher.finalize().into()),
        }
    }
}
