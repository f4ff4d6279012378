//! Paper beside digital correspondence, per practice and category (COR-11, COR-12). Only the practice's access manager
//! turns it on or off; who loads in bulk does it for a migration. Each change leaves an event, and takes effect for
//! letters that are routed after it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Access, Expected, ManageError, Manager};
use crate::db::routing::{self, Paper};
use crate::db::{Conn, DbError, Stamp, events, users};
use crate::engine::installation_brand;
use crate::model::access::{Action, Target};
use crate::model::event::{EventType, NewEvent};
use crate::model::ids::Tin;
use crate::model::letter::LetterCategory;

/// Whether a practice's letters of a category go on paper as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaperSetting {
    /// The category.
    pub category: LetterCategory,
    /// Since when; `None`: they don't.
    pub since: Option<Timestamp>,
    /// When it was changed last; `None`: never.
    pub changed_at: Option<Timestamp>,
    /// How often it was changed; 0: never.
    pub version: i64,
}

impl PaperSetting {
    fn of(category: LetterCategory, known: &[Paper]) -> Self {
        let row = known.iter().find(|row| row.category == category);
        Self {
            category,
            since: row.and_then(|row| row.since),
            changed_at: row.map(|row| row.changed_at),
            version: row.map_or(0, |row| row.version),
        }
    }
}

impl Access {
    /// The settings of a TIN, one for each category that has a choice.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn paper_of(&self, by: Manager<'_>, tin: &Tin) -> Result<Vec<PaperSetting>, ManageError> {
        by.may(Action::ReadPaper, &Target::Tin(tin))?;
        let mut conn = self.db.read().await?;
        routing::practice(&mut conn, tin).await?.ok_or(ManageError::Missing("TIN"))?;
        let known = routing::papers(&mut conn, tin).await?;
        let choices = LetterCategory::ALL.iter().filter(|category| category.has_paper_choice());
        Ok(choices.map(|category| PaperSetting::of(*category, &known)).collect())
    }

    /// Turns paper on or off for a TIN and category.
    ///
    /// # Errors
    /// See [`ManageError`].
    pub async fn set_paper(
        &self,
        by: Manager<'_>,
        tin: &Tin,
        category: LetterCategory,
        on: bool,
        expected: Expected,
    ) -> Result<PaperSetting, ManageError> {
        by.may(Action::ChangePaper, &Target::Tin(tin))?;
        let actor = by.actor();
        let mut tx = self.db.begin().await?;
        let set = set_paper(&mut tx, self.stamp(&actor), tin, category, on, expected).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(set)
    }
}

/// Turns paper on or off, whoever does it. That it was so before is no change.
pub(super) async fn set_paper(
    conn: &mut Conn,
    stamp: Stamp<'_>,
    tin: &Tin,
    category: LetterCategory,
    on: bool,
    expected: Expected,
) -> Result<PaperSetting, ManageError> {
    if !category.has_paper_choice() {
        return Err(ManageError::Invalid("letters of this category are on paper anyway"));
    }
    // of two changes at once the second sees what the first did
    users::lock_tin(conn, tin).await?;
    let practice = routing::practice(conn, tin).await?.ok_or(ManageError::Missing("TIN"))?;
    let before = PaperSetting::of(category, &routing::papers(conn, tin).await?);
    // what was never changed is both: version 0, and not there
    let expected = if expected == Expected::Version(0) { Expected::Absent } else { expected };
    expected.meets("paper setting", (before.version > 0).then_some(before.version))?;
    if before.since.is_some() == on {
        return Ok(before);
    }
    // A day of UTC, as for routing: a choice made on the evening before would be older than the registration.
    let today = stamp.ctx.now().to_zoned(TimeZone::UTC).date();
    if on && practice.registered_on.is_none_or(|since| since > today) {
        return Err(ManageError::Invalid(
            "the practice is not registered for digital correspondence: its letters are on paper anyway",
        ));
    }
    let version = (before.version > 0).then_some(before.version);
    routing::put_paper(conn, stamp, tin, category, on, version).await.map_err(|error| match error {
        DbError::Stale { what } => ManageError::Conflict { what, version: None },
        other => other.into(),
    })?;
    let brand = installation_brand();
    let event = NewEvent {
        kind: EventType::PaperChanged,
        subject: &practice.uid,
        brand: &brand,
        tin_uid: Some(&practice.uid),
        actor: stamp.actor,
        payload: json!({ "category": category, "paper": on }),
    };
    events::append(conn, stamp, event).await?;
    Ok(PaperSetting::of(category, &routing::papers(conn, tin).await?))
}
