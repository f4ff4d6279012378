//! From notifications to mails, a slice of users at a time (COR-30..33). Each statement deals with the whole slice, so that
//! no notification travels to the program; all of one slice are one transaction in which all statements see the same rows
//! ([`super::Db::begin_snapshot`]). Who is left out and why is said in one place, [`judged!`], for planning, for the look
//! right before sending and for dry runs.

pub mod dry;
mod fold;
pub mod recheck;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::{
    Conn, DbError, Stamp, code_set, exactly_one, instant, number, opt_parsed, opt_text, parsed, places, users,
};
use crate::db::digest_runs;
use crate::model::digest::{Cadence, DigestKind, RunState};
use crate::model::ids::{Brand, MailId, RunId, Tin, UserId};
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
    ($more:expr, $tail:expr) => {
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

/// What becomes of the notification `n` where it is not left out: it waits on where the user's mail of that kind and day is
/// there already, or one of an earlier day went on this one or is about to, for a person had it sent again (COR-33). Parameters: $7 the brand, $8 the day, $10 the oldest
/// day whose mails may still go, $11 when the day begins.
macro_rules! fate {
    () => {
        ", CASE WHEN EXISTS (SELECT 1 FROM digest_mail x WHERE x.user_id = n.user_id AND x.day >= $10 AND x.day <= $8
                             AND x.brand = $7 AND x.kind = n.kind AND (x.day = $8 OR x.submitted_at >= $11
                                  OR (x.sent_again_at IS NOT NULL AND x.state IN ('planned', 'claimed', 'retry'))))
                THEN 'waits' ELSE 'mail' END AS fate"
    };
}

/// Which notifications `n` with the choices `c` a run meets: also those of users who chose off, for no run serves them, and
/// each leaves them out. Parameters: those of [`judged!`], [`served!`] and [`fate!`], and $9 behind which user.
macro_rules! met {
    () => {
        concat!(
            " WHERE n.brand = $7 AND n.state = 'waiting' AND n.user_id > $9 AND (COALESCE(c.cadence, $2) = 'off' OR",
            served!(),
            ")"
        )
    };
}
pub(crate) use {choice, fate, judged, met, served};

/// How many rows a statement writes that holds their values.
const ROWS: usize = 200;
/// Days after which a mail that did not go is given up, and more.
const OVERDUE_DAYS: i32 = 30;

type Statement<'q> = Query<'q, Any, AnyArguments>;

/// A query whose text holds places for values, and no value.
fn query<'q>(statement: String) -> Statement<'q> {
    sqlx::query(AssertSqlSafe(statement))
}

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

/// What a run meets.
#[derive(Debug, Clone)]
pub struct Meets<'a> {
    /// Its brand.
    pub brand: &'a Brand,
    /// Whose choices it serves.
    pub serves: &'a BTreeSet<Cadence>,
    /// The local day that its mails are of.
    pub day: Date,
    /// What it is planned by.
    pub rules: Rules,
    /// When.
    pub now: Timestamp,
}

impl Meets<'_> {
    /// Binds the parameters of [`met!`], $1 to $11, for users behind `after`.
    fn bind<'q>(&self, query: Statement<'q>, after: Option<&UserId>) -> Statement<'q> {
        let overdue = self.day.saturating_sub(jiff::Span::new().days(OVERDUE_DAYS));
        query
            .bind(self.now.as_microsecond())
            .bind(self.rules.starts_with.as_str())
            .bind(claims())
            .bind(precertifications())
            .bind(served_text(self.serves))
            .bind(self.rules.answers_before())
            .bind(self.brand.as_str().to_owned())
            .bind(self.day.to_string())
            .bind(after.map_or("", UserId::as_str).to_owned())
            .bind(overdue.to_string())
            .bind(self.rules.day_begins.as_microsecond())
    }
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
    let (mails, left_out) = decide(conn, stamp, run, rules, &last).await?;
    make_mails(conn, stamp, run, &mails, when).await?;
    fill_mails(conn, &mails).await?;
    let users: BTreeSet<&UserId> = mails.values().map(|mail| &mail.user).collect();
    let slice = Slice {
        users: i64::try_from(users.len()).unwrap_or(i64::MAX),
        mails: i64::try_from(mails.len()).unwrap_or(i64::MAX),
        items: mails.values().map(Mail::items).sum(),
        letters: mails.values().map(Mail::letters).sum(),
        left_out,
    };
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

/// A mail that a slice makes.
struct Mail {
    user: UserId,
    kind: DigestKind,
    /// Letters and notices of each practice.
    practices: BTreeMap<Tin, i64>,
}

impl Mail {
    fn items(&self) -> i64 {
        i64::try_from(self.practices.len()).unwrap_or(i64::MAX)
    }

    fn letters(&self) -> i64 {
        self.practices.values().sum()
    }
}

/// Decides on what the run meets of a slice of users: what is not to be told is left out, the rest is put into the mails
/// that are to be made of it. What waits for a mail of the day goes on waiting. Answers the mails, and how many
/// notifications were left out.
async fn decide(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    run: &Run,
    rules: Rules,
    last: &UserId,
) -> Result<(BTreeMap<MailId, Mail>, i64), DbError> {
    // a term in the place of the user's id: else PostgreSQL looks each notification up by the user alone, and goes through
    // all notifications of a user for each of them
    let statement = concat!(
        "UPDATE notification SET state = CASE WHEN j.why IS NULL THEN 'mailed' ELSE 'left_out' END, reason = j.why,
             decided_at = $1,
             mail_id = CASE WHEN j.why IS NULL THEN $7 || ':' || $8 || ':' || j.of_user || ':' || j.of_kind END
         FROM (SELECT q.user_id || '' AS of_user, q.message_id AS of_message, q.kind AS of_kind, q.reason AS why, q.fate
               FROM (",
        judged!(fate!(), concat!(met!(), " AND n.user_id <= $12")),
        ") AS q) AS j
         WHERE (j.why IS NOT NULL OR j.fate = 'mail')
         AND notification.user_id = j.of_user AND notification.message_id = j.of_message
         RETURNING user_id, kind, tin, reason, mail_id"
    );
    let meets = Meets { brand: &run.brand, serves: &run.serves, day: run.day, rules, now: stamp.ctx.now() };
    let query = meets.bind(sqlx::query(statement), run.planned_to.as_ref()).bind(last.as_str());
    let rows = query.fetch_all(conn).await?;
    let mut mails: BTreeMap<MailId, Mail> = BTreeMap::new();
    let mut left_out = 0;
    for row in &rows {
        let Some(id) = opt_parsed(row, "mail_id")? else {
            left_out += 1;
            continue;
        };
        let mail = match mails.entry(id) {
            Entry::Occupied(mail) => mail.into_mut(),
            Entry::Vacant(place) => place.insert(Mail {
                user: parsed(row, "user_id")?,
                kind: parsed(row, "kind")?,
                practices: BTreeMap::new(),
            }),
        };
        *mail.practices.entry(parsed(row, "tin")?).or_default() += 1;
    }
    Ok((mails, left_out))
}

/// Writes the mails, and when each goes.
async fn make_mails(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    run: &Run,
    mails: &BTreeMap<MailId, Mail>,
    when: impl Fn(&MailId) -> Timestamp,
) -> Result<(), DbError> {
    let all: Vec<(&MailId, &Mail)> = mails.iter().collect();
    let day = run.day.to_string();
    for part in all.chunks(ROWS) {
        let statement = format!(
            "INSERT INTO digest_mail (id, run_id, brand, user_id, kind, day, state, items, letters, tries, next_at,
                 created_at, version)
             SELECT v.column1, $1, $2, v.column2, v.column3, $3, 'planned', v.column4, v.column5, 0, v.column6, $4, 1
             FROM (VALUES {}) AS v WHERE TRUE ON CONFLICT DO NOTHING",
            places(part.len(), 5, "($, $, $, $, $, $)")
        );
        let mut query =
            query(statement).bind(run.id.as_str()).bind(run.brand.as_str()).bind(day.as_str()).bind(stamp.now());
        for (id, mail) in part {
            query = query.bind(id.as_str()).bind(mail.user.as_str()).bind(mail.kind.as_str());
            query = query.bind(mail.items()).bind(mail.letters()).bind(when(id).as_microsecond());
        }
        let done = query.execute(&mut *conn).await?;
        if done.rows_affected() != part.len() as u64 {
            // another node's statement came between ours: nothing of it stays
            return Err(DbError::Stale { what: "mail" });
        }
    }
    Ok(())
}

/// Writes what the mails tell of, per practice.
async fn fill_mails(conn: &mut Conn, mails: &BTreeMap<MailId, Mail>) -> Result<(), DbError> {
    let items: Vec<(&MailId, &Tin, i64)> =
        mails.iter().flat_map(|(id, mail)| mail.practices.iter().map(move |(tin, n)| (id, tin, *n))).collect();
    for part in items.chunks(ROWS) {
        let statement =
            format!("INSERT INTO digest_item (mail_id, tin, letters) VALUES {}", places(part.len(), 1, "($, $, $)"));
        let mut query = query(statement);
        for (id, tin, letters) in part {
            query = query.bind(id.as_str()).bind(tin.as_str()).bind(*letters);
        }
        query.execute(&mut *conn).await?;
    }
    Ok(())
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
    fn cadences_are_told_apart_by_blanks() {
        assert_eq!(served_text(&[Cadence::Daily, Cadence::Weekly].into()), " daily weekly ");
    }
}
