//! Readers, practices, choices and letters by the million, for digests. To each user four practices, two letters and eight
//! choices; a practice has two or three readers. Of ten choices seven are daily, two weekly and one is off.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use crate::db::{Db, DbError, notifications, number};
use crate::model::ids::{Brand, RunId};

/// Practices of a user.
const PRACTICES: i64 = 4;
/// Users, or messages, of a transaction.
const STEP: i64 = 5_000;
/// How long a message is online, in microseconds.
const ONLINE: i64 = 730 * 86_400_000_000;

/// How much is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Readers.
    pub users: i64,
}

impl Size {
    /// Practices.
    pub const fn tins(self) -> i64 {
        self.users * 8 / 5
    }

    /// Choices.
    pub const fn choices(self) -> i64 {
        self.users * PRACTICES * 2
    }

    /// Letters, each a message of one practice.
    pub const fn letters(self) -> i64 {
        self.users * 2
    }
}

/// Numbers from $1 up to before $2.
const NUMBERS: &str =
    "WITH RECURSIVE n (i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $2 - 1) ";
/// The id of user `i`.
const USER: &str = "'00000008-0000-7000-8000-' || SUBSTR(CAST(1000000000000 + i AS TEXT), 2)";
/// One of the practices of user `i`; $3 is how many there are.
const TIN: &str = "CAST(100000000 + (i * 4 + k) * 7919 % $3 AS TEXT)";
const FOUR: &str = "(SELECT 0 AS k UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS four";

/// By number of user.
const USERS: &str = "INSERT INTO app_user (id, issuer, subject, name, email, roles, created_at, version)
     {numbers} SELECT {user}, 'made', CAST(i AS TEXT), 'Made Reader ' || CAST(i AS TEXT),
                      'reader' || CAST(i AS TEXT) || '@practice.example', '', $3 * 0, 0 FROM n";
const RIGHTS: &str = "INSERT INTO user_tin (user_id, tin, entitlements, version)
     {numbers} SELECT {user}, {tin}, 'claim_search precert_view_submit', 0 FROM n CROSS JOIN {four} WHERE 1 = 1
     ON CONFLICT DO NOTHING";
/// High digits of a product go for chance: what they decide goes with no practice.
const CHOICES: &str = "INSERT INTO digest_choice (user_id, tin, category, cadence, source, changed_at, version)
     {numbers}, drawn AS (
        SELECT {user} AS user_id, {tin} AS tin, category, (i * 8 + k * 2 + j) * 2654435761 % 4294967296 / 65536 % 10 AS h
        FROM n CROSS JOIN {four} CROSS JOIN (SELECT 0 AS j, 'claim' AS category UNION ALL SELECT 1, 'precertification') AS two)
     SELECT user_id, tin, category, CASE WHEN h < 7 THEN 'daily' WHEN h < 9 THEN 'weekly' ELSE 'off' END, 'load', 0, 1
     FROM drawn WHERE 1 = 1 ON CONFLICT DO NOTHING";

/// By number of message. Half are about claims; one in five needs an answer. $4 is the brand, $5 when the first came.
const MESSAGES: &str = "INSERT INTO message (id, brand, mode, tin, category, type, claim_number, published_at, online_until,
                                              action_required_at)
     {numbers}, drawn AS (
        SELECT i, i * 2246822519 % 4294967296 / 65536 % 10 AS h, i * 2654435761 % 4294967296 / 65536 % 5 AS asks FROM n),
     kinds AS (
        SELECT i, asks, CASE WHEN h < 5 THEN 'claim' WHEN h < 8 THEN 'precertification' ELSE 'appeal' END AS category FROM drawn)
     SELECT '00000007-0000-7000-8000-' || SUBSTR(CAST(1000000000000 + i AS TEXT), 2), $4, 'live',
            CAST(100000000 + i * 104729 % $3 AS TEXT), category,
            CASE category WHEN 'claim' THEN 'claim_denied' WHEN 'appeal' THEN 'appeal_received'
                 ELSE 'precertification_approved' END,
            'CL' || SUBSTR(CAST(100000000 + i AS TEXT), 2), $5 + i, $5 + i + $6, CASE WHEN asks = 0 THEN $5 + i END
     FROM kinds";

fn written(statement: &str) -> String {
    let parts = [("{numbers}", NUMBERS.trim_end()), ("{user}", USER), ("{tin}", TIN), ("{four}", FOUR)];
    parts.iter().fold(statement.to_owned(), |text, (name, part)| text.replace(name, part))
}

/// Puts users, choices and messages of a brand into an empty database; `tell` is told how many users and messages there
/// are. Nobody is told of the messages yet.
///
/// # Errors
/// [`DbError::Schema`] when the database is not empty, and when it fails.
pub async fn fill(db: &Db, now: Timestamp, brand: &Brand, size: Size, tell: impl Fn(i64)) -> Result<(), DbError> {
    super::must_be_empty(db).await?;
    let tins = size.tins();
    let of_users = [USERS, RIGHTS, CHOICES].map(written);
    for from in (0..size.users).step_by(STEP.unsigned_abs() as usize) {
        let to = size.users.min(from + STEP);
        let mut tx = db.begin().await?;
        for statement in &of_users {
            // the text is ours
            let query = sqlx::query(AssertSqlSafe(statement.clone())).bind(from).bind(to).bind(tins);
            query.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        tell(to);
    }
    let messages = written(MESSAGES);
    let first = now.as_microsecond() - 86_400_000_000;
    for from in (0..size.letters()).step_by(STEP.unsigned_abs() as usize) {
        let to = size.letters().min(from + STEP);
        let mut tx = db.begin().await?;
        let query = sqlx::query(AssertSqlSafe(messages.clone())).bind(from).bind(to).bind(tins);
        query.bind(brand.as_str()).bind(first).bind(ONLINE).execute(&mut *tx).await?;
        tx.commit().await?;
        tell(size.users + to);
    }
    super::settle(db).await
}

/// Writes who is to be told of each message. Answers how many notifications there are.
///
/// # Errors
/// When the database fails.
pub async fn fan_out(db: &Db, size: Size, tell: impl Fn(i64)) -> Result<u64, DbError> {
    let mut told = 0;
    for from in (0..size.letters()).step_by(STEP.unsigned_abs() as usize) {
        let to = size.letters().min(from + STEP);
        let mut tx = db.begin().await?;
        let (first, behind) = (super::made_id('7', from), super::made_id('7', to));
        told += notifications::fan_out_between(&mut tx, &first, &behind).await?;
        tx.commit().await?;
        tell(to);
    }
    Ok(told)
}

/// How many mails of a run a relay has taken.
///
/// # Errors
/// When the database fails.
pub async fn accepted(db: &Db, run: &RunId, relay: &str) -> Result<i64, DbError> {
    let mut conn = db.read().await?;
    let row =
        sqlx::query("SELECT COUNT(*) AS n FROM digest_mail WHERE run_id = $1 AND state = 'accepted' AND relay = $2")
            .bind(run.as_str())
            .bind(relay)
            .fetch_one(&mut *conn)
            .await?;
    number(&row, "n")
}
