//! Aging (OPS-02): the deadline of what begins to wait for a person, and the word before one is missed.

use jiff::Timestamp;
use serde_json::json;

use crate::db::documents::{self, Document};
use crate::db::tasks::{self, Task, TaskKind};
use crate::db::{Conn, DbError, Stamp, case_files, submissions};
use crate::intake::Intake;
use crate::model::aging::{AgingPolicy, due_at};
use crate::model::calendar::Calendar;
use crate::model::event::EventType;
use crate::model::ids::CaseId;

/// Tasks told of in one look; what is left over is told in the next one.
const WARNED_AT_ONCE: i64 = 200;

/// What deadlines of tasks are computed by.
#[derive(Debug, Clone, Copy)]
pub struct Aging<'a> {
    /// The payer's calendar.
    pub calendar: &'a Calendar,
    /// Time limits.
    pub policy: &'a AgingPolicy,
}

impl Aging<'_> {
    /// By when a person must have matched a document that is proposed for these cases.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn match_due(
        &self,
        conn: &mut Conn,
        document: &Document,
        proposed: &[CaseId],
    ) -> Result<Timestamp, DbError> {
        let deadlines = case_files::deadlines(conn, proposed).await?;
        Ok(due_at(document.received_at, self.policy.match_business_days, &deadlines, self.calendar))
    }

    /// By when a person must have decided over a held file. Nothing is proposed for it yet; the case that its
    /// submission was answered with waits for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn held_due(&self, conn: &mut Conn, document: &Document) -> Result<Timestamp, DbError> {
        let answer = match &document.submission_id {
            Some(submission) => submissions::case_answer(conn, submission).await?,
            None => None,
        };
        let case: Vec<CaseId> = answer.and_then(|answer| answer.case_id).into_iter().collect();
        let deadlines = case_files::deadlines(conn, &case).await?;
        Ok(due_at(document.received_at, self.policy.held_business_days, &deadlines, self.calendar))
    }
}

impl Intake {
    /// Tells of tasks whose breach is near, once each: by an event, a count and a line in the log.
    pub(super) async fn warn_of_breaches(&self, stamp: Stamp<'_>) -> Result<u64, DbError> {
        let now = self.ctx.now();
        let before = now.saturating_add(self.plan.aging.warn_before()).unwrap_or(Timestamp::MAX);
        let due = {
            let mut conn = self.db.read().await?;
            tasks::unwarned(&mut conn, now, before, WARNED_AT_ONCE).await?
        };
        let mut warned = 0;
        for task in due {
            warned += u64::from(self.warn_of(stamp, &task).await?);
        }
        Ok(warned)
    }

    async fn warn_of(&self, stamp: Stamp<'_>, task: &Task) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        let Some(document) = documents::lock(&mut tx, &task.document_id).await? else { return Ok(false) };
        if TaskKind::of(document.state) != Some(task.kind) || !tasks::set_warned(&mut tx, stamp, &document.id).await? {
            return Ok(false);
        }
        let overdue = task.deadline_at <= stamp.ctx.now();
        let payload = json!({ "task": task.kind, "deadline_at": task.deadline_at, "overdue": overdue });
        documents::note(&mut tx, stamp, &document, EventType::TaskDueSoon, payload).await?;
        tx.commit().await?;
        metrics::counter!("lettercase_tasks_due_soon_total", "kind" => task.kind.as_str()).increment(1);
        tracing::warn!(
            document = %document.id, kind = %task.kind, deadline_at = %task.deadline_at, overdue,
            "somebody must act on a waiting document"
        );
        Ok(true)
    }
}
