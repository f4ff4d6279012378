//! The look at a mail's notifications right before it is handed over (COR-33).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Statement, choice, claims, judged, precertifications, query};
use crate::db::{Conn, DbError, Stamp, number, padded, parsed, places};
use crate::model::digest::Cadence;
use crate::model::ids::{MailId, Tin};

/// Binds the mails' ids behind what a query has already.
fn with<'q>(query: Statement<'q>, mails: &'q [MailId]) -> Statement<'q> {
    mails.iter().fold(query, |query, id| query.bind(id.as_str()))
}

/// What a look at a mail found. Nothing is written yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// Practices that it tells of, each with how many letters and notices.
    pub practices: BTreeMap<Tin, i64>,
    /// Of how many letters and notices its user is not to be told any more.
    pub left_out: i64,
}

impl Look {
    /// How many practices, and how many letters and notices of all of them.
    pub fn counts(&self) -> (i64, i64) {
        (i64::try_from(self.practices.len()).unwrap_or(i64::MAX), self.practices.values().sum())
    }

    /// The practices with the most letters, at most `shown`.
    pub fn most(self, shown: u32) -> Vec<(Tin, i64)> {
        let mut practices: Vec<(Tin, i64)> = self.practices.into_iter().collect();
        practices.sort_by_key(|(_, letters)| Reverse(*letters));
        practices.truncate(usize::try_from(shown).unwrap_or(usize::MAX));
        practices
    }
}

/// Looks at the notifications of these mails once more.
///
/// # Errors
/// When the database fails.
pub async fn look(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    starts_with: Cadence,
    mails: &[MailId],
) -> Result<BTreeMap<MailId, Look>, DbError> {
    let mut found: BTreeMap<MailId, Look> = mails.iter().map(|id| (id.clone(), Look::default())).collect();
    let mails = padded(mails);
    let statement = format!(
        "SELECT mail_id, tin, SUM(CASE WHEN reason IS NULL THEN 1 ELSE 0 END) AS told, COUNT(reason) AS left_out
         FROM ({}{})) AS j GROUP BY mail_id, tin",
        judged!(", n.mail_id", " WHERE n.state = 'mailed' AND n.mail_id IN ("),
        places(mails.len(), 5, "$")
    );
    for row in with(judging(statement, stamp, starts_with), &mails).fetch_all(conn).await? {
        let look = found.entry(parsed(&row, "mail_id")?).or_default();
        let told = number(&row, "told")?;
        if told > 0 {
            look.practices.insert(parsed(&row, "tin")?, told);
        }
        look.left_out += number(&row, "left_out")?;
    }
    Ok(found)
}

/// Leaves out of these mails what their users are not to be told any more, and writes what is left as what is sent. Answers
/// what that is.
///
/// # Errors
/// When the database fails.
pub async fn leave_out(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    starts_with: Cadence,
    mails: &[MailId],
) -> Result<BTreeMap<MailId, Look>, DbError> {
    let mut left: BTreeMap<MailId, Look> = mails.iter().map(|id| (id.clone(), Look::default())).collect();
    let mails = padded(mails);
    let of = |first| places(mails.len(), first, "$");
    let judged = format!(
        "UPDATE notification SET state = 'left_out', reason = j.reason, decided_at = $1 FROM ({}{})) AS j
         WHERE j.reason IS NOT NULL
         AND notification.user_id = j.user_id AND notification.message_id = j.message_id",
        judged!("", " WHERE n.state = 'mailed' AND n.mail_id IN ("),
        of(5)
    );
    with(judging(judged, stamp, starts_with), &mails).execute(&mut *conn).await?;
    let items = format!(
        "UPDATE digest_item SET sent_letters = (SELECT COUNT(*) FROM notification n
            WHERE n.mail_id = digest_item.mail_id AND n.tin = digest_item.tin AND n.state = 'mailed')
         WHERE mail_id IN ({}) RETURNING mail_id, tin, sent_letters",
        of(1)
    );
    for row in with(query(items), &mails).fetch_all(&mut *conn).await? {
        let letters = number(&row, "sent_letters")?;
        if letters > 0 {
            left.entry(parsed(&row, "mail_id")?).or_default().practices.insert(parsed(&row, "tin")?, letters);
        }
    }
    for (id, look) in &left {
        let (items, letters) = look.counts();
        sqlx::query("UPDATE digest_mail SET sent_items = $1, sent_letters = $2 WHERE id = $3")
            .bind(items)
            .bind(letters)
            .bind(id.as_str())
            .execute(&mut *conn)
            .await?;
    }
    Ok(left)
}

/// Binds the parameters of [`judged!`].
fn judging<'q>(statement: String, stamp: Stamp<'_>, starts_with: Cadence) -> Statement<'q> {
    query(statement).bind(stamp.now()).bind(starts_with.as_str()).bind(claims()).bind(precertifications())
}
