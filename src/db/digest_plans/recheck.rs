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
    let Some(last) = mails.last() else { return Ok(Vec::new()) };
    // the last repeated up to a round number: so there are few texts, and their plans are kept
    let mut padded = mails.to_vec();
    padded.resize(mails.len().next_power_of_two(), last.clone());
    let of = |first| places(padded.len(), first, "$");
    let judged = format!(
        "UPDATE notification SET state = 'left_out', reason = j.reason, decided_at = $1 FROM ({}{})) AS j
         WHERE j.reason IS NOT NULL
         AND notification.user_id = j.user_id AND notification.message_id = j.message_id",
        judged!("", " WHERE n.state = 'mailed' AND n.mail_id IN ("),
        of(5)
    );
    let first = query(judged).bind(stamp.now()).bind(starts_with.as_str()).bind(claims()).bind(precertifications());
    with(first, &padded).execute(&mut *conn).await?;
    let items = format!(
        "UPDATE digest_item SET sent_letters = (SELECT COUNT(*) FROM notification n
            WHERE n.mail_id = digest_item.mail_id AND n.tin = digest_item.tin AND n.state = 'mailed')
         WHERE mail_id IN ({}) RETURNING mail_id, tin, sent_letters",
        of(1)
    );
    let rows = with(query(items), &padded).fetch_all(&mut *conn).await?;
    let mut left: BTreeMap<MailId, Vec<(Tin, i64)>> = mails.iter().map(|id| (id.clone(), Vec::new())).collect();
    for row in &rows {
        let letters = number(row, "sent_letters")?;
        if letters > 0 {
            left.entry(parsed(row, "mail_id")?).or_default().push((parsed(row, "tin")?, letters));
        }
    }
    write(conn, left, padded.len(), shown).await
}

/// Writes what is left of mails as what is sent.
async fn write(
    conn: &mut Conn,
    mut left: BTreeMap<MailId, Vec<(Tin, i64)>>,
    rows: usize,
    shown: u32,
) -> Result<Vec<Rechecked>, DbError> {
    let statement = format!(
        "UPDATE digest_mail SET sent_items = v.column2, sent_letters = v.column3 FROM (VALUES {}) AS v
         WHERE digest_mail.id = v.column1
         RETURNING id, brand, kind, user_id, sent_items, sent_letters,
             (SELECT u.email FROM app_user u WHERE u.id = digest_mail.user_id) AS email,
             (SELECT u.name FROM app_user u WHERE u.id = digest_mail.user_id) AS name",
        places(rows, 1, "($, $, $)")
    );
    let mut query = query(statement);
    for (id, practices) in &left {
        let letters: i64 = practices.iter().map(|(_, letters)| letters).sum();
        let items = i64::try_from(practices.len()).unwrap_or(i64::MAX);
        query = query.bind(id.as_str()).bind(items).bind(letters);
    }
    for _ in left.len()..rows {
        // no mail is called so
        query = query.bind("").bind(0_i64).bind(0_i64);
    }
    let rows = query.fetch_all(conn).await?;
    let read = |row: &AnyRow| {
        let id: MailId = parsed(row, "id")?;
        let mut practices = left.remove(&id).unwrap_or_default();
        practices.sort_unstable_by(|(tin, letters), (other, fewer)| fewer.cmp(letters).then_with(|| tin.cmp(other)));
        practices.truncate(usize::try_from(shown).unwrap_or(usize::MAX));
        Ok(Rechecked {
            id,
            brand: parsed(row, "brand")?,
            kind: parsed(row, "kind")?,
            user: parsed(row, "user_id")?,
            address: opt_text(row, "email")?.map(Phi),
            name: opt_text(row, "name")?.map(Phi),
            items: number(row, "sent_items")?,
            letters: number(row, "sent_letters")?,
            shown: practices,
        })
    };
    let mut found = rows.iter().map(read).collect::<Result<Vec<_>, DbError>>()?;
    found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}
