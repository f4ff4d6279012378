//! What a reconciler does about resumable uploads: those that are whole become their documents, those whose time is
//! over end, and parts that nothing needs are destroyed.

use jiff::Timestamp;

use super::UploadError;
use crate::db::DbError;
use crate::db::uploads::{self, UploadState};
use crate::intake::Intake;
use crate::model::ids::UploadId;
use crate::outside::objects::{ObjectError, ObjectKey, Place};

/// The most rows or objects looked at in one go.
const PAGE: i64 = 200;

impl Intake {
    /// Looks once at all uploads. How many were changed or destroyed.
    ///
    /// # Errors
    /// When the database fails; what the store refuses is logged and looked at again.
    pub(in crate::intake) async fn reconcile_uploads(&self) -> Result<u64, DbError> {
        Ok(self.complete_whole().await?
            + self.end_expired().await?
            + self.sweep_ended().await?
            + self.sweep_parts().await?
            + self.forget_ended().await?)
    }

    /// Completes uploads that a crash kept from it.
    async fn complete_whole(&self) -> Result<u64, DbError> {
        let whole = {
            let mut conn = self.db.read().await?;
            uploads::uncompleted(&mut conn, self.upload_stamp(), PAGE).await?
        };
        let mut done = 0;
        for upload in whole {
            let id = upload.id.clone();
            match self.take_up(upload).await {
                Ok(_) | Err(UploadError::Ended { .. }) => done += 1,
                Err(UploadError::Locked | UploadError::Pending { .. } | UploadError::Conflict { .. }) => {}
                Err(error) => tracing::warn!(upload = %id, error = %error, "could not complete an upload"),
            }
        }
        Ok(done)
    }

    /// Ends uploads that were not whole in time, where nobody writes to them just now.
    async fn end_expired(&self) -> Result<u64, DbError> {
        let (stamp, token) = (self.upload_stamp(), self.ctx.new_id());
        let expired = {
            let mut conn = self.db.read().await?;
            uploads::expired(&mut conn, stamp.now(), PAGE).await?
        };
        let mut done = 0;
        for upload in expired {
            let mut tx = self.db.begin().await?;
            let until = stamp.after(self.plan.uploads.lease());
            if uploads::take(&mut tx, stamp, &upload.id, &token, until).await? {
                uploads::end(&mut tx, &upload.id, &token, UploadState::Expired, None).await?;
                tx.commit().await?;
                done += 1;
            }
        }
        Ok(done)
    }

    /// Destroys the parts of uploads that have ended.
    async fn sweep_ended(&self) -> Result<u64, DbError> {
        let ended = {
            let mut conn = self.db.read().await?;
            uploads::ended_with_parts(&mut conn, PAGE).await?
        };
        let mut done = 0;
        for id in ended {
            match self.destroy_parts(&id).await {
                Ok(()) => done += 1,
                Err(error) => tracing::warn!(upload = %id, error = %error, "could not destroy the parts of an upload"),
            }
        }
        Ok(done)
    }

    /// Destroys objects without a row whose upload has ended. Those of one under way may be about to get theirs; they
    /// are looked at when it has ended.
    async fn sweep_parts(&self) -> Result<u64, DbError> {
        let mut swept = 0;
        let mut after: Option<String> = None;
        loop {
            let page = match self.objects.list(Place::Parts, after.as_deref(), PAGE as usize).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(error = %error, "could not list parts");
                    return Ok(swept);
                }
            };
            let Some((last, _)) = page.last() else { return Ok(swept) };
            after = Some(last.clone());
            for (name, _) in &page {
                let Ok(key) = ObjectKey::from_name(Place::Parts, name) else { continue };
                let Some(upload) = key.upload() else { continue };
                let state = {
                    let mut conn = self.db.read().await?;
                    uploads::get(&mut conn, &upload).await?.map(|upload| upload.state)
                };
                if state == Some(UploadState::Receiving) {
                    continue;
                }
                match self.objects.delete(&key).await {
                    Ok(()) => swept += 1,
                    // after the back-up, then
                    Err(ObjectError::Kept(_)) => return Ok(swept),
                    Err(error) => tracing::warn!(upload = %upload, error = %error, "could not sweep a part"),
                }
            }
        }
    }

    /// Forgets uploads that ended long ago: their rows hold file names.
    async fn forget_ended(&self) -> Result<u64, DbError> {
        let before = self.ctx.now().checked_sub(self.plan.uploads.remember()).unwrap_or(Timestamp::MIN);
        let mut done = 0;
        for state in UploadState::ALL.iter().filter(|state| **state != UploadState::Receiving) {
            let old = {
                let mut conn = self.db.read().await?;
                uploads::over(&mut conn, *state, before.as_microsecond(), PAGE).await?
            };
            for upload in old {
                let mut tx = self.db.begin().await?;
                uploads::forget(&mut tx, &upload.id).await?;
                tx.commit().await?;
                done += 1;
            }
        }
        Ok(done)
    }

    /// Destroys the parts of an upload that has ended: objects first, so that none is left without a row.
    pub(super) async fn destroy_parts(&self, id: &UploadId) -> Result<(), UploadError> {
        let parts = {
            let mut conn = self.db.read().await?;
            uploads::parts(&mut conn, id).await?
        };
        for part in parts {
            match ObjectKey::from_name(Place::Parts, &part.name) {
                Ok(key) => self.objects.delete(&key).await.map_err(UploadError::Store)?,
                Err(error) => tracing::error!(upload = %id, error = %error, "a part's name is none of ours"),
            }
        }
        let mut tx = self.db.begin().await?;
        uploads::remove_parts(&mut tx, id).await?;
        Ok(tx.commit().await.map_err(DbError::from)?)
    }
}
