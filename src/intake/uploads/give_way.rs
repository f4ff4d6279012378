//! How a writer whose sender has gone silent makes room for the next one.
//!
//! A connection that is gone without a word (a laptop that sleeps, a NAT that forgets) holds its lease until receive
//! loses patience. Its sender, back on another line, would be locked out by itself. So whoever finds an upload
//! written to asks the writer, by its token in the row and so over any node, to give way; a writer to whom bytes come
//! never looks, one that waits for them does. What it has got by then is kept, as of any request that breaks off.

use std::time::Duration;

use tokio::time::Instant;

use super::{Held, UploadError};
use crate::db::DbError;
use crate::db::uploads::{self, Upload};
use crate::intake::Intake;
use crate::model::ids::{SubmissionId, UploadId};

/// How often whoever waits looks whether the upload is free.
const LOOK: Duration = Duration::from_millis(50);

impl Intake {
    /// Takes an upload to write to it; where there is a writer, it is asked to give way and waited for a little.
    pub(super) async fn hold_soon(&self, submission: &SubmissionId, id: &UploadId) -> Result<Held, UploadError> {
        let until = Instant::now() + self.plan.uploads.give_way();
        loop {
            match self.hold(submission, id).await {
                Err(UploadError::Locked) if Instant::now() < until => {
                    self.free(submission, id, until).await?;
                }
                other => return other,
            }
        }
    }

    /// Asks the writer of an upload, if there is one, to give way, and waits for it. How the upload stands then.
    pub(super) async fn free(
        &self,
        submission: &SubmissionId,
        id: &UploadId,
        until: Instant,
    ) -> Result<Upload, UploadError> {
        let mut asked = None;
        loop {
            let upload = self.find_upload(submission, id).await?;
            let writer = upload.lease.as_ref().map(|(token, _)| token.clone()).filter(|_| self.is_written(&upload));
            if writer.is_none() || Instant::now() >= until {
                return Ok(upload);
            }
            if writer != asked {
                if let Some(token) = &writer {
                    self.ask_to_give_way(id, token).await?;
                }
                asked = writer;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ask_to_give_way(&self, id: &UploadId, token: &str) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        uploads::ask_to_give_way(&mut tx, id, token).await?;
        Ok(tx.commit().await?)
    }

    /// Whether somebody waits for this writer to give way. Where that can't be told it goes on: its own patience ends.
    pub(super) async fn must_give_way(&self, held: &Held) -> bool {
        let asked = async {
            let mut conn = self.db.read().await?;
            uploads::is_asked_to_give_way(&mut conn, &held.upload.id, &held.token).await
        };
        asked.await.unwrap_or_else(|error| {
            tracing::warn!(upload = %held.upload.id, error = %error, "could not look whether a writer must give way");
            false
        })
    }
}
