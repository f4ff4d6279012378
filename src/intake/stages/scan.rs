//! Stage scan: every byte is scanned before anyone else can read the file (INT-12).

use std::fs::File;

use async_trait::async_trait;

use super::{Judged, Sniffed, of_reading, settle_submission};
use crate::db::contents::{self, ContentState};
use crate::db::documents::{self, Change};
use crate::db::{Conn, DbError, Stamp, documents::Judged as Judgement};
use crate::engine::stage::{Attempt, Handover, Outcome, Stage, StageError};
use crate::intake::Intake;
use crate::intake::sniff as judge;
use crate::model::document::DocumentState;
use crate::model::judgement::{FileType, Flag, Reason, ReasonCode};
use crate::model::trial::Trial;
use crate::outside::scanner::{EngineVersion, Scanned, Verdict};

/// The stage.
pub struct Scan(pub Intake);

#[async_trait]
impl Stage for Scan {
    const NAME: &'static str = super::RESCAN;
    type In = Sniffed;
    type Product = Judgement;
    type Out = Judged;

    async fn gate(&self) -> Result<(), StageError> {
        self.0
            .scanner
            .ready(self.0.ctx.now())
            .await
            .map(|_| ())
            .map_err(|not_ready| StageError::Pause { why: not_ready.to_string() })
    }

    async fn run(&self, input: &Sniffed, attempt: Attempt) -> Result<Outcome<Judgement>, StageError> {
        let intake = &self.0;
        let version = intake
            .scanner
            .ready(intake.ctx.now())
            .await
            .map_err(|not_ready| StageError::Pause { why: not_ready.to_string() })?;
        // Of this document alone: its bytes, which are clean, may be another trial's, too.
        if Trial::of(&input.document.brand, &input.document.file_name) == Some(Trial::Virus) {
            let message = "infected because the name of this trial asks for it. Take it out, and send a clean copy";
            return Ok(Outcome::Reject(Reason::new(ReasonCode::Virus, message)));
        }
        if let Some(known) = self.known(input, &version).await? {
            return Ok(Outcome::Advance(known));
        }
        let file = intake.bytes_of(&input.document, &input.sha256, input.size_bytes).await?;
        let scanned = intake.scan_all(&file, input, version).await?;
        match scanned {
            Ok(judgement) => Ok(Outcome::Advance(judgement)),
            // That no scanner was fit to be asked is no try of this file. One that was, and did not finish, is:
            // a file that brings the scanner down each time must come to an end.
            Err(Scanned { verdict: Verdict::NotRun { why }, by: None }) => Err(StageError::Pause { why }),
            Err(Scanned { verdict: Verdict::NotRun { why }, .. }) if attempt.is_last() => {
                Ok(Outcome::Hold(could_not(&why)))
            }
            Err(Scanned { verdict: Verdict::NotRun { why }, .. }) => Err(StageError::Retry { why }),
            Err(Scanned { verdict: Verdict::Unscannable { why }, .. }) => Ok(Outcome::Hold(could_not(&why))),
            Err(_) => Err(StageError::Fail { why: "the scanner's answer makes no sense".into() }),
        }
    }

    async fn commit(
        &self,
        conn: &mut Conn,
        stamp: Stamp<'_>,
        input: &Sniffed,
        outcome: Outcome<Judgement>,
    ) -> Result<Handover, DbError> {
        let (to, reason) = match outcome {
            Outcome::Advance(judgement) => {
                documents::set_judged(conn, &input.document, &judgement).await?;
                return Ok(Handover::Next);
            }
            Outcome::Hold(reason) => (DocumentState::Held, reason),
            Outcome::Reject(reason) if reason.code == ReasonCode::Virus => (DocumentState::Quarantined, reason),
            Outcome::Reject(reason) => (DocumentState::Rejected, reason),
        };
        let due_at = match to {
            DocumentState::Held => Some(self.0.aging().held_due(conn, &input.document).await?),
            _ => None,
        };
        let change = Change { reason: Some(reason), due_at, ..Change::default() };
        documents::transition(conn, stamp, &input.document, to, change).await?;
        settle_submission(conn, stamp, &input.document).await?;
        Ok(Handover::Waits)
    }

    async fn after(&self, input: &Sniffed) {
        // a trial's bytes are in no quarantine: nothing is wrong with them
        if Trial::of(&input.document.brand, &input.document.file_name) == Some(Trial::Virus) {
            self.0.clear_incoming(&input.document).await;
        }
    }
}

impl Scan {
    /// The judgement of the same bytes by the same engine and signatures: they are not scanned twice, for
    /// faxes are sent again and corrected submissions repeat most of their files.
    async fn known(&self, input: &Sniffed, version: &EngineVersion) -> Result<Option<Judgement>, StageError> {
        let mut conn = self.0.db.read().await?;
        let content = contents::get(&mut conn, &input.document.brand, &input.sha256).await?;
        Ok(content
            .filter(|c| c.state != ContentState::Deleting && c.size_bytes == input.size_bytes)
            .map(|c| c.judged)
            .filter(|j| j.engine == version.engine && j.signatures == version.signatures))
    }
}

impl Intake {
    /// Scans a file and whatever is embedded in it. The inner error is a verdict that is no judgement.
    pub(crate) async fn scan_all(
        &self,
        file: &File,
        input: &Sniffed,
        version: EngineVersion,
    ) -> Result<Result<Judgement, Scanned>, StageError> {
        let unreadable =
            |error: std::io::Error| StageError::Retry { why: format!("can't read the file: {}", error.kind()) };
        let whole = self.scanner.scan(self.ctx.now(), file.try_clone().map_err(unreadable)?, 0, input.size_bytes).await;
        let by = whole.by.clone().unwrap_or(version);
        let mut found = match overrule(&whole.verdict, input.document.file_type) {
            Verdict::Clean => None,
            Verdict::Infected { signature } => Some(signature.clone()),
            _ => return Ok(Err(whole)),
        };
        // The scanner misses some of what is embedded; what was taken out is scanned by itself.
        if found.is_none() && input.document.flags.contains(&Flag::EmbeddedFiles) {
            for part in self.embedded_in(file, input).await? {
                let scanned =
                    self.scanner.scan(self.ctx.now(), part.0.try_clone().map_err(unreadable)?, part.1, part.2).await;
                match scanned.verdict {
                    Verdict::Clean => {}
                    Verdict::Infected { signature } => found = Some(signature),
                    _ => return Ok(Err(scanned)),
                }
            }
        }
        Ok(Ok(Judgement { signature: found, engine: by.engine, signatures: by.signatures }))
    }

    /// What is embedded in a file, as stretches (offset, length) of a scratch file.
    async fn embedded_in(&self, file: &File, input: &Sniffed) -> Result<Vec<(File, u64, u64)>, StageError> {
        let name = input.document.file_name.reveal();
        let sniffed = judge::sniff(file, input.size_bytes, name, &self.sniff_policy(&input.document), &self.extract)
            .await
            .map_err(|error| of_reading(&error))?;
        let judge::Sniffed::Accept { embedded, scratch: Some(scratch), .. } = sniffed else {
            return Err(StageError::Retry { why: "what is embedded could not be taken out again".into() });
        };
        embedded
            .into_iter()
            .map(|part| {
                let file = scratch.try_clone().map_err(|error| StageError::Retry {
                    why: format!("can't read what is embedded: {}", error.kind()),
                })?;
                Ok((file, part.offset, part.len))
            })
            .collect()
    }
}

/// The scanner's word, but where our own reading knows better: a PDF that was accepted opens without a password,
/// its trailer says so, and the words of a page can look like a locked file to the scanner.
pub fn overrule(verdict: &Verdict, file_type: Option<FileType>) -> &Verdict {
    if verdict.is_encryption_alarm() && file_type == Some(FileType::Pdf) { &Verdict::Clean } else { verdict }
}

fn could_not(why: &str) -> Reason {
    Reason::new(
        ReasonCode::ScanFailed,
        format!("the virus scanner could not judge this file ({why}); it waits for an operator"),
    )
}
