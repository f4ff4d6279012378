//! What waits for a person: one row per document in a state where somebody must act. It is written and taken away
//! with the document's state, so the queue is read by its own index, however many documents there are.
//!
//! A person takes an item under a lease with a time limit, so that two never get the same one (OPS-01). The lease runs
//! out by the clock and needs nobody to end it. Its token fences the decision, as for work. Refused: a lock that is held
//! while the person thinks, and marks that a job has to clear.

use std::time::Duration;

use jiff::Timestamp;

use sqlx::any::AnyRow;

use super::{Conn, Db, DbError, Flavor, Stamp, instant, number, opt_instant, opt_text, parsed};
use crate::codes;
use crate::db::documents::Document;
use crate::model::access::Mode;
use crate::model::document::DocumentState;
use crate::model::ids::{Brand, CaseId, DocumentId};

codes! {
    /// What a person has to do.
    pub enum TaskKind {
        /// Choose the case, or say that there is none (OPS-01).
        Match = "match",
        /// Decide over a file that could not be judged (OPS-03).
        Held = "held",
    }
}

impl TaskKind {
    /// What a person has to do for a document in this state, if anything.
    pub const fn of(state: DocumentState) -> Option<Self> {
        match state {
            DocumentState::NeedsReview | DocumentState::Unmatched => Some(Self::Match),
            DocumentState::Held => Some(Self::Held),
            _ => None,
        }
    }
}

/// Has a document wait for a person. One that waits already keeps its deadline unless a new one is given.
///
/// # Errors
/// When the database fails.
pub(super) async fn put(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    document: &Document,
    kind: TaskKind,
    due_at: Option<Timestamp>,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO task (document_id, kind, brand, mode, received_at, created_at, deadline_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (document_id) DO UPDATE SET kind = excluded.kind, deadline_at = COALESCE($8, task.deadline_at),
            warned_at = NULL, holder = NULL, lease_token = NULL, lease_until = NULL",
    )
    .bind(document.id.as_str())
    .bind(kind.as_str())
    .bind(document.brand.as_str())
    .bind(document.brand.mode().as_str())
    .bind(document.received_at.as_microsecond())
    .bind(stamp.now())
    .bind(due_at.unwrap_or(document.received_at).as_microsecond())
    .bind(due_at.map(Timestamp::as_microsecond))
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a document's task away: somebody has acted, or there is nothing to do any more.
///
/// # Errors
/// When the database fails.
pub(super) async fn remove(conn: &mut Conn, document: &DocumentId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM task WHERE document_id = $1").bind(document.as_str()).execute(conn).await?;
    Ok(())
}

/// What waits for a person.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Task {
    /// The document.
    pub document_id: DocumentId,
    /// What a person has to do.
    pub kind: TaskKind,
    /// The document's brand.
    pub brand: Brand,
    /// Legal receipt: its age counts from here.
    pub received_at: Timestamp,
    /// Since when it waits.
    pub created_at: Timestamp,
    /// By when somebody must have acted.
    pub deadline_at: Timestamp,
    /// When a breach to come was told.
    pub warned_at: Option<Timestamp>,
    /// Who looks at it. One whose lease has run out is not told.
    pub holder: Option<String>,
    /// Until when.
    pub lease_until: Option<Timestamp>,
}

/// Which tasks are meant.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// Real or trial: the two never meet (INT-35).
    pub mode: Mode,
    /// Of one kind only.
    pub kind: Option<TaskKind>,
    /// Of one brand only.
    pub brand: Option<&'a Brand>,
    /// Also those that are proposed for a case with behavioral or substance-use records (OPS-17).
    pub sensitive: bool,
}

impl Filter<'_> {
    /// The kinds that are meant.
    fn kinds(&self) -> &[TaskKind] {
        match self.kind {
            Some(TaskKind::Match) => &[TaskKind::Match],
            Some(TaskKind::Held) => &[TaskKind::Held],
            None => TaskKind::ALL,
        }
    }

    /// What the index begins with: the brand, which is of one mode, or the mode.
    fn owner(&self) -> &str {
        self.brand.map_or(self.mode.as_str(), Brand::as_str)
    }

    /// Whether nothing can be meant: a brand is of one mode.
    fn is_empty(&self) -> bool {
        self.brand.is_some_and(|brand| brand.mode() != self.mode)
    }
}

/// A place in the list: deadline (microseconds) and document of the row before.
pub type After<'a> = (i64, &'a DocumentId);

/// The columns that [`read`] reads.
macro_rules! columns {
    () => {
        "document_id, kind, brand, received_at, created_at, deadline_at, warned_at, holder, lease_until"
    };
}

/// Leaves out what is proposed for a sensitive case, unless the first parameter named is 1. Counted for each row and not
/// asked with NOT EXISTS: for that PostgreSQL reads all sensitive cases first, however few rows are wanted.
macro_rules! seen_by {
    ($sensitive:literal) => {
        concat!(
            "(",
            $sensitive,
            " = 1 OR (SELECT COUNT(*) FROM match_candidate m JOIN case_file c ON c.id = m.case_id
              WHERE m.document_id = task.document_id AND c.sensitive_since IS NOT NULL) = 0)"
        )
    };
}

/// A page of the list, by its index: the owner is a mode or a brand.
macro_rules! page {
    ($owner:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM task WHERE ",
            $owner,
            " = $1 AND kind = $2 AND (deadline_at, document_id) > ($3, $4) AND ",
            seen_by!("$5"),
            " ORDER BY deadline_at, document_id LIMIT $6"
        )
    };
}
/// A page of all brands of a mode: parameters are mode, kind, deadline and document behind which it begins, 1 where
/// sensitive ones are meant too, and how many.
pub const PAGE_OF_MODE: &str = page!("mode");
/// A page of one brand: as [`PAGE_OF_MODE`], the brand in place of the mode.
pub const PAGE_OF_BRAND: &str = page!("brand");

/// What waits, nearest deadline first.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut Conn,
    now: Timestamp,
    filter: Filter<'_>,
    after: Option<After<'_>>,
    limit: i64,
) -> Result<Vec<Task>, DbError> {
    if filter.is_empty() {
        return Ok(Vec::new());
    }
    let (deadline, document) = after.map_or((i64::MIN, ""), |(at, id)| (at, id.as_str()));
    let mut tasks = Vec::new();
    for kind in filter.kinds() {
        let rows = sqlx::query(if filter.brand.is_some() { PAGE_OF_BRAND } else { PAGE_OF_MODE })
            .bind(filter.owner())
            .bind(kind.as_str())
            .bind(deadline)
            .bind(document)
            .bind(i64::from(filter.sensitive))
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?;
        for row in &rows {
            tasks.push(read(row, now)?);
        }
    }
    tasks.sort_by(|one, other| (one.deadline_at, &one.document_id).cmp(&(other.deadline_at, &other.document_id)));
    tasks.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(tasks)
}

/// A document's task.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, now: Timestamp, document: &DocumentId) -> Result<Option<Task>, DbError> {
    let row = sqlx::query(concat!("SELECT ", columns!(), " FROM task WHERE document_id = $1"))
        .bind(document.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| read(&row, now)).transpose()
}

/// How much waits.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = QueueCounts)]
pub struct Counts {
    /// What a person has to do.
    pub kind: TaskKind,
    /// What waits, counted up to 500: that many stand for that many or more.
    pub waiting: i64,
    /// Of those counted, which are the ones with the nearest deadlines, what should have been done by now.
    pub overdue: i64,
    /// Of those counted, what will be overdue soon.
    pub due_soon: i64,
    /// What somebody looks at.
    pub leased: i64,
    /// Receipt of the oldest.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_received_at: Option<Timestamp>,
    /// The nearest deadline.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_deadline_at: Option<Timestamp>,
}

/// How many of a kind are counted, those with the nearest deadlines: beyond that it is one more page to nobody, and to
/// count all would take the longer the more waits.
pub const COUNTED: i64 = 500;

/// The counts of a mode or a brand: one stretch of one index, and looks at the ends of others.
macro_rules! counts {
    ($owner:literal) => {
        concat!(
            "SELECT COUNT(*) AS waiting,
              CAST(COALESCE(SUM(CASE WHEN deadline_at < $3 THEN 1 ELSE 0 END), 0) AS BIGINT) AS overdue,
              CAST(COALESCE(SUM(CASE WHEN deadline_at >= $3 AND deadline_at < $4 THEN 1 ELSE 0 END), 0) AS BIGINT)
                  AS due_soon,
              (SELECT COUNT(*) FROM task WHERE kind = $2 AND lease_until >= $3 AND ",
            $owner,
            " = $1) AS leased,
              (SELECT MIN(received_at) FROM task WHERE ",
            $owner,
            " = $1 AND kind = $2) AS oldest,
              MIN(deadline_at) AS next
             FROM (SELECT deadline_at FROM task WHERE ",
            $owner,
            " = $1 AND kind = $2 ORDER BY deadline_at, document_id LIMIT $5) AS nearest"
        )
    };
}
/// The counts of a mode: parameters are mode, kind, the instant now, the one up to which a deadline is soon,
/// and how many are counted.
pub const COUNTS_OF_MODE: &str = counts!("mode");
/// The counts of a brand: as [`COUNTS_OF_MODE`], the brand in place of the mode.
pub const COUNTS_OF_BRAND: &str = counts!("brand");

/// How much waits, per kind, up to [`COUNTED`]; `soon` is the instant up to which a deadline is soon.
///
/// # Errors
/// When the database fails.
pub async fn counts(
    conn: &mut Conn,
    now: Timestamp,
    soon: Timestamp,
    filter: Filter<'_>,
) -> Result<Vec<Counts>, DbError> {
    let mut all = Vec::new();
    for kind in filter.kinds().iter().copied().filter(|_| !filter.is_empty()) {
        let row = sqlx::query(if filter.brand.is_some() { COUNTS_OF_BRAND } else { COUNTS_OF_MODE })
            .bind(filter.owner())
            .bind(kind.as_str())
            .bind(now.as_microsecond())
            .bind(soon.as_microsecond())
            .bind(COUNTED)
            .fetch_one(&mut *conn)
            .await?;
        all.push(Counts {
            kind,
            waiting: number(&row, "waiting")?,
            overdue: number(&row, "overdue")?,
            due_soon: number(&row, "due_soon")?,
            leased: number(&row, "leased")?,
            oldest_received_at: opt_instant(&row, "oldest")?,
            next_deadline_at: opt_instant(&row, "next")?,
        });
    }
    Ok(all)
}

/// An item that a person has for a while.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Lease {
    /// The document.
    pub document_id: DocumentId,
    /// Known to the holder only: it fences the decision.
    pub token: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

/// What came of asking for an item by its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is the caller's.
    Yes(Lease),
    /// Another person has it.
    ByAnother {
        /// Until when.
        until: Timestamp,
    },
    /// Nothing waits.
    NoTask,
}

/// The item to take next: free, nearest deadline first.
macro_rules! free {
    ($owner:literal, $lock:literal) => {
        concat!(
            "WITH free AS MATERIALIZED (
                 SELECT document_id FROM task WHERE ",
            $owner,
            " = $4 AND kind = $5
                 AND (lease_until IS NULL OR lease_until < $6) AND ",
            seen_by!("$7"),
            "
                 ORDER BY deadline_at, document_id LIMIT 1 ",
            $lock,
            ")
             UPDATE task SET holder = $1, lease_token = $2, lease_until = $3
             WHERE document_id IN (SELECT document_id FROM free) AND (lease_until IS NULL OR lease_until < $6)
             RETURNING document_id"
        )
    };
}

/// The claim on SQLite: parameters are holder, token, its end, mode, kind, the instant now, and 1 where sensitive ones
/// are meant too.
pub const FREE_OF_MODE_SQLITE: &str = free!("mode", "");
/// As [`FREE_OF_MODE_SQLITE`], the brand in place of the mode.
pub const FREE_OF_BRAND_SQLITE: &str = free!("brand", "");
/// The claim on PostgreSQL: as [`FREE_OF_MODE_SQLITE`].
pub const FREE_OF_MODE_POSTGRES: &str = free!("mode", "FOR UPDATE SKIP LOCKED");
/// As [`FREE_OF_MODE_POSTGRES`], the brand in place of the mode.
pub const FREE_OF_BRAND_POSTGRES: &str = free!("brand", "FOR UPDATE SKIP LOCKED");

/// Takes the free item with the nearest deadline, for the person that the stamp names. Of both kinds, what is to be
/// matched comes first only where its deadline does.
///
/// # Errors
/// When the database fails.
pub async fn claim_next(
    db: &Db,
    stamp: Stamp<'_>,
    filter: Filter<'_>,
    lease: Duration,
) -> Result<Option<Lease>, DbError> {
    // PostgreSQL lets claimers pass each other; SQLite has one writer at a time anyway.
    let statement = match (db.flavor(), filter.brand.is_some()) {
        (Flavor::Sqlite, false) => FREE_OF_MODE_SQLITE,
        (Flavor::Sqlite, true) => FREE_OF_BRAND_SQLITE,
        (Flavor::Postgres, false) => FREE_OF_MODE_POSTGRES,
        (Flavor::Postgres, true) => FREE_OF_BRAND_POSTGRES,
    };
    if filter.is_empty() {
        return Ok(None);
    }
    let kinds: Vec<TaskKind> = match filter.kind {
        Some(kind) => vec![kind],
        None => {
            let mut conn = db.read().await?;
            by_deadline(&mut conn, filter).await?
        }
    };
    let until = stamp.after(lease);
    for kind in kinds {
        let token = stamp.ctx.new_id();
        let mut tx = db.begin().await?;
        let row = sqlx::query(statement)
            .bind(stamp.actor)
            .bind(&token)
            .bind(until)
            .bind(filter.owner())
            .bind(kind.as_str())
            .bind(stamp.now())
            .bind(i64::from(filter.sensitive))
            .fetch_optional(&mut *tx)
            .await?;
        tx.commit().await?;
        if let Some(row) = row {
            let until = Timestamp::from_microsecond(until).unwrap_or(Timestamp::MAX);
            return Ok(Some(Lease { document_id: parsed(&row, "document_id")?, token, until }));
        }
    }
    Ok(None)
}

/// The nearest deadline of a mode: parameters are mode and kind.
pub const NEXT_OF_MODE: &str = "SELECT MIN(deadline_at) AS next FROM task WHERE mode = $1 AND kind = $2";
/// The nearest deadline of a brand: parameters are brand and kind.
pub const NEXT_OF_BRAND: &str = "SELECT MIN(deadline_at) AS next FROM task WHERE brand = $1 AND kind = $2";

/// The kinds with something in them, nearest deadline first.
async fn by_deadline(conn: &mut Conn, filter: Filter<'_>) -> Result<Vec<TaskKind>, DbError> {
    let mut due = Vec::new();
    for kind in filter.kinds() {
        let row = sqlx::query(if filter.brand.is_some() { NEXT_OF_BRAND } else { NEXT_OF_MODE })
            .bind(filter.owner())
            .bind(kind.as_str())
            .fetch_one(&mut *conn)
            .await?;
        due.extend(opt_instant(&row, "next")?.map(|next| (next, *kind)));
    }
    due.sort_unstable();
    Ok(due.into_iter().map(|(_, kind)| kind).collect())
}

/// Takes a document's task for the person that the stamp names. Who has it already gets it anew, under another token.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    document: &DocumentId,
    lease: Duration,
) -> Result<Taken, DbError> {
    let (token, until) = (stamp.ctx.new_id(), stamp.after(lease));
    let done = sqlx::query(
        "UPDATE task SET holder = $1, lease_token = $2, lease_until = $3
         WHERE document_id = $4 AND (lease_until IS NULL OR lease_until < $5 OR holder = $1)",
    )
    .bind(stamp.actor)
    .bind(&token)
    .bind(until)
    .bind(document.as_str())
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 1 {
        let until = Timestamp::from_microsecond(until).unwrap_or(Timestamp::MAX);
        return Ok(Taken::Yes(Lease { document_id: document.clone(), token, until }));
    }
    let task = get(conn, stamp.ctx.now(), document).await?;
    Ok(match task {
        Some(task) => Taken::ByAnother { until: task.lease_until.unwrap_or(stamp.ctx.now()) },
        None => Taken::NoTask,
    })
}

/// Lengthens a lease of the person that the stamp names: until when it runs now, `None` when it is not theirs any
/// more. One that ran out can't be lengthened, even where nobody has taken the item since.
///
/// # Errors
/// When the database fails.
pub async fn renew(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    document: &DocumentId,
    token: &str,
    lease: Duration,
) -> Result<Option<Timestamp>, DbError> {
    let until = stamp.after(lease);
    let done = sqlx::query(
        "UPDATE task SET lease_until = $1
         WHERE document_id = $2 AND lease_token = $3 AND holder = $4 AND lease_until >= $5",
    )
    .bind(until)
    .bind(document.as_str())
    .bind(token)
    .bind(stamp.actor)
    .bind(stamp.now())
    .execute(conn)
    .await?;
    Ok((done.rows_affected() == 1).then(|| Timestamp::from_microsecond(until).unwrap_or(Timestamp::MAX)))
}

/// Gives an item back before its lease runs out. False when it was not theirs any more.
///
/// # Errors
/// When the database fails.
pub async fn release(conn: &mut Conn, stamp: Stamp<'_>, document: &DocumentId, token: &str) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE task SET holder = NULL, lease_token = NULL, lease_until = NULL
         WHERE document_id = $1 AND lease_token = $2 AND holder = $3",
    )
    .bind(document.as_str())
    .bind(token)
    .bind(stamp.actor)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether the person that the stamp names holds the document's task under this token, now and for the rest of the
/// transaction.
///
/// # Errors
/// When the database fails.
pub async fn hold(conn: &mut Conn, stamp: Stamp<'_>, document: &DocumentId, token: &str) -> Result<bool, DbError> {
    // A write that changes nothing: the row is this transaction's until its end.
    let done = sqlx::query(
        "UPDATE task SET lease_until = lease_until
         WHERE document_id = $1 AND lease_token = $2 AND holder = $3 AND lease_until >= $4",
    )
    .bind(document.as_str())
    .bind(token)
    .bind(stamp.actor)
    .bind(stamp.now())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Tasks of real documents whose breach is near and was not told yet: with a deadline before `before`.
///
/// # Errors
/// When the database fails.
pub async fn unwarned(conn: &mut Conn, now: Timestamp, before: Timestamp, limit: i64) -> Result<Vec<Task>, DbError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM task WHERE warned_at IS NULL AND deadline_at < $1 AND mode = 'live' ORDER BY deadline_at, document_id LIMIT $2"
    ))
    .bind(before.as_microsecond())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| read(row, now)).collect()
}

/// Keeps that the breach to come was told. False when it was before, or nothing waits any more.
///
/// # Errors
/// When the database fails.
pub async fn set_warned(conn: &mut Conn, stamp: Stamp<'_>, document: &DocumentId) -> Result<bool, DbError> {
    let done = sqlx::query("UPDATE task SET warned_at = $1 WHERE document_id = $2 AND warned_at IS NULL")
        .bind(stamp.now())
        .bind(document.as_str())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Brings the deadlines of what is proposed for a case forward to the case's own. Never back: that a time limit was
/// lengthened is no reason to let wait what somebody was to look at.
///
/// # Errors
/// When the database fails.
pub async fn bring_forward(conn: &mut Conn, case: &CaseId, deadline_at: Timestamp) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE task SET deadline_at = $1, warned_at = NULL WHERE kind = 'match' AND deadline_at > $1
         AND document_id IN (SELECT document_id FROM match_candidate WHERE case_id = $2)",
    )
    .bind(deadline_at.as_microsecond())
    .bind(case.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

fn read(row: &AnyRow, now: Timestamp) -> Result<Task, DbError> {
    let lease_until = opt_instant(row, "lease_until")?.filter(|until| *until >= now);
    Ok(Task {
        document_id: parsed(row, "document_id")?,
        kind: parsed(row, "kind")?,
        brand: parsed(row, "brand")?,
        received_at: instant(row, "received_at")?,
        created_at: instant(row, "created_at")?,
        deadline_at: instant(row, "deadline_at")?,
        warned_at: opt_instant(row, "warned_at")?,
        holder: opt_text(row, "holder")?.filter(|_| lease_until.is_some()),
        lease_until,
    })
}
