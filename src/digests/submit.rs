//! The last look at mails, right before their text goes (COR-33): what their users are not to be told any more is left out.

use super::Digests;
use crate::db::digest_mails::{self, Submission, Submitted};
use crate::db::digest_plans::recheck;
use crate::db::{Conn, DbError, Stamp};
use crate::model::ids::{MailId, Tin};

/// A mail that is known by this, and is to go over that relay.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The mail.
    pub id: MailId,
    /// What it is known by.
    pub version: i64,
    /// The relay.
    pub relay: String,
    /// The templates it is made with.
    pub template_version: String,
}

/// A mail whose text may go, and what it tells.
#[derive(Debug, Clone)]
pub struct Told {
    /// The mail.
    pub mail: Submitted,
    /// When it was marked, in microseconds: by that it is known.
    pub submitted_at: i64,
    /// Practices that it tells of.
    pub items: i64,
    /// Letters and notices that it tells of.
    pub letters: i64,
    /// The practices with the most of them, as many as policy shows, each with how many.
    pub shown: Vec<(Tin, i64)>,
}

impl Told {
    /// Whether nothing is left to tell.
    pub const fn is_empty(&self) -> bool {
        self.letters == 0
    }
}

impl Digests {
    /// Marks mails as about to go with what they tell then, in the caller's transaction. Those that are not of this lease
    /// any more are left out of the answer, and nothing is written of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        lease: (&str, i64),
        wanted: &[Wanted],
    ) -> Result<Vec<Told>, DbError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let starts_with = self.plan.choices.starts_with;
        let ids: Vec<MailId> = wanted.iter().map(|mail| mail.id.clone()).collect();
        let mut looks = recheck::look(conn, stamp, starts_with, &ids).await?;
        let submissions: Vec<Submission<'_>> = wanted
            .iter()
            .map(|mail| Submission {
                id: &mail.id,
                version: mail.version,
                relay: &mail.relay,
                template_version: &mail.template_version,
                told: looks.get(&mail.id).map(recheck::Look::counts).unwrap_or_default(),
            })
            .collect();
        let submitted_at = stamp.now();
        let ours = digest_mails::submitting(conn, submitted_at, lease, &submissions).await?;
        // only now, for what another node sends meanwhile is not to be changed under its hands
        let fewer = |mail: &&Submitted| looks.get(&mail.id).is_some_and(|look| look.left_out > 0);
        let shrunk: Vec<MailId> = ours.iter().filter(fewer).map(|mail| mail.id.clone()).collect();
        if !shrunk.is_empty() {
            looks.extend(recheck::leave_out(conn, stamp, starts_with, &shrunk).await?);
        }
        let told = ours.into_iter().map(|mail| {
            let look = looks.remove(&mail.id).unwrap_or_default();
            let (items, letters) = look.counts();
            Told { mail, submitted_at, items, letters, shown: look.most(self.plan.digests.tins_shown) }
        });
        Ok(told.collect())
    }
}
