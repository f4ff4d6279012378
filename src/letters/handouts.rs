//! Sheets that are handed out where they are asked for: made anew each time from our rows, kept nowhere, sent nowhere.

use jiff::Zoned;
use serde_json::json;
use thiserror::Error;

use crate::db::case_files::CaseFile;
use crate::db::letters::{Addressee, AddresseeKind};
use crate::db::submissions::Submission;
use crate::db::{DbError, Stamp, documents, events, reference};
use crate::letters::compose::{self, Order};
use crate::letters::details::claim::RequestChannel;
use crate::letters::stages::{Letters, RenderFault};
use crate::model::document::Channel;
use crate::model::event::{EventType, NewEvent};
use crate::model::letter::LetterType;
use crate::model::phi::Phi;

/// Why a sheet is not made.
#[derive(Debug, Error)]
pub enum HandoutError {
    /// Our rows lack something that stands on it.
    #[error("{0}")]
    Incomplete(String),
    /// It can't be rendered.
    #[error("the sheet can't be rendered: {0}")]
    Render(#[from] RenderFault),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Letters {
    /// The sheet to lay on what comes back on paper for a case (OPS-06), as a PDF.
    ///
    /// # Errors
    /// See [`HandoutError`].
    pub async fn cover_sheet(&self, actor: &str, case: &CaseFile, to: AddresseeKind) -> Result<Vec<u8>, HandoutError> {
        let addressee = match to {
            AddresseeKind::Tin => Addressee::Tin(case.tin.clone()),
            AddresseeKind::Member => Addressee::Member(case.member_id.clone()),
        };
        self.sheet(actor, case, order(LetterType::ReturnCoverSheet, case, &addressee, &Phi("{}".into()))).await
    }

    /// A copy of a request, as it was sent (REC-32), as a PDF.
    ///
    /// # Errors
    /// See [`HandoutError`].
    pub async fn request_copy(
        &self,
        actor: &str,
        submission: &Submission,
        case: &CaseFile,
    ) -> Result<Vec<u8>, HandoutError> {
        let sent_at = submission
            .submitted_at
            .ok_or_else(|| HandoutError::Incomplete("submitted_at is missing: the request was not sent yet".into()))?;
        let files = {
            let mut conn = self.db.read().await?;
            documents::of_submission(&mut conn, &submission.id).await?
        };
        let files: Vec<_> = files
            .iter()
            .filter(|file| file.accepted_at.is_some())
            .map(|file| {
                let name = compose::shown(file.file_name.reveal(), self.renderer.coverage());
                json!({ "name": name, "pages": file.pages, "size": file.size_bytes.map(size) })
            })
            .collect();
        let sent = self.calendar.local(sent_at);
        let details = json!({
            "submitted_on": sent.date(),
            "submitted_at": time(&sent),
            "reference_number": submission.reference,
            "channel": came(submission),
            "answers": [],
            "files": files,
        });
        let addressee = Addressee::Tin(case.tin.clone());
        let details = Phi(details.to_string());
        self.sheet(actor, case, order(LetterType::ReconsiderationCopy, case, &addressee, &details)).await
    }

    /// Makes the sheet, and writes down before it is given out that it is.
    async fn sheet(&self, actor: &str, case: &CaseFile, order: Order<'_>) -> Result<Vec<u8>, HandoutError> {
        let clock = (self.ctx.now(), self.calendar.as_ref());
        let data = {
            let mut conn = self.db.read().await?;
            compose::compose(&mut conn, order, clock, &self.renderer, &self.plan).await?
        };
        let data = data.map_err(HandoutError::Incomplete)?;
        let pdf = self.render(data, order.brand.clone()).await?.pdf;
        let stamp = Stamp { ctx: &self.ctx, actor };
        let mut tx = self.db.begin().await?;
        let tin_uid = reference::tin_uid(&mut tx, &case.tin).await?;
        let event = NewEvent {
            kind: EventType::SheetHandedOut,
            subject: case.id.as_str(),
            brand: &case.brand,
            tin_uid: tin_uid.as_deref(),
            actor,
            payload: json!({ "sheet": order.letter_type }),
        };
        events::append(&mut tx, stamp, event).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(pdf)
    }
}

fn order<'a>(
    letter_type: LetterType,
    case: &'a CaseFile,
    addressee: &'a Addressee,
    details: &'a Phi<String>,
) -> Order<'a> {
    Order {
        number: None,
        brand: &case.brand,
        letter_type,
        addressee,
        tin: Some(&case.tin),
        member_id: Some(&case.member_id),
        claim_number: case.claim_number.as_ref(),
        case_id: Some(&case.id),
        details,
        by_itself: false,
    }
}

/// How a request came, as its sender saw it: what a user sent came over the portal that speaks for them.
fn came(submission: &Submission) -> RequestChannel {
    match submission.channel {
        Channel::Upload if submission.owner.starts_with("user:") => RequestChannel::Portal,
        Channel::Upload => RequestChannel::Api,
        Channel::Scan => RequestChannel::Mail,
        Channel::Fax => RequestChannel::Fax,
        Channel::Email => RequestChannel::Email,
    }
}

/// A time of day with its zone, as people write it.
fn time(at: &Zoned) -> String {
    at.strftime("%-I:%M %p %Z").to_string()
}

/// A size as people say it.
fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}
