//! Mails of digests on their way to a relay: who has one, and what became of it.
//!
//! Each step is fenced. A mail that was taken is known by its version, which every change moves on; one whose text was
//! let go is known by the instant of that, so that a relay's late answer still finds it, in doubt or not.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::outgoing::MAILS_HELD;
use super::{Conn, Db, DbError, Flavor, Stamp, number, opt_instant, opt_text, padded, parsed, places, text};
use crate::model::digest::{DigestKind, MailState};
use crate::model::ids::{Brand, MailId, RunId, UserId};
use crate::model::phi::Phi;

/// A mail that this node has taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The mail.
    pub id: MailId,
    /// Whose it is.
    pub brand: Brand,
    /// Where it went when it was taken; it is looked at again before it goes.
    pub address: Option<Phi<String>>,
    /// Which try this is, from 1.
    pub tries: i64,
    /// What it is known by as long as its text was not let go.
    pub version: i64,
}

/// The runs whose mails wait, for their schedule is paused. An extra run does not wait: a person asked for it.
pub(super) const PAUSED: &str = "SELECT r.id FROM digest_run r JOIN schedule s ON s.id = r.schedule_id
    WHERE r.ended_at IS NULL AND s.paused_at IS NOT NULL AND r.asked_by = 'scheduler'";

/// Takes up to `limit` mails of these brands whose time has come, until the lease ends. Those of a paused schedule stay,
/// and all while mails are held back.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    db: &Db,
    stamp: Stamp<'_>,
    brands: &[Brand],
    (token, until): (&str, i64),
    limit: i64,
) -> Result<Vec<Taken>, DbError> {
    let statement = claiming(db.flavor(), brands.len());
    let mut tx = db.begin().await?;
    let mut query = sqlx::query(AssertSqlSafe(statement)).bind(token).bind(until).bind(stamp.now()).bind(limit);
    for brand in brands {
        query = query.bind(brand.as_str());
    }
    let rows = query.fetch_all(&mut *tx).await?;
    tx.commit().await?;
    let read = |row: &AnyRow| {
        Ok(Taken {
            id: parsed(row, "id")?,
            brand: parsed(row, "brand")?,
            address: opt_text(row, "email")?.filter(|email| !email.is_empty()).map(Phi),
            tries: number(row, "tries")?,
            version: number(row, "version")?,
        })
    };
    rows.iter().map(read).collect()
}

/// The statement of [`claim`], for so many brands.
pub fn claiming(flavor: Flavor, brands: usize) -> String {
    // without its plus SQLite goes by an index of brands, and sorts all mails of one for each batch
    let (lock, brand) = match flavor {
        Flavor::Sqlite => ("", "+m.brand"),
        Flavor::Postgres => ("FOR UPDATE SKIP LOCKED", "m.brand"),
    };
    let places: Vec<String> = (5..5 + brands).map(|n| format!("${n}")).collect();
    format!(
        "WITH due AS MATERIALIZED (
             SELECT m.id FROM digest_mail m WHERE m.next_at IS NOT NULL AND m.next_at <= $3
             AND m.run_id NOT IN ({PAUSED}) AND {brand} IN ({}) AND NOT EXISTS ({MAILS_HELD})
             ORDER BY m.next_at, m.id LIMIT $4 {lock})
         UPDATE digest_mail SET state = 'claimed', lease_token = $1, lease_until = $2, next_at = NULL,
             tries = tries + 1, version = version + 1
         WHERE id IN (SELECT id FROM due)
         RETURNING id, brand, tries, version,
             (SELECT u.email FROM app_user u WHERE u.id = digest_mail.user_id) AS email",
        places.join(", ")
    )
}

/// No mail waits longer than this, in microseconds: a run spreads its mails over a day at most, and tries are closer.
const LONGEST_WAIT: i64 = 25 * 3_600 * 1_000_000;

/// Whether something is to be recovered, and whether any mail's time has come.
///
/// # Errors
/// When the database fails.
pub async fn outlook(conn: &mut Conn, now: Timestamp) -> Result<(bool, bool), DbError> {
    let statement = format!(
        "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM digest_mail WHERE lease_until IS NOT NULL AND lease_until < $1 LIMIT 1) a)
                + (SELECT COUNT(*) FROM (SELECT 1 FROM digest_mail WHERE next_at IS NOT NULL AND next_at > $2 LIMIT 1) c)
                    AS lapsed,
                (SELECT COUNT(*) FROM (SELECT 1 FROM digest_mail WHERE next_at IS NOT NULL AND next_at <= $1
                                       AND run_id NOT IN ({PAUSED}) AND NOT EXISTS ({MAILS_HELD}) LIMIT 1) b) AS due"
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(now.as_microsecond())
        .bind(now.as_microsecond().saturating_add(LONGEST_WAIT))
        .fetch_one(conn)
        .await?;
    Ok((number(&row, "lapsed")? > 0, number(&row, "due")? > 0))
}

/// A mail that is about to go.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// The mail.
    pub id: &'a MailId,
    /// What it is known by.
    pub version: i64,
    /// Over which relay.
    pub relay: &'a str,
    /// With which templates it is made.
    pub template_version: &'a str,
    /// Practices that it tells of, and letters and notices.
    pub told: (i64, i64),
}

/// A mail whose text may go.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The mail.
    pub id: MailId,
    /// Its brand.
    pub brand: Brand,
    /// What it is about.
    pub kind: DigestKind,
    /// Where it goes.
    pub address: Option<Phi<String>>,
    /// The user's name.
    pub name: Option<Phi<String>>,
}

/// Marks mails as about to go with what they tell, and begins their lease anew: what is not this node's any more is left out
/// of the answer. Their text may go once this is committed, and not before. `at`: when, in microseconds; by that they are
/// known from then on.
///
/// # Errors
/// When the database fails.
pub async fn submitting(
    conn: &mut Conn,
    at: i64,
    (token, until): (&str, i64),
    mails: &[Submission<'_>],
) -> Result<Vec<Submitted>, DbError> {
    if mails.is_empty() {
        return Ok(Vec::new());
    }
    let mails = padded(mails);
    let places = places(mails.len(), 4, "($, $, $, $, $, $)");
    // each is looked up by its id: PostgreSQL would go through all that are leased
    let statement = format!(
        "UPDATE digest_mail SET state = 'submitting', submitted_at = $1, lease_until = $3, relay = v.column3,
             template_version = v.column4, sent_items = v.column5, sent_letters = v.column6, version = version + 1
         FROM (VALUES {places}) AS v
         WHERE digest_mail.id = v.column1 AND digest_mail.version = v.column2
         AND state = 'claimed' AND lease_token = $2 AND lease_until + 0 > $1
         RETURNING id, brand, kind,
             (SELECT u.email FROM app_user u WHERE u.id = digest_mail.user_id) AS email,
             (SELECT u.name FROM app_user u WHERE u.id = digest_mail.user_id) AS name"
    );
    let mut query = sqlx::query(AssertSqlSafe(statement)).bind(at).bind(token).bind(until);
    for mail in mails {
        query = query.bind(mail.id.as_str()).bind(mail.version).bind(mail.relay).bind(mail.template_version);
        query = query.bind(mail.told.0).bind(mail.told.1);
    }
    let rows = query.fetch_all(conn).await?;
    let read = |row: &AnyRow| {
        Ok(Submitted {
            id: parsed(row, "id")?,
            brand: parsed(row, "brand")?,
            kind: parsed(row, "kind")?,
            address: opt_text(row, "email")?.map(Phi),
            name: opt_text(row, "name")?.map(Phi),
        })
    };
    rows.iter().map(read).collect()
}

/// By what a mail is known when its end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It was taken, and nothing of it was let go.
    Version(i64),
    /// Its text was let go then.
    Submitted(i64),
}

/// What became of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The mail.
    pub id: MailId,
    /// By what it is known.
    pub known: Known,
    /// Where it stands now.
    pub state: MailState,
    /// Why.
    pub reason: Option<String>,
    /// When it is tried again, in microseconds.
    pub next_at: Option<i64>,
    /// Whether the try counts: nothing was said of the mail where no relay could be had.
    pub counts: bool,
}

/// Writes down what became of mails. Those that are not this node's any more stay as they are.
///
/// # Errors
/// When the database fails.
pub async fn ended(conn: &mut Conn, stamp: Stamp<'_>, token: &str, mails: &[Ended]) -> Result<(), DbError> {
    let now = stamp.now();
    let (plain, others): (Vec<&Ended>, Vec<&Ended>) = mails.iter().partition(|mail| mail.state == MailState::Accepted);
    let known = |mail: &Ended| match mail.known {
        Known::Version(at) | Known::Submitted(at) => at,
    };
    if !plain.is_empty() {
        let plain = padded(&plain);
        let places = places(plain.len(), 3, "($, $)");
        let statement = format!(
            "UPDATE digest_mail SET state = 'accepted', reason = NULL, lease_until = NULL, ended_at = $1,
                 version = version + 1
             WHERE state IN ('submitting', 'in_doubt') AND lease_token = $2 AND (id, submitted_at) IN (VALUES {places})"
        );
        let mut query = sqlx::query(AssertSqlSafe(statement)).bind(now).bind(token);
        for mail in plain {
            query = query.bind(mail.id.as_str()).bind(known(mail));
        }
        query.execute(&mut *conn).await?;
    }
    for mail in others {
        let fence = match mail.known {
            Known::Version(_) => "state = 'claimed' AND version = $8",
            Known::Submitted(_) => "state IN ('submitting', 'in_doubt') AND submitted_at = $8",
        };
        let statement = format!(
            "UPDATE digest_mail SET state = $1, reason = $2, lease_until = NULL, next_at = $3, ended_at = $4,
                 tries = tries - $5, version = version + 1
             WHERE id = $6 AND lease_token = $7 AND {fence}"
        );
        let ends = matches!(mail.state, MailState::Rejected | MailState::Empty).then_some(now);
        sqlx::query(AssertSqlSafe(statement))
            .bind(mail.state.as_str())
            .bind(mail.reason.as_deref())
            .bind(mail.next_at)
            .bind(ends)
            .bind(i64::from(!mail.counts))
            .bind(mail.id.as_str())
            .bind(token)
            .bind(known(mail))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// How many mails a node lost when it fell silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Mails of which nothing was let go: they are taken again.
    pub planned: u64,
    /// Mails that may have gone: a person decides.
    pub in_doubt: u64,
}

/// Takes back what silent nodes had: the leases that have run out. And has mails go that are put off to a time that no mail
/// waits for.
///
/// # Errors
/// When the database fails.
pub async fn recover(conn: &mut Conn, stamp: Stamp<'_>) -> Result<Recovered, DbError> {
    let now = stamp.now();
    // what a clock that was ahead put off
    sqlx::query(
        "UPDATE digest_mail SET next_at = $1, version = version + 1 WHERE next_at IS NOT NULL AND next_at > $2",
    )
    .bind(now)
    .bind(now.saturating_add(LONGEST_WAIT))
    .execute(&mut *conn)
    .await?;
    let planned = sqlx::query(
        "UPDATE digest_mail SET state = 'planned', next_at = $1, lease_until = NULL, tries = tries - 1,
             version = version + 1
         WHERE lease_until IS NOT NULL AND lease_until < $1 AND state = 'claimed'",
    )
    .bind(now)
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let in_doubt = sqlx::query(
        "UPDATE digest_mail SET state = 'in_doubt', reason = 'silent', lease_until = NULL, version = version + 1
         WHERE lease_until IS NOT NULL AND lease_until < $1 AND state = 'submitting'",
    )
    .bind(now)
    .execute(conn)
    .await?
    .rows_affected();
    Ok(Recovered { planned, in_doubt })
}

/// A mail as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its id.
    pub id: MailId,
    /// The run that planned it.
    pub run_id: RunId,
    /// Whose it is.
    pub brand: Brand,
    /// Whom it is for.
    pub user: UserId,
    /// What it is about.
    pub kind: DigestKind,
    /// The local day.
    pub day: String,
    /// Where it stands.
    pub state: MailState,
    /// Why it is there.
    pub reason: Option<String>,
    /// Practices and letters that it was planned with.
    pub planned: (i64, i64),
    /// Practices and letters that it told of.
    pub sent: Option<(i64, i64)>,
    /// Tries.
    pub tries: i64,
    /// When it is tried.
    pub next_at: Option<Timestamp>,
    /// The relay.
    pub relay: Option<String>,
    /// When its text was let go.
    pub submitted_at: Option<Timestamp>,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// Counts its changes.
    pub version: i64,
}

const COLUMNS: &str =
    "m.id, m.run_id, m.brand, m.user_id, m.kind, m.day, m.state, m.reason, m.items, m.letters, m.sent_items,
     m.sent_letters, m.tries, m.next_at, m.relay, m.submitted_at, m.ended_at, m.version";

fn read(row: &AnyRow) -> Result<Mail, DbError> {
    let sent: Option<i64> = row.try_get("sent_items")?;
    let letters: Option<i64> = row.try_get("sent_letters")?;
    Ok(Mail {
        id: parsed(row, "id")?,
        run_id: parsed(row, "run_id")?,
        brand: parsed(row, "brand")?,
        user: parsed(row, "user_id")?,
        kind: parsed(row, "kind")?,
        day: text(row, "day")?,
        state: parsed(row, "state")?,
        reason: opt_text(row, "reason")?,
        planned: (number(row, "items")?, number(row, "letters")?),
        sent: sent.zip(letters),
        tries: number(row, "tries")?,
        next_at: opt_instant(row, "next_at")?,
        relay: opt_text(row, "relay")?,
        submitted_at: opt_instant(row, "submitted_at")?,
        ended_at: opt_instant(row, "ended_at")?,
        version: number(row, "version")?,
    })
}

/// A mail.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &MailId) -> Result<Option<Mail>, DbError> {
    let statement = format!("SELECT {COLUMNS} FROM digest_mail m WHERE m.id = $1");
    let row = sqlx::query(AssertSqlSafe(statement)).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// Which mails are listed.
#[derive(Debug, Clone)]
pub enum Which {
    /// Those in doubt, of all runs.
    InDoubt,
    /// Those of a run.
    Run(RunId),
    /// Those of a run in that state.
    RunIn(RunId, MailState),
    /// A user's.
    User(UserId),
}

/// Mails behind `after`, in the order of their ids.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut Conn, which: &Which, after: Option<&MailId>, limit: i64) -> Result<Vec<Mail>, DbError> {
    let which_ones = match which {
        Which::InDoubt => "m.state = 'in_doubt' AND $3 = $3 AND $4 = $4",
        Which::Run(_) => "m.run_id = $3 AND $4 = $4",
        Which::RunIn(..) => "m.run_id = $3 AND m.state = $4",
        Which::User(_) => "m.user_id = $3 AND $4 = $4",
    };
    let statement =
        format!("SELECT {COLUMNS} FROM digest_mail m WHERE m.id > $1 AND {which_ones} ORDER BY m.id LIMIT $2");
    let (key, state) = match which {
        Which::InDoubt => ("", ""),
        Which::Run(run) => (run.as_str(), ""),
        Which::RunIn(run, state) => (run.as_str(), state.as_str()),
        Which::User(user) => (user.as_str(), ""),
    };
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(after.map_or("", MailId::as_str))
        .bind(limit)
        .bind(key)
        .bind(state)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// Has a mail in doubt sent again, under the same Message-ID, or says that it is not to be. One that was refused can be sent
/// again, too.
///
/// # Errors
/// [`DbError::Stale`] when it is in doubt no more, or was changed since `version`.
pub async fn decide(conn: &mut Conn, stamp: Stamp<'_>, id: &MailId, version: i64, again: bool) -> Result<(), DbError> {
    let now = stamp.now();
    let (state, next_at, ended_at) =
        if again { (MailState::Planned, Some(now), None) } else { (MailState::Closed, None, Some(now)) };
    // without a token: whoever had it is not listened to any more
    let done = sqlx::query(
        "UPDATE digest_mail SET state = $1, next_at = $2, ended_at = $3, lease_token = NULL,
             sent_again_at = CASE WHEN state = 'in_doubt' THEN COALESCE($2, sent_again_at) ELSE sent_again_at END,
             tries = CASE WHEN state = 'rejected' THEN 0 ELSE tries END, version = version + 1
         WHERE id = $4 AND version = $5 AND (state = 'in_doubt' OR (state = 'rejected' AND $2 IS NOT NULL))",
    )
    .bind(state.as_str())
    .bind(next_at)
    .bind(ended_at)
    .bind(id.as_str())
    .bind(version)
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(DbError::Stale { what: "mail" }) }
}
