//! Letters on paper: envelopes, print batches, and what becomes of each piece (COR-40..42).
//!
//! A letter comes in as a delivery on paper that waits, put there by whoever routed it. A batch is closed at the cut-off
//! ([`cutoff`], [`close`]), put together by a stage ([`stages`]), and printed by others, whose word on each envelope is
//! taken ([`acknowledge`]); what comes back is kept ([`returns`]).

pub mod acknowledge;
pub mod addresses;
pub mod close;
pub mod cutoff;
pub mod production;
pub mod reconcile;
pub mod reprint;
pub mod returns;
pub mod stages;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;

use crate::db::batches::{self, Batch, BatchFile};
use crate::db::{Conn, Db, DbError, Stamp};
use crate::engine::plan::PlanError;
use crate::letters::Renderer;
use crate::model::calendar::Calendar;
use crate::model::ids::{BatchId, Brand};
use crate::model::paper::PrintFile;
use crate::model::reason;
use crate::outside::context::Context;
use crate::outside::objects::{ObjectError, ObjectKey, Objects};
use crate::paper::production::address::{AddressCheck, AddressFault};

/// The policy of paper: the tables `[paper.*]` of `pipelines/correspondence.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperPolicy {
    /// When batches are closed.
    pub batches: cutoff::BatchesPolicy,
    /// Envelopes, sheets and marks.
    pub production: production::ProductionPolicy,
}

impl PaperPolicy {
    /// Checks that the figures make sense together.
    ///
    /// # Errors
    /// Names the table and the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        self.batches.check()?;
        self.production.check()
    }
}

/// What the journey works with. Cheap to clone.
#[derive(Clone)]
pub struct Paper {
    /// The database.
    pub db: Db,
    /// Clock and ids.
    pub ctx: Context,
    /// Its policy.
    pub plan: Arc<PaperPolicy>,
    /// The payer's calendar, which is the mailroom's.
    pub calendar: Arc<Calendar>,
    /// Where letters and print files are.
    pub objects: Arc<dyn Objects>,
    /// The font that letters are set in, and the sheet that carries an address.
    pub renderer: Arc<Renderer>,
    /// What can be printed and delivered.
    pub check: Arc<AddressCheck>,
    /// The brands whose letters are printed.
    pub brands: Arc<[Brand]>,
    /// A directory of this node's for files under way; what a crash leaves there is swept at the next start.
    pub scratch: PathBuf,
}

/// Why nothing was done. The texts are for outside.
#[derive(Debug, Error)]
pub enum PaperError {
    /// It is not there.
    #[error("there is no such print batch")]
    NoBatch,
    /// It is not there.
    #[error("there is no such task")]
    NoTask,
    /// The barcode is of no envelope of ours.
    #[error("no envelope has this barcode")]
    NoEnvelope,
    /// There would be nothing in it.
    #[error("no letter waits that could go into a batch")]
    NothingWaits,
    /// The next serial numbers are those of pieces that are in the mail.
    #[error(
        "the serial numbers for the mail are used up: those that come next were used within the days of the policy"
    )]
    SerialsUsedUp,
    /// It can't be done as it stands.
    #[error("{0}")]
    State(&'static str),
    /// It has changed since the caller saw it.
    #[error("the {0} has changed meanwhile; look at it again")]
    Conflict(&'static str),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// An address can't be printed or delivered.
    #[error("the address can't be used: {}", codes(.0))]
    Address(Vec<AddressFault>),
    /// The database failed.
    #[error(transparent)]
    Db(DbError),
}

fn codes(faults: &[AddressFault]) -> String {
    faults.iter().map(|fault| fault.as_str()).collect::<Vec<_>>().join(", ")
}

impl From<DbError> for PaperError {
    fn from(error: DbError) -> Self {
        match error {
            // somebody was first, between our reading and our writing
            DbError::Stale { what } => Self::Conflict(what),
            other => Self::Db(other),
        }
    }
}

impl Paper {
    /// Holds a batch back: nobody gets its print file until it is released.
    ///
    /// # Errors
    /// See [`PaperError`].
    pub async fn hold(
        &self,
        stamp: Stamp<'_>,
        id: &BatchId,
        version: Option<i64>,
        reason: &str,
    ) -> Result<Batch, PaperError> {
        let reason = reason::check(reason).map_err(PaperError::Invalid)?;
        self.set_hold(stamp, id, version, Some(reason)).await
    }

    /// Lets a batch go that was held back.
    ///
    /// # Errors
    /// See [`PaperError`].
    pub async fn release(&self, stamp: Stamp<'_>, id: &BatchId, version: Option<i64>) -> Result<Batch, PaperError> {
        self.set_hold(stamp, id, version, None).await
    }

    /// A file of a batch, compared with its hash: what is printed is what was put together.
    ///
    /// # Errors
    /// When it has none, or is held back; within, when the store or the disk fails.
    pub async fn file(
        &self,
        batch: &Batch,
        which: PrintFile,
    ) -> Result<Result<(File, BatchFile), ObjectError>, PaperError> {
        let Some(files) = &batch.files else {
            return Err(PaperError::State("the batch has no files: it is not put together yet, or holds nothing"));
        };
        if which == PrintFile::Pdf && batch.hold.is_some() {
            return Err(PaperError::State("the batch is held back: release it first"));
        }
        let stored = match which {
            PrintFile::Pdf => &files.pdf,
            PrintFile::Json => &files.json,
            PrintFile::Csv => &files.csv,
        };
        let key = ObjectKey::batch(&batch.brand, &stored.sha256);
        let name = format!("batch-{}-{:016x}", batch.id, self.ctx.random_bits());
        let scratch = stages::Scratch(self.scratch.join(name));
        if let Err(error) = self.objects.fetch(&key, None, &scratch.0, Some(&stored.sha256)).await {
            return Ok(Err(error));
        }
        // open, it stays readable when its name is gone
        let opened = File::open(&scratch.0).map_err(|_| PaperError::State("the file went away; ask again"))?;
        Ok(Ok((opened, stored.clone())))
    }

    async fn set_hold(
        &self,
        stamp: Stamp<'_>,
        id: &BatchId,
        version: Option<i64>,
        reason: Option<&str>,
    ) -> Result<Batch, PaperError> {
        let mut tx = self.db.begin().await?;
        let batch = batch(&mut tx, id).await?;
        if version.is_some_and(|version| version != batch.version) {
            return Err(PaperError::Conflict("print batch"));
        }
        match (&batch.hold, reason) {
            (Some(_), Some(_)) => return Err(PaperError::State("the batch is held already")),
            (None, None) => return Err(PaperError::State("the batch is not held")),
            _ => batches::set_hold(&mut tx, stamp, &batch, reason).await?,
        }
        let now = self::batch(&mut tx, id).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(now)
    }
}

async fn batch(conn: &mut Conn, id: &BatchId) -> Result<Batch, PaperError> {
    batches::get(conn, id).await?.ok_or(PaperError::NoBatch)
}
