//! Messages of the Messaging Center (COR-20..26): one row for all users of a practice, beside it what each user did to
//! it. Lists and counts are in [`lists`].

pub mod lists;

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Conn, DbError, Stamp, instant, opt_instant, opt_parsed, opt_text, parsed, text};
use crate::db::{notifications, search};
use crate::model::ids::{
    Brand, CaseId, CaseNumber, ClaimNumber, LetterId, LetterNumber, MemberId, MessageId, Tin, UserId,
};
use crate::model::letter::LetterCategory;
use crate::model::message::{MessageType, words};
use crate::model::mode::Mode;
use crate::model::phi::Phi;

/// A message that comes.
#[derive(Debug, Clone)]
pub struct NewMessage<'a> {
    /// The id it is to have.
    pub id: &'a MessageId,
    /// Its brand.
    pub brand: &'a Brand,
    /// The practice it is for.
    pub tin: &'a Tin,
    /// Its category.
    pub category: LetterCategory,
    /// What it is.
    pub what: MessageType,
    /// The letter.
    pub letter_id: Option<&'a LetterId>,
    /// The case it is about.
    pub case_id: Option<&'a CaseId>,
    /// The claim it is about.
    pub claim_number: Option<&'a ClaimNumber>,
    /// The member it is about.
    pub member_id: Option<&'a MemberId>,
    /// What a notice tells.
    pub status: Option<&'a str>,
    /// The event that a notice tells of.
    pub event_id: Option<&'a str>,
    /// Until when it is online.
    pub online_until: Timestamp,
    /// Whether it needs an answer.
    pub needs_answer: bool,
    /// By when, where that is known.
    pub due_at: Option<Timestamp>,
}

/// A message as it is stored, with what names what it is about.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its brand.
    pub brand: Brand,
    /// Real or trial.
    pub mode: Mode,
    /// The practice it is for.
    pub tin: Tin,
    /// Its category.
    pub category: LetterCategory,
    /// What it is.
    pub what: MessageType,
    /// The letter.
    pub letter_id: Option<LetterId>,
    /// The number on it.
    pub letter_number: Option<LetterNumber>,
    /// The letter that took its place (COR-16).
    pub superseded_by: Option<LetterId>,
    /// The case it is about.
    pub case_id: Option<CaseId>,
    /// Its number.
    pub case_number: Option<CaseNumber>,
    /// Whether the case holds behavioral or substance-use records (OPS-17).
    pub sensitive: bool,
    /// The claim it is about.
    pub claim_number: Option<ClaimNumber>,
    /// The member it is about.
    pub member_id: Option<MemberId>,
    /// The member's name.
    pub member_name: Option<Phi<String>>,
    /// What a notice tells.
    pub status: Option<String>,
    /// When it came.
    pub published_at: Timestamp,
    /// Until when it is online.
    pub online_until: Timestamp,
    /// When it was taken offline.
    pub offline_at: Option<Timestamp>,
    /// Since when it needs an answer.
    pub action_required_at: Option<Timestamp>,
    /// When its letter was first opened.
    pub opened_at: Option<Timestamp>,
    /// By whom.
    pub opened_by: Option<String>,
    /// When it was reported as unread.
    pub reported_at: Option<Timestamp>,
}

impl Message {
    /// Whether it can be read online (COR-23).
    pub fn is_online(&self, now: Timestamp) -> bool {
        self.offline_at.is_none() && self.online_until > now
    }
}

/// Writes a message with the notifications of those who may read it, and makes it findable. False when it is there already: the letter's, or the event's.
///
/// # Errors
/// When the database fails.
pub async fn insert(conn: &mut Conn, stamp: Stamp<'_>, new: &NewMessage<'_>) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO message (id, brand, mode, tin, category, type, letter_id, case_id, claim_number, member_id, status,
                              event_id, published_at, online_until, action_required_at, due_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING",
    )
    .bind(new.id.as_str())
    .bind(new.brand.as_str())
    .bind(new.brand.mode().as_str())
    .bind(new.tin.as_str())
    .bind(new.category.as_str())
    .bind(new.what.as_str())
    .bind(new.letter_id.map(LetterId::as_str))
    .bind(new.case_id.map(CaseId::as_str))
    .bind(new.claim_number.map(ClaimNumber::as_str))
    .bind(new.member_id.map(MemberId::as_str))
    .bind(new.status)
    .bind(new.event_id)
    .bind(stamp.now())
    .bind(new.online_until.as_microsecond())
    .bind(new.needs_answer.then(|| stamp.now()))
    .bind(new.due_at.map(Timestamp::as_microsecond))
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    notifications::fan_out(conn, stamp, new).await?;
    if let Some(message) = get(conn, new.id).await? {
        search::put(conn, &message.id, (&message.tin, message.category), &findable(&message)).await?;
    }
    Ok(true)
}

/// The words that a message is found by: those of what a user sees of it.
fn findable(message: &Message) -> Vec<String> {
    let texts = [
        Some(message.category.as_str()),
        Some(message.what.as_str()),
        message.letter_number.as_ref().map(LetterNumber::as_str),
        message.case_number.as_ref().map(CaseNumber::as_str),
        message.claim_number.as_ref().map(ClaimNumber::as_str),
        message.member_id.as_ref().map(MemberId::as_str),
        message.member_name.as_ref().map(|name| name.reveal().as_str()),
        message.status.as_deref(),
    ];
    texts.into_iter().flatten().flat_map(words).collect()
}

/// A statement's text: the columns that [`read`] reads, and the caller's tail.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT m.id, m.brand, m.mode, m.tin, m.category, m.type, m.letter_id, l.number AS letter_number,
                    l.superseded_by, m.case_id, c.case_number, c.sensitive_since, m.claim_number, m.member_id,
                    p.first_name, p.last_name, m.status, m.published_at, m.online_until, m.offline_at,
                    m.action_required_at, m.opened_at, m.opened_by, m.reported_at
             FROM message m LEFT JOIN letter l ON l.id = m.letter_id LEFT JOIN case_file c ON c.id = m.case_id
             LEFT JOIN member p ON p.brand = m.brand AND p.member_id = m.member_id ",
            $tail
        )
    };
}

/// The message of that id.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut Conn, id: &MessageId) -> Result<Option<Message>, DbError> {
    let row = sqlx::query(select!("WHERE m.id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// What messages are about.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// A case.
    Case(&'a CaseId),
    /// A claim of a brand.
    Claim(&'a Brand, &'a ClaimNumber),
}

/// The messages about a case or a claim that are online, newest first, behind `before` (COR-22). Whatever users did to
/// them does not count.
///
/// # Errors
/// When the database fails.
pub async fn history(
    conn: &mut Conn,
    about: About<'_>,
    now: Timestamp,
    before: Option<(i64, &MessageId)>,
    limit: i64,
) -> Result<Vec<Message>, DbError> {
    let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (at, id.as_str()));
    let (statement, first, second) = match about {
        About::Case(case) => (
            select!(
                "WHERE m.case_id = $4 AND $5 = $5 AND (m.published_at, m.id) < ($1, $2)
                 AND m.offline_at IS NULL AND m.online_until > $6 ORDER BY m.published_at DESC, m.id DESC LIMIT $3"
            ),
            case.as_str(),
            "",
        ),
        About::Claim(brand, claim) => (
            select!(
                "WHERE m.brand = $4 AND m.claim_number = $5 AND (m.published_at, m.id) < ($1, $2)
                 AND m.offline_at IS NULL AND m.online_until > $6 ORDER BY m.published_at DESC, m.id DESC LIMIT $3"
            ),
            brand.as_str(),
            claim.as_str(),
        ),
    };
    let query = sqlx::query(statement).bind(at).bind(id).bind(limit).bind(first).bind(second);
    let rows = query.bind(now.as_microsecond()).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// Messages that need an answer and came before `until`, whose letter nobody opened, newest first, behind `before`
/// (COR-26).
///
/// # Errors
/// When the database fails.
pub async fn unopened(
    conn: &mut Conn,
    mode: Mode,
    until: Timestamp,
    before: Option<(i64, &MessageId)>,
    limit: i64,
) -> Result<Vec<Message>, DbError> {
    let (at, id) =
        before.map_or((until.as_microsecond(), ""), |(at, id)| (at.min(until.as_microsecond()), id.as_str()));
    let rows = sqlx::query(select!(
        "WHERE m.mode = $1 AND m.action_required_at IS NOT NULL AND m.opened_at IS NULL AND m.offline_at IS NULL
         AND (m.published_at, m.id) < ($2, $3) ORDER BY m.published_at DESC, m.id DESC LIMIT $4"
    ))
    .bind(mode.as_str())
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// The same that were not reported yet, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn unreported(conn: &mut Conn, until: Timestamp, limit: i64) -> Result<Vec<Message>, DbError> {
    let rows = sqlx::query(select!(
        "WHERE m.action_required_at IS NOT NULL AND m.opened_at IS NULL AND m.reported_at IS NULL
         AND m.offline_at IS NULL AND m.published_at < $1 ORDER BY m.published_at, m.id LIMIT $2"
    ))
    .bind(until.as_microsecond())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Marks a message as reported. False when somebody opened it or it was reported meanwhile.
///
/// # Errors
/// When the database fails.
pub async fn report(conn: &mut Conn, stamp: Stamp<'_>, id: &MessageId) -> Result<bool, DbError> {
    let done =
        sqlx::query("UPDATE message SET reported_at = $1 WHERE id = $2 AND reported_at IS NULL AND opened_at IS NULL")
            .bind(stamp.now())
            .bind(id.as_str())
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps who opened a message's letter, if nobody did before (COR-26). Answers whether it was the first time.
///
/// # Errors
/// When the database fails.
pub async fn open(conn: &mut Conn, stamp: Stamp<'_>, id: &MessageId, by: &UserId) -> Result<bool, DbError> {
    let done = sqlx::query("UPDATE message SET opened_at = $1, opened_by = $2 WHERE id = $3 AND opened_at IS NULL")
        .bind(stamp.now())
        .bind(by.as_str())
        .bind(id.as_str())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// How many messages are online whose time is over.
///
/// # Errors
/// When the database fails.
pub async fn overdue(conn: &mut Conn, now: Timestamp) -> Result<i64, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM message WHERE offline_at IS NULL AND online_until <= $1")
        .bind(now.as_microsecond())
        .fetch_one(conn)
        .await?;
    super::number(&row, "n")
}

/// Takes up to `limit` messages offline whose time is over (COR-23). Answers how many.
///
/// # Errors
/// When the database fails.
pub async fn take_offline(conn: &mut Conn, stamp: Stamp<'_>, limit: i64) -> Result<u64, DbError> {
    let rows = sqlx::query(
        "SELECT id FROM message WHERE offline_at IS NULL AND online_until <= $1 ORDER BY online_until, id LIMIT $2",
    )
    .bind(stamp.now())
    .bind(limit)
    .fetch_all(&mut *conn)
    .await?;
    for row in &rows {
        let id: MessageId = parsed(row, "id")?;
        sqlx::query("UPDATE message SET offline_at = $1 WHERE id = $2 AND offline_at IS NULL")
            .bind(stamp.now())
            .bind(id.as_str())
            .execute(&mut *conn)
            .await?;
        search::remove(conn, &id).await?;
    }
    Ok(rows.len() as u64)
}

/// What a user did to a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// When it was read.
    pub read_at: Option<Timestamp>,
    /// When it was flagged.
    pub flagged_at: Option<Timestamp>,
    /// When it was archived.
    pub archived_at: Option<Timestamp>,
    /// When it was deleted, for good.
    pub deleted_at: Option<Timestamp>,
}

/// A change of them; what is `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marking {
    /// Read or unread.
    pub read: Option<bool>,
    /// Flagged or not.
    pub flagged: Option<bool>,
    /// Archived or in the inbox.
    pub archived: Option<bool>,
    /// Deleted; there is no way back.
    pub deleted: bool,
}

/// What a user did to a message.
///
/// # Errors
/// When the database fails.
pub async fn marks(conn: &mut Conn, user: &UserId, id: &MessageId) -> Result<Marks, DbError> {
    let row = sqlx::query(
        "SELECT read_at, flagged_at, archived_at, deleted_at FROM message_mark WHERE user_id = $1 AND message_id = $2",
    )
    .bind(user.as_str())
    .bind(id.as_str())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map_or(Ok(Marks::default()), read_marks)
}

fn read_marks(row: &AnyRow) -> Result<Marks, DbError> {
    Ok(Marks {
        read_at: opt_instant(row, "read_at")?,
        flagged_at: opt_instant(row, "flagged_at")?,
        archived_at: opt_instant(row, "archived_at")?,
        deleted_at: opt_instant(row, "deleted_at")?,
    })
}

/// Marks a message for one user. What was marked before keeps its instant; what the user deleted stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn mark(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    user: &UserId,
    message: &Message,
    marking: Marking,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO message_mark (user_id, message_id, published_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(user.as_str())
    .bind(message.id.as_str())
    .bind(message.published_at.as_microsecond())
    .execute(&mut *conn)
    .await?;
    /// The statement that sets or takes a mark.
    macro_rules! set {
        ($column:literal) => {
            concat!(
                "UPDATE message_mark SET ",
                $column,
                " = CASE WHEN $3 IS NULL THEN NULL ELSE COALESCE(",
                $column,
                ", $3) END WHERE user_id = $1 AND message_id = $2 AND deleted_at IS NULL"
            )
        };
    }
    let all = [
        (set!("read_at"), marking.read),
        (set!("flagged_at"), marking.flagged),
        (set!("archived_at"), marking.archived),
        (set!("deleted_at"), marking.deleted.then_some(true)),
    ];
    for (statement, on) in all.into_iter().filter_map(|(statement, on)| Some((statement, on?))) {
        sqlx::query(statement)
            .bind(user.as_str())
            .bind(message.id.as_str())
            .bind(on.then(|| stamp.now()))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// What a user chose not to see (COR-24): a category, or a type in it.
pub type Hidden = (LetterCategory, Option<MessageType>);

/// What a user chose not to see.
///
/// # Errors
/// When the database fails.
pub async fn hidden(conn: &mut Conn, user: &UserId) -> Result<Vec<Hidden>, DbError> {
    let rows = sqlx::query("SELECT category, type FROM message_hidden WHERE user_id = $1 ORDER BY category, type")
        .bind(user.as_str())
        .fetch_all(conn)
        .await?;
    let read = |row: &AnyRow| {
        let what = text(row, "type")?;
        let what = if what.is_empty() { None } else { Some(parsed(row, "type")?) };
        Ok((parsed(row, "category")?, what))
    };
    rows.iter().map(read).collect()
}

/// Puts what a user does not want to see in the place of what it was.
///
/// # Errors
/// When the database fails.
pub async fn put_hidden(conn: &mut Conn, user: &UserId, hidden: &[Hidden]) -> Result<(), DbError> {
    sqlx::query("DELETE FROM message_hidden WHERE user_id = $1").bind(user.as_str()).execute(&mut *conn).await?;
    for (category, what) in hidden {
        sqlx::query("INSERT INTO message_hidden (user_id, category, type) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(user.as_str())
            .bind(category.as_str())
            .bind(what.map_or("", MessageType::as_str))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

fn read(row: &AnyRow) -> Result<Message, DbError> {
    let name = opt_text(row, "first_name")?.zip(opt_text(row, "last_name")?);
    Ok(Message {
        id: parsed(row, "id")?,
        brand: parsed(row, "brand")?,
        mode: parsed(row, "mode")?,
        tin: parsed(row, "tin")?,
        category: parsed(row, "category")?,
        what: parsed(row, "type")?,
        letter_id: opt_parsed(row, "letter_id")?,
        letter_number: opt_parsed(row, "letter_number")?,
        superseded_by: opt_parsed(row, "superseded_by")?,
        case_id: opt_parsed(row, "case_id")?,
        case_number: opt_parsed(row, "case_number")?,
        sensitive: opt_instant(row, "sensitive_since")?.is_some(),
        claim_number: opt_parsed(row, "claim_number")?,
        member_id: opt_parsed(row, "member_id")?,
        member_name: name.map(|(first, last)| Phi(format!("{first} {last}"))),
        status: opt_text(row, "status")?,
        published_at: instant(row, "published_at")?,
        online_until: instant(row, "online_until")?,
        offline_at: opt_instant(row, "offline_at")?,
        action_required_at: opt_instant(row, "action_required_at")?,
        opened_at: opt_instant(row, "opened_at")?,
        opened_by: opt_text(row, "opened_by")?,
        reported_at: opt_instant(row, "reported_at")?,
    })
}
