//! Notifications: who is to be told of which message (COR-30..33), and what became of that. Written with the message, one
//! for each user who may read it then; so nobody is told of what came before they could see it, and a digest takes what
//! stands here, not a stretch of time.

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, instant, number, opt_instant, opt_parsed, opt_text, parsed, text, users};
use crate::db::messages::NewMessage;
use crate::model::digest::{Cadence, DigestKind, LeftOut, MailState, NotificationState};
use crate::model::ids::{Brand, LetterId, MailId, MessageId, Tin, UserId};
use crate::model::letter::LetterCategory;
use crate::model::message::MessageType;
use crate::model::mode::Mode;

/// Who is told of a message: who may come in and holds the entitlement for its practice now.
macro_rules! readers {
    ($of:literal, $tin:literal, $entitled:literal) => {
        concat!(
            " FROM ",
            $of,
            "user_tin t JOIN app_user u ON u.id = t.user_id
              WHERE t.tin = ",
            $tin,
            " AND ' ' || t.entitlements || ' ' LIKE ",
            $entitled,
            " ESCAPE '!' AND u.disabled_at IS NULL AND u.roles = '' "
        )
    };
}

/// Writes a row for each of them.
macro_rules! notify {
    ($message:literal, $tin:literal, $entitled:literal, $of:literal, $which:literal) => {
        concat!(
            "INSERT INTO notification (user_id, message_id, brand, tin, category, kind, published_at, due_at, state)
             SELECT u.id, ",
            $message,
            ", 'waiting'",
            readers!($of, $tin, $entitled),
            $which,
            " ON CONFLICT DO NOTHING"
        )
    };
}

/// Writes the notifications of a message that was just published: one for each user who may come in and holds the
/// entitlement for its practice now. None for trials. Answers how many.
///
/// # Errors
/// When the database fails.
pub async fn fan_out(conn: &mut Conn, stamp: Stamp<'_>, message: &NewMessage<'_>) -> Result<u64, DbError> {
    if message.brand.mode() != Mode::Live {
        return Ok(0);
    }
    let done = sqlx::query(notify!("$1, $2, $3, $4, $5, $6, CAST($7 AS BIGINT)", "$3", "$8", "", ""))
        .bind(message.id.as_str())
        .bind(message.brand.as_str())
        .bind(message.tin.as_str())
        .bind(message.category.as_str())
        .bind(DigestKind::of(message.category, message.needs_answer).as_str())
        .bind(stamp.now())
        .bind(message.due_at.map(Timestamp::as_microsecond))
        .bind(users::entitled(message.category.entitlement()))
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE message SET notified = $1 WHERE id = $2")
        .bind(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
        .bind(message.id.as_str())
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// The same for all messages whose ids are from the first up to before the second, at once: for made ones.
///
/// # Errors
/// When the database fails.
pub async fn fan_out_between(conn: &mut Conn, from: &str, to: &str) -> Result<u64, DbError> {
    let (claims, precertifications) = (LetterCategory::Claim, LetterCategory::Precertification);
    let (claims, precertifications) = (claims.entitlement(), precertifications.entitlement());
    // in this order: SQLite takes joins so
    let notify = notify!(
        "m.id, m.brand, m.tin, m.category,
         CASE WHEN m.category = 'precertification' THEN 'precert' ELSE 'claim' END
             || CASE WHEN m.action_required_at IS NULL THEN '_info' ELSE '_action' END, m.published_at, m.due_at",
        "m.tin",
        "CASE WHEN m.category = 'precertification' THEN $4 ELSE $3 END",
        "message m CROSS JOIN ",
        "AND m.id >= $1 AND m.id < $2 AND m.mode = 'live'"
    );
    let count = concat!(
        "UPDATE message SET notified = told.n FROM (SELECT m.id, COUNT(*) AS n",
        readers!("message m CROSS JOIN ", "m.tin", "CASE WHEN m.category = 'precertification' THEN $4 ELSE $3 END"),
        "AND m.id >= $1 AND m.id < $2 AND m.mode = 'live' GROUP BY m.id) AS told WHERE message.id = told.id"
    );
    let mut told = 0;
    for (statement, counts) in [(notify, true), (count, false)] {
        let query = sqlx::query(statement).bind(from).bind(to);
        let query = query.bind(users::entitled(claims)).bind(users::entitled(precertifications));
        let done = query.execute(&mut *conn).await?;
        told += if counts { done.rows_affected() } else { 0 };
    }
    Ok(told)
}

/// The mail that a notification is in, or was taken out of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InMail {
    /// The mail.
    pub id: MailId,
    /// Where it stands.
    pub state: MailState,
    /// Why: a code of ours, or the relay's reply code.
    pub reason: Option<String>,
    /// The cadence of the run that made it.
    pub cadence: Option<Cadence>,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// When it was handed over last.
    pub submitted_at: Option<Timestamp>,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
}

/// A notification as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its message.
    pub message_id: MessageId,
    /// The message's brand.
    pub brand: Brand,
    /// The practice.
    pub tin: Tin,
    /// The message's category.
    pub category: LetterCategory,
    /// What the mail would be about.
    pub kind: DigestKind,
    /// When the message came.
    pub published_at: Timestamp,
    /// By when an answer is wanted.
    pub due_at: Option<Timestamp>,
    /// Where it stands.
    pub state: NotificationState,
    /// Why the user is not told.
    pub reason: Option<LeftOut>,
    /// When that was decided.
    pub decided_at: Option<Timestamp>,
    /// The mail.
    pub mail: Option<InMail>,
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($columns:literal, $tail:literal) => {
        concat!(
            "SELECT n.message_id, n.brand, n.tin, n.category, n.kind, n.published_at, n.due_at, n.state, n.reason,
                    n.decided_at, n.mail_id, d.state AS mail_state, d.reason AS mail_reason, d.next_at, d.submitted_at,
                    d.ended_at, r.cadence",
            $columns,
            " FROM notification n LEFT JOIN digest_mail d ON d.id = n.mail_id LEFT JOIN digest_run r ON r.id = d.run_id ",
            $tail
        )
    };
}

fn read(row: &AnyRow) -> Result<Notification, DbError> {
    let mail = match opt_parsed::<MailId>(row, "mail_id")? {
        None => None,
        Some(id) => Some(InMail {
            id,
            state: parsed(row, "mail_state")?,
            reason: opt_text(row, "mail_reason")?,
            cadence: opt_parsed(row, "cadence")?,
            next_at: opt_instant(row, "next_at")?,
            submitted_at: opt_instant(row, "submitted_at")?,
            ended_at: opt_instant(row, "ended_at")?,
        }),
    };
    Ok(Notification {
        message_id: parsed(row, "message_id")?,
        brand: parsed(row, "brand")?,
        tin: parsed(row, "tin")?,
        category: parsed(row, "category")?,
        kind: parsed(row, "kind")?,
        published_at: instant(row, "published_at")?,
        due_at: opt_instant(row, "due_at")?,
        state: parsed(row, "state")?,
        reason: opt_parsed(row, "reason")?,
        decided_at: opt_instant(row, "decided_at")?,
        mail,
    })
}

/// A user's notification of a message.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, user: &UserId, message: &MessageId) -> Result<Option<Notification>, DbError> {
    let row = sqlx::query(select!("", "WHERE n.user_id = $1 AND n.message_id = $2"))
        .bind(user.as_str())
        .bind(message.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The message of a letter, if it came to the Messaging Center, and whether it is a trial.
///
/// # Errors
/// When the database fails.
pub async fn message_of(conn: &mut Conn, letter: &LetterId) -> Result<Option<(MessageId, Mode)>, DbError> {
    let row = sqlx::query("SELECT id, mode FROM message WHERE letter_id = $1")
        .bind(letter.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((parsed(&row, "id")?, parsed(&row, "mode")?))).transpose()
}

/// A notification in a user's feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fed {
    /// The notification.
    pub notification: Notification,
    /// What the message is.
    pub what: MessageType,
    /// The letter.
    pub letter_id: Option<LetterId>,
    /// When the user read it.
    pub read_at: Option<Timestamp>,
}

/// A part of a user's feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Newest first.
    pub items: Vec<Fed>,
    /// Behind which it goes on.
    pub next: Option<(i64, MessageId)>,
}

/// What a user was or is to be told of, newest first, behind `before`, as far as the user may see it now. Of `limit`
/// notifications looked at, those are left out that the user may not see any more or has deleted; so a part can be shorter.
///
/// # Errors
/// When the database fails.
pub async fn feed(
    conn: &mut Conn,
    user: &UserId,
    now: Timestamp,
    before: Option<(i64, &MessageId)>,
    limit: i64,
) -> Result<Feed, DbError> {
    let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (at, id.as_str()));
    let rows = sqlx::query(select!(
        ", m.type, m.letter_id, k.read_at,
         CASE WHEN k.deleted_at IS NULL AND m.offline_at IS NULL AND m.online_until > $5
                   AND ' ' || t.entitlements || ' ' LIKE CASE WHEN n.category = 'precertification' THEN $7 ELSE $6 END ESCAPE '!'
              THEN 'yes' ELSE 'no' END AS shows",
        "JOIN message m ON m.id = n.message_id
         LEFT JOIN message_mark k ON k.user_id = n.user_id AND k.message_id = n.message_id
         LEFT JOIN user_tin t ON t.user_id = n.user_id AND t.tin = n.tin
         WHERE n.user_id = $1 AND (n.published_at, n.message_id) < ($2, $3)
         ORDER BY n.published_at DESC, n.message_id DESC LIMIT $4"
    ))
    .bind(user.as_str())
    .bind(at)
    .bind(id)
    .bind(limit)
    .bind(now.as_microsecond())
    .bind(users::entitled(LetterCategory::Claim.entitlement()))
    .bind(users::entitled(LetterCategory::Precertification.entitlement()))
    .fetch_all(conn)
    .await?;
    let next = match rows.last() {
        Some(last) if rows.len() as i64 == limit => Some((number(last, "published_at")?, parsed(last, "message_id")?)),
        _ => None,
    };
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        if text(row, "shows")? == "yes" {
            items.push(Fed {
                notification: read(row)?,
                what: parsed(row, "type")?,
                letter_id: opt_parsed(row, "letter_id")?,
                read_at: opt_instant(row, "read_at")?,
            });
        }
    }
    Ok(Feed { items, next })
}
