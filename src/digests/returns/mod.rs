//! Mails that come back, and complaints (COR-34). They lie in a folder, one message a file, or come by the API.
//!
//! A report is believed for the token in the Message-ID of the mail that it returns: only who has that mail can have it.
//! The token names the mail and tells whether it went to the address that its user has now; only that one is suppressed,
//! whatever addresses the report names. Anything else changes nothing and is counted.

pub mod report;

use std::time::Duration;

use serde_json::json;
use thiserror::Error;

use crate::codes;
use crate::db::suppressions::{self, NewSuppression, ReturnedMail};
use crate::db::{Conn, DbError, Stamp, events, leases};
use crate::digests::Digests;
use crate::digests::mail::Mail;
use crate::digests::returns::report::{Report, Said};
use crate::model::digest::{SuppressionReason, mail_address};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::MailId;
use crate::outside::inbox::{self, Entry, FolderOptions, Inbox, InboxError, PlaceOptions, Shelf};

/// The job's name, and who does it.
const NAME: &str = "mail-returns";
const ACTOR: &str = "system:mail-returns";
/// How long a node has the job.
const LEASE: Duration = Duration::from_secs(60);

codes! {
    /// What became of a mail that came back.
    pub enum Taken {
        /// Nothing is sent to its address any more.
        Suppressed = "suppressed",
        /// It is written down; its address may have had a bad day.
        Counted = "counted",
        /// It is written down; its user has another address by now.
        OtherAddress = "other_address",
        /// It was known, or is about a mail from before its address was lifted.
        Known = "known",
        /// It is late, was delivered, or was passed on, or is no complaint.
        Underway = "underway",
        /// It is no report: an answer, a note of absence.
        NoReport = "no_report",
        /// It is about no mail of ours, or says so without proof.
        NotOurs = "not_ours",
        /// It is too large, or could not be read.
        Unreadable = "unreadable",
    }
}

impl Taken {
    /// Whether a person should see it.
    const fn is_odd(self) -> bool {
        matches!(self, Self::NotOurs | Self::Unreadable | Self::NoReport)
    }
}

/// Why mails that came back could not be looked after.
#[derive(Debug, Error)]
pub enum ReturnsError {
    /// The folder can't be used.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What a look did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// Files that were taken.
    pub taken: u32,
    /// Of them, those after which an address is suppressed.
    pub suppressed: u32,
    /// Of them, those that lie in `problem/` now.
    pub problems: u32,
}

/// Suppresses the address that a mail went to, and tells of it. Whether it was not suppressed before.
///
/// # Errors
/// When the database fails.
pub(super) async fn suppress(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    mail: &ReturnedMail,
    new: NewSuppression<'_>,
) -> Result<bool, DbError> {
    let Some(suppression) = suppressions::insert(conn, stamp, new).await? else { return Ok(false) };
    let event = NewEvent {
        kind: EventType::MailSuppressed,
        subject: mail.user_id.as_str(),
        brand: &mail.brand,
        tin_uid: None,
        actor: stamp.actor,
        payload: json!({ "suppression": suppression, "reason": new.reason, "detail": new.detail }),
    };
    events::append(conn, stamp, event).await?;
    Ok(true)
}

impl Digests {
    /// Takes one mail that came back. Nothing of it is kept but codes.
    ///
    /// # Errors
    /// When the database fails: it can be taken again.
    pub async fn take_return(&self, bytes: Vec<u8>) -> Result<Taken, DbError> {
        let taken = self.judge_return(bytes).await?;
        metrics::counter!("lettercase_mail_returns_total", "outcome" => taken.as_str()).increment(1);
        Ok(taken)
    }

    async fn judge_return(&self, bytes: Vec<u8>) -> Result<Taken, DbError> {
        let Some(mail) = &self.mail else { return Ok(Taken::NotOurs) };
        if bytes.len() > self.plan.returns.most_bytes {
            return Ok(Taken::Unreadable);
        }
        // it takes a while for a large one, and a fault of the parser ends there
        let read = tokio::task::spawn_blocking(move || report::read(&bytes)).await;
        let Ok(read) = read else { return Ok(Taken::Unreadable) };
        let Some(report) = read else { return Ok(Taken::NoReport) };
        let ours = report.ids.iter().find_map(|id| mail.composer.returned(id).map(|mail| (id, mail)));
        let Some((message_id, id)) = ours else { return Ok(Taken::NotOurs) };
        if report.said == Said::Underway {
            return Ok(Taken::Underway);
        }
        self.write_down(mail, &report, message_id, &id).await
    }

    async fn write_down(&self, mail: &Mail, report: &Report, message_id: &str, id: &MailId) -> Result<Taken, DbError> {
        let stamp = Stamp { ctx: &self.ctx, actor: ACTOR };
        let mut tx = self.db.begin().await?;
        let Some(row) = suppressions::mail(&mut tx, id).await? else { return Ok(Taken::NotOurs) };
        let (detail, changed) = match &report.said {
            Said::Failed(status) => {
                let status = status.to_string();
                let changed = suppressions::bounced(&mut tx, stamp, id, &status).await?;
                (status, changed)
            }
            Said::Complaint(kind) => (kind.clone(), true),
            Said::Underway => return Ok(Taken::Underway),
        };
        let address = row.address.as_ref().map(|address| mail_address(address.reveal()));
        let address = address.filter(|address| mail.composer.went_to(message_id, address));
        let lifted_at = match &address {
            Some(address) => suppressions::last_lifted(&mut tx, address).await?,
            None => None,
        };
        // who lifted it knew, or mended it: what went before that must not undo it, however late it is told
        let is_old = lifted_at.is_some_and(|lifted_at| row.submitted_at.is_none_or(|at| at < lifted_at));
        let enough = match (&report.said, row.submitted_at) {
            (Said::Complaint(_), _) => true,
            (said, _) if said.is_lasting() => true,
            (_, Some(at)) => {
                let most = i64::from(self.plan.returns.soft_bounces);
                suppressions::bounced_in_a_row(&mut tx, &row.user_id, (lifted_at, at), most).await? >= most
            }
            (_, None) => false,
        };
        let taken = match (address, enough) {
            (Some(_), _) if is_old => Taken::Known,
            (Some(address), true) => {
                let complaint = matches!(report.said, Said::Complaint(_));
                let reason = if complaint { SuppressionReason::Complaint } else { SuppressionReason::Bounce };
                let new = NewSuppression { address: &address, reason, detail: Some(&detail), mail_id: Some(id) };
                let is_new = suppress(&mut tx, stamp, &row, new).await?;
                if is_new { Taken::Suppressed } else { Taken::Known }
            }
            (None, _) if changed => Taken::OtherAddress,
            (Some(_), false) if changed => Taken::Counted,
            _ => Taken::Known,
        };
        tx.commit().await.map_err(DbError::from)?;
        Ok(taken)
    }

    /// Looks into the folder, if this node has the job: takes what is whole there, and puts it away. A crash between the
    /// two takes it again, which changes nothing.
    ///
    /// # Errors
    /// When the folder or the database fails.
    pub async fn look_at_returns(&self, node: &str) -> Result<Looked, ReturnsError> {
        let mut looked = Looked::default();
        let folder = self.mail.as_ref().and_then(|mail| mail.returns.clone());
        let Some(folder) = folder else { return Ok(looked) };
        if !self.has_the_job(node).await? {
            return Ok(looked);
        }
        let place = PlaceOptions::Folder(FolderOptions { path: folder.as_ref().clone() });
        let inbox = inbox::open(&place).await?;
        let listing = inbox.list(self.plan.returns.batch.into()).await?;
        for entry in &listing.entries {
            if self.is_whole(entry) {
                self.take_file(inbox.as_ref(), entry, &mut looked).await?;
            }
        }
        Ok(looked)
    }

    async fn has_the_job(&self, node: &str) -> Result<bool, DbError> {
        let stamp = Stamp { ctx: &self.ctx, actor: ACTOR };
        let mut tx = self.db.begin().await?;
        let ours = leases::take(&mut tx, stamp, NAME, node, stamp.after(LEASE)).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(ours)
    }

    /// A file that nobody has written to for a while.
    fn is_whole(&self, entry: &Entry) -> bool {
        let settle = i64::from(self.plan.returns.settle_s);
        entry.modified_at.is_none_or(|at| self.ctx.now().duration_since(at).as_secs() >= settle)
    }

    async fn take_file(&self, inbox: &dyn Inbox, entry: &Entry, looked: &mut Looked) -> Result<(), ReturnsError> {
        let taken = match inbox::read_small(inbox, entry, self.plan.returns.most_bytes).await {
            Ok(bytes) => self.take_return(bytes).await?,
            // the next look finds it as it is then
            Err(InboxError::Changed) => return Ok(()),
            Err(InboxError::TooLarge { .. } | InboxError::Unreadable { .. }) => Taken::Unreadable,
            Err(error) => return Err(error.into()),
        };
        let id = self.ctx.new_id();
        let shelf = if taken.is_odd() { Shelf::Problem } else { Shelf::Done };
        inbox.put_away(entry, shelf, &id).await?;
        looked.taken += 1;
        looked.suppressed += u32::from(taken == Taken::Suppressed);
        if taken.is_odd() {
            looked.problems += 1;
            inbox.write_reason(&id, &format!("{taken}\n")).await?;
        }
        Ok(())
    }
}
