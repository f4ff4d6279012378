//! What a run would do, counted and shown without doing it (OPS-10).

use sqlx::any::AnyRow;

use super::{Meets, choice, fate, judged, met, served};
use crate::codes;
use crate::db::{Conn, DbError, number, opt_parsed, parsed, text};
use crate::model::digest::{DigestKind, LeftOut};
use crate::model::ids::{Tin, UserId};

codes! {
    /// What would become of notifications that a run meets.
    pub enum Fate {
        /// They go in a mail.
        Mail = "mail",
        /// They wait on: the user's mail of that kind and day is there already (COR-33).
        Waits = "waits",
        /// They are left out, for a reason.
        LeftOut = "left_out",
    }
}

/// How much there is of a kind and fate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// The kind.
    pub kind: DigestKind,
    /// What becomes of it.
    pub fate: Fate,
    /// Why it is left out.
    pub reason: Option<LeftOut>,
    /// Users; for mails, as many mails.
    pub users: i64,
    /// Practices, summed over users.
    pub items: i64,
    /// Letters and notices.
    pub letters: i64,
}

/// What would become of a user's notifications of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The user.
    pub user: UserId,
    /// The kind.
    pub kind: DigestKind,
    /// What becomes of them.
    pub fate: Fate,
    /// Why they are left out.
    pub reason: Option<LeftOut>,
    /// Practices.
    pub items: i64,
    /// Letters and notices.
    pub letters: i64,
    /// The first few of the practices.
    pub tins: Vec<Tin>,
}

/// Practices that a line names.
const TINS: i64 = 5;

/// Notifications that the run meets, each with its fate and, where it is left out, the reason.
macro_rules! judged_of_run {
    () => {
        judged!(fate!(), met!())
    };
}

/// Counts what a run would do.
///
/// # Errors
/// When the database fails.
pub async fn count(conn: &mut Conn, of: &Meets<'_>) -> Result<Vec<Counted>, DbError> {
    let statement = concat!(
        "SELECT kind, fate, reason, COUNT(DISTINCT user_id) AS users, COUNT(*) AS items,
                CAST(SUM(letters) AS BIGINT) AS letters FROM (
            SELECT user_id, kind, tin, reason, CASE WHEN reason IS NULL THEN fate ELSE 'left_out' END AS fate,
                   COUNT(*) AS letters FROM (",
        judged_of_run!(),
        ") AS met GROUP BY user_id, kind, tin, reason, CASE WHEN reason IS NULL THEN fate ELSE 'left_out' END) AS items
         GROUP BY kind, fate, reason"
    );
    let rows = of.bind(sqlx::query(statement), None).fetch_all(conn).await?;
    let read = |row: &AnyRow| {
        Ok(Counted {
            kind: parsed(row, "kind")?,
            fate: parsed(row, "fate")?,
            reason: opt_parsed(row, "reason")?,
            users: number(row, "users")?,
            items: number(row, "items")?,
            letters: number(row, "letters")?,
        })
    };
    let mut counted: Vec<Counted> = rows.iter().map(read).collect::<Result<_, DbError>>()?;
    counted.sort();
    Ok(counted)
}

/// Shows what a run would do, for up to `users` users behind `after`.
///
/// # Errors
/// When the database fails.
pub async fn lines(conn: &mut Conn, of: &Meets<'_>, after: Option<&UserId>, users: i64) -> Result<Vec<Line>, DbError> {
    let statement = concat!(
        "SELECT user_id, kind, fate, reason, tin, items, letters FROM (
            SELECT user_id, kind, fate, reason, tin,
                   ROW_NUMBER() OVER (PARTITION BY user_id, kind, fate, reason ORDER BY tin) AS place,
                   COUNT(*) OVER (PARTITION BY user_id, kind, fate, reason) AS items,
                   CAST(SUM(letters) OVER (PARTITION BY user_id, kind, fate, reason) AS BIGINT) AS letters,
                   DENSE_RANK() OVER (ORDER BY user_id) AS turn FROM (
                SELECT user_id, kind, tin, reason, CASE WHEN reason IS NULL THEN fate ELSE 'left_out' END AS fate,
                       COUNT(*) AS letters FROM (",
        judged_of_run!(),
        ") AS met GROUP BY user_id, kind, tin, reason, CASE WHEN reason IS NULL THEN fate ELSE 'left_out' END) AS items)
         AS placed WHERE place <= $12 AND turn <= $13 ORDER BY user_id, kind, fate, reason, place"
    );
    let rows = of.bind(sqlx::query(statement), after).bind(TINS).bind(users).fetch_all(conn).await?;
    let mut lines: Vec<Line> = Vec::new();
    for row in &rows {
        let line = Line {
            user: parsed(row, "user_id")?,
            kind: parsed(row, "kind")?,
            fate: text(row, "fate")?.parse().map_err(|_| DbError::Unreadable { column: "fate" })?,
            reason: opt_parsed(row, "reason")?,
            items: number(row, "items")?,
            letters: number(row, "letters")?,
            tins: vec![parsed(row, "tin")?],
        };
        match lines.last_mut() {
            Some(last)
                if (&last.user, last.kind, last.fate, last.reason)
                    == (&line.user, line.kind, line.fate, line.reason) =>
            {
                last.tins.extend(line.tins);
            }
            _ => lines.push(line),
        }
    }
    Ok(lines)
}
