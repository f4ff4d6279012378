//! Full text over messages (COR-21). This is the one place where the two databases differ in what they have: FTS5 on
//! SQLite, a `tsvector` with a GIN index on PostgreSQL. Both get the same words, made by
//! [`crate::model::message::words`], so that they find the same.
//!
//! Beside its words a message has a mark of its practice and category. Who sees few practices asks for these marks with
//! the words, and the index meets nobody else's messages; for many practices the newest matches are read one part after
//! the other, and the caller keeps what the user sees.

use sqlx::Executor;
use sqlx::any::AnyRow;

use super::{Conn, DbError};
use crate::model::ids::{MessageId, Tin, UserId};
use crate::model::letter::LetterCategory;

const SQLITE: &[&str] = &[
    // The rows of FTS go by number; the table's own numbers are not kept when the file is rewritten (VACUUM).
    "CREATE TABLE IF NOT EXISTS message_row (number INTEGER PRIMARY KEY, message_id TEXT NOT NULL UNIQUE)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS message_text
     USING fts5 (mark, words, tokenize = 'unicode61 remove_diacritics 0')",
];
const POSTGRES: &[&str] = &[
    // nodes that migrate at the same time wait for each other
    "SELECT pg_advisory_xact_lock(7221310)",
    "CREATE TABLE IF NOT EXISTS message_text
     (number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, message_id TEXT NOT NULL UNIQUE, words TSVECTOR NOT NULL)",
    "CREATE INDEX IF NOT EXISTS message_text_words ON message_text USING GIN (words)",
];

/// Whether the connection is to SQLite.
fn is_sqlite(conn: &Conn) -> bool {
    conn.backend_name().eq_ignore_ascii_case("sqlite")
}

/// Makes what search needs, where it is not there.
pub(super) async fn set_up(conn: &mut Conn) -> Result<(), DbError> {
    for statement in if is_sqlite(conn) { SQLITE } else { POSTGRES } {
        conn.execute(*statement).await?;
    }
    Ok(())
}

/// The mark of a practice's messages of a category. No word has a blank or `#` in it, so none is taken for a mark.
fn mark(tin: &Tin, category: LetterCategory) -> String {
    format!("{category}{}", tin.as_str())
}

/// Makes a message findable by these words.
///
/// # Errors
/// When the database fails.
pub async fn put(
    conn: &mut Conn,
    id: &MessageId,
    (tin, category): (&Tin, LetterCategory),
    words: &[String],
) -> Result<(), DbError> {
    let mark = mark(tin, category);
    if is_sqlite(conn) {
        sqlx::query("INSERT INTO message_row (message_id) VALUES ($1)").bind(id.as_str()).execute(&mut *conn).await?;
        sqlx::query(
            "INSERT INTO message_text (rowid, mark, words) SELECT number, $2, $3 FROM message_row WHERE message_id = $1",
        )
        .bind(id.as_str())
        .bind(mark)
        .bind(words.join(" "))
        .execute(conn)
        .await?;
        return Ok(());
    }
    let lexemes = std::iter::once(format!("#{mark}")).chain(words.iter().cloned()).collect::<Vec<_>>().join(" ");
    sqlx::query(
        "INSERT INTO message_text (message_id, words) VALUES ($1, array_to_tsvector(string_to_array($2, ' ')))",
    )
    .bind(id.as_str())
    .bind(lexemes)
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a message be found no longer.
///
/// # Errors
/// When the database fails.
pub async fn remove(conn: &mut Conn, id: &MessageId) -> Result<(), DbError> {
    const SQLITE: &[&str] = &[
        "DELETE FROM message_text WHERE rowid = (SELECT number FROM message_row WHERE message_id = $1)",
        "DELETE FROM message_row WHERE message_id = $1",
    ];
    const POSTGRES: &[&str] = &["DELETE FROM message_text WHERE message_id = $1"];
    for statement in if is_sqlite(conn) { SQLITE } else { POSTGRES } {
        sqlx::query(*statement).bind(id.as_str()).execute(&mut *conn).await?;
    }
    Ok(())
}

/// The statement that finds: what the caller reads of a message and of the user's marks, and the matches. The matches
/// come first, in their number: the planner is not to join what is not shown.
macro_rules! found {
    ($matches:literal) => {
        concat!(
            "SELECT f.number, m.id, m.published_at, m.tin, m.category, m.type, m.mode, m.online_until, m.offline_at,
                    k.read_at, k.flagged_at, k.archived_at, k.deleted_at FROM (",
            $matches,
            ") AS f JOIN message m ON m.id = f.message_id
             LEFT JOIN message_mark k ON k.user_id = $4 AND k.message_id = m.id ORDER BY f.number DESC"
        )
    };
}

/// Messages that have words beginning with all of these, the ones that came last first, from behind the number
/// `behind`; with `among`, of these practices and categories only. Beside its number a row has what lists are decided
/// by, with the user's marks.
///
/// # Errors
/// When the database fails.
pub(super) async fn find(
    conn: &mut Conn,
    user: &UserId,
    words: &[String],
    among: &[(Tin, LetterCategory)],
    behind: i64,
    limit: i64,
) -> Result<Vec<AnyRow>, DbError> {
    let sqlite = is_sqlite(conn);
    // words are letters and digits: nothing in them ends a quotation
    let quote = |word: &String, end: &str| if sqlite { format!("\"{word}\"{end}") } else { format!("'{word}'{end}") };
    let marks = among.iter().map(|(tin, category)| mark(tin, *category));
    let (query, statement) = if sqlite {
        let words: Vec<String> = words.iter().map(|word| quote(word, " *")).collect();
        let words = format!("words : ({})", words.join(" AND "));
        let marks: Vec<String> = marks.map(|mark| quote(&mark, "")).collect();
        let query = if marks.is_empty() { words } else { format!("(mark : ({})) AND ({words})", marks.join(" OR ")) };
        let statement = found!(
            "SELECT r.number, r.message_id FROM message_text f JOIN message_row r ON r.number = f.rowid
             WHERE message_text MATCH $1 AND f.rowid < $2 ORDER BY f.rowid DESC LIMIT $3"
        );
        (query, statement)
    } else {
        let words = words.iter().map(|word| quote(word, ":*")).collect::<Vec<_>>().join(" & ");
        let marks: Vec<String> = marks.map(|mark| quote(&format!("#{mark}"), "")).collect();
        let query = if marks.is_empty() { words } else { format!("({}) & {words}", marks.join(" | ")) };
        // PostgreSQL takes words and marks for independent, and would walk back through everybody's messages until it
        // has met enough of a few practices' ones; the sum keeps it from that order.
        let statement = if among.is_empty() {
            found!(
                "SELECT number, message_id FROM message_text WHERE words @@ CAST($1 AS tsquery) AND number < $2
                 ORDER BY number DESC LIMIT $3"
            )
        } else {
            found!(
                "SELECT number, message_id FROM message_text WHERE words @@ CAST($1 AS tsquery) AND number < $2
                 ORDER BY number + 0 DESC LIMIT $3"
            )
        };
        (query, statement)
    };
    // a prepared statement is planned without its words after a while, as if all words were equally common
    let found = sqlx::query(statement).persistent(sqlite).bind(query).bind(behind).bind(limit).bind(user.as_str());
    Ok(found.fetch_all(conn).await?)
}
