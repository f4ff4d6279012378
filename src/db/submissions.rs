//! Submission rows and their transitions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_parsed, opt_text, parsed, text};
use crate::db::{events, ledger};
use crate::model::case::CaseKind;
use crate::model::document::Channel;
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, CaseId, ReferenceNumber, SubmissionId, Tin};
use crate::model::submission::{Said, SubmissionState};

/// A submission as it is stored.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its id.
    pub id: SubmissionId,
    /// The brand it was sent to.
    pub brand: Brand,
    /// The number its sender quotes.
    pub reference: ReferenceNumber,
    /// The kind of case it is for.
    pub kind: CaseKind,
    /// Where it is.
    pub state: SubmissionState,
    /// What the sender said it is about.
    pub said: Said,
    /// How it came.
    pub channel: Channel,
    /// Who opened it, as events name them.
    pub owner: String,
    /// The practice it is about.
    pub tin: Option<Tin>,
    /// Our own id of the practice.
    pub tin_uid: Option<String>,
    /// The sender's own reference (INT-36).
    pub sender_reference: Option<String>,
    /// The failed submission whose clean files it took over.
    pub resubmits: Option<SubmissionId>,
    /// Counts its changes.
    pub version: i64,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was sent.
    pub submitted_at: Option<Timestamp>,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
}

/// Opens a submission.
///
/// # Errors
/// When the database fails.
pub async fn insert(conn: &mut Conn, stamp: Stamp<'_>, new: &Submission) -> Result<(), DbError> {
    let said = serde_json::to_string(&new.said).map_err(|_| DbError::Unreadable { column: "said" })?;
    sqlx::query(
        "INSERT INTO submission (id, brand, reference, kind, state, said, channel, tin_uid, sender_reference, resubmits,
                                 owner, tin, file_count, version, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, $13)",
    )
    .bind(new.id.as_str())
    .bind(new.brand.as_str())
    .bind(new.reference.as_str())
    .bind(new.kind.as_str())
    .bind(new.state.as_str())
    .bind(said)
    .bind(new.channel.as_str())
    .bind(new.tin_uid.as_deref())
    .bind(new.sender_reference.as_deref())
    .bind(new.resubmits.as_ref().map(SubmissionId::as_str))
    .bind(&new.owner)
    .bind(new.tin.as_ref().map(Tin::as_str))
    .bind(new.created_at.as_microsecond())
    .execute(&mut *conn)
    .await?;
    ledger::post(conn, stamp, ledger::Kind::Submission, new.id.as_str(), None, new.state.as_str()).await?;
    tell(conn, stamp, new, new.state).await
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, brand, reference, kind, state, said, channel, tin_uid, sender_reference, resubmits, owner, tin,
                    version, created_at, submitted_at, ended_at FROM submission ",
            $tail
        )
    };
}

/// The submission of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &SubmissionId) -> Result<Option<Submission>, DbError> {
    let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Which submissions a list has. Each goes by an index of its own.
#[derive(Debug, Clone, Copy)]
pub enum Filter<'a> {
    /// All there are.
    All,
    /// Those that somebody opened.
    Owner(&'a str),
    /// Those about a practice.
    Tin(&'a Tin),
    /// Those that somebody opened under a reference of their own.
    SenderReference(&'a str, &'a str),
}

impl Filter<'_> {
    /// The statement of a page: parameters are creation and id that it lies behind, how many, and what the filter says.
    pub const fn statement(&self) -> &'static str {
        match self {
            Self::All => select!(
                "WHERE (created_at, id) < ($1, $2) AND $4 = $4 AND $5 = $5 ORDER BY created_at DESC, id DESC LIMIT $3"
            ),
            Self::Owner(_) => select!(
                "WHERE owner = $4 AND (created_at, id) < ($1, $2) AND $5 = $5 ORDER BY created_at DESC, id DESC LIMIT $3"
            ),
            Self::Tin(_) => select!(
                "WHERE tin = $4 AND (created_at, id) < ($1, $2) AND $5 = $5 ORDER BY created_at DESC, id DESC LIMIT $3"
            ),
            Self::SenderReference(..) => select!(
                "WHERE owner = $4 AND sender_reference = $5 AND (created_at, id) < ($1, $2)
                 ORDER BY created_at DESC, id DESC LIMIT $3"
            ),
        }
    }
}

/// Submissions, newest first, behind `before` (creation in microseconds, id).
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut Conn,
    filter: Filter<'_>,
    before: Option<(i64, &str)>,
    limit: i64,
) -> Result<Vec<Submission>, DbError> {
    let (at, id) = before.unwrap_or((i64::MAX, ""));
    let (first, second) = match filter {
        Filter::All => ("", ""),
        Filter::Owner(owner) => (owner, ""),
        Filter::Tin(tin) => (tin.as_str(), ""),
        Filter::SenderReference(owner, reference) => (owner, reference),
    };
    let rows =
        sqlx::query(filter.statement()).bind(at).bind(id).bind(limit).bind(first).bind(second).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// What became of what somebody sent within a time: submissions and accepted documents by their states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Submissions by state.
    pub submissions: BTreeMap<String, i64>,
    /// Documents that were accepted, by state.
    pub documents: BTreeMap<String, i64>,
}

/// Counts what somebody's submissions, opened from `from` and before `to` (microseconds), became.
///
/// # Errors
/// When the database fails.
pub async fn tally(conn: &mut Conn, owner: &str, from: i64, to: i64) -> Result<Tally, DbError> {
    let mut tally = Tally::default();
    let rows = sqlx::query(
        "SELECT 's' AS what, state, COUNT(*) AS n FROM submission
         WHERE owner = $1 AND created_at >= $2 AND created_at < $3 GROUP BY state
         UNION ALL
         SELECT 'd', d.state, COUNT(*) FROM submission s JOIN document d ON d.submission_id = s.id
         WHERE s.owner = $1 AND s.created_at >= $2 AND s.created_at < $3 AND d.accepted_at IS NOT NULL GROUP BY d.state",
    )
    .bind(owner)
    .bind(from)
    .bind(to)
    .fetch_all(conn)
    .await?;
    for row in &rows {
        let of = if text(row, "what")? == "s" { &mut tally.submissions } else { &mut tally.documents };
        of.insert(text(row, "state")?, number(row, "n")?);
    }
    Ok(tally)
}

/// A page of what somebody opened: parameters are the owner, the creation and id that it lies behind, the instant before
/// which it ends, and how many.
pub const WITHIN: &str =
    select!("WHERE owner = $1 AND (created_at, id) > ($2, $3) AND created_at < $4 ORDER BY created_at, id LIMIT $5");

/// Somebody's submissions opened from `from` and before `to` (microseconds), oldest first, behind `after`.
///
/// # Errors
/// When the database fails.
pub async fn within(
    conn: &mut Conn,
    owner: &str,
    (from, to): (i64, i64),
    after: Option<(i64, &str)>,
    limit: i64,
) -> Result<Vec<Submission>, DbError> {
    // the later of the two beginnings alone, so that no page reads again what the one before had
    let (at, id) = after.filter(|(at, _)| *at >= from).unwrap_or((from, ""));
    let rows = sqlx::query(WITHIN).bind(owner).bind(at).bind(id).bind(to).bind(limit).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// The id behind a reference number.
///
/// # Errors
/// When the database fails.
pub async fn by_reference(conn: &mut Conn, reference: &ReferenceNumber) -> Result<Option<SubmissionId>, DbError> {
    let row = sqlx::query("SELECT id FROM submission WHERE reference = $1")
        .bind(reference.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| parsed(&row, "id")).transpose()
}

/// Takes the submission's row for the rest of the transaction and reads it: whoever decides over all of its
/// documents must be the only one to.
///
/// # Errors
/// When the database fails.
pub async fn lock(conn: &mut Conn, id: &SubmissionId) -> Result<Option<Submission>, DbError> {
    let done = sqlx::query("UPDATE submission SET version = version + 1 WHERE id = $1")
        .bind(id.as_str())
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 { Ok(None) } else { get(conn, id).await }
}

/// Reserves a place for one more file, as long as fewer than `limit` are taken (INT-01). False when it is full.
///
/// # Errors
/// When the database fails.
pub async fn reserve_file(conn: &mut Conn, id: &SubmissionId, limit: i64) -> Result<bool, DbError> {
    let done = sqlx::query("UPDATE submission SET file_count = file_count + 1 WHERE id = $1 AND file_count < $2")
        .bind(id.as_str())
        .bind(limit)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a file's place back: it was refused or taken away.
///
/// # Errors
/// When the database fails.
pub async fn free_file(conn: &mut Conn, id: &SubmissionId) -> Result<(), DbError> {
    sqlx::query("UPDATE submission SET file_count = file_count - 1 WHERE id = $1 AND file_count > 0")
        .bind(id.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves a submission to another state: row, posting and event together.
///
/// # Errors
/// [`DbError::Transition`] for a way the model does not know, [`DbError::Stale`] when the row has changed.
pub async fn transition(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    submission: &Submission,
    to: SubmissionState,
) -> Result<(), DbError> {
    let from = submission.state;
    if !from.may_become(to) {
        return Err(DbError::Transition { what: "submission", from: from.as_str(), to: to.as_str() });
    }
    let now = stamp.now();
    let done = sqlx::query(
        "UPDATE submission SET state = $1, version = version + 1,
                submitted_at = COALESCE(submitted_at, $2), ended_at = $3
         WHERE id = $4 AND state = $5 AND version = $6",
    )
    .bind(to.as_str())
    .bind((to == SubmissionState::Submitted).then_some(now))
    .bind(to.is_final().then_some(now))
    .bind(submission.id.as_str())
    .bind(from.as_str())
    .bind(submission.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "submission")?;
    ledger::post(conn, stamp, ledger::Kind::Submission, submission.id.as_str(), Some(from.as_str()), to.as_str())
        .await?;
    tell(conn, stamp, submission, to).await
}

async fn tell(conn: &mut Conn, stamp: Stamp<'_>, of: &Submission, state: SubmissionState) -> Result<(), DbError> {
    let event = NewEvent {
        kind: EventType::Submission(state),
        subject: of.id.as_str(),
        brand: &of.brand,
        tin_uid: of.tin_uid.as_deref(),
        actor: stamp.actor,
        payload: json!({ "reference": of.reference, "kind": of.kind }),
    };
    events::append(conn, stamp, event).await
}

/// What `cases` answered to a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseAnswer {
    /// The case it named or opened.
    pub case_id: Option<CaseId>,
    /// How: `opened`, `joined` (an open one), `named`, or why there is none.
    pub answer: String,
}

/// The answer of `cases`, if it came already.
///
/// # Errors
/// When the database fails.
pub async fn case_answer(conn: &mut Conn, id: &SubmissionId) -> Result<Option<CaseAnswer>, DbError> {
    let row = sqlx::query("SELECT case_id, answer FROM case_answer WHERE submission_id = $1")
        .bind(id.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok(CaseAnswer { case_id: opt_parsed(&row, "case_id")?, answer: text(&row, "answer")? })).transpose()
}

/// Whether another submission than `but` was sent to the case and has not failed.
///
/// # Errors
/// When the database fails.
pub async fn others_hold(conn: &mut Conn, case_id: &CaseId, but: &SubmissionId) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM case_answer a JOIN submission s ON s.id = a.submission_id
         WHERE a.case_id = $1 AND s.id <> $2 AND s.state IN ('submitted', 'held', 'accepted')",
    )
    .bind(case_id.as_str())
    .bind(but.as_str())
    .fetch_one(conn)
    .await?;
    Ok(number(&row, "n")? > 0)
}

/// The open submission that takes the failed one `resubmits` up again, if there is one.
///
/// # Errors
/// When the database fails.
pub async fn open_attempt(conn: &mut Conn, resubmits: &SubmissionId) -> Result<Option<SubmissionId>, DbError> {
    let row =
        sqlx::query("SELECT id FROM submission WHERE resubmits = $1 AND state = 'open' ORDER BY created_at LIMIT 1")
            .bind(resubmits.as_str())
            .fetch_optional(conn)
            .await?;
    row.map(|row| parsed(&row, "id")).transpose()
}

/// Writes the answer of `cases`; a second one for the same submission changes nothing.
///
/// # Errors
/// When the database fails.
pub async fn put_case_answer(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    id: &SubmissionId,
    answer: &CaseAnswer,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO case_answer (submission_id, case_id, answer, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(id.as_str())
    .bind(answer.case_id.as_ref().map(CaseId::as_str))
    .bind(&answer.answer)
    .bind(stamp.now())
    .execute(conn)
    .await?;
    Ok(())
}

/// A submission that was begun at a door and not sent.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The submission.
    pub submission: Submission,
    /// When something of it changed last.
    pub saved_at: Timestamp,
    /// Whether bytes are on their way to it.
    pub arriving: bool,
}

/// The drafts among submissions.
macro_rules! draft {
    ($tail:literal) => {
        concat!(
            "SELECT s.id, s.brand, s.reference, s.kind, s.state, s.said, s.channel, s.tin_uid, s.sender_reference,
                    s.resubmits, s.owner, s.tin, s.version, s.created_at, s.submitted_at, s.ended_at,
                    (SELECT MAX(d.created_at) FROM document d WHERE d.submission_id = s.id) AS begun_at,
                    (SELECT MAX(d.accepted_at) FROM document d WHERE d.submission_id = s.id) AS taken_at,
                    (SELECT MAX(d.ended_at) FROM document d WHERE d.submission_id = s.id) AS done_at,
                    (SELECT COUNT(*) FROM document d WHERE d.submission_id = s.id AND d.state = 'receiving')
                        + (SELECT COUNT(*) FROM upload u WHERE u.submission_id = s.id AND u.state = 'receiving')
                        AS arriving_n
             FROM submission s WHERE s.state = 'open' AND s.channel = 'upload' ",
            $tail
        )
    };
}

/// Drafts, oldest first, behind `after` (creation in microseconds, id).
///
/// # Errors
/// When the database fails.
pub async fn drafts(conn: &mut Conn, after: Option<&(i64, SubmissionId)>, limit: i64) -> Result<Vec<Draft>, DbError> {
    let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (*at, id.as_str()));
    let rows = sqlx::query(draft!("AND (s.created_at, s.id) > ($1, $2) ORDER BY s.created_at, s.id LIMIT $3"))
        .bind(at)
        .bind(id)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_draft).collect()
}

/// The draft of that id.
///
/// # Errors
/// When the database fails.
pub async fn draft(conn: &mut Conn, id: &SubmissionId) -> Result<Option<Draft>, DbError> {
    let row = sqlx::query(draft!("AND s.id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read_draft).transpose()
}

fn read_draft(row: &AnyRow) -> Result<Draft, DbError> {
    let submission = read(row)?;
    let mut saved_at = submission.created_at;
    for column in ["begun_at", "taken_at", "done_at"] {
        saved_at = opt_instant(row, column)?.map_or(saved_at, |at| at.max(saved_at));
    }
    Ok(Draft { saved_at, arriving: number(row, "arriving_n")? > 0, submission })
}

fn read(row: &AnyRow) -> Result<Submission, DbError> {
    Ok(Submission {
        id: parsed(row, "id")?,
        brand: parsed(row, "brand")?,
        reference: parsed(row, "reference")?,
        kind: parsed(row, "kind")?,
        state: parsed(row, "state")?,
        said: serde_json::from_str(&text(row, "said")?).map_err(|_| DbError::Unreadable { column: "said" })?,
        channel: parsed(row, "channel")?,
        tin_uid: opt_text(row, "tin_uid")?,
        sender_reference: opt_text(row, "sender_reference")?,
        resubmits: opt_parsed(row, "resubmits")?,
        owner: text(row, "owner")?,
        tin: opt_parsed(row, "tin")?,
        version: number(row, "version")?,
        created_at: instant(row, "created_at")?,
        submitted_at: opt_instant(row, "submitted_at")?,
        ended_at: opt_instant(row, "ended_at")?,
    })
}
