//! What waits, how much of it and since when: for those who watch the flow. Each look reads all that waits, so it is for
//! now and then; what is done or kept is not read.

use jiff::Timestamp;

use super::{Conn, DbError, number, opt_instant, text};

/// Work of a stage in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkStanding {
    /// The stage.
    pub stage: String,
    /// `ready`, `running` or `dead`.
    pub state: String,
    /// How much.
    pub count: i64,
    /// When the oldest was put there.
    pub oldest_at: Option<Timestamp>,
}

/// How the queues stand.
///
/// # Errors
/// When the database fails.
pub async fn work(conn: &mut Conn) -> Result<Vec<WorkStanding>, DbError> {
    let rows = sqlx::query(
        "SELECT stage, state, COUNT(*) AS n, CAST(MIN(created_at) AS BIGINT) AS oldest FROM work GROUP BY stage, state",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(WorkStanding {
                stage: text(row, "stage")?,
                state: text(row, "state")?,
                count: number(row, "n")?,
                oldest_at: opt_instant(row, "oldest")?,
            })
        })
        .collect()
}

/// Kinds of what waits for a person: to be matched, held, a letter that can't be produced, an address or an envelope.
pub const TASKS: [&str; 4] = ["match", "held", "letter", "paper"];

/// What waits for persons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStanding {
    /// One of [`TASKS`].
    pub kind: String,
    /// How much.
    pub count: i64,
    /// Of that, beyond its deadline.
    pub overdue: i64,
    /// Since when the oldest waits: its legal receipt, for a document.
    pub oldest_at: Option<Timestamp>,
}

/// What waits for persons at this instant, trials left out. A kind of which nothing waits may be missing.
///
/// # Errors
/// When the database fails.
pub async fn tasks(conn: &mut Conn, now: Timestamp) -> Result<Vec<TaskStanding>, DbError> {
    let rows = sqlx::query(
        "SELECT kind, COUNT(*) AS n, COUNT(CASE WHEN deadline_at < $1 THEN 1 END) AS overdue,
                CAST(MIN(received_at) AS BIGINT) AS oldest
         FROM task WHERE mode = 'live' GROUP BY kind
         UNION ALL
         SELECT 'letter', COUNT(*), COUNT(CASE WHEN due_at < $1 THEN 1 END), CAST(MIN(created_at) AS BIGINT)
         FROM letter WHERE state = 'refused' AND brand NOT LIKE '%.test'
         UNION ALL
         SELECT 'paper', COUNT(*), COUNT(CASE WHEN due_at < $1 THEN 1 END), CAST(MIN(created_at) AS BIGINT)
         FROM paper_task WHERE ended_at IS NULL AND brand NOT LIKE '%.test'",
    )
    .bind(now.as_microsecond())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(TaskStanding {
                kind: text(row, "kind")?,
                count: number(row, "n")?,
                overdue: number(row, "overdue")?,
                oldest_at: opt_instant(row, "oldest")?,
            })
        })
        .collect()
}
