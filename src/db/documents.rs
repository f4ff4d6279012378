//! Document rows and their transitions.

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::any::AnyRow;

use super::{
    Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_number, opt_parsed, opt_text, parsed, text,
};
use crate::db::tasks::{self, TaskKind};
use crate::db::{events, ledger};
use crate::model::access::Mode;
use crate::model::document::{Channel, DocumentState, FileName};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{Brand, CaseId, DocumentId, Sha256, SubmissionId};
use crate::model::judgement::{FileType, Flag, Reason, ReasonCode};
use crate::model::submission::Said;

/// A document as it is stored.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// The brand it came to.
    pub brand: Brand,
    /// The submission it is part of.
    pub submission_id: Option<SubmissionId>,
    /// Where it is.
    pub state: DocumentState,
    /// How it came.
    pub channel: Channel,
    /// The sender's name for it.
    pub file_name: FileName,
    /// Its size in bytes, once all have come.
    pub size_bytes: Option<u64>,
    /// The hash of its bytes, once all have come.
    pub sha256: Option<Sha256>,
    /// The version of its incoming object, where the store keeps versions.
    pub incoming_version: Option<String>,
    /// The node that received it and may still have it in its spool.
    pub node: String,
    /// What it is.
    pub file_type: Option<FileType>,
    /// What a refused one was recognised as.
    pub detected: Option<String>,
    /// What is remarkable in it.
    pub flags: Vec<Flag>,
    /// The scanner's word on it: `clean` or `infected`.
    pub verdict: Option<String>,
    /// The signature it was found by.
    pub signature: Option<String>,
    /// The scanner.
    pub engine: Option<String>,
    /// The scanner's signatures.
    pub signatures: Option<String>,
    /// Why it was refused, held or barred.
    pub reason: Option<Reason>,
    /// The case it is on.
    pub case_id: Option<CaseId>,
    /// What was said of one that came alone. One of a submission goes by what was said there.
    pub said: Option<Said>,
    /// The document it was split from.
    pub parent_id: Option<DocumentId>,
    /// Its pages, where they were counted.
    pub pages: Option<i64>,
    /// The mailroom batch it came in.
    pub batch_id: Option<String>,
    /// What a person released it from (OPS-03).
    pub waived: Option<ReasonCode>,
    /// Legal receipt time (INT-20).
    pub received_at: Timestamp,
    /// When its row was made.
    pub created_at: Timestamp,
    /// When its sender was told that it is safe.
    pub accepted_at: Option<Timestamp>,
    /// When it came to an end state.
    pub ended_at: Option<Timestamp>,
    /// Counts its changes.
    pub version: i64,
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, brand, submission_id, state, channel, file_name, size_bytes, sha256, incoming_version, node,
             file_type, detected, flags, verdict, signature, engine, signatures, reason_code, reason, case_id,
             said, parent_id, pages, batch_id, waived, received_at, created_at, accepted_at, ended_at, version FROM document ",
            $tail
        )
    };
}

/// A document about to come in.
#[derive(Debug, Clone)]
pub struct NewDocument<'a> {
    /// Its id.
    pub id: &'a DocumentId,
    /// The brand it comes to.
    pub brand: &'a Brand,
    /// The submission it is part of.
    pub submission_id: Option<&'a SubmissionId>,
    /// How it comes.
    pub channel: Channel,
    /// The sender's name for it.
    pub file_name: &'a FileName,
    /// What was said of one that comes alone.
    pub said: Option<&'a Said>,
    /// The document it was split from.
    pub parent_id: Option<&'a DocumentId>,
    /// The mailroom batch it comes in.
    pub batch_id: Option<&'a str>,
    /// Legal receipt time.
    pub received_at: Timestamp,
    /// The node that receives it.
    pub node: &'a str,
}

/// Makes the row of a document whose bytes are about to come. False when the submission has a file of that
/// name (INT-04).
///
/// # Errors
/// When the database fails.
pub async fn insert(conn: &mut Conn, stamp: Stamp<'_>, new: &NewDocument<'_>) -> Result<bool, DbError> {
    let said = new.said.map(serde_json::to_string).transpose().map_err(|_| DbError::Unreadable { column: "said" })?;
    let made = sqlx::query(
        "INSERT INTO document (id, brand, submission_id, state, channel, file_name, file_name_key, node,
                               said, parent_id, batch_id, received_at, created_at, version)
         VALUES ($1, $2, $3, 'receiving', $4, $5, $6, $7, $8, $9, $10, $11, $12, 0) ON CONFLICT DO NOTHING",
    )
    .bind(new.id.as_str())
    .bind(new.brand.as_str())
    .bind(new.submission_id.map(SubmissionId::as_str))
    .bind(new.channel.as_str())
    .bind(without_nul(new.file_name.reveal()))
    .bind(without_nul(&new.file_name.reading_key()))
    .bind(new.node)
    .bind(said)
    .bind(new.parent_id.map(DocumentId::as_str))
    .bind(new.batch_id)
    .bind(new.received_at.as_microsecond())
    .bind(stamp.now())
    .execute(&mut *conn)
    .await?;
    if made.rows_affected() == 0 {
        return Ok(false);
    }
    ledger::post(conn, stamp, ledger::Kind::Document, new.id.as_str(), None, DocumentState::Receiving.as_str()).await?;
    Ok(true)
}

/// The document of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &DocumentId) -> Result<Option<Document>, DbError> {
    let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Takes the document's row for the rest of the transaction and reads it: whoever decides over it is the only one to.
///
/// # Errors
/// When the database fails.
pub async fn lock(conn: &mut Conn, id: &DocumentId) -> Result<Option<Document>, DbError> {
    let done = sqlx::query("UPDATE document SET version = version WHERE id = $1")
        .bind(id.as_str())
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 { Ok(None) } else { get(conn, id).await }
}

/// Documents of a mode in a state, newest first, behind the row `after` (when it was made, its id).
///
/// # Errors
/// When the database fails.
pub async fn newest_in_state(
    conn: &mut Conn,
    state: DocumentState,
    mode: Mode,
    after: Option<(i64, &DocumentId)>,
    limit: i64,
) -> Result<Vec<Document>, DbError> {
    let (made, id) = after.map_or((i64::MAX, ""), |(made, id)| (made, id.as_str()));
    let rows = sqlx::query(select!(
        "WHERE state = $1 AND (created_at, id) < ($2, $3) AND CASE WHEN brand LIKE '%.test' THEN 'test' ELSE 'live' END = $4
         ORDER BY created_at DESC, id DESC LIMIT $5"
    ))
    .bind(state.as_str())
    .bind(made)
    .bind(id)
    .bind(mode.as_str())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// A submission's documents: the parameter is its id.
pub const OF_SUBMISSION: &str = select!("WHERE submission_id = $1 ORDER BY created_at, id");

/// A submission's documents in the order they came.
///
/// # Errors
/// When the database fails.
pub async fn of_submission(conn: &mut Conn, id: &SubmissionId) -> Result<Vec<Document>, DbError> {
    let rows = sqlx::query(OF_SUBMISSION).bind(id.as_str()).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// A page of a case's documents: parameters are the case, when the row before was made, its id, and how many.
pub const OF_CASE: &str = select!(
    "WHERE case_id = $1 AND state = 'matched' AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4"
);

/// The documents on a case, as they came, behind the row `after` (when it was made in microseconds, its id).
///
/// # Errors
/// When the database fails.
pub async fn of_case(
    conn: &mut Conn,
    case: &CaseId,
    after: Option<(i64, &DocumentId)>,
    limit: i64,
) -> Result<Vec<Document>, DbError> {
    let (made, id) = after.map_or((i64::MIN, ""), |(made, id)| (made, id.as_str()));
    let rows = sqlx::query(OF_CASE).bind(case.as_str()).bind(made).bind(id).bind(limit).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// How the first of what a case was opened by came: none where nothing came before it was opened.
///
/// # Errors
/// When the database fails.
pub async fn opened_by(conn: &mut Conn, case: &CaseId, opened_at: Timestamp) -> Result<Option<Channel>, DbError> {
    let row = sqlx::query(
        "SELECT channel FROM document WHERE case_id = $1 AND received_at <= $2 ORDER BY received_at, id LIMIT 1",
    )
    .bind(case.as_str())
    .bind(opened_at.as_microsecond())
    .fetch_optional(conn)
    .await?;
    row.map(|row| parsed(&row, "channel")).transpose()
}

/// Documents in a state whose row is older than `before` (microseconds), oldest first.
///
/// # Errors
/// When the database fails.
pub async fn in_state(
    conn: &mut Conn,
    state: DocumentState,
    before: i64,
    limit: i64,
) -> Result<Vec<Document>, DbError> {
    let rows = sqlx::query(select!("WHERE state = $1 AND created_at < $2 ORDER BY created_at LIMIT $3"))
        .bind(state.as_str())
        .bind(before)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// The documents that refer to these bytes.
///
/// # Errors
/// When the database fails.
pub async fn of_content(conn: &mut Conn, brand: &Brand, sha256: &Sha256) -> Result<Vec<Document>, DbError> {
    let rows = sqlx::query(select!("WHERE brand = $1 AND sha256 = $2 ORDER BY created_at, id"))
        .bind(brand.as_str())
        .bind(sha256.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// What a transition writes beside the state. Absent fields stay as they are.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Size and hash of the bytes, and the version of their incoming object.
    pub bytes: Option<(u64, Sha256, Option<String>)>,
    /// What the file is, and what is remarkable in it.
    pub file_type: Option<(FileType, Vec<Flag>)>,
    /// Its pages, where they were counted.
    pub pages: Option<u64>,
    /// What a refused file was recognised as.
    pub detected: Option<String>,
    /// Why it is refused, held or barred.
    pub reason: Option<Reason>,
    /// The scanner's word.
    pub judged: Option<Judged>,
    /// The case it is on now.
    pub case_id: Option<CaseId>,
    /// Takes it off its case.
    pub off_case: bool,
    /// What a person releases it from.
    pub waived: Option<ReasonCode>,
    /// More for the event: no health data.
    pub told: Vec<(&'static str, Value)>,
    /// By when a person must have acted, where it now waits for one (OPS-02). Without it, at once.
    pub due_at: Option<Timestamp>,
}

/// A scanner's word on a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The signature found; `None` when clean.
    pub signature: Option<String>,
    /// The scanner.
    pub engine: String,
    /// Its signatures.
    pub signatures: String,
}

/// Moves a document to another state: the only way one changes. Row, posting, receipt and event are written
/// together.
///
/// # Errors
/// [`DbError::Transition`] for a way the model does not know, [`DbError::Stale`] when the row has changed
/// since it was read.
pub async fn transition(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    document: &Document,
    to: DocumentState,
    change: Change,
) -> Result<(), DbError> {
    let from = document.state;
    if !from.may_become(to) {
        return Err(DbError::Transition { what: "document", from: from.as_str(), to: to.as_str() });
    }
    let accepted = (to == DocumentState::Received && document.accepted_at.is_none()).then(|| stamp.now());
    let ended = (to.is_judged() && to != DocumentState::Stored).then(|| stamp.now());
    let (size, sha256, incoming) = change.bytes.map_or((None, None, None), |(n, hash, version)| {
        (Some(i64::try_from(n).unwrap_or(i64::MAX)), Some(hash), version)
    });
    let (file_type, flags) = change.file_type.map_or((None, None), |(t, flags)| {
        (Some(t), Some(flags.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(" ")))
    });
    let verdict = change.judged.as_ref().map(|j| if j.signature.is_some() { "infected" } else { "clean" });
    let mut payload = payload(from, to, &change.reason, &change.case_id);
    for (name, value) in change.told {
        payload[name] = value;
    }
    let done = sqlx::query(
        "UPDATE document SET state = $1, version = version + 1, ended_at = $2,
            accepted_at = COALESCE($3, accepted_at),
            size_bytes = COALESCE($4, size_bytes), sha256 = COALESCE($5, sha256),
            incoming_version = COALESCE($6, incoming_version),
            file_type = COALESCE($7, file_type), flags = COALESCE($8, flags), detected = COALESCE($9, detected),
            reason_code = $10, reason = $11,
            verdict = COALESCE($12, verdict), signature = COALESCE($13, signature),
            engine = COALESCE($14, engine), signatures = COALESCE($15, signatures),
            case_id = CASE WHEN $16 = 1 THEN NULL ELSE COALESCE($17, case_id) END, waived = COALESCE($18, waived),
            pages = COALESCE($22, pages)
         WHERE id = $19 AND state = $20 AND version = $21",
    )
    .bind(to.as_str())
    .bind(ended)
    .bind(accepted)
    .bind(size)
    .bind(sha256.as_ref().map(Sha256::as_str))
    .bind(incoming)
    .bind(file_type.map(FileType::as_str))
    .bind(flags)
    .bind(change.detected)
    .bind(change.reason.as_ref().map(|r| r.code.as_str()))
    .bind(change.reason.as_ref().map(|r| r.message.as_str()))
    .bind(verdict)
    .bind(change.judged.as_ref().and_then(|j| j.signature.as_deref()))
    .bind(change.judged.as_ref().map(|j| j.engine.as_str()))
    .bind(change.judged.as_ref().map(|j| j.signatures.as_str()))
    .bind(i64::from(change.off_case))
    .bind(change.case_id.as_ref().map(CaseId::as_str))
    .bind(change.waived.map(ReasonCode::as_str))
    .bind(document.id.as_str())
    .bind(from.as_str())
    .bind(document.version)
    .bind(change.pages.and_then(|pages| i64::try_from(pages).ok()))
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "document")?;
    let kind = ledger::Kind::Document;
    ledger::post(conn, stamp, kind, document.id.as_str(), Some(from.as_str()), to.as_str()).await?;
    match (TaskKind::of(from), TaskKind::of(to)) {
        (_, Some(task)) => tasks::put(conn, stamp, document, task, change.due_at).await?,
        (Some(_), None) => tasks::remove(conn, &document.id).await?,
        (None, None) => {}
    }
    if accepted.is_some() {
        ledger::receipt(conn, stamp, kind, document.id.as_str(), &document.brand).await?;
    }
    note(conn, stamp, document, EventType::Document(to), payload).await
}

/// What an event tells of a transition: codes and our own ids, nothing of the person or the file.
fn payload(from: DocumentState, to: DocumentState, reason: &Option<Reason>, case_id: &Option<CaseId>) -> Value {
    let mut payload = json!({ "from": from, "to": to });
    if let Some(reason) = reason {
        payload["reason"] = json!(reason.code);
    }
    if let Some(case_id) = case_id {
        payload["case_id"] = json!(case_id);
    }
    payload
}

/// Writes an event about a document that changes no state.
///
/// # Errors
/// When the database fails.
pub async fn note(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    document: &Document,
    kind: EventType,
    payload: Value,
) -> Result<(), DbError> {
    let event = NewEvent {
        kind,
        subject: document.id.as_str(),
        brand: &document.brand,
        tin_uid: None,
        actor: stamp.actor,
        payload,
    };
    events::append(conn, stamp, event).await
}

/// Keeps the scanner's word on a document that stays in its state, until its bytes are in their final place.
///
/// # Errors
/// [`DbError::Stale`] when the row has changed since it was read.
pub async fn set_judged(conn: &mut Conn, document: &Document, judged: &Judged) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE document SET verdict = $1, signature = $2, engine = $3, signatures = $4, version = version + 1
         WHERE id = $5 AND state = $6 AND version = $7",
    )
    .bind(if judged.signature.is_some() { "infected" } else { "clean" })
    .bind(judged.signature.as_deref())
    .bind(&judged.engine)
    .bind(&judged.signatures)
    .bind(document.id.as_str())
    .bind(document.state.as_str())
    .bind(document.version)
    .execute(conn)
    .await?;
    exactly_one(&done, "document")
}

/// Hands a clean document of a failed submission over to a new attempt (INT-13).
///
/// # Errors
/// [`DbError::Stale`] when the row has changed since it was read.
pub async fn carry(conn: &mut Conn, stamp: Stamp<'_>, document: &Document, to: &SubmissionId) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE document SET submission_id = $1, version = version + 1 WHERE id = $2 AND state = 'stored' AND version = $3",
    )
    .bind(to.as_str())
    .bind(document.id.as_str())
    .bind(document.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "document")?;
    let payload = json!({ "from_submission": document.submission_id, "to_submission": to });
    note(conn, stamp, document, EventType::DocumentCarried, payload).await
}

/// A sender's text as every database takes it: PostgreSQL has no NUL in a text. U+0001 leads an escape; what holds
/// neither is stored as it is.
pub(super) fn without_nul(raw: &str) -> String {
    raw.replace('\u{1}', "\u{1}1").replace('\0', "\u{1}0")
}

/// The text behind [`without_nul`].
pub(super) fn with_nul(stored: &str) -> String {
    stored.replace("\u{1}0", "\0").replace("\u{1}1", "\u{1}")
}

fn read(row: &AnyRow) -> Result<Document, DbError> {
    let code: Option<ReasonCode> = opt_parsed(row, "reason_code")?;
    let message = opt_text(row, "reason")?;
    let flags = opt_text(row, "flags")?.unwrap_or_default();
    Ok(Document {
        id: parsed(row, "id")?,
        brand: parsed(row, "brand")?,
        submission_id: opt_parsed(row, "submission_id")?,
        state: parsed(row, "state")?,
        channel: parsed(row, "channel")?,
        file_name: FileName::new(&with_nul(&text(row, "file_name")?))
            .map_err(|_| DbError::Unreadable { column: "file_name" })?,
        size_bytes: opt_number(row, "size_bytes")?.and_then(|n| u64::try_from(n).ok()),
        sha256: opt_parsed(row, "sha256")?,
        incoming_version: opt_text(row, "incoming_version")?,
        node: text(row, "node")?,
        file_type: opt_parsed(row, "file_type")?,
        detected: opt_text(row, "detected")?,
        flags: flags.split_whitespace().filter_map(|f| f.parse().ok()).collect(),
        verdict: opt_text(row, "verdict")?,
        signature: opt_text(row, "signature")?,
        engine: opt_text(row, "engine")?,
        signatures: opt_text(row, "signatures")?,
        reason: code.map(|code| Reason::new(code, message.unwrap_or_default())),
        case_id: opt_parsed(row, "case_id")?,
        said: opt_text(row, "said")?
            .map(|said| serde_json::from_str(&said))
            .transpose()
            .map_err(|_| DbError::Unreadable { column: "said" })?,
        parent_id: opt_parsed(row, "parent_id")?,
        pages: opt_number(row, "pages")?,
        batch_id: opt_text(row, "batch_id")?,
        waived: opt_parsed(row, "waived")?,
        received_at: instant(row, "received_at")?,
        created_at: instant(row, "created_at")?,
        accepted_at: opt_instant(row, "accepted_at")?,
        ended_at: opt_instant(row, "ended_at")?,
        version: number(row, "version")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_as_it_was_sent_whatever_it_holds() {
        for name in ["a.pdf", "a\0.pdf", "\u{1}0", "\u{1}1\0\u{1}", "\0\0\u{1}\u{1}0"] {
            assert!(!without_nul(name).contains('\0'), "{name:?}");
            assert_eq!(with_nul(&without_nul(name)), name);
        }
    }
}
