//! Mails that did not go on their day, for no relay could be had or took them: what they were to tell goes with the mail
//! of the next run, so that a user gets one of a kind a day and not all that is overdue (COR-33).

use sqlx::AssertSqlSafe;

use super::Run;
use crate::db::digest_mails::PAUSED;
use crate::db::{Conn, DbError, Stamp, parsed, places};
use crate::model::ids::{MailId, UserId};

/// How many mails a statement names.
const MAILS: usize = 200;

/// Ends the mails of earlier days that still wait, of the run's users up to `last`: their notifications wait again, and the
/// run takes them whatever cadence it serves. Mails that a node has just now stay, those of paused schedules, and those that
/// a person had sent again: they may have come, and go with the Message-ID they had. Answers how many.
///
/// # Errors
/// When the database fails.
pub(super) async fn fold(conn: &mut Conn, stamp: Stamp<'_>, run: &Run, last: &UserId) -> Result<usize, DbError> {
    let statement = format!(
        "UPDATE digest_mail SET state = 'folded', reason = NULL, next_at = NULL, ended_at = $1, sent_items = 0,
                sent_letters = 0, version = version + 1
         WHERE brand = $2 AND user_id > $3 AND user_id <= $4 AND next_at IS NOT NULL AND day < $5
         AND sent_again_at IS NULL
         AND run_id NOT IN ({PAUSED}) RETURNING id"
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(stamp.now())
        .bind(run.brand.as_str())
        .bind(run.planned_to.as_ref().map_or("", UserId::as_str))
        .bind(last.as_str())
        .bind(run.day.to_string())
        .fetch_all(&mut *conn)
        .await?;
    let mails = rows.iter().map(|row| parsed(row, "id")).collect::<Result<Vec<MailId>, DbError>>()?;
    for part in mails.chunks(MAILS) {
        let those = places(part.len(), 1, "$");
        for statement in [
            format!(
                "UPDATE digest_item SET sent_letters = 0, carried = (SELECT COUNT(*) FROM notification n
                    WHERE n.mail_id = digest_item.mail_id AND n.tin = digest_item.tin AND n.state = 'mailed')
                 WHERE mail_id IN ({those})"
            ),
            format!(
                "UPDATE notification SET state = 'waiting', mail_id = NULL, decided_at = NULL, carried = 1
                 WHERE mail_id IN ({those}) AND state = 'mailed'"
            ),
        ] {
            // the text holds places for values, and no value
            let query = sqlx::query(AssertSqlSafe(statement));
            part.iter().fold(query, |query, id| query.bind(id.as_str())).execute(&mut *conn).await?;
        }
    }
    Ok(mails.len())
}
