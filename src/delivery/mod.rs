//! Journey 2 from the finished letter on: which ways it goes (COR-03, COR-10..16), what persons stop, hold back and let go
//! again, and the Messaging Center (COR-20..26).
//!
//! A letter comes in as `rendered`, put to work for [`ROUTE`](crate::model::letter::stage::ROUTE) by whoever made its PDF; the journeys meet as rows and
//! work, never as calls.

pub mod deliver;
pub mod holds;
pub mod notices;
pub mod open;
pub mod plan;
pub mod reconcile;
pub mod route;
pub mod stop;
pub mod what_if;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use thiserror::Error;

use crate::db::letters::{Addressee, Letter};
use crate::db::{Conn, Db, DbError, routing};
use crate::engine::stage::Chain;
use crate::model::calendar::Calendar;
use crate::model::ids::Tin;
use crate::model::letter::{LetterCategory, LetterState};
use crate::model::route::TinFacts;
use crate::outside::context::Context;
use crate::outside::objects::Objects;

pub use deliver::Deliver;
pub use notices::Notices;
pub use plan::DeliveryPolicy;
pub use route::{Rendered, Route, Routed};

/// What the journey works with. Cheap to clone.
#[derive(Clone)]
pub struct Correspondence {
    /// The database.
    pub db: Db,
    /// Clock and ids.
    pub ctx: Context,
    /// Its policy.
    pub plan: Arc<DeliveryPolicy>,
    /// The payer's calendar.
    pub calendar: Arc<Calendar>,
    /// Where the PDFs are.
    pub objects: Arc<dyn Objects>,
}

/// The chains of the journey.
pub fn chains(correspondence: &Correspondence) -> Vec<Chain> {
    vec![Chain::of(Route(correspondence.clone())).then(Deliver(correspondence.clone())).end()]
}

/// Why nothing was done with a letter. The texts are for outside.
#[derive(Debug, Error)]
pub enum LetterError {
    /// It is not there.
    #[error("there is no such letter")]
    NoLetter,
    /// There is no such hold.
    #[error("there is no such hold")]
    NoHold,
    /// The TIN named is not known.
    #[error("there is no such TIN")]
    NoTin,
    /// Nothing of it can be stopped or released as it stands.
    #[error("the letter is {0}: {1}")]
    State(LetterState, &'static str),
    /// It was superseded, and stays so.
    #[error("another letter took its place")]
    Superseded,
    /// A hold stands that would stop it again.
    #[error("a hold on its type or practice stands: lift that first")]
    Held,
    /// The same hold stands already.
    #[error("such a hold stands already")]
    Exists,
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

impl From<DbError> for LetterError {
    fn from(error: DbError) -> Self {
        match error {
            // somebody was first, between our reading and our writing
            DbError::Stale { what } => Self::Conflict(what),
            other => Self::Db(other),
        }
    }
}

/// What is known of the practice that a letter is for; of one that is not known, nothing.
pub(crate) async fn facts_of(conn: &mut Conn, letter: &Letter) -> Result<TinFacts, DbError> {
    match &letter.addressee {
        Addressee::Tin(tin) => facts(conn, tin, letter.category).await,
        Addressee::Member(_) => Ok(TinFacts::default()),
    }
}

/// What is known of a practice, for letters of a category.
pub(crate) async fn facts(conn: &mut Conn, tin: &Tin, category: LetterCategory) -> Result<TinFacts, DbError> {
    let Some(practice) = routing::practice(conn, tin).await? else { return Ok(TinFacts::default()) };
    let chosen = routing::papers(conn, tin).await?;
    Ok(TinFacts {
        registered_on: practice.registered_on,
        has_reader: routing::has_reader(conn, tin, category.entitlement()).await?,
        has_fax: practice.has_fax,
        paper: chosen.into_iter().filter_map(|row| row.since.map(|since| (row.category, day_of(since)))).collect(),
    })
}

/// The day on which a choice was made: one of UTC, which never lies before that of the payer, so that a choice made on
/// the day of the registration is not older than it.
fn day_of(since: Timestamp) -> Date {
    since.to_zoned(TimeZone::UTC).date()
}
