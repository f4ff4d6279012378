//! Copies a whole store into another one: for back-ups, and to fill a store from one.

use std::fs::File;
use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::error::{ObjectError, Trouble};
use super::key::ObjectKey;
use super::landing::hash_of;
use super::{Objects, Place};
use crate::model::ids::Sha256;

/// Objects listed at a time.
const PAGE: usize = 500;
/// Objects under way at a time.
const AT_ONCE: usize = 4;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// How many objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Copies each object of `from` into `to`, by way of files below `scratch`, which is on the disk of whichever store is one
/// of files. What lies under its hash is compared with it. An object that goes meanwhile is left out: what must stay has
/// to be kept from being deleted.
///
/// # Errors
/// When a store does not do as asked, or bytes are not what their name says. What was copied stays.
pub async fn copy_all(from: &dyn Objects, to: &dyn Objects, scratch: &Path) -> Result<Copied, ObjectError> {
    let mut copied = Copied::default();
    for place in Place::ALL {
        let mut after: Option<String> = None;
        loop {
            let page = from.list(*place, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            // what is none of ours is left where it lies
            let keys: Vec<ObjectKey> =
                page.iter().filter_map(|(name, _)| ObjectKey::from_name(*place, name).ok()).collect();
            let each = stream::iter(keys.iter().map(|key| copy_one(from, to, key, scratch)));
            let sizes: Vec<Option<u64>> = each.buffer_unordered(AT_ONCE).try_collect().await?;
            for bytes in sizes.into_iter().flatten() {
                copied.objects += 1;
                copied.bytes += bytes;
            }
        }
    }
    Ok(copied)
}

/// The hash that an object's name says it has.
fn named_hash(key: &ObjectKey) -> Option<Sha256> {
    match key.place() {
        Place::Content | Place::Quarantine | Place::Letters => key.name().rsplit('/').next()?.parse().ok(),
        Place::Incoming | Place::Audit | Place::Parts => None,
    }
}

async fn copy_one(
    from: &dyn Objects,
    to: &dyn Objects,
    key: &ObjectKey,
    scratch: &Path,
) -> Result<Option<u64>, ObjectError> {
    let trouble = |error: &std::io::Error| ObjectError::disk("copy", key, error);
    let dir = tempfile::tempdir_in(scratch).map_err(|error| trouble(&error))?;
    let path = dir.path().join("object");
    let expected = named_hash(key);
    let stored = match from.fetch(key, None, &path, expected.as_ref()).await {
        Err(ObjectError::NotFound(_)) => return Ok(None),
        fetched => fetched?,
    };
    let sha256 = match expected {
        Some(sha256) => sha256,
        None => {
            let path = path.clone();
            let hashed = tokio::task::spawn_blocking(move || hash_of(&mut File::open(path)?)).await;
            let hashed = hashed.map_err(|error| ObjectError::Unavailable(Trouble::new("copy", key, error)))?;
            let (_, sha256) = hashed.map_err(|error| trouble(&error))?;
            sha256.parse().map_err(|error| ObjectError::Mismatch(Trouble::new("copy", key, error)))?
        }
    };
    to.put_file(key, &path, stored.size_bytes, &sha256).await?;
    Ok(Some(stored.size_bytes))
}
