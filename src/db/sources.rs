//! What the watched sources gave, and the mailroom's batches with their counts (OPS-07).

use jiff::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::{
    Conn, DbError, Stamp, exactly_one, instant, number, opt_instant, opt_number, opt_parsed, opt_text, parsed, text,
};
use crate::codes;
use crate::model::document::Channel;
use crate::model::ids::DocumentId;

codes! {
    /// Where a file of a source is.
    pub enum ItemState {
        /// Its taking has begun; whether it came to an end, its document tells.
        Taking = "taking",
        /// Its document is accepted.
        Taken = "taken",
        /// It was not taken, with a reason.
        Problem = "problem",
        /// It was taken away before it was taken.
        Gone = "gone",
    }
}

codes! {
    /// What was wrong with a file of a source.
    pub enum ProblemCode {
        /// Larger than any document may be.
        TooLarge = "too_large",
        /// Refused: its channel lets its sender send again.
        Refused = "refused",
        /// Could not be read at the door.
        Unreadable = "unreadable",
        /// Taken, but not all that its sidecar or its row in an index says.
        Sidecar = "sidecar",
        /// An index that can't be read, or whose files did not all come.
        Index = "index",
        /// A sidecar or a mark whose file did not come.
        Unclaimed = "unclaimed",
    }
}

/// A file of a source.
#[derive(Debug, Clone)]
pub struct Item {
    /// The source's name.
    pub source: String,
    /// Its key: an HMAC of what it was listed as.
    pub item: String,
    /// Where it is.
    pub state: ItemState,
    /// The id its document has, or would have had.
    pub document_id: DocumentId,
    /// How often its taking was begun.
    pub tries: i64,
    /// What was wrong.
    pub problem: Option<(ProblemCode, String)>,
    /// When it was put away.
    pub ended_at: Option<Timestamp>,
    /// Counts its changes.
    pub version: i64,
}

/// A file about to be taken.
#[derive(Debug, Clone)]
pub struct NewItem<'a> {
    /// The source's name.
    pub source: &'a str,
    /// Its key.
    pub item: &'a str,
    /// The id its document is to have.
    pub document_id: &'a DocumentId,
    /// Its batch.
    pub batch_id: Option<&'a str>,
    /// The index that names it.
    pub index_item: Option<&'a str>,
}

/// The file of that key.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, source: &str, item: &str) -> Result<Option<Item>, DbError> {
    let row = sqlx::query(
        "SELECT source, item, state, document_id, tries, reason_code, reason, ended_at, version FROM source_item
         WHERE source = $1 AND item = $2",
    )
    .bind(source)
    .bind(item)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Begins to take a file: before a byte of it is read its document's id is fixed. `before` is the row that was found,
/// if any: of a try cut off, or of a file that was like this one and is put away.
///
/// # Errors
/// [`DbError::Stale`] when somebody else was first.
pub async fn begin(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    new: &NewItem<'_>,
    before: Option<&Item>,
) -> Result<Item, DbError> {
    let (version, tries) = match before {
        None => (0, 1),
        Some(old) => (old.version + 1, if old.ended_at.is_some() { 1 } else { old.tries + 1 }),
    };
    let done = match before {
        None => sqlx::query(
            "INSERT INTO source_item (source, item, state, document_id, tries, batch_id, index_item, seen_at, version)
             VALUES ($1, $2, 'taking', $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        ),
        Some(_) => sqlx::query(
            "UPDATE source_item SET state = 'taking', document_id = $3, tries = $4, batch_id = $5, index_item = $6,
                seen_at = $7, version = $8, reason_code = NULL, reason = NULL, ended_at = NULL
             WHERE source = $1 AND item = $2 AND version = $9",
        ),
    };
    let done = done
        .bind(new.source)
        .bind(new.item)
        .bind(new.document_id.as_str())
        .bind(tries)
        .bind(new.batch_id)
        .bind(new.index_item)
        .bind(stamp.now())
        .bind(version);
    let done = match before {
        None => done,
        Some(old) => done.bind(old.version),
    };
    exactly_one(&done.execute(conn).await?, "source item")?;
    Ok(Item {
        source: new.source.to_owned(),
        item: new.item.to_owned(),
        state: ItemState::Taking,
        document_id: new.document_id.clone(),
        tries,
        problem: None,
        ended_at: None,
        version,
    })
}

/// Writes what has become of a file: its state, its problem, and whether it is put away.
///
/// # Errors
/// [`DbError::Stale`] when somebody else has changed it meanwhile.
pub async fn set(conn: &mut Conn, stamp: Stamp<'_>, item: &mut Item, put_away: bool) -> Result<(), DbError> {
    let ended = put_away.then(|| stamp.now());
    let done = sqlx::query(
        "UPDATE source_item SET state = $1, reason_code = $2, reason = $3, ended_at = $4, tries = $5, version = version + 1
         WHERE source = $6 AND item = $7 AND version = $8",
    )
    .bind(item.state.as_str())
    .bind(item.problem.as_ref().map(|(code, _)| code.as_str()))
    .bind(item.problem.as_ref().map(|(_, why)| why.as_str()))
    .bind(ended)
    .bind(item.tries)
    .bind(&item.source)
    .bind(&item.item)
    .bind(item.version)
    .execute(conn)
    .await?;
    exactly_one(&done, "source item")?;
    item.version += 1;
    Ok(())
}

/// A source's files that are not put away yet, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn open_items(conn: &mut Conn, source: &str, limit: i64) -> Result<Vec<Item>, DbError> {
    let rows = sqlx::query(
        "SELECT source, item, state, document_id, tries, reason_code, reason, ended_at, version FROM source_item
         WHERE source = $1 AND ended_at IS NULL ORDER BY seen_at LIMIT $2",
    )
    .bind(source)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// How many files came to an end that an index named.
///
/// # Errors
/// When the database fails.
pub async fn ended_under(conn: &mut Conn, source: &str, index_item: &str) -> Result<i64, DbError> {
    let row = sqlx::query(
        "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM source_item
         WHERE source = $1 AND index_item = $2 AND ended_at IS NOT NULL AND state IN ('taken', 'problem')",
    )
    .bind(source)
    .bind(index_item)
    .fetch_one(conn)
    .await?;
    number(&row, "n")
}

/// How many files of a source are in a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemCount {
    /// The source's name.
    pub source: String,
    /// The state.
    pub state: ItemState,
    /// How many.
    pub count: i64,
}

/// Counts the files of all sources by state.
///
/// # Errors
/// When the database fails.
pub async fn counts(conn: &mut Conn) -> Result<Vec<ItemCount>, DbError> {
    let rows = sqlx::query(
        "SELECT source, state, CAST(COUNT(*) AS BIGINT) AS n FROM source_item GROUP BY source, state
         ORDER BY source, state",
    )
    .fetch_all(conn)
    .await?;
    let count = |row: &AnyRow| {
        Ok(ItemCount { source: text(row, "source")?, state: parsed(row, "state")?, count: number(row, "n")? })
    };
    rows.iter().map(count).collect()
}

/// Something that was wrong with a file of a source.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SourceProblem)]
pub struct Problem {
    /// The source's name.
    pub source: String,
    /// Its key.
    pub item: String,
    /// Where the file is.
    pub state: ItemState,
    /// What it lies under in `problem/` (or, when taken, in `done/`), and the id of its document where it has one.
    pub document_id: DocumentId,
    /// What was wrong.
    pub code: ProblemCode,
    /// In words.
    pub reason: String,
    /// When it was begun.
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
}

/// Where a list goes on: the instant and the id or key of its last row.
pub type Cursor<'a> = (Timestamp, &'a str);

/// Bounds of a list that begins with the newest and goes on behind `after`.
fn before(after: Option<Cursor<'_>>) -> (i64, String) {
    after.map_or((i64::MAX, String::new()), |(at, id)| (at.as_microsecond(), id.to_owned()))
}

/// What was wrong with files of sources, newest first.
///
/// # Errors
/// When the database fails.
pub async fn problems(conn: &mut Conn, after: Option<Cursor<'_>>, limit: i64) -> Result<Vec<Problem>, DbError> {
    let (at, item) = before(after);
    let rows = sqlx::query(
        "SELECT source, item, state, document_id, reason_code, reason, seen_at FROM source_item
         WHERE reason_code IS NOT NULL AND seen_at <= $1 AND (seen_at < $1 OR item < $2)
         ORDER BY seen_at DESC, item DESC LIMIT $3",
    )
    .bind(at)
    .bind(item)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let problem = |row: &AnyRow| {
        Ok(Problem {
            source: text(row, "source")?,
            item: text(row, "item")?,
            state: parsed(row, "state")?,
            document_id: parsed(row, "document_id")?,
            code: parsed(row, "reason_code")?,
            reason: opt_text(row, "reason")?.unwrap_or_default(),
            seen_at: instant(row, "seen_at")?,
        })
    };
    rows.iter().map(problem).collect()
}

/// What is said of a mailroom batch.
#[derive(Debug, Clone)]
pub struct NewBatch<'a> {
    /// The source it came by.
    pub source: &'a str,
    /// Its name, one of its own within the source.
    pub name: &'a str,
    /// How its documents came.
    pub channel: Channel,
    /// How many documents it is said to have.
    pub documents: Option<i64>,
    /// How many pages it is said to have.
    pub pages: Option<i64>,
}

/// Keeps what is said of a batch and gives its id. What is said later counts; what is not said stays.
///
/// # Errors
/// When the database fails.
pub async fn put_batch(conn: &mut Conn, stamp: Stamp<'_>, new: &NewBatch<'_>) -> Result<String, DbError> {
    let row = sqlx::query(
        "INSERT INTO mailroom_batch (id, source, name, channel, expected_documents, expected_pages, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (source, name) DO UPDATE SET
            expected_documents = COALESCE(excluded.expected_documents, mailroom_batch.expected_documents),
            expected_pages = COALESCE(excluded.expected_pages, mailroom_batch.expected_pages)
         RETURNING id",
    )
    .bind(stamp.ctx.new_id())
    .bind(new.source)
    .bind(new.name)
    .bind(new.channel.as_str())
    .bind(new.documents)
    .bind(new.pages)
    .bind(stamp.now())
    .fetch_one(conn)
    .await?;
    text(&row, "id")
}

/// A mailroom batch with its counts (OPS-07).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = MailroomBatch)]
pub struct Batch {
    /// Its id.
    pub id: String,
    /// The source it came by.
    pub source: String,
    /// Its name.
    pub name: String,
    /// How its documents came.
    pub channel: Channel,
    /// When its first document came.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// How many documents it is said to have.
    pub expected_documents: Option<i64>,
    /// How many were accepted. What a document was split into does not count again.
    pub received_documents: i64,
    /// Received less expected.
    pub documents_difference: Option<i64>,
    /// How many pages it is said to have.
    pub expected_pages: Option<i64>,
    /// How many pages were counted in what was accepted.
    pub received_pages: i64,
    /// Documents whose pages are not known.
    pub documents_without_pages: i64,
    /// Received less expected; not told while pages of a document are not known.
    pub pages_difference: Option<i64>,
}

/// A statement's text: a batch with its counts, and the caller's tail.
macro_rules! batch {
    ($tail:literal) => {
        concat!(
            "SELECT b.id AS id, b.source AS source, b.name AS name, b.channel AS channel, b.created_at AS created_at,
                b.expected_documents AS expected_documents, b.expected_pages AS expected_pages,
                (SELECT CAST(COUNT(*) AS BIGINT) FROM document d WHERE d.batch_id = b.id AND d.accepted_at IS NOT NULL
                    AND d.parent_id IS NULL) AS documents,
                (SELECT CAST(COALESCE(SUM(d.pages), 0) AS BIGINT) FROM document d WHERE d.batch_id = b.id
                    AND d.accepted_at IS NOT NULL AND d.parent_id IS NULL) AS pages,
                (SELECT CAST(COUNT(*) AS BIGINT) FROM document d WHERE d.batch_id = b.id AND d.accepted_at IS NOT NULL
                    AND d.parent_id IS NULL AND d.pages IS NULL) AS unknown
             FROM mailroom_batch b ",
            $tail
        )
    };
}

/// Batches, newest first.
///
/// # Errors
/// When the database fails.
pub async fn batches(conn: &mut Conn, after: Option<Cursor<'_>>, limit: i64) -> Result<Vec<Batch>, DbError> {
    let (at, id) = before(after);
    let rows = sqlx::query(batch!(
        "WHERE b.created_at <= $1 AND (b.created_at < $1 OR b.id < $2) ORDER BY b.created_at DESC, b.id DESC LIMIT $3"
    ))
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_batch).collect()
}

/// The batch of that id.
///
/// # Errors
/// When the database fails.
pub async fn batch(conn: &mut Conn, id: &str) -> Result<Option<Batch>, DbError> {
    let row = sqlx::query(batch!("WHERE b.id = $1")).bind(id).fetch_optional(conn).await?;
    row.as_ref().map(read_batch).transpose()
}

fn read_batch(row: &AnyRow) -> Result<Batch, DbError> {
    let (documents, pages, unknown) = (number(row, "documents")?, number(row, "pages")?, number(row, "unknown")?);
    let expected_documents = opt_number(row, "expected_documents")?;
    let expected_pages = opt_number(row, "expected_pages")?;
    Ok(Batch {
        id: text(row, "id")?,
        source: text(row, "source")?,
        name: text(row, "name")?,
        channel: parsed(row, "channel")?,
        created_at: instant(row, "created_at")?,
        expected_documents,
        received_documents: documents,
        documents_difference: expected_documents.map(|expected| documents - expected),
        expected_pages,
        received_pages: pages,
        documents_without_pages: unknown,
        pages_difference: expected_pages.filter(|_| unknown == 0).map(|expected| pages - expected),
    })
}

fn read(row: &AnyRow) -> Result<Item, DbError> {
    let code: Option<ProblemCode> = opt_parsed(row, "reason_code")?;
    let reason = opt_text(row, "reason")?.unwrap_or_default();
    Ok(Item {
        source: text(row, "source")?,
        item: text(row, "item")?,
        state: parsed(row, "state")?,
        document_id: parsed(row, "document_id")?,
        tries: number(row, "tries")?,
        problem: code.map(|code| (code, reason)),
        ended_at: opt_instant(row, "ended_at")?,
        version: number(row, "version")?,
    })
}
