//! What persons decide about mails: of one in doubt, whether it is sent again; of an address that nothing is sent to any
//! more, that mails may go there again (COR-34).

use serde_json::json;
use thiserror::Error;

use super::Digests;
use crate::db::digest_mails::{self, Mail};
use crate::db::suppressions::{self, Suppression};
use crate::db::users;
use crate::db::{Conn, DbError, Stamp, events};
use crate::engine::installation_brand;
use crate::model::digest::{MailState, mail_address};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::{MailId, UserId};

/// Why nothing was decided. The texts are for outside.
#[derive(Debug, Error)]
pub enum MailError {
    /// It is not there.
    #[error("there is no such mail")]
    NoMail,
    /// It is not in doubt.
    #[error("the mail is {0}: only one in doubt is decided on")]
    State(MailState),
    /// It has changed since the caller saw it.
    #[error("the mail has changed since it was seen")]
    Conflict,
    /// The database failed.
    #[error(transparent)]
    Db(DbError),
}

impl From<DbError> for MailError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Stale { .. } => Self::Conflict,
            error => Self::Db(error),
        }
    }
}

/// How it stands with a user's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressStanding {
    /// Whether one is known.
    pub known: bool,
    /// Why nothing is sent there: what stands against it longest.
    pub suppressed: Option<Suppression>,
}

impl Digests {
    /// Has a mail in doubt sent again, under the same Message-ID, or says that it is not to be. `seen`: the version that
    /// the caller saw.
    ///
    /// # Errors
    /// See [`MailError`].
    pub async fn decide_mail(
        &self,
        stamp: Stamp<'_>,
        id: &MailId,
        seen: Option<i64>,
        send_again: bool,
    ) -> Result<Mail, MailError> {
        let mut tx = self.db.begin().await?;
        let mail = digest_mails::get(&mut tx, id).await?.ok_or(MailError::NoMail)?;
        if seen.is_some_and(|seen| seen != mail.version) {
            return Err(MailError::Conflict);
        }
        let decidable = mail.state == MailState::InDoubt || (mail.state == MailState::Rejected && send_again);
        if !decidable {
            return Err(MailError::State(mail.state));
        }
        digest_mails::decide(&mut tx, stamp, id, mail.version, send_again).await?;
        let event = NewEvent {
            kind: EventType::MailDecided,
            subject: id.as_str(),
            brand: &mail.brand,
            tin_uid: None,
            actor: stamp.actor,
            payload: json!({ "send_again": send_again }),
        };
        events::append(&mut tx, stamp, event).await?;
        let mail = digest_mails::get(&mut tx, id).await?.ok_or(MailError::NoMail)?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(mail)
    }

    /// How it stands with a user's address. `None`: there is no such user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn address_of(&self, user: &UserId) -> Result<Option<AddressStanding>, DbError> {
        let mut conn = self.db.read().await?;
        Ok(standing(&mut conn, user).await?.map(|(known, mut all)| AddressStanding {
            known,
            suppressed: if all.is_empty() { None } else { Some(all.swap_remove(0)) },
        }))
    }

    /// Has mails go to a user's address again, from the next run on. Answers whether anything stood against it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lift_for(&self, actor: &str, user: &UserId) -> Result<bool, DbError> {
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        let all = standing(&mut tx, user).await?.map_or_else(Vec::new, |(_, all)| all);
        for one in &all {
            suppressions::lift(&mut tx, stamp, &one.id, one.version).await?;
            let event = NewEvent {
                kind: EventType::MailSuppressionLifted,
                subject: user.as_str(),
                brand: &installation_brand(),
                tin_uid: None,
                actor,
                payload: json!({ "suppression": one.id, "reason": one.reason }),
            };
            events::append(&mut tx, stamp, event).await?;
        }
        tx.commit().await.map_err(DbError::from)?;
        Ok(!all.is_empty())
    }
}

/// Whether a user has an address, and what stands against it.
async fn standing(conn: &mut Conn, user: &UserId) -> Result<Option<(bool, Vec<Suppression>)>, DbError> {
    let Some(user) = users::get(conn, user).await? else { return Ok(None) };
    let address = user.person.email.map(|email| mail_address(email.reveal())).filter(|address| !address.is_empty());
    let Some(address) = address else { return Ok(Some((false, Vec::new()))) };
    Ok(Some((true, suppressions::against(conn, &address).await?)))
}
