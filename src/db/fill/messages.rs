//! Messages beside the made documents. Of the practices a few get half of all messages; of the users most have few
//! practices, and one office has hundreds. What the users that the bench asks for did to their messages is made, too.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::{STEP, YEAR};
use crate::db::{Db, DbError, Flavor};

/// Practices that get half of the messages.
const LARGE: i64 = 20;
/// All practices.
const PRACTICES: i64 = 2_000;
/// Users with three practices, one of them a large one.
const USERS: i64 = 1_000;
/// Of those, so many have read some messages, and are asked for.
pub const READERS: i64 = 8;
/// Practices of the office.
const OFFICE_TINS: i64 = 500;
/// Last names of members.
const NAMES: i64 = 200;
/// Microseconds between two messages.
const APART: i64 = 10_000_000;

/// The user with hundreds of practices.
pub const OFFICE: &str = "00000008-0000-7000-8000-999999999999";

/// The user of a number.
pub fn user(number: i64) -> String {
    super::made_id('8', number)
}

/// The large practice of the user of a number.
pub fn tin(number: i64) -> String {
    (200_000_000 + number % LARGE).to_string()
}

/// The id of the message of a number.
pub fn message_id(number: i64) -> String {
    super::made_id('7', number)
}

/// One of the members' first names, as it is looked for.
pub fn given_name(number: i64) -> String {
    format!("given{}", number % 10)
}

/// When the message of a number came, in microseconds.
pub fn published_at(now: Timestamp, number: i64) -> i64 {
    now.as_microsecond() - YEAR + number * APART
}

/// The claim that the message of a number is about, as it is looked for.
pub fn claim(number: i64) -> String {
    format!("cl{number:08}")
}

/// One of the members' last names, as it is looked for.
pub fn name(number: i64) -> String {
    format!("surname{:03}", number % NAMES)
}

/// The columns of the messages of numbers from $1 up to before $2; $3 is when the first one came. High digits of a
/// product go for chance: what they decide goes with no practice.
const MADE: &str = "WITH RECURSIVE n (i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $2 - 1),
     made AS (
        SELECT i, '00000007-0000-7000-8000-' || SUBSTR(CAST(1000000000000 + i AS TEXT), 2) AS id,
               CAST(200000000 + CASE WHEN i % 2 = 0 THEN i / 2 % 20 ELSE 20 + i / 2 % 1980 END AS TEXT) AS tin,
               CASE WHEN i / 40 % 10 < 5 THEN 'claim' WHEN i / 40 % 10 < 8 THEN 'precertification' ELSE 'appeal' END
                   AS category,
               i * 2246822519 % 4294967296 / 65536 % 10 AS kind,
               i * 2654435761 % 4294967296 / 65536 % 100 AS done,
               'CL' || SUBSTR(CAST(100000000 + i AS TEXT), 2) AS claim,
               $3 + i * 10000000 AS published_at
        FROM n),
     typed AS (
        SELECT made.*, CASE WHEN kind < 4 THEN 'notice'
            WHEN category = 'claim' THEN CASE WHEN kind < 7 THEN 'reconsideration_upheld' ELSE 'claim_denied' END
            WHEN category = 'appeal' THEN CASE WHEN kind < 7 THEN 'appeal_received' ELSE 'appeal_upheld' END
            ELSE CASE WHEN kind < 7 THEN 'precertification_received' ELSE 'precertification_approved' END END AS type
        FROM made) ";

const MESSAGES: &str =
    "INSERT INTO message (id, brand, mode, tin, category, type, claim_number, status, published_at, online_until)
     {made} SELECT id, 'made', 'live', tin, category, type, claim, CASE WHEN type = 'notice' THEN 'In Process' END,
                   published_at, published_at + 63072000000000 FROM typed";

/// Seven of ten are read; of a hundred twenty are archived, twenty flagged and two deleted: enough that the smaller
/// database, too, has a page of each.
const MARKS: &str = "INSERT INTO message_mark (user_id, message_id, published_at, read_at, flagged_at, archived_at, deleted_at)
     {made} SELECT t.user_id, m.id, m.published_at, CASE WHEN done < 70 THEN m.published_at + 1 END,
                   CASE WHEN done BETWEEN 50 AND 69 THEN m.published_at + 1 END,
                   CASE WHEN done < 20 THEN m.published_at + 1 END, CASE WHEN done BETWEEN 30 AND 31 THEN m.published_at + 1 END
     FROM typed m JOIN user_tin t ON t.tin = m.tin
     WHERE m.done < 70 AND (t.user_id < '00000008-0000-7000-8000-000000000008' OR t.user_id = '00000008-0000-7000-8000-999999999999')";

/// What is found by: the words of [`crate::db::messages`], with a name of the member.
const WORDS: &str = "category || ' ' || CASE WHEN type = 'notice' THEN 'notice in process' ELSE 'letter ' || REPLACE(type, '_', ' ') END
     || ' ' || LOWER(claim) || ' given' || CAST(i / 7 % 10 AS TEXT) || ' surname' || SUBSTR(CAST(1000 + i % 200 AS TEXT), 2)";

const TEXT_SQLITE: &[&str] = &[
    "INSERT INTO message_row (number, message_id) {made} SELECT i + 1, id FROM typed",
    "INSERT INTO message_text (rowid, mark, words) {made} SELECT i + 1, category || tin, {words} FROM typed",
];
const TEXT_POSTGRES: &[&str] = &["INSERT INTO message_text (message_id, words)
     {made} SELECT id, array_to_tsvector(string_to_array('#' || category || tin || ' ' || {words}, ' ')) FROM typed"];

/// Users, each with a large practice and two small ones.
const USERS_MADE: &[&str] = &[
    "INSERT INTO app_user (id, issuer, subject, name, roles, created_at, version)
     WITH RECURSIVE n (i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $1 - 1)
     SELECT '00000008-0000-7000-8000-' || SUBSTR(CAST(1000000000000 + i AS TEXT), 2), 'made', CAST(i AS TEXT), 'made', '',
            0, 0 FROM n",
    "INSERT INTO user_tin (user_id, tin, entitlements, version)
     WITH RECURSIVE n (i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $1 - 1)
     SELECT '00000008-0000-7000-8000-' || SUBSTR(CAST(1000000000000 + i AS TEXT), 2),
            CAST(200000000 + CASE k WHEN 0 THEN i % 20 ELSE 20 + (i * 2 + k) % 1980 END AS TEXT),
            'claim_search precert_view_submit', 0
     FROM n CROSS JOIN (SELECT 0 AS k UNION ALL SELECT 1 UNION ALL SELECT 2) AS three",
];
const OFFICE_MADE: &str = "INSERT INTO user_tin (user_id, tin, entitlements, version)
     WITH RECURSIVE n (i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $1 - 1)
     SELECT '00000008-0000-7000-8000-999999999999', CAST(200000000 + i * $2 AS TEXT), 'claim_search precert_view_submit', 0
     FROM n";

/// Puts `messages` made ones into a database that holds none; `tell` is told how many there are.
///
/// # Errors
/// When the database fails.
pub async fn fill(db: &Db, now: Timestamp, messages: i64, tell: impl Fn(i64)) -> Result<(), DbError> {
    let first = now.as_microsecond() - YEAR;
    let mut tx = db.begin().await?;
    for statement in USERS_MADE {
        sqlx::query(*statement).bind(USERS).execute(&mut *tx).await?;
    }
    sqlx::query(OFFICE_MADE).bind(OFFICE_TINS).bind(PRACTICES / OFFICE_TINS).execute(&mut *tx).await?;
    tx.commit().await?;
    let text = if db.flavor() == Flavor::Postgres { TEXT_POSTGRES } else { TEXT_SQLITE };
    let statements: Vec<String> = [MESSAGES, MARKS]
        .iter()
        .chain(text)
        .map(|statement| statement.replace("{made}", MADE).replace("{words}", WORDS))
        .collect();
    let mut from = 0;
    while from < messages {
        let to = messages.min(from + STEP * 4);
        let mut tx = db.begin().await?;
        for statement in &statements {
            sqlx::query(AssertSqlSafe(statement.clone())).bind(from).bind(to).bind(first).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        from = to;
        tell(from);
    }
    Ok(())
}
