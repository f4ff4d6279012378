//! Retention (OPS-15): what is destroyed when, and what keeps it (`docs/retention.md`).
//!
//! Destroying a record empties its row and takes its objects away; the row stays with its id, states, dates and reasons, and
//! so do the events, which never held more. State first, cleanup after: a transaction empties the row, keeps that the
//! destruction has begun, and tells of it; then the objects go; then it is done. Refused: to delete rows, which would leave
//! the ledger without what it counts; and to go by a list made beforehand, which a hold put meanwhile would not be in.

pub mod due;
pub mod holds;
pub mod plan;
pub mod run;

use std::sync::Arc;

use thiserror::Error;

use crate::db::{Db, DbError};
use crate::model::calendar::Calendar;
use crate::model::ids::Brand;
use crate::outside::context::Context;
use crate::outside::objects::Objects;

pub use plan::RetentionPlan;
pub use run::{Looked, Plan, Worked};

/// What retention works with. Cheap to clone.
#[derive(Clone)]
pub struct Retention {
    /// The database.
    pub db: Db,
    /// Clock and ids.
    pub ctx: Context,
    /// The payer's calendar.
    pub calendar: Arc<Calendar>,
    /// Its policy.
    pub plan: Arc<RetentionPlan>,
    /// Where the objects are.
    pub objects: Arc<dyn Objects>,
    /// The brand that runs, which are of all brands, are told under.
    pub brand: Brand,
}

/// Why nothing was done. The texts are for outside.
#[derive(Debug, Error)]
pub enum RetentionError {
    /// There is no such hold.
    #[error("there is no such hold")]
    NoHold,
    /// There is no such run.
    #[error("there is no such run")]
    NoRun,
    /// What a hold is to keep is not known.
    #[error("there is no such {0}")]
    Nothing(&'static str),
    /// The same hold stands already.
    #[error("such a hold stands already")]
    Exists,
    /// A run is not done.
    #[error("a run is not done: wait for its end")]
    Running,
    /// Policy destroys nothing.
    #[error("policy destroys nothing: set enabled in [destruction] of retention.toml")]
    Disabled,
    /// It has changed since the caller saw it.
    #[error("the {0} has changed meanwhile; look at it again")]
    Conflict(&'static str),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The database failed.
    #[error(transparent)]
    Db(DbError),
}

impl From<DbError> for RetentionError {
    fn from(error: DbError) -> Self {
        match error {
            // somebody was first, between our reading and our writing
            DbError::Stale { what } => Self::Conflict(what),
            other => Self::Db(other),
        }
    }
}
