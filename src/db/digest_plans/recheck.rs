//! The look at a mail's notifications right before it is handed over (COR-33).

use std::collections::BTreeMap;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::{choice, claims, judged, places, precertifications};
use crate::db::{Conn, DbError, Stamp, number, opt_text, parsed};
use crate::model::digest::{Cadence, DigestKind};
use crate::model::ids::{Brand, MailId, Tin, UserId};
use crate::model::phi::Phi;

/// What is left of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rechecked {
    /// The mail.
    pub id: MailId,
    /// Its brand.
    pub brand: Brand,
    /// What it is about.
    pub kind: DigestKind,
    /// Whom it is for.
    pub user: UserId,
    /// Where it goes.
    pub address: Option<Phi<String>>,
    /// The user's name.
    pub name: Option<Phi<String>>,
    /// Practices that it tells of.
    pub items: i64,
    /// Letters and notices that it tells of.
    pub letters: i64,
    /// The practices with the most of them, as many as were asked for, each with how many.
    pub shown: Vec<(Tin, i64)>,
}

impl Rechecked {
    /// Whether nothing is left to tell.
    pub const fn is_empty(&self) -> bool {
        self.letters == 0
    }
}

/// A query whose text holds places for values, and no value.
fn query<'q>(statement: String) -> Query<'q, Any, AnyArguments> {
    sqlx::query(AssertSqlSafe(statement))
}

/// Binds the mails' ids behind what a query has already.
fn with<'q>(query: Query<'q, Any, AnyArguments>, mails: &'q [MailId]) -> Query<'q, Any, AnyArguments> {
    mails.iter().fold(query, |query, id| query.bind(id.as_str()))
}

/// Looks at the notifications of these mails once more: those whose user is not to be told any more are left out, and what
/// is left is written as what is sent. Answers the mails in the order of their ids, each with at most `shown` practices.
/// Mails that do not exist are not answered.
///
/// # Errors
/// When the database fails.
pub async fn recheck(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    starts_with: Cadence,
    mails: &[MailId],
    shown: u32,
) -> Result<Vec<Rechecked>, DbError> {
    if mails.is_empty() {
        return Ok(Vec::new());
    }
    let of = |first| places(mails.len(), first, "$");
    let judged = format!(
        "UPDATE notification SET state = 'left_out', reason = j.reason, decided_at = $1 FROM ({}{})) AS j
         WHERE j.reason IS NOT NULL
         AND notification.user_id = j.user_id AND notification.message_id = j.message_id",
        judged!("", " WHERE n.state = 'mailed' AND n.mail_id IN ("),
        of(5)
    );
    let first = query(judged).bind(stamp.now()).bind(starts_with.as_str()).bind(claims()).bind(precertifications());
    with(first, mails).execute(&mut *conn).await?;
    let items = format!(
        "UPDATE digest_item SET sent_letters = (SELECT COUNT(*) FROM notification n
            WHERE n.mail_id = digest_item.mail_id AND n.tin = digest_item.tin AND n.state = 'mailed')
         WHERE mail_id IN ({})",
        of(1)
    );
    with(query(items), mails).execute(&mut *conn).await?;
    let sums = format!(
        "UPDATE digest_mail SET
            sent_items = (SELECT COUNT(*) FROM digest_item i WHERE i.mail_id = digest_mail.id AND i.sent_letters > 0),
            sent_letters = (SELECT CAST(COALESCE(SUM(i.sent_letters), 0) AS BIGINT) FROM digest_item i
                            WHERE i.mail_id = digest_mail.id)
         WHERE id IN ({})",
        of(1)
    );
    with(query(sums), mails).execute(&mut *conn).await?;
    left(conn, mails, shown).await
}

async fn left(conn: &mut Conn, mails: &[MailId], shown: u32) -> Result<Vec<Rechecked>, DbError> {
    let statement = format!(
        "SELECT mail_id, tin, sent_letters FROM (
            SELECT i.mail_id, i.tin, i.sent_letters,
                   ROW_NUMBER() OVER (PARTITION BY i.mail_id ORDER BY i.sent_letters DESC, i.tin) AS place
            FROM digest_item i WHERE i.sent_letters > 0 AND i.mail_id IN ({})) AS placed
         WHERE place <= $1 ORDER BY mail_id, place",
        places(mails.len(), 2, "$")
    );
    let rows = with(query(statement).bind(i64::from(shown)), mails).fetch_all(&mut *conn).await?;
    let mut items: BTreeMap<MailId, Vec<(Tin, i64)>> = BTreeMap::new();
    for row in &rows {
        items.entry(parsed(row, "mail_id")?).or_default().push((parsed(row, "tin")?, number(row, "sent_letters")?));
    }
    let statement = format!(
        "SELECT d.id, d.brand, d.kind, d.user_id, d.sent_items, d.sent_letters, u.email, u.name
         FROM digest_mail d LEFT JOIN app_user u ON u.id = d.user_id WHERE d.id IN ({}) ORDER BY d.id",
        places(mails.len(), 1, "$")
    );
    let rows = with(query(statement), mails).fetch_all(conn).await?;
    let read = |row: &AnyRow| {
        let id: MailId = parsed(row, "id")?;
        let shown = items.remove(&id).unwrap_or_default();
        Ok(Rechecked {
            id,
            brand: parsed(row, "brand")?,
            kind: parsed(row, "kind")?,
            user: parsed(row, "user_id")?,
            address: opt_text(row, "email")?.map(Phi),
            name: opt_text(row, "name")?.map(Phi),
            items: number(row, "sent_items")?,
            letters: number(row, "sent_letters")?,
            shown,
        })
    };
    rows.iter().map(read).collect()
}
