//! Receive: bytes stream through a spool file into the store while their size and hash are taken; the answer
//! is given when they are durable (INT-10).

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::db::documents::{self, Change, NewDocument};
use crate::db::{DbError, Stamp, submissions, work};
use crate::engine::stage::stop_at;
use crate::intake::plan::ReceivePolicy;
use crate::intake::room::NoRoom;
use crate::intake::{Intake, stages};
use crate::model::document::{Channel, DocumentState, FileName};
use crate::model::ids::{Brand, DocumentId, Sha256, SubmissionId};
use crate::model::judgement::{Reason, ReasonCode};
use crate::model::submission::{Said, SubmissionState};
use crate::outside::objects::{ObjectError, ObjectKey};
use crate::outside::spool::SpoolFile;
use crate::outside::traces::Span;

/// A file that is safe now: it survives the crash of any process.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Receipt {
    /// The document's id.
    pub document: DocumentId,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its hash.
    pub sha256: Sha256,
}

/// Why a file was not taken.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// The submission is not known.
    #[error("there is no such submission")]
    NoSubmission,
    /// The submission takes no more files.
    #[error("the submission is {state}: it takes no more files")]
    Closed {
        /// Its state.
        state: SubmissionState,
    },
    /// The file is refused for a rule of the policy.
    #[error("{}", .0.message)]
    Refused(Reason),
    /// It came too slowly.
    #[error("the upload took too long")]
    TooSlow,
    /// The client broke off.
    #[error("the upload broke off")]
    Broken,
    /// The disk of the spool failed or is full.
    #[error("the spool can't take the file")]
    Spool(#[source] std::io::Error),
    /// It is turned away for now, before a byte was read.
    #[error(transparent)]
    NoRoom(NoRoom),
    /// The store failed: nothing is promised.
    #[error("the object store can't take the file")]
    Store(#[source] ObjectError),
    /// The database failed: nothing is promised.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<NoRoom> for ReceiveError {
    fn from(no_room: NoRoom) -> Self {
        match no_room {
            NoRoom::Disk(error) => Self::Spool(error),
            told @ (NoRoom::Spool { .. } | NoRoom::Queue { .. }) => Self::NoRoom(told),
        }
    }
}

impl ReceiveError {
    /// The word for traces and metrics.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::NoSubmission | Self::Closed { .. } | Self::Refused(_) => "refused",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken_off",
            Self::NoRoom(_) => "no_room",
            Self::Spool(_) | Self::Store(_) | Self::Db(_) => "fault",
        }
    }
}

/// Where a file goes.
#[derive(Debug, Clone, Copy)]
pub enum Destination<'a> {
    /// Into a submission, within its limits.
    Submission(&'a SubmissionId),
    /// Nowhere yet: it came alone, by the mailroom's scanner or a gateway, or was split from another.
    Alone {
        /// The brand it came to.
        brand: &'a Brand,
        /// How it came.
        channel: Channel,
        /// What was said of it.
        said: Option<&'a Said>,
        /// The mailroom batch it came in.
        batch_id: Option<&'a str>,
        /// The document it was split from.
        parent_id: Option<&'a DocumentId>,
    },
}

impl Destination<'_> {
    const fn submission(&self) -> Option<&SubmissionId> {
        match self {
            Self::Submission(id) => Some(id),
            Self::Alone { .. } => None,
        }
    }
}

/// A file that arrives.
#[derive(Debug)]
pub struct Arriving<'a> {
    /// Where it goes.
    pub to: Destination<'a>,
    /// The id it is to have: for a sender that must know it before, so that after a crash it can tell whether the file
    /// was taken.
    pub document: Option<&'a DocumentId>,
    /// The sender's name for it.
    pub file_name: &'a FileName,
    /// The length announced, in bytes.
    pub announced_bytes: Option<u64>,
    /// When it legally arrived, where that is not now (INT-20).
    pub received_at: Option<Timestamp>,
    /// Who sends it.
    pub actor: &'a str,
}

/// A file whose row is made.
struct Admitted {
    channel: Channel,
    limit_bytes: u64,
    spooled: SpoolFile,
}

/// How often a file is tried to be admitted when other transactions stand in the way. No byte has been read then.
const ADMISSIONS: u32 = 5;

impl Intake {
    /// Takes a file into a submission. `Ok` means durable.
    ///
    /// # Errors
    /// See [`ReceiveError`]; a document row tells of every file that began to come.
    pub async fn receive<S, E>(&self, arriving: Arriving<'_>, body: S) -> Result<Receipt, ReceiveError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    {
        self.receive_at_pace(arriving, body, &self.plan.receive).await
    }

    /// The same with a patience of the caller's, for bytes that don't come from a sender now.
    pub(crate) async fn receive_at_pace<S, E>(
        &self,
        arriving: Arriving<'_>,
        body: S,
        pace: &ReceivePolicy,
    ) -> Result<Receipt, ReceiveError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    {
        let stamp = Stamp { ctx: &self.ctx, actor: arriving.actor };
        let document = match arriving.document {
            Some(id) => id.clone(),
            None => stamp.new_id()?,
        };
        let begun = Begun::new(self, &arriving, &document);
        let admitted = match self.admit_again(stamp, &arriving, &document).await {
            Ok(admitted) => admitted,
            Err(error) => {
                begun.end(0, error.as_str());
                return Err(error);
            }
        };
        let taken = self.take_bytes(&document, &arriving, admitted, body, pace).await;
        let result = match taken {
            Ok((size_bytes, sha256, version)) => self
                .accept(stamp, &arriving, &document, (size_bytes, sha256.clone(), version))
                .await
                .map(|()| Receipt { document: document.clone(), size_bytes, sha256 }),
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            self.refuse(stamp, &document, error).await;
        }
        match &result {
            Ok(receipt) => begun.end(receipt.size_bytes, "received"),
            Err(error) => begun.end(0, error.as_str()),
        }
        result
    }

    /// Admits, also where a stage that just judges a file of the same submission stood in the way: it takes the
    /// document before the submission, admission the other way round, and PostgreSQL ends one of the two.
    async fn admit_again(
        &self,
        stamp: Stamp<'_>,
        arriving: &Arriving<'_>,
        id: &DocumentId,
    ) -> Result<Admitted, ReceiveError> {
        let mut left = ADMISSIONS;
        loop {
            left -= 1;
            match self.admit(stamp, arriving, id).await {
                Err(ReceiveError::Db(error)) if left > 0 && error.is_conflict() => {}
                admitted => return admitted,
            }
        }
    }

    /// Makes the row, within the submission's limits, before a byte is read.
    async fn admit(
        &self,
        stamp: Stamp<'_>,
        arriving: &Arriving<'_>,
        id: &DocumentId,
    ) -> Result<Admitted, ReceiveError> {
        let most = match arriving.to {
            Destination::Submission(_) => self.plan.limits.largest(),
            Destination::Alone { .. } => self.plan.receive.alone_bytes,
        };
        let room = self.room_for(arriving.announced_bytes.map_or(most, |announced| announced.min(most))).await?;
        let mut tx = self.db.begin().await?;
        let (brand, channel, limit_bytes) = match arriving.to {
            Destination::Submission(submission) => self.admit_to(&mut tx, stamp, arriving, submission).await?,
            Destination::Alone { brand, channel, .. } => (brand.clone(), channel, self.plan.receive.alone_bytes),
        };
        let (said, batch_id, parent_id) = match arriving.to {
            Destination::Submission(_) => (None, None, None),
            Destination::Alone { said, batch_id, parent_id, .. } => (said, batch_id, parent_id),
        };
        let new = NewDocument {
            id,
            brand: &brand,
            submission_id: arriving.to.submission(),
            channel,
            file_name: arriving.file_name,
            said,
            parent_id,
            batch_id,
            received_at: arriving.received_at.unwrap_or_else(|| self.ctx.now()),
            node: &self.node,
        };
        if !documents::insert(&mut tx, stamp, &new).await? {
            return Err(refused(
                ReasonCode::DuplicateName,
                "the submission has a file of this name already; rename it or take the other one away",
            ));
        }
        // there before the row is: a row of this node without one is of an upload that nobody goes on with
        let mut spooled = self.spool.create(id).await.map_err(ReceiveError::Spool)?;
        spooled.take_room(room);
        tx.commit().await.map_err(DbError::from)?;
        Ok(Admitted { channel, limit_bytes, spooled })
    }

    /// Whether the submission takes one more such file: its brand and channel, and how large the file may be.
    async fn admit_to(
        &self,
        conn: &mut crate::db::Conn,
        stamp: Stamp<'_>,
        arriving: &Arriving<'_>,
        id: &SubmissionId,
    ) -> Result<(Brand, Channel, u64), ReceiveError> {
        let submission = submissions::lock(conn, id).await?.ok_or(ReceiveError::NoSubmission)?;
        if submission.state != SubmissionState::Open {
            return Err(ReceiveError::Closed { state: submission.state });
        }
        self.end_torn(conn, stamp, id, arriving.file_name).await?;
        // a paper or fax document can't be refused for a limit of uploads (INT-21)
        if submission.channel != Channel::Upload {
            return Ok((submission.brand, submission.channel, self.plan.receive.alone_bytes));
        }
        let limits = self.plan.limits.of(submission.kind);
        if !submissions::reserve_file(conn, id, limits.files).await? {
            return Err(refused(
                ReasonCode::TooManyFiles,
                format!("a submission takes at most {} files; take one away or begin another", limits.files),
            ));
        }
        if let Some(announced) = arriving.announced_bytes.filter(|n| *n > limits.file_bytes) {
            return Err(too_large(limits.file_bytes, Some(announced)));
        }
        Ok((submission.brand, submission.channel, limits.file_bytes))
    }

    /// Ends an earlier upload of this name that a crash of this node cut off: without a spool file nobody is
    /// writing it. So a sender who tries again is not told that the name is taken until the reconciler comes.
    async fn end_torn(
        &self,
        conn: &mut crate::db::Conn,
        stamp: Stamp<'_>,
        submission: &SubmissionId,
        file_name: &FileName,
    ) -> Result<(), DbError> {
        let name = file_name.reading_key();
        for document in documents::of_submission(conn, submission).await? {
            let ours = document.state == DocumentState::Receiving && document.node == self.node;
            if ours && document.file_name.reading_key() == name && !self.spool.path(&document.id).exists() {
                end_unreceived(conn, stamp, &document.id, broken_off()).await?;
            }
        }
        Ok(())
    }

    async fn take_bytes<S, E>(
        &self,
        document: &DocumentId,
        arriving: &Arriving<'_>,
        admitted: Admitted,
        body: S,
        pace: &ReceivePolicy,
    ) -> Result<(u64, Sha256, Option<String>), ReceiveError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    {
        let Admitted { channel, limit_bytes, spooled } = admitted;
        let mut spooled = read_body(spooled, body, limit_bytes, pace).await?;
        if arriving.announced_bytes.is_some_and(|announced| announced != spooled.size_bytes()) {
            return Err(ReceiveError::Broken);
        }
        // an empty page of a fax is held like all that can't be judged (INT-21)
        if spooled.size_bytes() == 0 && channel.can_refuse() {
            return Err(refused(ReasonCode::Empty, "the file is empty; check it and send it again"));
        }
        let size_bytes = spooled.size_bytes();
        let (path, sha256) = spooled.finish().await.map_err(ReceiveError::Spool)?;
        let stored = self.objects.put_file(&ObjectKey::incoming(document), path, size_bytes, &sha256).await;
        let stored = stored.map_err(ReceiveError::Store)?;
        spooled.keep();
        Ok((size_bytes, sha256, stored.version))
    }

    /// Makes the durable bytes a received document. The submission must still be open: it is locked, so that a
    /// file is either in it when it is sent or not at all.
    async fn accept(
        &self,
        stamp: Stamp<'_>,
        arriving: &Arriving<'_>,
        id: &DocumentId,
        bytes: (u64, Sha256, Option<String>),
    ) -> Result<(), ReceiveError> {
        stop_at("receive", "stored").await;
        let mut tx = self.db.begin().await?;
        if let Destination::Submission(id) = arriving.to {
            let submission = submissions::lock(&mut tx, id).await?.ok_or(ReceiveError::NoSubmission)?;
            if submission.state != SubmissionState::Open {
                return Err(ReceiveError::Closed { state: submission.state });
            }
        }
        let document = documents::get(&mut tx, id).await?.ok_or(ReceiveError::NoSubmission)?;
        if document.state != DocumentState::Receiving {
            // given up meanwhile, as one that never would end
            return Err(ReceiveError::Broken);
        }
        let change = Change { bytes: Some(bytes), ..Change::default() };
        documents::transition(&mut tx, stamp, &document, DocumentState::Received, change).await?;
        work::put(&mut tx, stamp, id.as_str(), stages::FIRST).await?;
        tx.commit().await.map_err(DbError::from)?;
        stop_at("receive", "accepted").await;
        Ok(())
    }

    /// Ends the row of a file that was not taken. Where even this fails, the reconciler for abandoned uploads
    /// does it later.
    async fn refuse(&self, stamp: Stamp<'_>, id: &DocumentId, error: &ReceiveError) {
        self.spool.remove(id).await;
        let reason = match error {
            ReceiveError::Refused(reason) => reason.clone(),
            _ => broken_off(),
        };
        let ended = async {
            let mut tx = self.db.begin().await?;
            end_unreceived(&mut tx, stamp, id, reason).await?;
            Ok::<(), DbError>(tx.commit().await?)
        };
        if let Err(error) = ended.await {
            tracing::warn!(document = %id, error = %error, "could not end the row of a file that did not arrive");
        }
    }
}

/// A file that began to come. Dropped before its end (its client went away, and the server with it the request),
/// it ends the file's row, so that the name and the place are free at once and not when a reconciler looks. It holds
/// the root of the document's trace, too.
struct Begun(Option<(Intake, DocumentId, String, Span)>);

impl Begun {
    fn new(intake: &Intake, arriving: &Arriving<'_>, document: &DocumentId) -> Self {
        let mut span = Span::root(&intake.ctx, "receive", document.as_str()).within_request();
        if let Some(submission) = arriving.to.submission() {
            span = span.of("lettercase.submission", submission.as_str());
        }
        Self(Some((intake.clone(), document.clone(), arriving.actor.to_owned(), span)))
    }

    /// It came to its end.
    fn end(mut self, bytes: u64, outcome: &'static str) {
        metrics::counter!("lettercase_arrivals_total", "outcome" => outcome).increment(1);
        metrics::counter!("lettercase_received_bytes_total").increment(bytes);
        if let Some((intake, _, _, span)) = self.0.take() {
            let span = span.number("lettercase.size_bytes", i64::try_from(bytes).unwrap_or(i64::MAX));
            span.end(&intake.ctx, outcome, outcome == "fault");
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Without a runtime the process is ending: the reconciler does it later.
        let (Some((intake, document, actor, span)), Ok(runtime)) =
            (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        metrics::counter!("lettercase_arrivals_total", "outcome" => "broken_off").increment(1);
        span.end(&intake.ctx, "broken_off", false);
        runtime.spawn(async move {
            let stamp = Stamp { ctx: &intake.ctx, actor: &actor };
            intake.refuse(stamp, &document, &ReceiveError::Broken).await;
        });
    }
}

/// Ends a document that never was received, and frees its place in the submission.
///
/// # Errors
/// When the database fails.
pub async fn end_unreceived(
    conn: &mut crate::db::Conn,
    stamp: Stamp<'_>,
    id: &DocumentId,
    reason: Reason,
) -> Result<(), DbError> {
    let Some(document) = documents::get(conn, id).await?.filter(|d| d.state == DocumentState::Receiving) else {
        return Ok(());
    };
    let change = Change { reason: Some(reason), ..Change::default() };
    documents::transition(conn, stamp, &document, DocumentState::Rejected, change).await?;
    if let Some(submission) = &document.submission_id {
        submissions::free_file(conn, submission).await?;
    }
    Ok(())
}

/// Streams a body into the spool file, within its size, its pace and its time.
async fn read_body<S, E>(
    mut spooled: SpoolFile,
    mut body: S,
    limit_bytes: u64,
    policy: &ReceivePolicy,
) -> Result<SpoolFile, ReceiveError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
{
    let began = Instant::now();
    loop {
        let patience = (Instant::now() + policy.grace()).min(began + policy.deadline());
        let chunk = match timeout_at(patience, body.next()).await {
            Err(_) => return Err(ReceiveError::TooSlow),
            Ok(None) => return Ok(spooled),
            Ok(Some(Err(_))) => return Err(ReceiveError::Broken),
            Ok(Some(Ok(chunk))) => chunk,
        };
        if spooled.size_bytes() + chunk.len() as u64 > limit_bytes {
            return Err(too_large(limit_bytes, None));
        }
        spooled.write(&chunk).await.map_err(ReceiveError::Spool)?;
        if is_too_slow(began.elapsed(), spooled.size_bytes(), policy) {
            return Err(ReceiveError::TooSlow);
        }
    }
}

/// Whether a body that has brought so many bytes by now is slower than the policy waits for.
pub(crate) fn is_too_slow(elapsed: Duration, bytes: u64, policy: &ReceivePolicy) -> bool {
    elapsed > policy.grace() && bytes < policy.min_bytes_per_s.saturating_mul(elapsed.as_secs())
}

/// What is told of a file that did not arrive whole.
pub(crate) fn broken_off() -> Reason {
    Reason::new(ReasonCode::Incomplete, "the file did not arrive whole; send it again")
}

fn refused(code: ReasonCode, message: impl Into<String>) -> ReceiveError {
    ReceiveError::Refused(Reason::new(code, message))
}

fn too_large(limit_bytes: u64, announced: Option<u64>) -> ReceiveError {
    ReceiveError::Refused(over_the_limit(limit_bytes, announced))
}

/// What is told of a file that is over the limit.
pub(crate) fn over_the_limit(limit_bytes: u64, announced: Option<u64>) -> Reason {
    let mib = limit_bytes / (1 << 20);
    let found = announced.map_or_else(|| "the file is larger".into(), |n| format!("the file has {n} bytes"));
    Reason::new(
        ReasonCode::TooLarge,
        format!(
            "a file may have at most {mib} MiB ({limit_bytes} bytes), {found}; split it or scan it at a lower resolution"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_drip_is_noticed_after_the_grace_only() {
        let policy = ReceivePolicy { deadline_s: 900, min_bytes_per_s: 1000, grace_s: 20, alone_bytes: 1 };
        for (seconds, bytes, slow) in [(5, 0, false), (20, 1, false), (21, 20_000, true), (21, 21_000, false)] {
            assert_eq!(is_too_slow(Duration::from_secs(seconds), bytes, &policy), slow, "{seconds} s, {bytes} bytes");
        }
    }
}
