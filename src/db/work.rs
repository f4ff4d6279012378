//! The queue of work. It is filled in the transaction of the state it belongs to, and emptied in the
//! transaction of the state that follows.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::{Conn, Db, DbError, Flavor, Stamp, exactly_one, instant, number, opt_instant, opt_text, text};
use crate::model::ids::SubmissionId;

/// A piece of work taken by this node for a while. Its token fences: whoever finishes with an old one changes
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The id of what is worked on.
    pub subject: String,
    /// The stage that works.
    pub stage: String,
    /// How often it was taken, this time included.
    pub attempts: i64,
    /// The lease's token.
    pub token: String,
}

/// Takes all work away from a subject that has none to be done any more: whoever works on it changes nothing.
///
/// # Errors
/// When the database fails.
pub async fn remove(conn: &mut Conn, subject: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM work WHERE subject = $1").bind(subject).execute(conn).await?;
    Ok(())
}

/// Puts a stage to work anew, in place of whatever work there is for the subject. A worker that found nothing to do
/// a moment ago would else take the new work out of the queue with its own.
///
/// # Errors
/// When the database fails.
pub async fn restart(conn: &mut Conn, stamp: Stamp<'_>, subject: &str, stage: &str) -> Result<(), DbError> {
    remove(conn, subject).await?;
    put(conn, stamp, subject, stage).await
}

/// Takes what is due. What waits and what lapsed are two stretches of one index, each read in order and no further than
/// is taken, however much waits; with an OR all of it would be read and sorted. They are looked up once: as a plain
/// subquery a planner may run them again for each row and lock, and so take, more than asked.
macro_rules! claim {
    ($lock:literal) => {
        concat!(
            "WITH waiting AS MATERIALIZED (
                 SELECT subject, due_at FROM work WHERE stage = $4 AND state = 'ready' AND due_at <= $5
                 ORDER BY due_at, subject LIMIT $6 ",
            $lock,
            "), lapsed AS MATERIALIZED (
                 SELECT subject, due_at FROM work WHERE stage = $4 AND state = 'running' AND lease_until < $5
                 ORDER BY due_at, subject LIMIT $6 ",
            $lock,
            "), due AS MATERIALIZED (
                 SELECT subject FROM (SELECT subject, due_at FROM waiting UNION ALL SELECT subject, due_at FROM lapsed)
                     AS either
                 ORDER BY due_at, subject LIMIT $6)
             UPDATE work SET state = 'running', attempts = attempts + 1, lease_token = $1, lease_until = $2, node = $3
             WHERE stage = $4 AND subject IN (SELECT subject FROM due)
             RETURNING subject, attempts, due_at"
        )
    };
}
/// The claim on SQLite: parameters are token, its end, node, stage, the instant now, and how many.
pub const CLAIM_SQLITE: &str = claim!("");
/// The claim on PostgreSQL: as [`CLAIM_SQLITE`].
pub const CLAIM_POSTGRES: &str = claim!("FOR UPDATE SKIP LOCKED");

/// Puts work into the queue, due at once. Work that lies there already is left as it is; a dead letter of the
/// same subject and stage is only revived by an operator.
///
/// # Errors
/// When the database fails.
pub async fn put(conn: &mut Conn, stamp: Stamp<'_>, subject: &str, stage: &str) -> Result<(), DbError> {
    let now = stamp.now();
    sqlx::query(
        "INSERT INTO work (subject, stage, state, attempts, due_at, created_at) VALUES ($1, $2, 'ready', 0, $3, $3)
         ON CONFLICT (subject, stage) DO NOTHING",
    )
    .bind(subject)
    .bind(stage)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes up to `limit` pieces of a stage's work that are due, or whose lease ran out. Attempts are counted
/// here, so that work that kills its process is counted, too.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    db: &Db,
    stamp: Stamp<'_>,
    stage: &str,
    node: &str,
    lease: Duration,
    limit: i64,
) -> Result<Vec<Claim>, DbError> {
    let now = stamp.now();
    let until = stamp.after(lease);
    let token = stamp.ctx.new_id();
    // PostgreSQL lets claimers pass each other; SQLite has one writer at a time anyway.
    let statement = match db.flavor() {
        Flavor::Sqlite => CLAIM_SQLITE,
        Flavor::Postgres => CLAIM_POSTGRES,
    };
    let mut tx = db.begin().await?;
    let rows = sqlx::query(statement)
        .bind(&token)
        .bind(until)
        .bind(node)
        .bind(stage)
        .bind(now)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    let mut claims = Vec::with_capacity(rows.len());
    for row in &rows {
        let (subject, attempts) = (text(row, "subject")?, number(row, "attempts")?);
        claims
            .push((number(row, "due_at")?, Claim { subject, stage: stage.to_owned(), attempts, token: token.clone() }));
    }
    // RETURNING knows no order
    claims.sort_by(|(due, claim), (other_due, other)| (due, &claim.subject).cmp(&(other_due, &other.subject)));
    Ok(claims.into_iter().map(|(_, claim)| claim).collect())
}

/// The statement that tells when the next piece of work of each of so many stages is due; its parameters are the stages. Two
/// looks by the index for each: of what waits only the first is read, of what runs there are few.
pub fn next_dues(stages: usize) -> String {
    let each: Vec<String> = (1..=stages)
        .map(|n| {
            let stage = format!("CAST(${n} AS TEXT)");
            format!(
                "SELECT {stage} AS stage, due FROM (SELECT due_at AS due FROM work
                     WHERE stage = {stage} AND state = 'ready' ORDER BY due_at LIMIT 1) AS waiting
                 UNION ALL SELECT {stage} AS stage, MIN(lease_until) AS due FROM work
                     WHERE stage = {stage} AND state = 'running'"
            )
        })
        .collect();
    format!("SELECT stage, CAST(MIN(due) AS BIGINT) AS due FROM ({}) AS each GROUP BY stage", each.join(" UNION ALL "))
}

/// When the stage's next piece of work is due, if it has any.
///
/// # Errors
/// When the database fails.
pub async fn next_due(conn: &mut Conn, stage: &str) -> Result<Option<Timestamp>, DbError> {
    let row = sqlx::query(AssertSqlSafe(next_dues(1))).bind(stage).fetch_optional(conn).await?;
    row.map_or(Ok(None), |row| opt_instant(&row, "due"))
}

/// How much of a stage's work waits, counted no further than to a limit: the parameters are the two. By the order no
/// planner takes the table for the index.
pub const WAITING: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM (
         SELECT due_at FROM work WHERE stage = $1 AND state = 'ready' ORDER BY due_at LIMIT $2) AS counted";

/// How much of a stage's work waits, at most `limit`: a queue without an end is not counted to it.
///
/// # Errors
/// When the database fails.
pub async fn waiting(conn: &mut Conn, stage: &str, limit: i64) -> Result<i64, DbError> {
    let row = sqlx::query(WAITING).bind(stage).bind(limit).fetch_one(conn).await?;
    number(&row, "n")
}

/// Lengthens the lease. False when it is no longer ours.
///
/// # Errors
/// When the database fails.
pub async fn heartbeat(conn: &mut Conn, stamp: Stamp<'_>, claim: &Claim, lease: Duration) -> Result<bool, DbError> {
    let until = stamp.after(lease);
    let done = sqlx::query("UPDATE work SET lease_until = $1 WHERE subject = $2 AND stage = $3 AND lease_token = $4")
        .bind(until)
        .bind(&claim.subject)
        .bind(&claim.stage)
        .bind(&claim.token)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes finished work out of the queue.
///
/// # Errors
/// [`DbError::Stale`] when the lease is no longer ours: the caller's transaction must not commit.
pub async fn finish(conn: &mut Conn, claim: &Claim) -> Result<(), DbError> {
    let done = sqlx::query("DELETE FROM work WHERE subject = $1 AND stage = $2 AND lease_token = $3")
        .bind(&claim.subject)
        .bind(&claim.stage)
        .bind(&claim.token)
        .execute(conn)
        .await?;
    exactly_one(&done, "work")
}

/// How work goes back into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveBack {
    /// A try was used up.
    Tried,
    /// The stage was paused or the node stops: the try does not count.
    NotTried,
}

/// Gives work back, due at `due_at` (microseconds), with the reason for operators. It changes nothing where
/// the lease is no longer ours.
///
/// # Errors
/// When the database fails.
pub async fn give_back(
    conn: &mut Conn,
    claim: &Claim,
    due_at: i64,
    how: GiveBack,
    reason: &str,
) -> Result<(), DbError> {
    let uncounted = i64::from(how == GiveBack::NotTried);
    sqlx::query(
        "UPDATE work SET state = 'ready', due_at = $1, attempts = attempts - $2, reason = $3,
                lease_token = NULL, lease_until = NULL
         WHERE subject = $4 AND stage = $5 AND lease_token = $6",
    )
    .bind(due_at)
    .bind(uncounted)
    .bind(reason)
    .bind(&claim.subject)
    .bind(&claim.stage)
    .bind(&claim.token)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends work as a dead letter with its reason.
///
/// # Errors
/// [`DbError::Stale`] when the lease is no longer ours.
pub async fn bury(conn: &mut Conn, claim: &Claim, reason: &str) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE work SET state = 'dead', reason = $1, lease_token = NULL, lease_until = NULL
         WHERE subject = $2 AND stage = $3 AND lease_token = $4",
    )
    .bind(reason)
    .bind(&claim.subject)
    .bind(&claim.stage)
    .bind(&claim.token)
    .execute(conn)
    .await?;
    exactly_one(&done, "work")
}

/// A piece of work as an operator sees it.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct WorkRow {
    /// What is worked on.
    pub subject: String,
    /// The stage.
    pub stage: String,
    /// `ready`, `running` or `dead`.
    pub state: String,
    /// How often it was taken.
    pub attempts: i64,
    /// Why it waits or died.
    pub reason: Option<String>,
    /// When it was put there.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A place in the list of dead letters: when the row before was put there (microseconds), its subject and stage.
pub type After<'a> = (i64, &'a str, &'a str);

/// The dead letters behind a row, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn dead_letters(conn: &mut Conn, after: Option<After<'_>>, limit: i64) -> Result<Vec<WorkRow>, DbError> {
    let (at, subject, stage) = after.unwrap_or((i64::MIN, "", ""));
    let rows = sqlx::query(
        "SELECT subject, stage, state, attempts, reason, created_at FROM work
         WHERE state = 'dead' AND (created_at, subject, stage) > ($1, $2, $3) ORDER BY created_at, subject, stage LIMIT $4",
    )
    .bind(at)
    .bind(subject)
    .bind(stage)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Which documents of a submission have work that failed for good.
///
/// # Errors
/// When the database fails.
pub async fn dead_of_submission(conn: &mut Conn, submission: &SubmissionId) -> Result<HashSet<String>, DbError> {
    let rows = sqlx::query(
        "SELECT w.subject FROM document d JOIN work w ON w.subject = d.id
         WHERE d.submission_id = $1 AND w.state = 'dead'",
    )
    .bind(submission.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| text(row, "subject")).collect()
}

/// What waits or runs for one subject.
///
/// # Errors
/// When the database fails.
pub async fn of_subject(conn: &mut Conn, subject: &str) -> Result<Vec<WorkRow>, DbError> {
    let rows = sqlx::query(
        "SELECT subject, stage, state, attempts, reason, created_at FROM work WHERE subject = $1 ORDER BY stage",
    )
    .bind(subject)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Sets a dead letter to work again with its tries anew. False when there is no such dead letter.
///
/// # Errors
/// When the database fails.
pub async fn replay(conn: &mut Conn, stamp: Stamp<'_>, subject: &str, stage: &str) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE work SET state = 'ready', attempts = 0, due_at = $1 WHERE subject = $2 AND stage = $3 AND state = 'dead'",
    )
    .bind(stamp.now())
    .bind(subject)
    .bind(stage)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many pieces of work there are per stage and state.
///
/// # Errors
/// When the database fails.
pub async fn counts(conn: &mut Conn) -> Result<Vec<(String, String, i64)>, DbError> {
    let rows = sqlx::query("SELECT stage, state, COUNT(*) AS n FROM work GROUP BY stage, state ORDER BY stage, state")
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((text(row, "stage")?, text(row, "state")?, number(row, "n")?))).collect()
}

fn read(row: &AnyRow) -> Result<WorkRow, DbError> {
    Ok(WorkRow {
        subject: text(row, "subject")?,
        stage: text(row, "stage")?,
        state: text(row, "state")?,
        attempts: number(row, "attempts")?,
        reason: opt_text(row, "reason")?,
        created_at: instant(row, "created_at")?,
    })
}
