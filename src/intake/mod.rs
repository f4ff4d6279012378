//! Journey 1, upload to case: receive, sniff, scan, store, match.
//!
//! [`receive`] takes bytes until they are durable; the [`stages`] judge, place and match them; [`settle`] ends
//! a submission once all of its files are judged. Cases are not known here: the journeys meet as rows and
//! events.

pub mod aging;
mod drafts;
pub mod extract;
pub mod load;
pub mod plan;
pub mod receive;
pub mod reconcile;
pub mod review;
pub mod room;
pub mod settle;
pub mod sniff;
pub mod sources;
pub mod stages;
pub mod submit;
pub mod uploads;

use std::sync::Arc;

use crate::db::Db;
use crate::intake::aging::Aging;
use crate::intake::plan::IntakePlan;
use crate::intake::room::Backlog;
use crate::model::calendar::Calendar;
use crate::outside::context::Context;
use crate::outside::extract::Extract;
use crate::outside::objects::Objects;
use crate::outside::scanner::Scanner;
use crate::outside::spool::Spool;

/// What intake works with. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    /// The database.
    pub db: Db,
    /// Clock and ids.
    pub ctx: Context,
    /// This node's name.
    pub node: String,
    /// Policy.
    pub plan: Arc<IntakePlan>,
    /// The payer's calendar.
    pub calendar: Arc<Calendar>,
    /// The object store.
    pub objects: Arc<dyn Objects>,
    /// Where bytes lie on this node.
    pub spool: Spool,
    /// The child that decodes.
    pub extract: Extract,
    /// The scanner.
    pub scanner: Scanner,
    /// Whether more waits than may.
    pub backlog: Backlog,
}

impl Intake {
    /// What deadlines of tasks are computed by.
    pub fn aging(&self) -> Aging<'_> {
        Aging { calendar: &self.calendar, policy: &self.plan.aging }
    }
}
