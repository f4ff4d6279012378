//! Settles a submission once it was sent, all of its files are judged, and `cases` has answered.
//!
//! [`settle`] is called wherever one of the three comes last. It takes the submission's row first, so that of
//! two files that are judged at once, one sees both.

use async_trait::async_trait;

use crate::db::documents;
use crate::db::{Conn, DbError, Stamp, submissions, work};
use crate::engine::stage::{Attempt, Handover, Outcome, Stage, StageError, Subject};
use crate::intake::stages::MATCH;
use crate::model::document::DocumentState;
use crate::model::ids::SubmissionId;
use crate::model::submission::{SubmissionState, outcome};

/// Ends the submission if it can be ended; an accepted one's documents go on to be matched.
///
/// # Errors
/// When the database fails.
pub async fn settle(conn: &mut Conn, stamp: Stamp<'_>, id: &SubmissionId) -> Result<(), DbError> {
    let Some(submission) = submissions::lock(conn, id).await? else { return Ok(()) };
    if !matches!(submission.state, SubmissionState::Submitted | SubmissionState::Held) {
        return Ok(());
    }
    if submissions::case_answer(conn, id).await?.is_none() {
        return Ok(());
    }
    // What never was received is the sender's to send again, what was taken away is gone: neither counts.
    let mut documents = documents::of_submission(conn, id).await?;
    documents.retain(|d| d.accepted_at.is_some() && d.state != DocumentState::Withdrawn);
    let states: Vec<DocumentState> = documents.iter().map(|d| d.state).collect();
    let Some(to) = outcome(&states).filter(|to| *to != submission.state) else { return Ok(()) };
    submissions::transition(conn, stamp, &submission, to).await?;
    if to == SubmissionState::Accepted {
        for document in documents {
            work::put(conn, stamp, document.id.as_str(), MATCH).await?;
        }
    }
    Ok(())
}

/// The stage that settles a submission when `cases` has answered.
pub struct Settle;

/// A submission that waits for its end.
pub struct Waiting(SubmissionId);

#[async_trait]
impl Subject for Waiting {
    async fn load(conn: &mut Conn, id: &str) -> Result<Option<Self>, DbError> {
        let Ok(id) = id.parse() else { return Ok(None) };
        Ok(submissions::get(conn, &id).await?.map(|submission| Self(submission.id)))
    }
}

#[async_trait]
impl Stage for Settle {
    const NAME: &'static str = "settle";
    type In = Waiting;
    type Product = ();
    type Out = Waiting;

    async fn run(&self, _: &Waiting, _: Attempt) -> Result<Outcome<()>, StageError> {
        Ok(Outcome::Advance(()))
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Waiting,
        _: Outcome<()>,
    ) -> Result<Handover, DbError> {
        settle(conn, stamp, &input.0).await?;
        Ok(Handover::Waits)
    }
}
