//! Reconcilers: they take no input, look at the state, and mend what a crash left behind. Each is idempotent
//! and runs under a lease on one node.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::db::contents::{self, Content, ContentState};
use crate::db::documents::{self, Document, Judged};
use crate::db::{self, Db, DbError, Stamp, idempotency, leases, letter_upkeep, work};
use crate::engine::stage::StageError;
use crate::intake::Intake;
use crate::intake::receive::end_unreceived;
use crate::intake::review::quarantine;
use crate::intake::stages::store::bar_documents;
use crate::intake::stages::{FIRST, RESCAN, Sniffed};
use crate::model::document::DocumentState;
use crate::model::ids::DocumentId;
use crate::model::judgement::{Reason, ReasonCode};
use crate::outside::objects::{ObjectError, ObjectKey, Objects, Place, Tag};
use crate::outside::scanner::{Scanned, Verdict};

/// What one look mended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Mended {
    /// Uploads that never ended, ended.
    pub abandoned: u64,
    /// Documents put to work again.
    pub stuck: u64,
    /// Objects that nothing needs, swept.
    pub orphans: u64,
    /// Resumable uploads taken up, ended or forgotten, and parts of them destroyed.
    pub uploads: u64,
    /// Files of this node's spool that nothing needs, swept.
    pub spooled: u64,
    /// Contents scanned anew after the signatures changed.
    pub rescanned: u64,
    /// Of those, found infected.
    pub infected: u64,
    /// Destructions that a crash broke off, ended.
    pub destroyed: u64,
    /// Breaches to come of what waits for a person, told.
    pub warned: u64,
    /// Drafts whose time was over, withdrawn.
    pub expired: u64,
    /// Idempotency keys whose time is over, forgotten.
    pub forgotten: u64,
}

/// For how long content found infected is looked after, in seconds: a crash is mended within a day or never.
const INFECTED_LOOKED_AT_S: u64 = 86_400;
/// Under this name it is kept how far the scanning anew has come.
const RESCAN_CURSOR: &str = "rescan.after";
/// The most rows or objects looked at in one go.
const PAGE: i64 = 200;

impl Intake {
    /// Looks once: at this node's spool, and, if it holds the reconcilers' lease, at everything else.
    ///
    /// # Errors
    /// When the database fails; what the store refuses is logged and looked at again.
    pub async fn reconcile(&self, token: &str) -> Result<Mended, DbError> {
        let stamp = Stamp { ctx: &self.ctx, actor: "reconciler" };
        let until = stamp.now() + seconds(self.plan.reconcile.every_s * 3);
        let mut tx = self.db.begin().await?;
        let ours = leases::take(&mut tx, stamp, "reconcilers", token, until).await?;
        tx.commit().await?;
        let mut mended = Mended { spooled: self.sweep_spool().await?, ..Mended::default() };
        if ours {
            mended.uploads = self.reconcile_uploads().await?;
            mended.abandoned = self.end_abandoned(stamp).await?;
            mended.stuck = self.wake_stuck(stamp).await?;
            mended.orphans = self.sweep_orphans().await? + self.sweep_infected().await?;
            (mended.rescanned, mended.infected) = self.rescan_contents(stamp).await?;
            mended.destroyed = self.end_destructions(stamp).await?;
            mended.warned = self.warn_of_breaches(stamp).await?;
            mended.expired = self.expire_drafts(stamp).await?;
            mended.forgotten = self.forget_keys(stamp).await?;
        }
        Ok(mended)
    }

    fn before(&self, seconds_ago: u64) -> i64 {
        self.ctx.now().as_microsecond().saturating_sub(seconds(seconds_ago))
    }

    /// Forgets `Idempotency-Key`s after their time.
    async fn forget_keys(&self, stamp: Stamp<'_>) -> Result<u64, DbError> {
        let mut forgotten = 0;
        loop {
            let mut tx = self.db.begin().await?;
            let swept = idempotency::sweep(&mut tx, stamp, PAGE).await?;
            tx.commit().await?;
            forgotten += swept;
            if swept < PAGE.unsigned_abs() {
                return Ok(forgotten);
            }
        }
    }

    /// Ends uploads whose process died before their end.
    async fn end_abandoned(&self, stamp: Stamp<'_>) -> Result<u64, DbError> {
        let before = self.before(self.plan.reconcile.abandoned_after_s);
        let abandoned = {
            let mut conn = self.db.read().await?;
            documents::in_state(&mut conn, DocumentState::Receiving, before, PAGE).await?
        };
        for document in &abandoned {
            let mut tx = self.db.begin().await?;
            let reason = Reason::new(ReasonCode::Incomplete, "the upload broke off; send the file again");
            end_unreceived(&mut tx, stamp, &document.id, reason).await?;
            tx.commit().await?;
        }
        Ok(abandoned.len() as u64)
    }

    /// Ends what a person had begun to destroy and a crash broke off.
    async fn end_destructions(&self, stamp: Stamp<'_>) -> Result<u64, DbError> {
        let begun = {
            let mut conn = self.db.read().await?;
            contents::deleting(&mut conn, PAGE).await?
        };
        let mut ended = 0;
        for (brand, sha256) in begun {
            match quarantine::end_destruction(&self.db, self.objects.as_ref(), stamp, &brand, &sha256).await {
                Ok(documents) => ended += u64::from(documents > 0),
                Err(error) => tracing::warn!(error = %error, "could not end the destruction of quarantined content"),
            }
        }
        Ok(ended)
    }

    /// Puts documents to work that wait for a stage without having any: nothing accepted may lie still.
    async fn wake_stuck(&self, stamp: Stamp<'_>) -> Result<u64, DbError> {
        let before = self.before(self.plan.reconcile.stuck_after_s);
        let mut woken = 0;
        for state in [DocumentState::Received, DocumentState::Scanning] {
            let waiting = {
                let mut conn = self.db.read().await?;
                documents::in_state(&mut conn, state, before, PAGE).await?
            };
            for document in waiting {
                woken += u64::from(self.wake_document(stamp, &document).await?);
            }
        }
        Ok(woken)
    }

    async fn wake_document(&self, stamp: Stamp<'_>, document: &Document) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        if !work::of_subject(&mut tx, document.id.as_str()).await?.is_empty() {
            return Ok(false);
        }
        let stage = match (document.state, &document.verdict) {
            (DocumentState::Received, _) => FIRST,
            (_, None) => RESCAN,
            (_, Some(_)) => "store",
        };
        tracing::error!(document = %document.id, stage, "a document had no work; it is put to work again");
        work::put(&mut tx, stamp, document.id.as_str(), stage).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Sweeps incoming objects whose document is judged, or was never received.
    async fn sweep_orphans(&self) -> Result<u64, DbError> {
        let before = self.before(self.plan.reconcile.orphan_after_s);
        let mut swept = 0;
        let mut after: Option<String> = None;
        loop {
            let page = match self.objects.list(Place::Incoming, after.as_deref(), PAGE as usize).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(error = %error, "could not list incoming objects");
                    return Ok(swept);
                }
            };
            let Some((last, _)) = page.last() else { return Ok(swept) };
            after = Some(last.clone());
            for (name, _) in page {
                let Ok(id) = name.parse::<DocumentId>() else { continue };
                if made_at(&id).is_none_or(|made| made.as_microsecond() > before) || self.needs_incoming(&id).await? {
                    continue;
                }
                match self.objects.delete(&ObjectKey::incoming(&id)).await {
                    Ok(()) => swept += 1,
                    // after the back-up, then
                    Err(ObjectError::Kept(_)) => return Ok(swept),
                    Err(error) => tracing::warn!(document = %id, error = %error, "could not sweep an orphan"),
                }
            }
        }
    }

    /// Sweeps this node's spool of files whose document went on elsewhere.
    async fn sweep_spool(&self) -> Result<u64, DbError> {
        let mut swept = 0;
        let before = self.before(self.plan.reconcile.orphan_after_s);
        for id in self.spool.documents().await {
            // a file is there before its row is
            if made_at(&id).is_some_and(|made| made.as_microsecond() > before) {
                continue;
            }
            if !self.needs_incoming(&id).await? {
                self.spool.remove(&id).await;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Sweeps what a crash left in `content/` of bytes that were found infected meanwhile.
    async fn sweep_infected(&self) -> Result<u64, DbError> {
        let since = self.before(INFECTED_LOOKED_AT_S);
        let infected = {
            let mut conn = self.db.read().await?;
            contents::infected_since(&mut conn, since, PAGE).await?
        };
        let mut swept = 0;
        for (brand, sha256) in infected {
            let key = ObjectKey::content(&brand, &sha256);
            let gone = match self.objects.head(&key).await {
                Ok(None) => continue,
                Ok(Some(_)) => self.objects.delete(&key).await,
                Err(error) => Err(error),
            };
            match gone {
                Ok(()) => swept += 1,
                Err(error) => tracing::warn!(error = %error, "could not sweep infected content"),
            }
        }
        Ok(swept)
    }

    async fn needs_incoming(&self, id: &DocumentId) -> Result<bool, DbError> {
        let mut conn = self.db.read().await?;
        let state = documents::get(&mut conn, id).await?.map(|d| d.state);
        Ok(matches!(
            state,
            Some(DocumentState::Receiving | DocumentState::Received | DocumentState::Scanning | DocumentState::Held)
        ))
    }

    /// Scans clean content anew that was judged by other signatures than those in use (INT-12).
    async fn rescan_contents(&self, stamp: Stamp<'_>) -> Result<(u64, u64), DbError> {
        let Ok(version) = self.scanner.ready(self.ctx.now()).await else { return Ok((0, 0)) };
        // One that can't be judged must not keep the others waiting: each look goes on where the last one ended.
        let due = {
            let mut conn = self.db.read().await?;
            let after = db::installation(&mut conn, RESCAN_CURSOR).await?.unwrap_or_default();
            let after = after.split_once(' ').unwrap_or_default();
            contents::judged_by_others(&mut conn, &version.signatures, after, self.plan.reconcile.rescan_batch).await?
        };
        let next = due.last().map(|last| format!("{} {}", last.brand, last.sha256)).unwrap_or_default();
        let mut tx = self.db.begin().await?;
        db::set_installation(&mut tx, RESCAN_CURSOR, &next).await?;
        tx.commit().await?;
        let (mut rescanned, mut infected) = (0, 0);
        for content in due {
            match self.rescan_content(stamp, &content).await {
                Ok(found) => {
                    rescanned += 1;
                    infected += u64::from(found);
                }
                Err(error) => tracing::warn!(error = %error, "could not scan content anew"),
            }
        }
        Ok((rescanned, infected))
    }

    /// Scans one content anew. True when it is infected after all: it is then barred, and every document of it.
    async fn rescan_content(&self, stamp: Stamp<'_>, content: &Content) -> Result<bool, StageError> {
        let Content { brand, sha256, size_bytes, .. } = content;
        let file = self.content_of(brand, sha256, content.version_id.as_deref()).await?;
        let version = self
            .scanner
            .ready(self.ctx.now())
            .await
            .map_err(|not_ready| StageError::Pause { why: not_ready.to_string() })?;
        // With what is embedded in it, as when it came.
        let judged = match self.use_of(content).await? {
            Some(document) => self.scan_all(&file, &document, version).await?,
            None => judgement(self.scanner.scan(self.ctx.now(), file, 0, *size_bytes).await),
        };
        // it was judged by older signatures; that these can't is told, and tried again
        let judged = judged.map_err(|scanned| match scanned.verdict {
            Verdict::Unscannable { why } | Verdict::NotRun { why } => StageError::Retry { why },
            _ => StageError::Retry { why: "no scanner".into() },
        })?;
        if judged.signature.is_none() {
            let mut tx = self.db.begin().await?;
            contents::set_rescanned(&mut tx, stamp, content, &judged).await?;
            tx.commit().await.map_err(DbError::from)?;
            return Ok(false);
        }
        let (from, to) = (ObjectKey::content(brand, sha256), ObjectKey::quarantine(brand, sha256));
        let version = content.version_id.as_deref();
        let stored = self
            .objects
            .copy(&from, version, &to, sha256, *size_bytes, Tag::Quarantined)
            .await
            .map_err(|error| StageError::Retry { why: error.to_string() })?;
        let barred = Content { state: ContentState::Infected, version_id: stored.version, judged, ..content.clone() };
        let mut tx = self.db.begin().await?;
        contents::put(&mut tx, stamp, &barred).await?;
        bar_documents(&mut tx, stamp, &barred, None).await?;
        tx.commit().await.map_err(DbError::from)?;
        if let Err(error) = self.objects.delete(&from).await {
            tracing::warn!(error = %error, "could not sweep infected content");
        }
        Ok(true)
    }

    /// A document of these bytes, whose type and name tell how they are read.
    async fn use_of(&self, content: &Content) -> Result<Option<Sniffed>, DbError> {
        let mut conn = self.db.read().await?;
        let documents = documents::of_content(&mut conn, &content.brand, &content.sha256).await?;
        let (sha256, size_bytes) = (content.sha256.clone(), content.size_bytes);
        let known = documents.into_iter().find(|document| document.file_type.is_some());
        Ok(known.map(|document| Sniffed { document, sha256, size_bytes }))
    }

    /// The pause between two looks.
    pub fn reconcile_every(&self) -> Duration {
        Duration::from_secs(self.plan.reconcile.every_s)
    }
}

/// Compares the rows of content and of letters with the objects in the store: what is missing on either side, as
/// (rows without object, objects without row), per place.
///
/// # Errors
/// When the database or the store fails.
pub async fn compare_content(db: &Db, objects: &dyn Objects) -> Result<HashMap<&'static str, (i64, i64)>, StageError> {
    let mut differences = HashMap::new();
    for (place, state) in [(Place::Content, ContentState::Clean), (Place::Quarantine, ContentState::Infected)] {
        let mut present = 0;
        let mut unknown = 0;
        let mut after: Option<String> = None;
        loop {
            let page = objects
                .list(place, after.as_deref(), PAGE as usize)
                .await
                .map_err(|error| StageError::Retry { why: error.to_string() })?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let mut conn = db.read().await?;
            for (name, _) in &page {
                let found = match name.split_once('/') {
                    Some((brand, hash)) => match (brand.parse(), hash.rsplit('/').next().unwrap_or_default().parse()) {
                        (Ok(brand), Ok(hash)) => contents::get(&mut conn, &brand, &hash).await?.map(|c| c.state),
                        _ => None,
                    },
                    None => None,
                };
                // what is being destroyed is on neither side: its object may or may not be there
                present += i64::from(found == Some(state));
                unknown += i64::from(found != Some(state) && found != Some(ContentState::Deleting));
            }
        }
        let mut conn = db.read().await?;
        let rows = contents::count(&mut conn, state).await?;
        differences.insert(place.as_str(), (rows - present, unknown));
    }
    differences.insert(Place::Letters.as_str(), compare_letters(db, objects).await?);
    Ok(differences)
}

/// The same for the PDFs of letters. Many are made while this counts: a row that came after the beginning is not missed,
/// and a PDF that had none is looked at again in the end.
async fn compare_letters(db: &Db, objects: &dyn Objects) -> Result<(i64, i64), StageError> {
    let rows = {
        let mut conn = db.read().await?;
        letter_upkeep::files(&mut conn).await?
    };
    let (mut present, mut unknown) = (0, 0);
    let mut without_row = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = objects
            .list(Place::Letters, after.as_deref(), PAGE as usize)
            .await
            .map_err(|error| StageError::Retry { why: error.to_string() })?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let mut conn = db.read().await?;
        for (name, _) in &page {
            let Some((brand, rest)) = name.split_once('/') else {
                unknown += 1;
                continue;
            };
            match (brand.parse(), rest.rsplit('/').next().unwrap_or_default().parse()) {
                (Ok(brand), Ok(hash)) if letter_upkeep::is_known(&mut conn, &brand, &hash).await? => present += 1,
                (Ok(brand), Ok(hash)) => without_row.push((brand, hash)),
                _ => unknown += 1,
            }
        }
    }
    let mut conn = db.read().await?;
    for (brand, hash) in without_row {
        let known = letter_upkeep::is_known(&mut conn, &brand, &hash).await?
            || letter_upkeep::is_going(&mut conn, &brand, &hash).await?;
        unknown += i64::from(!known);
    }
    Ok(((rows - present).max(0), unknown))
}

/// The scanner's word on bytes that no document refers to any more.
fn judgement(scanned: Scanned) -> Result<Judged, Scanned> {
    let signature = match &scanned.verdict {
        Verdict::Clean => None,
        Verdict::Infected { signature } => Some(signature.clone()),
        _ => return Err(scanned),
    };
    let Some(by) = scanned.by.clone() else { return Err(scanned) };
    Ok(Judged { signature, engine: by.engine, signatures: by.signatures })
}

/// When a UUIDv7 was made.
fn made_at(id: &DocumentId) -> Option<Timestamp> {
    let uuid = uuid::Uuid::try_parse(id.as_str()).ok()?;
    let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
}

fn seconds(n: u64) -> i64 {
    i64::try_from(n.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
