//! Answers by fax (COR-13): a letter's PDF becomes a picture that a fax machine takes, lies once in the folder of a fax
//! gateway (`docs/fax.md`), and is delivered when that says so. What can't be sent by fax goes on paper.

pub mod folder;
pub mod picture;
pub mod plan;
pub mod send;

use std::sync::Arc;

use thiserror::Error;

use crate::db::{Db, DbError};
use crate::outside::context::Context;
use crate::outside::objects::Objects;

pub use folder::{Gateway, GatewayError};
pub use plan::FaxPolicy;

/// What the journey works with. Cheap to clone.
#[derive(Clone)]
pub struct Fax {
    /// The database.
    pub db: Db,
    /// Clock and ids.
    pub ctx: Context,
    /// Its policy.
    pub plan: Arc<FaxPolicy>,
    /// Where the PDFs are.
    pub objects: Arc<dyn Objects>,
    /// The gateway, where there is one.
    pub gateway: Option<Gateway>,
    /// How many of a kind one look deals with.
    pub at_once: i64,
}

impl Fax {
    /// One with these parts.
    pub const fn new(
        db: Db,
        ctx: Context,
        plan: Arc<FaxPolicy>,
        objects: Arc<dyn Objects>,
        gateway: Option<Gateway>,
    ) -> Self {
        Self { db, ctx, plan, objects, gateway, at_once: 100 }
    }
}

/// Why faxes could not be looked after.
#[derive(Debug, Error)]
pub enum FaxError {
    /// The gateway's folder can't be used.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}
