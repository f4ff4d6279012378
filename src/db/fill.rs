//! For `lettercase bench` and tests only: fills an empty database with made documents and all that goes with them, by
//! statements over a series of numbers, so that a million are there within minutes. What it makes obeys the ledger and
//! is in the order of time, as real rows are; its events have positions but no digests, and one seal that a sequencer goes
//! on behind and nobody can verify. A database that holds anything of a real installation is refused.

pub mod digests;
pub mod messages;

use jiff::Timestamp;

use super::{Db, DbError, number};
use crate::model::ids::ReferenceNumber;
use crate::model::submission::Said;

/// Documents of a submission.
pub const PER_SUBMISSION: i64 = 4;
/// Documents of a case.
pub const PER_CASE: i64 = 50;
/// Who sent them: each as many submissions as the next.
pub const OWNERS: i64 = 8;
/// Practices that they are about.
pub const TINS: i64 = 20;
/// One document in so many waits for a person, and one in so many for a worker.
pub const ONE_WAITS_OF: i64 = 20;
/// Events of a submission and its documents.
const EVENTS: i64 = 2 + 3 * PER_SUBMISSION;
/// Submissions of a transaction.
const STEP: i64 = 2_500;
/// A year in microseconds: so long ago the first one came, ten seconds later the next.
const YEAR: i64 = 365 * 86_400_000_000;

/// What is made belongs to this brand.
pub const BRAND: &str = "made";
/// The stage that the work waits for.
pub const STAGE: &str = "made";

/// The number series from $1 up to before $2, with the rows that a statement inserts from it.
macro_rules! made {
    ($into:literal, $($select:expr),+ $(,)?) => {
        concat!(
            "INSERT INTO ", $into,
            " WITH RECURSIVE n (i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $2 - 1) SELECT ",
            $($select),+
        )
    };
}

/// An id of a kind (a digit) and a number: text that is a UUID, in the order of the numbers.
macro_rules! id {
    ($kind:literal, $number:literal) => {
        concat!("'0000000", $kind, "-0000-7000-8000-' || SUBSTR(CAST(1000000000000 + ", $number, " AS TEXT), 2)")
    };
}

/// When the document of number `i` came. $3 is when the first one did.
macro_rules! came {
    () => {
        "$3 + i * 10000000"
    };
}

const SUBMISSION: char = '1';
const DOCUMENT: char = '2';
const CASE: char = '5';

/// By number of submission.
const OF_SUBMISSIONS: &[&str] = &[made!(
    "posting (id, kind, subject, from_state, to_state, at)",
    id!("6", "(i * 2 + k)"),
    ", 'submission', ",
    id!("1", "i"),
    ", CASE k WHEN 0 THEN NULL ELSE 'open' END, CASE k WHEN 0 THEN 'open' ELSE 'accepted' END, $3 + i * 40000000 + k
         FROM n CROSS JOIN (SELECT 0 AS k UNION ALL SELECT 1) AS two"
)];

/// By number of document.
const OF_DOCUMENTS: &[&str] = &[
    made!(
        "document (id, brand, submission_id, state, channel, file_name, file_name_key, size_bytes, sha256, node, case_id,
                   received_at, created_at, accepted_at, version) ",
        id!("2", "i"),
        ", 'made', ",
        id!("1", "i / 4"),
        ", CASE WHEN i % 40 = 0 THEN 'needs_review' WHEN i % 20 = 0 THEN 'held' ELSE 'matched' END, 'upload',
         'file-' || CAST(i AS TEXT), 'file-' || CAST(i AS TEXT), 60000,
         '0000000000000000000000000000000000000000000000000000' || SUBSTR(CAST(1000000000000 + i AS TEXT), 2), 'made',
         CASE WHEN i % 20 = 0 THEN NULL ELSE ",
        id!("5", "i / 50"),
        " END, ",
        came!(),
        ", ",
        came!(),
        ", ",
        came!(),
        ", 0 FROM n"
    ),
    made!(
        "posting (id, kind, subject, from_state, to_state, at)",
        id!("4", "(i * 3 + k)"),
        ", 'document', ",
        id!("2", "i"),
        ", CASE k WHEN 0 THEN NULL WHEN 1 THEN 'receiving' ELSE 'received' END,
           CASE WHEN k = 0 THEN 'receiving' WHEN k = 1 THEN 'received'
                WHEN i % 40 = 0 THEN 'needs_review' WHEN i % 20 = 0 THEN 'held' ELSE 'matched' END, ",
        came!(),
        " + k FROM n CROSS JOIN (SELECT 0 AS k UNION ALL SELECT 1 UNION ALL SELECT 2) AS three"
    ),
    made!("receipt (kind, subject, brand, at)", "'document', ", id!("2", "i"), ", 'made', ", came!(), " FROM n"),
    // deadlines from ten days before what is now to ten days behind it, in no order
    made!(
        "task (document_id, kind, brand, mode, received_at, created_at, deadline_at)",
        id!("2", "i"),
        ", CASE WHEN i % 40 = 0 THEN 'match' ELSE 'held' END, 'made', 'live', ",
        came!(),
        ", ",
        came!(),
        ", $3 + 30672000000000 + (i * 7919 % 1728000) * 1000000 FROM n WHERE i % 20 = 0"
    ),
    made!(
        "match_candidate (document_id, place, case_id, millibits, evidence)",
        id!("2", "i"),
        ", 1, ",
        id!("5", "i / 50"),
        ", $3 * 0 + 9000, '[]' FROM n WHERE i % 40 = 0"
    ),
    made!(
        "case_file (id, brand, kind, case_number, status, member_id, tin, opened_at, origin, version)",
        id!("5", "i / 50"),
        ", 'made', 'appeal', 'AP-' || CAST(i / 50 AS TEXT), 'In Process', 'M' || CAST(i / 50 AS TEXT), '100000000', ",
        came!(),
        ", 'loaded', 0 FROM n WHERE i % 50 = 0"
    ),
    made!(
        "work (subject, stage, state, attempts, due_at, created_at)",
        id!("2", "i"),
        ", 'made', 'ready', 0, ",
        came!(),
        ", ",
        came!(),
        " FROM n WHERE i % 20 = 1"
    ),
];

/// By number of event: of the fourteen of a submission the first two are its own.
const OF_EVENTS: &[&str] = &[made!(
    "event (id, position, type, version, subject, brand, actor, at, payload, digest)",
    id!("3", "i"),
    ", i + 1, CASE WHEN i % 14 = 0 THEN 'submission.submitted' WHEN i % 14 = 1 THEN 'submission.accepted'
                   WHEN i % 3 = 0 THEN 'document.received' WHEN i % 3 = 1 THEN 'document.stored'
                   ELSE 'document.matched' END, 1,
     CASE WHEN i % 14 < 2 THEN ",
    id!("1", "i / 14"),
    " ELSE ",
    id!("2", "(i / 14 * 4 + (i % 14 - 2) / 3)"),
    " END, 'made', 'made:' || CAST(i / 14 % 8 AS TEXT), $3 + i / 14 * 40000000 + i % 14, '{}', '' FROM n"
)];

/// What is refused to be filled further: a database with one of these.
const EMPTY: &str = "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM document LIMIT 1) AS d)
    + (SELECT COUNT(*) FROM (SELECT 1 FROM submission LIMIT 1) AS s)
    + (SELECT COUNT(*) FROM (SELECT 1 FROM event LIMIT 1) AS e)
    + (SELECT COUNT(*) FROM (SELECT 1 FROM task LIMIT 1) AS t)
    + (SELECT COUNT(*) FROM (SELECT 1 FROM work LIMIT 1) AS w)
    + (SELECT COUNT(*) FROM (SELECT 1 FROM case_file LIMIT 1) AS c)
    + (SELECT COUNT(*) FROM (SELECT 1 FROM member LIMIT 1) AS m)
    + (SELECT COUNT(*) FROM (SELECT 1 FROM app_user LIMIT 1) AS u)
    + (SELECT COUNT(*) FROM (SELECT 1 FROM message LIMIT 1) AS l)
    + (SELECT COUNT(*) FROM (SELECT 1 FROM posting LIMIT 1) AS p) AS n";

/// Fills an empty database with `documents` made ones, of whole submissions; `tell` is told how many there are. The
/// first came a year before `now`.
///
/// # Errors
/// [`DbError::Schema`] when the database is not empty, and when it fails.
pub async fn fill(db: &Db, now: Timestamp, documents: i64, tell: impl Fn(i64)) -> Result<(), DbError> {
    must_be_empty(db).await?;
    let first = now.as_microsecond() - YEAR;
    let submissions = documents / PER_SUBMISSION;
    let mut from = 0;
    while from < submissions {
        let to = submissions.min(from + STEP);
        let mut tx = db.begin().await?;
        sqlx::query(sqlx::AssertSqlSafe(submissions_made(from, to)?)).bind(first).execute(&mut *tx).await?;
        for (statements, times) in [(OF_SUBMISSIONS, 1), (OF_DOCUMENTS, PER_SUBMISSION), (OF_EVENTS, EVENTS)] {
            for statement in statements {
                sqlx::query(*statement).bind(from * times).bind(to * times).bind(first).execute(&mut *tx).await?;
            }
        }
        tx.commit().await?;
        from = to;
        tell(from * PER_SUBMISSION);
    }
    if submissions > 0 {
        let mut tx = db.begin().await?;
        sqlx::query("INSERT INTO seal (first_position, last_position, mac, at) VALUES (1, $1, 'made', $2)")
            .bind(submissions * EVENTS)
            .bind(first)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
    settle(db).await
}

/// Refuses a database that holds anything.
///
/// # Errors
/// [`DbError::Schema`] when it does; when it fails.
pub async fn must_be_empty(db: &Db) -> Result<(), DbError> {
    let mut conn = db.read().await?;
    let row = sqlx::query(EMPTY).fetch_one(&mut *conn).await?;
    match number(&row, "n")? {
        0 => Ok(()),
        _ => Err(DbError::Schema("it is not empty, and only an empty database is filled with made rows".into())),
    }
}

/// What PostgreSQL does by itself in time. SQLite's planner goes without, as in an installation.
///
/// # Errors
/// When the database fails.
pub async fn settle(db: &Db) -> Result<(), DbError> {
    if db.flavor() == super::Flavor::Postgres {
        let mut conn = db.read().await?;
        // millions of rows take longer than any statement of a node may
        sqlx::query("SET statement_timeout = 0").execute(&mut *conn).await?;
        let done = sqlx::query("VACUUM ANALYZE").execute(&mut *conn).await;
        sqlx::query("SET statement_timeout = '60s'").execute(&mut *conn).await?;
        done?;
    }
    Ok(())
}

/// The statement that makes submissions: their reference numbers have a check character, which SQL can't tell.
fn submissions_made(from: i64, to: i64) -> Result<String, DbError> {
    let said = serde_json::to_string(&Said::default()).map_err(|_| DbError::Unreadable { column: "said" })?;
    let rows: Vec<String> = (from..to).map(|i| format!("({i},'{}')", reference(i))).collect();
    let id = id!("1", "i");
    Ok(format!(
        "INSERT INTO submission (id, brand, reference, kind, state, said, channel, owner, tin, file_count, version,
                                 created_at)
         WITH r (i, reference) AS (VALUES {}), n AS (SELECT CAST(i AS BIGINT) AS i, reference FROM r)
         SELECT {id}, '{BRAND}', reference, 'reconsideration', 'accepted', '{said}', 'upload',
                'made:' || CAST(i % {OWNERS} AS TEXT), CAST(100000000 + i % {TINS} AS TEXT), {PER_SUBMISSION}, 0,
                $1 + i * 40000000 FROM n",
        rows.join(",")
    ))
}

/// The reference number of a made submission. An odd factor leads each number to another one.
fn reference(number: i64) -> ReferenceNumber {
    ReferenceNumber::from_random(number.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) & ((1 << 45) - 1))
}

/// Who sent the submission of a number.
pub fn owner(number: i64) -> String {
    format!("made:{}", number % OWNERS)
}

/// The practice that the submission of a number is about.
pub fn tin(number: i64) -> String {
    (100_000_000 + number % TINS).to_string()
}

/// When the submission of a number was opened, in microseconds.
pub fn opened_at(now: Timestamp, number: i64) -> i64 {
    now.as_microsecond() - YEAR + number * 40_000_000
}

/// The id of the submission of a number.
pub fn submission_id(number: i64) -> String {
    made_id(SUBMISSION, number)
}

/// The id of the document of a number.
pub fn document_id(number: i64) -> String {
    made_id(DOCUMENT, number)
}

/// The id of the case of a number.
pub fn case_id(number: i64) -> String {
    made_id(CASE, number)
}

fn made_id(kind: char, number: i64) -> String {
    format!("0000000{kind}-0000-7000-8000-{number:012}")
}
