//! The object store as nodes have it: nothing is deleted while a back-up is taken.
//!
//! A back-up copies the database first and the objects after. What the copy names must be among them, so nothing may be
//! deleted from before the database is copied until the objects are. That is said in the database, for all nodes. It is
//! enough to ask right before each deletion, without a lock: whoever deletes has committed first that the object is not
//! needed any more. So if he still found nothing said, the copy has his word, too.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::db::{Db, backups};
use crate::model::ids::Sha256;
use crate::outside::context::Context;
use crate::outside::objects::{ObjectError, ObjectKey, ObjectMeta, Objects, Place, Stored, Tag, Trouble};

/// A store whose objects stay while a back-up is taken.
pub struct Keeping {
    inner: Arc<dyn Objects>,
    db: Db,
    ctx: Context,
}

impl Keeping {
    /// This store, and the database that says whether a back-up is taken.
    pub fn over(inner: Arc<dyn Objects>, db: Db, ctx: Context) -> Arc<dyn Objects> {
        Arc::new(Self { inner, db, ctx })
    }

    async fn may_delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        let kept = async {
            let mut conn = self.db.read().await?;
            backups::keeps_objects(&mut conn, self.ctx.now().as_microsecond()).await
        };
        let trouble = |cause: String| Trouble { doing: "delete", on: key.to_string(), cause };
        match kept.await {
            Ok(false) => Ok(()),
            Ok(true) => Err(ObjectError::Kept(trouble("it goes when the back-up has ended".into()))),
            Err(error) => Err(ObjectError::Unavailable(trouble(error.to_string()))),
        }
    }
}

#[async_trait]
impl Objects for Keeping {
    async fn put_file(
        &self,
        key: &ObjectKey,
        path: &Path,
        size_bytes: u64,
        sha256: &Sha256,
    ) -> Result<Stored, ObjectError> {
        self.inner.put_file(key, path, size_bytes, sha256).await
    }

    async fn put_bytes(&self, key: &ObjectKey, bytes: Vec<u8>) -> Result<Stored, ObjectError> {
        self.inner.put_bytes(key, bytes).await
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        from_version: Option<&str>,
        to: &ObjectKey,
        sha256: &Sha256,
        size_bytes: u64,
        tag: Tag,
    ) -> Result<Stored, ObjectError> {
        self.inner.copy(from, from_version, to, sha256, size_bytes, tag).await
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        version: Option<&str>,
        to: &Path,
        expect: Option<&Sha256>,
    ) -> Result<Stored, ObjectError> {
        self.inner.fetch(key, version, to, expect).await
    }

    async fn get_bytes(&self, key: &ObjectKey, limit: usize) -> Result<Option<Vec<u8>>, ObjectError> {
        self.inner.get_bytes(key, limit).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, ObjectError> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        self.may_delete(key).await?;
        self.inner.delete(key).await
    }

    async fn list(&self, place: Place, after: Option<&str>, limit: usize) -> Result<Vec<(String, u64)>, ObjectError> {
        self.inner.list(place, after, limit).await
    }

    async fn check(&self) -> Result<(), ObjectError> {
        self.inner.check().await
    }
}
