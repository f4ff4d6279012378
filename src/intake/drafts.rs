//! Drafts expire (OPS-15, REC-30, PRE-20): what was begun at a door and not sent within its time is withdrawn with its
//! files, as its sender could have done. Only uploads have drafts: paper and faxes that came stay.

use jiff::Timestamp;

use super::Intake;
use crate::db::retention::holds::{self, Kept, LegalHold};
use crate::db::submissions::{self, Draft, Submission};
use crate::db::{DbError, Stamp};
use crate::model::draft::expires_at;
use crate::model::submission::SubmissionState;

/// Drafts looked at together.
const PAGE: i64 = 200;

impl Intake {
    /// Withdraws the drafts whose time is over. Those that a legal hold may concern stay, and those to which bytes are on
    /// their way.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn expire_drafts(&self, stamp: Stamp<'_>) -> Result<u64, DbError> {
        let (standing, now) = {
            let mut conn = self.db.read().await?;
            (holds::standing(&mut conn).await?, self.ctx.now())
        };
        let mut expired = 0;
        let mut behind = None;
        loop {
            let page = {
                let mut conn = self.db.read().await?;
                submissions::drafts(&mut conn, behind.as_ref(), PAGE).await?
            };
            let Some(last) = page.last() else { return Ok(expired) };
            behind = Some((last.submission.created_at.as_microsecond(), last.submission.id.clone()));
            for draft in page.iter().filter(|draft| self.is_over(draft, now)) {
                if !standing.iter().any(|hold| concerns(hold, &draft.submission)) {
                    expired += u64::from(self.expire(stamp, &draft.submission, now).await?);
                }
            }
        }
    }

    fn is_over(&self, draft: &Draft, now: Timestamp) -> bool {
        !draft.arriving && expires_at(draft.submission.kind, draft.saved_at, &self.plan.drafts, &self.calendar) <= now
    }

    /// Withdraws a draft, if nobody has saved or sent it just now.
    async fn expire(&self, stamp: Stamp<'_>, draft: &Submission, now: Timestamp) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        let locked = submissions::lock(&mut tx, &draft.id).await?;
        let Some(submission) = locked.filter(|locked| locked.state == SubmissionState::Open) else {
            return Ok(false);
        };
        if !submissions::draft(&mut tx, &submission.id).await?.is_some_and(|draft| self.is_over(&draft, now)) {
            return Ok(false);
        }
        super::submit::take_back(&mut tx, stamp, &submission).await?;
        tx.commit().await?;
        tracing::info!(submission = %submission.id, "a draft expired");
        Ok(true)
    }
}

/// Whether a hold may be about a draft: by its practice or its member. It is on no case yet.
fn concerns(hold: &LegalHold, draft: &Submission) -> bool {
    hold.brand == draft.brand
        && match &hold.kept {
            Kept::Tin(tin) => [&draft.tin, &draft.said.tin].into_iter().flatten().any(|of| of == tin),
            Kept::Member(member) => draft.said.member_id.as_ref() == Some(member),
            Kept::Case(_) => draft.said.case_number.is_some(),
        }
}
