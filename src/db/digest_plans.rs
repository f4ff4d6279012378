//! From notifications to mails, a slice of users at a time (COR-30..33). Each statement deals with the whole slice, so that
//! no notification travels to the program; all of one slice are one transaction in which all statements see the same rows
//! ([`super::Db::begin_snapshot`]). Who is left out and why is said in one place, [`judged!`], for planning, for the look
//! right before sending and for dry runs.

pub mod dry;
mod fold;
pub mod recheck;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, code_set, exactly_one, instant, number, opt_parsed, opt_text, parsed, users};
use crate::db::digest_runs;
use crate::model::digest::{Cadence, DigestKind, RunState};
use crate::model::ids::{Brand, MailId, RunId, UserId};
use crate::model::letter::LetterCategory;

/// Joins the choice `c` of the user of the notification `n`: appeals follow claims.
macro_rules! choice {
    () => {
        " LEFT JOIN digest_choice c ON c.user_id = n.user_id AND c.tin = n.tin
              AND c.category = CASE WHEN n.category = 'precertification' THEN n.category ELSE 'claim' END "
    };
}

/// Whether a run takes the notification `n` with the choice `c`: also what was in a mail that did not go on its day.
/// Parameters: $2 what users start with, $5 the cadences served between blanks, $6 the next weekly run, before which what needs an answer goes daily, 0 where it does not.
macro_rules! served {
    () => {
        " ($5 LIKE '% ' || COALESCE(c.cadence, $2) || ' %' OR n.carried = 1
           OR (COALESCE(c.cadence, $2) = 'weekly' AND n.kind IN ('claim_action', 'precert_action') AND n.due_at < $6)) "
    };
}

/// Notifications `n` with the reason, if any, why their user is not to be told: the first of a fixed order that holds.
/// Parameters: $1 now, $2 what users start with, $3 and $4 the patterns of entitlements for claims and precertifications.
macro_rules! judged {
    ($more:literal, $tail:expr) => {
        concat!(
            "SELECT n.user_id, n.message_id, n.tin, n.kind,
                    CASE WHEN u.id IS NULL OR u.roles <> '' OR t.user_id IS NULL
                              OR ' ' || t.entitlements || ' ' NOT LIKE
                                 CASE WHEN n.category = 'precertification' THEN $4 ELSE $3 END ESCAPE '!' THEN 'not_entitled'
                         WHEN u.disabled_at IS NOT NULL THEN 'disabled'
                         WHEN COALESCE(u.email, '') = '' THEN 'no_address'
                         WHEN EXISTS (SELECT 1 FROM mail_suppression s
                                      WHERE LOWER(s.address) = LOWER(u.email) AND s.lifted_at IS NULL) THEN 'suppressed'
                         WHEN COALESCE(c.cadence, $2) = 'off' THEN 'off'
                         WHEN EXISTS (SELECT 1 FROM message_hidden h WHERE h.user_id = n.user_id
                                      AND h.category = n.category AND h.type IN ('', m.type)) THEN 'hidden'
                         WHEN k.deleted_at IS NOT NULL THEN 'deleted'
                         WHEN k.read_at IS NOT NULL THEN 'read'
                         WHEN m.id IS NULL OR m.offline_at IS NOT NULL OR m.online_until <= $1 THEN 'offline'
                    END AS reason",
            $more,
            " FROM notification n LEFT JOIN app_user u ON u.id = n.user_id
              LEFT JOIN user_tin t ON t.user_id = n.user_id AND t.tin = n.tin
              LEFT JOIN message m ON m.id = n.message_id
              LEFT JOIN message_mark k ON k.user_id = n.user_id AND k.message_id = n.message_id",
            choice!(),
            $tail
        )
    };
}
pub(crate) use {choice, judged, served};

/// How many rows a statement writes that holds their values.
const ROWS: usize = 200;

/// What is planned by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How often a user is told who has chosen nothing.
    pub starts_with: Cadence,
    /// The next weekly run, before whose time what needs an answer goes daily to weekly readers, too; `None`: it does not.
    pub answers_before: Option<Timestamp>,
    /// When the run's day begins where the brand is.
    pub day_begins: Timestamp,
}

impl Rules {
    fn answers_before(self) -> i64 {
        self.answers_before.map_or(0, Timestamp::as_microsecond)
    }
}

/// Codes of cadences, with blanks around each.
fn served_text(serves: &BTreeSet<Cadence>) -> String {
    serves.iter().fold(" ".to_owned(), |text, cadence| text + cadence.as_str() + " ")
}

fn claims() -> String {
    users::entitled(LetterCategory::Claim.entitlement())
}

fn precertifications() -> String {
    users::entitled(LetterCategory::Precertification.entitlement())
}

/// A run that is being planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Its brand.
    pub brand: Brand,
    /// The local day that its mails are of.
    pub day: Date,
    /// Whose choices it serves.
    pub serves: BTreeSet<Cadence>,
    /// When it was due.
    pub due_at: Timestamp,
    /// When it was opened.
    pub created_at: Timestamp,
    /// How far it has come: users up to and with this one.
    pub planned_to: Option<UserId>,
    /// Minutes over which its mails are spread.
    pub spread_minutes: i64,
    /// Mails so far.
    pub mails: i64,
    /// Counts its changes.
    pub version: i64,
}

fn read_run(row: &AnyRow) -> Result<Run, DbError> {
    // what an older or newer version wrote into it beside is not our concern
    let timing = opt_text(row, "timing")?.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let spread = timing.as_ref().and_then(|timing| timing.get("spread_minutes")).and_then(serde_json::Value::as_i64);
    Ok(Run {
        id: parsed(row, "id")?,
        brand: parsed(row, "brand")?,
        day: parsed(row, "day")?,
        serves: code_set(row, "serves")?,
        due_at: instant(row, "due_at")?,
        created_at: instant(row, "created_at")?,
        planned_to: opt_parsed(row, "planned_to")?,
        spread_minutes: spread.unwrap_or(0),
        mails: number(row, "mails")?,
        version: number(row, "version")?,
    })
}

/// The oldest run that is to be planned.
///
/// # Errors
/// When the database fails.
pub async fn oldest(conn: &mut Conn) -> Result<Option<Run>, DbError> {
    let row = sqlx::query(
        "SELECT r.id, r.brand, r.day, r.serves, r.due_at, r.created_at, r.planned_to, r.mails, r.version, v.timing
         FROM digest_run r
         LEFT JOIN schedule_revision v ON v.schedule_id = r.schedule_id AND v.revision = r.revision
         WHERE r.state = 'planning' AND r.ended_at IS NULL ORDER BY r.due_at, r.id LIMIT 1",
    )
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read_run).transpose()
}

/// The next users of a brand of whom something waits: the last of them, if there is one.
async fn slice_end(conn: &mut Conn, run: &Run, users: i64) -> Result<Option<UserId>, DbError> {
    let row = sqlx::query(
        "SELECT MAX(user_id) AS last FROM (
            SELECT DISTINCT user_id FROM notification WHERE brand = $1 AND state = 'waiting' AND user_id > $2
            ORDER BY user_id LIMIT $3) AS slice",
    )
    .bind(run.brand.as_str())
    .bind(run.planned_to.as_ref().map_or("", UserId::as_str))
    .bind(users)
    .fetch_one(conn)
    .await?;
    opt_parsed(&row, "last")
}

/// A mail that was just planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its id.
    pub id: MailId,
    /// Practices in it.
    pub items: i64,
    /// Letters and notices in it.
    pub letters: i64,
}

/// What a slice came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice {
    /// Users who get a mail.
    pub users: i64,
    /// Mails.
    pub mails: i64,
    /// Practices in them, over all.
    pub items: i64,
    /// Letters and notices in them, over all.
    pub letters: i64,
    /// Notifications that are in none, for a reason.
    pub left_out: i64,
}

/// Plans the next slice of a run within the caller's snapshot: who is not to be told is left out, the others' mails are
/// made. `when` says when a mail goes. `None`: there is nobody left, and the run goes on to be sent, or is done where it has
/// no mails.
///
/// # Errors
/// [`DbError::Stale`] when the run has changed since it was read; plan again from there.
pub async fn slice(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    run: &Run,
    rules: Rules,
    users: u32,
    when: impl Fn(&MailId) -> Timestamp,
) -> Result<Option<Slice>, DbError> {
    let Some(last) = slice_end(conn, run, i64::from(users)).await? else {
        end_planning(conn, stamp, run).await?;
        return Ok(None);
    };
    let folded = fold::fold(conn, stamp, run, &last).await?;
    if folded > 0 {
        tracing::info!(run = run.id.as_str(), mails = folded, "mails that did not go on their day go with later ones");
    }
    let left_out = leave_out(conn, stamp, run, rules, &last).await?;
    make_mails(conn, stamp, run, rules, &last).await?;
    let (planned, of) = planned(conn, run, &last).await?;
    let letters = fill_mails(conn, stamp, run, rules, &last).await?;
    let sum = |count: fn(&Planned) -> i64| planned.iter().map(count).sum::<i64>();
    let slice = Slice {
        users: i64::try_from(of.len()).unwrap_or(i64::MAX),
        mails: i64::try_from(planned.len()).unwrap_or(i64::MAX),
        items: sum(|mail| mail.items),
        letters: sum(|mail| mail.letters),
        left_out,
    };
    if letters != (slice.items, slice.letters) {
        // another node's statement came between ours: nothing of it stays
        return Err(DbError::Stale { what: "slice" });
    }
    put_off(conn, &planned, when).await?;
    let done = sqlx::query(
        "UPDATE digest_run SET planned_to = $1, users = users + $2, mails = mails + $3, items = items + $4,
                letters = letters + $5, left_out = left_out + $6, version = version + 1
         WHERE id = $7 AND version = $8 AND state = 'planning'",
    )
    .bind(last.as_str())
    .bind(slice.users)
    .bind(slice.mails)
    .bind(slice.items)
    .bind(slice.letters)
    .bind(slice.left_out)
    .bind(run.id.as_str())
    .bind(run.version)
    .execute(conn)
    .await?;
    exactly_one(&done, "run")?;
    Ok(Some(slice))
}

async fn end_planning(conn: &mut Conn, stamp: Stamp<'_>, run: &Run) -> Result<(), DbError> {
    let (state, ended) = if run.mails == 0 { (RunState::Done, Some(stamp.now())) } else { (RunState::Sending, None) };
    let done = sqlx::query(
        "UPDATE digest_run SET state = $1, planned_at = $2, ended_at = $3, version = version + 1
         WHERE id = $4 AND version = $5 AND state = 'planning'",
    )
    .bind(state.as_str())
    .bind(stamp.now())
    .bind(ended)
    .bind(run.id.as_str())
    .bind(run.version)
    .execute(&mut *conn)
    .await?;
    exactly_one(&done, "run")?;
    digest_runs::event(conn, stamp, (run.id.as_str(), &run.brand), state, json!({ "mails": run.mails })).await
}

/// Leaves out who is not to be told; who chose off is not served by any run, and left out by each.
async fn leave_out(conn: &mut Conn, stamp: Stamp<'_>, run: &Run, rules: Rules, last: &UserId) -> Result<i64, DbError> {
    let done = sqlx::query(concat!(
        "UPDATE notification SET state = 'left_out', reason = j.reason, decided_at = $1 FROM (",
        judged!(
            "",
            concat!(
                " WHERE n.brand = $7 AND n.state = 'waiting' AND n.user_id > $8 AND n.user_id <= $9
                  AND (COALESCE(c.cadence, $2) = 'off' OR",
                served!(),
                ")"
            )
        ),
        ") AS j WHERE j.reason IS NOT NULL
         AND notification.user_id = j.user_id AND notification.message_id = j.message_id"
    ))
    .bind(stamp.now())
    .bind(rules.starts_with.as_str())
    .bind(claims())
    .bind(precertifications())
    .bind(served_text(&run.serves))
    .bind(rules.answers_before())
    .bind(run.brand.as_str())
    .bind(run.planned_to.as_ref().map_or("", UserId::as_str))
    .bind(last.as_str())
    .execute(conn)
    .await?;
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}

/// Binds what the statements of [`make_mails`] and [`fill_mails`] have in common. Parameters: $1 now, $2 what users start
/// with, $3 the run, $4 its day, $5 and $6 as for [`served!`], $7 the brand, $8 behind and $9 up to which user.
macro_rules! bound {
    ($statement:expr, $stamp:expr, $run:expr, $rules:expr, $last:expr) => {
        sqlx::query($statement)
            .bind($stamp.now())
            .bind($rules.starts_with.as_str())
            .bind($run.id.as_str())
            .bind($run.day.to_string())
            .bind(served_text(&$run.serves))
            .bind($rules.answers_before())
            .bind($run.brand.as_str())
            .bind($run.planned_to.as_ref().map_or("", UserId::as_str))
            .bind($last.as_str())
    };
}

/// Days after which a mail that did not go is given up, and more.
const OVERDUE_DAYS: i32 = 30;

/// A mail for each user and kind of what waits. Where that of the day is there already, or one of an earlier day went on
/// this one, it goes on waiting (COR-33).
async fn make_mails(conn: &mut Conn, stamp: Stamp<'_>, run: &Run, rules: Rules, last: &UserId) -> Result<(), DbError> {
    let statement = concat!(
        "INSERT INTO digest_mail (id, run_id, brand, user_id, kind, day, state, items, letters, tries, created_at, version)
         SELECT $7 || ':' || $4 || ':' || n.user_id || ':' || n.kind, $3, $7, n.user_id, n.kind, $4, 'planned',
                COUNT(DISTINCT n.tin), COUNT(*), 0, $1, 1
         FROM notification n",
        choice!(),
        "WHERE n.brand = $7 AND n.state = 'waiting' AND n.user_id > $8 AND n.user_id <= $9 AND",
        served!(),
        "AND NOT EXISTS (SELECT 1 FROM digest_mail x WHERE x.user_id = n.user_id AND x.day >= $10 AND x.day < $4
                         AND x.brand = $7 AND x.kind = n.kind AND x.submitted_at >= $11)
         GROUP BY n.user_id, n.kind ON CONFLICT DO NOTHING"
    );
    let overdue = run.day.saturating_sub(jiff::Span::new().days(OVERDUE_DAYS));
    bound!(statement, stamp, run, rules, last)
        .bind(overdue.to_string())
        .bind(rules.day_begins.as_microsecond())
        .execute(conn)
        .await?;
    Ok(())
}

/// The mails that were made for the slice, and their users.
async fn planned(conn: &mut Conn, run: &Run, last: &UserId) -> Result<(Vec<Planned>, BTreeSet<UserId>), DbError> {
    let rows = sqlx::query(
        "SELECT id, user_id, items, letters FROM digest_mail
         WHERE brand = $1 AND day = $2 AND user_id > $3 AND user_id <= $4 AND run_id = $5",
    )
    .bind(run.brand.as_str())
    .bind(run.day.to_string())
    .bind(run.planned_to.as_ref().map_or("", UserId::as_str))
    .bind(last.as_str())
    .bind(run.id.as_str())
    .fetch_all(conn)
    .await?;
    let read = |row: &AnyRow| {
        Ok(Planned { id: parsed(row, "id")?, items: number(row, "items")?, letters: number(row, "letters")? })
    };
    let mails = rows.iter().map(read).collect::<Result<_, DbError>>()?;
    Ok((mails, rows.iter().map(|row| parsed(row, "user_id")).collect::<Result<_, _>>()?))
}

/// Writes what the slice's mails tell of, per practice, and puts the notifications into them. Answers how many of each.
async fn fill_mails(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    run: &Run,
    rules: Rules,
    last: &UserId,
) -> Result<(i64, i64), DbError> {
    let statement = concat!(
        "INSERT INTO digest_item (mail_id, tin, letters)
         SELECT d.id, n.tin, COUNT(*) + 0 * $1 FROM notification n
         JOIN digest_mail d ON d.brand = $7 AND d.day = $4 AND d.user_id = n.user_id AND d.kind = n.kind AND d.run_id = $3",
        choice!(),
        "WHERE n.brand = $7 AND n.state = 'waiting' AND n.user_id > $8 AND n.user_id <= $9 AND",
        served!(),
        "GROUP BY d.id, n.tin"
    );
    let items = bound!(statement, stamp, run, rules, last).execute(&mut *conn).await?.rows_affected();
    // a term in the place of the user's id: else PostgreSQL looks each notification up by the mail's user alone, and goes
    // through all notifications of a user for each of them
    let statement = concat!(
        "UPDATE notification SET state = 'mailed', mail_id = j.mail_id, decided_at = $1 FROM (
            SELECT n.user_id || '' AS user_id, n.message_id, d.id AS mail_id FROM notification n
            JOIN digest_mail d ON d.brand = $7 AND d.day = $4 AND d.user_id = n.user_id AND d.kind = n.kind AND d.run_id = $3",
        choice!(),
        "WHERE n.brand = $7 AND n.state = 'waiting' AND n.user_id > $8 AND n.user_id <= $9 AND",
        served!(),
        ") AS j WHERE notification.user_id = j.user_id AND notification.message_id = j.message_id"
    );
    let letters = bound!(statement, stamp, run, rules, last).execute(conn).await?.rows_affected();
    Ok((i64::try_from(items).unwrap_or(i64::MAX), i64::try_from(letters).unwrap_or(i64::MAX)))
}

/// Writes when each mail goes.
async fn put_off(conn: &mut Conn, mails: &[Planned], when: impl Fn(&MailId) -> Timestamp) -> Result<(), DbError> {
    for part in mails.chunks(ROWS) {
        let statement = format!(
            "UPDATE digest_mail SET next_at = v.column2 FROM (VALUES {}) AS v WHERE digest_mail.id = v.column1",
            places(part.len(), 1, "($, $)")
        );
        // the text holds places for values, and no value
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for mail in part {
            query = query.bind(mail.id.as_str()).bind(when(&mail.id).as_microsecond());
        }
        let done = query.execute(&mut *conn).await?;
        if done.rows_affected() != part.len() as u64 {
            return Err(DbError::Stale { what: "mail" });
        }
    }
    Ok(())
}

/// So many copies of `form`, joined by commas; each `$` of it gets the next number, from `first`.
fn places(copies: usize, first: usize, form: &str) -> String {
    let mut text = String::new();
    let mut number = first;
    for copy in 0..copies {
        if copy > 0 {
            text.push_str(", ");
        }
        for c in form.chars() {
            text.push(c);
            if c == '$' {
                text.push_str(&number.to_string());
                number += 1;
            }
        }
    }
    text
}

/// Ends the runs whose mails have all come to an end; one that is in doubt has not. Answers which.
///
/// # Errors
/// When the database fails.
pub async fn finish_runs(conn: &mut Conn, stamp: Stamp<'_>) -> Result<Vec<RunId>, DbError> {
    let rows = sqlx::query(
        "SELECT r.id, r.brand, r.mails, r.version FROM digest_run r WHERE r.state = 'sending' AND r.ended_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM digest_mail d WHERE d.run_id = r.id
                         AND d.state IN ('planned', 'claimed', 'submitting', 'retry', 'in_doubt'))
         ORDER BY r.due_at, r.id LIMIT 100",
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut ended = Vec::new();
    for row in &rows {
        let id: RunId = parsed(row, "id")?;
        let done = sqlx::query(
            "UPDATE digest_run SET state = 'done', ended_at = $1, version = version + 1
             WHERE id = $2 AND version = $3 AND state = 'sending'",
        )
        .bind(stamp.now())
        .bind(id.as_str())
        .bind(number(row, "version")?)
        .execute(&mut *conn)
        .await?;
        // who changed it meanwhile is not in our way: it is looked at again
        if done.rows_affected() == 1 {
            let (brand, mails): (Brand, _) = (parsed(row, "brand")?, number(row, "mails")?);
            let told = json!({ "mails": mails });
            digest_runs::event(conn, stamp, (id.as_str(), &brand), RunState::Done, told).await?;
            ended.push(id);
        }
    }
    Ok(ended)
}

/// The kinds whose mails are about the category that a choice is for.
pub const fn category_of(kind: DigestKind) -> LetterCategory {
    match kind {
        DigestKind::PrecertInfo | DigestKind::PrecertAction => LetterCategory::Precertification,
        DigestKind::ClaimInfo | DigestKind::ClaimAction => LetterCategory::Claim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_for_values_are_numbered_on() {
        assert_eq!(places(2, 1, "($, $)"), "($1, $2), ($3, $4)");
        assert_eq!(places(3, 5, "$"), "$5, $6, $7");
        assert_eq!(served_text(&[Cadence::Daily, Cadence::Weekly].into()), " daily weekly ");
    }
}
