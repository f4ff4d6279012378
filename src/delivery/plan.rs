//! The policy of ways and places: the tables `[delivery.*]` of `pipelines/correspondence.toml`.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::engine::plan::PlanError;
use crate::model::letter::LetterType;
use crate::model::route::RoutePolicy;

/// The plan.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryPolicy {
    /// Which way a letter goes.
    pub route: RoutePolicy,
    /// The Messaging Center.
    pub inbox: InboxPolicy,
}

/// The Messaging Center (`[delivery.inbox]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxPolicy {
    /// Years for which a letter is online, from the date on it (COR-23).
    pub online_years: u16,
    /// Days after which a letter that needs an answer is reported as unread (COR-26).
    pub unread_after_days: u16,
    /// Whether it is then sent on paper as well.
    pub paper_after_unread: bool,
    /// Types that need an answer; all others inform (COR-33).
    pub action_required: BTreeSet<LetterType>,
}

impl InboxPolicy {
    /// Checks that the figures make sense.
    ///
    /// # Errors
    /// Names the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        if !(1..=100).contains(&self.online_years) || !(1..=3_650).contains(&self.unread_after_days) {
            return unusable("inbox", "online_years must be 1 to 100, unread_after_days 1 to 3650");
        }
        Ok(())
    }

    /// Whether a letter of this type needs an answer.
    pub fn needs_answer(&self, letter_type: LetterType) -> bool {
        self.action_required.contains(&letter_type)
    }
}

fn unusable<T>(table: &str, why: &str) -> Result<T, PlanError> {
    Err(PlanError::Unusable(format!("correspondence.toml: [delivery.{table}] {why}")))
}

impl DeliveryPolicy {
    /// Checks that the figures make sense together.
    ///
    /// # Errors
    /// Names the table and the figure.
    pub fn check(&self) -> Result<(), PlanError> {
        self.route.check().or_else(|error| unusable("route", &error.to_string()))?;
        self.inbox.check()
    }
}
