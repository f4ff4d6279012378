//! Gives committed events their one order and chains it.
//!
//! Events are written without a number, because a number drawn inside the transaction is not in commit order:
//! a reader that remembers the last one it saw would skip what commits late. One sequencer at a time, under a
//! lease, numbers what is committed and seals each batch with an HMAC over the seal before and the batch's
//! digests. The key is outside the database, and the head lies in the object store, too: who can write the
//! database alone can neither change, drop nor cut off events unseen.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::db::events::{self, Place, Seal};
use crate::db::{Db, DbError, Stamp, leases};
use crate::model::event::Event;
use crate::model::ids::IdError;
use crate::outside::objects::{ObjectError, ObjectKey, Objects};

/// The key of the chain: 32 bytes that are never stored beside the events.
#[derive(Clone)]
pub struct AuditKey(pub [u8; 32]);

impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditKey(…)")
    }
}

/// The head of the chain as it is kept in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Position of the last sealed event.
    pub position: i64,
    /// MAC of the last seal.
    pub mac: String,
}

/// The most events in one batch.
pub(super) const BATCH: i64 = 500;
const LEASE_NAME: &str = "sequencer";
/// How long the sequencer's lease runs.
const LEASE: Duration = Duration::from_secs(10);
/// How far apart two writings of the head are at least.
const HEAD_EVERY: Duration = Duration::from_secs(1);

/// Seals events.
#[derive(Clone)]
pub struct Sequencer {
    key: AuditKey,
    objects: Arc<dyn Objects>,
    token: String,
    head_at: Arc<AtomicI64>,
    head_position: Arc<AtomicI64>,
}

impl Sequencer {
    /// A sequencer for this node; `token` tells it from those of other nodes.
    pub fn new(key: AuditKey, objects: Arc<dyn Objects>, token: String) -> Self {
        Self {
            key,
            objects,
            token,
            head_at: Arc::new(AtomicI64::new(i64::MIN)),
            head_position: Arc::new(AtomicI64::new(-1)),
        }
    }

    /// Seals what is there, one batch. Answers how many events it sealed; 0 also when another node seals.
    ///
    /// # Errors
    /// When the database fails. A head that can't be written is logged and written with a later batch.
    pub async fn seal(&self, db: &Db, stamp: Stamp<'_>) -> Result<usize, DbError> {
        let waiting = {
            let mut conn = db.read().await?;
            events::backlog(&mut conn).await?.0
        };
        let mut sealed = 0;
        if waiting > 0 {
            sealed = self.seal_batch(db, stamp).await?;
        }
        self.write_head(db, stamp, sealed == 0).await?;
        Ok(sealed)
    }

    /// Seals all that is there and lets another node seal at once: for a node that stops.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retire(&self, db: &Db, stamp: Stamp<'_>) -> Result<(), DbError> {
        while self.seal(db, stamp).await? > 0 {}
        let mut tx = db.begin().await?;
        leases::release(&mut tx, LEASE_NAME, &self.token).await?;
        Ok(tx.commit().await?)
    }

    async fn seal_batch(&self, db: &Db, stamp: Stamp<'_>) -> Result<usize, DbError> {
        let mut tx = db.begin().await?;
        let until = stamp.after(LEASE);
        // The lease's row is locked until commit, so even two nodes that both believe in their lease seal in turn.
        if !leases::take(&mut tx, stamp, LEASE_NAME, &self.token, until).await? {
            return Ok(0);
        }
        let last = events::last_seal(&mut tx).await?;
        let mut position = last.as_ref().map_or(0, |seal| seal.last_position);
        let batch = events::unsealed(&mut tx, BATCH).await?;
        if batch.is_empty() {
            return Ok(0);
        }
        let first_position = position + 1;
        let mut places = Vec::with_capacity(batch.len());
        for event in &batch {
            position += 1;
            places.push(Place { id: event.id.as_str(), position, digest: digest(event, position) });
        }
        events::place(&mut tx, &places).await?;
        let digests: Vec<String> = places.into_iter().map(|place| place.digest).collect();
        let previous = last.map(|seal| seal.mac).unwrap_or_default();
        let mac = chain(&self.key, &previous, first_position, &digests);
        events::put_seal(&mut tx, stamp, &Seal { first_position, last_position: position, mac }).await?;
        tx.commit().await?;
        Ok(batch.len())
    }

    /// Keeps the head outside the database: at most once in [`HEAD_EVERY`] while events come, and once they rest.
    async fn write_head(&self, db: &Db, stamp: Stamp<'_>, resting: bool) -> Result<(), DbError> {
        let now = stamp.now();
        let since = now.saturating_sub(self.head_at.load(Ordering::Relaxed));
        let due = since >= i64::try_from(HEAD_EVERY.as_micros()).unwrap_or(i64::MAX);
        if !(due || resting) {
            return Ok(());
        }
        let last = {
            let mut conn = db.read().await?;
            events::last_seal(&mut conn).await?
        };
        let Some(last) = last.filter(|seal| seal.last_position > self.head_position.load(Ordering::Relaxed)) else {
            return Ok(());
        };
        let head = Head { position: last.last_position, mac: last.mac };
        match self.is_continued(db).await? {
            Some(true) => {}
            // what was cut off must stay to be seen: a head is never taken back but by a person who restores
            Some(false) => {
                tracing::error!(
                    "the head of the audit chain in the object store is of another or a longer log than this one"
                );
                return Ok(());
            }
            None => return Ok(()),
        }
        match keep_head(self.objects.as_ref(), &head).await {
            Ok(()) => {
                self.head_at.store(now, Ordering::Relaxed);
                self.head_position.store(head.position, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(error, "could not keep the head of the audit chain in the object store"),
        }
        Ok(())
    }

    /// Whether the database has the seal that the kept head names. `None`: the store does not say what is kept.
    async fn is_continued(&self, db: &Db) -> Result<Option<bool>, DbError> {
        match kept_head(self.objects.as_ref()).await {
            Ok(None) => Ok(Some(true)),
            Ok(Some(kept)) => {
                let mut conn = db.read().await?;
                Ok(Some(events::is_sealed(&mut conn, kept.position, &kept.mac).await?))
            }
            Err(error) => {
                tracing::warn!(error = %error, "could not read the head of the audit chain in the object store");
                Ok(None)
            }
        }
    }
}

/// Keeps a head outside the database, whatever was kept before.
///
/// # Errors
/// When the store does not take it.
pub async fn keep_head(objects: &dyn Objects, head: &Head) -> Result<(), String> {
    let bytes = serde_json::to_vec(head).map_err(|error| error.to_string())?;
    let key = head_key().map_err(|error| error.to_string())?;
    objects.put_bytes(&key, bytes).await.map(|_| ()).map_err(|error| error.to_string())
}

/// Where the head lies.
///
/// # Errors
/// Never for this constant name.
pub fn head_key() -> Result<ObjectKey, IdError> {
    ObjectKey::audit("head.json")
}

/// The head as it is kept outside the database. `None`: there is none, or what is there is none.
///
/// # Errors
/// When the store can't be read.
pub async fn kept_head(objects: &dyn Objects) -> Result<Option<Head>, ObjectError> {
    let Ok(key) = head_key() else { return Ok(None) };
    let bytes = objects.get_bytes(&key, 4096).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The digest of an event at its position: SHA-256 over its fields as a JSON array, in hexadecimal.
pub fn digest(event: &Event, position: i64) -> String {
    let fields = serde_json::json!([
        position,
        event.id,
        event.kind,
        event.version,
        event.subject,
        event.brand,
        event.tin_uid,
        event.actor,
        event.at.as_microsecond(),
        event.payload,
    ]);
    hex::encode(Sha256::digest(fields.to_string().as_bytes()))
}

/// The key as HMAC pads it: to the block of SHA-256, 64 bytes (RFC 2104).
fn block(key: &AuditKey) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut block = [0u8; 64];
    block[..32].copy_from_slice(&key.0);
    block.into()
}

/// The MAC of a batch: HMAC-SHA-256 over the MAC before, the first position and the digests.
pub fn chain(key: &AuditKey, previous: &str, first_position: i64, digests: &[String]) -> String {
    let mut mac = Hmac::<Sha256>::new(&block(key));
    mac.update(previous.as_bytes());
    mac.update(&first_position.to_be_bytes());
    for digest in digests {
        mac.update(digest.as_bytes());
    }
    hex::encode(mac.finalize().into_bytes())
}
