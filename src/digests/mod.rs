//! Digests: what users are told of by mail, and when (COR-30..35).
//!
//! A message that is published leaves a notification for each user who may read it. At its time a schedule opens a run;
//! the run's mails are planned, and handed to a relay one by one. What a mail is to tell is looked at once more right
//! before it goes.

pub mod choices;
pub mod edits;
pub mod heartbeat;
pub mod mail;
pub mod plan;
pub mod planning;
pub mod preview;
pub mod rehearsal;
pub mod returns;
pub mod schedules;
pub mod send;
pub mod submit;
pub mod timing;
pub mod upkeep;
pub mod why;

use std::sync::Arc;

use crate::db::Db;
use crate::digests::mail::Mail;
use crate::digests::plan::NotificationsPlan;
use crate::model::calendar::Calendar;
use crate::model::ids::Brand;
use crate::outside::context::Context;

/// What the journey works with. Cheap to clone.
#[derive(Clone)]
pub struct Digests {
    /// The database.
    pub db: Db,
    /// Clock, ids and chance.
    pub ctx: Context,
    /// The payer's calendar: its holidays, and the zone that a brand's schedules start with.
    pub calendar: Arc<Calendar>,
    /// Its policy.
    pub plan: Arc<NotificationsPlan>,
    /// The brands whose digests go from here.
    pub brands: Arc<[Brand]>,
    /// What mails are made and sent with; none where the settings say nothing of mail.
    pub mail: Option<Mail>,
}
